//! Rules that a gateway judges by itself, and the hub after it.
//!
//! A workflow whose definition has a `place` is judged where its devices are, so that its first
//! step, a command to a device, needs no hub. The hub judges the same, later, from the same
//! samples, and so finds the same firing, the same run and the same command.
//!
//! # Why both find the same
//! What an [`Engine`](stencil_rules::Engine) tells depends on the order of a device's samples, on
//! when they were received, and on where among them it is told how late it is. None of that is the
//! same for a gateway and a hub by itself: their clocks differ, what is published twice comes
//! twice, devices of several gateways are interleaved. So the gateway writes down what it judges
//! by: the *stream*, a part of what it spools for the hub.
//!
//! | record | what it says |
//! |---|---|
//! | [`Judged`] | a batch, byte for byte, and when the gateway received it |
//! | [`What::Mark`] | that it is so late now, for rules that wait for something not to happen |
//! | [`What::Rules`] | which rules are judged from here on, and within which bounds |
//! | [`What::Told`] | what a rule told of a device, and what the gateway did about it |
//!
//! All are numbered without a gap ([`Place`]). A [`Judge`] takes them in the order of their
//! numbers, at the gateway and at the hub, and knows no other clock and no other order: the same
//! stream gives the same changes to the bit, whatever the time is where it is read, and however
//! often what was read before comes again. Where the hub misses a number (the gateway's disk was
//! full for days) it stops judging what it cannot know, and takes the gateway's word alone, until
//! a rule begins anew, or the gateway writes down in which state its judge is ([`What::Here`]).
//!
//! # Names
//! [`run_id`], [`effect_key`] and [`command_id`] derive from the cause of a firing what it brings
//! about. A device knows the commands that it has taken by their ids, so that whoever gives it one
//! a second time is answered and not obeyed.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod cost;
mod ids;
mod judge;
mod numbers;
mod placed;
mod placing;
mod stream;
mod wire;

pub use cost::{Budget, Cost, admit};
pub use ids::{command_id, effect_key, run_id};
pub use judge::{Arrival, Judge, Row, Told as Change};
pub use placed::{Action, Argument, Placed, Unusable, When};
pub use placing::{Placing, Verdict};
pub use stream::{
    Command, Done, Here, Judged, MAX_RECORD_BYTES, Place, Record, Rules, Since, Told, What,
};
pub use wire::{Error, Scalar};
