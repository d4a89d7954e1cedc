//! What the handlers work on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use stencil_protocol::id::{CommandId, DeviceId, GatewayId, TenantId};
use stencil_protocol::question::{Answer, Asked};
use stencil_protocol::sample::OwnedValue;
use stencil_store::Store;
use stencil_workflow::{Definition, definition};
use tokio::sync::{Semaphore, watch};
use zeroize::Zeroizing;

use super::audit::Undone;
use super::connections::Connections;
use super::device_cookie::Devices;
use super::host::Hosts;
use super::password::Passwords;
use super::questions::Questions;
use super::rate::Rates;
use super::throttle::Throttle;
use super::{DEVICE_KEY_BYTES, Limits};
use crate::access::Rights;
use crate::backtest::{BacktestOptions, Backtests};
use crate::chains::Triggers;
use crate::chains::x402::Sales;
use crate::grants::{EndingTenancy, EndingUsers, EndingWallets, Grants};
use crate::identity::{Identity, Kept};
use crate::ingest::Step;
use crate::registry::HubKey;
use crate::wallets::Contracts;
use crate::{Cashier, Clock, Error, Hub, Images, Live, NoAnswer, Options, Readiness, WorkflowPut};
use crate::{ExportOptions, RetentionOptions};

/// Uploads of devices at one time.
const MAX_ENROLMENTS: usize = 4;

/// What the API asks of the hub beyond its store.
#[async_trait]
pub trait Control: Send + Sync + 'static {
    /// Whether the hub does its work.
    fn readiness(&self) -> Readiness;

    /// All counters in Prometheus' text form.
    fn metrics_text(&self) -> String;

    /// The settings.
    fn options(&self) -> &Options;

    /// Keeps a workflow version and puts it in force. See [`Hub::put_workflow`].
    async fn put_workflow(&self, tenant: &TenantId, yaml: &str) -> Result<WorkflowPut, Error>;

    /// Who makes and changes invoices.
    fn cashier(&self) -> &Cashier;

    /// Who starts workflows because of payments.
    fn triggers(&self) -> &Triggers;

    /// Whether the hub's chains know what a definition names. See [`Hub::check_workflow`].
    fn check_workflow(&self, definition: &Definition) -> Result<(), definition::Error>;

    /// Takes a workflow out of force. See [`Hub::activate_workflow`].
    async fn stop_workflow(&self, tenant: &TenantId, id: &str) -> Result<(), Error>;

    /// Erases all that is kept of a device. See [`Hub::erase_device`].
    async fn erase_device(&self, tenant: &TenantId, device: &DeviceId) -> Result<(), Error>;

    /// Erases a tenant and all that is its own. See [`Hub::erase_tenant`].
    async fn erase_tenant(&self, tenant: &TenantId) -> Result<(), Error>;

    /// Refuses what a revoked device sends, or takes it again. See [`Hub::admit_device`].
    async fn admit_device(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        refused: bool,
    ) -> Result<(), Error>;

    /// Gateways may have to be given keys. See [`Hub::keys_changed`].
    fn keys_changed(&self);

    /// Other keys sign a tenant's images now: its gateways are to ask for them.
    async fn trust_followed(&self, tenant: &TenantId) -> Result<(), Error>;

    /// Gateways may have to be told what they shall be like. See [`Hub::desired_changed`].
    fn desired_changed(&self);

    /// Gateways of a tenant are in other groups. See [`Hub::groups_changed`].
    fn groups_changed(&self, tenant: &TenantId);

    /// Whether a gateway is connected now. See [`Hub::is_connected`].
    fn is_connected(&self, tenant: &TenantId, gateway: &GatewayId) -> bool;

    /// Revokes a gateway; `false`: it was before. See [`Hub::revoke_gateway`].
    async fn revoke_gateway(&self, tenant: &TenantId, gateway: &GatewayId) -> Result<bool, Error>;

    /// Asks a gateway something. See [`Hub::ask_gateway`].
    async fn ask_gateway(
        &self,
        tenant: &TenantId,
        gateway: &GatewayId,
        what: Asked,
    ) -> Result<Answer, NoAnswer>;

    /// Begins a roll-out. See [`Hub::start_rollout`].
    async fn start_rollout(
        &self,
        tenant: &TenantId,
        plan: &stencil_rollout::Plan,
    ) -> Result<stencil_rollout::Id, Error>;

    /// Has a roll-out pause, go on, try again, or end.
    async fn order_rollout(
        &self,
        tenant: &TenantId,
        rollout: stencil_rollout::Id,
        order: RolloutOrder,
    ) -> Result<(), Error>;

    /// The payloads of images.
    fn images(&self) -> &Images;

    /// Queues a command. See [`Hub::queue_command`].
    async fn queue_command(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        name: &str,
        argument: Option<OwnedValue>,
        expires_us: i64,
        key: Option<&str>,
    ) -> Result<CommandId, Error>;
}

