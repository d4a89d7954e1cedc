//! A run as a state machine: no I/O, no clock, no chance of its own.
//!
//! [`next`] says what is to be done for a run in the state in which it was
//! stored. [`performed`] and [`settled`] take what came of that, move the run
//! on, and give the [`Outcome`] that has to be stored. A run that is loaded
//! again after a crash is in the state of its last stored outcome, and [`next`]
//! says the same as it did before the crash.

use serde_json::{Map, Value, json};
use stencil_protocol::id::CommandId;
use stencil_store::{Attempt, Outcome, Progress, Run, Step};

use crate::definition::{self, Definition};
use crate::effect::{Failure, Performed};
use crate::event::effect_key;

/// The longest that a `Retry-After` is followed: a day, in µs.
pub const MAX_RETRY_AFTER_US: i64 = 86_400 * 1_000_000;

/// The most bytes that are kept of an error's text.
pub const MAX_ERROR: usize = 1_024;

/// The most bytes that are kept of a step's output, as JSON; a larger one is
/// dropped, and later steps find nothing.
pub const MAX_OUTPUT: usize = 32 * 1024;

/// In the output of a step that told nobody: why, as `{ "silenced_until_us": … }`.
pub const PASSED_OVER: &str = "passed_over";

/// What is to be done next for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Perform the effect of a step.
    Perform {
        /// The step's index.
        index: usize,
        /// Which attempt it is, from 1.
        attempt: u32,
    },
    /// See how the command stands that a step waits for.
    Settle {
        /// The step's index.
        index: usize,
        /// The command.
        command: CommandId,
    },
    /// Nothing before this time, µs.
    Sleep {
        /// When to come again.
        until_us: i64,
    },
    /// Nothing any more.
    End,
}

/// What has to be stored, and what comes then.
#[derive(Debug, Clone, PartialEq)]
pub struct Transition {
    /// To be stored. If the run goes on at once, its `due_us` is the end of
    /// the lease, which the runner sets.
    pub outcome: Outcome,
    /// Whether there is more to do at once.
    pub goes_on: bool,
}

/// When something was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// When it began, µs.
    pub started_us: i64,
    /// When it ended, µs.
    pub ended_us: i64,
    /// When to look at the command, µs, if it gave one and nothing says
    /// earlier that the command has ended.
    pub again_us: i64,
}

/// What is to be done next for a run in this state, at this time.
pub fn next(definition: &Definition, run: &Run, now_us: i64) -> Next {
    if run.state.is_final() {
        return Next::End;
    }
    for index in 0..definition.steps.len() {
        let Some(step) = find(run, index) else {
            return Next::Perform { index, attempt: 1 };
        };
        match (step.state, step.waiting_for) {
            (Progress::Done, _) => {}
            (Progress::Failed, _) => return Next::End,
            (Progress::Waiting, Some(command)) => return Next::Settle { index, command },
            // For its cause to be deep enough: whoever comes looks whether it is.
            (Progress::Waiting, None) => {
                return Next::Perform {
                    index,
                    attempt: step.attempts.saturating_add(1),
                };
            }
            (Progress::Pending | Progress::Running, _) => {
                return match step.next_at_us {
                    Some(until_us) if until_us > now_us => Next::Sleep { until_us },
                    _ => Next::Perform {
                        index,
                        attempt: step.attempts.saturating_add(1),
                    },
                };
            }
        }
    }
    Next::End
}

