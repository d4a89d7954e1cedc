//! What a chain says of the money of a charge.

use stencil_payments::observation::Needs;
use stencil_payments::port::{Called, Chain, Order, Outcome, Sent};
use stencil_payments::x402::charge::{Answer, Stage};
use stencil_payments::x402::hold::CheckedHold;
use stencil_payments::{B256, U256};

use super::ask;
use super::kept::{Kept, No};
use super::purchase::{Held, Paid};
use super::sales::Sales;

/// After so long beyond its time nothing can be in a block any more, seconds: blocks' clocks differ.
pub(super) const BEYOND_S: u64 = 600;
/// Settlements that may fail for good before it is given up.
const MAX_ATTEMPTS: u32 = 3;

/// `StencilEscrow.stateOf`.
const NONE: u8 = 0;
const HELD: u8 = 1;
const REFUNDED: u8 = 3;

impl Sales {
    /// Whether the hold is as deep as it has to be; has it made where nobody has.
    pub(super) async fn firm(&self, chain: &dyn Chain, kept: &Kept) -> Result<bool, No> {
        self.invoice(kept).await?;
        let sent = self.order(chain, kept, &kept.order()).await?;
        let (Outcome { block, .. }, is_final) = match sent {
            Sent::Included(outcome) => (outcome, false),
            Sent::Final(outcome) => (outcome, true),
            Sent::Pending | Sent::Lost => return Ok(false),
        };
        let chains = &self.inner.store.chains;
        let state = chains.chain(chain.name()).await?;
        let cursor = state.and_then(|state| state.cursor);
        let deep = cursor.map_or(0, |cursor| {
            cursor.number.saturating_add(1).saturating_sub(block)
        });
        let enough = is_final
            || match kept.purchase.needs {
                Needs::Confirmations(wanted) => deep >= u64::from(wanted.max(1)),
                Needs::Safe | Needs::Finalized => false,
            };
        // One that was reverted is no proof: anybody may have brought the same before.
        Ok(enough && self.hold_state(chain, kept).await? == Some(HELD))
    }

    /// Where the escrow says that a hold is; `None`: it can't be asked now.
    pub(super) async fn hold_state(
        &self,
        chain: &dyn Chain,
        kept: &Kept,
    ) -> Result<Option<u8>, No> {
        let Some(held) = &kept.purchase.held else {
            return Ok(None);
        };
        let called = chain
            .call(held.escrow, CheckedHold::state_data(held.hold))
            .await;
        Ok(match called {
            Ok(Called::Returned(word)) if word.len() == 32 => {
                U256::from_be_slice(&word).try_into().ok()
            }
            _ => None,
        })
    }

    /// By which transaction a purchase is paid; `None`: it is not.
    ///
    /// # Errors
    /// The store.
    pub(crate) async fn transaction(&self, kept: &Kept) -> Result<Option<B256>, No> {
        Ok(match self.paid(kept).await? {
            Paid::Firm { tx } => Some(tx),
            _ => None,
        })
    }

    /// What the chain says of the money; `None`: nothing that can be relied on.
    pub(super) async fn answer(
        &self,
        chain: &dyn Chain,
        kept: &mut Kept,
        stage: Stage,
    ) -> Result<Option<Answer>, No> {
        if let Paid::Firm { tx } = self.paid(kept).await? {
            return Ok(Some(Answer::Captured { tx }));
        }
        let now_s = self.inner.clock.now_us().unsigned_abs() / 1_000_000;
        match (kept.purchase.held.clone(), stage) {
            (None, _) => self.answer_of_token(chain, kept, now_s).await,
            (Some(held), Stage::Refunding) => {
                self.answer_of_refund(chain, kept, &held, now_s).await
            }
            (Some(held), _) => self.answer_of_release(chain, kept, &held).await,
        }
    }

