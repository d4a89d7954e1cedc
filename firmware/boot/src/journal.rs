//! The record of the state in flash.
//!
//! A record of 64 bytes holds the whole state, a serial number and a check. Two halves take turns:
//! when one is full, the other is erased and goes on; the newest record whose check is right is
//! the state. So the record before is there until the new one is whole, whatever happens to it.
//! A place is written once after an erasure, only if it reads erased, and read back: a place that
//! a power cut or wear has spoilt is stepped over.
//!
//! ```text
//!  0 "SJ"  2 format 1  3 zero  4 serial u32  8 confirmed u64
//! 16, 36: for each slot: phase u8, trials u8, zeros u16, received u32, name 12 bytes
//! 56 the first 8 bytes of the SHA-256 of the 56 before
//! ```

use embedded_storage::nor_flash::NorFlash;
use sha2::{Digest as _, Sha256};
use stencil_update::header::NAME_BYTES;

use crate::state::{Phase, Slot, State};
use crate::{Config, Error, wide};

/// The length of a record.
pub const RECORD_BYTES: usize = 64;

const BODY_BYTES: usize = 56;
const HEAD: [u8; 4] = [b'S', b'J', 1, 0];
/// What erased flash reads as.
pub(crate) const ERASED: u8 = 0xff;

/// The journal, as it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Journal {
    start: u32,
    half: u32,
    /// The newest state; none if there is no record at all.
    state: Option<State>,
    /// The first place behind the newest record.
    next: u32,
}

impl Journal {
    /// Reads the journal.
    ///
    /// # Errors
    /// [`Error::Flash`], [`Error::Layout`].
    pub fn load<F: NorFlash>(flash: &mut F, config: &Config) -> Result<Self, Error<F::Error>> {
        config.layout.check(flash)?;
        let mut journal = Journal {
            start: config.layout.journal,
            half: config.layout.journal_half,
            state: None,
            next: 0,
        };
        for place in 0..2 * journal.places() {
            let mut bytes = [0; RECORD_BYTES];
            flash
                .read(journal.at(place), &mut bytes)
                .map_err(Error::Flash)?;
            let Some(found) = decode(&bytes) else {
                continue;
            };
            if journal
                .state
                .is_none_or(|newest| newest.serial < found.serial)
            {
                journal.state = Some(found);
                journal.next = place + 1;
            }
        }
        Ok(journal)
    }

    /// The newest state.
    #[must_use]
    pub fn state(&self) -> Option<State> {
        self.state
    }

    /// Writes a new state; after that it is the newest, whatever happens.
    ///
    /// # Errors
    /// [`Error::JournalWorn`] if no place takes it, [`Error::Flash`]. The old state then stays.
    pub fn append<F: NorFlash>(
        &mut self,
        flash: &mut F,
        mut state: State,
    ) -> Result<(), Error<F::Error>> {
        state.serial = match self.state {
            Some(newest) => newest.serial.checked_add(1).ok_or(Error::JournalWorn)?,
            None => 1,
        };
        let bytes = encode(&state);
        // The rest of this half, then all of the other: the half that holds the newest record is
        // never erased.
        let places = self.places();
        let current = self.next.saturating_sub(1) / places;
        let end = (current + 1) * places;
        for place in self.next..end {
            if self.try_place(flash, place, &bytes)? {
                self.became(state, place);
                return Ok(());
            }
        }
        let other = (1 - current) * places;
        let start = self.at(other);
        flash
            .erase(start, start + self.half)
            .map_err(Error::Flash)?;
        for place in other..other + places {
            if self.try_place(flash, place, &bytes)? {
                self.became(state, place);
                return Ok(());
            }
        }
        Err(Error::JournalWorn)
    }

    fn became(&mut self, state: State, place: u32) {
        self.state = Some(state);
        self.next = place + 1;
    }

    /// Writes a record where it reads erased; says whether it can be read there.
    fn try_place<F: NorFlash>(
        &self,
        flash: &mut F,
        place: u32,
        bytes: &[u8; RECORD_BYTES],
    ) -> Result<bool, Error<F::Error>> {
        let at = self.at(place);
        let mut found = [0; RECORD_BYTES];
        flash.read(at, &mut found).map_err(Error::Flash)?;
        if found != [ERASED; RECORD_BYTES] {
            return Ok(false);
        }
        flash.write(at, bytes).map_err(Error::Flash)?;
        flash.read(at, &mut found).map_err(Error::Flash)?;
        Ok(found == *bytes)
    }

    fn places(&self) -> u32 {
        // The layout's check: at least one erase block, which is at least one record.
        (self.half / wide(RECORD_BYTES)).max(1)
    }

    fn at(&self, place: u32) -> u32 {
        self.start + place * wide(RECORD_BYTES)
    }
}

fn encode(state: &State) -> [u8; RECORD_BYTES] {
    let mut bytes = [0; RECORD_BYTES];
    bytes[..4].copy_from_slice(&HEAD);
    bytes[4..8].copy_from_slice(&state.serial.to_le_bytes());
    bytes[8..16].copy_from_slice(&state.confirmed.to_le_bytes());
    for (slot, bytes) in state.slots.iter().zip(bytes[16..BODY_BYTES].chunks_mut(20)) {
        bytes[0] = slot.phase as u8;
        bytes[1] = slot.trials;
        bytes[4..8].copy_from_slice(&slot.received.to_le_bytes());
        bytes[8..].copy_from_slice(&slot.name);
    }
    let check = check(&bytes);
    bytes[BODY_BYTES..].copy_from_slice(&check);
    bytes
}

/// Reads a record; none if it is not whole.
pub(crate) fn decode(bytes: &[u8; RECORD_BYTES]) -> Option<State> {
    if bytes[..4] != HEAD || bytes[BODY_BYTES..] != check(bytes) {
        return None;
    }
    let mut slots = [Slot::default(); 2];
    for (slot, bytes) in slots.iter_mut().zip(bytes[16..BODY_BYTES].chunks(20)) {
        *slot = Slot {
            phase: Phase::from_code(bytes[0])?,
            trials: bytes[1],
            received: u32::from_le_bytes(field(bytes, 4)),
            name: field::<NAME_BYTES>(bytes, 8),
        };
    }
    Some(State {
        serial: u32::from_le_bytes(field(bytes, 4)),
        confirmed: u64::from_le_bytes(field(bytes, 8)),
        slots,
    })
}

fn check(bytes: &[u8; RECORD_BYTES]) -> [u8; 8] {
    field(&Sha256::digest(&bytes[..BODY_BYTES]), 0)
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_back_and_no_other_bit_pattern_is() {
        let state = State {
            serial: 7,
            confirmed: 41,
            slots: [
                Slot {
                    phase: Phase::Trial,
                    trials: 2,
                    received: 9,
                    name: [3; NAME_BYTES],
                },
                Slot::default(),
            ],
        };
        let bytes = encode(&state);
        assert_eq!(decode(&bytes), Some(state));
        for bit in 0..8 * RECORD_BYTES {
            let mut torn = bytes;
            torn[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&torn), None, "bit {bit}");
        }
    }
}
