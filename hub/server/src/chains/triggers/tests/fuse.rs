//! A store whose process dies before or after a transaction.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use stencil_protocol::id::TenantId;
use stencil_store::{
    Attempt, CauseKey, CausedCommit, CausedCommitted, CausedRuns, CausingRun, Claim, Error,
    InvoiceKey, InvoiceStart, Outcome, Page, Progress, Room, Run, RunFilter, RunId, Runs,
    SentBecause, StoredCaused, Trigger, Turn,
};

/// Counts transactions down; none is left: the process is dead, and nothing is kept any more.
#[derive(Clone)]
pub(super) struct Fuse {
    left: Arc<AtomicI64>,
    /// Whether the last transaction is kept, though nobody hears of it.
    keeps: bool,
}

impl Fuse {
    pub(super) fn new(transactions: i64, keeps: bool) -> Self {
        Self {
            left: Arc::new(AtomicI64::new(transactions)),
            keeps,
        }
    }

    pub(super) fn is_blown(&self) -> bool {
        self.left.load(Ordering::SeqCst) < 0
    }

    async fn burn<T>(
        &self,
        transaction: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let left = self.left.fetch_sub(1, Ordering::SeqCst);
        if left > 0 {
            return transaction.await;
        }
        if left == 0 && self.keeps {
            transaction.await?;
        }
        Err(Error::Database("the process is dead".to_owned()))
    }
}

pub(super) struct Fused {
    pub(super) fuse: Fuse,
    pub(super) caused: Arc<dyn CausedRuns>,
    pub(super) runs: Arc<dyn Runs>,
}

#[async_trait]
impl CausedRuns for Fused {
    async fn commit_caused(&self, commit: &CausedCommit) -> Result<CausedCommitted, Error> {
        self.fuse.burn(self.caused.commit_caused(commit)).await
    }
    async fn caused_by(&self, cause: &CauseKey) -> Result<Vec<StoredCaused>, Error> {
        self.caused.caused_by(cause).await
    }
    async fn caused(&self, tenant: &TenantId, run: &RunId) -> Result<Option<StoredCaused>, Error> {
        self.caused.caused(tenant, run).await
    }
    async fn waking_caused(&self, now_us: i64, limit: u32) -> Result<Vec<StoredCaused>, Error> {
        self.caused.waking_caused(now_us, limit).await
    }
    async fn next_waking_caused(&self) -> Result<Option<i64>, Error> {
        self.caused.next_waking_caused().await
    }
    async fn caused_at(
        &self,
        chain: &str,
        newest: u64,
        finalized: Option<u64>,
        after: Option<(&TenantId, &RunId)>,
        limit: u32,
    ) -> Result<Vec<StoredCaused>, Error> {
        let caused = &self.caused;
        caused
            .caused_at(chain, newest, finalized, after, limit)
            .await
    }
    async fn will_send(
        &self,
        tenant: &TenantId,
        key: &str,
        because: SentBecause<'_>,
    ) -> Result<(), Error> {
        let noted = self.caused.will_send(tenant, key, because);
        self.fuse.burn(noted).await
    }
    async fn causes_of(&self, chain: &str, tx: &[u8; 32]) -> Result<Vec<CausingRun>, Error> {
        self.caused.causes_of(chain, tx).await
    }
    async fn invoice_start(
        &self,
        tenant: &TenantId,
        invoice: &InvoiceKey,
    ) -> Result<Option<InvoiceStart>, Error> {
        self.caused.invoice_start(tenant, invoice).await
    }
    async fn turns(&self, tenant: &TenantId, run: &RunId) -> Result<Vec<Turn>, Error> {
        self.caused.turns(tenant, run).await
    }
}

#[async_trait]
impl Runs for Fused {
    async fn trigger(&self, trigger: &Trigger) -> Result<bool, Error> {
        self.fuse.burn(self.runs.trigger(trigger)).await
    }
    async fn claim_due(&self, now: i64, lease: i64, room: &Room) -> Result<Vec<Claim>, Error> {
        self.fuse.burn(self.runs.claim_due(now, lease, room)).await
    }
    async fn record(
        &self,
        claim: &Claim,
        outcome: &Outcome,
        now_us: i64,
    ) -> Result<Option<i64>, Error> {
        self.fuse
            .burn(self.runs.record(claim, outcome, now_us))
            .await
    }
    async fn next_due_us(&self, without: &[TenantId]) -> Result<Option<i64>, Error> {
        self.runs.next_due_us(without).await
    }
    async fn get(&self, tenant: &TenantId, run: &RunId) -> Result<Option<Run>, Error> {
        self.runs.get(tenant, run).await
    }
    async fn list(
        &self,
        tenant: &TenantId,
        filter: &RunFilter,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Run>, Error> {
        self.runs.list(tenant, filter, after, limit).await
    }
    async fn counts(&self, tenant: &TenantId) -> Result<Vec<(Progress, u64)>, Error> {
        self.runs.counts(tenant).await
    }
    async fn counts_since(
        &self,
        tenant: &TenantId,
        since_us: i64,
    ) -> Result<Vec<(Progress, u64)>, Error> {
        self.runs.counts_since(tenant, since_us).await
    }
    async fn count_since(
        &self,
        tenant: &TenantId,
        workflow: &str,
        since_us: i64,
    ) -> Result<u64, Error> {
        self.runs.count_since(tenant, workflow, since_us).await
    }
    async fn attempts(&self, tenant: &TenantId, run: &RunId) -> Result<Vec<Attempt>, Error> {
        self.runs.attempts(tenant, run).await
    }
    async fn forget_ended(&self, tenant: &TenantId, before: i64, limit: u32) -> Result<u64, Error> {
        self.runs.forget_ended(tenant, before, limit).await
    }
}
