//! Somebody asks a gateway from the hub for its log and its figures, over real links between real
//! processes: no secret comes, nobody else's gateway answers, a gateway that is away is told of, and
//! what a hostile one answers changes nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::net::TcpStream;

use serde_json::{Value, json};
use stencil_protocol::question::{Answer, MAX_ANSWER_BYTES, MAX_PIECE_BYTES, Piece, Question};
use support::http::{self, Answer as Http};
use support::mqtt::Mqtt;
use support::{Gateway, Hub, text, wait_for};

const LOGS: &str = "/api/v1/gateways/gw-1/logs";

/// A level at which a gateway says much of its own.
const DEBUG: (&str, &str) = ("STENCIL_LOG", "debug");
/// Links that come and go without a word.
const LINKS: usize = 150;

fn put(hub: &Hub, token: &str, path: &str, body: &Value) -> Http {
    let body = body.to_string();
    let body = Some(("application/json", body.as_str()));
    http::request(hub.port("http"), "PUT", path, Some(token), body)
}

/// Has the gateway log lines of level debug, more than one piece of an answer holds.
fn fill(gateway: &Gateway) {
    for _ in 0..LINKS {
        drop(TcpStream::connect(gateway.address()).unwrap());
    }
    let log = gateway.folder().join("gateway.log");
    wait_for("the ends of these links in the log", || {
        let log = std::fs::read_to_string(&log).unwrap();
        (log.matches("link ended").count() >= LINKS).then_some(())
    });
}

/// A number of the hub's `/metrics`.
fn ignored(hub: &Hub, reason: &str) -> u64 {
    let text = http::get(hub.port("http"), "/metrics", None).body;
    let line = format!("stencil_hub_gateway_answers_ignored_total{{reason=\"{reason}\"}} ");
    let found = text
        .lines()
        .find_map(|it| it.strip_prefix(&line)?.parse().ok());
    found.unwrap_or_else(|| panic!("no {line} in {text}"))
}

fn texts(log: &Value) -> Vec<&str> {
    let lines = log["lines"].as_array().unwrap().iter();
    lines.map(|line| line["text"].as_str().unwrap()).collect()
}

fn is_connected(hub: &Hub) {
    wait_for("the gateway to be connected", || {
        let answer = hub.get("/api/v1/gateways/gw-1");
        (answer.status == 200 && answer.json()["connected"] == true).then_some(())
    });
    // It subscribes to questions a moment after it has connected.
    wait_for("the gateway to be asked", || {
        (hub.get(&format!("{LOGS}?limit=1")).status == 200).then_some(())
    });
}

