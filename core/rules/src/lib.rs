//! The rule engine: pure, deterministic, in event time.
//!
//! A rule says *when* something is worth acting on: "the temperature of any
//! `freezer-*` has been above −12 for three seconds". It knows no clock, no
//! store and no network: the caller feeds it samples in log order, and gets
//! [`Firing`]s back. The same samples give the same firings on the hub, on a
//! gateway and in a backtest, however they were cut into batches and however
//! often the state was saved and loaded in between.
//!
//! ```
//! use stencil_rules::{Cause, Condition, Finite, State, Threshold};
//! use stencil_protocol::id::{Boot, Seq};
//!
//! let warm = Threshold::new("temperature", Condition::Above(Finite::new(-12.0).unwrap()), 3_000_000)?;
//! let mut state = State::default();
//! let mut fired = Vec::new();
//! for (seq, seconds, value) in [(1, 0, -18.0), (2, 1, -11.0), (3, 2, -10.5), (4, 4, -9.0), (5, 5, -8.0)] {
//!     let cause = Cause::Numbered { boot: Boot(1), seq: Seq(seq) };
//!     let value = Finite::new(value).unwrap();
//!     fired.extend(state.apply(&warm, seconds * 1_000_000, value, cause));
//! }
//! assert_eq!(fired.len(), 1, "it fires once in a run of true samples");
//! assert_eq!((fired[0].since_us, fired[0].at_us), (1_000_000, 4_000_000));
//! # Ok::<(), stencil_rules::Error>(())
//! ```
//!
//! # What a threshold means
//! - Time is the sample's own (event time), in µs. The wall clock plays no part.
//! - A *run* is an unbroken sequence of samples for which the condition is
//!   true. The rule fires at the first sample of a run whose time is at least
//!   `hold_us` after the run's first sample; with a hold of zero that is the
//!   first sample itself. It fires once a run, and is armed again by a sample
//!   for which the condition is false.
//! - A sample older than the newest one seen is ignored: it neither starts
//!   nor ends a run. Samples of the same time count in the order of the log.
//! - Nothing fires in silence: a hold that elapses between two samples is
//!   seen at the second one.
//! - A number that is NaN or infinite cannot be expressed ([`Finite`]).
//!
//! # Map
//! [`Threshold`] and [`State`] are one rule on one device. [`Engine`] holds all
//! rules of a tenant with the state of each device, finds those that a sample
//! concerns, and bounds what they may cost. [`Pattern`] says which devices.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod cause;
mod engine;
mod finite;
mod pattern;
mod state;
mod threshold;

pub use cause::Cause;
pub use engine::{Bounds, Engine, Metrics, Observation, Rule};
pub use finite::Finite;
pub use pattern::{MAX_PATTERN, MAX_STARS, Pattern};
pub use state::{Firing, State};
pub use threshold::{Condition, MAX_HOLD_US, MAX_NAME, Threshold};

/// Why a rule, or its saved state, was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The name of the sample is empty, too long, or holds control characters.
    #[error("the sample name {name:?} must be 1 to {MAX_NAME} bytes without control characters")]
    Name {
        /// What was given.
        name: String,
    },
    /// The hold time is negative or longer than [`MAX_HOLD_US`].
    #[error("a hold of {hold_us} µs is not between 0 and {MAX_HOLD_US} µs (30 days)")]
    Hold {
        /// What was given, in µs.
        hold_us: i64,
    },
    /// The device pattern is empty, too long, or has too many stars.
    #[error(
        "the device pattern {pattern:?} must be 1 to {MAX_PATTERN} characters with at most {MAX_STARS} '*'"
    )]
    PatternSize {
        /// What was given.
        pattern: String,
    },
    /// The device pattern holds a character that no device id can hold.
    #[error(
        "the device pattern {pattern:?} holds {found:?} at character {at}: letters, digits, '.', '_', '-', '*' and '?' are allowed"
    )]
    PatternCharacter {
        /// What was given.
        pattern: String,
        /// The character that is not allowed.
        found: char,
        /// Its place, counted from 1.
        at: usize,
    },
    /// The engine holds as many rules as [`Bounds::max_rules`] allows.
    #[error("there are {max_rules} rules already, which is the limit")]
    TooManyRules {
        /// The bound.
        max_rules: usize,
    },
    /// Saved state that this version cannot read.
    #[error("the saved state of a rule cannot be read: {why}")]
    SavedState {
        /// What the decoder said.
        why: String,
    },
}
