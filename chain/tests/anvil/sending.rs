//! Transactions that are sent once: stuck, replaced, reorganised away, killed in between.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use alloy_primitives::{Address, U256};
use serde_json::json;
use stencil_chain::sender::{Action, Order, Policy, Sender};
use stencil_chain::signer::{Local, PlainKeys, Remote, Signer};
use stencil_chain::{Follower, Options};
use stencil_protocol::id::TenantId;
use stencil_store::sqlite::{self, Sqlite};
use stencil_store::{SendState, Sends as _, SpendLimit, Tenancy as _};

use crate::support::anvil::{RICH, hex0x};
use crate::support::followed::CHAIN;
use crate::support::{Anvil, Fault, Followed, Proxy, options};

/// The key of anvil's first account, which is the same everywhere and worth nothing.
const KEY: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
const SHOP: [u8; 20] = [0xcc; 20];

fn signer() -> Arc<dyn Signer> {
    Arc::new(Local::plain(KEY, PlainKeys::AllowedForTests).unwrap())
}

fn order(key: &str, wei: u64) -> Order {
    Order {
        tenant: "acme".to_owned(),
        key: key.to_owned(),
        receiver: SHOP.into(),
        value: U256::from(wei),
        data: vec![],
        gas: 30_000,
        token: None,
        brings: None,
    }
}

async fn allow(store: &Sqlite) {
    let acme = TenantId::parse("acme").unwrap();
    // It is there already after a restart.
    let _ = store.create_tenant(&acme, 1).await;
    store
        .set_spend_limit(&SpendLimit {
            tenant: "acme".to_owned(),
            chain: CHAIN.to_owned(),
            asset: None,
            window_s: 86_400,
            most: [0xff; 32],
        })
        .await
        .unwrap();
}

fn sender(options: &Options, store: &Sqlite, now: fn() -> i64) -> Sender {
    let store = Arc::new(store.clone());
    let settings = options.settle().unwrap();
    let policy = Policy::default();
    Sender::new(settings, policy, signer(), store.clone(), store, now).unwrap()
}

/// One action, of the one send that is open.
async fn act(sender: &mut Sender) -> Action {
    let done = sender.turn().await.unwrap();
    assert_eq!(done.len(), 1, "{done:?}");
    done[0].1
}

async fn received(anvil: &Anvil) -> u64 {
    let balance = anvil
        .call("eth_getBalance", json!([hex0x(&SHOP), "latest"]))
        .await;
    let balance = balance
        .as_str()
        .unwrap()
        .trim_start_matches("0x")
        .to_owned();
    u64::from_str_radix(&balance, 16).unwrap()
}

#[tokio::test]
async fn an_order_is_sent_once_and_becomes_final() {
    let anvil = Anvil::start().await;
    let settings = options(&[anvil.url()]);
    let mut followed = Followed::open(&settings).await;
    allow(&followed.store).await;
    let mut sender = sender(&settings, &followed.store, || 1_000);
    let sent = sender.order(order("invoice-1", 7)).await.unwrap();
    assert_eq!((sent.nonce, sent.state), (0, SendState::Pending));
    // The same key is the same send; with other contents it is a mistake.
    assert_eq!(sender.order(order("invoice-1", 7)).await.unwrap(), sent);
    let error = sender.order(order("invoice-1", 8)).await.unwrap_err();
    assert!(error.to_string().contains("names another send"), "{error}");

    assert!(matches!(act(&mut sender).await, Action::Sign(_)));
    assert_eq!(act(&mut sender).await, Action::Broadcast);
    anvil.mine(1).await;
    let Action::State(SendState::Included(outcome)) = act(&mut sender).await else {
        panic!("it is in a block");
    };
    assert!(outcome.succeeded && outcome.block.number == 4);
    assert_eq!(act(&mut sender).await, Action::Wait);
    anvil.mine(2).await;
    followed.settle().await.unwrap();
    assert_eq!(
        act(&mut sender).await,
        Action::State(SendState::Final(outcome))
    );
    assert!(sender.turn().await.unwrap().is_empty());
    assert_eq!(received(&anvil).await, 7);
}

