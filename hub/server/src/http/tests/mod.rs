//! The API over a real store in a temporary folder, asked over a real socket.

mod access;
mod alarms;
mod anchoring;
mod audit;
mod authorisation;
mod backtest;
mod bounds;
mod chains;
mod checkout_page;
mod client;
mod commands;
mod console;
mod content;
mod credentials;
mod device_page;
mod devices;
mod enrolment;
mod export;
mod fleet;
mod flood;
mod held;
mod hosts;
mod invoices;
mod judging;
mod keyed;
mod ledger;
mod links;
mod lists;
mod operator;
mod overview;
mod ownership;
mod page;
mod payments;
mod queries;
mod rates;
mod receipts;
mod retention;
mod rollouts;
mod runs;
mod secured;
mod seed;
mod sessions;
mod settings_page;
mod sign_in;
mod stream;
mod tenants;
mod tokens;
mod users;
mod wallets;
mod workflows;
mod x402;
mod x402_commands;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use sha2::{Digest, Sha256};
use stencil_protocol::id::{CommandId, DeviceId, GatewayId, TenantId};
use stencil_protocol::question::{self, Asked};
use stencil_protocol::sample::OwnedValue;
use stencil_rollout::{Id, Plan};
use stencil_store::{Commit, Erased, NewCommand, Role, Store, TokenKind, sqlite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Control, Limits, RolloutOrder, State, serve};
use crate::chains::tests::fake::Fake;
use crate::chains::x402::Sales;
use crate::chains::{Chains, Table};
use crate::wake::Wakes;
use crate::{
    Cashier, Check, Clock, Error, Images, Live, NoAnswer, Options, RateOption, Readiness, Triggers,
    WorkflowPut,
};
use client::{Answer, Ask};
use stencil_payments::port::Chain;
use x402::money::{Drawer, Money};

/// The hub's time in these tests, until somebody sets another.
const NOW_US: i64 = 1_700_000_000_000_000;

/// The password of users in these tests.
const PASSWORD: &str = "correct-horse-battery";
/// Its hash.
const PASSWORD_HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$b7b/LalLqsDG1moflx04NQ$+Dhr8VXAEHKilXHQPFN8sbe9VI2Ao6JsNeJOzlRskms";

/// A served store with two tenants: `acme`, which has one of everything, and `rival`, which has
/// nothing.
struct Served {
    address: SocketAddr,
    store: Store,
    live: Live,
    readiness: Arc<Mutex<Readiness>>,
    now_us: Arc<AtomicI64>,
    tokens: Tokens,
    money: Arc<Money>,
    sales: Sales,
    stop: watch::Sender<bool>,
    server: JoinHandle<std::io::Result<()>>,
    folder: tempfile::TempDir,
    cashier: Cashier,
    triggers: Triggers,
    chain: Arc<Fake>,
}

struct Tokens {
    admin: String,
    editor: String,
    reader: String,
    device: String,
    /// An admin of the other tenant.
    rival: String,
}

/// The hub without its pipeline: the store alone.
struct StoreOnly {
    store: Store,
    options: Options,
    readiness: Arc<Mutex<Readiness>>,
    images: Images,
    cashier: Cashier,
    triggers: Triggers,
}

#[async_trait]
impl Control for StoreOnly {
    fn readiness(&self) -> Readiness {
        self.readiness.lock().unwrap().clone()
    }

    fn metrics_text(&self) -> String {
        "stencil_hub_samples_stored_total 7\n".to_owned()
    }

    fn options(&self) -> &Options {
        &self.options
    }

    async fn put_workflow(&self, tenant: &TenantId, yaml: &str) -> Result<WorkflowPut, Error> {
        let definition = stencil_workflow::definition::parse(yaml)?;
        let warnings = definition.warnings();
        let (id, version) = (definition.id, definition.version);
        let created = self
            .store
            .workflows
            .put(tenant, &id, version, yaml, NOW_US)
            .await?;
        Ok(WorkflowPut {
            id,
            version,
            created,
            in_force_from: 1,
            warnings,
        })
    }

    fn check_workflow(
        &self,
        _: &stencil_workflow::Definition,
    ) -> Result<(), stencil_workflow::definition::Error> {
        Ok(())
    }

    async fn stop_workflow(&self, tenant: &TenantId, id: &str) -> Result<(), Error> {
        Ok(self
            .store
            .workflows
            .activate(tenant, id, None, NOW_US)
            .await?)
    }

