//! The recording of a real machine, as a site measures it.

use stencil_protocol::id::DeviceId;
use stencil_protocol::sample::OwnedValue;

use crate::chance::Chance;
use crate::site::{self, HubSide, Site};

const RECORDING: &str =
    include_str!("../../simulators/data/machine_temperature_system_failure.csv");

const RULES: [&str; 6] = [
    "{ above: 100.0, for: 10m, clear: 95.0 }",
    "{ below: 60.0 }",
    "{ absent: 30m }",
    "{ rate: { over: 1h, below: -0.004 } }",
    "{ window: { of: p95, over: 2h, lateness: 10m, above: 102.0 } }",
    "{ window: { of: mean, over: 1d, lateness: 5m, below: 70.0 }, for: 1h }",
];

/// `2013-12-02 21:15:00` in UTC.
fn time_us(text: &str) -> i64 {
    let mut parts = text
        .split(['-', ' ', ':'])
        .map(|part| part.parse::<i64>().unwrap());
    let mut next = || parts.next().unwrap();
    let (year, month, day) = (next(), next(), next());
    let (hour, minute, second) = (next(), next(), next());
    // Days since 1970, with years that begin in March (H. Hinnant, "days_from_civil").
    let years = year - i64::from(month <= 2);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = years * 365 + years / 4 - years / 100 + years / 400 + of_year - 719_468;
    (((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000
}

#[test]
fn the_recording_is_judged_alike() {
    let yaml: Vec<String> = RULES
        .iter()
        .enumerate()
        .map(|(at, when)| {
            format!(
                "id: rule-{at}\nversion: 1\non: {{ telemetry: {{ devices: machine, name: t }} }}\n\
                 when: {when}\nplace: {{ gateways: '*' }}\nsteps: [{{ id: stop, use: \
                 device.command, with: {{ device: machine, command: stop, expires: 1m }} }}]\n"
            )
        })
        .collect();
    let yaml: Vec<&str> = yaml.iter().map(String::as_str).collect();
    let all = site::definitions(&yaml);
    let rows: Vec<(i64, f64)> = RECORDING
        .lines()
        .skip(1)
        .map(|line| {
            let (at, value) = line.split_once(',').unwrap();
            (time_us(at), value.parse().unwrap())
        })
        .collect();
    let mut chance = Chance::new(7);
    let (mut site, mut hub) = (Site::new(3), HubSide::new(&yaml));
    let machine = DeviceId::parse("machine").unwrap();
    // The gateway's clock is a little ahead, the hub's is years behind.
    let now_us = |at_us: i64| at_us + 7_300_000;
    let mut hub_us = 1_000_000_000_000_000;
    let definitions: Vec<_> = all.values().collect();
    site.place(&definitions, now_us(rows[0].0));
    let mut first = 1;
    let mut rest = rows.as_slice();
    while !rest.is_empty() {
        let (some, later) = rest.split_at((1 + chance.below(12) as usize).min(rest.len()));
        rest = later;
        let samples: Vec<_> = some
            .iter()
            .map(|(at_us, value)| (*at_us, OwnedValue::Number(*value)))
            .collect();
        let at_us = now_us(some[some.len() - 1].0);
        let bytes = site::batch(9, first, &samples, "t");
        first += samples.len() as u64;
        // Nothing had come for up to an hour when it is said how late it is.
        site.mark(at_us - 60_000_000);
        site.batch(&machine, &bytes, at_us);
        if chance.once_in(9) {
            site.batch(&machine, &bytes, at_us);
        }
        if chance.once_in(2) {
            site.mark(at_us);
        }
        site.judge_all(at_us);
        if chance.once_in(50) {
            site.save();
        }
        if chance.once_in(80) {
            site.kill(at_us);
            site.judge_all(at_us);
        }
        hub_us += chance.between(0, 90_000_000);
        hub.publish(&site, 3, hub_us);
        if chance.once_in(60) {
            hub.back(9);
            hub.restart();
        }
    }
    while hub.publish(&site, 100, hub_us) {}
    let told = site.told();
    let runs = site::runs(&told, &all);
    assert_eq!(hub.judged, runs);
    for at in 0..RULES.len() {
        let of = format!("rule-{at}");
        assert!(runs.iter().any(|run| run.workflow == of), "{of} has fired");
    }
}
