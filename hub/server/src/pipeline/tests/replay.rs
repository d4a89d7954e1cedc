//! Wherever it is killed, a replay gives the same runs by the same versions.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::harness::{Entry, Harness, Item, batch, device, publish_batch, since_1970};

fn workflow(version: u32, above: f64, hold: &str) -> String {
    format!(
        "id: warm\nversion: {version}\n\
         on: {{ telemetry: {{ devices: \"freezer-*\", name: t }} }}\n\
         when: {{ above: {above:?}, for: {hold} }}\n\
         steps:\n  - id: page\n    use: content.publish\n    \
         with: {{ collection: notices, key: \"{{{{ event.device }}}}\" }}\n"
    )
}

fn activate(version: Option<u32>) -> Entry {
    Entry::Activate {
        workflow: "warm".to_owned(),
        version,
    }
}

/// One sample a second, numbered by its second.
fn sample(second: u64, value: f64) -> Entry {
    let time_us = i64::try_from(second).unwrap() * 1_000_000;
    publish_batch(
        &device("freezer-1"),
        batch(
            1,
            second,
            second,
            None,
            &[Item::Number("t", time_us, value)],
        ),
    )
}

fn runs(harness: &Harness) -> BTreeSet<(u32, i64)> {
    harness
        .disk
        .triggers
        .values()
        .map(|run| (run.version, run.at_us / 1_000_000))
        .collect()
}

#[test]
fn a_new_version_rules_from_its_place_in_the_log_on() {
    let definitions = [workflow(1, 0.0, "0s"), workflow(2, 10.0, "0s")];
    let definitions: Vec<&str> = definitions.iter().map(String::as_str).collect();
    let log = [
        sample(1, 5.0), // nothing is in force
        activate(Some(1)),
        sample(2, 5.0),  // fires v1
        sample(3, -1.0), // arms again
        activate(Some(2)),
        sample(4, 5.0),  // v2 wants more
        sample(5, 50.0), // fires v2
        activate(None),
        sample(6, -1.0),
        sample(7, 50.0), // nothing is in force
    ];
    let mut harness = Harness::with(&log, since_1970(), &definitions);
    harness.finish();
    assert_eq!(runs(&harness), BTreeSet::from([(1, 2), (2, 5)]));
}

#[test]
fn a_version_with_the_same_rule_goes_on_with_what_the_old_one_saw() {
    let definitions = [workflow(1, 0.0, "3s"), workflow(2, 0.0, "3s")];
    let definitions: Vec<&str> = definitions.iter().map(String::as_str).collect();
    let log = [
        activate(Some(1)),
        sample(1, 5.0),
        sample(2, 5.0),
        activate(Some(2)),
        sample(3, 5.0),
        sample(4, 5.0), // three seconds after the first
        activate(Some(2)),
        sample(5, 5.0), // fired already
    ];
    let mut harness = Harness::with(&log, since_1970(), &definitions);
    for _ in 0..log.len() {
        harness.apply(1);
        harness.commit();
        harness.kill();
    }
    harness.finish();
    assert_eq!(runs(&harness), BTreeSet::from([(2, 4)]));
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Sample(f64),
    Activate(Option<u32>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::sample::select(vec![-5.0, 5.0, 50.0]).prop_map(Step::Sample),
        1 => prop::option::of(1..4_u32).prop_map(Step::Activate),
    ]
}

proptest! {
    #[test]
    fn kills_change_nothing(
        steps in prop::collection::vec(step(), 1..60),
        kills in prop::collection::vec((0..6_usize, any::<bool>()), 0..30),
    ) {
        let definitions = [workflow(1, 0.0, "2s"), workflow(2, 10.0, "0s"), workflow(3, 0.0, "2s")];
        let definitions: Vec<&str> = definitions.iter().map(String::as_str).collect();
        let log: Vec<Entry> = steps
            .iter()
            .enumerate()
            .map(|(at, step)| match step {
                Step::Sample(value) => sample(at as u64 + 1, *value),
                Step::Activate(version) => activate(*version),
            })
            .collect();
        let mut straight = Harness::with(&log, since_1970(), &definitions);
        straight.finish();

        let mut killed = Harness::with(&log, since_1970(), &definitions);
        for (records, commit) in kills {
            killed.apply(records);
            if commit {
                killed.commit();
                // What is applied on top of a commit is lost and comes again.
                killed.apply(records / 2);
            }
            killed.kill();
        }
        killed.finish();

        prop_assert_eq!(&killed.disk.triggers, &straight.disk.triggers);
        prop_assert_eq!(&killed.disk.ledgers, &straight.disk.ledgers);
        prop_assert_eq!(&killed.disk.points, &straight.disk.points);
    }
}
