//! What an endpoint does wrong.
//!
//! Each endpoint has faults of its own, drawn from a seed: the same seed and the same order of
//! calls give the same faults. All are off by default.

use alloy_primitives::keccak256;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::chain::Found;
use crate::random::Random;

/// Blocks that an endpoint may be behind: its sockets remember those that they have not told of.
const MAX_LAG: u64 = 10_000;

/// Faults of an endpoint. `…_permille` are chances in a thousand, drawn for each answer or
/// notification.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Faults {
    /// What the draws follow from.
    pub seed: u64,
    /// Lagging: blocks that it is behind the chain, in answers and in notifications.
    pub lag_blocks: u64,
    /// Lying: answers of `eth_getLogs` that leave logs out.
    pub missing_logs_permille: u16,
    /// Lying: blocks, transactions, receipts and logs with a wrong block hash.
    pub wrong_hash_permille: u16,
    /// Lying: answers from an older state than the last answer's, as from another node behind the
    /// same load balancer.
    pub older_state_permille: u16,
    /// How much older such an answer is at most, in blocks.
    pub older_state_blocks: u64,
    /// Dropping: the connection is closed without an answer.
    pub close_permille: u16,
    /// Dropping: no answer for [`hang_ms`](Self::hang_ms), and then the connection is closed.
    pub hang_permille: u16,
    /// Milliseconds of a hanging answer.
    pub hang_ms: u64,
    /// Dropping: HTTP status 429, or error -32005 over WebSocket.
    pub too_many_permille: u16,
    /// Dropping: HTTP status 503; over WebSocket the connection is closed.
    pub unavailable_permille: u16,
    /// Dropping: half of an answer, and then the connection is closed.
    pub half_answer_permille: u16,
    /// Subscriptions: from here on this subscription says nothing more, without an error.
    pub silent_permille: u16,
    /// Subscriptions: this new head is not told.
    pub skip_head_permille: u16,
    /// Subscriptions: the connection is closed instead of this notification.
    pub cut_socket_permille: u16,
}

/// Faults that can't be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFaults {
    /// More than always.
    #[error("{name} is {permille}: at most 1000 are possible")]
    Chance {
        /// The setting.
        name: &'static str,
        /// What was given.
        permille: u16,
    },
    /// More than is kept for those who are told late.
    #[error("lagBlocks is {0}: at most {MAX_LAG} are possible")]
    Lag(u64),
    /// Longer than a test waits.
    #[error("hangMs is {0}: at most 600000 are possible")]
    Hang(u64),
}

impl Faults {
    /// # Errors
    /// Chances above a thousand, and answers that would hang for hours.
    pub(crate) fn check(&self) -> Result<(), InvalidFaults> {
        for (name, permille) in [
            ("missingLogsPermille", self.missing_logs_permille),
            ("wrongHashPermille", self.wrong_hash_permille),
            ("olderStatePermille", self.older_state_permille),
            ("closePermille", self.close_permille),
            ("hangPermille", self.hang_permille),
            ("tooManyPermille", self.too_many_permille),
            ("unavailablePermille", self.unavailable_permille),
            ("halfAnswerPermille", self.half_answer_permille),
            ("silentPermille", self.silent_permille),
            ("skipHeadPermille", self.skip_head_permille),
            ("cutSocketPermille", self.cut_socket_permille),
        ] {
            if permille > 1_000 {
                return Err(InvalidFaults::Chance { name, permille });
            }
        }
        if self.lag_blocks > MAX_LAG {
            return Err(InvalidFaults::Lag(self.lag_blocks));
        }
        if self.hang_ms > 600_000 {
            return Err(InvalidFaults::Hang(self.hang_ms));
        }
        Ok(())
    }
}

/// Faults at work.
#[derive(Clone, Debug)]
pub(crate) struct Drawn {
    pub(crate) faults: Faults,
    random: Random,
}

/// What becomes of an answer on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Sent,
    Closed,
    Hung { ms: u64 },
    TooMany,
    Unavailable,
    Half,
}

/// What becomes of a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    Sent,
    Skipped,
    /// This and all later ones of the subscription.
    Silent,
    /// With the connection.
    Cut,
}