/// Takes what came of an attempt. `random` decides the jitter of the wait
/// before the next one: it is between half and the whole of the wait that the
/// step's [`Retry`](definition::Retry) gives.
pub fn performed(
    definition: &Definition,
    run: &mut Run,
    index: usize,
    result: Result<Performed, Failure>,
    times: Times,
    random: u64,
) -> Transition {
    let Some(rule) = definition.steps.get(index) else {
        return unchanged(run, times.ended_us);
    };
    let mut step = find(run, index)
        .cloned()
        .unwrap_or_else(|| fresh(run, rule, index));
    step.attempts = step.attempts.saturating_add(1);
    step.next_at_us = None;
    let attempt = Attempt {
        step: step.index,
        number: step.attempts,
        started_us: times.started_us,
        ended_us: times.ended_us,
        error: result.as_ref().err().map(|failure| cut(&failure.message)),
    };
    match result {
        Ok(performed) => progress(&mut step, performed, times.again_us),
        Err(failure) => {
            step.error = Some(cut(&failure.message));
            if failure.retryable && step.attempts <= rule.retry.max {
                let wait_us = wait_us(rule, step.attempts, &failure, random);
                step.state = Progress::Running;
                step.next_at_us = Some(times.ended_us.saturating_add(wait_us));
            } else {
                step.state = Progress::Failed;
            }
        }
    }
    store(definition, run, step, Some(attempt), times.ended_us)
}

/// Passes over a step that would tell people, because nobody is to be told before `until_us`. The
/// run goes on: the step is done, was not tried, and says so in its output, in which what later
/// steps may ask for is null.
pub fn passed_over(
    definition: &Definition,
    run: &mut Run,
    index: usize,
    until_us: i64,
    now_us: i64,
) -> Transition {
    let Some(rule) = definition.steps.get(index) else {
        return unchanged(run, now_us);
    };
    let mut step = find(run, index)
        .cloned()
        .unwrap_or_else(|| fresh(run, rule, index));
    let names = rule.action.outputs().iter();
    let mut output: Map<String, Value> = names
        .map(|name| ((*name).to_owned(), Value::Null))
        .collect();
    output.insert(
        PASSED_OVER.to_owned(),
        json!({ "silenced_until_us": until_us }),
    );
    step.next_at_us = None;
    progress(&mut step, Performed::Done(output.into()), now_us);
    store(definition, run, step, None, now_us)
}

/// Lets a step wait for its cause to be deep enough: it is looked at again at `again_us`, and before
/// that when the cause is (the store wakes it).
pub fn not_deep_enough(
    definition: &Definition,
    run: &mut Run,
    index: usize,
    again_us: i64,
    now_us: i64,
) -> Transition {
    let Some(rule) = definition.steps.get(index) else {
        return unchanged(run, now_us);
    };
    let mut step = find(run, index)
        .cloned()
        .unwrap_or_else(|| fresh(run, rule, index));
    step.state = Progress::Waiting;
    step.next_at_us = Some(again_us);
    store(definition, run, step, None, now_us)
}

/// Takes how the command stands that a step waits for. While it is under way
/// the run is looked at again at `again_us`, and before that when the command
/// ends (the store wakes it).
pub fn settled(
    definition: &Definition,
    run: &mut Run,
    index: usize,
    result: Result<Performed, Failure>,
    now_us: i64,
    again_us: i64,
) -> Transition {
    let Some(mut step) = find(run, index).cloned() else {
        return unchanged(run, now_us);
    };
    step.next_at_us = None;
    match result {
        Ok(performed) => progress(&mut step, performed, again_us),
        Err(failure) => {
            step.error = Some(cut(&failure.message));
            if failure.retryable {
                step.next_at_us = Some(again_us);
            } else {
                step.state = Progress::Failed;
                step.waiting_for = None;
            }
        }
    }
    store(definition, run, step, None, now_us)
}

/// Ends a run that cannot go on, e.g. because its definition is gone.
pub fn broken(run: &mut Run, why: &str, now_us: i64) -> Outcome {
    run.state = Progress::Failed;
    run.error = Some(cut(why));
    outcome(run, now_us, Vec::new(), None)
}

/// Puts a run to rest that has nothing more to do, should it have been claimed
/// all the same.
pub fn ended(run: &mut Run, now_us: i64) -> Outcome {
    let failed = run.steps.iter().any(|step| step.state == Progress::Failed);
    if !run.state.is_final() {
        run.state = if failed {
            Progress::Failed
        } else {
            Progress::Done
        };
    }
    outcome(run, now_us, Vec::new(), None)
}