/// What a roll-out is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RolloutOrder {
    /// Offer the image to nobody else for now.
    Pause,
    /// Go on.
    Resume,
    /// Let those that failed try again.
    Retry,
    /// End.
    Abort,
}

#[async_trait]
impl Control for Hub {
    async fn start_rollout(
        &self,
        tenant: &TenantId,
        plan: &stencil_rollout::Plan,
    ) -> Result<stencil_rollout::Id, Error> {
        Hub::start_rollout(self, tenant, plan).await
    }

    async fn order_rollout(
        &self,
        tenant: &TenantId,
        rollout: stencil_rollout::Id,
        order: RolloutOrder,
    ) -> Result<(), Error> {
        let step = match order {
            RolloutOrder::Pause => Step::Pause,
            RolloutOrder::Resume => Step::Resume,
            RolloutOrder::Retry => Step::Retry,
            RolloutOrder::Abort => Step::Abort,
        };
        self.ask_rollout(tenant, rollout.0, step).await
    }

    fn images(&self) -> &Images {
        &self.inner.images
    }

    fn cashier(&self) -> &Cashier {
        &self.inner.cashier
    }

    fn triggers(&self) -> &Triggers {
        &self.inner.triggers
    }

    fn desired_changed(&self) {
        Hub::desired_changed(self);
    }

    fn groups_changed(&self, tenant: &TenantId) {
        Hub::groups_changed(self, tenant);
    }

    fn is_connected(&self, tenant: &TenantId, gateway: &GatewayId) -> bool {
        Hub::is_connected(self, tenant, gateway)
    }

    async fn revoke_gateway(&self, tenant: &TenantId, gateway: &GatewayId) -> Result<bool, Error> {
        Hub::revoke_gateway(self, tenant, gateway).await
    }

    async fn ask_gateway(
        &self,
        tenant: &TenantId,
        gateway: &GatewayId,
        what: Asked,
    ) -> Result<Answer, NoAnswer> {
        Hub::ask_gateway(self, tenant, gateway, what).await
    }

    fn readiness(&self) -> Readiness {
        Hub::readiness(self)
    }

    fn metrics_text(&self) -> String {
        Hub::metrics_text(self)
    }

    fn options(&self) -> &Options {
        Hub::options(self)
    }

    async fn put_workflow(&self, tenant: &TenantId, yaml: &str) -> Result<WorkflowPut, Error> {
        Hub::put_workflow(self, tenant, yaml).await
    }

    fn check_workflow(&self, definition: &Definition) -> Result<(), definition::Error> {
        Hub::check_workflow(self, definition)
    }

    async fn erase_device(&self, tenant: &TenantId, device: &DeviceId) -> Result<(), Error> {
        Hub::erase_device(self, tenant, device).await.map(|_| ())
    }

    async fn stop_workflow(&self, tenant: &TenantId, id: &str) -> Result<(), Error> {
        self.activate_workflow(tenant, id, None).await.map(|_| ())
    }

    async fn erase_tenant(&self, tenant: &TenantId) -> Result<(), Error> {
        Hub::erase_tenant(self, tenant).await.map(|_| ())
    }

    async fn admit_device(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        refused: bool,
    ) -> Result<(), Error> {
        Hub::admit_device(self, tenant, device, refused).await
    }

    fn keys_changed(&self) {
        Hub::keys_changed(self);
    }

    async fn trust_followed(&self, tenant: &TenantId) -> Result<(), Error> {
        Hub::trust_followed(self, tenant).await
    }

    async fn queue_command(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        name: &str,
        argument: Option<OwnedValue>,
        expires_us: i64,
        key: Option<&str>,
    ) -> Result<CommandId, Error> {
        Hub::queue_command(self, tenant, device, name, argument, expires_us, key).await
    }
}

