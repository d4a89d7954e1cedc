//! The one packet that comes by the million, past the library: a PUBLISH of a 3.1.1 client, and its
//! PUBACK.
//!
//! The library allocates several times a packet. In 3.1.1 it has nothing to remember of a PUBLISH
//! with QoS 0 or 1: no alias, no property, no receive maximum. So such a packet is taken as it lies
//! in the buffer. Whatever is unusual about one is left to the library, so that it alone says what
//! is wrong; a test holds both against each other.

use bytes::Bytes;

use super::Engine;
use crate::{Qos, Version, frame};

/// A PUBLISH of a 3.1.1 client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plain {
    /// The whole packet; it may share memory with those that came with it.
    packet: Bytes,
    place: Place,
}

/// Where the parts of a packet are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    topic: (usize, usize),
    payload: usize,
    /// None with QoS 0.
    id: Option<u16>,
    retain: bool,
}

impl Place {
    /// The packet that these are the places of.
    pub(crate) fn of(self, packet: Bytes) -> Plain {
        Plain {
            packet,
            place: self,
        }
    }
}

impl Plain {
    pub(crate) fn topic(&self) -> &str {
        let (from, to) = self.place.topic;
        // Checked when it came.
        std::str::from_utf8(self.packet.get(from..to).unwrap_or_default()).unwrap_or_default()
    }

    pub(crate) fn payload(&self) -> &[u8] {
        self.packet.get(self.place.payload..).unwrap_or_default()
    }

    pub(crate) fn qos(&self) -> Qos {
        match self.place.id {
            None => Qos::AtMostOnce,
            Some(_) => Qos::AtLeastOnce,
        }
    }

    pub(crate) fn id(&self) -> Option<u16> {
        self.place.id
    }

    pub(crate) fn retain(&self) -> bool {
        self.place.retain
    }
}

impl Engine {
    /// Whether a PUBLISH may come past the library.
    pub(super) fn takes_plain(&self) -> bool {
        self.open && self.version == Some(Version::V3)
    }

    /// Finds the parts of a PUBLISH with QoS 0 or 1, if that is what the packet is and nothing is
    /// unusual about it; else it is one for [`Engine::receive`].
    pub(crate) fn plain(&self, packet: &[u8]) -> Option<Place> {
        let first = *packet.first()?;
        let qos = (first >> 1) & 3;
        if first >> 4 != 3 || qos > 1 || !self.takes_plain() {
            return None;
        }
        let body = frame::body(packet);
        let header = packet.len() - body.len();
        let (length, rest) = body.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes(*length));
        let topic = rest.get(..length)?;
        std::str::from_utf8(topic).ok()?;
        let from = header + 2;
        let mut payload = from + length;
        let id = if qos == 0 {
            None
        } else {
            let id = u16::from_be_bytes(*rest.get(length..)?.first_chunk::<2>()?);
            payload += 2;
            // MQTT 3.1.1 §2.3.1
            Some(id).filter(|id| *id > 0)?.into()
        };
        Some(Place {
            topic: (from, from + length),
            payload,
            id,
            retain: first & 1 != 0,
        })
    }
}

