//! From a payment to a purchase that is settled.

use std::sync::Arc;
use std::time::Duration;

use stencil_payments::B256;
use stencil_payments::invoice::Id;
use stencil_payments::money::Amount;
use stencil_payments::port::{Chain, NotOrdered, Order, Outcome, Sent};
use stencil_payments::x402::{self, Claim, PaymentPayload, Reason, Refused, header};
use stencil_protocol::id::TenantId;
use stencil_store::{Error as StoreError, Store, StoredPurchase};
use stencil_strangers::{Lines, Who};
use tokio::sync::{Mutex, Notify};
use tokio::time::{Instant, timeout_at};

use super::ask;
use super::kept::{Kept, No, Paying, failed, later, spent};
use super::offer::Offer;
use super::price::Priced;
use super::purchase::{Bought, Paid, Purchase, paid};
use super::till::{NotOpened, Till};
use crate::chains::one_by_one::OneByOne;
use crate::chains::{Cashier, Chains, READER};
use crate::clock::Clock;

/// How often a purchase is kept anew that others of its payer came before.
pub(super) const MAX_RACES: u32 = 32;
/// Between two looks at a settlement that is waited for.
pub(super) const LOOK: Duration = Duration::from_millis(200);

/// Movements of money of one settlement that are looked at.
const MAX_CAME: u32 = 16;

/// What is said of a payment whose order was refused.
const CALLED_OFF: &str = "it was called off, since it could not be settled: sign a new payment";

/// What tenants sell by x402. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Sales {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) store: Store,
    pub(super) chains: Chains,
    pub(super) clock: Clock,
    pub(super) till: Arc<dyn Till>,
    opening: Mutex<()>,
    /// Whose settlement is being ordered.
    ordering: OneByOne,
    /// What buyers cause of the log.
    pub(super) lines: Lines,
    /// Told when there is a charge to go on with.
    pub(super) wake: Notify,
    /// Told when a charge has changed.
    pub(super) changed: Notify,
}

impl Sales {
    pub(crate) fn new(store: Store, chains: Chains, clock: Clock, till: Arc<dyn Till>) -> Self {
        Self {
            inner: Arc::new(Inner {
                store,
                chains,
                clock,
                till,
                opening: Mutex::new(()),
                ordering: OneByOne::default(),
                lines: Lines::default(),
                wake: Notify::new(),
                changed: Notify::new(),
            }),
        }
    }

    /// Over a hub's parts; `None`: it follows no chain.
    pub(crate) fn over(
        store: &Store,
        chains: &Chains,
        clock: &Clock,
        cashier: &Cashier,
    ) -> Option<Self> {
        chains.iter().next()?;
        let till = Arc::new(cashier.clone());
        Some(Self::new(
            store.clone(),
            chains.clone(),
            clock.clone(),
            till,
        ))
    }

    /// The chains that offers are checked against.
    pub(crate) fn chains(&self) -> &Chains {
        &self.inner.chains
    }

