//! How a tenant takes payments: by which ways, at which addresses, and what it does with what is not
//! exactly right.

mod check;
mod methods;
mod resolve;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use stencil_payments::Address;
use stencil_payments::invoice::{Late, LateRate, MAX_METHODS, Overpaid, Policy, Underpaid, Way};
use stencil_payments::matching::PaidTo;
use stencil_payments::money::Token;
use stencil_payments::observation::Needs;
use stencil_payments::port::Chain;

use super::Chains;

/// The most ways to pay that a tenant can set: as many as one invoice may have.
pub(crate) const MAX_WAYS: usize = MAX_METHODS;
/// The longest life of an invoice, in seconds: 30 days.
pub(crate) const MAX_EXPIRES_S: u32 = 30 * 86_400;
/// The shortest.
pub(crate) const MIN_EXPIRES_S: u32 = 30;
/// Windows of a policy, in seconds: 90 days.
const MAX_WINDOW_S: u32 = 90 * 86_400;
/// The deepest that a payment can be asked to be.
const MAX_CONFIRMATIONS: u32 = 10_000;

/// How a tenant takes payments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PaymentSettings {
    /// Ways to pay, in the order in which payers are shown them.
    #[serde(default)]
    #[schema(max_items = 8)]
    pub(crate) methods: Vec<WayToPay>,
    /// What is done with what is not exactly right.
    #[serde(default)]
    pub(crate) policy: PolicySettings,
    /// For how long an invoice can be paid that says nothing else, in seconds.
    #[serde(default = "default_expires_s")]
    #[schema(minimum = 30, maximum = 2_592_000)]
    pub(crate) expires_s: u32,
    /// Where changes of invoices are told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) webhook: Option<WebhookSettings>,
}

/// Where changes of invoices are told: a POST by Standard Webhooks, signed with a secret of the hub's
/// settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WebhookSettings {
    /// The address.
    #[schema(min_length = 8, max_length = 2_048)]
    pub(crate) url: String,
    /// The name of the tenant's secret in the hub's settings.
    #[schema(min_length = 1, max_length = 64)]
    pub(crate) secret: String,
}

/// A way to pay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WayToPay {
    /// The chain's name in the hub's settings.
    #[schema(min_length = 1, max_length = 64)]
    pub(crate) chain: String,
    /// The token: its symbol, its contract (`0x…`), or `native` for the chain's own coin.
    #[schema(min_length = 1, max_length = 64)]
    pub(crate) token: String,
    /// How a payment is known to be an invoice's.
    pub(crate) way: WayName,
    /// The address that is paid (`0x…`). It takes payments of this tenant only.
    #[schema(min_length = 42, max_length = 42)]
    pub(crate) payee: String,
    /// The payment contract whose payee that is, for the way `contract`; the one of the hub's settings if
    /// it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 42, max_length = 42)]
    pub(crate) contract: Option<String>,
    /// What the chain's own coin is called where the hub's settings don't say so; `ETH` if it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 32)]
    pub(crate) symbol: Option<String>,
    /// How many confirmations a payment needs before it counts; what the chain calls final if it is not
    /// given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 10_000)]
    pub(crate) confirmations: Option<u32>,
}

/// How a payment is known to be an invoice's.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WayName {
    /// The payer signs an EIP-3009 authorisation; the hub brings it, and pays for the gas.
    Authorization,
    /// The payer pays through the payment contract, which names the invoice.
    Contract,
    /// The payer sends exactly the amount, which no other open invoice has.
    UniqueAmount,
}

impl WayName {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Authorization => "authorization",
            Self::Contract => "contract",
            Self::UniqueAmount => "unique_amount",
        }
    }
}