    /// Of a bare authorisation.
    pub(super) async fn answer_of_token(
        &self,
        chain: &dyn Chain,
        kept: &mut Kept,
        now_s: u64,
    ) -> Result<Option<Answer>, No> {
        let order = capture_order(kept);
        let over = now_s > kept.purchase.valid_before_s.saturating_add(BEYOND_S);
        let failed = match chain.sent(&order.tenant, &order.key).await {
            Err(_) => return Ok(None),
            Ok(None) if over => None,
            Ok(None) => return Ok(Some(Answer::Open)),
            // One that went through without money for its invoice has paid nothing either.
            Ok(Some(Sent::Final(Outcome { block, .. }))) => Some(block),
            Ok(Some(Sent::Lost)) => Some(0),
            Ok(Some(_)) => return Ok(None),
        };
        let (to, data) = ask::nonce(&kept.purchase);
        let used = match chain.call(to, data).await {
            Ok(called) => ask::used(&called),
            Err(_) => None,
        };
        Ok(match used {
            None => None,
            // The payer has spent it or cancelled it. Who brought it to the payee has paid.
            Some(true) => {
                let read = self.read_up_to(chain, failed.unwrap_or(0)).await?;
                // What came short (the token takes a fee) is the invoice's matter, and no capture.
                let paid = self.paid(kept).await?;
                let not_paid = matches!(paid, Paid::Nothing | Paid::Short { .. });
                (read && not_paid).then_some(Answer::Gone)
            }
            Some(false) if over => Some(Answer::Gone),
            Some(false) if failed.is_some() && kept.purchase.attempt < MAX_ATTEMPTS => {
                kept.purchase.attempt += 1;
                Some(Answer::Open)
            }
            Some(false) => None,
        })
    }

    /// Of a hold that is being released.
    pub(super) async fn answer_of_release(
        &self,
        chain: &dyn Chain,
        kept: &mut Kept,
        held: &Held,
    ) -> Result<Option<Answer>, No> {
        let order = capture_order(kept);
        let failed = match chain.sent(&order.tenant, &order.key).await {
            Err(_) => return Ok(None),
            Ok(None) => false,
            Ok(Some(
                Sent::Final(Outcome {
                    succeeded: false, ..
                })
                | Sent::Lost,
            )) => true,
            Ok(Some(_)) => return Ok(None),
        };
        let now_s = self.inner.clock.now_us().unsigned_abs() / 1_000_000;
        Ok(match self.hold_state(chain, kept).await? {
            Some(REFUNDED) => Some(Answer::Gone),
            // From the deadline on it can only go back, and anybody may bring that about; and none is made
            // any more, where it was in a block that is no longer.
            Some(state) if is_over(state, held, now_s) => Some(Answer::Gone),
            Some(HELD) if failed && kept.purchase.attempt < MAX_ATTEMPTS => {
                kept.purchase.attempt += 1;
                Some(Answer::Open)
            }
            Some(HELD) if !failed => Some(Answer::Open),
            _ => None,
        })
    }

    /// Of a hold that is being given back.
    pub(super) async fn answer_of_refund(
        &self,
        chain: &dyn Chain,
        kept: &Kept,
        held: &Held,
        now_s: u64,
    ) -> Result<Option<Answer>, No> {
        match self.hold_state(chain, kept).await? {
            Some(HELD) => {
                let order = kept.order_of("-refund", held.escrow, held.refund.clone());
                self.order(chain, kept, &order).await?;
                Ok(None)
            }
            Some(REFUNDED) => Ok(Some(Answer::Gone)),
            // It was never made, and can't be any more: the contract takes none after its deadline.
            Some(state) if is_over(state, held, now_s) => Ok(Some(Answer::Gone)),
            _ => Ok(None),
        }
    }
}

/// Whether a hold in this state can't be released any more, and none be made.
fn is_over(state: u8, held: &Held, now_s: u64) -> bool {
    matches!(state, NONE | HELD) && now_s > held.deadline_s.saturating_add(BEYOND_S)
}

/// The transaction that captures: another one where one has failed for good.
pub(super) fn capture_order(kept: &Kept) -> Order {
    let attempt = match kept.purchase.attempt {
        0 => String::new(),
        again => format!("-{again}"),
    };
    match &kept.purchase.held {
        None => kept.brings(&attempt),
        Some(held) => {
            let what = format!("-release{attempt}");
            kept.order_of(&what, held.escrow, held.release.clone())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_its_deadline_a_hold_is_over_whether_or_not_it_was_made() {
        let held = Held {
            escrow: Default::default(),
            hold: B256::ZERO,
            deadline_s: 1_000,
            release: Default::default(),
            refund: Default::default(),
        };
        let last = held.deadline_s + BEYOND_S;
        for state in [NONE, HELD] {
            assert!(!is_over(state, &held, last));
            assert!(is_over(state, &held, last + 1));
        }
        // Released: its payment is on its way to the invoice.
        assert!(!is_over(2, &held, u64::MAX));
    }
}
