//! Mail through a real server that others wrote (aiosmtpd), which understands it as it was meant.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use stencil_connect::mail::{Connection, Security};
use stencil_connect::{Connectors, Options};
use stencil_crypto::authority::Authority;
use stencil_protocol::id::TenantId;
use stencil_store::sqlite;
use stencil_workflow::{Effect, Effects, Failure, Mail, Performed, Request};

const KEY: &str = "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";
const ID: &str = "<5f70bf18a086007016e948b04aed3b82@example.org>";
const AT_US: i64 = 1_385_999_700_000_000;

/// A server process in a scenario of `foreign/smtp_server.py`.
struct Server {
    child: Child,
    said: BufReader<ChildStdout>,
    port: u16,
    dir: tempfile::TempDir,
}

impl Server {
    fn start(scenario: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::create(dir.path().join("ca"), "test").unwrap();
        let issued = authority.issue_classical_server(&["localhost"]).unwrap();
        let (chain, key) = (dir.path().join("chain.pem"), dir.path().join("key.pem"));
        issued.write(&chain, &key).unwrap();
        let root = authority.classical_root_pem();
        std::fs::write(dir.path().join("root.pem"), root).unwrap();
        let python = std::env::var_os("STENCIL_TEST_PYTHON").map(PathBuf::from);
        let python = python.expect("STENCIL_TEST_PYTHON; `cargo xtask test` sets it up");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/foreign/smtp_server.py");
        let mut child = Command::new(python)
            .arg(script)
            .arg(scenario)
            .args([&chain, &key])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        let mut server = Self {
            child,
            said,
            port: 0,
            dir,
        };
        server.port = server.line()["port"].as_u64().unwrap().try_into().unwrap();
        server
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    fn connection(&self, tls: Security) -> Connection {
        Connection {
            server: "localhost".to_owned(),
            port: Some(self.port),
            tls,
            from: "Stencil Hüb <hub@example.org>".to_owned(),
            roots: Some(self.dir.path().join("root.pem")),
            ..Connection::default()
        }
    }

    fn signed_in(&self, tls: Security, password: &str) -> Connection {
        let file = self.dir.path().join("password");
        stencil_crypto::keyfile::write(&file, format!("{password}\n").as_bytes()).unwrap();
        Connection {
            user: Some("hub".to_owned()),
            password_file: Some(file),
            ..self.connection(tls)
        }
    }

    /// Nothing more came.
    fn ends_silent(mut self) {
        drop(self.child.stdin.take());
        let mut rest = String::new();
        self.said.read_line(&mut rest).unwrap();
        assert_eq!(rest, "");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Sender {
    connectors: Connectors,
    timeout: Duration,
    _dir: tempfile::TempDir,
}

impl Sender {
    async fn new(connection: Connection) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(sqlite::open(dir.path().join("hub.db")).await.unwrap());
        let options = Options {
            mail: [("default".to_owned(), connection)].into(),
            ..Options::default()
        };
        assert_eq!(options.check(), Ok(()));
        Self {
            connectors: Connectors::new(&options, store.clone(), store).unwrap(),
            timeout: Duration::from_secs(20),
            _dir: dir,
        }
    }

    async fn send(&self, key: &str, mail: &Mail) -> Result<Performed, Failure> {
        let tenant = TenantId::parse("acme").unwrap();
        let effect = Effect::MailSend(mail.clone());
        let request = Request {
            tenant: &tenant,
            effect_key: key,
            effect: &effect,
            attempt: 1,
            at_us: AT_US,
            now_us: AT_US + 5_000_000,
            timeout: self.timeout,
            cause: None,
        };
        self.connectors.perform(&request).await
    }
}

fn mail() -> Mail {
    Mail {
        connection: "default".to_owned(),
        to: vec!["ops@example.org".to_owned(), "b.c+d@example.net".to_owned()],
        subject: "Freezer 7 ist wärmer als −12 °C, seit über einer Stunde: bitte gleich nachsehen"
            .to_owned(),
        text: "Zeile eins\n.\n..zwei\nGrüße".to_owned(),
        html: Some("<p>.hidden &amp; <b>7.5</b></p>".to_owned()),
    }
}

fn plain() -> Mail {
    Mail {
        to: vec!["ops@example.org".to_owned()],
        subject: "freezer-07 is warm".to_owned(),
        text: ".\n..\nFrom here\n".to_owned(),
        html: None,
        ..mail()
    }
}

fn done(result: Result<Performed, Failure>) -> Value {
    match result.unwrap() {
        Performed::Done(output) => output,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_received_is_what_was_meant() {
    let mut server = Server::start("plain");
    let sender = Sender::new(server.connection(Security::None)).await;
    let output = done(sender.send(KEY, &mail()).await);
    let expected = json!({
        "message_id": ID, "accepted": 2, "refused": {}, "answer": "250 2.0.0 queued as 1",
        "link": null,
    });
    assert_eq!(output, expected);
    let received = server.line();
    let headers = [
        "Auto-Submitted",
        "Content-Type",
        "Date",
        "From",
        "MIME-Version",
        "Message-ID",
        "Subject",
        "To",
    ];
    let expected = json!({
        "peer_ehlo": "[127.0.0.1]", "secure": false, "user": "",
        "mail_from": "hub@example.org", "rcpt_tos": mail().to, "to": mail().to,
        "subject": mail().subject, "from_": "Stencil Hüb <hub@example.org>",
        "date": "2013-12-02T15:55:00+00:00", "id": ID, "auto": "auto-generated",
        "text": mail().text + "\n", "html": mail().html.unwrap() + "\n",
        "headers": headers, "defects": [],
    });
    assert_eq!(received, expected);

    // The same effect again in this life of the hub: the server has it, and gets no second one.
    assert_eq!(done(sender.send(KEY, &mail()).await), output);
    let other = KEY.replace("5f70", "0000");
    done(sender.send(&other, &plain()).await);
    let received = server.line();
    assert_eq!(received["text"], plain().text);
    assert_eq!(
        (&received["html"], &received["defects"]),
        (&json!(null), &json!([]))
    );
    assert_ne!(received["id"], ID);
    server.ends_silent();
}

#[tokio::test]
async fn tls_from_the_first_byte_or_after_starttls() {
    for (scenario, security) in [
        ("implicit", Security::Implicit),
        ("starttls", Security::Starttls),
    ] {
        let mut server = Server::start(scenario);
        let sender = Sender::new(server.connection(security)).await;
        let output = done(sender.send(KEY, &plain()).await);
        // The group is what this Python's OpenSSL has: the hybrid from 3.5 on.
        let link = &output["link"];
        let hybrid = link["group"] == "X25519MLKEM768";
        assert!(hybrid || link["group"] == "X25519", "{link}");
        assert_eq!(link["post_quantum"], hybrid);
        assert_eq!(server.line()["secure"], true);
    }
}

#[tokio::test]
async fn a_server_that_is_not_under_the_roots_or_offers_no_tls_gets_nothing() {
    let server = Server::start("starttls");
    let other = tempfile::tempdir().unwrap();
    let authority = Authority::create(other.path().join("ca"), "other").unwrap();
    let roots = other.path().join("root.pem");
    std::fs::write(&roots, authority.classical_root_pem()).unwrap();
    let connection = Connection {
        roots: Some(roots),
        ..server.connection(Security::Starttls)
    };
    let failure = Sender::new(connection).await.send(KEY, &plain()).await;
    let failure = failure.unwrap_err();
    assert!(
        failure.message.contains("invalid peer certificate"),
        "{failure}"
    );
    server.ends_silent();

    let server = Server::start("plain");
    let sender = Sender::new(server.connection(Security::Starttls)).await;
    let failure = sender.send(KEY, &plain()).await.unwrap_err();
    assert!(
        !failure.retryable && failure.message.contains("offers no STARTTLS"),
        "{failure}"
    );
    server.ends_silent();
}

#[tokio::test]
async fn who_sends_signs_in() {
    for scenario in ["auth", "login"] {
        let mut server = Server::start(scenario);
        let sender = Sender::new(server.signed_in(Security::Starttls, "s3cret")).await;
        done(sender.send(KEY, &plain()).await);
        assert_eq!(server.line()["user"], "hub", "{scenario}");
    }
    let server = Server::start("auth");
    let sender = Sender::new(server.signed_in(Security::Starttls, "wr0ng")).await;
    let failure = sender.send(KEY, &plain()).await.unwrap_err();
    assert!(!failure.retryable, "{failure}");
    assert!(
        failure
            .message
            .starts_with("the mail server refused the user `hub`: 535 "),
        "{failure}"
    );
    assert!(!failure.message.contains("wr0ng"), "{failure}");
    server.ends_silent();
}

#[tokio::test]
async fn refused_for_now_it_is_sent_again_as_the_same_mail() {
    let mut server = Server::start("busy");
    let sender = Sender::new(server.connection(Security::None)).await;
    let failure = sender.send(KEY, &plain()).await.unwrap_err();
    let message = "the mail server refused the mail: 451 4.3.0 try again later";
    assert_eq!(failure, Failure::retryable(message));
    let first = server.line();
    assert_eq!(
        done(sender.send(KEY, &plain()).await)["answer"],
        "250 2.0.0 queued as 2"
    );
    assert_eq!(server.line(), first);
}

#[tokio::test]
async fn a_connection_that_breaks_in_the_mail_may_pass_and_the_repeat_is_known_by_its_id() {
    let mut server = Server::start("cut");
    let sender = Sender::new(server.connection(Security::None)).await;
    let failure = sender.send(KEY, &plain()).await.unwrap_err();
    assert!(failure.retryable, "{failure}");
    assert!(
        failure.message.starts_with("the mail server was lost at "),
        "{failure}"
    );
    assert_eq!(server.line()["id"], ID);
    done(sender.send(KEY, &plain()).await);
    assert_eq!(server.line()["id"], ID);
}

#[tokio::test]
async fn refused_for_good_it_says_so_in_the_servers_words() {
    let mut server = Server::start("never");
    let sender = Sender::new(server.connection(Security::None)).await;
    let failure = sender.send(KEY, &plain()).await;
    let message = "the mail server refused the mail: 554 5.7.1 we want no mail";
    assert_eq!(failure, Err(Failure::permanent(message)));
    server.line();
    server.ends_silent();
}

#[tokio::test]
async fn one_recipient_that_does_not_exist_keeps_the_others_from_nothing() {
    let mut server = Server::start("nobody");
    let sender = Sender::new(server.connection(Security::None)).await;
    let to = vec![
        "nobody@example.org".to_owned(),
        "ops@example.org".to_owned(),
    ];
    let output = done(sender.send(KEY, &Mail { to, ..plain() }).await);
    assert_eq!(output["accepted"], 1);
    let refused = json!({ "nobody@example.org": "550 5.1.1 no such mailbox" });
    assert_eq!(output["refused"], refused);
    assert_eq!(server.line()["rcpt_tos"], json!(["ops@example.org"]));

    let to = vec!["nobody@example.org".to_owned()];
    let other = KEY.replace("5f70", "0000");
    let failure = sender
        .send(&other, &Mail { to, ..plain() })
        .await
        .unwrap_err();
    assert!(
        !failure.retryable && failure.message.contains("550 5.1.1"),
        "{failure}"
    );
    server.ends_silent();
}

#[tokio::test]
async fn one_recipient_that_is_refused_for_now_keeps_the_mail_whole_for_later() {
    let server = Server::start("full");
    let sender = Sender::new(server.connection(Security::None)).await;
    let to = vec!["ops@example.org".to_owned(), "full@example.org".to_owned()];
    let failure = sender.send(KEY, &Mail { to, ..plain() }).await.unwrap_err();
    assert!(
        failure.retryable && failure.message.contains("452 4.2.2"),
        "{failure}"
    );
    server.ends_silent();
}

#[tokio::test]
async fn a_server_that_says_nothing_is_left_in_time() {
    let server = Server::start("mute");
    let connection = Connection {
        timeout_ms: 100,
        ..server.connection(Security::None)
    };
    let failure = Sender::new(connection)
        .await
        .send(KEY, &plain())
        .await
        .unwrap_err();
    let message = "the mail server was lost at the connection: it did not answer in time";
    assert_eq!(failure, Failure::retryable(message));
}

#[tokio::test]
async fn the_connection_says_who_may_send_how_much_to_whom() {
    let server = Server::start("plain");
    let connection = Connection {
        recipients: vec!["example.org".to_owned()],
        max_recipients: 1,
        max_per_minute: 1,
        ..server.connection(Security::None)
    };
    let sender = Sender::new(connection.clone()).await;
    let failure = sender.send(KEY, &mail()).await.unwrap_err();
    assert!(failure.message.contains("takes at most 1"), "{failure}");
    let to = vec!["me@example.net".to_owned()];
    let failure = sender.send(KEY, &Mail { to, ..plain() }).await.unwrap_err();
    assert!(
        failure.message.contains("may not go to me@example.net"),
        "{failure}"
    );
    let elsewhere = Mail {
        connection: "night".to_owned(),
        ..plain()
    };
    let failure = sender.send(KEY, &elsewhere).await.unwrap_err();
    assert!(
        failure.message.contains("no mail connection `night`"),
        "{failure}"
    );
    done(sender.send(KEY, &plain()).await);
    let other = KEY.replace("5f70", "0000");
    let later = sender.send(&other, &plain()).await;
    assert!(matches!(later, Ok(Performed::Later(_))), "{later:?}");

    let theirs = Connection {
        tenants: vec![TenantId::parse("other").unwrap()],
        ..connection
    };
    let failure = Sender::new(theirs)
        .await
        .send(KEY, &plain())
        .await
        .unwrap_err();
    assert!(
        failure.message.contains("no mail connection `default`"),
        "{failure}"
    );
}

#[tokio::test]
async fn a_password_that_others_can_read_is_refused_and_never_shown() {
    use std::os::unix::fs::PermissionsExt as _;
    let server = Server::start("plain");
    let connection = server.signed_in(Security::None, "s3cret");
    let shown = format!("{connection:?} {}", json!(connection));
    assert!(!shown.contains("s3cret"));
    let file: &Path = connection.password_file.as_deref().unwrap();
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(sqlite::open(dir.path().join("hub.db")).await.unwrap());
    let options = Options {
        mail: [("default".to_owned(), connection)].into(),
        ..Options::default()
    };
    let error = Connectors::new(&options, store.clone(), store)
        .err()
        .unwrap();
    let error = error.to_string();
    assert!(
        error.starts_with("connect.mail.default: the password: "),
        "{error}"
    );
}
