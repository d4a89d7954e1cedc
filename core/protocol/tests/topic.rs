//! Topics come back as they went in; any text gives a topic or an error.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod samples;

use proptest::prelude::*;
use stencil_protocol::id::{CommandId, DeviceId, GatewayId, TenantId};
use stencil_protocol::topic::{MAX_BYTES, Topic};

proptest! {
    #[test]
    fn come_back(device in samples::device()) {
        let gateway = GatewayId::parse(device.as_str()).unwrap();
        for topic in [
            Topic::Batch(device.clone()),
            Topic::Status(device.clone()),
            Topic::Loss(device.clone()),
            Topic::Link(device.clone()),
            Topic::Key(device.clone()),
            Topic::Image(device.clone()),
            Topic::Judged(device),
            Topic::GatewayCommand(gateway.clone()),
            Topic::GatewayKeys(gateway.clone()),
            Topic::GatewayHolds(gateway.clone()),
            Topic::GatewayWanted(gateway.clone()),
            Topic::GatewayFetch(gateway.clone()),
            Topic::GatewayStream(gateway.clone()),
            Topic::GatewayRules(gateway.clone()),
            Topic::GatewayPiece(gateway.clone()),
            Topic::GatewayDesired(gateway.clone()),
            Topic::GatewayState(gateway.clone()),
            Topic::GatewayAsk(gateway.clone()),
            Topic::GatewayAnswer(gateway.clone()),
            Topic::GatewayRenew(gateway.clone()),
            Topic::GatewayCertificate(gateway.clone()),
            Topic::GatewaySeals(gateway),
            Topic::ForeignTelemetry,
        ] {
            let text = topic.to_string();
            prop_assert!(text.len() <= MAX_BYTES + 1);
            prop_assert_eq!(Topic::parse(&text).unwrap(), topic);
        }
    }

    /// There is one spelling of a topic: what parses is what is written.
    #[test]
    fn one_spelling(text in "(stencil/v1/[dg]/)?\\PC{0,20}(/(batch|judged|status|loss|link|key|image|command|keys|holds|rules|stream|wanted|fetch|piece|desired|state|ask|answer|renew|cert|seals))?") {
        if let Ok(topic) = Topic::parse(&text) {
            prop_assert_eq!(topic.to_string(), text);
        }
    }

    #[test]
    fn ids_of_any_text(text in "\\PC{0,60}") {
        let right = text.len() <= 48
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
            && text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        prop_assert_eq!(TenantId::parse(&text).is_ok(), right);
    }

    #[test]
    fn ids_in_cbor_and_json(device in samples::device(), command in samples::command_id()) {
        let bytes = minicbor::to_vec(&device).unwrap();
        prop_assert_eq!(&minicbor::decode::<DeviceId>(&bytes).unwrap(), &device);
        let json = serde_json::to_string(&device).unwrap();
        prop_assert_eq!(serde_json::from_str::<DeviceId>(&json).unwrap(), device);
        let json = serde_json::to_string(&command).unwrap();
        prop_assert_eq!(serde_json::from_str::<CommandId>(&json).unwrap(), command);
        let bytes = minicbor::to_vec(command).unwrap();
        prop_assert_eq!(minicbor::decode::<CommandId>(&bytes).unwrap(), command);
    }
}

#[test]
fn what_is_no_id_is_refused_in_cbor_and_json() {
    assert!(minicbor::decode::<DeviceId>(&minicbor::to_vec("a/b").unwrap()).is_err());
    assert!(serde_json::from_str::<DeviceId>("\"a/b\"").is_err());
    assert!(minicbor::decode::<CommandId>(&[0x41, 0x00]).is_err());
}
