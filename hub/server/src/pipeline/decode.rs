//! From a log record to what it means. Pure: the bytes and nothing else.

use stencil_edge::{Judged, Place, Record};
use stencil_protocol::batch::Batch;
use stencil_protocol::command::Status;
use stencil_protocol::desired::Said;
use stencil_protocol::foreign::{Parsed, thingsboard};
use stencil_protocol::id::{DeviceId, GatewayId};
use stencil_protocol::image::{Fetch, Told};
use stencil_protocol::keys::{Holds, Used};
use stencil_protocol::renewal::Renew;
use stencil_protocol::report::{LinkEvent, LossReport};
use stencil_protocol::topic::Topic;

use super::origin::Origin;

/// What a publication says.
#[derive(Debug)]
pub(super) enum Message<'a> {
    /// Numbered samples of a device.
    Batch(DeviceId, Batch<'a>),
    /// Numbered samples of a device, with their place in the stream that its gateway's rules judge,
    /// and when the gateway received them.
    Judged(DeviceId, (Place, i64), Batch<'a>),
    /// What else is in a gateway's stream.
    Stream(GatewayId, Box<Record>),
    /// Samples of a device that numbers nothing.
    Unnumbered(DeviceId, Parsed),
    /// What became of a command.
    Status(DeviceId, Status<'a>),
    /// What a gateway had to drop.
    Loss(LossReport),
    /// A link that came or went.
    Link(LinkEvent),
    /// What a gateway holds of devices' keys.
    Holds(GatewayId, Holds),
    /// A device has used a key.
    KeyUsed(Used),
    /// What a device says of an image.
    Image(Told),
    /// A piece of an image that a gateway asks for.
    Fetch(GatewayId, Fetch),
    /// What a gateway says of itself.
    Said(GatewayId, Said),
    /// A gateway asks for the successor of its certificate.
    Renew(GatewayId, Renew),
    /// What a gateway says of its seals.
    Seals(GatewayId, Box<stencil_proof::Record>),
    /// Nothing that makes sense.
    Malformed(Option<DeviceId>, String),
}

impl<'a> Message<'a> {
    /// Reads what was published.
    pub(super) fn decode(origin: &Origin<'a>) -> Self {
        let payload = origin.payload;
        let topic = match origin.about.clone() {
            Ok(topic) => topic,
            Err(error) => return Self::Malformed(None, format!("topic: {error}")),
        };
        match topic {
            Topic::Batch(device) => match Batch::decode(payload) {
                Ok(batch) => Self::Batch(device, batch),
                Err(error) => malformed(device, "batch", error),
            },
            Topic::Judged(device) => match Judged::decode(payload) {
                Ok(judged) => match Batch::decode(judged.batch) {
                    Ok(batch) => Self::Judged(device, (judged.place, judged.received_us), batch),
                    Err(error) => malformed(device, "batch", error),
                },
                Err(error) => malformed(device, "judged batch", error),
            },
            Topic::GatewayStream(gateway) => match Record::decode(payload) {
                Ok(record) => Self::Stream(gateway, Box::new(record)),
                Err(error) => Self::Malformed(None, format!("the stream of {gateway}: {error}")),
            },
            Topic::Status(device) => match Status::decode(payload) {
                Ok(status) => Self::Status(device, status),
                Err(error) => malformed(device, "command status", error),
            },
            Topic::Loss(device) => match LossReport::decode(payload) {
                Ok(report) if report.device == device => Self::Loss(report),
                Ok(report) => malformed(device, "loss report", other_device(&report.device)),
                Err(error) => malformed(device, "loss report", error),
            },
            Topic::Link(device) => match LinkEvent::decode(payload) {
                Ok(event) if event.device == device => Self::Link(event),
                Ok(event) => malformed(device, "link event", other_device(&event.device)),
                Err(error) => malformed(device, "link event", error),
            },
            Topic::ForeignTelemetry => match origin.from.device() {
                None => Self::Malformed(None, "this topic is for a device's own token".to_owned()),
                Some(device) => match thingsboard::parse(payload, origin.received_us) {
                    Ok(parsed) => Self::Unnumbered(device.clone(), parsed),
                    Err(error) => malformed(device.clone(), "telemetry", error),
                },
            },
            Topic::Key(device) => match Used::decode(payload) {
                Ok(used) if used.device == device => Self::KeyUsed(used),
                Ok(used) => malformed(device, "use of a key", other_device(&used.device)),
                Err(error) => malformed(device, "use of a key", error),
            },
            Topic::GatewayHolds(gateway) => match Holds::decode(payload) {
                Ok(holds) => Self::Holds(gateway, holds),
                Err(error) => Self::Malformed(None, format!("what {gateway} holds: {error}")),
            },
            Topic::Image(device) => match Told::decode(payload) {
                Ok(told) if told.device == device => Self::Image(told),
                Ok(told) => malformed(device, "report of an image", other_device(&told.device)),
                Err(error) => malformed(device, "report of an image", error),
            },
            Topic::GatewayFetch(gateway) => match Fetch::decode(payload) {
                Ok(fetch) => Self::Fetch(gateway, fetch),
                Err(error) => Self::Malformed(None, format!("what {gateway} fetches: {error}")),
            },
            Topic::GatewayState(gateway) => match Said::decode(payload) {
                Ok(said) => Self::Said(gateway, said),
                Err(error) => Self::Malformed(None, format!("what {gateway} says: {error}")),
            },
            Topic::GatewaySeals(gateway) => match stencil_proof::Record::decode(payload) {
                Ok(record) => Self::Seals(gateway, Box::new(record)),
                Err(error) => Self::Malformed(None, format!("the seals of {gateway}: {error}")),
            },
            // Those that somebody waits for never come here.
            Topic::GatewayAnswer(gateway) => {
                Self::Malformed(None, format!("an answer of {gateway} is in the log"))
            }
            Topic::GatewayReceipts(gateway) => {
                Self::Malformed(None, format!("receipts of {gateway} are in the log"))
            }
            Topic::GatewayRenew(gateway) => match Renew::decode(payload) {
                Ok(renew) => Self::Renew(gateway, renew),
                Err(error) => Self::Malformed(None, format!("what {gateway} has renewed: {error}")),
            },
            Topic::GatewayCommand(_)
            | Topic::GatewayAsk(_)
            | Topic::GatewayAccess(_)
            | Topic::GatewayDesired(_)
            | Topic::GatewayCertificate(_)
            | Topic::GatewayKeys(_)
            | Topic::GatewayRules(_)
            | Topic::GatewayWanted(_)
            | Topic::GatewayPiece(_) => {
                Self::Malformed(None, "this topic is for the hub to publish on".to_owned())
            }
        }
    }
}

impl Message<'_> {
    /// The device that it is about, where that is known.
    pub(super) fn device(&self) -> Option<&DeviceId> {
        match self {
            Self::Batch(device, _)
            | Self::Judged(device, ..)
            | Self::Unnumbered(device, _)
            | Self::Status(device, _) => Some(device),
            Self::Loss(report) => Some(&report.device),
            Self::Link(event) => Some(&event.device),
            Self::KeyUsed(used) => Some(&used.device),
            Self::Holds(..) | Self::Stream(..) => None,
            Self::Image(told) => Some(&told.device),
            Self::Fetch(..) | Self::Said(..) | Self::Renew(..) | Self::Seals(..) => None,
            Self::Malformed(device, _) => device.as_ref(),
        }
    }

    /// The device that says it, and not its gateway.
    pub(super) fn of_device(&self) -> Option<&DeviceId> {
        match self {
            Self::Batch(device, _)
            | Self::Judged(device, ..)
            | Self::Unnumbered(device, _)
            | Self::Status(device, _) => Some(device),
            Self::Image(told) => Some(&told.device),
            Self::Malformed(device, _) => device.as_ref(),
            Self::Loss(_)
            | Self::Link(_)
            | Self::KeyUsed(_)
            | Self::Holds(..)
            | Self::Stream(..)
            | Self::Said(..)
            | Self::Renew(..)
            | Self::Seals(..)
            | Self::Fetch(..) => None,
        }
    }
}

fn malformed<'a>(device: DeviceId, what: &str, why: impl std::fmt::Display) -> Message<'a> {
    Message::Malformed(Some(device), format!("{what}: {why}"))
}

fn other_device(device: &DeviceId) -> String {
    format!("it is about device {device}, which is not the topic's")
}
