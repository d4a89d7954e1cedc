//! An invoice as a tenant's programs see it.

use std::collections::BTreeMap;

use serde::Serialize;
use stencil_payments::invoice::{Definition, Facets, Invoice, Method, Payment, Price, Status, Way};
use stencil_payments::money::{Amount, Token};
use stencil_payments::observation::{Key, Needs};

use super::Chains;
use super::cashier::{At, word};
use super::settings::{self, WayName};

/// An amount in two forms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(crate) struct Shown {
    /// As people write it: decimal digits with a point, such as `2.500000`.
    pub(crate) amount: String,
    /// Base units of the token or minor units of the currency: decimal digits.
    pub(crate) units: String,
}

impl Shown {
    pub(crate) fn of(token: &Token, amount: Amount) -> Self {
        Self {
            amount: token.format(amount),
            units: amount.to_string(),
        }
    }
}

/// A token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(crate) struct TokenView {
    /// Which: `eip155:CHAIN/erc20:0x…`, or `eip155:CHAIN/native`.
    pub(crate) asset: String,
    /// What people call it.
    pub(crate) symbol: String,
    /// How many digits stand after the point.
    pub(crate) decimals: u8,
    /// Its contract; null for the chain's own coin.
    pub(crate) contract: Option<String>,
}

impl TokenView {
    pub(crate) fn of(token: &Token) -> Self {
        Self {
            asset: token.asset().to_string(),
            symbol: token.symbol().to_owned(),
            decimals: token.decimals(),
            contract: token.asset().contract.map(|it| it.to_checksum(None)),
        }
    }
}

/// What something costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(crate) struct PriceView {
    #[serde(flatten)]
    pub(crate) amount: Shown,
    /// The currency (ISO 4217); null where the price is in a token.
    pub(crate) currency: Option<String>,
    /// The token; null where the price is in a currency.
    pub(crate) token: Option<TokenView>,
}

/// One way in which an invoice can be paid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(crate) struct MethodView {
    /// `CHAIN/SYMBOL/WAY`.
    pub(crate) name: String,
    /// The chain's name in the hub's settings.
    pub(crate) chain: String,
    /// Its EIP-155 chain id.
    pub(crate) chain_id: u64,
    /// What is paid with.
    pub(crate) token: TokenView,
    /// How a payment is known to be the invoice's.
    pub(crate) way: String,
    /// Who is paid. It is missing at the checkout where the way can't be used now: nobody is to pay by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) payee: Option<String>,
    /// The payment contract, where there is one; missing at the checkout as `payee` is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) contract: Option<String>,
    /// What is due if all is paid by this method.
    pub(crate) due: Shown,
    /// What still has to come, if the rest is paid by this method.
    pub(crate) open: Shown,
    /// The rate that is locked: units of the currency for a whole token, as a fraction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rate: Option<RateView>,
    /// How many confirmations a payment needs; null: what the chain calls final.
    pub(crate) confirmations: Option<u32>,
}

/// A rate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(crate) struct RateView {
    /// The numerator.
    pub(crate) numerator: String,
    /// The denominator.
    pub(crate) denominator: String,
    /// Who gave it.
    pub(crate) source: String,
    /// When, µs since the epoch.
    pub(crate) at_us: i64,
}

/// A payment that the chain has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(crate) struct PaymentView {
    /// By which method.
    pub(crate) method: String,
    #[serde(flatten)]
    pub(crate) amount: Shown,
    /// Who paid.
    pub(crate) from: String,
    /// The transaction.
    pub(crate) tx: String,
    /// Which movement: `CHAIN:0xTRANSACTION:ORDINAL`.
    pub(crate) key: String,
    /// The block.
    pub(crate) block: u64,
    /// The block's time, seconds since the epoch.
    pub(crate) time_s: u64,
    /// Whether it is deep enough.
    pub(crate) counted: bool,
}

/// Money that goes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(crate) struct RefundView {
    /// Its name: 64 hexadecimal digits.
    pub(crate) id: String,
    /// In which method's token, from which method's payee.
    pub(crate) method: String,
    #[serde(flatten)]
    pub(crate) amount: Shown,
    /// `due`, `sent`, `confirmed` or `withdrawn`.
    pub(crate) status: String,
    /// Where it goes; null: nobody has said so yet.
    pub(crate) to: Option<String>,
    /// Who has said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) by: Option<String>,
    /// The transaction, once it is known.
    pub(crate) tx: Option<String>,
    /// That it was sent is the tenant's word: no chain has shown it. Left out where one has.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) unchecked: bool,
    /// Whether the hub's own account is the payee and sends it; `false`: the tenant sends it, and tells
    /// the transaction.
    pub(crate) managed: bool,
    /// How often it failed.
    pub(crate) failures: u32,
    /// Whether it can't be sent as things stand: the tenant's limits, what the account holds, or the
    /// address, which has to be said anew once sending it has failed twice.
    pub(crate) stuck: bool,
    /// Why, where that is known; null: it was sent, or waits for nothing. Of one that is `confirmed`, where one invoice
    /// is asked for: that a reorganisation deeper than what was final has taken its transaction away, which the hub
    /// sends again.
    pub(crate) waits: Option<String>,
}