/// Appends the PUBACK of a 3.1.1 client (§3.4).
pub(super) fn acknowledge(id: u16, out: &mut Vec<u8>) {
    let [high, low] = id.to_be_bytes();
    out.extend_from_slice(&[0x40, 2, high, low]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::engine::{Accept, Asked, Inbound};

    /// An engine that has let a client in.
    fn engine(level: u8) -> Engine {
        let mut engine = Engine::new(1 << 20);
        let mut connect = b"\x10\x0c\0\x04MQTT".to_vec();
        connect.extend([level, 2, 0, 60]);
        if level == 5 {
            connect.push(0);
            connect[1] += 1;
        }
        connect.extend([0, 0]);
        connect[1] = u8::try_from(connect.len() - 2).unwrap();
        let mut out = Vec::new();
        let inbound = engine.receive(&connect, &mut out).unwrap();
        assert!(matches!(inbound, Inbound::Connect(_)));
        let accept = Accept {
            receive_maximum: 16,
            ..Accept::default()
        };
        engine.accept(&accept, &mut out).unwrap();
        engine
    }

    fn packet(first: u8, body: &[u8]) -> Vec<u8> {
        let mut packet = vec![first];
        let mut left = body.len();
        loop {
            let low = u8::try_from(left % 128).unwrap();
            left /= 128;
            packet.push(if left > 0 { low | 0x80 } else { low });
            if left == 0 {
                break;
            }
        }
        packet.extend_from_slice(body);
        packet
    }

    /// Both ways say the same of one packet, if the plain way takes it at all.
    fn compare(packet: &[u8]) -> Result<bool, TestCaseError> {
        let Some(place) = engine(4).plain(packet) else {
            return Ok(false);
        };
        let plain = place.of(Bytes::copy_from_slice(packet));
        let (mut library, mut out) = (engine(4), Vec::new());
        let received = library.receive(packet, &mut out);
        let Ok(Inbound::Publish(publish)) = received else {
            return Err(TestCaseError::fail(format!(
                "the library says {received:?}"
            )));
        };
        prop_assert!(out.is_empty());
        prop_assert_eq!(plain.topic(), publish.topic());
        prop_assert_eq!(plain.payload(), publish.payload());
        prop_assert_eq!(Asked::Offered(plain.qos()), publish.qos());
        prop_assert_eq!(plain.id(), publish.id());
        prop_assert_eq!(plain.retain(), publish.retain());
        if let Some(id) = plain.id() {
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            acknowledge(id, &mut ours);
            let puback = mqtt_protocol_core::mqtt::packet::v3_1_1::Puback::builder();
            let puback = puback.packet_id(id).build().unwrap();
            library.send(puback.into(), &mut theirs).unwrap();
            prop_assert_eq!(ours, theirs);
        }
        Ok(true)
    }

    proptest! {
        /// Whatever comes: if the plain way takes it, the library would have taken it, as the same.
        #[test]
        fn says_what_the_library_says(
            first in 0x30_u8..=0x3f,
            topic in prop_oneof![
                "[a-z/+#$\0]{0,9}".prop_map(String::into_bytes),
                prop::collection::vec(any::<u8>(), 0..9),
            ],
            lie in prop_oneof![8 => Just(0_i32), 1 => -3_i32..4],
            rest in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let length = i32::try_from(topic.len()).unwrap() + lie;
            let mut body = u16::try_from(length.max(0)).unwrap().to_be_bytes().to_vec();
            body.extend_from_slice(&topic);
            body.extend_from_slice(&rest);
            compare(&packet(first, &body))?;
        }

        #[test]
        fn takes_what_is_usual(
            retain in any::<bool>(),
            dup in any::<bool>(),
            topic in "\\PC{0,40}",
            id in 1_u16..,
            payload in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let mut body = u16::try_from(topic.len()).unwrap().to_be_bytes().to_vec();
            body.extend_from_slice(topic.as_bytes());
            let zero = packet(0x30 | u8::from(retain), &[&body[..], &payload].concat());
            prop_assert!(compare(&zero)?);
            body.extend_from_slice(&id.to_be_bytes());
            body.extend_from_slice(&payload);
            let first = 0x32 | u8::from(retain) | u8::from(dup) << 3;
            prop_assert!(compare(&packet(first, &body))?);
        }
    }

    #[test]
    fn leaves_to_the_library_what_is_not_plain() {
        let publish = |first| packet(first, b"\0\x01t\0\x07hello");
        let open = engine(4);
        assert!(open.plain(&publish(0x32)).is_some());
        for (first, body) in [
            (0x34_u8, &b"\0\x01t\0\x07hello"[..]), // QoS 2
            (0x40, b"\0\x07"),
            (0x32, b"\0\x01t\0\0hello"), // identifier 0
            (0x32, b"\0\x01t\0"),
            (0x32, b"\0\x09t\0\x07"),
            (0x30, b"\0\x01\xff"),
            (0x30, b"\0"),
        ] {
            assert_eq!(
                open.plain(&packet(first, body)),
                None,
                "{first:x} {body:x?}"
            );
        }
        // A v5 PUBLISH has properties.
        assert_eq!(engine(5).plain(&publish(0x32)), None);
        assert_eq!(Engine::new(1 << 20).plain(&publish(0x32)), None);
    }

    #[test]
    fn once_it_is_over_all_is_for_the_library_to_say() {
        let publish = packet(0x32, b"\0\x01t\0\x07hello");
        let (mut gone, mut broken) = (engine(4), engine(4));
        for engine in [&gone, &broken] {
            assert!(engine.plain(&publish).is_some());
        }
        gone.receive(&[0xe0, 0], &mut Vec::new()).unwrap();
        let fault = broken.receive(&packet(0x32, b"\0\x09t"), &mut Vec::new());
        assert!(fault.is_err());
        for engine in [&gone, &broken] {
            assert!(!engine.takes_plain());
            assert_eq!(engine.plain(&publish), None);
        }
    }
}
