//! Webhooks against a real server that behaves in all the ways servers do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod receiver;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use receiver::{Answer, Receiver};
use serde_json::json;
use stencil_connect::{Connectors, Options, SecretFile, webhook};
use stencil_protocol::id::TenantId;
use stencil_store::sqlite;
use stencil_workflow::{Effect, Effects, Failure, Performed, Request};

const KEY: &str = "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";
const NOW_US: i64 = 1_700_000_000_000_000;

fn loopback() -> Options {
    let webhook = webhook::Options {
        allow_loopback: true,
        ..Default::default()
    };
    Options {
        webhook,
        ..Default::default()
    }
}

struct Poster {
    connectors: Connectors,
    tenant: TenantId,
    timeout: Duration,
    _dir: tempfile::TempDir,
}

impl Poster {
    async fn new(options: &Options) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(sqlite::open(dir.path().join("hub.db")).await.unwrap());
        let connectors = Connectors::new(options, store.clone(), store).unwrap();
        let tenant = TenantId::parse("acme").unwrap();
        Self {
            connectors,
            tenant,
            timeout: Duration::from_secs(20),
            _dir: dir,
        }
    }

    async fn post(&self, url: &str, secret: Option<&str>) -> Result<Performed, Failure> {
        let body = json!({ "device": "freezer-07" });
        let secret = secret.map(ToOwned::to_owned);
        let effect = Effect::WebhookPost {
            url: url.to_owned(),
            body,
            secret,
        };
        let request = Request {
            tenant: &self.tenant,
            effect_key: KEY,
            effect: &effect,
            attempt: 1,
            at_us: NOW_US,
            now_us: NOW_US,
            timeout: self.timeout,
            cause: None,
        };
        self.connectors.perform(&request).await
    }
}

/// What comes of one answer.
async fn answered(answer: Answer) -> Result<Performed, Failure> {
    let receiver = Receiver::start([answer]).await;
    let poster = Poster::new(&loopback()).await;
    let result = poster.post(&receiver.url(), None).await;
    assert_eq!(
        receiver.received().len(),
        1,
        "asked once: retries are the workflow's"
    );
    result
}

#[tokio::test]
async fn what_is_posted_is_signed_and_carries_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ops.secret");
    stencil_crypto::keyfile::write(
        &file,
        format!("whsec_{}\n", STANDARD.encode([9; 32])).as_bytes(),
    )
    .unwrap();
    let (tenant, name) = (TenantId::parse("acme").unwrap(), "ops".to_owned());
    let options = Options {
        secrets: vec![SecretFile {
            tenant,
            name,
            file,
            previous: Vec::new(),
        }],
        ..loopback()
    };
    let answer = Answer::status(
        "201 Created",
        "content-type: application/json\r\n",
        r#"{"id":7}"#,
    );
    let receiver = Receiver::start([answer]).await;
    let poster = Poster::new(&options).await;
    let performed = poster.post(&receiver.url(), Some("ops")).await;
    assert_eq!(
        performed,
        Ok(Performed::Done(
            json!({ "status": 201, "body": { "id": 7 }, "link": null })
        ))
    );

    let received = receiver.received().remove(0);
    assert_eq!(received.line, "POST /hook?a=b HTTP/1.1");
    let header = |name: &str| received.headers.get(name).map_or("", String::as_str);
    assert_eq!(header("content-type"), "application/json");
    assert_eq!(
        (header("idempotency-key"), header("webhook-id")),
        (KEY, KEY)
    );
    assert_eq!(header("webhook-timestamp"), "1700000000");
    assert_eq!(received.body, br#"{"device":"freezer-07"}"#);
    assert_eq!(
        header("webhook-signature"),
        "v1,oTzwQN0zd/FvAV7XY1bX8eKlfluAVVuz9NV6p9bKqls="
    );
}

#[tokio::test]
async fn without_a_secret_there_is_no_signature_and_an_unknown_one_is_an_error() {
    let receiver = Receiver::start([]).await;
    let poster = Poster::new(&loopback()).await;
    poster.post(&receiver.url(), None).await.unwrap();
    assert!(
        !receiver.received()[0]
            .headers
            .contains_key("webhook-signature")
    );
    let failure = poster.post(&receiver.url(), Some("ops")).await.unwrap_err();
    let message = "there is no secret `ops`; add it to the hub's settings";
    assert_eq!(failure, Failure::permanent(message));
    assert_eq!(receiver.received().len(), 1);
}

#[tokio::test]
async fn a_receiver_that_is_busy_says_when_to_come_again() {
    let failure = answered(Answer::status(
        "429 Too Many Requests",
        "retry-after: 7\r\n",
        "",
    ))
    .await;
    let message = "the receiver answered 429 Too Many Requests".to_owned();
    let retry_after = Some(Duration::from_secs(7));
    assert_eq!(
        failure,
        Err(Failure {
            retryable: true,
            retry_after,
            message
        })
    );
    let date = "retry-after: Tue, 14 Nov 2023 22:13:50 GMT\r\n";
    let failure = answered(Answer::status("503 Service Unavailable", date, ""))
        .await
        .unwrap_err();
    assert_eq!(failure.retry_after, Some(Duration::from_secs(30)));
}

