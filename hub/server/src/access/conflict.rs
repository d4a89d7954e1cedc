//! Whether somebody was admitted who should not have been, as the hub knows now.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use stencil_access::receipt::Receipt;
use stencil_payments::Address;
use stencil_protocol::id::TenantId;
use stencil_store::{
    Error, RightStanding, Runs, StoodAs, Store, StoredReceipt, StoredRight, Trigger, Workflows,
};
use stencil_workflow::caused_run_id;
use stencil_workflow::definition::{self, AccessCause, Source};

/// A right, and how it stood when.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) right: StoredRight,
    pub(super) stood: Vec<StoodAs>,
}

/// What a receipt is called whose wallet's answer its gateway has noted before.
pub(super) const NONCE_USED: &str = "nonce_used";

/// Why a holder should not have been admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Conflict {
    pub(super) reason: &'static str,
    /// Since when the right stood so, where that is the reason.
    since_us: Option<i64>,
}

impl Conflict {
    /// The gateway has noted this answer of its holder's wallet for another admission, too: it speaks against
    /// the gateway, or its clock, and not against the holder.
    pub(super) const fn nonce_used() -> Self {
        Self {
            reason: NONCE_USED,
            since_us: None,
        }
    }
}

impl Known {
    /// What is known of a right.
    pub(super) async fn read(
        store: &Store,
        tenant: &TenantId,
        right: &str,
    ) -> Result<Option<Self>, Error> {
        // Before its standings: with others since, what is judged by these is judged again.
        let Some(right) = store.access.right(tenant, right).await? else {
            return Ok(None);
        };
        let stood = store.judging.standings(tenant, &right.right.right).await?;
        Ok(Some(Self { right, stood }))
    }

    /// What the newest standing of a track is that was in force at a time; of any time: the newest.
    fn at(&self, by_cause: bool, at_us: Option<i64>) -> Option<&StoodAs> {
        let mut stood = self.stood.iter().rev();
        stood.find(|it| it.by_cause == by_cause && at_us.is_none_or(|at_us| it.from_us <= at_us))
    }
}

/// Why the holder should not have been admitted; `None`: nothing speaks against it.
///
/// What counts is how the right stood when it was used: one that was taken away later was its holder's
/// then, and one that holds again was not meanwhile. One whose payment has left its chain was never paid
/// for, whenever it was used.
pub(super) fn of(receipt: &Receipt, known: Option<&Known>, tolerance_us: i64) -> Option<Conflict> {
    let because = |reason| Conflict {
        reason,
        since_us: None,
    };
    let Some(known) = known else {
        return Some(because("no_such_right"));
    };
    let right = &known.right.right;
    let holder = Address::from(right.holder).to_checksum(None);
    if holder != receipt.holder {
        return Some(because("other_holder"));
    }
    if right.device != receipt.challenge.device {
        return Some(because("other_device"));
    }
    let now = known.at(true, None);
    if let Some(never) = now.filter(|now| now.standing.is_from_the_start()) {
        return told(never);
    }
    let used_us = receipt.at_us;
    // By the clocks as they are: nobody is accused on the ground that one of them may be wrong.
    let by_cause = known.at(true, Some(used_us)).and_then(told);
    if by_cause.is_some() {
        return by_cause;
    }
    let by_hand = known.at(false, Some(used_us)).and_then(told);
    if by_hand.is_some() {
        return by_hand;
    }
    right
        .until_us
        .is_some_and(|until_us| until_us.saturating_add(tolerance_us) < used_us)
        .then_some(because("over"))
}

/// What a standing speaks against.
fn told(stood: &StoodAs) -> Option<Conflict> {
    let reason = match stood.standing {
        RightStanding::Held | RightStanding::Unknown => return None,
        RightStanding::Suspended => "suspended",
        RightStanding::Revoked => "revoked",
        RightStanding::Sold => "sold",
        RightStanding::TakenBack | RightStanding::GivenUp => "taken_back",
        RightStanding::NotAllowed => "not_allowed",
    };
    Some(Conflict {
        reason,
        since_us: Some(stood.from_us),
    })
}

/// Starts the workflows that want to hear of a conflict, each once.
pub(super) async fn tell(
    ports: (&dyn Workflows, &dyn Runs),
    tenant: &TenantId,
    receipt: &Receipt,
    kept: &StoredReceipt,
    (conflict, known): (Conflict, Option<&Known>),
    now_us: i64,
) -> Result<usize, Error> {
    let changed_us = known.map(|known| known.right.changed_us);
    let changed_us = conflict.since_us.or(changed_us);
    let cause: [u8; 32] = Sha256::new()
        .chain_update(b"stencil access conflict 1\0")
        .chain_update(kept.gateway.as_str())
        .chain_update(b"\0")
        .chain_update(kept.hash)
        .finalize()
        .into();
    let event = json!({
        "tenant": tenant,
        "gateway": kept.gateway,
        "device": receipt.challenge.device,
        "command": receipt.challenge.command,
        "holder": receipt.holder,
        "right": receipt.right,
        "receipt": format!("{}/{}", kept.chain, kept.number),
        // As it can be an entry's key.
        "receipt_key": format!("{}-{}", kept.chain, kept.number),
        "outcome": kept.outcome,
        "reason": conflict.reason,
        "used_us": receipt.at_us,
        "changed_us": changed_us,
        "time_us": kept.received_us,
    });
    let wants = |of: &AccessCause| match of {
        AccessCause::Conflict(devices) => devices.matches(receipt.challenge.device.as_str()),
        AccessCause::NewChain(_) => false,
    };
    start(ports, tenant, wants, (cause, event), now_us).await
}

/// Starts the workflows that want to hear of something, each once for a cause; says how many it has started.
pub(super) async fn start(
    (workflows, runs): (&dyn Workflows, &dyn Runs),
    tenant: &TenantId,
    wants: impl Fn(&AccessCause) -> bool,
    (cause, event): ([u8; 32], Value),
    now_us: i64,
) -> Result<usize, Error> {
    let mut started = 0;
    for (of, workflow) in workflows.active().await? {
        if of != *tenant {
            continue;
        }
        let Ok(definition) = definition::parse(&workflow.yaml) else {
            continue;
        };
        if !matches!(&definition.source, Source::Access(source) if wants(source)) {
            continue;
        }
        let trigger = Trigger {
            run: caused_run_id(tenant, &definition.id, &cause),
            tenant: tenant.clone(),
            workflow: definition.id.clone(),
            version: definition.version,
            event: event.clone(),
            at_us: now_us,
            not_before_us: None,
        };
        started += usize::from(runs.trigger(&trigger).await?);
    }
    Ok(started)
}