/// The outcome that puts a run back untouched, due at `due_us`.
pub fn put_back(run: &Run, due_us: i64) -> Outcome {
    outcome(run, due_us, Vec::new(), None)
}

fn find(run: &Run, index: usize) -> Option<&Step> {
    run.steps
        .iter()
        .find(|step| usize::try_from(step.index) == Ok(index))
}

fn fresh(run: &Run, rule: &definition::Step, index: usize) -> Step {
    Step {
        index: u32::try_from(index).unwrap_or(u32::MAX),
        id: rule.id.clone(),
        uses: rule.action.uses().to_owned(),
        state: Progress::Pending,
        attempts: 0,
        next_at_us: None,
        output: None,
        error: None,
        effect_key: effect_key(&run.id, &rule.id),
        waiting_for: None,
    }
}

fn progress(step: &mut Step, performed: Performed, again_us: i64) {
    step.error = None;
    match performed {
        Performed::Done(output) => {
            let fits = output.to_string().len() <= MAX_OUTPUT;
            step.state = Progress::Done;
            step.output = Some(if fits { output } else { Value::Null });
            step.waiting_for = None;
        }
        Performed::Waiting(command) => {
            step.state = Progress::Waiting;
            step.waiting_for = Some(command);
            step.next_at_us = Some(again_us);
        }
        // As it was, until then.
        Performed::Later(_) => step.next_at_us = Some(again_us),
    }
}

fn wait_us(rule: &definition::Step, attempts: u32, failure: &Failure, random: u64) -> i64 {
    let whole_us = rule.retry.wait_us(attempts);
    let half_us = whole_us / 2;
    let spread_us = u64::try_from(whole_us - half_us)
        .unwrap_or(0)
        .saturating_add(1);
    let jittered_us = half_us + i64::try_from(random % spread_us).unwrap_or(0);
    let asked_us = failure.retry_after.map_or(0, |after| {
        i64::try_from(after.as_micros())
            .unwrap_or(i64::MAX)
            .min(MAX_RETRY_AFTER_US)
    });
    jittered_us.max(asked_us)
}

/// Puts a step into its run, and sees where that leaves the run.
fn store(
    definition: &Definition,
    run: &mut Run,
    step: Step,
    attempt: Option<Attempt>,
    now_us: i64,
) -> Transition {
    let (mut due_us, mut goes_on) = (now_us, false);
    match step.state {
        Progress::Failed => {
            run.state = Progress::Failed;
            let why = step.error.as_deref().unwrap_or_default();
            let tried = match step.attempts {
                0 | 1 => String::new(),
                attempts => format!(" (attempt {attempts})"),
            };
            run.error = Some(cut(&format!("step `{}` failed{tried}: {why}", step.id)));
        }
        Progress::Done if usize::try_from(step.index + 1) == Ok(definition.steps.len()) => {
            run.state = Progress::Done;
        }
        Progress::Done => {
            run.state = Progress::Running;
            goes_on = true;
        }
        Progress::Waiting => {
            run.state = Progress::Waiting;
            due_us = step.next_at_us.unwrap_or(now_us);
        }
        Progress::Pending | Progress::Running => {
            run.state = Progress::Running;
            due_us = step.next_at_us.unwrap_or(now_us);
        }
    }
    if run.state.is_final() {
        run.ended_us = Some(now_us);
    }
    match run.steps.iter_mut().find(|other| other.index == step.index) {
        Some(other) => *other = step.clone(),
        None => run.steps.push(step.clone()),
    }
    Transition {
        outcome: outcome(run, due_us, vec![step], attempt),
        goes_on,
    }
}

fn outcome(run: &Run, due_us: i64, steps: Vec<Step>, attempt: Option<Attempt>) -> Outcome {
    Outcome {
        state: run.state,
        due_us,
        error: run.error.clone(),
        steps,
        attempt,
    }
}

fn unchanged(run: &Run, now_us: i64) -> Transition {
    Transition {
        outcome: put_back(run, now_us),
        goes_on: false,
    }
}

fn cut(text: &str) -> String {
    let mut end = text.len().min(MAX_ERROR);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}
