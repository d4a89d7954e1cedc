//! Devices that act for a payment: how it is asked for and taken. [`step`](super::step) goes on from there.
//!
//! ```text
//! payment → verified → kept with its charge (and what the payer has under way) → command queued
//!   → the device's word → settlement or release ordered → the chain's stream says that it is paid
//! ```
//!
//! No acknowledgement, no charge: see [`stencil_payments::x402::charge`], which decides. What it
//! decides is kept first and done then, and each thing that is done does nothing the second time: so
//! a charge goes on after a crash from what is kept, by looking at commands and chains again.

use rand_core::Rng as _;
use stencil_payments::cause::Key;
use stencil_payments::money::Amount;
use stencil_payments::observation::Needs;
use stencil_payments::x402::charge::{Charge, Funding, Terms};
use stencil_payments::x402::hold::HoldOffer;
use stencil_payments::x402::{
    self, Claim, HOLD_SCHEME, PaymentPayload, Reason, Refused, Requirements,
};
use stencil_payments::{Address, B256, Bytes};
use stencil_protocol::id::{CommandId, TenantId};
use stencil_store::{Error as StoreError, StoredPurchase};

use super::ask;
use super::kept::{Kept, No, later};
use super::offer::{Does, Offer};
use super::price::Priced;
use super::purchase::{Bought, Held, Purchase};
use super::sales::{MAX_RACES, Sales};

/// The most gas that the escrow takes to hold, release or give back.
const GAS_OF_ESCROW: u64 = 700_000;

const NO_PLACE: &str = "as many commands as may be are under way";

/// How a command can be paid on one chain, as a 402 says it.
pub(crate) fn requirements(
    priced: &[Priced],
    does: &Does,
    bought: Key,
    now_s: u64,
) -> Vec<Requirements> {
    if does.undo.is_some() {
        return priced.iter().map(|it| it.way.requirements()).collect();
    }
    let mut salt = [0; 32];
    stencil_crypto::rng::Os.fill_bytes(&mut salt);
    let holds = priced.iter().filter_map(|it| hold(it, bought));
    holds
        .map(|hold| hold.requirements(now_s, B256::from(salt)))
        .collect()
}

/// What is paid by a hold; `None` where the chain has no escrow or the hub no account.
fn hold(priced: &Priced, bought: Key) -> Option<HoldOffer> {
    Some(HoldOffer {
        offer: priced.way.clone(),
        escrow: priced.chain.escrow()?,
        operator: priced.chain.account()?,
        bought,
    })
}

/// Names what is bought, for payments that are bound to it.
pub(crate) fn name_of(tenant: &TenantId, offer: &str, bought: &Bought) -> Key {
    let what = serde_json::json!(bought).to_string();
    Key::of(
        "stencil/x402-command",
        &[
            tenant.as_str().as_bytes(),
            offer.as_bytes(),
            what.as_bytes(),
        ],
    )
}

