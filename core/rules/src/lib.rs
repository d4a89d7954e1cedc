//! The rule engine: pure, deterministic, in event time.
//!
//! A rule says *when* something is worth acting on: "the temperature of any
//! `freezer-*` has been above −12 for three seconds". It knows no clock, no
//! store and no network: the caller feeds it samples in log order, and gets
//! [`Change`]s back. The same samples give the same changes on the hub, on a
//! gateway and in a backtest, however they were cut into batches and however
//! often the state was saved and loaded in between.
//!
//! ```
//! use stencil_protocol::id::{Boot, Seq};
//! use stencil_protocol::sample::Value;
//! use stencil_rules::{
//!     Bounds, Cause, Change, Condition, Engine, Finite, Level, Limit, Observation, Pattern, Rule, Threshold,
//! };
//!
//! let limit = Limit::Above(Finite::new(-12.0).unwrap());
//! let warm = Condition::Threshold(Threshold::new(Level::new(limit, None)?, 3_000_000)?);
//! let mut engine = Engine::new(Bounds::default());
//! engine.put("warm", Rule::new(Pattern::parse("freezer-*")?, Some("temperature"), warm)?)?;
//!
//! let mut changes = Vec::new();
//! for (seq, seconds, value) in [(1, 0, -18.0), (2, 1, -11.0), (3, 4, -9.0), (4, 5, -8.0), (5, 6, -15.0)] {
//!     let sample = Observation {
//!         device: "freezer-07",
//!         name: "temperature",
//!         time_us: seconds * 1_000_000,
//!         received_us: seconds * 1_000_000,
//!         value: Value::Number(value),
//!         unit: Some("degC"),
//!         cause: Cause::Numbered { boot: Boot(1), seq: Seq(seq) },
//!     };
//!     engine.observe(&sample, |_, _, change| changes.push(change));
//! }
//! let [Change::Fired(fired), Change::Cleared(cleared)] = changes[..] else { panic!() };
//! assert_eq!((fired.since_us, fired.at_us), (1_000_000, 4_000_000));
//! assert_eq!(cleared.at_us, 6_000_000);
//! # Ok::<(), stencil_rules::Error>(())
//! ```
//!
//! # What a threshold means
//! - Time is the sample's own (event time), in µs. The wall clock plays no part.
//! - A *run* begins with a sample beyond the limit, and ends with one that is no
//!   longer beyond `clear` (without `clear`: the limit). The rule fires at the
//!   first sample of a run whose time is at least the hold after the run's first
//!   sample; with a hold of zero that is the first sample itself. It fires once a
//!   run, and clears with the sample that ends a run in which it has fired.
//! - A sample older than the newest one seen is ignored: it neither starts
//!   nor ends a run. Samples of the same time count in the order of the log.
//! - Nothing fires in silence: a hold that elapses between two samples is
//!   seen at the second one.
//! - A number that is NaN or infinite cannot be expressed ([`Finite`]); texts
//!   are passed over.
//!
//! # Map
//! A [`Rule`] says which devices ([`Pattern`]), which samples, and a [`Condition`].
//! [`Engine`] holds all rules of a tenant with the state of each device, finds
//! those that a sample concerns, and bounds what they may cost.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod bounds;
mod cause;
mod change;
mod condition;
mod engine;
mod error;
mod finite;
mod index;
mod memory;
mod observation;
mod pattern;
mod rule;
mod states;
mod subject;

pub use bounds::{Bounds, Metrics};
pub use cause::Cause;
pub use change::{Change, Clearing, Firing};
pub use condition::{
    Absence, Aggregate, Condition, Expression, Level, Limit, MAX_EXPRESSION, MAX_HOLD_US,
    MAX_RATE_US, MAX_SILENCE_US, MAX_WINDOW_US, MIN_RATE_US, MIN_SILENCE_US, MIN_WINDOW_US, PANES,
    Rate, Threshold, Window,
};
pub use engine::Engine;
pub use error::Error;
pub use finite::Finite;
pub use observation::Observation;
pub use pattern::{MAX_PATTERN, MAX_STARS, Pattern};
pub use rule::{MAX_NAME, Rule};
pub use subject::SubjectId;
