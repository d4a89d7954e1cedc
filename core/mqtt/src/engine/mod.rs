//! The only module that knows `mqtt-protocol-core`: packets in, packets out,
//! for one connection, without I/O.
//!
//! The library brings the packet codec, the order of packets, packet
//! identifiers, topic aliases and the client's limits. It has few authors, so
//! nothing of it shows outside, and what a stranger sends is checked before
//! (see [`frame`](crate::frame)) and caught behind.

mod inbound;
mod outbound;
mod plain;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::{ConnectionOptions, Event};
use mqtt_protocol_core::mqtt::packet::{GenericPacketTrait, Packet, Property};
use mqtt_protocol_core::mqtt::result_code::MqttError;
use mqtt_protocol_core::mqtt::{Connection, Version as CoreVersion, role};

use crate::reason::{Code, Fault};
use crate::{Version, frame};

pub(crate) use inbound::{
    Asked, Connect, Entry, Inbound, Publish, RetainHandling, Subscribe, Will,
};
pub(crate) use outbound::{Accept, Delivery, Undeliverable};
pub(crate) use plain::Plain;

/// The protocol state of one connection.
pub(crate) struct Engine {
    core: Connection<role::Server>,
    /// Set by the CONNECT.
    version: Option<Version>,
    /// Whether reason strings may go on any packet.
    problem_information: bool,
    /// QoS 1 messages sent and not acknowledged.
    in_flight: u16,
    /// A DISCONNECT was sent, or the engine wants the socket closed.
    closing: bool,
    /// The client was let in, and neither has it said goodbye nor broken a rule.
    open: bool,
}

impl Engine {
    pub(crate) fn new(max_packet_bytes: u32) -> Self {
        let options = ConnectionOptions::default().maximum_packet_size_recv(max_packet_bytes);
        let mut core = Connection::with_options(CoreVersion::Undetermined, options);
        core.set_auto_pub_response(false);
        core.set_auto_ping_response(true);
        Self {
            core,
            version: None,
            problem_information: true,
            in_flight: 0,
            closing: false,
            open: false,
        }
    }

    /// The version, once the CONNECT has been received.
    pub(crate) fn version(&self) -> Option<Version> {
        self.version
    }

    /// QoS 1 messages sent and not acknowledged.
    pub(crate) fn in_flight(&self) -> u16 {
        self.in_flight
    }

    /// Takes one whole packet that [`frame::Framer`] has checked. Answers that
    /// the protocol demands at once go to `out`.
    pub(crate) fn receive(&mut self, packet: &[u8], out: &mut Vec<u8>) -> Result<Inbound, Fault> {
        let tamed;
        let packet = if self.version.is_none() {
            tamed = without_alias_maximum_zero(packet);
            tamed.as_deref().unwrap_or(packet)
        } else {
            packet
        };
        // What a stranger sends must not reach the socket's task as a panic.
        let events = catch_unwind(AssertUnwindSafe(|| {
            self.core.recv(&mut Cursor::new(packet))
        }))
        .map_err(|_| {
            self.open = false;
            Fault::new(Code::IMPLEMENTATION, "the packet could not be processed")
        })?;
        let mut received = None;
        let mut error = None;
        for event in events {
            match event {
                Event::NotifyPacketReceived(packet) => received = Some(packet),
                Event::NotifyError(e) => error = Some(e),
                other => self.emit(other, out),
            }
        }
        if let Some(error) = error {
            self.open = false;
            return Err(inbound::fault(error));
        }
        let inbound = received.map_or(Ok(Inbound::Nothing), inbound::translate)?;
        match &inbound {
            Inbound::Connect(connect) => {
                self.version = Some(connect.version);
                self.problem_information = connect.problem_information;
            }
            Inbound::Acknowledged => self.in_flight = self.in_flight.saturating_sub(1),
            Inbound::Disconnect { .. } => self.open = false,
            _ => {}
        }
        Ok(inbound)
    }

