//! What a chain's follower tells: something is in a block, how deep, or no longer there.
//!
//! The follower writes a journal a chain; an observation's `seq` is its position there, strictly
//! growing (in the hub, the number of a chain's entry: *observed* is an inclusion, *retracted* a
//! retraction, *final* a depth of [`Depth::FINAL`]). What is known of one thing is a [`Track`]: of each kind of observation the one with the
//! highest position. So observations may come late, in any order and again, and the result is the
//! same; and a block that is left, taken up and left again is no special case.

use std::fmt;
use std::str::FromStr;

use alloy_primitives::B256;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The ordinal of what a transaction moves itself, its `value`, which is no log of its receipt.
pub const VALUE: u32 = u32::MAX;

/// A text that is no key of a credit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a credit's key is CHAIN:0xTRANSACTION:ORDINAL")]
pub struct NotAKey;

/// Names a movement of money on a chain, whichever block it is in: `log_index` counts within a block
/// and changes when a transaction is included again, the place within its own receipt does not. As
/// text and in JSON `CHAIN:0xTRANSACTION:ORDINAL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The chain id of EIP-155.
    pub chain: u64,
    /// The hash of the transaction.
    pub tx: B256,
    /// Which log of its receipt, from 0, or [`VALUE`].
    pub ordinal: u32,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:#x}:{}", self.chain, self.tx, self.ordinal)
    }
}

impl FromStr for Key {
    type Err = NotAKey;

    fn from_str(text: &str) -> Result<Self, NotAKey> {
        let mut parts = text.splitn(3, ':');
        let mut part = || parts.next().ok_or(NotAKey);
        let (chain, tx, ordinal) = (part()?, part()?, part()?);
        if !tx.starts_with("0x") {
            return Err(NotAKey);
        }
        Ok(Self {
            chain: chain.parse().map_err(|_| NotAKey)?,
            tx: tx.parse().map_err(|_| NotAKey)?,
            ordinal: ordinal.parse().map_err(|_| NotAKey)?,
        })
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// A block, as far as payments care.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Block {
    /// Its number.
    pub number: u64,
    /// Its hash.
    pub hash: B256,
    /// Its time in seconds since the epoch, as the chain says.
    pub time_s: u64,
}

/// How deep something is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Depth {
    /// Blocks from its own to the newest, both counted: 1 when it is in the newest block.
    pub confirmations: u32,
    /// Its block is at or below the one with the tag `safe`.
    pub safe: bool,
    /// Its block is at or below the one with the tag `finalized`.
    pub finalized: bool,
}

impl Depth {
    /// As deep as it gets: what a follower calls final by its chain's own policy. Where observations
    /// are told so alone, that policy decides, whatever a method or an action [needs](Needs).
    pub const FINAL: Self = Self {
        confirmations: u32::MAX,
        safe: true,
        finalized: true,
    };
}

/// How deep something has to be, before one counts on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Needs {
    /// That many blocks from its own to the newest, both counted. 1 (and 0) is to be in a block.
    Confirmations(u32),
    /// The tag `safe`, or `finalized`.
    Safe,
    /// The tag `finalized`.
    Finalized,
}

impl Needs {
    /// Whether that is deep enough. What is in no block is never.
    #[must_use]
    pub fn met_by(self, depth: Depth) -> bool {
        match self {
            Self::Confirmations(wanted) => depth.confirmations >= wanted.max(1),
            Self::Safe => depth.safe || depth.finalized,
            Self::Finalized => depth.finalized,
        }
    }
}

/// What was observed of one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Track<T> {
    included: Option<(u64, T)>,
    retracted: Option<u64>,
    depth: Option<(u64, Depth)>,
}

impl<T> Default for Track<T> {
    fn default() -> Self {
        Self {
            included: None,
            retracted: None,
            depth: None,
        }
    }
}

impl<T> Track<T> {
    /// It is in a block, as `what`.
    pub fn include(&mut self, seq: u64, what: T) {
        if self.included.as_ref().is_none_or(|(known, _)| *known < seq) {
            self.included = Some((seq, what));
        }
    }

    /// The block that it was in is no longer of the chain.
    pub fn retract(&mut self, seq: u64) {
        self.retracted = self.retracted.max(Some(seq));
    }

