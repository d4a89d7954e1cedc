//! NOR flash, held in a file of the host.
//!
//! As on a chip, bits go from 1 to 0 only, a block at a time is erased to ones, and a word is
//! the least that is programmed. Each word reaches the file by a call of its own, so whoever
//! kills the emulator cuts the power between two words, also within an erasure.

use core::fmt;

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash, check_erase, check_read,
    check_write,
};

use crate::host::{self, File, Mode};
use crate::layout::{BLOCK, BLOCKS};

const BLOCK_BYTES: usize = BLOCK as usize;
/// The smallest unit that is programmed.
const WORD_BYTES: usize = 4;
const STEP_BYTES: usize = 64;

/// The chip.
#[derive(Debug)]
pub(crate) struct Flash {
    file: File,
    capacity: usize,
}

/// Why the flash cannot be used.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Error {
    /// The host's file.
    Host(host::Error),
    /// It is no whole number of blocks, or too few.
    Length(usize),
    /// An address beyond its end, or across a word's or block's border.
    Address(NorFlashErrorKind),
    /// A word that is to be written has bits at 1 that are 0: it was not erased.
    NotErased,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(why) => write!(f, "{why}"),
            Self::Length(bytes) => write!(
                f,
                "the file has {bytes} bytes; it takes blocks of {BLOCK_BYTES} bytes, {BLOCKS} or more"
            ),
            Self::Address(NorFlashErrorKind::NotAligned) => f.write_str("an unaligned address"),
            Self::Address(_) => f.write_str("an address beyond its end"),
            Self::NotErased => f.write_str("a word that is not erased cannot be written"),
        }
    }
}

impl NorFlashError for Error {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            Self::Address(kind) => *kind,
            _ => NorFlashErrorKind::Other,
        }
    }
}

impl From<host::Error> for Error {
    fn from(error: host::Error) -> Self {
        Self::Host(error)
    }
}

impl Flash {
    /// The chip in the file `path`, which is there and has the chip's size.
    pub(crate) fn open(path: &str) -> Result<Self, Error> {
        let file = File::open(path, Mode::Update)?;
        let capacity = file.length()?;
        if !capacity.is_multiple_of(BLOCK_BYTES) || capacity < BLOCK_BYTES * BLOCKS as usize {
            return Err(Error::Length(capacity));
        }
        Ok(Self { file, capacity })
    }
}

impl ErrorType for Flash {
    type Error = Error;
}

impl ReadNorFlash for Flash {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Error> {
        check_read(self, offset, bytes.len()).map_err(Error::Address)?;
        self.file.seek(offset)?;
        Ok(self.file.read(bytes)?)
    }

    fn capacity(&self) -> usize {
        self.capacity
    }
}

impl NorFlash for Flash {
    const WRITE_SIZE: usize = WORD_BYTES;
    const ERASE_SIZE: usize = BLOCK_BYTES;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Error> {
        check_erase(self, from, to).map_err(Error::Address)?;
        self.file.seek(from)?;
        for _ in 0..(to - from) as usize / STEP_BYTES {
            self.file.write(&[0xff; STEP_BYTES])?;
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Error> {
        check_write(self, offset, bytes.len()).map_err(Error::Address)?;
        let mut at = offset;
        let mut held = [0; STEP_BYTES];
        for step in bytes.chunks(STEP_BYTES) {
            let held = &mut held[..step.len()];
            self.file.seek(at)?;
            self.file.read(held)?;
            if held.iter().zip(step).any(|(held, new)| !held & new != 0) {
                return Err(Error::NotErased);
            }
            self.file.seek(at)?;
            for word in step.chunks(WORD_BYTES) {
                self.file.write(word)?;
            }
            at += u32::try_from(step.len()).unwrap_or(0);
        }
        Ok(())
    }
}
