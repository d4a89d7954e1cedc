//! Which contract `stencil chain deploy` deploys, and with what.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use stencil_chain::deploy::Contract;
use stencil_ownership::cid::Cid;

use crate::chain::sending;

/// The longest name of a collection, in bytes.
const MAX_NAME: usize = 64;
/// The longest document of terms that is read, in bytes.
const MAX_TERMS: u64 = 16 << 20;
/// The highest royalty, in hundredths of a per cent.
const MAX_ROYALTY: i64 = 1_000;

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Which {
    /// Payments of invoices, passed on to one payee.
    Payments,
    /// Money that is held until a device has acted.
    Escrow,
    /// Passports of devices: who owns which.
    Passport,
    /// Rights to use a device for a time.
    AccessRight,
    /// Sales of passports and rights by signed listings.
    Market,
    /// Roots of data, in their order.
    Anchor,
    /// A dollar that anybody mints and that takes authorisations (EIP-3009), for dev chains alone.
    DevDollar,
}

/// What the constructor is told.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Who gets what is paid: an address that the tenant has the key of (`payments`).
    #[arg(long)]
    payee: Option<String>,
    /// Who names issuers, and is one: an address that the tenant has the key of (`passport`,
    /// `access-right`).
    #[arg(long)]
    administrator: Option<String>,
    /// The collection's name (`passport`, `access-right`).
    #[arg(long)]
    name: Option<String>,
    /// The collection's short name (`passport`, `access-right`).
    #[arg(long)]
    symbol: Option<String>,
    /// The part of each price of a sale that is a royalty, in hundredths of a per cent, at most 1000
    /// (`passport`).
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=MAX_ROYALTY))]
    royalty: Option<u16>,
    /// Who gets royalties (`passport`).
    #[arg(long)]
    royalty_to: Option<String>,
    /// The document that says what holders may do; its SHA-256 is kept in the contract
    /// (`access-right`).
    #[arg(long, value_name = "FILE")]
    terms: Option<PathBuf>,
}

impl Arguments {
    pub(super) fn contract(&self, which: Which) -> anyhow::Result<Contract> {
        self.refuse_others(which)?;
        Ok(match which {
            Which::Payments => Contract::Payments {
                payee: account("--payee", "who gets what is paid", self.payee.as_deref())?.into(),
            },
            Which::Escrow => Contract::Escrow,
            Which::Market => Contract::Market,
            Which::Anchor => Contract::Anchor,
            Which::DevDollar => Contract::DevDollar,
            Which::Passport => {
                let royalty_to = match (&self.royalty, &self.royalty_to) {
                    (None, None) => [0; 20],
                    (Some(_), Some(to)) => account("--royalty-to", "", Some(to))?,
                    _ => bail!("--royalty and --royalty-to go together: how much, and to whom"),
                };
                Contract::Passport {
                    name: self.text("--name", self.name.as_deref())?,
                    symbol: self.text("--symbol", self.symbol.as_deref())?,
                    administrator: self.administrator()?.into(),
                    royalty_to: royalty_to.into(),
                    royalty: self.royalty.unwrap_or(0),
                }
            }
            Which::AccessRight => Contract::AccessRight {
                name: self.text("--name", self.name.as_deref())?,
                symbol: self.text("--symbol", self.symbol.as_deref())?,
                administrator: self.administrator()?.into(),
                terms: self.terms()?.into(),
            },
        })
    }

    /// What is said and belongs to another contract was meant for something.
    fn refuse_others(&self, which: Which) -> anyhow::Result<()> {
        let collection = matches!(which, Which::Passport | Which::AccessRight);
        let passport = which == Which::Passport;
        for (name, is_there, fits, of) in [
            (
                "--payee",
                self.payee.is_some(),
                which == Which::Payments,
                "`payments`: in the escrow each hold names its own",
            ),
            (
                "--administrator",
                self.administrator.is_some(),
                collection,
                "`passport` and `access-right`: the others have nobody in charge",
            ),
            (
                "--name",
                self.name.is_some(),
                collection,
                "`passport` and `access-right`",
            ),
            (
                "--symbol",
                self.symbol.is_some(),
                collection,
                "`passport` and `access-right`",
            ),
            ("--royalty", self.royalty.is_some(), passport, "`passport`"),
            (
                "--royalty-to",
                self.royalty_to.is_some(),
                passport,
                "`passport`",
            ),
            (
                "--terms",
                self.terms.is_some(),
                which == Which::AccessRight,
                "`access-right`",
            ),
        ] {
            if is_there && !fits {
                bail!("{name} is for {of}");
            }
        }
        Ok(())
    }

    fn administrator(&self) -> anyhow::Result<[u8; 20]> {
        account(
            "--administrator",
            "who names issuers",
            self.administrator.as_deref(),
        )
    }

    fn text(&self, flag: &str, text: Option<&str>) -> anyhow::Result<String> {
        let text = text.with_context(|| format!("{flag} says what wallets show: it is missing"))?;
        if text.trim().is_empty() || text.len() > MAX_NAME || text.chars().any(char::is_control) {
            bail!("{flag} is 1 to {MAX_NAME} bytes without control characters");
        }
        Ok(text.to_owned())
    }

    fn terms(&self) -> anyhow::Result<[u8; 32]> {
        let path = self
            .terms
            .as_deref()
            .context("--terms FILE is the document that says what holders may do: it is missing")?;
        let size = std::fs::metadata(path)
            .with_context(|| format!("--terms {}", path.display()))?
            .len();
        if size == 0 || size > MAX_TERMS {
            bail!(
                "--terms {}: it has {size} bytes, not 1 to {MAX_TERMS}",
                path.display()
            );
        }
        let bytes = std::fs::read(path).with_context(|| format!("--terms {}", path.display()))?;
        Ok(Cid::of(&bytes).0.0)
    }
}

/// An address of somebody who has its key.
fn account(flag: &str, what: &str, text: Option<&str>) -> anyhow::Result<[u8; 20]> {
    let text = text.with_context(|| format!("{flag} says {what}: it is missing"))?;
    sending::account(flag, text)
}

/// The arguments as they were understood.
pub(super) fn shown(contract: &Contract) -> Value {
    match contract {
        Contract::Payments { payee } => json!({ "payee": payee.to_checksum(None) }),
        Contract::Passport {
            name,
            symbol,
            administrator,
            royalty_to,
            royalty,
        } => json!({
            "name": name,
            "symbol": symbol,
            "administrator": administrator.to_checksum(None),
            "royalty": royalty,
            "royalty_to": (*royalty > 0).then(|| royalty_to.to_checksum(None)),
        }),
        Contract::AccessRight {
            name,
            symbol,
            administrator,
            terms,
        } => json!({
            "name": name,
            "symbol": symbol,
            "administrator": administrator.to_checksum(None),
            "terms": terms.to_string(),
        }),
        Contract::Escrow | Contract::Market | Contract::Anchor | Contract::DevDollar => json!({}),
    }
}
