//! What the hub says of a command is so, whatever was killed meanwhile: it is done exactly when
//! the device did it once, expired only if the device never will do it, and nothing but sent while
//! nobody knows.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{BoardDevice, Gateway, Hub, LIMIT, http, wait_for};

const DEVICE: &str = "lock-07";

/// Hub, gateway and device; each can be killed and goes on.
struct System {
    hub: Hub,
    gateway: Gateway,
    device: BoardDevice,
    commands: i64,
}

impl System {
    fn start() -> Self {
        let hub = Hub::start_with(
            &[],
            &[
                ("STENCIL_HUB_DISPATCH__SWEEP_INTERVAL_MS", "100"),
                ("STENCIL_HUB_DISPATCH__RESEND_AFTER_MS", "1000"),
                ("STENCIL_HUB_DISPATCH__EXPIRY_GRACE_MS", "300"),
            ],
        );
        let mut gateway = Gateway::add(&hub, "gw-1");
        gateway.start();
        let psk = gateway.add_device(DEVICE);
        let device = BoardDevice::on(DEVICE, psk);
        device.find(gateway.address());
        let system = Self {
            hub,
            gateway,
            device,
            commands: 0,
        };
        system.wait_until_linked();
        system
    }

    /// Waits until the hub knows that the device is linked.
    fn wait_until_linked(&self) {
        wait_for("the device's link", || self.is_linked().then_some(()));
    }

    fn is_linked(&self) -> bool {
        let device = self.hub.get(&format!("/api/v1/devices/{DEVICE}")).body;
        let device: Value = serde_json::from_str(&device).unwrap_or(Value::Null);
        device["connected"] == true
    }

    /// Queues a command; gives its id and its argument, by which the device counts it.
    fn queue(&mut self, seconds: u32) -> (String, i64) {
        self.commands += 1;
        let id = self.ask(seconds).expect("the hub runs");
        (id, self.commands)
    }

    /// Asks for the newest command, once more if it was asked for before; nothing if the hub ends
    /// meanwhile.
    fn ask(&self, seconds: u32) -> Option<String> {
        let body = json!({
            "name": "lock", "argument": self.commands, "expires_in_s": seconds,
        })
        .to_string();
        let path = format!("/api/v1/devices/{DEVICE}/commands");
        let key = format!("command-{}", self.commands);
        let answer = http::try_request(
            self.hub.port("http"),
            "POST",
            &path,
            Some(&self.hub.token),
            Some(&key),
            Some(("application/json", &body)),
        );
        let answer = answer.ok()?;
        assert_eq!(answer.status, 202, "{}", answer.body);
        Some(answer.json()["id"].as_str().unwrap().to_owned())
    }

    fn command(&self, id: &str) -> Value {
        let answer = self.hub.get(&format!("/api/v1/commands/{id}"));
        serde_json::from_str(&answer.body).unwrap_or(Value::Null)
    }

