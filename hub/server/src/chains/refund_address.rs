//! Where a refund goes: the payer says so by a signature, or the tenant with a reason.

use serde::Deserialize;
use stencil_payments::abi::calls;
use stencil_payments::cause;
use stencil_payments::eip712::{Signed, check, text_digest};
use stencil_payments::invoice::{Event, Id, Invoice, Refund, Status, refund};
use stencil_payments::money::Amount;
use stencil_payments::port::Called;
use stencil_payments::{Address, B256};
use stencil_protocol::id::TenantId;

use super::about::{About, Kept, RefundTo};
use super::authorization::NotTaken;
use super::cashier::{At, Cashier, Refused};
use super::change::{Alter, Todo};
use super::{refund_place, settings, view};

/// How often a refund may have failed for a payer to say once more where it goes.
const MOST_FOR_PAYERS: u32 = 6;
/// The longest reason, in bytes.
pub(crate) const MAX_REASON: usize = 256;

/// What a payer signs (EIP-191, `personal_sign`).
pub(crate) fn statement(invoice: Id, refund: refund::Id, address: &str) -> String {
    format!("Send refund {refund} of invoice {invoice} to {address}")
}

/// A payer's word.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Said {
    /// Where it goes (`0x…`).
    address: String,
    /// Who has paid, and signs.
    payer: String,
    /// Over the statement with the address as in it, with its checksum: `0x` and hexadecimal digits.
    signature: String,
}

/// The refund goes where its payer says.
pub(crate) async fn by_payer(
    cashier: &Cashier,
    at: &At,
    id: refund::Id,
    said: &Said,
) -> Result<At, NotTaken> {
    let invoice = &at.kept.invoice;
    let definition = invoice.definition();
    let refund = find(invoice, id).map_err(|error| NotTaken::Conflict(error.to_string()))?;
    let address = settings::address(&said.address);
    let address = address.map_err(|why| NotTaken::Wrong("address", why))?;
    let payer = settings::address(&said.payer);
    let payer = payer.map_err(|why| NotTaken::Wrong("payer", why))?;
    if !invoice.payers(refund.method).contains(&payer) {
        let why = "nothing that this refund is of came from there".to_owned();
        return Err(NotTaken::Wrong("payer", why));
    }
    may_say(&at.kept, refund, payer).map_err(|error| NotTaken::Conflict(error.to_string()))?;
    let digits = said.signature.strip_prefix("0x").unwrap_or_default();
    let signature = hex::decode(digits).map_err(|_| {
        NotTaken::Wrong(
            "signature",
            "0x and hexadecimal digits are right".to_owned(),
        )
    })?;
    let text = statement(definition.id, id, &address.to_checksum(None));
    let digest = text_digest(&text);
    match check(digest, payer, &signature) {
        Ok(Signed::ByPayer) => {}
        Ok(Signed::ByAnother(_) | Signed::AskContract) => {
            let method = definition.methods.get(usize::from(refund.method));
            let chain = method.map(|method| method.token.asset().chain);
            by_contract(cashier, chain, payer, digest, &signature).await?;
        }
        Err(error) => return Err(NotTaken::Wrong("signature", error.to_string())),
    }
    let to = RefundTo {
        address,
        by: "payer".to_owned(),
        payer: Some(payer),
        reason: None,
        failures: 0,
        number: 0,
        waits: None,
    };
    let tenant = definition.tenant.clone();
    match set(cashier, &tenant, definition.id, id, to).await {
        Ok(at) => Ok(at),
        Err(Refused::Store(error)) if error.retryable() => {
            Err(NotTaken::Unknown(error.to_string()))
        }
        Err(Refused::NoPlace(why)) => Err(NotTaken::Wrong("address", why)),
        Err(error) => Err(NotTaken::Conflict(error.to_string())),
    }
}

async fn by_contract(
    cashier: &Cashier,
    chain: Option<u64>,
    payer: Address,
    digest: B256,
    signature: &[u8],
) -> Result<(), NotTaken> {
    let unknown = |why: stencil_payments::port::Unknown| NotTaken::Unknown(why.to_string());
    let chain = chain.and_then(|chain| cashier.chains().by_id(chain));
    let wrong = || {
        let why = "the payer has not signed this: sign the statement of the refund with the \
                   address in it";
        NotTaken::Wrong("signature", why.to_owned())
    };
    let Some(chain) = chain else {
        return Err(wrong());
    };
    if !chain.has_code(payer).await.map_err(unknown)? {
        return Err(wrong());
    }
    let asked = calls::is_valid_signature(digest, signature);
    match chain.call(payer, asked).await.map_err(unknown)? {
        Called::Returned(bytes) if calls::returned_is_valid(&bytes) => Ok(()),
        _ => Err(wrong()),
    }
}

