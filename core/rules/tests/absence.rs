//! A silence is told when the log says that it has lasted, and ends with the next sample.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use std::collections::BTreeMap;

use harness::{DEVICES, Op, Told, alternate, cuts, in_pieces, whole};
use proptest::prelude::*;
use stencil_protocol::id::{Boot, Seq};
use stencil_protocol::sample::Value;
use stencil_rules::{
    Absence, Bounds, Cause, Change, Clearing, Condition, Engine, Finite, Firing, Observation,
    Pattern, Rule,
};

const S: i64 = 1_000_000;

fn absent(devices: &str, name: Option<&str>, seconds: i64) -> Rule {
    let condition = Condition::Absence(Absence::new(seconds * S).unwrap());
    Rule::new(Pattern::parse(devices).unwrap(), name, condition).unwrap()
}

fn rules() -> Vec<(&'static str, Rule)> {
    vec![
        ("long", absent("*", None, 7)),
        ("short", absent("freezer-*", Some("t"), 2)),
    ]
}

/// By the definition, with all that was heard before an op at hand.
fn by_definition(ops: &[Op]) -> Vec<Told> {
    let mut told: Vec<Told> = Vec::new();
    let mut fired: BTreeMap<(&str, &str), bool> = BTreeMap::new();
    for (index, op) in ops.iter().enumerate() {
        let heard = |device: &str| {
            let heard = ops[..index].iter().rev().filter_map(|op| match op {
                Op::Sample {
                    device: of,
                    time_us,
                    received_us,
                    ..
                } if DEVICES[*of] == device => Some(*time_us.max(received_us)),
                _ => None,
            });
            heard.clone().next()
        };
        let mut now: Vec<Told> = Vec::new();
        for (key, rule) in rules() {
            let Condition::Absence(asked) = rule.condition else {
                unreachable!()
            };
            for device in DEVICES {
                let (Some(since_us), true) = (heard(device), rule.devices.matches(device)) else {
                    continue;
                };
                let due_us = since_us + asked.silence_us();
                let is_absent = fired.entry((key, device)).or_default();
                match op {
                    Op::Time(now_us) if !*is_absent && due_us <= *now_us => {
                        *is_absent = true;
                        let change = Change::Fired(Firing {
                            since_us,
                            at_us: due_us,
                            value: None,
                            cause: Cause::Silence { since_us },
                        });
                        now.push((key, device.to_owned(), change));
                    }
                    Op::Sample {
                        device: of,
                        time_us,
                        received_us,
                        value,
                        seq,
                    } if *is_absent && DEVICES[*of] == device => {
                        *is_absent = false;
                        let change = Change::Cleared(Clearing {
                            since_us,
                            at_us: due_us.max(*time_us.max(received_us)),
                            value: Finite::new(*value),
                            cause: Cause::Numbered {
                                boot: Boot(1),
                                seq: Seq(*seq),
                            },
                        });
                        now.push((key, device.to_owned(), change));
                    }
                    _ => {}
                }
            }
        }
        now.sort_by(|a, b| (a.2.at_us(), a.0, &a.1).cmp(&(b.2.at_us(), b.0, &b.1)));
        told.extend(now);
    }
    told
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let one = (0..DEVICES.len() + 1, 0_i64..4 * S, -3 * S..S);
    prop::collection::vec(one, 0..80).prop_map(|steps| {
        let mut now_us = 1_000 * S;
        let to_op = |(index, (device, step, ahead)): (usize, (usize, i64, i64))| {
            now_us += step;
            match device < DEVICES.len() {
                true => Op::Sample {
                    device,
                    time_us: now_us + ahead,
                    received_us: now_us,
                    value: 1.0,
                    seq: index as u64 + 1,
                },
                false => Op::Time(now_us),
            }
        };
        steps.into_iter().enumerate().map(to_op).collect()
    })
}

proptest! {
    #[test]
    fn whole_or_in_pieces(ops in ops(), cuts in cuts()) {
        let told = whole(&rules(), &ops);
        prop_assert!(alternate(&told));
        prop_assert_eq!(&told, &by_definition(&ops));
        prop_assert_eq!(told, in_pieces(&rules(), &ops, &cuts));
    }

    #[test]
    fn saved_state_from_a_stranger_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = harness::engine(&rules()).restore(&"short", "freezer-1", &bytes);
    }
}

