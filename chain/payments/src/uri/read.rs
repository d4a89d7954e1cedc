//! Reads links of EIP-681.

use alloy_primitives::Address;

use super::{Argument, Call, Link, number};
use crate::money::Amount;

/// The longest link that is looked at.
pub const MAX_LINK_BYTES: usize = 2_048;
/// The most parameters of a link.
pub const MAX_PARAMETERS: usize = 32;

/// What is wrong with a link.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Longer than [`MAX_LINK_BYTES`].
    #[error("a link has at most {MAX_LINK_BYTES} bytes")]
    TooLong,
    /// It is of another scheme.
    #[error("a link begins with 'ethereum:'")]
    Scheme,
    /// What is behind the scheme is no address.
    #[error("{0:?} is no address: 0x and 40 hexadecimal digits; names of ENS are not looked up")]
    Address(String),
    /// Capital and small letters of an address say that a digit is wrong.
    #[error("the checksum of {0} is wrong (EIP-55): a digit was mistyped")]
    Checksum(String),
    /// A chain id that is none.
    #[error("{0:?} is no chain id: decimal digits behind the @")]
    Chain(String),
    /// A function or parameter without a name, or with another character than letters, digits and _.
    #[error("{0:?} is no name of a function or type")]
    Name(String),
    /// A parameter without `=`.
    #[error("the parameter {0:?} has no value: write name=value")]
    NoValue(String),
    /// More than [`MAX_PARAMETERS`].
    #[error("a link has at most {MAX_PARAMETERS} parameters")]
    Parameters,
    /// The same parameter twice where it can be only once.
    #[error("the parameter {0} is there twice")]
    Twice(&'static str),
    /// Arguments without a function.
    #[error("the argument {0} belongs to no function")]
    NoFunction(String),
    /// A number in another form.
    #[error("{0:?} is no number: digits, such as 2014000000000000000 or 2.014e18")]
    Number(String),
    /// A number below zero.
    #[error("an amount is never negative")]
    Negative,
    /// A number that is not whole.
    #[error("an amount is a whole number of the smallest unit: the exponent is too small")]
    Fraction,
    /// A number of more than 256 bits.
    #[error("the number is too large: at most 2^256 - 1")]
    TooLarge,
    /// `bytes32` of another length.
    #[error("{0:?} is not 0x and 64 hexadecimal digits")]
    Bytes32(String),
}

/// Reads a link.
///
/// # Errors
/// What is wrong with it. Nothing is guessed.
pub fn parse(link: &str) -> Result<Link, Error> {
    if link.len() > MAX_LINK_BYTES {
        return Err(Error::TooLong);
    }
    let rest = link.strip_prefix("ethereum:").ok_or(Error::Scheme)?;
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    };
    let (who, function) = match path.split_once('/') {
        Some((who, function)) => (who, Some(name(function)?)),
        None => (path, None),
    };
    let (target, chain) = match who.split_once('@') {
        Some((target, chain)) => (target, Some(chain)),
        None => (who, None),
    };
    let target = address(target.strip_prefix("pay-").unwrap_or(target))?;
    let chain = match chain {
        Some(digits) => {
            Some(crate::money::chain_id(digits).ok_or_else(|| Error::Chain(shown(digits)))?)
        }
        None => None,
    };
    let mut value = None;
    let mut arguments = Vec::new();
    for (at, parameter) in query
        .into_iter()
        .flat_map(|query| query.split('&'))
        .enumerate()
    {
        if at >= MAX_PARAMETERS {
            return Err(Error::Parameters);
        }
        let (key, text) = parameter
            .split_once('=')
            .ok_or_else(|| Error::NoValue(shown(parameter)))?;
        match name(key)?.as_str() {
            "value" => {
                let amount = Amount(number::parse(text)?);
                if value.replace(amount).is_some() {
                    return Err(Error::Twice("value"));
                }
            }
            // What a transaction is to cost is the wallet's to say.
            "gas" | "gasLimit" | "gasPrice" => {
                number::parse(text)?;
            }
            _ if function.is_none() => return Err(Error::NoFunction(shown(key))),
            "address" => arguments.push(Argument::Address(address(text)?)),
            "uint256" | "uint" => arguments.push(Argument::Uint256(number::parse(text)?)),
            "bytes32" => arguments.push(Argument::Bytes32(
                (text.starts_with("0x").then(|| text.parse().ok()).flatten())
                    .ok_or_else(|| Error::Bytes32(shown(text)))?,
            )),
            kind => {
                let (kind, value) = (kind.to_owned(), text.to_owned());
                arguments.push(Argument::Other { kind, value });
            }
        }
    }
    let call = function.map(|function| Call {
        function,
        arguments,
    });
    Ok(Link {
        target,
        chain,
        value,
        call,
    })
}

/// An address; if it has letters of both cases, its checksum must hold.
fn address(text: &str) -> Result<Address, Error> {
    let wrong = || Error::Address(shown(text));
    let digits = text.strip_prefix("0x").ok_or_else(wrong)?;
    let address: Address = text.parse().map_err(|_| wrong())?;
    let small = digits.bytes().any(|byte| byte.is_ascii_lowercase());
    let capital = digits.bytes().any(|byte| byte.is_ascii_uppercase());
    if small && capital && address.to_checksum(None) != text {
        return Err(Error::Checksum(text.to_owned()));
    }
    Ok(address)
}

fn name(text: &str) -> Result<String, Error> {
    let good = !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_[]".contains(&byte));
    good.then(|| text.to_owned())
        .ok_or_else(|| Error::Name(shown(text)))
}

/// As much of a stranger's text as fits into an error.
fn shown(text: &str) -> String {
    text.chars().take(60).collect()
}
