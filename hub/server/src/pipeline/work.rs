//! The pipeline at work: while one commit is on its way into the store, the next is gathered.
//!
//! What the state says of a record may then be ahead of the store by two commits. So whoever asks
//! the store, or lets go of what the store has, first waits for the commit that is on its way.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use stencil_log::Position;
use stencil_protocol::id::{Boot, DeviceId, TenantId};
use stencil_protocol::ledger::BootLedger;
use stencil_store::Erased;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::changes::{Changes, DeviceKey};
use super::decode::Message;
use super::driver::Driver;
use super::intake::Portion;
use super::known::{Known, Questions};
use super::origin::{Origin, Sender};
use super::{State, announce, apply, lookup};
use crate::Error;
use crate::ingest::{self, Body, Erase, Step};

/// The part of the time that commits may take, as one of so many: each writes the rows of all
/// devices that were heard, so that fewer and larger ones cost less.
const COMMIT_SHARE: u32 = 4;
/// How long what is logged may wait for that.
const MAX_PACE: Duration = Duration::from_millis(250);

/// What is left of a commit that is durable.
#[derive(Debug)]
pub(super) struct Landed {
    pub(super) ledgers: Vec<(TenantId, DeviceId, Boot, BootLedger)>,
    /// How long the store took.
    pub(super) took: Duration,
}

/// State, and the commit that is on its way.
pub(super) struct Work {
    driver: Arc<Driver>,
    state: State,
    stop: watch::Receiver<bool>,
    flight: Option<JoinHandle<Result<Landed, Error>>>,
    /// When the last commit began, and how long the one before took.
    began: Instant,
    took: Duration,
    /// Devices with more boots in memory than are to stay there.
    crowded: Vec<DeviceKey>,
}

impl Work {
    pub(super) fn new(driver: Driver, state: State, stop: watch::Receiver<bool>) -> Self {
        Self {
            driver: Arc::new(driver),
            state,
            stop,
            flight: None,
            began: Instant::now(),
            took: Duration::ZERO,
            crowded: Vec::new(),
        }
    }

    /// When the next commit may begin, unless there is more to do than one holds.
    pub(super) fn next_commit(&self) -> Instant {
        let least = Duration::from_millis(self.driver.options.commit_interval_ms);
        self.began + least.max((self.took * COMMIT_SHARE).min(MAX_PACE))
    }

    /// Applies a portion, in one commit or, when it has very many points, in a few.
    pub(super) async fn portion(&mut self, portion: Portion) -> Result<(), Error> {
        for (from, to) in &portion.damaged {
            self.driver.metrics.damaged(to.0.saturating_sub(from.0));
        }
        if !self.crowded.is_empty() {
            self.land().await?;
        }
        let mut changes = Changes::default();
        for record in &portion.records {
            let read = match ingest::Record::decode(&record.payload) {
                Ok(read) => read,
                Err(error) => {
                    self.left_out(record.start.0, record.payload.len(), &error);
                    continue;
                }
            };
            if let Body::Erase(erase) = read.body {
                // What was logged before it goes, too, and what comes after it is new.
                let before = std::mem::take(&mut changes);
                self.commit(before, record.start).await?;
                self.land().await?;
                self.erase(erase, read.received_us, record.end).await?;
                continue;
            }
            if let Body::Rollout(ask) = &read.body
                && matches!(ask.what, Step::Start(_))
            {
                // It meets the devices as the store knows them, so all before it has to be there.
                let before = std::mem::take(&mut changes);
                self.commit(before, record.start).await?;
                self.land().await?;
            }
            let (position, bytes) = (record.start.0, &record.payload);
            self.record((position, bytes), &read, &mut changes).await?;
            if changes.points >= self.driver.options.max_commit_points {
                let full = std::mem::take(&mut changes);
                self.commit(full, record.end).await?;
            }
        }
        // Also without changes: the position says what need not be read again.
        self.commit(changes, portion.end).await
    }

    /// Waits for the commit that is on its way; false if there is none. To be called while no
    /// changes are gathered, but by what comes between two records.
    pub(super) async fn land(&mut self) -> Result<bool, Error> {
        let landed = self.landed().await?;
        self.state.let_go(std::mem::take(&mut self.crowded));
        Ok(landed)
    }

    async fn landed(&mut self) -> Result<bool, Error> {
        let Some(flight) = &mut self.flight else {
            return Ok(false);
        };
        let landed = flight.await;
        self.flight = None;
        let landed = landed
            .map_err(|error| Error::Stopped("the pipeline's commit", error.to_string()))??;
        self.took = landed.took;
        self.crowded.extend(self.state.hear(&landed.ledgers));
        Ok(true)
    }

