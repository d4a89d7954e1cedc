//! Refunds that the hub sends.

use std::time::Duration;

use stencil_payments::Bytes;
use stencil_payments::abi::calls;
use stencil_payments::invoice::{Event, Id, Refund, Status, refund};
use stencil_payments::money::Amount;
use stencil_payments::port::{Chain, NotOrdered, Order, Sent};
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
    let status = refund.status();
    if matches!(status, Status::Confirmed | Status::Withdrawn) {
        return Ok(Did::Done);
    }
    let methods = &at.kept.invoice.definition().methods;
    let Some(method) = methods.get(usize::from(refund.method)).cloned() else {
        return Ok(Did::Done);
    };
    let asset = method.token.asset();
    let Some(to) = at.kept.about.refunds_to.get(&id).map(|to| to.address) else {
        return Ok(Did::Done);
    };
    let Some(chain) = cashier.chains().by_id(asset.chain) else {
        // It may be on its way all the same, and the chain be followed again.
        return Ok(match status {
            Status::Sent => Did::UnderWay(REST),
            _ => Did::Done,
        });
    };
    let key = format!("refund:{id}:{}", refund.failures);
    // What was ordered stands, whatever account, fees and addresses are set today.
    let ordered = match status {
        Status::Sent => match chain.sent(tenant, &key).await {
            Ok(ordered) => ordered,
            Err(_) => return Ok(Did::UnderWay(LOOK)),
        },
        _ => None,
    };
    if let Some(sent) = ordered {
        return stands(cashier, chain.as_ref(), tenant, invoice, id, sent).await;
    }
    // The tenant's own address is not ours to send from: the tenant does.
    if !managed(&method, cashier.chains()) {
        return Ok(Did::Done);
    }
    let amount = refund.amount;
    if status == Status::Due {
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
        key,
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
    stands(cashier, chain.as_ref(), tenant, invoice, id, sent).await
}

/// Keeps what became of a refund that was ordered.
async fn stands(
    cashier: &Cashier,
    chain: &dyn Chain,
    tenant: &TenantId,
    invoice: Id,
    id: refund::Id,
    sent: Sent,
) -> Result<Did, Refused> {
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
