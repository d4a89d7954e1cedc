//! What an engine may cost, and what happens beyond.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use stencil_protocol::sample::Value;
use stencil_rules::{
    Bounds, Cause, Change, Condition, Engine, Error, Finite, Level, Limit, Observation, Pattern,
    Rule, Threshold,
};

fn rule(devices: &str, limit: f64) -> Rule {
    let level = Level::new(Limit::Above(Finite::new(limit).unwrap()), None).unwrap();
    let condition = Condition::Threshold(Threshold::new(level, 0).unwrap());
    Rule::new(Pattern::parse(devices).unwrap(), Some("t"), condition).unwrap()
}

fn observe(engine: &mut Engine<u32>, device: &str, time_us: i64, received_us: i64) -> usize {
    let mut fired = 0;
    let sample = Observation {
        device,
        name: "t",
        time_us,
        received_us,
        value: Value::Number(1.0),
        unit: None,
        cause: Cause::Timed { time_us },
    };
    engine.observe(&sample, |_, _, change| {
        fired += usize::from(matches!(change, Change::Fired(_)));
    });
    fired
}

#[test]
fn rules_beyond_the_bound_are_refused_but_can_be_replaced() {
    let mut engine = Engine::new(Bounds {
        max_rules: 1,
        ..Bounds::default()
    });
    engine.put(1, rule("*", 0.0)).unwrap();
    assert_eq!(
        engine.put(2, rule("*", 0.0)),
        Err(Error::TooManyRules { max_rules: 1 })
    );
    engine.put(1, rule("a*", 0.0)).unwrap();
    assert!(engine.remove(&1));
    engine.put(2, rule("*", 0.0)).unwrap();
    assert_eq!(engine.rules().count(), 1);
}

#[test]
fn devices_beyond_the_bound_are_counted_not_watched() {
    let mut engine = Engine::new(Bounds {
        max_states: 1,
        ..Bounds::default()
    });
    engine.put(1, rule("*", 0.0)).unwrap();
    assert_eq!(observe(&mut engine, "a", 1, 1), 1);
    assert_eq!(observe(&mut engine, "b", 1, 1), 0);
    assert_eq!((engine.states(), engine.metrics().unwatched), (1, 1));
}

#[test]
fn a_clock_that_runs_years_ahead_does_not_silence_the_rule() {
    let mut engine = Engine::new(Bounds::default());
    engine.put(1, rule("*", 0.0)).unwrap();
    let year_us = 365 * 86_400_000_000;
    assert_eq!(observe(&mut engine, "a", year_us, 10), 0);
    assert_eq!(observe(&mut engine, "a", 11, 11), 1);
    assert_eq!(engine.metrics().ahead, 1);
    assert_eq!(observe(&mut engine, "a", 5, 12), 0);
    assert_eq!(engine.metrics().late, 1);
}

#[test]
fn a_replaced_rule_keeps_state_only_for_the_same_question() {
    let mut engine = Engine::new(Bounds::default());
    engine.put(1, rule("*", 0.0)).unwrap();
    assert_eq!(observe(&mut engine, "a", 1, 1), 1);
    assert_eq!(observe(&mut engine, "b", 1, 1), 1);
    engine.put(1, rule("a*", 0.0)).unwrap();
    assert_eq!(engine.states(), 1, "b is no longer watched");
    assert_eq!(observe(&mut engine, "a", 2, 2), 0, "still the same run");
    engine.put(1, rule("a*", 0.5)).unwrap();
    assert_eq!(
        observe(&mut engine, "a", 3, 3),
        1,
        "another question starts afresh"
    );
}

#[test]
fn only_changed_states_are_saved_and_each_once() {
    let mut engine = Engine::new(Bounds::default());
    engine.put(1, rule("*", 0.0)).unwrap();
    let mut saved = Vec::new();
    observe(&mut engine, "a", 1, 1);
    observe(&mut engine, "a", 2, 2);
    observe(&mut engine, "b", 2, 2);
    engine.put(1, rule("*", 0.0)).unwrap();
    engine.take_changed(|key, device, _| saved.push((*key, device.to_owned())));
    assert_eq!(saved, [(1, "a".to_owned()), (1, "b".to_owned())]);
    engine.take_changed(|key, device, _| saved.push((*key, device.to_owned())));
    assert_eq!(saved.len(), 2);
}
