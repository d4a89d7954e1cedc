//! The runner of workflows, with the connectors that perform what they say.

use std::sync::Arc;

use async_trait::async_trait;
use stencil_connect::Connectors;
use stencil_protocol::id::TenantId;
use stencil_store::{
    Attempt, Claim, Error as StoreError, Outcome, Page, Progress, Room, Run, RunFilter, RunId,
    Runs, Store, Trigger,
};
use stencil_workflow::Runner;

use crate::access::Rights;
use crate::chains::Chains;
use crate::clock::Clock;
use crate::identity::Identity;
use crate::proofs::Proofs;
use crate::wake::Wakes;
use crate::{Error, Live, LiveEvent, Options};

/// What workflows and invoices do to the world.
pub(crate) fn connectors(
    options: &Options,
    store: &Store,
    chains: &Chains,
    identity: Identity,
    rights: Rights,
    proofs: Proofs,
) -> Result<Arc<Connectors>, Error> {
    let (content, commands) = (Arc::clone(&store.content), Arc::clone(&store.commands));
    let connectors = Connectors::new(&options.connect, content, commands)?
        .on_chains(chains.iter().cloned().collect(), Arc::clone(&store.sends))
        .issuing(Arc::new(identity))
        .granting(Arc::new(rights))
        .proving(Arc::new(proofs));
    Ok(Arc::new(connectors))
}

/// A runner over the store, and its handle.
pub(crate) fn new(
    options: &Options,
    store: &Store,
    clock: &Clock,
    live: &Live,
    connectors: Arc<Connectors>,
) -> Runner {
    let runs = LiveRuns {
        inner: Arc::clone(&store.runs),
        live: live.clone(),
    };
    let mut parts = stencil_workflow::Parts::system(
        Arc::new(runs),
        Arc::clone(&store.caused),
        Arc::clone(&store.workflows),
        Arc::clone(&store.alarms),
        connectors,
    );
    parts.clock = Arc::new(clock.clone());
    Runner::new(options.workflow.runner, parts)
}

/// Runs what is due until told to end, woken by what the hub commits.
pub(crate) async fn run(runner: Runner, wakes: Wakes, stop: tokio::sync::watch::Receiver<bool>) {
    let handle = runner.handle();
    let waking = async {
        loop {
            wakes.runner_woken().await;
            handle.wake();
        }
    };
    tokio::select! {
        () = runner.run(stop) => {}
        () = waking => {}
    }
}

/// A [`Runs`] port that shows on the live page when a run goes on.
struct LiveRuns {
    inner: Arc<dyn Runs>,
    live: Live,
}

#[async_trait]
impl Runs for LiveRuns {
    async fn record(
        &self,
        claim: &Claim,
        outcome: &Outcome,
        now_us: i64,
    ) -> Result<Option<i64>, StoreError> {
        let recorded = self.inner.record(claim, outcome, now_us).await?;
        let event = LiveEvent::RunChanged { run: claim.run.id };
        self.live.send(&claim.run.tenant, event);
        Ok(recorded)
    }

    async fn trigger(&self, trigger: &Trigger) -> Result<bool, StoreError> {
        self.inner.trigger(trigger).await
    }

    async fn claim_due(
        &self,
        now_us: i64,
        lease_us: i64,
        room: &Room,
    ) -> Result<Vec<Claim>, StoreError> {
        self.inner.claim_due(now_us, lease_us, room).await
    }

    async fn next_due_us(&self, without: &[TenantId]) -> Result<Option<i64>, StoreError> {
        self.inner.next_due_us(without).await
    }

    async fn get(&self, tenant: &TenantId, run: &RunId) -> Result<Option<Run>, StoreError> {
        self.inner.get(tenant, run).await
    }

    async fn list(
        &self,
        tenant: &TenantId,
        filter: &RunFilter,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Run>, StoreError> {
        self.inner.list(tenant, filter, after, limit).await
    }

    async fn counts(&self, tenant: &TenantId) -> Result<Vec<(Progress, u64)>, StoreError> {
        self.inner.counts(tenant).await
    }

    async fn counts_since(
        &self,
        tenant: &TenantId,
        since_us: i64,
    ) -> Result<Vec<(Progress, u64)>, StoreError> {
        self.inner.counts_since(tenant, since_us).await
    }

    async fn count_since(
        &self,
        tenant: &TenantId,
        workflow: &str,
        since_us: i64,
    ) -> Result<u64, StoreError> {
        self.inner.count_since(tenant, workflow, since_us).await
    }

    async fn attempts(&self, tenant: &TenantId, run: &RunId) -> Result<Vec<Attempt>, StoreError> {
        self.inner.attempts(tenant, run).await
    }

    async fn forget_ended(
        &self,
        tenant: &TenantId,
        before_us: i64,
        limit: u32,
    ) -> Result<u64, StoreError> {
        self.inner.forget_ended(tenant, before_us, limit).await
    }
}
