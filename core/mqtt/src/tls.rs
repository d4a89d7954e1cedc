//! TLS handshakes, and clear words when one fails.

use std::fmt::Write;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::server::{Acceptor, ClientHello};
use rustls::{Error, NamedGroup, PeerIncompatible, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::Transport;
use crate::certificate::signature_algorithm;

/// A handshake that failed.
#[derive(Debug)]
pub(crate) struct Refused {
    /// A short stable name; see [`Metrics::tls_refused`](crate::Metrics).
    pub(crate) reason: &'static str,
    /// In full: what was wrong, and what would be right.
    why: String,
    /// What the client offered; nothing when it sent no ClientHello.
    offered: String,
}

impl Refused {
    pub(crate) fn log(&self, peer: SocketAddr) {
        tracing::warn!(
            %peer,
            reason = self.reason,
            why = self.why,
            offered = self.offered,
            "TLS handshake refused"
        );
    }

    /// What it is counted as in the log.
    pub(crate) fn cause(&self) -> &'static str {
        match self.reason {
            // Whoever looks whether the port is open does this.
            "closed" => "TLS handshake refused: closed",
            "timeout" => "TLS handshake refused: timeout",
            "not_tls" => "TLS handshake refused: not_tls",
            "no_common_group" => "TLS handshake refused: no_common_group",
            _ => "TLS handshake refused",
        }
    }
}

/// Does the handshake by this configuration; says so when it has begun.
pub(crate) async fn accept(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    begun: impl FnOnce(),
) -> Result<(TlsStream<TcpStream>, Transport), Refused> {
    let start = LazyConfigAcceptor::new(Acceptor::default(), stream)
        .await
        .map_err(|error| refused(&error, &[], &config, String::new()))?;
    begun();
    let hello = start.client_hello();
    let offered = offered(&hello);
    let groups = hello.named_groups().unwrap_or_default().to_vec();
    let stream = start
        .into_stream(Arc::clone(&config))
        .await
        .map_err(|error| refused(&error, &groups, &config, offered))?;
    let session = stream.get_ref().1;
    let group = session
        .negotiated_key_exchange_group()
        .map(|group| group.name());
    let certificate = session
        .peer_certificates()
        .and_then(<[_]>::first)
        .map(|certificate| Arc::<[u8]>::from(certificate.as_ref()));
    let transport = Transport::Tls {
        group: group.map_or_else(|| "unknown".to_owned(), name),
        post_quantum: group.is_some_and(is_post_quantum),
        signature: certificate.as_deref().and_then(signature_algorithm),
        certificate,
    };
    Ok((stream, transport))
}

/// A handshake that didn't end in time.
pub(crate) fn timed_out() -> Refused {
    Refused {
        reason: "timeout",
        why: "the handshake took too long".to_owned(),
        offered: String::new(),
    }
}

fn refused(
    error: &io::Error,
    client: &[NamedGroup],
    config: &ServerConfig,
    offered: String,
) -> Refused {
    let tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Error>());
    let server: Vec<NamedGroup> = config
        .crypto_provider()
        .kx_groups
        .iter()
        .map(|group| group.name())
        .collect();
    let no_common_group = || {
        (
            "no_common_group",
            format!(
                "no key exchange group in common: this listener takes {}, the client offers {}",
                list(server.iter().copied()),
                list(client.iter().copied())
            ),
        )
    };
    // rustls looks for a certificate first; a client without a group in common would be told of
    // its signature schemes only.
    let group_is_missing = !client.is_empty() && !client.iter().any(|group| server.contains(group));
    let (reason, why) = match tls {
        Some(Error::PeerIncompatible(
            PeerIncompatible::NoKxGroupsInCommon | PeerIncompatible::NamedGroupsExtensionRequired,
        )) => no_common_group(),
        Some(Error::PeerIncompatible(_) | Error::General(_)) if group_is_missing => {
            no_common_group()
        }
        Some(Error::PeerIncompatible(
            PeerIncompatible::NoSignatureSchemesInCommon
            | PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon
            | PeerIncompatible::SignatureAlgorithmsExtensionRequired,
        )) => (
            "no_common_signature_scheme",
            "the client accepts no signature scheme of this listener's certificates".to_owned(),
        ),
        Some(Error::PeerIncompatible(
            error @ (PeerIncompatible::SupportedVersionsExtensionRequired
            | PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled),
        )) => (
            "no_common_version",
            format!("the client offers no TLS version of this listener: {error:?}"),
        ),
        Some(Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon)) => (
            "no_common_cipher_suite",
            "no cipher suite in common".to_owned(),
        ),
        Some(Error::PeerIncompatible(error)) => ("incompatible", format!("{error:?}")),
        Some(Error::NoCertificatesPresented) => (
            "no_client_certificate",
            "this listener demands a client certificate".to_owned(),
        ),
        Some(Error::InvalidCertificate(error)) => (
            "bad_client_certificate",
            format!("the client's certificate is not valid: {error}"),
        ),
        Some(Error::AlertReceived(alert)) => (
            "client_alert",
            format!("the client refused this listener: {alert:?}"),
        ),
        // What rustls says when the resolver has no certificate.
        Some(Error::General(text)) if text.contains("certificate chain") => (
            "no_common_signature_scheme",
            "the client accepts no signature scheme of this listener's certificates".to_owned(),
        ),
        Some(error @ Error::InvalidMessage(_)) => (
            "not_tls",
            format!("what came is not a TLS handshake: {error}"),
        ),
        Some(error) => ("protocol", error.to_string()),
        None => (
            "closed",
            format!("the client closed the connection: {error}"),
        ),
    };
    Refused {
        reason,
        why,
        offered,
    }
}

/// What a client offers, in one line.
fn offered(hello: &ClientHello<'_>) -> String {
    let mut text = format!(
        "groups {}; signature schemes {}; cipher suites {}",
        list(hello.named_groups().unwrap_or_default().iter().copied()),
        list(hello.signature_schemes().iter().copied()),
        list(hello.cipher_suites().iter().copied()),
    );
    if let Some(server_name) = hello.server_name() {
        let _ = write!(text, "; server name {server_name}");
    }
    text
}

/// A bounded list: a ClientHello may name thousands.
fn list<T: std::fmt::Debug>(items: impl IntoIterator<Item = T>) -> String {
    const MAX: usize = 24;
    let mut names: Vec<String> = items.into_iter().take(MAX + 1).map(name).collect();
    if names.len() > MAX {
        names.truncate(MAX);
        names.push("…".to_owned());
    }
    format!("[{}]", names.join(", "))
}

fn name<T: std::fmt::Debug>(item: T) -> String {
    format!("{item:?}")
}

fn is_post_quantum(group: NamedGroup) -> bool {
    matches!(
        group,
        NamedGroup::X25519MLKEM768
            | NamedGroup::secp256r1MLKEM768
            | NamedGroup::MLKEM512
            | NamedGroup::MLKEM768
            | NamedGroup::MLKEM1024
    )
}
