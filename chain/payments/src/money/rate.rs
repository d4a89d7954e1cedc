//! What a token costs in a currency.

use alloy_primitives::{U256, U512};
use serde::{Deserialize, Serialize};

use super::{Amount, Asset, Currency, Error, Fiat, MAX_DECIMALS, Token, asset, text};

/// How many digits a rate may have before and after its point.
pub const MAX_RATE_DIGITS: u8 = 18;
/// How long the name of a source may be.
pub const MAX_SOURCE_BYTES: usize = 64;

/// An exact rate: one whole token costs `numerator / denominator` whole units of the currency.
///
/// It is locked into an invoice with its source and time, so that it can be told afterwards which
/// one it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Parts", into = "Parts")]
pub struct Rate {
    numerator: u128,
    denominator: u128,
    currency: Currency,
    asset: Asset,
    decimals: u8,
    source: String,
    at_us: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    numerator: String,
    denominator: String,
    currency: Currency,
    asset: Asset,
    decimals: u8,
    source: String,
    at_us: i64,
}

impl Rate {
    /// The rate "one whole `token` costs `numerator / denominator` whole units of `currency`", as
    /// `source` gave it at `at_us`, µs since the epoch.
    ///
    /// # Errors
    /// A numerator or denominator of zero or of 10³⁶ and more; a source without a name.
    pub fn new(
        (numerator, denominator): (u128, u128),
        currency: Currency,
        token: &Token,
        source: &str,
        at_us: i64,
    ) -> Result<Self, Error> {
        let (asset, decimals) = (token.asset(), token.decimals());
        Self::checked(
            numerator,
            denominator,
            currency,
            (asset, decimals),
            source,
            at_us,
        )
    }

    fn checked(
        numerator: u128,
        denominator: u128,
        currency: Currency,
        (asset, decimals): (Asset, u8),
        source: &str,
        at_us: i64,
    ) -> Result<Self, Error> {
        if numerator == 0 || denominator == 0 {
            return Err(Error::ZeroRate);
        }
        if numerator.max(denominator) >= 10_u128.pow(2 * u32::from(MAX_RATE_DIGITS)) {
            return Err(Error::TooLarge {
                most: "10^36 - 1 in a rate",
            });
        }
        if decimals > MAX_DECIMALS {
            return Err(Error::Decimals { given: decimals });
        }
        asset::name(source, "a rate's source", MAX_SOURCE_BYTES)?;
        let source = source.to_owned();
        Ok(Self {
            numerator,
            denominator,
            currency,
            asset,
            decimals,
            source,
            at_us,
        })
    }

    /// Reads a rate that is written as a decimal number, such as `2345.67` for one token.
    ///
    /// # Errors
    /// As of an amount; more than [`MAX_RATE_DIGITS`] digits on one side of the point.
    pub fn parse(
        written: &str,
        currency: Currency,
        token: &Token,
        source: &str,
        at_us: i64,
    ) -> Result<Self, Error> {
        let numerator = text::parse(written, MAX_RATE_DIGITS, "a rate")?;
        let numerator = u128::try_from(numerator).map_err(|_| Error::TooLarge {
            most: "10^36 - 1 in a rate",
        })?;
        let denominator = 10_u128.pow(MAX_RATE_DIGITS.into());
        Self::new((numerator, denominator), currency, token, source, at_us)
    }

    /// What has to be paid for a price, in base units of the token: rounded up, in favour of the
    /// payee, by less than one base unit.
    ///
    /// # Errors
    /// A price in another currency; more than 2²⁵⁶ base units.
    pub fn due(&self, price: &Fiat) -> Result<Amount, Error> {
        if price.currency() != self.currency {
            return Err(Error::OtherCurrency {
                rate: self.currency,
                price: price.currency(),
            });
        }
        let (token, fiat) = self.scale();
        // At most 2^128 · 2^120 · 2^120: no overflow in 512 bits.
        let due = (U512::from(price.minor()) * token).div_ceil(fiat);
        Ok(Amount(narrow(due).ok_or(Error::TooLarge {
            most: "2^256 - 1 base units",
        })?))
    }

    /// What an amount of the token is worth, in minor units of the currency: rounded down, in
    /// favour of the payee, by less than one minor unit.
    ///
    /// # Errors
    /// More than 2¹²⁸ minor units, or an amount of more than 2²⁵⁵ base units.
    pub fn worth(&self, amount: Amount) -> Result<Fiat, Error> {
        let too_large = || Error::TooLarge {
            most: "2^128 - 1 minor units",
        };
        let (token, fiat) = self.scale();
        let worth = U512::from(amount.0)
            .checked_mul(fiat)
            .ok_or_else(too_large)?
            / token;
        let worth = narrow(worth).and_then(|worth| u128::try_from(worth).ok());
        Ok(Fiat::from_minor(
            worth.ok_or_else(too_large)?,
            self.currency,
        ))
    }

