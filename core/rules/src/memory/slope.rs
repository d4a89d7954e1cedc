//! What a rate remembers: some samples of the time that it goes over.

use std::collections::VecDeque;

use minicbor::{Decode, Encode};

use super::phase::Verdict;
use super::track::Track;
use super::{Seen, saved};
use crate::{Change, Error, Finite, Level, Observation, PANES, Rate};

/// The kind's number in saved states.
const KIND: u8 = 2;

/// The condition's progress, and what it compares with.
#[derive(Debug, Clone, Default, PartialEq, Encode, Decode)]
pub(crate) struct Slope {
    #[n(0)]
    track: Track,
    /// The first sample of each twentieth of the time, by time, from the one that the
    /// next sample may be compared with: at most 22.
    #[n(1)]
    kept: VecDeque<Point>,
}

#[derive(Debug, Clone, Copy, PartialEq, Encode, Decode)]
struct Point {
    #[n(0)]
    time_us: i64,
    #[n(1)]
    value: Finite,
}

type Question = (i64, Level, i64);

fn question(rate: &Rate) -> Question {
    (rate.over_us(), rate.level(), rate.hold_us())
}

impl Slope {
    pub(crate) fn observe(
        &mut self,
        rate: &Rate,
        sample: &Observation<'_>,
        tell: &mut impl FnMut(Change),
    ) -> Seen {
        let Some(value) = Finite::of(&sample.value) else {
            return Seen::PassedOver;
        };
        if self.track.is_late(sample.time_us) {
            return Seen::Late;
        }
        let point = Point {
            time_us: sample.time_us,
            value,
        };
        let start_us = point.time_us.saturating_sub(rate.over_us());
        while self
            .kept
            .get(1)
            .is_some_and(|next| next.time_us <= start_us)
        {
            self.kept.pop_front();
        }
        match self.kept.front() {
            Some(before) if before.time_us <= start_us => {
                let change = change_per_second(*before, point);
                let verdict = Verdict {
                    holds: rate.level().holds(self.track.phase.holds(), change),
                    at_us: point.time_us,
                    value: Some(change),
                    cause: sample.cause,
                };
                if let Some(change) = self.track.apply(rate.hold_us(), verdict) {
                    tell(change);
                }
            }
            _ => self.track.newest_us = Some(point.time_us),
        }
        let cell = |time_us: i64| time_us.div_euclid(rate.over_us() / PANES);
        if self
            .kept
            .back()
            .is_none_or(|last| cell(last.time_us) < cell(point.time_us))
        {
            self.kept.push_back(point);
        }
        Seen::Taken
    }

    pub(crate) const fn has_fired(&self) -> bool {
        self.track.phase.has_fired()
    }

    pub(crate) fn encode(&self, rate: &Rate, out: &mut Vec<u8>) {
        saved::write(KIND, &question(rate), self, out);
    }

    /// Fresh if it was gathered under another condition.
    pub(crate) fn decode(rate: &Rate, bytes: &[u8]) -> Result<Self, Error> {
        Ok(saved::read(KIND, &question(rate), bytes)?.unwrap_or_default())
    }
}

/// The two are at least [`MIN_RATE_US`](crate::MIN_RATE_US) apart.
fn change_per_second(from: Point, to: Point) -> Finite {
    let seconds = to.time_us.saturating_sub(from.time_us) as f64 / 1e6;
    let change = to.value.get() - from.value.get();
    let rate = if change.is_finite() {
        change / seconds
    } else {
        to.value.get() / seconds - from.value.get() / seconds
    };
    // Two numbers at both ends of what an f64 can say, a second apart.
    Finite::new(rate.clamp(f64::MIN, f64::MAX)).unwrap_or_default()
}
