//! What invoices ask for is done once a key, in order, and again where it was cut off.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;
use async_trait::async_trait;
use serde_json::{Value, json};
use stencil_payments::abi::calls;
use stencil_payments::eip712::text_digest;
use stencil_payments::invoice::{
    Event, Id, Late, LateRate, Price, Refund, State, Status, Way, refund,
};
use stencil_payments::money::{Currency, Fiat, Rate};
use stencil_payments::observation::Needs;
use stencil_payments::port::{NotOrdered, Outcome, Sent};
use stencil_protocol::id::CommandId;
use stencil_workflow::{Effect, Effects, Failure, Performed, Request};

use super::fake::ACCOUNT;
use super::*;
use crate::chains::RefundTo;
use crate::chains::cashier::Refused;
use crate::chains::change::{Due, Todo};
use crate::chains::outbox::{Listener, Outbox};
use crate::chains::refund_address::{self, statement};
use crate::chains::refund_told;

pub(super) const ONE: Needs = Needs::Confirmations(1);

/// Takes webhooks, or not.
#[derive(Default)]
pub(super) struct Receiver {
    took: Mutex<Vec<(String, Value)>>,
    fails: Mutex<bool>,
    tried: Mutex<usize>,
}

#[async_trait]
impl Effects for Receiver {
    async fn perform(&self, request: &Request<'_>) -> Result<Performed, Failure> {
        let Effect::WebhookPost { url, body, secret } = request.effect else {
            panic!("{:?}", request.effect);
        };
        assert_eq!(
            (url.as_str(), secret.as_deref()),
            ("https://shop.example/hook", Some("hook"))
        );
        *self.tried.lock().unwrap() += 1;
        if *self.fails.lock().unwrap() {
            return Err(Failure::retryable("the receiver is down"));
        }
        let mut took = self.took.lock().unwrap();
        took.push((request.effect_key.to_owned(), body.clone()));
        Ok(Performed::Done(json!({})))
    }

    async fn settle(&self, _: &TenantId, command: &CommandId) -> Result<Performed, Failure> {
        Ok(Performed::Waiting(*command))
    }
}

/// Notes what it was told.
#[derive(Default)]
struct Ear(Mutex<Vec<Due>>);

#[async_trait]
impl Listener for Ear {
    async fn due(&self, _: &TenantId, _: Id, due: &Due) -> Result<(), Refused> {
        self.0.lock().unwrap().push(due.clone());
        Ok(())
    }
}

async fn with_webhook(world: &World) {
    let settings = json!({ "webhook": { "url": "https://shop.example/hook", "secret": "hook" } });
    let payments = &world.store.payments;
    payments
        .set_payment_settings(&acme(), &settings.to_string(), &[], 0)
        .await
        .unwrap();
}

/// Does all that is due now.
pub(super) async fn turn(outbox: &mut Outbox) {
    while outbox.turn().await.unwrap() {}
    outbox.landed().await;
}

pub(super) fn later(world: &World, seconds: i64) {
    world
        .now_us
        .fetch_add(seconds * 1_000_000, Ordering::SeqCst);
}

fn kinds(receiver: &Receiver) -> Vec<String> {
    let took = receiver.took.lock().unwrap();
    let kinds = took.iter().map(|(_, body)| {
        let state = body["data"]["state"].as_str().unwrap_or_default();
        format!("{} {state}", body["type"].as_str().unwrap())
    });
    kinds.collect()
}

