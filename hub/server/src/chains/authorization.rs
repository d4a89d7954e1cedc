//! A payer's signed authorisation (EIP-3009), which the hub brings to the chain.

use serde::Deserialize;
use stencil_payments::abi::calls;
use stencil_payments::cause;
use stencil_payments::eip712::{Authorization, Domain, Kind, Signed, check};
use stencil_payments::invoice::{Definition, Id, Way};
use stencil_payments::matching::{MAX_ATTEMPTS, nonce};
use stencil_payments::money::Amount;
use stencil_payments::port::{Brings, Called, Chain, NotOrdered, Order, Outcome, Sent};
use stencil_payments::{Address, Bytes, U256};
use stencil_protocol::id::TenantId;

use super::about::{About, Failed, MOST_FAILED};
use super::cashier::{At, Cashier, Refused};
use super::change::Alter;
use super::{READER, brake, checkout};

/// For how long an authorisation has to hold at least, in seconds: until it is in a block.
const LEAST_LEFT_S: u64 = 60;
/// Gas of a token's `transferWithAuthorization` by a key.
pub(crate) const GAS: u64 = 200_000;
/// The same where a wallet's contract checks the signature.
const CONTRACT_GAS: u64 = 500_000;

/// What a payer has signed (EIP-3009, `TransferWithAuthorization`). Numbers are decimal text.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Given {
    /// Which method, by its name; may be left out where only one is by authorisation.
    method: Option<String>,
    /// Which authorisation of the invoice, from 0, as the checkout names it. Where it is not said, the one that
    /// the signature fits.
    #[serde(default)]
    attempt: Option<u8>,
    /// Who pays: the address (`0x…`).
    from: String,
    /// How much: what is open, base units.
    #[schema(value_type = String)]
    value: Amount,
    /// After when it holds, seconds since the epoch.
    #[serde(default)]
    #[schema(value_type = String)]
    valid_after: Amount,
    /// Before when it holds, seconds since the epoch.
    #[schema(value_type = String)]
    valid_before: Amount,
    /// 65 bytes `r ‖ s ‖ v` in hexadecimal, or more where a contract wallet signs.
    signature: String,
}

/// Why an authorisation was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotTaken {
    /// It is wrong: which field, and what would be right.
    Wrong(&'static str, String),
    /// It can't be brought as things stand.
    Conflict(String),
    /// It can't be known now.
    Unknown(String),
}

use NotTaken::{Conflict, Unknown, Wrong};

