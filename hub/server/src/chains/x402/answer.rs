//! What a chain says of the money of a charge.

use stencil_payments::observation::Needs;
use stencil_payments::port::{Called, Chain, Order, Outcome, Sent, Unknown};
use stencil_payments::x402::charge::{Answer, Stage};
use stencil_payments::x402::hold::CheckedHold;
use stencil_payments::{B256, U256};
use stencil_store::BlockMark;

use super::ask;
use super::kept::{Kept, No};
use super::purchase::{Held, Paid};
use super::sales::Sales;
use crate::chains::READER;

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
    ///
    /// The hub's own transaction says how deep the hold is only where that has made it: where it was reverted anybody
    /// may have made it before, or makes it later. And where it is may be known from before a reorganisation. So the
    /// escrow is asked as of the block that is as deep as it has to be. Where nobody says how it was then, as nodes of
    /// chains whose blocks are final late, it is enough that it has the hold at each look since a block that is so deep.
    pub(super) async fn firm(&self, chain: &dyn Chain, kept: &mut Kept) -> Result<bool, No> {
        self.invoice(kept).await?;
        // It stands only where this look says the same.
        let noted = kept.purchase.held_by.take();
        let sent = self.order(chain, kept, &kept.order()).await?;
        let (outcome, is_final) = match sent {
            Sent::Included(outcome) => (outcome, false),
            Sent::Final(outcome) => (outcome, true),
            Sent::Pending | Sent::Lost => return Ok(false),
        };
        let chains = &self.inner.store.chains;
        let Some(state) = chains.chain(chain.name()).await? else {
            return Ok(false);
        };
        let confirmed = match kept.purchase.needs {
            Needs::Confirmations(wanted) => state.cursor.and_then(|cursor| {
                let above = u64::from(wanted.max(1)) - 1;
                cursor.number.checked_sub(above)
            }),
            Needs::Safe | Needs::Finalized => None,
        };
        let Some(deep) = confirmed.max(state.finalized.map(|last| last.number)) else {
            return Ok(false);
        };
        if outcome.succeeded && outcome.block > deep {
            return Ok(false);
        }
        // What the hub has made in a block that is final needs no state of so long ago, which nodes may not have.
        let made = is_final && outcome.succeeded;
        if !made {
            let held = match self.hold_state_at(chain, kept, Some(deep)).await? {
                Some(state) => state == HELD,
                None => {
                    kept.purchase.held_by = noted;
                    self.is_held_since(chain, kept, state.cursor, deep).await?
                }
            };
            if !held {
                return Ok(false);
            }
        }
        Ok(self.hold_state(chain, kept).await? == Some(HELD))
    }

    /// Whether the escrow had the hold at each look since a block up to this one; notes since which it has it.
    async fn is_held_since(
        &self,
        chain: &dyn Chain,
        kept: &mut Kept,
        newest: Option<BlockMark>,
        deep: u64,
    ) -> Result<bool, No> {
        let Some(newest) = newest.map(|newest| newest.number) else {
            return Ok(false);
        };
        let Some(state) = self.hold_state_at(chain, kept, Some(newest)).await? else {
            return Ok(false);
        };
        let held_by = &mut kept.purchase.held_by;
        *held_by = (state == HELD).then(|| held_by.unwrap_or(newest));
        Ok(held_by.is_some_and(|by| by <= deep))
    }

    /// Where the escrow says that a hold is; `None`: it can't be asked now.
    pub(super) async fn hold_state(
        &self,
        chain: &dyn Chain,
        kept: &Kept,
    ) -> Result<Option<u8>, No> {
        self.hold_state_at(chain, kept, None).await
    }

    /// The same as of a block, or of the newest.
    async fn hold_state_at(
        &self,
        chain: &dyn Chain,
        kept: &Kept,
        block: Option<u64>,
    ) -> Result<Option<u8>, No> {
        let Some(held) = &kept.purchase.held else {
            return Ok(None);
        };
        let data = CheckedHold::state_data(held.hold);
        let called = match block {
            None => chain.call(held.escrow, data).await,
            Some(block) => chain.call_at(held.escrow, data, block).await,
        };
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
            (Some(held), _) => self.answer_of_release(chain, kept, &held, now_s).await,
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
            Ok(None) if over => false,
            Ok(None) => return Ok(Some(Answer::Open)),
            // One that went through without money for its invoice has paid nothing either.
            Ok(Some(Sent::Final(_) | Sent::Lost)) => true,
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
                let told = self.used_for_good(chain, kept, over).await?;
                // What came short (the token takes a fee) is the invoice's matter, and no capture.
                let paid = self.paid(kept).await?;
                let not_paid = matches!(paid, Paid::Nothing | Paid::Short { .. });
                (told && not_paid).then_some(Answer::Gone)
            }
            Some(false) if over => Some(Answer::Gone),
            Some(false) if failed && kept.purchase.attempt < MAX_ATTEMPTS => {
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
        now_s: u64,
    ) -> Result<Option<Answer>, No> {
        let order = capture_order(kept);
        let Ok(sent) = chain.sent(&order.tenant, &order.key).await else {
            return Ok(None);
        };
        let (failed, under_way) = match sent {
            None => (false, false),
            Some(sent) if is_in_vain(&sent) => (true, false),
            Some(Sent::Pending) => (false, true),
            // It may come to be in another block, and do what it should there.
            Some(Sent::Included(Outcome { succeeded, .. })) if !succeeded => (false, true),
            // It has gone through: its payment is on its way to the invoice.
            Some(_) => return Ok(None),
        };
        match self.hold_state(chain, kept).await? {
            Some(REFUNDED) if !under_way => Ok(Some(Answer::Gone)),
            // From the deadline on it can only go back, and anybody may bring that about; and none is made
            // any more, where it was in a block that is no longer.
            Some(state) if is_over(state, held, now_s) => Ok(Some(Answer::Gone)),
            // It was in a block that is no longer.
            Some(NONE) => self.answer_of_no_hold(chain, kept, now_s, !under_way).await,
            Some(HELD) if failed && kept.purchase.attempt < MAX_ATTEMPTS => {
                kept.purchase.attempt += 1;
                Ok(Some(Answer::Open))
            }
            Some(HELD) if !failed && !under_way => Ok(Some(Answer::Open)),
            _ => Ok(None),
        }
    }

    /// Of a hold that is being given back.
    pub(super) async fn answer_of_refund(
        &self,
        chain: &dyn Chain,
        kept: &mut Kept,
        held: &Held,
        now_s: u64,
    ) -> Result<Option<Answer>, No> {
        match self.hold_state(chain, kept).await? {
            Some(HELD) => {
                let what = format!("-refund{}", again(kept.purchase.attempt));
                let order = kept.order_of(&what, held.escrow, held.refund.clone());
                let sent = self.order(chain, kept, &order).await?;
                if is_in_vain(&sent) && kept.purchase.attempt < MAX_ATTEMPTS {
                    kept.purchase.attempt += 1;
                }
                Ok(None)
            }
            Some(REFUNDED) => Ok(Some(Answer::Gone)),
            // It was never made, and can't be any more: the contract takes none after its deadline.
            Some(state) if is_over(state, held, now_s) => Ok(Some(Answer::Gone)),
            Some(NONE) => self.answer_of_no_hold(chain, kept, now_s, false).await,
            _ => Ok(None),
        }
    }

    /// Of a hold that the escrow does not have: it never was, or was in a block that is no longer. `anew`: it is
    /// made again where what its payer has signed still stands.
    async fn answer_of_no_hold(
        &self,
        chain: &dyn Chain,
        kept: &mut Kept,
        now_s: u64,
        anew: bool,
    ) -> Result<Option<Answer>, No> {
        let over = now_s > kept.purchase.valid_before_s.saturating_add(BEYOND_S);
        let Ok(sent) = self.last_hold(chain, kept).await else {
            return Ok(None);
        };
        match sent {
            None => {}
            Some(sent) if is_in_vain(&sent) => {}
            // What is in no block comes too late by then.
            Some(Sent::Pending) if over => return Ok(Some(Answer::Gone)),
            Some(_) => return Ok(None),
        }
        let (to, data) = ask::nonce(&kept.purchase);
        let used = match chain.call(to, data).await {
            Ok(called) => ask::used(&called),
            Err(_) => None,
        };
        let Some(used) = used else {
            return Ok(None);
        };
        match not_held(used, over, anew && kept.purchase.attempt < MAX_ATTEMPTS) {
            Next::Wait => Ok(None),
            Next::Gone if used => {
                // Who brought it to the escrow meanwhile has used it as well, and then it is held.
                let told = self.used_for_good(chain, kept, over).await?;
                let is_none = self.hold_state(chain, kept).await? == Some(NONE);
                Ok((told && is_none).then_some(Answer::Gone))
            }
            Next::Gone => Ok(Some(Answer::Gone)),
            Next::Anew => {
                // Where the payer has the money no more, it would be gas for nothing.
                if ask::still_good(chain, &kept.purchase).await.is_ok() {
                    kept.purchase.attempt += 1;
                    let order = kept.brings(&again(kept.purchase.attempt));
                    self.order(chain, kept, &order).await?;
                }
                Ok(None)
            }
        }
    }

    /// Whether what is known to be used or cancelled is so in a block that is final, and all that it has brought is in
    /// the invoices. `over`: its time is. Where nobody says how the chain was at that block, it is enough then that all
    /// was read in which it could be used.
    async fn used_for_good(&self, chain: &dyn Chain, kept: &Kept, over: bool) -> Result<bool, No> {
        let chains = &self.inner.store.chains;
        let Some(state) = chains.chain(chain.name()).await? else {
            return Ok(false);
        };
        // What is in the invoices is asked after this.
        if chains.chain_position(chain.name(), READER).await? < state.last_entry {
            return Ok(false);
        }
        if over && state.read_s > Some(kept.purchase.valid_before_s) {
            return Ok(true);
        }
        let Some(last) = state.finalized else {
            return Ok(false);
        };
        let (to, data) = ask::nonce(&kept.purchase);
        let used = chain.call_at(to, data, last.number).await;
        Ok(used.is_ok_and(|called| ask::used(&called) == Some(true)))
    }

    /// Where the last transaction is that was ordered to have the money held; `None`: none was.
    async fn last_hold(&self, chain: &dyn Chain, kept: &Kept) -> Result<Option<Sent>, Unknown> {
        for attempt in (0..=kept.purchase.attempt).rev() {
            let order = kept.brings(&again(attempt));
            let sent = chain.sent(&order.tenant, &order.key).await?;
            if sent.is_some() {
                return Ok(sent);
            }
        }
        Ok(None)
    }
}

