//! From events to effects.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, U256};
use serde::{Deserialize, Serialize};

use super::coverage::ALL_PPB;
use super::policy::ALL_BPS;
use super::tally::Tally;
use super::{
    Decision, Definition, Effect, Error, Event, Facets, Payment, Refund, State, Status, refund,
};
use crate::money::Amount;
use crate::observation::{Key, Track};

/// The most payments of a part of the price that an invoice keeps, and the part: less than one in so many
/// parts of what is due is small. So as many as there are places for come to the whole price.
pub const MAX_CREDITS: usize = 256;
/// The most small payments beside them: anybody may send those for nothing, and they take no place of a
/// payment that counts. What is beyond that belongs to what is unmatched.
pub const MAX_SMALL: usize = 64;
/// Places beside those for small payments that leave nothing open: what is missing may be little.
pub const LAST_PLACES: usize = 16;

/// An invoice and what came of it. Serialised, it is what a store keeps: whatever was applied to it
/// before, it goes on from there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invoice {
    pub(super) definition: Definition,
    pub(super) credits: BTreeMap<Key, Track<Payment>>,
    /// What is due if all is paid late, by method.
    pub(super) repriced: BTreeMap<u16, Amount>,
    pub(super) refunds: Vec<Refund>,
    pub(super) state: State,
    /// Late payments count, since somebody said so.
    pub(super) late_accepted: bool,
    pub(super) late_refused: bool,
    /// All goes back, since somebody said so.
    pub(super) returned: bool,
    pub(super) facets: Facets,
    pub(super) now_us: i64,
    /// What somebody has said to be enough, in parts of a thousand million of the price.
    enough_ppb: Option<u32>,
    pub(super) keeps_excess: bool,
    pub(super) cancelled: bool,
    /// When something was last taken back by a reorganisation.
    disturbed_us: Option<i64>,
    pub(super) rates_asked: BTreeSet<u16>,
    pub(super) settled: bool,
    pub(super) rounds: u32,
    /// When it was settled last.
    pub(super) settled_us: i64,
    pub(super) revision: u64,
    /// Counts the sets of entries.
    pub(super) postings: u64,
}

impl Invoice {
    /// A new invoice.
    ///
    /// # Errors
    /// A definition that makes no sense.
    pub fn new(definition: Definition) -> Result<Self, Error> {
        definition.validate()?;
        Ok(Self {
            now_us: definition.created_us,
            definition,
            credits: BTreeMap::new(),
            repriced: BTreeMap::new(),
            refunds: Vec::new(),
            state: State::New,
            late_accepted: false,
            late_refused: false,
            returned: false,
            facets: Facets::default(),
            enough_ppb: None,
            keeps_excess: false,
            cancelled: false,
            disturbed_us: None,
            rates_asked: BTreeSet::new(),
            settled: false,
            rounds: 0,
            settled_us: 0,
            revision: 0,
            postings: 0,
        })
    }

    /// What it was made as.
    #[must_use]
    pub fn definition(&self) -> &Definition {
        &self.definition
    }

    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// What else is to be said.
    #[must_use]
    pub fn facets(&self) -> Facets {
        self.facets
    }

    /// What goes back, in the order in which it was decided.
    #[must_use]
    pub fn refunds(&self) -> &[Refund] {
        &self.refunds
    }

    /// The payments that the canonical chain has, with their keys.
    pub fn payments(&self) -> impl Iterator<Item = (Key, &Payment)> {
        self.credits
            .iter()
            .filter_map(|(key, track)| Some((*key, track.canonical()?.0)))
    }

    /// What was last in a block under a key, whether the canonical chain has it or not.
    #[must_use]
    pub fn last_payment(&self, key: &Key) -> Option<&Payment> {
        self.credits.get(key)?.last()
    }

