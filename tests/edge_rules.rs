//! A rule at a gateway acts while nobody can reach the hub, whatever is killed, and once: the hub
//! finds afterwards what was done.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::{Duration, Instant};

use serde_json::Value;
use stencil_crypto::Psk;
use support::{BoardDevice, Gateway, Hub, http, wait_for};

const LOCK: &str = "lock-07";
const FREEZER: &str = "freezer-07";

/// Fires at each fifth sample of the freezer, whose values are their numbers.
const DOOR: &str = r#"
id: door
version: 1
on: { telemetry: { devices: "freezer-*", name: n } }
when: { expr: "event.value == 5.0 || event.value == 10.0 || event.value == 15.0 || event.value == 20.0 || event.value == 25.0 || event.value == 30.0 || event.value == 35.0" }
place: { gateways: "gw-*", otherwise: OTHERWISE }
steps:
  - { id: lock, use: device.command, with: { device: lock-07, command: lock, argument: 7, expires: 60s } }
  - id: notice
    use: content.upsert
    with: { collection: notices, key: "{{ event.device }}", set: { state: "{{ steps.lock.state }}" } }
"#;

struct Site {
    hub: Hub,
    gateway: Gateway,
    lock: BoardDevice,
    freezer: Psk,
    sent: u64,
}

impl Site {
    fn start(otherwise: &str) -> Self {
        let hub = Hub::start_with(
            &[],
            &[
                ("STENCIL_HUB_DISPATCH__SWEEP_INTERVAL_MS", "200"),
                ("STENCIL_HUB_DISPATCH__EXPIRY_GRACE_MS", "5000"),
            ],
        );
        let mut gateway = Gateway::add(&hub, "gw-1");
        gateway.start();
        let lock = BoardDevice::on(LOCK, gateway.add_device(LOCK));
        lock.find(gateway.address());
        let freezer = gateway.add_device(FREEZER);
        let site = Self {
            hub,
            gateway,
            lock,
            freezer,
            sent: 0,
        };
        site.put(&DOOR.replace("OTHERWISE", otherwise), "door");
        wait_for("the gateway to judge the rule", || {
            let at = site.at_gateways("door");
            (at.len() == 1 && at[0]["version"] == 1 && at[0]["refused"].is_null()).then_some(())
        });
        wait_for("the lock's link", || site.is_linked().then_some(()));
        site
    }

    fn put(&self, yaml: &str, id: &str) {
        let answer = http::request(
            self.hub.port("http"),
            "PUT",
            &format!("/api/v1/workflows/{id}"),
            Some(&self.hub.token),
            Some(("application/yaml", yaml)),
        );
        assert_eq!(answer.status, 201, "{}", answer.body);
    }

    fn at_gateways(&self, workflow: &str) -> Vec<Value> {
        let answer = self
            .hub
            .get(&format!("/api/v1/workflows/{workflow}/gateways"));
        let answer: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        answer["items"].as_array().cloned().unwrap_or_default()
    }

    fn is_linked(&self) -> bool {
        self.gateway.metric("links") >= 1
    }

    /// Five more samples, of which the last lets the rule fire; when they were sent.
    fn open_the_door(&mut self) -> Instant {
        let mut freezer = self.gateway.link(FREEZER, &self.freezer);
        let opened = Instant::now();
        freezer.deliver(3, self.sent + 1, 5);
        self.sent += 5;
        opened
    }

    /// As before, to a gateway that is killed by it.
    fn open_the_door_fatally(&mut self) {
        let mut freezer = self.gateway.link(FREEZER, &self.freezer);
        let record = freezer.sealed_batch(3, self.sent + 1, 5);
        freezer.send(stencil_protocol::frame::Kind::Record, &record);
        self.sent += 5;
        assert!(self.gateway.ended_within(support::LIMIT), "it is killed");
    }

    fn restart_gateway(&mut self, crash: Option<&str>) {
        self.gateway.kill();
        let variables: Vec<(&str, &str)> = crash.iter().map(|at| ("STENCIL_CRASH", *at)).collect();
        self.gateway.start_with(&variables);
        self.lock.find(self.gateway.address());
        wait_for("the lock's link", || self.is_linked().then_some(()));
    }

    fn until_locked(&self, times: u32) {
        wait_for(&format!("the lock to have locked {times} times"), || {
            (self.lock.did(7) == times).then_some(())
        });
    }

    fn runs(&self) -> Vec<Value> {
        self.hub.items("/api/v1/runs?workflow=door")
    }

    /// All runs are done, and the first step of each by a command of its own that is done.
    fn until_done(&self, runs: usize) {
        wait_for(&format!("{runs} runs to be done"), || {
            let all = self.runs();
            let done = |run: &Value| run["state"] == "done";
            (all.len() == runs && all.iter().all(done)).then_some(())
        });
        let commands = self.hub.items(&format!("/api/v1/devices/{LOCK}/commands"));
        assert_eq!(commands.len(), runs, "{commands:#?}");
        for run in self.runs() {
            let lock = &run["steps"][0];
            assert_eq!(lock["output"]["state"], "done", "{run:#}");
            assert_eq!(run["steps"][1]["state"], "done", "{run:#}");
            let id = &lock["output"]["command"];
            let of = commands.iter().find(|command| command["id"] == *id);
            let of = of.unwrap_or_else(|| panic!("the command of {run:#}"));
            assert_eq!(of["effect_key"], lock["effect_key"]);
        }
    }
}

