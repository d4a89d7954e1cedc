//! The receiver acts once a key, and loses answers as it was told to.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use stencil_simulators::receiver::{Options, Receiver, read};
use tokio::sync::watch;

fn options(dir: &Path) -> Options {
    Options {
        listen: "127.0.0.1:0".parse().unwrap(),
        journal: dir.join("webhooks.jsonl"),
        ..Options::default()
    }
}

/// Posts on a connection of its own; the status, or nothing without an answer.
fn post(address: SocketAddr, headers: &str, body: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    let request = format!(
        "POST /hook HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    // A reset connection is no answer either.
    let _ = stream.read_to_string(&mut answer);
    answer
        .split(' ')
        .nth(1)
        .map(|status| status.parse().unwrap())
}

async fn with<T: Send + 'static>(
    options: Options,
    client: impl FnOnce(SocketAddr) -> T + Send + 'static,
) -> T {
    let receiver = Receiver::bind(options).await.unwrap();
    let address = receiver.address();
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(receiver.run(stopped));
    let outcome = tokio::task::spawn_blocking(move || client(address))
        .await
        .unwrap();
    stop.send(true).unwrap();
    running.await.unwrap().unwrap();
    outcome
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acts_once_a_key_also_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let body = r#"{"device":"freezer-07"}"#;
    with(options(dir.path()), move |address| {
        assert_eq!(
            post(address, "webhook-id: a\r\nidempotency-key: a\r\n", body),
            Some(200)
        );
        assert_eq!(post(address, "webhook-id: a\r\n", body), Some(200));
        assert_eq!(
            post(address, "idempotency-key: b\r\n", "no JSON"),
            Some(200)
        );
    })
    .await;
    with(options(dir.path()), move |address| {
        assert_eq!(post(address, "webhook-id: a\r\n", body), Some(200));
    })
    .await;
    let deliveries = read(dir.path().join("webhooks.jsonl")).unwrap();
    let acted: Vec<_> = deliveries
        .iter()
        .map(|delivery| (delivery.key.as_str(), delivery.acted))
        .collect();
    assert_eq!(
        acted,
        [("a", true), ("a", false), ("b", true), ("a", false)]
    );
    assert_eq!(deliveries[0].body.as_ref().unwrap()["device"], "freezer-07");
    assert_eq!(deliveries[2].body, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loses_a_share_of_the_answers_after_it_acted() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        drop_fraction: 0.2,
        ..options(dir.path())
    };
    let answered = with(options, |address| {
        (0..200)
            .map(|n| {
                (
                    n.to_string(),
                    post(address, &format!("webhook-id: {n}\r\n"), "{}"),
                )
            })
            .collect::<BTreeMap<_, _>>()
    })
    .await;
    let deliveries = read(dir.path().join("webhooks.jsonl")).unwrap();
    assert_eq!(deliveries.len(), 200);
    for delivery in &deliveries {
        assert!(delivery.acted);
        let expected = delivery.answered.then_some(200);
        assert_eq!(answered[&delivery.key], expected, "{delivery:?}");
    }
    let lost = deliveries
        .iter()
        .filter(|delivery| !delivery.answered)
        .count();
    assert!((20..60).contains(&lost), "{lost}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refuses_what_has_no_key_is_too_large_or_one_too_many() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        max_keys: 1,
        max_body_bytes: 100,
        ..options(dir.path())
    };
    with(options, |address| {
        assert_eq!(post(address, "", "{}"), Some(400));
        assert_eq!(
            post(address, "webhook-id: a\r\nidempotency-key: b\r\n", "{}"),
            Some(400)
        );
        assert_eq!(
            post(address, "webhook-id: a\r\n", &"x".repeat(101)),
            Some(413)
        );
        assert_eq!(post(address, "webhook-id: a\r\n", "{}"), Some(200));
        assert_eq!(post(address, "webhook-id: b\r\n", "{}"), Some(507));
        assert_eq!(post(address, "webhook-id: a\r\n", "{}"), Some(200));
    })
    .await;
    assert_eq!(read(dir.path().join("webhooks.jsonl")).unwrap().len(), 2);
}

#[tokio::test]
async fn listens_on_loopback_only() {
    let dir = tempfile::tempdir().unwrap();
    let listen = "0.0.0.0:0".parse().unwrap();
    let error = Receiver::bind(Options {
        listen,
        ..options(dir.path())
    })
    .await
    .unwrap_err();
    assert!(error.to_string().contains("loopback"), "{error}");
}
