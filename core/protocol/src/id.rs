//! The names of things: short texts that fit into a topic, a path, a file name
//! and a certificate without quoting, held inline, without an allocator.

use core::borrow::Borrow;
use core::fmt;
use core::str::FromStr;

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

/// The longest text id in bytes.
pub const MAX_BYTES: usize = 48;

/// Why a text is not an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is empty.
    #[error("an id may not be empty")]
    Empty,
    /// The text is longer than [`MAX_BYTES`].
    #[error("an id may have at most {MAX_BYTES} bytes, this has {bytes}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// A character that an id may not have at this place.
    #[error(
        "an id has letters, digits, `.`, `_`, `-` and starts with a letter or digit; \
         byte {at} is something else"
    )]
    Character {
        /// Its offset in bytes.
        at: usize,
    },
    /// A [`CommandId`] that is not 32 hexadecimal digits.
    #[error("a command id is 32 hexadecimal digits")]
    Hex,
}

fn check(text: &str) -> Result<(), Error> {
    if text.is_empty() {
        return Err(Error::Empty);
    }
    if text.len() > MAX_BYTES {
        return Err(Error::TooLong { bytes: text.len() });
    }
    for (at, byte) in text.bytes().enumerate() {
        let inner = at > 0 && matches!(byte, b'.' | b'_' | b'-');
        if !byte.is_ascii_alphanumeric() && !inner {
            return Err(Error::Character { at });
        }
    }
    Ok(())
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// Grammar: `[A-Za-z0-9][A-Za-z0-9._-]{0,47}`.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(heapless::String<MAX_BYTES, u8>);

        impl $name {
            /// Takes the text if it keeps to the grammar.
            pub fn parse(text: &str) -> Result<Self, Error> {
                check(text)?;
                let held = heapless::String::try_from(text)
                    .map_err(|_| Error::TooLong { bytes: text.len() })?;
                Ok($name(held))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self, Error> {
                Self::parse(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                self.as_str()
            }
        }

        impl<C> Encode<C> for $name {
            fn encode<W: encode::Write>(
                &self,
                e: &mut Encoder<W>,
                _: &mut C,
            ) -> Result<(), encode::Error<W::Error>> {
                e.str(self.as_str())?.ok()
            }
        }

        impl<'b, C> Decode<'b, C> for $name {
            fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
                let at = d.position();
                Self::parse(d.str()?)
                    .map_err(|_| decode::Error::message("not an id by its grammar").at(at))
            }
        }

        #[cfg(feature = "std")]
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(self.as_str())
            }
        }

        #[cfg(feature = "std")]
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                text::deserialize(d)
            }
        }
    };
}

text_id! {
    /// A customer of the hub: nothing crosses from one to another.
    TenantId
}
text_id! {
    /// A gateway within a tenant.
    GatewayId
}
text_id! {
    /// A device within a tenant.
    DeviceId
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident($inner:ty), $read:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "std", derive(serde::Serialize, serde::Deserialize))]
        #[cfg_attr(feature = "std", serde(transparent))]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl<C> Encode<C> for $name {
            fn encode<W: encode::Write>(
                &self,
                e: &mut Encoder<W>,
                _: &mut C,
            ) -> Result<(), encode::Error<W::Error>> {
                e.$read(self.0)?.ok()
            }
        }

        impl<'b, C> Decode<'b, C> for $name {
            fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
                d.$read().map($name)
            }
        }
    };
}

number_id! {
    /// Names a boot of a device: no two boots share one. A device counts them in memory that
    /// survives resets, from a random number on, so that this also holds after it lost that
    /// memory. A later boot may thus have a lower number.
    Boot(u32), u32
}
number_id! {
    /// A sample's number within a boot; the first is 1, 0 means "none yet".
    Seq(u64), u64
}

impl Seq {
    /// The highest number that a device may give: a database's signed 64 bits.
    pub const MAX: Seq = Seq(i64::MAX.unsigned_abs());
}

/// Names a command for ever: a retried one has the same, so that the device
/// acts once. Shown as 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub [u8; 16]);

impl CommandId {
    /// Reads 32 hexadecimal digits, of either case.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let digits = text.as_bytes();
        if digits.len() != 32 {
            return Err(Error::Hex);
        }
        let mut id = [0u8; 16];
        for (slot, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
            *slot = match pair {
                [high, low] => (nibble(*high)? << 4) | nibble(*low)?,
                _ => return Err(Error::Hex),
            };
        }
        Ok(CommandId(id))
    }
}

fn nibble(digit: u8) -> Result<u8, Error> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(Error::Hex),
    }
}

impl FromStr for CommandId {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<C> Encode<C> for CommandId {
    fn encode<W: encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        e.bytes(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for CommandId {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        <[u8; 16]>::try_from(d.bytes()?)
            .map(CommandId)
            .map_err(|_| decode::Error::message("a command id has 16 bytes").at(at))
    }
}

#[cfg(feature = "std")]
impl serde::Serialize for CommandId {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

#[cfg(feature = "std")]
impl<'de> serde::Deserialize<'de> for CommandId {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        text::deserialize(d)
    }
}

/// Any `FromStr` from a JSON string or map key, borrowed or not.
#[cfg(feature = "std")]
mod text {
    use core::fmt;
    use core::marker::PhantomData;
    use core::str::FromStr;

    pub(super) fn deserialize<'de, D, T>(d: D) -> Result<T, D::Error>
    where
        D: serde::Deserializer<'de>,
        T: FromStr<Err = super::Error>,
    {
        d.deserialize_str(Parse(PhantomData))
    }

    struct Parse<T>(PhantomData<T>);

    impl<T: FromStr<Err = super::Error>> serde::de::Visitor<'_> for Parse<T> {
        type Value = T;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an id as text")
        }
        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
            T::from_str(text).map_err(E::custom)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_at_its_edges() {
        for good in ["a", "7", "freezer-07", "A.b_c-9", &"x".repeat(48)] {
            assert_eq!(DeviceId::parse(good).unwrap().as_str(), good);
        }
        assert_eq!(DeviceId::parse(""), Err(Error::Empty));
        assert_eq!(
            DeviceId::parse(&"x".repeat(49)),
            Err(Error::TooLong { bytes: 49 })
        );
        for (bad, at) in [
            ("-a", 0),
            (".", 0),
            ("a/b", 1),
            ("a b", 1),
            ("a+", 1),
            ("aé", 1),
        ] {
            assert_eq!(DeviceId::parse(bad), Err(Error::Character { at }), "{bad}");
        }
    }

    #[test]
    fn command_ids_are_hex_of_either_case() {
        let id = CommandId([0xab; 16]);
        let text = std::string::ToString::to_string(&id);
        assert_eq!(text, "ab".repeat(16));
        assert_eq!(CommandId::parse(&text.to_uppercase()), Ok(id));
        assert_eq!(CommandId::parse("ab"), Err(Error::Hex));
        assert_eq!(CommandId::parse(&"g".repeat(32)), Err(Error::Hex));
    }
}
