//! What a hub stands on: store, log, the state they left, and the sockets. All of it opens before
//! anything runs, so that what is wrong is told at start.

use std::net::SocketAddr;
use std::sync::Arc;

use rand_core::Rng as _;
use stencil_crypto::{keyfile, rng};
use stencil_log::{Log, Position};
use stencil_protocol::id::TenantId;
use stencil_store::Store;
use tokio::net::TcpListener;
use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::dispatch::WakingCommands;
use crate::grants::{EndingTenancy, EndingUsers, EndingWallets, Grants};
use crate::http::DEVICE_KEY_BYTES;
use crate::layout::RESTORED;
use crate::links::{LinkedDevices, Links};
use crate::listeners::{self, Listeners};
use crate::pipeline::{self, State, Unlogged};
use crate::registry::HubKey;
use crate::wake::Wakes;
use crate::{Error, Images, Layout, Live, Options, init, private, renewal};

/// Bytes of an ingest record besides topic and payload, generously.
const RECORD_OVERHEAD_BYTES: u32 = 1_024;

/// All that is opened.
pub(crate) struct Foundation {
    pub(crate) store: Store,
    /// What tokens and sessions have let in.
    pub(crate) grants: Grants,
    /// By which devices' keys are sealed.
    pub(crate) key: HubKey,
    pub(crate) log: Log,
    /// The pipeline's state as of the last commit, and its place in the log.
    pub(crate) state: State,
    pub(crate) position: Position,
    /// Changes of workflows that were kept but not logged.
    pub(crate) unlogged: Vec<Unlogged>,
    /// Roll-outs that were asked for but not logged.
    pub(crate) unasked: Vec<(TenantId, [u8; 16])>,
    pub(crate) images: Images,
    pub(crate) mqtt: Listeners,
    pub(crate) http: (TcpListener, SocketAddr),
    /// The TLS of HTTP, if it is to be within one.
    pub(crate) http_tls: Option<Arc<rustls::ServerConfig>>,
    /// By which browsers are known again.
    pub(crate) device_key: Zeroizing<[u8; DEVICE_KEY_BYTES]>,
}

impl Foundation {
    /// Opens all of it.
    pub(crate) async fn open(
        options: &Options,
        wakes: &Wakes,
        clock: &Clock,
        live: &Live,
        links: &Links,
    ) -> Result<Self, Error> {
        let layout = Layout::new(&options.data_dir);
        if let Some(missing) = init::missing(&layout) {
            return Err(Error::not_initialised(&layout, &missing));
        }
        private::warn(&private::tighten(&layout));
        // Before anything is repaired or migrated.
        stencil_store::sqlite::refuse_newer(&layout.store()).await?;
        // The log first: its lock says whether another process runs this hub.
        let mut log = open_log(options, &layout, None).await?;
        let mut store = open_store(options, &layout, wakes, live).await?;
        store.devices = Arc::new(LinkedDevices {
            inner: store.devices,
            links: links.clone(),
        });
        let key = HubKey::open(&layout, store.registry.as_ref()).await?;
        begin_anew(&layout, &store).await?;
        let grants = Grants::default();
        store.tenancy = Arc::new(EndingTenancy::new(store.tenancy, grants.clone()));
        store.users = Arc::new(EndingUsers::new(store.users, grants.clone()));
        store.wallets = Arc::new(EndingWallets::new(store.wallets, grants.clone()));
        let (pipeline, workflow) = (&options.pipeline, &options.workflow);
        let (state, position) =
            pipeline::restore(&store, pipeline, workflow, clock.now_us()).await?;
        if position > log.end() {
            // Its end was damaged, or it was replaced. What the store has seen of it is applied;
            // what it has not seen is gone either way, and the loss ledger shows it.
            drop(log);
            log = open_log(options, &layout, Some(position)).await?;
        }
        let unlogged = pipeline::unlogged(&store, &state).await?;
        let unasked = pipeline::unasked(&store, &state).await?;
        let images = Images::open(&layout.images())?;
        renewal::server_certificates(&layout, clock);
        let device_key = device_key(&layout)?;
        let mqtt = Listeners::open(&options.mqtt, &layout).await?;
        let http_tls = listeners::http_tls(&options.http, &layout)?;
        let http = listeners::bind("http.listen", options.http.listen).await?;
        Ok(Self {
            store,
            grants,
            key,
            log,
            state,
            position,
            unlogged,
            unasked,
            images,
            mqtt,
            http,
            http_tls,
            device_key,
        })
    }
}

/// The key of the cookies by which browsers are known again, which is made at the first start.
fn device_key(layout: &Layout) -> Result<Zeroizing<[u8; DEVICE_KEY_BYTES]>, Error> {
    let path = layout.device_key();
    let mut key = Zeroizing::new([0; DEVICE_KEY_BYTES]);
    if path.exists() {
        let kept = keyfile::read_text(&path)?;
        if hex::decode_to_slice(kept.trim(), key.as_mut()).is_ok() {
            return Ok(key);
        }
        tracing::warn!(path = %path.display(),
            "the key of the browsers' cookies is damaged and made anew: no browser is known");
    }
    rng::Os.fill_bytes(key.as_mut());
    let text = Zeroizing::new(hex::encode(key.as_slice()));
    keyfile::write(&path, text.as_bytes())?;
    Ok(key)
}

/// After a restore gateways may hold keys of a later state: their lists begin anew.
async fn begin_anew(layout: &Layout, store: &Store) -> Result<(), Error> {
    let mark = layout.root().join(RESTORED);
    if !mark.exists() {
        return Ok(());
    }
    store.registry.renumber().await?;
    store.gateways.renumber_desired().await?;
    std::fs::remove_file(&mark).map_err(|error| Error::io(&mark, error))
}

async fn open_store(
    options: &Options,
    layout: &Layout,
    wakes: &Wakes,
    live: &Live,
) -> Result<Store, Error> {
    let sqlite = stencil_store::sqlite::open_with(layout.store(), options.store.clone()).await?;
    let mut store = sqlite.store();
    store.commands = Arc::new(WakingCommands::new(
        store.commands,
        wakes.clone(),
        live.clone(),
    ));
    Ok(store)
}

/// Opens the ingest log, which the store has `seen` up to this position.
async fn open_log(
    options: &Options,
    layout: &Layout,
    seen: Option<Position>,
) -> Result<Log, Error> {
    let log = stencil_log::Options {
        segment_bytes: options.log.segment_bytes,
        max_bytes: Some(options.log.max_bytes),
        max_record_bytes: options
            .mqtt
            .max_packet_bytes
            .saturating_add(RECORD_OVERHEAD_BYTES),
        max_pending_bytes: options.log.max_pending_bytes,
        seen,
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