/// Checks an authorisation, and has it brought to the chain. The same again is brought once.
pub(crate) async fn bring(cashier: &Cashier, at: &At, given: &Given) -> Result<Sent, NotTaken> {
    let invoice = &at.kept.invoice;
    let definition = invoice.definition();
    let chains = cashier.chains();
    let mut fitting = (0_u16..).zip(&definition.methods).filter(|(_, method)| {
        let name = || super::view::name(method, chains);
        method.way == Way::Authorization && given.method.as_ref().is_none_or(|it| *it == name())
    });
    let Some((number, method)) = fitting.next() else {
        let why = "the invoice can't be paid by an authorisation of this method".to_owned();
        return Err(Wrong("method", why));
    };
    if fitting.next().is_some() {
        let why = "several methods are by authorisation: say which, by its name".to_owned();
        return Err(Wrong("method", why));
    }
    let asset = method.token.asset();
    let chain = chains
        .by_id(asset.chain)
        .ok_or_else(|| Conflict("the hub no longer follows this chain".to_owned()))?;
    let (Some(token), Some(domain)) = (
        asset.contract,
        asset
            .contract
            .and_then(|it| checkout::domain(chain.as_ref(), it)),
    ) else {
        // As long as the chain was not reached, what its tokens take is not known.
        chain.ready().map_err(Unknown)?;
        let why = "the token takes no authorisations any more".to_owned();
        return Err(Conflict(why));
    };
    if let Some(attempt) = given.attempt.filter(|attempt| *attempt >= MAX_ATTEMPTS) {
        let why = format!("{attempt}: 0 to {} are right", MAX_ATTEMPTS - 1);
        return Err(Wrong("attempt", why));
    }
    let from = super::settings::address(&given.from).map_err(|why| Wrong("from", why))?;
    let digits = given.signature.strip_prefix("0x").unwrap_or_default();
    let signature = hex::decode(digits).map_err(|_| {
        Wrong(
            "signature",
            "0x and hexadecimal digits are right".to_owned(),
        )
    })?;
    let of = |attempt| Authorization {
        from,
        to: method.payee,
        value: given.value,
        valid_after: given.valid_after.0,
        valid_before: given.valid_before.0,
        nonce: nonce(asset.chain, token, method.payee, definition.id, attempt),
    };
    let next = checkout::attempt(invoice, number);
    let (authorization, signed) = signed_as(given.attempt, next, of, domain, &signature)?;
    let digest = authorization.digest(Kind::Transfer, domain);
    let asks_contract = || signed_by_contract(chain.as_ref(), from, digest, &signature, signed);
    let by_contract = signed != Signed::ByPayer;
    let key = key(definition.id, &authorization);
    // What is on its way already is so whatever has changed since, for who can show it.
    match chain.sent(&definition.tenant, &key).await {
        Ok(Some(sent)) => {
            if by_contract {
                asks_contract().await?;
            }
            return Ok(sent);
        }
        Ok(None) => {}
        Err(unknown) => return Err(Unknown(unknown.to_string())),
    }
    let now_us = cashier.0.clock.now_us();
    let open = invoice.open(number).unwrap_or_default();
    if !open.is_zero() && !invoice.takes(number, open) {
        return Err(Conflict(NO_PLACE.to_owned()));
    }
    if !checkout::payable(invoice, now_us) {
        let why = "the invoice can't be paid any more: it is paid, over or called off";
        return Err(Conflict(why.to_owned()));
    }
    chain.usable().map_err(Unknown)?;
    if given.value != open {
        let why = format!(
            "{open} base units are open, and {} are authorised",
            given.value
        );
        return Err(Wrong("value", why));
    }
    in_time(&authorization, now_us)?;
    if by_contract {
        asks_contract().await?;
    }
    let used = calls::authorization_state(from, authorization.nonce);
    let used = returned(chain.as_ref(), token, used).await?;
    match used.and_then(|bytes| calls::returned_bool(&bytes)) {
        Some(false) => {}
        Some(true) => {
            let why = format!(
                "this authorisation was used or cancelled already: sign one with the next attempt \
                 (0 to {})",
                MAX_ATTEMPTS - 1
            );
            return Err(Conflict(why));
        }
        None => {
            return Err(Unknown(
                "the token does not say whether it was used".to_owned(),
            ));
        }
    }
    let balance = returned(chain.as_ref(), token, calls::balance_of(from)).await?;
    match balance.and_then(|bytes| calls::returned_amount(&bytes)) {
        Some(balance) if balance >= given.value => {}
        Some(balance) => {
            let symbol = method.token.symbol();
            let (has, wants) = (
                method.token.format(balance),
                method.token.format(given.value),
            );
            return Err(Conflict(format!(
                "{from:#x} has {has} {symbol}, and {wants} are wanted"
            )));
        }
        None => {
            return Err(Unknown(
                "the token does not say what the payer has".to_owned(),
            ));
        }
    }
    let data = if by_contract {
        calls::transfer_with_authorization_bytes(&authorization, &signature)
    } else {
        calls::transfer_with_authorization(&authorization, &signature)
    };
    if let Called::Reverted(why) = chain
        .call(token, data.clone())
        .await
        .map_err(|unknown| Unknown(unknown.to_string()))?
    {
        return Err(Conflict(format!(
            "the token refuses this authorisation: {why}"
        )));
    }
    let order = Order {
        tenant: definition.tenant.clone(),
        key,
        to: token,
        value: Amount::ZERO,
        data,
        gas: if by_contract { CONTRACT_GAS } else { GAS },
        moves: None,
        brings: Some(Brings {
            payer: from,
            invoice: definition.id,
            is_sale: false,
        }),
    };
    // From here on one after the other: two that are brought at once are both paid.
    let _turn = cashier.0.bringing.turn(definition.id.0).await;
    alone(
        cashier,
        chain.as_ref(),
        definition,
        &order.key,
        from,
        (number, given.value),
    )
    .await?;
    chain.order(&order).await.map_err(|not| match not {
        NotOrdered::NoAccount(_) => Conflict(
            "the hub brings no authorisations to this chain: pay by another method".to_owned(),
        ),
        NotOrdered::Unknown(why) => Unknown(why),
        NotOrdered::Refused(why) => {
            // The tenant's limits are no matter of the payer's.
            cashier.not_brought(&definition.tenant, definition.id, &why);
            Conflict("the hub can't bring this authorisation now: pay by another method".to_owned())
        }
        _ => Unknown("the authorisation can't be brought now".to_owned()),
    })
}

