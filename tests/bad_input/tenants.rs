//! Two tenants with the same names on one hub never meet: not by MQTT, not by HTTP.

use std::time::Duration;

use serde_json::{Value, json};
use stencil_protocol::command::{Command, State, Status};

use crate::support::http::{get, request};
use crate::support::mqtt::{Mqtt, connect};
use crate::support::{Hub, LIMIT, batch, wait_for};

/// Fires for any freezer above 0, writes content, and stops at a command that nobody carries out.
const WORKFLOW: &str = r#"
id: secret-workflow
version: 1
on: { telemetry: { devices: "freezer-*", name: secret-series } }
when: { above: 0 }
steps:
  - id: notice
    use: content.upsert
    with: { collection: secret-collection, key: secret-entry, set: { title: "secret-title" } }
"#;

/// A hub with a tenant `acme` that has one of everything, and a tenant `umbrella` that has
/// nothing.
struct World {
    hub: Hub,
    rival: String,
    command: String,
    run: String,
}

impl World {
    fn new() -> Self {
        let hub = Hub::start(&["--mqtt-plain", "127.0.0.1:0"]);
        let rival = hub.add_tenant("umbrella");
        let put = request(
            hub.port("http"),
            "PUT",
            "/api/v1/workflows/secret-workflow",
            Some(&hub.token),
            Some(("application/yaml", WORKFLOW)),
        );
        assert_eq!(put.status, 201, "{put:?}");
        let mut gateway = hub.as_gateway("acme", "gw-1");
        gateway.deliver(
            "stencil/v1/d/freezer-1/batch",
            &batch::named(1, 1, &["secret-series"]),
        );
        gateway.deliver("stencil/v1/d/freezer-1/batch", b"secret payload");
        hub.wait_for_latest("freezer-1", "secret-series", &json!(1.0));
        let command = queue(&hub, &hub.token);
        let run = wait_for("the run's end", || {
            let runs = hub.items("/api/v1/runs");
            let run = runs.iter().find(|run| run["state"] == "done")?;
            Some(run["id"].as_str().unwrap().to_owned())
        });
        Self {
            hub,
            rival,
            command,
            run,
        }
    }
}

