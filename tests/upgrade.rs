//! The data directory of the release before, opened by today's hub.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use support::mqtt::Mqtt;
use support::{Hub, stencil, succeed, text, wait_for};

/// What the archive of `tests/fixtures/hub-0.1` holds beside the data directory.
struct Left {
    dir: tempfile::TempDir,
    expected: Value,
    tokens: Value,
}

fn left_by_0_1() -> Left {
    let dir = tempfile::tempdir().unwrap();
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/hub-0.1/data.tar.gz");
    succeed(
        Command::new("tar")
            .arg("-xzf")
            .arg(archive)
            .arg("-C")
            .arg(dir.path()),
    );
    let read = |name: &str| {
        let text = std::fs::read_to_string(dir.path().join(name)).unwrap();
        serde_json::from_str(&text).unwrap()
    };
    Left {
        expected: read("expected.json"),
        tokens: read("tokens.json"),
        dir,
    }
}

#[test]
fn all_that_the_release_before_kept_is_there_and_goes_on() {
    let Left {
        dir,
        expected,
        tokens,
    } = left_by_0_1();
    let token = |of: &str| tokens[of].as_str().unwrap().to_owned();
    let hub = Hub::over(dir, &token("admin"), &["--mqtt-plain", "127.0.0.1:0"]);

    // The last readings were acknowledged, logged, and not yet applied.
    hub.wait_for_latest("kiln-1", "temperature", &last(&expected, "kiln-1"));
    hub.wait_for_latest("cold-1", "temperature", &last(&expected, "cold-1"));
    wait_for("the last rejected payload", || {
        let is = hub.items("/api/v1/quarantine");
        (is == *expected["quarantine"].as_array().unwrap()).then_some(())
    });

    for (device, series) in expected["series"].as_object().unwrap() {
        for (name, of) in series.as_object().unwrap() {
            let path = format!("/api/v1/devices/{device}/series/{name}?limit=10000");
            let answer = hub.get(&path).json();
            assert_eq!(answer["unit"], of["unit"], "{path}");
            let is = answer["items"].as_array().unwrap().iter();
            let is: Vec<Value> = is
                .map(|point| Value::from(vec![point["time_us"].clone(), point["value"].clone()]))
                .collect();
            assert_eq!(bits(&is), bits(of["points"].as_array().unwrap()), "{path}");
        }
    }
    assert_eq!(
        hub.items("/api/v1/ledger?limit=1000"),
        *expected["ledger"].as_array().unwrap()
    );
    holds(&hub, "/api/v1/runs", &expected["runs"]);
    holds(&hub, "/api/v1/commands", &expected["commands"]);
    holds(&hub, "/api/v1/content/notices", &expected["content"]);
    holds(&hub, "/api/v1/workflows", &expected["workflows"]);
    let published = support::http::get(hub.port("http"), "/p/acme/notices/cold-1", None);
    assert!(published.body.contains("cold-1 is warm"), "{published:?}");
    let mut reconcile = hub.command(&["reconcile"]);
    succeed(&mut reconcile);

    // Tenants stay apart, and their tokens go on.
    let rival = support::http::get(hub.port("http"), "/api/v1/devices", Some(&token("rival")));
    assert_eq!(rival.json()["items"].as_array().unwrap().len(), 0);

    // The rule's hold of one hour began at the tenth minute, under the release before.
    let mut kiln = Mqtt::plain(hub.port("mqtt_plain")).connect("kiln", Some(&token("kiln-1")));
    for minute in [60, 65, 71] {
        let ts = 1_700_000_000_000_i64 + minute * 60_000;
        let reading = format!(r#"{{"ts": {ts}, "values": {{"temperature": 940.5}}}}"#);
        kiln.deliver("v1/devices/me/telemetry", reading.as_bytes());
    }
    let run = wait_for("the run at the end of the hold", || {
        let mut runs = hub.items("/api/v1/runs").into_iter();
        runs.find(|run| run["workflow"] == "kiln-hot")
    });
    let tenth = 1_700_000_000_000_000_i64 + 10 * 60_000_000;
    assert_eq!(run["event"]["since_us"], tenth, "{run}");
    wait_for("its page", || {
        let page = support::http::get(hub.port("http"), "/p/acme/notices/kiln-1", None);
        page.body.contains("kiln-1 is hot").then_some(())
    });
    hub.is_sound();
}

#[test]
fn a_hub_refuses_the_data_of_a_newer_one_and_changes_nothing() {
    let Left { dir, .. } = left_by_0_1();
    let data = dir.path().join("hub");
    let store = data.join("hub.sqlite");
    // The write-ahead log goes into the database, so that nothing is left to be done at opening.
    sqlite(&store, "PRAGMA wal_checkpoint(TRUNCATE)");
    sqlite(
        &store,
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9000, 'of tomorrow', 1, x'00', 0)",
    );
    let before = files(&data);

    let mut hub = stencil();
    hub.args(["hub", "--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0"])
        .arg("--data-dir")
        .arg(&data);
    let refused = hub.output().unwrap();
    let said = text(&refused);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    for words in ["newer version", "9000", "nothing was changed"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let after = files(&data);
    assert!(before.keys().eq(after.keys()), "{:?}", after.keys());
    let changed = before.iter().find(|(path, was)| after[*path] != **was);
    assert!(changed.is_none(), "{} has changed", changed.unwrap().0);
}

/// The newest value of a device's temperature.
fn last(expected: &Value, device: &str) -> Value {
    let points = &expected["series"][device]["temperature"]["points"];
    points.as_array().unwrap().last().unwrap()[1].clone()
}

/// Points with the bits of their numbers, so that no two are the same by rounding.
fn bits(points: &[Value]) -> Vec<(i64, String)> {
    points
        .iter()
        .map(|point| {
            let value = match point[1].as_f64() {
                Some(number) => format!("{:016x}", number.to_bits()),
                None => point[1].to_string(),
            };
            (point[0].as_i64().unwrap(), value)
        })
        .collect()
}

/// Each expected item is there, with at least the fields and values that are expected.
fn holds(hub: &Hub, path: &str, expected: &Value) {
    let items = hub.items(path);
    for wanted in expected.as_array().unwrap() {
        let wanted = wanted.as_object().unwrap();
        let is = |item: &Value| wanted.iter().all(|(name, value)| item[name] == *value);
        assert!(items.iter().any(is), "{path} lacks {wanted:?}: {items:?}");
    }
}

/// Every file of a folder with its content.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let content = std::fs::read(&path).unwrap();
                found.insert(path.display().to_string(), content);
            }
        }
    }
    found
}

/// A statement on a database that no hub has open.
fn sqlite(database: &Path, statement: &str) {
    let script = "import sqlite3, sys\n\
        c = sqlite3.connect(sys.argv[1]); c.execute(sys.argv[2]); c.commit(); c.close()";
    succeed(
        Command::new("python3")
            .args(["-c", script])
            .arg(database)
            .arg(statement),
    );
}
