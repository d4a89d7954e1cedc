//! What the listener bears.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Limits, Served};

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let limits = Limits {
        idle_timeout_ms: 50,
        ..Limits::default()
    };
    let served = Served::start_with(limits).await;
    let mut silent = TcpStream::connect(served.address).await.unwrap();
    silent.write_all(b"GET /livez HT").await.unwrap();
    let mut bytes = Vec::new();
    let read = timeout(PATIENCE, silent.read_to_end(&mut bytes)).await;
    let _ = read.expect("it is closed");
    assert!(!bytes.starts_with(b"HTTP/1.1 200"));
    assert_eq!(served.get("/livez").send().await.status, 200);
}

#[tokio::test]
async fn connections_beyond_the_bound_wait() {
    let served = Served::start_with(Limits {
        max_connections: 1,
        ..Limits::default()
    })
    .await;
    let mut first = TcpStream::connect(served.address).await.unwrap();
    first
        .write_all(b"GET /livez HTTP/1.1\r\nhost: hub\r\n\r\n")
        .await
        .unwrap();
    let mut bytes = [0; 15];
    first.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"HTTP/1.1 200 OK");
    let second = tokio::spawn(served.get("/livez").send());
    // It has nobody to talk to while the first is there …
    assert!(!second.is_finished());
    drop(first);
    // … and is served when the first is gone.
    let second = timeout(PATIENCE, second)
        .await
        .expect("it is served")
        .unwrap();
    assert_eq!(second.status, 200);
}

#[tokio::test]
async fn malformed_requests_disturb_nobody() {
    let served = Served::start().await;
    for bytes in [
        &b"\x16\x03\x01\x02\x00"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\n\r\n",
        b"GET /%zz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        b"POST /login HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nabc",
    ] {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut answer))
            .await
            .expect("it ends");
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{bytes:?}");
    }
    let many = "x".repeat(200_000);
    let answer = served
        .ask("PUT", "/api/v1/workflows/a")
        .bearer(&served.tokens.editor)
        .body(many);
    assert!(answer.send().await.problem(413).contains("65536"));
    assert_eq!(served.get("/livez").send().await.status, 200);
}

#[tokio::test]
async fn each_problem_is_a_document_with_the_place_of_what_is_wrong() {
    let served = Served::start().await;
    let silence = "/api/v1/alarms/efefefefefefefefefefefefefefefef/silence";
    let json = "application/json";
    for (method, path, kind, body, status, pointer) in [
        (
            "POST",
            silence,
            json,
            "{\"for_s\": \"x\"}",
            400,
            Some("#/for_s"),
        ),
        (
            "POST",
            silence,
            json,
            "{\"for_s\": 1, \"until\": 2}",
            400,
            Some("#/until"),
        ),
        ("POST", silence, json, "[]", 400, Some("#")),
        ("POST", silence, json, "{\"for_s\": 1", 400, None),
        ("POST", silence, json, "{} {}", 400, None),
        ("POST", silence, json, "", 400, None),
        ("POST", silence, "text/plain", "{}", 415, None),
        ("POST", silence, "", "{}", 415, None),
        ("PATCH", silence, json, "{}", 405, None),
        ("GET", "/api/v1/nothing", "", "", 404, None),
        ("GET", "/api/v1/devices?limit=0", "", "", 400, None),
    ] {
        let ask = served.ask(method, path).bearer(&served.tokens.editor);
        let ask = if kind.is_empty() {
            ask
        } else {
            ask.header("content-type", kind)
        };
        let answer = ask.body(body).send().await;
        let detail = answer.problem(status);
        assert!(!detail.is_empty(), "{method} {path} {body}");
        let errors = &answer.json()["errors"];
        match pointer {
            None => assert!(errors.is_null(), "{body}: {errors}"),
            Some(pointer) => {
                assert_eq!(errors[0]["pointer"], pointer, "{body}: {errors}");
                assert!(!errors[0]["what"].as_str().unwrap().is_empty());
            }
        }
    }
    let long = format!("{{\"note\": \"{}\"}}", "x".repeat(20_000));
    let ask = served.ask("POST", silence).bearer(&served.tokens.editor);
    let answer = ask.header("content-type", json).body(long).send().await;
    assert!(answer.problem(413).contains("16384"), "{answer:?}");
}
