//! A dev chain whose blocks are made by hand, two tenants that may spend, and connections to it.

use std::sync::Arc;

use alloy_primitives::{Address, Bytes, U256};
use serde_json::{Value, json};
use stencil_chain::connection::{Connection, Options};
use stencil_chain::finality::Finality;
use stencil_chain::signer::{Local, PlainKeys, Signer};
use stencil_devchain::{DevChain, Endpoint, Mining, accounts};
use stencil_payments::money::Amount;
use stencil_payments::port::{Chain, Order, Sent};
use stencil_protocol::id::TenantId;
use stencil_store::sqlite::{self, Sqlite};
use stencil_store::{Chains as _, NewSend, Sends as _, SpendLimit, Store, Tenancy as _};

use super::json_rpc;

pub(crate) const SEED: u64 = 7;
pub(crate) const SHOP: Address = Address::repeat_byte(0xcc);
pub(crate) const TENANTS: [&str; 2] = ["acme", "globex"];

pub(crate) struct World {
    pub(crate) chain: DevChain,
    pub(crate) endpoint: Endpoint,
    pub(crate) store: Sqlite,
    _folder: tempfile::TempDir,
}

impl World {
    pub(crate) async fn new() -> Self {
        let chain = DevChain::start(stencil_devchain::Options {
            mining: Mining::Manual,
            seed: SEED,
            ..stencil_devchain::Options::default()
        });
        let endpoint = chain.listen(0).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let store = sqlite::open(folder.path().join("hub.db")).await.unwrap();
        store.open_chain("dev", 31_337, 1).await.unwrap();
        for tenant in TENANTS {
            let id = TenantId::parse(tenant).unwrap();
            store.create_tenant(&id, 1).await.unwrap();
            let limit = SpendLimit {
                tenant: tenant.to_owned(),
                chain: "dev".to_owned(),
                asset: None,
                window_s: 3_600,
                most: [0xff; 32],
            };
            store.set_spend_limit(&limit).await.unwrap();
        }
        Self {
            chain,
            endpoint,
            store,
            _folder: folder,
        }
    }

    /// With the key of this dev account, or none.
    pub(crate) fn connect(&self, account: Option<usize>, now: fn() -> i64) -> Arc<Connection> {
        self.connect_by(&[self.endpoint.url()], account, now)
    }

    /// The same by other endpoints.
    pub(crate) fn connect_by(
        &self,
        endpoints: &[String],
        account: Option<usize>,
        now: fn() -> i64,
    ) -> Arc<Connection> {
        let options = Options {
            follow: stencil_chain::Options {
                chain_id: Some(31_337),
                endpoints: endpoints.to_vec(),
                finality: Some(Finality::Confirmations(3)),
                poll_interval_ms: Some(20),
                ..stencil_chain::Options::default()
            },
            ..Options::default()
        };
        let signer = account.map(|account| {
            let key = hex::encode(accounts(SEED, 4)[account].key);
            Arc::new(Local::plain(&key, PlainKeys::AllowedForTests).unwrap()) as Arc<dyn Signer>
        });
        let store = Store::of(Arc::new(self.store.clone()));
        Arc::new(Connection::new("dev", &options, signer, &store, now).unwrap())
    }

    pub(crate) async fn balance(&self, of: Address) -> U256 {
        let params = json!([of, "latest"]);
        let port = self.endpoint.address().port();
        let balance: Value = json_rpc::call(port, "eth_getBalance", params).await;
        balance.as_str().unwrap().parse().unwrap()
    }

    /// How many transactions wait for a block.
    pub(crate) async fn chain_waits(&self) -> u64 {
        let port = self.endpoint.address().port();
        let status = json_rpc::call(port, "txpool_status", json!([])).await;
        let pending = status["pending"].as_str().unwrap();
        u64::from_str_radix(pending.trim_start_matches("0x"), 16).unwrap()
    }

    /// As a hub would have taken it that asked less of an order: with a nonce, and no node will take it.
    pub(crate) async fn reserved(
        &self,
        account: usize,
        key: &str,
        gas: u64,
        value: U256,
        data: &[u8],
    ) {
        let send = NewSend {
            chain: "dev".to_owned(),
            sender: accounts(SEED, 4)[account].address.into_array(),
            tenant: TENANTS[0].to_owned(),
            key: key.to_owned(),
            receiver: SHOP.into_array(),
            value: value.to_be_bytes(),
            data: data.to_vec(),
            gas,
            most_fee: [0; 32],
            token: None,
            brings: None,
        };
        self.store.reserve_send(&send, 0, 1).await.unwrap();
    }
}

pub(crate) fn tenant(at: usize) -> TenantId {
    TenantId::parse(TENANTS[at]).unwrap()
}

pub(crate) fn order(of: usize, key: &str, wei: u64) -> Order {
    Order {
        tenant: tenant(of),
        key: key.to_owned(),
        to: SHOP,
        value: Amount::from(wei),
        data: Bytes::new(),
        gas: 30_000,
        moves: None,
        brings: None,
    }
}

pub(crate) struct Running(tokio::task::JoinHandle<()>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(crate) fn run(chain: &Arc<Connection>) -> Running {
    let chain = Arc::clone(chain);
    Running(tokio::spawn(async move {
        let _ = chain.run().await;
    }))
}

/// Waits for something, a step of the chain at a time.
pub(crate) async fn until<T>(chain: &Connection, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..1_000 {
        if let Some(found) = look().await {
            return found;
        }
        chain.stepped().await;
    }
    panic!("it does not come: {:?}", chain.trouble());
}

pub(crate) async fn is_final(world: &World, chain: &Connection, of: usize, key: &str) -> Sent {
    until(chain, async || {
        world.chain.mine(1);
        let sent = chain.sent(&tenant(of), key).await.unwrap();
        sent.filter(|sent| matches!(sent, Sent::Final(_) | Sent::Lost))
    })
    .await
}

pub(crate) fn fixed() -> i64 {
    1_000_000
}
