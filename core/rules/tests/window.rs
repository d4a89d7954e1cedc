//! Windows over event time: what is judged, when, and that neither batches nor the
//! order of arrival (within the lateness) matter.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use std::collections::BTreeMap;

use harness::{
    DEVICES, Op, Told, above, alternate, below, cuts, finite, in_pieces, of, rule, whole,
};
use proptest::prelude::*;
use stencil_rules::{
    Aggregate, Cause, Change, Clearing, Condition, Finite, Firing, Level, Limit, PANES, Rule,
    Window,
};

const S: i64 = 1_000_000;
const MS: i64 = 1_000;

fn window(of: Aggregate, over_us: i64, lateness_us: i64, level: Level, hold_us: i64) -> Rule {
    let window = Window::new(of, over_us, lateness_us, level, hold_us).unwrap();
    rule("*", Condition::Window(window))
}

/// Limits lie between what the samples can be, further from them than the sketch is off.
fn rules() -> Vec<(&'static str, Rule)> {
    vec![
        (
            "count",
            window(Aggregate::Count, S, 300 * MS, above(3.0, Some(1.0)), 0),
        ),
        (
            "few",
            window(Aggregate::Count, 2 * S, 0, below(2.0, None), 500 * MS),
        ),
        ("max", window(Aggregate::Max, S, S, above(2.1, None), 0)),
        (
            "mean",
            window(
                Aggregate::Mean,
                S,
                300 * MS,
                above(0.1, Some(-0.1)),
                100 * MS,
            ),
        ),
        (
            "min",
            window(Aggregate::Min, 2 * S, 300 * MS, above(-2.1, None), 0),
        ),
        (
            "p95",
            window(Aggregate::P95, 3 * S, 300 * MS, below(2.1, Some(2.6)), 0),
        ),
    ]
}

