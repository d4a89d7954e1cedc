//! Which topics a peer may publish on and subscribe to: a device speaks for itself, a gateway for
//! the devices of its tenant, and each hears its own commands only.

use stencil_protocol::topic::Topic;

use crate::{Principal, Role};

/// Whether `principal` may publish on `topic`.
pub(super) fn may_publish(principal: &Principal, topic: &str) -> bool {
    let Ok(topic) = Topic::parse(topic) else {
        return false;
    };
    match (&principal.role, topic) {
        (
            Role::Gateway(_),
            Topic::Batch(_)
            | Topic::Status(_)
            | Topic::Loss(_)
            | Topic::Link(_)
            | Topic::Key(_)
            | Topic::Image(_)
            | Topic::Judged(_),
        ) => true,
        (
            Role::Gateway(own),
            Topic::GatewayHolds(gateway)
            | Topic::GatewayFetch(gateway)
            | Topic::GatewayStream(gateway)
            | Topic::GatewaySeals(gateway)
            | Topic::GatewayState(gateway)
            | Topic::GatewayAnswer(gateway)
            | Topic::GatewayReceipts(gateway)
            | Topic::GatewayRenew(gateway),
        ) => *own == gateway,
        // What a link was like, and what a spool lost, is for a gateway to say.
        (Role::Device(own) | Role::Token(own), Topic::Batch(device) | Topic::Status(device)) => {
            *own == device
        }
        (Role::Device(_) | Role::Token(_), Topic::ForeignTelemetry) => true,
        _ => false,
    }
}

/// Whether a gateway whose certificate has ended may publish on `topic`: only to have it renewed.
pub(super) fn may_publish_late(principal: &Principal, topic: &str) -> bool {
    matches!(Topic::parse(topic), Ok(Topic::GatewayRenew(_))) && may_publish(principal, topic)
}

/// And what it may subscribe to.
pub(super) fn may_subscribe_late(principal: &Principal, filter: &str) -> bool {
    matches!(Topic::parse(filter), Ok(Topic::GatewayCertificate(_)))
        && may_subscribe(principal, filter)
}

