//! An alarm is a state: raised once, there until its rule is no longer true or no longer in force.

use proptest::prelude::*;

use super::harness::{
    Entry, Episode, Harness, Item, RECEIVED_US, batch, device, publish_batch, since_1970,
};

const SECOND_US: i64 = 1_000_000;
/// When the hub receives each publication, in seconds.
const HUB: i64 = RECEIVED_US / SECOND_US;

/// A workflow without steps, so that it does nothing but raise an alarm.
fn workflow(id: &str, version: u32, when: &str, alarm: &str) -> String {
    format!(
        "id: {id}\nversion: {version}\n\
         on: {{ telemetry: {{ devices: \"freezer-*\", name: t }} }}\n\
         when: {when}\n{alarm}\n"
    )
}

const ALARM: &str = "alarm: { severity: major, title: \"{{ event.device }}: {{ event.value }}\" }";
const STEPS: &str = "steps: [{ id: page, use: content.publish, \
     with: { collection: notices, key: \"{{ event.device }}\" } }]";

fn activate(workflow: &str, version: Option<u32>) -> Entry {
    Entry::Activate {
        workflow: workflow.to_owned(),
        version,
    }
}

/// One sample a second, numbered by its second.
fn sample(second: u64, value: f64) -> Entry {
    let time_us = i64::try_from(second).unwrap() * SECOND_US;
    let items = [Item::Number("t", time_us, value)];
    publish_batch(&device("freezer-1"), batch(1, second, second, None, &items))
}

fn tick(second: i64) -> Entry {
    Entry::Tick(second * SECOND_US)
}

fn harness(log: &[Entry], definitions: &[String]) -> Harness {
    let definitions: Vec<&str> = definitions.iter().map(String::as_str).collect();
    Harness::with(log, since_1970(), &definitions)
}

/// When each was raised, when it ended and why, in seconds.
fn episodes(harness: &Harness) -> Vec<(i64, Option<(i64, &str)>)> {
    let mut all: Vec<_> = harness.disk.alarms.values().map(episode).collect();
    all.sort_unstable();
    all
}

fn episode(alarm: &Episode) -> (i64, Option<(i64, &str)>) {
    let end = alarm.cleared.as_ref();
    let end = end.map(|(at_us, why)| (at_us / SECOND_US, why.as_str()));
    (alarm.raised.at_us / SECOND_US, end)
}

#[test]
fn it_lasts_from_when_the_rule_is_true_to_when_it_is_no_more() {
    let when = "{ above: 0.0, for: 1s, clear: -2.0 }";
    let log = [
        activate("warm", Some(1)),
        sample(1, 5.0),
        sample(2, 6.0),
        sample(3, 7.0),
        sample(4, -1.0), // not below `clear` yet
        sample(5, -3.0),
        sample(6, 8.0),
        sample(7, 9.0),
    ];
    let mut harness = harness(&log, &[workflow("warm", 1, when, ALARM)]);
    for _ in 0..log.len() {
        harness.apply(1);
        harness.commit();
        harness.kill();
    }
    let why = "t is -3, which is not above -2";
    assert_eq!(episodes(&harness), [(2, Some((5, why))), (7, None)]);
    let titles = harness.disk.alarms.values().map(|it| &*it.raised.title);
    let mut titles: Vec<&str> = titles.collect();
    titles.sort_unstable();
    assert_eq!(titles, ["freezer-1: 6.0", "freezer-1: 9.0"]);
    assert!(harness.disk.triggers.is_empty(), "there are no steps");
}

