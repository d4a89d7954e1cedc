//! Firmware images on their way from the hub to a gateway, and what devices say of them.
//!
//! ```text
//! wanted = [* [device, digest]]                                  hub → gateway
//! fetch  = { 0: digest, 1: part, 2: offset }                     gateway → hub
//! piece  = { 0: digest, 1: part, 2: offset, 3: of, ? 4: bytes }  hub → gateway
//! told   = { 0: device, 1: at in µs, 2: what }                   gateway → hub
//! what   = [0, digest, sequence, class: text, trial, version: text | null]
//!        | [1, digest, have, of] | [2, digest] | [3, digest, reason: text]
//! ```
//!
//! `wanted` is all that devices behind the gateway shall install now: each message replaces the one
//! before, a device that is not in it keeps what it runs. It comes whenever the gateway subscribes
//! and whenever it changes. The gateway fetches what it does not hold piece by piece: first the
//! signed manifest, which it verifies, then the payload. A piece without bytes says that the hub
//! does not have this image for this tenant.
//!
//! A gateway that connects, or is told what is wanted, also asks who signs images after the keys that it
//! trusts: the part *succession* of the digest of these keys' text. The piece is the whole succession, which
//! the gateway verifies with the keys that it has; or it is without bytes, and nobody has followed them.
//!
//! A device is *done* for the hub when it says that it runs an image and keeps it, and never
//! before.

use alloc::string::String;
use alloc::vec::Vec;

use minicbor::Encoder;

use crate::cbor::{self, Reader, need, once};
use crate::command::read_device;
use crate::id::DeviceId;

/// The most devices in one [`Wanted`].
pub const MAX_WANTED: usize = 500;
/// The most bytes of one [`Piece`].
pub const MAX_PIECE_BYTES: usize = 32 * 1024;
/// The longest reason of a failure, in bytes.
pub const MAX_REASON_BYTES: usize = 256;
/// The longest class of devices, in bytes.
pub const MAX_CLASS_BYTES: usize = 96;
/// The longest version, in bytes.
pub const MAX_VERSION_BYTES: usize = 32;

/// Why a message cannot be read or written.
pub type Error = cbor::Error;

/// The SHA-256 of an image's payload.
pub type Digest = [u8; 32];

/// What devices behind a gateway shall install: at most [`MAX_WANTED`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted(pub Vec<(DeviceId, Digest)>);

/// What a gateway fetches of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Part {
    /// The manifest with its signatures.
    Manifest = 0,
    /// The payload.
    Payload = 1,
    /// No part of an image: who signs images after the keys that the digest names, as text.
    Succession = 2,
}

/// A gateway asks for a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Of which image.
    pub digest: Digest,
    /// Of which part.
    pub part: Part,
    /// From which byte on.
    pub offset: u32,
}

/// A piece of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Of which image.
    pub digest: Digest,
    /// Of which part.
    pub part: Part,
    /// From which byte on.
    pub offset: u32,
    /// How many bytes the part has.
    pub of: u32,
    /// The bytes, at most [`MAX_PIECE_BYTES`]; `None`: the hub does not have the image.
    pub bytes: Option<Vec<u8>>,
}

/// What a device says of an image, or its gateway for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The device.
    pub device: DeviceId,
    /// When, by the gateway's clock: microseconds since the Unix epoch.
    pub at_us: i64,
    /// What.
    pub what: What,
}

/// What is said of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The device runs it. Said at the beginning of each link, and when a trial ends well.
    Runs {
        /// The image.
        digest: Digest,
        /// Its sequence number; 0: the device came with it.
        sequence: u64,
        /// For which devices the image is: vendor and class, at most [`MAX_CLASS_BYTES`].
        class: String,
        /// It runs on trial, and the one before comes back unless it proves itself.
        trial: bool,
        /// Its version, at most [`MAX_VERSION_BYTES`], if the device knows it.
        version: Option<String>,
    },
    /// The device has a part of it.
    Has {
        /// The image.
        digest: Digest,
        /// So many bytes.
        have: u32,
        /// Of so many.
        of: u32,
    },
    /// The device has verified it, and restarts to run it.
    Installs {
        /// The image.
        digest: Digest,
    },
    /// The device, or the gateway for it, has given it up.
    GaveUp {
        /// The image.
        digest: Digest,
        /// Why, at most [`MAX_REASON_BYTES`].
        reason: String,
    },
}

