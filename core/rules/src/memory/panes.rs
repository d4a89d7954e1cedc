//! What a window remembers: its samples, summed up by pane.

use std::collections::VecDeque;

use minicbor::{Decode, Encode};

use super::pane::Pane;
use super::phase::{Phase, Verdict};
use super::{Seen, saved};
use crate::{Aggregate, Cause, Change, Error, Finite, Level, Limit, Observation, PANES, Window};

/// The kind's number in saved states.
const KIND: u8 = 3;

/// Times are in panes: pane `n` begins `n` pane lengths after the Unix epoch, and a
/// window that ends at `n` holds the [`PANES`] panes before `n`.
#[derive(Debug, Clone, Default, PartialEq, Encode, Decode)]
pub(crate) struct Panes {
    /// By time, none empty, from the next window's first on: at most 42.
    #[n(0)]
    list: VecDeque<Pane>,
    /// The first pane that held a sample.
    #[n(1)]
    first: Option<i64>,
    /// All windows that end by here have been judged.
    #[n(2)]
    judged: Option<i64>,
    #[n(3)]
    phase: Phase,
}

type Question = (u8, i64, i64, Level, i64);

fn question(window: &Window) -> Question {
    (
        window.of() as u8,
        window.over_us(),
        window.lateness_us(),
        window.level(),
        window.hold_us(),
    )
}

impl Panes {
    pub(crate) fn observe(
        &mut self,
        window: &Window,
        sample: &Observation<'_>,
        tell: &mut impl FnMut(Change),
    ) -> Seen {
        let value = Finite::of(&sample.value);
        if value.is_none() && window.of() != Aggregate::Count {
            return Seen::PassedOver;
        }
        let at = sample.time_us.div_euclid(pane_us(window));
        if self.judged.is_some_and(|judged| at < judged) {
            return Seen::Late;
        }
        self.first = Some(self.first.map_or(at, |first| first.min(at)));
        // Mostly the last one, or a new one after it.
        let place = match self.list.back() {
            Some(last) if last.at == at => self.list.len() - 1,
            Some(last) if last.at > at => self.list.partition_point(|pane| pane.at < at),
            _ => self.list.len(),
        };
        if self.list.get(place).is_none_or(|pane| pane.at != at) {
            self.list.insert(place, Pane::new(at));
        }
        self.list[place].add(window.of(), value);
        let complete_us = sample.time_us.saturating_sub(window.lateness_us());
        self.judge(window, complete_us.div_euclid(pane_us(window)), tell);
        Seen::Taken
    }

    /// When time alone may change something, µs: a window is judged by the device's own
    /// samples, and without any when it ended a window's length and the lateness ago.
    /// Who sends once in a while, or is cut off for a while, loses nothing by that.
    pub(crate) fn due_us(&self, window: &Window) -> Option<i64> {
        let end_us = self.due(window)?.saturating_mul(pane_us(window));
        Some(end_us.saturating_add(patience_us(window)))
    }

    /// Lets time pass, from one window that says something to the next: what came of it
    /// does not depend on how often time was told.
    pub(crate) fn advance(&mut self, window: &Window, now_us: i64, tell: &mut impl FnMut(Change)) {
        let complete_us = now_us.saturating_sub(patience_us(window));
        let through = complete_us.div_euclid(pane_us(window));
        while let Some(end) = self.due(window)
            && end <= through
        {
            self.judge(window, end, tell);
        }
    }

    pub(crate) const fn has_fired(&self) -> bool {
        self.phase.has_fired()
    }

    pub(crate) fn encode(&self, window: &Window, out: &mut Vec<u8>) {
        saved::write(KIND, &question(window), self, out);
    }

    /// Fresh if it was gathered under another condition.
    pub(crate) fn decode(window: &Window, bytes: &[u8]) -> Result<Self, Error> {
        Ok(saved::read(KIND, &question(window), bytes)?.unwrap_or_default())
    }

    /// The end of the next window to judge; `None` before the first sample.
    fn next(&self, window: &Window) -> Option<i64> {
        let lead = if early(window) { 1 } else { PANES };
        let first = self.first?.saturating_add(lead);
        Some(match self.judged {
            Some(judged) => first.max(judged.saturating_add(1)),
            None => first,
        })
    }

