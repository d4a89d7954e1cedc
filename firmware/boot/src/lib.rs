//! The boot loader's logic, over any NOR flash, without an allocator.
//!
//! Two slots hold images; a journal says what each is. The device's application writes a new image
//! into the slot that it does not run from, and resets; the loader starts it on trial, and falls
//! back if the application does not [`Updater::confirm`] it in time: which it does only after it
//! has talked to its gateway.
//!
//! ```text
//! empty → receiving → ready → trial → confirmed → empty (a later image is confirmed)
//!                               └→ bad (trials used up)
//! ```
//!
//! | module | for |
//! |---|---|
//! | [`identity`] | whose images a board starts, as its flash says |
//! | [`layout`] | where journal and slots are |
//! | [`state`] | what the journal says: a pure state machine |
//! | [`journal`] | the record of it in flash |
//! | [`loader`] | [`start`]: what a boot binary calls |
//! | [`updater`] | [`Updater`]: what the application calls |
//! | `model` | a NOR flash in memory (feature `model`) |
//!
//! # What holds, whenever the power goes
//!
//! - What is started is whole, of this vendor and class, signed by the LMS key, not older than
//!   what was confirmed. Each start checks all of it.
//! - The slot that is running, and the confirmed one, are never written.
//! - Records are written once after an erasure, and only count if their check is right; the record
//!   before them stays until they are.
//! - A block of an image counts as received only after it was read back.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod identity;
pub mod journal;
pub mod layout;
pub mod loader;
#[cfg(feature = "model")]
pub mod model;
mod slot;
pub mod state;
pub mod updater;

use stencil_update::id::Id;
use stencil_update::{Device, Refusal, lms};

pub use identity::Identity;
pub use layout::Layout;
pub use loader::{Started, start};
pub use updater::Updater;

/// What a board is built with.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Where things are in flash.
    pub layout: Layout,
    /// Who makes the device.
    pub vendor: Id,
    /// What the device is.
    pub class: Id,
    /// Whose images it starts.
    pub key: lms::PublicKey,
    /// How often a new image is started without being confirmed, before the loader falls back; at
    /// least 1. With 1, a power cut at the wrong moment costs the update.
    pub max_trials: u8,
}

impl Config {
    /// What the device accepts, given what was confirmed.
    #[must_use]
    pub fn device(&self, confirmed: u64) -> Device {
        Device {
            vendor: self.vendor,
            class: self.class,
            max_image: self.layout.max_image(),
            confirmed,
        }
    }
}

/// Why something could not be done.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error<E> {
    /// The flash failed.
    #[error("the flash failed: {0:?}")]
    Flash(E),
    /// Journal and slots cannot be where they are said to be.
    #[error(transparent)]
    Layout(#[from] layout::Error),
    /// What was written reads otherwise.
    #[error("the flash at {at:#x} does not hold what was written to it")]
    ReadBack {
        /// Where.
        at: u32,
    },
    /// No place of the journal takes a record any more.
    #[error("no place of the journal takes a record any more: the flash is worn")]
    JournalWorn,
    /// The image is not taken.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// No slot holds an image that may be started.
    #[error("no slot holds an image that may be started")]
    NoImage,
    /// The running image is on trial: the other slot is what the loader falls back to.
    #[error("the running image is not confirmed yet; the other slot has to stay as it is")]
    Unconfirmed,
    /// No image is being received.
    #[error("no image is being received")]
    Idle,
    /// Bytes do not follow those that were written.
    #[error("bytes from offset {want} on are needed")]
    Gap {
        /// The next offset.
        want: u32,
    },
    /// A piece of an image is no multiple of what the flash writes at once, or beyond the end.
    #[error(
        "a piece has to be a multiple of {unit} bytes long, except for the last one, and not beyond the package's end"
    )]
    Piece {
        /// The flash's unit.
        unit: u32,
    },
}

/// A length as the flash traits count offsets. Nothing here is longer than 32 bits can say.
const fn wide(length: usize) -> u32 {
    if length > u32::MAX as usize {
        return u32::MAX;
    }
    #[expect(clippy::cast_possible_truncation, reason = "checked above")]
    let length = length as u32;
    length
}
