//! The hub put together, its start and its end.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use stencil_mqtt::{Endpoint, Handle};
use stencil_payments::port::Chain;
use stencil_protocol::id::TenantId;
use stencil_store::Store;
use tokio::sync::{Mutex, mpsc, watch};

use crate::access;
use crate::chains::x402::Sales;
use crate::chains::{Cashier, Chains, Owners, Table, Triggers, WakingCaused};
use crate::clock::Clock;
use crate::desired::{self, Desires};
use crate::dispatch::{self, Contest, Dispatcher, Sessions};
use crate::foundation::Foundation;
use crate::health::Health;
use crate::hub::{Hub, Inner};
use crate::identity::Identity;
use crate::ingest::Ingest;
use crate::links::Links;
use crate::listeners::Listener;
use crate::metrics::Metrics;
use crate::parts::Parts;
use crate::pipeline::Driver;
use crate::placing::{self, Placing};
use crate::policy::{Gate, HubPolicy, Peer, RefusedDevices, Tenants, namespace, token_namespace};
use crate::proofs::{Proofs, Telling};
use crate::registry::Deliverer;
use crate::retention::Sweeper;
use crate::rollout::{self, Delivery, Rollouts};
use crate::wake::Wakes;
use crate::{Error, Layout, Live, Options, expiry, http, runner, ticks, token_end};

/// The hub as a service.
#[derive(Debug)]
pub struct Service;

