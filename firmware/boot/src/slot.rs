//! A slot's content: reading and verifying what it holds.

use embedded_storage::nor_flash::NorFlash;
use sha2::{Digest as _, Sha256};
use stencil_update::header::{HEADER_BYTES, Header, PRELUDE_LENGTH};
use stencil_update::{Refusal, lms};

use crate::{Config, Error, wide};

/// How much of an image is in RAM at once.
const PIECE: usize = 256;

/// Reads the header of the slot that starts at `start`.
pub(crate) fn header<F: NorFlash>(flash: &mut F, start: u32) -> Result<Header, Error<F::Error>> {
    let mut bytes = [0; HEADER_BYTES];
    flash.read(start, &mut bytes).map_err(Error::Flash)?;
    Header::decode(&bytes).map_err(|error| Error::Refused(Refusal::Header(error)))
}

/// Verifies the LMS signature over the header.
pub(crate) fn check_signature<F: NorFlash>(
    flash: &mut F,
    start: u32,
    header: &Header,
    key: &lms::PublicKey,
) -> Result<(), Error<F::Error>> {
    let message = header.encode().map_err(Refusal::Header)?;
    let mut at = start + wide(HEADER_BYTES);
    let verified = key.verify_from(&message, |piece| {
        flash.read(at, piece)?;
        // Pieces of 4 and 32 bytes.
        at += wide(piece.len());
        Ok(())
    });
    match verified {
        Ok(_) => Ok(()),
        Err(lms::Error::Source(error)) => Err(Error::Flash(error)),
        Err(_) => Err(Error::Refused(Refusal::Signature)),
    }
}

/// Hands the image to `sink`, piece by piece with its offset, and checks the digest of exactly
/// those bytes.
pub(crate) fn load<F: NorFlash>(
    flash: &mut F,
    start: u32,
    header: &Header,
    mut sink: impl FnMut(u32, &[u8]),
) -> Result<(), Error<F::Error>> {
    let image = start + PRELUDE_LENGTH;
    let mut digest = Sha256::new();
    let mut offset = 0;
    while offset < header.size {
        let mut piece = [0; PIECE];
        let length = (header.size - offset).min(wide(PIECE));
        // Rounded up to whole words, which the slot has: it consists of erase blocks.
        let words = length.next_multiple_of(4) as usize;
        flash
            .read(image + offset, &mut piece[..words])
            .map_err(Error::Flash)?;
        let piece = &piece[..length as usize];
        digest.update(piece);
        sink(offset, piece);
        offset += length;
    }
    if digest.finalize().as_slice() == header.digest {
        Ok(())
    } else {
        Err(Error::Refused(Refusal::Digest))
    }
}

/// Everything that has to hold before an image may be started, the cheapest first. The image goes
/// to `sink` on the way.
pub(crate) fn verify<F: NorFlash>(
    flash: &mut F,
    config: &Config,
    at: usize,
    confirmed: u64,
    sink: impl FnMut(u32, &[u8]),
) -> Result<Header, Error<F::Error>> {
    let start = config.layout.slots[at];
    let header = header(flash, start)?;
    config.device(confirmed).starts(&header)?;
    check_signature(flash, start, &header, &config.key)?;
    load(flash, start, &header, sink)?;
    Ok(header)
}
