//! The CBOR form of one record of the ingest log.
//!
//! A record holds all that the pipeline needs, so that a replay from any position gives the same
//! result: who sent it, over what link, when the hub received it, and the payload byte for byte.
//! Changes of the rules are records too, which is what gives them a place in the order of things.

use minicbor::{Decode, Encode};
use stencil_protocol::id::{DeviceId, GatewayId, TenantId};

use crate::Principal;

/// One record.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Record<'a> {
    /// When the hub took it, µs since the Unix epoch.
    #[n(0)]
    pub received_us: i64,
    /// What it is.
    #[b(1)]
    pub body: Body<'a>,
}

/// What a record is about.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Body<'a> {
    /// A message that a peer published, as the first release wrote each one.
    #[n(0)]
    Publication(#[b(0)] Publication<'a>),
    /// A workflow version that rules from here on.
    #[n(1)]
    Activation(#[b(0)] Activation<'a>),
    /// Nothing but that it is so late now. Rules that wait for something *not* to happen are
    /// judged by it, so that a replay finds the same silences at the same places.
    #[n(2)]
    Tick,
    /// Somebody's data is to be gone: what was logged before this, and nothing of what comes after.
    #[n(3)]
    Erase(#[n(0)] Erase),
    /// Messages that a peer published one after the other.
    #[n(4)]
    Publications(#[b(0)] Publications<'a>),
    /// What a device sends is refused from here on, or taken again.
    #[n(5)]
    Admission(#[n(0)] Admission),
    /// Somebody asks something of a roll-out.
    #[n(6)]
    Rollout(#[n(0)] Ask),
    /// A gateway is cut off, or, at a start of the hub, all of them are: who is behind it is off
    /// until it is heard of again.
    #[n(7)]
    GatewayGone(#[n(0)] GatewayGone),
}

/// What is asked of a roll-out. Its plan is in the store, where it never changes.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Ask {
    /// Whose roll-out.
    #[n(0)]
    pub tenant: TenantId,
    /// Which one.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub rollout: [u8; 16],
    /// What it is to do.
    #[n(2)]
    pub what: Step,
    /// Names this question, so that who waits for its answer finds it.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub question: [u8; 16],
}

/// What a roll-out is to do.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Step {
    /// Begin. These gateways are connected: devices behind others count as off.
    #[n(0)]
    Start(#[n(0)] Vec<GatewayId>),
    /// Offer the image to nobody else for now.
    #[n(1)]
    Pause,
    /// Go on.
    #[n(2)]
    Resume,
    /// Let those that failed try again.
    #[n(3)]
    Retry,
    /// End.
    #[n(4)]
    Abort,
}

/// A gateway whose session has ended.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct GatewayGone {
    /// Which; `None`: all of all tenants.
    #[n(0)]
    pub of: Option<(TenantId, GatewayId)>,
}

/// Messages that a peer published one after the other: what they have in common is said once.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Publications<'a> {
    /// Who published them.
    #[n(0)]
    pub from: Principal,
    /// The link between that peer and the hub.
    #[b(1)]
    pub transport: Transport<'a>,
    /// The messages, as [`Messages`] has written them.
    #[cbor(b(2), with = "minicbor::bytes")]
    pub messages: &'a [u8],
}

/// A message in a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Published<'a> {
    /// The suite of the link between the device and its gateway, as the gateway names it.
    pub link_suite: Option<&'a str>,
    /// The topic.
    pub topic: &'a str,
    /// The payload, as it came.
    pub payload: &'a [u8],
}

/// Writes messages for a record: a CBOR sequence (RFC 8742) of `[suite, topic, payload]`, in which
/// no suite is null, and so is a topic that is the one before.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    bytes: Vec<u8>,
    /// Where the last topic is written.
    topic: std::ops::Range<usize>,
}

impl Messages {
    /// None yet, with room for so many bytes.
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
            ..Self::default()
        }
    }

    /// Adds a message.
    pub(crate) fn push(&mut self, message: &Published<'_>) {
        let mut encoder = minicbor::Encoder::new(&mut self.bytes);
        // Writing to a Vec cannot fail.
        let _ = encoder.array(3);
        let _ = match message.link_suite {
            Some(suite) => encoder.str(suite),
            None => encoder.null(),
        };
        let same = !self.topic.is_empty()
            && self.bytes.get(self.topic.clone()) == Some(message.topic.as_bytes());
        let mut encoder = minicbor::Encoder::new(&mut self.bytes);
        if same {
            let _ = encoder.null();
        } else {
            let _ = encoder.str(message.topic);
            let end = self.bytes.len();
            self.topic = end - message.topic.len()..end;
        }
        let _ = minicbor::Encoder::new(&mut self.bytes).bytes(message.payload);
    }

    /// What is written.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Begins anew.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.topic = 0..0;
    }
}

impl<'a> Publications<'a> {
    /// The messages in order, up to where the bytes stop making sense.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Result<Published<'a>, RecordError>> + 'a {
        let mut decoder = minicbor::Decoder::new(self.messages);
        let (mut topic, mut broken) = ("", false);
        std::iter::from_fn(move || {
            if broken || decoder.position() == decoder.input().len() {
                return None;
            }
            let read = message(&mut decoder, topic);
            match &read {
                Ok(message) => topic = message.topic,
                Err(_) => broken = true,
            }
            Some(read)
        })
    }
}