#[test]
fn the_log_and_the_figures_come_from_the_gateway_to_whom_they_are_for() {
    let hub = Hub::start(&[]);
    let mut gateway = Gateway::add(&hub, "gw-1");
    let psk = gateway.add_device("freezer-07");
    gateway.start();
    is_connected(&hub);

    let log = hub.ask(&["gateways", "logs", "gw-1"]);
    let found = texts(&log);
    assert!(
        found.iter().any(|it| it.contains("gateway started")),
        "{log}"
    );
    assert!(
        found.iter().any(|it| it.contains("uplink connected")),
        "{log}"
    );
    assert_eq!((&log["missed"], &log["more"]), (&json!(0), &json!(false)));

    // From there on, only what is new.
    let next = log["next"].as_str().unwrap().to_owned();
    let on = || hub.get(&format!("{LOGS}?after={next}&level=trace")).json();
    assert!(texts(&on()).is_empty(), "{}", on());
    let mut device = gateway.link("freezer-07", &psk);
    device.deliver(1, 1, 5);
    hub.wait_for_ledger("freezer-07", 1, |it| it["stored"] == json!([[1, 5]]));
    let warned = hub.get(&format!("{LOGS}?level=error")).json();
    assert!(texts(&warned).is_empty(), "{warned}");
    let old = hub.ask(&["gateways", "logs", "gw-1", "--since", "-1h"]);
    assert!(texts(&old)[0].contains("gateway"), "{old}");

    let figures = hub.ask(&["gateways", "metrics", "gw-1"]);
    let value = |name: &str| {
        let mut all = figures["figures"].as_array().unwrap().iter();
        let found = all.find(|figure| figure["name"] == name);
        found.unwrap_or_else(|| panic!("no {name}: {figures}"))["value"]
            .as_u64()
            .unwrap()
    };
    assert_eq!((value("samples_spooled_total"), value("links")), (5, 1));
    assert_eq!(value("uplink_connected"), 1);
    assert!(value("rss_bytes") > 1 << 20 && value("uplink_acknowledge_us") > 0);
    for name in [
        "spool_waiting_bytes",
        "field_faults_total",
        "cpu_ms",
        "samples_lost_total",
    ] {
        value(name);
    }
    // The gateway's own page says the same.
    assert!(gateway.metric("questions_answered_total") >= 5);

    // For admins of its tenant and nobody else.
    let rival = hub.add_tenant("rival");
    let editor = support::succeed(&mut hub.command(&["token", "create", "--role", "editor"]));
    let paths = ["logs", "metrics"].map(|it| format!("/api/v1/gateways/gw-1/{it}"));
    for path in &paths {
        let port = hub.port("http");
        assert_eq!(http::get(port, path, Some(&rival)).status, 404, "{path}");
        assert_eq!(
            http::get(port, path, Some(editor.trim())).status,
            403,
            "{path}"
        );
        assert_eq!(http::get(port, path, None).status, 401, "{path}");
    }
    let level = "/api/v1/gateways/gw-1/log-level";
    let body = json!({ "level": "debug", "seconds": 60 });
    assert_eq!(put(&hub, &rival, level, &body).status, 404);

    // Who has read it is written down, and once for what is asked again and again.
    let audit = hub.items("/api/v1/audit?limit=100");
    let noted = |action: &str, outcome: &str| {
        let all = audit.iter().filter(|entry| {
            entry["action"] == action && entry["outcome"] == outcome && entry["target"] == "gw-1"
        });
        all.count()
    };
    assert_eq!(noted("gateways.logs", "done"), 1, "{audit:?}");
    assert_eq!(noted("gateways.metrics", "done"), 1, "{audit:?}");
    assert_eq!(noted("gateways.logs", "refused"), 1, "{audit:?}");
    gateway.is_sound();
    hub.is_sound();
}

#[test]
fn no_secret_comes_and_what_is_too_much_comes_in_pages() {
    let hub = Hub::start(&[]);
    let mut gateway = Gateway::add(&hub, "gw-1");
    gateway.start_with(&[DEBUG]);
    is_connected(&hub);
    // What is wrong with a mapping, the gateway says in its log, with what was written there.
    let name = "hunter2-of-the-plc";
    let mapping = hub.dir.path().join("mapping.yaml");
    let text = format!(
        "version: 1\nconnections:\n  hall: {{ modbus-tcp: 'password={name}:x' }}\n\
         devices:\n  press-1: {{ connection: hall, points: {{ n: {{ holding: 1, type: u16 }} }} }}\n"
    );
    std::fs::write(&mapping, text).unwrap();
    let mut set = hub.command(&["gateways", "set", "gw-1", "--mapping"]);
    support::succeed(set.arg(&mapping));
    let own = gateway.wait_for_log(&["a desired state is refused", name]);
    assert!(
        own.contains("password="),
        "the gateway itself says it: {own}"
    );
    let log = hub.get(&format!("{LOGS}?level=trace")).json();
    let told = texts(&log).join("\n");
    assert!(told.contains("a desired state is refused"), "{log}");
    assert!(told.contains("***") && !told.contains(name), "{log}");
    fill(&gateway);

    // Page by page, each within its bounds, each line once.
    let everything = hub.ask(&[
        "gateways", "logs", "gw-1", "--since", "-1h", "--level", "trace",
    ]);
    assert!(!everything.to_string().contains(name));
    let (mut after, mut pages, mut lines) = (String::new(), 0, Vec::new());
    loop {
        let from = match pages {
            0 => "since_us=0".to_owned(),
            _ => format!("after={after}"),
        };
        let page = wait_for("a page", || {
            let answer = hub.get(&format!("{LOGS}?level=trace&limit=10&{from}"));
            (answer.status == 200).then(|| answer.json())
        });
        pages += 1;
        let found = page["lines"].as_array().unwrap();
        assert!(found.len() <= 10);
        lines.extend(found.clone());
        after = page["next"].as_str().unwrap().to_owned();
        if page["more"] == false || pages == 5 {
            break;
        }
    }
    let first = &everything["lines"].as_array().unwrap()[..lines.len().min(20)];
    assert_eq!(&lines[..first.len()], first);
    gateway.is_sound();
}