    /// It is that deep, as of that position: one at which it was included means the depth since. Of
    /// two that are told as of one position the deeper holds.
    pub fn deepen(&mut self, seq: u64, depth: Depth) {
        match &mut self.depth {
            Some((known, _)) if *known > seq => {}
            Some((known, held)) if *known == seq => {
                held.confirmations = held.confirmations.max(depth.confirmations);
                held.safe |= depth.safe;
                held.finalized |= depth.finalized;
            }
            _ => self.depth = Some((seq, depth)),
        }
    }

    /// What is in the canonical chain, and how deep: at least one confirmation.
    #[must_use]
    pub fn canonical(&self) -> Option<(&T, Depth)> {
        let (seq, what) = self.included.as_ref()?;
        if self.retracted > Some(*seq) {
            return None;
        }
        let depth = match self.depth {
            Some((at, depth)) if at >= *seq => depth,
            _ => Depth::default(),
        };
        let confirmations = depth.confirmations.max(1);
        Some((
            what,
            Depth {
                confirmations,
                ..depth
            },
        ))
    }

    /// What is in the canonical chain, if it is deep enough.
    #[must_use]
    pub fn firm(&self, needs: Needs) -> Option<&T> {
        let (what, depth) = self.canonical()?;
        needs.met_by(depth).then_some(what)
    }

    /// What was last in a block, whether that still counts or not.
    #[must_use]
    pub fn last(&self) -> Option<&T> {
        self.included.as_ref().map(|(_, what)| what)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_is_read_as_it_is_written() {
        let key = Key {
            chain: 1,
            tx: B256::repeat_byte(0xab),
            ordinal: VALUE,
        };
        assert_eq!(key.to_string().parse(), Ok(key));
        let json = serde_json::to_string(&key).unwrap();
        assert_eq!(serde_json::from_str::<Key>(&json).unwrap(), key);
        for wrong in ["", "1", "1:0x00", "1:0x00:1", "x:y:z"] {
            assert_eq!(wrong.parse::<Key>(), Err(NotAKey));
        }
    }

    #[test]
    fn tags_imply_what_is_less() {
        let depth = |confirmations, safe, finalized| Depth {
            confirmations,
            safe,
            finalized,
        };
        assert!(Needs::Confirmations(0).met_by(depth(1, false, false)));
        assert!(!Needs::Confirmations(0).met_by(depth(0, false, false)));
        assert!(!Needs::Confirmations(3).met_by(depth(2, true, true)));
        assert!(Needs::Safe.met_by(depth(1, false, true)));
        assert!(!Needs::Finalized.met_by(depth(99, true, false)));
    }

    #[test]
    fn depth_grows_where_nothing_else_happens() {
        let mut track = Track::default();
        let deep = |confirmations| Depth {
            confirmations,
            ..Depth::default()
        };
        track.deepen(5, deep(4));
        track.include(5, 'a');
        track.deepen(5, deep(2));
        assert_eq!(track.canonical(), Some((&'a', deep(4))));
        track.retract(6);
        track.include(7, 'b');
        assert_eq!(track.canonical(), Some((&'b', deep(1))));
    }

    #[derive(Clone, Debug)]
    enum Step {
        In(u8),
        Out,
        Deeper(u32),
    }

    proptest! {
        /// In whatever order and however often observations come: the journal's order decides.
        #[test]
        fn order_and_repeats_do_not_matter(
            steps in prop::collection::vec(prop_oneof![
                any::<u8>().prop_map(Step::In), Just(Step::Out), (2..20_u32).prop_map(Step::Deeper)
            ], 0..12),
            order in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
        ) {
            let apply = |track: &mut Track<u8>, at: usize| {
                let seq = at as u64;
                match steps[at] {
                    Step::In(what) => track.include(seq, what),
                    Step::Out => track.retract(seq),
                    Step::Deeper(confirmations) => {
                        track.deepen(seq, Depth { confirmations, ..Depth::default() });
                    }
                }
            };
            let mut track = Track::default();
            if !steps.is_empty() {
                for index in &order {
                    apply(&mut track, index.index(steps.len()));
                }
            }
            (0..steps.len()).rev().for_each(|at| apply(&mut track, at));
            // The model reads the journal from its start.
            let mut model: Option<(u8, u32)> = None;
            for step in &steps {
                match (step, &mut model) {
                    (Step::In(what), _) => model = Some((*what, 1)),
                    (Step::Out, _) => model = None,
                    (Step::Deeper(depth), Some((_, known))) => *known = *depth,
                    (Step::Deeper(_), None) => {}
                }
            }
            let found = track.canonical().map(|(what, depth)| (*what, depth.confirmations));
            prop_assert_eq!(found, model);
        }
    }
}
