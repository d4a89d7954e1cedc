//! Refunds that the hub sends.

use std::time::Duration;

use stencil_payments::Bytes;
use stencil_payments::abi::calls;
use stencil_payments::invoice::{Event, Id, Refund, Status, refund};
use stencil_payments::money::Amount;
use stencil_payments::port::{NotOrdered, Order, Sent};
use stencil_protocol::id::TenantId;

use super::Did;
use crate::chains::cashier::{At, Cashier, Refused};
use crate::chains::view::managed;

/// Between two looks at a transaction.
const LOOK: Duration = Duration::from_secs(3);
/// Until it is tried again after a refusal: a limit is a sliding one.
const REST: Duration = Duration::from_secs(600);
/// The most gas of a transfer.
const GAS: u64 = 150_000;

/// Sends a refund, and looks what became of it until that is final.
pub(super) async fn send(
    cashier: &Cashier,
    tenant: &TenantId,
    invoice: Id,
    id: refund::Id,
) -> Result<Did, Refused> {
    let Some(mut at) = cashier.invoice(tenant, invoice).await? else {
        return Ok(Did::Done);
    };
    let Some(refund) = of(&at, id) else {
        return Ok(Did::Done);
    };
    match refund.status() {
        Status::Confirmed | Status::Withdrawn => return Ok(Did::Done),
        Status::Due | Status::Sent => {}
    }
    let methods = &at.kept.invoice.definition().methods;
    let Some(method) = methods.get(usize::from(refund.method)).cloned() else {
        return Ok(Did::Done);
    };
    // The tenant's own address is not ours to send from: the tenant does.
    if !managed(&method, cashier.chains()) {
        return Ok(Did::Done);
    }
    let asset = method.token.asset();
    let (Some(to), Some(chain)) = (
        at.kept.about.refunds_to.get(&id).map(|to| to.address),
        cashier.chains().by_id(asset.chain),
    ) else {
        return Ok(Did::Done);
    };
    let (amount, failures) = (refund.amount, refund.failures);
    if refund.status() == Status::Due {
        // Kept before anything is signed: from here on its money counts for nothing else.
        at = match cashier
            .apply(tenant, invoice, Event::RefundSent { id, tx: None })
            .await
        {
            Ok(at) => at,
            Err(Refused::Invoice(_)) => return Ok(Did::Done),
            Err(error) => return Err(error),
        };
    }
    // The address can't be another by now, but for one that was said between the two.
    let to = at
        .kept
        .about
        .refunds_to
        .get(&id)
        .map_or(to, |to| to.address);
    stencil_crashpoint::reach("cashier.refund_kept");
    let (receiver, value, data, moves) = match asset.contract {
        None => (to, amount, Bytes::new(), None),
        Some(token) => {
            let data = calls::transfer(to, amount);
            (token, Amount::ZERO, data, Some((token, amount)))
        }
    };
    let order = Order {
        tenant: tenant.clone(),
        key: format!("refund:{id}:{failures}"),
        to: receiver,
        value,
        data,
        gas: GAS,
        moves,
    };
    let sent = match chain.order(&order).await {
        Ok(sent) => sent,
        Err(NotOrdered::Unknown(_)) => return Ok(Did::UnderWay(LOOK)),
        Err(why) => {
            // Nothing will be sent, so its money is there again.
            tracing::warn!(%tenant, %invoice, refund = %id, %why, "a refund is not sent");
            cashier
                .apply(tenant, invoice, Event::RefundFailed { id })
                .await?;
            return Ok(Did::UnderWay(REST));
        }
    };
    stencil_crashpoint::reach("cashier.refund_ordered");
    let event = match sent {
        Sent::Pending => return Ok(Did::UnderWay(LOOK)),
        Sent::Included(outcome) => {
            let tx = Some(outcome.tx);
            cashier
                .apply(tenant, invoice, Event::RefundSent { id, tx })
                .await?;
            return Ok(Did::UnderWay(LOOK));
        }
        Sent::Final(outcome) if outcome.succeeded => {
            let tx = Some(outcome.tx);
            cashier
                .apply(tenant, invoice, Event::RefundSent { id, tx })
                .await?;
            let state = cashier.0.store.chains.chain(chain.name()).await?;
            let seq = state.map_or(0, |state| state.last_entry);
            Event::RefundConfirmed { id, seq }
        }
        Sent::Final(_) | Sent::Lost => Event::RefundFailed { id },
    };
    let failed = matches!(event, Event::RefundFailed { .. });
    cashier.apply(tenant, invoice, event).await?;
    Ok(if failed {
        Did::UnderWay(REST)
    } else {
        Did::Done
    })
}

fn of(at: &At, id: refund::Id) -> Option<&Refund> {
    at.kept.invoice.refunds().iter().find(|one| one.id == id)
}
