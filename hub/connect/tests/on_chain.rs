//! Calls and transactions: what cannot be known is asked again, what is sent is sent once, and nobody
//! makes the hub's account do what its operator has not allowed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use stencil_connect::{Connectors, Options};
use stencil_payments::money::Amount;
use stencil_payments::port::{
    Address, Bytes, Called, Chain, Event, Function, KnownToken, NotOrdered, Order, Outcome, Sent,
    Unknown,
};
use stencil_protocol::id::TenantId;
use stencil_store::sqlite::{self, Sqlite};
use stencil_store::{Chains as _, Sends as _, Tenancy as _};
use stencil_workflow::{ChainCall, ChainSend, Effect, Effects as _, Failure, Performed, Request};

const CONTRACT: Address = Address::repeat_byte(0xaa);
const ESCROW: Address = Address::repeat_byte(0xee);

/// A chain that says what a test has written, and keeps what is ordered.
#[derive(Default)]
struct Scripted {
    calls: Mutex<VecDeque<Result<Called, Unknown>>>,
    sent: Mutex<Option<Result<Sent, NotOrdered>>>,
    orders: Mutex<Vec<Order>>,
    given_up: Mutex<Option<String>>,
    is_full: AtomicBool,
    asked: AtomicU32,
}

/// A function whose calldata is its selector and, in 32 bytes each, its arguments.
struct Words([u8; 4]);

impl Function for Words {
    fn encode(&self, arguments: &[Value]) -> Result<Bytes, String> {
        let mut data = self.0.to_vec();
        for argument in arguments {
            let number = argument.as_u64().ok_or("it is no number")?;
            data.extend([0; 24]);
            data.extend(number.to_be_bytes());
        }
        Ok(data.into())
    }

    fn decode(&self, returned: &[u8]) -> Option<Vec<Value>> {
        let values = returned.iter().map(|byte| json!(byte.to_string()));
        (returned.len() < 3).then(|| values.collect())
    }
}

#[async_trait]
impl Chain for Scripted {
    fn name(&self) -> &str {
        "dev"
    }
    fn id(&self) -> u64 {
        1
    }
    fn account(&self) -> Option<Address> {
        None
    }
    fn tokens(&self) -> &[KnownToken] {
        &[]
    }
    fn payments(&self) -> Option<Address> {
        None
    }
    fn escrow(&self) -> Option<Address> {
        Some(ESCROW)
    }
    fn event(&self, _: &str) -> Result<Arc<dyn Event>, String> {
        Err("there are none".to_owned())
    }
    fn function(&self, signature: &str) -> Result<Arc<dyn Function>, String> {
        match signature {
            "transfer" => Ok(Arc::new(Words([0xa9, 0x05, 0x9c, 0xbb]))),
            "open" => Ok(Arc::new(Words([1, 2, 3, 4]))),
            _ => Err(format!("{signature} is none")),
        }
    }
    async fn call(&self, _: Address, _: Bytes) -> Result<Called, Unknown> {
        let next = self.calls.lock().unwrap().pop_front();
        next.unwrap_or_else(|| Err(Unknown("nothing is heard".to_owned())))
    }
    async fn has_code(&self, address: Address) -> Result<bool, Unknown> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Ok(address != Address::ZERO)
    }
    async fn has_place(&self, _: &TenantId) -> Result<bool, Unknown> {
        Ok(!self.is_full.load(Ordering::Relaxed))
    }
    async fn order(&self, order: &Order) -> Result<Sent, NotOrdered> {
        self.orders.lock().unwrap().push(order.clone());
        self.sent.lock().unwrap().clone().unwrap()
    }
    async fn sent(&self, _: &TenantId, key: &str) -> Result<Option<Sent>, Unknown> {
        let ordered = self.orders.lock().unwrap().iter().any(|it| it.key == key);
        match self.sent.lock().unwrap().clone() {
            Some(Ok(sent)) if ordered => Ok(Some(sent)),
            _ => Ok(None),
        }
    }
    async fn why_lost(&self, _: &TenantId, _: &str) -> Result<Option<String>, Unknown> {
        Ok(self.given_up.lock().unwrap().clone())
    }
    async fn stepped(&self) {}
    async fn run(&self) -> Result<(), String> {
        Ok(())
    }
    fn trouble(&self) -> Option<String> {
        None
    }
}

struct World {
    chain: Arc<Scripted>,
    store: Arc<Sqlite>,
    connectors: Connectors,
    _dir: tempfile::TempDir,
}

