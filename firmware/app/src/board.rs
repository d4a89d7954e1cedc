//! What a board brings.

use embedded_io::{Read, ReadReady, Write, WriteReady};
use rand_core::CryptoRng;

use crate::actuator::Actuator;
use crate::clock::Clock;
use crate::retained::Retained;
use crate::sensor::Sensor;
use crate::witness::Witness;

/// A byte link to the gateway: a UART, a TCP connection.
///
/// `read` gives 0 bytes when the link is gone. Neither `read` nor `write` may
/// block when `read_ready` or `write_ready` said true.
pub trait Link: Read + ReadReady + Write + WriteReady {}

impl<L: Read + ReadReady + Write + WriteReady> Link for L {}

/// The kinds of a board's parts, named in one place.
pub trait Board {
    /// What it measures with.
    type Sensor: Sensor;
    /// What it switches; `()` for nothing.
    type Actuator: Actuator;
    /// The byte link to its gateway.
    type Link: Link;
    /// The memory that survives a reset.
    type Retained: Retained;
    /// The counter of its running time.
    type Clock: Clock;
    /// Its source of randomness.
    type Rng: CryptoRng;
    /// Who watches; `()` on a product.
    type Witness: Witness;
}

/// A board's parts, but for the link, which comes and goes.
#[derive(Debug)]
pub struct Parts<B: Board> {
    /// What it measures with.
    pub sensor: B::Sensor,
    /// What it switches.
    pub actuator: B::Actuator,
    /// The memory that survives a reset.
    pub retained: B::Retained,
    /// The counter of its running time.
    pub clock: B::Clock,
    /// Its source of randomness.
    pub rng: B::Rng,
    /// Who watches.
    pub witness: B::Witness,
}
