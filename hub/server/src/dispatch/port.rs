//! The store's commands, with a word to the dispatcher and to who watches when one is queued.

use std::sync::Arc;

use async_trait::async_trait;
use stencil_protocol::command::State;
use stencil_protocol::id::{CommandId, DeviceId, GatewayId, TenantId};
use stencil_store::{
    AfterCommand, ByToken, CommandStatus, Commands, Error, Marked, NewAudit, NewCommand,
    Outstanding, Page, PayerKey, Queued, RanOut, StoredCommand,
};

use crate::wake::Wakes;
use crate::{Live, LiveEvent};

/// A [`Commands`] port that wakes the dispatcher, so that a command leaves at once, and shows it,
/// whoever queued it: a workflow or the API.
pub(crate) struct WakingCommands {
    inner: Arc<dyn Commands>,
    wakes: Wakes,
    live: Live,
}

impl WakingCommands {
    pub(crate) fn new(inner: Arc<dyn Commands>, wakes: Wakes, live: Live) -> Self {
        Self { inner, wakes, live }
    }

    fn shown(&self, command: &NewCommand, is_new: bool, now_us: i64) {
        if is_new {
            let event = LiveEvent::Command {
                command: command.id,
                state: State::Queued,
                at_us: now_us,
            };
            self.live.send(&command.tenant, event);
        }
        self.wakes.dispatcher();
    }
}

#[async_trait]
impl Commands for WakingCommands {
    async fn queue(&self, command: &NewCommand, now_us: i64) -> Result<bool, Error> {
        let queued = self.inner.queue(command, now_us).await?;
        self.shown(command, queued, now_us);
        Ok(queued)
    }

    async fn queue_held(
        &self,
        command: &NewCommand,
        by: &ByToken,
        entry: &NewAudit,
        keep: u32,
        now_us: i64,
    ) -> Result<Queued, Error> {
        let queued = self
            .inner
            .queue_held(command, by, entry, keep, now_us)
            .await?;
        self.shown(command, queued == Queued::New, now_us);
        Ok(queued)
    }

    async fn outstanding(
        &self,
        tenant: &TenantId,
        gateway: &GatewayId,
        now_us: i64,
        after: Option<AfterCommand>,
        limit: u32,
    ) -> Result<Vec<StoredCommand>, Error> {
        let inner = &self.inner;
        inner
            .outstanding(tenant, gateway, now_us, after, limit)
            .await
    }

    async fn queued(
        &self,
        now_us: i64,
        after: Option<AfterCommand>,
        limit: u32,
    ) -> Result<Vec<Outstanding>, Error> {
        self.inner.queued(now_us, after, limit).await
    }

    async fn mark_sent(
        &self,
        tenant: &TenantId,
        command: &CommandId,
        gateway: &GatewayId,
        now_us: i64,
    ) -> Result<Marked, Error> {
        let inner = &self.inner;
        inner.mark_sent(tenant, command, gateway, now_us).await
    }

    async fn status(&self, status: &CommandStatus) -> Result<bool, Error> {
        let changed = self.inner.status(status).await?;
        self.wakes.runner();
        Ok(changed)
    }

    async fn expire(&self, now_us: i64, limit: u32) -> Result<Vec<RanOut>, Error> {
        let expired = self.inner.expire(now_us, limit).await?;
        if !expired.is_empty() {
            self.wakes.runner();
        }
        Ok(expired)
    }

    async fn get(
        &self,
        tenant: &TenantId,
        command: &CommandId,
    ) -> Result<Option<StoredCommand>, Error> {
        self.inner.get(tenant, command).await
    }

    async fn held_command(
        &self,
        tenant: &TenantId,
        account: &PayerKey,
        command: &CommandId,
    ) -> Result<Option<StoredCommand>, Error> {
        self.inner.held_command(tenant, account, command).await
    }

    async fn list(
        &self,
        tenant: &TenantId,
        device: Option<&DeviceId>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<StoredCommand>, Error> {
        self.inner.list(tenant, device, after, limit).await
    }
}