#[test]
fn a_gateway_that_is_away_is_told_of_and_one_that_is_killed_meanwhile() {
    let hub = Hub::start(&[]);
    let mut gateway = Gateway::add(&hub, "gw-1");
    let never = hub.get(LOGS);
    assert_eq!(never.status, 409, "{never:?}");
    assert!(never.body.contains("it was never heard"), "{never:?}");
    assert_eq!(hub.get("/api/v1/gateways/gw-2/logs").status, 404);
    gateway.start();
    is_connected(&hub);
    wait_for("the hub to have heard of it", || {
        hub.get("/api/v1/gateways/gw-1").json()["said_us"].as_i64()
    });
    gateway.kill();
    let away = wait_for("the end of its session", || {
        let answer = hub.get(LOGS);
        (answer.status == 409).then_some(answer)
    });
    for words in [
        "gateway-away",
        "is not connected, it was last heard at 20",
        "ask again",
    ] {
        assert!(away.body.contains(words), "{words}: {away:?}");
    }
    let output = hub.command(&["gateways", "logs", "gw-1"]).output().unwrap();
    assert!(!output.status.success());
    assert!(text(&output).contains("last heard at"), "{}", text(&output));

    // It says much, so that its answer has several pieces, and dies with the second.
    gateway.start_with(&[DEBUG, ("STENCIL_CRASH", "gateway.answer_piece:2")]);
    is_connected(&hub);
    fill(&gateway);
    let died = hub.get(&format!("{LOGS}?level=trace&limit=1000"));
    assert_eq!(died.status, 409, "{died:?}");
    assert!(
        died.body.contains("lost before it had answered"),
        "{died:?}"
    );
    gateway.kill();

    // The next start answers, and says that the lines of the one before are gone.
    gateway.start();
    is_connected(&hub);
    assert_eq!(hub.get(LOGS).status, 200);
    hub.is_sound();
}