    /// The end of the next window that says something if no more samples come: one with
    /// samples, or one without whose count of none changes something.
    fn due(&self, window: &Window) -> Option<i64> {
        let next = self.next(window)?;
        match (self.list.front(), window.of()) {
            (Some(_), Aggregate::Count) => Some(next),
            (Some(pane), _) => Some(next.max(pane.at.saturating_add(1))),
            (None, Aggregate::Count) => {
                let holds = window.level().holds(self.phase.holds(), Finite::default());
                match self.phase {
                    Phase::Armed if !holds => None,
                    Phase::Fired { .. } if holds => None,
                    Phase::Holding { since_us } if holds => Some(next.max(held(window, since_us))),
                    _ => Some(next),
                }
            }
            (None, _) => None,
        }
    }

    /// Judges all windows that end by `through`, in their order.
    fn judge(&mut self, window: &Window, through: i64, tell: &mut impl FnMut(Change)) {
        if self.judged.is_some_and(|judged| through <= judged) {
            return;
        }
        let Some(mut end) = self.next(window) else {
            return;
        };
        while end <= through {
            self.forget(end);
            match self.list.front() {
                Some(pane) if pane.at < end => {
                    self.judge_one(window, end, tell);
                    end += 1;
                }
                pane => {
                    // A gap may be long; all windows in it are alike.
                    let last = pane.map_or(through, |pane| pane.at.min(through));
                    self.judge_empty(window, end, last, tell);
                    end = last.saturating_add(1);
                    if last == i64::MAX {
                        break;
                    }
                }
            }
        }
        self.judged = Some(through);
        if let Some(next) = self.next(window) {
            self.forget(next);
        }
    }

    fn judge_one(&mut self, window: &Window, end: i64, tell: &mut impl FnMut(Change)) {
        let inside = self.list.partition_point(|pane| pane.at < end);
        let panes = self.list.range(..inside);
        if let Some(value) = Pane::aggregate(panes, window.of()) {
            self.apply(window, end, value, tell);
        }
    }

    /// Windows without samples count none; of nothing there is no mean.
    fn judge_empty(
        &mut self,
        window: &Window,
        from: i64,
        last: i64,
        tell: &mut impl FnMut(Change),
    ) {
        if window.of() != Aggregate::Count {
            return;
        }
        self.apply(window, from, Finite::default(), tell);
        if let Phase::Holding { since_us } = self.phase {
            let end = held(window, since_us);
            if (from..=last).contains(&end) {
                self.apply(window, end, Finite::default(), tell);
            }
        }
    }

    fn apply(&mut self, window: &Window, end: i64, value: Finite, tell: &mut impl FnMut(Change)) {
        let end_us = end.saturating_mul(pane_us(window));
        let verdict = Verdict {
            holds: window.level().holds(self.phase.holds(), value),
            at_us: end_us,
            value: Some(value),
            cause: Cause::Window { end_us },
        };
        if let Some(change) = self.phase.apply(window.hold_us(), verdict) {
            tell(change);
        }
    }

    /// Forgets panes before the window that ends at `end`.
    fn forget(&mut self, end: i64) {
        let begin = end.saturating_sub(PANES);
        while self.list.front().is_some_and(|pane| pane.at < begin) {
            self.list.pop_front();
        }
    }
}

fn pane_us(window: &Window) -> i64 {
    window.over_us() / PANES
}

fn patience_us(window: &Window) -> i64 {
    window.over_us() + window.lateness_us()
}

/// The end of the first window that ends at least the hold after `since_us`.
fn held(window: &Window, since_us: i64) -> i64 {
    let pane_us = pane_us(window);
    let held_us = since_us.saturating_add(window.hold_us());
    held_us.div_euclid(pane_us) + i64::from(held_us.rem_euclid(pane_us) > 0)
}

/// Whether more samples could only confirm what a window says that began before the
/// device was first heard. Other windows are judged only if they began afterwards.
fn early(window: &Window) -> bool {
    matches!(
        (window.of(), window.level().limit()),
        (Aggregate::Count | Aggregate::Max, Limit::Above(_)) | (Aggregate::Min, Limit::Below(_))
    )
}
