//! A gateway that goes on in another chain of receipts: what it has left behind, and what of that is missing.

use serde_json::json;
use sha2::{Digest as _, Sha256};
use stencil_access::receipt::{Head, Receipt};
use stencil_protocol::id::{GatewayId, TenantId};
use stencil_store::{AccessRights, Error};
use stencil_workflow::definition::AccessCause;

use super::conflict;
use super::keeper::{Keeper, Refused};

/// The last number of a chain that the hub was brought; 0: none.
pub(crate) async fn brought(
    access: &dyn AccessRights,
    tenant: &TenantId,
    gateway: &GatewayId,
    chain: &str,
) -> Result<u64, Error> {
    let last = access.last_receipt(tenant, gateway, chain).await?;
    Ok(last.map_or(0, |(number, _)| number))
}

impl Keeper {
    /// Tells workflows that a gateway has begun another chain, by the first receipt of it, which is not kept
    /// yet: once, however often it comes.
    pub(super) async fn tell_new_chain(
        &self,
        tenant: &TenantId,
        gateway: &GatewayId,
        first: &Receipt,
        hash: [u8; 32],
    ) -> Result<(), Refused> {
        let access = self.store.access.as_ref();
        let before = access.newest_chain(tenant, gateway).await?;
        let before = before.filter(|(chain, _, _)| *chain != first.chain);
        let brought = match (&first.left, before) {
            (Some(left), _) => Some(Head {
                chain: left.chain.clone(),
                number: brought(access, tenant, gateway, &left.chain).await?,
                hash: String::new(),
            }),
            // It can't say which it was, or is of a version that doesn't.
            (None, Some((chain, number, _))) => Some(Head {
                chain,
                number,
                hash: String::new(),
            }),
            // Its first one.
            (None, None) => return Ok(()),
        };
        let missing = first.left.as_ref().zip(brought.as_ref());
        let missing = missing.map(|(left, brought)| left.number.saturating_sub(brought.number));
        tracing::error!(%tenant, %gateway, chain = first.chain, left = ?first.left, missing,
            "a gateway has begun another chain of receipts: what it had not brought of the one before is \
            lost, or it was set back to an older state");
        let cause: [u8; 32] = Sha256::new()
            .chain_update(b"stencil access new chain 1\0")
            .chain_update(gateway.as_str())
            .chain_update(b"\0")
            .chain_update(hash)
            .finalize()
            .into();
        let now_us = self.clock.now_us();
        let event = json!({
            "tenant": tenant,
            "gateway": gateway,
            "chain": first.chain,
            "left": first.left,
            "brought": brought.map(|it| json!({ "chain": it.chain, "number": it.number })),
            "missing": missing,
            "time_us": now_us,
        });
        let wants = |of: &AccessCause| match of {
            AccessCause::NewChain(gateways) => gateways.matches(gateway.as_str()),
            AccessCause::Conflict(_) => false,
        };
        let ports = (self.store.workflows.as_ref(), self.store.runs.as_ref());
        if conflict::start(ports, tenant, wants, (cause, event), now_us).await? > 0 {
            self.wakes.runner();
        }
        Ok(())
    }
}
