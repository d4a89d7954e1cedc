//! Devices on the local network that speak MQTT: a listener on the endpoint that the hub has, too.
//!
//! ```text
//! device ─MQTT 3.1.1, 5→ stencil_mqtt: Policy = the client's password and the topics of its devices
//!   → intake: a ticket a read → stencil_field: values by the mapping → field::Keeper: numbers, spool
//!   → the spool is on disk up to the ticket → PUBACK
//! ```
//!
//! Off unless it is set. Devices publish; nothing is said to them, and they see nothing of each
//! other. What has no room is not read, so that TCP holds its client back; nothing is dropped.

pub(crate) mod clients;
mod identity;
mod intake;
mod look;
pub mod options;
mod policy;
mod throttle;

use std::{
    fmt::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use stencil_crypto::tls::{self, Policy as TlsPolicy};
use stencil_field::mqtt::Table;
use stencil_mqtt::{Endpoint, Handle, Policy, Sink};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};

use self::{
    clients::Clients,
    intake::Intake,
    options::{Listener, Mqtt, Security},
    policy::{Local, Principal, Topics},
    throttle::Throttle,
};
pub use self::{
    clients::{add as add_client, list as list_clients, remove as remove_client},
    look::listen,
};
use crate::{Error, field::Devices, spool::stopped};

/// How often the clients' files are looked at.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// How long a connection may take to be known.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a stop waits for what was published to be on disk.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

impl Topics for Arc<Devices> {
    fn table(&self) -> Option<Arc<Table>> {
        Some(Devices::table(self))
    }
}

/// A socket that listens.
struct Open {
    socket: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    address: SocketAddr,
    security: Security,
}

/// The folder of the authority under which listeners show certificates.
pub(crate) fn authority(data: &Path) -> PathBuf {
    identity::folder(data)
}

/// The listeners of a gateway.
pub(crate) struct Listeners {
    endpoint: Endpoint<Local<Arc<Devices>>, Intake>,
    clients: Arc<Clients>,
    intake: Arc<Intake>,
    open: Vec<Open>,
    /// Held, so that what waits for its acknowledgement when all ends waits in peace.
    _durable: Arc<watch::Sender<u64>>,
}

/// What of them can be shown while they run.
#[derive(Clone)]
pub(crate) struct Shown {
    handle: Handle<Principal>,
    intake: Arc<Intake>,
    listeners: Arc<[(SocketAddr, Security)]>,
}

impl Listeners {
    /// Opens the sockets. `durable` holds the ticket up to which all is on disk.
    ///
    /// # Errors
    /// [`Error::Mqtt`], [`Error::Tls`], [`Error::Listen`].
    pub(crate) async fn open(
        options: &Mqtt,
        data: &Path,
        field: &Arc<Devices>,
        durable: &Arc<watch::Sender<u64>>,
    ) -> Result<Self, Error> {
        let clients = Arc::new(Clients::new(options.clients.clone()));
        let intake = Arc::new(Intake::new(options, Arc::clone(field), durable.subscribe()));
        let policy = Local {
            clients: Arc::clone(&clients),
            topics: Arc::clone(field),
            throttle: Throttle::default(),
        };
        let endpoint = Endpoint::new(bounds(options), Arc::new(policy), Arc::clone(&intake));
        Ok(Self {
            endpoint,
            clients,
            intake,
            open: open(options, data).await?,
            _durable: Arc::clone(durable),
        })
    }

    /// Where devices connect, in the order of the options.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.open.iter().map(|one| one.address).collect()
    }

    /// What can be shown of them.
    pub(crate) fn shown(&self) -> Shown {
        let listeners = self.open.iter().map(|one| (one.address, one.security));
        Shown {
            handle: self.endpoint.handle(),
            intake: Arc::clone(&self.intake),
            listeners: listeners.collect(),
        }
    }

    /// Serves until `stop` holds true.
    pub(crate) async fn serve(self, stop: watch::Receiver<bool>) {
        let watching = watch_clients(self.clients, self.endpoint.handle(), stop.clone());
        tokio::join!(serve(self.endpoint, self.open, stop), watching);
    }
}

