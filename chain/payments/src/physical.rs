//! When a door may open, and when it has to close again.
//!
//! An action in the world is done because of something on a chain: a payment, a transfer. How deep
//! that has to be is a matter of what a mistake would cost: a lamp goes on with the first
//! confirmation, goods are handed out with the finalised tag. What happens when a reorganisation takes
//! the cause away after the action was done, is said beforehand, too: the compensating action, or that
//! there is none.
//!
//! An [`Actuation`] takes what is observed of its cause ([`crate::observation`]) and tells what to do.
//! `Act` and `Compensate` alternate, so that whatever is observed, in whatever order and however
//! often, the net effect is one or none; and in the end it is one exactly if the canonical chain
//! has the cause.
//!
//! Effects of one actuation are to be done in their order: an `Act` that is told while a
//! `Compensate` is under way comes after it.

use serde::{Deserialize, Serialize};

use crate::cause::Key;
use crate::observation::{Depth, Needs, Track};

/// The longest patience: a day, in µs.
pub const MAX_PATIENCE_US: i64 = 86_400 * 1_000_000;

/// What can be done about an action whose cause is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Undo {
    /// A compensating action: the lock closes, the run is told to go back.
    Compensate {
        /// For how long after a reorganisation to wait whether the cause is included again, µs. Most
        /// transactions are, within a few blocks: a door that closes and opens again for that helps
        /// nobody. 0 compensates at once.
        patience_us: i64,
    },
    /// Nothing: what was handed out is gone. People are told.
    Nothing,
}

/// What an action asks of its cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// How deep the cause has to be.
    pub needs: Needs,
    /// What can be done if it goes away all the same.
    pub undo: Undo,
}

/// Terms that would hand out for good what is not final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What can't be undone asks for less than it should.
    #[error(
        "what can't be undone needs the tag 'finalized', or at least {LEAST} confirmations where a \
         chain has no tags"
    )]
    TooShallow,
    /// A patience that is negative or longer than a day.
    #[error("the patience is 0 to 24 hours")]
    Patience,
}

/// The least confirmations for what can't be undone.
const LEAST: u32 = 12;

impl Terms {
    /// Whether they make sense.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn validate(&self) -> Result<(), Error> {
        match (self.undo, self.needs) {
            (Undo::Nothing, Needs::Safe) => Err(Error::TooShallow),
            (Undo::Nothing, Needs::Confirmations(deep)) if deep < LEAST => Err(Error::TooShallow),
            (Undo::Compensate { patience_us }, _)
                if !(0..=MAX_PATIENCE_US).contains(&patience_us) =>
            {
                Err(Error::Patience)
            }
            _ => Ok(()),
        }
    }
}

/// Something that was observed of the cause. Those with a `seq`, the position in the chain's journal,
/// may come late, in any order and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The cause is in a block.
    Included {
        /// Position in the chain's journal.
        seq: u64,
    },
    /// The cause's block is no longer of the chain.
    Retracted {
        /// Position in the chain's journal.
        seq: u64,
    },
    /// The cause is that deep.
    Depth {
        /// Position in the chain's journal.
        seq: u64,
        /// How deep.
        depth: Depth,
    },
    /// It is at least so late, µs since the epoch.
    Clock {
        /// µs since the epoch.
        now_us: i64,
    },
}

/// What to do. `round` counts the actions of one actuation from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Do it.
    Act {
        /// Which time.
        round: u32,
    },
    /// Undo it.
    Compensate {
        /// Which action.
        round: u32,
    },
    /// It was done, its cause is gone, and nothing can be done about it.
    Lost {
        /// Which action.
        round: u32,
    },
    /// The cause of what was [`Lost`](Self::Lost) is there again: nothing is missing any more.
    Found {
        /// Which action.
        round: u32,
    },
}

/// Something to do, named by its cause: the same in each replay, so that it is done once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Effect {
    /// Its name: the key of idempotency of the command.
    pub key: Key,
    /// What to do.
    pub what: What,
}

