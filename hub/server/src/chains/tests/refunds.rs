//! Refunds are sent once, to where those say whose money it is.

use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;
use serde_json::json;
use stencil_payments::abi::calls;
use stencil_payments::eip712::text_digest;
use stencil_payments::invoice::{Status, refund};
use stencil_payments::port::{Called, NotOrdered, Sent, Unknown};

use super::outbox::{ONE, Receiver, called_off, later, outcome, refund_of, to, turn};
use super::*;
use crate::chains::authorization::NotTaken;
use crate::chains::outbox::Outbox;
use crate::chains::refund_address::{self, Said, statement};
use crate::chains::view::InvoiceView;

fn outbox(world: &World) -> Outbox {
    Outbox::new(world.cashier.clone(), Arc::new(Receiver::default()), vec![])
}

fn ordered(world: &World) -> usize {
    world.chain.orders.lock().unwrap().len()
}

/// What was ordered becomes this.
fn ends(world: &World, sent: Sent) {
    let mut all = world.chain.sent.lock().unwrap();
    all.values_mut().for_each(|one| *one = sent);
}

#[tokio::test]
async fn what_was_ordered_stands_whatever_is_set_today() {
    let mut world = World::new().await;
    let refund = called_off(&world).await;
    let there = to(Address::repeat_byte(0x77));
    refund_address::set(&world.cashier, &acme(), id(1), refund, there)
        .await
        .unwrap();
    turn(&mut outbox(&world)).await;
    assert_eq!(ordered(&world), 1);
    // The hub starts anew, and what it would order by that key now is another transaction.
    world.restart().await;
    let another = NotOrdered::Refused("the key names another send".to_owned());
    *world.chain.refuses.lock().unwrap() = Some(another);
    let mut outbox = outbox(&world);
    later(&world, 10);
    turn(&mut outbox).await;
    *world.chain.refuses.lock().unwrap() = None;
    later(&world, 660);
    turn(&mut outbox).await;
    let seen = refund_of(&world).await;
    assert_eq!((seen.status(), seen.failures), (Status::Sent, 0));
    assert_eq!(ordered(&world), 1, "under one nonce");
    ends(&world, Sent::Final(outcome(true)));
    later(&world, 10);
    turn(&mut outbox).await;
    assert_eq!(refund_of(&world).await.status(), Status::Confirmed);
}

#[tokio::test]
async fn a_refund_that_was_final_and_is_taken_away_is_told_until_it_is_final_again() {
    let world = World::new().await;
    let refund = called_off(&world).await;
    let there = to(Address::repeat_byte(0x77));
    refund_address::set(&world.cashier, &acme(), id(1), refund, there)
        .await
        .unwrap();
    let mut outbox = outbox(&world);
    turn(&mut outbox).await;
    ends(&world, Sent::Final(outcome(true)));
    later(&world, 10);
    turn(&mut outbox).await;
    let waits = async || {
        let at = world.invoice(1).await;
        let url = "https://hub.example";
        let view = InvoiceView::as_it_stands(&world.cashier, &at, url).await;
        assert_eq!(view.refunds[0].status, "confirmed");
        view.refunds[0].waits.clone()
    };
    assert_eq!(waits().await, None);
    // A reorganisation deeper than what was final; in a block again, and not deep enough there.
    for sent in [Sent::Pending, Sent::Included(outcome(true))] {
        ends(&world, sent);
        let why = waits().await.unwrap();
        assert!(why.contains("the hub sends the same again"), "{why}");
    }
    ends(&world, Sent::Final(outcome(true)));
    assert_eq!(waits().await, None);
    for sent in [Sent::Final(outcome(false)), Sent::Lost] {
        ends(&world, sent);
        let why = waits().await.unwrap();
        assert!(why.contains("send it yourself"), "{why}");
    }
}

