//! The change per second, against the newest kept sample that is old enough.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use harness::{
    DEVICES, Op, Told, above, alternate, below, cuts, finite, in_pieces, of, rule, whole,
};
use proptest::prelude::*;
use stencil_protocol::id::{Boot, Seq};
use stencil_rules::{Cause, Change, Clearing, Condition, Firing, PANES, Rate, Rule};

const S: i64 = 1_000_000;
const MS: i64 = 1_000;

fn rules() -> Vec<(&'static str, Rule)> {
    let rate = |devices, over_us, level, hold_us| {
        rule(
            devices,
            Condition::Rate(Rate::new(over_us, level, hold_us).unwrap()),
        )
    };
    vec![
        ("falls", rate("*", 3 * S, below(-0.5, Some(0.0)), 0)),
        ("rises", rate("freezer-*", S, above(0.5, None), 700 * MS)),
    ]
}

/// By the definition, over all samples of the device again and again.
fn by_definition(ops: &[Op]) -> Vec<Told> {
    let mut told = Vec::new();
    // Of each rule and device: since when it holds, and whether it has fired.
    let mut phases = std::collections::BTreeMap::<(&str, &str), (Option<i64>, bool)>::new();
    for index in 0..ops.len() {
        let Op::Sample {
            device,
            time_us,
            value,
            seq,
            ..
        } = ops[index]
        else {
            continue;
        };
        let mut on_time: Vec<(i64, f64)> = Vec::new();
        let mut is_late = false;
        for op in &ops[..=index] {
            if let Op::Sample {
                device: of,
                time_us,
                value,
                ..
            } = *op
                && of == device
            {
                is_late = on_time
                    .last()
                    .is_some_and(|(last_us, _)| time_us < *last_us);
                if !is_late {
                    on_time.push((time_us, value));
                }
            }
        }
        for (key, rule) in rules() {
            let Condition::Rate(rate) = &rule.condition else {
                unreachable!()
            };
            if is_late || !rule.devices.matches(DEVICES[device]) {
                continue;
            }
            let cell = |time_us: i64| time_us.div_euclid(rate.over_us() / PANES);
            let mut kept: Vec<(i64, f64)> = Vec::new();
            for &(time_us, value) in &on_time[..on_time.len() - 1] {
                if kept
                    .last()
                    .is_none_or(|(last_us, _)| cell(*last_us) < cell(time_us))
                {
                    kept.push((time_us, value));
                }
            }
            let old_enough = |kept: &&(i64, f64)| kept.0 <= time_us - rate.over_us();
            let Some((then_us, then)) = kept.iter().rev().find(old_enough) else {
                continue;
            };
            let change = finite((value - then) / ((time_us - then_us) as f64 / 1e6));
            let cause = Cause::Numbered {
                boot: Boot(1),
                seq: Seq(seq),
            };
            let (since, fired) = phases.entry((key, DEVICES[device])).or_default();
            let (at_us, value) = (time_us, Some(change));
            if !rate.level().holds(since.is_some(), change) {
                if let (true, Some(since_us)) = (*fired, *since) {
                    let change = Change::Cleared(Clearing {
                        since_us,
                        at_us,
                        value,
                        cause,
                    });
                    told.push((key, DEVICES[device].to_owned(), change));
                }
                (*since, *fired) = (None, false);
                continue;
            }
            let since_us = *since.get_or_insert(at_us);
            if !*fired && at_us - since_us >= rate.hold_us() {
                *fired = true;
                let change = Change::Fired(Firing {
                    since_us,
                    at_us,
                    value,
                    cause,
                });
                told.push((key, DEVICES[device].to_owned(), change));
            }
        }
    }
    told
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let step = prop_oneof![6 => 0..300 * MS, 1 => -500 * MS..0, 1 => S..9 * S];
    let one = (0..DEVICES.len() + 1, step, -3_i64..4);
    prop::collection::vec(one, 0..100).prop_map(|steps| {
        let mut now = [5 * S; DEVICES.len()];
        let mut value = 0.0;
        let to_op = |(index, (device, step, change)): (usize, (usize, i64, i64))| {
            if device == DEVICES.len() {
                return Op::Text {
                    device: 0,
                    time_us: now[0],
                };
            }
            let time_us = now[device] + step;
            now[device] = now[device].max(time_us);
            value += change as f64 / 4.0;
            Op::Sample {
                device,
                time_us,
                received_us: time_us,
                value,
                seq: index as u64 + 1,
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
    fn saved_state_from_a_stranger_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..96)) {
        let _ = harness::engine(&rules()).restore(&"rises", "freezer-1", &bytes);
    }
}

fn sample(time_us: i64, value: f64) -> Op {
    Op::Sample {
        device: 0,
        time_us,
        received_us: time_us,
        value,
        seq: 1,
    }
}

fn ramp(per_second: f64) -> Rule {
    rule(
        "*",
        Condition::Rate(Rate::new(10 * S, above(per_second, None), 0).unwrap()),
    )
}

#[test]
fn a_slow_rise_is_measured_over_the_whole_time_however_samples_lie() {
    // 0.1 a second with a jitter of 0.4 that would be a rise of 4 a second over 0.1 s.
    let jitter = [0.0, 0.4, -0.4, 0.1, -0.3];
    let ops: Vec<Op> = (0..1_000)
        .zip(jitter.into_iter().cycle())
        .map(|(at, jitter)| sample(at * 97 * MS, at as f64 * 0.0097 + jitter))
        .collect();
    assert_eq!(whole(&[("fast", ramp(0.3))], &ops), []);
    assert_eq!(
        of(&whole(&[("slow", ramp(0.005))], &ops), "slow", DEVICES[0]).len() % 2,
        1
    );
}

#[test]
fn nothing_is_said_before_the_time_has_passed_and_a_gap_is_measured_whole() {
    let told = whole(
        &[("rise", ramp(1.0))],
        &[sample(0, 0.0), sample(9_999 * MS, 900.0)],
    );
    assert_eq!(told, []);
    let ops = [
        sample(0, 0.0),
        sample(100 * S, 99.0),
        sample(105 * S, 999.0),
    ];
    assert_eq!(
        whole(&[("rise", ramp(1.0))], &ops[..2]),
        [],
        "0.99 a second"
    );
    let told = whole(&[("rise", ramp(1.0))], &ops);
    let Change::Fired(fired) = told[0].2 else {
        panic!()
    };
    assert_eq!(
        fired.value,
        Some(finite(999.0 / 105.0)),
        "the last sample is too near"
    );
}

#[test]
fn the_ends_of_numbers_and_times_are_no_overflow() {
    for (first_us, last_us) in [
        (i64::MIN, i64::MAX),
        (0, 10 * S),
        (i64::MAX - 10 * S, i64::MAX),
    ] {
        let ops = [sample(first_us, f64::MIN), sample(last_us, f64::MAX)];
        let told = whole(&[("rise", ramp(1.0))], &ops);
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told, in_pieces(&[("rise", ramp(1.0))], &ops, &[1]));
    }
}
