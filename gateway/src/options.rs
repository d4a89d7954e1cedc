//! What an operator can set. Every bound is here, with its default.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

pub use crate::{
    edge::options::Edge, http::options::Http, mqtt::options::Mqtt, seal::options::Seal,
};

/// How a gateway runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Spool and cursor lie here; made when it is missing. One gateway process a directory.
    pub data_dir: PathBuf,
    /// One file `{device}.psk` a device, readable for its owner only. Read at each handshake, so
    /// that a new device needs no restart.
    pub psk_dir: PathBuf,
    /// The hub.
    pub hub: Hub,
    /// The devices' links.
    pub link: Link,
    /// What waits for the hub.
    pub spool: Spool,
    /// Commands that wait for their device.
    pub commands: Commands,
    /// Firmware images for devices.
    pub images: Images,
    /// Devices that others made, read by their field protocols.
    pub field: Field,
    /// Those of them that speak MQTT.
    pub mqtt: Mqtt,
    /// Rules that are judged here.
    pub edge: Edge,
    /// Holders of rights, who command devices by a page of this gateway's.
    pub access: Access,
    /// What is sealed, so that anybody can check it.
    pub seal: Seal,
    /// Health and metrics.
    pub http: Http,
    /// What the hub may change here.
    pub desired: Desired,
}

/// Where the hub is, and who we are to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hub {
    /// `host:port` of its strict MQTT listener.
    pub address: String,
    /// The name that its certificate must hold; empty: the host of `address`.
    pub server_name: String,
    /// The fleet authority's root certificate, PEM.
    pub root: PathBuf,
    /// Our certificate chain, PEM; it says which gateway of which tenant this is.
    pub certificate: PathBuf,
    /// Its private key, PEM, readable for its owner only.
    pub key: PathBuf,
    /// With so much of its time left, in percent, the certificate is renewed.
    pub renew_left_percent: u8,
    /// For how many days after its end the hub's certificate is taken, as long as it is of the fleet's
    /// authority.
    pub late_certificate_days: u32,
    /// After an outage that left no more than this, all is brought in order. With more, what is
    /// measured from then on goes first, and what waited is brought beside it at a rate that does
    /// not hold that up. 0: always so.
    pub in_order_bytes: u64,
    /// The most bytes a second in which what waited is brought beside what is new; 0: as many as do
    /// not hold that up.
    pub back_fill_bytes_per_s: u64,
    /// Publishes that may wait for their PUBACK.
    pub max_in_flight: u16,
    /// How often a quiet connection is tested.
    pub keep_alive_s: u16,
    /// How long connecting may take, TLS included.
    pub connect_timeout_ms: u64,
    /// The longest pause between two attempts to connect; the first is 200 ms.
    pub max_backoff_ms: u64,
}

/// The devices' links.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Link {
    /// Where TCP links are accepted. They may be open to a network: nothing passes without a
    /// device's key.
    pub tcp: Vec<SocketAddr>,
    /// Serial lines with one device each.
    pub serial: Vec<Serial>,
    /// TCP links at once, with or without a handshake.
    pub max_links: usize,
    /// TCP links at once that have not shown a device's key yet. With one more, the oldest makes
    /// way, of the address with most of them.
    pub max_strangers: usize,
    /// Of these, such of one address (in IPv6, of a /64).
    pub max_strangers_per_address: usize,
    /// How long a TCP link may take to show a device's key.
    pub handshake_timeout_ms: u64,
    /// How long a link may be silent.
    pub idle_timeout_ms: u64,
    /// How long one write may wait for a device that doesn't read.
    pub write_timeout_ms: u64,
    /// How often a device is told the time.
    pub time_interval_ms: u64,
    /// Batches of one link that may wait for the disk; then it isn't read.
    pub max_unacknowledged: usize,
    /// The most bytes of a handshake's answer in one frame, 42 to 1024: the fewer, the more gets
    /// through a poor line.
    pub fragment_bytes: u16,
    /// After that long a session cannot be resumed without fresh keys being agreed on.
    pub fresh_keys_s: u64,
    /// And after so many sessions; 0: none is resumed.
    pub max_resumptions: u32,
    /// Devices for which is kept what their next session is resumed with.
    pub max_resumable: usize,
}