#[tokio::test]
async fn where_a_refund_goes_can_be_set_back() {
    let world = World::new().await;
    let refund = called_off(&world).await;
    for there in [0x77, 0x78, 0x77, 0x77] {
        let there = to(Address::repeat_byte(there));
        refund_address::set(&world.cashier, &acme(), id(1), refund, there)
            .await
            .unwrap();
    }
    assert_eq!(
        world.invoice(1).await.kept.about.refunds_to[&refund].number,
        3,
        "said once more it is no other"
    );
    let mut outbox = outbox(&world);
    for _ in 0..4 {
        turn(&mut outbox).await;
        later(&world, 10);
    }
    {
        let orders = world.chain.orders.lock().unwrap();
        let [order] = &orders[..] else {
            panic!("{orders:?}");
        };
        let there = Address::repeat_byte(0x77);
        assert_eq!(order.data, calls::transfer(there, DUE.into()));
    }
    // What was to go elsewhere is over: it has nothing tried again before its time.
    ends(&world, Sent::Final(outcome(false)));
    later(&world, 10);
    turn(&mut outbox).await;
    turn(&mut outbox).await;
    assert_eq!((ordered(&world), refund_of(&world).await.failures), (1, 1));
}

#[tokio::test]
async fn what_is_due_on_a_chain_that_is_missing_is_sent_once_it_is_back() {
    let mut world = World::new().await;
    let refund = called_off(&world).await;
    let there = to(Address::repeat_byte(0x77));
    refund_address::set(&world.cashier, &acme(), id(1), refund, there)
        .await
        .unwrap();
    let followed = Chains::new(vec![world.chain.clone()]);
    world.restart_with(Chains::new(Vec::new())).await;
    turn(&mut outbox(&world)).await;
    let at = world.invoice(1).await;
    let seen = InvoiceView::of(&at, world.cashier.chains(), "https://hub.example");
    let why = seen.refunds[0].waits.as_deref().unwrap();
    assert!(why.contains("do not name its chain any more"), "{why}");

    world.restart_with(followed).await;
    later(&world, 660);
    turn(&mut outbox(&world)).await;
    assert_eq!(ordered(&world), 1);
    assert_eq!(refund_of(&world).await.status(), Status::Sent);
}

#[tokio::test]
async fn a_refund_that_fails_twice_where_it_goes_waits_for_somebody() {
    let world = World::new().await;
    let refund = called_off(&world).await;
    let mut outbox = outbox(&world);
    let set = async |there: u8| {
        let there = to(Address::repeat_byte(there));
        refund_address::set(&world.cashier, &acme(), id(1), refund, there)
            .await
            .unwrap()
    };
    set(0x77).await;
    let mut fails = async |turns: usize| {
        for _ in 0..turns {
            later(&world, 3_601);
            turn(&mut outbox).await;
            ends(&world, Sent::Final(outcome(false)));
        }
    };
    fails(12).await;
    assert_eq!(ordered(&world), 2, "each costs the hub its gas");
    let seen = refund_of(&world).await;
    assert_eq!((seen.status(), seen.failures), (Status::Due, 2));
    let facets = world.invoice(1).await.kept.invoice.facets();
    assert!(facets.refund_stuck && facets.refund_due);
    // Whoever says where it goes, here or elsewhere, has it tried again.
    for (there, orders) in [(0x77, 4), (0x78, 6)] {
        let at = set(there).await;
        assert!(!at.kept.invoice.facets().refund_stuck);
        fails(12).await;
        assert_eq!(ordered(&world), orders);
    }
}

#[tokio::test]
async fn what_would_fail_is_not_sent_until_it_would_not() {
    let world = World::new().await;
    let refund = called_off(&world).await;
    let mut outbox = outbox(&world);
    let there = to(Address::repeat_byte(0x77));
    refund_address::set(&world.cashier, &acme(), id(1), refund, there)
        .await
        .unwrap();
    let no = U256::ZERO.to_be_bytes::<32>().to_vec();
    for (called, is_stuck) in [
        (Err(Unknown("nothing is heard".to_owned())), false),
        (Ok(Called::Reverted("blocked".to_owned())), true),
        (Ok(Called::Returned(no.into())), true),
    ] {
        world.chain.otherwise(called);
        later(&world, 601);
        turn(&mut outbox).await;
        let seen = refund_of(&world).await;
        assert_eq!((seen.status(), seen.failures), (Status::Due, 0));
        assert_eq!((ordered(&world), seen.stuck), (0, is_stuck));
    }
    let yes = U256::ONE.to_be_bytes::<32>().to_vec();
    world.chain.otherwise(Ok(Called::Returned(yes.into())));
    later(&world, 601);
    turn(&mut outbox).await;
    assert_eq!(refund_of(&world).await.status(), Status::Sent);
    ends(&world, Sent::Included(outcome(true)));
    later(&world, 601);
    turn(&mut outbox).await;
    assert!(!refund_of(&world).await.stuck);
}

