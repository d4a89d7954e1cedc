//! What an operator can set, each bound with a default that is safe on a small machine.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::ingest::MAX_APPEND_BYTES;
use crate::{Error, http};

/// Settings of a hub. Unknown keys are refused, so that a misspelt bound is found at start and
/// not in the night in which it is needed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Where everything lives that the hub remembers: store, ingest log, keys.
    pub data_dir: PathBuf,
    /// The HTTP API and the live page.
    pub http: HttpOptions,
    /// The MQTT listeners and what a client may use up.
    pub mqtt: MqttOptions,
    /// The ingest log, which a PUBACK vouches for.
    pub log: LogOptions,
    /// The store.
    pub store: stencil_store::sqlite::Options,
    /// What turns log records into state.
    pub pipeline: PipelineOptions,
    /// Commands on their way to gateways.
    pub dispatch: DispatchOptions,
    /// Workflow runs.
    pub workflow: WorkflowOptions,
    /// What workflows may do to the world: webhooks, secrets.
    pub connect: stencil_connect::Options,
    /// The stream of events behind the live page.
    pub live: LiveOptions,
    /// How long history is kept.
    pub retention: RetentionOptions,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("stencil-data/hub"),
            http: HttpOptions::default(),
            mqtt: MqttOptions::default(),
            log: LogOptions::default(),
            store: stencil_store::sqlite::Options::default(),
            pipeline: PipelineOptions::default(),
            dispatch: DispatchOptions::default(),
            workflow: WorkflowOptions::default(),
            connect: stencil_connect::Options::default(),
            live: LiveOptions::default(),
            retention: RetentionOptions::default(),
        }
    }
}

/// The HTTP listener.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpOptions {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Bounds of connections and streams.
    pub limits: http::Limits,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            listen: loopback(8080),
            limits: http::Limits::default(),
        }
    }
}

/// The MQTT listeners. Only the strict one is open by default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MqttOptions {
    /// TLS 1.3 with X25519MLKEM768 and nothing weaker.
    pub strict: SocketAddr,
    /// TLS 1.3 that prefers X25519MLKEM768 but lets classical clients in; their link is
    /// recorded and shown as classical. Closed unless set.
    pub prefer: Option<SocketAddr>,
    /// No TLS at all; only a loopback address is accepted. Closed unless set.
    pub plain: Option<SocketAddr>,
    /// Connections at one time over all listeners.
    pub max_connections: usize,
    /// Largest MQTT packet that a client may send, in bytes.
    pub max_packet_bytes: u32,
    /// QoS 1 publishes that a client may have unacknowledged.
    pub receive_maximum: u16,
    /// Time from accept to CONNECT, in milliseconds.
    pub connect_timeout_ms: u64,
    /// Time that the hub's parts have to end well, in milliseconds: connections to have their
    /// publishes committed and acknowledged, the pipeline to apply what is logged.
    pub drain_timeout_ms: u64,
}

impl Default for MqttOptions {
    fn default() -> Self {
        Self {
            strict: loopback(8883),
            prefer: None,
            plain: None,
            max_connections: 10_000,
            max_packet_bytes: 128 * 1024,
            receive_maximum: 1_024,
            connect_timeout_ms: 10_000,
            drain_timeout_ms: 10_000,
        }
    }
}

/// The ingest log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogOptions {
    /// Size at which a new segment file begins, in bytes.
    pub segment_bytes: u64,
    /// Size at which the log takes no more, in bytes; clients then wait (back-pressure).
    pub max_bytes: u64,
    /// Bytes that stay on disk behind what the pipeline has committed (for inspection and
    /// backtests).
    pub keep_bytes: u64,
    /// Bytes that may wait for the disk at one time.
    pub max_pending_bytes: usize,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 32 * 1024 * 1024,
            max_bytes: 4 * 1024 * 1024 * 1024,
            keep_bytes: 256 * 1024 * 1024,
            max_pending_bytes: 16 * 1024 * 1024,
        }
    }
}

