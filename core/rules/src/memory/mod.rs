//! What a rule remembers about one device.

mod phase;
mod saved;
mod silence;
mod track;

use phase::Verdict;
use silence::Silence;
use track::Track;

use crate::{Change, Condition, Error, Finite, Observation};

/// What a rule remembers about one device: small, and saved with the log's position.
#[derive(Debug)]
pub(crate) enum Memory {
    Threshold(Track),
    Absence(Silence),
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
            Condition::Absence(_) => Self::Absence(Silence::default()),
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
            (Self::Absence(silence), Condition::Absence(asked)) => {
                if let Some(change) = silence.observe(*asked, sample) {
                    tell(change);
                }
                Seen::Taken
            }
            _ => Seen::PassedOver,
        }
    }

    /// When the passing of time alone may change something, µs.
    pub(crate) fn due_us(&self, condition: &Condition) -> Option<i64> {
        match (self, condition) {
            (Self::Absence(silence), Condition::Absence(asked)) => silence.due_us(*asked),
            _ => None,
        }
    }

    /// Lets time pass. Afterwards nothing is due by `now_us`.
    pub(crate) fn advance(
        &mut self,
        condition: &Condition,
        now_us: i64,
        tell: &mut impl FnMut(Change),
    ) {
        if let (Self::Absence(silence), Condition::Absence(asked)) = (self, condition)
            && let Some(change) = silence.advance(*asked, now_us)
        {
            tell(change);
        }
    }

    pub(crate) fn encode(&self, condition: &Condition) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(48);
        match (self, condition) {
            (Self::Threshold(track), Condition::Threshold(threshold)) => {
                track.encode(threshold, &mut bytes);
            }
            (Self::Absence(silence), Condition::Absence(asked)) => {
                silence.encode(*asked, &mut bytes);
            }
            _ => {}
        }
        bytes
    }

    pub(crate) fn decode(condition: &Condition, bytes: &[u8]) -> Result<Self, Error> {
        Ok(match condition {
            Condition::Threshold(threshold) => Self::Threshold(Track::decode(threshold, bytes)?),
            Condition::Absence(asked) => Self::Absence(Silence::decode(*asked, bytes)?),
            _ => Self::Pending,
        })
    }
}
