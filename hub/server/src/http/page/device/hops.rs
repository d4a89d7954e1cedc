//! What each hop between a device and the hub negotiated, and what that is worth.

use maud::{Markup, html};
use stencil_crypto::suite::Suite;
use stencil_protocol::line::Line;
use stencil_store::LinkInfo;

use super::super::{badge, linked};
use super::Of;

pub(super) fn render(of: &Of<'_>) -> Markup {
    let device = of.device;
    html! {
        section #hops.card data-live="fleet" data-every="30" data-from=(of.from)
            aria-labelledby="hops-title" {
            header {
                h2 #hops-title { "What its link negotiated" }
                @if let Some(info) = &device.link { (linked::of(info)) }
            }
            @match &device.link {
                None => { p.dim { "Nothing has come over a link yet." } }
                Some(info) => {
                    ol.hops {
                        @if device.gateway.is_some() || info.suite.is_some() {
                            li { h3 { "Device to gateway" } (device_hop(info.suite.as_deref())) }
                            li { h3 { "Gateway to hub" } (hub_hop(info)) }
                        } @else {
                            li { h3 { "Device to hub" } (hub_hop(info)) }
                        }
                    }
                }
            }
        }
    }
}

fn device_hop(name: Option<&str>) -> Markup {
    let Some(name) = name else {
        return html! {
            p { (badge("warn", "not told")) }
            p.dim.small { "Its gateway has not said what they agreed on." }
        };
    };
    if let Some(line) = Line::from_name(name).filter(|line| line.within_tls()) {
        return html! {
            p { (of_hop(line.post_quantum())) }
            p.small.mono { (line.name()) }
            p.dim.small {
                "A device that others made, within TLS 1.3 to its gateway, which knows it by a \
                 password. "
                @if line.post_quantum() {
                    "Keys are agreed on by an elliptic curve and ML-KEM together."
                } @else {
                    "It offered no post-quantum group, and its gateway takes that (" code { "prefer" }
                    "): who records it may open it with a quantum computer."
                }
            }
        };
    }
    if let Some(Line::OpcUa) = Line::from_name(name) {
        return html! {
            p { (of_hop(false)) }
            p.small.mono { (name) }
            p.dim.small {
                "A device that others made, read by its gateway over OPC UA: signed and encrypted, by \
                 certificates of both. Its algorithms are classical: who records it may open it with a \
                 quantum computer."
            }
        };
    }
    if let Some(line) = Line::from_name(name) {
        return html! {
            p { (badge("bad", "field line")) }
            p.small.mono { (line.name()) }
            p.dim.small {
                "A device that others made, read by its gateway: anybody on this line can read and \
                 change what it says."
            }
        };
    }
    let suite = Suite::from_name(name);
    let post_quantum = suite.is_some_and(Suite::post_quantum);
    html! {
        p { (of_hop(post_quantum)) }
        p.small.mono { (name) }
        p.dim.small {
            @if post_quantum {
                "Both know a secret beforehand, and agree on keys by an elliptic curve and ML-KEM \
                 together: who records it cannot open it later with a quantum computer."
            } @else {
                "A suite that this hub does not know, so that it vouches for nothing."
            }
        }
    }
}

fn hub_hop(info: &LinkInfo) -> Markup {
    let Some(group) = info.group.as_deref() else {
        return html! {
            p { (badge("bad", "no TLS")) }
            p.dim.small { "It came over the plain listener: anybody on the way can read and change it." }
        };
    };
    // The hub's own word covers all hops; a group says it of this one.
    let post_quantum = info.post_quantum || group.contains("MLKEM");
    html! {
        p { (of_hop(post_quantum)) }
        p.small.mono { "TLS 1.3 " (group) }
        p.dim.small {
            @if post_quantum {
                "Keys are agreed on by an elliptic curve and ML-KEM together: who records it cannot \
                 open it later with a quantum computer."
            } @else {
                "The client offered no post-quantum group, and the listener that it came over takes \
                 that (" code { "prefer" } "). Who records it may open it with a quantum computer."
            }
        }
    }
}

fn of_hop(post_quantum: bool) -> Markup {
    if post_quantum {
        badge("good", "post-quantum")
    } else {
        badge("warn", "classical")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_hop_is_judged_by_itself() {
        let strong = Suite::DEFAULT.name();
        assert!(
            device_hop(Some(strong))
                .into_string()
                .contains("post-quantum<")
        );
        assert!(
            !device_hop(Some("ROT13"))
                .into_string()
                .contains("post-quantum<")
        );
        let field = device_hop(Some(Line::ModbusTcp.name())).into_string();
        assert!(field.contains("field line") && !field.contains("post-quantum<"));
        let open = device_hop(Some(Line::MqttPlain.name())).into_string();
        assert!(open.contains("field line"), "{open}");
        let secured = device_hop(Some(Line::OpcUa.name())).into_string();
        assert!(
            secured.contains(">classical<") && !secured.contains("field line"),
            "{secured}"
        );
        let classical = device_hop(Some(Line::MqttClassical.name())).into_string();
        assert!(classical.contains(">classical<"), "{classical}");
        let strong = device_hop(Some(Line::Mqtt.name())).into_string();
        assert!(
            strong.contains("post-quantum<") && !strong.contains("field line"),
            "{strong}"
        );
        // A strong hop after a weak one is still strong.
        let info = |group: Option<&str>| LinkInfo {
            suite: Some("ROT13".to_owned()),
            group: group.map(str::to_owned),
            post_quantum: false,
        };
        let hop = |group| hub_hop(&info(group)).into_string();
        assert!(hop(Some("X25519MLKEM768")).contains("post-quantum<"));
        assert!(hop(Some("X25519")).contains(">classical<"));
        assert!(hop(None).contains("no TLS"));
    }
}
