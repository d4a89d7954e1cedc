//! Fetches what a record's questions ask for.

use std::time::Duration;

use stencil_access::receipt::Receipt;
use stencil_protocol::id::{CommandId, DeviceId, TenantId};
use stencil_store::{Candidate, Error, MAX_PAGE, Store};
use stencil_workflow::definition;

use super::known::{Known, Questions};
use super::rollouts::Starting;
use crate::ingest::{Activation, Ask};
use crate::policy::Tenants;

/// Asks the store. Tries again, for as long as it takes, what may succeed later: a record must
/// not be applied without its answers, and not be left out either.
pub(super) async fn answers(
    store: &Store,
    tenant: &TenantId,
    device: Option<&DeviceId>,
    questions: Questions,
    retry: Duration,
) -> Known {
    loop {
        match once(store, tenant, device, &questions).await {
            Ok(known) => return known,
            Err(error) => {
                tracing::warn!(%tenant, device = device.map(tracing::field::display), %error,
                    "the store does not answer; trying again");
                tokio::time::sleep(retry).await;
            }
        }
    }
}

async fn once(
    store: &Store,
    tenant: &TenantId,
    device: Option<&DeviceId>,
    questions: &Questions,
) -> Result<Known, Error> {
    let mut known = Known::default();
    for (workflow, version) in &questions.definitions {
        let found = store
            .workflows
            .get(tenant, workflow, Some(*version))
            .await?;
        match found.map(|found| definition::parse(&found.yaml)) {
            Some(Ok(definition)) => known.definitions.push(definition),
            Some(Err(error)) => {
                tracing::error!(%tenant, workflow, version, %error, "stored definition");
            }
            None => {}
        }
    }
    let Some(device) = device else {
        return Ok(known);
    };
    for boot in &questions.boots {
        if let Some(ledger) = store.pipeline.ledger(tenant, device, *boot).await? {
            known.ledgers.push((*boot, ledger));
        }
    }
    for (name, time_us) in &questions.points {
        if store
            .series
            .contains(tenant, device, name, *time_us)
            .await?
        {
            known.points.insert((name.clone(), *time_us));
        }
    }
    if let Some(command) = &questions.command {
        known.command_device = device_of(store, tenant, command).await?;
    }
    Ok(known)
}

/// The device of a command: one of the hub's, or one that a gateway gave to a holder of a right, as its
/// receipt says.
async fn device_of(
    store: &Store,
    tenant: &TenantId,
    command: &CommandId,
) -> Result<Option<DeviceId>, Error> {
    if let Some(command) = store.commands.get(tenant, command).await? {
        return Ok(Some(command.device));
    }
    let kept = store.access.receipt_of(tenant, command).await?;
    let receipt = kept.and_then(|kept| Receipt::parse(&kept.body).ok());
    Ok(receipt.map(|receipt| receipt.challenge.device))
}

/// Whether there is this tenant: what was taken in just before it was erased is nobody's.
pub(super) async fn tenant(tenants: &Tenants, tenant: &TenantId, retry: Duration) -> bool {
    loop {
        match tenants.exists(tenant).await {
            Ok(exists) => return exists,
            Err(error) => {
                tracing::warn!(%tenant, %error, "the store does not answer; trying again");
                tokio::time::sleep(retry).await;
            }
        }
    }
}

/// A roll-out that is to begin, and all devices of its tenant; `None` if it has begun before, or
/// is gone.
pub(super) async fn starting(store: &Store, ask: &Ask, retry: Duration) -> Option<Starting> {
    loop {
        match start(store, ask).await {
            Ok(starting) => return starting,
            Err(error) => {
                let tenant = &ask.tenant;
                tracing::warn!(%tenant, %error, "the store does not answer; trying again");
                tokio::time::sleep(retry).await;
            }
        }
    }
}

async fn start(store: &Store, ask: &Ask) -> Result<Option<Starting>, Error> {
    let rollouts = &store.rollouts;
    let stored = rollouts.get(&ask.tenant, &ask.rollout).await?;
    let Some(stored) = stored.filter(|stored| stored.head.is_none()) else {
        return Ok(None);
    };
    let mut candidates: Vec<Candidate> = Vec::new();
    loop {
        let after = candidates.last().map(|it| it.device.clone());
        let page = rollouts
            .candidates(&ask.tenant, after.as_ref(), MAX_PAGE)
            .await?;
        if page.is_empty() {
            return Ok(Some(Starting { stored, candidates }));
        }
        candidates.extend(page);
    }
}

/// The version that an activation names.
pub(super) async fn definition(
    store: &Store,
    activation: &Activation<'_>,
    retry: Duration,
) -> Known {
    let Some(version) = activation.version else {
        return Known::default();
    };
    let (tenant, workflow) = (&activation.tenant, activation.workflow);
    loop {
        match store.workflows.get(tenant, workflow, Some(version)).await {
            Ok(found) => {
                let definition = found.and_then(|found| match definition::parse(&found.yaml) {
                    Ok(definition) => Some(definition),
                    Err(error) => {
                        tracing::error!(%tenant, workflow, version, %error, "stored definition");
                        None
                    }
                });
                return Known {
                    definition,
                    ..Known::default()
                };
            }
            Err(error) => {
                tracing::warn!(%tenant, workflow, %error, "the store does not answer; trying again");
                tokio::time::sleep(retry).await;
            }
        }
    }
}