/// What follows where the escrow does not have a hold, and no transaction of the hub's can bring it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// It can't be made any more.
    Gone,
    /// It is to be made again.
    Anew,
    /// It may still come, brought by somebody else.
    Wait,
}

/// `used`: its payer's authorisation is used or cancelled; `over`: its time is; `anew`: it may be made again.
fn not_held(used: bool, over: bool, anew: bool) -> Next {
    match (used, over, anew) {
        (true, ..) | (_, true, _) => Next::Gone,
        (false, false, true) => Next::Anew,
        (false, false, false) => Next::Wait,
    }
}

/// Whether a transaction has failed for good.
fn is_in_vain(sent: &Sent) -> bool {
    match sent {
        Sent::Lost => true,
        Sent::Final(outcome) => !outcome.succeeded,
        Sent::Pending | Sent::Included(_) => false,
    }
}

/// Whether a hold in this state can't be released any more, and none be made.
fn is_over(state: u8, held: &Held, now_s: u64) -> bool {
    matches!(state, NONE | HELD) && now_s > held.deadline_s.saturating_add(BEYOND_S)
}

/// The transaction that captures: another one where one has failed for good.
pub(super) fn capture_order(kept: &Kept) -> Order {
    let attempt = again(kept.purchase.attempt);
    match &kept.purchase.held {
        None => kept.brings(&attempt),
        Some(held) => {
            let what = format!("-release{attempt}");
            kept.order_of(&what, held.escrow, held.release.clone())
        }
    }
}

