//! A firmware image on its way from a gateway to a device: what the device runs, what it takes,
//! and why it refuses. These are bodies of [`crate::link`] messages.
//!
//! ```text
//! running = { 0: digest, 1: sequence, 2: version: text, 3: vendor, 4: class, 5: most bytes of an image,
//!             6: confirmed sequence, 7: other slot's phase, ? 8: other slot's name, ? 9: verdict }
//! offer   = header: 128 bytes
//! want    = name, offset
//! chunk   = name, offset, bytes
//! verdict = [name, code]
//! ```
//!
//! A package (header, LMS signature, image: `stencil_update::header`) goes over the link from front to back.
//! The gateway offers a header until it hears a want or a verdict; the device wants one chunk
//! after the other, at its own pace, again when none comes, and each time at the offset that it
//! has reached. So a lost message costs time only, and after a loss of power the transfer goes on
//! from what is in flash. The name is the start of the SHA-256 of the header: a chunk of another
//! package is never taken for one of this.

use core::fmt;

use crate::cbor::{self, Reader, Writer, need, once};

/// The length of an encoded header.
pub const HEADER_BYTES: usize = 128;
/// The length of a package's name.
pub const NAME_BYTES: usize = 12;
/// The most bytes of a chunk.
pub const MAX_CHUNK_BYTES: usize = 1024;
/// The longest version, in bytes.
pub const MAX_VERSION_BYTES: usize = 32;

/// Why a message cannot be read or written.
pub type Error = cbor::Error;

/// The start of the SHA-256 of a package's header.
pub type Name = [u8; NAME_BYTES];

/// What a device runs, and what it would take. First of all in each session, and again when the
/// running image is confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Running<'a> {
    /// The SHA-256 of the image that runs.
    pub digest: [u8; 32],
    /// Its sequence number.
    pub sequence: u64,
    /// Its version: 1 to [`MAX_VERSION_BYTES`] printable ASCII characters without spaces.
    pub version: &'a str,
    /// Who made the device.
    pub vendor: [u8; 16],
    /// What it is.
    pub class: [u8; 16],
    /// The most bytes of an image that it takes.
    pub max_image: u32,
    /// The sequence number that was confirmed last: nothing older is started any more. Lower than
    /// `sequence` while the running image is on trial.
    pub confirmed: u64,
    /// The slot that does not run.
    pub other: Slot,
    /// What became of the last offer since the device started.
    pub verdict: Option<Verdict>,
}

/// The slot that does not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// How far its package has come.
    pub phase: Phase,
    /// Which package; none in an empty slot.
    pub name: Option<Name>,
}

/// How far a slot's package has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// There is nothing that could be started.
    Empty = 1,
    /// It is being written.
    Receiving = 2,
    /// It is whole and verified; the next restart tries it.
    Ready = 3,
    /// It is on trial.
    Trial = 4,
    /// It has talked to its gateway.
    Confirmed = 5,
    /// It was tried and did not prove itself.
    Bad = 6,
}

/// The next bytes that a device needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    /// Of which package.
    pub name: Name,
    /// From where on.
    pub offset: u32,
}

/// Bytes of a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// Of which package.
    pub name: Name,
    /// Where they begin.
    pub offset: u32,
    /// 1 to [`MAX_CHUNK_BYTES`].
    pub bytes: &'a [u8],
}

/// What became of an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Of which package.
    pub name: Name,
    /// What.
    pub outcome: Outcome,
}

/// What became of an offer: ready, or why it was refused. Later devices may say more than is known
/// here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Outcome(pub u8);

impl Outcome {
    /// The package is whole and verified; it starts at the next restart.
    pub const READY: Self = Self(0);
    /// The header cannot be read.
    pub const HEADER: Self = Self(1);
    /// The image is another vendor's.
    pub const FOREIGN_VENDOR: Self = Self(2);
    /// The image is for another class of devices.
    pub const FOREIGN_CLASS: Self = Self(3);
    /// It is not newer than what was confirmed.
    pub const OLD: Self = Self(4);
    /// It does not fit.
    pub const OVERSIZED: Self = Self(5);
    /// Bytes are missing.
    pub const TRUNCATED: Self = Self(6);
    /// The LMS signature does not verify.
    pub const SIGNATURE: Self = Self(7);
    /// The image is not the one that was signed.
    pub const DIGEST: Self = Self(8);
    /// It was tried and did not prove itself.
    pub const KNOWN_BAD: Self = Self(9);
    /// The running image is on trial itself: later.
    pub const ON_TRIAL: Self = Self(10);
    /// The flash fails.
    pub const FLASH: Self = Self(11);
    /// What was sent before was wrong: the device takes nothing for a while.
    pub const RESTING: Self = Self(12);
    /// The device has no slots.
    pub const NO_SLOTS: Self = Self(13);

    /// Whether the same offer may be taken later.
    #[must_use]
    pub fn is_for_now(self) -> bool {
        matches!(self, Self::ON_TRIAL | Self::RESTING)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match *self {
            Self::READY => return f.write_str("ready"),
            Self::HEADER => "the header cannot be read",
            Self::FOREIGN_VENDOR => "the image is another vendor's",
            Self::FOREIGN_CLASS => "the image is for another class of devices",
            Self::OLD => "the image is not newer than what was confirmed",
            Self::OVERSIZED => "the image does not fit into the slot",
            Self::TRUNCATED => "bytes of the package are missing",
            Self::SIGNATURE => "signature: it does not verify with the device's key",
            Self::DIGEST => "digest: the image is not the one that was signed",
            Self::KNOWN_BAD => "the image was tried and did not prove itself",
            Self::ON_TRIAL => "the running image is still on trial",
            Self::FLASH => "the flash fails",
            Self::RESTING => "what was sent before was wrong, and the device waits",
            Self::NO_SLOTS => "the device has no slots for images",
            Self(code) => return write!(f, "refused: code {code}"),
        };
        write!(f, "refused: {why}")
    }
}

