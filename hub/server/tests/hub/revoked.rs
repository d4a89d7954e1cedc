//! A token that is revoked while it is in use.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use stencil_store::{IssuedToken, TokenKind};

use crate::support::{Client, Sampled, TestHub, batch, device, eventually, tenant};

const TOPIC: &str = "stencil/v1/d/kiosk/batch";

async fn issue(test: &TestHub) -> IssuedToken {
    let kind = TokenKind::Device {
        device: device("kiosk"),
    };
    let tenancy = &test.hub().store().tenancy;
    let issued = tenancy
        .create_token(&tenant("acme"), kind, "kiosk", None, 1)
        .await;
    issued.unwrap()
}

async fn revoke(test: &TestHub, id: &str) -> String {
    let admin = stencil_server::issue_admin_token(&test.data_dir(), &tenant("acme"), "admin", 0)
        .await
        .unwrap();
    let mut socket = TcpStream::connect(test.running.addresses().http)
        .await
        .unwrap();
    let request = format!(
        "DELETE /api/v1/tokens/{id} HTTP/1.1\r\nhost: hub\r\nconnection: close\r\n\
         authorization: Bearer {}\r\n\r\n",
        admin.secret.reveal()
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn its_sessions_end_at_once_and_nothing_more_of_it_is_taken() {
    let test = TestHub::start().await;
    let plain = test.running.addresses().plain.unwrap();
    let (lost, kept) = (issue(&test).await, issue(&test).await);
    let first = Client::with_token("first", plain, lost.secret.reveal()).await;
    let second = Client::with_token("second", plain, lost.secret.reveal()).await;
    // Another token of the same device, with the same client id.
    let other = Client::with_token("first", plain, kept.secret.reveal()).await;
    for client in [&first, &second, &other] {
        assert!(client.is_connected());
    }
    first
        .publish(TOPIC, batch(1, 1, &[Sampled("t", 1.0, 1)]))
        .await
        .unwrap();

    let answer = revoke(&test, &lost.token.id).await;
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    // Before it says anything by itself, which it does every 30 s.
    let ended = eventually("a silent session ends", async || !second.is_connected());
    let in_time = tokio::time::timeout(Duration::from_secs(10), ended).await;
    assert!(in_time.is_ok(), "the session was not ended");
    for client in [&first, &second] {
        let refused = client
            .publish(TOPIC, batch(1, 2, &[Sampled("t", 2.0, 2)]))
            .await;
        assert!(refused.is_err());
        eventually("the session ends", async || !client.is_connected()).await;
    }
    other
        .publish(TOPIC, batch(1, 3, &[Sampled("t", 3.0, 3)]))
        .await
        .unwrap();
    test.hub().caught_up().await.unwrap();
    let series = &test.hub().store().series;
    let points = series
        .range(&tenant("acme"), &device("kiosk"), "t", 0, i64::MAX, 10)
        .await
        .unwrap();
    let times: Vec<_> = points.iter().map(|point| point.time_us).collect();
    assert_eq!(times, [1, 3]);
}

#[tokio::test]
async fn a_revoked_device_with_a_certificate_is_cut_off_and_not_let_in_again() {
    let test = TestHub::start().await;
    let strict = test.running.addresses().strict;
    let out = test.dir.path().join("lock");
    let name = device("lock-1");
    let files = stencil_server::add_device(&test.data_dir(), &tenant("acme"), &name, &out).unwrap();
    let client = Client::with_certificate("lock-1", strict, &files).await;
    let topic = "stencil/v1/d/lock-1/batch";
    let sent = batch(1, 1, &[Sampled("t", 1.0, 1)]);
    client.publish(topic, sent).await.unwrap();
    test.hub().caught_up().await.unwrap();

    let registry = &test.hub().store().registry;
    let now_us = test.hub().now_us();
    assert!(
        registry
            .revoke(&tenant("acme"), &name, now_us)
            .await
            .unwrap()
    );
    let hub = test.hub();
    hub.admit_device(&tenant("acme"), &name, true)
        .await
        .unwrap();
    eventually("its session ends", async || !client.is_connected()).await;
    let again = Client::try_certificate("lock-1", strict, &files).await;
    assert!(again.is_err());
    // After a restart as well.
    let test = test.restart().await;
    let strict = test.running.addresses().strict;
    assert!(
        Client::try_certificate("lock-1", strict, &files)
            .await
            .is_err()
    );
    let refused = test.hub().store().pipeline.load(1).await.unwrap().refused;
    assert_eq!(refused, [(tenant("acme"), name)]);
}

#[tokio::test]
async fn what_was_decided_and_not_logged_before_a_kill_is_logged_after_it() {
    let test = TestHub::start().await;
    let gateway = test.gateway("gw-1").await;
    let topic = "stencil/v1/d/kiosk/batch";
    gateway
        .publish(topic, batch(1, 1, &[Sampled("t", 1.0, 1)]))
        .await
        .unwrap();
    test.hub().caught_up().await.unwrap();
    // As a kill between the store and the log leaves it.
    let registry = &test.hub().store().registry;
    registry
        .revoke(&tenant("acme"), &device("kiosk"), 5)
        .await
        .unwrap();
    eventually("the pipeline follows", async || {
        let store = test.hub().store();
        store.registry.unsettled(10).await.unwrap().is_empty()
    })
    .await;
    gateway
        .publish(topic, batch(1, 2, &[Sampled("t", 2.0, 2)]))
        .await
        .unwrap();
    test.hub().caught_up().await.unwrap();
    let series = &test.hub().store().series;
    let points = series
        .range(&tenant("acme"), &device("kiosk"), "t", 0, i64::MAX, 10)
        .await;
    assert_eq!(points.unwrap().len(), 1);
}