    /// The payments whose blocks are no longer of their chains, and which no other block has.
    pub fn lost_payments(&self) -> impl Iterator<Item = (Key, &Payment)> {
        let lost = |track: &Track<Payment>| track.canonical().is_none();
        self.credits
            .iter()
            .filter(move |(_, track)| lost(track))
            .filter_map(|(key, track)| Some((*key, track.last()?)))
    }

    /// The payments that the canonical chain has and that are deep enough.
    pub fn firm_payments(&self) -> impl Iterator<Item = (Key, &Payment)> {
        self.credits.iter().filter_map(|(key, track)| {
            let (payment, depth) = track.canonical()?;
            let method = self.definition.methods.get(usize::from(payment.method))?;
            method.needs.met_by(depth).then_some((*key, payment))
        })
    }

    /// The payments that the canonical chain has and may still lose: those that are not final.
    pub fn loose_payments(&self) -> impl Iterator<Item = (Key, &Payment)> {
        self.credits.iter().filter_map(|(key, track)| {
            let (payment, depth) = track.canonical()?;
            (!depth.finalized).then_some((*key, payment))
        })
    }

    /// Whether those of them that count by `counts` are enough, however deep they are.
    pub fn is_enough(&self, counts: impl Fn(Key, &Payment) -> bool) -> bool {
        let mut those = self.clone();
        those.credits.retain(|key, track| {
            let there = track.canonical();
            there.is_some_and(|(payment, _)| counts(*key, payment))
        });
        let tally = Tally::of(&those);
        Tally::coverage(&those, &tally.seen).reaches(self.enough_ppb())
    }

    /// Which settlement was the last, from 1, and when, µs since the epoch; 0 and 0 before the first.
    #[must_use]
    pub fn settlement(&self) -> (u32, i64) {
        (self.rounds, self.settled_us)
    }

    /// Who has paid by a method. Whose of them a refund is, is what [`shares`](Self::shares) say.
    #[must_use]
    pub fn payers(&self, method: u16) -> BTreeSet<Address> {
        let by = self
            .payments()
            .filter(|(_, payment)| payment.method == method);
        by.map(|(_, payment)| payment.from).collect()
    }

    /// What still has to come by a method, if the rest is paid by it alone, base units rounded up.
    /// Nothing once it is enough.
    #[must_use]
    pub fn open(&self, method: u16) -> Option<Amount> {
        let due = self.definition.methods.get(usize::from(method))?.due;
        let tally = Tally::of(self);
        let covered = Tally::coverage(self, &tally.seen);
        if covered.reaches(self.enough_ppb()) {
            return Some(Amount::ZERO);
        }
        Some(covered.missing(due))
    }

    /// When time alone changes something next, µs since the epoch: to be told the time then, and no
    /// sooner. `None` where nothing but an event of another kind does.
    #[must_use]
    pub fn wakes_us(&self) -> Option<i64> {
        match self.state {
            State::New | State::Seen | State::Confirming => {
                let steps = [
                    self.definition.expires_us.saturating_add(1),
                    self.closes_us(),
                ];
                steps
                    .into_iter()
                    .filter(|step_us| *step_us > self.now_us)
                    .min()
            }
            State::Settled | State::Expired | State::Cancelled => None,
        }
    }

    /// When windows, grace and the quiet after a reorganisation are over, µs since the epoch.
    #[must_use]
    pub fn closes_us(&self) -> i64 {
        let policy = &self.definition.policy;
        let windows = self
            .definition
            .expires_us
            .saturating_add(policy.late_window_us());
        windows
            .max(self.disturbed_us.unwrap_or(i64::MIN))
            .saturating_add(policy.grace_us)
    }

    /// Takes an event. What was known already changes nothing and has no effects.
    ///
    /// The effects are to be kept in the same transaction as the new state.
    ///
    /// # Errors
    /// What can't be: nothing has changed then. A credit that is refused belongs to what is
    /// unmatched, so that it is not lost.
    pub fn apply(&mut self, event: &Event) -> Result<Vec<Effect>, Error> {
        let mut next = self.clone();
        next.take(event)?;
        if next == *self {
            return Ok(Vec::new());
        }
        let mut effects = Vec::new();
        next.settle_up(self, &mut effects);
        next.post(self, event, &mut effects)?;
        *self = next;
        Ok(effects)
    }

