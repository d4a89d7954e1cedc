//! A PUBLISH packet in which only what differs from message to message is written anew.

use stencil_protocol::batch::{self, Header, Writer};
use stencil_protocol::id::{Boot, DeviceId, Seq};
use stencil_protocol::sample::{Sample, Value};
use stencil_protocol::topic::Topic;

const NAME: &str = "temperature";
const UNIT: &str = "degC";
/// A batch of one sample has fewer bytes.
const MAX_PAYLOAD: usize = 128;

/// One message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message {
    pub(super) id: u16,
    pub(super) seq: u64,
    pub(super) time_us: i64,
    /// Exact in single precision, as a sensor's value mostly is.
    pub(super) value: f32,
}

/// The packets of one device.
#[derive(Debug)]
pub(super) struct Template {
    topic: String,
    boot: Boot,
    packet: Vec<u8>,
    payload_at: usize,
    /// Widths of number and time as CBOR, for which the packet is right.
    widths: (usize, usize),
}

impl Template {
    pub(super) fn new(device: &DeviceId, boot: Boot) -> Self {
        Self {
            topic: Topic::Batch(device.clone()).to_string(),
            boot,
            packet: Vec::new(),
            payload_at: 0,
            widths: (0, 0),
        }
    }

    /// Bytes of the payload.
    pub(super) fn payload_bytes(&self) -> usize {
        self.packet.len() - self.payload_at
    }

    /// Bytes of the packet.
    pub(super) fn packet_bytes(&self) -> usize {
        self.packet.len()
    }

    /// Appends the packet of a message to `out`.
    ///
    /// # Errors
    /// What the batch's writer says: a number or time that no batch can have.
    pub(super) fn write(
        &mut self,
        message: &Message,
        out: &mut Vec<u8>,
    ) -> Result<(), batch::Error> {
        let widths = (width(message.seq), width(message.time_us.unsigned_abs()));
        if widths != self.widths || message.time_us < 0 {
            self.encode(message)?;
            self.widths = widths;
        } else {
            self.patch(message);
        }
        out.extend_from_slice(&self.packet);
        Ok(())
    }

    fn encode(&mut self, message: &Message) -> Result<(), batch::Error> {
        let header = Header {
            boot: self.boot,
            first: Seq(message.seq),
            last_given: Seq(message.seq),
            previous: None,
            dropped: heapless::Vec::new(),
        };
        let mut payload = [0; MAX_PAYLOAD];
        let mut writer = Writer::new(&mut payload, &header)?;
        writer
            .push(&Sample {
                name: NAME,
                value: Value::Number(message.value.into()),
                unit: Some(UNIT),
                time_us: message.time_us,
            })
            .map_err(|_| batch::Error::Numbers("a sample that no batch takes"))?;
        let length = writer.finish()?;
        let remaining = 2 + self.topic.len() + 2 + length;
        self.packet.clear();
        // QoS 1 (MQTT 3.1.1 §3.3.1); the remaining length takes one or two bytes.
        self.packet.push(0x32);
        if remaining < 128 {
            self.packet.push(low(remaining));
        } else {
            self.packet
                .extend([low(remaining % 128) | 0x80, low(remaining / 128)]);
        }
        self.packet.extend([0, low(self.topic.len())]);
        self.packet.extend_from_slice(self.topic.as_bytes());
        self.packet.extend_from_slice(&message.id.to_be_bytes());
        self.payload_at = self.packet.len();
        self.packet
            .extend_from_slice(payload.get(..length).unwrap_or_default());
        Ok(())
    }

    /// The batch is `{0: boot, 1: first, 2: last given, 5: base time, 6: [[name, 0, value, unit]]}`.
    fn patch(&mut self, message: &Message) {
        let (number, time) = self.widths;
        let at = self.payload_at;
        put(&mut self.packet, at, &message.id.to_be_bytes());
        let boot = 2 + width(self.boot.0.into());
        let end_of_first = at + boot + 1 + number;
        let end_of_last = end_of_first + 1 + number;
        let end_of_time = end_of_last + 1 + time;
        let end_of_value = self.packet.len() - 1 - UNIT.len();
        let seq = message.seq.to_be_bytes();
        let tail = |bytes: &[u8; 8], width: usize| (*bytes, width - 1);
        for (end, (bytes, width)) in [
            (end_of_first, tail(&seq, number)),
            (end_of_last, tail(&seq, number)),
            (end_of_time, tail(&message.time_us.to_be_bytes(), time)),
        ] {
            if width == 0 {
                // The number is in the byte that tells its kind.
                put(&mut self.packet, end, &bytes[7..]);
            } else {
                put(&mut self.packet, end, &bytes[8 - width..]);
            }
        }
        put(&mut self.packet, end_of_value, &message.value.to_be_bytes());
    }
}

/// Puts `bytes` before `end`.
fn put(packet: &mut [u8], end: usize, bytes: &[u8]) {
    if let Some(place) = packet.get_mut(end - bytes.len()..end) {
        place.copy_from_slice(bytes);
    }
}

/// Bytes of an unsigned number as CBOR (RFC 8949 §3).
fn width(number: u64) -> usize {
    match number {
        0..=23 => 1,
        24..=0xff => 2,
        0x100..=0xffff => 3,
        0x1_0000..=0xffff_ffff => 5,
        _ => 9,
    }
}

/// For lengths that were bounded before.
fn low(length: usize) -> u8 {
    u8::try_from(length).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use stencil_protocol::batch::Batch;

    use super::*;

    #[test]
    fn every_packet_holds_its_message() {
        let device = DeviceId::parse("load-0007").unwrap();
        let mut template = Template::new(&device, Boot(70_000));
        let now_us = 1_800_000_000_000_000_i64;
        let mut id = 0u16;
        for seq in (1..70_000).chain([u64::from(u32::MAX), 1 << 40]) {
            id = id.wrapping_add(1).max(1);
            let message = Message {
                id,
                seq,
                time_us: now_us + i64::try_from(seq).unwrap() * 3,
                value: -18.0 + f32::from(id % 64) / 64.0,
            };
            let mut out = Vec::new();
            template.write(&message, &mut out).unwrap();
            assert_eq!(out.len(), template.packet_bytes());
            assert_eq!(out[0], 0x32);
            let body = if out[1] & 0x80 == 0 {
                assert_eq!(usize::from(out[1]) + 2, out.len());
                &out[2..]
            } else {
                let remaining = usize::from(out[1] & 0x7f) + 128 * usize::from(out[2]);
                assert_eq!(remaining + 3, out.len());
                &out[3..]
            };
            let (topic, rest) = body[2..].split_at(usize::from(body[1]));
            assert_eq!(topic, b"stencil/v1/d/load-0007/batch");
            let (sent_id, payload) = rest.split_at(2);
            assert_eq!(sent_id, id.to_be_bytes());
            assert_eq!(payload.len(), template.payload_bytes());
            let batch = Batch::decode(payload).unwrap();
            assert_eq!(batch.header().boot, Boot(70_000));
            assert_eq!(batch.header().last_given, Seq(seq));
            let samples: Vec<_> = batch.samples().collect();
            let sample = Sample {
                name: NAME,
                value: Value::Number(message.value.into()),
                unit: Some(UNIT),
                time_us: message.time_us,
            };
            assert_eq!(samples, [(Seq(seq), Ok(sample))]);
        }
    }
}