/// What the samples of a window come to, by the book.
fn aggregate(of: Aggregate, inside: &[Option<f64>]) -> Option<f64> {
    let mut values: Vec<f64> = inside.iter().flatten().copied().collect();
    values.sort_by(f64::total_cmp);
    match of {
        Aggregate::Count => Some(inside.len() as f64),
        Aggregate::Mean => {
            (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
        }
        Aggregate::Min => values.first().copied(),
        Aggregate::Max => values.last().copied(),
        Aggregate::P95 => {
            let rank = (values.len() * 95).div_ceil(100);
            rank.checked_sub(1).map(|at| values[at])
        }
    }
}

/// One rule on one device, with all its samples at hand and every window judged.
#[derive(Default)]
struct Model {
    taken: Vec<(i64, Option<f64>)>,
    judged: Option<i64>,
    since: Option<i64>,
    fired: bool,
}

impl Model {
    fn sample(&mut self, window: &Window, time_us: i64, value: Option<f64>) -> Vec<Change> {
        let pane_us = window.over_us() / PANES;
        if value.is_none() && window.of() != Aggregate::Count {
            return Vec::new();
        }
        // The first window that would have held it has been judged.
        if self
            .judged
            .is_some_and(|judged| time_us.div_euclid(pane_us) < judged)
        {
            return Vec::new();
        }
        self.taken.push((time_us, value));
        self.judge(window, time_us - window.lateness_us(), false)
    }

    fn judge(&mut self, window: &Window, complete_us: i64, by_time: bool) -> Vec<Change> {
        let pane_us = window.over_us() / PANES;
        let through = complete_us.div_euclid(pane_us);
        let Some(first) = self
            .taken
            .iter()
            .map(|(time_us, _)| time_us.div_euclid(pane_us))
            .min()
        else {
            return Vec::new();
        };
        let grows = matches!(
            (window.of(), window.level().limit()),
            (Aggregate::Count | Aggregate::Max, Limit::Above(_))
                | (Aggregate::Min, Limit::Below(_))
        );
        let begin = first + if grows { 1 } else { PANES };
        let mut changes = Vec::new();
        for end in begin.max(self.judged.map_or(i64::MIN, |judged| judged + 1))..=through {
            let end_us = end * pane_us;
            let inside: Vec<Option<f64>> = self
                .taken
                .iter()
                .filter(|(time_us, _)| (end_us - window.over_us()..end_us).contains(time_us))
                .map(|(_, value)| *value)
                .collect();
            let before = (self.since, self.fired);
            if let Some(value) = aggregate(window.of(), &inside) {
                changes.extend(self.step(window, end_us, finite(value)));
            }
            // Time alone goes no further than to windows that say something.
            let pending = |(time_us, _): &(i64, _)| end - PANES <= time_us.div_euclid(pane_us);
            let counts = window.of() == Aggregate::Count && self.taken.iter().any(pending);
            if by_time && (!inside.is_empty() || counts || before != (self.since, self.fired)) {
                self.judged = Some(end);
            }
        }
        if !by_time {
            self.judged = Some(self.judged.map_or(through, |judged| judged.max(through)));
        }
        changes
    }

    /// From one window to the next.
    fn step(&mut self, window: &Window, end_us: i64, value: Finite) -> Option<Change> {
        let cause = Cause::Window { end_us };
        if !window.level().holds(self.since.is_some(), value) {
            let (since, fired) = (self.since.take(), std::mem::take(&mut self.fired));
            let since_us = since.filter(|_| fired)?;
            return Some(Change::Cleared(Clearing {
                since_us,
                at_us: end_us,
                value: Some(value),
                cause,
            }));
        }
        let since_us = *self.since.get_or_insert(end_us);
        if self.fired || end_us - since_us < window.hold_us() {
            return None;
        }
        self.fired = true;
        Some(Change::Fired(Firing {
            since_us,
            at_us: end_us,
            value: Some(value),
            cause,
        }))
    }
}

fn by_definition(ops: &[Op]) -> Vec<Told> {
    let mut models: BTreeMap<(&'static str, &'static str), Model> = BTreeMap::new();
    let mut told = Vec::new();
    for op in ops {
        let mut now: Vec<Told> = Vec::new();
        for (key, rule) in rules() {
            let Condition::Window(window) = &rule.condition else {
                unreachable!()
            };
            for (number, name) in DEVICES.into_iter().enumerate() {
                let changes = match *op {
                    Op::Sample {
                        device,
                        time_us,
                        value,
                        ..
                    } if device == number => {
                        models
                            .entry((key, name))
                            .or_default()
                            .sample(window, time_us, Some(value))
                    }
                    Op::Text { device, time_us } if device == number => models
                        .entry((key, name))
                        .or_default()
                        .sample(window, time_us, None),
                    Op::Time(now_us) => {
                        let complete_us = now_us - window.over_us() - window.lateness_us();
                        models
                            .entry((key, name))
                            .or_default()
                            .judge(window, complete_us, true)
                    }
                    _ => Vec::new(),
                };
                now.extend(
                    changes
                        .into_iter()
                        .map(|change| (key, name.to_owned(), change)),
                );
            }
        }
        if matches!(op, Op::Time(_)) {
            now.sort_by(|a, b| (a.2.at_us(), a.0, &a.1).cmp(&(b.2.at_us(), b.0, &b.1)));
        }
        told.extend(now);
    }
    told
}

/// The same but for what the sketch is off.
fn near(told: &[Told], expected: &[Told]) -> Result<(), TestCaseError> {
    prop_assert_eq!(told.len(), expected.len(), "{:#?}\n{:#?}", told, expected);
    for (told, expected) in told.iter().zip(expected) {
        let mut told = told.clone();
        if told.0 == "p95" {
            let (value, exact) = match (&mut told.2, &expected.2) {
                (Change::Fired(a), Change::Fired(b)) => (&mut a.value, b.value),
                (Change::Cleared(a), Change::Cleared(b)) => (&mut a.value, b.value),
                other => return Err(TestCaseError::fail(format!("{other:?}"))),
            };
            let (found, exact) = (value.unwrap().get(), exact.unwrap().get());
            prop_assert!(
                (found - exact).abs() <= exact.abs() / 128.0,
                "{} {}",
                found,
                exact
            );
            *value = Some(finite(exact));
        }
        prop_assert_eq!(&told, expected);
    }
    Ok(())
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let step = prop_oneof![8 => 0..200 * MS, 1 => S..9 * S];
    let back = prop_oneof![4 => Just(0), 2 => 0..300 * MS, 1 => 0..3 * S];
    let one = (0..5_usize, step, back, -12_i64..13);
    prop::collection::vec(one, 0..120).prop_map(|steps| {
        let mut now_us = -2 * S;
        let to_op = |(index, (what, step, back, value)): (usize, (usize, i64, i64, i64))| {
            now_us += step;
            match what {
                3 => Op::Time(now_us),
                4 => Op::Text {
                    device: index % DEVICES.len(),
                    time_us: now_us - back,
                },
                device => Op::Sample {
                    device,
                    time_us: now_us - back,
                    received_us: now_us,
                    value: value as f64 / 4.0,
                    seq: index as u64 + 1,
                },
            }
        };
        steps.into_iter().enumerate().map(to_op).collect()
    })
}

/// Samples in the order of their times, and in one in which they may come.
fn reordered() -> impl Strategy<Value = (Vec<Op>, Vec<Op>)> {
    let one = (
        prop_oneof![9 => 1..150 * MS, 1 => S..3 * S],
        any::<f32>(),
        0..300 * MS,
    );
    prop::collection::vec(one, 1..150).prop_map(|steps| {
        let mut time_us = 7 * S;
        let mut samples: Vec<(i64, Op)> = Vec::new();
        for (index, (step, value, delay)) in steps.into_iter().enumerate() {
            time_us += step;
            let value = if value.is_finite() {
                f64::from(value)
            } else {
                0.5
            };
            samples.push((
                time_us + delay,
                Op::Sample {
                    device: 0,
                    time_us,
                    received_us: time_us,
                    value,
                    seq: index as u64 + 1,
                },
            ));
        }
        let straight: Vec<Op> = samples.iter().map(|(_, op)| *op).collect();
        samples.sort_by_key(|(arrives_us, _)| *arrives_us);
        let mixed = samples.into_iter().map(|(_, op)| op).collect();
        (straight, mixed)
    })
}

/// All kinds of aggregates with the lateness that [`reordered`] keeps to.
fn late_rules() -> Vec<(&'static str, Rule)> {
    let late = 300 * MS;
    vec![
        (
            "count",
            window(Aggregate::Count, S, late, above(6.0, None), 0),
        ),
        (
            "few",
            window(Aggregate::Count, S, late, below(5.0, None), 0),
        ),
        ("max", window(Aggregate::Max, S, late, above(1.0, None), 0)),
        (
            "mean",
            window(Aggregate::Mean, S, late, above(0.0, None), 100 * MS),
        ),
        (
            "min",
            window(Aggregate::Min, 2 * S, late, below(-1.0, Some(0.0)), 0),
        ),
        (
            "p95",
            window(Aggregate::P95, 2 * S, late, above(1.0, None), 0),
        ),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn whole_or_in_pieces(ops in ops(), cuts in cuts()) {
        let told = whole(&rules(), &ops);
        prop_assert!(alternate(&told));
        near(&told, &by_definition(&ops))?;
        prop_assert_eq!(told, in_pieces(&rules(), &ops, &cuts));
    }

    #[test]
    fn the_order_of_arrival_does_not_matter((straight, mixed) in reordered(), cuts in cuts()) {
        let rules = late_rules();
        let (told, other) = (whole(&rules, &straight), in_pieces(&rules, &mixed, &cuts));
        for (key, _) in &rules {
            prop_assert_eq!(of(&told, key, DEVICES[0]), of(&other, key, DEVICES[0]), "{}", key);
        }
    }

    #[test]
    fn saved_state_from_a_stranger_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..96)) {
        for (key, _) in rules() {
            let _ = harness::engine(&rules()).restore(&key, "freezer-1", &bytes);
        }
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

#[test]
fn silence_is_judged_when_a_window_and_the_lateness_have_passed() {
    let rules = [(
        "few",
        window(Aggregate::Count, 2 * S, S, below(2.0, None), 0),
    )];
    let mut ops: Vec<Op> = (0..40)
        .map(|at| sample(10 * S + at * 100 * MS, 1.0))
        .collect();
    // The last sample is at 13.9 s; the first window with one only ends at 15.9 s.
    ops.push(Op::Time(18_899 * MS));
    assert_eq!(whole(&rules, &ops), []);
    ops.push(Op::Time(18_900 * MS));
    let told = whole(&rules, &ops);
    let [(_, _, Change::Fired(fired))] = told[..] else {
        panic!("{told:?}")
    };
    assert_eq!((fired.at_us, fired.value), (15_900 * MS, Some(finite(1.0))));
    assert_eq!(
        fired.cause,
        Cause::Window {
            end_us: 15_900 * MS
        }
    );
    // For years: it costs nothing, and nothing else is told.
    ops.push(Op::Time(i64::MAX));
    assert_eq!(whole(&rules, &ops).len(), 1);
    ops.push(sample(i64::MAX / 2, 1.0));
    assert_eq!(whole(&rules, &ops).len(), 1, "time has passed it");
}

#[test]
fn a_window_that_began_before_the_device_was_heard_is_judged_only_for_what_stays_true() {
    let late = 0;
    let rules = [
        (
            "few",
            window(Aggregate::Count, S, late, below(100.0, None), 0),
        ),
        (
            "many",
            window(Aggregate::Count, S, late, above(3.0, None), 0),
        ),
        (
            "mean",
            window(Aggregate::Mean, S, late, above(0.0, None), 0),
        ),
    ];
    let ops: Vec<Op> = (0..=10)
        .map(|at| sample(100 * S + at * 100 * MS, 5.0))
        .collect();
    let told = whole(&rules, &ops);
    let at = |key| {
        of(&told, key, DEVICES[0])
            .first()
            .map(|change| change.at_us())
    };
    assert_eq!(
        at("many"),
        Some(100 * S + 350 * MS),
        "four samples are more than three"
    );
    assert_eq!(
        at("few"),
        Some(101 * S),
        "not before a whole second is known"
    );
    assert_eq!(at("mean"), Some(101 * S));
}

#[test]
fn a_window_without_samples_has_a_count_and_nothing_else() {
    let rules = [
        ("many", window(Aggregate::Count, S, 0, above(3.0, None), 0)),
        ("mean", window(Aggregate::Mean, S, 0, above(0.0, None), 0)),
    ];
    let mut ops: Vec<Op> = (0..=20)
        .map(|at| sample(100 * S + at * 100 * MS, 5.0))
        .collect();
    ops.push(Op::Time(200 * S));
    let told = whole(&rules, &ops);
    assert_eq!(of(&told, "many", DEVICES[0]).len(), 2, "it clears");
    assert_eq!(
        of(&told, "mean", DEVICES[0]).len(),
        1,
        "of nothing there is no mean"
    );
}

#[test]
fn late_samples_are_counted_as_such() {
    let rules = [(
        "count",
        window(Aggregate::Count, S, 100 * MS, above(1.0, None), 0),
    )];
    let mut engine = harness::engine(&rules);
    let mut told = Vec::new();
    let ops = [
        sample(10 * S, 1.0),
        sample(10 * S - 100 * MS, 1.0),
        sample(10 * S - 151 * MS, 1.0),
    ];
    harness::feed(&mut engine, &ops, &mut told);
    assert_eq!(engine.metrics().late, 1);
}

#[test]
fn the_ends_of_time_are_no_overflow() {
    for time_us in [i64::MIN, i64::MIN + 1, -1, 0, i64::MAX - 1, i64::MAX] {
        let ops: Vec<Op> = [0, 1, 2]
            .into_iter()
            .flat_map(|add| {
                [
                    sample(time_us.saturating_add(add), 9.0),
                    Op::Time(time_us),
                    Op::Time(i64::MAX),
                ]
            })
            .collect();
        let told = whole(&rules(), &ops);
        assert!(alternate(&told));
        assert_eq!(told, in_pieces(&rules(), &ops, &[1, 1, 1, 1, 1]));
    }
}

#[test]
fn what_is_saved_is_bounded() {
    let rules = [("p95", window(Aggregate::P95, S, S, above(1e300, None), 0))];
    let mut engine = harness::engine(&rules);
    let mut told = Vec::new();
    let ops: Vec<Op> = (0..200_000_i64)
        .map(|at| {
            sample(
                at * 10,
                ((at * 7_919) % 10_007) as f64 * 10_f64.powi((at % 40) as i32 - 20),
            )
        })
        .collect();
    harness::feed(&mut engine, &ops, &mut told);
    let mut most = 0;
    engine.take_changed(|_, _, bytes| most = bytes.len());
    assert!(most > 1_000 && most < 42 * 128 * 8, "{most}");
}
