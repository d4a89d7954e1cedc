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
//! # What all conditions have in common
//! - Time is the sample's own (event time), in µs since the Unix epoch. No wall clock plays
//!   a part: when the passing of time matters, the caller tells it, at its place among the
//!   samples ([`Engine::advance`]).
//! - A *run* begins when the condition begins to hold, and ends when it no longer does. The
//!   rule fires at the first judgement of a run that is at least the *hold* after the run's
//!   first; with a hold of zero that is the first itself. It fires once a run, and clears with
//!   the judgement that ends a run in which it has fired. So for each device `Fired` and
//!   `Cleared` alternate.
//! - A limit has *hysteresis* where it has a `clear` ([`Level`]): a run begins beyond the
//!   limit, and ends with a number that is no longer beyond `clear`.
//! - A number that is NaN or infinite cannot be expressed ([`Finite`]); `true` is 1, `false`
//!   is 0; texts are passed over, except by absence, by the count of a window, and by
//!   expressions.
//! - Samples further ahead of their reception than [`Bounds::max_ahead_us`] are ignored.
//! - Each device has a state of its own, which is small and bounded. It is saved with the
//!   question that it was gathered under; under another question a device starts afresh.
//!
//! # Threshold
//! Each sample is judged by its value. A sample older than the newest one seen is ignored: it
//! neither starts nor ends a run. Samples of the same time count in the order of the log.
//! Nothing fires in silence: a hold that elapses between two samples is seen at the second one.
//!
//! # Absence
//! A device is *heard* when a sample is received, or at the sample's time if that is later. The
//! rule fires when it has not been heard for the silence that was asked for, at exactly that
//! moment, told by the first `advance` that has reached it; it clears with the next sample,
//! whatever its value. Who was never heard is not absent. Reception counts, not event time:
//! what was measured during a cut and comes afterwards is no silence. A silence that no
//! `advance` has seen is none: while nobody listened (the hub was down), nobody was silent.
//!
//! # Rate
//! The change per second from an earlier sample to this one. *Kept* is the first sample of each
//! twentieth ([`PANES`]) of the time that the rate goes over; the earlier sample is the newest
//! kept one that is at least that time older. So samples that come fast and jitter are compared
//! over the whole time (and at most a twentieth more), and after a gap the mean change over the
//! gap is taken, which no moment of it has exceeded for long. Until there is such a sample,
//! nothing is judged. Late samples are ignored, as by a threshold.
//!
//! # Window
//! - A window is [`PANES`] panes long and slides by one; panes are cut from the epoch on. Its
//!   samples are those with `end − over ≤ time < end`. (`over` is taken down to a multiple of
//!   20 µs.)
//! - It is judged, in the order of ends, once a sample of the device is at least `lateness`
//!   newer than the end; without one, once `advance` has reached end + `over` + `lateness`. Until
//!   then the order in which its samples come makes no difference. A sample that comes when a
//!   window that should have held it has been judged is late: it is ignored and counted.
//! - The first window judged is the first that began after the device was first heard. Only
//!   what more samples could not have undone is judged earlier: a count or maximum above its
//!   limit, a minimum below it.
//! - `count` counts samples, also texts. `mean` is exact up to its last rounding, in any order.
//!   `p95` is the least number that 95 % of the samples are not above (nearest rank), off by at
//!   most 1/128 of itself, and within what was measured; where a pane's samples would fill more
//!   than 128 buckets of 1/64 (they span more than two octaves densely), twice that, and so on.
//! - A window without samples has a count of 0 and no mean, minimum, maximum or p95: these are
//!   not judged then, so a run goes on over a gap.
//! - Firing and clearing happen at the window's end; that is their `at_us`.
//!
//! # Expression
//! A condition in the [Common Expression Language](https://cel.dev) over one sample:
//! `event.value` (double, bool or string; whole numbers are doubles too), `event.device`,
//! `event.name` (strings), `event.unit` (string or null), `event.time_us` (int). Operators are
//! CEL's on these, lists and literals; functions are `size`, `contains`, `startsWith`,
//! `endsWith`, `double`, `int`, `uint`, `string`, `bool`, and on lists `all`, `exists`,
//! `exists_one`, `filter`, `map`, which may not be nested. [`Expression::new`] parses it once,
//! and refuses unknown names, what could never be evaluated (`event.device > 5`), and what is
//! too large (1,024 bytes, 48 brackets, 128 operators). What cannot be evaluated on a sample is
//! false and counted ([`Metrics::errors`]). Comparisons of a field with a literal, joined by
//! `&&`, `||` and `!`, run without the interpreter on samples that are numbers, and mean the
//! same. Late samples are ignored, as by a threshold.
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
