//! Ten thousand random streams: late, repeated and interleaved samples, marks for absence, changed
//! rules, kills and restarts on both sides, lost connections, and clocks that agree on nothing.

use std::collections::BTreeMap;

use stencil_edge::Told;
use stencil_protocol::id::DeviceId;
use stencil_protocol::sample::OwnedValue;
use stencil_rules::Change;
use stencil_store::Trigger;
use stencil_workflow::Definition;

use crate::chance::Chance;
use crate::site::{self, HubSide, Site};

const STREAMS: u64 = 10_000;
const S: i64 = 1_000_000;

const LOCK: &str = "alarm: { severity: major }\nplace: { gateways: 'site-*' }\nsteps: [{ id: lock, \
    use: device.command, with: { device: lock-1, command: lock, argument: '{{ event.value }}', \
    expires: 30s } }]\n";

/// What is asked, and of which devices; each in two versions, of which the second asks another
/// question.
const ASKED: [(&str, &str, &str, &str); 7] = [
    (
        "above",
        "freezer-*",
        "{ above: 4.0, for: 3s, clear: 2.0 }",
        "{ above: 5.0 }",
    ),
    ("absent", "freezer-?", "{ absent: 10s }", "{ absent: 20s }"),
    (
        "rate",
        "*",
        "{ rate: { over: 2s, above: 1.5 } }",
        "{ rate: { over: 4s, below: -1.0 } }",
    ),
    (
        "mean",
        "freezer-*",
        "{ window: { of: mean, over: 10s, lateness: 4s, above: 3.0 }, for: 2s }",
        "{ window: { of: p95, over: 10s, lateness: 1s, above: 5.0 } }",
    ),
    (
        "count",
        "*",
        "{ window: { of: count, over: 20s, lateness: 0s, below: 2 } }",
        "{ window: { of: count, over: 20s, above: 6 } }",
    ),
    (
        "max",
        "*-1",
        "{ window: { of: max, over: 5s, above: 6.0 } }",
        "{ below: -3.0, for: 1s }",
    ),
    (
        "expr",
        "*",
        "{ expr: 'event.value > 3.0 && event.device != \"room-1\"', for: 1s }",
        "{ expr: 'event.device.startsWith(\"free\") && event.value < 0.0' }",
    ),
];

pub(super) fn yaml() -> Vec<String> {
    let versions = ASKED.iter().flat_map(|(id, devices, first, second)| {
        [(1, first), (2, second), (3, first)].map(|(version, when)| {
            format!(
                "id: {id}\nversion: {version}\non: {{ telemetry: {{ devices: '{devices}', name: t }} }}\n\
                 when: {when}\n{LOCK}"
            )
        })
    });
    versions.collect()
}

struct Device {
    id: DeviceId,
    boot: u32,
    next: u64,
    value: f64,
    time_us: i64,
    last: Option<Vec<u8>>,
}

/// What one stream comes to.
pub(super) struct Run<'a> {
    chance: Chance,
    pub(super) site: Site,
    pub(super) hub: HubSide,
    devices: Vec<Device>,
    versions: BTreeMap<&'a str, u32>,
    all: &'a BTreeMap<(String, u32), Definition>,
    pub(super) gateway_us: i64,
    pub(super) hub_us: i64,
    /// Its rules have changed: until the gateway knew of that, the hub judged by itself.
    changed: bool,
}

impl Run<'_> {
    fn step(&mut self) {
        match self.chance.below(24) {
            0..9 => self.send(),
            9..12 => self.wait(),
            12..16 => {
                let entries = self.chance.below(4) as usize;
                self.site.judge(entries, self.gateway_us);
            }
            16 => self.site.save(),
            17 if self.chance.once_in(2) => {
                // Whatever it does next, it has a clock that says something else.
                self.gateway_us += self.chance.between(0, 3 * S);
                self.site.kill(self.gateway_us);
            }
            18..22 => {
                self.hub_us += self.chance.between(-S, 20 * S);
                let entries = self.chance.below(8) as usize;
                self.hub.publish(&self.site, entries, self.hub_us);
            }
            22 => {
                let entries = self.chance.below(12) as usize;
                self.hub.back(entries);
                if self.chance.once_in(2) {
                    self.hub.restart();
                }
                self.hub.tick(self.hub_us);
            }
            _ if self.chance.once_in(3) => self.change(),
            _ => {}
        }
    }

    pub(super) fn send(&mut self) {
        let at = self.chance.below(self.devices.len() as u64) as usize;
        let device = &mut self.devices[at];
        let (id, now_us) = (device.id.clone(), self.gateway_us);
        if self.chance.once_in(6)
            && let Some(last) = &device.last
        {
            return self.site.batch(&id, last, now_us);
        }
        if self.chance.once_in(20) {
            (device.boot, device.next) = (device.boot.wrapping_add(7), 1);
        }
        let mut samples = Vec::new();
        for _ in 0..=self.chance.below(3) {
            device.value += self.chance.between(-300, 320) as f64 / 100.0;
            device.value = device.value.clamp(-9.0, 9.0);
            // Mostly on, sometimes late, sometimes the same time again.
            device.time_us = match self.chance.below(8) {
                0 => device.time_us - self.chance.between(0, 6 * S),
                1 => device.time_us,
                _ => device.time_us.max(now_us - 4 * S) + self.chance.between(1, 2 * S),
            };
            let value = match self.chance.below(12) {
                0 => OwnedValue::Integer(device.value as i64),
                1 => OwnedValue::Bool(device.value > 0.0),
                2 => OwnedValue::Text("shut".to_owned()),
                _ => OwnedValue::Number(device.value),
            };
            samples.push((device.time_us, value));
        }
        let name = if self.chance.once_in(10) {
            "other"
        } else {
            "t"
        };
        let batch = site::batch(device.boot, device.next, &samples, name);
        device.next += samples.len() as u64;
        // One that a device has lost.
        device.next += u64::from(self.chance.once_in(15));
        device.last = Some(batch.clone());
        self.site.batch(&id, &batch, now_us);
    }

    pub(super) fn wait(&mut self) {
        self.gateway_us += self.chance.between(0, 8 * S);
        self.site.mark(self.gateway_us);
    }

    /// A rule comes, changes or goes.
    fn change(&mut self) {
        self.changed = true;
        let (id, ..) = ASKED[self.chance.below(ASKED.len() as u64) as usize];
        let version = self.versions.get(id).copied().unwrap_or(0);
        if version == 3 || self.chance.once_in(4) {
            self.versions.remove(id);
        } else {
            self.versions.insert(id, version + 1);
        }
        self.place();
    }

    fn place(&mut self) {
        let held = self.versions.iter();
        let held: Vec<&Definition> = held
            .map(|(id, version)| &self.all[&((*id).to_owned(), *version)])
            .collect();
        self.site.place(&held, self.gateway_us);
        for definition in held {
            self.hub.activate(definition, self.hub_us);
        }
    }

    fn end(mut self) -> (Vec<Told>, Vec<Trigger>, HubSide, bool) {
        self.site.judge_all(self.gateway_us);
        for _ in 0..4 {
            self.gateway_us += 12 * S;
            self.site.mark(self.gateway_us);
            self.site.judge_all(self.gateway_us);
        }
        while self.hub.publish(&self.site, 16, self.hub_us) {}
        (
            self.site.told(),
            self.hub.judged.clone(),
            self.hub,
            self.changed,
        )
    }
}

