//! Payers as strangers: wallets that sign, and what they sign.
//!
//! A payer has a key and coins on a dev chain, and pays what a checkout asks for in the three ways
//! that there are: by an authorisation (EIP-3009) whose nonce names the invoice, through the payment
//! contract, and by a transfer of an amount that no other invoice has. Nothing of the hub's payments
//! is used for it: interfaces, digests and signatures are made here once more, so that what both
//! sides agree on was written down twice.
//!
//! ```
//! use alloy_primitives::{Address, U256};
//! use stencil_payer::{Call, Wallet, contracts};
//!
//! # fn main() -> Result<(), stencil_payer::Error> {
//! let wallet = Wallet::new(&[7; 32].into(), 31_337)?;
//! let deploy = wallet.sign(0, &Call::create(contracts::dollar()?))?;
//! let dollar = wallet.address().create(0);
//! let mint = wallet.sign(1, &Call::mint(dollar, wallet.address(), U256::from(5_000_000)))?;
//! // Both are sent by eth_sendRawTransaction.
//! # assert!(deploy.len() > mint.len());
//! # Ok(()) }
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod authorization;
mod call;
pub mod contracts;
mod listing;
mod wallet;

pub use authorization::{Authorization, Domain};
pub use call::Call;
pub use listing::Listing;
pub use wallet::Wallet;

/// Why something can't be signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are no key of the curve.
    #[error("not a private key of secp256k1")]
    Key,
    /// The key did not sign.
    #[error("can't be signed: {0}")]
    Sign(#[from] alloy_signer::Error),
    /// The committed contract is not what it should be.
    #[error("the committed contract can't be read: {0}")]
    Artifact(#[from] serde_json::Error),
}
