//! MQTT topic names within a tenant. The tenant is not in them: it follows
//! from the credential of the connection.

use core::fmt;

use crate::id::{self, DeviceId, GatewayId};

/// The longest topic that is one of ours, in bytes.
pub const MAX_BYTES: usize = DEVICES.len() + id::MAX_BYTES + "/status".len();

const DEVICES: &str = "stencil/v1/d/";
const GATEWAYS: &str = "stencil/v1/g/";
const FOREIGN: &str = "v1/devices/me/telemetry";

/// A topic that the hub knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topic {
    /// `stencil/v1/d/{device}/batch`: a [`crate::batch`], to the hub.
    Batch(DeviceId),
    /// `stencil/v1/d/{device}/status`: a [`crate::command::Status`], to the hub.
    Status(DeviceId),
    /// `stencil/v1/d/{device}/loss`: a `report::LossReport`, to the hub.
    Loss(DeviceId),
    /// `stencil/v1/d/{device}/link`: a `report::LinkEvent`, to the hub.
    Link(DeviceId),
    /// `stencil/v1/d/{device}/key`: a `keys::Used`, to the hub.
    Key(DeviceId),
    /// `stencil/v1/d/{device}/image`: an `image::Told`, to the hub.
    Image(DeviceId),
    /// `stencil/v1/g/{gateway}/rules`: the rules that are placed there, to the gateway.
    GatewayRules(GatewayId),
    /// `stencil/v1/d/{device}/judged`: a [`crate::batch`] with its place in the gateway's stream of
    /// what its rules judge, to the hub.
    Judged(DeviceId),
    /// `stencil/v1/g/{gateway}/stream`: what else is in that stream, to the hub.
    GatewayStream(GatewayId),
    /// `stencil/v1/g/{gateway}/seals`: what the gateway has sealed of what its devices said, to the hub.
    GatewaySeals(GatewayId),
    /// `stencil/v1/g/{gateway}/wanted`: an `image::Wanted`, to the gateway.
    GatewayWanted(GatewayId),
    /// `stencil/v1/g/{gateway}/fetch`: an `image::Fetch`, to the hub.
    GatewayFetch(GatewayId),
    /// `stencil/v1/g/{gateway}/piece`: an `image::Piece`, to the gateway.
    GatewayPiece(GatewayId),
    /// `stencil/v1/g/{gateway}/command`: a [`crate::command::Command`], to the gateway.
    GatewayCommand(GatewayId),
    /// `stencil/v1/g/{gateway}/keys`: a `keys::Update`, to the gateway.
    GatewayKeys(GatewayId),
    /// `stencil/v1/g/{gateway}/holds`: a `keys::Holds`, to the hub.
    GatewayHolds(GatewayId),
    /// `stencil/v1/g/{gateway}/desired`: a `desired::Desired`, to the gateway.
    GatewayDesired(GatewayId),
    /// `stencil/v1/g/{gateway}/state`: a `desired::Said`, to the hub.
    GatewayState(GatewayId),
    /// `stencil/v1/g/{gateway}/ask`: a `question::Question`, to the gateway.
    GatewayAsk(GatewayId),
    /// `stencil/v1/g/{gateway}/answer`: a `question::Piece`, to the hub.
    GatewayAnswer(GatewayId),
    /// `stencil/v1/g/{gateway}/renew`: a `renewal::Renew`, to the hub.
    GatewayRenew(GatewayId),
    /// `stencil/v1/g/{gateway}/cert`: a `renewal::Answer`, to the gateway.
    GatewayCertificate(GatewayId),
    /// `stencil/v1/g/{gateway}/access`: by whose credentials holders are let command devices there, to
    /// the gateway (JSON, `stencil_access::trust::Told`).
    GatewayAccess(GatewayId),
    /// `stencil/v1/g/{gateway}/receipts`: whom it has let (JSON, `stencil_access::receipt::Batch`), to
    /// the hub.
    GatewayReceipts(GatewayId),
    /// `v1/devices/me/telemetry`: ThingsBoard JSON; the device follows from the token.
    ForeignTelemetry,
}

/// Why a topic is none of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The topic has none of the known forms.
    #[error(
        "the topic is none of stencil/v1/d/{{device}}/batch|judged|status|loss|link|key|image, \
         stencil/v1/g/{{gateway}}/command|keys|holds|rules|stream|wanted|fetch|piece|desired|state|\
         ask|answer|renew|cert|access|receipts|seals, \
         {FOREIGN}"
    )]
    Unknown,
    /// The device or gateway in the topic is not an id.
    #[error("in the topic: {0}")]
    Id(#[from] id::Error),
}

impl Topic {
    /// Reads a topic name.
    pub fn parse(topic: &str) -> Result<Self, Error> {
        if topic == FOREIGN {
            return Ok(Topic::ForeignTelemetry);
        }
        if let Some(rest) = topic.strip_prefix(DEVICES) {
            let (device, kind) = rest.split_once('/').ok_or(Error::Unknown)?;
            let make = match kind {
                "batch" => Topic::Batch,
                "status" => Topic::Status,
                "loss" => Topic::Loss,
                "link" => Topic::Link,
                "key" => Topic::Key,
                "image" => Topic::Image,
                "judged" => Topic::Judged,
                _ => return Err(Error::Unknown),
            };
            return Ok(make(DeviceId::parse(device)?));
        }
        let rest = topic.strip_prefix(GATEWAYS).ok_or(Error::Unknown)?;
        let (gateway, kind) = rest.rsplit_once('/').ok_or(Error::Unknown)?;
        let make = match kind {
            "command" => Topic::GatewayCommand,
            "keys" => Topic::GatewayKeys,
            "holds" => Topic::GatewayHolds,
            "wanted" => Topic::GatewayWanted,
            "fetch" => Topic::GatewayFetch,
            "piece" => Topic::GatewayPiece,
            "stream" => Topic::GatewayStream,
            "rules" => Topic::GatewayRules,
            "desired" => Topic::GatewayDesired,
            "state" => Topic::GatewayState,
            "ask" => Topic::GatewayAsk,
            "answer" => Topic::GatewayAnswer,
            "renew" => Topic::GatewayRenew,
            "cert" => Topic::GatewayCertificate,
            "access" => Topic::GatewayAccess,
            "receipts" => Topic::GatewayReceipts,
            "seals" => Topic::GatewaySeals,
            _ => return Err(Error::Unknown),
        };
        Ok(make(GatewayId::parse(gateway)?))
    }

