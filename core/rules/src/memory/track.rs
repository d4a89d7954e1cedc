//! What a condition on single samples remembers: a threshold or an expression.

use minicbor::{Decode, Encode};

use super::phase::{Phase, Verdict};
use super::saved;
use crate::{Change, Error, Expression, Finite, Limit, Threshold};

/// The number of an expression's kind in saved states.
const KIND: u8 = 4;

/// The newest sample's time, and how far the condition is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Track {
    #[n(0)]
    pub(crate) newest_us: Option<i64>,
    #[n(1)]
    pub(crate) phase: Phase,
}

/// A threshold's state as saved: the condition goes with it, because state that
/// was gathered under another condition means nothing.
#[derive(Encode, Decode)]
struct Saved {
    #[n(0)]
    newest_us: Option<i64>,
    #[n(1)]
    phase: Phase,
    #[n(2)]
    above: bool,
    #[n(3)]
    limit: Finite,
    #[n(4)]
    hold_us: i64,
    /// Not there when written by the first release, which had no hysteresis.
    #[n(5)]
    clear: Option<Finite>,
}

impl Track {
    pub(crate) fn is_late(&self, time_us: i64) -> bool {
        self.newest_us.is_some_and(|newest_us| time_us < newest_us)
    }

    /// Takes a verdict on a sample that is not late.
    pub(crate) fn apply(&mut self, hold_us: i64, verdict: Verdict) -> Option<Change> {
        self.newest_us = Some(verdict.at_us);
        self.phase.apply(hold_us, verdict)
    }

    /// As the first release wrote it.
    pub(crate) fn encode(&self, rule: &Threshold, out: &mut Vec<u8>) {
        let saved = Saved {
            newest_us: self.newest_us,
            phase: self.phase,
            above: matches!(rule.level().limit(), Limit::Above(_)),
            limit: rule.level().limit().get(),
            hold_us: rule.hold_us(),
            clear: rule.level().clear(),
        };
        // Writing to a Vec cannot fail.
        let _ = minicbor::encode(&saved, out);
    }

    /// Fresh if it was gathered under another condition.
    pub(crate) fn decode(rule: &Threshold, bytes: &[u8]) -> Result<Self, Error> {
        if saved::is_enveloped(bytes) {
            return Ok(Self::default());
        }
        let saved: Saved = minicbor::decode(bytes).map_err(Error::saved)?;
        let same = saved.above == matches!(rule.level().limit(), Limit::Above(_))
            && saved.limit == rule.level().limit().get()
            && saved.hold_us == rule.hold_us()
            && saved.clear == rule.level().clear();
        if !same {
            return Ok(Self::default());
        }
        let phase = match saved.phase {
            Phase::Fired { since_us: None } => Phase::Fired {
                since_us: saved.newest_us,
            },
            phase => phase,
        };
        Ok(Self {
            newest_us: saved.newest_us,
            phase,
        })
    }

    pub(crate) fn encode_expression(&self, rule: &Expression, out: &mut Vec<u8>) {
        saved::write(KIND, &question(rule), self, out);
    }

    /// Fresh if it was gathered under another condition.
    pub(crate) fn decode_expression(rule: &Expression, bytes: &[u8]) -> Result<Self, Error> {
        Ok(saved::read(KIND, &question(rule), bytes)?.unwrap_or_default())
    }
}

/// The source as its FNV-1a hash: a state is a few bytes, a source up to a thousand.
fn question(rule: &Expression) -> (u64, i64) {
    let hash = rule
        .source()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
    (hash, rule.hold_us())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Level;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect()
    }

    fn warm(clear: Option<f64>) -> Threshold {
        let clear = clear.and_then(Finite::new);
        let limit = Limit::Above(Finite::new(-12.0).unwrap());
        Threshold::new(Level::new(limit, clear).unwrap(), 3_000_000).unwrap()
    }

    /// Written by the release without hysteresis: above -12 for 3 s.
    const FIRST_RELEASE: [(&str, Track); 4] = [
        (
            "85f6820080f5fbc0280000000000001a002dc6c0",
            Track {
                newest_us: None,
                phase: Phase::Armed,
            },
        ),
        (
            "851a000f4240820080f5fbc0280000000000001a002dc6c0",
            Track {
                newest_us: Some(1_000_000),
                phase: Phase::Armed,
            },
        ),
        (
            "851a001e84808201811a001e8480f5fbc0280000000000001a002dc6c0",
            Track {
                newest_us: Some(2_000_000),
                phase: Phase::Holding {
                    since_us: 2_000_000,
                },
            },
        ),
        (
            "851a005b8d80820280f5fbc0280000000000001a002dc6c0",
            Track {
                newest_us: Some(6_000_000),
                phase: Phase::Fired {
                    since_us: Some(6_000_000),
                },
            },
        ),
    ];

    #[test]
    fn state_of_the_first_release_is_understood() {
        for (hex, track) in FIRST_RELEASE {
            assert_eq!(Track::decode(&warm(None), &bytes(hex)), Ok(track), "{hex}");
            let mut again = Vec::new();
            track.encode(&warm(None), &mut again);
            assert_eq!(Track::decode(&warm(None), &again), Ok(track));
        }
    }

    #[test]
    fn state_of_another_condition_starts_afresh() {
        let (hex, _) = FIRST_RELEASE[3];
        let other = warm(Some(-14.0));
        assert_eq!(Track::decode(&other, &bytes(hex)), Ok(Track::default()));
        let track = FIRST_RELEASE[2].1;
        let mut saved = Vec::new();
        track.encode(&other, &mut saved);
        assert_eq!(Track::decode(&other, &saved), Ok(track));
        assert_eq!(Track::decode(&warm(None), &saved), Ok(Track::default()));
        let broken = Track::decode(&other, &[0xff, 1]);
        assert!(matches!(broken, Err(Error::SavedState { .. })));
    }
}
