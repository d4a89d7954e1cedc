//! Devices' keys on their way from the hub to a gateway, and what the gateway says of them.
//!
//! ```text
//! update = { 0: epoch, 1: after, 2: through, 3: encapsulated: bytes, 4: [* entry], ? 5: last }
//! entry  = { 0: device, 1: identity, 2: [* [generation, sealed: bytes]] }
//! holds  = { 0: epoch, 1: revision, ? 2: public key: bytes }
//! used   = { 0: device, 1: generation, 2: at in µs }
//! ```
//!
//! What a gateway shall hold is a list that the hub numbers: each change of an entry gets the next
//! *revision*. An update brings the entries that changed between two revisions, as they are now;
//! the gateway stores them and says up to which revision it holds everything. So it does not matter
//! which of the two was restarted, or what was lost on the way. Another *epoch* is another list: it
//! is taken from its beginning, and takes the place of the one before when it is there up to its
//! *last* revision; what was held before is let go then, and not earlier.
//!
//! The keys themselves are sealed to the gateway (`stencil_crypto::seal`), each bound to tenant,
//! gateway, device and generation. An entry without keys is a device that is let in no more.

use alloc::vec::Vec;

use minicbor::Encoder;

use crate::cbor::{self, Reader, need, once};
use crate::command::read_device;
use crate::id::DeviceId;

/// The most entries of an [`Update`].
pub const MAX_ENTRIES: usize = 256;
/// The most keys of an [`Entry`]: the one in use, and the one that follows it.
pub const MAX_KEYS: usize = 2;
/// The longest sealed key, encapsulation or public key in bytes.
pub const MAX_SEALED_BYTES: usize = 2_048;

/// Why a message cannot be read.
pub type Error = cbor::Error;

/// Changes of what a gateway shall hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// Which list.
    pub epoch: u64,
    /// The revision that these changes follow.
    pub after: u64,
    /// The revision that is reached with them.
    pub through: u64,
    /// What opens the sealed keys, in the order of the entries; empty without keys.
    pub encapsulated: Vec<u8>,
    /// At most [`MAX_ENTRIES`].
    pub entries: Vec<Entry>,
    /// The revision that the list has reached so far; [`through`](Self::through) where it is not
    /// said.
    pub last: u64,
}

/// A device as a gateway shall know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The device's name in the hub.
    pub device: DeviceId,
    /// The name that it gives itself in the link's handshake.
    pub identity: DeviceId,
    /// Its keys, the one in use first; none: it is let in no more.
    pub keys: Vec<SealedKey>,
}

/// A sealed key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedKey {
    /// Which of the device's keys it is, from 1.
    pub generation: u64,
    /// The key, sealed.
    pub sealed: Vec<u8>,
}

/// What a gateway holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holds {
    /// Of which list; 0 before the first.
    pub epoch: u64,
    /// Everything up to this revision.
    pub revision: u64,
    /// The key to seal to; said at the beginning of a connection.
    pub public_key: Option<Vec<u8>>,
}

/// A device has used a key: those before it are needed no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used {
    /// The device.
    pub device: DeviceId,
    /// Which of its keys.
    pub generation: u64,
    /// When, by the gateway's clock: microseconds since the Unix epoch.
    pub at_us: i64,
}

/// Writing into a Vec cannot fail.
type Written = Result<(), minicbor::encode::Error<core::convert::Infallible>>;

impl Update {
    /// The update's bytes. [`Error::TooLong`] with more than [`MAX_ENTRIES`] entries, or
    /// [`MAX_KEYS`] keys in one.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        if self.entries.len() > MAX_ENTRIES {
            return Err(Error::TooLong {
                field: "entries",
                max: MAX_ENTRIES,
            });
        }
        if self.entries.iter().any(|entry| entry.keys.len() > MAX_KEYS) {
            return Err(Error::TooLong {
                field: "keys",
                max: MAX_KEYS,
            });
        }
        let mut e = Encoder::new(Vec::new());
        let written = self.write(&mut e);
        debug_assert!(written.is_ok(), "a Vec takes all");
        Ok(e.into_writer())
    }

    fn write(&self, e: &mut Encoder<Vec<u8>>) -> Written {
        e.map(6)?.u8(0)?.u64(self.epoch)?;
        e.u8(1)?.u64(self.after)?.u8(2)?.u64(self.through)?;
        e.u8(3)?.bytes(&self.encapsulated)?;
        e.u8(4)?.array(self.entries.len() as u64)?;
        for entry in &self.entries {
            e.map(3)?.u8(0)?.str(entry.device.as_str())?;
            e.u8(1)?.str(entry.identity.as_str())?;
            e.u8(2)?.array(entry.keys.len() as u64)?;
            for key in &entry.keys {
                e.array(2)?.u64(key.generation)?.bytes(&key.sealed)?;
            }
        }
        e.u8(5)?.u64(self.last)?.ok()
    }

    /// Reads an update that fills `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut r = Reader::new(bytes);
        let (mut epoch, mut after, mut through) = (None, None, None);
        let (mut encapsulated, mut entries, mut last) = (None, None, None);
        for _ in 0..r.map("an update of keys: a map")? {
            match r.key()? {
                Some(0) => once(&mut epoch, r.u64("an epoch")?, "epoch")?,
                Some(1) => once(&mut after, r.u64("a revision")?, "after")?,
                Some(2) => once(&mut through, r.u64("a revision")?, "through")?,
                Some(3) => once(&mut encapsulated, sealed(&mut r)?, "encapsulated")?,
                Some(4) => once(&mut entries, read_entries(&mut r)?, "entries")?,
                Some(5) => once(&mut last, r.u64("a revision")?, "last")?,
                Some(_) | None => r.skip()?,
            }
        }
        r.end()?;
        let through = need(through, "through")?;
        let update = Update {
            epoch: need(epoch, "epoch")?,
            after: need(after, "after")?,
            through,
            encapsulated: need(encapsulated, "encapsulated")?,
            entries: need(entries, "entries")?,
            last: last.unwrap_or(through),
        };
        if update.through < update.after {
            return Err(Error::Invalid {
                field: "through",
                why: "is before `after`",
            });
        }
        if update.last < update.through {
            return Err(Error::Invalid {
                field: "last",
                why: "is before `through`",
            });
        }
        Ok(update)
    }
}

