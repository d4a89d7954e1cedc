//! Brings what an invoice says and does in line with the facts.

use super::policy::{Overpaid, Underpaid};
use super::tally::{Buckets, Tally};
use super::{Effect, Error, Event, Facets, Invoice, Late, Refund, State, Status, What, books};
use crate::cause::Key;
use crate::ledger::Entry;
use crate::money::Amount;

impl Invoice {
    /// State, refunds and what is told, after facts have changed from what they were `before`.
    pub(super) fn settle_up(&mut self, before: &Self, effects: &mut Vec<Effect>) {
        let tally = Tally::of(self);
        self.state = self.stands(&tally);
        for (method, owed) in (0_u16..).zip(self.owed(&tally)) {
            self.owe(method, owed, tally.due[usize::from(method)], effects);
        }
        self.turn(effects);
        self.ask_for_refunds(before, effects);
        let tally = Tally::of(self);
        for method in &tally.rate_needed {
            if self.rates_asked.insert(*method) {
                let what = What::RateNeeded { method: *method };
                effects.push(self.effect("rate-needed", (*method).into(), what));
            }
        }
        self.facets = self.facets_by(&tally);
        if (self.state, self.facets) != (before.state, before.facets) {
            self.revision = self.revision.saturating_add(1);
            let (revision, state, facets) = (self.revision, self.state, self.facets);
            let what = What::Changed {
                revision,
                state,
                facets,
            };
            effects.push(self.effect("changed", revision, what));
        }
    }

    fn effect(&self, name: &str, number: u64, what: What) -> Effect {
        let domain = format!("stencil/invoice/{name}");
        let key = Key::of(&domain, &[&self.definition.id.0, &number.to_be_bytes()]);
        Effect { key, what }
    }

    /// Makes what is due to go back by a method what is owed. What was not sent can still be
    /// withdrawn: whoever sends a refund applies [`Event::RefundSent`] first, which is refused then.
    fn owe(&mut self, method: u16, owed: Amount, due: Amount, effects: &mut Vec<Effect>) {
        let mut more = owed.saturating_sub(due);
        if owed < due {
            more = owed;
            for refund in &mut self.refunds {
                if refund.method == method && refund.status() == Status::Due {
                    refund.withdrawn = true;
                    let key = Key::of("stencil/invoice/refund-withdrawn", &[&refund.id.0]);
                    effects.push(Effect {
                        key,
                        what: What::RefundWithdrawn { id: refund.id },
                    });
                }
            }
        }
        if !more.is_zero() {
            let count = self.refunds.len() as u64;
            self.refunds
                .push(Refund::new(self.definition.id, count, method, more));
        }
    }

    fn stands(&self, tally: &Tally) -> State {
        if self.cancelled {
            return State::Cancelled;
        }
        if self.returned {
            return if self.settled {
                State::Settled
            } else {
                State::Cancelled
            };
        }
        let enough = self.enough_ppb();
        if Tally::coverage(self, &tally.firm).reaches(enough) {
            State::Settled
        } else if Tally::coverage(self, &tally.seen).reaches(enough) {
            State::Confirming
        } else if self.now_us >= self.closes_us() {
            State::Expired
        } else if tally.came.iter().any(|came| !came.is_zero()) {
            State::Seen
        } else {
            State::New
        }
    }

    /// What is to go back and was not sent, by method: only what is deep enough.
    fn owed(&self, tally: &Tally) -> Vec<Amount> {
        let all_back = self.cancelled || self.returned;
        let policy = &self.definition.policy;
        // As long as something late is undecided, it may yet complete what came in time.
        let undecided = tally.seen.iter().any(|seen| !seen.undecided.is_zero());
        let part_back =
            self.state == State::Expired && policy.underpaid == Underpaid::Refund && !undecided;
        let of = |firm: &Buckets| {
            if all_back || part_back {
                firm.total()
            } else {
                firm.refused
            }
        };
        let mut owed: Vec<_> = tally.firm.iter().map(of).collect();
        if self.state != State::Settled || all_back || self.keeps_excess {
            return owed;
        }
        if let Overpaid::Refund { least_bps } = policy.overpaid {
            let slots = Tally::slots(self, &tally.firm);
            for (slot, amount) in Tally::coverage(self, &tally.firm).excess(&slots, least_bps) {
                let method = &mut owed[slots[slot].method];
                *method = method.saturating_add(amount);
            }
        }
        owed
    }

