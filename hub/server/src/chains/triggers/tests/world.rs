//! A store on disk, a hub's triggers and runner over it that can be killed, and lockers.

use std::collections::BTreeMap;
use std::sync::Arc;

use stencil_connect::Connectors;
use stencil_protocol::command::State;
use stencil_protocol::id::TenantId;
use stencil_store::{CommandStatus, Error, Run, RunFilter, Store, StoredCommand, sqlite};
use stencil_workflow::clock::ManualClock;
use stencil_workflow::{Clock as _, Options, Parts, Runner};

use super::chain::{ID, Local, NAME};
use super::fuse::{Fuse, Fused};
use super::sending::Sending;
use crate::Clock;
use crate::chains::{Chains, Triggers};
use crate::wake::Wakes;

pub(super) const START_US: i64 = 1_000_000_000;
pub(super) const SECOND_US: i64 = 1_000_000;
/// Runs that may follow each other by what they send.
pub(super) const MOST: u32 = 4;
/// More transactions than a test makes.
pub(super) const WHOLE: i64 = 1 << 40;

pub(super) struct World {
    folder: tempfile::TempDir,
    pub(super) store: Store,
    pub(super) clock: ManualClock,
    effects: Arc<Connectors>,
}

pub(super) fn acme() -> TenantId {
    TenantId::parse("acme").unwrap()
}

pub(super) fn other() -> TenantId {
    TenantId::parse("other").unwrap()
}

impl World {
    pub(super) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder).await;
        for tenant in [acme(), other()] {
            store.tenancy.create_tenant(&tenant, 1).await.unwrap();
        }
        store.chains.open_chain(NAME, ID, 1).await.unwrap();
        Self {
            folder,
            effects: effects(&store),
            store,
            clock: ManualClock::at(START_US),
        }
    }

    pub(super) fn now_us(&self) -> i64 {
        self.clock.now_us()
    }

    /// Puts a workflow in force, as the hub does: watched first.
    pub(super) async fn put(&self, tenant: &TenantId, yaml: &str) {
        let triggers = self.triggers(&self.store);
        let definition = stencil_workflow::definition::parse(yaml).unwrap();
        if let Some(watched) = triggers.check(&definition).unwrap() {
            triggers.watch(tenant, &watched).await.unwrap();
        }
        let (id, version) = (&definition.id, definition.version);
        let workflows = &self.store.workflows;
        workflows
            .put(tenant, id, version, yaml, START_US)
            .await
            .unwrap();
    }

    pub(super) fn triggers(&self, store: &Store) -> Triggers {
        let clock = self.clock.clone();
        Triggers::new(
            store.clone(),
            Chains::new(vec![Arc::new(Local)]),
            Clock::from_fn(move || clock.now_us()),
            Wakes::default(),
            MOST,
        )
    }

    /// A hub takes what there is until there is nothing to do, or the fuse is blown: then it is dead,
    /// and the store is opened anew.
    pub(super) async fn hub(&mut self, fuse: Fuse) {
        // Nothing happens at the same time as something else.
        self.clock.advance(1);
        let (mut store, inner) = (self.store.clone(), self.store.clone());
        let fused = Arc::new(Fused {
            fuse: fuse.clone(),
            caused: inner.caused,
            runs: inner.runs,
        });
        store.caused = fused.clone();
        store.runs = fused;
        let triggers = self.triggers(&store);
        let done = self.work(&store, &triggers, &fuse).await;
        if fuse.is_blown() {
            self.store = open(&self.folder).await;
            self.effects = effects(&self.store);
        } else {
            done.unwrap();
        }
    }

    /// The hub ends, and begins anew.
    pub(super) async fn restart(&mut self) {
        self.store = open(&self.folder).await;
        self.effects = effects(&self.store);
    }

    async fn work(&self, store: &Store, triggers: &Triggers, fuse: &Fuse) -> Result<(), Error> {
        // Twice: what the runner tells devices first may be undone already.
        for _ in 0..2 {
            triggers.step(&Local).await?;
            triggers.tell_due().await?;
            self.run(store, fuse).await;
        }
        Ok(())
    }

    /// Works on runs as long as any is due.
    async fn run(&self, store: &Store, fuse: &Fuse) {
        let mut parts = Parts::system(
            store.runs.clone(),
            store.caused.clone(),
            store.workflows.clone(),
            store.alarms.clone(),
            self.effects.clone(),
        );
        parts.clock = Arc::new(self.clock.clone());
        let runner = Runner::new(Options::default(), parts);
        let (handle, stop) = (runner.handle(), tokio::sync::watch::Sender::new(false));
        let running = tokio::spawn(runner.run(stop.subscribe()));
        loop {
            let due = store.runs.next_due_us(&[]).await.unwrap();
            let idle = due.is_none_or(|due_us| due_us > self.now_us());
            if fuse.is_blown() || (idle && handle.metrics().in_flight == 0) {
                break;
            }
            tokio::task::yield_now().await;
        }
        if fuse.is_blown() {
            // What was claimed is claimed again when its lease is over.
            running.abort();
            let _ = running.await;
            self.clock.advance(7 * SECOND_US);
        } else {
            stop.send_replace(true);
            running.await.unwrap();
        }
    }

    /// Each command that is queued, the oldest first.
    pub(super) async fn commands(&self) -> Vec<StoredCommand> {
        let page = self.store.commands.list(&acme(), None, None, 1_000).await;
        let mut commands = page.unwrap().items;
        commands.reverse();
        commands
    }

    /// Devices say what they make of what they were told.
    pub(super) async fn devices(&self, state: State) {
        self.clock.advance(1);
        let commands = self.commands().await;
        for (at, command) in commands.iter().enumerate() {
            let open = !command.state.is_settled();
            // A word that is late comes before the device was told anything else.
            let newer = commands[at + 1..].iter();
            let is_newest = newer.clone().all(|other| other.device != command.device);
            let late = command.state == State::Expired && state == State::Done && is_newest;
            if !open && !late {
                continue;
            }
            let status = CommandStatus {
                tenant: acme(),
                command: command.id,
                state,
                at_us: self.now_us(),
                detail: None,
                gateway: None,
            };
            self.store.commands.status(&status).await.unwrap();
        }
    }

    /// What each device has done, in order.
    pub(super) async fn done(&self) -> BTreeMap<String, Vec<String>> {
        let mut done: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for command in self.commands().await {
            if command.state == State::Done {
                let device = command.device.to_string();
                done.entry(device).or_default().push(command.name);
            }
        }
        done
    }

    pub(super) async fn runs(&self, tenant: &TenantId) -> Vec<Run> {
        let all = RunFilter::default();
        let page = self.store.runs.list(tenant, &all, None, 100);
        page.await.unwrap().items
    }
}

fn effects(store: &Store) -> Arc<Connectors> {
    let (content, commands) = (store.content.clone(), store.commands.clone());
    let options = stencil_connect::Options::default();
    let connectors = Connectors::new(&options, content, commands).unwrap();
    let chain = Arc::new(Sending(store.sends.clone()));
    Arc::new(connectors.on_chains(vec![chain], store.sends.clone()))
}

async fn open(folder: &tempfile::TempDir) -> Store {
    sqlite::open(folder.path().join("hub.db"))
        .await
        .unwrap()
        .store()
}
