//! Charges for what devices do: authorise, act, capture.
//!
//! ```text
//! Waiting ─ the hold is deep enough → Acting ─ the device says done → Capturing → Captured
//!    │                                  │                                  │
//!    └── too late ──→ Refunding ←───────┴── failed, or no word in time     └→ Lost
//!                         └────────────────────→ Free
//! ```
//!
//! - No acknowledgement, no charge. A command's own expiry is no proof that nothing was done: the word
//!   may be on its way, from a gateway whose uplink is down. So it is waited for until the last
//!   moment at which a capture can still be settled, and then given up for good.
//! - A word that comes after that is not charged: what can be undone is undone, and the loss is told.
//! - A capture is one authorisation or one hold, which its contract takes once. Whether it has gone
//!   through is asked ([`What::Ask`]) after a crash or silence, and only the answer that it has not
//!   leads to a further attempt. *Unknown* leads to nothing but asking again.
//! - A hold that is being refunded is never captured, and the other way round.

use alloy_primitives::{Address, B256};
use serde::{Deserialize, Serialize};

use crate::cause::Key;
use crate::money::Amount;

/// How long after it was asked to ask again, µs.
pub const ASK_AGAIN_US: i64 = 15 * 1_000_000;

/// What the money is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Funding {
    /// An authorisation of EIP-3009: a promise. For what can be undone only, and within
    /// [`super::exposure`].
    Bare {
        /// When it expires, seconds since the epoch.
        valid_before_s: u64,
    },
    /// Money that `StencilEscrow` holds.
    Held {
        /// Which hold.
        hold: B256,
        /// Until when it can be released, seconds since the epoch.
        deadline_s: u64,
    },
}

/// What is charged, and for what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// Names the charge, and by that its command and its capture.
    pub id: Key,
    /// Who pays.
    pub payer: Address,
    /// How much, base units.
    pub value: Amount,
    /// What the money is.
    pub funding: Funding,
    /// Whether what the device does can be undone by a compensating command.
    pub reversible: bool,
    /// When the command expires at the device, µs since the epoch.
    pub act_by_us: i64,
    /// How long a settlement takes at most, µs.
    pub settle_us: i64,
}

/// Terms under which nothing is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A promise for what can't be undone.
    #[error(
        "what can't be undone needs money that the contract holds: an authorisation is a promise"
    )]
    Irreversible,
    /// The money's time is over before the command's and the settlement's.
    #[error(
        "the money is there for {missing_us} µs too short: it has to outlast the command and the \
         settlement"
    )]
    NoRoom {
        /// How much is missing.
        missing_us: i64,
    },
    /// Nothing to charge, or a span that is none.
    #[error("a charge is of more than nothing, and a settlement takes time")]
    Nothing,
}

impl Terms {
    /// Whether they make sense.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn validate(&self) -> Result<(), Error> {
        if self.value.is_zero() || self.settle_us < 0 || self.act_by_us < 0 {
            return Err(Error::Nothing);
        }
        if matches!(self.funding, Funding::Bare { .. }) && !self.reversible {
            return Err(Error::Irreversible);
        }
        let missing_us = self.act_by_us.saturating_sub(self.capture_by_us());
        if missing_us > 0 {
            return Err(Error::NoRoom { missing_us });
        }
        Ok(())
    }

    /// The last moment at which a capture is begun, µs since the epoch.
    #[must_use]
    pub fn capture_by_us(&self) -> i64 {
        let (Funding::Bare {
            valid_before_s: end_s,
        }
        | Funding::Held {
            deadline_s: end_s, ..
        }) = self.funding;
        let end_us = i64::try_from(end_s.saturating_mul(1_000_000)).unwrap_or(i64::MAX);
        end_us.saturating_sub(self.settle_us)
    }
}

/// What a device says of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// It has done it.
    Done,
    /// It has not, and won't: it failed, was refused, or expired at the device or before it got there.
    NotDone,
}

/// What a chain says of the money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It went to the payee, by this transaction.
    Captured {
        /// Which transaction.
        tx: B256,
    },
    /// Neither captured nor given back, and it can still be.
    Open,
    /// It went back, or can't be captured any more: cancelled by its payer, given back by the
    /// contract, or its time is over. Only to be said of what is final.
    Gone,
    /// It could not be asked, or what was found is not deep enough to be relied on.
    Unknown,
}

