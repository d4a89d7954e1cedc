//! Feeds an engine: at a stretch, and in pieces with a restart in between.
#![allow(dead_code, reason = "each test uses its part")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use stencil_protocol::id::{Boot, Seq};
use stencil_protocol::sample::Value;
use stencil_rules::{
    Bounds, Cause, Change, Condition, Engine, Finite, Level, Limit, Observation, Pattern, Rule,
};

pub(crate) const DEVICES: [&str; 3] = ["freezer-1", "freezer-2", "room-1"];

/// What happens to an engine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Op {
    Sample {
        device: usize,
        time_us: i64,
        received_us: i64,
        value: f64,
        /// Of one boot.
        seq: u64,
    },
    /// A text, which most conditions pass over.
    Text { device: usize, time_us: i64 },
    /// The log says how late it is.
    Time(i64),
}

/// What a rule told.
pub(crate) type Told = (&'static str, String, Change);

pub(crate) fn finite(value: f64) -> Finite {
    Finite::new(value).unwrap()
}

pub(crate) fn above(limit: f64, clear: Option<f64>) -> Level {
    Level::new(Limit::Above(finite(limit)), clear.map(finite)).unwrap()
}

pub(crate) fn below(limit: f64, clear: Option<f64>) -> Level {
    Level::new(Limit::Below(finite(limit)), clear.map(finite)).unwrap()
}

/// A rule about samples named `t`.
pub(crate) fn rule(devices: &str, condition: Condition) -> Rule {
    Rule::new(Pattern::parse(devices).unwrap(), Some("t"), condition).unwrap()
}

pub(crate) fn engine(rules: &[(&'static str, Rule)]) -> Engine<&'static str> {
    let mut engine = Engine::new(Bounds {
        max_ahead_us: i64::MAX,
        ..Bounds::default()
    });
    for (key, rule) in rules {
        engine.put(*key, rule.clone()).unwrap();
    }
    engine
}

pub(crate) fn feed(engine: &mut Engine<&'static str>, ops: &[Op], told: &mut Vec<Told>) {
    for op in ops {
        let (device, time_us, received_us, value, cause) = match *op {
            Op::Time(now_us) => {
                engine.advance(now_us, |key, device, _, change| {
                    told.push((*key, device.to_owned(), change));
                });
                continue;
            }
            Op::Sample {
                device,
                time_us,
                received_us,
                value,
                seq,
            } => (
                device,
                time_us,
                received_us,
                Value::Number(value),
                Cause::Numbered {
                    boot: Boot(1),
                    seq: Seq(seq),
                },
            ),
            Op::Text { device, time_us } => (
                device,
                time_us,
                time_us,
                Value::Text("open"),
                Cause::Timed { time_us },
            ),
        };
        let device = DEVICES[device];
        let observation = Observation {
            device,
            name: "t",
            time_us,
            received_us,
            value,
            unit: Some("degC"),
            cause,
        };
        engine.observe(&observation, |key, _, change| {
            told.push((*key, device.to_owned(), change));
        });
    }
}

/// All at a stretch.
pub(crate) fn whole(rules: &[(&'static str, Rule)], ops: &[Op]) -> Vec<Told> {
    let mut told = Vec::new();
    feed(&mut engine(rules), ops, &mut told);
    told
}

/// In pieces of these lengths, with a save, a restart and a load after each.
pub(crate) fn in_pieces(rules: &[(&'static str, Rule)], ops: &[Op], cuts: &[usize]) -> Vec<Told> {
    let mut saved: BTreeMap<(&str, String), Vec<u8>> = BTreeMap::new();
    let (mut told, mut rest, mut cuts) = (Vec::new(), ops, cuts.iter());
    while !rest.is_empty() {
        let piece = cuts.next().copied().unwrap_or(rest.len()).min(rest.len());
        let (now, later) = rest.split_at(piece);
        let mut engine = engine(rules);
        for ((key, device), bytes) in &saved {
            engine.restore(key, device, bytes).unwrap();
        }
        feed(&mut engine, now, &mut told);
        engine.take_changed(|key, device, bytes| {
            saved.insert((*key, device.to_owned()), bytes);
        });
        rest = later;
    }
    told
}

pub(crate) fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(1_usize..9, 0..60)
}

/// What one rule told about one device.
pub(crate) fn of<'a>(told: &'a [Told], key: &str, device: &str) -> Vec<&'a Change> {
    told.iter()
        .filter(|(its, whose, _)| *its == key && whose == device)
        .map(|(_, _, change)| change)
        .collect()
}

/// Each rule's changes on a device must alternate, beginning with `Fired`.
pub(crate) fn alternate(told: &[Told]) -> bool {
    let mut fired: BTreeMap<(&str, &str), bool> = BTreeMap::new();
    told.iter().all(|(key, device, change)| {
        let fires = matches!(change, Change::Fired(_));
        let before = fired.insert((*key, device.as_str()), fires);
        before.unwrap_or(false) != fires
    })
}