/// Which authorisation it is that was signed, and by whom: the attempt that is named, else the one that the payer's
/// own signature fits, else the next, about which a wallet's contract is asked.
fn signed_as(
    named: Option<u8>,
    next: u8,
    of: impl Fn(u8) -> Authorization,
    domain: &Domain,
    signature: &[u8],
) -> Result<(Authorization, Signed), NotTaken> {
    let signed = |attempt| {
        let authorization = of(attempt);
        let digest = authorization.digest(Kind::Transfer, domain);
        let signed = check(digest, authorization.from, signature);
        let signed = signed.map_err(|error| Wrong("signature", error.to_string()))?;
        Ok((authorization, signed))
    };
    let first = signed(named.unwrap_or(next))?;
    if named.is_some() || first.1 == Signed::ByPayer {
        return Ok(first);
    }
    for attempt in (0..MAX_ATTEMPTS).filter(|attempt| *attempt != next) {
        let other = signed(attempt)?;
        if other.1 == Signed::ByPayer {
            return Ok(other);
        }
    }
    Ok(first)
}

/// Said where an invoice takes no further payment.
const NO_PLACE: &str =
    "the invoice has no place for a further payment: ask who has made it for another one";
/// For how long a payer whose authorisation has failed on the chain is brought no other for an invoice, µs.
const FAILED_US: i64 = 3_600 * 1_000_000;

/// Whether the hub brings one more of a payer's authorisations for an invoice: whoever has its link can sign
/// what comes to nothing, and each costs the tenant gas.
fn may_bring(about: &About, payer: Address, now_us: i64) -> Result<(), NotTaken> {
    if !about.brings() {
        let why = format!(
            "{MOST_FAILED} authorisations for this invoice have failed on the chain, and the hub brings no \
             more: pay by another method, or send it from your own account"
        );
        return Err(Conflict(why));
    }
    let mut failed = about.failed.iter().filter(|it| it.payer == payer);
    if failed.any(|it| now_us < it.at_us.saturating_add(FAILED_US)) {
        let why = "an authorisation of this payer for this invoice has just failed on the chain: pay by \
                   another method, send it from your own account, or try again in an hour";
        return Err(Conflict(why.to_owned()));
    }
    Ok(())
}

/// Whether too much of what a payer has signed for this tenant has come to nothing, whatever it was for.
async fn rests(
    cashier: &Cashier,
    chain: &dyn Chain,
    tenant: &TenantId,
    payer: Address,
) -> Result<(), NotTaken> {
    let (store, now_us) = (&cashier.0.store, cashier.0.clock.now_us());
    match brake::rests(store, chain, tenant, payer, now_us).await {
        Ok(None) => Ok(()),
        Ok(Some(rests)) => Err(Conflict(format!(
            "{rests}; pay by another method, or send it from your own account"
        ))),
        Err(unknown) => Err(Unknown(unknown.to_string())),
    }
}