impl Phase {
    fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Empty,
            2 => Self::Receiving,
            3 => Self::Ready,
            4 => Self::Trial,
            5 => Self::Confirmed,
            6 => Self::Bad,
            _ => return None,
        })
    }
}

impl<'a> Running<'a> {
    /// Whether the running image is on trial: the one before comes back unless it proves itself.
    #[must_use]
    pub fn is_on_trial(&self) -> bool {
        self.sequence > self.confirmed
    }

    pub(crate) fn write(&self, w: &mut Writer<'_>) -> Result<(), Error> {
        check_version(self.version)?;
        let optional = u64::from(self.other.name.is_some()) + u64::from(self.verdict.is_some());
        w.map(8 + optional)?.u8(0)?.bytes(&self.digest)?;
        w.u8(1)?.u64(self.sequence)?.u8(2)?.str(self.version)?;
        w.u8(3)?.bytes(&self.vendor)?.u8(4)?.bytes(&self.class)?;
        w.u8(5)?.u32(self.max_image)?.u8(6)?.u64(self.confirmed)?;
        w.u8(7)?.u8(self.other.phase as u8)?;
        if let Some(name) = &self.other.name {
            w.u8(8)?.bytes(name)?;
        }
        if let Some(verdict) = &self.verdict {
            w.u8(9)?;
            verdict.write(w)?;
        }
        Ok(())
    }

    pub(crate) fn read(r: &mut Reader<'a>) -> Result<Self, Error> {
        let (mut image, mut sequence, mut version, mut vendor, mut class) =
            (None, None, None, None, None);
        let (mut max_image, mut confirmed, mut phase, mut name, mut verdict) =
            (None, None, None, None, None);
        for _ in 0..r.map("what a device runs: a map")? {
            match r.key()? {
                Some(0) => once(&mut image, fixed(r, "a digest of 32 bytes")?, "digest")?,
                Some(1) => once(&mut sequence, r.u64("a sequence number")?, "sequence")?,
                Some(2) => {
                    let text = r.str("version", MAX_VERSION_BYTES)?;
                    check_version(text)?;
                    once(&mut version, text, "version")?;
                }
                Some(3) => once(&mut vendor, fixed(r, "a vendor of 16 bytes")?, "vendor")?,
                Some(4) => once(&mut class, fixed(r, "a class of 16 bytes")?, "class")?,
                Some(5) => once(&mut max_image, r.u32("a size")?, "max_image")?,
                Some(6) => once(&mut confirmed, r.u64("a sequence number")?, "confirmed")?,
                Some(7) => once(&mut phase, read_phase(r)?, "phase")?,
                Some(8) => once(&mut name, read_name(r)?, "name")?,
                Some(9) => once(&mut verdict, Verdict::read(r)?, "verdict")?,
                Some(_) | None => r.skip()?,
            }
        }
        Ok(Self {
            digest: need(image, "digest")?,
            sequence: need(sequence, "sequence")?,
            version: need(version, "version")?,
            vendor: need(vendor, "vendor")?,
            class: need(class, "class")?,
            max_image: need(max_image, "max_image")?,
            confirmed: need(confirmed, "confirmed")?,
            other: Slot {
                phase: need(phase, "phase")?,
                name,
            },
            verdict,
        })
    }
}

impl Verdict {
    pub(crate) fn write(&self, w: &mut Writer<'_>) -> Result<(), Error> {
        w.array(2)?.bytes(&self.name)?.u8(self.outcome.0)?;
        Ok(())
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, Error> {
        let at = r.at();
        let expected = "a list of name and code";
        if r.array(expected)? != 2 {
            return Err(Error::Unexpected { at, expected });
        }
        Ok(Self {
            name: read_name(r)?,
            outcome: Outcome(r.u8("a verdict's code")?),
        })
    }
}

impl Chunk<'_> {
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.bytes.is_empty() {
            return Err(Error::Invalid {
                field: "chunk",
                why: "is empty",
            });
        }
        if self.bytes.len() > MAX_CHUNK_BYTES {
            return Err(Error::TooLong {
                field: "chunk",
                max: MAX_CHUNK_BYTES,
            });
        }
        Ok(())
    }
}

pub(crate) fn read_name(r: &mut Reader<'_>) -> Result<Name, Error> {
    fixed(r, "a name of 12 bytes")
}

pub(crate) fn read_header<'a>(r: &mut Reader<'a>) -> Result<&'a [u8; HEADER_BYTES], Error> {
    let at = r.at();
    let bytes = r.bytes("header", HEADER_BYTES)?;
    bytes.try_into().map_err(|_| Error::Unexpected {
        at,
        expected: "a header of 128 bytes",
    })
}

fn read_phase(r: &mut Reader<'_>) -> Result<Phase, Error> {
    Phase::from_code(r.u8("a phase")?).ok_or(Error::Invalid {
        field: "phase",
        why: "is unknown, known are 1 to 6",
    })
}

fn check_version(text: &str) -> Result<(), Error> {
    let (field, max) = ("version", MAX_VERSION_BYTES);
    if text.len() > max {
        return Err(Error::TooLong { field, max });
    }
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Error::Invalid {
            field,
            why: "is not of printable ASCII characters without spaces",
        });
    }
    Ok(())
}

fn fixed<const N: usize>(r: &mut Reader<'_>, expected: &'static str) -> Result<[u8; N], Error> {
    let at = r.at();
    let bytes = r.bytes(expected, N)?;
    bytes
        .try_into()
        .map_err(|_| Error::Unexpected { at, expected })
}
