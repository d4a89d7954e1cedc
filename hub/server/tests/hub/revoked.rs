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
        .create_token(&tenant("acme"), kind, "kiosk", 1)
        .await;
    issued.unwrap()
}

async fn revoke(test: &TestHub, id: &str) -> String {
    let admin = stencil_server::issue_admin_token(&test.data_dir(), &tenant("acme"), "admin")
        .await
        .unwrap();
    let mut socket = TcpStream::connect(test.running.addresses().http)
        .await
        .unwrap();
    let request = format!(
        "DELETE /api/v1/tokens/{id} HTTP/1.1\r\nhost: hub\r\nconnection: close\r\n\
         authorization: Bearer {}\r\n\r\n",
        admin.reveal()
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