/// What happens to a charge. What is known already changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The hold is as deep in the chain as the action needs.
    HoldFirm,
    /// The device's word.
    Word(Word),
    /// The chain's answer, asked for or not.
    Answer(Answer),
    /// The capture was reorganised away.
    Undone,
    /// It is at least so late.
    Clock {
        /// µs since the epoch.
        now_us: i64,
    },
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Send the command to the device, once.
    Command,
    /// Settle the authorisation, or release the hold to the payee. The same key each time.
    Capture,
    /// Give the hold back. The same key each time.
    Refund,
    /// Ask the chain what has become of the money.
    Ask,
    /// Undo what the device did: it was not paid.
    Undo,
    /// It is paid. For the ledger; before a second one there is an [`Uncharged`](Self::Uncharged).
    Charged {
        /// By which transaction.
        tx: B256,
    },
    /// It is no longer paid: the capture was reorganised away.
    Uncharged,
    /// Nothing is charged, and nothing was done.
    Free,
    /// Something was done and is not paid.
    Loss,
}

/// Something to do, named by its cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Effect {
    /// Its name: the key of idempotency.
    pub key: Key,
    /// What to do.
    pub what: What,
}

/// Where a charge stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The hold is not deep enough yet.
    Waiting,
    /// The command is under way.
    Acting,
    /// The device has acted, and the money is being captured.
    Capturing,
    /// It is paid.
    Captured,
    /// The hold is being given back.
    Refunding,
    /// Nothing was charged.
    Free,
    /// The device has acted, and it is not paid.
    Lost,
}

/// A charge for a device command. Serialised, it is what a store keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Charge {
    terms: Terms,
    stage: Stage,
    /// The device has acted, and it won't be charged.
    unpaid: bool,
    now_us: i64,
    asked_us: i64,
    /// Counts captures that went through.
    rounds: u32,
    asks: u64,
}

impl Charge {
    /// A new charge, at `now_us`. With a bare authorisation its command goes out at once.
    ///
    /// # Errors
    /// Terms that make no sense.
    pub fn new(terms: Terms, now_us: i64) -> Result<(Self, Vec<Effect>), Error> {
        terms.validate()?;
        let stage = match terms.funding {
            Funding::Bare { .. } => Stage::Acting,
            Funding::Held { .. } => Stage::Waiting,
        };
        let charge = Self {
            terms,
            stage,
            unpaid: false,
            now_us,
            asked_us: now_us,
            rounds: 0,
            asks: 0,
        };
        let effects = match stage {
            Stage::Acting => vec![charge.effect("command", 0, What::Command)],
            _ => Vec::new(),
        };
        Ok((charge, effects))
    }

