//! What a payer gets of what was paid: one document, one sequence of bytes.
//!
//! A receipt is JSON in the canonical form of RFC 8785 (JCS): keys in order, no spaces, and every
//! number a string, so that whoever holds it can hash what the hub hashes. It has an exact list of the
//! payments that were counted, with their transactions and blocks, and of what went back. It is not signed:
//! that a payment was made is what its chain shows, under its key.

use alloy_primitives::{Address, B256};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use stencil_protocol::id::TenantId;

use crate::invoice::{Id, Invoice, Price, State, Status};
use crate::money::{Amount, Asset, Rate};
use crate::observation::Key;

/// The form of receipts that this version writes.
pub const FORMAT: &str = "stencil-receipt/2";

/// Why there is no receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The invoice is not settled.
    #[error("there is a receipt once the invoice is settled")]
    NotSettled,
    /// A bug: it can't be written as JSON.
    #[error("the receipt can't be written")]
    Json,
}

// Fields stand in the order of their keys' bytes: that is what makes the form canonical.

/// A receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// [`FORMAT`].
    pub format: String,
    /// Which invoice.
    pub invoice: Id,
    /// What was counted, in the order of its blocks' times.
    pub payments: Vec<Paid>,
    /// What it cost.
    pub price: Cost,
    /// What goes back or went, in the order in which it was decided.
    pub refunds: Vec<Back>,
    /// The settlement that this is the receipt of: an `Unsettled` of this round voids it.
    pub round: String,
    /// When it was settled, µs since the epoch.
    pub settled_us: String,
    /// Whose invoice it was.
    pub tenant: TenantId,
}

/// A price as it stands in a receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// As people write it, such as `2.50`.
    pub amount: String,
    /// The code of a currency, or an asset.
    pub unit: String,
    /// The same in minor units of the currency, or in base units of the asset.
    pub units: String,
}

/// A payment in a receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Paid {
    /// How much arrived, as people write it.
    pub amount: String,
    /// In what.
    pub asset: Asset,
    /// The block.
    pub block: B256,
    /// The block's number.
    pub block_number: String,
    /// Who paid.
    pub from: Address,
    /// Which movement.
    pub key: Key,
    /// The rate, where the price is in a currency.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rate: Option<Quote>,
    /// When its block was made, seconds since the epoch.
    pub time_s: String,
    /// To whom.
    pub to: Address,
    /// How much arrived, base units.
    pub units: Amount,
}

/// A rate in a receipt: currency units a whole token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quote {
    /// When, µs since the epoch.
    pub at_us: String,
    /// The denominator.
    pub denominator: String,
    /// The numerator.
    pub numerator: String,
    /// Who gave it.
    pub source: String,
}

/// What goes back, in a receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Back {
    /// How much, as people write it.
    pub amount: String,
    /// In what.
    pub asset: Asset,
    /// Which refund.
    pub id: crate::cause::Key,
    /// Where it stands.
    pub status: Status,
    /// That it was sent is the tenant's word: no chain has shown it. Left out where one has.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub unchecked: bool,
    /// How much, base units.
    pub units: Amount,
}

impl Receipt {
    /// The receipt of a settled invoice, as of its last settlement.
    ///
    /// # Errors
    /// An invoice that is not settled.
    pub fn of(invoice: &Invoice) -> Result<Self, Error> {
        if invoice.state() != State::Settled {
            return Err(Error::NotSettled);
        }
        let definition = invoice.definition();
        let method = |at: u16| definition.methods.get(usize::from(at));
        let paid = |(key, payment): (Key, &crate::invoice::Payment)| {
            let method = method(payment.method)?;
            Some(Paid {
                amount: method.token.format(payment.amount),
                asset: method.token.asset(),
                block: payment.block.hash,
                block_number: payment.block.number.to_string(),
                from: payment.from,
                key,
                rate: method.rate.as_ref().map(Quote::of),
                time_s: payment.block.time_s.to_string(),
                to: method.payee,
                units: payment.amount,
            })
        };
        let back = |refund: &crate::invoice::Refund| {
            let token = &method(refund.method)?.token;
            let (id, status, units) = (refund.id, refund.status(), refund.amount);
            (status != Status::Withdrawn).then(|| Back {
                amount: token.format(units),
                asset: token.asset(),
                id,
                status,
                unchecked: refund.unchecked,
                units,
            })
        };
        let price = match definition.price {
            Price::Fiat(fiat) => Cost {
                amount: fiat.amount(),
                unit: fiat.currency().to_string(),
                units: fiat.minor().to_string(),
            },
            Price::Token { asset, amount } => {
                let mut tokens = definition.methods.iter().map(|method| &method.token);
                let token = tokens.find(|token| token.asset() == asset);
                Cost {
                    amount: token.map_or_else(|| amount.to_string(), |token| token.format(amount)),
                    unit: asset.to_string(),
                    units: amount.to_string(),
                }
            }
        };
        let mut counted: Vec<_> = invoice.firm_payments().collect();
        counted.sort_by_key(|(key, payment)| {
            let block = payment.block;
            (block.time_s, key.chain, block.number, *key)
        });
        let (round, settled_us) = invoice.settlement();
        Ok(Self {
            format: FORMAT.into(),
            invoice: definition.id,
            payments: counted.into_iter().filter_map(paid).collect(),
            price,
            refunds: invoice.refunds().iter().filter_map(back).collect(),
            round: round.to_string(),
            settled_us: settled_us.to_string(),
            tenant: definition.tenant.clone(),
        })
    }

    /// The bytes of the receipt.
    ///
    /// # Errors
    /// None but a bug.
    pub fn bytes(&self) -> Result<Vec<u8>, Error> {
        serde_json::to_vec(self).map_err(|_| Error::Json)
    }

    /// The SHA-256 of its bytes.
    ///
    /// # Errors
    /// None but a bug.
    pub fn digest(&self) -> Result<[u8; 32], Error> {
        Ok(Sha256::digest(self.bytes()?).into())
    }
}

impl Quote {
    fn of(rate: &Rate) -> Self {
        let (numerator, denominator) = rate.fraction();
        Self {
            at_us: rate.at_us().to_string(),
            denominator: denominator.to_string(),
            numerator: numerator.to_string(),
            source: rate.source().to_owned(),
        }
    }
}
