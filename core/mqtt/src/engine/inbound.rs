//! What clients send, in our own words.

use std::time::{Duration, Instant};

use bytes::Bytes;
use mqtt_protocol_core::mqtt::ArcPayload;
use mqtt_protocol_core::mqtt::packet::{
    Packet, Property, Qos as CoreQos, RetainHandling as CoreRetainHandling, v3_1_1, v5_0,
};

use crate::message::Message;
use crate::reason::{Code, Fault};
use crate::{Qos, Version};

use super::{Forwarded, Plain};

/// One packet of a client, decoded.
#[derive(Debug)]
pub(crate) enum Inbound {
    Connect(Box<Connect>),
    Publish(Publish),
    Subscribe(Subscribe),
    Unsubscribe {
        id: u16,
        filters: Vec<String>,
    },
    /// A message that we sent with QoS 1 has arrived.
    Acknowledged,
    /// The third step of QoS 2.
    Release {
        id: u16,
    },
    Disconnect {
        with_will: bool,
        session_expiry_s: u32,
    },
    /// Nothing to do, such as a PINGREQ, which the engine has answered.
    Nothing,
}

#[derive(Debug)]
pub(crate) struct Connect {
    pub(crate) version: Version,
    pub(crate) client_id: String,
    /// Clean Start of v5, Clean Session of 3.1.1.
    pub(crate) clean: bool,
    pub(crate) keep_alive_s: u16,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Vec<u8>>,
    pub(crate) will: Option<Will>,
    pub(crate) session_expiry_s: u32,
    /// Whether reason strings may go on any packet.
    pub(crate) problem_information: bool,
    /// Whether the client asks for extended authentication.
    pub(crate) authentication_method: bool,
}

/// What a client wants to be published when it is gone.
#[derive(Debug)]
pub(crate) struct Will {
    pub(crate) message: Message,
    /// Its QoS is 2, which is kept as 1 in `message`.
    pub(crate) exactly_once: bool,
    /// How long the message is of use once it is published.
    pub(crate) expiry: Option<Duration>,
}

#[derive(Debug)]
pub(crate) struct Subscribe {
    pub(crate) id: u16,
    pub(crate) identifier: Option<u32>,
    pub(crate) entries: Vec<Entry>,
}

/// One filter of a SUBSCRIBE with its options (MQTT 5 §3.8.3.1).
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) filter: String,
    pub(crate) qos: Qos,
    pub(crate) no_local: bool,
    pub(crate) retain_as_published: bool,
    pub(crate) retain_handling: RetainHandling,
}

/// When retained messages are sent on a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RetainHandling {
    Send,
    SendIfNew,
    DoNotSend,
}

/// A PUBLISH of a client; owns the packet, shares its payload.
#[derive(Debug)]
pub(crate) enum Publish {
    V3(v3_1_1::Publish),
    V5(v5_0::Publish),
    Plain(Plain),
}

/// The quality of service that a client asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Offered(Qos),
    ExactlyOnce,
}

impl Publish {
    pub(crate) fn topic(&self) -> &str {
        match self {
            Self::V3(packet) => packet.topic_name(),
            Self::V5(packet) => packet.topic_name(),
            Self::Plain(packet) => packet.topic(),
        }
    }

    pub(crate) fn payload(&self) -> &[u8] {
        match self {
            Self::V3(packet) => packet.payload().as_slice(),
            Self::V5(packet) => packet.payload().as_slice(),
            Self::Plain(packet) => packet.payload(),
        }
    }

    pub(crate) fn qos(&self) -> Asked {
        match match self {
            Self::V3(packet) => packet.qos(),
            Self::V5(packet) => packet.qos(),
            Self::Plain(packet) => return Asked::Offered(packet.qos()),
        } {
            CoreQos::AtMostOnce => Asked::Offered(Qos::AtMostOnce),
            CoreQos::AtLeastOnce => Asked::Offered(Qos::AtLeastOnce),
            CoreQos::ExactlyOnce => Asked::ExactlyOnce,
        }
    }

    /// None with QoS 0.
    pub(crate) fn id(&self) -> Option<u16> {
        match self {
            Self::V3(packet) => packet.packet_id(),
            Self::V5(packet) => packet.packet_id(),
            Self::Plain(packet) => packet.id(),
        }
    }

    pub(crate) fn retain(&self) -> bool {
        match self {
            Self::V3(packet) => packet.retain(),
            Self::V5(packet) => packet.retain(),
            Self::Plain(packet) => packet.retain(),
        }
    }

