//! Workflows that payments and events of contracts cause.
//!
//! ```text
//! stream of a chain → entries: which cause is there, gone, final → runs, actuations, commands, position
//! change of an invoice (outbox) → invoices: the same, and the effect is done
//! newest and final block → entries: which causes are deep enough by now
//! time, the end of a command → acting: what is undone, what a device is told next
//! ```
//!
//! What a payment starts is decided once ([`starts`]), and what led to a run is kept with it ([`lineage`]), so
//! that workflows which cause themselves come to an end.
//!
//! Each arrow ends in one transaction ([`stencil_store::CausedRuns::commit_caused`]). What is read
//! twice, by a crash or by two of these at once, changes nothing: a change names the version that it
//! follows, and who comes second reads again.

mod acting;
mod check;
mod entries;
mod index;
mod invoices;
mod lineage;
mod port;
mod starts;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use stencil_payments::abi;
use stencil_payments::cause::Key;
use stencil_protocol::id::TenantId;
use stencil_store::{
    CauseKey, CausedChange, CausedCommit, CausingRun, Error, Lineage, Observation, ReadUpTo, Store,
    StoredCaused, StoredCommand, Trigger, Watch, WatchKind,
};
use stencil_workflow::caused::{Caused, Of, Outcome};
use stencil_workflow::definition::{self, Source};
use stencil_workflow::{Definition, caused_run_id};
use tokio::sync::Notify;

use crate::chains::{Chains, ownership};
use crate::clock::Clock;
use crate::parts::{Parts, told_to_end};
use crate::wake::Wakes;
use index::Index;

pub(crate) use port::WakingCaused;
pub(crate) use starts::Started;

/// The events by which the cashier knows payments, of whatever they say.
const PAYMENTS: [[u8; 32]; 2] = [abi::PAID.0, abi::RELEASED.0];
/// Events of tokens, of which hubs once watched all for payments.
const OF_TOKENS: [[u8; 32]; 2] = [abi::TRANSFER.0, abi::AUTHORIZATION_USED.0];
/// The name of the reader of chains' streams.
pub(crate) const READER: &str = "triggers";
/// How often something is read again that others have changed meanwhile.
const TRIES: u32 = 20;

/// Starts runs because of what is on chains, and tells devices what comes of that. Cheap to clone.
#[derive(Clone)]
pub struct Triggers(Arc<Inner>);

/// What has to be watched for a workflow.
#[derive(Debug)]
pub(crate) struct Watching {
    chain: String,
    address: [u8; 20],
    topic0: [u8; 32],
}

struct Inner {
    store: Store,
    chains: Chains,
    clock: Clock,
    wakes: Wakes,
    /// Runs that may follow each other by what they send.
    max_caused_runs: u32,
    /// Counts changes of workflows.
    changes: AtomicU64,
    changed: Notify,
    index: tokio::sync::Mutex<Option<(u64, Arc<Index>)>>,
}

impl Triggers {
    pub(crate) fn new(
        store: Store,
        chains: Chains,
        clock: Clock,
        wakes: Wakes,
        max_caused_runs: u32,
    ) -> Self {
        Self(Arc::new(Inner {
            store,
            chains,
            clock,
            wakes,
            max_caused_runs,
            changes: AtomicU64::new(0),
            changed: Notify::new(),
            index: tokio::sync::Mutex::new(None),
        }))
    }

    /// Reads the streams of all chains, and tells devices what is next.
    pub(crate) fn run(&self, parts: &mut Parts) {
        for chain in self.0.chains.iter() {
            let (triggers, chain) = (self.clone(), Arc::clone(chain));
            parts.effect("triggers of a chain", |mut stop| async move {
                tokio::select! {
                    () = triggers.follow(chain.as_ref()) => {}
                    () = told_to_end(&mut stop) => {}
                }
                Ok(())
            });
        }
        let triggers = self.clone();
        parts.effect("actions because of chains", |mut stop| async move {
            tokio::select! {
                () = triggers.act() => {}
                () = told_to_end(&mut stop) => {}
            }
            Ok(())
        });
    }

