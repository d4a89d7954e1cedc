//! What a rule remembers about one device.

mod pane;
mod panes;
mod phase;
mod saved;
mod silence;
mod sketch;
mod slope;
mod sum;
mod track;

use panes::Panes;
use phase::Verdict;
use silence::Silence;
use slope::Slope;
use track::Track;

use crate::{Change, Condition, Error, Finite, Observation};

/// What a rule remembers about one device: small, and saved with the log's position.
#[derive(Debug)]
pub(crate) enum Memory {
    Threshold(Track),
    Absence(Silence),
    Rate(Box<Slope>),
    Window(Box<Panes>),
    Expression(Track),
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
    /// What is asked could not be said of it, and so was false.
    Failed,
}

impl Memory {
    pub(crate) fn fresh(condition: &Condition) -> Self {
        match condition {
            Condition::Threshold(_) => Self::Threshold(Track::default()),
            Condition::Absence(_) => Self::Absence(Silence::default()),
            Condition::Rate(_) => Self::Rate(Box::default()),
            Condition::Window(_) => Self::Window(Box::default()),
            Condition::Expression(_) => Self::Expression(Track::default()),
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
            (Self::Rate(slope), Condition::Rate(rate)) => slope.observe(rate, sample, tell),
            (Self::Window(panes), Condition::Window(window)) => panes.observe(window, sample, tell),
            (Self::Expression(track), Condition::Expression(expression)) => {
                if track.is_late(sample.time_us) {
                    return Seen::Late;
                }
                let answer = expression.evaluate(sample);
                let verdict = Verdict {
                    holds: answer.unwrap_or(false),
                    at_us: sample.time_us,
                    value: Finite::of(&sample.value),
                    cause: sample.cause,
                };
                if let Some(change) = track.apply(expression.hold_us(), verdict) {
                    tell(change);
                }
                answer.map_or(Seen::Failed, |_| Seen::Taken)
            }
            // A state is made for the condition that it is used with.
            _ => Seen::PassedOver,
        }
    }

    /// Whether the rule has fired and not cleared since.
    pub(crate) fn has_fired(&self) -> bool {
        match self {
            Self::Threshold(track) | Self::Expression(track) => track.phase.has_fired(),
            Self::Absence(silence) => silence.is_absent(),
            Self::Rate(slope) => slope.has_fired(),
            Self::Window(panes) => panes.has_fired(),
        }
    }

    /// When the passing of time alone may change something, µs.
    pub(crate) fn due_us(&self, condition: &Condition) -> Option<i64> {
        match (self, condition) {
            (Self::Absence(silence), Condition::Absence(asked)) => silence.due_us(*asked),
            (Self::Window(panes), Condition::Window(window)) => panes.due_us(window),
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
        match (self, condition) {
            (Self::Absence(silence), Condition::Absence(asked)) => {
                if let Some(change) = silence.advance(*asked, now_us) {
                    tell(change);
                }
            }
            (Self::Window(panes), Condition::Window(window)) => {
                panes.advance(window, now_us, tell);
            }
            _ => {}
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
            (Self::Rate(slope), Condition::Rate(rate)) => slope.encode(rate, &mut bytes),
            (Self::Window(panes), Condition::Window(window)) => panes.encode(window, &mut bytes),
            (Self::Expression(track), Condition::Expression(expression)) => {
                track.encode_expression(expression, &mut bytes);
            }
            _ => {}
        }
        bytes
    }

    pub(crate) fn decode(condition: &Condition, bytes: &[u8]) -> Result<Self, Error> {
        Ok(match condition {
            Condition::Threshold(threshold) => Self::Threshold(Track::decode(threshold, bytes)?),
            Condition::Absence(asked) => Self::Absence(Silence::decode(*asked, bytes)?),
            Condition::Rate(rate) => Self::Rate(Box::new(Slope::decode(rate, bytes)?)),
            Condition::Window(window) => Self::Window(Box::new(Panes::decode(window, bytes)?)),
            Condition::Expression(expression) => {
                Self::Expression(Track::decode_expression(expression, bytes)?)
            }
        })
    }
}
