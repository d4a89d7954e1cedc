//! Readings up, commands down.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::{http, wait_for};
use crate::{Bench, DEVICE};

/// Where the host has randomness.
const NOISE: &str = "/dev/urandom";

#[test]
fn what_the_sensor_is_set_to_is_what_the_hub_shows_and_a_thousand_are_all_there() {
    let mut bench = Bench::start(10, Path::new(NOISE));
    for degrees in [21.5, -12.25, 0.0, 127.9375, -0.0625] {
        bench.machine.set_temperature(degrees);
        let latest = bench
            .hub
            .wait_for_latest(DEVICE, "temperature", &json!(degrees));
        assert_eq!(latest["unit"], "degC");
    }
    assert_eq!(bench.wait_for_resets(1), ["power on"]);
    // Number 1 is the report of the start.
    let rows = wait_for("a thousand samples", || {
        let rows = bench.ledgers();
        (stored(&rows) > 1_000).then_some(rows)
    });
    let [row] = &rows[..] else {
        panic!("one boot: {rows:?}")
    };
    let [run] = &row["ledger"]["stored"].as_array().unwrap()[..] else {
        panic!("without a gap: {row}")
    };
    assert_eq!(run[0], 1, "{row}");
    let points = bench.hub.points(DEVICE, "temperature") as u64;
    assert!(points >= run[1].as_u64().unwrap() - 1, "{points} of {row}");
    bench.gateway.is_sound();
    bench.hub.is_sound();
}

#[test]
fn a_command_switches_the_output_and_is_acknowledged() {
    let mut bench = Bench::start(50, Path::new(NOISE));
    bench.wait_for_resets(1);
    assert!(!bench.machine.is_lit());
    for (name, lit) in [("on", true), ("off", false)] {
        let command = bench.command(&json!({ "name": name }));
        let ended = bench.wait_for_end(&command);
        assert_eq!(ended["state"], "done", "{ended}");
        bench.machine.wait_for_led(lit);
    }
    let command = bench.command(&json!({ "name": "pulse", "argument": 60_001 }));
    let ended = bench.wait_for_end(&command);
    assert_eq!(ended["state"], "failed", "{ended}");
    assert!(
        ended["detail"].as_str().unwrap().contains("1 to 60000"),
        "{ended}"
    );
    assert!(!bench.machine.is_lit());
    let command = bench.command(&json!({ "name": "pulse", "argument": 1_000 }));
    assert_eq!(bench.wait_for_end(&command)["state"], "done");
    bench.machine.wait_for_led(false);
}

#[test]
fn a_serial_line_does_as_well() {
    let mut bench = Bench::start_on_serial_line(100, Path::new(NOISE));
    bench.machine.set_temperature(4.25);
    bench
        .hub
        .wait_for_latest(DEVICE, "temperature", &json!(4.25));
    let command = bench.command(&json!({ "name": "on" }));
    assert_eq!(bench.wait_for_end(&command)["state"], "done");
    bench.machine.wait_for_led(true);
}

/// How many numbers are stored.
fn stored(rows: &[Value]) -> u64 {
    let runs = rows
        .iter()
        .flat_map(|row| row["ledger"]["stored"].as_array().into_iter().flatten());
    runs.map(|run| run[1].as_u64().unwrap() - run[0].as_u64().unwrap() + 1)
        .sum()
}

impl Bench {
    fn ledgers(&self) -> Vec<Value> {
        let answer = self.hub.get(&format!("/api/v1/devices/{DEVICE}/ledger"));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["items"].as_array().unwrap().clone()
    }

    /// Queues a command; gives its id.
    fn command(&self, order: &Value) -> String {
        let answer = http::request(
            self.hub.port("http"),
            "POST",
            &format!("/api/v1/devices/{DEVICE}/commands"),
            Some(&self.hub.token),
            Some(("application/json", &order.to_string())),
        );
        assert_eq!(answer.status, 202, "{answer:?}");
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// Waits until a command is over, and gives it.
    fn wait_for_end(&self, command: &str) -> Value {
        wait_for("the command's end", || {
            let answer = self.hub.get(&format!("/api/v1/commands/{command}")).json();
            let over = ["done", "failed", "expired"].contains(&answer["state"].as_str()?);
            over.then_some(answer)
        })
    }
}
