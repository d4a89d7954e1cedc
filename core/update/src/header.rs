//! What a device checks: 128 bytes of fixed layout that bind an image to a device, a place in
//! the order of updates and a digest, and the package that carries them.
//!
//! ```text
//! header, big-endian              package = what a device downloads = what its slot holds
//!   0  "STENCIL" 0x01                0     header               128 bytes
//!   8  vendor          16 bytes      128   LMS signature over it 1456 bytes
//!  24  class           16 bytes      1584  zeros                464 bytes
//!  40  sequence        u64           2048  image                `size` bytes
//!  48  size            u32
//!  52  zeros           4 bytes
//!  56  SHA-256 digest  32 bytes
//!  88  version         32 bytes, printable ASCII, padded with zeros
//! 120  zeros           8 bytes
//! ```
//!
//! The prelude has the size of a common erase block, and leaves the image aligned for a vector
//! table. Bytes that have to be zero are checked: there is exactly one form of each header.

use sha2::{Digest as _, Sha256};

use crate::id::Id;
use crate::lms;

/// The length of a header.
pub const HEADER_BYTES: usize = 128;
/// What comes before the image in a package: header, signature and zeros.
pub const PRELUDE_BYTES: usize = PRELUDE_LENGTH as usize;
/// [`PRELUDE_BYTES`], for sums with the sizes of images.
pub const PRELUDE_LENGTH: u32 = 2048;
/// The length of a header's [`Header::name`].
pub const NAME_BYTES: usize = 12;
/// The longest version text.
pub const MAX_VERSION_BYTES: usize = 32;
/// The largest image that any party handles.
pub const MAX_IMAGE_BYTES: u32 = 16 * 1024 * 1024;

const MAGIC: [u8; 8] = *b"STENCIL\x01";

/// A SHA-256 digest.
pub type Digest = [u8; 32];

/// The text of a version: 1 to 32 printable ASCII characters without spaces.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version {
    bytes: [u8; MAX_VERSION_BYTES],
}

/// What an image is, and which devices it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Who makes the devices.
    pub vendor: Id,
    /// Which of its devices.
    pub class: Id,
    /// The place in the order of updates, from 1; a device never goes back.
    pub sequence: u64,
    /// The image's length in bytes, 1 to [`MAX_IMAGE_BYTES`].
    pub size: u32,
    /// The image's SHA-256 digest.
    pub digest: Digest,
    /// What people call it.
    pub version: Version,
}

/// Why bytes are not a header, or values cannot be put into one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes do not start like a header of this version.
    #[error("no update header: it does not start with STENCIL and the format's version, 1")]
    Magic,
    /// Bytes between the fields are set.
    #[error("no update header: byte {at} has to be zero")]
    Padding {
        /// Which.
        at: usize,
    },
    /// The sequence number is 0.
    #[error("the sequence number is 0; the first update has 1")]
    Sequence,
    /// The size is 0, or more than [`MAX_IMAGE_BYTES`].
    #[error("the image has {size} bytes; 1 to {MAX_IMAGE_BYTES} can be handled")]
    Size {
        /// The size that was given.
        size: u32,
    },
    /// The version is no text of 1 to 32 printable characters.
    #[error(
        "the version is not 1 to {MAX_VERSION_BYTES} printable ASCII characters without spaces"
    )]
    Version,
}

impl Version {
    /// Checks the text.
    ///
    /// # Errors
    /// [`Error::Version`].
    pub fn new(text: &str) -> Result<Self, Error> {
        let mut bytes = [0; MAX_VERSION_BYTES];
        bytes
            .get_mut(..text.len())
            .ok_or(Error::Version)?
            .copy_from_slice(text.as_bytes());
        Self::from_padded(bytes)
    }

    fn from_padded(bytes: [u8; MAX_VERSION_BYTES]) -> Result<Self, Error> {
        let length = text_length(&bytes);
        let (text, padding) = bytes.split_at(length);
        let printable = text.iter().all(u8::is_ascii_graphic);
        if length == 0 || !printable || padding.iter().any(|byte| *byte != 0) {
            return Err(Error::Version);
        }
        Ok(Self { bytes })
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only ASCII gets in.
        core::str::from_utf8(&self.bytes[..text_length(&self.bytes)]).unwrap_or_default()
    }
}

fn text_length(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(bytes.len())
}

impl core::fmt::Display for Version {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl core::fmt::Debug for Version {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Header {
    /// The header's bytes: what LMS signs.
    ///
    /// # Errors
    /// [`Error::Sequence`], [`Error::Size`].
    pub fn encode(&self) -> Result<[u8; HEADER_BYTES], Error> {
        self.check()?;
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..24].copy_from_slice(&self.vendor.0);
        bytes[24..40].copy_from_slice(&self.class.0);
        bytes[40..48].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[48..52].copy_from_slice(&self.size.to_be_bytes());
        bytes[56..88].copy_from_slice(&self.digest);
        bytes[88..120].copy_from_slice(&self.version.bytes);
        Ok(bytes)
    }

    /// Reads a header.
    ///
    /// # Errors
    /// All of [`Error`].
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, Error> {
        if field::<8>(bytes, 0) != MAGIC {
            return Err(Error::Magic);
        }
        for at in (52..56).chain(120..128) {
            if bytes[at] != 0 {
                return Err(Error::Padding { at });
            }
        }
        let header = Header {
            vendor: Id(field(bytes, 8)),
            class: Id(field(bytes, 24)),
            sequence: u64::from_be_bytes(field(bytes, 40)),
            size: u32::from_be_bytes(field(bytes, 48)),
            digest: field(bytes, 56),
            version: Version::from_padded(field(bytes, 88))?,
        };
        header.check()?;
        Ok(header)
    }

    fn check(&self) -> Result<(), Error> {
        if self.sequence == 0 {
            return Err(Error::Sequence);
        }
        if self.size == 0 || self.size > MAX_IMAGE_BYTES {
            return Err(Error::Size { size: self.size });
        }
        Ok(())
    }

    /// The length of the package: prelude and image.
    #[must_use]
    pub fn package_bytes(&self) -> u32 {
        // At most MAX_IMAGE_BYTES and the prelude, far below u32::MAX.
        PRELUDE_LENGTH + self.size.min(MAX_IMAGE_BYTES)
    }

    /// A short name of exactly this header, for records that must not take one for another: the
    /// start of its SHA-256.
    ///
    /// # Errors
    /// As [`Header::encode`].
    pub fn name(&self) -> Result<[u8; NAME_BYTES], Error> {
        let digest = Sha256::digest(self.encode()?);
        let mut name = [0; NAME_BYTES];
        name.copy_from_slice(&digest[..NAME_BYTES]);
        Ok(name)
    }
}

/// The prelude of a package: header, signature, zeros.
#[must_use]
pub fn prelude(
    header: &[u8; HEADER_BYTES],
    signature: &[u8; lms::SIGNATURE_BYTES],
) -> [u8; PRELUDE_BYTES] {
    let mut prelude = [0; PRELUDE_BYTES];
    prelude[..HEADER_BYTES].copy_from_slice(header);
    prelude[HEADER_BYTES..][..lms::SIGNATURE_BYTES].copy_from_slice(signature);
    prelude
}

fn field<const N: usize>(bytes: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}
