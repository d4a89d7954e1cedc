//! What an operator sets of a chain that the hub follows and acts on.

use alloy_primitives::Address;
use serde::{Deserialize, Serialize};
use stencil_payments::eip712;
use stencil_payments::money::{Asset, Token};
use stencil_payments::port::{ForWallets, KnownToken};

use super::Account;
use crate::sender::Policy;
use crate::{Error, Settings};

/// Wei of a gwei.
const GWEI: u128 = 1_000_000_000;

/// A chain of the hub's settings: `[chains.NAME]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// How it is followed: chain id, endpoints, what is final.
    pub follow: crate::Options,
    /// The account from which the hub sends. Without one it only looks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<Account>,
    /// The most that a unit of gas may cost, in gwei. Default 500.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_fee_gwei: Option<u64>,
    /// The most that a tip may be, in gwei a unit of gas. Default 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tip_gwei: Option<u64>,
    /// `StencilPayments`, as `stencil chain deploy payments` tells its address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payments: Option<String>,
    /// `StencilEscrow`, as `stencil chain deploy escrow` tells its address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub escrow: Option<String>,
    /// `StencilAnchor`, as `stencil chain deploy anchor` tells its address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anchor: Option<String>,
    /// What a payer's wallet is told that does not know the chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wallet: Option<WalletOptions>,
    /// What payments are taken in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<TokenOptions>,
}

/// What a payer's wallet is told that does not know a chain (EIP-3085). The endpoints are for everybody:
/// none with a key in it, and none of the hub's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WalletOptions {
    /// What people call the chain: `Base`.
    pub name: String,
    /// Endpoints (JSON-RPC) that wallets may use, by `https`; by `http` on this machine only.
    pub rpc: Vec<String>,
    /// What the chain's own coin is called: `ETH`.
    pub coin: String,
    /// A block explorer's address, by `https`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explorer: Option<String>,
}

/// Decimals of every chain's own coin: what an EVM counts is wei (EIP-3085 has 18, too).
const COIN_DECIMALS: u8 = 18;

/// The most endpoints that a wallet is told.
const MAX_WALLET_RPC: usize = 4;

/// A token that payments are taken in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenOptions {
    /// What people call it: `USDC`.
    pub symbol: String,
    /// Its contract; without one it is the chain's own coin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// How many digits stand after the point; compared with what the contract says. The chain's own coin has 18.
    pub decimals: u8,
    /// Its EIP-712 domain, where it takes EIP-3009 authorisations; compared with the contract's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eip712: Option<Domain>,
}

/// Name and version of an EIP-712 domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Domain {
    /// Its name, such as `USD Coin`.
    pub name: String,
    /// Its version, such as `2`.
    pub version: String,
}

impl Options {
    /// How the chain called `name` is followed.
    pub(super) fn settle(&self, name: &str) -> Result<Settings, Error> {
        if self.follow.name.is_some() {
            let why = "is the name of the table `[chains.NAME]` already: leave it out";
            return Err(Error::setting("follow.name", why));
        }
        let follow = crate::Options {
            name: Some(name.to_owned()),
            ..self.follow.clone()
        };
        follow.settle()
    }

    pub(super) fn policy(&self) -> Policy {
        let usual = Policy::default();
        let gwei = |gwei: Option<u64>, usual| gwei.map_or(usual, |gwei| u128::from(gwei) * GWEI);
        Policy {
            most_fee_per_gas: gwei(self.max_fee_gwei, usual.most_fee_per_gas),
            most_tip_per_gas: gwei(self.max_tip_gwei, usual.most_tip_per_gas),
            ..usual
        }
    }

    pub(super) fn contract(
        &self,
        key: &'static str,
        text: Option<&str>,
    ) -> Result<Option<Address>, Error> {
        let address = text.map(crate::address).transpose();
        let address = address.map_err(|why| Error::setting(key, why))?;
        Ok(address.map(Address::from))
    }

