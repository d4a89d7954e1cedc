//! The signature of a webhook, verified by a library that others wrote.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod receiver;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use receiver::{Received, Receiver};
use serde_json::json;
use stencil_connect::{Connectors, Options, SecretFile, webhook};
use stencil_protocol::id::TenantId;
use stencil_store::sqlite;
use stencil_workflow::{Effect, Effects, Request};

const KEY: &str = "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";

fn secret(byte: u8) -> String {
    format!("whsec_{}", STANDARD.encode([byte; 32]))
}

/// Whether the standard's own library takes it as signed with this secret.
fn verifies(secret: &str, received: &Received) -> bool {
    let python = std::env::var_os("STENCIL_TEST_PYTHON").map(PathBuf::from);
    let python = python.expect("STENCIL_TEST_PYTHON; `cargo xtask test` sets it up");
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/foreign/verify_webhook.py"
    );
    let mut child = Command::new(python)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let body = String::from_utf8(received.body.clone()).unwrap();
    let asked = json!({ "secret": secret, "headers": received.headers, "body": body });
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(asked.to_string().as_bytes()).unwrap();
    drop(stdin);
    match child.wait().unwrap().code() {
        Some(0) => true,
        Some(3) => false,
        other => panic!("the verifier ended with {other:?}"),
    }
}

#[tokio::test]
async fn a_receiver_verifies_it_with_the_secret_and_with_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, byte: u8| {
        let file = dir.path().join(name);
        stencil_crypto::keyfile::write(&file, secret(byte).as_bytes()).unwrap();
        file
    };
    let tenant = TenantId::parse("acme").unwrap();
    let options = Options {
        webhook: webhook::Options {
            allow_loopback: true,
            ..Default::default()
        },
        secrets: vec![SecretFile {
            tenant: tenant.clone(),
            name: "ops".to_owned(),
            file: file("new", 2),
            previous: vec![file("old", 1)],
        }],
        ..Default::default()
    };
    let store = Arc::new(sqlite::open(dir.path().join("hub.db")).await.unwrap());
    let connectors = Connectors::new(&options, store.clone(), store).unwrap();
    let receiver = Receiver::start([]).await;
    let effect = Effect::WebhookPost {
        url: receiver.url(),
        body: json!({ "device": "freezer-07", "title": "wärmer als −12 °C" }),
        secret: Some("ops".to_owned()),
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now_us = i64::try_from(now.as_micros()).unwrap();
    let request = Request {
        tenant: &tenant,
        effect_key: KEY,
        effect: &effect,
        attempt: 1,
        at_us: now_us,
        now_us,
        timeout: Duration::from_secs(20),
        cause: None,
    };
    connectors.perform(&request).await.unwrap();

    let received = receiver.received().remove(0);
    assert!(verifies(&secret(2), &received), "{received:?}");
    assert!(verifies(&secret(1), &received), "{received:?}");
    assert!(!verifies(&secret(3), &received));
    let mut altered = received.clone();
    altered.body.push(b' ');
    assert!(!verifies(&secret(2), &altered));
    let mut replayed = received;
    let id = replayed.headers.get_mut("webhook-id").unwrap();
    id.replace_range(..1, "0");
    assert!(!verifies(&secret(2), &replayed));
}