/// Opens the sockets of the options; says of each that is not strict what that means.
async fn open(options: &Mqtt, data: &Path) -> Result<Vec<Open>, Error> {
    let is_tls = |one: &Listener| one.security != Security::Plain;
    let shown = if options.listeners.iter().any(is_tls) {
        let (data, names) = (data.to_owned(), names(options));
        let opening = tokio::task::spawn_blocking(move || identity::open(&data, &names));
        let opened = opening.await.unwrap_or(Err("it ended by a bug".to_owned()));
        Some(opened.map_err(Error::Mqtt)?)
    } else {
        None
    };
    let mut sockets = Vec::with_capacity(options.listeners.len());
    for listener in &options.listeners {
        let tls = |policy| match &shown {
            Some(shown) => Ok(Some(tls::server(policy, &shown.server, &shown.roots)?)),
            None => Ok::<_, Error>(None),
        };
        let security = listener.security;
        let tls = match security {
            Security::Strict => tls(TlsPolicy::Strict)?,
            Security::Prefer => tls(TlsPolicy::Prefer)?,
            Security::Plain => None,
        };
        let failed = |source| Error::Listen {
            what: "mqtt.listeners",
            address: listener.listen,
            source,
        };
        let socket = TcpListener::bind(listener.listen).await.map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        if let Some(warning) = security.warning() {
            let security = security.name();
            tracing::warn!(%address, security, "MQTT devices may connect, and {warning}");
        }
        sockets.push(Open {
            socket,
            tls,
            address,
            security,
        });
    }
    Ok(sockets)
}

/// The names in the certificate.
fn names(options: &Mqtt) -> Vec<String> {
    let mut names = vec!["localhost".to_owned()];
    names.extend(options.names.iter().cloned());
    let addresses = options.listeners.iter().map(|one| one.listen.ip());
    names.extend(
        addresses
            .filter(|it| !it.is_unspecified())
            .map(|it| it.to_string()),
    );
    names.extend(["127.0.0.1".to_owned(), "::1".to_owned()]);
    let mut known = std::collections::HashSet::new();
    names.retain(|name| known.insert(name.clone()));
    names
}

/// The bounds of the endpoint.
fn bounds(options: &Mqtt) -> stencil_mqtt::Options {
    stencil_mqtt::Options {
        max_connections: options.max_connections,
        // Strangers never take all places.
        max_connecting: (options.max_connections / 2).max(1),
        // Nor does one address take all of theirs.
        max_connecting_per_address: (options.max_connections / 4).max(1),
        max_namespace_clients: options.max_connections_per_client,
        connect_timeout: CONNECT_TIMEOUT,
        drain_timeout: DRAIN_TIMEOUT,
        max_connect_bytes: 4 << 10,
        max_packet_bytes: options.max_packet_bytes,
        receive_maximum: options.max_in_flight,
        max_pending_reads: options.max_in_flight.into(),
        max_pending_bytes: 256 << 10,
        max_topic_bytes: stencil_field::mapping::MAX_TOPIC,
        max_subscriptions: 8,
        max_namespace_subscriptions: 16,
        // Nobody could ask for them.
        max_retained: 0,
        max_retained_bytes: 0,
        outbound_queue: 64,
        outbound_queue_bytes: 256 << 10,
        outbound_in_flight: 8,
        event_queue: 64,
        ..stencil_mqtt::Options::default()
    }
}

async fn serve<P: Policy, S: Sink<P::Principal>>(
    endpoint: Endpoint<P, S>,
    open: Vec<Open>,
    stop: watch::Receiver<bool>,
) {
    let mut serving = JoinSet::new();
    for one in open {
        let (endpoint, stop) = (endpoint.clone(), stop.clone());
        serving.spawn(async move { endpoint.serve(one.socket, one.tls, stop).await });
    }
    while serving.join_next().await.is_some() {}
}

