//! Applications that do not tell the truth about their device.

use stencil_firmware::Slots;
use stencil_firmware::slots::{Fault, Running, Taken};
use stencil_protocol::transfer::{HEADER_BYTES, Outcome};
use stencil_update::id::Id;

/// What a device's application says of the device, true or not. Hub and gateway do not offer what
/// a device would refuse; they go by this.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Claims {
    /// What is so.
    #[default]
    Truth,
    /// That it never confirmed anything newer than this sequence number, and runs that.
    Sequence(u64),
    /// That it is of this class.
    Class(Id),
}

/// Slots that are told of as [`Claims`] says; what they do is not touched.
pub(super) struct Told<U> {
    pub(super) slots: U,
    pub(super) claims: Claims,
}

impl<U: Slots> Slots for Told<U> {
    fn running(&mut self) -> Option<Running> {
        let mut running = self.slots.running()?;
        match self.claims {
            Claims::Truth => {}
            Claims::Sequence(sequence) => {
                running.header.sequence = sequence;
                running.confirmed = sequence;
            }
            Claims::Class(class) => running.header.class = class,
        }
        Some(running)
    }

    fn confirm(&mut self) -> bool {
        self.slots.confirm()
    }

    fn offer(&mut self, header: &[u8; HEADER_BYTES], may_begin: bool) -> Result<Taken, Outcome> {
        self.slots.offer(header, may_begin)
    }

    fn append(&mut self, offset: u32, bytes: &[u8]) -> Result<u32, Fault> {
        self.slots.append(offset, bytes)
    }

    fn is_to_be_checked(&self) -> bool {
        self.slots.is_to_be_checked()
    }

    fn check(&mut self) -> Result<(), Outcome> {
        self.slots.check()
    }

    fn finish(&mut self) -> Result<(), Outcome> {
        self.slots.finish()
    }
}
