//! Register-level models of chips, for tests, simulators and boards in an
//! emulator that has no such chip.

mod sht4x;

pub use sht4x::{Air, Fault, ModelDelay, NotAcknowledged, Sht4xModel};
