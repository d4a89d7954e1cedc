//! From the ingest log to state: decode → de-duplicate → points, latest values, rules → commit.
//!
//! Everything in here but the driver is pure. A record is decoded ([`decode`]); what must be
//! looked up for it is named ([`known`]) and fetched by the [`driver`]; then it is applied
//! ([`apply`]) to the [`State`], and what that changes gathers in [`changes`], while the commit
//! before it is on its way into the store ([`work`]). State, points and
//! log position go to the store in one transaction, so that after a crash the log is read from
//! exactly where the state is.

mod alarms;
mod announce;
mod apply;
mod changes;
mod decode;
mod driver;
mod intake;
mod known;
mod lookup;
mod numbered;
mod origin;
mod quarantine;
mod reading;
mod refused;
mod replay;
mod reports;
mod restore;
mod rollouts;
mod rules;
mod seals;
mod state;
mod streams;
mod unnumbered;
mod work;

#[cfg(test)]
mod tests;

pub(crate) use changes::Answer;
pub(crate) use driver::Driver;
pub use replay::{Found, Replay};
pub(crate) use restore::{Unlogged, restore, unasked, unlogged};
pub(crate) use state::State;