/// Nodes forget what accounts were some blocks ago; without that nothing is called lost, and all else
/// goes on.
#[tokio::test]
async fn an_endpoint_without_old_state_does_not_hold_up_what_is_sent() {
    let anvil = Anvil::start().await;
    let proxy = Proxy::start(anvil.port).await;
    proxy.set(Fault::NoOldState);
    let settings = options(&[proxy.url()]);
    let mut followed = Followed::open(&settings).await;
    allow(&followed.store).await;
    anvil.mine(6).await;
    followed.settle().await.unwrap();
    let mut sender = sender(&settings, &followed.store, || 1_000);
    sender.order(order("invoice-1", 7)).await.unwrap();
    assert!(matches!(act(&mut sender).await, Action::Sign(_)));
    anvil.mine(3).await;
    followed.settle().await.unwrap();
    let Action::State(SendState::Final(outcome)) = act(&mut sender).await else {
        panic!("it is in a block that is final");
    };
    assert!(outcome.succeeded);
    assert_eq!(received(&anvil).await, 7);
}

/// What a node never takes, with a nonce that a hub gave it which asked less of an order: a good one of another
/// tenant gets in after it.
#[tokio::test]
async fn what_a_node_never_takes_does_not_hold_up_what_others_send() {
    static NOW: AtomicI64 = AtomicI64::new(0);
    let anvil = Anvil::start().await;
    let settings = options(&[anvil.url()]);
    let mut followed = Followed::open(&settings).await;
    allow(&followed.store).await;
    let mut sender = sender(&settings, &followed.store, || NOW.load(Ordering::Relaxed));
    let starved = Order {
        data: vec![1; 100],
        gas: 21_000,
        ..order("starved", 1)
    };
    let refused = sender.order(starved).await.unwrap_err();
    assert!(refused.to_string().contains("at least 25000"), "{refused}");
    let account: Address = RICH.parse().unwrap();
    let send = stencil_store::NewSend {
        chain: CHAIN.to_owned(),
        sender: account.into_array(),
        tenant: "acme".to_owned(),
        key: "starved".to_owned(),
        receiver: SHOP,
        value: [0; 32],
        data: vec![],
        // More than a block has.
        gas: 1 << 40,
        most_fee: [0; 32],
        token: None,
        brings: None,
    };
    followed.store.reserve_send(&send, 0, 1).await.unwrap();
    let good = sender.order(order("good", 7)).await.unwrap();
    assert_eq!(good.nonce, 1);
    let policy = Policy::default();
    for turn in 0..policy.refused_times {
        let done = sender.turn().await.unwrap();
        assert!(
            !matches!(done[0].1, Action::GiveUp(_)),
            "turn {turn}: {done:?}"
        );
        anvil.mine(1).await;
    }
    let trouble = sender.trouble().unwrap();
    assert!(trouble.contains("refuse what has nonce 0"), "{trouble}");
    NOW.store(policy.refused_for_us, Ordering::Relaxed);
    let done = sender.turn().await.unwrap();
    assert!(matches!(done[0], (0, Action::GiveUp(_))), "{done:?}");
    anvil.mine(4).await;
    followed.settle().await.unwrap();
    let mut states = Vec::new();
    for (nonce, action) in sender.turn().await.unwrap() {
        let Action::State(SendState::Final(outcome)) = action else {
            panic!("nonce {nonce}: {action:?}");
        };
        states.push((nonce, outcome.succeeded));
    }
    assert_eq!(states, [(0, false), (1, true)]);
    assert_eq!(received(&anvil).await, 7);
    let starved = followed
        .store
        .send("acme", "starved")
        .await
        .unwrap()
        .unwrap();
    assert!(starved.given_up().is_some(), "{starved:?}");
    assert_eq!(sender.trouble(), None);
}

/// Two attempts with one nonce: whichever is included, it counts once.
#[tokio::test]
async fn what_is_stuck_is_replaced_and_counts_once_whichever_is_included() {
    static NOW: AtomicI64 = AtomicI64::new(0);
    for first_wins in [false, true] {
        NOW.store(0, Ordering::Relaxed);
        let anvil = Anvil::start().await;
        let settings = options(&[anvil.url()]);
        let followed = Followed::open(&settings).await;
        allow(&followed.store).await;
        let mut sender = sender(&settings, &followed.store, || NOW.load(Ordering::Relaxed));
        sender.order(order("invoice-1", 7)).await.unwrap();
        let Action::Sign(first) = act(&mut sender).await else {
            panic!("it is signed");
        };
        NOW.store(Policy::default().bump_after_us, Ordering::Relaxed);
        let Action::Sign(second) = act(&mut sender).await else {
            panic!("it is stuck");
        };
        assert!(second.max * 8 >= first.max * 9 && second.priority * 8 >= first.priority * 9);
        let sent = followed.store.send("acme", "invoice-1").await.unwrap();
        let attempts = sent.unwrap().attempts;
        assert_eq!(attempts.len(), 2);
        let wins = usize::from(!first_wins);
        if first_wins {
            // A miner that never heard of the second.
            anvil.call("anvil_dropAllTransactions", json!([])).await;
            let raw = hex0x(&attempts[0].raw);
            anvil.call("eth_sendRawTransaction", json!([raw])).await;
        }
        anvil.mine(1).await;
        let Action::State(SendState::Included(outcome)) = act(&mut sender).await else {
            panic!("one is in a block");
        };
        assert_eq!(outcome.tx, attempts[wins].tx);
        // The other one is told again and never taken.
        anvil.mine(2).await;
        assert_eq!(received(&anvil).await, 7);
    }
}