/// Writing into a Vec cannot fail.
type Written = Result<(), minicbor::encode::Error<core::convert::Infallible>>;

fn written(write: impl FnOnce(&mut Encoder<Vec<u8>>) -> Written) -> Vec<u8> {
    let mut e = Encoder::new(Vec::new());
    let written = write(&mut e);
    debug_assert!(written.is_ok(), "a Vec takes all");
    e.into_writer()
}

impl Wanted {
    /// The message's bytes. [`Error::TooLong`] with more than [`MAX_WANTED`] devices.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        fits("wanted", self.0.len(), MAX_WANTED)?;
        Ok(written(|e| {
            e.array(self.0.len() as u64)?;
            for (device, digest) in &self.0 {
                e.array(2)?.str(device.as_str())?.bytes(digest)?;
            }
            Ok(())
        }))
    }

    /// Reads a message that fills `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut r = Reader::new(bytes);
        let length = r.array("the list of what is wanted")?;
        if length > MAX_WANTED as u64 {
            return Err(too_long("wanted", MAX_WANTED));
        }
        let mut wanted = Vec::new();
        for _ in 0..length {
            let at = r.at();
            if r.array("a list of device and digest")? != 2 {
                let expected = "a list of device and digest";
                return Err(Error::Unexpected { at, expected });
            }
            wanted.push((read_device(&mut r)?, digest(&mut r)?));
        }
        r.end()?;
        Ok(Self(wanted))
    }
}

impl Fetch {
    /// The message's bytes.
    pub fn encode(&self) -> Vec<u8> {
        written(|e| {
            e.map(3)?.u8(0)?.bytes(&self.digest)?;
            e.u8(1)?.u8(self.part as u8)?.u8(2)?.u32(self.offset)?.ok()
        })
    }

    /// Reads a message that fills `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut r = Reader::new(bytes);
        let (mut image, mut part, mut offset) = (None, None, None);
        for _ in 0..r.map("what is to be fetched: a map")? {
            match r.key()? {
                Some(0) => once(&mut image, digest(&mut r)?, "digest")?,
                Some(1) => once(&mut part, read_part(&mut r)?, "part")?,
                Some(2) => once(&mut offset, r.u32("an offset")?, "offset")?,
                Some(_) | None => r.skip()?,
            }
        }
        r.end()?;
        Ok(Self {
            digest: need(image, "digest")?,
            part: need(part, "part")?,
            offset: need(offset, "offset")?,
        })
    }
}

impl Piece {
    /// The message's bytes. [`Error::TooLong`] with more than [`MAX_PIECE_BYTES`].
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        fits(
            "bytes",
            self.bytes.as_ref().map_or(0, Vec::len),
            MAX_PIECE_BYTES,
        )?;
        Ok(written(|e| {
            e.map(4 + u64::from(self.bytes.is_some()))?;
            e.u8(0)?.bytes(&self.digest)?.u8(1)?.u8(self.part as u8)?;
            e.u8(2)?.u32(self.offset)?.u8(3)?.u32(self.of)?;
            if let Some(bytes) = &self.bytes {
                e.u8(4)?.bytes(bytes)?;
            }
            Ok(())
        }))
    }

    /// Reads a message that fills `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut r = Reader::new(bytes);
        let (mut image, mut part, mut offset, mut of, mut held) = (None, None, None, None, None);
        for _ in 0..r.map("a piece of an image: a map")? {
            match r.key()? {
                Some(0) => once(&mut image, digest(&mut r)?, "digest")?,
                Some(1) => once(&mut part, read_part(&mut r)?, "part")?,
                Some(2) => once(&mut offset, r.u32("an offset")?, "offset")?,
                Some(3) => once(&mut of, r.u32("a length")?, "of")?,
                Some(4) => once(
                    &mut held,
                    r.bytes("bytes", MAX_PIECE_BYTES)?.to_vec(),
                    "bytes",
                )?,
                Some(_) | None => r.skip()?,
            }
        }
        r.end()?;
        Ok(Self {
            digest: need(image, "digest")?,
            part: need(part, "part")?,
            offset: need(offset, "offset")?,
            of: need(of, "of")?,
            bytes: held,
        })
    }
}

