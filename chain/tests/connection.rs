//! A chain as the hub sees it, against a dev chain: what is sent is sent once and becomes final, calls
//! are answered alike, and a token that is not what is set is not taken.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use alloy_primitives::{Address, B256, Bytes, U256};
use serde_json::{Value, json};
use stencil_chain::connection::{Connection, Domain, Options, TokenOptions};
use stencil_chain::finality::Finality;
use stencil_chain::signer::{Local, PlainKeys, Signer};
use stencil_devchain::{DevChain, Endpoint, Mining, accounts};
use stencil_payments::money::Amount;
use stencil_payments::port::{Called, Chain, NotOrdered, Order, Sent};
use stencil_protocol::id::TenantId;
use stencil_store::sqlite::{self, Sqlite};
use stencil_store::{Chains as _, Sends as _, SpendLimit, Store, Tenancy as _, Watch, WatchKind};
use support::{Fault, Proxy, json_rpc};

const SEED: u64 = 7;
const SHOP: Address = Address::repeat_byte(0xcc);

struct Made {
    chain: DevChain,
    endpoint: Endpoint,
    token: Address,
    store: Sqlite,
    _folder: tempfile::TempDir,
}

fn now_us() -> i64 {
    1_000_000
}

/// How much later it is than this machine says.
static LATER_US: AtomicI64 = AtomicI64::new(0);

fn later_us() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now_us = i64::try_from(now.unwrap().as_micros()).unwrap();
    now_us + LATER_US.load(Ordering::SeqCst)
}

impl Made {
    async fn new() -> Self {
        let chain = DevChain::start(stencil_devchain::Options {
            mining: Mining::Manual,
            seed: SEED,
            ..stencil_devchain::Options::default()
        });
        let endpoint = chain.listen(0).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let store = sqlite::open(folder.path().join("hub.db")).await.unwrap();
        let tenant = TenantId::parse("acme").unwrap();
        store.create_tenant(&tenant, 1).await.unwrap();
        let mut made = Self {
            chain,
            endpoint,
            token: Address::ZERO,
            store,
            _folder: folder,
        };
        made.token = made.deploy().await;
        made
    }

    async fn rpc(&self, method: &str, params: Value) -> Value {
        json_rpc::call(self.endpoint.address().port(), method, params).await
    }

