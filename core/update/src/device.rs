//! What a device accepts, and each reason to refuse.
//!
//! Hub, gateway and device ask the same question of the same [`Header`], so that an image that a
//! device would refuse is not even sent to it.

use crate::header::{self, Digest, Header};
use crate::id::Id;

/// What a device is, and how far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// Who made it.
    pub vendor: Id,
    /// What it is.
    pub class: Id,
    /// The most bytes of an image that fit into one of its slots.
    pub max_image: u32,
    /// The sequence number of the image that was confirmed last; 0 before the first.
    pub confirmed: u64,
}

/// Why an update is not taken. Each has a code that travels over the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The header cannot be read.
    #[error("{0}")]
    Header(#[from] header::Error),
    /// The image is another vendor's.
    #[error("the image is of vendor {given}, the device is of {own}")]
    ForeignVendor {
        /// The image's.
        given: Id,
        /// The device's.
        own: Id,
    },
    /// The image is for another class of devices.
    #[error("the image is for class {given}, the device is of {own}")]
    ForeignClass {
        /// The image's.
        given: Id,
        /// The device's.
        own: Id,
    },
    /// The image is not newer than what was confirmed.
    #[error(
        "the image has sequence number {given}, but {confirmed} was confirmed already: it has to be higher"
    )]
    Old {
        /// The image's.
        given: u64,
        /// The device's.
        confirmed: u64,
    },
    /// The image does not fit.
    #[error("the image has {size} bytes, the device takes {max}")]
    Oversized {
        /// The image's.
        size: u64,
        /// The device's.
        max: u64,
    },
    /// There are fewer bytes than the header says.
    #[error("the image is truncated: {have} of {size} bytes are there")]
    Truncated {
        /// What is there.
        have: u64,
        /// What the header says.
        size: u64,
    },
    /// The LMS signature is not of the trusted key over this header.
    #[error("the LMS signature over the header does not verify with the device's key")]
    Signature,
    /// The image is not the one that was signed.
    #[error("the image's digest is not the one that was signed")]
    Digest,
    /// The image was tried and did not prove itself.
    #[error(
        "this image was tried and did not prove itself; a new attempt needs a new sequence number"
    )]
    KnownBad,
}

impl Refusal {
    /// The code that stands for it on the link.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Refusal::Header(_) => 1,
            Refusal::ForeignVendor { .. } => 2,
            Refusal::ForeignClass { .. } => 3,
            Refusal::Old { .. } => 4,
            Refusal::Oversized { .. } => 5,
            Refusal::Truncated { .. } => 6,
            Refusal::Signature => 7,
            Refusal::Digest => 8,
            Refusal::KnownBad => 9,
        }
    }
}

impl Device {
    /// Whether the device takes an image of this header.
    ///
    /// # Errors
    /// [`Refusal`]: the first reason against it, the cheapest to mend last.
    pub fn accepts(&self, header: &Header) -> Result<(), Refusal> {
        self.is_for(header)?;
        if header.sequence <= self.confirmed {
            return Err(Refusal::Old {
                given: header.sequence,
                confirmed: self.confirmed,
            });
        }
        Ok(())
    }

    /// Whether the device may *start* an image of this header: also the one that is confirmed.
    ///
    /// # Errors
    /// As [`Device::accepts`].
    pub fn starts(&self, header: &Header) -> Result<(), Refusal> {
        self.is_for(header)?;
        if header.sequence < self.confirmed {
            return Err(Refusal::Old {
                given: header.sequence,
                confirmed: self.confirmed,
            });
        }
        Ok(())
    }

    fn is_for(&self, header: &Header) -> Result<(), Refusal> {
        if header.vendor != self.vendor {
            return Err(Refusal::ForeignVendor {
                given: header.vendor,
                own: self.vendor,
            });
        }
        if header.class != self.class {
            return Err(Refusal::ForeignClass {
                given: header.class,
                own: self.class,
            });
        }
        if header.size > self.max_image {
            return Err(Refusal::Oversized {
                size: header.size.into(),
                max: self.max_image.into(),
            });
        }
        Ok(())
    }
}

/// Whether `image` is the one of the header.
///
/// # Errors
/// [`Refusal::Truncated`], [`Refusal::Oversized`], [`Refusal::Digest`].
pub fn check_image(header: &Header, image: &[u8]) -> Result<(), Refusal> {
    let size = u64::from(header.size);
    // usize is at most 64 bits on every target of Rust.
    let have = image.len() as u64;
    if have < size {
        return Err(Refusal::Truncated { have, size });
    }
    if have > size {
        return Err(Refusal::Oversized {
            size: have,
            max: size,
        });
    }
    if digest(image) != header.digest {
        return Err(Refusal::Digest);
    }
    Ok(())
}

/// The SHA-256 digest of an image.
#[must_use]
pub fn digest(image: &[u8]) -> Digest {
    use sha2::Digest as _;
    sha2::Sha256::digest(image).into()
}
