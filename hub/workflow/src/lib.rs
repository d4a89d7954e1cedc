//! Workflow definitions and durable runs.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod clock;
pub mod definition;
pub mod effect;
mod event;
mod runner;
pub mod template;
pub mod transition;

pub use clock::Clock;
pub use definition::Definition;
pub use effect::{Effect, Effects, Failure, Performed, Request};
pub use event::{Event, effect_key, run_id, trigger};
pub use runner::{Handle, Metrics, Options, Parts, Random, Runner};
