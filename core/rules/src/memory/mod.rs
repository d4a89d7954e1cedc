//! What a rule remembers about one device.

mod phase;
mod track;

use phase::Verdict;
use track::Track;

use crate::{Change, Condition, Error, Finite, Observation};

/// What a rule remembers about one device: small, and saved with the log's position.
#[derive(Debug)]
pub(crate) enum Memory {
    Threshold(Track),
    Pending,
}

/// What became of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It was judged.
    Taken,
    /// It is of no kind that the condition looks at.
    PassedOver,
    /// It came too late to be judged.
    Late,
}

impl Memory {
    pub(crate) fn fresh(condition: &Condition) -> Self {
        match condition {
            Condition::Threshold(_) => Self::Threshold(Track::default()),
            _ => Self::Pending,
        }
    }

    pub(crate) fn observe(
        &mut self,
        condition: &Condition,
        sample: &Observation<'_>,
        tell: &mut impl FnMut(Change),
    ) -> Seen {
        match (self, condition) {
            (Self::Threshold(track), Condition::Threshold(threshold)) => {
                let Some(value) = Finite::of(&sample.value) else {
                    return Seen::PassedOver;
                };
                if track.is_late(sample.time_us) {
                    return Seen::Late;
                }
                let verdict = Verdict {
                    holds: threshold.level().holds(track.phase.holds(), value),
                    at_us: sample.time_us,
                    value: Some(value),
                    cause: sample.cause,
                };
                if let Some(change) = track.apply(threshold.hold_us(), verdict) {
                    tell(change);
                }
                Seen::Taken
            }
            _ => Seen::PassedOver,
        }
    }

    pub(crate) fn encode(&self, condition: &Condition) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(48);
        if let (Self::Threshold(track), Condition::Threshold(threshold)) = (self, condition) {
            track.encode(threshold, &mut bytes);
        }
        bytes
    }

    pub(crate) fn decode(condition: &Condition, bytes: &[u8]) -> Result<Self, Error> {
        Ok(match condition {
            Condition::Threshold(threshold) => Self::Threshold(Track::decode(threshold, bytes)?),
            _ => Self::Pending,
        })
    }
}
