//! Funded accounts of a dev chain.

use alloy_primitives::{Address, B256, keccak256};
use alloy_signer_local::PrivateKeySigner;

/// An account that owns coins from the first block on. Its key follows from the chain's seed:
/// **whoever knows the seed owns it**, so it is for dev chains only.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its address.
    pub address: Address,
    /// Its private key.
    pub key: B256,
}

impl Account {
    /// Signs for it.
    #[must_use]
    pub fn signer(&self) -> Option<PrivateKeySigner> {
        PrivateKeySigner::from_bytes(&self.key).ok()
    }
}

/// The accounts of a seed: `keccak256("stencil dev chain" ‖ seed ‖ index ‖ attempt)`, both numbers
/// as eight bytes, most significant first, and the first attempt that is a key.
#[must_use]
pub fn derive(seed: u64, count: u32) -> Vec<Account> {
    (0..u64::from(count))
        .filter_map(|index| {
            (0..u64::from(u8::MAX)).find_map(|attempt| {
                let mut bytes = b"stencil dev chain".to_vec();
                for part in [seed, index, attempt] {
                    bytes.extend_from_slice(&part.to_be_bytes());
                }
                let key = keccak256(bytes);
                let signer = PrivateKeySigner::from_bytes(&key).ok()?;
                Some(Account {
                    address: signer.address(),
                    key,
                })
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_has_its_own_accounts() {
        let (one, again, other) = (derive(1, 3), derive(1, 2), derive(2, 3));
        assert_eq!(one.len(), 3);
        assert_eq!(one[1].address, again[1].address);
        assert_ne!(one[0].address, one[1].address);
        assert_ne!(one[0].address, other[0].address);
        assert_eq!(one[0].signer().unwrap().address(), one[0].address);
    }
}