    /// Whether the chains that a definition names are there and can read its signatures. What has to be
    /// watched for it; `None`: nothing.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub(crate) fn check(
        &self,
        definition: &Definition,
    ) -> Result<Option<Watching>, definition::Error> {
        let chains = &self.0.chains;
        check::steps(chains, definition)?;
        let Source::Chain(of) = &definition.source else {
            return Ok(None);
        };
        let event = check::event(chains, of)?;
        Ok(Some(Watching {
            chain: of.name.clone(),
            address: of.address.into(),
            topic0: event.topic0().0,
        }))
    }

    /// Begins to watch what a definition is about, before it is in force.
    pub(crate) async fn watch(&self, tenant: &TenantId, watching: &Watching) -> Result<(), Error> {
        let watch = Watch {
            owner: tenant.as_str().to_owned(),
            address: watching.address,
            kind: WatchKind::Event(watching.topic0),
        };
        let (name, chains) = (&watching.chain, &self.0.store.chains);
        if let Some(chain) = self.0.chains.by_name(name) {
            // It may not have been heard of yet.
            chains.open_chain(name, chain.id(), self.now_us()).await?;
        }
        chains.watch_chain(name, &[watch]).await?;
        Ok(())
    }

    /// Other workflows are in force than before: what none needs any more is watched no more.
    pub(crate) async fn changed(&self) {
        let before = self.0.index.lock().await.as_ref().map(|it| it.1.clone());
        self.0.changes.fetch_add(1, Ordering::SeqCst);
        self.0.changed.notify_waiters();
        let Some(before) = before else { return };
        if let Err(error) = self.unwatch(&before).await {
            tracing::warn!(%error, "what no workflow needs any more is watched still");
        }
    }

    /// Watches a token's events no more that an older hub watched for payments, and no workflow needs.
    async fn narrow(&self, chain: &str) -> Result<(), Error> {
        let (now, chains) = (self.index().await?, &self.0.store.chains);
        if chains.chain(chain).await?.is_none() {
            return Ok(());
        }
        let (_, watched) = chains.chain_watches(chain).await?;
        let by_payee = watched.iter().filter_map(|it| match it.watch.kind {
            WatchKind::EventTo { .. } => Some((it.watch.owner.clone(), it.watch.address)),
            _ => None,
        });
        let by_payee: HashSet<(String, [u8; 20])> = by_payee.collect();
        let gone = watched.into_iter().map(|it| it.watch).filter(|watch| {
            let WatchKind::Event(topic0) = watch.kind else {
                return false;
            };
            let unneeded = |tenant: TenantId| !now.needs(chain, &tenant, watch.address, topic0);
            OF_TOKENS.contains(&topic0)
                && by_payee.contains(&(watch.owner.clone(), watch.address))
                && watch.owner.parse().is_ok_and(unneeded)
        });
        let gone: Vec<Watch> = gone.collect();
        chains.unwatch_chain(chain, &gone).await
    }

    async fn unwatch(&self, before: &Index) -> Result<(), Error> {
        let now = self.index().await?;
        for (chain, tenant, address, topic0) in before.needed() {
            // What payments are known by stays watched: others need it, too.
            if PAYMENTS.contains(&topic0) || now.needs(chain, tenant, address, topic0) {
                continue;
            }
            let watch = Watch {
                owner: tenant.as_str().to_owned(),
                address,
                kind: WatchKind::Event(topic0),
            };
            if ownership::follows(&self.0.store, tenant, chain, &watch).await? {
                continue;
            }
            self.0.store.chains.unwatch_chain(chain, &[watch]).await?;
        }
        Ok(())
    }

    /// What is in force.
    async fn index(&self) -> Result<Arc<Index>, Error> {
        let mut held = self.0.index.lock().await;
        let changes = self.0.changes.load(Ordering::SeqCst);
        if let Some((of, index)) = held.as_ref()
            && *of == changes
        {
            return Ok(Arc::clone(index));
        }
        let index = Arc::new(Index::load(&self.0.store, &self.0.chains, self.now_us()).await?);
        *held = Some((changes, Arc::clone(&index)));
        Ok(index)
    }

    /// Something of the index is no longer so, though nobody said that it changed.
    fn forget_index(&self) {
        self.0.changes.fetch_add(1, Ordering::SeqCst);
    }

    fn now_us(&self) -> i64 {
        self.0.clock.now_us()
    }
}