/// What the handlers work on. Cheap to clone.
#[derive(Clone)]
pub struct State {
    /// All ports of the store.
    pub store: Store,
    /// What happens right now.
    pub live: Live,
    /// The hub's time.
    pub clock: Clock,
    /// What is asked of the hub beyond its store.
    pub control: Arc<dyn Control>,
    /// The bounds.
    pub limits: Limits,
    /// Where people reach the hub, without a slash at the end.
    pub public_url: Arc<str>,
    /// What tokens and sessions have let in.
    grants: Grants,
    passwords: Arc<Passwords>,
    throttle: Arc<Throttle>,
    claims: Arc<Throttle>,
    key: HubKey,
    enrolments: Arc<Semaphore>,
    rates: Arc<Rates>,
    undone: Arc<Undone>,
    connections: Connections,
    devices: Arc<Devices>,
    hosts: Hosts,
    streams: Arc<Semaphore>,
    backtests: Backtests,
    tls: Option<Arc<rustls::ServerConfig>>,
    exports: Arc<Semaphore>,
    retention: RetentionOptions,
    sales: Option<Sales>,
    contracts: Contracts,
    questions: Questions,
    kept: Kept,
    listens: Option<SocketAddr>,
    stop: Option<watch::Receiver<bool>>,
}

impl State {
    /// The state over a running hub, with the default limits.
    #[must_use]
    pub fn new(hub: Hub) -> Self {
        let (store, live) = (hub.store().clone(), hub.live().clone());
        let clock = {
            let hub = hub.clone();
            Clock::from_fn(move || hub.now_us())
        };
        let (grants, key) = (hub.inner.grants.clone(), hub.inner.key.clone());
        let (options, sales) = (hub.options().clone(), hub.inner.sales.clone());
        let public_url = options.http.url(options.http.listen);
        Self::with(store, live, clock, Arc::new(hub), Limits::default(), grants)
            .backtesting(options.backtest)
            .exporting(&options.export)
            .keeping(options.retention)
            .sealing(key)
            .selling(sales)
            .reached_at(&public_url)
            .named(&options.http.public_names)
    }

    /// The state over parts.
    #[must_use]
    pub fn of(
        mut store: Store,
        live: Live,
        clock: Clock,
        control: Arc<dyn Control>,
        limits: Limits,
    ) -> Self {
        let grants = Grants::default();
        store.tenancy = Arc::new(EndingTenancy::new(store.tenancy, grants.clone()));
        store.users = Arc::new(EndingUsers::new(store.users, grants.clone()));
        store.wallets = Arc::new(EndingWallets::new(store.wallets, grants.clone()));
        Self::with(store, live, clock, control, limits, grants)
    }

    fn with(
        store: Store,
        live: Live,
        clock: Clock,
        control: Arc<dyn Control>,
        limits: Limits,
        grants: Grants,
    ) -> Self {
        let streams = Arc::new(Semaphore::new(limits.max_streams));
        Self {
            store,
            live,
            clock,
            control,
            public_url: Arc::from("http://127.0.0.1:8080"),
            passwords: Arc::new(Passwords::new(limits.sessions.max_hashes)),
            throttle: Arc::default(),
            claims: Arc::default(),
            key: HubKey::fresh(),
            enrolments: Arc::new(Semaphore::new(MAX_ENROLMENTS)),
            rates: Arc::new(Rates::new(&limits.rates)),
            undone: Arc::default(),
            connections: connections(&limits),
            devices: Arc::new(Devices::random()),
            hosts: Hosts::default(),
            limits,
            grants,
            streams,
            backtests: Backtests::new(BacktestOptions::default()),
            tls: None,
            exports: Arc::new(Semaphore::new(ExportOptions::default().max_running)),
            retention: RetentionOptions::default(),
            sales: None,
            contracts: Contracts::default(),
            questions: Questions::default(),
            kept: Kept::default(),
            listens: None,
            stop: None,
        }
    }

    /// The same with other limits.
    #[must_use]
    pub fn limited(mut self, limits: Limits) -> Self {
        self.connections = connections(&limits);
        self.streams = Arc::new(Semaphore::new(limits.max_streams));
        self.passwords = Arc::new(Passwords::new(limits.sessions.max_hashes));
        self.rates = Arc::new(Rates::new(&limits.rates));
        self.limits = limits;
        self
    }

    /// The same with other bounds of backtests.
    #[must_use]
    pub fn backtesting(mut self, options: BacktestOptions) -> Self {
        self.backtests = Backtests::new(options);
        self
    }

    /// The same with other bounds of exports.
    #[must_use]
    pub fn exporting(mut self, options: &ExportOptions) -> Self {
        self.exports = Arc::new(Semaphore::new(options.max_running));
        self
    }

    /// Room for questions to chains that strangers cause.
    pub(super) fn questions(&self) -> &Questions {
        &self.questions
    }

    /// Room for one more export.
    pub(super) fn exports(&self) -> Arc<Semaphore> {
        Arc::clone(&self.exports)
    }

    /// The same with another default of how long history is kept.
    #[must_use]
    pub fn keeping(mut self, options: RetentionOptions) -> Self {
        self.retention = options;
        self
    }