#[tokio::test]
async fn a_refund_that_a_limit_refuses_is_sent_when_the_limit_is_another() {
    let world = World::new().await;
    let refund = called_off(&world).await;
    let mut outbox = outbox(&world);
    let there = to(Address::repeat_byte(0x77));
    *world.chain.refuses.lock().unwrap() = Some(NotOrdered::Refused("over the limit".into()));
    refund_address::set(&world.cashier, &acme(), id(1), refund, there)
        .await
        .unwrap();
    turn(&mut outbox).await;
    let shown = |at: &At| {
        let view = InvoiceView::of(at, world.cashier.chains(), "https://hub.example");
        let view = serde_json::to_value(&view).unwrap();
        view["refunds"][0]["waits"].clone()
    };
    let refused = world.invoice(1).await;
    assert_eq!(shown(&refused), "over the limit");
    *world.chain.refuses.lock().unwrap() = None;
    // As long as the limits are what they were it is not tried at each look.
    for _ in 0..4 {
        later(&world, 31);
        turn(&mut outbox).await;
    }
    assert_eq!(ordered(&world), 0);
    assert_eq!(
        world.invoice(1).await.version,
        refused.version,
        "nobody is told"
    );
    let limit = stencil_store::SpendLimit {
        tenant: "acme".to_owned(),
        chain: fake::CHAIN.to_owned(),
        asset: None,
        window_s: 60,
        most: [1; 32],
    };
    world.store.sends.set_spend_limit(&limit).await.unwrap();
    later(&world, 31);
    turn(&mut outbox).await;
    assert_eq!(ordered(&world), 1);
    ends(&world, Sent::Final(outcome(true)));
    later(&world, 31);
    turn(&mut outbox).await;
    let sent = world.invoice(1).await;
    assert_eq!(refund_of(&world).await.status(), Status::Confirmed);
    assert_eq!(shown(&sent), serde_json::Value::Null);
}

fn key(n: u8) -> PrivateKeySigner {
    PrivateKeySigner::from_slice(&[n; 32]).unwrap()
}

/// What the payment contract leaves of a payment of invoice 1.
fn paid_from(tx: u8, from: Address, amount: u64) -> Vec<Seen> {
    let value = U256::from(amount);
    let transfer = abi::Transfer {
        from,
        to: PAYEE,
        value,
    };
    let paid = abi::Paid {
        invoiceId: abi::invoice_id(id(1)),
        payer: from,
        token: TOKEN,
        amount: value,
        received: value,
    };
    vec![
        event(tx, 0, TOKEN, &transfer),
        event(tx, 1, CONTRACT, &paid),
    ]
}

/// A payer signs that a refund of invoice 1 goes there.
fn says(payer: &PrivateKeySigner, refund: refund::Id, there: u8) -> Said {
    let address = Address::repeat_byte(there).to_checksum(None);
    let digest = text_digest(&statement(id(1), refund, &address));
    let signature = payer.sign_hash_sync(&digest).unwrap().as_bytes();
    serde_json::from_value(json!({
        "address": address, "payer": payer.address().to_checksum(None),
        "signature": format!("0x{}", hex::encode(signature)),
    }))
    .unwrap()
}