/// What an order's key has at its end, so that one that is made again is another one.
fn again(attempt: u32) -> String {
    match attempt {
        0 => String::new(),
        attempt => format!("-{attempt}"),
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

    #[test]
    fn a_hold_that_the_escrow_does_not_have_is_gone_once_its_payer_has_cancelled_it() {
        for (over, anew) in [(false, false), (false, true), (true, false), (true, true)] {
            assert_eq!(not_held(true, over, anew), Next::Gone);
        }
    }

    #[test]
    fn a_hold_that_the_escrow_does_not_have_is_made_again_while_what_was_signed_stands() {
        assert_eq!(not_held(false, false, true), Next::Anew);
        // One that is being given back, or was made again often enough, can still be brought by others.
        assert_eq!(not_held(false, false, false), Next::Wait);
        for anew in [false, true] {
            assert_eq!(not_held(false, true, anew), Next::Gone);
        }
    }

    #[test]
    fn a_transaction_is_in_vain_when_it_has_failed_for_good() {
        let outcome = |succeeded| Outcome {
            tx: B256::ZERO,
            block: 1,
            block_hash: B256::ZERO,
            succeeded,
        };
        assert!(is_in_vain(&Sent::Lost));
        assert!(is_in_vain(&Sent::Final(outcome(false))));
        for sent in [
            Sent::Pending,
            Sent::Included(outcome(false)),
            Sent::Included(outcome(true)),
            Sent::Final(outcome(true)),
        ] {
            assert!(!is_in_vain(&sent), "{sent:?}");
        }
    }

    #[test]
    fn what_is_ordered_again_has_another_key() {
        let all = [0, 1, 2].map(again);
        assert_eq!(all, ["", "-1", "-2"]);
    }
}
