//! Names of what is caused: the same cause gives the same name, so that it is done once.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

/// A text that is not 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a cause key is 64 hexadecimal digits")]
pub struct NotAKey;

/// Names one effect (a webhook, a refund, an entry of the ledger) by what caused it. Whoever does
/// effects passes it on as the key of idempotency: done twice under one key, it is done once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub [u8; 32]);

impl Key {
    /// The key of what `parts` name: SHA-256 over a domain and the parts, each behind its length
    /// as 8 bytes, so that no two lists of parts are the same bytes.
    #[must_use]
    pub fn of(domain: &str, parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in std::iter::once(domain.as_bytes()).chain(parts.iter().copied()) {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&hex::encode(self.0))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Key {
    type Err = NotAKey;

    fn from_str(text: &str) -> Result<Self, NotAKey> {
        let mut key = [0; 32];
        hex::decode_to_slice(text, &mut key).map_err(|_| NotAKey)?;
        Ok(Self(key))
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_into_each_other() {
        let key = Key::of("a", &[b"bc", b"d"]);
        assert_eq!(key, Key::of("a", &[b"bc", b"d"]));
        for other in [
            Key::of("a", &[b"b", b"cd"]),
            Key::of("ab", &[b"c", b"d"]),
            Key::of("a", &[b"bcd"]),
            Key::of("a", &[b"bc", b"d", b""]),
        ] {
            assert_ne!(key, other);
        }
        assert_eq!(key.to_string().parse(), Ok(key));
        assert_eq!("00".parse::<Key>(), Err(NotAKey));
    }
}