#[tokio::test]
async fn webhooks_of_an_invoice_go_out_in_its_order_and_can_be_sent_again() {
    let mut world = World::new().await;
    with_webhook(&world).await;
    let (receiver, ear) = (Arc::new(Receiver::default()), Arc::new(Ear::default()));
    let mut outbox = Outbox::new(world.cashier.clone(), receiver.clone(), vec![ear.clone()]);
    let base = world.block(1, &[]).await;
    world.create(invoice(1, Way::Contract(CONTRACT), ONE)).await;
    world.create(invoice(2, Way::Contract(CONTRACT), ONE)).await;
    *receiver.fails.lock().unwrap() = true;
    world.block(10, &paid(1, 1, TOKEN, DUE)).await;
    turn(&mut outbox).await;
    assert_eq!(
        *receiver.tried.lock().unwrap(),
        1,
        "what comes after the first waits for it"
    );
    let failed = world.cashier.last_not_told(&acme()).unwrap();
    assert_eq!((failed.invoice, failed.attempt), (id(1), 1));
    assert!(!failed.why.is_empty());
    // Who acts on invoices is told at once all the same.
    let told = ear.0.lock().unwrap().len();
    assert_eq!(told, 2);
    world.back_to(base).await;
    *receiver.fails.lock().unwrap() = false;
    // Newer ones are due before the first is again: they go nowhere.
    turn(&mut outbox).await;
    assert_eq!(kinds(&receiver), Vec::<String>::new());
    // Another invoice does not wait.
    world.block(11, &paid(2, 2, TOKEN, DUE)).await;
    turn(&mut outbox).await;
    let still = world.cashier.last_not_told(&acme());
    assert_eq!(still.map(|it| it.invoice), Some(id(1)));
    assert_eq!(
        kinds(&receiver),
        ["invoice.settled ", "invoice.changed settled"]
    );
    receiver.took.lock().unwrap().clear();
    for _ in 0..8 {
        later(&world, 60);
        turn(&mut outbox).await;
    }
    let all = [
        "invoice.settled ",
        "invoice.changed settled",
        "invoice.unsettled ",
        "invoice.changed new",
    ];
    assert_eq!(kinds(&receiver), all);
    let first = receiver.took.lock().unwrap().clone();
    assert_eq!(first[1].1["data"]["reference"], "locker-7");
    // Sent again: the same by the same ids, and nothing else.
    let payments = &world.store.payments;
    let now_us = world.now_us.load(Ordering::SeqCst);
    assert_eq!(
        payments
            .redo_invoice_effects(&acme(), &id(1).0, now_us)
            .await
            .unwrap(),
        4
    );
    receiver.took.lock().unwrap().clear();
    let heard = ear.0.lock().unwrap().len();
    for _ in 0..8 {
        turn(&mut outbox).await;
        later(&world, 60);
    }
    assert_eq!(*receiver.took.lock().unwrap(), first);
    let again = ear.0.lock().unwrap().len();
    assert_eq!(again, heard, "who acts on invoices is not told again");
    assert!(
        payments
            .due_invoice_effects(i64::MAX, 10)
            .await
            .unwrap()
            .is_empty()
    );
}

/// Hears, and never comes to an end.
struct Stuck(tokio::sync::Notify);

#[async_trait]
impl Listener for Stuck {
    async fn due(&self, _: &TenantId, _: Id, _: &Due) -> Result<(), Refused> {
        self.0.notify_one();
        std::future::pending().await
    }
}

