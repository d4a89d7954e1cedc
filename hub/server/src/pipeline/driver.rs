//! The rim of the pipeline: reads the log, commits, tells others.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use stencil_log::{Log, Position};
use stencil_protocol::id::TenantId;
use stencil_store::{Commit, Store};
use tokio::sync::watch;
use tokio::time::Instant;

use super::changes::Aftermath;
use super::intake::Intake;
use super::work::{Landed, Work};
use super::{State, announce};
use crate::clock::Clock;
use crate::desired::Desires;
use crate::health::Health;
use crate::links::Links;
use crate::metrics::Metrics;
use crate::parts::told_to_end;
use crate::policy::{RefusedDevices, Tenants};
use crate::rollout::Rollouts;
use crate::wake::Wakes;
use crate::{Error, Live, PipelineOptions};

/// Bytes of records in one portion at most.
const MAX_PORTION_BYTES: usize = 4 * 1024 * 1024;
/// Attempts at the last commit when the hub is told to stop; the log keeps what is not committed.
const LAST_ATTEMPTS: u32 = 3;

/// What the pipeline works with.
pub(crate) struct Driver {
    pub(crate) store: Store,
    pub(crate) log: Log,
    pub(crate) clock: Clock,
    pub(crate) options: PipelineOptions,
    /// Bytes of the log that are kept behind the committed position.
    pub(crate) keep_bytes: u64,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) live: Live,
    pub(crate) wakes: Wakes,
    pub(crate) links: Links,
    /// Devices that are not let in.
    pub(crate) refused: RefusedDevices,
    /// Told what concerns roll-outs.
    pub(crate) rollouts: Rollouts,
    /// Told what concerns desired states.
    pub(crate) desires: Desires,
    pub(crate) health: Arc<Health>,
    /// Told each committed position.
    pub(crate) committed: watch::Sender<u64>,
    /// Told whether a rule in force waits for the time.
    pub(crate) waits: watch::Sender<bool>,
    /// Which tenants there are.
    pub(crate) tenants: Tenants,
    /// What else a tenant leaves when it is erased: connections, streams.
    pub(crate) tenant_gone: Box<dyn Fn(&TenantId) + Send + Sync>,
}

impl Driver {
    /// Applies the log from `from` on until `stop` holds true and all that is logged is applied.
    ///
    /// # Errors
    /// When the log cannot be read, or the store refuses the last commit.
    pub(crate) async fn run(
        self,
        state: State,
        from: Position,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), Error> {
        let (mut intake, missing) = Intake::open(&self.log, from)?;
        if let Some((from, to)) = missing {
            tracing::error!(%from, %to, "the log no longer has what the store has not seen yet: \
                readings may be missing, and the loss ledger will show them as gaps");
            self.metrics.damaged(to.0.saturating_sub(from.0));
        }
        let max_records = self.options.max_commit_records;
        self.tell_waits(&state);
        let mut work = Work::new(self, state, stop.clone());
        loop {
            let portion = intake.next(max_records, MAX_PORTION_BYTES).await?;
            if portion.is_empty() {
                if work.land().await? {
                    continue;
                }
                if *stop.borrow_and_update() {
                    return Ok(());
                }
                tokio::select! {
                    more = intake.more() => more?,
                    _ = stop.changed() => {}
                }
                continue;
            }
            let full = portion.full;
            work.portion(portion).await?;
            if !full {
                let next = tokio::time::timeout_at(work.next_commit(), told_to_end(&mut stop));
                let _ = next.await;
            }
        }
    }

    /// Between two attempts.
    pub(super) fn retry(&self) -> Duration {
        Duration::from_millis(self.options.retry_ms)
    }

    /// Says whether ticks are needed.
    pub(super) fn tell_waits(&self, state: &State) {
        self.rollouts.are_under_way(state.rolls_out());
        let waits = state.waits();
        self.waits
            .send_if_modified(|held| std::mem::replace(held, waits) != waits);
    }

    /// Makes a commit durable, and tells of it.
    pub(super) async fn commit(
        self: Arc<Self>,
        commit: Commit,
        aftermath: Aftermath,
        stop: watch::Receiver<bool>,
    ) -> Result<Landed, Error> {
        let began = Instant::now();
        let position = Position(commit.position);
        stencil_crashpoint::reach("pipeline.before_commit");
        let pipeline = &self.store.pipeline;
        let committed = self
            .until_stored(position, &stop, || pipeline.commit(commit.clone()))
            .await?;
        stencil_crashpoint::reach("pipeline.after_commit");
        let tally = aftermath.tally(position.0, committed.started, self.clock.now_us());
        self.metrics.committed(&tally);
        self.committed.send_replace(position.0);
        announce::all(&commit, &aftermath, &committed, &self);
        let needless = Position(position.0.saturating_sub(self.keep_bytes));
        if let Err(error) = self.log.trim(needless) {
            tracing::warn!(%error, "the ingest log cannot be trimmed");
        }
        Ok(Landed {
            ledgers: commit.ledgers,
            took: began.elapsed(),
        })
    }

    /// Stores something, again and again while the store refuses: the state in memory is ahead of
    /// it.
    pub(super) async fn until_stored<T, F>(
        &self,
        position: Position,
        stop: &watch::Receiver<bool>,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, stencil_store::Error>>,
    {
        let retry = self.retry();
        let mut attempts_after_stop = 0;
        let mut refusals = 0_u32;
        loop {
            match attempt().await {
                Ok(stored) => {
                    if refusals > 0 {
                        tracing::info!(refusals, "the store takes commits again");
                    }
                    self.health.commits(None);
                    return Ok(stored);
                }
                Err(error) => {
                    self.metrics.commit_failed();
                    self.health.commits(Some(error.to_string()));
                    refusals = refusals.saturating_add(1);
                    // Ever more seldom: a full disk is not to be filled with this line.
                    if refusals.is_power_of_two() {
                        tracing::error!(%position, refusals, %error,
                            retryable = error.retryable(), "a commit failed; trying again");
                    }
                    if *stop.borrow() {
                        attempts_after_stop += 1;
                        if attempts_after_stop >= LAST_ATTEMPTS {
                            return Err(error.into());
                        }
                    }
                    tokio::time::sleep(retry).await;
                }
            }
        }
    }
}