    pub(crate) fn content_type(&self) -> Option<&str> {
        super::content_type(self.properties())
    }

    pub(crate) fn user_properties(&self) -> Vec<(&str, &str)> {
        super::user_properties(self.properties())
    }

    /// The message for subscribers.
    pub(crate) fn message(&self, now: Instant) -> Message {
        let qos = match self.qos() {
            Asked::Offered(qos) => qos,
            Asked::ExactlyOnce => Qos::AtLeastOnce,
        };
        let payload = match self {
            Self::V3(packet) => Bytes::from_owner(Payload(packet.payload().clone())),
            Self::V5(packet) => Bytes::from_owner(Payload(packet.payload().clone())),
            // A copy: a message that is kept for long must not keep all that came with it.
            Self::Plain(packet) => Bytes::copy_from_slice(packet.payload()),
        };
        let mut message = Message::new(self.topic(), payload, qos, self.retain());
        message.forwarded = Forwarded::of(self.properties());
        message.expires = expiry(self.properties()).and_then(|interval| now.checked_add(interval));
        message
    }

    fn properties(&self) -> &[Property] {
        match self {
            Self::V3(_) | Self::Plain(_) => &[],
            Self::V5(packet) => packet.props(),
        }
    }
}

struct Payload(ArcPayload);

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

/// Translates a packet that the engine let pass.
pub(super) fn translate(packet: Packet) -> Result<Inbound, Fault> {
    Ok(match packet {
        Packet::V3_1_1Connect(packet) => Inbound::Connect(Box::new(connect_v3(&packet))),
        Packet::V5_0Connect(packet) => Inbound::Connect(Box::new(connect_v5(&packet))),
        Packet::V3_1_1Publish(packet) => publish(Publish::V3(packet))?,
        Packet::V5_0Publish(packet) => publish(Publish::V5(packet))?,
        Packet::V3_1_1Subscribe(packet) => Inbound::Subscribe(Subscribe {
            id: packet.packet_id(),
            identifier: None,
            entries: packet
                .entries()
                .iter()
                .map(|entry| Entry {
                    filter: entry.topic_filter().to_owned(),
                    qos: granted(entry.sub_opts().qos()),
                    no_local: false,
                    retain_as_published: false,
                    retain_handling: RetainHandling::Send,
                })
                .collect(),
        }),
        Packet::V5_0Subscribe(packet) => Inbound::Subscribe(subscribe_v5(&packet)?),
        Packet::V3_1_1Unsubscribe(packet) => Inbound::Unsubscribe {
            id: packet.packet_id(),
            filters: packet
                .entries()
                .iter()
                .map(|filter| filter.as_str().to_owned())
                .collect(),
        },
        Packet::V5_0Unsubscribe(packet) => Inbound::Unsubscribe {
            id: packet.packet_id(),
            filters: packet
                .entries()
                .iter()
                .map(|filter| filter.as_str().to_owned())
                .collect(),
        },
        Packet::V3_1_1Puback(_) | Packet::V5_0Puback(_) => Inbound::Acknowledged,
        Packet::V3_1_1Pubrel(packet) => Inbound::Release {
            id: packet.packet_id(),
        },
        Packet::V5_0Pubrel(packet) => Inbound::Release {
            id: packet.packet_id(),
        },
        Packet::V3_1_1Disconnect(_) => Inbound::Disconnect {
            with_will: false,
            session_expiry_s: 0,
        },
        Packet::V5_0Disconnect(packet) => Inbound::Disconnect {
            with_will: packet.reason_code().is_some_and(|code| code as u8 != 0),
            session_expiry_s: packet
                .props()
                .iter()
                .flatten()
                .find_map(|property| match property {
                    Property::SessionExpiryInterval(seconds) => Some(seconds.val()),
                    _ => None,
                })
                .unwrap_or(0),
        },
        Packet::V3_1_1Pingreq(_) | Packet::V5_0Pingreq(_) => Inbound::Nothing,
        Packet::V5_0Auth(_) => {
            return Err(Fault::protocol(
                "AUTH without an authentication method in the CONNECT",
            ));
        }
        other => {
            return Err(Fault::protocol(format!(
                "a client can't send a packet of this kind now: {:?}",
                other.packet_type()
            )));
        }
    })
}

fn publish(packet: Publish) -> Result<Inbound, Fault> {
    if packet.id() == Some(0) {
        return Err(Fault::malformed("PUBLISH: packet identifier 0"));
    }
    if packet
        .properties()
        .iter()
        .any(|property| matches!(property, Property::SubscriptionIdentifier(_)))
    {
        return Err(Fault::protocol(
            "PUBLISH: a client can't send a subscription identifier",
        ));
    }
    Ok(Inbound::Publish(packet))
}