    /// Takes a payment for something, or knows it again. When this returns the purchase is kept; it
    /// is not settled.
    ///
    /// # Errors
    /// Why not.
    pub(crate) async fn take(
        &self,
        tenant: &TenantId,
        name: &str,
        offer: &Offer,
        bought: &Bought,
        payment: &PaymentPayload,
    ) -> Result<Kept, No> {
        let claim = Claim::read(payment)?;
        let id = claim.purchase(tenant);
        if let Some(known) = self.known(tenant, name, bought, &claim).await? {
            return Ok(known);
        }
        let verified = self.verified(tenant, offer, bought, payment, &claim);
        let (purchase, balance, now_us) = verified.await?;
        let stored = StoredPurchase {
            tenant: tenant.clone(),
            purchase: id.0,
            version: 1,
            offer: name.to_owned(),
            payer: purchase.payer.into_array(),
            body: purchase.body(),
            wakes_us: None,
            under_way: false,
            command: None,
            created_us: now_us,
            changed_us: now_us,
        };
        let kept = Kept::fresh(purchase, stored);
        let offers = &self.inner.store.offers;
        for _ in 0..MAX_RACES {
            let signed = self.signed(&kept, balance).await?;
            match offers.commit_purchase(&kept.stored, Some(&signed)).await {
                Ok(()) => {
                    stencil_crashpoint::reach("x402.kept");
                    return Ok(kept);
                }
                // The same payment was shown twice at once, or another one of the same payer.
                Err(StoreError::Conflict(_)) => {
                    if let Some(known) = self.known(tenant, name, bought, &claim).await? {
                        return Ok(known);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(later("the payer shows too many payments at once"))
    }

    /// A payment that was shown before: for the same it is good again, for a time. `None`: it was not.
    pub(super) async fn known(
        &self,
        tenant: &TenantId,
        name: &str,
        bought: &Bought,
        claim: &Claim,
    ) -> Result<Option<Kept>, No> {
        let offers = &self.inner.store.offers;
        let stored = offers.purchase(tenant, &claim.purchase(tenant).0).await?;
        let Some(stored) = stored else {
            return Ok(None);
        };
        let kept = Kept::of(stored)?;
        let purchase = &kept.purchase;
        if purchase.fingerprint != claim.fingerprint() {
            return Err(spent("the nonce was used for another payment"));
        }
        if kept.stored.offer != name || !purchase.bought.is(bought) {
            return Err(spent("the payment has bought something else"));
        }
        let repeat_us = i64::try_from(purchase.repeat_s.saturating_mul(1_000_000));
        let repeat_us = repeat_us.unwrap_or(i64::MAX);
        let over = |first_us: i64| self.inner.clock.now_us() > first_us.saturating_add(repeat_us);
        if purchase.answered_us.is_some_and(over) {
            return Err(spent(&format!(
                "the payment was answered, and is not again after {} seconds",
                purchase.repeat_s
            )));
        }
        Ok(Some(kept))
    }

    async fn verified(
        &self,
        tenant: &TenantId,
        offer: &Offer,
        bought: &Bought,
        payment: &PaymentPayload,
        claim: &Claim,
    ) -> Result<(Purchase, Amount, i64), No> {
        let priced = offer.priced(&self.inner.chains);
        if priced.is_empty() {
            return Err(later("the hub follows none of the chains of this offer"));
        }
        let ways: Vec<_> = priced.iter().map(|priced| priced.way.clone()).collect();
        let now_us = self.inner.clock.now_us();
        let now_s = now_us.unsigned_abs() / 1_000_000;
        let checked = x402::verify(&ways, payment, now_s)?;
        let Some(Priced {
            chain, token, way, ..
        }) = priced.get(checked.offer)
        else {
            return Err(later("the offer was changed"));
        };
        let authorization = checked.authorization;
        self.rested(chain.as_ref(), tenant, authorization.from)
            .await?;
        let verified = ask::conclude(chain.as_ref(), way.domain.token, checked).await?;
        let purchase = Purchase {
            bought: bought.clone(),
            chain: chain.name().to_owned(),
            token: token.clone(),
            amount: way.amount,
            pay_to: way.pay_to,
            payer: verified.payer(),
            nonce: authorization.nonce,
            // At most so much later, as was checked.
            valid_before_s: u64::try_from(authorization.valid_before).unwrap_or(u64::MAX),
            fingerprint: claim.fingerprint(),
            to: way.domain.token,
            call_data: verified.call_data(),
            gas: ask::gas(&verified),
            needs: offer.needs,
            settle_s: offer.settle_s,
            repeat_s: offer.repeat_s,
            answered_us: None,
            held: None,
            charge: None,
            attempt: 0,
            held_by: None,
            called_off: false,
        };
        Ok((purchase, verified.balance(), now_us))
    }

    /// Settles a purchase and waits until it is as deep as it has to be, for as long as its offer
    /// says. What was settled before is not settled again.
    ///
    /// # Errors
    /// Why it is not.
    pub(crate) async fn settle(&self, kept: &Kept) -> Result<B256, No> {
        let inner = &self.inner;
        let purchase = &kept.purchase;
        let paying = || Paying::from(purchase);
        if purchase.called_off {
            self.call_off(kept).await?;
            return Err(failed(purchase, CALLED_OFF.to_owned()));
        }
        if let Paid::Firm { tx } = self.paid(kept).await? {
            return Ok(tx);
        }
        let Some(chain) = inner.chains.by_name(&purchase.chain) else {
            let why = format!("the hub follows chain `{}` no more", purchase.chain);
            return Err(No::Later(Some(paying()), why));
        };
        self.have_settled(chain.as_ref(), kept).await?;
        stencil_crashpoint::reach("x402.ordered");
        let tx = self.wait(chain.as_ref(), kept).await?;
        stencil_crashpoint::reach("x402.settled");
        Ok(tx)
    }

    /// Makes a purchase an invoice and orders its settlement. One whose order is refused is called off: it
    /// would be looked for, and count against its payer, for nothing.
    async fn have_settled(&self, chain: &dyn Chain, kept: &Kept) -> Result<(), No> {
        let purchase = &kept.purchase;
        let order = kept.order();
        // What one request calls off another must not order.
        let _turn = self.inner.ordering.turn(kept.stored.purchase).await;
        let ordered = chain.sent(&order.tenant, &order.key).await;
        if matches!(ordered, Ok(None)) {
            let (tenant, id) = (&kept.stored.tenant, &kept.stored.purchase);
            let stored = self.inner.store.offers.purchase(tenant, id).await?;
            let stored = stored.ok_or_else(|| later("the purchase is gone"))?;
            if Kept::of(stored)?.purchase.called_off {
                return Err(failed(purchase, CALLED_OFF.to_owned()));
            }
            if !kept.fresh {
                // It was verified long ago, and not ordered since: what it costs would be for nothing.
                ask::still_good(chain, purchase).await?;
            }
        }
        self.invoice(kept).await?;
        stencil_crashpoint::reach("x402.invoiced");
        if matches!(ordered, Ok(None)) {
            // Others of its payer may have come to nothing since it was verified.
            let (tenant, payer) = (&kept.stored.tenant, purchase.payer);
            if let Err(no) = self.rested(chain, tenant, payer).await {
                if matches!(no, No::Rests(..)) {
                    self.call_off(kept).await?;
                }
                return Err(no);
            }
        }
        match chain.order(&order).await {
            Ok(_) => Ok(()),
            Err(not @ NotOrdered::Refused(_)) => {
                let no = self.not_ordered(chain, kept, &not);
                if !matches!(chain.sent(&order.tenant, &order.key).await, Ok(None)) {
                    return Err(no);
                }
                self.call_off(kept).await?;
                let No::Later(_, why) = no else {
                    return Err(no);
                };
                Err(failed(purchase, format!("{why}: sign a new payment later")))
            }
            Err(not) => Err(self.not_ordered(chain, kept, &not)),
        }
    }

    /// Keeps that a purchase is called off, and calls its invoice off.
    async fn call_off(&self, kept: &Kept) -> Result<(), No> {
        let (tenant, id) = (&kept.stored.tenant, &kept.stored.purchase);
        for _ in 0..MAX_RACES {
            let stored = self.inner.store.offers.purchase(tenant, id).await?;
            let mut next = Kept::of(stored.ok_or_else(|| later("the purchase is gone"))?)?;
            if next.purchase.called_off {
                break;
            }
            let (mut exposed, mut exposure) = self.exposure(&next).await?;
            exposure.settle(next.purchase.payer, Id(*id));
            exposed.body = serde_json::json!(exposure).to_string();
            next.purchase.called_off = true;
            next.stored.version += 1;
            next.stored.changed_us = self.inner.clock.now_us();
            next.stored.body = next.purchase.body();
            let offers = &self.inner.store.offers;
            match offers.commit_purchase(&next.stored, Some(&exposed)).await {
                Ok(()) => break,
                Err(StoreError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        stencil_crashpoint::reach("x402.called_off");
        let called_off = self.inner.till.call_off(tenant, Id(*id)).await;
        called_off.map_err(|not| later(&not.to_string()))
    }

    /// Makes the invoice that a purchase is, if it is not there.
    pub(super) async fn invoice(&self, kept: &Kept) -> Result<(), No> {
        let (purchase, stored) = (&kept.purchase, &kept.stored);
        let (id, created_us) = (Id(stored.purchase), stored.created_us);
        let definition = purchase.definition(id, &stored.tenant, created_us);
        let definition = definition.map_err(|error| {
            let detail = format!("it can be no invoice: {error}");
            No::Refused(Refused::new(Reason::InvalidPayload, detail))
        })?;
        // One at a time: of two at once that make the same, one would find it half made.
        let _one_at_a_time = self.inner.opening.lock().await;
        match self.inner.till.open(definition, &stored.offer).await {
            Ok(()) => Ok(()),
            Err(NotOpened::Store(error)) => Err(error.into()),
            Err(NotOpened::Refused(why)) => {
                tracing::warn!(tenant = %stored.tenant, offer = stored.offer, why,
                    "a purchase can be no invoice");
                Err(No::Later(Some(purchase.into()), why))
            }
        }
    }

    /// Orders a transaction; one that was ordered before is not again.
    pub(super) async fn order(
        &self,
        chain: &dyn Chain,
        kept: &Kept,
        order: &Order,
    ) -> Result<Sent, No> {
        let ordered = chain.order(order).await;
        ordered.map_err(|not| self.not_ordered(chain, kept, &not))
    }

    fn not_ordered(&self, chain: &dyn Chain, kept: &Kept, not: &NotOrdered) -> No {
        let stored = &kept.stored;
        let who = Who::Named(stored.tenant.as_str().into());
        if self
            .inner
            .lines
            .may_write(who, "a settlement is not ordered")
        {
            tracing::warn!(tenant = %stored.tenant, offer = stored.offer, chain = chain.name(),
                why = %not, "a settlement is not ordered");
        }
        let why = match not {
            NotOrdered::NoAccount(_) => "the hub has no account to settle it by",
            NotOrdered::Refused(_) => "the seller's limit of what settlements may cost is reached",
            _ => "the chain can't be asked now, or too much that the hub has sent is not final yet",
        };
        No::Later(Some(Paying::from(&kept.purchase)), why.to_owned())
    }

    /// Waits until it is paid, or is known not to be.
    async fn wait(&self, chain: &dyn Chain, kept: &Kept) -> Result<B256, No> {
        let purchase = &kept.purchase;
        let until = Instant::now() + Duration::from_secs(purchase.settle_s);
        loop {
            match self.paid(kept).await? {
                Paid::Firm { tx } => return Ok(tx),
                Paid::Short { came } => {
                    let detail = format!(
                        "of {} base units {came} came: the token takes a fee of what it transfers; \
                         what came is given back",
                        purchase.amount
                    );
                    return Err(failed(purchase, detail));
                }
                Paid::Confirming => {}
                Paid::Nothing => {
                    let order = kept.order();
                    let sent = chain.sent(&order.tenant, &order.key).await;
                    if let Some(why) = self.hopeless(chain, kept, sent.ok().flatten()).await? {
                        // What came while this was looked at counts.
                        if let Paid::Nothing = self.paid(kept).await? {
                            return Err(failed(purchase, why));
                        }
                    }
                }
            }
            if Instant::now() >= until {
                let why = "it is not settled yet";
                return Err(No::Later(Some(purchase.into()), why.to_owned()));
            }
            let look = until.min(Instant::now() + LOOK);
            let _ = timeout_at(look, chain.stepped()).await;
        }
    }

    /// Why a settlement that has brought nothing won't any more.
    ///
    /// A transaction that was reverted is no proof that nothing was paid: whoever saw it may have
    /// brought the same authorisation before it. That stands in a block which is no newer, so all up
    /// to there has to be read first.
    async fn hopeless(
        &self,
        chain: &dyn Chain,
        kept: &Kept,
        sent: Option<Sent>,
    ) -> Result<Option<String>, No> {
        let outcome = match sent {
            Some(Sent::Included(outcome) | Sent::Final(outcome)) => outcome,
            Some(Sent::Lost) => {
                let why = "its transaction can never be included: sign a new payment";
                return Ok(Some(why.to_owned()));
            }
            Some(Sent::Pending) | None => return Ok(None),
        };
        if !self.read_up_to(chain, outcome.block).await? {
            return Ok(None);
        }
        let why = if outcome.succeeded {
            self.elsewhere(chain, kept, &outcome).await?
        } else {
            "the token has refused the transfer: the payer has spent the money or cancelled the \
             authorisation meanwhile; nothing was paid"
        };
        Ok(Some(why.to_owned()))
    }

    /// Where the money of a settlement is that went through and has not paid its purchase.
    async fn elsewhere(
        &self,
        chain: &dyn Chain,
        kept: &Kept,
        outcome: &Outcome,
    ) -> Result<&'static str, No> {
        let transaction = format!("{}:{:#x}", chain.id(), outcome.tx);
        let payments = &self.inner.store.payments;
        let came = payments
            .credits_of(&kept.stored.tenant, &transaction, MAX_CAME)
            .await?;
        Ok(if came.iter().any(Option::is_some) {
            "what was signed has the nonce, the amount and the payee of an invoice of the seller's, and has paid that \
             invoice: nothing was bought by it here; sign a new payment with a nonce of its own"
        } else if came.is_empty() {
            "the token has not transferred what was signed: nothing of it came to the seller"
        } else {
            "the token has not transferred what was signed: does it take a fee? The payment is among \
             what came for no invoice"
        })
    }

    /// Whether all that a chain says up to a block is in the invoices.
    pub(super) async fn read_up_to(&self, chain: &dyn Chain, block: u64) -> Result<bool, No> {
        let chains = &self.inner.store.chains;
        let Some(state) = chains.chain(chain.name()).await? else {
            return Ok(false);
        };
        let read = chains.chain_position(chain.name(), READER).await? >= state.last_entry;
        Ok(read && state.cursor.is_some_and(|cursor| cursor.number >= block))
    }

    pub(super) async fn paid(&self, kept: &Kept) -> Result<Paid, No> {
        let (tenant, id) = (&kept.stored.tenant, &kept.stored.purchase);
        let invoice = self.inner.store.payments.invoice(tenant, id).await?;
        Ok(match invoice {
            Some(invoice) => paid(&invoice)?,
            None => Paid::Nothing,
        })
    }

    /// Keeps that a purchase was answered: from then on it is again for a time only.
    ///
    /// # Errors
    /// The store.
    pub(crate) async fn answered(&self, kept: &Kept) -> Result<(), No> {
        let mut next = kept.clone();
        if next.purchase.answered_us.is_some() {
            return Ok(());
        }
        let now_us = self.inner.clock.now_us();
        next.purchase.answered_us = Some(now_us);
        next.stored.version += 1;
        next.stored.changed_us = now_us;
        next.stored.body = next.purchase.body();
        match self
            .inner
            .store
            .offers
            .commit_purchase(&next.stored, None)
            .await
        {
            // Another request with the same payment was answered first.
            Ok(()) | Err(StoreError::Conflict(_)) => {}
            Err(error) => return Err(error.into()),
        }
        stencil_crashpoint::reach("x402.answered");
        Ok(())
    }
}

/// Reads the header that pays.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn payment(value: &[u8]) -> Result<PaymentPayload, No> {
    Ok(header::payment(value)?)
}