#[tokio::test]
async fn what_is_reorganised_away_is_sent_again_with_the_same_nonce() {
    let anvil = Anvil::start().await;
    let settings = options(&[anvil.url()]);
    let followed = Followed::open(&settings).await;
    allow(&followed.store).await;
    let mut sender = sender(&settings, &followed.store, || 1_000);
    sender.order(order("invoice-1", 7)).await.unwrap();
    assert!(matches!(act(&mut sender).await, Action::Sign(_)));
    anvil.mine(1).await;
    assert!(matches!(
        act(&mut sender).await,
        Action::State(SendState::Included(_))
    ));
    anvil.reorg(1, &[]).await;
    assert_eq!(received(&anvil).await, 0);
    assert_eq!(act(&mut sender).await, Action::State(SendState::Pending));
    assert_eq!(act(&mut sender).await, Action::Broadcast);
    anvil.mine(1).await;
    assert!(matches!(
        act(&mut sender).await,
        Action::State(SendState::Included(_))
    ));
    assert_eq!(received(&anvil).await, 7);
}

/// An endpoint that takes a transaction and says nothing: unknown, not failed.
#[tokio::test]
async fn no_answer_is_no_failure() {
    let anvil = Anvil::start().await;
    let proxy = Proxy::start(anvil.port).await;
    let settings = Options {
        call_timeout_ms: Some(300),
        ..options(&[proxy.url()])
    };
    let followed = Followed::open(&settings).await;
    allow(&followed.store).await;
    let mut sender = sender(&settings, &followed.store, || 1_000);
    sender.order(order("invoice-1", 7)).await.unwrap();
    proxy.set(Fault::MuteSends);
    // It was signed, stored, and taken by the node: only the answer did not come.
    assert!(matches!(act(&mut sender).await, Action::Sign(_)));
    proxy.set(Fault::Hang);
    let unknown = sender.turn().await.unwrap_err();
    assert!(unknown.to_string().contains("unknown"), "{unknown}");
    proxy.set(Fault::None);
    anvil.mine(1).await;
    assert!(matches!(
        act(&mut sender).await,
        Action::State(SendState::Included(_))
    ));
    assert_eq!(received(&anvil).await, 7);
}

/// Somebody else uses the key: after a while, and for good only, the send is lost. It may be ordered
/// again.
#[tokio::test]
async fn a_nonce_that_somebody_else_used_is_lost_after_a_while_and_the_next_goes_on() {
    static NOW: AtomicI64 = AtomicI64::new(0);
    let anvil = Anvil::start().await;
    let settings = options(&[anvil.url()]);
    let mut followed = Followed::open(&settings).await;
    allow(&followed.store).await;
    let mut sender = sender(&settings, &followed.store, || NOW.load(Ordering::Relaxed));
    sender.order(order("invoice-1", 7)).await.unwrap();
    anvil
        .send(json!({"to": hex0x(&[0xdd; 20]), "value": "0x1"}))
        .await;
    anvil.mine(1).await;
    assert!(
        matches!(act(&mut sender).await, Action::Sign(_)),
        "not known yet"
    );
    assert_eq!(act(&mut sender).await, Action::Broadcast);
    anvil.mine(3).await;
    followed.settle().await.unwrap();
    assert_eq!(act(&mut sender).await, Action::Missed);
    NOW.store(Policy::default().lost_after_us, Ordering::Relaxed);
    assert_eq!(act(&mut sender).await, Action::State(SendState::Lost));
    let next = sender.order(order("invoice-1-again", 7)).await.unwrap();
    assert_eq!(next.nonce, 1);
    assert!(matches!(act(&mut sender).await, Action::Sign(_)));
    anvil.mine(1).await;
    assert!(matches!(
        act(&mut sender).await,
        Action::State(SendState::Included(_))
    ));
    assert_eq!(received(&anvil).await, 7);
}

