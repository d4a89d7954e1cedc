//! TLS: what is recorded of a link, and what is said of one that is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/certificates.rs"]
mod certificates;
mod support;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use certificates::{Authority, CLASSICAL, HYBRID, provider};
use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_ML_DSA_65};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, SignatureScheme};
use stencil_mqtt::{Event, Options, Transport};
use support::{Client, Mode, Server, connect_v5};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

async fn connect(
    server: &Server,
    config: Arc<ClientConfig>,
) -> io::Result<Client<TlsStream<TcpStream>>> {
    handshake(TcpStream::connect(server.address).await?, config).await
}

async fn handshake(
    socket: TcpStream,
    config: Arc<ClientConfig>,
) -> io::Result<Client<TlsStream<TcpStream>>> {
    let name = ServerName::try_from("localhost").unwrap();
    let stream = support::soon(TlsConnector::from(config).connect(name, socket)).await?;
    Ok(Client::new(stream))
}

async fn start(tls: Arc<rustls::ServerConfig>) -> Server {
    Log::get();
    Server::with(Mode::Commit, Options::default(), Some(tls)).await
}

/// Waits until a handshake was refused, and for what.
async fn refused(server: &Server) -> &'static str {
    support::soon(async {
        loop {
            if let Some((reason, 1)) = server.handle.metrics().tls_refused.pop_first() {
                return reason;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

/// Collects what this process logs.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// One for all tests here, as each of them may log at any time.
    fn get() -> &'static Self {
        static LOG: OnceLock<Log> = OnceLock::new();
        LOG.get_or_init(|| {
            let log = Self::default();
            let writer = log.clone();
            tracing_subscriber::fmt()
                .with_ansi(false)
                .with_writer(move || writer.clone())
                .init();
            log
        })
    }

    /// The line about this peer.
    fn line(&self, peer: SocketAddr) -> String {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let peer = format!("peer={peer} ");
        let line = text.lines().find(|line| line.contains(&peer));
        line.unwrap_or_default().to_owned()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_post_quantum_link_is_recorded() {
    let authority = Authority::new(&PKCS_ML_DSA_65);
    let server = start(authority.server(HYBRID)).await;
    let mut events = server.handle.events();
    let identity = authority.issue("gateway");
    let leaf = identity.chain[0].to_vec();
    let mut client = connect(&server, authority.client(HYBRID, Some(identity)))
        .await
        .unwrap();
    client.send(&connect_v5("a/x", "gateway", &[])).await;
    client.connack().await;
    client.v5 = true;
    let transport = Server::event(&mut events, |event| match event {
        Event::Connected { source, .. } => Some(source.transport.clone()),
        _ => None,
    })
    .await;
    assert_eq!(
        transport,
        Transport::Tls {
            group: "X25519MLKEM768".to_owned(),
            post_quantum: true,
            certificate: Some(leaf.into()),
            signature: Some("ML-DSA-65".to_owned()),
        }
    );
    // More than one TLS record, so that reads and packets don't meet.
    let payload = vec![7; 100_000];
    let id = client.publish("t", &payload).await;
    client.puback(id).await;
    assert_eq!(server.sink.kept()[0].payload, payload);
}

#[tokio::test]
async fn a_classical_link_is_shown_as_such_where_it_is_allowed() {
    let authority = Authority::new(&PKCS_ECDSA_P256_SHA256);
    let server = start(authority.server(&[HYBRID, CLASSICAL].concat())).await;
    let mut events = server.handle.events();
    let mut client = connect(&server, authority.client(CLASSICAL, None))
        .await
        .unwrap();
    client.send(&connect_v5("a/x", "device", &[])).await;
    client.connack().await;
    let transport = Server::event(&mut events, |event| match event {
        Event::Connected { source, .. } => Some(source.transport.clone()),
        _ => None,
    })
    .await;
    assert_eq!(
        transport,
        Transport::Tls {
            group: "X25519".to_owned(),
            post_quantum: false,
            certificate: None,
            signature: None,
        }
    );
}

#[tokio::test]
async fn a_strict_listener_refuses_a_classical_client_and_says_why() {
    let authority = Authority::new(&PKCS_ECDSA_P256_SHA256);
    let server = start(authority.server(HYBRID)).await;
    let socket = TcpStream::connect(server.address).await.unwrap();
    let peer = socket.local_addr().unwrap();
    let error = handshake(socket, authority.client(CLASSICAL, None))
        .await
        .err()
        .unwrap();
    assert!(error.to_string().contains("HandshakeFailure"), "{error}");
    assert_eq!(refused(&server).await, "no_common_group");
    // Counted first, logged then.
    let text = support::soon(async {
        loop {
            let line = Log::get().line(peer);
            if !line.is_empty() {
                return line;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    for part in [
        "TLS handshake refused",
        "no key exchange group in common: this listener takes [X25519MLKEM768], \
         the client offers [X25519]",
        "groups [X25519]",
        "signature schemes [ECDSA_NISTP384_SHA384,",
        "TLS13_AES_256_GCM_SHA384",
        "server name localhost",
    ] {
        assert!(text.contains(part), "{part:?} is missing in {text}");
    }
    // The next one gets in.
    let mut client = connect(&server, authority.client(HYBRID, None))
        .await
        .unwrap();
    client.send(&connect_v5("a/x", "device", &[])).await;
    client.connack().await;
}

#[tokio::test]
async fn no_signature_scheme_in_common() {
    let authority = Authority::new(&PKCS_ML_DSA_65);
    let server = start(authority.server(HYBRID)).await;
    // A client that knows the group but no ML-DSA, like OpenSSL 3.2 to 3.4.
    let mut old = (*provider(HYBRID)).clone();
    let mut verification = aws_lc_rs::default_provider().signature_verification_algorithms;
    let known: Vec<_> = verification
        .mapping
        .iter()
        .filter(|(scheme, _)| *scheme == SignatureScheme::ECDSA_NISTP256_SHA256)
        .copied()
        .collect();
    verification.mapping = known.leak();
    old.signature_verification_algorithms = verification;
    let config = certificates::client(Arc::new(old), authority.roots(), None);
    assert!(connect(&server, config).await.is_err());
    assert_eq!(refused(&server).await, "no_common_signature_scheme");
}

#[tokio::test]
async fn a_certificate_of_another_authority() {
    let authority = Authority::new(&PKCS_ECDSA_P256_SHA256);
    let other = Authority::new(&PKCS_ECDSA_P256_SHA256);
    let server = start(authority.server(HYBRID)).await;
    let config = authority.client(HYBRID, Some(other.issue("gateway")));
    // In TLS 1.3 the client has finished before the server judges.
    if let Ok(mut client) = connect(&server, config).await {
        client.closed().await;
    }
    assert_eq!(refused(&server).await, "bad_client_certificate");
}

#[tokio::test]
async fn a_client_that_refuses_the_server() {
    let authority = Authority::new(&PKCS_ECDSA_P256_SHA256);
    let other = Authority::new(&PKCS_ECDSA_P256_SHA256);
    let server = start(authority.server(HYBRID)).await;
    assert!(connect(&server, other.client(HYBRID, None)).await.is_err());
    assert_eq!(refused(&server).await, "client_alert");
}

#[tokio::test]
async fn no_tls_at_all() {
    let authority = Authority::new(&PKCS_ECDSA_P256_SHA256);
    let server = start(authority.server(HYBRID)).await;
    let mut client = server.socket().await;
    client.send(&connect_v5("a/x", "device", &[])).await;
    while support::soon(client.try_packet()).await.is_some() {}
    assert_eq!(refused(&server).await, "not_tls");
}

#[tokio::test]
async fn a_handshake_has_a_time_out() {
    let authority = Authority::new(&PKCS_ECDSA_P256_SHA256);
    let options = Options {
        connect_timeout: Duration::from_millis(50),
        ..Options::default()
    };
    let server = Server::with(Mode::Commit, options, Some(authority.server(HYBRID))).await;
    server.socket().await.closed().await;
    assert_eq!(refused(&server).await, "timeout");
}
