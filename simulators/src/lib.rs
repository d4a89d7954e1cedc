//! Devices that aren't there, and a webhook receiver that is.
//!
//! Everything here talks to the product as a stranger would: over the device
//! link, or by HTTP. The devices run the real firmware application over TCP.
//!
//! | module | what it holds |
//! |---|---|
//! | [`fleet`] | freezers, door locks and rooms with physics and faults |
//! | [`replay`] | a recording as a device, with its own timestamps |
//! | [`receiver`] | takes webhooks, acts once a key, may drop answers |
//! | [`outage`] | devices that hand in days of measurements, and go on in real time |
//! | [`load`] | many devices that publish as fast as they are acknowledged |
//! | [`nodes`] | devices that take firmware: boot loader, two slots, power cuts |
//! | [`journal`] | the devices' own books, against which the hub's are held |
//!
//! Each is an `Options` and a `run(options, stop)`. When `stop` becomes true,
//! devices stop measuring and go on sending until the gateway has acknowledged
//! everything or a time limit has passed, so that books can be compared to the
//! last number. A device's retained memory and its journal are files: a
//! simulator that was killed goes on as a device after a reset does.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod backoff;
mod device;
mod dial;
mod error;
mod flash;
pub mod fleet;
pub mod journal;
mod line;
pub mod load;
pub mod nodes;
pub mod outage;
mod random;
pub mod receiver;
pub mod replay;
mod socket;

pub use backoff::Reconnect;
pub use error::Error;
use serde::Serialize;
use stencil_firmware::Progress;
use stencil_protocol::id::DeviceId;

/// How simulated devices ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// How many devices ran.
    pub devices: usize,
    /// Numbers that were given in their last boots.
    pub given: u64,
    /// Devices that could not deliver everything in time.
    pub unsettled: Vec<DeviceId>,
}

impl Outcome {
    fn add(&mut self, device: DeviceId, progress: &Progress) {
        self.devices += 1;
        self.given += progress.last_given.0;
        if !progress.settled {
            self.unsettled.push(device);
        }
    }
}