    fn state(&self, id: &str) -> String {
        self.command(id)["state"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Waits for the end of a command, checking each state on the way: nothing is said to be done
    /// that is not, and nothing comes after an end.
    fn end(&self, id: &str, argument: i64) -> String {
        let mut seen: Vec<String> = Vec::new();
        let state = wait_for(&format!("the end of command {argument}"), || {
            let (before, state) = (self.device.did(argument), self.state(id));
            if !state.is_empty() && seen.last() != Some(&state) {
                seen.push(state.clone());
            }
            match state.as_str() {
                "done" => {
                    assert_eq!(before, 1, "{seen:?}");
                    Some(state)
                }
                "expired" => {
                    assert_eq!(self.device.did(argument), 0, "expired, and done: {seen:?}");
                    Some(state)
                }
                "failed" => Some(state),
                _ => None,
            }
        });
        let order = [
            "queued",
            "sent",
            "acknowledged",
            "done",
            "failed",
            "expired",
        ];
        let places: Vec<_> = seen
            .iter()
            .map(|state| order.iter().position(|known| known == state))
            .collect();
        assert!(places.windows(2).all(|two| two[0] < two[1]), "{seen:?}");
        state
    }

    /// The end of a command that had time enough, with a device that comes back.
    fn is_carried_out(&self, id: &str, argument: i64, what: &str) {
        let state = self.end(id, argument);
        let did = self.device.did(argument);
        match state.as_str() {
            "done" => assert_eq!(did, 1, "{what}"),
            // The power went while it was carried out: nobody knows, and that is said.
            "failed" => {
                let detail = self.command(id)["detail"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned();
                assert!(detail.contains("restarted"), "{what}: {detail}");
                assert!(did <= 1, "{what}");
            }
            other => panic!("{what}: {other}, and the device did it {did} times"),
        }
    }
}

/// Seeded: each run cuts at the same places.
fn places(count: usize, among: i64) -> Vec<i64> {
    let mut state = 0x5eed_u64;
    (0..count)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            i64::try_from(state >> 33).unwrap() % among
        })
        .collect()
}

#[test]
fn also_when_hub_gateway_or_device_end_at_any_stage() {
    let mut system = System::start();
    let (id, argument) = system.queue(60);
    system.is_carried_out(&id, argument, "nothing happens");

    for point in [
        "dispatch.before_publish:1",
        "dispatch.after_publish:1",
        "mqtt.before_puback:1",
        "mqtt.before_puback:2",
        "pipeline.before_commit:2",
        "pipeline.after_commit:2",
    ] {
        system.hub.start_again(Some(point));
        system.commands += 1;
        let first = system.ask(60);
        // It ends by itself, unless what it was to end at does not come about.
        system.hub.ended_within(Duration::from_secs(10));
        system.hub.start_again(None);
        let id = system.ask(60).expect("the hub runs");
        assert!(
            first.is_none_or(|first| first == id),
            "{point}: it is the same command"
        );
        system.is_carried_out(&id, system.commands, point);
    }
    for point in [
        "gateway.before_command:1",
        "gateway.after_command:1",
        "gateway.before_ack:1",
        "gateway.before_ack:2",
        "gateway.before_ack:3",
    ] {
        system.gateway.kill();
        system.gateway.start_with(&[("STENCIL_CRASH", point)]);
        system.device.find(system.gateway.address());
        let (id, argument) = system.queue(60);
        // It ends by itself, or what it was to end at does not come about.
        system.gateway.ended_within(Duration::from_secs(5));
        system.gateway.kill();
        system.gateway.start();
        system.device.find(system.gateway.address());
        system.is_carried_out(&id, argument, point);
    }
    for steps in places(10, 9) {
        let resets = system.device.resets();
        system.device.cut_after(steps);
        let (id, argument) = system.queue(60);
        system.is_carried_out(
            &id,
            argument,
            &format!("the power goes after {steps} steps"),
        );
        // The next one is cut at its own place.
        system.device.cut_after(-1);
        assert!(system.device.resets() - resets <= 1);
    }
    system.hub.is_sound();
    system.gateway.is_sound();
}

#[test]
fn also_when_its_time_runs_out_meanwhile() {
    let mut system = System::start();

    // The device is off: nobody says that it has it. Its gateway knows that it never will.
    system.device.unplug(true);
    // A link from before would take it, and then nobody knew.
    system.gateway.kill();
    system.gateway.start();
    system.device.find(system.gateway.address());
    let (id, argument) = system.queue(1);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(800) {
        let state = system.state(&id);
        assert!(matches!(state.as_str(), "queued" | "sent"), "{state}");
    }
    assert_eq!(system.end(&id, argument), "expired");

    // The gateway that held it is killed: then nobody knows, until the device is back and is asked.
    let (id, argument) = system.queue(2);
    wait_for("it to be sent", || {
        (system.state(&id) == "sent").then_some(())
    });
    system.gateway.kill();
    wait_for("it to be overdue", || {
        let command = system.command(&id);
        assert_eq!(command["state"], "sent", "{command}");
        command["overdue_us"].as_i64()
    });
    system.gateway.start();
    system.device.find(system.gateway.address());
    system.device.unplug(false);
    assert_eq!(system.end(&id, argument), "expired");
    assert_eq!(system.device.did(argument), 0);

    // The device did it, and the gateway is killed before it heard so: it is asked, and says so.
    system.gateway.kill();
    system
        .gateway
        .start_with(&[("STENCIL_CRASH", "gateway.after_command:1")]);
    system.device.find(system.gateway.address());
    system.wait_until_linked();
    let (id, argument) = system.queue(4);
    system.gateway.ended_within(LIMIT);
    wait_for("the device to have done it", || {
        (system.device.did(argument) == 1).then_some(())
    });
    wait_for("it to be overdue", || {
        let command = system.command(&id);
        assert_eq!(command["state"], "sent", "{command}");
        command["overdue_us"].as_i64()
    });
    system.gateway.kill();
    system.gateway.start();
    system.device.find(system.gateway.address());
    assert_eq!(system.end(&id, argument), "done");

    // No gateway could take it: that is for the hub to say.
    system.gateway.kill();
    wait_for("the hub to notice", || (!system.is_linked()).then_some(()));
    let (id, argument) = system.queue(1);
    assert_eq!(system.end(&id, argument), "expired");
    system.gateway.start();
    system.device.find(system.gateway.address());
    system.wait_until_linked();
    let (later, after) = system.queue(60);
    system.is_carried_out(&later, after, "the next one");
    assert_eq!(
        (system.state(&id).as_str(), system.device.did(argument)),
        ("expired", 0)
    );
}
