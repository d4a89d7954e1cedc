//! Steps whose cause is on a chain: they wait until it is deep enough, and what devices are told is
//! kept together with what is known of the cause.

use std::sync::atomic::Ordering;

use stencil_store::{CausedChange, CausedCommit, Error, Progress};

use super::claimed::{Working, scope};
use crate::caused::{Caused, Orders, Outcome};
use crate::definition::{Action, Definition, Step, Undo};
use crate::effect::{Effect, Failure, Performed};
use crate::transition::{self, Times, Transition};

/// Why a run ends whose cause is gone for good.
const GIVEN_UP: &str = "what caused this run has left its chain and was not included again within 7 days: \
                        it is waited for no longer";
/// How often a caused run is read again that others have changed meanwhile.
const TRIES: u32 = 20;
/// How often a step that waits for its cause is looked at when nothing woke it: an hour, in µs.
const LOOK_AGAIN_US: i64 = 3_600 * 1_000_000;

/// What became of a step at its gate, if it is not simply performed.
pub(super) enum Gated {
    /// To be recorded.
    Told(Transition),
    /// The store could not say; the claim ends by itself.
    NotKnown,
}

/// What the gate is like.
enum Gate {
    Open,
    Closed,
    /// The device is told, by the command that the step waits for, whose effect key this is.
    Given(String, stencil_protocol::id::CommandId),
    Wrong(Failure),
}

impl Working<'_> {
    /// Holds a step back as long as its cause is not deep enough. `None`: it is to be performed now.
    pub(super) async fn gated(
        &mut self,
        definition: &Definition,
        index: usize,
        started_us: i64,
    ) -> Option<Gated> {
        let step = definition.steps.get(index)?;
        step.finality.as_ref()?;
        let gate = match self.gate(step, index, started_us).await {
            Ok(gate) => gate,
            Err(error) => {
                self.shared
                    .store_failed("read what is known of a cause", &error, 0);
                return Some(Gated::NotKnown);
            }
        };
        let result = match gate {
            Gate::Open => return None,
            Gate::Closed => {
                let again_us = started_us.saturating_add(LOOK_AGAIN_US);
                let run = &mut self.claim.run;
                return Some(Gated::Told(transition::not_deep_enough(
                    definition, run, index, again_us, started_us,
                )));
            }
            Gate::Given(key, command) => Ok((key, command)),
            Gate::Wrong(failure) => Err(failure),
        };
        let counters = &self.shared.counters;
        let counter = match &result {
            Ok(_) => &counters.attempts_done,
            Err(_) => &counters.attempts_failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let ended_us = self.now_us();
        let times = Times {
            started_us,
            ended_us,
            again_us: self.again_us(ended_us),
        };
        let random = (self.shared.parts.random)();
        let run = &mut self.claim.run;
        let key = result.as_ref().ok().map(|(key, _)| key.clone());
        let result = result.map(|(_, command)| Performed::Waiting(command));
        let mut transition = transition::performed(definition, run, index, result, times, random);
        if let Some(key) = key {
            transition.set_key(run, index, &key);
        }
        Some(Gated::Told(transition))
    }

    async fn gate(&self, step: &Step, index: usize, now_us: i64) -> Result<Gate, Error> {
        let (run, port) = (&self.claim.run, &self.shared.parts.caused);
        let number = u32::try_from(index).unwrap_or(u32::MAX);
        let mut last = Error::Conflict(String::new());
        for _ in 0..TRIES {
            let Some(stored) = port.caused(&run.tenant, &run.id).await? else {
                let why = "nothing is known of what has caused this run";
                return Ok(Gate::Wrong(Failure::permanent(why)));
            };
            let mut caused = Caused::read(&stored)?;
            if !caused.is_open(number) {
                return Ok(match caused.is_given_up() {
                    true => Gate::Wrong(Failure::permanent(GIVEN_UP)),
                    false => Gate::Closed,
                });
            }
            let Action::DeviceCommand { device, .. } = &step.action else {
                return Ok(Gate::Open);
            };
            let scope = scope(run);
            let act = step.action.effect(&scope);
            let undo = match step.finality.as_ref().and_then(|it| it.undo.as_ref()) {
                Some(Undo::Command(undo)) => undo.effect(device, &scope).map(Some),
                Some(Undo::Nothing) | None => Ok(None),
            };
            let (act, undo): (Effect, Option<Effect>) = match (act, undo) {
                (Ok(act), Ok(undo)) => (act, undo),
                (Err(error), _) | (_, Err(error)) => {
                    return Ok(Gate::Wrong(Failure::permanent(error.to_string())));
                }
            };
            let Some(orders) = Orders::of(act, undo) else {
                let why = "what undoes it is not for the same device";
                return Ok(Gate::Wrong(Failure::permanent(why)));
            };
            let before = caused.clone();
            let Some((key, command)) = caused.prepare(number, orders) else {
                return Ok(Gate::Closed);
            };
            let mut out = Outcome::default();
            caused.begin(&run.tenant, now_us, &mut out);
            if caused == before {
                return Ok(Gate::Given(key, command));
            }
            let version = stored.version + 1;
            let commit = CausedCommit {
                changes: vec![CausedChange {
                    caused: caused.store(&run.tenant, run.id, stored.cause, version),
                    turns: out.turns,
                }],
                commands: out.commands,
                at_us: now_us,
                ..CausedCommit::default()
            };
            match port.commit_caused(&commit).await {
                Ok(_) => return Ok(Gate::Given(key, command)),
                Err(error @ Error::Conflict(_)) => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }
}

impl Transition {
    /// The effect of a step has a key of its own: that of the command that was given.
    fn set_key(&mut self, run: &mut stencil_store::Run, index: usize, key: &str) {
        let is_it = |step: &&mut stencil_store::Step| {
            usize::try_from(step.index) == Ok(index) && step.state == Progress::Waiting
        };
        let steps = run.steps.iter_mut().chain(&mut self.outcome.steps);
        for step in steps.filter(is_it) {
            key.clone_into(&mut step.effect_key);
        }
    }
}
