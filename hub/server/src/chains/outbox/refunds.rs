//! Refunds that the hub sends.

use std::collections::BTreeSet;
use std::time::Duration;

use stencil_payments::abi::calls;
use stencil_payments::cause::Key;
use stencil_payments::invoice::{Event, Id, Refund, Status, refund};
use stencil_payments::money::{Amount, Asset};
use stencil_payments::port::{Called, Chain, NotOrdered, Order, Sent};
use stencil_payments::{Address, Bytes};
use stencil_protocol::id::TenantId;
use stencil_store::SentBecause;

use super::Did;
use crate::chains::about::{Kept, Waits};
use crate::chains::cashier::{At, Cashier, Refused};
use crate::chains::change::Alter;
use crate::chains::view::managed;

/// Between two looks at a transaction.
const LOOK: Duration = Duration::from_secs(3);
/// Until it is tried again after a refusal: a limit is a sliding one.
const REST: Duration = Duration::from_secs(600);
const REST_US: i64 = 600 * 1_000_000;
/// Between two looks whether a limit was changed that leaves no room.
const LIMITS: Duration = Duration::from_secs(30);
/// The longest reason that is kept, in characters.
pub(super) const MAX_WHY: usize = 256;
/// The most gas of a transfer.
const GAS: u64 = 150_000;

