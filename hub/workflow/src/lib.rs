//! Workflow definitions and durable runs.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod definition;
pub mod effect;
mod event;
pub mod template;

pub use definition::Definition;
pub use effect::{Effect, Effects, Failure, Performed, Request};
pub use event::{Event, effect_key, run_id, trigger};
