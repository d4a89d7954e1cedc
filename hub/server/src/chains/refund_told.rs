//! Refunds that a tenant sends itself: the transaction that is told of one is held against the chain.
//!
//! It has to have moved at least the refund's amount to where the refund goes, and each movement serves one refund.
//! From then on it is looked after like one that the hub has sent ([`super::outbox`]): it counts once it is final.

use std::sync::Arc;

use stencil_payments::cause;
use stencil_payments::invoice::{Event, Id, Status, refund};
use stencil_payments::money::{Amount, Token};
use stencil_payments::observation::Key;
use stencil_payments::port::{Chain, Looked, Moved};
use stencil_payments::{Address, B256};
use stencil_protocol::id::TenantId;

use super::about::{About, Kept, Told};
use super::cashier::{At, Cashier, Refused};
use super::change::{Alter, Todo};
use super::refund_address::find;
use super::view;

/// Movements of a transaction that are named where none is the right one.
const MOST_NAMED: usize = 3;

/// What has to have come where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    refund: refund::Id,
    token: Token,
    to: Address,
    amount: Amount,
    /// The first block that has a payment which it may be of.
    since: Option<u64>,
}

/// By what a refund was sent.
struct Found {
    movement: String,
    /// No chain has shown it.
    unchecked: bool,
    /// Its chain can be asked what becomes of it.
    followed: bool,
    /// Which account has sent the transaction, and by which nonce.
    by: Option<(Address, u64)>,
}

/// The tenant has sent a refund itself. `unchecked`: at its word, where the chain can't show it.
pub(crate) async fn sent_by_tenant(
    cashier: &Cashier,
    tenant: &TenantId,
    invoice: Id,
    id: refund::Id,
    tx: B256,
    unchecked: bool,
) -> Result<At, Refused> {
    let at = cashier.invoice(tenant, invoice).await?;
    let at = at.ok_or(Refused::NoInvoice(invoice))?;
    let Some(wanted) = wanted_of(cashier, &at.kept, id, tx)? else {
        return Ok(at);
    };
    let found = find_movement(cashier, (tenant, invoice), &wanted, tx, unchecked).await?;
    let chains = cashier.0.store.chains.chains().await?;
    let asset = wanted.token.asset();
    let chain = chains.iter().find(|chain| chain.chain_id == asset.chain);
    let seq = chain.map_or(0, |chain| chain.last_entry);
    let altered = cashier.alter(tenant, invoice, |kept| {
        let Some(now) = wanted_of(cashier, kept, id, tx)? else {
            return Ok(Vec::new().into());
        };
        if (now.to, now.amount) != (wanted.to, wanted.amount) {
            let why = "where the refund goes was changed meanwhile: look at it, and tell of the transaction again";
            return Err(Refused::Not(why.to_owned()));
        }
        let mut about = About::clone(&kept.about);
        let number = about.told.get(&id).map_or(0, |told| told.number);
        let number = number.saturating_add(1);
        let told = Told {
            tx,
            movement: found.movement.clone(),
            number,
            by: found.by,
            missing_us: None,
            used_by: None,
            failed: false,
        };
        about.told.insert(id, told);
        let mut events = vec![
            Event::RefundSent { id, tx: Some(tx) },
            Event::RefundUnchecked {
                id,
                unchecked: found.unchecked,
            },
        ];
        let mut todo = Vec::new();
        if found.followed {
            let parts: [&[u8]; 2] = [&id.0, &number.to_be_bytes()];
            let key = cause::Key::of("stencil/hub/follow-refund", &parts);
            todo.push((key, Todo::FollowRefund { id, number }));
        } else {
            events.push(Event::RefundConfirmed { id, seq });
        }
        Ok(Alter {
            events,
            about: Some(about),
            todo,
        })
    });
    altered.await
}