/// An invoice.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub(crate) struct InvoiceView {
    /// Its id: 32 hexadecimal digits. Who has it can see the checkout.
    pub(crate) id: String,
    /// How often it was changed, from 1.
    pub(crate) version: u64,
    /// `new`, `seen`, `confirming`, `settled`, `expired` or `cancelled`.
    pub(crate) state: String,
    /// What else is to be said.
    #[schema(value_type = FacetsView)]
    pub(crate) facets: Facets,
    /// What it costs.
    pub(crate) price: PriceView,
    /// How it can be paid.
    pub(crate) methods: Vec<MethodView>,
    /// The payments that the chains have.
    pub(crate) payments: Vec<PaymentView>,
    /// What goes back.
    pub(crate) refunds: Vec<RefundView>,
    /// When it was made, µs since the epoch.
    pub(crate) created_us: i64,
    /// Payments in blocks whose time is later are late, µs since the epoch.
    pub(crate) expires_us: i64,
    /// When it last changed, µs since the epoch.
    pub(crate) changed_us: i64,
    /// What programs know it by.
    pub(crate) reference: Option<String>,
    /// What is bought.
    pub(crate) title: Option<String>,
    /// The same at length.
    pub(crate) description: Option<String>,
    /// What the tenant's programs want to find again.
    pub(crate) metadata: BTreeMap<String, String>,
    /// Where the payer goes afterwards.
    pub(crate) return_url: Option<String>,
    /// Where the payer pays.
    pub(crate) checkout_url: String,
    /// In the answer to who makes it: why payers may not be able to pay it as things stand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) warning: Option<String>,
}

/// What else is to be said of an invoice.
#[derive(Debug, utoipa::ToSchema)]
#[allow(
    dead_code,
    clippy::struct_excessive_bools,
    reason = "it describes `Facets`, field by field"
)]
pub(crate) struct FacetsView {
    /// Something has come, and less than what is enough.
    underpaid: bool,
    /// More has come than is due.
    overpaid: bool,
    /// Something has come after the expiry.
    late: bool,
    /// The time to pay is over.
    expired: bool,
    /// Something is to go back and is not confirmed.
    refund_due: bool,
    /// Something that is to go back can't be sent as things stand: somebody has to look after it.
    refund_stuck: bool,
    /// Something went back, and all of what was to.
    refunded: bool,
    /// More went back than has come: a reorganisation took away what was given back.
    over_refunded: bool,
    /// Somebody has to decide.
    undecided: bool,
    /// A rate for what came late is missing.
    rate_needed: bool,
}

impl InvoiceView {
    pub(crate) fn of(at: &At, chains: &Chains, public_url: &str) -> Self {
        let (invoice, about) = (&at.kept.invoice, &at.kept.about);
        let definition = invoice.definition();
        let refunds = invoice.refunds().iter().map(|refund| {
            let method = definition.methods.get(usize::from(refund.method));
            let to = about.refunds_to.get(&refund.id);
            RefundView {
                id: refund.id.to_string(),
                method: method.map(|it| name(it, chains)).unwrap_or_default(),
                amount: shown(method, refund.amount),
                status: status(refund.status()).to_owned(),
                to: to.map(|to| to.address.to_checksum(None)),
                by: to.map(|to| to.by.clone()),
                tx: refund.tx.map(|tx| format!("{tx:#x}")),
                unchecked: refund.unchecked,
                managed: method.is_some_and(|method| managed(method, chains)),
                failures: refund.failures,
                stuck: refund.stuck,
                waits: to
                    .and_then(|to| to.waits.as_ref())
                    .filter(|_| refund.stuck)
                    .map(|waits| waits.why.clone()),
            }
        });
        Self {
            id: definition.id.to_string(),
            version: at.version,
            state: word(invoice.state()).to_owned(),
            facets: invoice.facets(),
            price: price(definition),
            methods: methods(invoice, chains),
            payments: payments(invoice, chains),
            refunds: refunds.collect(),
            created_us: definition.created_us,
            expires_us: definition.expires_us,
            changed_us: at.changed_us,
            reference: about.reference.clone(),
            title: about.title.clone(),
            description: about.description.clone(),
            metadata: about.metadata.clone(),
            return_url: about.return_url.clone(),
            checkout_url: format!("{public_url}/pay/{}", definition.id),
            warning: None,
        }
    }
}

/// Whether the hub's own account is paid by a method, so that the hub can give back.
pub(crate) fn managed(method: &Method, chains: &Chains) -> bool {
    let chain = chains.by_id(method.token.asset().chain);
    chain.is_some_and(|chain| chain.account() == Some(method.payee))
}