/// The same where no endpoint knows what accounts were at a block of a while ago: that the nonce is used
/// ever since a block that is final now says as much.
#[tokio::test]
async fn a_nonce_that_somebody_else_used_is_lost_without_old_state_too() {
    static NOW: AtomicI64 = AtomicI64::new(0);
    let anvil = Anvil::start().await;
    let proxy = Proxy::start(anvil.port).await;
    proxy.set(Fault::NoOldState);
    let settings = options(&[proxy.url()]);
    let mut followed = Followed::open(&settings).await;
    allow(&followed.store).await;
    let mut sender = sender(&settings, &followed.store, || NOW.load(Ordering::Relaxed));
    sender.order(order("invoice-1", 7)).await.unwrap();
    let foreign = json!({"to": hex0x(&[0xdd; 20]), "value": "0x1"});
    anvil.send(foreign).await;
    anvil.mine(1).await;
    followed.settle().await.unwrap();
    assert!(matches!(act(&mut sender).await, Action::Sign(_)));
    let lost_us = Policy::default().lost_after_us;
    NOW.store(lost_us / 2, Ordering::Relaxed);
    assert_ne!(act(&mut sender).await, Action::Missed, "not final yet");
    assert_eq!(sender.trouble(), None);
    anvil.mine(3).await;
    followed.settle().await.unwrap();
    assert_eq!(act(&mut sender).await, Action::Missed);
    let trouble = sender.trouble().unwrap();
    assert!(trouble.contains("in use elsewhere: nonces 0"), "{trouble}");
    NOW.store(lost_us, Ordering::Relaxed);
    assert_eq!(act(&mut sender).await, Action::Missed);
    NOW.store(lost_us / 2 + lost_us, Ordering::Relaxed);
    assert_eq!(act(&mut sender).await, Action::State(SendState::Lost));
    assert_eq!(sender.trouble(), None);
}

/// A reorganisation that goes deeper than what is final: a nonce that nobody has any more would hold up all
/// that come after it.
#[tokio::test]
async fn what_was_final_and_is_reorganised_away_is_sent_again() {
    let anvil = Anvil::start().await;
    let settings = options(&[anvil.url()]);
    let mut followed = Followed::open(&settings).await;
    allow(&followed.store).await;
    let mut sender = sender(&settings, &followed.store, || 1_000);
    let mut signed = Vec::new();
    for (key, wei) in [("a", 1), ("b", 2)] {
        sender.order(order(key, wei)).await.unwrap();
        assert!(matches!(act(&mut sender).await, Action::Sign(_)));
        anvil.mine(3).await;
        followed.settle().await.unwrap();
        let action = act(&mut sender).await;
        assert!(matches!(action, Action::State(SendState::Final(_))));
        let sent = followed.store.send("acme", key).await.unwrap().unwrap();
        signed.push(sent.attempts);
    }
    anvil.reorg(6, &[]).await;
    assert_eq!(received(&anvil).await, 0);
    // Once only, and the later one waits for the earlier one.
    sender.order(order("c", 4)).await.unwrap();
    let done = sender.turn().await.unwrap();
    assert_eq!(done[..2], [(0, Action::TakeBack), (1, Action::TakeBack)]);
    assert!(matches!(done[2], (2, Action::Sign(_))), "{done:?}");
    let trouble = sender.trouble().unwrap();
    assert!(trouble.contains("sent again, nonces 0, 1"), "{trouble}");
    anvil.mine(1).await;
    assert_eq!(received(&anvil).await, 7);
    followed.settle().await.unwrap();
    for (_, action) in sender.turn().await.unwrap() {
        assert!(
            matches!(action, Action::State(SendState::Included(_))),
            "{action:?}"
        );
    }
    assert_eq!(sender.trouble(), None);
    anvil.mine(3).await;
    followed.settle().await.unwrap();
    sender.turn().await.unwrap();
    assert!(sender.turn().await.unwrap().is_empty());
    for (key, attempts) in ["a", "b"].into_iter().zip(signed) {
        let sent = followed.store.send("acme", key).await.unwrap().unwrap();
        assert!(matches!(sent.state, SendState::Final(_)), "{sent:?}");
        assert_eq!(sent.attempts, attempts, "the same bytes");
    }
}

