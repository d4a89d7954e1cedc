//! A runner over the real SQLite store, with a clock that a test moves and
//! effects that do what a script says.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use stencil_protocol::id::{Boot, CommandId, DeviceId, Seq, TenantId};
use stencil_protocol::sample::OwnedValue;
use stencil_rules::{Cause, Finite, Firing};
use stencil_store::sqlite::{self, Sqlite};
use stencil_store::{
    Attempt, Claim, Error, Outcome, Page, Progress, Room, Run, RunFilter, RunId, Runs, Tenancy,
    Trigger, Workflows,
};
use stencil_workflow::clock::{Clock, ManualClock};
use stencil_workflow::{
    Effect, Effects, Failure, Handle, Metrics, Options, Parts, Performed, Request, Runner,
    definition, trigger,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub const START_US: i64 = 1_000_000_000;

/// What the script makes of a performance.
#[derive(Debug, Clone)]
pub enum Act {
    Done(Value),
    Fail(Failure),
    Wait(CommandId),
    /// Is busy for so long.
    Later(Duration),
    /// Never answers.
    Hang,
}

/// A performance that was asked for.
#[derive(Debug, Clone)]
pub struct Asked {
    pub uses: &'static str,
    pub key: String,
    pub effect: Effect,
    pub attempt: u32,
    pub now_us: i64,
}

/// Effects that follow a script, and then all go well.
pub struct Script {
    acts: Mutex<HashMap<&'static str, VecDeque<Act>>>,
    asked: watch::Sender<Vec<Asked>>,
    pub commands: Mutex<HashMap<CommandId, Result<Performed, Failure>>>,
}

impl Script {
    pub fn of(acts: impl IntoIterator<Item = (&'static str, Vec<Act>)>) -> Arc<Self> {
        let acts = acts
            .into_iter()
            .map(|(uses, acts)| (uses, acts.into()))
            .collect();
        Arc::new(Self {
            acts: Mutex::new(acts),
            asked: watch::Sender::new(Vec::new()),
            commands: Mutex::default(),
        })
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.borrow().clone()
    }

    /// Waits until it was asked so often.
    pub async fn asked_times(&self, times: usize) -> Vec<Asked> {
        let mut asked = self.asked.subscribe();
        asked
            .wait_for(|asked| asked.len() >= times)
            .await
            .unwrap()
            .clone()
    }
}

#[async_trait]
impl Effects for Script {
    async fn perform(&self, request: &Request<'_>) -> Result<Performed, Failure> {
        let uses = match request.effect {
            Effect::ContentUpsert { .. } => "content.upsert",
            Effect::ContentPublish { .. } => "content.publish",
            Effect::WebhookPost { .. } => "webhook.post",
            Effect::MailSend(_) => "mail.send",
            Effect::DeviceCommand { .. } => "device.command",
            Effect::ChainCall(_) => "chain.call",
            Effect::ChainSend(_) => "chain.send",
            Effect::CredentialIssue(_) => "credential.issue",
            Effect::DataProve(_) => "data.prove",
            Effect::AccessGrant(_) => "access.grant",
        };
        let act = self
            .acts
            .lock()
            .unwrap()
            .get_mut(uses)
            .and_then(VecDeque::pop_front);
        self.asked.send_modify(|asked| {
            asked.push(Asked {
                uses,
                key: request.effect_key.to_owned(),
                effect: request.effect.clone(),
                attempt: request.attempt,
                now_us: request.now_us,
            });
        });
        match act {
            None => Ok(Performed::Done(json!({ "version": 1 }))),
            Some(Act::Done(output)) => Ok(Performed::Done(output)),
            Some(Act::Fail(failure)) => Err(failure),
            Some(Act::Wait(command)) => Ok(Performed::Waiting(command)),
            Some(Act::Later(after)) => Ok(Performed::Later(after)),
            Some(Act::Hang) => std::future::pending().await,
        }
    }

    async fn settle(&self, _: &TenantId, command: &CommandId) -> Result<Performed, Failure> {
        let waiting = || Ok(Performed::Waiting(*command));
        self.commands
            .lock()
            .unwrap()
            .get(command)
            .cloned()
            .unwrap_or_else(waiting)
    }
}

/// The store's runs, seen from outside, and busy when a test says so.
pub struct Observed {
    pub inner: Arc<Sqlite>,
    records: watch::Sender<usize>,
    pub busy: AtomicU32,
}

#[async_trait]
impl Runs for Observed {
    async fn trigger(&self, trigger: &Trigger) -> Result<bool, Error> {
        self.inner.trigger(trigger).await
    }

    async fn claim_due(&self, now: i64, lease: i64, room: &Room) -> Result<Vec<Claim>, Error> {
        self.inner.claim_due(now, lease, room).await
    }

    async fn record(
        &self,
        claim: &Claim,
        outcome: &Outcome,
        now: i64,
    ) -> Result<Option<i64>, Error> {
        let busy = self
            .busy
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        let result = match busy {
            Ok(_) => Err(Error::Busy("as the test says".into())),
            Err(_) => self.inner.record(claim, outcome, now).await,
        };
        self.records.send_modify(|records| *records += 1);
        result
    }

    async fn next_due_us(&self, without: &[TenantId]) -> Result<Option<i64>, Error> {
        self.inner.next_due_us(without).await
    }

    async fn get(&self, tenant: &TenantId, run: &RunId) -> Result<Option<Run>, Error> {
        Runs::get(&*self.inner, tenant, run).await
    }

    async fn list(
        &self,
        tenant: &TenantId,
        filter: &RunFilter,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Run>, Error> {
        Runs::list(&*self.inner, tenant, filter, after, limit).await
    }

    async fn counts(&self, tenant: &TenantId) -> Result<Vec<(Progress, u64)>, Error> {
        self.inner.counts(tenant).await
    }

    async fn counts_since(
        &self,
        tenant: &TenantId,
        since_us: i64,
    ) -> Result<Vec<(Progress, u64)>, Error> {
        self.inner.counts_since(tenant, since_us).await
    }

    async fn count_since(
        &self,
        tenant: &TenantId,
        workflow: &str,
        since_us: i64,
    ) -> Result<u64, Error> {
        self.inner.count_since(tenant, workflow, since_us).await
    }

    async fn attempts(&self, tenant: &TenantId, run: &RunId) -> Result<Vec<Attempt>, Error> {
        self.inner.attempts(tenant, run).await
    }

    async fn forget_ended(&self, tenant: &TenantId, before: i64, limit: u32) -> Result<u64, Error> {
        self.inner.forget_ended(tenant, before, limit).await
    }
}

/// All of it.
pub struct World {
    pub store: Arc<Sqlite>,
    pub runs: Arc<Observed>,
    pub clock: ManualClock,
    pub script: Arc<Script>,
    pub handle: Handle,
    pub stop: watch::Sender<bool>,
    pub running: JoinHandle<()>,
    _dir: tempfile::TempDir,
}

pub fn tenant() -> TenantId {
    TenantId::parse("acme").unwrap()
}

impl World {
    pub async fn new(script: Arc<Script>, random: u64) -> Self {
        // Longer than any step of a test's clock: else the runner would take a
        // jump for its own death, and claim again what it is working on.
        let options = Options {
            lease_ms: 3_600_000,
            ..Options::default()
        };
        Self::with(script, random, options).await
    }

    pub async fn with(script: Arc<Script>, random: u64, options: Options) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(sqlite::open(dir.path().join("hub.db")).await.unwrap());
        store.create_tenant(&tenant(), START_US).await.unwrap();
        let clock = ManualClock::at(START_US);
        let (records, busy) = (watch::Sender::new(0), AtomicU32::new(0));
        let runs = Arc::new(Observed {
            inner: store.clone(),
            records,
            busy,
        });
        let runner = Runner::new(
            options,
            Parts {
                caused: store.clone(),
                runs: runs.clone(),
                workflows: store.clone(),
                alarms: store.clone(),
                effects: script.clone(),
                clock: Arc::new(clock.clone()),
                random: Arc::new(move || random),
            },
        );
        let handle = runner.handle();
        let stop = watch::Sender::new(false);
        let running = tokio::spawn(runner.run(stop.subscribe()));
        Self {
            store,
            runs,
            clock,
            script,
            handle,
            stop,
            running,
            _dir: dir,
        }
    }

    /// Puts a definition and triggers a run of it.
    pub async fn start(&self, yaml: &str, seq: u64) -> RunId {
        self.start_of(&tenant(), yaml, seq).await
    }

    /// Puts a definition of a tenant and triggers a run of it.
    pub async fn start_of(&self, tenant: &TenantId, yaml: &str, seq: u64) -> RunId {
        let definition = definition::parse(yaml).unwrap();
        let (id, version) = (&definition.id, definition.version);
        self.store
            .put(tenant, id, version, yaml, START_US)
            .await
            .unwrap();
        let device = DeviceId::parse("freezer-07").unwrap();
        let cause = Cause::Numbered {
            boot: Boot(2),
            seq: Seq(seq),
        };
        let value = Finite::new(-11.5);
        let firing = Firing {
            since_us: 10,
            at_us: 20,
            value,
            cause,
        };
        let value = OwnedValue::Number(-11.5);
        let trigger = trigger(
            tenant,
            &definition,
            &device,
            Some((&value, Some("degC"))),
            &firing,
        );
        assert!(self.runs.trigger(&trigger).await.unwrap());
        assert!(
            !self.runs.trigger(&trigger).await.unwrap(),
            "the same cause starts it once"
        );
        self.handle.wake();
        trigger.run
    }

    pub async fn run(&self, run: &RunId) -> Run {
        self.run_of(&tenant(), run).await
    }

    pub async fn run_of(&self, tenant: &TenantId, run: &RunId) -> Run {
        self.runs.get(tenant, run).await.unwrap().unwrap()
    }

    /// Waits until the run is so, looking after each record.
    pub async fn until(&self, run: &RunId, is: impl Fn(&Run) -> bool) -> Run {
        self.until_of(&tenant(), run, is).await
    }

    /// As [`Self::until`] for a run of a tenant.
    pub async fn until_of(&self, tenant: &TenantId, run: &RunId, is: impl Fn(&Run) -> bool) -> Run {
        let mut records = self.runs.records.subscribe();
        loop {
            records.borrow_and_update();
            let now = self.run_of(tenant, run).await;
            if is(&now) {
                return now;
            }
            records.changed().await.unwrap();
        }
    }

    pub async fn ended(&self, run: &RunId) -> Run {
        self.until(run, |run| run.state.is_final()).await
    }

    /// Waits until the runner has counted so.
    pub async fn counted(&self, so: impl Fn(&Metrics) -> bool) {
        while !so(&self.handle.metrics()) {
            tokio::task::yield_now().await;
        }
    }

    pub fn now_us(&self) -> i64 {
        self.clock.now_us()
    }
}