    /// For how long history is kept where a tenant has set nothing.
    pub(super) fn retention(&self) -> &RetentionOptions {
        &self.retention
    }

    /// The same with what tenants sell for single payments.
    #[must_use]
    pub(crate) fn selling(mut self, sales: Option<Sales>) -> Self {
        self.sales = sales;
        self
    }

    /// What tenants sell for single payments; `None`: the hub follows no chain.
    pub(super) fn sales(&self) -> Option<&Sales> {
        self.sales.as_ref()
    }

    /// Room for asking contract wallets.
    pub(super) fn contracts(&self) -> &Contracts {
        &self.contracts
    }

    /// Where the listener is, once it is.
    pub(super) fn listens(&self) -> Option<SocketAddr> {
        self.listens
    }

    pub(super) fn listening_at(&mut self, address: SocketAddr) {
        self.listens = Some(address);
    }

    /// Who runs backtests.
    pub(super) fn backtests(&self) -> &Backtests {
        &self.backtests
    }

    /// The same within TLS; `None`: without it.
    #[must_use]
    pub fn within(mut self, tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        self.tls = tls;
        self
    }

    /// The TLS that the listener speaks.
    pub(super) fn tls(&self) -> Option<Arc<rustls::ServerConfig>> {
        self.tls.clone()
    }

    /// The same with this address for people to reach the hub at.
    #[must_use]
    pub fn reached_at(mut self, public_url: &str) -> Self {
        self.public_url = Arc::from(public_url.trim_end_matches('/'));
        self.hosts.also_of(public_url);
        self
    }

    /// The same with these names, too, under which the console is reached.
    #[must_use]
    pub fn named(mut self, names: &[String]) -> Self {
        names.iter().for_each(|name| self.hosts.also(name));
        self
    }

    /// The same with a key that was kept, by which it knows browsers again.
    #[must_use]
    pub(crate) fn knowing_devices(mut self, key: Zeroizing<[u8; DEVICE_KEY_BYTES]>) -> Self {
        self.devices = Arc::new(Devices::with(key));
        self
    }

    /// By which names browsers reach the hub.
    pub(super) fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    pub(super) fn under_any_name(&mut self) {
        self.hosts.any();
    }

    /// Who knows browsers again.
    pub(super) fn devices(&self) -> &Devices {
        &self.devices
    }

    /// The room for checking passwords.
    pub(super) fn passwords(&self) -> &Passwords {
        &self.passwords
    }

    /// Who has failed to sign in of late.
    pub(super) fn throttle(&self) -> &Throttle {
        &self.throttle
    }

    /// Who has tried claim codes in vain of late.
    pub(super) fn claims(&self) -> &Throttle {
        &self.claims
    }

    /// The same with another key by which devices' keys are sealed.
    fn sealing(mut self, key: HubKey) -> Self {
        self.key = key;
        self
    }

    /// By which devices' keys are sealed.
    pub(super) fn key(&self) -> &HubKey {
        &self.key
    }

    /// DIDs and credentials.
    pub(super) fn identity(&self) -> Identity {
        Identity::new(&self.store, &self.key, &self.public_url).sharing(&self.kept)
    }

    /// Rights that gateways check.
    pub(super) fn rights(&self) -> Rights {
        Rights::new(&self.store, self.identity())
    }

    /// Room for one more upload of devices.
    pub(super) fn enrolments(&self) -> Arc<Semaphore> {
        Arc::clone(&self.enrolments)
    }

    /// How often everybody has asked of late.
    pub(super) fn rates(&self) -> &Rates {
        &self.rates
    }

    /// The open connections.
    pub(super) fn connections(&self) -> &Connections {
        &self.connections
    }

    /// What was not done of late.
    pub(super) fn undone(&self) -> &Undone {
        &self.undone
    }

    /// What tokens and sessions have let in.
    pub(super) fn grants(&self) -> &Grants {
        &self.grants
    }

    pub(super) fn stopped_by(mut self, stop: watch::Receiver<bool>) -> Self {
        self.stop = Some(stop);
        self
    }

    /// Room for one more event stream.
    pub(super) fn streams(&self) -> Arc<Semaphore> {
        Arc::clone(&self.streams)
    }

    /// Returns when the server is to stop, or after this time.
    pub(super) async fn stopped_or(&self, after: Duration) {
        let stopped = async {
            match self.stop.clone() {
                Some(mut stop) => {
                    let _ = stop.wait_for(|stop| *stop).await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stopped => {}
            () = tokio::time::sleep(after) => {}
        }
    }
}

fn connections(limits: &Limits) -> Connections {
    Connections::new(limits.max_connections, limits.max_connections_per_address)
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
