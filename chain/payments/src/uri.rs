//! EIP-681 links: `ethereum:` and what a wallet is to do.
//!
//! A link is made of three parts that are checked: whom it goes to, on which chain, and what is
//! called with which arguments. [`parse`] reads what [`Link`] writes, and what others write by the
//! same specification: `pay-` in front, amounts with an exponent, parameters in any order. Names of
//! ENS are refused: to ask whose they are needs a chain.

mod number;
mod read;

use std::fmt;

use alloy_primitives::{Address, B256, U256};

use crate::money::{Amount, Asset};

pub use read::{Error, MAX_LINK_BYTES, MAX_PARAMETERS, parse};

/// A link of EIP-681.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Who is paid, or the contract that is called.
    pub target: Address,
    /// The chain; where a link says none, the wallet's own is meant.
    pub chain: Option<u64>,
    /// Native coin that is sent along, wei.
    pub value: Option<Amount>,
    /// What is called.
    pub call: Option<Call>,
}

/// A function of a contract with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its name.
    pub function: String,
    /// Its arguments in the order in which the link has them.
    pub arguments: Vec<Argument>,
}

/// An argument: its ABI type and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Argument {
    /// `address`.
    Address(Address),
    /// `uint256`.
    Uint256(U256),
    /// `bytes32`.
    Bytes32(B256),
    /// Any other type, as it is written.
    Other {
        /// The type.
        kind: String,
        /// The value.
        value: String,
    },
}

/// What a link pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payment {
    /// In what.
    pub asset: Asset,
    /// To whom.
    pub to: Address,
    /// How much; none where the payer is to say.
    pub amount: Option<Amount>,
}

impl Link {
    /// A link that sends an amount of an asset to somebody.
    #[must_use]
    pub fn payment(asset: Asset, to: Address, amount: Amount) -> Self {
        let chain = Some(asset.chain);
        match asset.contract {
            None => Self {
                target: to,
                chain,
                value: Some(amount),
                call: None,
            },
            Some(token) => {
                let arguments = vec![Argument::Address(to), Argument::Uint256(amount.0)];
                let call = Some(Call {
                    function: "transfer".into(),
                    arguments,
                });
                Self {
                    target: token,
                    chain,
                    value: None,
                    call,
                }
            }
        }
    }

    /// A link that pays an invoice through `StencilPayments`. A token has to be approved to the
    /// contract before, which a link can't say.
    #[must_use]
    pub fn contract(asset: Asset, contract: Address, invoice: B256, amount: Amount) -> Self {
        let chain = Some(asset.chain);
        let (function, value, rest) = match asset.contract {
            None => ("payNative", Some(amount), vec![]),
            Some(token) => (
                "pay",
                None,
                vec![Argument::Address(token), Argument::Uint256(amount.0)],
            ),
        };
        let mut arguments = vec![Argument::Bytes32(invoice)];
        arguments.extend(rest);
        let call = Some(Call {
            function: function.into(),
            arguments,
        });
        Self {
            target: contract,
            chain,
            value,
            call,
        }
    }

    /// What the link pays, if it is a plain payment of the native coin or of an ERC-20 token.
    #[must_use]
    pub fn paid(&self) -> Option<Payment> {
        let chain = self.chain?;
        let Some(call) = &self.call else {
            let asset = Asset::native(chain);
            return Some(Payment {
                asset,
                to: self.target,
                amount: self.value,
            });
        };
        if call.function != "transfer" || self.value.is_some() {
            return None;
        }
        let asset = Asset::erc20(chain, self.target);
        match call.arguments[..] {
            [Argument::Address(to)] => Some(Payment {
                asset,
                to,
                amount: None,
            }),
            [Argument::Address(to), Argument::Uint256(amount)] => Some(Payment {
                asset,
                to,
                amount: Some(Amount(amount)),
            }),
            _ => None,
        }
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ethereum:{}", self.target.to_checksum(None))?;
        if let Some(chain) = self.chain {
            write!(f, "@{chain}")?;
        }
        if let Some(call) = &self.call {
            write!(f, "/{}", call.function)?;
        }
        let mut mark = '?';
        let mut parameter = |f: &mut fmt::Formatter<'_>, key: &str, value: &dyn fmt::Display| {
            let written = write!(f, "{mark}{key}={value}");
            mark = '&';
            written
        };
        for argument in self.call.iter().flat_map(|call| &call.arguments) {
            match argument {
                Argument::Address(to) => parameter(f, "address", &to.to_checksum(None))?,
                Argument::Uint256(number) => parameter(f, "uint256", number)?,
                Argument::Bytes32(bytes) => parameter(f, "bytes32", &format_args!("{bytes:#x}"))?,
                Argument::Other { kind, value } => parameter(f, kind, value)?,
            }
        }
        if let Some(value) = self.value {
            parameter(f, "value", &value)?;
        }
        Ok(())
    }
}
