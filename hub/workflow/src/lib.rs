//! Workflow definitions and durable runs.
//!
//! A workflow says what shall happen when a rule fires: fill a page and publish
//! it, post to another system, tell a device to do something. Its author writes
//! YAML; [`definition::parse`] understands it, or says what is wrong with it and
//! where. When the rule fires, [`trigger`] makes the run that the pipeline
//! commits together with the samples that caused it, and a [`Runner`] carries it
//! out.
//!
//! ```
//! use stencil_workflow::definition;
//!
//! let error = definition::parse(
//!     "id: warm\nversion: 1\non: { telemetry: { devices: '*', name: t } }\nwhen: { over: 3 }\nsteps: []\n",
//! )
//! .unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "line 4, column 9: `over` is not a key of `when`; known keys: `above`, `below`, \
//!      `clear`, `absent`, `rate`, `window`, `expr`, `for`"
//! );
//! ```
//!
//! # How a run goes
//! A run is pinned to one version of its workflow. Its steps run one after the
//! other; each sees the event and the outputs of the steps before it. A step is
//! *effect, then record*: an attempt that fails in a way that may pass is made
//! again, later and later, with jitter, not before a `Retry-After`, and so often
//! as its `retry` says; one that fails for good ends the run. A step that gives a
//! device a command waits for the end of that command. A step that tells people
//! ([`definition::Action::tells`]) is passed over while somebody has silenced the
//! workflow for the device, which its output says.
//!
//! # Why an effect happens once
//! [`run_id`] derives a run's id from its cause (the very sample), so that a
//! cause that is found again, after a crash or by a replay, starts nothing new.
//! [`effect_key`] derives the key of a step's effect from the run. If the process
//! dies between effect and record, the run's lease ends, and the effect is
//! performed again with the same key; whoever takes it ([`Effects`]) does it once
//! a key. The place is marked by the crash point `workflow.after_effect`.
//!
//! # Causes that can be taken back
//! What is on a chain can leave it again. A run that a payment or a contract's event has caused is made
//! when that is first in a block; each step then waits until its cause is as deep as it asks, and a
//! device is told to undo what it did if the cause goes away all the same ([`caused`]).
//!
//! # Map
//! | module | what is in it |
//! |---|---|
//! | [`definition`] | the format: parsing, limits, messages, JSON Schema |
//! | [`template`] | text with expressions, at a bounded cost |
//! | [`caused`] | runs that something on a chain has caused, and what a reorganisation undoes |
//! | [`effect`] | effects as data, and the trait of who performs them |
//! | [`transition`] | the state machine of a run, without I/O, clock and chance |
//! | [`Runner`] | claims what is due, performs, records |
//! | [`clock`] | time, passed in |

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod alarm;
pub mod caused;
pub mod clock;
pub mod definition;
pub mod effect;
mod event;
mod runner;
pub mod template;
pub mod transition;

pub use alarm::{raised, why_cleared};
pub use clock::Clock;
pub use definition::Definition;
pub use effect::{
    ChainCall, ChainSend, Effect, Effects, Failure, MAX_RECIPIENTS, Mail, Performed, Request,
    check_address,
};
pub use event::{Event, caused_run_id, effect_key, event, run_id, trigger};
pub use runner::{Handle, Metrics, Options, Parts, Random, Runner};
