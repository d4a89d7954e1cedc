//! Fiat currencies and amounts in them.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Error, text};

/// Currencies of ISO 4217 (active codes of countries, without funds and metals) by the number of
/// digits of their minor unit.
const TWO: &str = "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN \
    BZD CAD CDF CHF CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP \
    GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL \
    MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK \
    PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB \
    TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD YER ZAR ZMW ZWG";
const ZERO: &str = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF";
const THREE: &str = "BHD IQD JOD KWD LYD OMR TND";

/// A currency of ISO 4217: three capital letters, and how many digits its minor unit has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency {
    code: [u8; 3],
    digits: u8,
}

impl Currency {
    /// The currency of that code.
    ///
    /// # Errors
    /// A code that is not listed; small letters.
    pub fn parse(code: &str) -> Result<Self, Error> {
        let digits = [(TWO, 2), (ZERO, 0), (THREE, 3)]
            .into_iter()
            .find(|(codes, _)| codes.split_whitespace().any(|listed| listed == code))
            .map(|(_, digits)| digits);
        match (digits, <[u8; 3]>::try_from(code.as_bytes())) {
            (Some(digits), Ok(code)) => Ok(Self { code, digits }),
            _ => Err(Error::Currency(code.chars().take(16).collect())),
        }
    }

    /// Its three letters.
    #[must_use]
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.code).unwrap_or("???") // never: only listed codes get here
    }

    /// How many digits stand after the point: 2 for EUR, 0 for JPY.
    #[must_use]
    pub fn digits(self) -> u8 {
        self.digits
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// An amount of a currency in whole minor units, never negative. In JSON
/// `{"amount":"12.50","currency":"EUR"}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Parts", into = "Parts")]
pub struct Fiat {
    minor: u128,
    currency: Currency,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    amount: String,
    currency: Currency,
}

impl TryFrom<Parts> for Fiat {
    type Error = Error;

    fn try_from(parts: Parts) -> Result<Self, Error> {
        Self::parse(&parts.amount, parts.currency)
    }
}

impl From<Fiat> for Parts {
    fn from(fiat: Fiat) -> Self {
        Self {
            amount: text::format(fiat.minor, fiat.currency.digits),
            currency: fiat.currency,
        }
    }
}

impl Fiat {
    /// That many minor units, such as cents.
    #[must_use]
    pub fn from_minor(minor: u128, currency: Currency) -> Self {
        Self { minor, currency }
    }

    /// Reads an amount that a person wrote, such as `12.50`.
    ///
    /// # Errors
    /// Anything that is not exactly a number of minor units below 2¹²⁸.
    pub fn parse(written: &str, currency: Currency) -> Result<Self, Error> {
        let minor = text::parse(written, currency.digits, currency.code())?;
        let minor = u128::try_from(minor).map_err(|_| Error::TooLarge {
            most: "2^128 - 1 minor units",
        })?;
        Ok(Self { minor, currency })
    }

    /// How many minor units it is.
    #[must_use]
    pub fn minor(self) -> u128 {
        self.minor
    }

    /// What it is in.
    #[must_use]
    pub fn currency(self) -> Currency {
        self.currency
    }

    /// How much it is, as people write it: `2.50`.
    #[must_use]
    pub fn amount(self) -> String {
        text::format(self.minor, self.currency.digits)
    }
}

impl fmt::Display for Fiat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.amount(), self.currency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn currencies_have_the_digits_of_iso_4217() {
        let digits = |code| Currency::parse(code).map(Currency::digits);
        assert_eq!(digits("EUR"), Ok(2));
        assert_eq!(digits("JPY"), Ok(0));
        assert_eq!(digits("KWD"), Ok(3));
        for wrong in ["", "eur", "EURO", "XYZ", "EU", "ÄÖ", "EUR USD", " EUR"] {
            assert_eq!(digits(wrong), Err(Error::Currency(wrong.into())), "{wrong}");
        }
        // No code is listed twice.
        let mut all: Vec<_> = [TWO, ZERO, THREE]
            .iter()
            .flat_map(|codes| codes.split_whitespace())
            .collect();
        let listed = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), listed);
        assert!(all.iter().all(|code| code.len() == 3));
    }

    #[test]
    fn fiat_is_read_and_written_exactly() {
        let euro = Currency::parse("EUR").unwrap();
        let price = Fiat::parse("12.5", euro).unwrap();
        assert_eq!(
            (price.minor(), price.to_string()),
            (1250, "12.50 EUR".into())
        );
        let json = r#"{"amount":"12.50","currency":"EUR"}"#;
        assert_eq!(serde_json::to_string(&price).unwrap(), json);
        assert_eq!(serde_json::from_str::<Fiat>(json).unwrap(), price);
        let yen = Currency::parse("JPY").unwrap();
        assert!(matches!(
            Fiat::parse("1.5", yen),
            Err(Error::TooManyDecimals { most: 0, .. })
        ));
        let large = format!("{}.00", u128::MAX);
        assert!(matches!(
            Fiat::parse(&large, euro),
            Err(Error::TooLarge { .. })
        ));
    }
}