#[tokio::test]
async fn failures_of_the_server_may_pass_and_refusals_do_not() {
    let failure = answered(Answer::status("500 Internal Server Error", "", "oops")).await;
    let message = "the receiver answered 500 Internal Server Error";
    assert_eq!(failure, Err(Failure::retryable(message)));
    let failure = answered(Answer::status("422 Unprocessable Entity", "", "")).await;
    let message = "the receiver answered 422 Unprocessable Entity";
    assert_eq!(failure, Err(Failure::permanent(message)));
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let elsewhere = Receiver::start([]).await;
    let location = format!("location: {}\r\n", elsewhere.url());
    let failure = answered(Answer::status("307 Temporary Redirect", &location, "")).await;
    let failure = failure.unwrap_err();
    assert!(
        !failure.retryable && failure.message.contains("write the final URL"),
        "{failure}"
    );
    assert!(elsewhere.received().is_empty());
}

#[tokio::test]
async fn a_lost_answer_may_be_asked_for_again() {
    let failure = answered(Answer::Drop).await.unwrap_err();
    assert!(failure.retryable, "{failure}");
    assert!(failure.message.starts_with("no answer came: "), "{failure}");
    let failure = answered(Answer::Bytes(b"\0\0\0 not http at all\r\n\r\n".to_vec())).await;
    assert!(failure.unwrap_err().retryable);
}

#[tokio::test]
async fn a_slow_receiver_is_left_in_time() {
    let receiver = Receiver::start([Answer::Silence]).await;
    let mut poster = Poster::new(&loopback()).await;
    poster.timeout = Duration::from_millis(100);
    let failure = poster.post(&receiver.url(), None).await;
    assert_eq!(
        failure,
        Err(Failure::retryable("the receiver did not answer in time"))
    );
}

#[tokio::test]
async fn of_a_long_answer_nothing_is_kept_and_it_is_done() {
    let none = Ok(Performed::Done(
        json!({ "status": 200, "body": null, "link": null }),
    ));
    assert_eq!(answered(Answer::Endless).await, none);
    let long = "x".repeat(8_193);
    assert_eq!(answered(Answer::status("200 OK", "", &long)).await, none);
    let fits = "x".repeat(8_192);
    let kept = Ok(Performed::Done(
        json!({ "status": 200, "body": fits, "link": null }),
    ));
    assert_eq!(answered(Answer::status("200 OK", "", &fits)).await, kept);
    // Taken, then cut off in the middle of the body.
    let cut = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\nconnection: close\r\n\r\nhalf".to_vec();
    let receiver = Receiver::start([Answer::Bytes(cut)]).await;
    let mut poster = Poster::new(&loopback()).await;
    poster.timeout = Duration::from_millis(300);
    assert_eq!(poster.post(&receiver.url(), None).await, none);
}

#[tokio::test]
async fn nobody_there_may_pass() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let poster = Poster::new(&loopback()).await;
    let failure = poster.post(&url, None).await.unwrap_err();
    assert!(failure.retryable, "{failure}");
    assert!(
        failure
            .message
            .starts_with("the receiver cannot be reached: "),
        "{failure}"
    );
}

#[tokio::test]
async fn addresses_that_are_not_public_need_a_setting() {
    let receiver = Receiver::start([]).await;
    let poster = Poster::new(&Options::default()).await;
    let failure = poster.post(&receiver.url(), None).await;
    let message = "127.0.0.1 is a loopback address; `allow_loopback` is off";
    assert_eq!(failure, Err(Failure::permanent(message)));
    // By name: what the name resolves to is checked, too.
    let url = format!("http://localhost:{}/", receiver.address.port());
    let failure = poster.post(&url, None).await.unwrap_err();
    assert!(
        !failure.retryable && failure.message.contains("loopback address"),
        "{failure}"
    );
    assert!(receiver.received().is_empty());
    let allowed = Poster::new(&loopback()).await;
    assert!(
        allowed.post(&url, None).await.is_ok(),
        "the setting is what makes the difference"
    );
    let failure = allowed.post("http://192.168.0.1/", None).await.unwrap_err();
    assert!(
        failure.message.contains("`allow_private` is off"),
        "{failure}"
    );
}

#[tokio::test]
async fn settings_that_cannot_be_used_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(sqlite::open(dir.path().join("hub.db")).await.unwrap());
    let file = dir.path().join("ops.secret");
    stencil_crypto::keyfile::write(&file, b"hunter2").unwrap();
    let (tenant, name) = (TenantId::parse("acme").unwrap(), "ops".to_owned());
    let options = Options {
        secrets: vec![SecretFile {
            tenant,
            name,
            file,
            previous: Vec::new(),
        }],
        ..loopback()
    };
    let error = Connectors::new(&options, store.clone(), store)
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("the secret `ops` of tenant `acme`"),
        "{error}"
    );
    assert!(
        error.contains("begins with `whsec_`") && !error.contains("hunter2"),
        "{error}"
    );
    assert!(serde_json::from_value::<Options>(json!({ "webhok": {} })).is_err());
}