/// Ends the connections of clients that were removed, until `stop` holds true.
async fn watch_clients(
    clients: Arc<Clients>,
    handle: Handle<Principal>,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(WATCH_INTERVAL) => {}
            () = stopped(&mut stop) => return,
        }
        let looking = Arc::clone(&clients);
        let gone = tokio::task::spawn_blocking(move || looking.look()).await;
        for client in gone.unwrap_or_default() {
            let connections = handle.disconnect_namespace(&client);
            tracing::info!(%client, connections, "an MQTT client was removed or has another \
                password");
        }
    }
}

impl Shown {
    /// What of them is counted without labels: name, kind, help, value.
    pub(crate) fn numbers(&self) -> Vec<(&'static str, &'static str, &'static str, u64)> {
        let now = self.handle.metrics();
        let refused_tls = now.tls_refused.values().sum();
        let gauge = |value: usize| ("gauge", value as u64);
        let counter = |value: u64| ("counter", value);
        let numbers = [
            (
                "connections",
                "MQTT connections now.",
                gauge(now.connections),
            ),
            (
                "values_waiting",
                "Values of MQTT devices that may wait for the disk.",
                gauge(self.intake.waiting()),
            ),
            (
                "connections_over_bound_total",
                "MQTT connections closed as there were too many.",
                counter(now.over_capacity),
            ),
            (
                "connections_made_way_total",
                "MQTT connections closed before they said who they are, to make room for a newer one.",
                counter(now.made_way),
            ),
            (
                "clients_refused_total",
                "MQTT clients that were not let in.",
                counter(now.refused),
            ),
            (
                "tls_refused_total",
                "TLS handshakes of MQTT devices that failed.",
                counter(refused_tls),
            ),
            (
                "protocol_errors_total",
                "MQTT connections closed as their client broke a rule or a bound.",
                counter(now.protocol_errors),
            ),
            (
                "publishes_total",
                "Messages that MQTT devices published.",
                counter(now.publishes_in),
            ),
            (
                "publishes_refused_total",
                "Messages on topics that their client may not use.",
                counter(now.publishes_refused),
            ),
            (
                "publishes_acknowledged_total",
                "Messages acknowledged, as they are on this disk.",
                counter(now.acknowledged),
            ),
            (
                "held_back_total",
                "Times that an MQTT client was not read as there was no room or it was too quick.",
                counter(now.sink_full),
            ),
        ];
        let one = |(name, help, (kind, value))| (name, kind, help, value);
        numbers.into_iter().map(one).collect()
    }

    /// What of them is counted, as text for Prometheus.
    pub(crate) fn metrics(&self) -> String {
        let mut out = String::new();
        let name = "stencil_gateway_mqtt_listeners";
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "# HELP {name} Listeners for MQTT devices, by how they are protected.\n\
             # TYPE {name} gauge"
        );
        for security in Security::ALL {
            let count = self
                .listeners
                .iter()
                .filter(|(_, it)| *it == security)
                .count();
            let _ = writeln!(out, "{name}{{security=\"{}\"}} {count}", security.name());
        }
        for (name, kind, help, value) in self.numbers() {
            let name = format!("stencil_gateway_mqtt_{name}");
            let _ = writeln!(
                out,
                "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}"
            );
        }
        out
    }
}

/// What an operator's settings say of MQTT devices, for a file for support.
pub(crate) fn told(options: &Mqtt) -> String {
    let mut out = String::new();
    if options.listeners.is_empty() {
        out.push_str("the gateway does not listen for MQTT devices\n");
    }
    for listener in &options.listeners {
        let (address, security) = (listener.listen, listener.security);
        let _ = write!(out, "{address}: {}", security.name());
        if let Some(warning) = security.warning() {
            let _ = write!(out, ": {warning}");
        }
        out.push('\n');
    }
    out + &clients::told(&options.clients)
}