/// anvil signs for its accounts, as web3signer does for its own.
#[tokio::test]
async fn a_remote_signer_is_checked() {
    let anvil = Anvil::start().await;
    let url = anvil.url().parse().unwrap();
    let timeout = std::time::Duration::from_secs(5);
    let rich: Address = RICH.parse().unwrap();
    let remote = Remote::new(&url, rich.into_array(), timeout).unwrap();
    let transaction = alloy_consensus::TxEip1559 {
        chain_id: 31_337,
        nonce: 3,
        gas_limit: 21_000,
        max_fee_per_gas: 9_000_000_000,
        max_priority_fee_per_gas: 1,
        to: alloy_primitives::TxKind::Call(SHOP.into()),
        value: U256::from(5),
        ..Default::default()
    };
    let signed = remote.sign(&transaction).await.unwrap();
    assert_eq!(signed, signer().sign(&transaction).await.unwrap());
    // One that signs something else, or by somebody else.
    let other = alloy_consensus::TxEip1559 {
        value: U256::from(6),
        ..transaction.clone()
    };
    let wrong = signer().sign(&other).await.unwrap();
    for (address, raw, expected) in [
        (
            rich.into_array(),
            wrong.raw,
            "another transaction than was asked for",
        ),
        (SHOP, signed.raw.clone(), "signed, not"),
        (rich.into_array(), vec![2, 1], "no transaction"),
    ] {
        let port = answering(json!(hex0x(&raw))).await;
        let url = format!("http://127.0.0.1:{port}").parse().unwrap();
        let liar = Remote::new(&url, address, timeout).unwrap();
        let error = liar.sign(&transaction).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

/// A service that answers everything with this.
async fn answering(result: serde_json::Value) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = move |axum::Json(request): axum::Json<serde_json::Value>| async move {
        axum::Json(json!({"jsonrpc": "2.0", "id": request["id"], "result": result}))
    };
    let router = axum::Router::new().route("/", axum::routing::post(answer));
    tokio::spawn(async move { axum::serve(listener, router).await });
    port
}

const FOLDER: &str = "STENCIL_CHAIN_SEND_FOLDER";
const URL: &str = "STENCIL_CHAIN_SEND_URL";
const ORDERS: &str = "STENCIL_CHAIN_SEND_ORDERS";

/// An order more each time, with a kill at each point on its way: each is paid once.
#[tokio::test]
async fn killed_at_any_point_each_order_is_paid_once() {
    let anvil = Anvil::start().await;
    let folder = tempfile::tempdir().unwrap();
    let mut orders = 0;
    for _ in 0..3 {
        for point in ["send.reserved", "send.signed", "send.broadcast"] {
            orders += 1;
            let status = child(folder.path(), &anvil, orders, &format!("{point}:1"));
            assert_eq!(status.signal(), Some(9), "{point}, order {orders}");
            anvil.mine(1).await;
        }
    }
    // Those that are left, then what became of all.
    for _ in 0..3 {
        assert!(child(folder.path(), &anvil, orders, "").success());
        anvil.mine(4).await;
    }
    assert!(child(folder.path(), &anvil, orders, "").success());
    // Order n pays 2^n wei: the sum says which were paid, and how often.
    assert_eq!(received(&anvil).await, (1 << orders) - 1);
    let store = sqlite::open(folder.path().join("chain.db")).await.unwrap();
    let mut nonces = BTreeSet::new();
    for n in 0..orders {
        let sent = store.send("acme", &n.to_string()).await.unwrap().unwrap();
        assert!(matches!(sent.state, SendState::Final(_)), "{n}: {sent:?}");
        nonces.insert(sent.nonce);
    }
    assert_eq!(nonces, (0..u64::from(orders)).collect());
}

fn child(folder: &Path, anvil: &Anvil, orders: u32, crash: &str) -> std::process::ExitStatus {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "sending::the_child_that_is_killed", "--ignored"])
        .env(FOLDER, folder)
        .env(URL, anvil.url())
        .env(ORDERS, orders.to_string())
        .env("STENCIL_CRASH", crash)
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap()
}

#[tokio::test]
#[ignore = "run by the test above, as a process of its own"]
async fn the_child_that_is_killed() {
    let (Some(folder), Ok(url)) = (std::env::var_os(FOLDER), std::env::var(URL)) else {
        return;
    };
    let settings = options(&[url]);
    let store = sqlite::open(Path::new(&folder).join("chain.db"))
        .await
        .unwrap();
    let now = || 1_000;
    let chains = Arc::new(store.clone());
    let mut follower = Follower::open(settings.settle().unwrap(), chains, now)
        .await
        .unwrap();
    while follower.turn().await.unwrap() == stencil_chain::Progress::Stepped {}
    allow(&store).await;
    let mut sender = sender(&settings, &store, now);
    let orders: u32 = std::env::var(ORDERS).unwrap().parse().unwrap();
    for n in 0..orders {
        sender.order(order(&n.to_string(), 1 << n)).await.unwrap();
    }
    sender.turn().await.unwrap();
}
