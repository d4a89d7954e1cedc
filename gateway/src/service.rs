//! The gateway as a whole: what runs, and how it ends.

use std::{
    fmt,
    future::Future,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;
use stencil_field::mapping::Mapping;
use stencil_log::Position;
use stencil_protocol::id::{GatewayId, TenantId};
use stencil_strangers::Lines;
use tokio::{
    net::TcpListener,
    sync::{Mutex, oneshot, watch},
    task::{JoinHandle, JoinSet},
};

use crate::{
    Error, Logs, Options,
    access::{self, Access, Around},
    answers::Answers,
    commands::Commands,
    desired::{Desired, Effective},
    diag::Keepers,
    edge::{Edge, Following, follow},
    ends::Ends,
    field::{self, Devices},
    figures::Figures,
    http,
    identity::Identity,
    images::Images,
    link::{self, Links, Live, Porter, Resumptions, Unreadable},
    managed::Managed,
    metrics::Metrics,
    mqtt,
    psk::{KeyRing, look_at_folder},
    seal::{Sealing, seal},
    spool::Spool,
    uplink::{Certificate, Said, Uplink},
};

/// How long a stop may wait for the spool to be closed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// All parts of a gateway, from one start to one end. They end when this is dropped.
pub(crate) struct Whole {
    addresses: Addresses,
    stop: watch::Sender<bool>,
    failure: Mutex<oneshot::Receiver<Error>>,
    supervisor: JoinHandle<()>,
    field: Arc<Devices>,
    /// Closes with the spool.
    spool: watch::Receiver<Position>,
    /// Whether there is a connection to the hub.
    connected: watch::Receiver<bool>,
    /// How fast what waited may be brought.
    back_fill: watch::Sender<u64>,
}

/// Where a gateway that runs can be reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Addresses {
    /// Whose gateway it is, by its certificate.
    pub tenant: TenantId,
    /// Which gateway it is, by its certificate.
    pub gateway: GatewayId,
    /// Where devices link, in the order of the options.
    pub link: Vec<SocketAddr>,
    /// Where MQTT devices connect, in the order of the options.
    pub mqtt: Vec<SocketAddr>,
    /// Where holders of rights ask; `None`: nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<SocketAddr>,
    /// Health and metrics.
    pub http: SocketAddr,
}