fn message<'a>(
    decoder: &mut minicbor::Decoder<'a>,
    before: &'a str,
) -> Result<Published<'a>, RecordError> {
    if decoder.array()? != Some(3) {
        return Err(minicbor::decode::Error::message("a message has three parts").into());
    }
    Ok(Published {
        link_suite: decoder.decode()?,
        topic: decoder.decode::<Option<&str>>()?.unwrap_or(before),
        payload: decoder.bytes()?,
    })
}

/// A message that a peer published.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Publication<'a> {
    /// Who published it.
    #[n(0)]
    pub from: Principal,
    /// The link between that peer and the hub.
    #[b(1)]
    pub transport: Transport<'a>,
    /// The suite of the link between the device and its gateway, as the gateway names it.
    #[b(2)]
    pub link_suite: Option<&'a str>,
    /// The topic.
    #[b(3)]
    pub topic: &'a str,
    /// The payload, as it came.
    #[cbor(b(4), with = "minicbor::bytes")]
    pub payload: &'a [u8],
}

impl<'a> Publication<'a> {
    /// As the first release wrote it.
    #[cfg(test)]
    pub(crate) fn new(from: Principal, transport: Transport<'a>, one: &Published<'a>) -> Self {
        Self {
            from,
            transport,
            link_suite: one.link_suite,
            topic: one.topic,
            payload: one.payload,
        }
    }

    /// What was published.
    pub(crate) fn published(&self) -> Published<'a> {
        Published {
            link_suite: self.link_suite,
            topic: self.topic,
            payload: self.payload,
        }
    }
}

/// A link between a peer and the hub, as it was negotiated.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Transport<'a> {
    /// TCP on loopback, without TLS.
    #[n(0)]
    Plain,
    /// TLS 1.3.
    #[n(1)]
    Tls {
        /// The key exchange group, such as `X25519MLKEM768`.
        #[b(0)]
        group: &'a str,
        /// Whether that group is post-quantum.
        #[n(1)]
        post_quantum: bool,
    },
}

/// A workflow version that rules from here on. The definition itself is in the store, where a
/// version never changes.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Activation<'a> {
    /// Whose workflow.
    #[n(0)]
    pub tenant: TenantId,
    /// Which one.
    #[b(1)]
    pub workflow: &'a str,
    /// Its version; `None` takes the workflow out of force.
    #[n(2)]
    pub version: Option<u32>,
}

/// Whose data is to be gone.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Erase {
    /// Of this tenant.
    #[n(0)]
    pub tenant: TenantId,
    /// Only of this device; `None`: all of it, and the tenant.
    #[n(1)]
    pub device: Option<DeviceId>,
}

/// Whether a device is let in.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Admission {
    /// Whose device.
    #[n(0)]
    pub tenant: TenantId,
    /// Which one.
    #[n(1)]
    pub device: DeviceId,
    /// It is not.
    #[n(2)]
    pub refused: bool,
}