/// Whether nothing else is on its way for what is open; keeps that this one is.
async fn alone(
    cashier: &Cashier,
    chain: &dyn Chain,
    definition: &Definition,
    key: &str,
    payer: Address,
    (method, value): (u16, Amount),
) -> Result<(), NotTaken> {
    let (tenant, id) = (&definition.tenant, definition.id);
    let failed = |error: Refused| match error {
        Refused::Store(error) => Unknown(error.to_string()),
        error => Conflict(error.to_string()),
    };
    let at = cashier.invoice(tenant, id).await.map_err(failed)?;
    let mut at = at.ok_or_else(|| failed(Refused::NoInvoice(id)))?;
    let other = at.kept.about.bringing.clone().filter(|it| *it != key);
    if let Some(other) = other.as_deref() {
        let invoice = &at.kept.invoice;
        let sent = chain.sent(tenant, other).await;
        let sent = sent.map_err(|unknown| Unknown(unknown.to_string()))?;
        let counted = |outcome: &Outcome| {
            let mut all = invoice.payments().chain(invoice.lost_payments());
            all.any(|(key, _)| key.tx == outcome.tx)
        };
        let on_its_way = match &sent {
            Some(Sent::Pending) => true,
            Some(Sent::Included(outcome)) => outcome.succeeded && !counted(outcome),
            Some(Sent::Final(outcome)) => {
                // What is final is in the invoice once all up to there was read.
                outcome.succeeded && !counted(outcome) && !is_read(cashier, chain, outcome).await?
            }
            // It was kept, and the hub was killed before it was ordered.
            Some(Sent::Lost) | None => false,
        };
        if on_its_way {
            let whose = match at.kept.about.bringing_of {
                Some(of) if of == payer => "another authorisation of this payer's",
                _ => "another payer's authorisation",
            };
            return Err(Conflict(format!(
                "{whose} for this invoice is on its way: wait until it is counted or has failed, and send this one \
                 again then if something is still open"
            )));
        }
        // Where a reorganisation takes its block away, the hub sends the same again, and both payers would pay.
        if matches!(&sent, Some(Sent::Included(outcome)) if !outcome.succeeded) {
            let why = "an authorisation for this invoice has failed on the chain, and may yet succeed after a \
                       reorganisation: pay by another method, or send this one again once that is final";
            return Err(Conflict(why.to_owned()));
        }
        let in_vain = match &sent {
            Some(Sent::Final(outcome)) => !outcome.succeeded,
            Some(Sent::Lost) => true,
            Some(Sent::Included(_) | Sent::Pending) | None => false,
        };
        if in_vain {
            at = note_failed(cashier, definition, other)
                .await
                .map_err(failed)?;
        }
    }
    may_bring(&at.kept.about, payer, cashier.0.clock.now_us())?;
    rests(cashier, chain, tenant, payer).await?;
    let invoice = &at.kept.invoice;
    let open = invoice.open(method).unwrap_or_default();
    if value != open || !checkout::payable(invoice, cashier.0.clock.now_us()) {
        let why = "another payment of this invoice has come meanwhile: ask what is open";
        return Err(Conflict(why.to_owned()));
    }
    if !invoice.takes(method, value) {
        return Err(Conflict(NO_PLACE.to_owned()));
    }
    let kept = cashier.alter(tenant, id, |kept| {
        let mut about = kept.about.clone();
        about.bringing = Some(key.to_owned());
        about.bringing_of = Some(payer);
        Ok(Alter {
            events: Vec::new(),
            about: Some(about),
            todo: Vec::new(),
        })
    });
    kept.await.map(drop).map_err(failed)
}

/// Keeps that what was brought last has come to nothing.
async fn note_failed(cashier: &Cashier, definition: &Definition, key: &str) -> Result<At, Refused> {
    let at_us = cashier.0.clock.now_us();
    let altered = cashier.alter(&definition.tenant, definition.id, |kept| {
        let mut about = kept.about.clone();
        if about.bringing.as_deref() == Some(key) {
            about.bringing = None;
            let payer = about.bringing_of.take().unwrap_or_default();
            about.failed.push(Failed { payer, at_us });
        }
        Ok(Alter {
            events: Vec::new(),
            about: Some(about),
            todo: Vec::new(),
        })
    });
    altered.await
}