    fn take(&mut self, event: &Event) -> Result<(), Error> {
        match event {
            Event::Credit { key, seq, payment } => self.credit(*key, *seq, payment)?,
            Event::Retracted { key, seq } => {
                let was = self
                    .credits
                    .get(key)
                    .is_some_and(|track| track.canonical().is_some());
                let track = self.track(*key)?;
                track.retract(*seq);
                if was && track.canonical().is_none() {
                    self.disturbed_us = Some(self.now_us);
                }
            }
            Event::Depth { key, seq, depth } => self.track(*key)?.deepen(*seq, *depth),
            Event::Clock { now_us } => self.now_us = self.now_us.max(*now_us),
            Event::Repriced { method, due, .. } => self.reprice(*method, *due)?,
            Event::RefundSent { id, tx } => {
                let refund = self.refund(*id)?;
                if refund.status() == Status::Withdrawn {
                    return Err(too_late("to send the refund", "it was withdrawn"));
                }
                refund.sent = true;
                refund.tx = tx.or(refund.tx);
                refund.stuck &= tx.is_none();
            }
            Event::RefundFailed { id } => {
                let refund = self.refund(*id)?;
                if refund.status() == Status::Sent {
                    refund.sent = false;
                    refund.unchecked = false;
                    refund.failures = refund.failures.saturating_add(1);
                }
            }
            Event::RefundNotSent { id } => {
                let refund = self.refund(*id)?;
                refund.sent &= refund.status() != Status::Sent;
            }
            Event::RefundStuck { id, stuck } => self.refund(*id)?.stuck = *stuck,
            Event::RefundUnchecked { id, unchecked } => self.refund(*id)?.unchecked = *unchecked,
            Event::RefundConfirmed { id, seq } => {
                let refund = self.refund(*id)?;
                if refund.status() == Status::Withdrawn {
                    return Err(too_late("to confirm the refund", "it was withdrawn"));
                }
                refund.sent = true;
                refund.confirmed = refund.confirmed.max(Some(*seq));
            }
            Event::RefundRetracted { id, seq } => {
                let refund = self.refund(*id)?;
                refund.retracted = refund.retracted.max(Some(*seq));
            }
            Event::Cancel => {
                if self.settled && !self.cancelled {
                    return Err(too_late(
                        "to cancel",
                        "it is settled; give all back instead",
                    ));
                }
                self.cancelled = true;
            }
            Event::Resolve(decision) => self.resolve(*decision)?,
        }
        Ok(())
    }

    fn credit(&mut self, key: Key, seq: u64, payment: &Payment) -> Result<(), Error> {
        let method = self.definition.methods.get(usize::from(payment.method));
        let method = method.ok_or(Error::NoMethod(payment.method))?;
        if method.token.asset().chain != key.chain {
            return Err(Error::OtherChain(key));
        }
        if payment.amount.is_zero() || !payment.amount.is_sane() {
            return Err(Error::Credit(key));
        }
        let is_known = self.last_payment(&key).is_some();
        if !is_known && !self.takes_of(Some(key), payment.method, payment.amount) {
            return Err(Error::TooManyCredits(key));
        }
        self.credits.entry(key).or_default().include(seq, *payment);
        Ok(())
    }

    /// Whether there is a place for a further payment of that much by a method.
    #[must_use]
    pub fn takes(&self, method: u16, amount: Amount) -> bool {
        self.takes_of(None, method, amount)
    }