/// Where an action stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The cause is not there, or not deep enough: nothing was done, or all was undone.
    Idle,
    /// It was told to be done.
    Done,
    /// It was done, its cause is gone, and it is waited whether that comes back until then, µs since
    /// the epoch.
    Doubtful {
        /// Until when.
        until_us: i64,
    },
    /// It was done, its cause is gone, and it can't be undone.
    Lost,
}

/// An action with a cause on a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Actuation {
    id: Key,
    terms: Terms,
    track: Track<()>,
    stage: Stage,
    round: u32,
    /// How often it was lost and found.
    losses: u32,
    now_us: i64,
}

impl Actuation {
    /// An action that is named by `id`, which follows from the run and its step, at `now_us`.
    ///
    /// # Errors
    /// Terms that make no sense.
    pub fn new(id: Key, terms: Terms, now_us: i64) -> Result<Self, Error> {
        terms.validate()?;
        let (track, stage) = (Track::default(), Stage::Idle);
        Ok(Self {
            id,
            terms,
            track,
            stage,
            round: 0,
            losses: 0,
            now_us,
        })
    }

    /// Where it stands.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// Which action was the last, from 1; 0 before the first.
    #[must_use]
    pub fn round(&self) -> u32 {
        self.round
    }

    /// Until when it has to be told the time, µs since the epoch.
    #[must_use]
    pub fn wakes_us(&self) -> Option<i64> {
        match self.stage {
            Stage::Doubtful { until_us } => Some(until_us),
            Stage::Idle | Stage::Done | Stage::Lost => None,
        }
    }

    /// Takes an event and tells what to do, if anything. To be kept in the same transaction as the
    /// new state.
    pub fn apply(&mut self, event: &Event) -> Option<Effect> {
        match *event {
            Event::Included { seq } => self.track.include(seq, ()),
            Event::Retracted { seq } => self.track.retract(seq),
            Event::Depth { seq, depth } => self.track.deepen(seq, depth),
            Event::Clock { now_us } => self.now_us = self.now_us.max(now_us),
        }
        let canonical = self.track.canonical().is_some();
        let deep = self.track.firm(self.terms.needs).is_some();
        match (self.stage, self.terms.undo) {
            (Stage::Idle, _) if deep => {
                self.stage = Stage::Done;
                self.round = self.round.saturating_add(1);
                Some(self.effect("act", 0, What::Act { round: self.round }))
            }
            // Once done, being in the chain is enough: to be included again at less depth is no
            // reason to undo it.
            (Stage::Doubtful { .. }, _) if canonical => {
                self.stage = Stage::Done;
                None
            }
            (Stage::Done, Undo::Compensate { patience_us }) if !canonical => {
                self.stage = Stage::Doubtful {
                    until_us: self.now_us.saturating_add(patience_us),
                };
                self.compensate_if_over()
            }
            (Stage::Doubtful { .. }, _) => self.compensate_if_over(),
            (Stage::Done, Undo::Nothing) if !canonical => {
                self.stage = Stage::Lost;
                self.losses = self.losses.saturating_add(1);
                Some(self.effect("lost", self.losses, What::Lost { round: self.round }))
            }
            (Stage::Lost, _) if canonical => {
                self.stage = Stage::Done;
                Some(self.effect("found", self.losses, What::Found { round: self.round }))
            }
            _ => None,
        }
    }

    fn compensate_if_over(&mut self) -> Option<Effect> {
        let Stage::Doubtful { until_us } = self.stage else {
            return None;
        };
        (self.now_us >= until_us).then(|| {
            self.stage = Stage::Idle;
            self.effect("compensate", 0, What::Compensate { round: self.round })
        })
    }

    fn effect(&self, name: &str, number: u32, what: What) -> Effect {
        let domain = format!("stencil/physical/{name}");
        let parts: [&[u8]; 3] = [&self.id.0, &self.round.to_be_bytes(), &number.to_be_bytes()];
        Effect {
            key: Key::of(&domain, &parts),
            what,
        }
    }
}
