//! What the endpoint sends.

use std::time::Instant;

use mqtt_protocol_core::mqtt::Version as CoreVersion;
use mqtt_protocol_core::mqtt::packet::{
    AssignedClientIdentifier, MaximumQos, MessageExpiryInterval, Packet, Property, Qos as CoreQos,
    ReasonString, ReceiveMaximum, RetainAvailable, ServerKeepAlive, SessionExpiryInterval,
    SharedSubscriptionAvailable, SubscriptionIdentifier, SubscriptionIdentifierAvailable,
    TopicAliasMaximum, WildcardSubscriptionAvailable, v3_1_1, v5_0,
};
use mqtt_protocol_core::mqtt::result_code::{
    ConnectReasonCode, ConnectReturnCode, DisconnectReasonCode, MqttError, PubackReasonCode,
    PubcompReasonCode, SubackReasonCode, SubackReturnCode, UnsubackReasonCode,
};

use super::Engine;
use crate::message::Message;
use crate::reason::{Code, Fault};
use crate::{Qos, Version};

/// What a client is told when it is let in.
#[derive(Debug, Default)]
pub(crate) struct Accept<'a> {
    pub(crate) receive_maximum: u16,
    pub(crate) topic_alias_maximum: u16,
    /// The client id, when the endpoint made it up.
    pub(crate) assigned_client_id: Option<&'a str>,
    /// The keep-alive, when it isn't what the client asked for.
    pub(crate) keep_alive_s: Option<u16>,
    /// The client asked for a session that outlives its connection.
    pub(crate) session_expires_at_once: bool,
}

/// A message as one subscriber gets it.
#[derive(Debug)]
pub(crate) struct Delivery<'a> {
    pub(crate) message: &'a Message,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    pub(crate) identifiers: &'a [u32],
}

/// Why a message was not sent to a subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Undeliverable {
    Expired,
    TooLarge,
    /// The connection ends.
    Closing,
}

impl Engine {
    /// Lets the client in.
    pub(crate) fn accept(&mut self, accept: &Accept<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
        let packet: Result<Packet, MqttError> = match self.version() {
            Some(Version::V5) => connack_properties(accept).and_then(|properties| {
                v5_0::Connack::builder()
                    .session_present(false)
                    .reason_code(ConnectReasonCode::Success)
                    .props(properties)
                    .build()
                    .map(Into::into)
            }),
            _ => v3_1_1::Connack::builder()
                .session_present(false)
                .return_code(ConnectReturnCode::Accepted)
                .build()
                .map(Into::into),
        };
        packet
            .and_then(|packet| self.send(packet, out))
            .map_err(super::inbound::fault)?;
        self.open = true;
        Ok(())
    }

    /// Acknowledges a PUBLISH with QoS 1. A 3.1.1 client can't be told of a
    /// failure, so `code` must be a success there.
    pub(crate) fn acknowledge(&mut self, id: u16, code: Code, what: &str, out: &mut Vec<u8>) {
        let success = code == Code::SUCCESS;
        if success && self.takes_plain() {
            super::plain::acknowledge(id, out);
            return;
        }
        let packet: Result<Packet, MqttError> = match self.version() {
            Some(Version::V5) if !success => {
                let code = PubackReasonCode::try_from(code.0)
                    .unwrap_or(PubackReasonCode::UnspecifiedError);
                let builder = || v5_0::Puback::builder().packet_id(id).reason_code(code);
                let detailed = builder().props(self.reason_string(what)).build();
                if detailed
                    .and_then(|packet| self.send(packet.into(), out))
                    .is_ok()
                {
                    return;
                }
                // The client may take no packet with so many words.
                builder().build().map(Into::into)
            }
            Some(Version::V5) => v5_0::Puback::builder()
                .packet_id(id)
                .build()
                .map(Into::into),
            _ => v3_1_1::Puback::builder()
                .packet_id(id)
                .build()
                .map(Into::into),
        };
        self.try_send(packet, "PUBACK", out);
    }

    /// Answers a SUBSCRIBE, one result a filter.
    pub(crate) fn subscribed(&mut self, id: u16, results: &[Result<Qos, Code>], out: &mut Vec<u8>) {
        let packet: Result<Packet, MqttError> = match self.version() {
            Some(Version::V5) => v5_0::Suback::builder()
                .packet_id(id)
                .reason_codes(
                    results
                        .iter()
                        .map(|result| match result {
                            Ok(Qos::AtMostOnce) => SubackReasonCode::GrantedQos0,
                            Ok(Qos::AtLeastOnce) => SubackReasonCode::GrantedQos1,
                            Err(code) => SubackReasonCode::try_from(code.0)
                                .unwrap_or(SubackReasonCode::UnspecifiedError),
                        })
                        .collect(),
                )
                .build()
                .map(Into::into),
            _ => v3_1_1::Suback::builder()
                .packet_id(id)
                .return_codes(
                    results
                        .iter()
                        .map(|result| match result {
                            Ok(Qos::AtMostOnce) => SubackReturnCode::SuccessMaximumQos0,
                            Ok(Qos::AtLeastOnce) => SubackReturnCode::SuccessMaximumQos1,
                            Err(_) => SubackReturnCode::Failure,
                        })
                        .collect(),
                )
                .build()
                .map(Into::into),
        };
        self.try_send(packet, "SUBACK", out);
    }

