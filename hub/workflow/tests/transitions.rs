//! The state machine of runs: whatever effects do, and wherever the process
//! dies, a run goes through its steps in order, tries none too often, and ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;
use stencil_protocol::id::{CommandId, TenantId};
use stencil_store::{Outcome, Progress, Run, RunId};
use stencil_workflow::definition::{Definition, parse};
use stencil_workflow::transition::{self, Next, Times, Transition};
use stencil_workflow::{Failure, Performed, effect_key};

const WAIT_US: i64 = 60_000_000;

fn definition(steps: usize, retries: u32) -> Definition {
    let steps: String = (0..steps)
        .map(|n| {
            format!(
                "  - {{ id: s{n}, use: content.publish, with: {{ collection: c, key: k }}, \
                 retry: {{ max: {retries}, initial: 1s, cap: 1m }} }}\n"
            )
        })
        .collect();
    parse(&format!(
        "id: w\nversion: 1\non: {{ telemetry: {{ devices: \"*\", name: t }} }}\nwhen: {{ above: 0 }}\nsteps:\n{steps}"
    ))
    .unwrap()
}

fn run() -> Run {
    Run {
        id: RunId([7; 32]),
        tenant: TenantId::parse("acme").unwrap(),
        workflow: "w".to_owned(),
        version: 1,
        event: json!({}),
        state: Progress::Running,
        at_us: 0,
        ended_us: None,
        error: None,
        steps: Vec::new(),
    }
}

/// What the store does with an outcome: the run as it is loaded after a crash.
fn stored(mut run: Run, outcome: &Outcome) -> Run {
    run.state = outcome.state;
    run.error = outcome.error.clone();
    for step in &outcome.steps {
        match run.steps.iter_mut().find(|other| other.index == step.index) {
            Some(other) => *other = step.clone(),
            None => run.steps.push(step.clone()),
        }
    }
    run
}

#[derive(Debug, Clone)]
enum Came {
    Done,
    Command,
    Passing(Option<u64>),
    Permanent,
    /// The process dies after the effect, before the record.
    Crash,
}

fn came() -> impl Strategy<Value = Came> {
    prop_oneof![
        6 => Just(Came::Done),
        2 => Just(Came::Command),
        4 => prop::option::of(0_u64..200).prop_map(Came::Passing),
        1 => Just(Came::Permanent),
        2 => Just(Came::Crash),
    ]
}

fn result(came: &Came) -> Result<Performed, Failure> {
    match came {
        Came::Done | Came::Crash => Ok(Performed::Done(json!({ "ok": true }))),
        Came::Command => Ok(Performed::Waiting(CommandId([1; 16]))),
        Came::Passing(after) => Err(Failure {
            retry_after: after.map(Duration::from_secs),
            ..Failure::retryable("busy")
        }),
        Came::Permanent => Err(Failure::permanent("no")),
    }
}