impl Whole {
    /// Starts all parts.
    ///
    /// # Errors
    /// As [`crate::Service::start`].
    pub(crate) async fn start(
        options: Options,
        effective: &Effective,
        desired: Arc<Desired>,
        logs: &Logs,
    ) -> Result<Self, Error> {
        let identity = Identity::load(&options)?;
        let metrics = Arc::new(Metrics::default());
        let spool = open_spool(&options, &metrics).await?;
        let edge = open_edge(&options, &identity, &spool).await?;
        let managed = open_managed(&options, &identity).await?;
        let images = open_images(&options).await?;
        let keys = Arc::new(KeyRing::new(options.psk_dir.clone(), Arc::clone(&managed)));
        desired.keys_are(&keys);
        let mapping = load_mapping(&options, effective, &keys).await?;

        let mut listeners = Vec::new();
        for address in &options.link.tcp {
            listeners.push(bind("link.tcp", *address).await?);
        }
        let access_listener = match options.access.listen {
            Some(address) => Some(bind("access.listen", address).await?),
            None => None,
        };
        let http_listener = bind("http.listen", options.http.listen).await?;
        if let Some(warning) = options.http.warning() {
            let address = http_listener.1;
            tracing::warn!(%address, "health and counts are served off loopback, and {warning}");
        }
        let ends = open_ends(&options, &identity, mapping.devices().count()).await?;
        let listens = !options.mqtt.listeners.is_empty();
        let (field, said) = Devices::start(mapping, listens, Arc::clone(&keys));
        let durable = Arc::new(watch::Sender::new(0));
        let mqtt = mqtt::Listeners::open(&options.mqtt, &options.data_dir, &field, &durable);
        let mqtt = mqtt.await?;
        let addresses = Addresses {
            tenant: identity.tenant.clone(),
            gateway: identity.gateway.clone(),
            link: listeners.iter().map(|(_, address)| *address).collect(),
            mqtt: mqtt.addresses(),
            access: access_listener.as_ref().map(|(_, address)| *address),
            http: http_listener.1,
        };

        let spool_is_open = spool.committed();
        look_at_folder(&options.psk_dir);
        look_at_folder(&options.mqtt.clients);
        let (stop, stopping) = watch::channel(false);
        let (connected, is_connected) = watch::channel(false);
        let commands = Arc::new(Commands::new(options.commands.clone()));
        let live = Live::default();
        let certificate = Arc::new(Certificate::new(&options, &identity, &metrics));
        let around = Around {
            commands: Arc::clone(&commands),
            live: live.clone(),
            keys: Arc::clone(&keys),
            field: Arc::clone(&field),
            metrics: Arc::clone(&metrics),
            certificate: Arc::clone(&certificate),
        };
        let access = open_access(&options, around).await?;
        let links = Arc::new(Links {
            gateway: identity.gateway.clone(),
            keys,
            porter: Porter::new().map_err(Error::Random)?,
            resumptions: open_resumptions(&options)?,
            spool: spool.clone(),
            edge: Arc::clone(&edge),
            commands: Arc::clone(&commands),
            access: access.clone(),
            live: live.clone(),
            images: Arc::clone(&images),
            unreadable: Unreadable::default(),
            strangers: Lines::default(),
            metrics: Arc::clone(&metrics),
            options: options.link.clone(),
        });
        let figures = Arc::new(Figures {
            spool: spool.clone(),
            live: live.clone(),
            commands: Arc::clone(&commands),
            keys: Arc::clone(&managed),
            field: Arc::clone(&field),
            mqtt: mqtt.shown(),
            edge: Arc::clone(&edge),
            access: access.clone(),
            metrics: Arc::clone(&metrics),
            certificate: Arc::clone(&certificate),
            connected: is_connected.clone(),
            desired: Arc::clone(&desired),
            started: Instant::now(),
        });
        let answers = Answers {
            logs: logs.clone(),
            figures: Arc::clone(&figures),
            keepers: Keepers::of(&options),
            accept: options.desired.accept,
        };
        let (back_fill, back_fills) = watch::channel(options.hub.back_fill_bytes_per_s);
        let uplink = Arc::new(Uplink {
            gateway: identity.gateway.clone(),
            options: options.hub.clone(),
            certificate: Arc::clone(&certificate),
            spool: spool.clone(),
            commands: Arc::clone(&commands),
            live: live.clone(),
            keys: Arc::clone(&managed),
            images,
            edge: Arc::clone(&edge),
            field: Arc::clone(&field),
            metrics: Arc::clone(&metrics),
            connected,
            desired,
            said: Said::default(),
            answers: Arc::new(answers),
            access: access.clone(),
            back_fill: back_fills,
        });
        let sealing = Sealing {
            tenant: identity.tenant.clone(),
            gateway: identity.gateway.clone(),
            folder: options.data_dir.clone(),
            options: options.seal.clone(),
            spool: spool.clone(),
            certificate: Arc::clone(&certificate),
            metrics: Arc::clone(&metrics),
        };
        let following = Following {
            edge: Arc::clone(&edge),
            commands: Arc::clone(&commands),
            live: live.clone(),
            keys: Arc::clone(&links.keys),
            metrics: Arc::clone(&metrics),
        };

        let mut tasks = JoinSet::new();
        let places = link::places(&links.options);
        for (listener, _) in listeners {
            let (links, places) = (Arc::clone(&links), places.clone());
            tasks.spawn(endless(link::listen(
                listener,
                links,
                places,
                stopping.clone(),
            )));
        }
        tasks.spawn(endless(Arc::clone(&links).say_counts(stopping.clone())));
        for line in options.link.serial {
            tasks.spawn(endless(link::keep_open(
                line,
                Arc::clone(&links),
                stopping.clone(),
            )));
        }
        tasks.spawn(field::keep(
            said,
            identity.gateway,
            (spool.clone(), Arc::clone(&following.edge)),
            (metrics, durable),
            (ends, Arc::clone(&field)),
            stopping.clone(),
        ));
        tasks.spawn(endless(mqtt.serve(stopping.clone())));
        let keys = Arc::clone(&links.keys);
        tasks.spawn(endless(keys.watch(live, stopping.clone())));
        tasks.spawn(uplink.run(stopping.clone()));
        let (keys, read) = (Arc::clone(&links.keys), Arc::clone(&field));
        let devices = move || [keys.devices(), read.ids()].concat();
        tasks.spawn(edge.take_wanted(devices, stopping.clone()));
        tasks.spawn(follow(following, stopping.clone()));
        if let (Some(access), Some((listener, address))) = (access, access_listener) {
            let stopping = stopping.clone();
            tasks.spawn(async move {
                let served = access::serve(listener, access, stopping).await;
                served.map_err(|source| Error::Listen {
                    what: "access.listen",
                    address,
                    source,
                })
            });
        }
        tasks.spawn(seal(sealing, stopping.clone()));
        tasks.spawn({
            let (address, stopping) = (addresses.http, stopping.clone());
            let http_options = options.http;
            async move {
                http::serve(http_listener.0, &http_options, figures, stopping)
                    .await
                    .map_err(|source| Error::Listen {
                        what: "http.listen",
                        address,
                        source,
                    })
            }
        });
        let kept = options.data_dir.join("log");
        tasks.spawn(endless(logs.clone().keep(kept, stopping.clone())));
        tasks.spawn(keep(spool, stopping));
        tracing::info!(%addresses, "gateway started");
        let (tell, failure) = oneshot::channel();
        let supervisor = tokio::spawn(supervise(tasks, stop.subscribe(), tell));
        let failure = Mutex::new(failure);
        Ok(Self {
            addresses,
            stop,
            failure,
            supervisor,
            field,
            spool: spool_is_open,
            connected: is_connected,
            back_fill,
        })
    }