/// Whether `principal` may subscribe to `filter`. Wildcards are for no one: each has a few
/// topics of its own to hear.
pub(super) fn may_subscribe(principal: &Principal, filter: &str) -> bool {
    match (&principal.role, Topic::parse(filter)) {
        (
            Role::Gateway(own),
            Ok(
                Topic::GatewayCommand(gateway)
                | Topic::GatewayKeys(gateway)
                | Topic::GatewayRules(gateway)
                | Topic::GatewayWanted(gateway)
                | Topic::GatewayPiece(gateway)
                | Topic::GatewayDesired(gateway)
                | Topic::GatewayAsk(gateway)
                | Topic::GatewayAccess(gateway)
                | Topic::GatewayCertificate(gateway),
            ),
        ) => *own == gateway,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use stencil_protocol::id::{DeviceId, GatewayId, TenantId};

    use super::*;

    fn peer(role: Role) -> Principal {
        Principal {
            tenant: TenantId::parse("acme").unwrap(),
            role,
        }
    }

    fn gateway() -> Principal {
        peer(Role::Gateway(GatewayId::parse("gw-1").unwrap()))
    }

    fn device() -> Principal {
        peer(Role::Device(DeviceId::parse("freezer-1").unwrap()))
    }

    fn token() -> Principal {
        peer(Role::Token(DeviceId::parse("freezer-1").unwrap()))
    }

    #[test]
    fn a_gateway_speaks_for_any_device_and_never_as_the_hub() {
        assert!(may_publish(&gateway(), "stencil/v1/g/gw-1/holds"));
        assert!(may_publish(&gateway(), "stencil/v1/g/gw-1/fetch"));
        assert!(!may_publish(&gateway(), "stencil/v1/g/gw-2/fetch"));
        assert!(may_publish(&gateway(), "stencil/v1/g/gw-1/stream"));
        assert!(!may_publish(&gateway(), "stencil/v1/g/gw-2/stream"));
        assert!(may_publish(&gateway(), "stencil/v1/g/gw-1/state"));
        assert!(!may_publish(&gateway(), "stencil/v1/g/gw-2/state"));
        assert!(may_publish(&gateway(), "stencil/v1/g/gw-1/answer"));
        assert!(!may_publish(&gateway(), "stencil/v1/g/gw-2/answer"));
        assert!(may_publish(&gateway(), "stencil/v1/g/gw-1/receipts"));
        assert!(!may_publish(&gateway(), "stencil/v1/g/gw-2/receipts"));
        for topic in ["wanted", "piece", "rules", "desired", "ask", "access"] {
            assert!(!may_publish(
                &gateway(),
                &format!("stencil/v1/g/gw-1/{topic}")
            ));
            for (own, allowed) in [("gw-1", true), ("gw-2", false)] {
                let filter = format!("stencil/v1/g/{own}/{topic}");
                assert_eq!(may_subscribe(&gateway(), &filter), allowed, "{filter}");
            }
        }
        for topic in ["batch", "judged", "status", "loss", "link", "key", "image"] {
            assert!(
                may_publish(&gateway(), &format!("stencil/v1/d/any-device/{topic}")),
                "{topic}"
            );
        }
        for topic in [
            "stencil/v1/g/gw-1/command",
            "stencil/v1/g/gw-2/command",
            "stencil/v1/g/gw-1/keys",
            "stencil/v1/g/gw-2/holds",
            "v1/devices/me/telemetry",
            "stencil/v1/d/a/b/batch",
            "stencil/v2/d/a/batch",
            "acme/stencil/v1/d/a/batch",
            "",
        ] {
            assert!(!may_publish(&gateway(), topic), "{topic}");
        }
    }

    #[test]
    fn a_gateway_whose_certificate_has_ended_may_have_it_renewed_and_nothing_else() {
        assert!(may_publish_late(&gateway(), "stencil/v1/g/gw-1/renew"));
        assert!(may_subscribe_late(&gateway(), "stencil/v1/g/gw-1/cert"));
        for topic in [
            "stencil/v1/g/gw-2/renew",
            "stencil/v1/g/gw-1/state",
            "stencil/v1/g/gw-1/holds",
            "stencil/v1/d/any-device/batch",
        ] {
            assert!(!may_publish_late(&gateway(), topic), "{topic}");
        }
        for filter in [
            "stencil/v1/g/gw-2/cert",
            "stencil/v1/g/gw-1/keys",
            "stencil/v1/g/gw-1/desired",
            "stencil/v1/g/gw-1/command",
        ] {
            assert!(!may_subscribe_late(&gateway(), filter), "{filter}");
        }
        assert!(!may_publish_late(&device(), "stencil/v1/d/freezer-1/batch"));
    }

    #[test]
    fn a_device_speaks_for_itself_only() {
        for principal in [device(), token()] {
            assert!(may_publish(&principal, "stencil/v1/d/freezer-1/batch"));
            assert!(may_publish(&principal, "stencil/v1/d/freezer-1/status"));
            assert!(may_publish(&principal, "v1/devices/me/telemetry"));
            assert!(!may_publish(&principal, "stencil/v1/d/freezer-2/batch"));
            assert!(!may_publish(&principal, "stencil/v1/d/freezer-1/judged"));
            assert!(!may_publish(&principal, "stencil/v1/d/freezer-1/loss"));
            assert!(!may_publish(&principal, "stencil/v1/d/freezer-1/link"));
            assert!(!may_publish(&principal, "stencil/v1/d/freezer-1/key"));
            assert!(!may_publish(&principal, "stencil/v1/g/freezer-1/holds"));
            assert!(!may_publish(&principal, "stencil/v1/g/freezer-1/answer"));
        }
    }

    #[test]
    fn each_hears_its_own_commands_only() {
        assert!(may_subscribe(&gateway(), "stencil/v1/g/gw-1/command"));
        assert!(may_subscribe(&gateway(), "stencil/v1/g/gw-1/keys"));
        for filter in [
            "stencil/v1/g/gw-2/keys",
            "stencil/v1/g/gw-1/holds",
            "stencil/v1/g/gw-2/command",
            "stencil/v1/g/+/command",
            "stencil/#",
            "#",
            "$SYS/#",
        ] {
            assert!(!may_subscribe(&gateway(), filter), "{filter}");
            assert!(!may_subscribe(&device(), filter), "{filter}");
            assert!(!may_subscribe(&token(), filter), "{filter}");
        }
    }
}