fn acme() -> TenantId {
    TenantId::parse("acme").unwrap()
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(sqlite::open(dir.path().join("hub.db")).await.unwrap());
        store.create_tenant(&acme(), 1).await.unwrap();
        store.open_chain("dev", 1, 1).await.unwrap();
        let chain = Arc::new(Scripted::default());
        let connectors = Connectors::new(&Options::default(), store.clone(), store.clone())
            .unwrap()
            .on_chains(vec![chain.clone()], store.clone());
        Self {
            chain,
            store,
            connectors,
            _dir: dir,
        }
    }

    async fn perform(&self, effect: Effect) -> Result<Performed, Failure> {
        let tenant = acme();
        let request = Request {
            tenant: &tenant,
            effect_key: "a-key",
            effect: &effect,
            attempt: 1,
            at_us: 1,
            now_us: 1,
            timeout: Duration::from_secs(1),
            cause: None,
        };
        self.connectors.perform(&request).await
    }

    fn stands(&self, sent: Sent) {
        *self.chain.sent.lock().unwrap() = Some(Ok(sent));
    }

    fn orders(&self) -> Vec<Order> {
        self.chain.orders.lock().unwrap().clone()
    }
}

fn call(function: &str) -> Effect {
    Effect::ChainCall(ChainCall {
        chain: "dev".to_owned(),
        address: CONTRACT,
        function: function.to_owned(),
        arguments: vec![json!(7)],
    })
}

fn send(address: Address, function: Option<&str>, until_final: bool) -> Effect {
    let function = function.map(|name| (name.to_owned(), vec![json!(1), json!(250)]));
    Effect::ChainSend(ChainSend {
        chain: "dev".to_owned(),
        address,
        function,
        value: Amount::from(5_u64),
        gas: 50_000,
        until_final,
    })
}

fn outcome(succeeded: bool) -> Outcome {
    Outcome {
        tx: [9; 32].into(),
        block: 12,
        block_hash: [12; 32].into(),
        succeeded,
    }
}

fn is_later(result: &Result<Performed, Failure>) -> bool {
    matches!(result, Ok(Performed::Later(_)))
}

fn failed(result: Result<Performed, Failure>) -> String {
    let failure = result.unwrap_err();
    assert!(!failure.retryable, "{failure}");
    failure.message
}

#[tokio::test]
async fn a_call_gives_what_it_returned_and_never_fails_for_what_is_not_known() {
    let world = World::new().await;
    assert!(
        is_later(&world.perform(call("open")).await),
        "nothing is heard"
    );
    let says = |called| world.chain.calls.lock().unwrap().push_back(Ok(called));
    for (bytes, result) in [
        (&[][..], Value::Null),
        (&[4][..], json!("4")),
        (&[4, 5][..], json!(["4", "5"])),
    ] {
        says(Called::Returned(Bytes::copy_from_slice(bytes)));
        let done = world.perform(call("open")).await.unwrap();
        assert_eq!(done, Performed::Done(json!({ "result": result })));
    }
    says(Called::Returned(vec![1, 2, 3].into()));
    assert!(failed(world.perform(call("open")).await).contains("is not what its signature says"));
    says(Called::Reverted("Locked()".to_owned()));
    assert!(failed(world.perform(call("open")).await).contains("reverted: Locked()"));
    assert!(failed(world.perform(call("close")).await).contains("close is none"));
}