pub(crate) fn status(status: Status) -> &'static str {
    match status {
        Status::Due => "due",
        Status::Sent => "sent",
        Status::Confirmed => "confirmed",
        Status::Withdrawn => "withdrawn",
    }
}

pub(crate) fn way(way: &Way) -> &'static str {
    match way {
        Way::Authorization => WayName::Authorization.as_str(),
        Way::Contract(_) => WayName::Contract.as_str(),
        Way::UniqueAmount => WayName::UniqueAmount.as_str(),
        Way::Nonce { .. } => "nonce",
        Way::Hold { .. } => "hold",
    }
}

/// `CHAIN/SYMBOL/WAY`; a chain that is no longer followed goes by its id.
pub(crate) fn name(method: &Method, chains: &Chains) -> String {
    let (chain, symbol) = (chain_name(method, chains), method.token.symbol());
    match &method.way {
        Way::Authorization => settings::name(&chain, symbol, WayName::Authorization),
        Way::Contract(_) => settings::name(&chain, symbol, WayName::Contract),
        Way::UniqueAmount => settings::name(&chain, symbol, WayName::UniqueAmount),
        other => format!("{chain}/{symbol}/{}", way(other)),
    }
}

fn chain_name(method: &Method, chains: &Chains) -> String {
    let id = method.token.asset().chain;
    let chain = chains.by_id(id);
    chain.map_or_else(|| format!("eip155:{id}"), |chain| chain.name().to_owned())
}

fn shown(method: Option<&Method>, amount: Amount) -> Shown {
    match method {
        Some(method) => Shown::of(&method.token, amount),
        None => Shown {
            amount: String::new(),
            units: amount.to_string(),
        },
    }
}

pub(crate) fn price(definition: &Definition) -> PriceView {
    match definition.price {
        Price::Fiat(fiat) => {
            let text = fiat.to_string();
            let amount = text.split(' ').next().unwrap_or_default().to_owned();
            PriceView {
                amount: Shown {
                    amount,
                    units: fiat.minor().to_string(),
                },
                currency: Some(fiat.currency().to_string()),
                token: None,
            }
        }
        Price::Token { asset, amount } => {
            let mut all = definition.methods.iter().map(|method| &method.token);
            let token = all.find(|token| token.asset() == asset);
            PriceView {
                amount: match token {
                    Some(token) => Shown::of(token, amount),
                    None => shown(None, amount),
                },
                currency: None,
                token: token.map(TokenView::of),
            }
        }
    }
}

pub(crate) fn methods(invoice: &Invoice, chains: &Chains) -> Vec<MethodView> {
    let all = (0_u16..).zip(&invoice.definition().methods);
    all.map(|(at, method)| {
        let open = invoice.open(at).unwrap_or_default();
        MethodView {
            name: name(method, chains),
            chain: chain_name(method, chains),
            chain_id: method.token.asset().chain,
            token: TokenView::of(&method.token),
            way: way(&method.way).to_owned(),
            payee: Some(method.payee.to_checksum(None)),
            contract: match method.way {
                Way::Contract(contract) => Some(contract.to_checksum(None)),
                Way::Hold { escrow, .. } => Some(escrow.to_checksum(None)),
                _ => None,
            },
            due: Shown::of(&method.token, method.due),
            open: Shown::of(&method.token, open),
            rate: method.rate.as_ref().map(|rate| {
                let (numerator, denominator) = rate.fraction();
                RateView {
                    numerator: numerator.to_string(),
                    denominator: denominator.to_string(),
                    source: rate.source().to_owned(),
                    at_us: rate.at_us(),
                }
            }),
            confirmations: match method.needs {
                Needs::Confirmations(wanted) => Some(wanted),
                Needs::Safe | Needs::Finalized => None,
            },
        }
    })
    .collect()
}

pub(crate) fn payments(invoice: &Invoice, chains: &Chains) -> Vec<PaymentView> {
    let firm: Vec<_> = invoice.firm_payments().map(|(key, _)| key).collect();
    let all = invoice.payments();
    all.map(|(key, payment)| one(invoice, chains, key, payment, firm.contains(&key)))
        .collect()
}

/// The payments that a reorganisation has taken out of their chains.
pub(crate) fn lost(invoice: &Invoice, chains: &Chains) -> Vec<PaymentView> {
    let all = invoice.lost_payments();
    all.map(|(key, payment)| one(invoice, chains, key, payment, false))
        .collect()
}

fn one(
    invoice: &Invoice,
    chains: &Chains,
    key: Key,
    payment: &Payment,
    counted: bool,
) -> PaymentView {
    let method = invoice
        .definition()
        .methods
        .get(usize::from(payment.method));
    PaymentView {
        method: method.map(|it| name(it, chains)).unwrap_or_default(),
        amount: shown(method, payment.amount),
        from: payment.from.to_checksum(None),
        tx: format!("{:#x}", key.tx),
        key: key.to_string(),
        block: payment.block.number,
        time_s: payment.block.time_s,
        counted,
    }
}
