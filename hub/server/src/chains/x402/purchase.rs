//! What was bought, and the invoice that it is.

use serde::{Deserialize, Serialize};
use stencil_payments::cause::Key;
use stencil_payments::invoice::{
    Definition, Id, Invoice, Late, Method, Overpaid, Policy, Price, State, Underpaid, Way,
};
use stencil_payments::money::{Amount, Token};
use stencil_payments::observation::Needs;
use stencil_payments::x402::charge::Charge;
use stencil_payments::{Address, B256, Bytes};
use stencil_protocol::id::{DeviceId, TenantId};
use stencil_protocol::sample::OwnedValue;
use stencil_store::{StoredInvoice, StoredPurchase};

use super::offer::Undo;

/// What was bought, as far as the payment binds it: the same payment opens nothing else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Bought {
    /// A span of a series.
    Series {
        /// Whose.
        device: DeviceId,
        /// Which series.
        name: String,
        /// What the request named, which may be nothing.
        asked: Span,
        /// From this event time on, µs since the epoch.
        from_us: i64,
        /// Up to, but not with, this event time.
        to_us: i64,
    },
    /// The answer of an endpoint.
    Endpoint {
        /// Its path.
        path: String,
    },
    /// That a device does something.
    Command {
        /// Which device.
        device: DeviceId,
        /// What it does.
        name: String,
        /// With what.
        argument: Option<OwnedValue>,
        /// What undoes it.
        undo: Option<Undo>,
    },
}

/// Money that the escrow contract holds, or is to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Held {
    /// The contract.
    pub(crate) escrow: Address,
    /// Which hold.
    pub(crate) hold: B256,
    /// From when on it can only be given back, seconds since the epoch.
    pub(crate) deadline_s: u64,
    /// The input of the transaction that pays it to the payee.
    pub(crate) release: Bytes,
    /// The input of the transaction that gives it back.
    pub(crate) refund: Bytes,
}

/// A span as a request names it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Span {
    /// From this event time on, µs since the epoch.
    pub(crate) from_us: Option<i64>,
    /// Up to, but not with, this event time.
    pub(crate) to_us: Option<i64>,
}

/// A purchase. In the store it is JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Purchase {
    /// What was bought.
    pub(crate) bought: Bought,
    /// On which chain it is paid, by its name here.
    pub(crate) chain: String,
    /// In what.
    pub(crate) token: Token,
    /// How much.
    pub(crate) amount: Amount,
    /// Who gets it.
    pub(crate) pay_to: Address,
    /// Who pays.
    pub(crate) payer: Address,
    /// The nonce that the payer has drawn.
    pub(crate) nonce: B256,
    /// Until when the authorisation holds, seconds since the epoch.
    pub(crate) valid_before_s: u64,
    /// Names the payment to its last byte.
    pub(crate) fingerprint: Key,
    /// The contract that settles it: the token, or the escrow that holds it.
    pub(crate) to: Address,
    /// The input of the transaction to that.
    pub(crate) call_data: Bytes,
    /// How much gas that takes at most.
    pub(crate) gas: u64,
    /// How deep it has to be.
    pub(crate) needs: Needs,
    /// For how long a request waits for that, seconds.
    pub(crate) settle_s: u64,
    /// For how long it is answered again, seconds.
    pub(crate) repeat_s: u64,
    /// When it was answered first, µs since the epoch.
    pub(crate) answered_us: Option<i64>,
    /// Of what a device does: money that is held, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) held: Option<Held>,
    /// Of what a device does: where its charge stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) charge: Option<Charge>,
    /// How often a settlement has failed for good and was ordered anew.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) attempt: u32,
    /// The block that was the newest when the escrow was first seen to have the hold, as long as it had it at each look
    /// since; noted only where nobody says how the escrow was at a block that is as deep as the hold has to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) held_by: Option<u64>,
    /// Whether its invoice was called off, since nothing was done.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) called_off: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Bought {
    /// Whether this is what was bought: the same, whenever it is asked for.
    pub(crate) fn is(&self, asked: &Self) -> bool {
        match (self, asked) {
            (
                Self::Series {
                    device,
                    name,
                    asked: span,
                    ..
                },
                Self::Series {
                    device: other,
                    name: its,
                    asked: other_span,
                    ..
                },
            ) => device == other && name == its && span == other_span,
            (
                Self::Command {
                    device,
                    name,
                    argument,
                    ..
                },
                Self::Command {
                    device: other,
                    name: its,
                    argument: with,
                    ..
                },
            ) => device == other && name == its && argument == with,
            (one, other) => one == other,
        }
    }
}