    /// Whether the contracts are several ones: of what is paid through another contract nothing would be seen.
    pub(super) fn check_contracts(&self) -> Result<(), Error> {
        let all = [
            (
                "payments",
                self.contract("payments", self.payments.as_deref())?,
            ),
            ("escrow", self.contract("escrow", self.escrow.as_deref())?),
            ("anchor", self.contract("anchor", self.anchor.as_deref())?),
        ];
        for (at, (key, address)) in all.iter().enumerate() {
            let same = all[..at].iter().find(|(_, other)| other == address);
            if let (Some(address), Some((other, _))) = (address, same) {
                let why =
                    format!("{address:#x} is `{other}` already: each is a contract of its own");
                return Err(Error::setting(key, why));
            }
        }
        Ok(())
    }

    /// What wallets are told.
    pub(super) fn for_wallets(&self) -> Result<Option<ForWallets>, Error> {
        let Some(wallet) = &self.wallet else {
            return Ok(None);
        };
        let wrong = |key: &'static str, why: &str| Err(Error::setting(key, why));
        let is_name = |text: &str, most: usize| {
            (1..=most).contains(&text.chars().count()) && !text.chars().any(char::is_control)
        };
        if !is_name(&wallet.name, 64) {
            return wrong("wallet.name", "has 1 to 64 characters");
        }
        if !is_name(&wallet.coin, 6) || wallet.coin.chars().count() < 2 {
            return wrong("wallet.coin", "has 2 to 6 characters, as EIP-3085 has it");
        }
        if !(1..=MAX_WALLET_RPC).contains(&wallet.rpc.len()) {
            return wrong("wallet.rpc", "has 1 to 4 endpoints");
        }
        // Wallets refuse others, and a payer must not be sent to one.
        let is_safe = |text: &str| {
            let Ok(url) = url::Url::parse(text) else {
                return false;
            };
            let is_local = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
            let bare = url.username().is_empty() && url.password().is_none();
            bare && text.len() <= 2_048
                && (url.scheme() == "https" || (url.scheme() == "http" && is_local))
        };
        if !wallet.rpc.iter().all(|url| is_safe(url)) {
            let why = "each begins with https:// (or http://127.0.0.1), without a user";
            return wrong("wallet.rpc", why);
        }
        if !wallet.explorer.as_deref().is_none_or(is_safe) {
            return wrong("wallet.explorer", "begins with https://");
        }
        Ok(Some(ForWallets {
            name: wallet.name.clone(),
            rpc_urls: wallet.rpc.clone(),
            coin: wallet.coin.clone(),
            explorer: wallet.explorer.clone(),
        }))
    }