pub(super) fn begin<'a>(
    seed: u64,
    yaml: &[&str],
    all: &'a BTreeMap<(String, u32), Definition>,
) -> Run<'a> {
    let mut chance = Chance::new(seed + 1);
    let gateway_us = chance.between(1_700_000_000, 1_800_000_000) * S;
    let hub_us = chance.between(1_600_000_000, 1_900_000_000) * S;
    let devices = ["freezer-1", "freezer-2", "room-1"].map(|id| Device {
        id: DeviceId::parse(id).unwrap(),
        boot: chance.draw() as u32,
        next: 1,
        value: 0.0,
        time_us: gateway_us - chance.between(0, 10 * S),
        last: None,
    });
    let mut versions = BTreeMap::new();
    for (id, ..) in ASKED {
        if chance.once_in(3) {
            versions.insert(id, 1);
        }
    }
    let mut run = Run {
        site: Site::new(chance.draw()),
        hub: HubSide::new(yaml),
        devices: devices.into(),
        versions,
        all,
        gateway_us,
        hub_us,
        chance,
        changed: false,
    };
    run.place();
    run
}

fn run<'a>(seed: u64, yaml: &[&str], all: &'a BTreeMap<(String, u32), Definition>) -> Run<'a> {
    let mut run = begin(seed, yaml, all);
    for _ in 0..50 {
        run.step();
    }
    run
}

#[test]
fn ten_thousand_random_streams_are_judged_alike() {
    let yaml = yaml();
    let yaml: Vec<&str> = yaml.iter().map(String::as_str).collect();
    let all = site::definitions(&yaml);
    let threads = 2;
    let fired: Vec<BTreeMap<String, u64>> = std::thread::scope(|scope| {
        let parts = (0..threads).map(|part| {
            let (yaml, all) = (&yaml, &all);
            scope.spawn(move || {
                let mut fired = BTreeMap::new();
                for seed in (part..STREAMS).step_by(threads as usize) {
                    one(seed, yaml, all, &mut fired);
                }
                fired
            })
        });
        let parts: Vec<_> = parts.collect();
        parts.into_iter().map(|it| it.join().unwrap()).collect()
    });
    // Each kind of rule has fired often, or it is not compared.
    for id in ASKED.map(|(id, ..)| id).into_iter().chain(["cleared"]) {
        let times: u64 = fired.iter().filter_map(|it| it.get(id)).sum();
        assert!(times >= STREAMS / 100, "{id} has fired {times} times");
    }
}

fn one(
    seed: u64,
    yaml: &[&str],
    all: &BTreeMap<(String, u32), Definition>,
    fired: &mut BTreeMap<String, u64>,
) {
    let (told, judged, hub, changed) = run(seed, yaml, all).end();
    let at_gateway = site::runs(&told, all);
    assert_eq!(judged, at_gateway, "stream {seed}");
    for run in &at_gateway {
        *fired.entry(run.workflow.clone()).or_default() += 1;
    }
    let mut ids: Vec<_> = at_gateway.iter().map(|run| run.run).collect();
    ids.sort();
    let all_ids = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), all_ids, "stream {seed}: nothing is told twice");

    // The hub starts no other run, and takes note of the very commands that the gateway gave.
    for trigger in hub.all.iter().flat_map(|found| &found.triggers) {
        let is_its = ids.binary_search(&trigger.run).is_ok();
        assert!(is_its || changed, "stream {seed}: {trigger:?}");
    }
    let noted = hub.all.iter().flat_map(|found| &found.given);
    let mut noted: Vec<_> = noted
        .filter_map(|given| given.command.as_ref())
        .map(|it| it.id)
        .collect();
    noted.sort();
    noted.dedup();
    let mut given = site::commands(&told, all);
    given.sort();
    assert_eq!(noted, given, "stream {seed}");
    let mut clearings = told.iter();
    if clearings.any(|it| matches!(it.change, Change::Cleared(_))) {
        *fired.entry("cleared".to_owned()).or_default() += 1;
    }
}
