//! Webhooks over https: the hybrid group where the receiver has it, and nobody
//! whose certificate is not under the roots.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use stencil_connect::{Connectors, Options, webhook};
use stencil_crypto::authority::Authority;
use stencil_crypto::tls::{self, Identity, Negotiated, Policy, Roots, ServerIdentity};
use stencil_protocol::id::TenantId;
use stencil_store::sqlite;
use stencil_workflow::{Effect, Effects, Failure, Performed, Request};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

/// A receiver under `policy`; says what each connection negotiated.
async fn receiver(authority: &Authority, policy: Policy) -> (u16, mpsc::Receiver<Negotiated>) {
    let names = ["localhost"];
    let issued = authority.issue_server(&names).unwrap();
    let post_quantum = Identity::from_pem(&issued.chain_pem, &issued.key_pem).unwrap();
    let issued = authority.issue_classical_server(&names).unwrap();
    let classical = Some(Identity::from_pem(&issued.chain_pem, &issued.key_pem).unwrap());
    let roots = Roots::from_pem(authority.root_pem()).unwrap();
    let identity = ServerIdentity {
        post_quantum,
        classical,
    };
    let acceptor = TlsAcceptor::from(tls::server(policy, &identity, &roots).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (seen, negotiated) = mpsc::channel(10);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let connection = Negotiated::of(stream.get_ref().1).unwrap();
            seen.send(connection).await.unwrap();
            let _ = stream.read(&mut [0; 4_096]).await;
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
            let _ = stream.shutdown().await;
        }
    });
    (port, negotiated)
}

async fn post(port: u16, roots_pem: &str) -> Result<Performed, Failure> {
    let dir = tempfile::tempdir().unwrap();
    let roots = dir.path().join("roots.pem");
    std::fs::write(&roots, roots_pem).unwrap();
    let store = Arc::new(sqlite::open(dir.path().join("hub.db")).await.unwrap());
    let webhook = webhook::Options {
        allow_loopback: true,
        roots: Some(roots),
        ..Default::default()
    };
    let options = Options {
        webhook,
        ..Default::default()
    };
    let connectors = Connectors::new(&options, store.clone(), store).unwrap();
    let url = format!("https://localhost:{port}/");
    let effect = Effect::WebhookPost {
        url,
        body: json!(1),
        secret: None,
    };
    let tenant = TenantId::parse("acme").unwrap();
    let request = Request {
        tenant: &tenant,
        effect_key: "k",
        effect: &effect,
        attempt: 1,
        at_us: 0,
        now_us: 0,
        timeout: Duration::from_secs(20),
        cause: None,
    };
    connectors.perform(&request).await
}

#[tokio::test]
async fn the_hybrid_group_is_taken_where_it_is_to_be_had() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::create(dir.path().join("ours"), "ours").unwrap();
    for (policy, roots) in [
        (Policy::Prefer, authority.classical_root_pem()),
        (Policy::Strict, authority.root_pem()),
    ] {
        let (port, mut negotiated) = receiver(&authority, policy).await;
        let roots = format!("{roots}\n{}", authority.root_pem());
        let performed = post(port, &roots).await;
        assert_eq!(
            performed,
            Ok(Performed::Done(json!({
                "status": 204, "body": null,
                "link": { "group": "X25519MLKEM768", "post_quantum": true },
            })))
        );
        let negotiated = negotiated.recv().await.unwrap();
        assert_eq!(
            (negotiated.group.as_str(), negotiated.post_quantum),
            ("X25519MLKEM768", true)
        );
    }
}

#[tokio::test]
async fn a_certificate_of_somebody_else_is_refused_and_said_so() {
    let dir = tempfile::tempdir().unwrap();
    let ours = Authority::create(dir.path().join("ours"), "ours").unwrap();
    let theirs = Authority::create(dir.path().join("theirs"), "theirs").unwrap();
    let (port, _negotiated) = receiver(&theirs, Policy::Prefer).await;
    let failure = post(port, ours.root_pem()).await.unwrap_err();
    assert!(
        failure.message.contains("invalid peer certificate"),
        "{failure}"
    );
}