    async fn erase_device(&self, tenant: &TenantId, device: &DeviceId) -> Result<(), Error> {
        let erased = Erased::Device(tenant.clone(), device.clone());
        Ok(self.store.keeping.erase(100, &erased).await?)
    }

    async fn erase_tenant(&self, tenant: &TenantId) -> Result<(), Error> {
        let erased = Erased::Tenant(tenant.clone());
        Ok(self.store.keeping.erase(100, &erased).await?)
    }

    async fn admit_device(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        refused: bool,
    ) -> Result<(), Error> {
        let admissions = vec![stencil_store::Admission {
            tenant: tenant.clone(),
            device: device.clone(),
            refused,
        }];
        let commit = Commit {
            position: 100,
            admissions,
            ..Commit::default()
        };
        self.store.pipeline.commit(commit).await?;
        Ok(())
    }

    // Here is nobody who gives keys out.
    fn keys_changed(&self) {}

    async fn trust_followed(&self, _tenant: &TenantId) -> Result<(), Error> {
        Ok(())
    }

    // And nobody who is told of anything.
    fn desired_changed(&self) {}

    fn groups_changed(&self, _: &TenantId) {}

    fn is_connected(&self, _: &TenantId, _: &GatewayId) -> bool {
        false
    }

    async fn revoke_gateway(&self, tenant: &TenantId, gateway: &GatewayId) -> Result<bool, Error> {
        let certificates = &self.store.certificates;
        let revoked = certificates.revoke_gateway(tenant, gateway, NOW_US).await?;
        Ok(revoked.is_some())
    }

    async fn ask_gateway(
        &self,
        _: &TenantId,
        gateway: &GatewayId,
        what: Asked,
    ) -> Result<question::Answer, NoAnswer> {
        if gateway.as_str() != "gateway-marked" {
            return Err(NoAnswer::Away);
        }
        Ok(match what {
            Asked::Log(_) => question::Answer::Log(question::Log::default()),
            Asked::Figures => question::Answer::Figures {
                at_us: NOW_US,
                figures: Vec::new(),
            },
            Asked::Level { level, seconds } => question::Answer::Level { level, seconds },
        })
    }

    async fn start_rollout(&self, tenant: &TenantId, plan: &Plan) -> Result<Id, Error> {
        let (id, text) = (Id([0x5a; 16]), serde_json::json!(plan).to_string());
        let image = plan.image.digest.0;
        let rollouts = &self.store.rollouts;
        rollouts
            .create(tenant, &id.0, &image, &text, NOW_US)
            .await?;
        Ok(id)
    }

    async fn order_rollout(
        &self,
        _tenant: &TenantId,
        _rollout: Id,
        _order: RolloutOrder,
    ) -> Result<(), Error> {
        Ok(())
    }

    fn images(&self) -> &Images {
        &self.images
    }

    fn cashier(&self) -> &Cashier {
        &self.cashier
    }

    fn triggers(&self) -> &Triggers {
        &self.triggers
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
        // Without a key each order is a command of its own.
        let key = key.map_or(format!("{device} {name} {expires_us}"), str::to_owned);
        let digest = Sha256::digest(format!("{tenant} {key}"));
        let command = NewCommand {
            id: CommandId(digest[..16].try_into().unwrap()),
            tenant: tenant.clone(),
            device: device.clone(),
            name: name.to_owned(),
            argument,
            expires_us,
            effect_key: None,
        };
        self.store.commands.queue(&command, NOW_US).await?;
        Ok(command.id)
    }
}

impl Served {
    async fn start() -> Self {
        Self::start_with(Limits::default()).await
    }

    async fn start_with(limits: Limits) -> Self {
        Self::start_changed(limits, |state| state).await
    }