    /// Answers an UNSUBSCRIBE, one result a filter: whether there was one.
    pub(crate) fn unsubscribed(&mut self, id: u16, existed: &[bool], out: &mut Vec<u8>) {
        let packet: Result<Packet, MqttError> = match self.version() {
            Some(Version::V5) => v5_0::Unsuback::builder()
                .packet_id(id)
                .reason_codes(
                    existed
                        .iter()
                        .map(|existed| match existed {
                            true => UnsubackReasonCode::Success,
                            false => UnsubackReasonCode::NoSubscriptionExisted,
                        })
                        .collect(),
                )
                .build()
                .map(Into::into),
            _ => v3_1_1::Unsuback::builder()
                .packet_id(id)
                .build()
                .map(Into::into),
        };
        self.try_send(packet, "UNSUBACK", out);
    }

    /// Answers a PUBREL, which can only be a left-over of a session elsewhere.
    pub(crate) fn released(&mut self, id: u16, out: &mut Vec<u8>) {
        let packet: Result<Packet, MqttError> = match self.version() {
            Some(Version::V5) => v5_0::Pubcomp::builder()
                .packet_id(id)
                .reason_code(PubcompReasonCode::PacketIdentifierNotFound)
                .build()
                .map(Into::into),
            _ => v3_1_1::Pubcomp::builder()
                .packet_id(id)
                .build()
                .map(Into::into),
        };
        self.try_send(packet, "PUBCOMP", out);
    }

    /// Whether another QoS 1 message may be sent now (Receive Maximum).
    pub(crate) fn may_send(&self, max_in_flight: u16) -> bool {
        self.in_flight() < max_in_flight
            && self
                .core
                .get_receive_maximum_vacancy_for_send()
                .is_none_or(|vacancy| vacancy > 0)
    }

    /// Sends a message to this subscriber. For QoS 1 ask
    /// [`may_send`](Self::may_send) first.
    pub(crate) fn deliver(
        &mut self,
        delivery: &Delivery<'_>,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Result<(), Undeliverable> {
        let message = delivery.message;
        if message.expired(now) {
            return Err(Undeliverable::Expired);
        }
        let id = match delivery.qos {
            Qos::AtMostOnce => None,
            Qos::AtLeastOnce => Some(
                self.core
                    .acquire_packet_id()
                    .map_err(|_| Undeliverable::Closing)?,
            ),
        };
        let packet = match self.version() {
            Some(Version::V5) => publish_v5(delivery, id, now),
            _ => publish_v3(delivery, id),
        };
        match packet.and_then(|packet| self.send(packet, out)) {
            Ok(()) => {
                if id.is_some() {
                    self.in_flight = self.in_flight.saturating_add(1);
                }
                Ok(())
            }
            Err(error) => {
                if let Some(id) = id {
                    self.core.release_packet_id(id);
                }
                Err(match error {
                    MqttError::PacketTooLarge => Undeliverable::TooLarge,
                    _ => Undeliverable::Closing,
                })
            }
        }
    }

    /// Says goodbye; 3.1.1 has no packet for that.
    pub(crate) fn disconnect(&mut self, code: Code, what: &str, out: &mut Vec<u8>) {
        if self.version() != Some(Version::V5) || self.closing {
            return;
        }
        let code = DisconnectReasonCode::try_from(code.0)
            .unwrap_or(DisconnectReasonCode::UnspecifiedError);
        let builder = || v5_0::Disconnect::builder().reason_code(code);
        let detailed = ReasonString::new(what)
            .and_then(|text| builder().props(vec![text.into()]).build())
            .and_then(|packet| self.send(packet.into(), out));
        if detailed.is_err() {
            let plain = builder().build().map(Into::into);
            self.try_send(plain, "DISCONNECT", out);
        }
        self.closing = true;
    }

    /// A reason string where the client wants them.
    fn reason_string(&self, what: &str) -> Vec<Property> {
        if !self.problem_information || what.is_empty() {
            return Vec::new();
        }
        ReasonString::new(what)
            .map(|text| vec![text.into()])
            .unwrap_or_default()
    }

    /// Sends what can only fail because the connection ends or because the
    /// client accepts no packet of even this size.
    fn try_send(&mut self, packet: Result<Packet, MqttError>, kind: &str, out: &mut Vec<u8>) {
        if let Err(error) = packet.and_then(|packet| self.send(packet, out)) {
            tracing::debug!(kind, %error, "packet not sent");
        }
    }
}