/// What a transaction has to have done that is told of a refund; `None`: it was told before.
fn wanted_of(
    cashier: &Cashier,
    kept: &Kept,
    id: refund::Id,
    tx: B256,
) -> Result<Option<Wanted>, Refused> {
    let refund = find(&kept.invoice, id)?;
    let methods = &kept.invoice.definition().methods;
    let method = methods.get(usize::from(refund.method));
    let method = method.ok_or(Refused::NoRefund(id))?;
    if view::managed(method, cashier.chains()) {
        let why = "the hub's own account was paid, so the hub sends it: say where it goes";
        return Err(Refused::Not(why.to_owned()));
    }
    let told = kept.about.told.get(&id);
    let is_told = told.is_some_and(|told| told.tx == tx && !told.failed);
    match refund.status() {
        Status::Confirmed if refund.tx == Some(tx) => return Ok(None),
        Status::Confirmed => {
            let by = refund.tx.map(|tx| format!(", by {tx:#x}"));
            return Err(Refused::Not(format!(
                "the refund was sent already{}: that stays",
                by.unwrap_or_default()
            )));
        }
        Status::Sent if is_told => return Ok(None),
        Status::Withdrawn => {
            let why = "the refund was withdrawn: nothing of it is due";
            return Err(Refused::Not(why.to_owned()));
        }
        Status::Sent | Status::Due => {}
    }
    let Some(to) = kept.about.refunds_to.get(&id) else {
        let why = "nobody has said where it goes: set its address first, so that what is told as sent can be \
                   held against the chain";
        return Err(Refused::Not(why.to_owned()));
    };
    let chain = method.token.asset().chain;
    let mut payments = kept.invoice.payments();
    if payments.any(|(key, _)| (key.chain, key.tx) == (chain, tx)) {
        return Err(Refused::Not(format!(
            "{tx:#x} has paid this invoice, and has sent nothing back: tell of the transaction that has sent the \
             refund"
        )));
    }
    let payments = kept.invoice.payments();
    let blocks = payments
        .filter(|(_, payment)| payment.method == refund.method)
        .map(|(_, payment)| payment.block.number);
    Ok(Some(Wanted {
        refund: id,
        token: method.token.clone(),
        to: to.address,
        amount: refund.amount,
        since: blocks.min(),
    }))
}

/// By which movement of a transaction a refund was sent.
async fn find_movement(
    cashier: &Cashier,
    (tenant, invoice): (&TenantId, Id),
    wanted: &Wanted,
    tx: B256,
    unchecked: bool,
) -> Result<Found, Refused> {
    let asset = wanted.token.asset();
    let at_word = |by: Option<(Address, u64)>| Found {
        movement: format!("{}:{tx:#x}@{}", asset.chain, hex::encode(wanted.to)),
        unchecked: true,
        followed: by.is_some(),
        by,
    };
    let owner = async |movement: &str| {
        let owner = cashier
            .0
            .store
            .payments
            .refund_by_movement(movement)
            .await?;
        let this = (tenant.clone(), invoice.0, wanted.refund.0);
        Ok::<_, Refused>(owner.filter(|owner| *owner != this))
    };
    let taken = |(of, other, refund): (TenantId, [u8; 16], [u8; 32])| {
        let which = match of == *tenant {
            true => format!("refund {} of invoice {}", cause::Key(refund), Id(other)),
            false => "another refund".to_owned(),
        };
        Refused::Not(format!(
            "the transaction {tx:#x} has sent {which}, as was told before, and what it sends to {} counts for one \
             refund alone: tell of the transaction that has sent refund {} of invoice {invoice}",
            wanted.to.to_checksum(None),
            wanted.refund,
        ))
    };
    let Some(chain) = cashier.chains().by_id(asset.chain) else {
        if !unchecked {
            return Err(Refused::Not(format!(
                "the hub does not follow the chain of this refund any more (chain id {}), so nobody can look up \
                 {tx:#x}: if it has sent the refund, say `\"unchecked\": true` beside it, which the invoice and its \
                 receipt tell",
                asset.chain
            )));
        }
        let found = at_word(None);
        return match owner(&found.movement).await? {
            None => Ok(found),
            Some(other) => Err(taken(other)),
        };
    };
    let looked = look_up(chain, tx).await?;
    let by = Some((looked.sender, looked.nonce));
    if let Some(since) = wanted.since.filter(|since| looked.outcome.block < *since) {
        return Err(Refused::Not(format!(
            "{tx:#x} is in block {}, and what this refund is of came in block {since}: tell of the transaction that \
             has sent the refund",
            looked.outcome.block
        )));
    }
    let mut all: Vec<_> = looked.moves.iter().collect();
    all.retain(|moved| fits(chain.as_ref(), wanted, moved));
    // The one that is nearest to what is due: a larger one may be another refund's.
    all.sort_by_key(|moved| (moved.amount, moved.ordinal));
    let mut whose = None;
    for moved in &all {
        let key = Key {
            chain: asset.chain,
            tx,
            ordinal: moved.ordinal,
        };
        let movement = key.to_string();
        match owner(&movement).await? {
            None => {
                return Ok(Found {
                    movement,
                    unchecked: false,
                    followed: true,
                    by,
                });
            }
            Some(other) => {
                whose.get_or_insert(other);
            }
        }
    }
    if let Some(other) = whose {
        return Err(taken(other));
    }
    if !unchecked || asset.contract.is_some() {
        return Err(Refused::Not(does_not(wanted, &looked, tx)));
    }
    let found = at_word(by);
    match owner(&found.movement).await? {
        None => Ok(found),
        Some(other) => Err(taken(other)),
    }
}

