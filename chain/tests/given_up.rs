//! What no node takes, and accounts that are not the hub's any more, over a dev chain: nothing that is sent
//! holds up what others send.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use alloy_primitives::{Address, Bytes, U256};
use serde_json::{Value, json};
use stencil_chain::connection::{Connection, Options};
use stencil_chain::finality::Finality;
use stencil_chain::sender::Policy;
use stencil_chain::signer::{Local, PlainKeys, Signer};
use stencil_devchain::{DevChain, Endpoint, Mining, accounts};
use stencil_payments::money::Amount;
use stencil_payments::port::{Chain, NotOrdered, Order, Sent};
use stencil_protocol::id::TenantId;
use stencil_store::sqlite::{self, Sqlite};
use stencil_store::{Chains as _, NewSend, Sends as _, SpendLimit, Store, Tenancy as _};
use support::json_rpc;

const SEED: u64 = 7;
const SHOP: Address = Address::repeat_byte(0xcc);
const TENANTS: [&str; 2] = ["acme", "globex"];

struct World {
    chain: DevChain,
    endpoint: Endpoint,
    store: Sqlite,
    _folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
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
    fn connect(&self, account: Option<usize>, now: fn() -> i64) -> Arc<Connection> {
        let options = Options {
            follow: stencil_chain::Options {
                chain_id: Some(31_337),
                endpoints: vec![self.endpoint.url()],
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

    async fn balance(&self, of: Address) -> U256 {
        let params = json!([of, "latest"]);
        let port = self.endpoint.address().port();
        let balance: Value = json_rpc::call(port, "eth_getBalance", params).await;
        balance.as_str().unwrap().parse().unwrap()
    }

    /// As a hub would have taken it that asked less of an order: with a nonce, and no node will take it.
    async fn reserved(&self, account: usize, key: &str, gas: u64, value: U256, data: &[u8]) {
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
        };
        self.store.reserve_send(&send, 0, 1).await.unwrap();
    }
}

fn tenant(at: usize) -> TenantId {
    TenantId::parse(TENANTS[at]).unwrap()
}

fn order(of: usize, key: &str, wei: u64) -> Order {
    Order {
        tenant: tenant(of),
        key: key.to_owned(),
        to: SHOP,
        value: Amount::from(wei),
        data: Bytes::new(),
        gas: 30_000,
        moves: None,
    }
}

struct Running(tokio::task::JoinHandle<()>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn run(chain: &Arc<Connection>) -> Running {
    let chain = Arc::clone(chain);
    Running(tokio::spawn(async move {
        let _ = chain.run().await;
    }))
}

/// Waits for something, a step of the chain at a time.
async fn until<T>(chain: &Connection, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..1_000 {
        if let Some(found) = look().await {
            return found;
        }
        chain.stepped().await;
    }
    panic!("it does not come: {:?}", chain.trouble());
}

async fn is_final(world: &World, chain: &Connection, of: usize, key: &str) -> Sent {
    until(chain, async || {
        world.chain.mine(1);
        let sent = chain.sent(&tenant(of), key).await.unwrap();
        sent.filter(|sent| matches!(sent, Sent::Final(_) | Sent::Lost))
    })
    .await
}

fn fixed() -> i64 {
    1_000_000
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_node_would_take_is_refused_before_it_has_a_nonce() {
    let world = World::new().await;
    let chain = world.connect(Some(1), fixed);
    let _running = run(&chain);
    let data = Bytes::from_static(&[1; 40]);
    let (least, most) = (21_000 + 40 * 40, 1 << 24);
    let bad = |gas: u64, value: U256, data: &Bytes| Order {
        gas,
        value: Amount(value),
        data: data.clone(),
        ..order(0, "bad", 0)
    };
    for (bad, expected) in [
        (bad(21_000, U256::ZERO, &data), "at least 22600"),
        (bad(least - 1, U256::ZERO, &data), "at least 22600"),
        (bad(most + 1, U256::ZERO, &data), "at most 16777216"),
        (bad(30_000, U256::MAX >> 1, &Bytes::new()), "this takes"),
        // All that it has leaves nothing for the gas.
        (
            bad(
                30_000,
                world.balance(chain.account().unwrap()).await,
                &Bytes::new(),
            ),
            "this takes",
        ),
    ] {
        let refused = chain.order(&bad).await.unwrap_err();
        let NotOrdered::Refused(why) = &refused else {
            panic!("{refused:?}");
        };
        assert!(why.contains(expected), "{why}");
    }
    let account = chain.account().unwrap().into_array();
    let open = world.store.open_sends("dev", account).await.unwrap();
    assert!(open.is_empty(), "{open:?}");
    // Just enough is enough.
    let enough = bad(least, U256::from(1), &data);
    assert_eq!(chain.order(&enough).await, Ok(Sent::Pending));
    chain.order(&order(1, "good", 2)).await.unwrap();
    for (of, key) in [(0, "bad"), (1, "good")] {
        let sent = is_final(&world, &chain, of, key).await;
        assert!(matches!(sent, Sent::Final(o) if o.succeeded), "{sent:?}");
    }
    assert_eq!(world.balance(SHOP).await, U256::from(3));
}

/// What is under way counts, and may be in a block soon: that is no refusal.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_is_not_spent_twice() {
    let world = World::new().await;
    let chain = world.connect(Some(1), fixed);
    let account = chain.account().unwrap();
    let coin = U256::from(10).pow(U256::from(18));
    world.chain.set_balance(account, coin);
    world.chain.mine(1);
    let most = |of, key| Order {
        value: Amount(coin / U256::from(2)),
        ..order(of, key, 0)
    };
    assert_eq!(chain.order(&most(0, "a")).await, Ok(Sent::Pending));
    let held = chain.order(&most(1, "b")).await;
    let Err(NotOrdered::Unknown(why)) = &held else {
        panic!("{held:?}");
    };
    assert!(why.contains("what is under way may take"), "{why}");
    let _running = run(&chain);
    is_final(&world, &chain, 0, "a").await;
    let gone = chain.order(&most(1, "b")).await;
    assert!(matches!(gone, Err(NotOrdered::Refused(_))), "{gone:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_for_long_gives_its_nonce_to_an_empty_transaction() {
    static NOW: AtomicI64 = AtomicI64::new(1_000_000);
    let world = World::new().await;
    let chain = world.connect(Some(1), || NOW.load(Ordering::Relaxed));
    world.reserved(1, "bad", 21_000, U256::ZERO, &[1]).await;
    world
        .reserved(1, "worse", 31_000_000, U256::ZERO, &[])
        .await;
    chain.order(&order(1, "good", 5)).await.unwrap();
    let _running = run(&chain);
    let trouble = until(&chain, async || chain.trouble()).await;
    assert!(
        trouble.contains("refuse what has nonce 0") && trouble.contains("intrinsic gas too low"),
        "{trouble}"
    );
    world.chain.mine(3);
    // Refused often enough, and not for long enough.
    for _ in 0..3 * Policy::default().refused_times {
        chain.stepped().await;
    }
    let bad = world.store.send("acme", "bad").await.unwrap().unwrap();
    assert_eq!(bad.given_up(), None);
    let attempts = async |key: &str| {
        let send = world.store.send("acme", key).await.unwrap().unwrap();
        send.attempts
    };
    let empty = async |key: &str| {
        until(&chain, async || {
            NOW.fetch_add(10_000_000, Ordering::Relaxed);
            let last = attempts(key).await.pop()?;
            last.gives_up
        })
        .await
    };
    let why = empty("bad").await;
    assert!(why.contains("intrinsic gas too low"), "{why}");
    // In a block that a reorganisation takes away nothing is over.
    until(&chain, async || {
        world.chain.mine(1);
        let send = world.store.send("acme", "bad").await.unwrap().unwrap();
        matches!(send.state, stencil_store::SendState::Included(_)).then_some(())
    })
    .await;
    let stands = chain.sent(&tenant(0), "bad").await;
    assert!(
        matches!(stands, Ok(Some(Sent::Pending | Sent::Lost))),
        "{stands:?}"
    );
    assert_eq!(is_final(&world, &chain, 0, "bad").await, Sent::Lost);
    let why = chain.why_lost(&tenant(0), "bad").await.unwrap().unwrap();
    assert!(why.contains("intrinsic gas too low"), "{why}");
    let why = empty("worse").await;
    assert!(why.contains("gas limit"), "{why}");
    assert_eq!(is_final(&world, &chain, 0, "worse").await, Sent::Lost);
    let good = is_final(&world, &chain, 1, "good").await;
    assert!(matches!(good, Sent::Final(o) if o.succeeded), "{good:?}");
    assert_eq!(chain.why_lost(&tenant(1), "good").await, Ok(None));
    assert_eq!(world.balance(SHOP).await, U256::from(5));
    until(&chain, async || chain.trouble().is_none().then_some(())).await;
}

/// An account that can pay for nothing is told, and what waits is taken once it has coin again.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_given_up_that_only_wants_coin() {
    static NOW: AtomicI64 = AtomicI64::new(1_000_000);
    let world = World::new().await;
    let chain = world.connect(Some(1), || NOW.load(Ordering::Relaxed));
    let account = chain.account().unwrap();
    let coin = world.balance(account).await;
    chain.order(&order(0, "a", 5)).await.unwrap();
    world.chain.set_balance(account, U256::from(7));
    world.chain.mine(1);
    let _running = run(&chain);
    let trouble = until(&chain, async || {
        NOW.fetch_add(20_000_000, Ordering::Relaxed);
        chain.trouble().filter(|told| told.contains("send it some"))
    })
    .await;
    assert!(trouble.contains("insufficient funds"), "{trouble}");
    world.chain.set_balance(account, coin);
    world.chain.mine(1);
    let sent = is_final(&world, &chain, 0, "a").await;
    assert!(matches!(sent, Sent::Final(o) if o.succeeded), "{sent:?}");
    assert_eq!(world.balance(SHOP).await, U256::from(5));
}

/// Another account is set, or none: what the one before has sent goes on to be final, and what it can't sign
/// any more is told.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_account_has_under_way_is_looked_after_when_another_is_set() {
    for other in [Some(2), None] {
        let world = World::new().await;
        let before = world.connect(Some(1), fixed);
        let old = before.account().unwrap();
        before.order(&order(0, "signed", 5)).await.unwrap();
        {
            let _running = run(&before);
            until(&before, async || {
                let send = world.store.send("acme", "signed").await.unwrap()?;
                (!send.attempts.is_empty()).then_some(())
            })
            .await;
        }
        before.order(&order(0, "unsigned", 6)).await.unwrap();
        let chain = world.connect(other, fixed);
        let running = run(&chain);
        let sent = is_final(&world, &chain, 0, "signed").await;
        assert!(matches!(sent, Sent::Final(o) if o.succeeded), "{sent:?}");
        let trouble = until(&chain, async || chain.trouble()).await;
        assert!(
            trouble.contains(&format!("sent from {old}"))
                && trouble.contains("wants a signature, nonces 1"),
            "{trouble}"
        );
        assert_eq!(
            chain.sent(&tenant(0), "unsigned").await,
            Ok(Some(Sent::Pending))
        );
        if other.is_some() {
            chain.order(&order(1, "new", 7)).await.unwrap();
            is_final(&world, &chain, 1, "new").await;
        }
        drop(running);
        let again = world.connect(Some(1), fixed);
        let _running = run(&again);
        is_final(&world, &again, 0, "unsigned").await;
        until(&again, async || again.trouble().is_none().then_some(())).await;
        let all = if other.is_some() { 18 } else { 11 };
        assert_eq!(world.balance(SHOP).await, U256::from(all));
    }
}
