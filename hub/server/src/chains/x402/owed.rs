//! What payers have under way and have not paid: on bare authorisations, and what they have signed; and whether
//! anything more that they sign is brought to a chain.

use stencil_payments::Address;
use stencil_payments::invoice::Id;
use stencil_payments::money::{Amount, Asset};
use stencil_payments::port::{Chain, Outcome, Sent};
use stencil_payments::x402::charge::{self, Charge, Stage, What};
use stencil_payments::x402::exposure::{Exposure, NotCovered, Unsettled};
use stencil_payments::x402::{Reason, Refused};
use stencil_protocol::id::TenantId;
use stencil_store::{Error as StoreError, MAX_PAGE, PayerKey, StoredExposure, StoredPurchase};

use super::answer::BEYOND_S;
use super::kept::{Kept, No, later};
use super::purchase::Paid;
use super::sales::Sales;
use crate::chains::brake;

/// Charges that one payer may have under way with a tenant on bare authorisations, whatever they are
/// worth.
const MAX_OF_PAYER: usize = 64;

impl Sales {
    /// What the payer, who has `balance`, has under way with this purchase, which is paid before anything
    /// is given.
    pub(super) async fn signed(&self, kept: &Kept, balance: Amount) -> Result<StoredExposure, No> {
        let (mut stored, exposure) = self.exposure(kept).await?;
        let mut exposure = self.still_unsettled(kept, exposure).await?;
        let purchase = &kept.purchase;
        let unsettled = Unsettled {
            value: purchase.amount,
            until_s: purchase.valid_before_s,
        };
        exposure
            .sign(purchase.payer, Id(kept.stored.purchase), unsettled, balance)
            .map_err(not_covered)?;
        stored.body = serde_json::json!(exposure).to_string();
        Ok(stored)
    }

    /// Leaves out what of a payer's purchases is settled by now, or won't be.
    async fn still_unsettled(&self, kept: &Kept, mut exposure: Exposure) -> Result<Exposure, No> {
        let payer = kept.purchase.payer;
        let now_s = self.inner.clock.now_us().unsigned_abs() / 1_000_000;
        let all: Vec<_> = exposure.unsettled(payer).collect();
        for (id, unsettled) in all {
            let is_over = now_s > unsettled.until_s.saturating_add(BEYOND_S);
            if is_over || !self.is_unsettled(&kept.stored.tenant, id).await? {
                exposure.settle(payer, id);
            }
        }
        Ok(exposure)
    }

    async fn is_unsettled(&self, tenant: &TenantId, id: Id) -> Result<bool, No> {
        let stored = self.inner.store.offers.purchase(tenant, &id.0).await?;
        let Some(stored) = stored else {
            return Ok(false);
        };
        let kept = Kept::of(stored)?;
        let purchase = &kept.purchase;
        if purchase.called_off {
            return Ok(false);
        }
        // Money that is held is the payer's no more.
        if let Some(stage) = purchase.charge.as_ref().map(Charge::stage) {
            return Ok(stage == Stage::Waiting);
        }
        if !matches!(self.paid(&kept).await?, Paid::Nothing) {
            return Ok(false);
        }
        let Some(chain) = self.inner.chains.by_name(&purchase.chain) else {
            return Ok(true);
        };
        let order = kept.order();
        // What was reverted is not ordered again.
        Ok(!matches!(
            chain.sent(&order.tenant, &order.key).await,
            Ok(Some(
                Sent::Lost
                    | Sent::Included(Outcome {
                        succeeded: false,
                        ..
                    })
                    | Sent::Final(Outcome {
                        succeeded: false,
                        ..
                    })
            ))
        ))
    }

    /// What the payer, who has `balance`, has under way with this charge.
    pub(super) async fn reserved(
        &self,
        kept: &Kept,
        limit: Amount,
        balance: Amount,
    ) -> Result<StoredExposure, No> {
        self.taken_back(&kept.stored).await?;
        let (mut stored, exposure) = self.exposure(kept).await?;
        let mut exposure = self.still_unsettled(kept, exposure).await?;
        let Some(charge) = &kept.purchase.charge else {
            return Err(later("there is no charge"));
        };
        let terms = charge.terms();
        let lost = exposure.lost(terms.payer);
        let what_helps = what_helps(terms.payer, kept.purchase.token.asset(), lost);
        if exposure.count(terms.payer) >= MAX_OF_PAYER {
            return Err(spent_limit(format!(
                "the payer has {MAX_OF_PAYER} commands under way or unpaid, and no more may be; {what_helps}"
            )));
        }
        exposure
            .covers(terms.payer, terms.value, balance)
            .map_err(not_covered)?;
        exposure
            .reserve(terms.payer, terms.id, terms.value, limit)
            .map_err(|exceeded| spent_limit(format!("{exceeded}; {what_helps}")))?;
        stored.body = serde_json::json!(exposure).to_string();
        Ok(stored)
    }

