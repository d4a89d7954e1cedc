//! The store's caused runs, with a word to whoever has something to do after a change.

use std::sync::Arc;

use async_trait::async_trait;
use stencil_protocol::id::TenantId;
use stencil_store::{
    CauseKey, CausedCommit, CausedCommitted, CausedRuns, CausingRun, Error, InvoiceKey,
    InvoiceStart, RunId, SentBecause, StoredCaused, Turn,
};

use crate::metrics::Metrics;
use crate::wake::Wakes;
use crate::{Live, LiveEvent};

/// A [`CausedRuns`] port that wakes the runner and the dispatcher, shows what changes on live pages,
/// and counts it, whoever commits.
pub(crate) struct WakingCaused {
    pub(crate) inner: Arc<dyn CausedRuns>,
    pub(crate) wakes: Wakes,
    pub(crate) live: Live,
    pub(crate) metrics: Arc<Metrics>,
}

#[async_trait]
impl CausedRuns for WakingCaused {
    async fn commit_caused(&self, commit: &CausedCommit) -> Result<CausedCommitted, Error> {
        let committed = self.inner.commit_caused(commit).await?;
        if committed.started + committed.woken > 0 {
            self.wakes.runner();
        }
        if committed.queued > 0 {
            self.wakes.dispatcher();
        }
        // Somebody else may have to come sooner now.
        self.wakes.caused();
        self.metrics.caused(commit, &committed);
        for trigger in &commit.runs {
            let event = LiveEvent::Run {
                run: trigger.run,
                workflow: trigger.workflow.clone(),
                at_us: trigger.at_us,
            };
            self.live.send(&trigger.tenant, event);
        }
        for change in &commit.changes {
            let run = change.caused.run;
            self.live
                .send(&change.caused.tenant, LiveEvent::RunChanged { run });
        }
        Ok(committed)
    }

    async fn caused_by(&self, cause: &CauseKey) -> Result<Vec<StoredCaused>, Error> {
        self.inner.caused_by(cause).await
    }

    async fn caused(&self, tenant: &TenantId, run: &RunId) -> Result<Option<StoredCaused>, Error> {
        self.inner.caused(tenant, run).await
    }

    async fn waking_caused(&self, now_us: i64, limit: u32) -> Result<Vec<StoredCaused>, Error> {
        self.inner.waking_caused(now_us, limit).await
    }

    async fn next_waking_caused(&self) -> Result<Option<i64>, Error> {
        self.inner.next_waking_caused().await
    }

    async fn caused_at(
        &self,
        chain: &str,
        newest: u64,
        finalized: Option<u64>,
        after: Option<(&TenantId, &RunId)>,
        limit: u32,
    ) -> Result<Vec<StoredCaused>, Error> {
        let inner = &self.inner;
        inner
            .caused_at(chain, newest, finalized, after, limit)
            .await
    }

    async fn will_send(
        &self,
        tenant: &TenantId,
        key: &str,
        because: SentBecause<'_>,
    ) -> Result<(), Error> {
        self.inner.will_send(tenant, key, because).await
    }

    async fn causes_of(&self, chain: &str, tx: &[u8; 32]) -> Result<Vec<CausingRun>, Error> {
        self.inner.causes_of(chain, tx).await
    }

    async fn invoice_start(
        &self,
        tenant: &TenantId,
        invoice: &InvoiceKey,
    ) -> Result<Option<InvoiceStart>, Error> {
        self.inner.invoice_start(tenant, invoice).await
    }

    async fn turns(&self, tenant: &TenantId, run: &RunId) -> Result<Vec<Turn>, Error> {
        self.inner.turns(tenant, run).await
    }
}