/// What a transaction has done that has to be in a block, and to have gone well.
async fn look_up(chain: &Arc<dyn Chain>, tx: B256) -> Result<Looked, Refused> {
    let name = chain.name();
    match chain.look_up(tx).await {
        Err(why) => {
            tracing::warn!(chain = name, %why, "a transaction can't be looked up");
            Err(Refused::NotReady(format!(
                "the chain {name} can't be asked now what {tx:#x} has done: tell of it again later"
            )))
        }
        Ok(Some(looked)) if looked.outcome.succeeded => Ok(looked),
        Ok(Some(_)) => Err(Refused::Not(format!(
            "{tx:#x} was reverted on the chain {name}: it has sent nothing. Send the refund again, and tell of that \
             transaction"
        ))),
        Ok(None) => Err(Refused::Not(format!(
            "the chain {name} has no transaction {tx:#x} in a block: tell of it once it is in one"
        ))),
    }
}

/// Whether a movement has sent a refund. What the hub's account sends, and what the escrow gives back, is for
/// something else; and who sends to themselves has got nothing.
fn fits(chain: &dyn Chain, wanted: &Wanted, moved: &Moved) -> bool {
    let from = Some(moved.from);
    moved.token == wanted.token.asset().contract
        && moved.to == wanted.to
        && moved.amount >= wanted.amount
        && moved.from != moved.to
        && from != chain.account()
        && from != chain.escrow()
}

/// Whether the movement by which a refund was sent is still what was told.
pub(super) fn still_fits(cashier: &Cashier, kept: &Kept, id: refund::Id, looked: &Looked) -> bool {
    let Some(told) = kept.about.told.get(&id) else {
        return false;
    };
    let Ok(key) = told.movement.parse::<Key>() else {
        // At the tenant's word.
        return true;
    };
    let methods = &kept.invoice.definition().methods;
    let refund = find(&kept.invoice, id).ok();
    let method = refund.and_then(|refund| methods.get(usize::from(refund.method)));
    let (Some(refund), Some(method), Some(to)) = (refund, method, kept.about.refunds_to.get(&id))
    else {
        return false;
    };
    let Some(chain) = cashier.chains().by_id(key.chain) else {
        return false;
    };
    let wanted = Wanted {
        refund: id,
        token: method.token.clone(),
        to: to.address,
        amount: refund.amount,
        since: None,
    };
    let mut moves = looked.moves.iter();
    moves.any(|moved| moved.ordinal == key.ordinal && fits(chain.as_ref(), &wanted, moved))
}

/// What is due, and what a transaction has done instead.
fn does_not(wanted: &Wanted, looked: &Looked, tx: B256) -> String {
    let asset = wanted.token.asset();
    let of = |token: Option<Address>, amount: Amount| match token {
        _ if token == asset.contract => {
            format!("{} {}", wanted.token.format(amount), wanted.token.symbol())
        }
        Some(token) => format!(
            "{amount} base units of the token {}",
            token.to_checksum(None)
        ),
        None => format!("{amount} wei of the chain's coin"),
    };
    let mut told: Vec<_> = looked
        .moves
        .iter()
        .take(MOST_NAMED)
        .map(|moved| {
            format!(
                "{} from {} to {}",
                of(moved.token, moved.amount),
                moved.from.to_checksum(None),
                moved.to.to_checksum(None)
            )
        })
        .collect();
    match looked.moves.len() {
        0 => told.push("nothing that the chain shows".to_owned()),
        many if many > MOST_NAMED => told.push(format!("{} more", many - MOST_NAMED)),
        _ => {}
    }
    let hint = match asset.contract {
        Some(_) => "tell of the transaction that has sent the refund",
        None => {
            "tell of the transaction that has sent the refund. What a contract sends of the coin, as a wallet that is \
             one does, leaves nothing by which the hub could see it: if it was sent so, say `\"unchecked\": true` \
             beside it, which the invoice and its receipt tell"
        }
    };
    format!(
        "due are {} to {}, of another's than the hub's account, and {tx:#x} does not send that: it moves {}. So {hint}",
        of(asset.contract, wanted.amount),
        wanted.to.to_checksum(None),
        told.join(", ")
    )
}
