//! Whose images a board starts: written at the bench, read at each start.
//!
//! ```text
//!  0 "SB"  2 format 1  3 zero  4 trial u32, seconds  8 vendor, 16 bytes  24 class, 16 bytes
//! 40 the LMS public key, 60 bytes, in HSS form
//! 100 the first 8 bytes of the SHA-256 of the 100 before
//! ```

use sha2::{Digest as _, Sha256};
use stencil_update::id::Id;
use stencil_update::lms;

use crate::{Config, Layout};

/// The length of the record.
pub const IDENTITY_BYTES: usize = BODY_BYTES + 8;

const BODY_BYTES: usize = 40 + lms::PUBLIC_KEY_BYTES;
const HEAD: [u8; 4] = [b'S', b'B', 1, 0];

/// Whose images a board starts, and for which kind of board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Who makes the device.
    pub vendor: Id,
    /// What the device is.
    pub class: Id,
    /// Whose images it starts.
    pub key: lms::PublicKey,
    /// How long a new image may take to talk to its gateway, in seconds, before it counts as one
    /// that cannot.
    pub trial_seconds: u32,
}

/// Why bytes are no identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing was ever written, or something else.
    #[error("the flash does not say whose images the board starts: it has not been given a key")]
    Blank,
    /// The check is wrong: torn or worn.
    #[error("what says whose images the board starts has a wrong check")]
    Check,
    /// The key is none of the parameter set that loaders verify, or the time is 0.
    #[error("the key for images is no LMS key, or the time of a trial is 0")]
    Shape,
}

impl Identity {
    /// The record's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; IDENTITY_BYTES] {
        let mut bytes = [0; IDENTITY_BYTES];
        bytes[..4].copy_from_slice(&HEAD);
        bytes[4..8].copy_from_slice(&self.trial_seconds.to_le_bytes());
        bytes[8..24].copy_from_slice(&self.vendor.0);
        bytes[24..40].copy_from_slice(&self.class.0);
        bytes[40..BODY_BYTES].copy_from_slice(&self.key.to_bytes());
        let check = Sha256::digest(&bytes[..BODY_BYTES]);
        bytes[BODY_BYTES..].copy_from_slice(&check[..8]);
        bytes
    }

    /// Reads a record.
    ///
    /// # Errors
    /// [`Error`].
    pub fn decode(bytes: &[u8; IDENTITY_BYTES]) -> Result<Self, Error> {
        if bytes[..4] != HEAD {
            return Err(Error::Blank);
        }
        if bytes[BODY_BYTES..] != Sha256::digest(&bytes[..BODY_BYTES])[..8] {
            return Err(Error::Check);
        }
        let mut identity = Identity {
            vendor: Id([0; 16]),
            class: Id([0; 16]),
            key: lms::PublicKey::from_bytes(&bytes[40..BODY_BYTES]).map_err(|_| Error::Shape)?,
            trial_seconds: u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        };
        if identity.trial_seconds == 0 {
            return Err(Error::Shape);
        }
        identity.vendor.0.copy_from_slice(&bytes[8..24]);
        identity.class.0.copy_from_slice(&bytes[24..40]);
        Ok(identity)
    }

    /// What loader and application of this board are built with.
    #[must_use]
    pub fn config(&self, layout: Layout, max_trials: u8) -> Config {
        Config {
            layout,
            vendor: self.vendor,
            class: self.class,
            key: self.key,
            max_trials,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> [u8; lms::PUBLIC_KEY_BYTES] {
        let mut bytes = [7; lms::PUBLIC_KEY_BYTES];
        bytes[..4].copy_from_slice(&1_u32.to_be_bytes());
        // LMS_SHA256_M32_H10 and LMOTS_SHA256_N32_W8 (RFC 8554, sections 5.1 and 4.1).
        bytes[4..8].copy_from_slice(&6_u32.to_be_bytes());
        bytes[8..12].copy_from_slice(&4_u32.to_be_bytes());
        bytes
    }

    fn identity() -> Identity {
        Identity {
            vendor: Id([1; 16]),
            class: Id([2; 16]),
            key: lms::PublicKey::from_bytes(&key()).unwrap(),
            trial_seconds: 300,
        }
    }

    #[test]
    fn a_record_is_read_back_and_no_other_bit_pattern_is() {
        let bytes = identity().encode();
        assert_eq!(Identity::decode(&bytes), Ok(identity()));
        for bit in 0..8 * IDENTITY_BYTES {
            let mut torn = bytes;
            torn[bit / 8] ^= 1 << (bit % 8);
            let expected = if bit < 32 { Error::Blank } else { Error::Check };
            assert_eq!(Identity::decode(&torn), Err(expected), "bit {bit}");
        }
        assert_eq!(Identity::decode(&[0xff; IDENTITY_BYTES]), Err(Error::Blank));
    }

    #[test]
    fn a_key_of_another_kind_and_no_time_are_refused() {
        let mut timeless = identity();
        timeless.trial_seconds = 0;
        assert_eq!(Identity::decode(&timeless.encode()), Err(Error::Shape));
        let mut bytes = identity().encode();
        bytes[47] = 5;
        let check = Sha256::digest(&bytes[..BODY_BYTES]);
        bytes[BODY_BYTES..].copy_from_slice(&check[..8]);
        assert_eq!(Identity::decode(&bytes), Err(Error::Shape));
    }
}
