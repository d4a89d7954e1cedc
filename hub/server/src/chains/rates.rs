//! What tokens cost in currencies: a port, and the table of the hub's settings behind it.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use stencil_payments::money::{Currency, Rate, Token};

use crate::Error;

/// The most rates of the table.
pub(crate) const MAX_RATES: usize = 1_000;

/// A rate of the hub's settings: what one whole token costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateOption {
    /// Which token: its symbol, such as `USDC`, or exactly which one, such as `eip155:1/native` or
    /// `eip155:1/erc20:0x…`.
    pub token: String,
    /// ISO 4217, such as `EUR`.
    pub currency: String,
    /// Units of the currency for one whole token, such as `0.92`.
    pub rate: String,
}

/// Where rates come from.
#[async_trait]
pub(crate) trait RateSource: Send + Sync + 'static {
    /// What one whole token costs in a currency at that time; `None`: it gives none.
    async fn rate(&self, token: &Token, currency: Currency, now_us: i64) -> Option<Rate>;
}

/// The table of the hub's settings. What names a token exactly goes before what names its symbol.
#[derive(Debug, Default)]
pub(crate) struct Table(Vec<RateOption>);

impl Table {
    pub(crate) fn new(rates: &[RateOption]) -> Self {
        Self(rates.to_vec())
    }
}

#[async_trait]
impl RateSource for Table {
    async fn rate(&self, token: &Token, currency: Currency, now_us: i64) -> Option<Rate> {
        let asset = token.asset().to_string();
        let named = |name: &str| {
            let found = self.0.iter().find(|rate| {
                rate.token.eq_ignore_ascii_case(name) && rate.currency == currency.code()
            });
            Rate::parse(&found?.rate, currency, token, "table", now_us).ok()
        };
        named(&asset).or_else(|| named(token.symbol()))
    }
}

/// Whether each rate can be read.
pub(crate) fn check(rates: &[RateOption]) -> Result<(), Error> {
    use stencil_payments::money::Asset;
    if rates.len() > MAX_RATES {
        let why = format!("{} are too many: at most {MAX_RATES}", rates.len());
        return Err(Error::option("rates", why));
    }
    let any = Token::new(Asset::native(1), 18, "ANY");
    for (at, rate) in rates.iter().enumerate() {
        let wrong = |key: &str, why: String| Error::option(&format!("rates[{at}].{key}"), why);
        let currency = Currency::parse(&rate.currency)
            .map_err(|error| wrong("currency", error.to_string()))?;
        if let Ok(any) = &any {
            Rate::parse(&rate.rate, currency, any, "table", 0)
                .map_err(|error| wrong("rate", error.to_string()))?;
        }
        let asset = rate.token.parse::<Asset>();
        if rate.token.contains([':', '/']) || rate.token.is_empty() {
            asset.map_err(|error| wrong("token", error.to_string()))?;
        }
        let twice = rates.iter().take(at).any(|other| {
            other.token.eq_ignore_ascii_case(&rate.token) && other.currency == rate.currency
        });
        if twice {
            let why = format!("{} has a rate in {} already", rate.token, rate.currency);
            return Err(wrong("token", why));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use stencil_payments::money::Asset;

    fn option(token: &str, currency: &str, rate: &str) -> RateOption {
        RateOption {
            token: token.into(),
            currency: currency.into(),
            rate: rate.into(),
        }
    }

    #[tokio::test]
    async fn what_names_a_token_exactly_goes_first() {
        let euro = Currency::parse("EUR").unwrap();
        let table = Table::new(&[
            option("ETH", "EUR", "2000"),
            option("eip155:1/native", "EUR", "2345.67"),
        ]);
        let coin = |chain| Token::new(Asset::native(chain), 18, "ETH").unwrap();
        let rate = async |chain| {
            table
                .rate(&coin(chain), euro, 5)
                .await
                .unwrap()
                .fraction()
                .0
        };
        assert_eq!(rate(1).await, 2_345_670_000_000_000_000_000);
        assert_eq!(rate(5).await, 2_000_000_000_000_000_000_000);
        let dollar = Currency::parse("USD").unwrap();
        assert!(table.rate(&coin(1), dollar, 5).await.is_none());
    }

    #[test]
    fn a_wrong_rate_is_named_by_its_place() {
        for (wrong, key) in [
            (option("ETH", "eur", "1"), "rates[0].currency"),
            (option("ETH", "EUR", "0"), "rates[0].rate"),
            (option("ETH", "EUR", "1e3"), "rates[0].rate"),
            (option("eip155:1/erc20:abc", "EUR", "1"), "rates[0].token"),
            (option("", "EUR", "1"), "rates[0].token"),
        ] {
            let error = check(&[wrong]).unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
        }
        let eth = option("ETH", "EUR", "1");
        assert!(check(&[eth.clone(), eth.clone()]).is_err());
        assert!(check(&[eth]).is_ok());
    }
}