impl Drawn {
    pub(crate) fn new(faults: Faults) -> Self {
        Self {
            random: Random::new(faults.seed),
            faults,
        }
    }

    pub(crate) fn fate(&mut self) -> Fate {
        let faults = &self.faults;
        let random = &mut self.random;
        let mut fate = Fate::Sent;
        for (permille, other) in [
            (faults.half_answer_permille, Fate::Half),
            (faults.unavailable_permille, Fate::Unavailable),
            (faults.too_many_permille, Fate::TooMany),
            (faults.hang_permille, Fate::Hung { ms: faults.hang_ms }),
            (faults.close_permille, Fate::Closed),
        ] {
            if random.chance(permille) {
                fate = other;
            }
        }
        fate
    }

    pub(crate) fn notice(&mut self, head: bool) -> Notice {
        let faults = &self.faults;
        let random = &mut self.random;
        let skipped = random.chance(faults.skip_head_permille) && head;
        let silent = random.chance(faults.silent_permille);
        let cut = random.chance(faults.cut_socket_permille);
        match (cut, silent, skipped) {
            (true, ..) => Notice::Cut,
            (_, true, _) => Notice::Silent,
            (_, _, true) => Notice::Skipped,
            _ => Notice::Sent,
        }
    }

    pub(crate) fn lies(&mut self) -> Lies {
        let faults = &self.faults;
        let random = &mut self.random;
        let older = random.chance(faults.older_state_permille);
        let back = random.up_to(faults.older_state_blocks);
        let missing = random.chance(faults.missing_logs_permille);
        let wrong = random.chance(faults.wrong_hash_permille);
        let bits = random.bits();
        Lies {
            blocks_back: if older { back } else { 0 },
            missing_logs: missing.then_some(bits),
            wrong_hash: wrong.then_some(bits),
        }
    }
}

/// What an answer lies about.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lies {
    pub(crate) blocks_back: u64,
    missing_logs: Option<u64>,
    wrong_hash: Option<u64>,
}

impl Lies {
    /// Leaves some of the logs out: at least one, if there is one.
    pub(crate) fn leave_out(&self, found: &mut Vec<Found>) {
        let Some(seed) = self.missing_logs else {
            return;
        };
        let mut random = Random::new(seed);
        let gone = random.up_to(found.len() as u64);
        let mut index = 0;
        found.retain(|_| {
            index += 1;
            index != gone && !random.chance(300)
        });
    }

    /// Replaces a hash by one that no block has.
    pub(crate) fn falsify_hash(&self, answer: &mut Value, field: &str) {
        if let (Some(seed), Some(hash)) = (self.wrong_hash, answer.get_mut(field))
            && let Some(text) = hash.as_str()
        {
            *hash = json!(keccak256(format!("{text}{seed}")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_plays_the_same_faults_again() {
        let faults = Faults {
            seed: 7,
            close_permille: 200,
            hang_permille: 200,
            half_answer_permille: 200,
            skip_head_permille: 300,
            ..Faults::default()
        };
        let play = |faults: &Faults| {
            let mut drawn = Drawn::new(faults.clone());
            (0..200)
                .map(|_| (drawn.fate(), drawn.notice(true)))
                .collect::<Vec<_>>()
        };
        let once = play(&faults);
        assert_eq!(once, play(&faults));
        assert!(once.iter().any(|(fate, _)| *fate == Fate::Half));
        assert!(once.iter().any(|(fate, _)| *fate == Fate::Sent));
        assert_ne!(once, play(&Faults { seed: 8, ..faults }));
    }

    #[test]
    fn chances_above_always_are_refused() {
        let faults = Faults {
            silent_permille: 1_001,
            ..Faults::default()
        };
        assert_eq!(
            faults.check().unwrap_err().to_string(),
            "silentPermille is 1001: at most 1000 are possible"
        );
        let faults = Faults {
            lag_blocks: u64::MAX,
            ..Faults::default()
        };
        assert!(matches!(faults.check(), Err(InvalidFaults::Lag(_))));
        assert!(serde_json::from_str::<Faults>(r#"{"lag": 1}"#).is_err());
    }
}