/// Whether all that a chain says up to a transaction's block is in the invoices.
async fn is_read(
    cashier: &Cashier,
    chain: &dyn Chain,
    outcome: &Outcome,
) -> Result<bool, NotTaken> {
    let chains = &cashier.0.store.chains;
    let failed = |error: stencil_store::Error| Unknown(error.to_string());
    let Some(state) = chains.chain(chain.name()).await.map_err(failed)? else {
        return Ok(false);
    };
    let position = chains.chain_position(chain.name(), READER).await;
    let read = position.map_err(failed)? >= state.last_entry;
    Ok(read
        && state
            .cursor
            .is_some_and(|cursor| cursor.number >= outcome.block))
}

/// Names the transaction: one for each nonce of a payer.
fn key(invoice: Id, authorization: &Authorization) -> String {
    let parts: [&[u8]; 3] = [
        &invoice.0,
        authorization.from.as_slice(),
        authorization.nonce.as_slice(),
    ];
    let key = cause::Key::of("stencil/checkout/authorization", &parts);
    format!("authorization:{key}")
}

fn in_time(authorization: &Authorization, now_us: i64) -> Result<(), NotTaken> {
    let now_s = u64::try_from(now_us / 1_000_000).unwrap_or_default();
    if authorization.valid_after >= U256::from(now_s) {
        let why = "it does not hold yet: 0 is right".to_owned();
        return Err(Wrong("validAfter", why));
    }
    let least = now_s.saturating_add(LEAST_LEFT_S);
    if authorization.valid_before <= U256::from(least) {
        let why = format!(
            "it has to hold for {LEAST_LEFT_S} s more at least: later than {least} is right"
        );
        return Err(Wrong("validBefore", why));
    }
    Ok(())
}

/// What a contract returned; `None` where it was reverted.
async fn returned(chain: &dyn Chain, to: Address, data: Bytes) -> Result<Option<Bytes>, NotTaken> {
    match chain.call(to, data).await {
        Ok(Called::Returned(bytes)) => Ok(Some(bytes)),
        Ok(Called::Reverted(_)) => Ok(None),
        Err(unknown) => Err(Unknown(unknown.to_string())),
    }
}

/// A signature by another key than the payer's is the payer's where the payer is a contract that says
/// so (EIP-1271).
async fn signed_by_contract(
    chain: &dyn Chain,
    payer: Address,
    digest: stencil_payments::B256,
    signature: &[u8],
    signed: Signed,
) -> Result<(), NotTaken> {
    let wrong = |why: String| Err(Wrong("signature", why));
    let is_contract = chain
        .has_code(payer)
        .await
        .map_err(|unknown| Unknown(unknown.to_string()))?;
    if !is_contract {
        return wrong(match signed {
            Signed::ByAnother(signer) => {
                format!("{signer:#x} has signed, not {payer:#x}, or something else was signed")
            }
            _ => "it is longer than 65 bytes, and the payer is no contract wallet".to_owned(),
        });
    }
    let asked = calls::is_valid_signature(digest, signature);
    match returned(chain, payer, asked).await? {
        Some(bytes) if calls::returned_is_valid(&bytes) => Ok(()),
        _ => wrong("the payer's wallet does not take it as its own".to_owned()),
    }
}

/// Where a transaction stands, in words for the payer.
pub(crate) fn told(sent: &Sent) -> serde_json::Value {
    let of = |status: &str, outcome: Option<&Outcome>| {
        serde_json::json!({
            "status": status,
            "tx": outcome.map(|outcome| format!("{:#x}", outcome.tx)),
            "block": outcome.map(|outcome| outcome.block),
            "succeeded": outcome.map(|outcome| outcome.succeeded),
        })
    };
    match sent {
        Sent::Pending => of("pending", None),
        Sent::Included(outcome) => of("included", Some(outcome)),
        Sent::Final(outcome) => of("final", Some(outcome)),
        Sent::Lost => of("lost", None),
    }
}