/// A serial line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Serial {
    /// The device file, such as `/dev/ttyUSB0`.
    pub path: PathBuf,
    /// Bits a second, one of the usual rates.
    #[serde(default = "Serial::default_baud")]
    pub baud: u32,
}

/// What waits for the hub.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Spool {
    /// Bound on the disk that it takes; the oldest is dropped beyond it and reported as lost.
    pub max_bytes: u64,
    /// What is older is dropped and reported as lost.
    pub max_age_s: u64,
    /// Size of its files; the unit in which it is freed.
    pub segment_bytes: u64,
    /// Bytes that may wait in memory for the disk.
    pub max_pending_bytes: usize,
}

/// Commands that wait for their device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Commands {
    /// For one device.
    pub max_per_device: usize,
    /// In all.
    pub max_total: usize,
    /// How long a linked device may take to answer before a command is sent again.
    pub resend_ms: u64,
}

/// Firmware images for devices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Images {
    /// Who may sign images: the file `trust.keys` that `stencil update keygen` makes. Without it no
    /// image is offered to any device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust: Option<PathBuf>,
    /// Bound on the disk that images take; those that are not wanted go first.
    pub max_bytes: u64,
}

/// Devices that others made, read by their field protocols.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Field {
    /// The mapping: which devices, and what is read of them. It is read at the start, and again at
    /// SIGHUP. Without one there are no field devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mapping: Option<PathBuf>,
    /// Where all files lie that a mapping of the hub's may name: certificates, keys and passwords for
    /// OPC UA servers. One of the gateway's own disk may name any file.
    pub files: PathBuf,
}

impl Default for Field {
    fn default() -> Self {
        Self {
            mapping: None,
            files: "field".into(),
        }
    }
}

/// Holders of rights, who command devices by a page of this gateway's, also while the hub is away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Access {
    /// Where the page is served. Without it there is none, and nobody is admitted. Whoever can reach it
    /// may ask; only a holder's wallet opens something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// Connections at once; for one more, that which has said least makes way.
    pub max_connections: usize,
    /// How long a connection may last.
    pub connection_timeout_ms: u64,
    /// Within which time a device has to begin what a holder asks for, in seconds.
    pub command_expires_s: u32,
    /// How long an answer waits for what the device says.
    pub device_timeout_ms: u64,
    /// Receipts that may wait for the hub. With so many nobody is admitted before it was reached.
    pub max_receipts: usize,
}

/// What the hub may change here: settings (never who this is, which hubs it trusts, or where it
/// listens), and the mapping.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Desired {
    /// Whether anything.
    pub accept: bool,
    /// How long the gateway may take to reach the hub with a new state before it goes back to the
    /// one before.
    pub probation_s: u64,
}

impl Options {
    /// The defaults for a gateway that has all its files in `folder`, as `stencil hub
    /// add-gateway` writes it: `root.pem`, and the one other certificate with its key.
    #[must_use]
    pub fn in_folder(folder: &Path) -> Self {
        let certificate = own_certificate(folder).unwrap_or_else(|| folder.join("gateway.pem"));
        Self {
            data_dir: folder.join("data"),
            psk_dir: folder.join("psk"),
            field: Field {
                files: folder.join("field"),
                ..Field::default()
            },
            mqtt: Mqtt {
                clients: folder.join("mqtt-clients"),
                ..Mqtt::default()
            },
            hub: Hub {
                root: folder.join("root.pem"),
                key: certificate.with_extension("key"),
                certificate,
                ..Hub::default()
            },
            ..Self::default()
        }
    }