#[tokio::test]
async fn a_transaction_is_ordered_once_and_waited_for() {
    let world = World::new().await;
    let paid = |until_final| send(CONTRACT, None, until_final);
    world.stands(Sent::Pending);
    for _ in 0..3 {
        assert!(is_later(&world.perform(paid(true)).await));
    }
    let orders = world.orders();
    assert_eq!(orders.len(), 1, "once");
    assert_eq!(
        (orders[0].key.as_str(), orders[0].value, orders[0].moves),
        ("a-key", Amount::from(5_u64), None)
    );
    world.stands(Sent::Included(outcome(true)));
    assert!(is_later(&world.perform(paid(true)).await), "not final");
    let done = world.perform(paid(false)).await.unwrap();
    let Performed::Done(output) = done else {
        panic!("{done:?}")
    };
    assert_eq!(
        (&output["state"], &output["block"]),
        (&json!("included"), &json!(12))
    );
    world.stands(Sent::Final(outcome(true)));
    let done = world.perform(paid(true)).await.unwrap();
    assert!(matches!(done, Performed::Done(_)), "{done:?}");
    // A reorganisation may yet have it succeed.
    world.stands(Sent::Included(outcome(false)));
    for until_final in [false, true] {
        assert!(is_later(&world.perform(paid(until_final)).await));
    }
    world.stands(Sent::Final(outcome(false)));
    let again = Called::Reverted("NoFunds()".to_owned());
    world.chain.calls.lock().unwrap().push_back(Ok(again));
    let why = failed(world.perform(paid(false)).await);
    assert!(why.contains("was reverted in block 12: NoFunds()"), "{why}");
    world.stands(Sent::Lost);
    assert!(failed(world.perform(paid(false)).await).contains("never be in a block"));
    let refused = "intrinsic gas too low".to_owned();
    *world.chain.given_up.lock().unwrap() = Some(refused);
    assert_eq!(
        failed(world.perform(paid(false)).await),
        "no node of dev took it, and it was given up: intrinsic gas too low"
    );
    assert_eq!(world.orders().len(), 1);
}

#[tokio::test]
async fn what_is_not_taken_now_is_ordered_again_and_what_is_refused_says_why() {
    let world = World::new().await;
    let not = |why| *world.chain.sent.lock().unwrap() = Some(Err(why));
    not(NotOrdered::Unknown("no endpoint answers".to_owned()));
    assert!(is_later(&world.perform(send(CONTRACT, None, false)).await));
    not(NotOrdered::Refused("no limit is set".to_owned()));
    assert_eq!(
        failed(world.perform(send(CONTRACT, None, false)).await),
        "no limit is set"
    );
    not(NotOrdered::NoAccount("dev".to_owned()));
    assert!(failed(world.perform(send(CONTRACT, None, false)).await).contains("`account`"));
}

/// Thousands may wait for minutes, and the chain's endpoints and the store's writer are those of all.
#[tokio::test]
async fn what_finds_no_place_asks_no_node_and_rests_for_longer() {
    let world = World::new().await;
    world.stands(Sent::Pending);
    let callable = [("dev".to_owned(), CONTRACT.into())];
    world.store.set_callable("acme", &callable).await.unwrap();
    world.chain.is_full.store(true, Ordering::Relaxed);
    for function in [None, Some("open")] {
        let later = world.perform(send(CONTRACT, function, false)).await;
        let Ok(Performed::Later(after)) = later else {
            panic!("{later:?}");
        };
        assert!(after >= Duration::from_secs(30), "{after:?}");
    }
    assert_eq!(world.chain.asked.load(Ordering::Relaxed), 0);
    assert!(world.orders().is_empty());
    world.chain.is_full.store(false, Ordering::Relaxed);
    let opens = world.perform(send(CONTRACT, Some("open"), false)).await;
    assert!(is_later(&opens));
    assert_eq!(world.orders().len(), 1);
}

#[tokio::test]
async fn the_hubs_account_calls_only_what_an_operator_has_allowed() {
    let world = World::new().await;
    world.stands(Sent::Included(outcome(true)));
    let opens = || send(CONTRACT, Some("open"), false);
    assert!(failed(world.perform(opens()).await).contains("has not allowed it"));
    assert!(world.orders().is_empty());
    // To transfer tokens needs a limit, which is counted where it is ordered.
    let moved = world.perform(send(CONTRACT, Some("transfer"), false)).await;
    assert!(moved.is_ok(), "{moved:?}");
    let orders = world.orders();
    assert_eq!(orders[0].moves, Some((CONTRACT, Amount::from(250_u64))));
    world.chain.orders.lock().unwrap().clear();
    let allowed = [
        ("dev".to_owned(), CONTRACT.into()),
        ("dev".to_owned(), ESCROW.into()),
    ];
    world.store.set_callable("acme", &allowed).await.unwrap();
    assert!(world.perform(opens()).await.is_ok());
    assert_eq!(world.orders()[0].moves, None);
    world.chain.orders.lock().unwrap().clear();
    // Holds of others are there: nobody but the hub itself.
    for function in ["open", "transfer"] {
        let why = failed(world.perform(send(ESCROW, Some(function), false)).await);
        assert!(why.contains("no workflow may call"), "{why}");
    }
    let nothing = send(Address::ZERO, Some("transfer"), false);
    assert!(failed(world.perform(nothing).await).contains("there is no contract"));
    assert!(world.orders().is_empty());
}
