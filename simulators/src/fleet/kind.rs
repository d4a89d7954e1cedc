//! The kinds of device, and how they are named.

use stencil_protocol::id::DeviceId;

/// A kind of device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A freezer with climate sensor and door contact.
    Freezer,
    /// The lock at a freezer's door.
    Lock,
    /// A room with a climate sensor.
    Room,
}

impl Kind {
    fn prefix(self) -> &'static str {
        match self {
            Kind::Freezer => "freezer",
            Kind::Lock => "lock",
            Kind::Room => "room",
        }
    }

    /// The device with this index, counted from 0: `freezer-01` is the first.
    pub(crate) fn device(self, index: usize) -> Result<DeviceId, stencil_protocol::id::Error> {
        DeviceId::parse(&format!("{}-{:02}", self.prefix(), index + 1))
    }
}
