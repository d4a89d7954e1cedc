//! A NOR flash in memory that can lose power: for tests, simulators and emulated boards.
//!
//! Erasing sets whole blocks to ones, writing only clears bits. The power can be cut at the n-th
//! byte: the byte that was being written then has some of its bits cleared, a block that was being
//! erased is a mixture of what it held, of ones and of noise. Without power nothing works until
//! [`Nor::power_on`].

extern crate alloc;

use alloc::vec;
use alloc::vec::Vec;

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};

/// How many steps an erasure of a block has at which the power can go.
pub const ERASE_STEPS: u64 = 4;

/// Why the model did not do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// There is no power.
    NoPower,
    /// An offset or length does not fit the flash's units.
    Alignment,
    /// Beyond the end.
    Outside,
    /// A write would have to set a bit that is cleared.
    NotErased,
}

impl NorFlashError for Fault {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            Fault::Alignment => NorFlashErrorKind::NotAligned,
            Fault::Outside => NorFlashErrorKind::OutOfBounds,
            Fault::NoPower | Fault::NotErased => NorFlashErrorKind::Other,
        }
    }
}

/// A NOR flash that writes `WRITE` bytes at once, reads the same, and erases `ERASE`.
#[derive(Clone, Debug)]
pub struct Nor<const WRITE: usize, const ERASE: usize> {
    bytes: Vec<u8>,
    powered: bool,
    /// Steps until the power goes.
    left: Option<u64>,
    steps: u64,
    noise: u64,
    erasures: Vec<u32>,
}

impl<const WRITE: usize, const ERASE: usize> Nor<WRITE, ERASE> {
    /// An erased flash of this many blocks. `noise` seeds what torn bytes look like.
    #[must_use]
    pub fn new(blocks: usize, noise: u64) -> Self {
        Nor {
            bytes: vec![0xff; blocks * ERASE],
            powered: true,
            left: None,
            steps: 0,
            noise: noise | 1,
            erasures: vec![0; blocks],
        }
    }

    /// Cuts the power after this many steps: bytes written, quarters of a block erased.
    pub fn cut_after(&mut self, steps: u64) {
        self.left = Some(steps);
    }

    /// The power is back, and stays.
    pub fn power_on(&mut self) {
        self.powered = true;
        self.left = None;
    }

    /// Whether there is power.
    #[must_use]
    pub fn is_powered(&self) -> bool {
        self.powered
    }

    /// How many steps were done so far.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// How often each block was erased.
    #[must_use]
    pub fn erasures(&self) -> &[u32] {
        &self.erasures
    }

    /// The content, to look at or to spoil.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Xorshift: enough to look torn.
    fn random(&mut self) -> u8 {
        self.noise ^= self.noise << 13;
        self.noise ^= self.noise >> 7;
        self.noise ^= self.noise << 17;
        self.noise.to_le_bytes()[3]
    }

    /// Takes a step; false if the power goes in it.
    fn step(&mut self) -> bool {
        match &mut self.left {
            Some(0) => {
                self.powered = false;
                false
            }
            Some(left) => {
                *left -= 1;
                self.steps += 1;
                true
            }
            None => {
                self.steps += 1;
                true
            }
        }
    }

    fn range(
        &self,
        offset: u32,
        length: usize,
        unit: usize,
    ) -> Result<core::ops::Range<usize>, Fault> {
        if !self.powered {
            return Err(Fault::NoPower);
        }
        let start = offset as usize;
        if !start.is_multiple_of(unit) || !length.is_multiple_of(unit) {
            return Err(Fault::Alignment);
        }
        match start.checked_add(length) {
            Some(end) if end <= self.bytes.len() => Ok(start..end),
            _ => Err(Fault::Outside),
        }
    }
}

impl<const WRITE: usize, const ERASE: usize> ErrorType for Nor<WRITE, ERASE> {
    type Error = Fault;
}

impl<const WRITE: usize, const ERASE: usize> ReadNorFlash for Nor<WRITE, ERASE> {
    const READ_SIZE: usize = if WRITE < 4 { WRITE } else { 4 };

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Fault> {
        let range = self.range(offset, bytes.len(), Self::READ_SIZE)?;
        bytes.copy_from_slice(&self.bytes[range]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl<const WRITE: usize, const ERASE: usize> NorFlash for Nor<WRITE, ERASE> {
    const WRITE_SIZE: usize = WRITE;
    const ERASE_SIZE: usize = ERASE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Fault> {
        let length = to.checked_sub(from).ok_or(Fault::Outside)? as usize;
        let range = self.range(from, length, ERASE)?;
        for block in range.step_by(ERASE) {
            for _ in 0..ERASE_STEPS {
                if !self.step() {
                    for at in block..block + ERASE {
                        let noise = self.random();
                        self.bytes[at] = match noise % 3 {
                            0 => self.bytes[at],
                            1 => 0xff,
                            _ => self.bytes[at] | self.random(),
                        };
                    }
                    return Err(Fault::NoPower);
                }
            }
            self.bytes[block..block + ERASE].fill(0xff);
            self.erasures[block / ERASE] += 1;
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Fault> {
        let range = self.range(offset, bytes.len(), WRITE)?;
        for (at, value) in range.zip(bytes) {
            if !self.step() {
                // Some of the bits that were to be cleared are.
                let noise = self.random();
                self.bytes[at] &= value | noise;
                return Err(Fault::NoPower);
            }
            if self.bytes[at] & value != *value {
                return Err(Fault::NotErased);
            }
            self.bytes[at] = *value;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_only_cleared() {
        let mut nor = Nor::<1, 64>::new(2, 1);
        nor.write(0, &[0xf0]).unwrap();
        nor.write(0, &[0x30]).unwrap();
        assert_eq!(nor.write(0, &[0x31]), Err(Fault::NotErased));
        nor.erase(0, 64).unwrap();
        nor.write(0, &[0x31]).unwrap();
        assert_eq!(nor.erase(0, 65), Err(Fault::Alignment));
        assert_eq!(nor.erase(64, 192), Err(Fault::Outside));
    }

    #[test]
    fn a_cut_tears_the_byte_and_everything_stops() {
        let mut nor = Nor::<1, 64>::new(1, 3);
        nor.cut_after(2);
        assert_eq!(nor.write(0, &[0, 0, 0, 0]), Err(Fault::NoPower));
        assert_eq!(nor.read(0, &mut [0]), Err(Fault::NoPower));
        nor.power_on();
        let mut bytes = [0; 4];
        nor.read(0, &mut bytes).unwrap();
        assert_eq!((bytes[0], bytes[1], bytes[3]), (0, 0, 0xff));
    }
}
