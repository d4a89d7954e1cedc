//! What is paid with.

use std::fmt;
use std::str::FromStr;

use alloy_primitives::Address;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Amount, Error, text};

/// The most decimals of a token that is taken: 10³⁶ still fits where it is multiplied.
pub const MAX_DECIMALS: u8 = 36;
/// The longest symbol.
pub const MAX_SYMBOL_BYTES: usize = 32;

/// An asset of a chain: its native coin or an ERC-20 token. As text
/// `eip155:CHAIN/erc20:0xADDRESS` (CAIP-19) or `eip155:CHAIN/native`; the latter is the hub's own
/// form, since CAIP-19 names coins by a SLIP-44 number that private chains don't have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Asset {
    /// The chain id of EIP-155.
    pub chain: u64,
    /// The token's contract; `None` is the chain's native coin.
    pub contract: Option<Address>,
}

impl Asset {
    /// The native coin of a chain.
    #[must_use]
    pub fn native(chain: u64) -> Self {
        Self {
            chain,
            contract: None,
        }
    }

    /// A token of a chain.
    #[must_use]
    pub fn erc20(chain: u64, contract: Address) -> Self {
        Self {
            chain,
            contract: Some(contract),
        }
    }
}

impl fmt::Display for Asset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.contract {
            Some(contract) => write!(f, "eip155:{}/erc20:{contract:#x}", self.chain),
            None => write!(f, "eip155:{}/native", self.chain),
        }
    }
}

impl FromStr for Asset {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || Error::Asset(text.chars().take(80).collect());
        let (chain, what) = text
            .strip_prefix("eip155:")
            .and_then(|rest| rest.split_once('/'))
            .ok_or_else(wrong)?;
        let chain = chain_id(chain).ok_or_else(wrong)?;
        match what.strip_prefix("erc20:") {
            Some(contract) if contract.starts_with("0x") => {
                Ok(Self::erc20(chain, contract.parse().map_err(|_| wrong())?))
            }
            None if what == "native" => Ok(Self::native(chain)),
            _ => Err(wrong()),
        }
    }
}

/// A chain id as decimal digits without sign or leading zeros.
pub(crate) fn chain_id(digits: &str) -> Option<u64> {
    let canonical = !digits.starts_with(['0', '+']);
    canonical.then(|| digits.parse().ok()).flatten()
}

impl Serialize for Asset {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Asset {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// An asset with what people call it and where its decimal point is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Parts")]
pub struct Token {
    asset: Asset,
    decimals: u8,
    symbol: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    asset: Asset,
    decimals: u8,
    symbol: String,
}

impl TryFrom<Parts> for Token {
    type Error = Error;

    fn try_from(parts: Parts) -> Result<Self, Error> {
        Self::new(parts.asset, parts.decimals, &parts.symbol)
    }
}

impl Token {
    /// An asset whose amounts have that many decimals.
    ///
    /// # Errors
    /// More than [`MAX_DECIMALS`], or a symbol that is empty, longer than [`MAX_SYMBOL_BYTES`] or
    /// has control characters.
    pub fn new(asset: Asset, decimals: u8, symbol: &str) -> Result<Self, Error> {
        if decimals > MAX_DECIMALS {
            return Err(Error::Decimals { given: decimals });
        }
        name(symbol, "a token's symbol", MAX_SYMBOL_BYTES)?;
        Ok(Self {
            asset,
            decimals,
            symbol: symbol.to_owned(),
        })
    }

    /// Which asset it is.
    #[must_use]
    pub fn asset(&self) -> Asset {
        self.asset
    }

    /// How many digits stand after the point.
    #[must_use]
    pub fn decimals(&self) -> u8 {
        self.decimals
    }

    /// What people call it. It says nothing about which token it is: anybody may name theirs so.
    #[must_use]
    pub fn symbol(&self) -> &str {
        &self.symbol
    }

    /// Reads an amount that a person wrote, such as `12.5`.
    ///
    /// # Errors
    /// Anything that is not exactly a number of base units.
    pub fn parse(&self, written: &str) -> Result<Amount, Error> {
        text::parse(written, self.decimals, &self.symbol).map(Amount)
    }

    /// Writes an amount with all its decimals, without the symbol.
    #[must_use]
    pub fn format(&self, amount: Amount) -> String {
        text::format(amount.0, self.decimals)
    }
}

/// What is shown beside money must not break a line or hide.
pub(super) fn name(text: &str, what: &'static str, most: usize) -> Result<(), Error> {
    let shown = !text.is_empty() && text.len() <= most && !text.chars().any(char::is_control);
    shown.then_some(()).ok_or(Error::Name { what, most })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_asset_is_read_as_it_is_written() {
        let token = Asset::erc20(8453, Address::repeat_byte(0xab));
        let text = token.to_string();
        assert_eq!(text, format!("eip155:8453/erc20:0x{}", "ab".repeat(20)));
        assert_eq!(text.parse(), Ok(token));
        assert_eq!("eip155:1/native".parse(), Ok(Asset::native(1)));
        let address = "ab".repeat(20);
        for wrong in [
            String::new(),
            "eip155:1".into(),
            "eip155:1/".into(),
            "eip155:01/native".into(),
            "eip155:+1/native".into(),
            "eip155:18446744073709551616/native".into(),
            "eip155:1/Native".into(),
            format!("eip155:1/erc20:{address}"),
            format!("eip155:1/erc20:0x{address}ab"),
            format!("solana:1/erc20:0x{address}"),
        ] {
            assert_eq!(wrong.parse::<Asset>(), Err(Error::Asset(wrong.clone())));
        }
    }

    #[test]
    fn a_token_keeps_its_bounds_in_json_too() {
        let json = r#"{"asset":"eip155:1/native","decimals":18,"symbol":"ETH"}"#;
        let ether: Token = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&ether).unwrap(), json);
        assert_eq!(
            ether.format(ether.parse("1.5").unwrap()),
            "1.500000000000000000"
        );
        for wrong in [
            r#"{"asset":"eip155:1/native","decimals":37,"symbol":"ETH"}"#,
            r#"{"asset":"eip155:1/native","decimals":18,"symbol":""}"#,
            r#"{"asset":"eip155:1/native","decimals":18,"symbol":"E\nH"}"#,
        ] {
            assert!(serde_json::from_str::<Token>(wrong).is_err(), "{wrong}");
        }
    }
}