    /// The tokens as they are set.
    pub(super) fn known_tokens(&self, chain: u64) -> Result<Vec<KnownToken>, Error> {
        let mut known: Vec<KnownToken> = Vec::new();
        for given in &self.tokens {
            let contract = self.contract("tokens.address", given.address.as_deref())?;
            let asset = Asset { chain, contract };
            let same = |other: &KnownToken| {
                other.token.asset() == asset || other.token.symbol() == given.symbol
            };
            if known.iter().any(same) {
                let why = format!(
                    "{} is there twice, by its symbol or its address",
                    given.symbol
                );
                return Err(Error::setting("tokens", why));
            }
            // What an EVM counts of its own coin is wei, and no contract can be asked for it: with other decimals
            // all prices would be wrong by powers of ten.
            if contract.is_none() && given.decimals != COIN_DECIMALS {
                let why = format!(
                    "{} is the chain's own coin (it has no `address`) and has 18 decimals, as wallets count it: \
                     `decimals = {}` would make each price another; write 18",
                    given.symbol, given.decimals
                );
                return Err(Error::setting("tokens.decimals", why));
            }
            let token = Token::new(asset, given.decimals, &given.symbol);
            let token = token.map_err(|error| Error::setting("tokens", error.to_string()))?;
            let domain = match (&given.eip712, contract) {
                (None, _) => None,
                (Some(domain), Some(token)) => Some(eip712::Domain {
                    name: domain.name.clone(),
                    version: domain.version.clone(),
                    chain,
                    token,
                }),
                (Some(_), None) => {
                    let why = format!("{} is the chain's own coin, which has none", given.symbol);
                    return Err(Error::setting("tokens.eip712", why));
                }
            };
            known.push(KnownToken { token, domain });
        }
        Ok(known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(toml: &str) -> Result<Options, toml::de::Error> {
        toml::from_str(toml)
    }

    const LOCAL: &str = r#"
max_fee_gwei = 3
payments = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
account = { keystore = "a.json", password_file = "a.password" }
[follow]
chain_id = 31337
endpoints = ["http://127.0.0.1:8545"]
[wallet]
name = "Local"
rpc = ["http://127.0.0.1:8545"]
coin = "ETH"
[[tokens]]
symbol = "USDC"
address = "0xe7f1725E7734CE288F8367e1Bb143E90bb3F0512"
decimals = 6
eip712 = { name = "USD Coin", version = "2" }
[[tokens]]
symbol = "ETH"
decimals = 18
"#;

    #[test]
    fn a_chain_is_read_as_it_is_written() {
        let options = options(LOCAL).unwrap();
        assert_eq!(options.settle("local").unwrap().name, "local");
        assert_eq!(options.policy().most_fee_per_gas, 3_000_000_000);
        assert!(options.account.as_ref().unwrap().keystore.is_some());
        let tokens = options.known_tokens(31_337).unwrap();
        assert_eq!(tokens[0].domain.as_ref().unwrap().chain, 31_337);
        assert_eq!(tokens[1].token.asset(), Asset::native(31_337));
        let told = options.for_wallets().unwrap().unwrap();
        assert_eq!((told.name.as_str(), told.coin.as_str()), ("Local", "ETH"));
        assert_eq!(Options::default().for_wallets().unwrap(), None);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (from, to, expected) in [
            (
                "symbol = \"ETH\"",
                "symbol = \"USDC\"",
                "USDC is there twice",
            ),
            ("aa3\"", "aA3\"", "checksum"),
            (
                "decimals = 18",
                "decimals = 18\neip712 = { name = \"a\", version = \"1\" }",
                "own coin",
            ),
            ("decimals = 18", "decimals = 6", "has 18 decimals"),
            (
                "max_fee_gwei = 3",
                "escrow = \"0x5FbDB2315678afecb367f032d93F642f64180aa3\"",
                "is `payments` already",
            ),
            ("chain_id", "name = \"other\"\nchain_id", "leave it out"),
            (
                "rpc = [\"http://127.0.0.1:8545\"]",
                "rpc = [\"http://rpc.example\"]",
                "wallet.rpc",
            ),
            (
                "rpc = [\"http://127.0.0.1:8545\"]",
                "rpc = [\"https://me:secret@rpc.example\"]",
                "wallet.rpc",
            ),
            ("rpc = [\"http://127.0.0.1:8545\"]", "rpc = []", "1 to 4"),
            ("coin = \"ETH\"", "coin = \"E\"", "wallet.coin"),
            ("name = \"Local\"", "name = \"\"", "wallet.name"),
            (
                "coin = \"ETH\"",
                "coin = \"ETH\"\nexplorer = \"javascript:x\"",
                "wallet.explorer",
            ),
        ] {
            let options = options(&LOCAL.replace(from, to)).unwrap();
            let tried = options.settle("local").and_then(|settings| {
                options.check_contracts()?;
                options.for_wallets()?;
                options.known_tokens(settings.chain_id)
            });
            let error = tried.unwrap_err().to_string();
            assert!(error.contains(expected), "{to}: {error}");
        }
        assert!(options(&LOCAL.replace("decimals = 18", "decimal = 18")).is_err());
    }
}