    /// Sends a packet of ours.
    fn send(&mut self, packet: Packet, out: &mut Vec<u8>) -> Result<(), MqttError> {
        let mut result = Ok(());
        for event in self.core.send(packet) {
            match event {
                Event::NotifyError(error) => result = Err(error),
                other => self.emit(other, out),
            }
        }
        result
    }

    fn emit(&mut self, event: Event, out: &mut Vec<u8>) {
        match event {
            Event::RequestSendPacket { packet, .. } => {
                out.extend_from_slice(&packet.to_continuous_buffer());
            }
            Event::RequestClose => {
                self.closing = true;
                self.open = false;
            }
            // Keep-alive is watched where the clock is: see `connection`.
            _ => {}
        }
    }
}

/// MQTT 5 properties of a message that are passed on as they came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Forwarded(Option<Arc<[Property]>>);

impl Forwarded {
    fn of(properties: &[Property]) -> Self {
        let passed_on: Vec<Property> = properties
            .iter()
            .filter(|property| {
                matches!(
                    property,
                    Property::PayloadFormatIndicator(_)
                        | Property::ContentType(_)
                        | Property::ResponseTopic(_)
                        | Property::CorrelationData(_)
                        | Property::UserProperty(_)
                )
            })
            .cloned()
            .collect();
        Self((!passed_on.is_empty()).then(|| passed_on.into()))
    }

    fn properties(&self) -> &[Property] {
        self.0.as_deref().unwrap_or_default()
    }

    pub(crate) fn content_type(&self) -> Option<&str> {
        content_type(self.properties())
    }

    pub(crate) fn user_properties(&self) -> Vec<(&str, &str)> {
        user_properties(self.properties())
    }

    /// What they cost to keep, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.properties().iter().map(Property::size).sum()
    }
}

fn content_type(properties: &[Property]) -> Option<&str> {
    properties.iter().find_map(|property| match property {
        Property::ContentType(text) => Some(text.val()),
        _ => None,
    })
}

fn user_properties(properties: &[Property]) -> Vec<(&str, &str)> {
    properties
        .iter()
        .filter_map(|property| match property {
            Property::UserProperty(pair) => Some((pair.key(), pair.val())),
            _ => None,
        })
        .collect()
}

/// The engine panics on a Topic Alias Maximum of 0, which a v5 client may well
/// send. As we never send aliases, 1 says the same.
fn without_alias_maximum_zero(packet: &[u8]) -> Option<Vec<u8>> {
    const FIXED: usize = 10;
    let body = frame::body(packet);
    if body.get(6) != Some(&5) {
        return None;
    }
    let header = packet.len() - body.len();
    let mut at = FIXED;
    let mut bytes = 0usize;
    for shift in 0..4 {
        let byte = *body.get(at)?;
        at += 1;
        bytes |= usize::from(byte & 0x7f) << (7 * shift);
        if byte & 0x80 == 0 {
            break;
        }
    }
    let end = at.checked_add(bytes)?;
    while at < end {
        let value = at + 1;
        let text = |at: usize| -> Option<usize> {
            Some(2 + usize::from(u16::from_be_bytes([*body.get(at)?, *body.get(at + 1)?])))
        };
        let length = match *body.get(at)? {
            0x22 => {
                if body.get(value..value + 2)? == [0, 0] {
                    let mut tamed = packet.to_vec();
                    *tamed.get_mut(header + value + 1)? = 1;
                    return Some(tamed);
                }
                2
            }
            0x11 | 0x27 => 4,
            0x21 => 2,
            0x17 | 0x19 => 1,
            0x15 | 0x16 => text(value)?,
            0x26 => {
                let key = text(value)?;
                key + text(value + key)?
            }
            // Not a property of CONNECT: the engine refuses it.
            _ => return None,
        };
        at = value + length;
    }
    None
}
