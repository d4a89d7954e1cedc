//! What the journal says of the two slots: a pure state machine.

use stencil_update::header::NAME_BYTES;

/// The name of the header that a slot's state is about.
pub type Name = [u8; NAME_BYTES];

/// How far the image of a slot has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Phase {
    /// Nothing that could be started.
    #[default]
    Empty = 1,
    /// Being written.
    Receiving = 2,
    /// Whole and verified, not yet started.
    Ready = 3,
    /// Started, not yet confirmed.
    Trial = 4,
    /// Has talked to its gateway.
    Confirmed = 5,
    /// Was started as often as allowed and did not confirm itself.
    Bad = 6,
}

/// One slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Slot {
    /// How far its image has come.
    pub phase: Phase,
    /// How often it was started on trial.
    pub trials: u8,
    /// Bytes of the package that are surely written, while receiving.
    pub received: u32,
    /// Of which header; zeros while empty.
    pub name: Name,
}

/// Both slots, and how far the device has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct State {
    /// Counts the records, so that the newest is known.
    pub serial: u32,
    /// The sequence number that was confirmed last: the device never goes below it.
    pub confirmed: u64,
    /// The slots.
    pub slots: [Slot; 2],
}

/// What the loader should do with a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Start it, on trial: count that first.
    Trial(usize),
    /// Start it.
    Confirmed(usize),
    /// Its trials are used up: write that down, then choose again.
    GiveUp(usize),
    /// There is nothing to start.
    Nothing,
}

impl State {
    /// What to start. A new image comes before a confirmed one.
    #[must_use]
    pub fn choose(&self, max_trials: u8) -> Choice {
        let find = |phase: Phase| self.slots.iter().position(|slot| slot.phase == phase);
        if let Some(at) = find(Phase::Trial) {
            if self.slots[at].trials < max_trials.max(1) {
                Choice::Trial(at)
            } else {
                Choice::GiveUp(at)
            }
        } else if let Some(at) = find(Phase::Ready) {
            Choice::Trial(at)
        } else if let Some(at) = find(Phase::Confirmed) {
            Choice::Confirmed(at)
        } else {
            Choice::Nothing
        }
    }

    /// The slot that runs, after the loader has started one: it prefers the one on trial.
    #[must_use]
    pub fn running(&self) -> Option<usize> {
        let find = |phase: Phase| self.slots.iter().position(|slot| slot.phase == phase);
        find(Phase::Trial).or_else(|| find(Phase::Confirmed))
    }

    /// The state in which slot `at` is started on trial once more.
    #[must_use]
    pub fn tried(mut self, at: usize) -> Self {
        let slot = &mut self.slots[at];
        slot.trials = match slot.phase {
            Phase::Trial => slot.trials.saturating_add(1),
            _ => 1,
        };
        slot.phase = Phase::Trial;
        self
    }

    /// The state in which slot `at` did not prove itself. Its name stays, so that the same image
    /// is not taken again.
    #[must_use]
    pub fn given_up(mut self, at: usize) -> Self {
        self.slots[at].phase = Phase::Bad;
        self
    }

    /// The state in which slot `at` with this sequence number has proved itself. What the other
    /// slot holds is older and may not be started any more.
    #[must_use]
    pub fn proved(mut self, at: usize, sequence: u64) -> Self {
        self.confirmed = self.confirmed.max(sequence);
        self.slots[at].phase = Phase::Confirmed;
        self.slots[at].trials = 0;
        self.slots[1 - at] = Slot::default();
        self
    }

    /// The state in which slot `at` has `received` bytes of the package `name`.
    #[must_use]
    pub fn receiving(mut self, at: usize, name: Name, received: u32) -> Self {
        self.slots[at] = Slot {
            phase: Phase::Receiving,
            trials: 0,
            received,
            name,
        };
        self
    }

    /// The state in which slot `at` holds all of a package, verified.
    #[must_use]
    pub fn ready(mut self, at: usize) -> Self {
        self.slots[at].phase = Phase::Ready;
        self
    }

    /// The state in which slot `at` holds nothing.
    #[must_use]
    pub fn emptied(mut self, at: usize) -> Self {
        self.slots[at] = Slot::default();
        self
    }
}

impl Phase {
    pub(crate) fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Phase::Empty,
            2 => Phase::Receiving,
            3 => Phase::Ready,
            4 => Phase::Trial,
            5 => Phase::Confirmed,
            6 => Phase::Bad,
            _ => return None,
        })
    }
}