/// Sends a refund to the so manieth of its addresses, and looks what became of it until that is final.
pub(super) async fn send(
    cashier: &Cashier,
    tenant: &TenantId,
    invoice: Id,
    (id, number): (refund::Id, u32),
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
    // The tenant has sent it, and that is followed by itself.
    let told = at.kept.about.told.get(&id);
    if told.is_some_and(|told| !told.failed) {
        return Ok(Did::Done);
    }
    let methods = &at.kept.invoice.definition().methods;
    let Some(method) = methods.get(usize::from(refund.method)).cloned() else {
        return Ok(Did::Done);
    };
    let asset = method.token.asset();
    let Some(said) = at.kept.about.refunds_to.get(&id) else {
        return Ok(Did::Done);
    };
    // Another address was said since, and whoever sends to that one sees to all of it.
    if said.number != number {
        return Ok(Did::Done);
    }
    let (to, is_worn_out) = (said.address, said.is_worn_out(refund.failures));
    let waits = said.waits.clone();
    let Some(chain) = cashier.chains().by_id(asset.chain) else {
        // The chain may be followed again. What was sent may be on its way all the same.
        if status == Status::Due {
            let why = format!(
                "the hub's settings do not name its chain any more (chain id {})",
                asset.chain
            );
            waits_for(cashier, tenant, invoice, id, (why, None)).await?;
        }
        return Ok(Did::UnderWay(REST));
    };
    let key = key(refund);
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
        if status == Status::Sent {
            // It was the hub's when it was kept as sent, and nothing was ordered.
            not_sent(cashier, tenant, invoice, id).await?;
        }
        return Ok(Did::Done);
    }
    // Somebody has to say where it goes: this one is told then.
    if is_worn_out {
        not_sent(cashier, tenant, invoice, id).await?;
        return Ok(Did::Done);
    }
    let limits = limits(cashier, chain.as_ref(), tenant).await?;
    if let Some(waits) = waits
        && waits.limits == Some(limits)
        && cashier.0.clock.now_us() < waits.at_us.saturating_add(REST_US)
    {
        // The limit that left it no room is as it was.
        return Ok(Did::UnderWay(LIMITS));
    }
    let mut order = order_of(tenant, key, &asset, to, refund.amount);
    match chain.tried(&order).await {
        Err(_) => return Ok(Did::UnderWay(LOOK)),
        Ok(called) => {
            if let Some(why) = fails(&order, &called) {
                tracing::warn!(%tenant, %invoice, refund = %id, why, "a refund can't be sent");
                let why = format!("it would fail: {why}");
                waits_for(cashier, tenant, invoice, id, (why, None)).await?;
                return Ok(Did::UnderWay(REST));
            }
        }
    }
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
    stencil_crashpoint::reach("cashier.refund_kept");
    // The address can't be another by now, but for one that was said between the two.
    if let (Some(refund), Some(said)) = (of(&at, id), at.kept.about.refunds_to.get(&id)) {
        order = order_of(tenant, order.key, &asset, said.address, refund.amount);
    }
    note_causes(cashier, tenant, &at, &order.key).await?;
    let sent = match chain.order(&order).await {
        Ok(sent) => sent,
        Err(NotOrdered::Unknown(_)) => return Ok(Did::UnderWay(LOOK)),
        Err(why) => {
            // Nothing will be sent, so its money is there again. That is no failure of the address.
            tracing::warn!(%tenant, %invoice, refund = %id, %why, "a refund is not sent");
            let why = (why.to_string(), Some(limits));
            waits_for(cashier, tenant, invoice, id, why).await?;
            return Ok(Did::UnderWay(LIMITS));
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
    match sent {
        Sent::Pending => Ok(Did::UnderWay(LOOK)),
        Sent::Included(outcome) => {
            let tx = Some(outcome.tx);
            cashier
                .apply(tenant, invoice, Event::RefundSent { id, tx })
                .await?;
            Ok(Did::UnderWay(LOOK))
        }
        Sent::Final(outcome) if outcome.succeeded => {
            let tx = Some(outcome.tx);
            cashier
                .apply(tenant, invoice, Event::RefundSent { id, tx })
                .await?;
            let state = cashier.0.store.chains.chain(chain.name()).await?;
            let seq = state.map_or(0, |state| state.last_entry);
            cashier
                .apply(tenant, invoice, Event::RefundConfirmed { id, seq })
                .await?;
            Ok(Did::Done)
        }
        Sent::Final(_) | Sent::Lost => failed(cashier, tenant, invoice, id).await,
    }
}

/// Notes which runs have led to a refund, where one has sent what is given back: what comes of it counts as theirs.
async fn note_causes(
    cashier: &Cashier,
    tenant: &TenantId,
    at: &At,
    key: &str,
) -> Result<(), Refused> {
    let caused = &cashier.0.store.caused;
    let mut led = Vec::new();
    for (payment, _) in at.kept.invoice.payments() {
        let Some(chain) = cashier.chains().by_id(payment.chain) else {
            continue;
        };
        let causes = caused.causes_of(chain.name(), &payment.tx.0).await?;
        if causes.len() > led.len() {
            led = causes;
        }
    }
    if !led.is_empty() {
        let because = SentBecause::Runs(&led);
        caused.will_send(tenant, key, because).await?;
    }
    Ok(())
}

/// It has failed: sent again, or left to somebody where it has gone in vain often enough.
async fn failed(
    cashier: &Cashier,
    tenant: &TenantId,
    invoice: Id,
    id: refund::Id,
) -> Result<Did, Refused> {
    let is_over = |at: &Kept| {
        let refund = at.invoice.refunds().iter().find(|one| one.id == id);
        let said = at.about.refunds_to.get(&id);
        refund.zip(said).is_some_and(|(refund, said)| {
            refund.status() == Status::Sent && said.is_worn_out(refund.failures.saturating_add(1))
        })
    };
    let altered = cashier.alter(tenant, invoice, |kept| {
        let mut events = vec![Event::RefundFailed { id }];
        if is_over(kept) {
            events.push(Event::RefundStuck { id, stuck: true });
        }
        Ok(events.into())
    });
    let at = altered.await?;
    let is_over = of(&at, id)
        .zip(at.kept.about.refunds_to.get(&id))
        .is_some_and(|(refund, said)| said.is_worn_out(refund.failures));
    Ok(if is_over {
        Did::Done
    } else {
        Did::UnderWay(REST)
    })
}

/// It can't be sent as things stand, and its money is there again.
async fn not_sent(
    cashier: &Cashier,
    tenant: &TenantId,
    invoice: Id,
    id: refund::Id,
) -> Result<(), Refused> {
    let altered = cashier.alter(tenant, invoice, |_| {
        let stuck = Event::RefundStuck { id, stuck: true };
        Ok(vec![Event::RefundNotSent { id }, stuck].into())
    });
    altered.await.map(drop)
}

/// It can't be sent for a reason that the tenant is told, and its money is there again.
async fn waits_for(
    cashier: &Cashier,
    tenant: &TenantId,
    invoice: Id,
    id: refund::Id,
    (why, limits): (String, Option<Key>),
) -> Result<(), Refused> {
    let clean = why.chars().filter(|c| !c.is_control());
    let waits = Waits {
        why: clean.take(MAX_WHY).collect(),
        at_us: cashier.0.clock.now_us(),
        limits,
    };
    let altered = cashier.alter(tenant, invoice, |kept| {
        let stuck = Event::RefundStuck { id, stuck: true };
        let mut about = kept.about.clone();
        if let Some(said) = about.refunds_to.get_mut(&id) {
            said.waits = Some(waits.clone());
        }
        Ok(Alter {
            events: vec![Event::RefundNotSent { id }, stuck],
            about: Some(about),
            todo: Vec::new(),
        })
    });
    altered.await.map(drop)
}

/// Names what the tenant may spend on a chain.
async fn limits(cashier: &Cashier, chain: &dyn Chain, tenant: &TenantId) -> Result<Key, Refused> {
    let limits = cashier.0.store.sends.spend_limits(tenant.as_str()).await?;
    let limits = limits.iter().filter(|limit| limit.chain == chain.name());
    let limits: BTreeSet<String> = limits
        .map(|limit| format!("{:?} {} {:?}", limit.asset, limit.window_s, limit.most))
        .collect();
    let parts: Vec<&[u8]> = limits.iter().map(String::as_bytes).collect();
    Ok(Key::of("stencil/hub/spend-limits", &parts))
}

fn order_of(tenant: &TenantId, key: String, asset: &Asset, to: Address, amount: Amount) -> Order {
    let (receiver, value, data, moves) = match asset.contract {
        None => (to, amount, Bytes::new(), None),
        Some(token) => {
            let data = calls::transfer(to, amount);
            (token, Amount::ZERO, data, Some((token, amount)))
        }
    };
    Order {
        tenant: tenant.clone(),
        key,
        to: receiver,
        value,
        data,
        gas: GAS,
        moves,
        brings: None,
    }
}

/// Why an order would cost its gas in vain. Some tokens say no by what they return.
fn fails(order: &Order, called: &Called) -> Option<String> {
    match called {
        Called::Reverted(why) => Some(why.clone()),
        Called::Returned(bytes) if order.moves.is_some() => {
            let says_no = calls::returned_bool(bytes) == Some(false);
            says_no.then(|| "the token says no".to_owned())
        }
        Called::Returned(_) => None,
    }
}

/// By what key its transaction is ordered: one for each time that it is sent.
pub(in crate::chains) fn key(refund: &Refund) -> String {
    format!("refund:{}:{}", refund.id, refund.failures)
}

/// On which chain a refund is.
pub(super) fn chain(at: &At, id: refund::Id) -> Option<u64> {
    let method = usize::from(of(at, id)?.method);
    let methods = &at.kept.invoice.definition().methods;
    methods.get(method).map(|method| method.token.asset().chain)
}

fn of(at: &At, id: refund::Id) -> Option<&Refund> {
    at.kept.invoice.refunds().iter().find(|one| one.id == id)
}
