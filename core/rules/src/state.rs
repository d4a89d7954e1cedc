//! What a threshold remembers about one device.

use minicbor::{Decode, Encode};
use serde::Serialize;

use crate::{Cause, Condition, Error, Finite, Threshold};

/// A rule that fired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Firing {
    /// The time of the first sample of the run that made it fire, µs.
    pub since_us: i64,
    /// The time of the sample that made it fire, µs.
    pub at_us: i64,
    /// That sample's value.
    pub value: Finite,
    /// That sample's identity.
    pub cause: Cause,
}

/// The state of one rule on one device. Fresh: [`State::default`]; small
/// (some 30 bytes as CBOR), and committed together with the position of the
/// log up to which it has seen the samples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct State {
    newest_us: Option<i64>,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
enum Phase {
    /// The last sample did not meet the condition (or there was none).
    #[default]
    #[n(0)]
    Armed,
    /// In a run that has not lasted long enough yet.
    #[n(1)]
    Holding {
        #[n(0)]
        since_us: i64,
    },
    /// In a run that has fired already.
    #[n(2)]
    Fired,
}

/// As saved: the condition goes with the state, because state that was
/// gathered under another condition means nothing.
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
}

impl State {
    /// Takes the next sample in log order. Whoever calls has made sure that
    /// it is of the threshold's name and new (not a duplicate).
    pub fn apply(
        &mut self,
        rule: &Threshold,
        time_us: i64,
        value: Finite,
        cause: Cause,
    ) -> Option<Firing> {
        if self.is_late(time_us) {
            return None;
        }
        self.newest_us = Some(time_us);
        if !rule.condition().holds(value) {
            self.phase = Phase::Armed;
            return None;
        }
        let since_us = match self.phase {
            Phase::Fired => return None,
            Phase::Holding { since_us } => since_us,
            Phase::Armed => time_us,
        };
        if time_us.saturating_sub(since_us) < rule.hold_us() {
            self.phase = Phase::Holding { since_us };
            return None;
        }
        self.phase = Phase::Fired;
        Some(Firing {
            since_us,
            at_us: time_us,
            value,
            cause,
        })
    }

    /// Whether a sample of this time would be ignored as out of order.
    pub fn is_late(&self, time_us: i64) -> bool {
        self.newest_us.is_some_and(|newest_us| time_us < newest_us)
    }

    /// The time of the newest sample seen, µs.
    pub const fn newest_us(&self) -> Option<i64> {
        self.newest_us
    }

    /// As CBOR, to be given back to [`State::decode`] with the same rule.
    pub fn encode(&self, rule: &Threshold) -> Vec<u8> {
        let (above, limit) = parts(rule.condition());
        let saved = Saved {
            newest_us: self.newest_us,
            phase: self.phase,
            above,
            limit,
            hold_us: rule.hold_us(),
        };
        let mut bytes = Vec::with_capacity(48);
        // Writing to a Vec cannot fail.
        let _ = minicbor::encode(&saved, &mut bytes);
        bytes
    }

    /// Reads what [`State::encode`] wrote. State that was gathered under
    /// another condition or hold time starts afresh.
    ///
    /// # Errors
    /// [`Error::SavedState`] for bytes that no version has written.
    pub fn decode(rule: &Threshold, bytes: &[u8]) -> Result<Self, Error> {
        let saved: Saved =
            minicbor::decode(bytes).map_err(|e| Error::SavedState { why: e.to_string() })?;
        let same = (saved.above, saved.limit) == parts(rule.condition())
            && saved.hold_us == rule.hold_us();
        Ok(if same {
            Self {
                newest_us: saved.newest_us,
                phase: saved.phase,
            }
        } else {
            Self::default()
        })
    }
}

fn parts(condition: Condition) -> (bool, Finite) {
    match condition {
        Condition::Above(limit) => (true, limit),
        Condition::Below(limit) => (false, limit),
    }
}

#[cfg(test)]
mod tests {
    use stencil_protocol::id::{Boot, Seq};

    use super::*;

    fn warm(hold_us: i64) -> Threshold {
        Threshold::new("t", Condition::Above(Finite::new(0.0).unwrap()), hold_us).unwrap()
    }

    /// Feeds `(time, value)` pairs and returns the times of the firings.
    fn run(rule: &Threshold, samples: &[(i64, f64)]) -> Vec<(i64, i64)> {
        let mut state = State::default();
        let firings = samples
            .iter()
            .enumerate()
            .filter_map(|(index, &(time_us, value))| {
                let cause = Cause::Numbered {
                    boot: Boot(1),
                    seq: Seq(index as u64 + 1),
                };
                state.apply(rule, time_us, Finite::new(value).unwrap(), cause)
            });
        firings
            .map(|firing| (firing.since_us, firing.at_us))
            .collect()
    }

    #[test]
    fn without_a_hold_it_fires_at_once_and_once() {
        assert_eq!(run(&warm(0), &[(5, 1.0), (6, 1.0), (7, 2.0)]), [(5, 5)]);
    }

    #[test]
    fn it_fires_at_the_first_sample_at_or_after_the_hold() {
        assert_eq!(
            run(&warm(10), &[(0, 1.0), (9, 1.0), (10, 1.0), (20, 1.0)]),
            [(0, 10)]
        );
        assert_eq!(run(&warm(10), &[(0, 1.0), (500, 1.0)]), [(0, 500)]);
    }

    #[test]
    fn a_false_sample_ends_the_run_and_arms_again() {
        let samples = [
            (0, 1.0),
            (9, -1.0),
            (11, 1.0),
            (20, 1.0),
            (21, 1.0),
            (30, -1.0),
            (31, 1.0),
            (41, 1.0),
        ];
        assert_eq!(run(&warm(10), &samples), [(11, 21), (31, 41)]);
    }

    #[test]
    fn an_older_sample_neither_starts_nor_ends_a_run() {
        assert_eq!(
            run(&warm(10), &[(10, 1.0), (5, -1.0), (20, 1.0)]),
            [(10, 20)]
        );
        assert_eq!(run(&warm(10), &[(10, -1.0), (5, 1.0), (20, 1.0)]), []);
    }

    #[test]
    fn samples_of_the_same_time_count_in_log_order() {
        assert_eq!(run(&warm(0), &[(1, -1.0), (1, 1.0)]), [(1, 1)]);
        assert_eq!(run(&warm(1), &[(1, 1.0), (1, -1.0), (2, 1.0)]), []);
    }

    #[test]
    fn the_ends_of_time_do_not_overflow() {
        assert_eq!(
            run(&warm(10), &[(i64::MIN, 1.0), (i64::MAX, 1.0)]),
            [(i64::MIN, i64::MAX)]
        );
    }

    #[test]
    fn state_of_another_condition_starts_afresh() {
        let cause = Cause::Timed { time_us: 0 };
        let mut state = State::default();
        assert!(
            state
                .apply(&warm(0), 0, Finite::new(1.0).unwrap(), cause)
                .is_some()
        );
        let bytes = state.encode(&warm(0));
        assert!(bytes.len() < 48, "{}", bytes.len());
        assert_eq!(State::decode(&warm(0), &bytes), Ok(state));
        assert_eq!(State::decode(&warm(1), &bytes), Ok(State::default()));
        assert!(matches!(
            State::decode(&warm(0), &[0xff, 1]),
            Err(Error::SavedState { .. })
        ));
    }
}