    /// `minor · .0 = base units · .1`.
    fn scale(&self) -> (U512, U512) {
        let ten = |digits: u8| U512::from(10).pow(U512::from(digits));
        (
            U512::from(self.denominator) * ten(self.decimals),
            U512::from(self.numerator) * ten(self.currency.digits()),
        )
    }

    /// What it is in.
    #[must_use]
    pub fn currency(&self) -> Currency {
        self.currency
    }

    /// Which asset it is the rate of.
    #[must_use]
    pub fn asset(&self) -> Asset {
        self.asset
    }

    /// Currency units a token, as numerator and denominator.
    #[must_use]
    pub fn fraction(&self) -> (u128, u128) {
        (self.numerator, self.denominator)
    }

    /// Who gave it.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// When, in µs since the epoch.
    #[must_use]
    pub fn at_us(&self) -> i64 {
        self.at_us
    }
}

fn narrow(wide: U512) -> Option<U256> {
    (wide.bit_len() <= 256).then(|| wide.wrapping_to())
}

impl TryFrom<Parts> for Rate {
    type Error = Error;

    fn try_from(parts: Parts) -> Result<Self, Error> {
        let number = |digits: &str| {
            let number = text::parse(digits, 0, "a rate")?;
            u128::try_from(number).map_err(|_| Error::TooLarge {
                most: "10^36 - 1 in a rate",
            })
        };
        Self::checked(
            number(&parts.numerator)?,
            number(&parts.denominator)?,
            parts.currency,
            (parts.asset, parts.decimals),
            &parts.source,
            parts.at_us,
        )
    }
}

impl From<Rate> for Parts {
    fn from(rate: Rate) -> Self {
        Self {
            numerator: rate.numerator.to_string(),
            denominator: rate.denominator.to_string(),
            currency: rate.currency,
            asset: rate.asset,
            decimals: rate.decimals,
            source: rate.source,
            at_us: rate.at_us,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn euro() -> Currency {
        Currency::parse("EUR").unwrap()
    }

    fn token(decimals: u8) -> Token {
        Token::new(Asset::native(1), decimals, "ETH").unwrap()
    }

    #[test]
    fn a_price_becomes_what_is_due() {
        let rate = Rate::parse("2345.67", euro(), &token(18), "table", 0).unwrap();
        // 12.50 / 2345.67 = 0.0053289678428764489…
        let due = rate.due(&Fiat::from_minor(1250, euro())).unwrap();
        assert_eq!(due.to_string(), "5328967842876449");
        let json = serde_json::to_string(&rate).unwrap();
        assert_eq!(serde_json::from_str::<Rate>(&json).unwrap(), rate);
        let dollar = Currency::parse("USD").unwrap();
        assert_eq!(
            rate.due(&Fiat::from_minor(1, dollar)),
            Err(Error::OtherCurrency {
                rate: euro(),
                price: dollar
            })
        );
    }

    #[test]
    fn a_token_with_fewer_decimals_than_the_currency_rounds_to_a_whole_one() {
        let rate = Rate::parse("100", euro(), &token(0), "table", 0).unwrap();
        let due = |minor| rate.due(&Fiat::from_minor(minor, euro())).unwrap();
        assert_eq!(due(1), Amount::from(1_u64));
        assert_eq!(due(10_000), Amount::from(1_u64));
        assert_eq!(due(10_001), Amount::from(2_u64));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let rate = |written| Rate::parse(written, euro(), &token(36), "table", 0);
        assert_eq!(rate("0"), Err(Error::ZeroRate));
        assert_eq!(
            rate("0.0000000000000000001").err(),
            Some(Error::TooManyDecimals {
                given: 19,
                most: 18,
                unit: "a rate".into(),
            })
        );
        assert!(rate("1000000000000000000").is_err());
        let small = rate("0.000000000000000001").unwrap();
        let all = Fiat::from_minor(u128::MAX, euro());
        assert!(matches!(small.due(&all), Err(Error::TooLarge { .. })));
        let large = rate("999999999999999999").unwrap();
        assert!(matches!(
            large.worth(Amount(U256::MAX)),
            Err(Error::TooLarge { .. })
        ));
        assert!(Rate::parse("1", euro(), &token(6), "", 0).is_err());
    }

    proptest! {
        /// Rounding is in favour of the payee and by less than a unit.
        #[test]
        fn what_is_due_is_worth_the_price(
            minor in 1..=u128::from(u64::MAX),
            numerator in 1..=10_u128.pow(30),
            denominator in 1..=10_u128.pow(20),
            decimals in 0..=18_u8,
        ) {
            let rate = Rate::new((numerator, denominator), euro(), &token(decimals), "t", 0).unwrap();
            let price = Fiat::from_minor(minor, euro());
            let due = rate.due(&price).unwrap();
            let worth = |amount| rate.worth(amount).map(Fiat::minor);
            if let Ok(worth) = worth(due) {
                prop_assert!(worth >= minor);
            }
            let less = due.checked_sub(Amount::from(1_u64)).unwrap();
            if let Ok(worth) = worth(less) {
                prop_assert!(worth < minor, "one base unit less would have been enough");
            }
        }
    }
}