    /// What contradicts itself, in words.
    pub(crate) fn check(&self) -> Result<(), String> {
        let positive = [
            ("hub.max_in_flight", u64::from(self.hub.max_in_flight)),
            ("hub.connect_timeout_ms", self.hub.connect_timeout_ms),
            ("hub.max_backoff_ms", self.hub.max_backoff_ms),
            ("link.max_links", self.link.max_links as u64),
            ("link.max_strangers", self.link.max_strangers as u64),
            (
                "link.max_strangers_per_address",
                self.link.max_strangers_per_address as u64,
            ),
            ("link.handshake_timeout_ms", self.link.handshake_timeout_ms),
            ("link.idle_timeout_ms", self.link.idle_timeout_ms),
            ("link.write_timeout_ms", self.link.write_timeout_ms),
            ("link.time_interval_ms", self.link.time_interval_ms),
            (
                "link.max_unacknowledged",
                self.link.max_unacknowledged as u64,
            ),
            (
                "commands.max_per_device",
                self.commands.max_per_device as u64,
            ),
            ("commands.max_total", self.commands.max_total as u64),
            ("commands.resend_ms", self.commands.resend_ms),
            ("access.max_connections", self.access.max_connections as u64),
            (
                "access.connection_timeout_ms",
                self.access.connection_timeout_ms,
            ),
            (
                "access.command_expires_s",
                u64::from(self.access.command_expires_s),
            ),
            ("access.max_receipts", self.access.max_receipts as u64),
            ("http.max_connections", self.http.max_connections as u64),
            (
                "http.connection_timeout_ms",
                self.http.connection_timeout_ms,
            ),
            ("desired.probation_s", self.desired.probation_s),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(format!(
                "{name} = 0 would let nothing pass: it must be at least 1"
            ));
        }
        if !(1..=50).contains(&self.hub.renew_left_percent) {
            return Err(
                "hub.renew_left_percent must be 1 to 50: the hub renews no certificate that \
                        has more than half of its time left"
                    .into(),
            );
        }
        if !(42..=1024).contains(&self.link.fragment_bytes) {
            return Err("link.fragment_bytes must be 42 to 1024".into());
        }
        let has_links = !self.link.tcp.is_empty() || !self.link.serial.is_empty();
        if !has_links && self.field.mapping.is_none() {
            return Err(
                "link.tcp and link.serial are both empty, and there is no field.mapping: no \
                 device could connect"
                    .into(),
            );
        }
        self.edge.check()?;
        self.seal.check()?;
        self.mqtt.check()?;
        self.http.check()?;
        self.hub.target().map(drop)
    }
}

impl Hub {
    /// Host and port of the address.
    pub(crate) fn target(&self) -> Result<(&str, u16), String> {
        let wrong = || format!("hub.address = {:?} is not host:port", self.address);
        let (host, port) = self.address.rsplit_once(':').ok_or_else(wrong)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(wrong());
        }
        Ok((host, port.parse().map_err(|_| wrong())?))
    }

    /// For how long after its end the hub's certificate is taken.
    pub(crate) fn late_grace(&self) -> Duration {
        Duration::from_secs(u64::from(self.late_certificate_days) * 86_400)
    }

    /// The name to check the hub's certificate against.
    pub(crate) fn expected_name(&self) -> Result<&str, String> {
        match self.server_name.as_str() {
            "" => self.target().map(|(host, _)| host),
            name => Ok(name),
        }
    }
}

impl Serial {
    fn default_baud() -> u32 {
        115_200
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            data_dir: "data".into(),
            psk_dir: "psk".into(),
            hub: Hub::default(),
            link: Link::default(),
            spool: Spool::default(),
            commands: Commands::default(),
            images: Images::default(),
            field: Field::default(),
            mqtt: Mqtt::default(),
            edge: Edge::default(),
            access: Access::default(),
            seal: Seal::default(),
            http: Http::default(),
            desired: Desired::default(),
        }
    }
}