    /// What is charged, and for what.
    #[must_use]
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Where it stands.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// Whether nothing but a word of the device or a reorganisation can change it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Captured | Stage::Free | Stage::Lost)
    }

    /// What to do after a start, when it is not known what of the effects that were told has been
    /// done. All of it is harmless if it was.
    pub fn resume(&mut self) -> Vec<Effect> {
        match self.stage {
            Stage::Acting => vec![self.effect("command", 0, What::Command)],
            Stage::Capturing | Stage::Refunding => vec![self.ask()],
            Stage::Waiting | Stage::Captured | Stage::Free | Stage::Lost => Vec::new(),
        }
    }

    /// Takes an event. The effects are to be kept in the same transaction as the new state.
    pub fn apply(&mut self, event: &Event) -> Vec<Effect> {
        match *event {
            Event::HoldFirm if self.stage == Stage::Waiting => {
                if self.now_us >= self.terms.act_by_us {
                    return self.give_up();
                }
                self.stage = Stage::Acting;
                vec![self.effect("command", 0, What::Command)]
            }
            Event::HoldFirm => Vec::new(),
            Event::Word(Word::Done) => self.done(),
            Event::Word(Word::NotDone) if self.stage == Stage::Acting => self.give_up(),
            Event::Word(Word::NotDone) => Vec::new(),
            Event::Answer(answer) => self.answered(answer),
            Event::Undone if self.stage == Stage::Captured => {
                self.stage = Stage::Capturing;
                let uncharged = self.effect("uncharged", self.rounds.into(), What::Uncharged);
                vec![uncharged, self.ask()]
            }
            Event::Undone => Vec::new(),
            Event::Clock { now_us } => {
                self.now_us = self.now_us.max(now_us);
                self.late()
            }
        }
    }

    /// The device has done it.
    fn done(&mut self) -> Vec<Effect> {
        match self.stage {
            // The word counts also where the clock was not told in between.
            Stage::Acting if self.now_us < self.terms.capture_by_us() => {
                self.stage = Stage::Capturing;
                self.asked_us = self.now_us;
                vec![self.effect("capture", 0, What::Capture)]
            }
            Stage::Acting => {
                let mut effects = self.give_up();
                effects.extend(self.done());
                effects
            }
            Stage::Free => {
                self.stage = Stage::Lost;
                self.unpaid = true;
                self.loss()
            }
            Stage::Refunding if !self.unpaid => {
                self.unpaid = true;
                self.loss()
            }
            // A command that was never given can't have been done.
            Stage::Waiting
            | Stage::Refunding
            | Stage::Capturing
            | Stage::Captured
            | Stage::Lost => Vec::new(),
        }
    }

    fn answered(&mut self, answer: Answer) -> Vec<Effect> {
        match (self.stage, answer) {
            (Stage::Capturing | Stage::Refunding, Answer::Captured { tx }) => {
                self.stage = Stage::Captured;
                self.rounds = self.rounds.saturating_add(1);
                vec![self.effect("charged", self.rounds.into(), What::Charged { tx })]
            }
            (Stage::Capturing, Answer::Open) => {
                self.asked_us = self.now_us;
                vec![self.effect("capture", 0, What::Capture)]
            }
            (Stage::Capturing, Answer::Gone) => {
                self.stage = Stage::Lost;
                self.unpaid = true;
                self.loss()
            }
            (Stage::Refunding, Answer::Open) => {
                self.asked_us = self.now_us;
                vec![self.effect("refund", 0, What::Refund)]
            }
            (Stage::Refunding, Answer::Gone) if self.unpaid => {
                self.stage = Stage::Lost;
                Vec::new()
            }
            (Stage::Refunding, Answer::Gone) => {
                self.stage = Stage::Free;
                vec![self.effect("free", 0, What::Free)]
            }
            _ => Vec::new(),
        }
    }

    fn late(&mut self) -> Vec<Effect> {
        match self.stage {
            Stage::Waiting if self.now_us >= self.terms.act_by_us => self.give_up(),
            Stage::Acting if self.now_us >= self.terms.capture_by_us() => self.give_up(),
            Stage::Capturing | Stage::Refunding
                if self.now_us >= self.asked_us.saturating_add(ASK_AGAIN_US) =>
            {
                vec![self.ask()]
            }
            _ => Vec::new(),
        }
    }

    /// Nothing will be captured: a hold goes back, an authorisation lapses.
    fn give_up(&mut self) -> Vec<Effect> {
        match self.terms.funding {
            Funding::Bare { .. } => {
                self.stage = Stage::Free;
                vec![self.effect("free", 0, What::Free)]
            }
            Funding::Held { .. } => {
                self.stage = Stage::Refunding;
                self.asked_us = self.now_us;
                vec![self.effect("refund", 0, What::Refund)]
            }
        }
    }

    fn loss(&self) -> Vec<Effect> {
        let mut effects = vec![self.effect("loss", 0, What::Loss)];
        if self.terms.reversible {
            effects.push(self.effect("undo", 0, What::Undo));
        }
        effects
    }

    fn ask(&mut self) -> Effect {
        self.asked_us = self.now_us;
        self.asks = self.asks.saturating_add(1);
        self.effect("ask", self.asks, What::Ask)
    }

    fn effect(&self, name: &str, number: u64, what: What) -> Effect {
        let domain = format!("stencil/charge/{name}");
        Effect {
            key: Key::of(&domain, &[&self.terms.id.0, &number.to_be_bytes()]),
            what,
        }
    }
}
