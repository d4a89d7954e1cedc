//! A key, and what it signs.

use alloy_consensus::{SignableTransaction as _, TxEip1559, TxEnvelope};
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{Address, B256, Bytes};
use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;

use crate::{Authorization, Call, Domain, Error, Listing};

/// What a unit of gas may cost, and what of that is the block's maker's, in wei.
const MAX_FEE: u128 = 100_000_000_000;
const TIP: u128 = 1_000_000_000;

/// An account of a chain.
#[derive(Clone, Debug)]
pub struct Wallet {
    signer: PrivateKeySigner,
    chain_id: u64,
}

impl Wallet {
    /// Of this key, on this chain.
    ///
    /// # Errors
    /// Bytes that are no key.
    pub fn new(key: &B256, chain_id: u64) -> Result<Self, Error> {
        let signer = PrivateKeySigner::from_bytes(key).map_err(|_| Error::Key)?;
        Ok(Self { signer, chain_id })
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> Address {
        self.signer.address()
    }

    /// Signs a transaction with this nonce (EIP-1559), as `eth_sendRawTransaction` takes it. It may
    /// cost up to 100 gwei a unit of gas.
    ///
    /// # Errors
    /// The key did not sign.
    pub fn sign(&self, nonce: u64, call: &Call) -> Result<Bytes, Error> {
        let transaction = TxEip1559 {
            chain_id: self.chain_id,
            nonce,
            gas_limit: call.gas_limit,
            max_fee_per_gas: MAX_FEE,
            max_priority_fee_per_gas: TIP,
            to: call.to,
            value: call.value,
            input: call.input.clone(),
            ..TxEip1559::default()
        };
        let signature = self.signer.sign_hash_sync(&transaction.signature_hash())?;
        let envelope: TxEnvelope = transaction.into_signed(signature).into();
        Ok(envelope.encoded_2718().into())
    }

    /// Signs a text as `personal_sign` does (EIP-191): 65 bytes, `r`, `s` and `v` (27 or 28).
    ///
    /// # Errors
    /// The key did not sign.
    pub fn sign_message(&self, text: &[u8]) -> Result<[u8; 65], Error> {
        Ok(self.signer.sign_message_sync(text)?.as_bytes())
    }

    /// Signs a listing: 65 bytes, `r`, `s` and `v` (27 or 28).
    ///
    /// # Errors
    /// The key did not sign.
    pub fn list(&self, listing: &Listing) -> Result<[u8; 65], Error> {
        Ok(self.signer.sign_hash_sync(&listing.digest())?.as_bytes())
    }

    /// Signs an authorisation of EIP-3009: 65 bytes, `r`, `s` and `v` (27 or 28).
    ///
    /// # Errors
    /// The key did not sign.
    pub fn authorize(
        &self,
        authorization: &Authorization,
        domain: &Domain,
    ) -> Result<[u8; 65], Error> {
        let digest = authorization.digest(domain);
        Ok(self.signer.sign_hash_sync(&digest)?.as_bytes())
    }
}
