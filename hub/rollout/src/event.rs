//! What happens to roll-outs, and what they tell people.

use serde::{Deserialize, Serialize};
use stencil_protocol::id::{DeviceId, GatewayId};

use crate::Digest;

/// What a device says that it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The device.
    pub device: DeviceId,
    /// The gateway that it is behind; `None` for one that is connected to the hub itself.
    pub gateway: Option<GatewayId>,
    /// The image that runs.
    pub digest: Digest,
    /// Its sequence number.
    pub sequence: u64,
    /// What kind of device it is.
    pub class: String,
    /// The image runs on trial: the next restart brings back the one before, unless it is
    /// confirmed.
    pub trial: bool,
}

/// Something that happened, in the order of the log.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A device was heard of, through this gateway: it is on.
    Heard {
        /// The device.
        device: DeviceId,
        /// The gateway.
        gateway: Option<GatewayId>,
    },
    /// A device's link has ended: it is off.
    Gone {
        /// The device.
        device: DeviceId,
    },
    /// A gateway is cut off (`None`: all of them are): so are the devices behind it.
    GatewayGone {
        /// The gateway.
        gateway: Option<GatewayId>,
    },
    /// A device says what it runs.
    Report(Report),
    /// A device has so much of an image.
    Progress {
        /// The device.
        device: DeviceId,
        /// Of which image.
        digest: Digest,
        /// How much, in percent.
        percent: u8,
    },
    /// A device has all of an image, has verified it, and begins to run it.
    Installed {
        /// The device.
        device: DeviceId,
        /// Which image.
        digest: Digest,
    },
    /// A device or its gateway has given up an image.
    Failed {
        /// The device.
        device: DeviceId,
        /// Which image.
        digest: Digest,
        /// Why.
        reason: String,
    },
    /// A device is let in no more.
    Revoked {
        /// The device.
        device: DeviceId,
    },
    /// A device that was revoked is let in again, as other hardware.
    Admitted {
        /// The device.
        device: DeviceId,
    },
    /// Nothing but that time has passed.
    Tick,
}

/// Something to tell people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Notice {
    /// It paused by itself: so many of so many that are finished have failed.
    Paused {
        /// Failed or timed out.
        failed: u32,
        /// Finished.
        finished: u32,
        /// It was the canary that failed.
        canary: bool,
    },
    /// The canary is good; others get the image now.
    CanaryGood,
    /// This wave has begun; the first after the canary is 1.
    Wave {
        /// Its number.
        wave: u32,
    },
    /// Every device has come to its end.
    Finished,
}