    /// The same of a payment of which something else may be known already.
    fn takes_of(&self, key: Option<Key>, method: u16, amount: Amount) -> bool {
        let others = self
            .credits
            .iter()
            .filter(|(other, _)| Some(**other) != key);
        let (mut large, mut small) = (0, 0);
        for (_, track) in others {
            match track.last() {
                Some(payment) if !self.is_small(payment.method, payment.amount) => large += 1,
                _ => small += 1,
            }
        }
        if !self.is_small(method, amount) {
            return large < MAX_CREDITS;
        }
        if small < MAX_SMALL {
            return true;
        }
        let open = self.open(method).unwrap_or_default();
        small < MAX_SMALL + LAST_PLACES && !open.is_zero() && amount >= open
    }

    /// Whether that much is next to nothing of what is due by a method.
    fn is_small(&self, method: u16, amount: Amount) -> bool {
        let method = self.definition.methods.get(usize::from(method));
        let parts = U256::from(MAX_CREDITS);
        method.is_some_and(|method| amount.0.saturating_mul(parts) < method.due.0)
    }

    /// What is known of a payment. An observation of one that is not known yet is kept, too: what
    /// comes first need not have happened first.
    fn track(&mut self, key: Key) -> Result<&mut Track<Payment>, Error> {
        if !self.credits.contains_key(&key) && !self.takes_of(None, 0, Amount::ZERO) {
            return Err(Error::TooManyCredits(key));
        }
        Ok(self.credits.entry(key).or_default())
    }

    fn refund(&mut self, id: refund::Id) -> Result<&mut Refund, Error> {
        let known = self.refunds.iter_mut().find(|refund| refund.id == id);
        known.ok_or(Error::NoRefund(id))
    }

    fn reprice(&mut self, method: u16, due: Amount) -> Result<(), Error> {
        let definition = self.definition.methods.get(usize::from(method));
        let asset = definition.ok_or(Error::NoMethod(method))?.token.asset();
        if due.is_zero() || !due.is_sane() {
            return Err(Error::Due(asset));
        }
        match self.repriced.insert(method, due) {
            Some(known) if known != due => Err(Error::Repriced(method)),
            _ => Ok(()),
        }
    }

    fn resolve(&mut self, decision: Decision) -> Result<(), Error> {
        let anything_went = self.refunds.iter().any(Refund::on_its_way);
        match decision {
            Decision::RefundAll => {
                self.returned = true;
                return Ok(());
            }
            _ if self.returned || self.cancelled => {
                return Err(too_late("to decide", "all goes back"));
            }
            Decision::KeepExcess => self.keeps_excess = true,
            Decision::AcceptUnderpaid if self.enough_ppb.is_some() => {}
            Decision::AcceptLate if self.late_accepted => {}
            Decision::RefuseLate if self.late_refused => {}
            Decision::AcceptUnderpaid | Decision::AcceptLate if anything_went => {
                return Err(too_late("to accept it", "something goes back already"));
            }
            Decision::AcceptUnderpaid => {
                let tally = Tally::of(self);
                let parts = Tally::coverage(self, &tally.seen).ppb();
                if parts == 0 {
                    return Err(too_late("to accept it", "nothing is there"));
                }
                self.enough_ppb = Some(parts);
            }
            Decision::AcceptLate if self.late_refused => {
                return Err(too_late("to accept it", "it was refused"));
            }
            Decision::RefuseLate if self.late_accepted => {
                return Err(too_late("to refuse it", "it was accepted"));
            }
            Decision::AcceptLate => self.late_accepted = true,
            Decision::RefuseLate => self.late_refused = true,
        }
        Ok(())
    }

    /// What is enough, in parts of a thousand million of the price.
    pub(super) fn enough_ppb(&self) -> u32 {
        let tolerance = u32::from(self.definition.policy.tolerance_bps);
        let by_policy = ALL_PPB - tolerance * (ALL_PPB / u32::from(ALL_BPS));
        self.enough_ppb
            .map_or(by_policy, |decided| decided.min(by_policy))
    }
}

fn too_late(what: &'static str, why: &'static str) -> Error {
    Error::TooLate { what, why }
}
