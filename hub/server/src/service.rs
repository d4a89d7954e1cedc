//! The hub put together, its start and its end.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use stencil_log::Log;
use stencil_mqtt::Endpoint;
use stencil_store::Store;
use tokio::sync::{Mutex, watch};

use crate::clock::Clock;
use crate::dispatch::{self, Dispatcher, Presence, WakingCommands};
use crate::health::Health;
use crate::hub::{Hub, Inner};
use crate::ingest::{Activation, Ingest};
use crate::listeners::Listeners;
use crate::metrics::Metrics;
use crate::parts::Parts;
use crate::pipeline::{self, Driver};
use crate::policy::HubPolicy;
use crate::wake::Wakes;
use crate::{Error, Layout, Live, Options, init, runner};

/// Bytes of an ingest record besides topic and payload, generously.
const RECORD_OVERHEAD_BYTES: u32 = 1_024;

/// The hub as a service.
#[derive(Debug)]
pub struct Service;

/// Where a running hub listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// MQTT over strict TLS.
    pub strict: SocketAddr,
    /// MQTT over TLS that lets classical clients in.
    pub prefer: Option<SocketAddr>,
    /// MQTT without TLS, on loopback.
    pub plain: Option<SocketAddr>,
}

/// A running hub. Dropping it aborts all parts: nothing that was acknowledged is lost, but clients
/// are cut off; [`Running::shutdown`] is the good way.
#[derive(Debug)]
pub struct Running {
    addresses: Addresses,
    hub: Hub,
    parts: Parts,
}

impl Service {
    /// Starts a hub over an initialised data directory. When this returns, all listeners are open.
    ///
    /// # Errors
    /// [`Error::Option`], [`Error::NotInitialised`], [`Error::Listen`], and whatever store, log
    /// and keys say.
    pub async fn start(options: Options) -> Result<Running, Error> {
        Self::start_with(options, Clock::system()).await
    }

    /// [`Service::start`] with a clock.
    ///
    /// # Errors
    /// As [`Service::start`].
    pub async fn start_with(options: Options, clock: Clock) -> Result<Running, Error> {
        options.check()?;
        let layout = Layout::new(&options.data_dir);
        if let Some(missing) = init::missing(&layout) {
            return Err(Error::not_initialised(&layout, &missing));
        }
        let wakes = Wakes::default();
        let store = open_store(&options, &layout, &wakes).await?;
        let log = open_log(&options, &layout).await?;
        let (state, position) =
            pipeline::restore(&store, &options.pipeline, &options.workflow).await?;
        if position > log.end() {
            return Err(Error::LogBehind {
                end: log.end().0,
                position: position.0,
            });
        }
        let listeners = Listeners::open(&options.mqtt, &layout).await?;
        let addresses = Addresses {
            strict: listeners.strict.address,
            prefer: listeners.prefer.as_ref().map(|listener| listener.address),
            plain: listeners.plain.as_ref().map(|listener| listener.address),
        };

        let metrics = Arc::new(Metrics::default());
        let health = Arc::new(Health::default());
        let live = Live::new(options.live.capacity);
        let (committed, applied) = watch::channel(position.0);
        let ingest = Ingest::new(log.clone(), clock.clone(), Arc::clone(&metrics));
        for (tenant, workflow, version) in pipeline::unlogged(&store, &state).await? {
            let activation = Activation {
                tenant,
                workflow: &workflow,
                version,
            };
            ingest.activate(activation).await?;
        }
        let policy = HubPolicy::new(Arc::clone(&store.tenancy));
        let endpoint = Endpoint::new(
            mqtt_options(&options),
            Arc::new(policy),
            Arc::new(ingest.clone()),
        );

        let mut parts = Parts::new(Arc::clone(&health), drain_timeout(&options));
        let driver = Driver {
            store: store.clone(),
            log: log.clone(),
            clock: clock.clone(),
            options: options.pipeline.clone(),
            keep_bytes: options.log.keep_bytes,
            metrics: Arc::clone(&metrics),
            live: live.clone(),
            wakes: wakes.clone(),
            health: Arc::clone(&health),
            committed,
        };
        parts.pipeline(|stop| driver.run(state, position, stop));
        let presence = Presence::default();
        let (events, present, woken) =
            (endpoint.handle().events(), presence.clone(), wakes.clone());
        parts.effect("presence", |stop| async move {
            dispatch::watch(events, present, woken, stop).await;
            Ok(())
        });
        let dispatcher = Dispatcher {
            commands: Arc::clone(&store.commands),
            handle: endpoint.handle(),
            presence,
            wakes: wakes.clone(),
            clock: clock.clone(),
            options: options.dispatch.clone(),
            metrics: Arc::clone(&metrics),
            live: live.clone(),
            sent_us: HashMap::new(),
        };
        parts.effect("dispatcher", |stop| async move {
            dispatcher.run(stop).await;
            Ok(())
        });
        runner::start(&options, &store, &clock, &wakes, &mut parts)?;
        for listener in listeners.into_vec() {
            let endpoint = endpoint.clone();
            parts.listener(listener.what, |stop| async move {
                endpoint.serve(listener.socket, listener.tls, stop).await;
                Ok(())
            });
        }

        let hub = Hub {
            inner: Arc::new(Inner {
                options,
                store,
                log,
                ingest,
                endpoint: endpoint.handle(),
                clock,
                metrics,
                live,
                health,
                applied,
                workflow_changes: Mutex::new(()),
            }),
        };
        // The HTTP API comes in here, as one more listener part over `http::State::new(hub)`.
        tracing::info!(strict = %addresses.strict, prefer = ?addresses.prefer,
            plain = ?addresses.plain, position = position.0, "the hub has started");
        Ok(Running {
            addresses,
            hub,
            parts,
        })
    }
}