#[tokio::test]
async fn a_refund_goes_where_the_payer_says_whose_money_it_is() {
    let world = World::new().await;
    world.create(invoice(1, Way::Contract(CONTRACT), ONE)).await;
    let (alice, mallory) = (key(9), key(8));
    // Alice pays late, and all goes back; Mallory knows the checkout's address, and pays a unit.
    let late_s = 16 * 60;
    world
        .block(late_s, &paid_from(1, alice.address(), DUE))
        .await;
    world
        .block(late_s + 1, &paid_from(2, mallory.address(), 1))
        .await;
    let at = world.invoice(1).await;
    let [large, small] = at.kept.invoice.refunds() else {
        panic!("{:?}", at.kept.invoice.refunds());
    };
    assert_eq!((large.amount, small.amount), (DUE.into(), 1_u64.into()));
    let says = async |payer: &PrivateKeySigner, refund, there| {
        let (at, said) = (world.invoice(1).await, says(payer, refund, there));
        refund_address::by_payer(&world.cashier, &at, refund, &said)
            .await
            .map(drop)
    };
    let conflict = |said: Result<(), NotTaken>| match said {
        Err(NotTaken::Conflict(why)) => why,
        other => panic!("{other:?}"),
    };
    let why = conflict(says(&mallory, large.id, 0x66).await);
    assert!(why.contains("not all that this refund is of"), "{why}");
    says(&alice, large.id, 0x77).await.unwrap();
    // It is the word of Alice alone from then on, and pays for nothing else of hers.
    let why = conflict(says(&mallory, large.id, 0x66).await);
    assert!(why.contains("another payer"), "{why}");
    conflict(says(&alice, small.id, 0x77).await);
    says(&mallory, small.id, 0x66).await.unwrap();
    says(&alice, large.id, 0x78).await.unwrap();
    let about = world.invoice(1).await.kept.about;
    let goes = |refund| about.refunds_to.get(&refund).unwrap().address;
    assert_eq!(
        [goes(large.id), goes(small.id)],
        [0x78, 0x66].map(Address::repeat_byte)
    );
}

/// A payer may have it sent in vain so often, and then it is the tenant's to direct.
#[tokio::test]
async fn a_payer_has_the_hub_pay_for_so_many_failures_and_no_more() {
    let world = World::new().await;
    let payer = key(9);
    let mut definition = invoice(1, Way::UniqueAmount, ONE);
    definition.methods[0].payee = fake::ACCOUNT;
    world.create(definition).await;
    let paid = abi::Transfer {
        from: payer.address(),
        to: fake::ACCOUNT,
        value: U256::from(DUE),
    };
    world.block(16 * 60, &[event(1, 0, TOKEN, &paid)]).await;
    let refund = refund_of(&world).await.id;
    let mut outbox = outbox(&world);
    let mut told = Vec::new();
    for there in 1..=4 {
        let (at, said) = (world.invoice(1).await, says(&payer, refund, there));
        let said = refund_address::by_payer(&world.cashier, &at, refund, &said).await;
        told.push(said.is_ok());
        for _ in 0..8 {
            later(&world, 3_601);
            turn(&mut outbox).await;
            ends(&world, Sent::Final(outcome(false)));
        }
    }
    assert_eq!((told, ordered(&world)), (vec![true, true, true, false], 6));
    let there = to(Address::repeat_byte(0x77));
    refund_address::set(&world.cashier, &acme(), id(1), refund, there)
        .await
        .unwrap();
    later(&world, 10);
    turn(&mut outbox).await;
    assert_eq!(ordered(&world), 7);
}

#[tokio::test]
async fn what_the_tenant_has_directed_is_not_promised_to_a_payer_again() {
    let world = World::new().await;
    world.create(invoice(1, Way::Contract(CONTRACT), ONE)).await;
    let (alice, bob) = (key(9), key(8));
    for (tx, payer) in [(1, &alice), (2, &bob)] {
        let seen = paid_from(tx, payer.address(), DUE);
        world.block(16 * 60 + u64::from(tx), &seen).await;
    }
    let at = world.invoice(1).await;
    let [first, second] = at.kept.invoice.refunds() else {
        panic!("{:?}", at.kept.invoice.refunds());
    };
    // Whoever asked by mail may have been Alice.
    let there = to(Address::repeat_byte(0x77));
    let at = refund_address::set(&world.cashier, &acme(), id(1), first.id, there)
        .await
        .unwrap();
    let said = says(&alice, second.id, 0x78);
    let said = refund_address::by_payer(&world.cashier, &at, second.id, &said).await;
    assert!(matches!(said, Err(NotTaken::Conflict(_))), "{said:?}");
}
