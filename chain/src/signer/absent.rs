//! An account whose key is not set any more.

use alloy_consensus::TxEip1559;
use alloy_primitives::Address;
use async_trait::async_trait;

use super::{Error, Signed, Signer};

/// An account that sent before another was set: what it has signed is looked after, and nothing more is.
#[derive(Debug, Clone, Copy)]
pub struct Absent(pub Address);

#[async_trait]
impl Signer for Absent {
    fn address(&self) -> Address {
        self.0
    }

    fn can_sign(&self) -> bool {
        false
    }

    async fn sign(&self, _: &TxEip1559) -> Result<Signed, Error> {
        Err(Error::Absent { account: self.0 })
    }
}
