//! What becomes of transactions by which tenants say to have sent refunds.

use std::time::Duration;

use stencil_payments::invoice::{Event, Id, Status, refund};
use stencil_payments::port::{Chain, Looked};
use stencil_payments::{Address, B256};
use stencil_protocol::id::TenantId;

use super::Did;
use super::refunds::MAX_WHY;
use crate::chains::about::{Told, Waits};
use crate::chains::cashier::{Cashier, Refused};
use crate::chains::change::Alter;
use crate::chains::refund_told::still_fits;

/// Between two looks at a transaction, of which an endpoint is asked each time.
const LOOK: Duration = Duration::from_secs(10);
/// Until it is looked again on a chain that is not followed.
const REST: Duration = Duration::from_secs(600);
/// For how long a transaction that left its block may be in none before anybody is told, µs: after a reorganisation
/// most are in another block within seconds.
const MISSING_US: i64 = 120 * 1_000_000;
/// Between two looks at one that is in none for longer: it may come into one at any time.
const SELDOM: Duration = Duration::from_secs(60);

/// Looks what became of the so manieth transaction of a refund until that is final.
pub(super) async fn follow(
    cashier: &Cashier,
    tenant: &TenantId,
    invoice: Id,
    (id, number): (refund::Id, u32),
) -> Result<Did, Refused> {
    let Some(at) = cashier.invoice(tenant, invoice).await? else {
        return Ok(Did::Done);
    };
    let refunds = at.kept.invoice.refunds();
    let refund = refunds.iter().find(|refund| refund.id == id);
    let told = at.kept.about.told.get(&id);
    let (Some(refund), Some(told)) = (refund, told) else {
        return Ok(Did::Done);
    };
    // Whoever follows the one that was told since sees to all of it.
    if refund.status() != Status::Sent || told.number != number || told.failed {
        return Ok(Did::Done);
    }
    let methods = &at.kept.invoice.definition().methods;
    let Some(method) = methods.get(usize::from(refund.method)) else {
        return Ok(Did::Done);
    };
    let Some(chain) = cashier.chains().by_id(method.token.asset().chain) else {
        return Ok(Did::UnderWay(REST));
    };
    let tx = told.tx;
    let Ok(looked) = chain.look_up(tx).await else {
        return Ok(Did::UnderWay(LOOK));
    };
    let now_us = cashier.0.clock.now_us();
    let Some(looked) = looked else {
        let Some(since_us) = told.missing_us else {
            return missing(cashier, tenant, invoice, (id, tx), now_us).await;
        };
        if now_us.saturating_sub(since_us) < MISSING_US {
            return Ok(Did::UnderWay(LOOK));
        }
        if is_replaced(cashier, chain.as_ref(), (tenant, invoice, id), told).await? {
            let why = format!(
                "{tx:#x}, which was told as sent, is in no block any more, and another transaction has its nonce"
            );
            return failed(cashier, tenant, invoice, (id, tx), why).await;
        }
        if !refund.stuck {
            is_away(cashier, tenant, invoice, (id, tx), told.by).await?;
        }
        return Ok(Did::UnderWay(SELDOM));
    };
    if told.missing_us.is_some() || told.by.is_none() {
        found(cashier, tenant, invoice, (id, tx), &looked).await?;
    }
    let state = cashier.0.store.chains.chain(chain.name()).await?;
    let finalized = state.as_ref().and_then(|state| state.finalized);
    if finalized.is_none_or(|finalized| looked.outcome.block > finalized.number) {
        return Ok(Did::UnderWay(LOOK));
    }
    if !looked.outcome.succeeded {
        let why = format!("{tx:#x}, which was told as sent, was reverted");
        return failed(cashier, tenant, invoice, (id, tx), why).await;
    }
    if !still_fits(cashier, &at.kept, id, &looked) {
        let why = format!(
            "{tx:#x}, which was told as sent, has sent something else after a reorganisation"
        );
        return failed(cashier, tenant, invoice, (id, tx), why).await;
    }
    let seq = state.map_or(0, |state| state.last_entry);
    let altered = cashier.alter(tenant, invoice, |kept| {
        // Another one may have been told meanwhile.
        let told = kept.about.told.get(&id);
        let events = match told.is_some_and(|told| told.number == number && !told.failed) {
            true => vec![Event::RefundConfirmed { id, seq }],
            false => Vec::new(),
        };
        Ok(events.into())
    });
    altered.await?;
    Ok(Did::Done)
}

