//! Working on one claimed run, as far as it goes now.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;
use stencil_protocol::id::DeviceId;
use stencil_store::{Claim, Outcome, Progress, Run, SentBecause};

use super::Shared;
use super::definitions::Missing;
use super::gate::Gated;
use super::seats::Seat;
use crate::definition::{Definition, Otherwise};
use crate::effect::{Effect, Failure, Performed, Request};
use crate::event::effect_key;
use crate::template::Scope;
use crate::transition::{self, Next, Times, Transition};

/// How soon it is tried again to note why a transaction is sent.
const NOTE_AGAIN: Duration = Duration::from_secs(1);

/// Works on a run until it ends, sleeps or waits, or the claim is lost; the seat
/// is free then.
pub(super) async fn work(shared: Arc<Shared>, claim: Claim, _seat: Seat) {
    let lease_until_us = claim.lease_until_us;
    let mut working = Working {
        shared: &shared,
        claim,
        lease_until_us,
    };
    working.go().await;
}

pub(super) struct Working<'a> {
    pub(super) shared: &'a Shared,
    pub(super) claim: Claim,
    lease_until_us: i64,
}

/// Whether to go on with a run.
#[derive(PartialEq, Eq)]
enum Then {
    GoOn,
    Leave,
}

impl Working<'_> {
    async fn go(&mut self) {
        let workflows = &*self.shared.parts.workflows;
        let definition = match self.shared.definitions.of(&self.claim.run, workflows).await {
            Ok(definition) => definition,
            Err(Missing::Store(error)) => {
                // The claim ends by itself.
                self.shared.store_failed("read a definition", &error, 0);
                return;
            }
            Err(Missing::Unusable(why)) => {
                let now_us = self.now_us();
                let outcome = transition::broken(&mut self.claim.run, &why, now_us);
                self.record(&outcome).await;
                return;
            }
        };
        while self.turn(&definition).await == Then::GoOn {}
    }

    /// One transition: something is done, and recorded.
    async fn turn(&mut self, definition: &Definition) -> Then {
        let started_us = self.now_us();
        let transition = match transition::next(definition, &self.claim.run, started_us) {
            Next::Perform { index, attempt } => {
                if let Some(until_us) = self.silenced(definition, index, started_us).await {
                    let passed_over = &self.shared.counters.passed_over;
                    passed_over.fetch_add(1, Ordering::Relaxed);
                    let run = &mut self.claim.run;
                    let passed =
                        transition::passed_over(definition, run, index, until_us, started_us);
                    return self.finish(passed).await;
                }
                if let Some(gated) = self.gated(definition, index, started_us).await {
                    return match gated {
                        Gated::Told(transition) => self.finish(transition).await,
                        Gated::NotKnown => Then::Leave,
                    };
                }
                match self.perform(definition, index, attempt, started_us).await {
                    Some(transition) => transition,
                    None => return Then::Leave,
                }
            }
            Next::Settle { index, command } => {
                let effects = &self.shared.parts.effects;
                let result = effects.settle(&self.claim.run.tenant, &command).await;
                let now_us = self.now_us();
                let again_us =
                    now_us.saturating_add(i64::from(self.shared.options.waiting_ms.max(1)) * 1_000);
                let run = &mut self.claim.run;
                transition::settled(definition, run, index, result, now_us, again_us)
            }
            Next::Sleep { until_us } => {
                let outcome = transition::put_back(&self.claim.run, until_us);
                Transition {
                    outcome,
                    goes_on: false,
                }
            }
            Next::End => {
                let outcome = transition::ended(&mut self.claim.run, started_us);
                Transition {
                    outcome,
                    goes_on: false,
                }
            }
        };
        self.finish(transition).await
    }

    /// Until when a step that tells people is to tell nobody; `None`: it is performed.
    async fn silenced(&self, definition: &Definition, index: usize, now_us: i64) -> Option<i64> {
        if !definition.steps.get(index)?.action.tells() {
            return None;
        }
        let run = &self.claim.run;
        let device = run.event.get("device").and_then(Value::as_str)?;
        let device = DeviceId::parse(device).ok()?;
        let alarms = &self.shared.parts.alarms;
        let silenced = alarms.silenced(&run.tenant, &run.workflow, &device, now_us);
        match silenced.await {
            Ok(until_us) => until_us,
            Err(error) => {
                // In doubt people are told.
                self.shared.store_failed("ask for a silence", &error, 0);
                None
            }
        }
    }

    /// Records a transition; says whether there is more to do at once.
    async fn finish(&mut self, transition: Transition) -> Then {
        let Transition {
            mut outcome,
            goes_on,
        } = transition;
        let lease_until_us = self.now_us().saturating_add(self.shared.options.lease_us());
        if goes_on {
            outcome.due_us = lease_until_us;
        }
        let Some(due_us) = self.record(&outcome).await else {
            return Then::Leave;
        };
        if goes_on {
            self.lease_until_us = lease_until_us;
            return Then::GoOn;
        }
        if due_us <= self.now_us() {
            // A command ended while its step was being recorded as waiting; the
            // run is due, and is claimed again.
            self.shared.wake.notify_one();
        }
        Then::Leave
    }

    /// Performs a step's effect. `None`: the claim was lost meanwhile.
    async fn perform(
        &mut self,
        definition: &Definition,
        index: usize,
        attempt: u32,
        started_us: i64,
    ) -> Option<Transition> {
        let step = definition.steps.get(index)?;
        let result = match step.action.effect(&scope(&self.claim.run)) {
            Ok(effect) => {
                let key = effect_key(&self.claim.run.id, &step.id);
                if index == 0 && is_for_gateways_alone(definition) {
                    return Some(self.left_to_gateways(definition, &key, started_us).await);
                }
                let number = u32::try_from(index).unwrap_or(u32::MAX);
                let caused = step.finality.is_some().then_some(number);
                self.attempt(&effect, &key, attempt, started_us, step.timeout_us, caused)
                    .await?
            }
            Err(error) => Err(Failure::permanent(error.to_string())),
        };
        stencil_crashpoint::reach("workflow.after_effect");
        let counters = &self.shared.counters;
        if let Ok(Performed::Later(after)) = result {
            counters.put_off.fetch_add(1, Ordering::Relaxed);
            let after_us = i64::try_from(after.as_micros()).unwrap_or(i64::MAX);
            let due_us = self.now_us().saturating_add(after_us);
            return Some(Transition {
                outcome: transition::put_back(&self.claim.run, due_us),
                goes_on: false,
            });
        }
        match &result {
            Ok(_) => counters.attempts_done.fetch_add(1, Ordering::Relaxed),
            Err(failure) => {
                let (run, step, error) = (self.claim.run.id, &step.id, &failure.message);
                tracing::warn!(%run, %step, attempt, retryable = failure.retryable, error, "a step failed");
                counters.attempts_failed.fetch_add(1, Ordering::Relaxed)
            }
        };
        let ended_us = self.now_us();
        let times = Times {
            started_us,
            ended_us,
            again_us: self.again_us(ended_us),
        };
        let random = (self.shared.parts.random)();
        let run = &mut self.claim.run;
        Some(transition::performed(
            definition, run, index, result, times, random,
        ))
    }

    /// The first step of a workflow that only gateways do: what one did, or that none has.
    async fn left_to_gateways(
        &mut self,
        definition: &Definition,
        effect_key: &str,
        started_us: i64,
    ) -> Transition {
        let command = stencil_edge::command_id(effect_key);
        let effects = &self.shared.parts.effects;
        let result = effects.settle(&self.claim.run.tenant, &command).await;
        let result = result.map_err(|failure| match failure.retryable {
            true => failure,
            false => Failure::permanent(format!("no gateway has done it: {}", failure.message)),
        });
        let ended_us = self.now_us();
        let times = Times {
            started_us,
            ended_us,
            again_us: self.again_us(ended_us),
        };
        let random = (self.shared.parts.random)();
        let run = &mut self.claim.run;
        transition::performed(definition, run, 0, result, times, random)
    }

    /// One attempt within its time, with the lease renewed as long as it takes.
    async fn attempt(
        &self,
        effect: &Effect,
        effect_key: &str,
        attempt: u32,
        started_us: i64,
        timeout_us: i64,
        caused: Option<u32>,
    ) -> Option<Result<Performed, Failure>> {
        let shared = self.shared;
        let (tenant, clock) = (self.claim.run.tenant.clone(), shared.parts.clock.clone());
        let timeout = Duration::from_micros(u64::try_from(timeout_us).unwrap_or(0));
        if let Effect::ChainSend(_) = effect {
            // What it does on the chain may cause other runs, which have to be known as what this one led to.
            let because = SentBecause::Run(&self.claim.run.id);
            let noted = shared.parts.caused.will_send(&tenant, effect_key, because);
            if let Err(error) = noted.await {
                shared.store_failed("note why a transaction is sent", &error, 0);
                return Some(Ok(Performed::Later(NOTE_AGAIN)));
            }
        }
        let request = Request {
            tenant: &tenant,
            effect_key,
            effect,
            attempt,
            at_us: self.claim.run.at_us,
            now_us: started_us,
            timeout,
            cause: caused.map(|step| (&self.claim.run.id, step)),
        };
        // All three are polled side by side: an effect that is not polled may
        // hold what a renewal waits for, such as the store's one writer.
        tokio::select! {
            biased;
            result = shared.parts.effects.perform(&request) => Some(result),
            () = clock.sleep_until(started_us.saturating_add(timeout_us)) => {
                let message = format!("no answer within {} ms", timeout_us / 1_000);
                Some(Err(Failure::retryable(message)))
            }
            () = self.renew() => None,
        }
    }

    /// Renews the lease again and again; returns when the claim is lost.
    async fn renew(&self) {
        let lease_us = self.shared.options.lease_us();
        let mut lease_until_us = self.lease_until_us;
        loop {
            self.shared
                .parts
                .clock
                .sleep_until(lease_until_us - lease_us * 2 / 3)
                .await;
            lease_until_us = self.now_us().saturating_add(lease_us);
            let mut outcome = transition::put_back(&self.claim.run, lease_until_us);
            outcome.state = Progress::Running;
            if self.record(&outcome).await.is_none() {
                return;
            }
        }
    }

    /// Records an outcome; says when the run is due next. `None`: the run
    /// ended, or the claim is lost.
    async fn record(&self, outcome: &Outcome) -> Option<i64> {
        const TRIES: u32 = 5;
        const WAIT_US: i64 = 100_000;
        let shared = self.shared;
        for tried in 0..TRIES {
            match shared
                .parts
                .runs
                .record(&self.claim, outcome, self.now_us())
                .await
            {
                Ok(due_us) => {
                    match outcome.state {
                        Progress::Done => shared.counters.runs_done.fetch_add(1, Ordering::Relaxed),
                        Progress::Failed => {
                            shared.counters.runs_failed.fetch_add(1, Ordering::Relaxed)
                        }
                        _ => 0,
                    };
                    return due_us;
                }
                Err(stencil_store::Error::Conflict(why)) => {
                    shared.counters.overtaken.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(run = %self.claim.run.id, why, "another claim has overtaken this one");
                    return None;
                }
                Err(error) => {
                    shared.store_failed("record a run", &error, 0);
                    if !error.retryable() {
                        return self.give_up(outcome, &error).await;
                    }
                    let wait_us = WAIT_US << tried;
                    shared
                        .parts
                        .clock
                        .sleep_until(self.now_us().saturating_add(wait_us))
                        .await;
                }
            }
        }
        // The lease ends, and the effect is performed again with the same key.
        None
    }

    /// An outcome that cannot be stored would be tried for ever: the run fails.
    async fn give_up(&self, outcome: &Outcome, error: &stencil_store::Error) -> Option<i64> {
        let why = format!("what it did could not be recorded: {error}");
        let failed = Outcome {
            state: Progress::Failed,
            due_us: outcome.due_us,
            error: Some(why),
            steps: Vec::new(),
            attempt: None,
        };
        match self
            .shared
            .parts
            .runs
            .record(&self.claim, &failed, self.now_us())
            .await
        {
            Ok(_) => {
                self.shared
                    .counters
                    .runs_failed
                    .fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                self.shared
                    .store_failed("record that a run failed", &error, 0);
            }
        }
        None
    }

    pub(super) fn now_us(&self) -> i64 {
        self.shared.parts.clock.now_us()
    }

    pub(super) fn again_us(&self, now_us: i64) -> i64 {
        now_us.saturating_add(i64::from(self.shared.options.waiting_ms.max(1)) * 1_000)
    }
}

fn is_for_gateways_alone(definition: &Definition) -> bool {
    let place = definition.place.as_ref();
    place.is_some_and(|place| place.otherwise == Otherwise::Nobody)
}

pub(super) fn scope(run: &Run) -> Scope {
    let outputs = run.steps.iter().filter(|step| step.state == Progress::Done);
    Scope::new(
        &run.event,
        outputs.filter_map(|step| Some((step.id.as_str(), step.output.as_ref()?))),
    )
}