/// Bytes that are no record of this hub.
#[derive(Debug, thiserror::Error)]
#[error("not an ingest record: {0}")]
pub(crate) struct RecordError(#[from] minicbor::decode::Error);

impl<'a> Record<'a> {
    /// Appends the record's CBOR form to `out`.
    pub(crate) fn encode_into(&self, out: &mut Vec<u8>) {
        // Writing to a Vec cannot fail.
        let _ = minicbor::encode(self, out);
    }

    /// Reads a record.
    ///
    /// # Errors
    /// [`RecordError`] says where the bytes stop making sense.
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, RecordError> {
        Ok(minicbor::decode(bytes)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;
    use proptest::prelude::*;

    fn role() -> impl Strategy<Value = Role> {
        ("[a-z][a-z0-9-]{0,20}", 0..3).prop_map(|(id, kind)| match kind {
            0 => Role::Gateway(GatewayId::parse(&id).unwrap()),
            1 => Role::Device(DeviceId::parse(&id).unwrap()),
            _ => Role::Token(DeviceId::parse(&id).unwrap()),
        })
    }

    proptest! {
        #[test]
        fn a_publication_survives_the_round_trip(
            received_us in any::<i64>(),
            role in role(),
            tls in any::<Option<(String, bool)>>(),
            suite in any::<Option<String>>(),
            topic in any::<String>(),
            payload in any::<Vec<u8>>(),
        ) {
            let record = Record {
                received_us,
                body: Body::Publication(Publication {
                    from: Principal { tenant: TenantId::parse("t").unwrap(), role },
                    transport: match &tls {
                        None => Transport::Plain,
                        Some((group, post_quantum)) => {
                            Transport::Tls { group, post_quantum: *post_quantum }
                        }
                    },
                    link_suite: suite.as_deref(),
                    topic: &topic,
                    payload: &payload,
                }),
            };
            let mut bytes = Vec::new();
            record.encode_into(&mut bytes);
            prop_assert_eq!(Record::decode(&bytes).unwrap(), record);
        }

        #[test]
        fn messages_survive_the_round_trip(
            messages in prop::collection::vec(
                (any::<Option<String>>(), "[a-c]{0,2}", any::<Vec<u8>>()),
                0..20,
            ),
            cut in any::<prop::sample::Index>(),
        ) {
            let published: Vec<_> = messages
                .iter()
                .map(|(suite, topic, payload)| Published {
                    link_suite: suite.as_deref(),
                    topic,
                    payload,
                })
                .collect();
            let mut written = Messages::default();
            for message in &published {
                written.push(message);
            }
            let record = Record {
                received_us: 7,
                body: Body::Publications(Publications {
                    from: Principal {
                        tenant: TenantId::parse("t").unwrap(),
                        role: Role::Gateway(GatewayId::parse("g").unwrap()),
                    },
                    transport: Transport::Plain,
                    messages: written.as_bytes(),
                }),
            };
            let mut bytes = Vec::new();
            record.encode_into(&mut bytes);
            let read = Record::decode(&bytes).unwrap();
            prop_assert_eq!(&read, &record);
            let Body::Publications(mut read) = read.body else { panic!() };
            let all: Vec<_> = read.iter().map(Result::unwrap).collect();
            prop_assert_eq!(&all, &published);
            // What is cut off is told, and what comes before is read.
            let (whole, at) = (read.messages, cut.index(read.messages.len() + 1));
            read.messages = &whole[..at];
            let mut rest = published.iter();
            for message in read.iter() {
                match message {
                    Ok(message) => prop_assert_eq!(Some(&message), rest.next()),
                    Err(_) => prop_assert!(at < whole.len()),
                }
            }
            prop_assert!(at < whole.len() || rest.next().is_none());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>()) {
            let _ = Record::decode(&bytes);
            let from = Principal {
                tenant: TenantId::parse("t").unwrap(),
                role: Role::Gateway(GatewayId::parse("g").unwrap()),
            };
            let transport = Transport::Plain;
            let _ = Publications { from, transport, messages: &bytes }.iter().count();
        }
    }

    #[test]
    fn a_tick_survives_the_round_trip_and_is_small() {
        let record = Record {
            received_us: 1_386_018_900_000_000,
            body: Body::Tick,
        };
        let mut bytes = Vec::new();
        record.encode_into(&mut bytes);
        assert_eq!(Record::decode(&bytes).unwrap(), record);
        assert!(bytes.len() <= 16, "{bytes:?}");
    }

    #[test]
    fn an_erasure_survives_the_round_trip() {
        for device in [None, Some(DeviceId::parse("freezer-1").unwrap())] {
            let tenant = TenantId::parse("acme").unwrap();
            let record = Record {
                received_us: 7,
                body: Body::Erase(Erase { tenant, device }),
            };
            let mut bytes = Vec::new();
            record.encode_into(&mut bytes);
            assert_eq!(Record::decode(&bytes).unwrap(), record);
        }
    }

    #[test]
    fn what_is_asked_of_a_rollout_survives_the_round_trip() {
        let tenant = TenantId::parse("acme").unwrap();
        let gateway = GatewayId::parse("gw-1").unwrap();
        for what in [Step::Start(vec![gateway.clone()]), Step::Retry] {
            let record = Record {
                received_us: 7,
                body: Body::Rollout(Ask {
                    tenant: tenant.clone(),
                    rollout: [1; 16],
                    what,
                    question: [2; 16],
                }),
            };
            let mut bytes = Vec::new();
            record.encode_into(&mut bytes);
            assert_eq!(Record::decode(&bytes).unwrap(), record);
        }
        for of in [None, Some((tenant, gateway))] {
            let body = Body::GatewayGone(GatewayGone { of });
            let record = Record {
                received_us: 7,
                body,
            };
            let mut bytes = Vec::new();
            record.encode_into(&mut bytes);
            assert_eq!(Record::decode(&bytes).unwrap(), record);
        }
    }

    #[test]
    fn records_of_the_first_release_are_read() {
        // What the first release wrote for an activation of `w`, version 3, of the tenant `t`.
        let bytes = [
            0xa2, 0x00, 0x07, 0x01, 0x82, 0x01, 0x81, 0xa3, 0x00, 0x61, b't', 0x01, 0x61, b'w',
            0x02, 0x03,
        ];
        let record = Record::decode(&bytes).unwrap();
        assert_eq!(record.received_us, 7);
        let Body::Activation(activation) = record.body else {
            panic!("{record:?}");
        };
        assert_eq!((activation.workflow, activation.version), ("w", Some(3)));
    }

    #[test]
    fn an_activation_survives_the_round_trip() {
        let record = Record {
            received_us: 7,
            body: Body::Activation(Activation {
                tenant: TenantId::parse("acme").unwrap(),
                workflow: "freezer-warm",
                version: Some(3),
            }),
        };
        let mut bytes = Vec::new();
        record.encode_into(&mut bytes);
        assert_eq!(Record::decode(&bytes).unwrap(), record);
    }
}