#[test]
fn it_ends_when_its_rule_is_no_longer_in_force() {
    let when = "{ above: 0.0 }";
    let definitions = [
        workflow("warm", 1, when, ALARM),
        workflow("warm", 2, when, &format!("{ALARM}\n{STEPS}")),
        workflow("warm", 3, when, STEPS),
        workflow("warm", 4, "{ above: 1.0 }", ALARM),
    ];
    for (next, end) in [
        (None, Some("the workflow was taken out of force")),
        (Some(1), None),
        (Some(2), None),
        (Some(3), Some("version 3 of the workflow raises no alarm")),
        (Some(4), Some("version 4 of the workflow has another rule")),
    ] {
        let log = [
            activate("warm", Some(1)),
            sample(1, 5.0),
            activate("warm", next),
        ];
        let mut harness = harness(&log, &definitions);
        harness.finish();
        let end = end.map(|why| (HUB, why));
        assert_eq!(episodes(&harness), [(1, end)], "{next:?}");
    }
}

#[test]
fn a_rule_that_comes_back_raises_it_anew() {
    let log = [
        activate("warm", Some(1)),
        sample(1, 5.0),
        activate("warm", None),
        activate("warm", Some(1)),
        sample(2, 5.0),
    ];
    let mut harness = harness(&log, &[workflow("warm", 1, "{ above: 0.0 }", ALARM)]);
    harness.finish();
    let raised: Vec<i64> = episodes(&harness).iter().map(|it| it.0).collect();
    assert_eq!(raised, [1, 2]);
}

#[test]
fn time_is_asked_for_while_a_rule_waits_and_not_otherwise() {
    let definitions = [
        workflow("warm", 1, "{ above: 0.0, for: 1h }", ALARM),
        workflow("quiet", 1, "{ absent: 3s }", ALARM),
        workflow("quiet", 2, "{ above: 5.0 }", ALARM),
        workflow(
            "mean",
            1,
            "{ window: { of: mean, over: 1m, above: 5.0 } }",
            ALARM,
        ),
    ];
    let log = [
        (activate("warm", Some(1)), false),
        (activate("quiet", Some(1)), true),
        (activate("mean", Some(1)), true),
        (activate("quiet", Some(2)), true),
        (activate("mean", None), false),
        (activate("quiet", Some(1)), true),
        (activate("quiet", None), false),
    ];
    let (entries, waits): (Vec<Entry>, Vec<bool>) = log.into_iter().unzip();
    let mut harness = harness(&entries, &definitions);
    for waits in waits {
        harness.apply(1);
        assert_eq!(harness.waits(), waits);
        harness.commit();
        harness.kill();
        assert_eq!(harness.waits(), waits, "after a start, too");
    }
}

#[test]
fn a_silence_is_found_when_the_log_says_how_late_it_is() {
    let log = [
        activate("quiet", Some(1)),
        sample(1, 5.0),
        tick(HUB + 2), // not yet
        tick(HUB + 9), // a tick may be late, the alarm's time is not
        tick(HUB + 10),
        sample(2, 5.0),
    ];
    let mut harness = harness(&log, &[workflow("quiet", 1, "{ absent: 3s }", ALARM)]);
    for _ in 0..log.len() {
        harness.apply(1);
        harness.commit();
        harness.kill();
    }
    // What it is heard by is received when the harness says, and never before the silence.
    let silent = HUB + 3;
    assert_eq!(
        episodes(&harness),
        [(silent, Some((silent, "a reading came")))]
    );
}

#[test]
fn one_whose_rule_was_lost_does_not_stay_for_ever() {
    let log = [activate("warm", Some(1)), sample(1, 5.0), sample(2, -5.0)];
    let mut harness = harness(&log, &[workflow("warm", 1, "{ above: 0.0 }", ALARM)]);
    harness.apply(2);
    harness.commit();
    let mut states = harness.disk.rule_states.values_mut();
    let state = states.find(|state| state.workflow == "warm").unwrap();
    state.bytes = vec![0xff];
    assert_eq!(harness.restart(), 1);
    harness.finish();
    let end = (HUB, "what its rule remembered of the device was lost");
    assert_eq!(episodes(&harness), [(1, Some(end))]);
}