/// The CONNACK for a client that is not let in, by hand: it must also be sent
/// when the CONNECT could not be decoded.
fn refusal(version: Option<Version>, code: Code, what: &str) -> Vec<u8> {
    match version {
        Some(Version::V5) => {
            let reason =
                ConnectReasonCode::try_from(code.0).unwrap_or(ConnectReasonCode::UnspecifiedError);
            let plain = vec![0x20, 3, 0, reason as u8, 0];
            ReasonString::new(what)
                .and_then(|text| {
                    v5_0::Connack::builder()
                        .session_present(false)
                        .reason_code(reason)
                        .props(vec![text.into()])
                        .build()
                })
                .map_or(plain, |packet| packet.to_continuous_buffer())
        }
        version => {
            let code = match code {
                Code::UNSUPPORTED_VERSION => ConnectReturnCode::UnacceptableProtocolVersion,
                Code::CLIENT_ID => ConnectReturnCode::IdentifierRejected,
                Code::UNAVAILABLE | Code::BUSY | Code::QUOTA => {
                    ConnectReturnCode::ServerUnavailable
                }
                Code::CREDENTIALS => ConnectReturnCode::BadUserNameOrPassword,
                Code::NOT_AUTHORIZED | Code::BANNED => ConnectReturnCode::NotAuthorized,
                // 3.1.1 §3.1.4: a CONNECT that breaks the protocol gets no
                // answer.
                _ => return Vec::new(),
            };
            if version.is_none() && code != ConnectReturnCode::UnacceptableProtocolVersion {
                return Vec::new();
            }
            vec![0x20, 2, 0, code as u8]
        }
    }
}

impl Engine {
    /// Does not let the client in. Nothing may be sent after this.
    pub(crate) fn refuse(&mut self, code: Code, what: &str, out: &mut Vec<u8>) {
        let version = self.version.or(match self.core.get_protocol_version() {
            CoreVersion::V3_1_1 => Some(Version::V3),
            CoreVersion::V5_0 => Some(Version::V5),
            CoreVersion::Undetermined => None,
        });
        out.clear();
        out.extend_from_slice(&refusal(version, code, what));
        self.closing = true;
    }
}

fn connack_properties(accept: &Accept<'_>) -> Result<Vec<Property>, MqttError> {
    let mut properties: Vec<Property> = vec![
        ReceiveMaximum::new(accept.receive_maximum.max(1))?.into(),
        MaximumQos::new(1)?.into(),
        RetainAvailable::new(1)?.into(),
        WildcardSubscriptionAvailable::new(1)?.into(),
        SubscriptionIdentifierAvailable::new(1)?.into(),
        SharedSubscriptionAvailable::new(0)?.into(),
    ];
    if accept.topic_alias_maximum > 0 {
        properties.push(TopicAliasMaximum::new(accept.topic_alias_maximum)?.into());
    }
    if let Some(client_id) = accept.assigned_client_id {
        properties.push(AssignedClientIdentifier::new(client_id)?.into());
    }
    if let Some(seconds) = accept.keep_alive_s {
        properties.push(ServerKeepAlive::new(seconds)?.into());
    }
    if accept.session_expires_at_once {
        properties.push(SessionExpiryInterval::new(0)?.into());
    }
    Ok(properties)
}

fn publish_v3(delivery: &Delivery<'_>, id: Option<u16>) -> Result<Packet, MqttError> {
    v3_1_1::Publish::builder()
        .topic_name(&*delivery.message.topic)?
        .qos(core_qos(delivery.qos))
        .retain(delivery.retain)
        .packet_id(id)
        .payload(&delivery.message.payload[..])
        .build()
        .map(Into::into)
}

fn publish_v5(delivery: &Delivery<'_>, id: Option<u16>, now: Instant) -> Result<Packet, MqttError> {
    let message = delivery.message;
    let mut properties = message.forwarded.properties().to_vec();
    if let Some(expires) = message.expires {
        // What is left, so that it can't live longer by being passed on.
        let left = expires.saturating_duration_since(now).as_secs().max(1);
        properties
            .push(MessageExpiryInterval::new(u32::try_from(left).unwrap_or(u32::MAX))?.into());
    }
    for identifier in delivery.identifiers {
        properties.push(SubscriptionIdentifier::new(*identifier)?.into());
    }
    v5_0::Publish::builder()
        .topic_name(&*message.topic)?
        .qos(core_qos(delivery.qos))
        .retain(delivery.retain)
        .packet_id(id)
        .props(properties)
        .payload(&message.payload[..])
        .build()
        .map(Into::into)
}

fn core_qos(qos: Qos) -> CoreQos {
    match qos {
        Qos::AtMostOnce => CoreQos::AtMostOnce,
        Qos::AtLeastOnce => CoreQos::AtLeastOnce,
    }
}