/// What is done with what is not exactly right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PolicySettings {
    /// So much less than the price, in parts of ten thousand, still is the price.
    #[schema(minimum = 0, maximum = 9_999)]
    pub(crate) tolerance_bps: u16,
    /// Less than that, when the time is over.
    pub(crate) underpaid: UnderpaidName,
    /// Too much.
    pub(crate) overpaid: OverpaidName,
    /// The least excess that is given back, in parts of ten thousand of the price.
    #[schema(minimum = 0, maximum = 10_000)]
    pub(crate) overpaid_least_bps: u16,
    /// What comes after the time.
    pub(crate) late: LateName,
    /// How much later is accepted, in seconds.
    #[schema(minimum = 0, maximum = 7_776_000)]
    pub(crate) late_within_s: u32,
    /// By which rate what is late counts.
    pub(crate) late_rate: RateName,
    /// How long to wait before something is given back or the invoice has expired, in seconds.
    #[schema(minimum = 0, maximum = 7_776_000)]
    pub(crate) grace_s: u32,
}

/// Less than the price, when the time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum UnderpaidName {
    /// It goes back.
    Refund,
    /// Somebody decides.
    Ask,
}

/// More than the price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OverpaidName {
    /// The excess goes back.
    Refund,
    /// It is kept.
    Keep,
}

/// After the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LateName {
    /// It goes back.
    Refund,
    /// Somebody decides.
    Ask,
    /// It counts.
    Accept,
}

/// By which rate what is late counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RateName {
    /// By that of the invoice.
    Locked,
    /// By that of then.
    New,
}

impl Default for PolicySettings {
    /// [`Policy::DEFAULT`].
    fn default() -> Self {
        Self {
            tolerance_bps: 50,
            underpaid: UnderpaidName::Refund,
            overpaid: OverpaidName::Refund,
            overpaid_least_bps: 100,
            late: LateName::Refund,
            late_within_s: 0,
            late_rate: RateName::Locked,
            grace_s: 120,
        }
    }
}

impl Default for PaymentSettings {
    fn default() -> Self {
        Self {
            methods: Vec::new(),
            policy: PolicySettings::default(),
            expires_s: default_expires_s(),
            webhook: None,
        }
    }
}

fn default_expires_s() -> u32 {
    900
}

/// What is wrong with settings, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// A JSON pointer.
    pub(crate) pointer: String,
    /// What is wrong, and what would be right.
    pub(crate) why: String,
    /// It can't be known now.
    pub(crate) unknown: bool,
}

impl Wrong {
    pub(crate) fn at(pointer: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            why: why.into(),
            unknown: false,
        }
    }

    fn unknown(pointer: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            unknown: true,
            ..Self::at(pointer, why)
        }
    }
}

/// A way to pay as it comes out over the hub's chains.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    /// `CHAIN/SYMBOL/WAY`.
    pub(crate) name: String,
    pub(crate) token: Token,
    pub(crate) payee: Address,
    pub(crate) way: Way,
    pub(crate) needs: Needs,
}

impl PaymentSettings {
    pub(crate) fn read(body: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(body)
    }

    /// The policy of new invoices.
    pub(crate) fn policy(&self) -> Policy {
        let policy = &self.policy;
        Policy {
            tolerance_bps: policy.tolerance_bps,
            underpaid: match policy.underpaid {
                UnderpaidName::Refund => Underpaid::Refund,
                UnderpaidName::Ask => Underpaid::Ask,
            },
            overpaid: match policy.overpaid {
                OverpaidName::Keep => Overpaid::Keep,
                OverpaidName::Refund => Overpaid::Refund {
                    least_bps: policy.overpaid_least_bps,
                },
            },
            late: match policy.late {
                LateName::Refund => Late::Refund,
                LateName::Ask => Late::Ask,
                LateName::Accept => Late::Accept {
                    within_us: i64::from(policy.late_within_s) * 1_000_000,
                    rate: match policy.late_rate {
                        RateName::Locked => LateRate::Locked,
                        RateName::New => LateRate::New,
                    },
                },
            },
            grace_us: i64::from(policy.grace_s) * 1_000_000,
        }
    }

    /// The ways to pay, over these chains; what of them can't be had is left out.
    pub(crate) fn ways(&self, chains: &Chains) -> Vec<Resolved> {
        let all = self.methods.iter();
        all.filter_map(|method| method.resolve(chains).ok())
            .collect()
    }