    /// A dollar with six decimals that takes authorisations.
    async fn deploy(&self) -> Address {
        let artifact = include_str!("../contracts/artifacts/dev/DevDollar.json");
        let artifact: Value = serde_json::from_str(artifact).unwrap();
        let from = accounts(SEED, 1)[0].address;
        let creation = json!([{ "from": from, "gas": "0x4c4b40", "input": artifact["bytecode"] }]);
        let tx = self.rpc("eth_sendTransaction", creation).await;
        self.chain.mine(1);
        let receipt = self.rpc("eth_getTransactionReceipt", json!([tx])).await;
        receipt["contractAddress"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap()
    }

    fn options(&self) -> Options {
        Options {
            follow: stencil_chain::Options {
                chain_id: Some(31_337),
                endpoints: vec![self.endpoint.url()],
                finality: Some(Finality::Confirmations(3)),
                poll_interval_ms: Some(20),
                ..stencil_chain::Options::default()
            },
            tokens: vec![TokenOptions {
                symbol: "USD".to_owned(),
                address: Some(self.token.to_checksum(None)),
                decimals: 6,
                eip712: Some(Domain {
                    name: "Dev Dollar".to_owned(),
                    version: "2".to_owned(),
                }),
            }],
            ..Options::default()
        }
    }

    fn connect(&self, options: &Options, signs: bool) -> Arc<Connection> {
        let signer = signs.then(|| {
            let key = hex::encode(accounts(SEED, 2)[1].key);
            Arc::new(Local::plain(&key, PlainKeys::AllowedForTests).unwrap()) as Arc<dyn Signer>
        });
        let store = Store::of(Arc::new(self.store.clone()));
        Arc::new(Connection::new("dev", options, signer, &store, now_us).unwrap())
    }
}

fn order(key: &str, wei: u64) -> Order {
    Order {
        tenant: TenantId::parse("acme").unwrap(),
        key: key.to_owned(),
        to: SHOP,
        value: Amount::from(wei),
        data: Bytes::new(),
        gas: 30_000,
        moves: None,
        brings: None,
    }
}

/// What is amiss, once something has been heard of the chain since the start.
fn troubled(chain: &Connection) -> Option<String> {
    let trouble = chain.trouble()?;
    (!trouble.contains("has not answered yet since")).then_some(trouble)
}

/// Waits for something, a step of the chain at a time.
async fn until<T>(chain: &Connection, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..500 {
        if let Some(found) = look().await {
            return found;
        }
        chain.stepped().await;
    }
    panic!("it does not come: {:?}", chain.trouble());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_ordered_is_sent_once_and_becomes_final() {
    let made = Made::new().await;
    let chain = made.connect(&made.options(), true);
    let acme = TenantId::parse("acme").unwrap();
    let running = tokio::spawn({
        let chain = Arc::clone(&chain);
        async move { chain.run().await }
    });
    // Without a limit nothing is spent.
    let refused = chain.order(&order("a", 5)).await;
    let Err(NotOrdered::Refused(why)) = refused else {
        panic!("{refused:?}");
    };
    assert!(
        why.starts_with("tenant \"acme\" may spend nothing"),
        "{why}"
    );
    let limit = SpendLimit {
        tenant: "acme".to_owned(),
        chain: "dev".to_owned(),
        asset: None,
        window_s: 3_600,
        most: [0xff; 32],
    };
    // A chain is known once it was reached.
    until(&chain, async || made.store.chain("dev").await.unwrap()).await;
    made.store.set_spend_limit(&limit).await.unwrap();
    assert_eq!(chain.order(&order("a", 5)).await, Ok(Sent::Pending));
    assert_eq!(chain.order(&order("a", 5)).await, Ok(Sent::Pending));
    let other = chain.order(&order("a", 6)).await;
    assert!(matches!(other, Err(NotOrdered::Refused(_))), "{other:?}");
    // The hub starts anew with other fees: what was ordered stands.
    let dearer = Options {
        max_fee_gwei: Some(501),
        ..made.options()
    };
    let anew = made.connect(&dearer, true).order(&order("a", 5)).await;
    assert!(
        matches!(anew, Ok(Sent::Pending | Sent::Included(_))),
        "{anew:?}"
    );
    let included = until(&chain, async || {
        made.chain.mine(1);
        match chain.sent(&acme, "a").await.unwrap() {
            Some(Sent::Included(outcome) | Sent::Final(outcome)) => Some(outcome),
            _ => None,
        }
    })
    .await;
    assert!(included.succeeded);
    let last = until(&chain, async || {
        made.chain.mine(1);
        match chain.sent(&acme, "a").await.unwrap() {
            Some(Sent::Final(outcome)) => Some(outcome),
            _ => None,
        }
    })
    .await;
    assert_eq!(last, included);
    // Anybody's transaction is looked up by its hash alone.
    let looked = chain.look_up(last.tx).await.unwrap().unwrap();
    assert_eq!(looked.outcome, last);
    let [moved] = looked.moves[..] else {
        panic!("{looked:?}");
    };
    assert_eq!(Some(moved.from), chain.account());
    assert_eq!((moved.token, moved.to), (None, SHOP));
    let (sender, nonce) = (looked.sender, looked.nonce);
    assert_eq!(Some(sender), chain.account());
    // As of a block, what was so then.
    let (before, newest) = (last.block - 1, last.block);
    assert_eq!(chain.next_nonce(sender, before).await, Ok(nonce));
    assert_eq!(chain.next_nonce(sender, newest).await, Ok(nonce + 1));
    let nothing = Ok(Called::Returned(Bytes::new()));
    assert_eq!(chain.call_at(SHOP, Bytes::new(), newest).await, nothing);
    let yet_to_come = chain.call_at(SHOP, Bytes::new(), newest + 1_000).await;
    assert!(yet_to_come.is_err(), "{yet_to_come:?}");
    assert_eq!(chain.look_up(B256::repeat_byte(9)).await, Ok(None));
    // What counts as spent now is what it has cost, and no longer the most that it might have.
    let tx = format!("{:#x}", last.tx);
    let receipt = made.rpc("eth_getTransactionReceipt", json!([tx])).await;
    let number = |name: &str| receipt[name].as_str().unwrap().parse::<U256>().unwrap();
    let paid = number("gasUsed") * number("effectiveGasPrice");
    let spent = made.store.spent("acme", now_us()).await.unwrap();
    assert_eq!(U256::from_be_bytes(spent[0].used), paid + U256::from(5));
    assert_eq!(spent[0].open, [0; 32]);
    let most = chain.most_fee_per_gas().unwrap();
    assert!(paid > U256::ZERO && paid < U256::from(most) * U256::from(30_000));
    let balance = made.rpc("eth_getBalance", json!([SHOP, "latest"])).await;
    assert_eq!(balance, "0x5");
    assert_eq!(chain.sent(&acme, "b").await, Ok(None));
    // What it would do is known beforehand: as the hub's account, with the order's coins and gas.
    let tried = chain.tried(&order("c", 5)).await;
    assert_eq!(tried, Ok(Called::Returned(Bytes::new())));
    let broke = Order {
        value: Amount(U256::MAX >> 1),
        ..order("c", 5)
    };
    let paid = chain.function("transfer(address,uint256)").unwrap();
    let paid = paid
        .encode(&[json!(SHOP.to_checksum(None)), json!("1")])
        .unwrap();
    let without = Order {
        to: made.token,
        value: Amount::ZERO,
        data: paid,
        gas: 100_000,
        ..order("c", 5)
    };
    let starved = Order {
        gas: 24_000,
        ..without.clone()
    };
    for order in [broke, without.clone(), starved] {
        let tried = chain.tried(&order).await;
        assert!(matches!(tried, Ok(Called::Reverted(_))), "{tried:?}");
    }
    let mint = chain.function("mint(address,uint256)").unwrap();
    let account = chain.account().unwrap().to_checksum(None);
    let mint = mint.encode(&[json!(account), json!(1)]).unwrap();
    let from = accounts(SEED, 1)[0].address;
    let call = json!([{ "from": from, "to": made.token, "gas": "0x30d40", "input": mint }]);
    made.rpc("eth_sendTransaction", call).await;
    made.chain.mine(1);
    let tried = chain.tried(&without).await;
    assert!(matches!(tried, Ok(Called::Returned(_))), "{tried:?}");
    running.abort();
}

/// A reorganisation that goes deeper than what is final takes away what was sent: it is sent again, also
/// by a hub that starts anew, and people are told.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_final_is_sent_again_when_the_chain_drops_it() {
    for restarts in [false, true] {
        let made = Made::new().await;
        let acme = TenantId::parse("acme").unwrap();
        let run = |chain: &Arc<Connection>| {
            let chain = Arc::clone(chain);
            tokio::spawn(async move { chain.run().await })
        };
        let mut chain = made.connect(&made.options(), true);
        let mut running = run(&chain);
        until(&chain, async || made.store.chain("dev").await.unwrap()).await;
        let limit = SpendLimit {
            tenant: "acme".to_owned(),
            chain: "dev".to_owned(),
            asset: None,
            window_s: 3_600,
            most: [0xff; 32],
        };
        made.store.set_spend_limit(&limit).await.unwrap();
        let is_final = async |chain: &Connection, key: &str| {
            until(chain, async || {
                made.chain.mine(1);
                match chain.sent(&acme, key).await.unwrap() {
                    Some(Sent::Final(outcome)) => Some(outcome),
                    _ => None,
                }
            })
            .await
        };
        let mut first = u64::MAX;
        for (key, wei) in [("a", 1), ("b", 2)] {
            chain.order(&order(key, wei)).await.unwrap();
            first = first.min(is_final(&chain, key).await.block);
        }
        until(&chain, async || {
            let state = made.store.chain("dev").await.unwrap()?;
            (state.cursor?.number == made.chain.head().number).then_some(())
        })
        .await;
        let depth = made.chain.head().number + 1 - first;
        if restarts {
            running.abort();
        }
        made.chain.reorg(depth, &[], false).unwrap();
        if restarts {
            chain = made.connect(&made.options(), true);
            running = run(&chain);
        }
        until(&chain, async || {
            let told = chain.trouble()?.contains("it is sent again, nonces 0, 1");
            told.then_some(())
        })
        .await;
        assert_eq!(chain.sent(&acme, "a").await, Ok(Some(Sent::Pending)));
        chain.order(&order("c", 4)).await.unwrap();
        for key in ["a", "b", "c"] {
            is_final(&chain, key).await;
        }
        let balance = made.rpc("eth_getBalance", json!([SHOP, "latest"])).await;
        assert_eq!(balance, "0x7");
        until(&chain, async || chain.trouble().is_none().then_some(())).await;
        running.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn contracts_are_asked_and_their_events_are_followed() {
    let made = Made::new().await;
    let chain = made.connect(&made.options(), false);
    let none = chain.order(&order("a", 1)).await;
    assert_eq!(none, Err(NotOrdered::NoAccount("dev".to_owned())));
    assert!(chain.tokens().is_empty(), "nothing is confirmed yet");
    let running = tokio::spawn({
        let chain = Arc::clone(&chain);
        async move { chain.run().await }
    });
    until(&chain, async || (!chain.tokens().is_empty()).then_some(())).await;
    assert_eq!(chain.has_code(made.token).await, Ok(true));
    assert_eq!(chain.has_code(SHOP).await, Ok(false));
    let supply = chain
        .function("balanceOf(address) returns (uint256)")
        .unwrap();
    let data = supply.encode(&[json!(SHOP.to_checksum(None))]).unwrap();
    let Called::Returned(word) = chain.call(made.token, data).await.unwrap() else {
        panic!("balanceOf does not revert");
    };
    assert_eq!(supply.decode(&word), Some(vec![json!("0")]));
    let transfer = chain
        .function("transfer(address,uint256) returns (bool)")
        .unwrap();
    let data = transfer
        .encode(&[
            json!(SHOP.to_checksum(None)),
            json!(U256::from(1).to_string()),
        ])
        .unwrap();
    let reverted = chain.call(made.token, data.clone()).await.unwrap();
    let nobody = Address::ZERO;
    let told = format!("ERC20InvalidSender(sender: {nobody})");
    assert_eq!(reverted, Called::Reverted(told.clone()));
    // Two kinds of nodes have words of their own for it, and agree all the same.
    let proxy = Proxy::start(made.endpoint.address().port()).await;
    proxy.set(Fault::OddReverts);
    let mut both = made.options();
    both.follow.endpoints.push(proxy.url());
    both.follow.agree = Some(2);
    let both = made.connect(&both, false);
    assert_eq!(
        both.call(made.token, data).await,
        Ok(Called::Reverted(told))
    );
    assert!(proxy.calls("eth_call") > 0);

    let event = chain
        .event("Transfer(address indexed from, address indexed to, uint256 value)")
        .unwrap();
    let watch = Watch {
        owner: "acme".to_owned(),
        address: made.token.into_array(),
        kind: WatchKind::Event(event.topic0().0),
    };
    until(&chain, async || {
        let state = made.store.chain("dev").await.unwrap();
        state.and_then(|state| state.cursor)
    })
    .await;
    made.store.watch_chain("dev", &[watch]).await.unwrap();
    let from = accounts(SEED, 1)[0].address;
    let mint = chain.function("mint(address,uint256)").unwrap();
    let data = mint
        .encode(&[json!(SHOP.to_checksum(None)), json!(2_500_000)])
        .unwrap();
    let call = json!([{ "from": from, "to": made.token, "gas": "0x30d40", "input": data }]);
    made.rpc("eth_sendTransaction", call).await;
    let entry = until(&chain, async || {
        made.chain.mine(1);
        let entries = made.store.chain_entries("dev", 0, 10).await.unwrap();
        entries.into_iter().next()
    })
    .await;
    let said = event.decode(&entry.observation.topics, &entry.observation.data);
    assert_eq!(said.unwrap()["value"], "2500000");
    running.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contract_of_ours_is_known_by_its_code_and_others_are_not() {
    let made = Made::new().await;
    let chain = made.connect(&made.options(), false);
    assert_eq!(chain.own_contract(made.token).await, Ok(Some("DevDollar")));
    assert_eq!(chain.own_contract(SHOP).await, Ok(None));
    assert_eq!(chain.has_code(made.token).await, Ok(true));
    assert_eq!(chain.has_code(SHOP).await, Ok(false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_not_what_is_set_is_not_taken() {
    let made = Made::new().await;
    let wrong = |change: fn(&mut TokenOptions)| {
        let mut options = made.options();
        change(&mut options.tokens[0]);
        made.connect(&options, false)
    };
    for (chain, expected) in [
        (
            wrong(|token| token.decimals = 18),
            "6 decimals, and 18 are set",
        ),
        (
            wrong(|token| token.address = Some(SHOP.to_checksum(None))),
            "is no ERC-20 token",
        ),
        (
            wrong(|token| token.eip712.as_mut().unwrap().version = "9".to_owned()),
            "the contract's domain is another",
        ),
    ] {
        let why = chain.run().await.unwrap_err();
        assert!(why.contains(expected), "{why}");
        assert_eq!(chain.trouble().as_ref(), Some(&why));
        assert_eq!(
            chain.trouble_in_short().as_ref(),
            Some(&why),
            "it is the hub's own word"
        );
        assert!(chain.tokens().is_empty());
        let expected = format!("the chain dev is not followed: {why}");
        assert_eq!(chain.ready(), Err(expected));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_has_not_answered_yet_is_not_well() {
    let made = Made::new().await;
    // An endpoint that takes a question, and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let away = made.follow(url, |_| {});
    let why = Some("it has not answered yet since the hub was started");
    let is_told = |chain: &Connection| {
        let (whole, short) = (chain.trouble(), chain.trouble_in_short());
        assert_eq!((whole.as_deref(), short.as_deref()), (why, why));
    };
    is_told(&away);
    let running = runs(&away);
    let _asked = silent.accept().await.unwrap();
    is_told(&away);
    running.abort();
    let here = made.follow(made.endpoint.url(), |_| {});
    is_told(&here);
    let running = runs(&here);
    until(&here, async || here.trouble().is_none().then_some(())).await;
    running.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_away_is_waited_for() {
    let made = Made::new().await;
    let mut options = made.options();
    options.follow.endpoints = vec!["http://127.0.0.1:9".to_owned()];
    let chain = made.connect(&options, false);
    let ran = tokio::time::timeout(Duration::from_millis(500), chain.run()).await;
    assert!(ran.is_err(), "it does not end");
    assert!(
        chain.trouble().unwrap().contains("unknown"),
        "{:?}",
        chain.trouble()
    );
    // Anybody may read of what kind it is, and not where the chain is asked or what was said there.
    assert!(chain.trouble().unwrap().contains("127.0.0.1"));
    let short = chain.trouble_in_short().unwrap();
    assert!(short.contains("its endpoints"), "{short}");
    assert!(!short.contains("127.0.0.1"), "{short}");
    assert!(!chain.ready().unwrap_err().contains("127.0.0.1"));
}

impl Made {
    /// The chain behind an endpoint, by a clock that can be moved; it looks only.
    fn follow(&self, url: String, change: fn(&mut stencil_chain::Options)) -> Arc<Connection> {
        let mut options = Options {
            tokens: vec![],
            ..self.options()
        };
        options.follow.endpoints = vec![url];
        change(&mut options.follow);
        let store = Store::of(Arc::new(self.store.clone()));
        Arc::new(Connection::new("dev", &options, None, &store, later_us).unwrap())
    }
}

fn runs(chain: &Arc<Connection>) -> tokio::task::JoinHandle<Result<(), String>> {
    let chain = Arc::clone(chain);
    tokio::spawn(async move { chain.run().await })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_stands_still_is_told_and_nobody_is_sent_to_pay_there() {
    let made = Made::new().await;
    let url = made.endpoint.url();
    let chain = made.follow(url.clone(), |_| {});
    assert_eq!(chain.head(), None);
    let running = runs(&chain);
    until(&chain, async || chain.usable().ok()).await;
    let head = chain.head().unwrap();
    assert_eq!(head.number, made.chain.head().number);
    assert_eq!(chain.trouble(), None);
    // Five minutes are what most chains never need.
    LATER_US.store(310_000_000, Ordering::SeqCst);
    let told = chain.trouble().unwrap();
    for word in ["it stands still", "max_behind_s` (300)", "set that to 0"] {
        assert!(told.contains(word), "{told}");
    }
    assert!(
        chain
            .trouble_in_short()
            .unwrap()
            .contains("it stands still")
    );
    let why = chain.usable().unwrap_err();
    assert!(
        why.contains("the chain dev can't be used now: it stands still"),
        "{why}"
    );
    assert!(
        chain.ready().is_ok(),
        "what is paid there is seen once it goes on"
    );
    made.rpc("evm_increaseTime", json!([310])).await;
    made.chain.mine(1);
    until(&chain, async || chain.usable().ok()).await;
    assert_eq!(chain.trouble(), None);
    running.abort();
    // Where blocks come when there is something in them, the time since says nothing.
    let on_demand = made.follow(url, |follow| follow.max_behind_s = Some(0));
    let running = runs(&on_demand);
    until(&on_demand, async || on_demand.head()).await;
    LATER_US.store(86_400_000_000, Ordering::SeqCst);
    assert_eq!((on_demand.trouble(), on_demand.usable()), (None, Ok(())));
    running.abort();
    LATER_US.store(0, Ordering::SeqCst);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_in_the_place_of_the_one_that_was_followed_is_told_at_once() {
    let made = Made::new().await;
    let kept: fn(&mut stencil_chain::Options) = |follow| {
        follow.max_depth = Some(16);
        follow.start = Some(stencil_chain::config::Start::Block(1));
        follow.max_behind_s = Some(0);
    };
    let chain = made.follow(made.endpoint.url(), kept);
    let running = runs(&chain);
    made.chain.mine(80);
    let head = made.chain.head().number;
    let cursor = async || {
        let state = made.store.chain("dev").await.unwrap()?;
        state.cursor.map(|cursor| cursor.number)
    };
    until(&chain, async || {
        (cursor().await == Some(head)).then_some(())
    })
    .await;
    running.abort();
    let _ = running.await;

    // Another one with the same id, from its beginning: none of its blocks is as high as those that are kept.
    let other = DevChain::start(stencil_devchain::Options {
        mining: Mining::Manual,
        seed: SEED + 1,
        ..stencil_devchain::Options::default()
    });
    other.mine(40);
    let endpoint = other.listen(0).await.unwrap();
    let chain = made.follow(endpoint.url(), kept);
    let running = runs(&chain);
    let told = until(&chain, async || troubled(&chain)).await;
    for word in [
        "the newest block of its endpoints is 40".to_owned(),
        format!("up to block {head}"),
        "of another chain with the same id".to_owned(),
    ] {
        assert!(told.contains(&word), "{told}");
    }
    let why = chain.usable().unwrap_err();
    assert!(why.contains("set back, or are of another chain"), "{why}");
    assert_eq!(chain.head().map(|head| head.number), Some(40));
    // As soon as there is a block to compare it is known, and stays so.
    other.mine(head - 40 - 3);
    let ended = running.await.unwrap().unwrap_err();
    assert!(ended.contains("is no longer part of the chain"), "{ended}");
    assert!(chain.usable().unwrap_err().contains("is not followed now"));
    assert!(chain.ready().is_err());
    let again = made.follow(endpoint.url(), kept);
    assert!(again.run().await.unwrap_err().contains("was stopped"));
    assert!(again.usable().is_err());
}

/// The same chain, of which a node has lost the newest blocks.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_set_back_is_told_and_goes_on() {
    let made = Made::new().await;
    let chain = made.follow(made.endpoint.url(), |follow| {
        follow.start = Some(stencil_chain::config::Start::Block(1));
        follow.max_behind_s = Some(0);
    });
    let snapshot = made.rpc("evm_snapshot", json!([])).await;
    let running = runs(&chain);
    made.chain.mine(30);
    let head = made.chain.head().number;
    let cursor = async || {
        let state = made.store.chain("dev").await.unwrap()?;
        state.cursor.map(|cursor| cursor.number)
    };
    until(&chain, async || {
        (cursor().await == Some(head)).then_some(())
    })
    .await;
    made.rpc("evm_revert", json!([snapshot])).await;
    let told = until(&chain, async || troubled(&chain)).await;
    assert!(
        told.contains("they were set back, and what they have is of the chain"),
        "{told}"
    );
    assert!(chain.usable().is_err() && chain.ready().is_ok());
    made.chain.mine(30);
    until(&chain, async || chain.usable().ok()).await;
    running.abort();
}

/// What is paid before the hub knows from which block on it looks is never seen, also in the chain's own
/// coin: nothing may be asked for until then.
#[tokio::test(flavor = "multi_thread")]
async fn payments_are_asked_for_once_it_is_known_from_where_on_it_is_followed() {
    let made = Made::new().await;
    let coin_only = |options: Options| Options {
        tokens: vec![],
        ..options
    };
    let away = |options: Options| Options {
        follow: stencil_chain::Options {
            endpoints: vec!["http://127.0.0.1:9".to_owned()],
            ..options.follow
        },
        ..options
    };
    let runs = async |options: Options| {
        let chain = made.connect(&options, false);
        assert!(
            chain
                .ready()
                .unwrap_err()
                .contains("the chain dev was not reached yet")
        );
        let running = tokio::spawn({
            let chain = Arc::clone(&chain);
            async move { chain.run().await }
        });
        (chain, running.abort_handle())
    };
    for options in [made.options(), coin_only(made.options())] {
        let (chain, running) = runs(away(options)).await;
        until(&chain, async || troubled(&chain).map(drop)).await;
        let why = chain.ready().unwrap_err();
        assert!(why.contains("the chain dev was not reached yet: "), "{why}");
        running.abort();
    }
    let (chain, running) = runs(made.options()).await;
    until(&chain, async || chain.ready().ok()).await;
    let state = made.store.chain("dev").await.unwrap().unwrap();
    assert!(state.cursor.is_some() && !chain.tokens().is_empty());
    running.abort();
    // It goes on from there, whoever answers: but which tokens there are is asked again.
    let (chain, running) = runs(away(coin_only(made.options()))).await;
    until(&chain, async || chain.ready().ok()).await;
    running.abort();
    let (chain, running) = runs(away(made.options())).await;
    until(&chain, async || troubled(&chain).map(drop)).await;
    assert!(chain.ready().is_err());
    running.abort();
}
