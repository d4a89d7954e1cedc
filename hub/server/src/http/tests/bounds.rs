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
async fn a_head_that_trickles_is_cut_off() {
    let served = Served::start_with(Limits {
        head_timeout_ms: 300,
        ..Limits::default()
    })
    .await;
    let mut slow = TcpStream::connect(served.address).await.unwrap();
    // The first request is in time, the head of the second never ends.
    slow.write_all(b"GET /livez HTTP/1.1\r\nhost: hub\r\n\r\n")
        .await
        .unwrap();
    let mut bytes = [0; 15];
    slow.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"HTTP/1.1 200 OK");
    slow.write_all(b"GET /livez HTTP/1.1\r\nx: ").await.unwrap();
    let (mut reading, mut writing) = slow.into_split();
    let trickle = async {
        while writing.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let mut rest = Vec::new();
    let cut = async {
        tokio::select! {
            () = trickle => {}
            _ = reading.read_to_end(&mut rest) => {}
        }
    };
    timeout(PATIENCE, cut).await.expect("it is cut off");
    let metrics = served.get("/metrics").send().await.body;
    let line = "stencil_hub_http_heads_overdue_total 1\n";
    assert!(metrics.contains(line), "{metrics}");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let served = Served::start_with(Limits {
        body_timeout_ms: 100,
        ..Limits::default()
    })
    .await;
    let mut slow = TcpStream::connect(served.address).await.unwrap();
    slow.write_all(b"POST /login HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\nabc")
        .await
        .unwrap();
    let mut bytes = [0; 12];
    let answered = timeout(PATIENCE, slow.read_exact(&mut bytes)).await;
    answered.expect("it is answered").unwrap();
    assert_eq!(&bytes, b"HTTP/1.1 400");
}

#[tokio::test]
async fn half_requests_of_one_address_keep_nobody_out() {
    let served = Served::start_with(Limits {
        max_connections: 24,
        max_connections_per_address: 16,
        ..Limits::default()
    })
    .await;
    let reader = &served.tokens.reader;
    let mut page = served.get("/live").bearer(reader).open().await;
    let mut head = [0; 15];
    page.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    let mut halves = Vec::new();
    for _ in 0..100 {
        let mut half = TcpStream::connect(served.address).await.unwrap();
        // One that was closed already may say so.
        let _ = half.write_all(b"GET /livez HT").await;
        halves.push(half);
    }
    // Neither somebody else nor the same address waits, and the live page goes on.
    for address in [[127, 0, 0, 1], [127, 0, 0, 9]] {
        let answer = timeout(PATIENCE, served.get("/livez").from(address).send());
        assert_eq!(answer.await.expect("no wait").status, 200);
    }
    let metrics = served.get("/metrics").from([127, 0, 0, 9]).send().await;
    let shed = metrics
        .body
        .lines()
        .find_map(|line| {
            line.strip_prefix("stencil_hub_http_connections_shed_total{bound=\"address\"} ")
        })
        .unwrap();
    // One hundred, a live page and a request, with room for sixteen.
    assert!(shed.parse::<u64>().unwrap() >= 100 + 2 - 16, "{shed}");
    let answer = served.get("/livez").send().await;
    assert_eq!(answer.status, 200);
    let mut more = [0; 1];
    page.read_exact(&mut more).await.expect("it is still there");
}

#[tokio::test]
async fn with_no_room_the_idle_make_way_and_the_busy_stay() {
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
    let reader = &served.tokens.reader;
    let mut second = served.get("/live").bearer(reader).open().await;
    second.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"HTTP/1.1 200 OK");
    let mut rest = Vec::new();
    let closed = timeout(PATIENCE, first.read_to_end(&mut rest)).await;
    let _ = closed.expect("the first was closed");
    // One that is in the middle of an answer stays, and the newcomer hears at once that there is
    // no room.
    let mut third = TcpStream::connect(served.address).await.unwrap();
    let refused = timeout(PATIENCE, third.read_to_end(&mut rest)).await;
    let _ = refused.expect("the third was closed");
    drop(second);
    let again = async {
        loop {
            if served.get("/livez").send().await.status == 200 {
                break;
            }
        }
    };
    timeout(PATIENCE, again).await.expect("there is room again");
}

#[tokio::test]
async fn who_holds_all_the_room_with_live_pages_makes_some_for_another() {
    let served = Served::start_with(Limits {
        max_connections: 2,
        ..Limits::default()
    })
    .await;
    let mut pages = Vec::new();
    for _ in 0..2 {
        let ask = served.get("/live").bearer(&served.tokens.reader);
        let mut page = ask.from([127, 0, 0, 7]).open().await;
        let mut bytes = [0; 15];
        page.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"HTTP/1.1 200 OK");
        pages.push(page);
    }
    let answer = timeout(PATIENCE, served.get("/livez").send()).await;
    assert_eq!(answer.expect("it is served").status, 200);
    let mut rest = Vec::new();
    let ended = timeout(PATIENCE, pages[0].read_to_end(&mut rest)).await;
    let _ = ended.expect("the older page was closed");
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
