//! What the running application calls: to receive an image, and to confirm itself.

use embedded_storage::nor_flash::NorFlash;
use stencil_update::header::{HEADER_BYTES, Header, PRELUDE_LENGTH};
use stencil_update::{Device, Refusal};

use crate::journal::{ERASED, Journal, RECORD_BYTES};
use crate::state::{Name, Phase, Slot, State};
use crate::{Config, Error, slot, wide};

/// What runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Running {
    /// What it is.
    pub header: Header,
    /// Whether it has proved itself.
    pub confirmed: bool,
}

/// An image that is being received.
#[derive(Clone, Copy, Debug)]
struct Download {
    at: usize,
    name: Name,
    header: Header,
    /// The next offset in the package.
    next: u32,
    /// Header and signature were verified since this began.
    checked: bool,
}

impl Download {
    /// Header and signature are there, and nobody has looked at them.
    fn is_to_be_checked(&self) -> bool {
        self.next >= PRELUDE_LENGTH && !self.checked
    }
}

/// The flash, from the application's side.
///
/// Bytes of a package go in from front to back. At the end of each erase block they are read back
/// and the position is written down: after a power cut [`Updater::offer`] of the same header says
/// where to go on, at most one block before where it was.
pub struct Updater<F> {
    flash: F,
    config: Config,
    journal: Journal,
    running: usize,
    download: Option<Download>,
}

impl<F: NorFlash> Updater<F> {
    /// Takes the flash, after the loader has started the application that calls this.
    ///
    /// # Errors
    /// [`Error::NoImage`] if no loader has been here; [`Error::Flash`], [`Error::Layout`].
    pub fn open(mut flash: F, config: Config) -> Result<Self, Error<F::Error>> {
        let journal = Journal::load(&mut flash, &config)?;
        let state = journal.state().ok_or(Error::NoImage)?;
        let running = state.running().ok_or(Error::NoImage)?;
        Ok(Updater {
            flash,
            config,
            journal,
            running,
            download: None,
        })
    }

    /// What runs.
    ///
    /// # Errors
    /// [`Error::Flash`], [`Error::Refused`] if the header cannot be read any more.
    pub fn running(&mut self) -> Result<Running, Error<F::Error>> {
        let header = slot::header(&mut self.flash, self.config.layout.slots[self.running])?;
        Ok(Running {
            header,
            confirmed: self.state().slots[self.running].phase == Phase::Confirmed,
        })
    }

    /// What the journal says.
    #[must_use]
    pub fn state(&self) -> State {
        // `open` refuses a journal without a state, and nothing takes it away.
        self.journal.state().unwrap_or_default()
    }

    /// What the device accepts.
    #[must_use]
    pub fn device(&self) -> Device {
        self.config.device(self.state().confirmed)
    }

    /// The slot that does not run.
    #[must_use]
    pub fn other(&self) -> Slot {
        self.state().slots[1 - self.running]
    }

    /// Confirms the running image: to be called only after it has talked to its gateway. From then
    /// on no older image is ever started. Does nothing if it is confirmed already.
    ///
    /// # Errors
    /// [`Error::Flash`], [`Error::JournalWorn`], [`Error::Refused`].
    pub fn confirm(&mut self) -> Result<(), Error<F::Error>> {
        let running = self.running()?;
        if running.confirmed {
            return Ok(());
        }
        let proved = self.state().proved(self.running, running.header.sequence);
        self.journal.append(&mut self.flash, proved)
    }

    /// Takes an offer: says from which offset of the package on bytes are needed. That is the
    /// package's length if all of it is there.
    ///
    /// # Errors
    /// [`Error::Refused`] with the reason; [`Error::Unconfirmed`] while the running image is on
    /// trial; [`Error::Flash`], [`Error::JournalWorn`].
    pub fn offer(&mut self, header: &[u8; HEADER_BYTES]) -> Result<u32, Error<F::Error>> {
        let header = Header::decode(header).map_err(Refusal::Header)?;
        let state = self.state();
        if state.slots[self.running].phase != Phase::Confirmed {
            return Err(Error::Unconfirmed);
        }
        self.config.device(state.confirmed).accepts(&header)?;
        let name = header.name().map_err(Refusal::Header)?;
        let at = 1 - self.running;
        let slot = state.slots[at];
        let same = slot.name == name;
        let next = match slot.phase {
            Phase::Bad if same => return Err(Refusal::KnownBad.into()),
            Phase::Ready if same => header.package_bytes(),
            Phase::Receiving if same => self.resumed(slot.received, &header),
            _ => {
                self.journal
                    .append(&mut self.flash, state.receiving(at, name, 0))?;
                0
            }
        };
        if let Some(running) = self.download
            && running.name == name
        {
            // The same offer once more, for instance after the link came back: nothing is lost.
            return Ok(running.next);
        }
        self.download = Some(Download {
            at,
            name,
            header,
            next,
            checked: false,
        });
        Ok(next)
    }