#[tokio::test]
async fn who_acts_at_once_is_told_again_as_soon_as_the_hub_is_back() {
    let world = World::new().await;
    let receiver = Arc::new(Receiver::default());
    let stuck = Arc::new(Stuck(tokio::sync::Notify::new()));
    world.create(invoice(1, Way::Contract(CONTRACT), ONE)).await;
    let mut outbox = Outbox::new(world.cashier.clone(), receiver.clone(), vec![stuck.clone()]);
    world.block(10, &paid(1, 1, TOKEN, DUE)).await;
    tokio::select! {
        done = outbox.turn() => panic!("{done:?}"),
        () = stuck.0.notified() => {}
    }
    // Killed there; the time stands still.
    let ear = Arc::new(Ear::default());
    let mut outbox = Outbox::new(world.cashier.clone(), receiver, vec![ear.clone()]);
    turn(&mut outbox).await;
    assert_eq!(ear.0.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_tenant_without_a_webhook_is_told_nothing_and_nothing_waits() {
    let world = World::new().await;
    let receiver = Arc::new(Receiver::default());
    let mut outbox = Outbox::new(world.cashier.clone(), receiver.clone(), vec![]);
    world.create(invoice(1, Way::Contract(CONTRACT), ONE)).await;
    world.block(10, &paid(1, 1, TOKEN, DUE)).await;
    turn(&mut outbox).await;
    assert_eq!(*receiver.tried.lock().unwrap(), 0);
    let due = world
        .store
        .payments
        .due_invoice_effects(i64::MAX, 10)
        .await
        .unwrap();
    assert!(due.is_empty());
}

/// Chains are asked for one invoice, and hold up no other.
#[tokio::test]
async fn a_chain_that_hangs_holds_up_neither_doors_nor_webhooks() {
    let world = World::new().await;
    with_webhook(&world).await;
    let (receiver, ear) = (Arc::new(Receiver::default()), Arc::new(Ear::default()));
    let mut outbox = Outbox::new(world.cashier.clone(), receiver.clone(), vec![ear.clone()]);
    let refund = called_off(&world).await;
    turn(&mut outbox).await;
    world.chain.hangs.store(true, Ordering::SeqCst);
    let there = to(Address::repeat_byte(0x77));
    refund_address::set(&world.cashier, &acme(), id(1), refund, there)
        .await
        .unwrap();
    let patience = std::time::Duration::from_secs(30);
    let mut turns = async || {
        let turned = tokio::time::timeout(patience, outbox.turn()).await;
        turned.expect("a turn ends").unwrap();
    };
    turns().await;
    world.create(invoice(2, Way::Contract(CONTRACT), ONE)).await;
    world.block(20, &paid(3, 2, TOKEN, DUE)).await;
    ear.0.lock().unwrap().clear();
    receiver.took.lock().unwrap().clear();
    turns().await;
    assert!(
        !ear.0.lock().unwrap().is_empty(),
        "who opens the door knows"
    );
    let told = async {
        while !kinds(&receiver).contains(&"invoice.settled ".to_owned()) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(patience, told).await.unwrap();
    // It is asked once at a time, however often it is due.
    later(&world, 60);
    turns().await;
    assert!(world.chain.orders.lock().unwrap().is_empty());
    assert_eq!(refund_of(&world).await.status(), Status::Sent);
}

/// An invoice whose payee is the hub's account, called off after it was paid.
pub(super) async fn called_off(world: &World) -> refund::Id {
    let mut definition = invoice(1, Way::UniqueAmount, ONE);
    definition.methods[0].payee = ACCOUNT;
    world.create(definition).await;
    world
        .block(10, &[transfer(1, 0, ACCOUNT, DUE - 100_000)])
        .await;
    // Not exactly the amount, so it is nobody's: this one is.
    world.block(11, &[transfer(2, 0, ACCOUNT, DUE)]).await;
    let cashier = &world.cashier;
    let decided = Event::Resolve(stencil_payments::invoice::Decision::RefundAll);
    let at = cashier.apply(&acme(), id(1), decided).await.unwrap();
    at.kept.invoice.refunds()[0].id
}

pub(super) async fn refund_of(world: &World) -> Refund {
    world.invoice(1).await.kept.invoice.refunds()[0].clone()
}

pub(super) fn to(address: Address) -> RefundTo {
    RefundTo {
        address,
        by: "user ann".to_owned(),
        payer: None,
        reason: Some("asked for it".to_owned()),
        failures: 0,
        number: 0,
        waits: None,
    }
}

pub(super) fn outcome(succeeded: bool) -> Outcome {
    Outcome {
        tx: alloy_tx(),
        block: 12,
        block_hash: [12; 32].into(),
        succeeded,
    }
}

pub(super) fn alloy_tx() -> stencil_payments::B256 {
    stencil_payments::B256::repeat_byte(0x44)
}

#[tokio::test]
async fn a_refund_is_sent_once_it_has_an_address_and_ends_where_the_chain_says() {
    let world = World::new().await;
    let mut outbox = Outbox::new(world.cashier.clone(), Arc::new(Receiver::default()), vec![]);
    let refund = called_off(&world).await;
    turn(&mut outbox).await;
    assert!(
        world.chain.orders.lock().unwrap().is_empty(),
        "nobody has said where it goes"
    );
    let there = Address::repeat_byte(0x77);
    let cashier = &world.cashier;
    refund_address::set(cashier, &acme(), id(1), refund, to(there))
        .await
        .unwrap();
    turn(&mut outbox).await;
    {
        let orders = world.chain.orders.lock().unwrap();
        let [order] = &orders[..] else {
            panic!("{orders:?}");
        };
        let amount = Amount::from(DUE);
        assert_eq!((order.to, order.moves), (TOKEN, Some((TOKEN, amount))));
        assert_eq!(order.data, calls::transfer(there, amount));
    }
    assert_eq!(refund_of(&world).await.status(), Status::Sent);
    // On its way it goes nowhere else.
    let other = to(Address::repeat_byte(0x78));
    let refused = refund_address::set(cashier, &acme(), id(1), refund, other).await;
    assert!(matches!(refused, Err(Refused::Not(_))));
    let ends = |sent: Sent| {
        let mut all = world.chain.sent.lock().unwrap();
        all.values_mut().for_each(|one| *one = sent);
    };
    ends(Sent::Included(outcome(true)));
    later(&world, 10);
    turn(&mut outbox).await;
    let seen = refund_of(&world).await;
    assert_eq!((seen.status(), seen.tx), (Status::Sent, Some(alloy_tx())));
    ends(Sent::Final(outcome(true)));
    later(&world, 10);
    turn(&mut outbox).await;
    assert_eq!(refund_of(&world).await.status(), Status::Confirmed);
    assert!(world.holds().await.is_empty(), "what came is gone again");
    let keys: std::collections::BTreeSet<_> = {
        let orders = world.chain.orders.lock().unwrap();
        orders.iter().map(|order| order.key.clone()).collect()
    };
    assert_eq!(keys.len(), 1, "however often it was ordered");
    turn(&mut outbox).await;
    let due = world
        .store
        .payments
        .due_invoice_effects(i64::MAX, 10)
        .await
        .unwrap();
    assert!(due.is_empty());
}

#[tokio::test]
async fn a_refund_that_was_lost_is_sent_again_as_another_and_one_that_was_refused_as_the_same() {
    let world = World::new().await;
    let mut outbox = Outbox::new(world.cashier.clone(), Arc::new(Receiver::default()), vec![]);
    let refund = called_off(&world).await;
    *world.chain.refuses.lock().unwrap() = Some(NotOrdered::Refused("over the limit".into()));
    let there = to(Address::repeat_byte(0x77));
    refund_address::set(&world.cashier, &acme(), id(1), refund, there)
        .await
        .unwrap();
    turn(&mut outbox).await;
    let seen = refund_of(&world).await;
    assert_eq!((seen.status(), seen.failures), (Status::Due, 0));
    assert!(seen.stuck, "somebody may have to raise the limit");
    *world.chain.refuses.lock().unwrap() = None;
    later(&world, 601);
    turn(&mut outbox).await;
    assert_eq!(refund_of(&world).await.status(), Status::Sent);
    world
        .chain
        .sent
        .lock()
        .unwrap()
        .values_mut()
        .for_each(|one| *one = Sent::Lost);
    later(&world, 10);
    turn(&mut outbox).await;
    let seen = refund_of(&world).await;
    assert_eq!((seen.status(), seen.failures), (Status::Due, 1));
    later(&world, 601);
    turn(&mut outbox).await;
    let keys: Vec<_> = {
        let orders = world.chain.orders.lock().unwrap();
        orders.iter().map(|order| order.key.clone()).collect()
    };
    let named = |failures: u32| format!("refund:{refund}:{failures}");
    assert_eq!(keys, [named(0), named(1)]);
    assert_eq!(refund_of(&world).await.status(), Status::Sent);
}

#[tokio::test]
async fn who_has_paid_says_where_it_goes_by_a_signature_and_nobody_else() {
    let world = World::new().await;
    let payer = PrivateKeySigner::from_slice(&[9; 32]).unwrap();
    let mut definition = invoice(1, Way::UniqueAmount, ONE);
    definition.methods[0].payee = ACCOUNT;
    world.create(definition).await;
    let paid = abi::Transfer {
        from: payer.address(),
        to: ACCOUNT,
        value: U256::from(DUE),
    };
    world.block(10, &[event(1, 0, TOKEN, &paid)]).await;
    let all = Event::Resolve(stencil_payments::invoice::Decision::RefundAll);
    world.cashier.apply(&acme(), id(1), all).await.unwrap();
    let at = world.invoice(1).await;
    let refund = at.kept.invoice.refunds()[0].id;
    let address = Address::repeat_byte(0x77).to_checksum(None);
    let said = |signer: &PrivateKeySigner, address: &str, text: &str| {
        let signature = signer
            .sign_hash_sync(&text_digest(text))
            .unwrap()
            .as_bytes();
        serde_json::from_value(json!({
            "address": address, "payer": signer.address().to_checksum(None),
            "signature": format!("0x{}", hex::encode(signature)),
        }))
        .unwrap()
    };
    let right = statement(id(1), refund, &address);
    let stranger = PrivateKeySigner::from_slice(&[8; 32]).unwrap();
    let elsewhere = Address::repeat_byte(0x78).to_checksum(None);
    for wrong in [
        said(&stranger, &address, &right),
        said(&payer, &elsewhere, &right),
        said(&payer, &address, &statement(id(2), refund, &address)),
        said(&payer, "0x12", &right),
    ] {
        let refused = refund_address::by_payer(&world.cashier, &at, refund, &wrong).await;
        assert!(refused.is_err());
    }
    let right = said(&payer, &address, &right);
    let told = refund_address::by_payer(&world.cashier, &at, refund, &right);
    let told = told.await.unwrap();
    assert_eq!(told.kept.about.refunds_to[&refund].by, "payer");
    // The tenant does not change the payer's own word.
    let tenants = to(Address::repeat_byte(0x78));
    let refused = refund_address::set(&world.cashier, &acme(), id(1), refund, tenants).await;
    assert!(matches!(refused, Err(Refused::Not(_))));
}

#[tokio::test]
async fn a_tenant_sends_what_came_to_its_own_address() {
    let world = World::new().await;
    let mut outbox = Outbox::new(world.cashier.clone(), Arc::new(Receiver::default()), vec![]);
    world.create(invoice(1, Way::Contract(CONTRACT), ONE)).await;
    world.block(10, &paid(1, 1, TOKEN, DUE)).await;
    let all = Event::Resolve(stencil_payments::invoice::Decision::RefundAll);
    let at = world.cashier.apply(&acme(), id(1), all).await.unwrap();
    let refund = at.kept.invoice.refunds()[0].id;
    let there = Address::repeat_byte(0x77);
    world.chain.has(alloy_tx(), 0, &[(Some(TOKEN), there, DUE)]);
    let tell = || told(&world, 1, refund, alloy_tx());
    let why = tell().await.unwrap_err().to_string();
    assert!(why.contains("nobody has said where it goes"), "{why}");
    refund_address::set(&world.cashier, &acme(), id(1), refund, to(there))
        .await
        .unwrap();
    turn(&mut outbox).await;
    assert!(world.chain.orders.lock().unwrap().is_empty());
    let at = tell().await.unwrap();
    assert_eq!(at.kept.invoice.refunds()[0].status(), Status::Sent);
    // What sends refunds of the hub's own leaves it alone.
    turn(&mut outbox).await;
    world.finalize(0).await;
    later(&world, 10);
    turn(&mut outbox).await;
    assert_eq!(refund_of(&world).await.status(), Status::Confirmed);
    assert!(world.holds().await.is_empty());
}

/// The tenant tells of a transaction.
pub(super) async fn told(
    world: &World,
    n: u8,
    refund: refund::Id,
    tx: stencil_payments::B256,
) -> Result<At, Refused> {
    refund_told::sent_by_tenant(&world.cashier, &acme(), id(n), refund, tx, false).await
}

#[tokio::test]
async fn what_came_late_counts_by_a_new_rate() {
    let world = World::new().await;
    let mut outbox = Outbox::new(world.cashier.clone(), Arc::new(Receiver::default()), vec![]);
    let euro = Currency::parse("EUR").unwrap();
    let price = Price::Fiat(Fiat::parse("1.00", euro).unwrap());
    let mut definition = invoice(1, Way::Contract(CONTRACT), ONE);
    definition.price = price;
    // At a whole euro then, at half a euro now.
    let rate = Rate::parse("1", euro, &token(), "then", 0).unwrap();
    let way = Way::Contract(CONTRACT);
    let made = Method::priced(&price, token(), Some(rate), PAYEE, way, ONE).unwrap();
    definition.methods = vec![made];
    definition.policy.late = Late::Accept {
        within_us: 3_600_000_000,
        rate: LateRate::New,
    };
    world.create(definition).await;
    world.block(16 * 60, &paid(1, 1, TOKEN, 1_000_000)).await;
    assert!(world.invoice(1).await.kept.invoice.facets().rate_needed);
    turn(&mut outbox).await;
    let kept = world.invoice(1).await.kept.invoice;
    assert!(
        !kept.facets().rate_needed && kept.state() != State::Settled,
        "it is half of it"
    );
    world.block(17 * 60, &paid(2, 1, TOKEN, 1_000_000)).await;
    assert_eq!(world.state(1).await, "settled");
}

const DIR: &str = "STENCIL_TEST_REFUND";

/// Not a test of its own: what the dying process runs.
#[tokio::test]
async fn refunding_child() {
    if let Some(dir) = std::env::var_os(DIR) {
        let world = World::at(Path::new(&dir)).await;
        let receiver = Arc::new(Receiver::default());
        turn(&mut Outbox::new(world.cashier.clone(), receiver, vec![])).await;
    }
}

#[tokio::test]
async fn wherever_it_dies_a_refund_is_sent_by_one_name() {
    for point in [
        "cashier.before_commit",
        "cashier.refund_kept",
        "cashier.refund_ordered",
    ] {
        let dir = tempfile::tempdir().unwrap();
        {
            let world = World::at(dir.path()).await;
            let refund = called_off(&world).await;
            let there = to(Address::repeat_byte(0x77));
            refund_address::set(&world.cashier, &acme(), id(1), refund, there)
                .await
                .unwrap();
        }
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["chains::tests::outbox::refunding_child", "--exact"])
            .env(DIR, dir.path())
            .env(stencil_crashpoint::VARIABLE, format!("{point}:1"))
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap();
        assert_eq!(status.signal(), Some(9), "{point}");
        let world = World::at(dir.path()).await;
        let kept = if point == "cashier.before_commit" {
            Status::Due
        } else {
            Status::Sent
        };
        let refund = refund_of(&world).await;
        assert_eq!(refund.status(), kept, "{point}");
        later(&world, 60);
        let mut outbox = Outbox::new(world.cashier.clone(), Arc::new(Receiver::default()), vec![]);
        turn(&mut outbox).await;
        let orders = world.chain.orders.lock().unwrap();
        let keys: Vec<_> = orders.iter().map(|order| order.key.clone()).collect();
        assert_eq!(keys, [format!("refund:{}:0", refund.id)], "{point}");
    }
}

#[test]
fn what_is_to_be_done_is_kept_in_one_form() {
    let due = |what: Todo| {
        let due = Due {
            what,
            version: 3,
            at_us: 5,
        };
        let text = serde_json::to_string(&due).unwrap();
        assert_eq!(serde_json::from_str::<Due>(&text).unwrap(), due);
        text
    };
    let settled = Todo::Invoice(stencil_payments::invoice::What::Settled { round: 1 });
    assert_eq!(
        due(settled),
        r#"{"what":{"settled":{"round":1}},"version":3,"at_us":5}"#
    );
    let id = stencil_payments::cause::Key([7; 32]);
    assert!(due(Todo::SendRefund { id, number: 2 }).contains("send_refund"));
    // As it was before addresses were counted.
    let text = due(Todo::SendRefund { id, number: 0 });
    assert!(!text.contains("number"), "{text}");
}
