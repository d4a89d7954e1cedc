//! Where journal and slots are in flash. All offsets are those of the flash driver.

use embedded_storage::nor_flash::NorFlash;
use embedded_storage::nor_flash::ReadNorFlash;
use stencil_update::header::{MAX_IMAGE_BYTES, PRELUDE_BYTES, PRELUDE_LENGTH};

use crate::journal::RECORD_BYTES;

/// Where journal and slots are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The start of the journal: two halves, one behind the other.
    pub journal: u32,
    /// The length of a half: one or more erase blocks.
    pub journal_half: u32,
    /// The starts of the two slots.
    pub slots: [u32; 2],
    /// The length of a slot: one or more erase blocks.
    pub slot_bytes: u32,
}

/// What is wrong with a layout for a given flash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The flash reads or writes in units that are too large.
    #[error("the flash has to read in units of 1, 2 or 4 bytes, and write in units that divide 64")]
    Units,
    /// A region does not start or end at an erase block, or is empty.
    #[error("each region has to consist of whole erase blocks")]
    Blocks,
    /// A region is not inside of the flash.
    #[error("a region ends beyond the flash")]
    Outside,
    /// Two regions overlap.
    #[error("two regions overlap")]
    Overlap,
    /// A slot has no room for header and signature.
    #[error("a slot has to be longer than {PRELUDE_BYTES} bytes")]
    Small,
}

impl Layout {
    /// Whether the layout is one for this flash.
    ///
    /// # Errors
    /// [`Error`].
    pub fn check<F: NorFlash>(&self, flash: &F) -> Result<(), Error> {
        check_units::<F>()?;
        let regions = [
            (self.journal, self.journal_half),
            (
                self.journal.saturating_add(self.journal_half),
                self.journal_half,
            ),
            (self.slots[0], self.slot_bytes),
            (self.slots[1], self.slot_bytes),
        ];
        let block = u64::try_from(F::ERASE_SIZE).unwrap_or(u64::MAX);
        let capacity = u64::try_from(ReadNorFlash::capacity(flash)).unwrap_or(u64::MAX);
        for (at, (start, length)) in regions.into_iter().enumerate() {
            let (start, length) = (u64::from(start), u64::from(length));
            if length == 0 || !start.is_multiple_of(block) || !length.is_multiple_of(block) {
                return Err(Error::Blocks);
            }
            if start + length > capacity {
                return Err(Error::Outside);
            }
            for (other, other_length) in regions.into_iter().skip(at + 1) {
                let (other, other_length) = (u64::from(other), u64::from(other_length));
                if start < other + other_length && other < start + length {
                    return Err(Error::Overlap);
                }
            }
        }
        if self.slot_bytes as usize <= PRELUDE_BYTES {
            return Err(Error::Small);
        }
        Ok(())
    }

    /// The largest image that fits into a slot.
    #[must_use]
    pub fn max_image(&self) -> u32 {
        self.slot_bytes
            .saturating_sub(PRELUDE_LENGTH)
            .min(MAX_IMAGE_BYTES)
    }
}

fn check_units<F: NorFlash>() -> Result<(), Error> {
    let reads = matches!(F::READ_SIZE, 1 | 2 | 4);
    let writes = F::WRITE_SIZE > 0 && RECORD_BYTES.is_multiple_of(F::WRITE_SIZE);
    let erases = F::ERASE_SIZE > 0 && F::ERASE_SIZE.is_multiple_of(RECORD_BYTES);
    if reads && writes && erases {
        Ok(())
    } else {
        Err(Error::Units)
    }
}
