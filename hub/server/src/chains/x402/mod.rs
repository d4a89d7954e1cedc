//! What a tenant sells for single payments: x402, version 2.
//!
//! ```text
//! request without a payment ─────────────────────→ 402: what it costs
//! request with one → read, bounded → known? ─ yes ─┐
//!                       └ no → verified → chain asked → purchase kept
//!                                                   ├→ invoice → settlement ordered → waited for → answer
//! ```
//!
//! A purchase is an invoice whose id follows from tenant, chain, token, payer and nonce, so that the
//! same payment is one purchase however often it is shown. Each step is kept before the next and does
//! nothing when it is done again: wherever the hub was killed, the same request goes on from there.
//! Whether it is paid is what the chain's stream says of the invoice, and nothing else: not what the
//! settlement's sender believes.
//!
//! | file | what |
//! |---|---|
//! | [`offer`], [`price`] | what is sold, for how much, checked |
//! | [`purchase`] | what was bought, and its invoice |
//! | [`ask`] | what a chain says of a payment before it is taken |
//! | [`kept`] | a purchase as it is kept, and why there is none |
//! | [`sales`] | from a payment to a purchase that is settled |
//! | [`command`] | a payment for what a device shall do |
//! | [`step`] | one step of its charge after the other, kept and then done |
//! | [`answer`] | what a chain says of its money |
//! | [`owed`] | what payers have under way and have not paid |
//! | [`driver`] | goes on with charges, also after a restart |
//! | [`till`] | where invoices are made |

mod answer;
pub(crate) mod ask;
pub(crate) mod command;
pub(crate) mod driver;
pub(crate) mod kept;
pub(crate) mod offer;
mod owed;
pub(crate) mod price;
pub(crate) mod purchase;
pub(crate) mod sales;
mod step;
pub(crate) mod till;

pub(crate) use kept::{Kept, No};
pub(crate) use offer::{Offer, Sells, Served};
pub(crate) use purchase::{Bought, Purchase, Span};
pub(crate) use sales::Sales;