#[test]
fn more_is_logged_for_a_while_and_a_restart_ends_it() {
    let hub = Hub::start(&[]);
    let mut gateway = Gateway::add(&hub, "gw-1");
    let psk = gateway.add_device("freezer-07");
    gateway.start();
    is_connected(&hub);
    let level = "/api/v1/gateways/gw-1/log-level";
    for wrong in [
        json!({ "level": "loud", "seconds": 60 }),
        json!({ "level": null, "seconds": 3601 }),
    ] {
        assert_eq!(put(&hub, &hub.token, level, &wrong).status, 400, "{wrong}");
    }
    let debug = |seconds: u64| {
        let answer = put(
            &hub,
            &hub.token,
            level,
            &json!({ "level": "debug", "seconds": seconds }),
        );
        assert_eq!(answer.status, 200, "{answer:?}");
    };
    let falls_back = |log: &str| {
        log.matches("so much is logged as the settings say again")
            .count()
    };
    debug(1);
    gateway.wait_for_log(&["the hub has so much logged for a while", "debug"]);
    gateway.wait_for_log(&["so much is logged as the settings say again"]);

    let said = hub.ask(&["gateways", "log-level", "gw-1", "debug", "--for", "30m"]);
    assert_eq!(
        (&said["level"], &said["seconds"]),
        (&json!("debug"), &json!(1_800))
    );
    let mut device = gateway.link("freezer-07", &psk);
    device.deliver(1, 1, 1);
    wait_for("lines of level debug", || {
        let log = hub.get(&format!("{LOGS}?level=debug")).json();
        let mut lines = log["lines"].as_array()?.iter();
        lines.any(|line| line["level"] == "debug").then_some(())
    });
    gateway.kill();
    gateway.start();
    is_connected(&hub);
    device = gateway.link("freezer-07", &psk);
    device.deliver(2, 1, 1);
    let log = hub.get(&format!("{LOGS}?level=debug")).json();
    let mut lines = log["lines"].as_array().unwrap().iter();
    assert!(lines.all(|line| line["level"] != "debug"), "{log}");

    // A gateway whose owner lets nothing be set from afar still says what it logs.
    gateway.kill();
    gateway.start_with(&[("STENCIL_GATEWAY_DESIRED__ACCEPT", "false")]);
    is_connected(&hub);
    let body = json!({ "level": "debug", "seconds": 60 });
    // It is connected before it has said what it answers.
    let refused = wait_for("it says what it answers", || {
        let refused = put(&hub, &hub.token, level, &body);
        (!refused.body.contains("is not ready for questions yet")).then_some(refused)
    });
    assert_eq!(refused.status, 409, "{refused:?}");
    assert!(refused.body.contains("desired.accept"), "{refused:?}");
    assert_eq!(hub.get(LOGS).status, 200);
    let log = std::fs::read_to_string(gateway.folder().join("gateway.log")).unwrap();
    assert_eq!(falls_back(&log), 1, "killed, not fallen back");
}

/// A gateway that answers as it likes: who holds its certificate.
struct Hostile {
    mqtt: Mqtt,
}

impl Hostile {
    fn connect(hub: &Hub) -> Self {
        let mut mqtt = hub.as_gateway("acme", "gw-1");
        for topic in ["command", "ask"] {
            assert!(mqtt.subscribe(&format!("stencil/v1/g/gw-1/{topic}")) < 0x80);
        }
        // Something to be known by.
        let state = stencil_protocol::desired::Said::State(stencil_protocol::desired::State {
            version: "hostile".to_owned(),
            ..Default::default()
        });
        mqtt.deliver("stencil/v1/g/gw-1/state", &state.encode().unwrap());
        Self { mqtt }
    }

    /// The number of the next question.
    fn asked(&mut self) -> u64 {
        loop {
            let (kind, body) = self.mqtt.packet(support::LIMIT).expect("a question");
            if kind & 0xf0 != 0x30 {
                continue;
            }
            let topic = usize::from(u16::from_be_bytes([body[0], body[1]]));
            let has_id = usize::from(kind & 0x06 != 0) * 2;
            // Properties: none of ours, so their length is one byte of nothing.
            let at = 2 + topic + has_id + 1;
            if body[2..2 + topic].ends_with(b"/ask") {
                return Question::decode(&body[at..]).expect("a question").number;
            }
        }
    }

    fn say(&mut self, bytes: &[u8]) {
        self.mqtt.deliver("stencil/v1/g/gw-1/answer", bytes);
    }
}

fn piece(number: u64, offset: usize, last: bool, bytes: &[u8]) -> Vec<u8> {
    Piece {
        number,
        offset: u32::try_from(offset).unwrap(),
        last,
        bytes: bytes.to_vec(),
    }
    .encode()
    .unwrap()
}

/// Asks in a thread of its own, while the gateway answers in this one.
fn asking(hub: &Hub) -> std::thread::JoinHandle<Http> {
    let (port, token) = (hub.port("http"), hub.token.clone());
    std::thread::spawn(move || http::get(port, LOGS, Some(&token)))
}