    /// A position that was written down, if it can be one.
    fn resumed(&self, received: u32, header: &Header) -> u32 {
        let block = wide(F::ERASE_SIZE);
        if received == header.package_bytes() || received.is_multiple_of(block) {
            received.min(header.package_bytes())
        } else {
            0
        }
    }

    /// Writes the next piece of the package; says which offset is next.
    ///
    /// # Errors
    /// [`Error::Gap`] if it does not follow; [`Error::Piece`] if it has a length that cannot be
    /// written; [`Error::Refused`] if header and signature, once complete, are not right: the
    /// download is then over; [`Error::ReadBack`], [`Error::Flash`]: it goes on from the start of
    /// the block that failed.
    pub fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<u32, Error<F::Error>> {
        let next = self.append(offset, bytes)?;
        self.check()?;
        Ok(next)
    }

    /// Verifies header and signature, if they are complete and were not verified since the offer:
    /// about 15 million instructions. Does nothing otherwise.
    ///
    /// # Errors
    /// [`Error::Refused`]: the download is over. [`Error::Flash`], [`Error::JournalWorn`].
    pub fn check(&mut self) -> Result<(), Error<F::Error>> {
        let Some(mut download) = self.download.filter(Download::is_to_be_checked) else {
            return Ok(());
        };
        let checked = self.check_prelude(&download);
        download.checked = checked.is_ok();
        self.download = match checked {
            Err(Error::Refused(_)) => None,
            _ => Some(download),
        };
        checked
    }

    /// The offset from which on bytes are needed, while an image is being received.
    #[must_use]
    pub fn wanted(&self) -> Option<u32> {
        self.download.map(|download| download.next)
    }

    /// Whether [`Updater::check`] has something to do.
    #[must_use]
    pub fn is_to_be_checked(&self) -> bool {
        self.download
            .as_ref()
            .is_some_and(Download::is_to_be_checked)
    }

    /// As [`Updater::write`], but leaves the verification of header and signature to
    /// [`Updater::check`], for who has to choose the time of it. The bytes behind them are
    /// not written before that: it is made up for at the latest then.
    ///
    /// # Errors
    /// As [`Updater::write`].
    pub fn append(&mut self, offset: u32, bytes: &[u8]) -> Result<u32, Error<F::Error>> {
        self.check()?;
        let mut download = self.download.ok_or(Error::Idle)?;
        if offset != download.next {
            return Err(Error::Gap {
                want: download.next,
            });
        }
        let total = download.header.package_bytes();
        let unit = wide(unit::<F>());
        let end = u32::try_from(bytes.len())
            .ok()
            .and_then(|length| offset.checked_add(length))
            .filter(|end| *end <= total && (end.is_multiple_of(unit) || *end == total))
            .ok_or(Error::Piece { unit })?;

        let mut rest = bytes;
        while download.next < end {
            let block = wide(F::ERASE_SIZE);
            let block_end = (download.next / block + 1) * block;
            let length = (end.min(block_end) - download.next) as usize;
            let (now, later) = rest.split_at(length);
            if download.is_to_be_checked() {
                // A long piece: its next block is behind the signature.
                self.download = Some(download);
                self.check()?;
                download.checked = true;
            }
            match self.write_in_block(&mut download, now) {
                Ok(()) => rest = later,
                Err(error) => {
                    // What the block holds now is unknown: it is erased and written again.
                    download.next = download.next / block * block;
                    download.checked &= download.next >= PRELUDE_LENGTH;
                    self.download = match error {
                        Error::Refused(_) => None,
                        _ => Some(download),
                    };
                    return Err(error);
                }
            }
        }
        self.download = Some(download);
        Ok(download.next)
    }

