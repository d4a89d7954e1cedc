//! The devices, what they send, and the rules about them.

use stencil_protocol::id::{Boot, Seq};
use stencil_protocol::sample::Value;
use stencil_rules::{
    Aggregate, Cause, Condition, Expression, Finite, Level, Limit, Observation, Pattern, Rate,
    Threshold, Window,
};

pub(crate) const DEVICES: usize = 10_000;

/// Each with its cost; `cel` is what no comparison alone can say.
pub(crate) const KINDS: [&str; 8] = [
    "threshold",
    "absence",
    "rate",
    "window count",
    "window mean",
    "window p95",
    "expression native",
    "expression cel",
];

pub(crate) struct Fleet {
    /// Ids in the order in which they send.
    ids: Vec<String>,
}

impl Fleet {
    pub(crate) fn new() -> Self {
        let mut ids: Vec<String> = (0..DEVICES)
            .map(|number| format!("dev-{number:04}"))
            .collect();
        // Fisher and Yates, with a xorshift of a fixed seed.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for at in (1..ids.len()).rev() {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let other = usize::try_from(state % (at as u64 + 1)).unwrap_or(0);
            ids.swap(at, other);
        }
        Self { ids }
    }

    /// The patterns of so many rules that share the devices out among them.
    pub(crate) fn patterns(&self, rules: usize) -> Vec<Pattern> {
        let texts: Vec<String> = match rules {
            1 => vec!["dev-*".to_owned()],
            100 => (0..100).map(|rule| format!("dev-{rule:02}*")).collect(),
            _ => (0..rules).map(|rule| format!("dev-{rule:04}")).collect(),
        };
        texts
            .iter()
            .filter_map(|text| Pattern::parse(text).ok())
            .collect()
    }

    /// The sample with this number: each device in turn, once a second. Devices are spread over
    /// three seconds, the length of a pane, so that their windows do not end all at once.
    pub(crate) fn sample(&self, number: usize) -> Observation<'_> {
        let turn = number / DEVICES;
        let spread_us = 3_000_000 * (number % DEVICES) as i64 / DEVICES as i64;
        let time_us = 1_700_000_000_000_000 + turn as i64 * 1_000_000 + spread_us;
        Observation {
            device: &self.ids[number % DEVICES],
            name: "temperature",
            time_us,
            received_us: time_us,
            // From -20 to -18.
            value: Value::Number(-20.0 + (number % 97) as f64 / 48.0),
            unit: Some("degC"),
            cause: Cause::Numbered {
                boot: Boot(1),
                seq: Seq(turn as u64 + 1),
            },
        }
    }
}

/// A condition of the kind that holds for no sample of the fleet.
pub(crate) fn condition(kind: &str) -> Condition {
    let level = |limit| Level::new(Limit::Above(Finite::new(limit).unwrap_or_default()), None);
    let window = |of| {
        let level = level(if of == Aggregate::Count { 1e6 } else { -12.0 })?;
        Window::new(of, 60_000_000, 5_000_000, level, 0).map(Condition::Window)
    };
    let expression = |source| Expression::new(source, 0).map(Condition::Expression);
    let made = match kind {
        "absence" => stencil_rules::Absence::new(60_000_000).map(Condition::Absence),
        "rate" => level(10.0)
            .and_then(|level| Rate::new(60_000_000, level, 0))
            .map(Condition::Rate),
        "window count" => window(Aggregate::Count),
        "window mean" => window(Aggregate::Mean),
        "window p95" => window(Aggregate::P95),
        "expression native" => expression("event.value > -12.0 && event.value < 80.0"),
        "expression cel" => expression("event.value * 2.0 > -24.0 && event.value < 80.0"),
        _ => level(-12.0)
            .and_then(|level| Threshold::new(level, 3_000_000))
            .map(Condition::Threshold),
    };
    made.unwrap_or_else(|error| unreachable!("{kind}: {error}"))
}
