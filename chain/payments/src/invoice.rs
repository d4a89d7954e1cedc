//! What is to be paid, and what came of it.
//!
//! An [`Invoice`] is a state machine. What is observed of chains, what time it is and what people
//! decide comes in as [`Event`]s; what is to be done about it comes out as [`Effect`]s, each named
//! by its cause.
//!
//! ```text
//! New ── something came ──→ Seen ── enough came ──→ Confirming ── deep enough ──→ Settled
//!  │                         │                          ↑                            │
//!  └──── time is over ───────┴────→ Expired             └──────── reorganisation ────┘
//! ```
//!
//! Where it stands follows from the facts alone: the payments of the canonical chain, the time up
//! to which blocks were read, the decisions, and what has gone back. It does not depend on the order
//! in which observations arrived. So a partial payment that is followed by the rest after the
//! expiry, and by too much, needs no state of its own; neither does a payment after a refund.
//!
//! # What always holds
//! - What counts is what the canonical chain says, each movement once.
//! - `Settled` and `Unsettled` alternate: never settled twice.
//! - Only money that is deep enough goes back, and never more of it than has come. Once a refund is
//!   [sent](Event::RefundSent) its money counts for nothing else; until then it can be withdrawn.
//! - The ledger's entries, summed up, are what the state says, and balance to the unit.
//! - A payment that counts finds a place: those that are next to nothing of the price have places of
//!   their own ([`MAX_SMALL`]), and so many of the others as there are places for come to all of it.
//!
//! # In favour of whom
//! Due amounts are rounded up, what is too much is rounded down: by less than a base unit.
//!
//! ```
//! use stencil_payments::invoice::*;
//! use stencil_payments::money::{Amount, Asset, Token};
//! use stencil_payments::observation::{Block, Key, Needs};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let token = Token::new(Asset::erc20(1, [1; 20].into()), 6, "USDC")?;
//! let price = Price::Token { asset: token.asset(), amount: token.parse("2.50")? };
//! let payee = [2; 20].into();
//! let needs = Needs::Confirmations(1);
//! let mut invoice = Invoice::new(Definition {
//!     id: Id([7; 16]),
//!     tenant: "acme".parse()?,
//!     price,
//!     methods: vec![Method::priced(&price, token, None, payee, Way::Authorization, needs)?],
//!     created_us: 0,
//!     expires_us: 900_000_000,
//!     policy: Policy::DEFAULT,
//! })?;
//! let payment = Payment {
//!     method: 0,
//!     amount: Amount::from(2_500_000_u64),
//!     from: [3; 20].into(),
//!     block: Block { number: 9, hash: [4; 32].into(), time_s: 60 },
//! };
//! let key = Key { chain: 1, tx: [5; 32].into(), ordinal: 0 };
//! let effects = invoice.apply(&Event::Credit { key, seq: 1, payment })?;
//! assert_eq!(invoice.state(), State::Settled);
//! assert!(effects.iter().any(|effect| effect.what == What::Settled { round: 1 }));
//! assert!(invoice.apply(&Event::Credit { key, seq: 1, payment })?.is_empty());
//! # Ok(()) }
//! ```

mod books;
mod coverage;
mod decide;
mod definition;
mod effect;
mod error;
mod event;
mod id;
mod policy;
pub mod refund;
mod settle;
mod shares;
mod state;
mod tally;
mod transition;

pub use definition::{Definition, MAX_METHODS, MAX_SPAN_US, Method, Price, Way};
pub use effect::{Effect, What};
pub use error::Error;
pub use event::{Decision, Event, Payment};
pub use id::{Id, NotAnId};
pub use policy::{Late, LateRate, Overpaid, Policy, Underpaid};
pub use refund::{Refund, Status};
pub use state::{Facets, State};
pub use transition::{Invoice, LAST_PLACES, MAX_CREDITS, MAX_SMALL};