    fn write_in_block(
        &mut self,
        download: &mut Download,
        bytes: &[u8],
    ) -> Result<(), Error<F::Error>> {
        let start = self.config.layout.slots[download.at];
        let block = wide(F::ERASE_SIZE);
        let at = start + download.next;
        if download.next.is_multiple_of(block) {
            self.flash.erase(at, at + block).map_err(Error::Flash)?;
        }
        write_padded(&mut self.flash, at, bytes)?;
        // At most the rest of a block.
        let after = download.next + wide(bytes.len());
        if after.is_multiple_of(block) || after == download.header.package_bytes() {
            let state = self.state().receiving(download.at, download.name, after);
            self.journal.append(&mut self.flash, state)?;
        }
        download.next = after;
        Ok(())
    }

    /// The header has to be the one that was offered, and signed. Checked before the image costs
    /// time and wear.
    fn check_prelude(&mut self, download: &Download) -> Result<(), Error<F::Error>> {
        let start = self.config.layout.slots[download.at];
        let checked = match slot::header(&mut self.flash, start) {
            Ok(header) if header == download.header => {
                slot::check_signature(&mut self.flash, start, &header, &self.config.key)
            }
            Ok(_) => Err(Error::Refused(Refusal::Signature)),
            Err(error) => Err(error),
        };
        self.or_emptied(download.at, checked)
    }

    /// Ends the download: verifies the whole package, after which the loader will try it at the
    /// next reset.
    ///
    /// # Errors
    /// [`Error::Refused`] with [`Refusal::Truncated`] if bytes are missing, and with
    /// [`Refusal::Signature`] or [`Refusal::Digest`] if it is not what was signed: the slot is
    /// then empty. [`Error::Idle`], [`Error::Flash`], [`Error::JournalWorn`].
    pub fn finish(&mut self) -> Result<(), Error<F::Error>> {
        let download = self.download.ok_or(Error::Idle)?;
        let size = download.header.package_bytes();
        if download.next != size {
            return Err(Error::Refused(Refusal::Truncated {
                have: download.next.into(),
                size: size.into(),
            }));
        }
        self.download = None;
        let state = self.state();
        let verified = slot::verify(
            &mut self.flash,
            &self.config,
            download.at,
            state.confirmed,
            |_, _| (),
        )
        .map(|_| ());
        self.or_emptied(download.at, verified)?;
        if state.slots[download.at].phase == Phase::Ready {
            return Ok(());
        }
        self.journal
            .append(&mut self.flash, state.ready(download.at))
    }

    /// Gives the flash back.
    pub fn release(self) -> F {
        self.flash
    }

    /// Empties the slot if what it holds was refused: it may be sent again.
    fn or_emptied(
        &mut self,
        at: usize,
        checked: Result<(), Error<F::Error>>,
    ) -> Result<(), Error<F::Error>> {
        if let Err(Error::Refused(_)) = checked {
            let state = self.state().emptied(at);
            self.journal.append(&mut self.flash, state)?;
        }
        checked
    }
}

/// What a piece has to be a multiple of, so that the next one can be written and read back.
fn unit<F: NorFlash>() -> usize {
    F::WRITE_SIZE.max(F::READ_SIZE)
}

/// Writes bytes in the flash's units, padded as erased, and reads them back.
fn write_padded<F: NorFlash>(
    flash: &mut F,
    mut at: u32,
    bytes: &[u8],
) -> Result<(), Error<F::Error>> {
    for piece in bytes.chunks(RECORD_BYTES) {
        // A whole number of units: units divide the buffer's length.
        let length = piece.len().next_multiple_of(unit::<F>());
        let mut padded = [ERASED; RECORD_BYTES];
        padded[..piece.len()].copy_from_slice(piece);
        let padded = &padded[..length.min(RECORD_BYTES)];
        flash.write(at, padded).map_err(Error::Flash)?;
        let mut found = [0; RECORD_BYTES];
        let found = &mut found[..padded.len()];
        flash.read(at, found).map_err(Error::Flash)?;
        if found != padded {
            return Err(Error::ReadBack { at });
        }
        at += wide(RECORD_BYTES);
    }
    Ok(())
}