/// The refund goes there; sent at once where the hub's account was paid.
pub(crate) async fn set(
    cashier: &Cashier,
    tenant: &TenantId,
    invoice: Id,
    id: refund::Id,
    to: RefundTo,
) -> Result<At, Refused> {
    let at = cashier.invoice(tenant, invoice).await?;
    let at = at.ok_or(Refused::NoInvoice(invoice))?;
    let definition = at.kept.invoice.definition();
    let refund = find(&at.kept.invoice, id)?;
    if let Some(method) = definition.methods.get(usize::from(refund.method)) {
        refund_place::check(cashier, definition, method, to.address).await?;
    }
    let altered = cashier.alter(tenant, invoice, |kept| {
        let refund = find(&kept.invoice, id)?;
        if refund.status() != Status::Due {
            return Err(Refused::Not(format!(
                "the refund is {}: where it goes can't be changed",
                view::status(refund.status())
            )));
        }
        let known = kept.about.refunds_to.get(&id);
        match to.payer {
            Some(payer) => may_say(kept, refund, payer)?,
            // Who has paid knows best; the payer's own word is changed by the payer alone, unless it
            // leads nowhere.
            None if known
                .is_some_and(|it| it.by == "payer" && !it.is_worn_out(refund.failures)) =>
            {
                let why = "the payer has said where it goes".to_owned();
                return Err(Refused::Not(why));
            }
            None => {}
        }
        let counted = |failures, number| RefundTo {
            failures,
            number,
            ..to.clone()
        };
        let is_known = |known: &RefundTo| {
            let again = RefundTo {
                waits: known.waits.clone(),
                ..counted(known.failures, known.number)
            };
            *known == again && !known.is_worn_out(refund.failures)
        };
        if known.is_some_and(is_known) {
            return Ok(Vec::new().into());
        }
        // An address that was said before is another one now: it has a name of its own.
        let number = known.map_or(0, |known| known.number).saturating_add(1);
        let mut about = About::clone(&kept.about);
        about
            .refunds_to
            .insert(id, counted(refund.failures, number));
        let events = match refund.stuck {
            true => vec![Event::RefundStuck { id, stuck: false }],
            false => Vec::new(),
        };
        let parts: [&[u8]; 2] = [&id.0, &number.to_be_bytes()];
        let key = cause::Key::of("stencil/hub/send-refund", &parts);
        Ok(Alter {
            events,
            about: Some(about),
            todo: vec![(key, Todo::SendRefund { id, number })],
        })
    });
    altered.await
}

/// Whether a payer may say where a refund goes: all of it has to be of what this payer has paid, beside
/// what goes elsewhere. A refund of what several have paid is the tenant's to send.
fn may_say(kept: &Kept, refund: &Refund, payer: Address) -> Result<(), Refused> {
    let said = |id: refund::Id| kept.about.refunds_to.get(&id);
    let known = said(refund.id).and_then(|to| to.payer);
    if known.is_some_and(|known| known != payer) {
        let why = "another payer has said where it goes".to_owned();
        return Err(Refused::Not(why));
    }
    if refund.failures >= MOST_FOR_PAYERS {
        let why = format!(
            "sending it has failed {} times: whoever was paid says where it goes",
            refund.failures
        );
        return Err(Refused::Not(why));
    }
    let shares = kept.invoice.shares(refund.method);
    let share = shares.get(&payer).copied().unwrap_or_default();
    // What the tenant has directed, or sent, may be this payer's: nobody has signed whose it is.
    let others = kept.invoice.refunds().iter().filter(|other| {
        let (to, status) = (said(other.id), other.status());
        let mine_or_unknown = match to {
            Some(to) => to.payer.is_none_or(|of| of == payer),
            None => matches!(status, Status::Sent | Status::Confirmed),
        };
        other.id != refund.id
            && other.method == refund.method
            && status != Status::Withdrawn
            && mine_or_unknown
    });
    let promised: Amount = others.map(|other| other.amount).sum();
    if share.saturating_sub(promised) < refund.amount {
        let why = "not all that this refund is of came from this payer: whoever was paid says where \
                   it goes";
        return Err(Refused::Not(why.to_owned()));
    }
    Ok(())
}

pub(super) fn find(invoice: &Invoice, id: refund::Id) -> Result<&Refund, Refused> {
    let mut all = invoice.refunds().iter();
    let found = all.find(|refund| refund.id == id);
    found.ok_or(Refused::NoRefund(id))
}
