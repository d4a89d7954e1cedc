//! The running hub as its HTTP API sees it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use stencil_log::Log;
use stencil_mqtt::Handle;
use stencil_protocol::id::{CommandId, DeviceId, GatewayId, TenantId};
use stencil_protocol::question::{Answer, Asked};
use stencil_protocol::sample::OwnedValue;
use stencil_protocol::topic::Topic;
use stencil_store::{MAX_PAGE, NewCommand, Store};
use stencil_workflow::definition;
use tokio::sync::{Mutex, watch};

use crate::chains::x402::Sales;
use crate::chains::{Cashier, Chains, Triggers};
use crate::clock::Clock;
use crate::desired::Desires;
use crate::grants::Grants;
use crate::health::Health;
use crate::ingest::{Activation, Admission, Ask, Erase, Ingest, Step};
use crate::metrics::Metrics;
use crate::parts::Parts;
use crate::pipeline::Unlogged;
use crate::placing::Placing;
use crate::policy::{Gate, Peer, namespace};
use crate::registry::HubKey;
use crate::rollout::{Images, Rollouts};
use crate::wake::Wakes;
use crate::{Error, Live, NoAnswer, Options, Principal, Readiness, Role, scrape};

/// A handle on a running hub. Cheap to clone.
#[derive(Clone)]
pub struct Hub {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) options: Options,
    pub(crate) store: Store,
    pub(crate) grants: Grants,
    pub(crate) key: HubKey,
    pub(crate) wakes: Wakes,
    pub(crate) log: Log,
    pub(crate) ingest: Ingest,
    pub(crate) endpoint: Handle<Peer>,
    pub(crate) runner: stencil_workflow::Handle,
    pub(crate) clock: Clock,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) live: Live,
    pub(crate) health: Arc<Health>,
    pub(crate) applied: watch::Receiver<u64>,
    /// One change of a workflow at a time: its place in the store's versions and its place in the
    /// log must be in the same order.
    pub(crate) workflow_changes: Arc<Mutex<()>>,
    /// Who waits for what is asked of roll-outs.
    pub(crate) rollouts: Rollouts,
    pub(crate) placing: Placing,
    /// Which gateways are told of rights.
    pub(crate) telling: crate::access::Telling,
    /// Payloads of images.
    pub(crate) images: Images,
    /// Who names to gateways what they shall be like.
    pub(crate) desires: Desires,
    /// Which gateways are let in.
    pub(crate) gate: Gate,
    /// The chains that the hub follows and acts on.
    pub(crate) chains: Chains,
    /// Who makes and changes invoices.
    pub(crate) cashier: Cashier,
    /// Workflows that are caused by what is on them.
    pub(crate) triggers: Triggers,
    /// What tenants sell for single payments; `None`: the hub follows no chain.
    pub(crate) sales: Option<Sales>,
}

/// What [`Hub::put_workflow`] did.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct WorkflowPut {
    /// The workflow.
    pub id: String,
    /// Its version.
    pub version: u32,
    /// Whether the version is new; `false`: exactly this text was there before.
    pub created: bool,
    /// The log position from which on it is in force.
    pub in_force_from: u64,
    /// What its author should look at again.
    pub warnings: Vec<String>,
}