/// Where a running hub listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// The HTTP API and the live page.
    pub http: SocketAddr,
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
        Self::start_with(options, Clock::system(), |_| Ok(Vec::new())).await
    }

    /// [`Service::start`] with a clock, and with chains, which are made over the store once it is open:
    /// the hub knows the port only.
    ///
    /// # Errors
    /// As [`Service::start`]; and what `chains` says.
    pub async fn start_with(
        options: Options,
        clock: Clock,
        chains: impl FnOnce(&Store) -> Result<Vec<Arc<dyn Chain>>, Error>,
    ) -> Result<Running, Error> {
        options.check()?;
        let wakes = Wakes::default();
        let live = Live::new(options.live.capacity);
        let links = Links::since(clock.now_us());
        let foundation = Foundation::open(&options, &wakes, &clock, &live, &links).await?;
        let addresses = foundation.addresses();
        let (mut store, log, grants) = (foundation.store, foundation.log, foundation.grants);
        let chains = Chains::new(chains(&store)?);
        let rates = Arc::new(Table::new(&options.rates));
        let cashier = Cashier::open(store.clone(), chains.clone(), clock.clone(), rates).await?;
        let sales = Sales::over(&store, &chains, &clock, &cashier);
        let metrics = Arc::new(Metrics::default());
        store.caused = Arc::new(WakingCaused {
            inner: store.caused,
            wakes: wakes.clone(),
            live: live.clone(),
            metrics: Arc::clone(&metrics),
        });
        let triggers = Triggers::new(
            store.clone(),
            chains.clone(),
            clock.clone(),
            wakes.clone(),
            options.workflow.max_caused_runs,
        );
        metrics.begins_at(foundation.position.0);
        let health = Arc::new(Health::default());
        let (committed, applied) = watch::channel(foundation.position.0);
        let ingest = Ingest::new(
            log.clone(),
            clock.clone(),
            Arc::clone(&metrics),
            options.mqtt.max_packet_bytes,
        );
        let tenants = Tenants::new(Arc::clone(&store.tenancy));
        let refused = RefusedDevices::new(foundation.state.refused().cloned());
        let gate = Gate::new(&store, clock.clone(), options.http.limits.audit_entries);
        let endpoint = Endpoint::new(
            mqtt_options(&options),
            Arc::new(HubPolicy::new(
                Arc::clone(&store.tenancy),
                tenants.clone(),
                grants.clone(),
                refused.clone(),
                gate.clone(),
                clock.clone(),
            )),
            Arc::new(ingest.clone()),
        );
        let sessions = endpoint.handle();
        refused.ends_sessions(move |device| {
            sessions.disconnect_namespace(&namespace(device));
        });
        let sessions = endpoint.handle();
        grants.on_revoked(move |tenant, token| {
            sessions.disconnect_namespace(&token_namespace(tenant, token));
        });
        let identity = Identity::new(
            &store,
            &foundation.key,
            &options.http.url(options.http.listen),
        );
        let rights = access::Rights::new(&store, identity.clone());
        let proofs = Proofs::new(&store, &chains, &clock);
        let connectors = runner::connectors(
            &options,
            &store,
            &chains,
            identity,
            rights.clone(),
            proofs.clone(),
        )?;
        let runner = runner::new(&options, &store, &clock, &live, connectors.clone());
        let (rollouts, asked) = Rollouts::new();
        rollouts.are_under_way(foundation.state.rolls_out());
        let (desires, ends) = Desires::new();
        let hub = Hub {
            inner: Arc::new(Inner {
                options,
                store,
                grants,
                key: foundation.key,
                wakes: wakes.clone(),
                log,
                ingest,
                endpoint: endpoint.handle(),
                runner: runner.handle(),
                clock,
                metrics,
                live,
                health: Arc::clone(&health),
                applied,
                workflow_changes: Arc::new(Mutex::new(())),
                rollouts,
                placing: Placing::default(),
                telling: access::Telling::default(),
                images: foundation.images,
                desires,
                gate,
                chains,
                cashier,
                triggers,
                sales,
            }),
        };

        let mut parts = Parts::new(health, drain_timeout(&hub.inner.options));
        let (waits, needed) = watch::channel(false);
        let driver = hub.driver(&wakes, &links, committed, waits, tenants, refused);
        parts.pipeline(|stop| driver.run(foundation.state, foundation.position, stop));
        dispatching(&hub, &wakes, links, endpoint.handle(), &mut parts);
        placing_rules(&hub, endpoint.handle(), &mut parts);
        admitting(&hub, rights, endpoint.handle(), &mut parts);
        rolling_out(&hub, asked, endpoint.handle(), &mut parts);
        desiring(&hub, ends, endpoint.handle(), &mut parts);
        hub.inner.chains.run(&mut parts);
        let triggers = Arc::new(hub.inner.triggers.clone());
        hub.inner
            .cashier
            .run(connectors, vec![triggers], &mut parts);
        hub.inner.triggers.run(&mut parts);
        let telling = Telling {
            metrics: Arc::clone(&hub.inner.metrics),
            audit_entries: hub.inner.options.http.limits.audit_entries,
            wakes: wakes.clone(),
        };
        proofs.run(telling, hub.applied(), &mut parts);
        let inner = &hub.inner;
        Owners::new(
            inner.store.clone(),
            inner.chains.clone(),
            inner.clock.clone(),
        )
        .run(&mut parts);
        if let Some(sales) = hub.inner.sales.clone() {
            parts.effect("charges", |stop| async move {
                sales.run(stop).await;
                Ok(())
            });
        }
        let sweeping = wakes.clone();
        parts.effect("runner", |stop| async move {
            runner::run(runner, wakes, stop).await;
            Ok(())
        });
        let sweeper = hub.sweeper(&sweeping);
        parts.effect("retention", |stop| async move {
            sweeper.run(stop).await;
            Ok(())
        });
        let store = &hub.inner.store;
        let (users, wallets) = (Arc::clone(&store.users), Arc::clone(&store.wallets));
        let credentials = Arc::clone(&store.credentials);
        let clock = hub.inner.clock.clone();
        let idle_us = hub.inner.options.http.limits.sessions.idle_us();
        parts.effect("sessions' end", |stop| async move {
            expiry::run(users, wallets, credentials, clock, idle_us, stop).await;
            Ok(())
        });
        let (tenancy, clock) = (
            Arc::clone(&hub.inner.store.tenancy),
            hub.inner.clock.clone(),
        );
        let ending = hub.inner.grants.clone();
        parts.effect("tokens' end", |stop| async move {
            token_end::run(tenancy, ending, clock, stop).await;
            Ok(())
        });
        hub.log_changes(foundation.unlogged, &mut parts).await;
        hub.begin_rollouts(foundation.unasked, &mut parts);
        ticking(&hub, needed, &mut parts);
        for Listener {
            what, socket, tls, ..
        } in foundation.mqtt.into_vec()
        {
            let endpoint = endpoint.clone();
            parts.listener(what, |stop| async move {
                endpoint.serve(socket, tls, stop).await;
                Ok(())
            });
        }
        let options = &hub.inner.options.http;
        let state = http::State::new(hub.clone())
            .limited(options.limits.clone())
            .reached_at(&options.url(addresses.http))
            .knowing_devices(foundation.device_key)
            .within(foundation.http_tls);
        let (socket, _) = foundation.http;
        parts.listener("http", |stop| async move {
            let served = http::serve(socket, state, stop).await;
            served.map_err(|error| Error::Stopped("HTTP listener", error.to_string()))
        });
        tracing::info!(http = %addresses.http, strict = %addresses.strict,
            prefer = ?addresses.prefer, plain = ?addresses.plain,
            position = foundation.position.0, "the hub has started");
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

impl Foundation {
    fn addresses(&self) -> Addresses {
        let of = |listener: &Option<Listener>| listener.as_ref().map(|listener| listener.address);
        Addresses {
            http: self.http.1,
            strict: self.mqtt.strict.address,
            prefer: of(&self.mqtt.prefer),
            plain: of(&self.mqtt.plain),
        }
    }
}

impl Hub {
    fn driver(
        &self,
        wakes: &Wakes,
        links: &Links,
        committed: watch::Sender<u64>,
        waits: watch::Sender<bool>,
        tenants: Tenants,
        refused: RefusedDevices,
    ) -> Driver {
        let inner = &self.inner;
        let (grants, endpoint) = (inner.grants.clone(), inner.endpoint.clone());
        let tenant_gone = move |tenant: &TenantId| {
            grants.revoke_all(tenant);
            let of_tenant = format!("{tenant}/");
            endpoint.disconnect_namespaces(|namespace| namespace.starts_with(&of_tenant));
        };
        Driver {
            store: inner.store.clone(),
            log: inner.log.clone(),
            clock: inner.clock.clone(),
            options: inner.options.pipeline.clone(),
            keep_bytes: inner.options.log.keep_bytes,
            metrics: Arc::clone(&inner.metrics),
            live: inner.live.clone(),
            wakes: wakes.clone(),
            links: links.clone(),
            refused,
            rollouts: inner.rollouts.clone(),
            desires: inner.desires.clone(),
            health: Arc::clone(&inner.health),
            committed,
            waits,
            tenants,
            tenant_gone: Box::new(tenant_gone),
        }
    }
}

impl Hub {
    fn sweeper(&self, wakes: &Wakes) -> Sweeper {
        let inner = &self.inner;
        Sweeper {
            store: inner.store.clone(),
            clock: inner.clock.clone(),
            options: inner.options.retention.clone(),
            metrics: Arc::clone(&inner.metrics),
            wakes: wakes.clone(),
        }
    }
}

/// Time is something that comes in: it ends with the listeners, before the pipeline does.
fn ticking(hub: &Hub, needed: watch::Receiver<bool>, parts: &mut Parts) {
    let inner = &hub.inner;
    let (ingest, options) = (inner.ingest.clone(), inner.options.pipeline.clone());
    let metrics = Arc::clone(&inner.metrics);
    parts.listener("ticks", |stop| async move {
        ticks::run(ingest, options, metrics, needed, stop).await;
        Ok(())
    });
}

fn dispatching(hub: &Hub, wakes: &Wakes, links: Links, handle: Handle<Peer>, parts: &mut Parts) {
    let inner = &hub.inner;
    let (contest, contested) = Contest::new();
    let (registry, clock) = (Arc::clone(&inner.store.registry), inner.clock.clone());
    parts.effect("contested gateways", |stop| async move {
        dispatch::note(registry, clock, contested, stop).await;
        Ok(())
    });
    let sessions = Sessions {
        events: handle.events(),
        wakes: wakes.clone(),
        links,
        live: inner.live.clone(),
        clock: inner.clock.clone(),
        rollouts: inner.rollouts.clone(),
        placing: inner.placing.clone(),
        telling: inner.telling.clone(),
        desires: inner.desires.clone(),
        ingest: inner.ingest.clone(),
        contest,
    };
    sessions.begin();
    parts.effect("sessions", |stop| async move {
        sessions.watch(stop).await;
        Ok(())
    });
    let deliverer = Deliverer {
        registry: Arc::clone(&inner.store.registry),
        key: inner.key.clone(),
        handle: handle.clone(),
        ingest: inner.ingest.clone(),
        wakes: wakes.clone(),
        clock: inner.clock.clone(),
        options: inner.options.dispatch.clone(),
        in_flight: HashMap::new(),
        logged: HashMap::new(),
    };
    parts.effect("delivery of keys", |stop| async move {
        deliverer.run(stop).await;
        Ok(())
    });
    let dispatcher = Dispatcher {
        commands: Arc::clone(&inner.store.commands),
        handle,
        wakes: wakes.clone(),
        clock: inner.clock.clone(),
        options: inner.options.dispatch.clone(),
        metrics: Arc::clone(&inner.metrics),
        live: inner.live.clone(),
        sent: HashMap::new(),
    };
    parts.effect("dispatcher", |stop| async move {
        dispatcher.run(stop).await;
        Ok(())
    });
}

fn placing_rules(hub: &Hub, handle: Handle<Peer>, parts: &mut Parts) {
    let inner = &hub.inner;
    let delivery = placing::Delivery {
        placing: inner.placing.clone(),
        workflows: Arc::clone(&inner.store.workflows),
        gateways: Arc::clone(&inner.store.gateways),
        handle,
    };
    parts.effect("rules of gateways", |stop| async move {
        delivery.run(stop).await;
        Ok(())
    });
}

/// Gateways are told whose rights they admit, and their receipts are kept.
fn admitting(hub: &Hub, rights: access::Rights, handle: Handle<Peer>, parts: &mut Parts) {
    let inner = &hub.inner;
    let delivery = access::Delivery::new(
        rights.clone(),
        inner.telling.clone(),
        handle,
        inner.clock.clone(),
        Owners::new(
            inner.store.clone(),
            inner.chains.clone(),
            inner.clock.clone(),
        ),
    );
    parts.effect("rights at gateways", |stop| async move {
        delivery.run(stop).await;
        Ok(())
    });
    let keeper = access::Keeper {
        rights,
        store: inner.store.clone(),
        telling: inner.telling.clone(),
        clock: inner.clock.clone(),
        wakes: inner.wakes.clone(),
        intake: inner.ingest.receipts().clone(),
    };
    parts.effect("receipts of gateways", |stop| async move {
        keeper.run(stop).await;
        Ok(())
    });
}

fn rolling_out(
    hub: &Hub,
    asked: mpsc::Receiver<rollout::Asked>,
    handle: Handle<Peer>,
    parts: &mut Parts,
) {
    let inner = &hub.inner;
    let delivery = Delivery {
        rollouts: inner.rollouts.clone(),
        asked,
        store: Arc::clone(&inner.store.rollouts),
        images: inner.images.clone(),
        handle,
    };
    parts.effect("images", |stop| async move {
        delivery.run(stop).await;
        Ok(())
    });
    let (images, store) = (inner.images.clone(), inner.store.clone());
    parts.detached(async move { images.sweep(&store).await });
}

/// Gateways are told what they shall be like, and their certificates are renewed.
fn desiring(hub: &Hub, ends: desired::Ends, handle: Handle<Peer>, parts: &mut Parts) {
    let inner = &hub.inner;
    let renewals = desired::Renewals {
        asked: ends.renewals,
        authority: Layout::new(&inner.options.data_dir).authority(),
        certificates: Arc::clone(&inner.store.certificates),
        handle: handle.clone(),
        clock: inner.clock.clone(),
        metrics: Arc::clone(&inner.metrics),
        grace: inner.options.mqtt.late_grace(),
        days: inner.options.mqtt.gateway_certificate_days,
    };
    parts.effect("renewal of certificates", |stop| async move {
        renewals.run(stop).await;
        Ok(())
    });
    let delivery = desired::Delivery {
        desires: inner.desires.clone(),
        asked: ends.asked,
        gateways: Arc::clone(&inner.store.gateways),
        handle,
        clock: inner.clock.clone(),
        options: inner.options.dispatch.clone(),
        named: HashMap::new(),
        texts: Vec::new(),
    };
    parts.effect("desired states", |stop| async move {
        delivery.run(stop).await;
        Ok(())
    });
}

fn mqtt_options(options: &Options) -> stencil_mqtt::Options {
    let mut mqtt = stencil_mqtt::Options::default();
    mqtt.max_connections = options.mqtt.max_connections;
    // Strangers never take all places, nor one address all of theirs. A site behind one address may
    // come back with a thousand gateways at once.
    mqtt.max_connecting = mqtt.max_connecting.min(mqtt.max_connections / 2).max(1);
    mqtt.max_connecting_per_address = (mqtt.max_connecting / 3 * 2).max(1);
    mqtt.max_packet_bytes = options.mqtt.max_packet_bytes;
    mqtt.receive_maximum = options.mqtt.receive_maximum;
    mqtt.connect_timeout = Duration::from_millis(options.mqtt.connect_timeout_ms);
    mqtt.drain_timeout = drain_timeout(options);
    mqtt
}

fn drain_timeout(options: &Options) -> Duration {
    Duration::from_millis(options.mqtt.drain_timeout_ms)
}
