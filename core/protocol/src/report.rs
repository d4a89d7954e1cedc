//! What a gateway tells the hub besides batches.
//!
//! ```text
//! loss = { 0: device, 1: boot, 2: [* [first, count, reason]] }
//! link = { 0: device, 1: gateway, 2: at in µs, 3: suite | null }
//! ```

use alloc::vec::Vec;

use minicbor::Encoder;

use crate::batch::Dropped;
use crate::cbor::{self, Reader, need, once};
use crate::command::read_device;
use crate::id::{self, Boot, DeviceId, GatewayId};

/// The most runs in a [`LossReport`].
pub const MAX_DROPPED: usize = 1024;

/// Why a report cannot be read.
pub type Error = cbor::Error;

/// Numbers of a device that the gateway had to drop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LossReport {
    /// Whose numbers.
    pub device: DeviceId,
    /// Of which boot.
    pub boot: Boot,
    /// Which, and why: at most [`MAX_DROPPED`] runs.
    pub dropped: Vec<Dropped>,
}

/// A device's link to its gateway came or went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkEvent {
    /// The device.
    pub device: DeviceId,
    /// The gateway.
    pub gateway: GatewayId,
    /// When, by the gateway's clock: microseconds since the Unix epoch.
    pub at_us: i64,
    /// What happened.
    pub event: Link,
}

/// Whether a device is linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// It is, after a handshake with this cryptographic suite.
    Connected {
        /// The suite's number in the registry of `stencil-crypto`, or that of the
        /// [line](crate::line::Line) that a field device hangs on.
        suite: u16,
    },
    /// It is not.
    Disconnected,
}

impl LossReport {
    /// The report's bytes. [`Error::TooLong`] with more than [`MAX_DROPPED`] runs.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        if self.dropped.len() > MAX_DROPPED {
            return Err(Error::TooLong {
                field: "dropped",
                max: MAX_DROPPED,
            });
        }
        let mut e = Encoder::new(Vec::new());
        let written = e
            .map(3)
            .and_then(|e| e.u8(0)?.str(self.device.as_str())?.u8(1)?.u32(self.boot.0))
            .and_then(|e| e.u8(2)?.array(self.dropped.len() as u64))
            .and_then(|e| self.dropped.iter().try_for_each(|dropped| dropped.write(e)));
        debug_assert!(written.is_ok(), "a Vec takes all");
        Ok(e.into_writer())
    }

    /// Reads a report that fills `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut r = Reader::new(bytes);
        let (mut device, mut boot, mut dropped) = (None, None, None);
        for _ in 0..r.map("a loss report: a map")? {
            match r.key()? {
                Some(0) => once(&mut device, read_device(&mut r)?, "device")?,
                Some(1) => once(&mut boot, Boot(r.u32("a boot number")?), "boot")?,
                Some(2) => once(&mut dropped, read_dropped(&mut r)?, "dropped")?,
                Some(_) | None => r.skip()?,
            }
        }
        r.end()?;
        Ok(LossReport {
            device: need(device, "device")?,
            boot: need(boot, "boot")?,
            dropped: need(dropped, "dropped")?,
        })
    }
}

fn read_dropped(r: &mut Reader<'_>) -> Result<Vec<Dropped>, Error> {
    let length = r.array("the list of dropped runs")?;
    if length > MAX_DROPPED as u64 {
        return Err(Error::TooLong {
            field: "dropped",
            max: MAX_DROPPED,
        });
    }
    (0..length).map(|_| Dropped::read(r)).collect()
}

impl LinkEvent {
    /// The event's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut e = Encoder::new(Vec::new());
        let written = e
            .map(4)
            .and_then(|e| {
                e.u8(0)?
                    .str(self.device.as_str())?
                    .u8(1)?
                    .str(self.gateway.as_str())
            })
            .and_then(|e| e.u8(2)?.i64(self.at_us)?.u8(3))
            .and_then(|e| match self.event {
                Link::Connected { suite } => e.u16(suite),
                Link::Disconnected => e.null(),
            })
            .map(|_| ());
        debug_assert!(written.is_ok(), "a Vec takes all");
        e.into_writer()
    }

    /// Reads an event that fills `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut r = Reader::new(bytes);
        let (mut device, mut gateway, mut at, mut event) = (None, None, None, None);
        for _ in 0..r.map("a link event: a map")? {
            match r.key()? {
                Some(0) => once(&mut device, read_device(&mut r)?, "device")?,
                Some(1) => once(&mut gateway, read_gateway(&mut r)?, "gateway")?,
                Some(2) => once(&mut at, r.i64("the time")?, "at")?,
                Some(3) => {
                    let link = if r.null()? {
                        Link::Disconnected
                    } else {
                        Link::Connected {
                            suite: r.u16("a suite's number")?,
                        }
                    };
                    once(&mut event, link, "suite")?;
                }
                Some(_) | None => r.skip()?,
            }
        }
        r.end()?;
        Ok(LinkEvent {
            device: need(device, "device")?,
            gateway: need(gateway, "gateway")?,
            at_us: need(at, "at")?,
            event: need(event, "suite")?,
        })
    }
}

fn read_gateway(r: &mut Reader<'_>) -> Result<GatewayId, Error> {
    let text = r.str("gateway", id::MAX_BYTES)?;
    GatewayId::parse(text).map_err(|_| Error::Invalid {
        field: "gateway",
        why: "is not an id",
    })
}
