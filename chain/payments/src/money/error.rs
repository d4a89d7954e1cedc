//! What can be wrong with money that was written down.

/// What is wrong with an amount, an asset, a currency or a rate, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing was written.
    #[error("an amount is missing: write digits, such as 12.50")]
    Empty,
    /// There is a minus sign.
    #[error("an amount is never negative: leave the minus sign out")]
    Negative,
    /// A number in scientific notation.
    #[error("an amount has no exponent: write all its digits, such as 1500000 instead of 1.5e6")]
    Exponent,
    /// A character that is neither a digit nor the one decimal point.
    #[error(
        "'{found}' at character {at} is no digit: write digits with at most one point, such as 1234.50"
    )]
    NotADigit {
        /// The character.
        found: char,
        /// Its place, from 1.
        at: usize,
    },
    /// A count of base units in another form.
    #[error(
        "'{0}' is no count of base units: write decimal digits alone, without sign, point, prefix or zeros at the \
         beginning, such as 2500000"
    )]
    NotUnits(String),
    /// A decimal point without digits on one of its sides.
    #[error("the decimal point needs digits before and after it, such as 0.50")]
    LonelyPoint,
    /// More digits after the point than the unit has.
    #[error("{given} digits after the point, and {unit} has {most}: nothing is rounded silently")]
    TooManyDecimals {
        /// How many were written.
        given: usize,
        /// How many there may be.
        most: u8,
        /// Whose decimals these are.
        unit: String,
    },
    /// A number that does not fit.
    #[error("the amount is too large: at most {most}")]
    TooLarge {
        /// The bound.
        most: &'static str,
    },
    /// A token with more decimals than are taken.
    #[error("{given} decimals are too many: at most {MAX}", MAX = super::MAX_DECIMALS)]
    Decimals {
        /// How many the token has.
        given: u8,
    },
    /// A name of a token or of a source that can't be shown as it is.
    #[error("{what} must be 1 to {most} bytes of printable characters")]
    Name {
        /// What was named.
        what: &'static str,
        /// How long it may be.
        most: usize,
    },
    /// An asset in another form than the hub's.
    #[error("{0:?} is no asset: write eip155:CHAIN/erc20:0xADDRESS or eip155:CHAIN/native")]
    Asset(String),
    /// A currency that ISO 4217 does not list.
    #[error("{0:?} is no currency of ISO 4217: write its three capital letters, such as EUR")]
    Currency(String),
    /// A rate of nothing.
    #[error("a rate is more than zero")]
    ZeroRate,
    /// Amounts of different currencies can't be put together.
    #[error("the rate is one of {rate}, the price in {price}")]
    OtherCurrency {
        /// What the rate is in.
        rate: Currency,
        /// What the price is in.
        price: Currency,
    },
}

use super::Currency;
