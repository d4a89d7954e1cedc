//! What the spool holds: a message to the hub, without the parts that follow from others.

use minicbor::{Decoder, Encoder};
use stencil_protocol::{
    id::{DeviceId, GatewayId},
    topic::Topic,
};

/// The most bytes of a payload in the spool; the largest are loss reports.
pub(crate) const MAX_PAYLOAD_BYTES: usize = 64 << 10;

/// Which kind of message; the topic follows from it and from the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Batch = 0,
    Status = 1,
    Loss = 2,
    Link = 3,
    Key = 4,
    Image = 5,
    /// Not for the hub: here the spool has lost its end, and begins anew.
    Damage = 6,
    /// A batch in the stream that rules judge.
    Judged = 8,
    /// What else is in it; its `device` is the gateway's id.
    Stream = 9,
    /// Seals over what devices said; its `device` is the gateway's id.
    Seal = 10,
}

/// `[kind, device, suite of the device's link | null, payload]` in CBOR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub(crate) kind: Kind,
    pub(crate) device: DeviceId,
    /// The link that it came over; none for what the gateway says itself.
    pub(crate) suite: Option<u16>,
    pub(crate) payload: &'a [u8],
}

impl<'a> Entry<'a> {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut e = Encoder::new(Vec::with_capacity(self.payload.len() + 64));
        // Writing to a Vec cannot fail.
        let _ = e.array(4).and_then(|e| {
            e.u8(self.kind as u8)?
                .str(self.device.as_str())?
                .encode(self.suite)?
                .bytes(self.payload)?
                .ok()
        });
        e.into_writer()
    }

    /// `None` for what no version of this gateway has written.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut d = Decoder::new(bytes);
        if d.array().ok()?? != 4 {
            return None;
        }
        let kind = match d.u8().ok()? {
            0 => Kind::Batch,
            1 => Kind::Status,
            2 => Kind::Loss,
            3 => Kind::Link,
            4 => Kind::Key,
            5 => Kind::Image,
            6 => Kind::Damage,
            8 => Kind::Judged,
            9 => Kind::Stream,
            10 => Kind::Seal,
            _ => return None,
        };
        let device = DeviceId::parse(d.str().ok()?).ok()?;
        let suite = d.decode().ok()?;
        let payload = d.bytes().ok()?;
        (d.position() == bytes.len()).then_some(Self {
            kind,
            device,
            suite,
            payload,
        })
    }

    /// Where it is published; nowhere if it is not for the hub.
    pub(crate) fn topic(&self) -> Option<Topic> {
        let device = self.device.clone();
        Some(match self.kind {
            Kind::Batch => Topic::Batch(device),
            Kind::Status => Topic::Status(device),
            Kind::Loss => Topic::Loss(device),
            Kind::Link => Topic::Link(device),
            Kind::Key => Topic::Key(device),
            Kind::Image => Topic::Image(device),
            Kind::Judged => Topic::Judged(device),
            Kind::Stream => match GatewayId::parse(device.as_str()) {
                Ok(gateway) => Topic::GatewayStream(gateway),
                // Not so: both ids have one grammar.
                Err(_) => Topic::Judged(device),
            },
            Kind::Seal => Topic::GatewaySeals(GatewayId::parse(device.as_str()).ok()?),
            Kind::Damage => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(
            kind in prop_oneof![
                Just(Kind::Batch), Just(Kind::Status), Just(Kind::Loss), Just(Kind::Link),
                Just(Kind::Key), Just(Kind::Image), Just(Kind::Judged), Just(Kind::Stream), Just(Kind::Seal),
                Just(Kind::Damage)
            ],
            device in "[a-z0-9][a-z0-9._-]{0,40}",
            suite: Option<u16>,
            payload: Vec<u8>,
        ) {
            let device = DeviceId::parse(&device).unwrap();
            let entry = Entry { kind, device, suite, payload: &payload };
            let bytes = entry.to_bytes();
            prop_assert_eq!(Entry::parse(&bytes), Some(entry));
            for length in 0..bytes.len() {
                prop_assert_eq!(Entry::parse(&bytes[..length]), None);
            }
        }

        #[test]
        fn any_bytes_are_refused_or_read(bytes: Vec<u8>) {
            let _ = Entry::parse(&bytes);
        }
    }
}