impl Told {
    /// The message's bytes. [`Error::TooLong`] with a text beyond its bound.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        match &self.what {
            What::Runs { class, version, .. } => {
                fits("class", class.len(), MAX_CLASS_BYTES)?;
                let version = version.as_ref().map_or(0, String::len);
                fits("version", version, MAX_VERSION_BYTES)?;
            }
            What::GaveUp { reason, .. } => fits("reason", reason.len(), MAX_REASON_BYTES)?,
            What::Has { .. } | What::Installs { .. } => {}
        }
        Ok(written(|e| {
            e.map(3)?.u8(0)?.str(self.device.as_str())?;
            e.u8(1)?.i64(self.at_us)?.u8(2)?;
            self.what.write(e)
        }))
    }

    /// Reads a message that fills `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut r = Reader::new(bytes);
        let (mut device, mut at, mut what) = (None, None, None);
        for _ in 0..r.map("what a device says of an image: a map")? {
            match r.key()? {
                Some(0) => once(&mut device, read_device(&mut r)?, "device")?,
                Some(1) => once(&mut at, r.i64("the time")?, "at")?,
                Some(2) => once(&mut what, What::read(&mut r)?, "what")?,
                Some(_) | None => r.skip()?,
            }
        }
        r.end()?;
        Ok(Self {
            device: need(device, "device")?,
            at_us: need(at, "at")?,
            what: need(what, "what")?,
        })
    }
}

impl What {
    fn write(&self, e: &mut Encoder<Vec<u8>>) -> Written {
        match self {
            Self::Runs {
                digest,
                sequence,
                class,
                trial,
                version,
            } => {
                e.array(6)?.u8(0)?.bytes(digest)?.u64(*sequence)?;
                e.str(class)?.bool(*trial)?;
                match version {
                    Some(version) => e.str(version)?.ok(),
                    None => e.null()?.ok(),
                }
            }
            Self::Has { digest, have, of } => {
                e.array(4)?.u8(1)?.bytes(digest)?.u32(*have)?.u32(*of)?.ok()
            }
            Self::Installs { digest } => e.array(2)?.u8(2)?.bytes(digest)?.ok(),
            Self::GaveUp { digest, reason } => e.array(3)?.u8(3)?.bytes(digest)?.str(reason)?.ok(),
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Error> {
        let length = r.array("what is said: a list")?;
        let kind = r.u64("the kind of what is said")?;
        let fields: u64 = match kind {
            0 => 6,
            1 => 4,
            2 => 2,
            3 => 3,
            _ => {
                return Err(Error::Invalid {
                    field: "what",
                    why: "is unknown, known are 0 to 3",
                });
            }
        };
        let further = length.checked_sub(fields).ok_or(Error::Missing {
            field: "what is said",
        })?;
        let image = digest(r)?;
        let what = match kind {
            0 => Self::Runs {
                digest: image,
                sequence: r.u64("a sequence number")?,
                class: r.str("class", MAX_CLASS_BYTES)?.into(),
                trial: r.bool("whether it is on trial")?,
                version: match r.null()? {
                    true => None,
                    false => Some(r.str("version", MAX_VERSION_BYTES)?.into()),
                },
            },
            1 => Self::Has {
                digest: image,
                have: r.u32("how much it has")?,
                of: r.u32("of how much")?,
            },
            2 => Self::Installs { digest: image },
            _ => Self::GaveUp {
                digest: image,
                reason: r.str("reason", MAX_REASON_BYTES)?.into(),
            },
        };
        for _ in 0..further {
            r.skip()?;
        }
        Ok(what)
    }
}

fn digest(r: &mut Reader<'_>) -> Result<Digest, Error> {
    let at = r.at();
    let bytes = r.bytes("digest", 32)?;
    Digest::try_from(bytes).map_err(|_| Error::Unexpected {
        at,
        expected: "a digest of 32 bytes",
    })
}

fn read_part(r: &mut Reader<'_>) -> Result<Part, Error> {
    match r.u8("a part of an image")? {
        0 => Ok(Part::Manifest),
        1 => Ok(Part::Payload),
        2 => Ok(Part::Succession),
        _ => Err(Error::Invalid {
            field: "part",
            why: "is unknown, known are 0 and 1",
        }),
    }
}

fn fits(field: &'static str, length: usize, max: usize) -> Result<(), Error> {
    if length > max {
        return Err(too_long(field, max));
    }
    Ok(())
}

fn too_long(field: &'static str, max: usize) -> Error {
    Error::TooLong { field, max }
}