/// What turns log records into state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PipelineOptions {
    /// Least time from the start of one commit to the start of the next, in milliseconds.
    pub commit_interval_ms: u64,
    /// Records in one commit at most.
    pub max_commit_records: usize,
    /// Points in one commit at most (one record may overshoot it by one batch).
    pub max_commit_points: usize,
    /// Devices over all tenants; records of further ones are quarantined.
    pub max_devices: usize,
    /// Devices of one tenant, so that no tenant takes the room of all; records of further ones are
    /// quarantined.
    pub max_tenant_devices: usize,
    /// Newest boots of a device whose loss ledger is kept in memory; those of older boots are
    /// fetched from the store when a batch of one comes.
    pub max_boots: usize,
    /// Sample names (series) of one device; further ones are quarantined.
    pub max_names: usize,
    /// Separate spans that the loss ledger of one boot may hold; what would add one more is
    /// quarantined.
    pub max_ledger_spans: usize,
    /// How far a sample's time may be ahead of its receipt, in seconds; later ones are
    /// quarantined, so that one bad clock does not own `latest` for years.
    pub max_ahead_s: u64,
    /// Time between two attempts to commit while the store refuses, in milliseconds.
    pub retry_ms: u64,
}

impl Default for PipelineOptions {
    fn default() -> Self {
        Self {
            commit_interval_ms: 20,
            max_commit_records: 4_096,
            max_commit_points: 65_536,
            max_devices: 100_000,
            max_tenant_devices: 50_000,
            max_boots: 256,
            max_names: 256,
            max_ledger_spans: 4_096,
            max_ahead_s: 600,
            retry_ms: 500,
        }
    }
}

/// Commands on their way to gateways.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DispatchOptions {
    /// Time between two looks for expired and unsent commands, in milliseconds.
    pub sweep_interval_ms: u64,
    /// Time after which a sent command that no device has acknowledged is sent again, in
    /// milliseconds; the device executes a command id once.
    pub resend_after_ms: u64,
    /// How long after a command's expiry a device's word that is still on its way is waited for,
    /// in milliseconds.
    pub expiry_grace_ms: u64,
    /// Commands to one gateway in one go.
    pub max_batch: usize,
}

impl Default for DispatchOptions {
    fn default() -> Self {
        Self {
            sweep_interval_ms: 1_000,
            resend_after_ms: 5_000,
            expiry_grace_ms: 5_000,
            max_batch: 256,
        }
    }
}

/// Workflow runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WorkflowOptions {
    /// Active workflows of one tenant.
    pub max_active: usize,
    /// The runner.
    pub runner: stencil_workflow::Options,
}

impl Default for WorkflowOptions {
    fn default() -> Self {
        Self {
            max_active: 256,
            runner: stencil_workflow::Options::default(),
        }
    }
}

/// The stream of events behind the live page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LiveOptions {
    /// Events that a slow viewer may lag behind before it misses some.
    pub capacity: usize,
}

impl Default for LiveOptions {
    fn default() -> Self {
        Self { capacity: 4_096 }
    }
}

/// How long history is kept. `None` keeps it as long as the disk has room.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionOptions {
    /// Points of time series, in days of their event time.
    pub series_days: Option<u32>,
    /// Runs that have ended, in days. A cause that comes again after that starts a run again.
    pub runs_days: Option<u32>,
    /// Time between two looks, in seconds.
    pub sweep_interval_s: u64,
}

impl Default for RetentionOptions {
    fn default() -> Self {
        Self {
            series_days: None,
            runs_days: Some(365),
            sweep_interval_s: 3_600,
        }
    }
}