impl Entry {
    fn read(r: &mut Reader<'_>) -> Result<Self, Error> {
        let (mut device, mut identity, mut keys) = (None, None, None);
        for _ in 0..r.map("an entry: a map")? {
            match r.key()? {
                Some(0) => once(&mut device, read_device(r)?, "device")?,
                Some(1) => once(&mut identity, read_device(r)?, "identity")?,
                Some(2) => once(&mut keys, read_keys(r)?, "keys")?,
                Some(_) | None => r.skip()?,
            }
        }
        Ok(Entry {
            device: need(device, "device")?,
            identity: need(identity, "identity")?,
            keys: need(keys, "keys")?,
        })
    }
}

impl Holds {
    /// The message's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut e = Encoder::new(Vec::new());
        let written = self.write(&mut e);
        debug_assert!(written.is_ok(), "a Vec takes all");
        e.into_writer()
    }

    fn write(&self, e: &mut Encoder<Vec<u8>>) -> Written {
        e.map(2 + u64::from(self.public_key.is_some()))?;
        e.u8(0)?.u64(self.epoch)?.u8(1)?.u64(self.revision)?;
        if let Some(key) = &self.public_key {
            e.u8(2)?.bytes(key)?;
        }
        Ok(())
    }

    /// Reads a message that fills `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut r = Reader::new(bytes);
        let (mut epoch, mut revision, mut public_key) = (None, None, None);
        for _ in 0..r.map("what a gateway holds: a map")? {
            match r.key()? {
                Some(0) => once(&mut epoch, r.u64("an epoch")?, "epoch")?,
                Some(1) => once(&mut revision, r.u64("a revision")?, "revision")?,
                Some(2) => once(&mut public_key, sealed(&mut r)?, "public key")?,
                Some(_) | None => r.skip()?,
            }
        }
        r.end()?;
        Ok(Holds {
            epoch: need(epoch, "epoch")?,
            revision: need(revision, "revision")?,
            public_key,
        })
    }
}

impl Used {
    /// The message's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut e = Encoder::new(Vec::new());
        let written = self.write(&mut e);
        debug_assert!(written.is_ok(), "a Vec takes all");
        e.into_writer()
    }

    fn write(&self, e: &mut Encoder<Vec<u8>>) -> Written {
        e.map(3)?.u8(0)?.str(self.device.as_str())?;
        e.u8(1)?.u64(self.generation)?.u8(2)?.i64(self.at_us)?.ok()
    }

    /// Reads a message that fills `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut r = Reader::new(bytes);
        let (mut device, mut generation, mut at) = (None, None, None);
        for _ in 0..r.map("the use of a key: a map")? {
            match r.key()? {
                Some(0) => once(&mut device, read_device(&mut r)?, "device")?,
                Some(1) => once(&mut generation, r.u64("a generation")?, "generation")?,
                Some(2) => once(&mut at, r.i64("the time")?, "at")?,
                Some(_) | None => r.skip()?,
            }
        }
        r.end()?;
        Ok(Used {
            device: need(device, "device")?,
            generation: need(generation, "generation")?,
            at_us: need(at, "at")?,
        })
    }
}

fn sealed(r: &mut Reader<'_>) -> Result<Vec<u8>, Error> {
    Ok(r.bytes("sealed bytes", MAX_SEALED_BYTES)?.to_vec())
}

fn read_entries(r: &mut Reader<'_>) -> Result<Vec<Entry>, Error> {
    let length = r.array("the list of entries")?;
    if length > MAX_ENTRIES as u64 {
        return Err(Error::TooLong {
            field: "entries",
            max: MAX_ENTRIES,
        });
    }
    (0..length).map(|_| Entry::read(r)).collect()
}

fn read_keys(r: &mut Reader<'_>) -> Result<Vec<SealedKey>, Error> {
    let length = r.array("the list of keys")?;
    if length > MAX_KEYS as u64 {
        return Err(Error::TooLong {
            field: "keys",
            max: MAX_KEYS,
        });
    }
    (0..length).map(|_| read_key(r)).collect()
}

fn read_key(r: &mut Reader<'_>) -> Result<SealedKey, Error> {
    let at = r.at();
    if r.array("a list of generation and sealed key")? != 2 {
        return Err(Error::Unexpected {
            at,
            expected: "a list of generation and sealed key",
        });
    }
    Ok(SealedKey {
        generation: r.u64("a generation")?,
        sealed: sealed(r)?,
    })
}