    /// How fast what waited may be brought from now on, in bytes a second; 0: no bound.
    pub(crate) fn set_back_fill(&self, bytes_per_s: u64) {
        self.back_fill.send_replace(bytes_per_s);
    }

    /// Where they can be reached.
    pub(crate) fn addresses(&self) -> Addresses {
        self.addresses.clone()
    }

    /// Whether there is a connection to the hub.
    pub(crate) fn connected(&self) -> watch::Receiver<bool> {
        self.connected.clone()
    }

    /// The field devices.
    pub(crate) fn field(&self) -> &Arc<Devices> {
        &self.field
    }

    /// See [`crate::Running::failed`].
    pub(crate) async fn failed(&self) -> Error {
        match (&mut *self.failure.lock().await).await {
            Ok(error) => error,
            Err(_) => std::future::pending().await,
        }
    }

    /// See [`crate::Running::shutdown`].
    pub(crate) async fn shutdown(mut self) -> Result<(), Error> {
        self.stop.send_replace(true);
        if self.supervisor.await.is_err() {
            return Err(Error::Ended("supervisor"));
        }
        // Who reads the spool or answers a question about it lets go of it a moment later.
        let closed = async { while self.spool.changed().await.is_ok() {} };
        if tokio::time::timeout(CLOSE_TIMEOUT, closed).await.is_err() {
            tracing::warn!("the gateway has ended, but somebody still holds its spool open");
        }
        match self.failure.into_inner().try_recv() {
            Ok(error) => Err(error),
            Err(_) => Ok(()),
        }
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gateway {} of {}: links", self.gateway, self.tenant)?;
        for address in &self.link {
            write!(f, " {address}")?;
        }
        for address in &self.mqtt {
            write!(f, ", MQTT {address}")?;
        }
        if let Some(address) = &self.access {
            write!(f, ", holders http://{address}")?;
        }
        write!(f, ", http://{}", self.http)
    }
}

/// Reads what sessions are resumed with, beside the spool.
fn open_resumptions(options: &Options) -> Result<Resumptions, Error> {
    let path = options.data_dir.join("resumption");
    Resumptions::open(path.clone(), &options.link).map_err(|source| Error::File {
        action: "cannot open",
        path,
        source,
    })
}

async fn open_spool(options: &Options, metrics: &Arc<Metrics>) -> Result<Spool, Error> {
    let (dir, spool, metrics) = (
        options.data_dir.clone(),
        options.spool.clone(),
        Arc::clone(metrics),
    );
    let opening = tokio::task::spawn_blocking(move || {
        crate::disk::make_folder(&dir).map_err(|source| Error::File {
            action: "make",
            path: dir.clone(),
            source,
        })?;
        Spool::open(&dir, &spool, &metrics)
    });
    opening.await.unwrap_or(Err(Error::Ended("spool")))
}

/// Reads where the numbers of field devices had come to before this start.
async fn open_ends(options: &Options, identity: &Identity, devices: usize) -> Result<Ends, Error> {
    let dir = options.data_dir.clone();
    let (tenant, gateway) = (identity.tenant.clone(), identity.gateway.clone());
    let opening = tokio::task::spawn_blocking(move || {
        Ends::open(&dir, &tenant, &gateway, devices).map_err(|source| Error::File {
            action: "open",
            path: dir.join("ends"),
            source,
        })
    });
    opening.await.unwrap_or(Err(Error::Ended("field")))
}