    /// Tells a turn from settled to not settled and back.
    fn turn(&mut self, effects: &mut Vec<Effect>) {
        let settled = self.state == State::Settled;
        if settled == self.settled {
            return;
        }
        self.settled = settled;
        if settled {
            self.rounds = self.rounds.saturating_add(1);
            self.settled_us = self.now_us;
        }
        let round = self.rounds;
        effects.push(if settled {
            self.effect("settled", round.into(), What::Settled { round })
        } else {
            self.effect("unsettled", round.into(), What::Unsettled { round })
        });
    }

    /// Asks for each refund that became due, or due again after it failed. What was not sent after all
    /// was asked for before.
    fn ask_for_refunds(&self, before: &Self, effects: &mut Vec<Effect>) {
        for (at, refund) in self.refunds.iter().enumerate() {
            let was = before.refunds.get(at);
            let is_asked = was.is_some_and(|was| was.failures == refund.failures);
            if refund.status() == Status::Due && !is_asked {
                let Refund {
                    id,
                    method,
                    amount,
                    failures,
                    ..
                } = *refund;
                let parts: [&[u8]; 2] = [&id.0, &failures.to_be_bytes()];
                let key = Key::of("stencil/invoice/refund-due", &parts);
                effects.push(Effect {
                    key,
                    what: What::RefundDue { id, method, amount },
                });
            }
        }
    }

    fn facets_by(&self, tally: &Tally) -> Facets {
        let any = |wanted: &[Status]| {
            self.refunds
                .iter()
                .any(|refund| wanted.contains(&refund.status()))
        };
        let policy = &self.definition.policy;
        let seen = Tally::coverage(self, &tally.seen);
        let refund_due = any(&[Status::Due, Status::Sent]);
        let late_waits =
            policy.late == Late::Ask && tally.seen.iter().any(|seen| !seen.undecided.is_zero());
        let part_waits = self.state == State::Expired
            && policy.underpaid == Underpaid::Ask
            && !seen.is_nothing();
        Facets {
            underpaid: !seen.is_nothing() && !seen.reaches(self.enough_ppb()),
            overpaid: seen.exceeds(),
            late: tally.late,
            expired: self.now_us > self.definition.expires_us,
            refund_due,
            refund_stuck: self.refunds.iter().any(|refund| {
                refund.stuck && matches!(refund.status(), Status::Due | Status::Sent)
            }),
            refunded: any(&[Status::Confirmed]) && !refund_due,
            over_refunded: tally
                .came
                .iter()
                .zip(&tally.sent)
                .any(|(came, gone)| gone > came),
            undecided: (late_waits || part_waits) && !self.cancelled && !self.returned,
            rate_needed: !tally.rate_needed.is_empty(),
        }
    }

    /// The entries between what the books hold by `before` and by this.
    pub(super) fn post(
        &mut self,
        before: &Self,
        event: &Event,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Error> {
        let held = books::positions(before)?;
        let mut entries = Vec::new();
        for (asset, after) in books::positions(self)? {
            let number = self.postings.to_be_bytes();
            let name = asset.to_string();
            let parts: [&[u8]; 3] = [&self.definition.id.0, &number, name.as_bytes()];
            let key = Key::of("stencil/invoice/entry", &parts);
            let memo = format!("invoice {}: {}", self.definition.id, memo(event));
            let before = held.get(&asset).cloned().unwrap_or_default();
            let entry = Entry::between(key, asset, self.now_us, &memo, &before, &after)?;
            entries.extend(entry.map(|entry| Effect {
                key,
                what: What::Post(entry),
            }));
        }
        if !entries.is_empty() {
            self.postings = self.postings.saturating_add(1);
            effects.splice(0..0, entries);
        }
        Ok(())
    }
}

/// Why an entry was posted, for people.
fn memo(event: &Event) -> String {
    match event {
        Event::Credit { key, .. } => format!("payment {key}"),
        Event::Retracted { key, .. } => format!("payment {key} reorganised away"),
        Event::Depth { key, depth, .. } => {
            format!("payment {key} has {} confirmations", depth.confirmations)
        }
        Event::Clock { .. } => "time".into(),
        Event::Repriced { method, .. } => format!("new rate of method {method}"),
        Event::RefundSent { id, .. } => format!("refund {id} sent"),
        Event::RefundFailed { id } => format!("refund {id} failed"),
        Event::RefundNotSent { id } => format!("refund {id} not sent"),
        Event::RefundStuck { id, .. } => format!("whether refund {id} can be sent"),
        Event::RefundUnchecked { id, .. } => format!("whether refund {id} was checked"),
        Event::RefundConfirmed { id, .. } => format!("refund {id} confirmed"),
        Event::RefundRetracted { id, .. } => format!("refund {id} reorganised away"),
        Event::Cancel => "cancelled".into(),
        Event::Resolve(decision) => format!("decided: {decision:?}"),
    }
}
