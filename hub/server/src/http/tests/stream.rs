//! The event stream of the live page.

use std::time::Duration;

use serde_json::Value;
use stencil_protocol::command::State;
use stencil_protocol::id::TenantId;
use stencil_protocol::sample::OwnedValue;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Limits, NOW_US, Served, seed};
use crate::LiveEvent;

const PATIENCE: Duration = Duration::from_secs(20);

struct Stream {
    socket: TcpStream,
    text: String,
}

impl Stream {
    /// Opens it, and returns when the hub has subscribed it.
    async fn open(served: &Served, token: &str) -> Self {
        let socket = served.get("/live").bearer(token).open().await;
        let mut stream = Self {
            socket,
            text: String::new(),
        };
        let head = stream.until("\r\n\r\n").await;
        assert!(
            head.to_lowercase()
                .contains("content-type: text/event-stream"),
            "{head}"
        );
        stream
    }

    async fn until(&mut self, end: &str) -> String {
        loop {
            if let Some((before, after)) = self.text.split_once(end) {
                let before = before.to_owned();
                self.text = after.to_owned();
                return before;
            }
            let mut bytes = [0; 4096];
            let read = timeout(PATIENCE, self.socket.read(&mut bytes))
                .await
                .expect("silent");
            let read = read.unwrap();
            assert_ne!(read, 0, "it ended after {:?}", self.text);
            self.text
                .push_str(std::str::from_utf8(&bytes[..read]).unwrap());
        }
    }

    async fn update(&mut self) -> Value {
        self.until("event: update\ndata: ").await;
        serde_json::from_str(&self.until("\n\n").await).unwrap()
    }
}

fn reading(value: f64) -> LiveEvent {
    LiveEvent::Reading {
        device: seed::freezer(),
        name: "temperature".to_owned(),
        value: OwnedValue::Number(value),
        unit: Some("degC".to_owned()),
        time_us: NOW_US,
        post_quantum: true,
    }
}

#[tokio::test]
async fn tells_what_happens() {
    let served = Served::start().await;
    let mut stream = Stream::open(&served, &served.tokens.reader).await;
    served.live.send(&seed::acme(), reading(-7.0));
    let link = LiveEvent::Link {
        device: seed::freezer(),
        gateway: None,
        connected: false,
        at_us: NOW_US,
    };
    served.live.send(&seed::acme(), link);
    let update = stream.update().await;
    assert_eq!(update["at_us"], NOW_US);
    assert_eq!(update["readings"][0]["device"], "freezer-marked");
    assert_eq!(update["readings"][0]["value"], -7.0);
    assert_eq!(update["links"][0]["connected"], false);
    assert_eq!(
        (&update["runs"], &update["commands"]),
        (&false.into(), &false.into())
    );
    served
        .live
        .send(&seed::acme(), LiveEvent::RunChanged { run: seed::RUN });
    let command = LiveEvent::Command {
        command: seed::COMMAND,
        state: State::Done,
        at_us: NOW_US,
    };
    served.live.send(&seed::acme(), command);
    let update = stream.update().await;
    assert_eq!(
        (&update["runs"], &update["commands"]),
        (&true.into(), &true.into())
    );
}

#[tokio::test]
async fn tells_nothing_of_other_tenants() {
    let served = Served::start().await;
    let mut stream = Stream::open(&served, &served.tokens.rival).await;
    served.live.send(&seed::acme(), reading(-7.0));
    let rival = TenantId::parse("rival").unwrap();
    served
        .live
        .send(&rival, LiveEvent::RunChanged { run: seed::RUN });
    let update = stream.update().await;
    assert_eq!(update["readings"], serde_json::json!([]));
    assert_eq!(update["runs"], true);
}

#[tokio::test]
async fn there_is_a_bound_and_room_comes_back() {
    let served = Served::start_with(Limits {
        max_streams: 1,
        ..Limits::default()
    })
    .await;
    let first = Stream::open(&served, &served.tokens.reader).await;
    let refused = served.read("/live").await;
    assert!(refused.problem(503).contains("1 live pages are open"));
    assert!(refused.header("retry-after").is_some());
    drop(first);
    // The hub notices at the next thing that it would have said.
    let again = async {
        loop {
            served.live.send(&seed::acme(), reading(0.0));
            let socket = served
                .get("/live")
                .bearer(&served.tokens.reader)
                .open()
                .await;
            let mut stream = Stream {
                socket,
                text: String::new(),
            };
            if stream.until("\r\n").await.contains("200") {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, again)
        .await
        .expect("the room of a closed stream is given back");
}

#[tokio::test]
async fn a_stream_ends_at_its_life_and_when_the_hub_stops() {
    let served = Served::start_with(Limits {
        stream_life_ms: 50,
        ..Limits::default()
    })
    .await;
    Stream::open(&served, &served.tokens.reader)
        .await
        .until("event: end")
        .await;

    let served = Served::start().await;
    let mut stream = Stream::open(&served, &served.tokens.reader).await;
    served.stop.send(true).unwrap();
    stream.until("event: end").await;
    drop(stream);
    timeout(PATIENCE, served.server)
        .await
        .expect("the server ends")
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn ends_with_its_token() {
    let served = Served::start().await;
    let mut stream = Stream::open(&served, &served.tokens.reader).await;
    let mut other = Stream::open(&served, &served.tokens.editor).await;
    let tenancy = &served.store.tenancy;
    let owner = tenancy
        .verify_token(&served.tokens.reader, NOW_US)
        .await
        .unwrap();
    let path = format!("/api/v1/tokens/{}", owner.unwrap().id);
    let revoked = served.ask("DELETE", &path).bearer(&served.tokens.admin);
    assert_eq!(revoked.send().await.status, 204);
    served.live.send(&seed::acme(), reading(-7.0));
    other.update().await;
    let before = stream.until("event: end\n").await;
    assert!(!before.contains("update"), "{before}");
    let again = served.get("/live").bearer(&served.tokens.reader).send();
    again.await.problem(401);
}