/// Queues a command for freezer-1 with this tenant's token.
fn queue(hub: &Hub, token: &str) -> String {
    let answer = request(
        hub.port("http"),
        "POST",
        "/api/v1/devices/freezer-1/commands",
        Some(token),
        Some(("application/json", r#"{"name": "secret-command"}"#)),
    );
    assert!((200..300).contains(&answer.status), "{answer:?}");
    answer.json()["id"]
        .as_str()
        .unwrap_or_else(|| panic!("{answer:?}"))
        .to_owned()
}

#[test]
fn no_answer_to_the_second_tenant_holds_anything_of_the_first() {
    let World {
        hub,
        rival,
        command,
        run,
    } = World::new();
    let port = hub.port("http");
    let paths = [
        "/api/v1/devices",
        "/api/v1/devices/freezer-1",
        "/api/v1/devices/freezer-1/latest",
        "/api/v1/devices/freezer-1/series",
        "/api/v1/devices/freezer-1/series/secret-series",
        "/api/v1/devices/freezer-1/ledger",
        "/api/v1/devices/freezer-1/commands",
        "/api/v1/commands",
        &format!("/api/v1/commands/{command}"),
        "/api/v1/runs",
        &format!("/api/v1/runs/{run}"),
        "/api/v1/ledger",
        "/api/v1/quarantine",
        "/api/v1/content",
        "/api/v1/content/secret-collection",
        "/api/v1/content/secret-collection/secret-entry",
        "/api/v1/content/secret-collection/secret-entry/versions",
        "/api/v1/workflows",
        "/api/v1/workflows/secret-workflow",
        "/api/v1/workflows/secret-workflow/versions",
        "/api/v1/tokens",
        "/",
        "/devices/freezer-1?name=secret-series",
    ];
    let device_token = hub.device_token("freezer-9");
    for path in paths {
        let ours = get(port, path, Some(&hub.token));
        assert_eq!(ours.status, 200, "{path}: {ours:?}");
        let theirs = get(port, path, Some(&rival));
        let is_empty = theirs.status == 200 && theirs.body != ours.body;
        assert!(theirs.status == 404 || is_empty, "{path}: {theirs:?}");
        for word in [
            "secret",
            "freezer-1",
            "gw-1",
            &command,
            &run,
            &hex::encode("secret"),
        ] {
            // What was asked for may be repeated in "there is no …".
            let repeated = theirs.status == 404 && path.contains(word);
            assert!(
                repeated || !theirs.body.contains(word),
                "{path} shows {word}: {theirs:?}"
            );
        }
        // Who has no token, a false one, or a device's, sees nothing at all.
        for token in [None, Some("stencil_0000"), Some(device_token.as_str())] {
            let answer = get(port, path, token);
            // A page sends its reader to sign in, and says nothing besides.
            let sent_away = answer.status == 303 && answer.body.is_empty();
            assert!(
                matches!(answer.status, 401 | 403) || (!path.starts_with("/api/") && sent_away),
                "{path} with {token:?}: {answer:?}"
            );
        }
    }
    // Nor can the second tenant act on the first one's things.
    for (method, path, body) in [
        (
            "POST",
            "/api/v1/devices/freezer-1/commands",
            r#"{"name": "lock"}"#,
        ),
        ("DELETE", "/api/v1/workflows/secret-workflow", ""),
    ] {
        let answer = request(
            port,
            method,
            path,
            Some(&rival),
            Some(("application/json", body)),
        );
        assert_eq!(answer.status, 404, "{method} {path}: {answer:?}");
    }
    assert_eq!(hub.items("/api/v1/devices/freezer-1/commands").len(), 1);
    // A draft is not public, and nobody learns whether it is there.
    for tenant in ["acme", "umbrella", "nobody"] {
        let answer = get(
            port,
            &format!("/content/v1/{tenant}/secret-collection/secret-entry"),
            None,
        );
        assert_eq!(answer.status, 404, "{tenant}: {answer:?}");
        assert!(!answer.body.contains("secret-title"), "{answer:?}");
    }
}

#[test]
fn topics_of_the_same_name_are_the_publishers_own() {
    let World {
        hub,
        rival,
        command,
        ..
    } = World::new();
    let mut ours = hub.as_gateway("acme", "gw-2");
    let mut theirs = hub.as_gateway("umbrella", "gw-2");
    let topic = "stencil/v1/d/freezer-1/batch";
    theirs.deliver(topic, &batch::named(1, 1, &["theirs", "theirs"]));
    wait_for("the second tenant's own freezer-1", || {
        let answer = get(
            hub.port("http"),
            "/api/v1/devices/freezer-1/latest",
            Some(&rival),
        );
        (answer.status == 200 && answer.body.contains("theirs")).then_some(())
    });
    let latest = hub.get("/api/v1/devices/freezer-1/latest");
    assert!(!latest.body.contains("theirs"), "{latest:?}");
    let ledger = hub.wait_for_ledger("freezer-1", 1, |_| true);
    assert_eq!(
        (&ledger["last_given"], &ledger["duplicate"]),
        (&json!(1), &json!(0)),
        "{ledger}"
    );

    // The second tenant knows the first one's command id, and says that it is done.
    let id = command.parse().unwrap();
    let status = Status {
        id,
        state: State::Done,
        at_us: 1,
        detail: Some("ha"),
    };
    let mut bytes = [0; 256];
    let length = status.encode(&mut bytes).unwrap();
    theirs.deliver("stencil/v1/d/freezer-1/status", &bytes[..length]);
    wait_for("the false status to be set aside", || {
        let answer = get(hub.port("http"), "/api/v1/quarantine", Some(&rival));
        answer.body.contains("status").then_some(())
    });
    assert_ne!(
        hub.get(&format!("/api/v1/commands/{command}")).json()["state"],
        "done"
    );
    // The other connection of the same name was not taken over.
    ours.deliver(topic, &batch::named(2, 1, &["secret-series"]));
}

#[test]
fn commands_go_to_the_gateway_of_their_tenant() {
    let World {
        hub,
        rival,
        command,
        ..
    } = World::new();
    let mut theirs = hub.as_gateway("umbrella", "gw-1");
    assert_eq!(theirs.subscribe("stencil/v1/g/gw-1/command"), 1);
    // Devices of both tenants are behind a gateway of this name.
    theirs.deliver(
        "stencil/v1/d/freezer-1/batch",
        &batch::named(1, 1, &["theirs"]),
    );
    let known = || get(hub.port("http"), "/api/v1/devices/freezer-1", Some(&rival)).status == 200;
    wait_for("the second tenant's freezer-1", || known().then_some(()));
    let own = queue(&hub, &rival);
    // The first that they hear is their own command, though the first tenant's is older.
    let heard = heard(theirs.packet(LIMIT));
    assert_eq!(heard, own);
    let mut ours = hub.as_gateway("acme", "gw-1");
    assert_eq!(ours.subscribe("stencil/v1/g/gw-1/command"), 1);
    assert_eq!(self::heard(ours.packet(LIMIT)), command);
    assert_eq!(theirs.packet(Duration::from_millis(300)), None);
}

/// The id of the command in a PUBLISH.
fn heard(packet: Option<(u8, Vec<u8>)>) -> String {
    let Some((first, body)) = packet.as_ref().filter(|(first, _)| first >> 4 == 3) else {
        panic!("no PUBLISH: {packet:02x?}")
    };
    let topic = usize::from(u16::from_be_bytes([body[0], body[1]]));
    let id = if first & 0x06 > 0 { 2 } else { 0 };
    let properties = 2 + topic + id;
    let payload = properties + 1 + usize::from(body[properties]);
    Command::decode(&body[payload..]).unwrap().id.to_string()
}

#[test]
fn what_is_not_ones_own_is_refused() {
    let hub = Hub::start(&["--mqtt-plain", "127.0.0.1:0"]);
    let mut gateway = hub.as_gateway("acme", "gw-1");
    let mut meter = hub.foreign("meter");
    let refused = |client: &mut Mqtt, topic: &str| {
        let id = client.publish(topic, b"{}").unwrap();
        let ack = client.acknowledged(LIMIT).expect("a PUBACK");
        // Not authorised, or for nobody.
        assert!(
            ack.id == id && matches!(ack.reason, 0x87 | 0x90),
            "{topic}: {ack:?}"
        );
    };
    for topic in [
        "stencil/v1/d/freezer-1/batch",
        "stencil/v1/d/meter/link",
        "stencil/v1/g/gw-1/command",
        "umbrella/v1/devices/me/telemetry",
        "$SYS/broker",
    ] {
        refused(&mut meter, topic);
    }
    for topic in [
        "v1/devices/me/telemetry",
        "stencil/v1/g/gw-2/command",
        "stencil/v1/d/a/b/batch",
    ] {
        refused(&mut gateway, topic);
    }
    for filter in [
        "stencil/v1/g/gw-2/command",
        "stencil/v1/g/+/command",
        "#",
        "$SYS/#",
    ] {
        assert!(gateway.subscribe(filter) >= 0x80, "{filter}");
        assert!(meter.subscribe(filter) >= 0x80, "{filter}");
    }
    meter.deliver("v1/devices/me/telemetry", br#"{"power": 1}"#);
    hub.wait_for_latest("meter", "power", &json!(1));
    let devices: Vec<Value> = hub.items("/api/v1/devices");
    assert_eq!(devices.len(), 1, "{devices:?}");
    assert_eq!(hub.items("/api/v1/quarantine"), Vec::<Value>::new());
}

#[test]
fn a_certificate_of_another_fleet_opens_nothing() {
    let hub = Hub::start(&[]);
    let elsewhere = Hub::start(&[]);
    // A gateway of the same names, made by another hub's authority.
    let foreign = elsewhere.add_gateway("acme", "gw-1");
    let mut ours = hub.as_gateway("acme", "gw-1");
    let root = hub.data().join("authority/root.pem");
    let identity = Some((foreign.as_path(), "gw-1"));
    let mut stranger = Mqtt::tls(hub.port("mqtt_strict"), &root, identity);
    // With TLS 1.3 a client learns after its own last message that its certificate is refused.
    let _ = stranger.send(&connect("gw-1", None));
    assert_eq!(stranger.packet(LIMIT), None, "no CONNACK");
    stranger.closed("a certificate of another fleet");
    hub.wait_for_log(&["refused", "certificate"]);
    // Nor does a gateway trust another hub.
    let trust = Mqtt::try_tls(elsewhere.port("mqtt_strict"), &root, None);
    assert!(trust.is_err(), "a hub of another authority was trusted");
    // Who has the name already was not cut off.
    ours.deliver("stencil/v1/d/freezer-1/batch", &batch::numbered(1, 1, 1));
}