#[test]
fn what_a_hostile_gateway_answers_is_ignored_and_counted() {
    let hub = Hub::start(&[]);
    let mut gateway = Hostile::connect(&hub);
    wait_for("the gateway to be known", || {
        (hub.get("/api/v1/gateways/gw-1").status == 200).then_some(())
    });
    let log = Answer::Log(stencil_protocol::question::Log::default());
    let right = log.encode().unwrap();

    // Nobody has asked.
    gateway.say(&piece(7, 0, true, &right));
    gateway.say(b"nonsense");
    gateway.say(&vec![0x40; 100_000]);
    assert_eq!(
        ["unsolicited", "malformed", "too_large"].map(|why| ignored(&hub, why)),
        [1, 1, 1]
    );

    // Another number, and then the right one: who asked gets the right one.
    let asked = asking(&hub);
    let number = gateway.asked();
    gateway.say(&piece(number ^ 1, 0, true, b"\x82\x03\x00"));
    gateway.say(&piece(number, 0, true, &right));
    let answer = asked.join().unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(ignored(&hub, "unsolicited"), 2);
    // And once more is nobody's answer.
    gateway.say(&piece(number, 0, true, &right));
    assert_eq!(ignored(&hub, "unsolicited"), 3);

    // Too long, with a gap, of another kind, no answer at all.
    let full = vec![0x80; MAX_PIECE_BYTES];
    let asked = asking(&hub);
    let number = gateway.asked();
    for at in 0..=MAX_ANSWER_BYTES / MAX_PIECE_BYTES {
        gateway.say(&piece(number, at * MAX_PIECE_BYTES, false, &full));
    }
    assert_eq!(asked.join().unwrap().status, 504);
    assert_eq!(ignored(&hub, "too_large"), 2);
    let figures = Answer::Figures {
        at_us: 0,
        figures: Vec::new(),
    };
    for (offset, bytes) in [
        (1, right.clone()),
        (0, b"\xff".to_vec()),
        (0, figures.encode().unwrap()),
    ] {
        let asked = asking(&hub);
        let number = gateway.asked();
        gateway.say(&piece(number, offset, true, &bytes));
        let answer = asked.join().unwrap();
        assert_eq!(answer.status, 504, "{answer:?}");
    }

    // One question at a time: the second is told so, and a gateway that says nothing is told of.
    let asked = asking(&hub);
    gateway.asked();
    let second = hub.get(LOGS);
    assert_eq!(second.status, 429, "{second:?}");
    assert!(
        second.body.contains("asked something already"),
        "{second:?}"
    );
    let silent = asked.join().unwrap();
    assert_eq!(silent.status, 504, "{silent:?}");
    assert!(silent.body.contains("not answered in time"), "{silent:?}");

    // No answer of it is in the hub's log: a replay would find it.
    assert_eq!(hub.items("/api/v1/quarantine").len(), 0);
    hub.is_sound();
}

/// The log takes nothing of what devices measure away: it passes beside it.
#[test]
fn samples_come_while_the_log_is_asked_for() {
    let hub = Hub::start(&[]);
    let mut gateway = Gateway::add(&hub, "gw-1");
    let psk = gateway.add_device("freezer-07");
    gateway.start_with(&[DEBUG]);
    is_connected(&hub);
    fill(&gateway);
    let (port, token) = (hub.port("http"), hub.token.clone());
    let path = format!("{LOGS}?level=trace&limit=1000");
    let asking = std::thread::spawn(move || {
        let answers = (0..10).map(|_| http::get(port, &path, Some(&token)));
        answers.collect::<Vec<_>>()
    });
    let mut device = gateway.link("freezer-07", &psk);
    for n in 0..200 {
        device.deliver(1, 1 + n * 10, 10);
    }
    hub.wait_for_ledger("freezer-07", 1, |it| it["stored"] == json!([[1, 2_000]]));
    let answers = asking.join().unwrap();
    assert_eq!(answers.iter().filter(|it| it.status == 200).count(), 10);
    for answer in answers {
        assert!(texts(&answer.json()).len() > LINKS);
    }
    gateway.is_sound();
}
