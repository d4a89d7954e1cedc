//! A sample as the engine takes it.

use stencil_protocol::sample::Value;

use crate::Cause;

/// A sample as the engine takes it.
#[derive(Debug, Clone, Copy)]
pub struct Observation<'a> {
    /// Which device measured.
    pub device: &'a str,
    /// The sample's name.
    pub name: &'a str,
    /// Event time, µs since the Unix epoch.
    pub time_us: i64,
    /// When the hub (or gateway) received it, as recorded in the log, µs.
    pub received_us: i64,
    /// The value. Conditions on numbers see integers as the nearest double,
    /// `true` as 1 and `false` as 0, and pass over texts; see [`Finite::of`](crate::Finite::of).
    pub value: Value<'a>,
    /// Its unit, for expressions.
    pub unit: Option<&'a str>,
    /// The sample's identity.
    pub cause: Cause,
}
