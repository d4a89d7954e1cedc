//! What has come, sorted by what it counts for.

use super::coverage::{Coverage, Slot};
use super::event::Payment;
use super::policy::{Late, LateRate};
use super::transition::Invoice;
use crate::money::Amount;

/// What one method has brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Buckets {
    /// In time.
    pub(super) on_time: Amount,
    /// Late, and counted.
    pub(super) late: Amount,
    /// Late, and to go back.
    pub(super) refused: Amount,
    /// Late, and nobody has decided, or the rate is missing.
    pub(super) undecided: Amount,
}

impl Buckets {
    pub(super) fn total(&self) -> Amount {
        [self.on_time, self.late, self.refused, self.undecided]
            .into_iter()
            .sum()
    }

    /// What is left when `gone` is taken off: first of what is refused, then of what was late, of
    /// what was in time, and of what is undecided.
    fn without(mut self, mut gone: Amount) -> Self {
        for bucket in [
            &mut self.refused,
            &mut self.late,
            &mut self.on_time,
            &mut self.undecided,
        ] {
            let taken = gone.min(*bucket);
            *bucket = bucket.saturating_sub(taken);
            gone = gone.saturating_sub(taken);
        }
        self
    }
}

/// What a late payment counts for; what goes back first comes first, as in [`Buckets::without`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lateness {
    Refused,
    Counts,
    OnTime,
    Undecided,
}

/// All that has come, by method.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    /// In the canonical chain, without what went back.
    pub(super) seen: Vec<Buckets>,
    /// Deep enough, without what went back.
    pub(super) firm: Vec<Buckets>,
    /// In the canonical chain, all of it.
    pub(super) came: Vec<Amount>,
    /// What went back or may have: what was sent, confirmed or not.
    pub(super) sent: Vec<Amount>,
    /// What is to go back and was not sent.
    pub(super) due: Vec<Amount>,
    /// What is confirmed to have gone back.
    pub(super) confirmed: Vec<Amount>,
    /// Whether anything came late.
    pub(super) late: bool,
    /// Methods that need a rate for what came late.
    pub(super) rate_needed: Vec<u16>,
}

impl Tally {
    pub(super) fn of(invoice: &Invoice) -> Self {
        let methods = &invoice.definition.methods;
        let mut seen = vec![Buckets::default(); methods.len()];
        let mut firm = seen.clone();
        let mut late = false;
        let mut rate_needed = Vec::new();
        for track in invoice.credits.values() {
            let Some((payment, depth)) = track.canonical() else {
                continue;
            };
            let at = usize::from(payment.method);
            let Some(method) = methods.get(at) else {
                continue;
            };
            let lateness = lateness(invoice, payment);
            late |= !matches!(lateness, Lateness::OnTime);
            let needs_rate = matches!(lateness, Lateness::Undecided)
                && counts_by_time(invoice, payment)
                && !invoice.repriced.contains_key(&payment.method);
            if needs_rate && !rate_needed.contains(&payment.method) {
                rate_needed.push(payment.method);
            }
            let add = |buckets: &mut Buckets| {
                let bucket = match lateness {
                    Lateness::OnTime => &mut buckets.on_time,
                    Lateness::Counts => &mut buckets.late,
                    Lateness::Refused => &mut buckets.refused,
                    Lateness::Undecided => &mut buckets.undecided,
                };
                *bucket = bucket.saturating_add(payment.amount);
            };
            add(&mut seen[at]);
            if method.needs.met_by(depth) {
                add(&mut firm[at]);
            }
        }
        let came: Vec<_> = seen.iter().map(Buckets::total).collect();
        let went = |which: fn(&super::Refund) -> bool| -> Vec<Amount> {
            let of = |at: usize| {
                let all = invoice
                    .refunds
                    .iter()
                    .filter(move |refund| usize::from(refund.method) == at);
                all.filter(|refund| which(refund))
                    .map(|refund| refund.amount)
                    .sum()
            };
            (0..methods.len()).map(of).collect()
        };
        let sent = went(super::Refund::on_its_way);
        let due = went(|refund| refund.status() == super::Status::Due);
        let confirmed = went(|refund| refund.status() == super::Status::Confirmed);
        let left = |buckets: Vec<Buckets>| -> Vec<Buckets> {
            let each = buckets.into_iter().zip(&sent);
            each.map(|(buckets, gone)| buckets.without(*gone)).collect()
        };
        Self {
            seen: left(seen),
            firm: left(firm),
            came,
            sent,
            due,
            confirmed,
            late,
            rate_needed,
        }
    }

    /// What counts towards the price, each with what would be all of it.
    pub(super) fn slots(invoice: &Invoice, buckets: &[Buckets]) -> Vec<Slot> {
        let mut slots = Vec::with_capacity(2 * buckets.len());
        for (method, (buckets, definition)) in
            buckets.iter().zip(&invoice.definition.methods).enumerate()
        {
            slots.push(Slot {
                method,
                paid: buckets.on_time,
                due: definition.due,
            });
            let late_due = late_due(invoice, method).unwrap_or(definition.due);
            slots.push(Slot {
                method,
                paid: buckets.late,
                due: late_due,
            });
        }
        slots
    }

    pub(super) fn coverage(invoice: &Invoice, buckets: &[Buckets]) -> Coverage {
        Coverage::of(&Self::slots(invoice, buckets))
    }
}

/// What would be due by a method if all came late: by the new rate, where there is one.
fn late_due(invoice: &Invoice, method: usize) -> Option<Amount> {
    let method = u16::try_from(method).ok()?;
    invoice.repriced.get(&method).copied()
}

/// Whether the policy counts what is in a block of that time, at some rate.
fn counts_by_time(invoice: &Invoice, payment: &Payment) -> bool {
    let Late::Accept { within_us, .. } = invoice.definition.policy.late else {
        return false;
    };
    time_us(payment) <= invoice.definition.expires_us.saturating_add(within_us)
}

pub(super) fn lateness(invoice: &Invoice, payment: &Payment) -> Lateness {
    let definition = &invoice.definition;
    if time_us(payment) <= definition.expires_us {
        return Lateness::OnTime;
    }
    if invoice.late_accepted {
        return Lateness::Counts;
    }
    if invoice.late_refused {
        return Lateness::Refused;
    }
    match definition.policy.late {
        Late::Refund => Lateness::Refused,
        Late::Ask => Lateness::Undecided,
        Late::Accept { .. } if !counts_by_time(invoice, payment) => Lateness::Refused,
        Late::Accept {
            rate: LateRate::Locked,
            ..
        } => Lateness::Counts,
        Late::Accept {
            rate: LateRate::New,
            ..
        } => {
            if invoice.repriced.contains_key(&payment.method) {
                Lateness::Counts
            } else {
                Lateness::Undecided
            }
        }
    }
}

/// When the payment's block was made, µs since the epoch.
fn time_us(payment: &Payment) -> i64 {
    let time_us = payment.block.time_s.saturating_mul(1_000_000);
    i64::try_from(time_us).unwrap_or(i64::MAX)
}
