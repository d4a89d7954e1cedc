//! The same samples give the same firings, however they are cut into commits,
//! with a save, a restart and a load at each cut; and late samples, wherever
//! they come in, change nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;
use stencil_protocol::id::{Boot, Seq};
use stencil_protocol::sample::Value;
use stencil_rules::{
    Bounds, Cause, Change, Condition, Engine, Finite, Firing, Level, Limit, Observation, Pattern,
    Rule, Threshold,
};

const DEVICES: [&str; 3] = ["freezer-1", "freezer-2", "room-1"];

#[derive(Debug, Clone)]
struct Sample {
    device: usize,
    time_us: i64,
    value: f64,
}

type Fired = (&'static str, String, Firing);

fn rules() -> Vec<(&'static str, Rule)> {
    let rule = |devices: &str, limit: fn(Finite) -> Limit, at: f64, hold_us| {
        let level = Level::new(limit(Finite::new(at).unwrap()), None).unwrap();
        let condition = Condition::Threshold(Threshold::new(level, hold_us).unwrap());
        Rule::new(Pattern::parse(devices).unwrap(), Some("t"), condition).unwrap()
    };
    vec![
        ("at-once", rule("*", Limit::Above, 0.5, 0)),
        ("cold", rule("room-*", Limit::Below, -0.5, 7)),
        ("warm", rule("freezer-*", Limit::Above, 0.0, 10)),
    ]
}

fn engine() -> Engine<&'static str> {
    let mut engine = Engine::new(Bounds::default());
    for (key, rule) in rules() {
        engine.put(key, rule).unwrap();
    }
    engine
}

fn feed(engine: &mut Engine<&'static str>, first: usize, samples: &[Sample]) -> Vec<Fired> {
    let mut fired = Vec::new();
    for (index, sample) in samples.iter().enumerate() {
        let device = DEVICES[sample.device];
        let observation = Observation {
            device,
            name: "t",
            time_us: sample.time_us,
            received_us: sample.time_us,
            value: Value::Number(sample.value),
            unit: None,
            cause: Cause::Numbered {
                boot: Boot(1),
                seq: Seq((first + index) as u64 + 1),
            },
        };
        engine.observe(&observation, |key, _, change| {
            if let Change::Fired(firing) = change {
                fired.push((*key, device.to_owned(), firing));
            }
        });
    }
    fired
}

/// By the definition: look back over all samples of the device, again and again.
fn by_definition(samples: &[Sample]) -> Vec<Fired> {
    let mut fired = Vec::new();
    for (index, sample) in samples.iter().enumerate() {
        let device = DEVICES[sample.device];
        let seen: Vec<&Sample> = samples[..index]
            .iter()
            .filter(|other| other.device == sample.device)
            .collect();
        if seen.iter().any(|other| other.time_us > sample.time_us) {
            continue;
        }
        for (key, rule) in rules() {
            let holds = |s: &Sample| {
                let Condition::Threshold(threshold) = &rule.condition else {
                    return false;
                };
                threshold
                    .level()
                    .limit()
                    .holds(Finite::new(s.value).unwrap())
            };
            if !rule.devices.matches(device) || !holds(sample) {
                continue;
            }
            // The run of true samples that this one ends, without the late ones.
            let mut on_time: Vec<&Sample> = Vec::new();
            for other in &seen {
                if on_time
                    .last()
                    .is_none_or(|last| other.time_us >= last.time_us)
                {
                    on_time.push(other);
                }
            }
            let run: Vec<&&Sample> = on_time.iter().rev().take_while(|s| holds(s)).collect();
            let since_us = run.last().map_or(sample.time_us, |first| first.time_us);
            let held = |at_us: i64| at_us - since_us >= rule.condition.hold_us();
            if held(sample.time_us) && !run.iter().any(|earlier| held(earlier.time_us)) {
                let cause = Cause::Numbered {
                    boot: Boot(1),
                    seq: Seq(index as u64 + 1),
                };
                let value = Finite::new(sample.value);
                let firing = Firing {
                    since_us,
                    at_us: sample.time_us,
                    value,
                    cause,
                };
                fired.push((key, device.to_owned(), firing));
            }
        }
    }
    fired
}

fn samples() -> impl Strategy<Value = Vec<Sample>> {
    let one = (
        0..DEVICES.len(),
        -8_i64..12,
        prop_oneof![3 => Just(1.0), 1 => Just(-1.0), 1 => Just(0.25)],
    );
    prop::collection::vec(one, 0..80).prop_map(|steps| {
        let mut now = [100_i64; DEVICES.len()];
        let to_sample = |(device, step, value): (usize, i64, f64)| {
            // A step back is a late sample; the clock itself does not go back.
            let time_us = now[device] + step;
            now[device] = now[device].max(time_us);
            Sample {
                device,
                time_us,
                value,
            }
        };
        steps.into_iter().map(to_sample).collect()
    })
}

proptest! {
    #[test]
    fn whole_or_in_pieces(samples in samples(), cuts in prop::collection::vec(1_usize..9, 0..40)) {
        let whole = feed(&mut engine(), 0, &samples);
        prop_assert_eq!(&whole, &by_definition(&samples));

        let mut saved: std::collections::BTreeMap<(&str, String), Vec<u8>> = Default::default();
        let (mut pieces, mut from, mut cuts) = (Vec::new(), 0, cuts.into_iter());
        while from < samples.len() {
            let to = (from + cuts.next().unwrap_or(samples.len())).min(samples.len());
            let mut engine = engine();
            for ((key, device), bytes) in &saved {
                engine.restore(key, device, bytes).unwrap();
            }
            pieces.extend(feed(&mut engine, from, &samples[from..to]));
            engine.take_changed(|key, device, bytes| { saved.insert((*key, device.to_owned()), bytes); });
            from = to;
        }
        prop_assert_eq!(pieces, whole);
    }

    #[test]
    fn saved_state_from_a_stranger_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = engine().restore(&"warm", "freezer-1", &bytes);
    }
}