fn connect_v3(packet: &v3_1_1::Connect) -> Connect {
    let will = packet.will_topic().map(|topic| Will {
        message: Message::new(
            topic,
            Bytes::copy_from_slice(packet.will_payload().unwrap_or_default()),
            granted(packet.will_qos()),
            packet.will_retain(),
        ),
        exactly_once: packet.will_qos() == CoreQos::ExactlyOnce,
        expiry: None,
    });
    Connect {
        version: Version::V3,
        client_id: packet.client_id().to_owned(),
        clean: packet.clean_session(),
        keep_alive_s: packet.keep_alive(),
        username: packet.user_name().map(ToOwned::to_owned),
        password: packet.password().map(<[u8]>::to_vec),
        will,
        session_expiry_s: 0,
        problem_information: false,
        authentication_method: false,
    }
}

fn connect_v5(packet: &v5_0::Connect) -> Connect {
    let will = packet.will_topic().map(|topic| {
        let mut message = Message::new(
            topic,
            Bytes::copy_from_slice(packet.will_payload().unwrap_or_default()),
            granted(packet.will_qos()),
            packet.will_retain(),
        );
        message.forwarded = Forwarded::of(packet.will_props());
        Will {
            message,
            exactly_once: packet.will_qos() == CoreQos::ExactlyOnce,
            expiry: expiry(packet.will_props()),
        }
    });
    let mut connect = Connect {
        version: Version::V5,
        client_id: packet.client_id().to_owned(),
        clean: packet.clean_start(),
        keep_alive_s: packet.keep_alive(),
        username: packet.user_name().map(ToOwned::to_owned),
        password: packet.password().map(<[u8]>::to_vec),
        will,
        session_expiry_s: 0,
        problem_information: true,
        authentication_method: false,
    };
    for property in packet.props() {
        match property {
            Property::SessionExpiryInterval(seconds) => connect.session_expiry_s = seconds.val(),
            Property::RequestProblemInformation(wanted) => {
                connect.problem_information = wanted.val() != 0;
            }
            Property::AuthenticationMethod(_) | Property::AuthenticationData(_) => {
                connect.authentication_method = true;
            }
            _ => {}
        }
    }
    connect
}

fn subscribe_v5(packet: &v5_0::Subscribe) -> Result<Subscribe, Fault> {
    let mut identifiers = packet.props().iter().filter_map(|property| match property {
        Property::SubscriptionIdentifier(identifier) => Some(identifier.val()),
        _ => None,
    });
    let identifier = identifiers.next();
    if identifiers.next().is_some() {
        return Err(Fault::protocol(
            "SUBSCRIBE: more than one subscription identifier",
        ));
    }
    Ok(Subscribe {
        id: packet.packet_id(),
        identifier,
        entries: packet
            .entries()
            .iter()
            .map(|entry| {
                let options = entry.sub_opts();
                Entry {
                    filter: entry.topic_filter().to_owned(),
                    qos: granted(options.qos()),
                    no_local: options.nl(),
                    retain_as_published: options.rap(),
                    retain_handling: match options.rh() {
                        CoreRetainHandling::SendRetained => RetainHandling::Send,
                        CoreRetainHandling::SendRetainedIfNotExists => RetainHandling::SendIfNew,
                        CoreRetainHandling::DoNotSendRetained => RetainHandling::DoNotSend,
                    },
                }
            })
            .collect(),
    })
}

/// The best that is offered of what a client asks for.
fn granted(qos: CoreQos) -> Qos {
    match qos {
        CoreQos::AtMostOnce => Qos::AtMostOnce,
        CoreQos::AtLeastOnce | CoreQos::ExactlyOnce => Qos::AtLeastOnce,
    }
}

fn expiry(properties: &[Property]) -> Option<Duration> {
    properties.iter().find_map(|property| match property {
        Property::MessageExpiryInterval(seconds) => {
            Some(Duration::from_secs(u64::from(seconds.val())))
        }
        _ => None,
    })
}

/// The reason code of an error of the engine.
pub(super) fn fault(error: mqtt_protocol_core::mqtt::result_code::MqttError) -> Fault {
    let code = u8::try_from(error as u16).map_or(Code::MALFORMED, Code);
    Fault::new(code, format!("the packet breaks the protocol: {error}"))
}
