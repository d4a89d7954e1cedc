//! A device's flash, and the link that dies with its power.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use embedded_io::{Read, ReadReady, Write, WriteReady};
use embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash};
use stencil_boot::Layout;
use stencil_boot::model::{Fault, Nor};

use crate::socket::{Failed, Socket};

/// The least that is erased, in bytes.
const BLOCK: u32 = 8_192;
const BLOCK_BYTES: usize = 8_192;
/// The least that is written, in bytes.
const WORD_BYTES: usize = 4;
/// Blocks of retained memory, which come first.
const STATE_BLOCKS: u32 = 4;
/// Blocks of a slot.
const SLOT_BLOCKS: u32 = 4;
const BLOCKS: usize = 14;

/// Where retained memory ends; it begins at 0.
pub(super) const STATE_TO: u32 = STATE_BLOCKS * BLOCK;
/// The loader's journal, two blocks, and the two slots.
pub(super) const LAYOUT: Layout = Layout {
    journal: STATE_TO,
    journal_half: BLOCK,
    slots: [
        (STATE_BLOCKS + 2) * BLOCK,
        (STATE_BLOCKS + 2 + SLOT_BLOCKS) * BLOCK,
    ],
    slot_bytes: SLOT_BLOCKS * BLOCK,
};

/// The one flash chip of a device, which holds all that survives a loss of power. Clones are the
/// same chip.
#[derive(Clone, Debug)]
pub(super) struct Chip(Arc<Mutex<Nor<WORD_BYTES, BLOCK_BYTES>>>);

impl Chip {
    /// A new one with this package in its first slot. `noise` seeds what torn bytes look like.
    pub(super) fn with(package: &[u8], noise: u64) -> Self {
        let mut nor = Nor::new(BLOCKS, noise);
        let at = usize::try_from(LAYOUT.slots[0]).unwrap_or(usize::MAX);
        let slot = nor.bytes_mut().iter_mut().skip(at);
        slot.zip(package).for_each(|(to, from)| *to = *from);
        Self(Arc::new(Mutex::new(nor)))
    }

    pub(super) fn is_powered(&self) -> bool {
        self.nor().is_powered()
    }

    /// The power is there, and stays.
    pub(super) fn power_on(&self) {
        self.nor().power_on();
    }

    /// The power goes after so many more steps of writing and erasing.
    pub(super) fn cut_after(&self, steps: u64) {
        self.nor().cut_after(steps);
    }

    fn nor(&self) -> MutexGuard<'_, Nor<WORD_BYTES, BLOCK_BYTES>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ErrorType for Chip {
    type Error = Fault;
}

impl ReadNorFlash for Chip {
    const READ_SIZE: usize = WORD_BYTES;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Fault> {
        self.nor().read(offset, bytes)
    }

    fn capacity(&self) -> usize {
        self.nor().capacity()
    }
}

impl NorFlash for Chip {
    const WRITE_SIZE: usize = WORD_BYTES;
    const ERASE_SIZE: usize = BLOCK_BYTES;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Fault> {
        self.nor().erase(from, to)
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Fault> {
        self.nor().write(offset, bytes)
    }
}

/// The link of a device: when the power is gone in the middle of what the application does,
/// nothing that it says after that leaves the device.
#[derive(Debug)]
pub(super) struct Line {
    socket: Socket,
    chip: Chip,
}

impl Line {
    pub(super) fn new(socket: Socket, chip: Chip) -> Self {
        Self { socket, chip }
    }
}

impl embedded_io::ErrorType for Line {
    type Error = Failed;
}

impl ReadReady for Line {
    fn read_ready(&mut self) -> Result<bool, Failed> {
        self.socket.read_ready()
    }
}

impl Read for Line {
    fn read(&mut self, out: &mut [u8]) -> Result<usize, Failed> {
        self.socket.read(out)
    }
}

impl WriteReady for Line {
    fn write_ready(&mut self) -> Result<bool, Failed> {
        self.socket.write_ready()
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Failed> {
        if !self.chip.is_powered() {
            return Err(io::Error::from(io::ErrorKind::NotConnected).into());
        }
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> Result<(), Failed> {
        self.socket.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::Weather;
    use tokio::io::AsyncReadExt as _;

    #[test]
    fn journal_slots_and_retained_memory_fit_on_the_chip() {
        let chip = Chip::with(b"factory", 1);
        LAYOUT.check(&chip).unwrap();
        assert!(stencil_firmware::Pages::new(chip.clone(), 0, STATE_TO).is_ok());
        let mut bytes = [0; 8];
        chip.clone().read(LAYOUT.slots[0], &mut bytes).unwrap();
        assert_eq!(&bytes, b"factory\xff");
    }

    #[tokio::test]
    async fn nothing_is_said_without_power() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dialled = tokio::net::TcpStream::connect(listener.local_addr().unwrap());
        let (dialled, accepted) = tokio::join!(dialled, listener.accept());
        let (mut gateway, _) = accepted.unwrap();
        let (socket, _) = Socket::new(Arc::new(dialled.unwrap()), Arc::<Weather>::default());
        let mut chip = Chip::with(b"", 1);
        let mut line = Line::new(socket, chip.clone());
        line.write_all(b"before").unwrap();
        chip.cut_after(0);
        assert_eq!(chip.write(0, &[0; 4]), Err(Fault::NoPower));
        assert!(line.write(b"after").is_err());
        drop(line);
        let mut heard = Vec::new();
        gateway.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"before");
    }
}