    async fn record(
        &mut self,
        (position, bytes): (u64, &Bytes),
        record: &ingest::Record<'_>,
        changes: &mut Changes,
    ) -> Result<(), Error> {
        let received_us = record.received_us;
        match &record.body {
            Body::Publication(one) => {
                if self.is_there(&one.from.tenant).await {
                    let (from, transport) = (&one.from, &one.transport);
                    let mut sender = Sender::new(from, transport, received_us, position, bytes);
                    let origin = sender.origin(&one.published());
                    self.publication(&origin, changes).await?;
                }
            }
            Body::Publications(many) => {
                if !self.is_there(&many.from.tenant).await {
                    return Ok(());
                }
                let (from, transport) = (&many.from, &many.transport);
                let mut sender = Sender::new(from, transport, received_us, position, bytes);
                for message in many.iter() {
                    match message {
                        Ok(message) => {
                            let origin = sender.origin(&message);
                            self.publication(&origin, changes).await?;
                        }
                        Err(error) => self.left_out(position, many.messages.len(), &error),
                    }
                }
            }
            Body::Activation(activation) => {
                if !self.is_there(&activation.tenant).await {
                    return Ok(());
                }
                let (store, retry) = (&self.driver.store, self.driver.retry());
                let known = lookup::definition(store, activation, retry).await;
                let state = &mut self.state;
                apply::activation(activation, position, received_us, known, state, changes);
                self.driver.tell_waits(&self.state);
            }
            Body::Admission(admission) => {
                if self.is_there(&admission.tenant).await {
                    apply::admission(admission, received_us, &mut self.state, changes);
                }
            }
            Body::Rollout(ask) => {
                if !self.is_there(&ask.tenant).await {
                    return Ok(());
                }
                let starting = match ask.what {
                    Step::Start(_) => {
                        let (store, retry) = (&self.driver.store, self.driver.retry());
                        lookup::starting(store, ask, retry).await
                    }
                    _ => None,
                };
                apply::asked(ask, starting, received_us, &mut self.state, changes);
                self.driver.tell_waits(&self.state);
            }
            Body::GatewayGone(gone) => {
                apply::gateway_gone(gone, received_us, &mut self.state, changes);
            }
            Body::Tick => apply::tick(received_us, &mut self.state, changes),
            // Not applied to a state among others, but between two commits: see `portion`.
            Body::Erase(_) => {}
        }
        Ok(())
    }

    /// Whether the tenant has not been erased since.
    async fn is_there(&self, tenant: &TenantId) -> bool {
        let is_there = lookup::tenant(&self.driver.tenants, tenant, self.driver.retry()).await;
        if !is_there {
            self.driver.metrics.orphaned();
        }
        is_there
    }

    /// Erases what is stored, then what is held in memory; nothing is uncommitted.
    async fn erase(&mut self, erase: Erase, at_us: i64, end: Position) -> Result<(), Error> {
        let driver = &self.driver;
        let Erase { tenant, device } = erase;
        let erased = match device.clone() {
            Some(device) => Erased::Device(tenant.clone(), device),
            None => Erased::Tenant(tenant.clone()),
        };
        stencil_crashpoint::reach("pipeline.before_erase");
        let keeping = &driver.store.keeping;
        driver
            .until_stored(end, &self.stop, || keeping.erase(end.0, &erased))
            .await?;
        stencil_crashpoint::reach("pipeline.after_erase");
        let alarms = self.state.forget(&erased);
        if device.is_none() {
            driver.tenants.erased(&tenant);
            driver.refused.erased(&tenant);
            (driver.tenant_gone)(&tenant);
        }
        tracing::info!(%tenant, device = device.as_ref().map(tracing::field::display),
            position = end.0, "erased");
        driver.metrics.erased();
        driver.tell_waits(&self.state);
        announce::gone(&alarms, at_us, &driver.live);
        driver.wakes.purge();
        driver.committed.send_replace(end.0);
        Ok(())
    }

    async fn publication(
        &mut self,
        origin: &Origin<'_>,
        changes: &mut Changes,
    ) -> Result<(), Error> {
        let message = Message::decode(origin);
        let questions = Questions::of(origin, &message, &self.state, changes);
        let known = if questions == Questions::default() {
            Known::default()
        } else {
            self.landed().await?;
            let (store, retry) = (&self.driver.store, self.driver.retry());
            let device = message.device();
            lookup::answers(store, origin.tenant, device, questions, retry).await
        };
        apply::publication(origin, &message, known, &mut self.state, changes);
        Ok(())
    }

    /// Sends a commit on its way when the one before has landed.
    async fn commit(&mut self, changes: Changes, position: Position) -> Result<(), Error> {
        let rolls_out = self.state.rolls_out();
        let (commit, aftermath) = changes.into_commit(&mut self.state, position.0);
        if rolls_out != self.state.rolls_out() {
            self.driver.tell_waits(&self.state);
        }
        self.landed().await?;
        self.began = Instant::now();
        let commit = Arc::clone(&self.driver).commit(commit, aftermath, self.stop.clone());
        self.flight = Some(tokio::spawn(commit));
        Ok(())
    }

    fn left_out(&self, position: u64, bytes: usize, error: &dyn std::fmt::Display) {
        tracing::error!(position, %error, "a record of the ingest log is left out");
        self.driver.metrics.damaged(bytes as u64);
    }
}