    /// The tests' own way into the state before it is served.
    async fn start_changed(limits: Limits, change: impl FnOnce(State) -> State) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = sqlite::open(folder.path().join("hub.db"))
            .await
            .unwrap()
            .store();
        let tokens = Tokens::make(&store).await;
        seed::fill(&store).await;
        let live = Live::new(1_024);
        let ready = Readiness {
            ready: true,
            checks: Vec::new(),
        };
        let readiness = Arc::new(Mutex::new(ready));
        let now_us = Arc::new(AtomicI64::new(NOW_US));
        let clock = {
            let now_us = Arc::clone(&now_us);
            Clock::from_fn(move || now_us.load(Ordering::SeqCst))
        };
        let chain = Fake::new();
        let rates = Table::new(&[RateOption {
            token: "TEST".to_owned(),
            currency: "EUR".to_owned(),
            rate: "0.5".to_owned(),
        }]);
        let chains = Chains::new(vec![chain.clone()]);
        let triggers = Triggers::new(
            store.clone(),
            chains.clone(),
            clock.clone(),
            Wakes::default(),
            8,
        );
        let cashier = Cashier::open(store.clone(), chains, clock.clone(), Arc::new(rates))
            .await
            .unwrap();
        seed::invoice(&cashier, &store).await;
        let control = StoreOnly {
            options: settings_page::options(),
            store: store.clone(),
            readiness: Arc::clone(&readiness),
            images: Images::open(&folder.path().join("images")).unwrap(),
            cashier: cashier.clone(),
            triggers: triggers.clone(),
        };
        let state = State::of(
            store.clone(),
            live.clone(),
            clock,
            Arc::new(control),
            limits,
        );
        let money = Money::new(store.clone());
        let chains = Chains::new(vec![Arc::clone(&money) as Arc<dyn Chain>]);
        let till = Arc::new(Drawer(store.clone()));
        let sales = Sales::new(store.clone(), chains, state.clock.clone(), till);
        let state = state.selling(Some(sales.clone()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let server = tokio::spawn(serve(listener, change(state), stopped));
        Self {
            address,
            store,
            live,
            readiness,
            now_us,
            tokens,
            money,
            sales,
            stop,
            server,
            folder,
            cashier,
            triggers,
            chain,
        }
    }

    fn get(&self, path: &str) -> Ask {
        Ask::new(self.address, "GET", path)
    }

    fn ask(&self, method: &str, path: &str) -> Ask {
        Ask::new(self.address, method, path)
    }

    /// So many seconds go by.
    fn later(&self, seconds: i64) {
        self.now_us.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }

    /// Adds a gateway, as `hub add-gateway` does.
    async fn add_gateway(&self, tenant: &TenantId, gateway: &str) {
        let gateway = stencil_protocol::id::GatewayId::parse(gateway).unwrap();
        let registry = &self.store.registry;
        registry
            .add_gateway(tenant, &gateway, NOW_US)
            .await
            .unwrap();
    }

    /// Signs in with a token: the secret of the session.
    async fn session(&self, token: &str) -> String {
        let form = format!("token={token}");
        let answer = self.ask("POST", "/login").body(form).send().await;
        answer.session()
    }

    /// Makes a user with this role and [`PASSWORD`].
    async fn user(&self, tenant: &TenantId, name: &str, role: Role) {
        let users = &self.store.users;
        users.create_user(tenant, name, role, NOW_US).await.unwrap();
        // As dear as others, but made once.
        users
            .set_password(tenant, name, PASSWORD_HASH, None)
            .await
            .unwrap();
    }

    /// Posts the form for signing in.
    async fn sign_in(&self, tenant: &str, name: &str, password: &str) -> Answer {
        let form = format!("tenant={tenant}&name={name}&password={password}");
        self.ask("POST", "/login").body(form).send().await
    }

    /// A GET with the reader's token.
    async fn read(&self, path: &str) -> Answer {
        self.get(path).bearer(&self.tokens.reader).send().await
    }

    /// A write with the editor's token and a JSON body.
    async fn write(&self, method: &str, path: &str, json: &serde_json::Value) -> Answer {
        self.ask(method, path)
            .bearer(&self.tokens.editor)
            .json(json)
            .send()
            .await
    }
}

impl Tokens {
    async fn make(store: &Store) -> Self {
        let (acme, rival) = (seed::acme(), TenantId::parse("rival").unwrap());
        for tenant in [&acme, &rival] {
            assert!(store.tenancy.create_tenant(tenant, NOW_US).await.unwrap());
        }
        let make = async |tenant: &TenantId, kind: TokenKind| {
            let issued = store
                .tenancy
                .create_token(tenant, kind, "test", None, NOW_US)
                .await
                .unwrap();
            issued.secret.reveal().to_owned()
        };
        let api = |role| TokenKind::Api { role };
        Self {
            admin: make(&acme, api(Role::Admin)).await,
            editor: make(&acme, api(Role::Editor)).await,
            reader: make(&acme, api(Role::Viewer)).await,
            device: make(
                &acme,
                TokenKind::Device {
                    device: seed::freezer(),
                },
            )
            .await,
            rival: make(&rival, api(Role::Admin)).await,
        }
    }
}

/// The hub has this problem from now on.
fn problem(served: &Served, text: &str) {
    let check = Check {
        name: "log",
        problem: Some(text.to_owned()),
    };
    *served.readiness.lock().unwrap() = Readiness {
        ready: false,
        checks: vec![check],
    };
}
