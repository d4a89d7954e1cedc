//! The rim of the pipeline: reads the log, looks things up, commits, tells others.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use stencil_log::{Log, Position};
use stencil_protocol::id::TenantId;
use stencil_store::{Erased, Store};
use tokio::sync::watch;
use tokio::time::Instant;

use super::changes::Changes;
use super::decode::Message;
use super::intake::{Intake, Portion};
use super::known::{Known, Questions};
use super::origin::Origin;
use super::{State, announce, apply, lookup};
use crate::clock::Clock;
use crate::health::Health;
use crate::ingest::{Body, Erase, Record, RecordError};
use crate::links::Links;
use crate::metrics::Metrics;
use crate::parts::told_to_end;
use crate::policy::Tenants;
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
        mut state: State,
        from: Position,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), Error> {
        let (mut intake, missing) = Intake::open(&self.log, from)?;
        if let Some((from, to)) = missing {
            tracing::error!(%from, %to, "the log no longer has what the store has not seen yet: \
                readings may be missing, and the loss ledger will show them as gaps");
            self.metrics.damaged(to.0.saturating_sub(from.0));
        }
        let interval = Duration::from_millis(self.options.commit_interval_ms);
        self.tell_waits(&state);
        loop {
            let began = Instant::now();
            let portion = intake
                .next(self.options.max_commit_records, MAX_PORTION_BYTES)
                .await?;
            if portion.is_empty() {
                if *stop.borrow_and_update() {
                    return Ok(());
                }
                tokio::select! {
                    more = intake.more() => more?,
                    _ = stop.changed() => {}
                }
                continue;
            }
            self.portion(portion, &mut state, &stop).await?;
            let _ = tokio::time::timeout_at(began + interval, told_to_end(&mut stop)).await;
        }
    }

    /// Applies a portion, in one commit or, when it has very many points, in a few.
    async fn portion(
        &self,
        portion: Portion,
        state: &mut State,
        stop: &watch::Receiver<bool>,
    ) -> Result<(), Error> {
        for (from, to) in &portion.damaged {
            self.metrics.damaged(to.0.saturating_sub(from.0));
        }
        let mut changes = Changes::default();
        for record in &portion.records {
            let read = Record::decode(&record.payload);
            if let Ok(Record {
                received_us,
                body: Body::Erase(erase),
            }) = read
            {
                // What was logged before it goes, too, and what comes after it is new.
                let before = std::mem::take(&mut changes);
                self.commit(before, record.start, state, stop).await?;
                self.erase(erase, received_us, record.end, state, stop)
                    .await?;
                continue;
            }
            self.record(record, read, state, &mut changes).await;
            if changes.points.len() >= self.options.max_commit_points {
                let full = std::mem::take(&mut changes);
                self.commit(full, record.end, state, stop).await?;
            }
        }
        // Also without changes: the position says what need not be read again.
        self.commit(changes, portion.end, state, stop).await
    }

    async fn record(
        &self,
        record: &stencil_log::Record,
        read: Result<Record<'_>, RecordError>,
        state: &mut State,
        changes: &mut Changes,
    ) {
        let retry = Duration::from_millis(self.options.retry_ms);
        let position = record.start.0;
        let Record { received_us, body } = match read {
            Ok(read) => read,
            Err(error) => {
                tracing::error!(position, %error, "a record of the ingest log is left out");
                self.metrics.damaged(record.payload.len() as u64);
                return;
            }
        };
        match body {
            Body::Publication(publication) => {
                let tenant = &publication.from.tenant;
                if !lookup::tenant(&self.tenants, tenant, retry).await {
                    self.metrics.orphaned();
                    return;
                }
                let origin = Origin::new(&publication, received_us, position);
                let message = Message::decode(&publication, received_us);
                let questions = Questions::of(&origin, &message, state, changes);
                let known = match message.device() {
                    Some(device) if questions != Questions::default() => {
                        lookup::answers(&self.store, &origin.tenant, device, questions, retry).await
                    }
                    _ => Known::default(),
                };
                apply::publication(&origin, &message, known, state, changes);
            }
            Body::Activation(activation) => {
                if !lookup::tenant(&self.tenants, &activation.tenant, retry).await {
                    self.metrics.orphaned();
                    return;
                }
                let known = lookup::definition(&self.store, &activation, retry).await;
                apply::activation(&activation, position, received_us, known, state, changes);
                self.tell_waits(state);
            }
            Body::Tick => apply::tick(received_us, state, changes),
            // Not applied to a state among others, but between two commits: see `portion`.
            Body::Erase(_) => {}
        }
    }

    /// Erases what is stored, then what is held in memory; nothing is uncommitted.
    async fn erase(
        &self,
        erase: Erase,
        at_us: i64,
        end: Position,
        state: &mut State,
        stop: &watch::Receiver<bool>,
    ) -> Result<(), Error> {
        let Erase { tenant, device } = erase;
        let erased = match device.clone() {
            Some(device) => Erased::Device(tenant.clone(), device),
            None => Erased::Tenant(tenant.clone()),
        };
        stencil_crashpoint::reach("pipeline.before_erase");
        let keeping = &self.store.keeping;
        self.until_stored(end, stop, || keeping.erase(end.0, &erased))
            .await?;
        stencil_crashpoint::reach("pipeline.after_erase");
        let alarms = state.forget(&erased);
        if device.is_none() {
            self.tenants.erased(&tenant);
            (self.tenant_gone)(&tenant);
        }
        tracing::info!(%tenant, device = device.as_ref().map(tracing::field::display),
            position = end.0, "erased");
        self.metrics.erased();
        self.tell_waits(state);
        announce::gone(&alarms, at_us, &self.live);
        self.wakes.purge();
        self.committed.send_replace(end.0);
        Ok(())
    }

    /// Says whether ticks are needed.
    fn tell_waits(&self, state: &State) {
        let waits = state.waits();
        self.waits
            .send_if_modified(|held| std::mem::replace(held, waits) != waits);
    }

    async fn commit(
        &self,
        changes: Changes,
        position: Position,
        state: &mut State,
        stop: &watch::Receiver<bool>,
    ) -> Result<(), Error> {
        let (commit, aftermath) = changes.into_commit(state, position.0);
        stencil_crashpoint::reach("pipeline.before_commit");
        let pipeline = &self.store.pipeline;
        let committed = self
            .until_stored(position, stop, || pipeline.commit(commit.clone()))
            .await?;
        stencil_crashpoint::reach("pipeline.after_commit");
        state.trim(&commit.ledgers);
        let started = committed.started;
        self.metrics
            .committed(&aftermath.tally(state, position.0, started, self.clock.now_us()));
        self.committed.send_replace(position.0);
        announce::all(&commit, &aftermath, &committed, self);
        let needless = Position(position.0.saturating_sub(self.keep_bytes));
        if let Err(error) = self.log.trim(needless) {
            tracing::warn!(%error, "the ingest log cannot be trimmed");
        }
        Ok(())
    }

    /// Stores something, again and again while the store refuses: the state in memory is ahead of
    /// it.
    async fn until_stored<T, F>(
        &self,
        position: Position,
        stop: &watch::Receiver<bool>,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, stencil_store::Error>>,
    {
        let retry = Duration::from_millis(self.options.retry_ms);
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