#[test]
fn a_lock_locks_while_the_uplink_is_down_and_the_hub_finds_it_done() {
    let mut site = Site::start("hub");
    // With the hub there the gateway does it, too.
    site.open_the_door();
    site.until_locked(1);
    site.until_done(1);

    site.hub.kill();
    let opened = site.open_the_door();
    site.until_locked(2);
    let took = opened.elapsed();
    assert!(took < Duration::from_secs(1), "it took {took:?}");
    // Neither a gateway that starts anew nor a hub that comes back does it again.
    site.restart_gateway(None);
    site.hub.start_again(None);
    site.until_done(2);
    assert_eq!(site.lock.did(7), 2);
    assert_eq!(site.gateway.metric("edge_rules"), 1);
    site.gateway.is_sound();
    site.hub.is_sound();
}

#[test]
fn killed_at_any_point_the_gateway_acts_once() {
    let mut site = Site::start("hub");
    site.hub.kill();
    let mut times = 0;
    for point in [
        "edge.before_told",
        "edge.after_told",
        "edge.before_give",
        "edge.after_give",
        "gateway.before_command",
        "gateway.after_command",
    ] {
        site.restart_gateway(Some(&format!("{point}:1")));
        site.open_the_door_fatally();
        site.restart_gateway(None);
        times += 1;
        site.until_locked(times);
        // Said by the lock, and on disk: nothing of this round is left for the next.
        let both = |statuses| statuses >= 2;
        site.gateway.wait_for_metric("statuses_spooled_total", both);
        site.gateway.wait_for_metric("commands_waiting", |n| n == 0);
    }
    site.hub.start_again(None);
    site.until_done(times as usize);
    assert_eq!(site.lock.did(7), times);
    site.hub.is_sound();
}

#[test]
fn what_no_gateway_could_do_is_done_by_the_hub_or_by_nobody() {
    let mut site = Site::start("nobody");
    site.lock.unplug(true);
    wait_for("the lock to be gone", || {
        (site.gateway.metric("links") == 0).then_some(())
    });
    // The gateway knows the lock and gives the command, which the lock never gets in time; a lock
    // that it does not know is for others.
    let other = DOOR
        .replace("id: door", "id: other")
        .replace("lock-07", "lock-08")
        .replace("OTHERWISE", "nobody");
    site.put(&other, "other");
    wait_for("the gateway to judge the other rule", || {
        (site.at_gateways("other").len() == 1).then_some(())
    });
    site.open_the_door();
    wait_for("the other run to fail", || {
        let runs = site.hub.items("/api/v1/runs?workflow=other");
        let failed = runs.first().filter(|run| run["state"] == "failed")?;
        let error = failed["error"].as_str().unwrap_or_default().to_owned();
        assert!(error.contains("not one of this gateway"), "{error}");
        Some(())
    });
    site.lock.unplug(false);
    site.until_locked(1);
    site.until_done(1);
}

#[test]
fn a_rule_that_is_too_dear_is_refused_with_the_reason_and_the_hub_judges_it() {
    let site = Site::start("hub");
    let dear = |id: &str| {
        format!(
            "id: {id}\nversion: 1\non: {{ telemetry: {{ devices: '*', name: n }} }}\nwhen: \
             {{ window: {{ of: p95, over: 1h, above: 5.0 }} }}\nplace: {{ gateways: 'gw-1' }}\n\
             steps: [{{ id: lock, use: device.command, with: {{ device: lock-07, command: lock, \
             argument: 9, expires: 30s }} }}]\n"
        )
    };
    for at in 0..70 {
        site.put(&dear(&format!("dear-{at:02}")), &format!("dear-{at:02}"));
    }
    let refused = wait_for("the gateway to refuse some", || {
        let at = site.at_gateways("dear-69");
        at.first()?["refused"].as_str().map(str::to_owned)
    });
    assert!(refused.contains("too dear"), "{refused}");
    let first = site.at_gateways("dear-00");
    assert!(first[0]["refused"].is_null(), "{first:?}");
    // Placed by group it comes when the gateway is put into the group.
    let grouped = dear("grouped")
        .replace("of: p95", "of: max")
        .replace("gw-1", "stores");
    site.put(&grouped, "grouped");
    let groups = serde_json::json!({ "groups": ["stores"] }).to_string();
    let answer = http::request(
        site.hub.port("http"),
        "PUT",
        "/api/v1/gateways/gw-1/groups",
        Some(&site.hub.token),
        Some(("application/json", &groups)),
    );
    assert_eq!(answer.status, 200, "{}", answer.body);
    wait_for("the gateway to hear of its group's rule", || {
        (site.at_gateways("grouped").len() == 1).then_some(())
    });
    // The one before goes on.
    let door = site.at_gateways("door");
    assert!(door[0]["refused"].is_null(), "{door:?}");

    let answer = http::request(
        site.hub.port("http"),
        "POST",
        "/api/v1/workflows/check",
        Some(&site.hub.token),
        Some((
            "application/json",
            &serde_json::json!({ "definition": DOOR.replace("OTHERWISE", "hub").replace(
                "command: lock", "command: \"{{ event.name }}\"") })
            .to_string(),
        )),
    );
    let answer = answer.json();
    assert_eq!(answer["ok"], false, "{answer}");
    let problem = answer["problem"].as_str().unwrap();
    assert!(problem.contains("no gateway can work out"), "{problem}");
}