proptest! {
    #[test]
    fn a_run_goes_through_its_steps_and_ends(
        steps in 1_usize..6,
        retries in 0_u32..4,
        script in prop::collection::vec((came(), any::<u64>()), 0..60),
    ) {
        let definition = definition(steps, retries);
        let (mut kept, mut now_us) = (run(), 1_000_000_i64);
        let mut recorded: Vec<(usize, u32)> = Vec::new();
        // After the script all goes well, so that each run ends.
        let script = script.into_iter().chain(std::iter::repeat((Came::Done, 0)));
        for (came, random) in script.take(200) {
            let mut working = kept.clone();
            let next = transition::next(&definition, &working, now_us);
            let Transition { outcome, goes_on } = match next {
                Next::End => break,
                Next::Sleep { until_us } => {
                    prop_assert!(until_us > now_us);
                    now_us = until_us;
                    continue;
                }
                Next::Perform { index, attempt } => {
                    // In order, and each attempt that was recorded only once.
                    let before = kept.steps.iter().filter(|s| s.state == Progress::Done).count();
                    prop_assert_eq!(index, before);
                    prop_assert!(!recorded.contains(&(index, attempt)));
                    if matches!(came, Came::Crash) {
                        // Nothing was recorded: the same is asked for again.
                        prop_assert_eq!(transition::next(&definition, &kept, now_us + 5), next);
                        continue;
                    }
                    recorded.push((index, attempt));
                    let times = Times { started_us: now_us, ended_us: now_us + 10, again_us: now_us + WAIT_US };
                    let given = transition::performed(&definition, &mut working, index, result(&came), times, random);
                    let tried = given.outcome.attempt.as_ref().unwrap();
                    prop_assert_eq!((tried.step as usize, tried.number), (index, attempt));
                    prop_assert_eq!(tried.error.is_some(), matches!(came, Came::Passing(_) | Came::Permanent));
                    if let (Came::Passing(after), false) = (&came, given.outcome.state.is_final()) {
                        let wait_us = given.outcome.due_us - times.ended_us;
                        let whole_us = definition.steps[index].retry.wait_us(attempt);
                        let asked_us = after.map_or(0, |s| i64::try_from(s).unwrap() * 1_000_000);
                        prop_assert!(wait_us >= (whole_us / 2).max(asked_us), "{wait_us} {whole_us}");
                        prop_assert!(wait_us <= whole_us.max(asked_us), "{wait_us} {whole_us}");
                    }
                    given
                }
                Next::Settle { index, .. } => {
                    transition::settled(&definition, &mut working, index, result(&came), now_us, now_us + WAIT_US)
                }
            };
            // What is stored is what the runner goes on with.
            kept = stored(kept, &outcome);
            prop_assert_eq!(&kept.steps, &working.steps);
            prop_assert_eq!(kept.state, working.state);
            if !goes_on {
                now_us = now_us.max(outcome.due_us);
            }
        }
        prop_assert!(kept.state.is_final(), "{:?}", kept);
        for step in &kept.steps {
            prop_assert!(step.attempts <= retries + 1);
            prop_assert_eq!(&step.effect_key, &effect_key(&kept.id, &step.id));
        }
        let done = kept.steps.iter().filter(|step| step.state == Progress::Done).count();
        prop_assert_eq!(kept.state == Progress::Done, done == steps);
        prop_assert_eq!(kept.state == Progress::Failed, kept.error.is_some());
        if let Some(failed) = kept.steps.iter().find(|step| step.state == Progress::Failed) {
            prop_assert_eq!(kept.steps.len(), usize::try_from(failed.index).unwrap() + 1, "nothing after it");
        }
    }
}

#[test]
fn long_texts_and_outputs_are_cut() {
    let definition = definition(1, 0);
    let times = Times {
        started_us: 0,
        ended_us: 1,
        again_us: 2,
    };
    let long = "ä".repeat(5_000);
    let mut failed = run();
    let result = Err(Failure::permanent(long.clone()));
    let given = transition::performed(&definition, &mut failed, 0, result, times, 0);
    assert!(given.outcome.steps[0].error.as_ref().unwrap().len() <= transition::MAX_ERROR);
    assert!(given.outcome.error.unwrap().len() <= transition::MAX_ERROR);
    assert!(given.outcome.attempt.unwrap().error.unwrap().len() <= transition::MAX_ERROR);

    let mut done = run();
    let output = json!("a".repeat(transition::MAX_OUTPUT));
    transition::performed(
        &definition,
        &mut done,
        0,
        Ok(Performed::Done(output)),
        times,
        0,
    );
    assert_eq!(done.state, Progress::Done);
    assert_eq!(done.steps[0].output, Some(serde_json::Value::Null));
}

#[test]
fn retry_after_has_a_limit() {
    let definition = definition(1, 1);
    let times = Times {
        started_us: 0,
        ended_us: 0,
        again_us: 0,
    };
    let failure = Failure {
        retry_after: Some(Duration::MAX),
        ..Failure::retryable("later")
    };
    let given = transition::performed(&definition, &mut run(), 0, Err(failure), times, u64::MAX);
    assert_eq!(given.outcome.due_us, transition::MAX_RETRY_AFTER_US);
}
