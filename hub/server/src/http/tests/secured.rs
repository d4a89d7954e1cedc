//! HTTP within TLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, NamedGroup, RootCertStore, SignatureScheme};
use stencil_crypto::authority::Authority;
use stencil_crypto::tls::{self, Identity, Policy, Roots, ServerIdentity, WebIdentity};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{Limits, Served};

const PATIENCE: Duration = Duration::from_secs(20);

/// A hub of its own authority; the root of its ML-DSA certificate, and that of the other in PEM.
async fn served() -> (Served, Roots, String) {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::create(folder.path().join("authority"), "Acme").unwrap();
    let identity = |issued: stencil_crypto::authority::Issued| {
        Identity::from_pem(&issued.chain_pem, &issued.key_pem).unwrap()
    };
    let own = WebIdentity::Own(ServerIdentity {
        post_quantum: identity(authority.issue_server(&["localhost"]).unwrap()),
        classical: Some(identity(
            authority.issue_classical_server(&["localhost"]).unwrap(),
        )),
    });
    let config = tls::web_server(&own).unwrap();
    let names = ["hub.example.org".to_owned()];
    let served = Served::start_changed(Limits::default(), |state| {
        state.within(Some(config)).named(&names)
    })
    .await;
    let roots = Roots::from_pem(authority.root_pem()).unwrap();
    (served, roots, authority.classical_root_pem().to_owned())
}

/// A client that knows no ML-DSA, as browsers of today, with or without the hybrid group.
fn browser(root_pem: &str, hybrid: bool) -> Arc<ClientConfig> {
    let mut provider = tls::provider(Policy::Prefer);
    let known = provider.signature_verification_algorithms;
    let old = known.mapping.iter().copied();
    let old: Vec<_> = old
        .filter(|(scheme, _)| *scheme != SignatureScheme::ML_DSA_65)
        .collect();
    assert!(old.len() < known.mapping.len());
    provider.signature_verification_algorithms = WebPkiSupportedAlgorithms {
        all: known.all,
        mapping: old.leak(),
    };
    if !hybrid {
        let hybrids = [NamedGroup::X25519MLKEM768];
        provider
            .kx_groups
            .retain(|group| !hybrids.contains(&group.name()));
    }
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(root_pem.as_bytes()).unwrap())
        .unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

async fn get(
    address: SocketAddr,
    config: Arc<ClientConfig>,
    path: &str,
    token: &str,
) -> (String, String) {
    let head = format!("host: localhost\r\nauthorization: Bearer {token}");
    get_with(address, config, path, &head).await
}

/// The same with these lines as the request's head.
async fn get_with(
    address: SocketAddr,
    config: Arc<ClientConfig>,
    path: &str,
    head: &str,
) -> (String, String) {
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(config)
        .connect(name, stream)
        .await
        .unwrap();
    let group = tls::Negotiated::of(stream.get_ref().1).unwrap().group;
    let head = format!("GET {path} HTTP/1.1\r\nconnection: close\r\n{head}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    (group, String::from_utf8(answer).unwrap())
}

#[tokio::test]
async fn the_hybrid_is_preferred_and_each_page_says_what_it_came_through() {
    let (served, post_quantum, classical) = served().await;
    let token = &served.tokens.reader;
    for (config, group, word) in [
        (
            tls::client(Policy::Prefer, &post_quantum, None).unwrap(),
            "X25519MLKEM768",
            ">post-quantum<",
        ),
        (
            tls::client(Policy::Strict, &post_quantum, None).unwrap(),
            "X25519MLKEM768",
            ">post-quantum<",
        ),
        (
            browser(&classical, true),
            "X25519MLKEM768",
            ">post-quantum<",
        ),
        (browser(&classical, false), "X25519", ">classical<"),
    ] {
        let (negotiated, page) = get(served.address, config, "/runs", token).await;
        assert_eq!(negotiated, group);
        assert!(page.starts_with("HTTP/1.1 200"), "{page}");
        assert!(page.contains(&format!("TLS 1.3, {group}<")), "{page}");
        assert!(page.contains(word), "{page}");
    }
}

#[tokio::test]
async fn a_cookie_of_a_session_stays_within_tls() {
    let (served, post_quantum, _) = served().await;
    let config = tls::client(Policy::Prefer, &post_quantum, None).unwrap();
    let path = format!("/login?token={}", served.tokens.reader);
    let (_, answer) = get(served.address, config, &path, "").await;
    let answer = answer.to_lowercase();
    let cookie = answer
        .lines()
        .find(|line| line.starts_with("set-cookie:"))
        .unwrap();
    let name = "set-cookie: __host-stencil_session=";
    assert!(
        cookie.starts_with(name) && cookie.contains("; secure") && cookie.contains("; httponly"),
        "{cookie}"
    );
    // And where there is no TLS a browser would not keep one that asks for it.
    let plain = Served::start().await;
    let path = format!("/login?token={}", plain.tokens.reader);
    let answer = plain.get(&path).send().await;
    let cookie = answer.header("set-cookie").unwrap();
    assert!(!cookie.contains("secure"), "{cookie}");
    assert!(cookie.starts_with("stencil_session="), "{cookie}");
}

#[tokio::test]
async fn without_tls_there_is_no_answer_and_nobody_else_waits() {
    let (served, post_quantum, _) = served().await;
    // These begin no handshake, and never go on.
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(served.address).await.unwrap());
    }
    let config = tls::client(Policy::Strict, &post_quantum, None).unwrap();
    let asked = get(served.address, config, "/livez", "");
    let (_, answer) = timeout(PATIENCE, asked)
        .await
        .expect("it is answered meanwhile");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let mut plain = TcpStream::connect(served.address).await.unwrap();
    plain
        .write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut bytes = Vec::new();
    let ended = timeout(PATIENCE, plain.read_to_end(&mut bytes)).await;
    ended.expect("it is closed").ok();
    assert!(
        !String::from_utf8_lossy(&bytes).contains("HTTP"),
        "{bytes:?}"
    );
}

