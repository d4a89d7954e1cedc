//! Payments without I/O: exact money, invoices, double entry, and authorisations of payers.
//!
//! Everything here is a value or a state machine. There is no clock, no network, no disk and no
//! random source: times, observations of chains and new ids come in, effects come out as data with
//! a key of their cause each ([`cause::Key`]), so that whoever does them can do them again after a
//! crash and they are done once.
//!
//! | module | what it holds |
//! |---|---|
//! | [`money`] | exact amounts, currencies, rates as fractions, rounding in favour of the payee |
//! | [`ledger`] | double entry; balances to the unit whatever happens |
//! | [`invoice`] | what is to be paid and what came of it: under-, over- and late-paid, reorganised, given back |
//! | [`matching`] | which invoice a movement on a chain is for; what is for none |
//! | [`abi`] | the contracts' interface |
//! | [`physical`] | when a device may act because of a chain, and when it has to undo that |
//! | [`observation`] | what a chain's follower tells: included, retracted, how deep |
//! | [`receipt`] | one document, one sequence of bytes |
//! | [`uri`] | links of EIP-681 |
//! | [`x402`] | prices and payments in HTTP headers; charges for device commands |
//! | [`port`] | what the hub asks of a chain |
//! | [`eip712`] | EIP-3009 authorisations: digests, and who signed |

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod abi;
pub mod cause;
pub mod eip712;
pub mod invoice;
pub mod ledger;
pub mod matching;
pub mod money;
pub mod observation;
pub mod physical;
pub mod port;
pub mod receipt;
pub mod uri;
pub mod x402;

pub use alloy_primitives::{Address, B256, Bytes, LogData, U256};