/// Whether another transaction has, in a block that is final, the nonce of one that is in no block.
///
/// Where nobody says how accounts were at that block, as nodes of chains whose blocks are final late, it is enough that
/// the nonce is used at each look since a block that is final now.
async fn is_replaced(
    cashier: &Cashier,
    chain: &dyn Chain,
    (tenant, invoice, id): (&TenantId, Id, refund::Id),
    told: &Told,
) -> Result<bool, Refused> {
    let state = cashier.0.store.chains.chain(chain.name()).await?;
    let state = state.and_then(|state| Some((state.finalized?, state.cursor?)));
    let (Some((sender, nonce)), Some((last, newest))) = (told.by, state) else {
        return Ok(false);
    };
    let used_by = match chain.next_nonce(sender, last.number).await {
        Ok(next) if next > nonce => return Ok(true),
        Ok(_) => None,
        Err(_) => match chain.next_nonce(sender, newest.number).await {
            Ok(next) if next > nonce => Some(told.used_by.unwrap_or(newest.number)),
            Ok(_) => None,
            Err(_) => return Ok(false),
        },
    };
    if used_by != told.used_by {
        let note = |told: &mut Told| {
            told.used_by = used_by;
            None
        };
        noted(cashier, tenant, invoice, (id, told.tx), note).await?;
    }
    Ok(used_by.is_some_and(|by| by <= last.number))
}

/// Tells that a transaction is in no block any more. It lies about and may come into one at any time, so that the
/// refund is not due: sent by another transaction it would be sent twice.
async fn is_away(
    cashier: &Cashier,
    tenant: &TenantId,
    invoice: Id,
    (id, tx): (refund::Id, B256),
    by: Option<(Address, u64)>,
) -> Result<(), Refused> {
    let nonce = by.map(|(sender, nonce)| format!(", {nonce} of {}", sender.to_checksum(None)));
    let why = format!(
        "{tx:#x} is in no block any more, and may come into one again: have it sent again, or another one with its \
         nonce{}, and tell of that one",
        nonce.unwrap_or_default()
    );
    tracing::warn!(%tenant, %invoice, refund = %id, why, "a refund is in no block");
    let waits = Waits {
        why: why.chars().take(MAX_WHY).collect(),
        at_us: cashier.0.clock.now_us(),
        limits: None,
    };
    let altered = cashier.alter(tenant, invoice, |kept| {
        let mut about = kept.about.clone();
        if about.told.get(&id).is_none_or(|told| told.tx != tx) {
            return Ok(Vec::new().into());
        }
        if let Some(said) = about.refunds_to.get_mut(&id) {
            said.waits = Some(waits.clone());
        }
        Ok(Alter {
            events: vec![Event::RefundStuck { id, stuck: true }],
            about: Some(about),
            todo: Vec::new(),
        })
    });
    altered.await.map(drop)
}

/// Notes since when a transaction is in no block.
async fn missing(
    cashier: &Cashier,
    tenant: &TenantId,
    invoice: Id,
    which: (refund::Id, B256),
    since_us: i64,
) -> Result<Did, Refused> {
    let note = |told: &mut Told| {
        told.missing_us = Some(since_us);
        None
    };
    noted(cashier, tenant, invoice, which, note).await?;
    Ok(Did::UnderWay(LOOK))
}

/// Notes that a transaction is in a block (again), and who has sent it, which was not kept of those that were told
/// long ago.
async fn found(
    cashier: &Cashier,
    tenant: &TenantId,
    invoice: Id,
    (id, tx): (refund::Id, B256),
    looked: &Looked,
) -> Result<(), Refused> {
    let note = |told: &mut Told| {
        let was_missing = told.missing_us.take().is_some();
        told.used_by = None;
        told.by = Some((looked.sender, looked.nonce));
        was_missing.then_some(Event::RefundStuck { id, stuck: false })
    };
    noted(cashier, tenant, invoice, (id, tx), note).await
}

/// Notes something of a transaction, unless another one was told meanwhile; and what becomes of the invoice by that.
async fn noted(
    cashier: &Cashier,
    tenant: &TenantId,
    invoice: Id,
    (id, tx): (refund::Id, B256),
    note: impl Fn(&mut Told) -> Option<Event> + Send + Sync,
) -> Result<(), Refused> {
    let altered = cashier.alter(tenant, invoice, |kept| {
        let mut about = kept.about.clone();
        let told = about.told.get_mut(&id).filter(|told| told.tx == tx);
        let events = told.and_then(&note).into_iter().collect();
        Ok(Alter {
            events,
            about: Some(about),
            todo: Vec::new(),
        })
    });
    altered.await.map(drop)
}

/// It has not sent the refund, which is due again: the tenant is told so.
async fn failed(
    cashier: &Cashier,
    tenant: &TenantId,
    invoice: Id,
    (id, tx): (refund::Id, B256),
    why: String,
) -> Result<Did, Refused> {
    tracing::warn!(%tenant, %invoice, refund = %id, why, "a refund is due again");
    let waits = Waits {
        why: why.chars().take(MAX_WHY).collect(),
        at_us: cashier.0.clock.now_us(),
        limits: None,
    };
    let altered = cashier.alter(tenant, invoice, |kept| {
        let mut about = kept.about.clone();
        match about.told.get_mut(&id) {
            Some(told) if told.tx == tx && !told.failed => told.failed = true,
            _ => return Ok(Vec::new().into()),
        }
        if let Some(said) = about.refunds_to.get_mut(&id) {
            said.waits = Some(waits.clone());
        }
        let stuck = Event::RefundStuck { id, stuck: true };
        Ok(Alter {
            events: vec![Event::RefundFailed { id }, stuck],
            about: Some(about),
            todo: Vec::new(),
        })
    });
    altered.await?;
    Ok(Did::Done)
}