impl Default for Desired {
    fn default() -> Self {
        Self {
            accept: true,
            probation_s: 120,
        }
    }
}

impl Default for Images {
    fn default() -> Self {
        Self {
            trust: None,
            max_bytes: 256 << 20,
        }
    }
}

impl Default for Hub {
    fn default() -> Self {
        Self {
            address: "127.0.0.1:8883".into(),
            server_name: String::new(),
            root: "root.pem".into(),
            certificate: "gateway.pem".into(),
            key: "gateway.key".into(),
            renew_left_percent: 33,
            late_certificate_days: 400,
            in_order_bytes: 1 << 20,
            back_fill_bytes_per_s: 0,
            max_in_flight: 256,
            keep_alive_s: 20,
            connect_timeout_ms: 10_000,
            max_backoff_ms: 5_000,
        }
    }
}

impl Default for Link {
    fn default() -> Self {
        Self {
            tcp: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 7443))],
            serial: Vec::new(),
            max_links: 4_096,
            max_strangers: 256,
            max_strangers_per_address: 224,
            handshake_timeout_ms: 10_000,
            idle_timeout_ms: 90_000,
            write_timeout_ms: 10_000,
            time_interval_ms: 60_000,
            max_unacknowledged: 16,
            fragment_bytes: 128,
            fresh_keys_s: 24 * 3_600,
            max_resumptions: 96,
            max_resumable: 8_192,
        }
    }
}

impl Default for Spool {
    fn default() -> Self {
        Self {
            max_bytes: 1 << 30,
            max_age_s: 30 * 24 * 3600,
            segment_bytes: 4 << 20,
            max_pending_bytes: 4 << 20,
        }
    }
}

impl Default for Commands {
    fn default() -> Self {
        Self {
            max_per_device: 32,
            max_total: 8_192,
            resend_ms: 5_000,
        }
    }
}

impl Default for Access {
    fn default() -> Self {
        Self {
            listen: None,
            max_connections: 64,
            connection_timeout_ms: 60_000,
            command_expires_s: 15,
            device_timeout_ms: 10_000,
            max_receipts: 20_000,
        }
    }
}

/// The one certificate with a key beside it in `folder`, which isn't the root.
fn own_certificate(folder: &Path) -> Option<PathBuf> {
    let mut found = std::fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "pem"))
        .filter(|path| path.with_extension("key").is_file());
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_consistent() {
        assert_eq!(Options::default().check(), Ok(()));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let mut options = Options::default();
        options.hub.address = "hub.example".into();
        assert!(options.check().unwrap_err().contains("host:port"));
        options.hub.address = "[::1]:8883".into();
        assert_eq!(options.hub.target(), Ok(("::1", 8883)));
        options.link.max_links = 0;
        assert!(options.check().unwrap_err().contains("link.max_links"));
        options.link.max_links = 1;
        options.link.fragment_bytes = 41;
        assert!(options.check().unwrap_err().contains("link.fragment_bytes"));
        options.link.fragment_bytes = 42;
        options.link.tcp.clear();
        assert!(
            options
                .check()
                .unwrap_err()
                .contains("no device could connect")
        );
    }

    #[test]
    fn unknown_keys_are_refused() {
        let error = serde_json::from_str::<Options>(r#"{"link":{"tpc":[]}}"#).unwrap_err();
        assert!(error.to_string().contains("tpc"), "{error}");
        let serial = r#"{"link":{"serial":[{"path":"/dev/ttyS0"}]}}"#;
        let options: Options = serde_json::from_str(serial).unwrap();
        assert_eq!(options.link.serial[0].baud, 115_200);
    }

    #[test]
    fn the_files_of_a_folder_are_found() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["root.pem", "gw-1.pem", "gw-1.key"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let options = Options::in_folder(dir.path());
        assert_eq!(options.hub.certificate, dir.path().join("gw-1.pem"));
        assert_eq!(options.hub.key, dir.path().join("gw-1.key"));
    }
}
