//! What is left to people: the decisions that would decide something.

use super::policy::Overpaid;
use super::tally::{Lateness, Tally, lateness};
use super::{Decision, Event, Invoice};

impl Decision {
    /// Each of them.
    pub const ALL: [Self; 5] = [
        Self::AcceptUnderpaid,
        Self::AcceptLate,
        Self::RefuseLate,
        Self::KeepExcess,
        Self::RefundAll,
    ];
}

impl Invoice {
    /// The decisions that decide something as things stand. [`apply`](Self::apply) takes others, too, so that what
    /// was decided before is kept whatever order its events come in; who asks somebody to decide offers these.
    #[must_use]
    pub fn decisions(&self) -> Vec<Decision> {
        let is_left = |decision: &Decision| {
            let mut after = self.clone();
            let is_taken = after.apply(&Event::Resolve(*decision)).is_ok();
            is_taken && after != *self && self.matters(*decision)
        };
        Decision::ALL.into_iter().filter(is_left).collect()
    }

    /// Whether there is what a decision is about.
    fn matters(&self, decision: Decision) -> bool {
        let tally = Tally::of(self);
        let covered = Tally::coverage(self, &tally.seen);
        let is_late_otherwise = |than: Lateness| {
            let mut all = self.payments().map(|(_, payment)| lateness(self, payment));
            all.any(|it| it != Lateness::OnTime && it != than)
        };
        match decision {
            Decision::AcceptUnderpaid => !covered.reaches(self.enough_ppb()),
            Decision::AcceptLate => is_late_otherwise(Lateness::Counts),
            Decision::RefuseLate => is_late_otherwise(Lateness::Refused),
            Decision::KeepExcess => match self.definition.policy.overpaid {
                Overpaid::Keep => false,
                Overpaid::Refund { least_bps } => {
                    let slots = Tally::slots(self, &tally.seen);
                    !covered.excess(&slots, least_bps).is_empty()
                }
            },
            // What is called off goes back by itself.
            Decision::RefundAll => !self.cancelled,
        }
    }
}
