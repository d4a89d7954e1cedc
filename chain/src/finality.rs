//! When a block counts as final: a policy of each chain.

use serde::{Deserialize, Serialize};

/// The most confirmations that can be asked for.
pub const MAX_CONFIRMATIONS: u64 = 100_000;

/// The policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finality {
    /// A block with this many confirmations, the block itself counted: with 1, the newest block is
    /// final; with 12, the block that 11 others stand on.
    Confirmations(u64),
    /// The chain's own tag `safe`.
    Safe,
    /// The chain's own tag `finalized`.
    Finalized,
}

impl Finality {
    /// The tag to ask for, where the chain is asked.
    pub fn tag(self) -> Option<&'static str> {
        match self {
            Self::Confirmations(_) => None,
            Self::Safe => Some("safe"),
            Self::Finalized => Some("finalized"),
        }
    }

    /// Up to which block all is final when the branch ends with block `head`, and the chain's tag
    /// names block `tagged`; `None`: nothing is.
    pub fn reached(self, head: u64, tagged: Option<u64>) -> Option<u64> {
        match self {
            Self::Confirmations(confirmations) => head.checked_sub(confirmations.saturating_sub(1)),
            // What the tag names beyond our branch is final once we are there.
            Self::Safe | Self::Finalized => tagged.map(|tagged| tagged.min(head)),
        }
    }
}

impl std::fmt::Display for Finality {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Confirmations(confirmations) => write!(f, "{confirmations}"),
            Self::Safe => f.write_str("safe"),
            Self::Finalized => f.write_str("finalized"),
        }
    }
}

impl std::str::FromStr for Finality {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "safe" => Ok(Self::Safe),
            "finalized" => Ok(Self::Finalized),
            _ => match text.parse() {
                Ok(confirmations @ 1..=MAX_CONFIRMATIONS) => Ok(Self::Confirmations(confirmations)),
                _ => Err(format!(
                    "{text:?}; `safe`, `finalized` or a number of confirmations from 1 to \
                     {MAX_CONFIRMATIONS} is right"
                )),
            },
        }
    }
}

impl Serialize for Finality {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Confirmations(confirmations) => serializer.serialize_u64(*confirmations),
            other => serializer.collect_str(other),
        }
    }
}

impl<'de> Deserialize<'de> for Finality {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(u64),
            Text(String),
        }
        let text = match Written::deserialize(deserializer)? {
            Written::Number(number) => number.to_string(),
            Written::Text(text) => text,
        };
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_block_has_one_confirmation_as_soon_as_it_is_there() {
        let twelve = Finality::Confirmations(12);
        assert_eq!(Finality::Confirmations(1).reached(7, None), Some(7));
        assert_eq!(twelve.reached(11, None), Some(0));
        assert_eq!(twelve.reached(10, None), None);
        // Also where an endpoint says what can't be.
        assert_eq!(twelve.reached(u64::MAX, None), Some(u64::MAX - 11));
        assert_eq!(
            Finality::Confirmations(1).reached(u64::MAX, None),
            Some(u64::MAX)
        );
    }

    #[test]
    fn a_tag_that_is_ahead_of_us_counts_as_far_as_we_are() {
        assert_eq!(Finality::Safe.reached(10, Some(12)), Some(10));
        assert_eq!(Finality::Finalized.reached(10, Some(3)), Some(3));
        assert_eq!(Finality::Finalized.reached(10, None), None);
    }

    #[test]
    fn what_is_no_policy_is_told_with_what_is_one() {
        for text in ["0", "-1", "latest", "", "100001", "1e3"] {
            let error = text.parse::<Finality>().unwrap_err();
            assert!(error.contains("`safe`, `finalized` or a number"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn a_longer_branch_never_makes_less_final(n in 1..2_000_u64, head in 0..5_000_u64) {
            let policy = Finality::Confirmations(n);
            prop_assert!(policy.reached(head + 1, None) >= policy.reached(head, None));
            if let Some(reached) = policy.reached(head, None) {
                prop_assert_eq!(head - reached + 1, n);
            }
        }
    }
}
