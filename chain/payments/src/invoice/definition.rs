//! What is to be paid, how, and until when.

use std::collections::BTreeSet;

use alloy_primitives::{Address, B256};
use serde::{Deserialize, Serialize};
use stencil_protocol::id::TenantId;

use super::{Error, Id, Policy};
use crate::money::{Amount, Asset, Fiat, Rate, Token};
use crate::observation::Needs;

/// The most ways in which one invoice can be paid.
pub const MAX_METHODS: usize = 8;
/// The longest life of an invoice, and the longest window of a policy: 400 days in µs.
pub const MAX_SPAN_US: i64 = 400 * 86_400 * 1_000_000;

/// What something costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Price {
    /// An amount of a currency, converted at a rate that each method has locked.
    Fiat(Fiat),
    /// An amount of one asset.
    Token {
        /// Which.
        asset: Asset,
        /// How much, in base units.
        amount: Amount,
    },
}

/// How a payment is known to be this invoice's; see [`crate::matching`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// An EIP-3009 authorisation whose nonce follows from the invoice.
    Authorization,
    /// The payment contract, which names the invoice in its event.
    Contract(Address),
    /// An amount that no other open invoice has.
    UniqueAmount,
    /// An EIP-3009 authorisation whose nonce its payer has drawn, known before it is settled (x402).
    /// A nonce is a payer's own, so it names nothing without its payer.
    Nonce {
        /// Who has signed.
        payer: Address,
        /// What they have drawn.
        nonce: B256,
    },
    /// What the escrow contract releases of a hold.
    Hold {
        /// `StencilEscrow`.
        escrow: Address,
        /// Which hold.
        hold: B256,
        /// Whose money it is.
        payer: Address,
    },
}

/// One way in which an invoice can be paid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Method {
    /// What is paid with.
    pub token: Token,
    /// Who gets it.
    pub payee: Address,
    /// How payments are matched.
    pub way: Way,
    /// What is due if all of it is paid by this method, base units; what makes a unique amount
    /// unique included.
    pub due: Amount,
    /// The rate by which `due` was found; none where the price is in this token.
    pub rate: Option<Rate>,
    /// How deep a payment has to be before it counts.
    pub needs: Needs,
}

impl Method {
    /// A method whose due amount follows from a price: converted at `rate`, rounded up, where the
    /// price is in a currency, and the price itself where it is in this token.
    ///
    /// # Errors
    /// A price that this method can't be converted to.
    pub fn priced(
        price: &Price,
        token: Token,
        rate: Option<Rate>,
        payee: Address,
        way: Way,
        needs: Needs,
    ) -> Result<Self, Error> {
        let due = base(price, token.asset(), rate.as_ref())?;
        Ok(Self {
            token,
            payee,
            way,
            due,
            rate,
            needs,
        })
    }
}

/// What an asset's due amount is by price and rate alone.
fn base(price: &Price, asset: Asset, rate: Option<&Rate>) -> Result<Amount, Error> {
    match (price, rate) {
        (Price::Fiat(price), Some(rate)) if rate.asset() == asset => Ok(rate.due(price)?),
        (Price::Fiat(_), _) => Err(Error::NoRate(asset)),
        (
            Price::Token {
                asset: priced,
                amount,
            },
            None,
        ) if *priced == asset => Ok(*amount),
        (Price::Token { .. }, _) => Err(Error::OtherAsset(asset)),
    }
}

/// An invoice as it was made. It never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// Its name.
    pub id: Id,
    /// Whose it is.
    pub tenant: TenantId,
    /// What is to be paid.
    pub price: Price,
    /// How it may be paid, in the payee's order of preference. Parts may be paid by different ones.
    pub methods: Vec<Method>,
    /// When it was made, µs since the epoch.
    pub created_us: i64,
    /// Payments in blocks whose time is later than this are late, µs since the epoch.
    pub expires_us: i64,
    /// What is done with what is not exactly right.
    pub policy: Policy,
}

impl Definition {
    /// The EIP-155 ids of the chains on which it can be paid.
    #[must_use]
    pub fn chains(&self) -> BTreeSet<u64> {
        let of_methods = self.methods.iter();
        of_methods.map(|it| it.token.asset().chain).collect()
    }

    /// Whether it makes sense.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn validate(&self) -> Result<(), Error> {
        if self.methods.is_empty() || self.methods.len() > MAX_METHODS {
            return Err(Error::Methods(self.methods.len()));
        }
        let life = self.expires_us.saturating_sub(self.created_us);
        if self.created_us < 0 || !(1..=MAX_SPAN_US).contains(&life) {
            return Err(Error::Life);
        }
        self.policy.validate()?;
        for method in &self.methods {
            let asset = method.token.asset();
            let base = base(&self.price, asset, method.rate.as_ref())?;
            if method.due.is_zero() || !method.due.is_sane() {
                return Err(Error::Due(asset));
            }
            if method.due < base {
                return Err(Error::Undercut {
                    asset,
                    base,
                    due: method.due,
                });
            }
        }
        Ok(())
    }
}
