//! Whether somebody was admitted who should not have been, as the hub knows now.

use serde_json::json;
use sha2::{Digest as _, Sha256};
use stencil_access::receipt::Receipt;
use stencil_payments::Address;
use stencil_protocol::id::TenantId;
use stencil_store::{
    CredentialStanding, Error, Runs, StoredReceipt, StoredRight, Trigger, Workflows,
};
use stencil_workflow::caused_run_id;
use stencil_workflow::definition::{self, Source};

/// Why the holder should not have been admitted; `None`: nothing speaks against it.
///
/// A right that was taken away later than it was used is none: its holder had it. One whose payment has
/// left its chain was never paid for, whenever it was used.
pub(super) fn of(
    receipt: &Receipt,
    right: Option<&StoredRight>,
    tolerance_us: i64,
) -> Option<&'static str> {
    let Some(right) = right else {
        return Some("no_such_right");
    };
    let holder = Address::from(right.right.holder).to_checksum(None);
    if holder != receipt.holder {
        return Some("other_holder");
    }
    if right.right.device != receipt.challenge.device {
        return Some("other_device");
    }
    let used_us = receipt.at_us;
    // By the clocks as they are: nobody is accused on the ground that one of them may be wrong.
    let before = right.changed_us <= used_us;
    match right.standing {
        // A token that was sold was its holder's until then; one whose sale was taken back is so again.
        CredentialStanding::Suspended
            if right.taken && right.right.source == super::held::SOURCE =>
        {
            before.then_some("sold")
        }
        CredentialStanding::Suspended if right.taken => Some("taken_back"),
        CredentialStanding::Suspended if before => Some("suspended"),
        CredentialStanding::Revoked if before => Some("revoked"),
        _ if right
            .right
            .until_us
            .is_some_and(|until_us| until_us.saturating_add(tolerance_us) < used_us) =>
        {
            Some("over")
        }
        _ => None,
    }
}

/// Starts the workflows that want to hear of a conflict, each once.
pub(super) async fn tell(
    (workflows, runs): (&dyn Workflows, &dyn Runs),
    tenant: &TenantId,
    receipt: &Receipt,
    kept: &StoredReceipt,
    right: Option<&StoredRight>,
) -> Result<usize, Error> {
    let Some(reason) = &kept.conflict else {
        return Ok(0);
    };
    let mut started = 0;
    for (of, workflow) in workflows.active().await? {
        if of != *tenant {
            continue;
        }
        let Ok(definition) = definition::parse(&workflow.yaml) else {
            continue;
        };
        let Source::Access(source) = &definition.source else {
            continue;
        };
        if !source.devices.matches(receipt.challenge.device.as_str()) {
            continue;
        }
        let cause: [u8; 32] = Sha256::new()
            .chain_update(b"stencil access conflict 1\0")
            .chain_update(kept.gateway.as_str())
            .chain_update(b"\0")
            .chain_update(kept.hash)
            .finalize()
            .into();
        let trigger = Trigger {
            run: caused_run_id(tenant, &definition.id, &cause),
            tenant: tenant.clone(),
            workflow: definition.id.clone(),
            version: definition.version,
            event: json!({
                "tenant": tenant,
                "gateway": kept.gateway,
                "device": receipt.challenge.device,
                "command": receipt.challenge.command,
                "holder": receipt.holder,
                "right": receipt.right,
                "receipt": format!("{}/{}", kept.chain, kept.number),
                "outcome": kept.outcome,
                "reason": reason,
                "used_us": receipt.at_us,
                "changed_us": right.map(|right| right.changed_us),
                "time_us": kept.received_us,
            }),
            at_us: kept.received_us,
            not_before_us: None,
        };
        started += usize::from(runs.trigger(&trigger).await?);
    }
    Ok(started)
}
