//! What is said of a device's link: whether it is up, and what its hops negotiated.

use maud::{Markup, html};
use stencil_protocol::line::Line;
use stencil_store::{Device, LinkInfo};

use super::badge;

/// Whether the link is up. The script puts another one in its place when that changes.
pub(super) fn state(device: &Device) -> Markup {
    html! {
        span data-link {
            @match device.connected {
                Some(true) => { (badge("good", "connected")) }
                Some(false) => { (badge("bad", "cut off")) }
                None => { (badge("", "never linked")) }
            }
        }
    }
}

/// How well it is protected, in a word or two; nothing where nothing is known.
pub(super) fn protection(device: &Device) -> Markup {
    html! {
        @if let Some(link) = &device.link { (of(link)) }
        @if !device.numbered { " " (badge("warn", "unnumbered")) }
    }
}

/// The same of a link alone.
pub(super) fn of(link: &LinkInfo) -> Markup {
    match Hops::of(link) {
        Hops::PostQuantum => badge("good", "post-quantum"),
        Hops::Classical => badge("warn", "classical"),
        Hops::Plain => badge("bad", "no TLS"),
    }
}

/// How well a link is protected, all hops taken together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hops {
    PostQuantum,
    /// One hop at least can be opened by who has a quantum computer.
    Classical,
    /// One hop at least can be read by anybody on the way.
    Plain,
}

impl Hops {
    pub(super) fn of(link: &LinkInfo) -> Self {
        let line = link.suite.as_deref().and_then(Line::from_name);
        let on_field_line = line.is_some_and(|line| !line.secured());
        if link.post_quantum {
            Self::PostQuantum
        } else if link.group.is_none() || on_field_line {
            Self::Plain
        } else {
            Self::Classical
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_its_protocol_secures_is_no_open_one() {
        let over = |line: Line| {
            Hops::of(&LinkInfo {
                suite: Some(line.name().to_owned()),
                group: Some("X25519MLKEM768".to_owned()),
                post_quantum: line.post_quantum(),
            })
        };
        assert_eq!(over(Line::OpcUa), Hops::Classical);
        assert_eq!(over(Line::OpcUaNone), Hops::Plain);
        assert_eq!(over(Line::ModbusTcp), Hops::Plain);
        assert_eq!(over(Line::MqttClassical), Hops::Classical);
        assert_eq!(over(Line::Mqtt), Hops::PostQuantum);
    }
}