impl Purchase {
    /// Reads what is kept.
    pub(crate) fn read(stored: &StoredPurchase) -> Result<Self, stencil_store::Error> {
        serde_json::from_str(&stored.body).map_err(|error| corrupt("purchase", &error))
    }

    /// As it is kept.
    pub(crate) fn body(&self) -> String {
        serde_json::json!(self).to_string()
    }

    /// The chain in the form of CAIP-2.
    pub(crate) fn network(&self) -> String {
        format!("eip155:{}", self.token.asset().chain)
    }

    /// The invoice that it is. What comes is exact or nothing: a token that takes a fee of each
    /// transfer does not pay it.
    pub(crate) fn definition(
        &self,
        id: Id,
        tenant: &TenantId,
        created_us: i64,
    ) -> Result<Definition, stencil_payments::invoice::Error> {
        let price = Price::Token {
            asset: self.token.asset(),
            amount: self.amount,
        };
        let payer = self.payer;
        let (way, until_s) = match &self.held {
            None => {
                let nonce = self.nonce;
                (Way::Nonce { payer, nonce }, self.valid_before_s)
            }
            Some(Held {
                escrow,
                hold,
                deadline_s,
                ..
            }) => {
                let (escrow, hold) = (*escrow, *hold);
                let way = Way::Hold {
                    escrow,
                    hold,
                    payer,
                };
                (way, *deadline_s)
            }
        };
        let token = self.token.clone();
        let method = Method::priced(&price, token, None, self.pay_to, way, self.needs)?;
        let expires_us = i64::try_from(until_s.saturating_mul(1_000_000));
        Ok(Definition {
            id,
            tenant: tenant.clone(),
            price,
            methods: vec![method],
            created_us,
            expires_us: expires_us.unwrap_or(i64::MAX),
            policy: Policy {
                tolerance_bps: 0,
                underpaid: Underpaid::Refund,
                overpaid: Overpaid::Keep,
                late: Late::Refund,
                grace_us: Policy::DEFAULT.grace_us,
            },
        })
    }
}

/// Where a purchase's invoice stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paid {
    /// Nothing has come.
    Nothing,
    /// Something has come, and is not deep enough.
    Confirming,
    /// Less has come than was signed: the token takes a fee.
    Short {
        /// How much came, base units.
        came: Amount,
    },
    /// It is paid, by this transaction.
    Firm {
        /// Which transaction.
        tx: B256,
    },
}

/// Reads where an invoice stands.
pub(crate) fn paid(stored: &StoredInvoice) -> Result<Paid, stencil_store::Error> {
    #[derive(Deserialize)]
    struct Body {
        invoice: Invoice,
    }
    let Body { invoice } =
        serde_json::from_str(&stored.body).map_err(|error| corrupt("invoice", &error))?;
    let first = invoice.firm_payments().next();
    Ok(match (invoice.state(), first) {
        (State::Settled, Some((key, _))) => Paid::Firm { tx: key.tx },
        _ if invoice.payments().next().is_none() => Paid::Nothing,
        _ if invoice.facets().underpaid => Paid::Short {
            came: invoice.payments().map(|(_, payment)| payment.amount).sum(),
        },
        _ => Paid::Confirming,
    })
}

fn corrupt(what: &'static str, error: &serde_json::Error) -> stencil_store::Error {
    stencil_store::Error::Corrupt {
        what,
        why: error.to_string(),
    }
}
