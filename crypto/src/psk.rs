//! The secret that a device and its gateway share.

use core::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Length of a pre-shared key in bytes.
pub const PSK_BYTES: usize = 32;

/// A pre-shared key: 32 uniformly random bytes, one for each device.
///
/// The key authenticates both sides of the link: whoever knows it can act as the
/// device and as its gateway, so no two devices may share one. It is wiped when
/// dropped, compared in constant time and never printed.
#[derive(Clone)]
pub struct Psk(Zeroizing<[u8; PSK_BYTES]>);

/// Why bytes are no pre-shared key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not 32 bytes.
    #[error("a pre-shared key has {PSK_BYTES} bytes (64 hexadecimal digits), this one has {0}")]
    Length(usize),
    /// All bytes are 0x00 or all are 0xff: memory that was never written.
    #[error("the pre-shared key is blank (all bytes are 0x00 or 0xff): it was never provisioned")]
    Blank,
    /// Not hexadecimal.
    #[error("a pre-shared key is written as 64 hexadecimal digits; something else is at {0}")]
    Hex(usize),
}

impl Psk {
    /// Takes 32 random bytes as a key.
    ///
    /// # Errors
    /// [`Error::Blank`] for all 0x00 or all 0xff, which erased memory reads as.
    pub fn from_bytes(bytes: [u8; PSK_BYTES]) -> Result<Self, Error> {
        let bytes = Zeroizing::new(bytes);
        let blank = bytes.ct_eq(&[0x00; PSK_BYTES]) | bytes.ct_eq(&[0xff; PSK_BYTES]);
        if blank.into() {
            Err(Error::Blank)
        } else {
            Ok(Self(bytes))
        }
    }

    /// Takes a slice of exactly 32 bytes.
    ///
    /// # Errors
    /// [`Error::Length`] or [`Error::Blank`].
    pub fn from_slice(bytes: &[u8]) -> Result<Self, Error> {
        let bytes: [u8; PSK_BYTES] = bytes.try_into().map_err(|_| Error::Length(bytes.len()))?;
        Self::from_bytes(bytes)
    }

    /// Reads 64 hexadecimal digits; white space around them is ignored.
    ///
    /// # Errors
    /// [`Error::Hex`] with the position of the first wrong character,
    /// [`Error::Length`] or [`Error::Blank`].
    pub fn from_hex(text: &str) -> Result<Self, Error> {
        let digits = text.trim().as_bytes();
        let mut bytes = Zeroizing::new([0; PSK_BYTES]);
        if let Some(at) = digits.iter().position(|digit| !digit.is_ascii_hexdigit()) {
            return Err(Error::Hex(at));
        }
        if digits.len() != 2 * PSK_BYTES {
            return Err(Error::Length(digits.len() / 2));
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = pair
                .iter()
                .fold(0, |value, digit| (value << 4) | nibble(*digit));
        }
        Self::from_bytes(*bytes)
    }

    /// The key itself, for who hands it on sealed.
    #[must_use]
    pub fn reveal(&self) -> &[u8; PSK_BYTES] {
        &self.0
    }

    pub(crate) fn as_bytes(&self) -> &[u8; PSK_BYTES] {
        &self.0
    }
}

impl PartialEq for Psk {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(other.0.as_ref()).into()
    }
}

impl Eq for Psk {}

impl fmt::Debug for Psk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Psk(secret)")
    }
}

/// The value of a hexadecimal digit, without a branch or table that depends on it.
fn nibble(digit: u8) -> u8 {
    // '0'..='9' are 0x30..=0x39, 'a'..='f' and 'A'..='F' end in 1..=6 with bit 6 set.
    (digit & 0x0f) + 9 * (digit >> 6)
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn hex_is_read_in_either_case() {
        let text = "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F\n";
        let key = Psk::from_hex(text).unwrap();
        let expected: [u8; 32] = core::array::from_fn(|i| u8::try_from(i).unwrap());
        assert_eq!(key.as_bytes(), &expected);
        assert_eq!(key, Psk::from_slice(&expected).unwrap());
    }

    #[test]
    fn what_is_no_key_is_refused_with_the_reason() {
        assert_eq!(Psk::from_slice(&[1; 31]), Err(Error::Length(31)));
        assert_eq!(Psk::from_bytes([0; 32]), Err(Error::Blank));
        assert_eq!(Psk::from_bytes([0xff; 32]), Err(Error::Blank));
        assert_eq!(Psk::from_hex("0g"), Err(Error::Hex(1)));
        assert_eq!(Psk::from_hex("0123"), Err(Error::Length(2)));
    }

    #[test]
    fn a_key_is_never_printed() {
        let key = Psk::from_bytes([0xab; 32]).unwrap();
        assert_eq!(format!("{key:?}"), "Psk(secret)");
    }
}
