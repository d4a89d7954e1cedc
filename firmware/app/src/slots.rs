//! Where a device keeps firmware images: what the application asks of `stencil_boot`.

use embedded_storage::nor_flash::NorFlash;
use stencil_boot::state::Phase;
use stencil_boot::{Error, Updater};
use stencil_protocol::transfer::{self, HEADER_BYTES, Name, Outcome, Slot};
use stencil_update::Header;

/// What runs, with the version's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Running {
    /// What the image is.
    pub header: Header,
    /// The most bytes of an image that fit.
    pub max_image: u32,
    /// The sequence number that was confirmed last.
    pub confirmed: u64,
    /// The slot that does not run.
    pub other: Slot,
}

/// An offer that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The header's name.
    pub name: Name,
    /// The next offset of the package that is needed; `size` when all of it is there.
    pub next: u32,
    /// The package's length.
    pub size: u32,
    /// It wears the flash: the slot held something else.
    pub begins: bool,
}

/// Why bytes of a package were not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The package is refused; what was written of it counts for nothing.
    Refused(Outcome),
    /// It goes on from this offset.
    Again(u32),
}

/// The slots of a device; `()` on a board that has none.
pub trait Slots {
    /// What runs; `None` if the device cannot say.
    fn running(&mut self) -> Option<Running>;

    /// The running image has talked to its gateway. True when that is written down.
    fn confirm(&mut self) -> bool;

    /// Takes an offer, or says why not. One that would begin a package, and so wear the flash, is
    /// refused with [`Outcome::RESTING`] unless it `may_begin`.
    ///
    /// # Errors
    /// Why it is refused.
    fn offer(&mut self, header: &[u8; HEADER_BYTES], may_begin: bool) -> Result<Taken, Outcome>;

    /// Writes the next bytes; says which offset is next. Signatures are left to [`Slots::check`].
    ///
    /// # Errors
    /// [`Fault`].
    fn append(&mut self, offset: u32, bytes: &[u8]) -> Result<u32, Fault>;

    /// Whether [`Slots::check`] has something to verify.
    fn is_to_be_checked(&self) -> bool;

    /// Verifies header and signature, as soon as they are there. Takes long: choose the time.
    ///
    /// # Errors
    /// Why the package is refused.
    fn check(&mut self) -> Result<(), Outcome>;

    /// Verifies the whole package. Takes long: choose the time.
    ///
    /// # Errors
    /// Why it is refused.
    fn finish(&mut self) -> Result<(), Outcome>;
}

impl Slots for () {
    fn running(&mut self) -> Option<Running> {
        None
    }
    fn confirm(&mut self) -> bool {
        true
    }
    fn offer(&mut self, _: &[u8; HEADER_BYTES], _: bool) -> Result<Taken, Outcome> {
        Err(Outcome::NO_SLOTS)
    }
    fn append(&mut self, _: u32, _: &[u8]) -> Result<u32, Fault> {
        Err(Fault::Refused(Outcome::NO_SLOTS))
    }
    fn is_to_be_checked(&self) -> bool {
        false
    }
    fn check(&mut self) -> Result<(), Outcome> {
        Ok(())
    }
    fn finish(&mut self) -> Result<(), Outcome> {
        Err(Outcome::NO_SLOTS)
    }
}

impl<F: NorFlash> Slots for Updater<F> {
    fn running(&mut self) -> Option<Running> {
        let running = Updater::running(self).ok()?;
        let slot = self.other();
        let device = self.device();
        Some(Running {
            header: running.header,
            max_image: device.max_image,
            confirmed: device.confirmed,
            other: Slot {
                phase: told(slot.phase),
                name: (slot.phase != Phase::Empty).then_some(slot.name),
            },
        })
    }

    fn confirm(&mut self) -> bool {
        Updater::confirm(self).is_ok()
    }

    fn offer(&mut self, header: &[u8; HEADER_BYTES], may_begin: bool) -> Result<Taken, Outcome> {
        let offered = Header::decode(header).map_err(|_| Outcome::HEADER)?;
        let name = offered.name().map_err(|_| Outcome::HEADER)?;
        let slot = self.other();
        let begins = slot.name != name || slot.phase == Phase::Empty;
        if begins && !may_begin {
            return Err(Outcome::RESTING);
        }
        let next = Updater::offer(self, header).map_err(|error| outcome(&error))?;
        Ok(Taken {
            name,
            next,
            size: offered.package_bytes(),
            begins,
        })
    }

    fn append(&mut self, offset: u32, bytes: &[u8]) -> Result<u32, Fault> {
        match Updater::append(self, offset, bytes) {
            Ok(next) => Ok(next),
            Err(Error::Gap { want }) => Err(Fault::Again(want)),
            Err(error @ (Error::Flash(_) | Error::ReadBack { .. })) => {
                // It stands at the start of the block that failed.
                match self.wanted() {
                    Some(want) => Err(Fault::Again(want)),
                    None => Err(Fault::Refused(outcome(&error))),
                }
            }
            Err(error) => Err(Fault::Refused(outcome(&error))),
        }
    }

    fn is_to_be_checked(&self) -> bool {
        Updater::is_to_be_checked(self)
    }

    fn check(&mut self) -> Result<(), Outcome> {
        Updater::check(self).map_err(|error| outcome(&error))
    }

    fn finish(&mut self) -> Result<(), Outcome> {
        Updater::finish(self).map_err(|error| outcome(&error))
    }
}

fn outcome<E>(error: &Error<E>) -> Outcome {
    match error {
        Error::Refused(refusal) => Outcome(refusal.code()),
        Error::Unconfirmed => Outcome::ON_TRIAL,
        Error::Piece { .. } => Outcome::TRUNCATED,
        Error::NoImage | Error::Layout(_) => Outcome::NO_SLOTS,
        _ => Outcome::FLASH,
    }
}

fn told(phase: Phase) -> transfer::Phase {
    match phase {
        Phase::Empty => transfer::Phase::Empty,
        Phase::Receiving => transfer::Phase::Receiving,
        Phase::Ready => transfer::Phase::Ready,
        Phase::Trial => transfer::Phase::Trial,
        Phase::Confirmed => transfer::Phase::Confirmed,
        Phase::Bad => transfer::Phase::Bad,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stencil_update::{Refusal, header};

    #[test]
    fn each_refusal_has_the_outcome_of_its_code() {
        use stencil_update::id::Id;
        let id = Id([0; 16]);
        for (refusal, expected) in [
            (Refusal::Header(header::Error::Magic), Outcome::HEADER),
            (
                Refusal::ForeignVendor { given: id, own: id },
                Outcome::FOREIGN_VENDOR,
            ),
            (
                Refusal::ForeignClass { given: id, own: id },
                Outcome::FOREIGN_CLASS,
            ),
            (
                Refusal::Old {
                    given: 1,
                    confirmed: 1,
                },
                Outcome::OLD,
            ),
            (Refusal::Oversized { size: 2, max: 1 }, Outcome::OVERSIZED),
            (Refusal::Truncated { have: 1, size: 2 }, Outcome::TRUNCATED),
            (Refusal::Signature, Outcome::SIGNATURE),
            (Refusal::Digest, Outcome::DIGEST),
            (Refusal::KnownBad, Outcome::KNOWN_BAD),
        ] {
            assert_eq!(outcome::<()>(&Error::Refused(refusal)), expected);
        }
    }
}
