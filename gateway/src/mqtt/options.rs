//! What an operator can set of the listener for MQTT devices.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

/// MQTT devices on the local network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mqtt {
    /// Where devices may connect. None: the gateway does not listen for them.
    pub listeners: Vec<Listener>,
    /// One file `{client}.mqtt` a client, made by `stencil gateway add-client`. Read at each
    /// CONNECT, so that a new client needs no restart.
    pub clients: PathBuf,
    /// Names and addresses by which devices reach this gateway, for its certificate, besides those
    /// of the listeners.
    pub names: Vec<String>,
    /// Connections at once, of all clients together.
    pub max_connections: usize,
    /// Connections at once of one client.
    pub max_connections_per_client: usize,
    /// The largest packet, in bytes.
    pub max_packet_bytes: u32,
    /// Messages of one connection that may wait for their acknowledgement.
    pub max_in_flight: u16,
    /// Values of all clients that may wait for the disk; then nobody is read.
    pub max_waiting: usize,
    /// Messages a second of one client; beyond that it is read no quicker.
    pub max_messages_per_s: u32,
}

/// One address at which devices may connect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listener {
    /// The address. Without one it is reached from this machine only.
    pub listen: SocketAddr,
    /// How connections are protected.
    pub security: Security,
}

/// How connections of MQTT devices are protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Security {
    /// TLS 1.3 with X25519MLKEM768 and an ML-DSA-65 certificate, and nothing else.
    #[default]
    Strict,
    /// TLS 1.3, with X25519MLKEM768 where the device knows it: what others send can be recorded
    /// now and read later.
    Prefer,
    /// No TLS: anybody on the network reads and changes what passes, passwords among it.
    Plain,
}

impl Security {
    /// All.
    pub const ALL: [Security; 3] = [Security::Strict, Security::Prefer, Security::Plain];

    /// Its name in the settings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Security::Strict => "strict",
            Security::Prefer => "prefer",
            Security::Plain => "plain",
        }
    }

    /// What an operator has to know of it; nothing of a strict one.
    #[must_use]
    pub fn warning(self) -> Option<&'static str> {
        match self {
            Security::Strict => None,
            Security::Prefer => Some(
                "devices that know no X25519MLKEM768 are let in: what they send can be recorded now \
                 and read by a quantum computer later",
            ),
            Security::Plain => Some(
                "there is no TLS: anybody on this network reads and changes what devices send, \
                 their passwords among it",
            ),
        }
    }
}

impl Mqtt {
    /// What contradicts itself, in words.
    pub(crate) fn check(&self) -> Result<(), String> {
        let positive = [
            ("mqtt.max_connections", self.max_connections),
            (
                "mqtt.max_connections_per_client",
                self.max_connections_per_client,
            ),
            ("mqtt.max_in_flight", self.max_in_flight.into()),
            ("mqtt.max_waiting", self.max_waiting),
            (
                "mqtt.max_messages_per_s",
                self.max_messages_per_s.try_into().unwrap_or(usize::MAX),
            ),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(format!(
                "{name} = 0 would let nothing pass: it must be at least 1"
            ));
        }
        if !(256..=1 << 20).contains(&self.max_packet_bytes) {
            return Err("mqtt.max_packet_bytes must be 256 to 1048576".into());
        }
        if self.max_waiting > 1 << 20 {
            return Err("mqtt.max_waiting must be at most 1048576".into());
        }
        Ok(())
    }
}

impl Default for Mqtt {
    fn default() -> Self {
        Self {
            listeners: Vec::new(),
            clients: "mqtt-clients".into(),
            names: Vec::new(),
            max_connections: 128,
            max_connections_per_client: 4,
            max_packet_bytes: 64 << 10,
            max_in_flight: 32,
            max_waiting: 8_192,
            max_messages_per_s: 200,
        }
    }
}

impl Default for Listener {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8883)),
            security: Security::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_off_then_strict_and_on_loopback() {
        let options: Mqtt = serde_json::from_str("{}").unwrap();
        assert!(options.listeners.is_empty());
        assert_eq!(options.check(), Ok(()));
        let options: Mqtt = serde_json::from_str(r#"{"listeners":[{}]}"#).unwrap();
        assert!(options.listeners[0].listen.ip().is_loopback());
        assert_eq!(options.listeners[0].security, Security::Strict);
        let plain = r#"{"listeners":[{"listen":"192.0.2.1:1883","security":"plain"}]}"#;
        let options: Mqtt = serde_json::from_str(plain).unwrap();
        assert!(options.listeners[0].security.warning().is_some());
        let wrong = r#"{"listeners":[{"security":"none"}]}"#;
        let error = serde_json::from_str::<Mqtt>(wrong).unwrap_err().to_string();
        assert!(
            error.contains("strict") && error.contains("plain"),
            "{error}"
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        let with = |change: fn(&mut Mqtt)| {
            let mut options = Mqtt::default();
            change(&mut options);
            options.check().unwrap_err()
        };
        assert!(with(|it| it.max_waiting = 0).contains("mqtt.max_waiting"));
        assert!(with(|it| it.max_packet_bytes = 10).contains("256 to"));
        assert!(with(|it| it.max_waiting = usize::MAX).contains("at most"));
    }
}