const ONLY: &str = "strict-transport-security: max-age=31536000";

#[tokio::test]
async fn browsers_are_told_to_come_by_tls_only() {
    let (served, post_quantum, _) = served().await;
    for (host, told) in [
        ("hub.example.org:8443", true),
        // It would hold for each port of the reader's own machine.
        ("localhost", false),
        ("127.0.0.1:8443", false),
    ] {
        for (path, status) in [("/login", "200"), ("/livez", "200"), ("/nowhere", "404")] {
            let config = tls::client(Policy::Prefer, &post_quantum, None).unwrap();
            let head = format!("host: {host}");
            let (_, answer) = get_with(served.address, config, path, &head).await;
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status}")),
                "{answer}"
            );
            assert_eq!(answer.contains(ONLY), told, "{host} {path}: {answer}");
        }
    }
}

#[tokio::test]
async fn within_tls_a_cookie_of_a_sister_name_signs_nobody_in() {
    let (served, post_quantum, _) = served().await;
    let config = tls::client(Policy::Prefer, &post_quantum, None).unwrap();
    let path = format!("/login?token={}", served.tokens.reader);
    let (_, answer) = get(served.address, config, &path, "").await;
    let (_, secret) = answer.split_once("__Host-stencil_session=").unwrap();
    let (secret, _) = secret.split_once(';').unwrap();
    for (cookie, status) in [
        (format!("__Host-stencil_session={secret}"), "200"),
        (format!("stencil_session={secret}"), "303"),
        (
            format!("stencil_session={secret}; __Host-stencil_session=x"),
            "303",
        ),
    ] {
        let config = tls::client(Policy::Prefer, &post_quantum, None).unwrap();
        let head = format!("host: localhost\r\ncookie: {cookie}");
        let (_, answer) = get_with(served.address, config, "/runs", &head).await;
        let first = answer.lines().next();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{cookie}: {first:?}"
        );
    }
}

#[tokio::test]
async fn behind_a_proxy_with_tls_the_name_that_is_asked_for_decides() {
    let served = Served::start_changed(Limits::default(), |state| {
        state.reached_at("https://hub.example.org")
    })
    .await;
    let reader = &served.tokens.reader;
    for (host, name, told) in [
        ("hub.example.org", "__host-stencil_session=", true),
        // Somebody on the hub's machine: browsers keep no such name from there.
        ("127.0.0.1:8080", "stencil_session=", false),
    ] {
        let ask = served.ask("POST", "/login").host(host);
        let answer = ask.body(format!("token={reader}")).send().await;
        let cookie = answer.header("set-cookie").unwrap();
        assert!(cookie.starts_with(name), "{host}: {cookie}");
        assert!(
            cookie.contains("; secure") && !cookie.contains("domain"),
            "{cookie}"
        );
        assert_eq!(
            answer.header("strict-transport-security").is_some(),
            told,
            "{host}"
        );
    }
    let secret = served.session(reader).await;
    let ask = served.get("/runs").host("hub.example.org");
    let ask = ask.header("cookie", &format!("stencil_session={secret}"));
    let answer = ask.send().await;
    assert_eq!(answer.status, 303, "{answer:?}");
    // Over plain HTTP nobody is told what they could not follow.
    let plain = Served::start().await;
    let answer = plain.get("/login").send().await;
    assert!(
        answer.header("strict-transport-security").is_none(),
        "{answer:?}"
    );
}
