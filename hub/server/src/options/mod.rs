//! What an operator can set, each bound with a default that is safe on a small machine.

mod check;
mod ranges;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use stencil_crypto::authority::LEAF_DAYS;

use crate::backtest::BacktestOptions;
use crate::http;

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
    /// Drafts of workflows over what is stored.
    pub backtest: BacktestOptions,
    /// Series as files.
    pub export: ExportOptions,
    /// Chains that the hub follows and acts on, by the names that people write. What a chain's table
    /// may hold is a matter of the package `stencil-chain`, which checks it.
    pub chains: BTreeMap<String, serde_json::Value>,
    /// What tokens cost in currencies.
    pub rates: Vec<crate::chains::RateOption>,
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
            backtest: BacktestOptions::default(),
            export: ExportOptions::default(),
            chains: BTreeMap::new(),
            rates: Vec::new(),
        }
    }
}

/// The HTTP listener.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpOptions {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Whether HTTP is within TLS 1.3 that prefers X25519MLKEM768. Off loopback it has to be.
    pub tls: bool,
    /// The certificate chain in PEM that browsers are shown, the hub's own certificate first.
    /// Without it, and without `key`, that of the hub's own authority.
    pub certificate: Option<PathBuf>,
    /// That certificate's private key in PEM; only its owner may read the file.
    pub key: Option<PathBuf>,
    /// Where people reach the hub, such as `https://hub.example.org` where a proxy adds TLS; links
    /// for signing in begin with it. By default the address that is listened on.
    pub public_url: Option<String>,
    /// Further names and addresses by which browsers reach a hub that listens on loopback, such as
    /// `hub.example.org`, without a port. Those of loopback, and that of `public_url`, are taken
    /// as they are; under others the console is not shown, so that no page of somebody else can
    /// have its name lead to this hub.
    pub public_names: Vec<String>,
    /// Bounds of connections and streams.
    pub limits: http::Limits,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            listen: loopback(8080),
            tls: false,
            certificate: None,
            key: None,
            public_url: None,
            public_names: Vec::new(),
            limits: http::Limits::default(),
        }
    }
}

impl HttpOptions {
    /// Where people reach the hub that listens on `address`, without a slash at the end.
    #[must_use]
    pub fn url(&self, address: SocketAddr) -> String {
        if let Some(url) = &self.public_url {
            return url.trim_end_matches('/').to_owned();
        }
        let mut address = address;
        if address.ip().is_unspecified() {
            address.set_ip(match address {
                SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
                SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
            });
        }
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{address}")
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
    /// A gateway whose certificate has ended, such as one that was off for a year, may come back
    /// for so many days to have it renewed, and for nothing else; 0: never.
    pub late_certificate_days: u32,
    /// How long the certificates are valid that gateways renew, in days.
    pub gateway_certificate_days: u32,
}

impl MqttOptions {
    /// How long after its end a gateway's certificate is renewed.
    pub(crate) fn late_grace(&self) -> std::time::Duration {
        std::time::Duration::from_secs(u64::from(self.late_certificate_days) * 24 * 3_600)
    }
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
            late_certificate_days: 400,
            gateway_certificate_days: LEAF_DAYS,
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
    /// Least time from the start of one commit to the start of the next, in milliseconds. It grows
    /// with the time that a commit takes, up to a quarter of a second.
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
    /// Boots of a device whose loss ledger is kept in memory: those that were heard of last. Others
    /// are fetched from the store when a batch of one comes.
    pub max_boots: usize,
    /// Sample names (series) of one device; further ones are quarantined.
    pub max_names: usize,
    /// Separate spans that the loss ledger of one boot may hold; what would add one more is
    /// quarantined.
    pub max_ledger_spans: usize,
    /// How far a sample's time may be ahead of its receipt, in seconds; later ones are
    /// quarantined, so that one bad clock does not own `latest` for years.
    pub max_ahead_s: u64,
    /// The earliest time that a sample may have, in seconds since 1970: 2000-01-01T00:00:00Z if not
    /// set. Earlier ones are quarantined: a clock that was never set begins before that.
    pub min_time_s: u64,
    /// Time between two attempts to commit while the store refuses, in milliseconds.
    pub retry_ms: u64,
    /// Time between two ticks of the log, in milliseconds: how late a silence or the end of a
    /// window may be noticed. There are none while no rule in force waits for such a thing.
    pub tick_ms: u64,
    /// How long after a start there are no ticks, in milliseconds: gateways come back with what
    /// they have kept before any of their devices counts as silent.
    pub settle_ms: u64,
}

impl Default for PipelineOptions {
    fn default() -> Self {
        Self {
            commit_interval_ms: 20,
            max_commit_records: 65_536,
            max_commit_points: 65_536,
            max_devices: 100_000,
            max_tenant_devices: 50_000,
            max_boots: 256,
            max_names: 256,
            max_ledger_spans: 4_096,
            max_ahead_s: 600,
            min_time_s: 946_684_800,
            retry_ms: 500,
            tick_ms: 1_000,
            settle_ms: 10_000,
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
    /// Runs that may follow each other where each sends a transaction that causes the next: one that more have
    /// led to is not started, so that a workflow that causes itself comes to an end.
    pub max_caused_runs: u32,
    /// The runner.
    pub runner: stencil_workflow::Options,
}

impl Default for WorkflowOptions {
    fn default() -> Self {
        Self {
            max_active: 256,
            max_caused_runs: 8,
            runner: stencil_workflow::Options::default(),
        }
    }
}

/// The stream of events behind the live page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LiveOptions {
    /// Events that a slow viewer may lag behind before it misses some; at most 65,536, whose
    /// places are taken at start.
    pub capacity: usize,
}

impl Default for LiveOptions {
    fn default() -> Self {
        Self { capacity: 4_096 }
    }
}

/// How long history is kept where a tenant has set nothing of its own. `None` keeps it as long as
/// the disk has room.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionOptions {
    /// Points of time series, in days of their event time.
    pub series_days: Option<u32>,
    /// Runs that have ended, in days. A cause that comes again after that starts a run again.
    pub runs_days: Option<u32>,
    /// Alarms that have ended, in days.
    pub alarms_days: Option<u32>,
    /// What could not be understood, in days.
    pub quarantine_days: Option<u32>,
    /// Who changed what, in days.
    pub audit_days: Option<u32>,
    /// What chains have said and all have taken, and what was done because of invoices that are over, in
    /// days: for so long its webhooks can be sent again. Invoices, their payments and the journal stay.
    pub chains_days: Option<u32>,
    /// Rights to command devices that are over, or were taken away, and what is known of tokens that are good for
    /// nothing any more, in days. A gateway that brings its account later than that is told that it
    /// has admitted somebody without a right.
    pub rights_days: Option<u32>,
    /// Time between two looks, in seconds.
    pub sweep_interval_s: u64,
}

impl Default for RetentionOptions {
    fn default() -> Self {
        Self {
            series_days: None,
            runs_days: Some(365),
            alarms_days: Some(365),
            quarantine_days: Some(90),
            audit_days: Some(730),
            chains_days: Some(90),
            rights_days: Some(90),
            sweep_interval_s: 3_600,
        }
    }
}

/// Series as files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExportOptions {
    /// Exports at one time, over all tenants; further ones are refused.
    pub max_running: usize,
}

impl Default for ExportOptions {
    fn default() -> Self {
        Self { max_running: 16 }
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}