/// Names an event of a contract, whichever block it is in. What it says is part of the name: where a
/// reorganisation makes it say something else, that is another event.
fn cause_of_event(chain: u64, seen: &Observation) -> CauseKey {
    let topics = seen.topics.concat();
    let (id, ordinal) = (chain.to_be_bytes(), seen.ordinal.to_be_bytes());
    let parts: [&[u8]; 6] = [&id, &seen.tx, &ordinal, &seen.address, &topics, &seen.data];
    Key::of("stencil/cause/event", &parts).0
}

/// Names that an invoice is paid.
fn cause_of_invoice(tenant: &TenantId, invoice: &[u8; 16]) -> CauseKey {
    let parts: [&[u8]; 2] = [tenant.as_str().as_bytes(), invoice];
    Key::of("stencil/cause/invoice", &parts).0
}

/// A change of all that one cause has made.
struct Change {
    commit: CausedCommit,
}

/// What makes a run.
#[derive(Clone, Copy)]
struct Because<'a> {
    /// Names it.
    cause: &'a CauseKey,
    /// What it is.
    of: &'a Of,
    /// The runs that led to it.
    led: &'a [CausingRun],
    /// How many may.
    most: u32,
}

impl Change {
    fn new(read: Option<ReadUpTo>, at_us: i64) -> Self {
        Self {
            commit: CausedCommit {
                read,
                at_us,
                ..CausedCommit::default()
            },
        }
    }

    fn is_empty(&self) -> bool {
        let commit = &self.commit;
        commit.changes.is_empty() && commit.runs.is_empty() && commit.start.is_none()
    }

    /// Changes a caused run that is kept. What became of its commands comes first: a device that did
    /// late what was undone for nothing is not told to do it again when the cause is back. `must`: it is
    /// kept anew even if nothing changes.
    fn change(
        &mut self,
        stored: &StoredCaused,
        ended: &[StoredCommand],
        must: bool,
        change: impl FnOnce(&mut Caused, &mut Outcome),
    ) -> Result<(), Error> {
        let before = Caused::read(stored)?;
        let (mut caused, mut out) = (before.clone(), Outcome::default());
        for command in ended {
            caused.ended(command, self.commit.at_us, &mut out);
        }
        change(&mut caused, &mut out);
        caused.begin(&stored.tenant, self.commit.at_us, &mut out);
        if must || caused != before {
            let version = stored.version + 1;
            let next = caused.store(&stored.tenant, stored.run, stored.cause, version);
            self.put(next, out);
        }
        Ok(())
    }

    /// Makes a run, unless its workflow cannot be caused like that. One that too many have led to is made as
    /// one that has failed, and nothing is told of its cause.
    fn make(
        &mut self,
        tenant: &TenantId,
        definition: &Definition,
        because: Because<'_>,
        event: serde_json::Value,
        happened_us: i64,
        change: impl FnOnce(&mut Caused, &mut Outcome),
    ) {
        let Because { cause, led, .. } = because;
        let run = caused_run_id(tenant, &definition.id, cause);
        let now_us = self.commit.at_us;
        let mut caused = match Caused::new(&run, definition, because.of.clone(), now_us) {
            Ok(caused) => caused,
            Err(error) => {
                tracing::error!(%tenant, workflow = definition.id, %error, "a run cannot be made");
                return;
            }
        };
        self.commit.runs.push(Trigger {
            run,
            tenant: tenant.clone(),
            workflow: definition.id.clone(),
            version: definition.version,
            event,
            at_us: happened_us,
            not_before_us: None,
        });
        let refused = lineage::refusal(led, tenant, &definition.id, because.most);
        if !led.is_empty() {
            self.commit.lineages.push(Lineage {
                tenant: tenant.clone(),
                run,
                causes: led.to_vec(),
                refused: refused.clone(),
            });
        }
        if let Some(why) = refused {
            tracing::warn!(%tenant, workflow = definition.id, %run, why, "a run is not started");
            return;
        }
        let mut out = Outcome::default();
        change(&mut caused, &mut out);
        self.put(caused.store(tenant, run, *cause, 1), out);
    }

    fn put(&mut self, caused: StoredCaused, out: Outcome) {
        self.commit.commands.extend(out.commands);
        self.commit.changes.push(CausedChange {
            caused,
            turns: out.turns,
        });
    }
}