#[test]
fn what_a_rule_saw_of_a_device_that_was_erased_is_forgotten() {
    let log = [
        activate("warm", Some(1)),
        sample(1, 5.0),
        sample(2, 5.0),
        Entry::Erase(device("freezer-1")),
        sample(2, 5.0), // a new device, which may use numbers again
        sample(3, 5.0),
        sample(4, 5.0),
    ];
    let definitions = [workflow("warm", 1, "{ above: 0.0, for: 2s }", ALARM)];
    let mut harness = harness(&log, &definitions);
    harness.finish();
    assert_eq!(episodes(&harness), [(4, None)]);
    assert_eq!(harness.disk.points.len(), 3);
}

#[test]
fn a_window_that_time_alone_judged_takes_no_more_samples_after_a_kill() {
    let when = "{ window: { of: mean, over: 10s, lateness: 1s, above: 20.0 } }";
    let first = [activate("mean", Some(1)), sample(1, -5.0)];
    let last = [sample(2, 50.0), tick(HUB + 1)];
    // Their mean is above the limit; without the second, nothing is told and nothing raised.
    let in_time = [&first[..], &last].concat();
    let late = [&first[..], &[tick(HUB)], &last].concat();
    for (log, raised) in [(in_time, &[(11, None)][..]), (late, &[][..])] {
        let mut harness = harness(&log, &[workflow("mean", 1, when, ALARM)]);
        for _ in 0..log.len() {
            harness.apply(1);
            harness.commit();
            harness.kill();
        }
        assert_eq!(episodes(&harness), raised);
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Sample(f64),
    Warm(Option<u32>),
    Quiet(Option<u32>),
    Erase,
    /// So many seconds after the newest sample was measured.
    Tick(i64),
    /// So many seconds after publications are received.
    Late(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::sample::select(vec![-5.0, 5.0, 50.0]).prop_map(Step::Sample),
        2 => (0..9_i64).prop_map(Step::Tick),
        2 => (0..9_i64).prop_map(Step::Late),
        1 => Just(Step::Erase),
        1 => prop::option::of(1..4_u32).prop_map(Step::Warm),
        1 => prop::option::of(1..3_u32).prop_map(Step::Quiet),
    ]
}

proptest! {
    #[test]
    fn wherever_it_was_killed_and_however_records_were_cut_the_alarms_are_the_same(
        steps in prop::collection::vec(step(), 1..60),
        kills in prop::collection::vec((0..6_usize, any::<bool>()), 0..30),
    ) {
        let definitions = [
            workflow("warm", 1, "{ above: 0.0, for: 2s }", ALARM),
            workflow("warm", 2, "{ above: 10.0 }", &format!("{ALARM}\n{STEPS}")),
            workflow("warm", 3, "{ above: 0.0, for: 2s }", STEPS),
            workflow("quiet", 1, "{ absent: 3s }", ALARM),
            workflow(
                "quiet",
                2,
                "{ window: { of: mean, over: 10s, lateness: 1s, above: 20.0 } }",
                ALARM,
            ),
        ];
        let mut log = vec![activate("warm", Some(1)), activate("quiet", Some(1))];
        let mut second = 1;
        for step in &steps {
            log.push(match step {
                Step::Sample(value) => {
                    second += 1;
                    sample(second, *value)
                }
                Step::Erase => Entry::Erase(device("freezer-1")),
                Step::Warm(version) => activate("warm", *version),
                Step::Quiet(version) => activate("quiet", *version),
                Step::Late(after) => tick(HUB + after),
                Step::Tick(after) => tick(i64::try_from(second).unwrap() + after),
            });
        }
        let mut straight = harness(&log, &definitions);
        straight.finish();

        let mut killed = harness(&log, &definitions);
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
        prop_assert_eq!(&killed.disk.alarms, &straight.disk.alarms);
        prop_assert_eq!(&killed.disk.triggers, &straight.disk.triggers);
        prop_assert_eq!(&killed.disk.ledgers, &straight.disk.ledgers);
        prop_assert_eq!(&killed.disk.points, &straight.disk.points);
    }
}
