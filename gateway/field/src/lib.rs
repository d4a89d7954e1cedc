//! Field protocols: devices that others made, read by the gateway as a mapping says.
//!
//! ```text
//! mapping (YAML) ─→ a source a connection ─Reading, bounded channel→ intake ─→ numbers ─→ batches
//!                   modbus, opcua, mqtt, i2c    scale, valid, deadband   (boot, number)   for the spool
//! ```
//!
//! - [`mapping`] says what to read: connections, devices, points. [`mapping::parse`] tells of all
//!   that is wrong, each with its line.
//! - [`port`] is what a protocol implements: a [`Source`](port::Source) says readings and faults
//!   into a [`Sink`](port::Sink). Protocols that are polled and those that subscribe fit alike.
//! - [`Field`] runs the sources of a mapping, and replaces one mapping by another while it runs:
//!   what has not changed is not interrupted.
//! - [`Numbers`] gives what was read its numbers and makes batches, as every device of the hub
//!   does for itself: a field device cannot, so its gateway does.
//! - [`check`] tries a mapping once, [`scan`] helps to write one.
//!
//! # What goes wrong
//! A [`Fault`] is of a connection, a device, or a point. It is said once when it begins and once
//! when it ends: in the log, and to the hub as readings of the device (`field.status`, and
//! `NAME.fault` of a point). One point that fails loses no other, one device that is silent does
//! not hold up its line: it is asked less and less often, up to `max-backoff`.
//!
//! # Bounds
//! The sizes of a mapping ([`mapping`]), the channel between sources and intake, and what waits
//! for the spool ([`Numbers`]): the oldest is dropped, and its numbers are reported as dropped.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod check;
mod fault;
mod i2c;
mod intake;
pub mod mapping;
mod modbus;
pub mod mqtt;
mod numbers;
pub mod opcua;
pub mod port;
mod run;
pub mod scan;
pub mod serial;
mod unit;

pub use check::{Tried, check};
pub use fault::{Fault, Of};
pub use intake::Said;
pub use numbers::{Numbers, Ready};
pub use run::{Counts, Field, Status};