    /// Has what the chain has taken back of a payer's count as unpaid again, before anything more is done for them:
    /// whoever goes on with charges may not have come to it yet.
    async fn taken_back(&self, of: &StoredPurchase) -> Result<(), No> {
        let (offers, now_us) = (&self.inner.store.offers, self.inner.clock.now_us());
        let due = offers
            .waking_purchases_of(&of.tenant, &of.payer, now_us, MAX_PAGE)
            .await?;
        for stored in due {
            let known = Kept::of(stored)?;
            let stage = known.purchase.charge.as_ref().map(Charge::stage);
            if stage != Some(Stage::Captured) {
                continue;
            }
            // That it is unpaid is kept first; what follows is gone on with also where it fails now.
            if let Err(No::Store(error)) = self.advance(known).await {
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// Whether what a payer has signed may be brought to a chain, for all that has come to nothing.
    pub(super) async fn rested(
        &self,
        chain: &dyn Chain,
        tenant: &TenantId,
        payer: Address,
    ) -> Result<(), No> {
        let (store, now_us) = (&self.inner.store, self.inner.clock.now_us());
        let rests = brake::rests(store, chain, tenant, payer, now_us).await;
        let Some(rests) = rests.map_err(|unknown| later(&unknown.to_string()))? else {
            return Ok(());
        };
        let after_us = rests.until_us.saturating_sub(now_us).unsigned_abs();
        let refused = Refused::new(Reason::InvalidTransactionState, rests.to_string());
        Err(No::Rests(refused, after_us.div_ceil(1_000_000).max(1)))
    }

    /// Forgives a payer what was lost to them.
    ///
    /// # Errors
    /// The store.
    pub(crate) async fn forgive(
        &self,
        tenant: &TenantId,
        asset: Asset,
        payer: Address,
    ) -> Result<(), StoreError> {
        loop {
            let (mut stored, mut exposure) =
                self.exposed(tenant, asset, &payer.into_array()).await?;
            let before = exposure.clone();
            exposure.forgive(payer);
            if exposure == before {
                return Ok(());
            }
            stored.body = serde_json::json!(exposure).to_string();
            match self.inner.store.offers.put_exposure(tenant, &stored).await {
                Err(StoreError::Conflict(_)) => {}
                done => return done,
            }
        }
    }

    /// What the payer has under way, as it would be kept next.
    pub(super) async fn exposure(&self, kept: &Kept) -> Result<(StoredExposure, Exposure), No> {
        let asset = kept.purchase.token.asset();
        let (tenant, payer) = (&kept.stored.tenant, &kept.stored.payer);
        Ok(self.exposed(tenant, asset, payer).await?)
    }

    pub(super) async fn exposed(
        &self,
        tenant: &TenantId,
        asset: Asset,
        payer: &PayerKey,
    ) -> Result<(StoredExposure, Exposure), StoreError> {
        let asset = asset.to_string();
        let offers = &self.inner.store.offers;
        let stored = offers.exposure(tenant, &asset, payer).await?;
        let exposure = match &stored {
            None => Exposure::default(),
            Some(stored) => {
                serde_json::from_str(&stored.body).map_err(|error| StoreError::Corrupt {
                    what: "exposure",
                    why: error.to_string(),
                })?
            }
        };
        let next = StoredExposure {
            asset,
            payer: *payer,
            version: stored.map_or(1, |stored| stored.version + 1),
            body: String::new(),
        };
        Ok((next, exposure))
    }

    /// What the payer has under way after what follows; `None`: as before.
    pub(super) async fn after(
        &self,
        kept: &Kept,
        effects: &[charge::Effect],
    ) -> Result<Option<StoredExposure>, No> {
        let Some(charge) = kept
            .purchase
            .charge
            .as_ref()
            .filter(|_| kept.purchase.held.is_none())
        else {
            return Ok(None);
        };
        let (payer, id, value) = {
            let terms = charge.terms();
            (terms.payer, terms.id, terms.value)
        };
        let counts = |what: &What| {
            use What::{Charged, Free, Loss, Uncharged};
            matches!(what, Charged { .. } | Free | Loss | Uncharged)
        };
        let mut all = effects.iter().rev().map(|effect| effect.what);
        let Some(last) = all.find(counts) else {
            return Ok(None);
        };
        let (mut stored, mut exposure) = self.exposure(kept).await?;
        match last {
            What::Uncharged => exposure.reopen(payer, id, value),
            What::Loss => exposure.lose(payer, id, value),
            _ => exposure.free(payer, id),
        }
        stored.body = serde_json::json!(exposure).to_string();
        Ok(Some(stored))
    }
}

fn not_covered(not: NotCovered) -> No {
    match not {
        // The same payment will do once others are settled.
        NotCovered::TooMany { .. } => later(&not.to_string()),
        NotCovered::Balance { .. } => {
            No::Refused(Refused::new(Reason::InsufficientFunds, not.to_string()))
        }
    }
}

/// What a payer who is beyond a limit can do: wait for what is under way; what was lost has to be forgiven.
fn what_helps(payer: Address, asset: Asset, lost: Amount) -> String {
    match lost.is_zero() {
        true => "wait until what is under way is over".to_owned(),
        false => format!(
            "{lost} base units of that are lost, since devices have acted and were not paid, and count until the \
             seller forgives them: an admin of theirs does so by POST /api/v1/payers/{}/forgive with {}",
            payer.to_checksum(None),
            serde_json::json!({ "asset": asset.to_string() })
        ),
    }
}

fn spent_limit(detail: String) -> No {
    No::Refused(Refused::new(Reason::InvalidTransactionState, detail))
}