    /// Where money comes to.
    pub(crate) fn places(&self, chains: &Chains) -> BTreeSet<PaidTo> {
        let mut places = BTreeSet::new();
        for way in self.ways(chains) {
            let asset = way.token.asset();
            if let Way::Contract(contract) = way.way {
                places.insert(PaidTo::Contract(asset.chain, contract));
            }
            places.insert(PaidTo::Payee(asset, way.payee));
        }
        places
    }

    /// Its addresses, by their chains' ids: no other tenant can have them.
    pub(crate) fn payees(&self, chains: &Chains) -> Vec<(u64, [u8; 20])> {
        let places = self.places(chains).into_iter().map(|place| match place {
            PaidTo::Payee(asset, payee) => (asset.chain, payee.0.0),
            PaidTo::Contract(chain, contract) => (chain, contract.0.0),
        });
        let unique: BTreeSet<_> = places.collect();
        unique.into_iter().collect()
    }
}

/// Whether an invoice can live that long.
pub(crate) fn check_expires(seconds: u32) -> Result<(), String> {
    if (MIN_EXPIRES_S..=MAX_EXPIRES_S).contains(&seconds) {
        Ok(())
    } else {
        Err(format!(
            "{seconds} s: {MIN_EXPIRES_S} to {MAX_EXPIRES_S} s are right"
        ))
    }
}

/// What a way to pay is called.
pub(crate) fn name(chain: &str, symbol: &str, way: WayName) -> String {
    format!("{chain}/{symbol}/{}", way.as_str())
}

/// A token of a chain by its symbol or its contract.
pub(crate) fn named_token(chain: &dyn Chain, name: &str) -> Result<Token, String> {
    let by_address = name.parse::<Address>().ok();
    let mut found = chain.tokens().iter().filter(|known| match by_address {
        Some(address) => known.token.asset().contract == Some(address),
        None => known.token.symbol() == name,
    });
    match (found.next(), found.next()) {
        (Some(known), None) => Ok(known.token.clone()),
        (Some(_), Some(_)) => {
            Err("several tokens are called so: say which by its contract (`0x…`)".to_owned())
        }
        (None, _) => {
            let names: Vec<_> = chain
                .tokens()
                .iter()
                .map(|known| format!("`{}`", known.token.symbol()))
                .chain(["`native`".to_owned()])
                .collect();
            Err(format!(
                "payments on {} are not taken in it; the hub's settings know {}",
                chain.name(),
                names.join(", ")
            ))
        }
    }
}

/// Reads an address. One in letters of both sizes has a checksum (EIP-55), which has to be right.
pub(crate) fn address(text: &str) -> Result<Address, String> {
    let digits = text.strip_prefix("0x").unwrap_or_default();
    if digits.len() != 40 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err("an address is 0x and 40 hexadecimal digits".to_owned());
    }
    let address: Address = text
        .parse()
        .map_err(|_| "an address is 0x and 40 hexadecimal digits".to_owned())?;
    let mixed = digits.bytes().any(|byte| byte.is_ascii_uppercase())
        && digits.bytes().any(|byte| byte.is_ascii_lowercase());
    if mixed && address.to_checksum(None) != text {
        return Err("the checksum of the address (EIP-55) is wrong: a digit is".to_owned());
    }
    if address.is_zero() {
        return Err("the zero address is nobody's: name another one".to_owned());
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_that_of_the_rules() {
        assert_eq!(PaymentSettings::default().policy(), Policy::DEFAULT);
        let read = PaymentSettings::read("{}").unwrap();
        assert_eq!(read, PaymentSettings::default());
    }

    #[test]
    fn an_address_with_a_wrong_checksum_is_refused() {
        let right = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed";
        assert!(address(right).is_ok());
        assert!(address(&right.to_lowercase()).is_ok());
        assert!(address("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD").is_err());
        for wrong in ["", "0x", "5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "0x12"] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
        assert!(address(&format!("0x{}", "0".repeat(40))).is_err());
    }
}