impl Options {
    /// Refuses settings that contradict each other or that would open the hub by mistake.
    ///
    /// # Errors
    /// [`Error::Option`] with the key, what is wrong with it and what would be right.
    pub fn check(&self) -> Result<(), Error> {
        if let Some(plain) = self.mqtt.plain
            && !plain.ip().is_loopback()
        {
            return Err(Error::option(
                "mqtt.plain",
                format!(
                    "{plain} is not a loopback address; use 127.0.0.1, or `mqtt.prefer` for TLS"
                ),
            ));
        }
        let least_one = [
            ("mqtt.max_connections", self.mqtt.max_connections),
            (
                "mqtt.receive_maximum",
                usize::from(self.mqtt.receive_maximum),
            ),
            ("log.max_pending_bytes", self.log.max_pending_bytes),
            (
                "pipeline.max_commit_records",
                self.pipeline.max_commit_records,
            ),
            (
                "pipeline.max_commit_points",
                self.pipeline.max_commit_points,
            ),
            ("pipeline.max_devices", self.pipeline.max_devices),
            (
                "pipeline.max_tenant_devices",
                self.pipeline.max_tenant_devices,
            ),
            ("pipeline.max_boots", self.pipeline.max_boots),
            ("pipeline.max_names", self.pipeline.max_names),
            ("pipeline.max_ledger_spans", self.pipeline.max_ledger_spans),
            ("dispatch.max_batch", self.dispatch.max_batch),
            ("workflow.max_active", self.workflow.max_active),
            ("live.capacity", self.live.capacity),
        ];
        if let Some((key, _)) = least_one.iter().find(|(_, value)| *value == 0) {
            return Err(Error::option(
                key,
                "0 would let nothing through; use 1 or more",
            ));
        }
        if self.dispatch.sweep_interval_ms == 0 || self.pipeline.retry_ms == 0 {
            return Err(Error::option(
                "dispatch.sweep_interval_ms, pipeline.retry_ms",
                "0 would spin; use 1 or more",
            ));
        }
        if self.mqtt.max_packet_bytes < 2_048 {
            return Err(Error::option(
                "mqtt.max_packet_bytes",
                "a device's batch may have 1024 bytes and its topic some more; use 2048 or more",
            ));
        }
        if self.log.segment_bytes < u64::from(self.mqtt.max_packet_bytes) + 1_024 {
            return Err(Error::option(
                "log.segment_bytes",
                "a segment must hold the largest packet (`mqtt.max_packet_bytes` + 1024)",
            ));
        }
        let room = self
            .log
            .segment_bytes
            .saturating_mul(2)
            .saturating_add(self.log.keep_bytes)
            .saturating_add(u64::from(self.mqtt.max_packet_bytes))
            .saturating_add(MAX_APPEND_BYTES);
        if self.log.max_bytes < room {
            return Err(Error::option(
                "log.max_bytes",
                format!(
                    "{} is too little: `keep_bytes`, two segments, the largest packet and what \
                     one read of a socket may bring must fit, else the log would be full for \
                     ever; at least {room}",
                    self.log.max_bytes
                ),
            ));
        }
        Ok(())
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_consistent_and_on_loopback() {
        let options = Options::default();
        options.check().unwrap();
        assert!(options.http.listen.ip().is_loopback());
        assert!(options.mqtt.strict.ip().is_loopback());
        assert!(options.mqtt.prefer.is_none() && options.mqtt.plain.is_none());
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let error = serde_json::from_str::<Options>(r#"{"mqtt":{"pliain":"127.0.0.1:1883"}}"#)
            .unwrap_err()
            .to_string();
        assert!(error.contains("pliain"), "{error}");
    }

    #[test]
    fn a_plain_listener_off_loopback_is_refused() {
        let mut options = Options::default();
        options.mqtt.plain = Some("0.0.0.0:1883".parse().unwrap());
        let error = options.check().unwrap_err().to_string();
        assert!(
            error.contains("mqtt.plain") && error.contains("loopback"),
            "{error}"
        );
    }

    #[test]
    fn a_log_that_could_never_have_room_is_refused() {
        let mut options = Options::default();
        options.log.max_bytes = options.log.keep_bytes;
        assert!(
            options
                .check()
                .unwrap_err()
                .to_string()
                .contains("log.max_bytes")
        );
    }
}