fn heard(engine: &mut Engine<u8>, device: &str, name: &str, at_us: i64) -> Vec<(u8, Change)> {
    let mut told = Vec::new();
    let sample = Observation {
        device,
        name,
        time_us: at_us,
        received_us: at_us,
        value: Value::Text("on"),
        unit: None,
        cause: Cause::Timed { time_us: at_us },
    };
    engine.observe(&sample, |key, _, change| told.push((*key, change)));
    told
}

fn advance(engine: &mut Engine<u8>, now_us: i64) -> Vec<(u8, String, i64)> {
    let mut told = Vec::new();
    engine.advance(now_us, |key, device, _, change| {
        told.push((*key, device.to_owned(), change.at_us()));
    });
    told
}

#[test]
fn what_is_due_is_told_in_the_order_of_time_then_key_then_device() {
    let mut engine = Engine::new(Bounds::default());
    engine.put(2, absent("*", None, 5)).unwrap();
    engine.put(1, absent("*", None, 6)).unwrap();
    for (device, at) in [("b", 10), ("c", 10), ("a", 11)] {
        assert_eq!(heard(&mut engine, device, "t", at * S), []);
    }
    assert_eq!(advance(&mut engine, 14 * S), []);
    let told = advance(&mut engine, 60 * S);
    let told: Vec<(u8, &str, i64)> = told.iter().map(|(k, d, at)| (*k, &**d, at / S)).collect();
    let expected = [
        (2, "b", 15),
        (2, "c", 15),
        (1, "b", 16),
        (1, "c", 16),
        (2, "a", 16),
        (1, "a", 17),
    ];
    assert_eq!(told, expected);
    assert_eq!(engine.metrics().fired, 6);
    assert_eq!(advance(&mut engine, 90 * S), [], "each is told once");
}

#[test]
fn a_sample_of_any_name_ends_the_silence_of_a_rule_without_name() {
    let mut engine = Engine::new(Bounds::default());
    engine.put(1, absent("*", None, 5)).unwrap();
    engine.put(2, absent("*", Some("t"), 5)).unwrap();
    heard(&mut engine, "a", "t", 10 * S);
    heard(&mut engine, "a", "u", 14 * S);
    assert_eq!(
        advance(&mut engine, 16 * S),
        [(2, "a".to_owned(), 15 * S)],
        "the other heard of `u`"
    );
    assert_eq!(advance(&mut engine, 20 * S), [(1, "a".to_owned(), 19 * S)]);
    let told = heard(&mut engine, "a", "u", 21 * S);
    assert!(matches!(told[..], [(1, Change::Cleared(_))]), "{told:?}");
}

#[test]
fn who_was_never_heard_is_not_absent_and_who_is_gone_is_forgotten() {
    let mut engine = Engine::new(Bounds::default());
    engine.put(1, absent("a*", None, 5)).unwrap();
    assert_eq!(advance(&mut engine, 100 * S), []);
    heard(&mut engine, "a1", "t", 100 * S);
    heard(&mut engine, "a2", "t", 100 * S);
    engine.put(1, absent("a1", None, 5)).unwrap();
    let told = advance(&mut engine, 200 * S);
    assert_eq!(
        told,
        [(1, "a1".to_owned(), 105 * S)],
        "a2 is not its any more"
    );
    heard(&mut engine, "a1", "t", 300 * S);
    assert!(engine.remove(&1));
    assert_eq!(advance(&mut engine, 400 * S), []);
}

#[test]
fn a_silence_that_ended_while_nobody_looked_is_none() {
    let mut engine = Engine::new(Bounds::default());
    engine.put(1, absent("*", None, 5)).unwrap();
    heard(&mut engine, "a", "t", 10 * S);
    // The hub was down: what came afterwards came before time was told.
    assert_eq!(heard(&mut engine, "a", "t", 60 * S), []);
    assert_eq!(advance(&mut engine, 61 * S), []);
    assert_eq!(advance(&mut engine, 30 * S), [], "time that goes back");
}