impl Running {
    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// A handle on it.
    #[must_use]
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Returns when a part has ended that should not have, with the reason.
    pub async fn failed(&mut self) -> Error {
        self.parts.failed().await
    }

    /// Ends it well: listeners first, which commit and acknowledge what they have taken; then the
    /// pipeline, when it has applied all that was logged; then the rest.
    ///
    /// # Errors
    /// What the pipeline's last commit said. Nothing acknowledged is lost then either: it is in
    /// the log and applied at the next start.
    pub async fn shutdown(self) -> Result<(), Error> {
        let ended = self.parts.end().await;
        tracing::info!("the hub has stopped");
        ended
    }
}

async fn open_store(options: &Options, layout: &Layout, wakes: &Wakes) -> Result<Store, Error> {
    let sqlite = stencil_store::sqlite::open_with(layout.store(), options.store.clone()).await?;
    let mut store = Store::of(Arc::new(sqlite));
    store.commands = Arc::new(WakingCommands::new(store.commands, wakes.clone()));
    Ok(store)
}

async fn open_log(options: &Options, layout: &Layout) -> Result<Log, Error> {
    let log = stencil_log::Options {
        segment_bytes: options.log.segment_bytes,
        max_bytes: Some(options.log.max_bytes),
        max_record_bytes: options
            .mqtt
            .max_packet_bytes
            .saturating_add(RECORD_OVERHEAD_BYTES),
        max_pending_bytes: options.log.max_pending_bytes,
        ..stencil_log::Options::new(layout.log())
    };
    let opened = tokio::task::spawn_blocking(move || Log::open(log)).await;
    let log = opened.map_err(|error| Error::Stopped("opening of the log", error.to_string()))??;
    let recovery = log.recovery();
    if recovery.torn_bytes > 0 || !recovery.damaged.is_empty() || recovery.lost.is_some() {
        tracing::warn!(?recovery, "the ingest log was not closed well");
    }
    Ok(log)
}

fn mqtt_options(options: &Options) -> stencil_mqtt::Options {
    let mut mqtt = stencil_mqtt::Options::default();
    mqtt.max_connections = options.mqtt.max_connections;
    mqtt.max_packet_bytes = options.mqtt.max_packet_bytes;
    mqtt.receive_maximum = options.mqtt.receive_maximum;
    mqtt.connect_timeout = Duration::from_millis(options.mqtt.connect_timeout_ms);
    mqtt.drain_timeout = Duration::from_millis(options.mqtt.drain_timeout_ms);
    mqtt
}

fn drain_timeout(options: &Options) -> Duration {
    Duration::from_millis(options.mqtt.drain_timeout_ms)
}
