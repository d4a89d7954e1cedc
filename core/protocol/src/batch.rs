//! Numbered samples of one boot, as a device sends them. The bytes pass the
//! gateway and MQTT unchanged.
//!
//! ```text
//! { 0: boot, 1: first, 2: last given,
//!   ? 3: [boot, last, acked]            of the boot before
//!   ? 4: [* [first, count, reason]]     numbers that will never come
//!   ? 5: base time in µs                there if there are samples
//!     6: [* sample] }                   the last field that is read
//! sample = [name: text, µs since base, value, ? unit]   defines name and unit
//!        | [index: uint, µs since base, value]          the index-th defined
//! ```
//! The first [`MAX_NAMES`] definitions of a batch get the indices 0, 1, 2, ….
//! A sample that breaks a limit costs only itself: its number is known, so
//! that it is accounted for. Where the bytes themselves break, all numbers from
//! there on are.

mod reader;
mod writer;

pub use reader::{Batch, Samples};
pub use writer::{Full, Writer};

use crate::cbor;
use crate::id::{Boot, Seq};

/// The most samples in a batch.
pub const MAX_SAMPLES: usize = 256;
/// The most entries in [`Header::dropped`].
pub const MAX_DROPPED: usize = 8;
/// The most bytes of a batch on the link between a microcontroller and its gateway.
pub const MAX_LINK_BYTES: usize = 1024;
/// The most bytes of any batch.
pub const MAX_BATCH_BYTES: usize = 64 * 1024;
/// How many definitions of name and unit a batch's later samples can refer to.
pub const MAX_NAMES: usize = 16;

/// What a device tells of the boot before this one, so that what was lost with
/// its memory is accounted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreviousBoot {
    /// That boot.
    pub boot: Boot,
    /// The last number that was given in it, 0 if none.
    pub last: Seq,
    /// All numbers up to this one were acknowledged by the gateway.
    pub acked: Seq,
}

/// Why a number never comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "std", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "std", serde(rename_all = "snake_case"))]
#[repr(u8)]
pub enum DropReason {
    /// The device's buffer was full; the oldest was dropped.
    BufferFull = 0,
    /// The gateway's spool reached its size.
    SpoolFull = 1,
    /// The gateway's spool held it for longer than allowed.
    SpoolAge = 2,
    /// The sample arrived, but was not readable.
    Malformed = 3,
    /// It was in the device's memory when the device was reset.
    Reboot = 4,
    /// The hub put it aside, for reasons shown in the quarantine.
    Quarantined = 5,
    /// The hub erased all that it had of the device, this number among it. Only the hub gives this
    /// reason: a report that does is not readable.
    Erased = 6,
    /// Its device had been revoked when it arrived. Only the hub gives this reason, too.
    Revoked = 7,
    /// It was in a part of the gateway's spool that was damaged on its disk.
    SpoolDamaged = 8,
}

impl DropReason {
    /// All reasons.
    pub const ALL: [DropReason; 9] = [
        DropReason::BufferFull,
        DropReason::SpoolFull,
        DropReason::SpoolAge,
        DropReason::Malformed,
        DropReason::Reboot,
        DropReason::Quarantined,
        DropReason::Erased,
        DropReason::Revoked,
        DropReason::SpoolDamaged,
    ];

    /// The name in JSON, tables and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            DropReason::BufferFull => "buffer_full",
            DropReason::SpoolFull => "spool_full",
            DropReason::SpoolAge => "spool_age",
            DropReason::Malformed => "malformed",
            DropReason::Reboot => "reboot",
            DropReason::Quarantined => "quarantined",
            DropReason::Erased => "erased",
            DropReason::Revoked => "revoked",
            DropReason::SpoolDamaged => "spool_damaged",
        }
    }

    /// Whether a device or a gateway may report it. A number that was erased is never stored
    /// again, so who could say so of numbers to come could keep them out. What is revoked only the
    /// hub decides.
    pub fn is_reported(self) -> bool {
        !matches!(self, DropReason::Erased | DropReason::Revoked)
    }

    /// The reason of this code on the wire and in a ledger.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// The code on the wire.
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl core::fmt::Display for DropReason {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(self.as_str())
    }
}