    /// The device in the topic.
    pub fn device(&self) -> Option<&DeviceId> {
        match self {
            Topic::Batch(d)
            | Topic::Status(d)
            | Topic::Loss(d)
            | Topic::Link(d)
            | Topic::Key(d)
            | Topic::Image(d)
            | Topic::Judged(d) => Some(d),
            Topic::GatewayCommand(_)
            | Topic::GatewayKeys(_)
            | Topic::GatewayHolds(_)
            | Topic::GatewayWanted(_)
            | Topic::GatewayFetch(_)
            | Topic::GatewayPiece(_)
            | Topic::GatewayStream(_)
            | Topic::GatewayRules(_)
            | Topic::GatewayDesired(_)
            | Topic::GatewayState(_)
            | Topic::GatewayAsk(_)
            | Topic::GatewayAnswer(_)
            | Topic::GatewayRenew(_)
            | Topic::GatewayCertificate(_)
            | Topic::GatewayAccess(_)
            | Topic::GatewayReceipts(_)
            | Topic::GatewaySeals(_)
            | Topic::ForeignTelemetry => None,
        }
    }
}

impl core::str::FromStr for Topic {
    type Err = Error;
    fn from_str(topic: &str) -> Result<Self, Error> {
        Self::parse(topic)
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Topic::Batch(device) => write!(f, "{DEVICES}{device}/batch"),
            Topic::Status(device) => write!(f, "{DEVICES}{device}/status"),
            Topic::Loss(device) => write!(f, "{DEVICES}{device}/loss"),
            Topic::Link(device) => write!(f, "{DEVICES}{device}/link"),
            Topic::Key(device) => write!(f, "{DEVICES}{device}/key"),
            Topic::Image(device) => write!(f, "{DEVICES}{device}/image"),
            Topic::Judged(device) => write!(f, "{DEVICES}{device}/judged"),
            Topic::GatewayStream(gateway) => write!(f, "{GATEWAYS}{gateway}/stream"),
            Topic::GatewayRules(gateway) => write!(f, "{GATEWAYS}{gateway}/rules"),
            Topic::GatewayWanted(gateway) => write!(f, "{GATEWAYS}{gateway}/wanted"),
            Topic::GatewayFetch(gateway) => write!(f, "{GATEWAYS}{gateway}/fetch"),
            Topic::GatewayPiece(gateway) => write!(f, "{GATEWAYS}{gateway}/piece"),
            Topic::GatewayCommand(gateway) => write!(f, "{GATEWAYS}{gateway}/command"),
            Topic::GatewayKeys(gateway) => write!(f, "{GATEWAYS}{gateway}/keys"),
            Topic::GatewayHolds(gateway) => write!(f, "{GATEWAYS}{gateway}/holds"),
            Topic::GatewayDesired(gateway) => write!(f, "{GATEWAYS}{gateway}/desired"),
            Topic::GatewayState(gateway) => write!(f, "{GATEWAYS}{gateway}/state"),
            Topic::GatewayAsk(gateway) => write!(f, "{GATEWAYS}{gateway}/ask"),
            Topic::GatewayAnswer(gateway) => write!(f, "{GATEWAYS}{gateway}/answer"),
            Topic::GatewayRenew(gateway) => write!(f, "{GATEWAYS}{gateway}/renew"),
            Topic::GatewayCertificate(gateway) => write!(f, "{GATEWAYS}{gateway}/cert"),
            Topic::GatewayAccess(gateway) => write!(f, "{GATEWAYS}{gateway}/access"),
            Topic::GatewayReceipts(gateway) => write!(f, "{GATEWAYS}{gateway}/receipts"),
            Topic::GatewaySeals(gateway) => write!(f, "{GATEWAYS}{gateway}/seals"),
            Topic::ForeignTelemetry => f.write_str(FOREIGN),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_none_of_ours() {
        for topic in [
            "",
            "/",
            "stencil/v1/d/",
            "stencil/v1/d/a",
            "stencil/v1/d/a/",
            "stencil/v1/d/a/batch/",
            "stencil/v1/d/a/b/batch",
            "stencil/v2/d/a/batch",
            "stencil/v1/g/a/batch",
            "stencil/v1/g/command",
            "v1/devices/me/telemetry/",
            "v1/devices/you/telemetry",
            "Stencil/v1/d/a/batch",
        ] {
            assert_eq!(Topic::parse(topic), Err(Error::Unknown), "{topic}");
        }
        for topic in [
            "stencil/v1/d/+/batch",
            "stencil/v1/d//batch",
            "stencil/v1/g/a/b/command",
        ] {
            assert!(matches!(Topic::parse(topic), Err(Error::Id(_))), "{topic}");
        }
    }
}
