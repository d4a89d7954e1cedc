//! What is secret in a leaf: a hash of a reading alone would be found by trying the few values that it may have.

use std::fmt;

use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use stencil_protocol::id::DeviceId;

const TAG: &[u8] = b"stencil-salt-1\0";

/// What the salts of a seal are made from: 32 bytes drawn at random for this seal alone. The gateway and
/// its hub know it. A proof never has it in it, only the [`Salt`] of the one leaf that it shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; 32]);

impl Secret {
    /// Of bytes from a generator that is fit for keys.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The salts of a device's chunk.
    #[must_use]
    pub fn salts(&self, device: &DeviceId) -> Salts {
        // HMAC fills a shorter key up to a block of the hash with zeros; a whole block is taken without fail.
        let mut key = [0; 64];
        key[..32].copy_from_slice(&self.0);
        let mac = <Hmac<Sha256> as hmac::KeyInit>::new((&key).into());
        // No id has a zero byte, and the place that comes behind it is always of 8 bytes: no two devices
        // have a text in common.
        Salts(
            mac.chain_update(TAG)
                .chain_update(device.as_str())
                .chain_update([0]),
        )
    }
}

/// The salts of a chunk's leaves.
#[derive(Clone)]
pub struct Salts(Hmac<Sha256>);

impl Salts {
    /// That of the leaf at this place of the chunk, from 0: HMAC-SHA256 by the seal's secret over
    /// `"stencil-salt-1" ‖ 0 ‖ device ‖ 0 ‖ place`, the place in 8 bytes, the highest first.
    #[must_use]
    pub fn at(&self, index: u64) -> Salt {
        let mac = self.0.clone().chain_update(index.to_be_bytes());
        Salt(mac.finalize().into_bytes().into())
    }
}

/// What makes a leaf one that nobody can guess who does not know it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Salt(pub [u8; 32]);

// None of them is to be in a log: who has it can try values.

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl fmt::Debug for Salts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salts(…)")
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salt(…)")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn device(id: &str) -> DeviceId {
        DeviceId::parse(id).unwrap()
    }

    /// By Python's `hmac`: a hub of tomorrow has to come to the same.
    #[test]
    fn the_form_is_fixed() {
        let salts = Secret::new([7; 32]).salts(&device("freezer-07"));
        for (index, expected) in [
            (
                0,
                "288d9138f09dd1142cd59484901107e5156ed3e1cfe30f759f12d1fdf2d33586",
            ),
            (
                258,
                "ff3c8ea5c4a082195c49803eeb64c5d5bc17348cce9eb9a8083d71d92fb2267d",
            ),
        ] {
            assert_eq!(hex::encode(salts.at(index).0), expected, "{index}");
        }
    }

    #[test]
    fn each_leaf_of_each_device_and_seal_has_its_own() {
        let mut all = BTreeSet::new();
        for secret in [[1; 32], [2; 32]] {
            for id in ["a", "aa", "b"] {
                let salts = Secret::new(secret).salts(&device(id));
                all.extend((0..100).map(|index| salts.at(index).0));
            }
        }
        assert_eq!(all.len(), 600);
    }

    #[test]
    fn none_is_shown_by_what_writes_logs() {
        let secret = Secret::new([0xab; 32]);
        let salts = secret.salts(&device("a"));
        let shown = format!("{secret:?} {salts:?} {:?}", salts.at(0));
        assert_eq!(shown, "Secret(…) Salts(…) Salt(…)");
    }
}
