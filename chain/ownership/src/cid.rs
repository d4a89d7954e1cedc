//! Content identifiers of documents in one raw block: what `DevicePassport` and `AccessRight` name.
//!
//! Of CIDv1 one form is known here, the one that the contracts write: multibase `b` (base32 of RFC
//! 4648 in small letters, without padding), codec *raw* (0x55), SHA-256 (0x12). It is a hash with a
//! prefix, so that its form is tiny, and what has any other form names something that can't be checked
//! by hashing the document.

use std::fmt;
use std::str::FromStr;

use alloy_primitives::B256;
use sha2::{Digest as _, Sha256};

/// CID version 1, codec raw, hash SHA-256, 32 bytes.
const PREFIX: [u8; 4] = [0x01, 0x55, 0x12, 0x20];
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// `b` and 36 bytes in digits of five bits each.
const LENGTH: usize = 59;

/// The name of a document by its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cid(pub B256);

impl Cid {
    /// The name of this document.
    #[must_use]
    pub fn of(document: &[u8]) -> Self {
        Self(B256::from_slice(&Sha256::digest(document)))
    }

    /// As a contract's `tokenURI` gives it.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("ipfs://{self}")
    }
}

impl fmt::Display for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(LENGTH);
        text.push('b');
        let (mut bits, mut waiting) = (0_u32, 0_u32);
        for byte in PREFIX.iter().chain(&self.0.0) {
            bits = (bits << 8 | u32::from(*byte)) & 0xffff;
            waiting += 8;
            while waiting >= 5 {
                waiting -= 5;
                text.push(char::from(ALPHABET[(bits >> waiting & 31) as usize]));
            }
        }
        // 288 bits are 57 digits and three bits.
        text.push(char::from(ALPHABET[(bits << (5 - waiting) & 31) as usize]));
        f.write_str(&text)
    }
}

/// Why a text is no such name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// CIDv0.
    #[error(
        "it begins with `Qm` (CIDv0): name the document as one raw block with CIDv1, `bafkrei…`"
    )]
    Version0,
    /// Not base32.
    #[error("a content identifier is `b` and 58 digits a-z, 2-7; here are {0} characters")]
    Form(usize),
    /// A digit that base32 has not, or bits behind the last byte.
    #[error(
        "character {at} is no digit of base32 in small letters (a-z, 2-7), or the last one has bits to spare"
    )]
    Digit {
        /// Which, from 1.
        at: usize,
    },
    /// Another codec or hash.
    #[error(
        "its codec or hash is another one: documents are one raw block (0x55) with SHA-256 (0x12), `bafkrei…`"
    )]
    Other,
}

impl FromStr for Cid {
    type Err = Error;

    /// With or without `ipfs://`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let text = text.strip_prefix("ipfs://").unwrap_or(text);
        if text.starts_with("Qm") {
            return Err(Error::Version0);
        }
        let form = || Error::Form(text.chars().count());
        let digits = text.strip_prefix('b').ok_or_else(form)?;
        if digits.len() != LENGTH - 1 || !digits.is_ascii() {
            return Err(form());
        }
        let mut bytes = Vec::with_capacity(36);
        let (mut bits, mut waiting) = (0_u32, 0_u32);
        for (at, digit) in digits.bytes().enumerate() {
            let value = match digit {
                b'a'..=b'z' => digit - b'a',
                b'2'..=b'7' => digit - b'2' + 26,
                _ => return Err(Error::Digit { at: at + 2 }),
            };
            bits = (bits << 5 | u32::from(value)) & 0xffff;
            waiting += 5;
            if waiting >= 8 {
                waiting -= 8;
                bytes.push(u8::try_from(bits >> waiting & 0xff).unwrap_or_default());
            }
        }
        // One text a document, or two names would stand for one thing.
        if bits & ((1 << waiting) - 1) != 0 {
            return Err(Error::Digit { at: LENGTH });
        }
        let hash = bytes.strip_prefix(&PREFIX[..]).ok_or(Error::Other)?;
        B256::try_from(hash).map(Self).map_err(|_| Error::Other)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// By `ipfs add --cid-version 1 --raw-leaves`, and by the contracts' own tests.
    const HELLO: &str = "bafkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yeq";

    #[test]
    fn a_document_has_the_name_that_others_give_it() {
        assert_eq!(Cid::of(b"hello").to_string(), HELLO);
        assert_eq!(Cid::of(b"hello").uri(), format!("ipfs://{HELLO}"));
        assert_eq!(HELLO.parse(), Ok(Cid::of(b"hello")));
        assert_eq!(format!("ipfs://{HELLO}").parse(), Ok(Cid::of(b"hello")));
    }

    #[test]
    fn what_can_t_be_checked_is_refused() {
        for (text, error) in [
            (
                "QmWATWQ7fVPP2EFGu71UkfnqhYXDYH566qy47CnJDgvs8u",
                Error::Version0,
            ),
            ("", Error::Form(0)),
            (&HELLO[..58], Error::Form(58)),
            (
                "zafkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yeq",
                Error::Form(59),
            ),
            (
                "bAfkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yeq",
                Error::Digit { at: 2 },
            ),
            // dag-pb.
            (
                "bafybeibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yeq",
                Error::Other,
            ),
            // The last digit has bits that no byte has.
            (
                "bafkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yer",
                Error::Digit { at: 59 },
            ),
            (
                "bäfkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yeq",
                Error::Form(59),
            ),
        ] {
            assert_eq!(text.parse::<Cid>(), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn each_name_is_read_as_it_was_written(hash: [u8; 32]) {
            let cid = Cid(hash.into());
            prop_assert_eq!(cid.to_string().parse(), Ok(cid));
        }

        #[test]
        fn what_is_read_is_written_the_same(text in "b[a-z2-7]{58}") {
            if let Ok(cid) = text.parse::<Cid>() {
                prop_assert_eq!(cid.to_string(), text);
            }
        }
    }
}