impl Hub {
    /// All ports of the store. Commands that are queued through it leave at once.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// The settings.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.inner.options
    }

    /// The hub's time, µs since the Unix epoch.
    #[must_use]
    pub fn now_us(&self) -> i64 {
        self.inner.clock.now_us()
    }

    /// What happens right now.
    #[must_use]
    pub fn live(&self) -> &Live {
        &self.inner.live
    }

    /// The counters.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// Whether the hub does its work.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        let mut readiness = self.inner.health.readiness(&self.inner.log);
        // A chain that is silent is told, and makes the hub no less ready: it does all else.
        readiness.checks.extend(self.inner.cashier.chains_check());
        readiness
    }

    /// All counters and gauges in Prometheus' text form (0.0.4).
    #[must_use]
    pub fn metrics_text(&self) -> String {
        let mut text = String::with_capacity(8 * 1024);
        self.inner.metrics.render(&mut text);
        scrape::mqtt(&self.inner.endpoint.metrics(), &mut text);
        scrape::cashier(&self.inner.cashier, &mut text);
        scrape::log(&self.inner.log, &mut text);
        scrape::runner(&self.inner.runner.metrics(), &mut text);
        text
    }

    /// The log position up to which everything is applied and committed.
    #[must_use]
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.inner.applied.clone()
    }

    /// Returns when all that was taken into the log before this call is applied and can be read.
    ///
    /// # Errors
    /// [`Error::Stopped`] when the hub ends before that.
    pub async fn caught_up(&self) -> Result<(), Error> {
        let end = self.inner.log.end().0;
        let mut applied = self.applied();
        let waited = applied.wait_for(|applied| *applied >= end).await;
        waited.map_err(|_| Error::Stopped("pipeline", "the hub has ended".to_owned()))?;
        Ok(())
    }

    /// Keeps a workflow version and puts it in force: what is logged after this is judged by it,
    /// what was logged before by what ruled then. Runs stay with the version that started them.
    ///
    /// # Errors
    /// [`Error::Definition`] says where the text is wrong; [`Error::Store`] with a conflict when
    /// the version exists with another text or is lower than the newest;
    /// [`Error::TooManyWorkflows`]; [`Error::Log`] when the log takes nothing now: the version is
    /// kept but not in force, put it again.
    pub async fn put_workflow(&self, tenant: &TenantId, yaml: &str) -> Result<WorkflowPut, Error> {
        let inner = &self.inner;
        let definition = definition::parse(yaml)?;
        let watched = inner.triggers.check(&definition)?;
        let (id, version) = (definition.id.as_str(), definition.version);
        let _one_at_a_time = inner.workflow_changes.lock().await;
        let max = inner.options.workflow.max_active;
        let active = inner.store.workflows.active().await?;
        let others = active
            .iter()
            .filter(|(of, held)| of == tenant && held.id != id)
            .count();
        if others >= max {
            return Err(Error::TooManyWorkflows { max });
        }
        if let Some(watched) = &watched {
            inner.triggers.watch(tenant, watched).await?;
        }
        let created = inner
            .store
            .workflows
            .put(tenant, id, version, yaml, inner.clock.now_us())
            .await?;
        if !created {
            inner
                .store
                .workflows
                .activate(tenant, id, Some(version), inner.clock.now_us())
                .await?;
        }
        let in_force_from = self.in_force(tenant, id, Some(version)).await?;
        Ok(WorkflowPut {
            id: id.to_owned(),
            version,
            created,
            in_force_from,
            warnings: definition.warnings(),
        })
    }

    /// Puts a kept version in force, or takes the workflow out of force (`None`). Returns the log
    /// position from which on that holds.
    ///
    /// # Errors
    /// [`Error::Store`] when there is no such workflow or version; [`Error::Log`] as for
    /// [`Hub::put_workflow`].
    pub async fn activate_workflow(
        &self,
        tenant: &TenantId,
        id: &str,
        version: Option<u32>,
    ) -> Result<u64, Error> {
        let _one_at_a_time = self.inner.workflow_changes.lock().await;
        self.inner
            .store
            .workflows
            .activate(tenant, id, version, self.inner.clock.now_us())
            .await?;
        self.in_force(tenant, id, version).await
    }

    /// Logs changes of workflows that were kept before a kill but not logged. Until that is done
    /// no other change is made: it would come out of order.
    pub(crate) async fn log_changes(&self, unlogged: Vec<Unlogged>, parts: &mut Parts) {
        if unlogged.is_empty() {
            return;
        }
        let hub = self.clone();
        let turn = Arc::clone(&self.inner.workflow_changes).lock_owned().await;
        parts.detached(async move {
            for (tenant, workflow, version) in unlogged {
                tracing::info!(%tenant, workflow, version, "a change of a workflow is logged now");
                while let Err(error) = hub.in_force(&tenant, &workflow, version).await {
                    tracing::warn!(%tenant, workflow, %error, "a workflow is not in force yet");
                    tokio::time::sleep(Duration::from_millis(hub.inner.options.pipeline.retry_ms))
                        .await;
                }
            }
            drop(turn);
        });
    }

    async fn in_force(
        &self,
        tenant: &TenantId,
        id: &str,
        version: Option<u32>,
    ) -> Result<u64, Error> {
        let activation = Activation {
            tenant: tenant.clone(),
            workflow: id,
            version,
        };
        let position = self.inner.ingest.activate(activation).await?.0;
        self.inner.placing.changed(tenant);
        self.inner.triggers.changed().await;
        Ok(position)
    }

    /// What is wrong with a definition that only the running hub can know: a chain that it does not
    /// follow, a signature that the chain cannot read.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn check_workflow(
        &self,
        definition: &stencil_workflow::Definition,
    ) -> Result<(), definition::Error> {
        self.inner.triggers.check(definition).map(drop)
    }

    /// Erases all that is kept of a device, as of the returned log position; when this returns it is
    /// gone, except for what [`stencil_store::Erased::Device`] says stays. What the device sends
    /// from then on makes it a new one, but for numbers that it had given before.
    ///
    /// # Errors
    /// [`Error::Log`]: the log takes nothing now, and nothing was erased. [`Error::Stopped`]: the
    /// hub ends; it is erased at the next start.
    pub async fn erase_device(&self, tenant: &TenantId, device: &DeviceId) -> Result<u64, Error> {
        self.erase(tenant, Some(device)).await
    }

    /// Erases all of a tenant and the tenant itself, as of the returned log position. Its
    /// connections are ended; nobody can sign in or connect for it any more.
    ///
    /// # Errors
    /// As for [`Hub::erase_device`].
    pub async fn erase_tenant(&self, tenant: &TenantId) -> Result<u64, Error> {
        let position = self.erase(tenant, None).await?;
        self.inner.cashier.tenant_gone(tenant);
        self.inner.triggers.changed().await;
        self.inner.images.sweep(&self.inner.store).await;
        Ok(position)
    }

    async fn erase(&self, tenant: &TenantId, device: Option<&DeviceId>) -> Result<u64, Error> {
        let erase = Erase {
            tenant: tenant.clone(),
            device: device.cloned(),
        };
        let position = self.inner.ingest.erase(erase).await?.0;
        let mut applied = self.applied();
        let waited = applied.wait_for(|applied| *applied >= position).await;
        waited.map_err(|_| Error::Stopped("pipeline", "the hub has ended".to_owned()))?;
        Ok(position)
    }

    /// Has the pipeline refuse a device that the store has revoked, or take it again. When this
    /// returns nothing more of it is taken, and sessions of its own have ended.
    ///
    /// # Errors
    /// [`Error::Log`]: the log takes nothing now; it is tried again by itself.
    /// [`Error::Stopped`]: the hub ends; it is done at the next start.
    pub async fn admit_device(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        refused: bool,
    ) -> Result<(), Error> {
        self.keys_changed();
        let admission = Admission {
            tenant: tenant.clone(),
            device: device.clone(),
            refused,
        };
        let position = self.inner.ingest.admit(admission).await?.0;
        let mut applied = self.applied();
        let waited = applied.wait_for(|applied| *applied >= position).await;
        waited.map_err(|_| Error::Stopped("pipeline", "the hub has ended".to_owned()))?;
        Ok(())
    }

    /// Gives gateways at once what the store says that they shall hold of devices' keys.
    pub fn keys_changed(&self) {
        self.inner.wakes.keys();
    }

    /// Tells the gateways of a tenant what is wanted once more: they then ask who signs images now.
    ///
    /// # Errors
    /// [`Error::Store`]: they ask when they next connect.
    pub async fn trust_followed(&self, tenant: &TenantId) -> Result<(), Error> {
        let inner = &self.inner;
        let gateways = inner.store.registry.registered_gateways(tenant).await?;
        for it in gateways {
            inner.rollouts.wanted(tenant, &it.gateway);
        }
        Ok(())
    }

    /// Tells gateways at once what the store says that they shall be like.
    pub fn desired_changed(&self) {
        self.inner.desires.changed();
    }

    /// Says that gateways of a tenant are in other groups: what is desired of them, and which rules
    /// are placed at them, may be something else.
    pub fn groups_changed(&self, tenant: &TenantId) {
        self.desired_changed();
        self.inner.placing.changed(tenant);
    }

    /// Whether a gateway is connected now.
    #[must_use]
    pub fn is_connected(&self, tenant: &TenantId, gateway: &GatewayId) -> bool {
        let principal = Principal {
            tenant: tenant.clone(),
            role: Role::Gateway(gateway.clone()),
        };
        let topic = Topic::GatewayCommand(gateway.clone()).to_string();
        let listeners = self
            .inner
            .endpoint
            .listeners(&namespace(&principal), &topic);
        listeners > 0
    }

    /// Revokes a gateway: its certificates let nobody in any more, and whoever is connected with one is
    /// cut off. `false`: it was revoked before.
    ///
    /// # Errors
    /// [`Error::Store`]: the tenant has no such gateway; or it cannot be written down now, and the
    /// gateway is let in as before.
    pub async fn revoke_gateway(
        &self,
        tenant: &TenantId,
        gateway: &GatewayId,
    ) -> Result<bool, Error> {
        let inner = &self.inner;
        let certificates = &inner.store.certificates;
        let now_us = inner.clock.now_us();
        let ended = certificates.revoke_gateway(tenant, gateway, now_us).await?;
        let is_news = ended.is_some();
        inner
            .gate
            .revoked(tenant, gateway, ended.unwrap_or_default());
        let principal = Principal {
            tenant: tenant.clone(),
            role: Role::Gateway(gateway.clone()),
        };
        inner.endpoint.disconnect_namespace(&namespace(&principal));
        Ok(is_news)
    }

    /// Asks a gateway something, and waits for its answer, for less than half a minute.
    ///
    /// # Errors
    /// [`NoAnswer`] says why there is none.
    pub async fn ask_gateway(
        &self,
        tenant: &TenantId,
        gateway: &GatewayId,
        what: Asked,
    ) -> Result<Answer, NoAnswer> {
        let inner = &self.inner;
        let asking = inner.ingest.asking();
        asking.ask(&inner.endpoint, tenant, gateway, what).await
    }

    /// Asks for a roll-out and begins it. Returns its id when it has begun.
    ///
    /// # Errors
    /// [`Error::Plan`] names what makes no sense; [`Error::Store`] with a conflict when there is no
    /// such image; [`Error::Log`]: the log takes nothing
    /// now, and it begins at the next start.
    pub async fn start_rollout(
        &self,
        tenant: &TenantId,
        plan: &stencil_rollout::Plan,
    ) -> Result<stencil_rollout::Id, Error> {
        plan.check()?;
        let inner = &self.inner;
        let id = random_command().0;
        let under_way = inner.store.rollouts.open().await?;
        let others = under_way
            .iter()
            .filter(|(of, other, _)| of == tenant && other.id != id);
        if others.count() >= stencil_rollout::MAX_RUNNING {
            return Err(stencil_rollout::Error::TooMany.into());
        }
        let text = serde_json::json!(plan).to_string();
        let (image, now_us) = (plan.image.digest.0, inner.clock.now_us());
        let rollouts = &inner.store.rollouts;
        rollouts.create(tenant, &id, &image, &text, now_us).await?;
        let linked = self.linked_gateways(tenant).await?;
        self.ask_rollout(tenant, id, Step::Start(linked)).await?;
        Ok(stencil_rollout::Id(id))
    }

    /// Has a roll-out pause, go on, try again, or end. Returns when that is so.
    pub(crate) async fn ask_rollout(
        &self,
        tenant: &TenantId,
        rollout: [u8; 16],
        what: Step,
    ) -> Result<(), Error> {
        let inner = &self.inner;
        let question = random_command().0;
        let answer = inner.rollouts.expect(question);
        let ask = Ask {
            tenant: tenant.clone(),
            rollout,
            what,
            question,
        };
        inner.ingest.ask(ask).await?;
        let answered = answer.await;
        answered.map_err(|_| Error::Stopped("pipeline", "the hub has ended".to_owned()))??;
        Ok(())
    }

    /// The tenant's gateways that are connected now.
    async fn linked_gateways(&self, tenant: &TenantId) -> Result<Vec<GatewayId>, Error> {
        let inner = &self.inner;
        let (mut seen, mut linked, mut after) = (BTreeSet::new(), Vec::new(), None);
        loop {
            let rollouts = &inner.store.rollouts;
            let page = rollouts
                .candidates(tenant, after.as_ref(), MAX_PAGE)
                .await?;
            let Some(last) = page.last() else {
                return Ok(linked);
            };
            after = Some(last.device.clone());
            for gateway in page.into_iter().filter_map(|candidate| candidate.gateway) {
                if !seen.insert(gateway.clone()) {
                    continue;
                }
                let principal = Principal {
                    tenant: tenant.clone(),
                    role: Role::Gateway(gateway.clone()),
                };
                let topic = Topic::GatewayCommand(gateway.clone()).to_string();
                let space = namespace(&principal);
                if inner.endpoint.listeners(&space, &topic) > 0 {
                    linked.push(gateway);
                }
            }
        }
    }

    /// Begins what was asked for before a kill and not logged.
    pub(crate) fn begin_rollouts(&self, unasked: Vec<(TenantId, [u8; 16])>, parts: &mut Parts) {
        if unasked.is_empty() {
            return;
        }
        let hub = self.clone();
        parts.detached(async move {
            for (tenant, rollout) in unasked {
                let step = || Step::Start(Vec::new());
                while let Err(error) = hub.ask_rollout(&tenant, rollout, step()).await {
                    if matches!(error, Error::Rollout(_)) {
                        break;
                    }
                    tracing::warn!(%tenant, %error, "a roll-out has not begun yet");
                    tokio::time::sleep(Duration::from_millis(hub.inner.options.pipeline.retry_ms))
                        .await;
                }
            }
        });
    }

    /// Queues a command for a device; it leaves at once if its gateway listens. With a `key` the
    /// same call again is the same command.
    ///
    /// # Errors
    /// [`Error::Store`]: with a conflict when the key was used for another command.
    pub async fn queue_command(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        name: &str,
        argument: Option<OwnedValue>,
        expires_us: i64,
        key: Option<&str>,
    ) -> Result<CommandId, Error> {
        let id = command_id(tenant, key);
        let command = NewCommand {
            id,
            tenant: tenant.clone(),
            device: device.clone(),
            name: name.to_owned(),
            argument,
            expires_us,
            effect_key: None,
        };
        self.inner
            .store
            .commands
            .queue(&command, self.inner.clock.now_us())
            .await?;
        Ok(id)
    }
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").finish_non_exhaustive()
    }
}

/// The id of a command that the caller has a key for, or that is one of its own.
pub(crate) fn command_id(tenant: &TenantId, key: Option<&str>) -> CommandId {
    match key {
        Some(key) => keyed_command(tenant, key),
        None => random_command(),
    }
}

fn keyed_command(tenant: &TenantId, key: &str) -> CommandId {
    let mut hash = Sha256::new();
    hash.update(b"stencil api command\0");
    hash.update(tenant.as_str().as_bytes());
    hash.update(b"\0");
    hash.update(key.as_bytes());
    first_half(&hash.finalize())
}

fn random_command() -> CommandId {
    use rand_core::Rng;
    let mut id = [0; 16];
    stencil_crypto::rng::Os.fill_bytes(&mut id);
    CommandId(id)
}

fn first_half(hash: &[u8]) -> CommandId {
    let mut id = [0; 16];
    id.iter_mut().zip(hash).for_each(|(to, from)| *to = *from);
    CommandId(id)
}
