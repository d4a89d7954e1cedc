//! Reading the spool behind the disk, a chunk at a time, whatever was dropped or damaged meanwhile.

use stencil_log::{Error, Position, Reader, Record};

use super::Spool;

/// Records a read.
const CHUNK: usize = 256;

/// A reader from there on, or from the oldest that is left.
pub(crate) fn open(spool: &Spool, mut from: Position) -> Result<Reader, Error> {
    loop {
        match spool.log().reader(from) {
            Err(Error::Trimmed { oldest }) => from = oldest,
            opened => return opened,
        }
    }
}

/// The next records; none: there are no more yet. What was dropped or is damaged is passed over. Blocks.
pub(crate) fn read(reader: &mut Reader) -> Result<Vec<Record>, Error> {
    let mut records = Vec::new();
    while records.len() < CHUNK {
        match reader.next() {
            Ok(Some(record)) => records.push(record),
            Ok(None) => break,
            // Dropped before it was read: who reads sees that numbers are missing, and the hub does not get
            // it either.
            Err(Error::Trimmed { oldest }) => match reader.seek(oldest) {
                Ok(()) | Err(Error::Trimmed { .. }) => {}
                Err(error) => return Err(error),
            },
            Err(error) => match reader.skip_corrupt() {
                Ok(_) | Err(Error::Trimmed { .. }) => {}
                Err(_) => return Err(error),
            },
        }
    }
    Ok(records)
}
