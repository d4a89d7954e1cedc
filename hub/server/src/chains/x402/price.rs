//! What an offer costs on a chain that the hub follows.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use stencil_payments::Address;
use stencil_payments::money::{Amount, Token};
use stencil_payments::port::Chain;
use stencil_payments::x402::Timing;

use crate::chains::Chains;
use crate::chains::known_contract::no_payee;

/// What it costs on one chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Price {
    /// The chain, by its name in the hub's settings.
    pub(crate) chain: String,
    /// The token's contract.
    pub(crate) token: String,
    /// How much, in the token's own decimals: `0.01`.
    pub(crate) amount: String,
    /// Who gets it.
    pub(crate) pay_to: String,
    /// Of a command that can be undone: how much one payer may have under way and unpaid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) loss_limit: Option<String>,
}

/// A price on a chain that the hub has.
#[derive(Clone)]
pub(crate) struct Priced {
    pub(crate) chain: Arc<dyn Chain>,
    pub(crate) token: Token,
    pub(crate) loss_limit: Option<Amount>,
    /// What a 402 says.
    pub(crate) way: stencil_payments::x402::Offer,
}

impl Price {
    /// # Errors
    /// Which field is wrong, and what would be right.
    pub(super) fn resolve(
        &self,
        chains: &Chains,
        timing: Timing,
    ) -> Result<Priced, (&'static str, String)> {
        let chain = chains.by_name(&self.chain).ok_or_else(|| {
            let known: Vec<_> = chains.iter().map(|chain| chain.name()).collect();
            let why = match &known[..] {
                [] => "the hub follows no chain: see `[chains]` in its settings".to_owned(),
                known => format!(
                    "the hub follows no chain `{}`, but {}",
                    self.chain.chars().take(64).collect::<String>(),
                    known.join(", ")
                ),
            };
            ("chain", why)
        })?;
        let token = address("token", &self.token).map_err(|why| ("token", why))?;
        let pay_to = address("pay_to", &self.pay_to).map_err(|why| ("pay_to", why))?;
        let nobody = match pay_to {
            _ if pay_to.is_zero() => Some("the zero address"),
            _ if pay_to == token => Some("the contract of the token itself"),
            _ => None,
        };
        if let Some(what) = nobody {
            let why = format!("`pay_to`: {}", no_payee(pay_to, what));
            return Err(("pay_to", why));
        }
        if chain.account().is_none() {
            let why = format!(
                "the hub has no account on chain `{}` that could settle a payment: set `account` in \
                 its settings of this chain",
                chain.name()
            );
            return Err(("chain", why));
        }
        chain.usable().map_err(|why| ("chain", why))?;
        let known = chain.tokens().iter();
        let known = known.filter(|known| known.domain.is_some());
        let mut known = known.map(|known| (known, known.token.asset().contract));
        let found = known.clone().find(|(_, contract)| *contract == Some(token));
        let Some((found, Some(domain))) = found.map(|(found, _)| (found, found.domain.clone()))
        else {
            let all: Vec<_> = known
                .by_ref()
                .map(|(known, contract)| {
                    let contract = contract.unwrap_or_default();
                    format!("{contract} ({})", known.token.symbol())
                })
                .collect();
            let why = format!(
                "token {token} is none that takes authorisations (EIP-3009) in the hub's settings of \
                 chain `{}`: {}",
                chain.name(),
                match &all[..] {
                    [] => "it has none".to_owned(),
                    all => format!("it has {}", all.join(", ")),
                }
            );
            return Err(("token", why));
        };
        let parse = |name: &'static str, text: &str| {
            let amount = found.token.parse(text);
            let amount = amount.map_err(|error| (name, format!("`{name}`: {error}")))?;
            if amount.is_zero() || !amount.is_sane() {
                let why = format!("`{name}` is more than nothing, and less than 2^192");
                return Err((name, why));
            }
            Ok(amount)
        };
        let amount = parse("amount", &self.amount)?;
        let loss_limit = self.loss_limit.as_deref();
        let loss_limit = loss_limit
            .map(|text| parse("loss_limit", text))
            .transpose()?;
        Ok(Priced {
            token: found.token.clone(),
            chain: Arc::clone(chain),
            loss_limit,
            way: stencil_payments::x402::Offer {
                domain,
                amount,
                pay_to,
                timing,
            },
        })
    }
}

/// An address, as 0x and 40 hexadecimal digits. In mixed case it has to be EIP-55's checksum, which
/// catches a mistyped one.
pub(crate) fn address(name: &str, text: &str) -> Result<Address, String> {
    let digits = text.strip_prefix("0x").unwrap_or_default();
    let parsed = (digits.len() == 40).then(|| text.parse::<Address>().ok());
    let Some(address) = parsed.flatten() else {
        let text: String = text.chars().take(60).collect();
        return Err(format!(
            "`{name}` is `{text}`, it has to be 0x and 40 hexadecimal digits"
        ));
    };
    let upper = digits.bytes().any(|byte| byte.is_ascii_uppercase());
    let lower = digits.bytes().any(|byte| byte.is_ascii_lowercase());
    if upper && lower && address.to_checksum(None) != text {
        return Err(format!(
            "`{name}`: the checksum (EIP-55) of `{text}` is wrong, so a digit may be; with these \
             digits it is {}",
            address.to_checksum(None)
        ));
    }
    Ok(address)
}