impl Sales {
    /// Takes a payment for what a device shall do, or knows it again. When this returns it is kept
    /// and goes on by itself.
    ///
    /// # Errors
    /// Why not.
    pub(crate) async fn commission(
        &self,
        tenant: &TenantId,
        name: &str,
        offer: &Offer,
        does: &Does,
        bought: &Bought,
        payment: &PaymentPayload,
    ) -> Result<Kept, No> {
        let claim = Claim::read(payment)?;
        let id = claim.purchase(tenant);
        if let Some(known) = self.known(tenant, name, bought, &claim).await? {
            return Ok(known);
        }
        // Before chains are asked: for that others wait, and an order that has no place costs its payer nothing.
        if !self.inner.store.offers.has_place(tenant).await? {
            return Err(later(NO_PLACE));
        }
        let priced = offer.priced(&self.inner.chains);
        if priced.is_empty() {
            return Err(later("the hub follows none of the chains of this offer"));
        }
        let now_us = self.inner.clock.now_us();
        let now_s = now_us.unsigned_abs() / 1_000_000;
        let (at, mut purchase, balance) = if does.undo.is_some() {
            self.bare(tenant, &priced, payment, now_s).await?
        } else {
            let bought = name_of(tenant, name, bought);
            self.held(tenant, &priced, bought, payment, now_s).await?
        };
        let priced = &priced[at];
        purchase.bought = bought.clone();
        purchase.fingerprint = claim.fingerprint();
        (purchase.needs, purchase.settle_s) = (offer.needs, offer.settle_s);
        purchase.repeat_s = offer.repeat_s;
        let settle_us = us(offer.settle_s);
        let terms = Terms {
            id: Key::of("stencil/x402-charge", &[tenant.as_str().as_bytes(), &id.0]),
            payer: purchase.payer,
            value: purchase.amount,
            funding: match &purchase.held {
                None => Funding::Bare {
                    valid_before_s: purchase.valid_before_s,
                },
                Some(held) => Funding::Held {
                    hold: held.hold,
                    deadline_s: held.deadline_s,
                },
            },
            reversible: does.undo.is_some(),
            act_by_us: now_us.saturating_add(us(does.expires_in_s)).saturating_add(
                if purchase.held.is_some() {
                    settle_us
                } else {
                    0
                },
            ),
            settle_us,
        };
        let (charge, _) = Charge::new(terms, now_us)
            .map_err(|error| Refused::new(Reason::ValidBefore, error.to_string()))?;
        let command = command_id("stencil/x402-command", charge.terms());
        purchase.charge = Some(charge);
        let stored = StoredPurchase {
            tenant: tenant.clone(),
            purchase: id.0,
            version: 1,
            offer: name.to_owned(),
            payer: purchase.payer.into_array(),
            body: purchase.body(),
            wakes_us: Some(now_us),
            under_way: true,
            command: Some(command),
            created_us: now_us,
            changed_us: now_us,
        };
        let kept = Kept::fresh(purchase, stored);
        let limit = priced.loss_limit.unwrap_or_default();
        for _ in 0..MAX_RACES {
            let exposure = match &kept.purchase.held {
                None => self.reserved(&kept, limit, balance).await?,
                Some(_) => self.signed(&kept, balance).await?,
            };
            let offers = &self.inner.store.offers;
            match offers.commission_purchase(&kept.stored, &exposure).await {
                Ok(false) => return Err(later(NO_PLACE)),
                Ok(true) => {
                    stencil_crashpoint::reach("x402.commissioned");
                    self.inner.wake.notify_one();
                    return self.advance(kept).await;
                }
                // The same payment at once, or another of the same payer.
                Err(StoreError::Conflict(_)) => {
                    if let Some(known) = self.known(tenant, name, bought, &claim).await? {
                        return Ok(known);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(later("the payer has too much under way at once"))
    }

    async fn bare(
        &self,
        tenant: &TenantId,
        priced: &[Priced],
        payment: &PaymentPayload,
        now_s: u64,
    ) -> Result<(usize, Purchase, Amount), No> {
        let ways: Vec<_> = priced.iter().map(|priced| priced.way.clone()).collect();
        let checked = x402::verify(&ways, payment, now_s)?;
        let at = checked.offer;
        let (chain, token) = (&priced[at].chain, priced[at].way.domain.token);
        self.rested(chain.as_ref(), tenant, checked.authorization.from)
            .await?;
        let verified = ask::conclude(chain.as_ref(), token, checked).await?;
        let (gas, balance) = (ask::gas(&verified), verified.balance());
        let checked = verified.checked();
        let purchase = purchase(&priced[at], checked, token, verified.call_data(), gas);
        Ok((at, purchase, balance))
    }

    async fn held(
        &self,
        tenant: &TenantId,
        priced: &[Priced],
        bought: Key,
        payment: &PaymentPayload,
        now_s: u64,
    ) -> Result<(usize, Purchase, Amount), No> {
        if payment.accepted.scheme != HOLD_SCHEME {
            let scheme: String = payment.accepted.scheme.chars().take(40).collect();
            let detail = format!(
                "scheme {scheme:?}: what can't be undone is paid by a hold, scheme {HOLD_SCHEME:?}"
            );
            return Err(Refused::new(Reason::InvalidScheme, detail).into());
        }
        let mut why = Refused::new(
            Reason::InvalidPaymentRequirements,
            "'accepted' is none of what is offered: send one of 'accepts' back as it is",
        );
        for (at, one) in priced.iter().enumerate() {
            let Some(offer) = hold(one, bought) else {
                continue;
            };
            let checked = match offer.verify(payment, now_s) {
                Ok(checked) => checked,
                Err(refused) if refused.reason == Reason::InvalidPaymentRequirements => continue,
                Err(refused) => {
                    why = refused;
                    continue;
                }
            };
            let token = one.way.domain.token;
            let payer = checked.checked.authorization.from;
            self.rested(one.chain.as_ref(), tenant, payer).await?;
            let of_hold = (offer.escrow, checked.hold_data());
            let (chain, signed) = (one.chain.as_ref(), checked.checked.clone());
            let balance = ask::conclude_hold(chain, token, signed, of_hold).await?;
            let held = Held {
                escrow: offer.escrow,
                hold: checked.hold,
                deadline_s: checked.terms.deadline,
                release: checked.release_data(),
                refund: checked.refund_data(),
            };
            let call = checked.hold_data();
            let mut purchase = purchase(one, &checked.checked, offer.escrow, call, GAS_OF_ESCROW);
            purchase.held = Some(held);
            return Ok((at, purchase, balance));
        }
        Err(why.into())
    }
}

fn purchase(
    priced: &Priced,
    checked: &x402::Checked,
    to: Address,
    call_data: Bytes,
    gas: u64,
) -> Purchase {
    let authorization = &checked.authorization;
    Purchase {
        // All that is not of the payment is set by who asks for it.
        bought: Bought::Endpoint {
            path: String::new(),
        },
        chain: priced.chain.name().to_owned(),
        token: priced.token.clone(),
        amount: priced.way.amount,
        pay_to: priced.way.pay_to,
        payer: authorization.from,
        nonce: authorization.nonce,
        valid_before_s: u64::try_from(authorization.valid_before).unwrap_or(u64::MAX),
        fingerprint: Key([0; 32]),
        to,
        call_data,
        gas,
        needs: Needs::Confirmations(1),
        settle_s: 0,
        repeat_s: 0,
        answered_us: None,
        held: None,
        charge: None,
        attempt: 0,
        held_by: None,
        called_off: false,
    }
}

pub(super) fn command_id(domain: &str, terms: &Terms) -> CommandId {
    let key = Key::of(domain, &[&terms.id.0]);
    let mut id = [0; 16];
    id.copy_from_slice(&key.0[..16]);
    CommandId(id)
}

fn us(seconds: u64) -> i64 {
    i64::try_from(seconds.saturating_mul(1_000_000)).unwrap_or(i64::MAX)
}