async fn open_edge(
    options: &Options,
    identity: &Identity,
    spool: &Spool,
) -> Result<Arc<Edge>, Error> {
    let (dir, spool) = (options.data_dir.clone(), spool.clone());
    let (tenant, gateway) = (identity.tenant.clone(), identity.gateway.clone());
    let options = options.edge.clone();
    let opening =
        tokio::task::spawn_blocking(move || Edge::open(&dir, tenant, &gateway, options, spool));
    match opening.await {
        Ok(opened) => opened.map(Arc::new),
        Err(_) => Err(Error::Ended("edge")),
    }
}

async fn open_managed(options: &Options, identity: &Identity) -> Result<Arc<Managed>, Error> {
    let dir = options.data_dir.clone();
    let (tenant, gateway) = (identity.tenant.clone(), identity.gateway.clone());
    let opening = tokio::task::spawn_blocking(move || Managed::open(&dir, tenant, gateway));
    match opening.await {
        Ok(Ok(managed)) => Ok(Arc::new(managed)),
        Ok(Err(error)) => Err(Error::Keys(error.to_string())),
        Err(_) => Err(Error::Ended("keys")),
    }
}

/// Reads what is kept for holders of rights.
async fn open_access(options: &Options, around: Around) -> Result<Option<Arc<Access>>, Error> {
    let options = options.clone();
    let opening = tokio::task::spawn_blocking(move || Access::open(&options, around));
    opening.await.unwrap_or(Err(Error::Ended("access")))
}

async fn open_images(options: &Options) -> Result<Arc<Images>, Error> {
    let (images, data) = (options.images.clone(), options.data_dir.clone());
    let opening = tokio::task::spawn_blocking(move || Images::open(&images, &data));
    match opening.await {
        Ok(Ok(images)) => Ok(Arc::new(images)),
        Ok(Err(why)) => Err(Error::Options(why)),
        Err(_) => Err(Error::Ended("images")),
    }
}

/// The hub's mapping, which has taken its ids when it was judged, else that of the gateway's own file.
async fn load_mapping(
    options: &Options,
    effective: &Effective,
    keys: &Arc<KeyRing>,
) -> Result<Mapping, Error> {
    let (yaml, path) = (effective.mapping.clone(), options.field.mapping.clone());
    let (keys, files) = (Arc::clone(keys), options.field.files.clone());
    let loading = tokio::task::spawn_blocking(move || match yaml {
        None => field::load(path.as_deref(), &keys),
        Some(yaml) => {
            let mapping = stencil_field::mapping::parse_from_afar(&yaml, &files)
                .map_err(|errors| Error::Desired(format!("its mapping: {errors}")))?;
            let claimed = keys.claim_again(&mapping);
            claimed.map_err(|refused| Error::Keys(refused.to_string()))?;
            Ok(mapping)
        }
    });
    loading.await.unwrap_or(Err(Error::Ended("mapping")))
}

async fn bind(what: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let failed = |source| Error::Listen {
        what,
        address,
        source,
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// Sees all parts to their end; tells of the first that ends before it should.
async fn supervise(
    mut tasks: JoinSet<Result<(), Error>>,
    stopping: watch::Receiver<bool>,
    tell: oneshot::Sender<Error>,
) {
    let mut tell = Some(tell);
    while let Some(ended) = tasks.join_next().await {
        // The sender goes with the gateway's handle: that is a stop as well.
        let is_stopping = *stopping.borrow() || stopping.has_changed().is_err();
        let error = match ended {
            Ok(Ok(())) if is_stopping => continue,
            Ok(Ok(())) => Error::Ended("part"),
            Ok(Err(error)) => error,
            Err(_) => Error::Ended("part"),
        };
        tracing::error!(%error, "a part of the gateway has failed");
        if let Some(tell) = tell.take() {
            let _ = tell.send(error);
        }
    }
}

async fn endless(task: impl Future<Output = ()>) -> Result<(), Error> {
    task.await;
    Ok(())
}

/// Keeps the spool, and tells when it has failed.
async fn keep(spool: Spool, stopping: watch::Receiver<bool>) -> Result<(), Error> {
    let mut committed = spool.committed();
    let failed = async move { while committed.changed().await.is_ok() {} };
    tokio::select! {
        kept = spool.keep(stopping) => kept,
        () = failed => Err(Error::Spool(spool.failure())),
    }
}