const UNKNOWN_REASON: cbor::Error = cbor::Error::Invalid {
    field: "dropped",
    why: "has an unknown reason, known are 0 to 5 and 8",
};

/// A run of numbers that will never come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// The first of them.
    pub first: Seq,
    /// How many, at least 1.
    pub count: u32,
    /// Why.
    pub reason: DropReason,
}

impl Dropped {
    /// The last of the numbers.
    pub fn last(&self) -> Seq {
        Seq(self
            .first
            .0
            .saturating_add(u64::from(self.count).saturating_sub(1)))
    }

    /// Checks that the run has numbers, all of them in the range of numbers, and a reason that is
    /// reported.
    pub fn check(&self) -> Result<(), cbor::Error> {
        if !self.reason.is_reported() {
            return Err(UNKNOWN_REASON);
        }
        let fits = self.first.0 >= 1 && self.count >= 1 && self.last() <= Seq::MAX;
        if fits {
            Ok(())
        } else {
            Err(cbor::Error::Invalid {
                field: "dropped",
                why: "has a run that is empty or not in the range of numbers, 1 to 2^63-1",
            })
        }
    }

    pub(crate) fn write<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.array(3)?
            .u64(self.first.0)?
            .u32(self.count)?
            .u8(self.reason.code())?
            .ok()
    }

    pub(crate) fn read(r: &mut cbor::Reader<'_>) -> Result<Self, cbor::Error> {
        let at = r.at();
        let length = r.array("a list of first number, count and reason")?;
        if length < 3 {
            return Err(cbor::Error::Unexpected {
                at,
                expected: "first number, count and reason",
            });
        }
        let first = Seq(r.u64("the first dropped number")?);
        let count = r.u32("how many were dropped")?;
        let code = r.u8("a drop reason")?;
        let reason = DropReason::from_code(code).ok_or(UNKNOWN_REASON)?;
        for _ in 3..length {
            r.skip()?;
        }
        let dropped = Dropped {
            first,
            count,
            reason,
        };
        dropped.check()?;
        Ok(dropped)
    }
}

/// What stands before the samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The boot that all numbers of the batch belong to.
    pub boot: Boot,
    /// The number of the first sample; the others follow without a gap.
    pub first: Seq,
    /// The highest number that the device has given so far in this boot: the
    /// hub learns of numbers that are still outstanding.
    pub last_given: Seq,
    /// The boot before, until the device knows that it was heard.
    pub previous: Option<PreviousBoot>,
    /// Numbers of this boot that will never come.
    pub dropped: heapless::Vec<Dropped, MAX_DROPPED>,
}

impl Header {
    /// Checks that the numbers fit together for a batch of `samples` samples.
    pub fn check(&self, samples: u64) -> Result<(), Error> {
        if self.last_given > Seq::MAX {
            return Err(Error::Numbers("the last given number is beyond 2^63-1"));
        }
        if samples > 0 {
            if self.first.0 == 0 {
                return Err(Error::Numbers("numbers start at 1"));
            }
            if self.first.0.saturating_add(samples - 1) > self.last_given.0 {
                return Err(Error::Numbers(
                    "there are samples beyond the last given number",
                ));
            }
        }
        for dropped in &self.dropped {
            dropped.check()?;
            if dropped.last() > self.last_given {
                return Err(Error::Numbers("numbers beyond the last given are dropped"));
            }
        }
        if let Some(previous) = self.previous {
            if previous.boot == self.boot {
                return Err(Error::Numbers("the boot before is this boot"));
            }
            if previous.acked > previous.last || previous.last > Seq::MAX {
                return Err(Error::Numbers(
                    "of the boot before, more is acknowledged than was given",
                ));
            }
        }
        Ok(())
    }
}

/// Why a batch as a whole cannot be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes are not a batch.
    #[error("not a batch: {0}")]
    Cbor(#[from] cbor::Error),
    /// The numbers in the header contradict each other.
    #[error("the batch's numbers do not fit together: {0}")]
    Numbers(&'static str),
}

const BOOT: u64 = 0;
const FIRST: u64 = 1;
const LAST_GIVEN: u64 = 2;
const PREVIOUS: u64 = 3;
const DROPPED: u64 = 4;
const BASE: u64 = 5;
const SAMPLES: u64 = 6;
