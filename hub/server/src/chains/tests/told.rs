//! Refunds that a tenant sends itself are what the chain shows.

use serde_json::json;
use stencil_payments::B256;
use stencil_payments::invoice::{Decision, Event, Status, refund};

use super::outbox::{ONE, Receiver, later, refund_of, to, told, turn};
use super::*;
use crate::chains::about::Kept;
use crate::chains::cashier::Refused;
use crate::chains::change::Alter;
use crate::chains::outbox::Outbox;
use crate::chains::refund_address;
use crate::chains::refund_told::sent_by_tenant;
use crate::chains::view::InvoiceView;

const THERE: Address = Address::repeat_byte(0x77);
const ELSEWHERE: Address = Address::repeat_byte(0x78);

fn tx(n: u8) -> B256 {
    B256::repeat_byte(n)
}

fn outbox(world: &World) -> Outbox {
    Outbox::new(world.cashier.clone(), Arc::new(Receiver::default()), vec![])
}

/// An invoice that was paid to the tenant's own address, in the token or the coin, and goes back.
async fn goes_back(world: &World, n: u8, token: Option<Address>) -> refund::Id {
    let definition = match token {
        Some(_) => invoice(n, Way::Contract(CONTRACT), ONE),
        None => coin(n, Way::Contract(CONTRACT)),
    };
    world.create(definition).await;
    let seconds = 10 * u64::from(n);
    let came = paid(n, n, token.unwrap_or_default(), DUE);
    world.block(seconds, &came).await;
    let all = Event::Resolve(Decision::RefundAll);
    let at = world.cashier.apply(&acme(), id(n), all).await.unwrap();
    let refund = at.kept.invoice.refunds()[0].id;
    refund_address::set(&world.cashier, &acme(), id(n), refund, to(THERE))
        .await
        .unwrap();
    refund
}

fn why(told: Result<At, Refused>) -> String {
    match told {
        Err(Refused::Not(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_transaction_that_is_told_has_to_have_sent_the_refund() {
    let world = World::new().await;
    world.block(1, &[]).await;
    let refund = goes_back(&world, 1, Some(TOKEN)).await;
    let other = Address::repeat_byte(0x71);
    let account = fake::ACCOUNT;
    for (n, moves) in [
        (0x50, vec![]),
        (0x51, vec![(None, ELSEWHERE, 1)]),
        (0x52, vec![(None, THERE, DUE)]),
        (0x53, vec![(Some(TOKEN), ELSEWHERE, DUE)]),
        (0x54, vec![(Some(TOKEN), THERE, DUE - 1)]),
        (0x55, vec![(Some(other), THERE, DUE)]),
        (0x56, vec![(Some(TOKEN), account, DUE); 5]),
    ] {
        world.chain.has(tx(n), 1, &moves);
        for unchecked in [false, true] {
            let acme = acme();
            let told = sent_by_tenant(&world.cashier, &acme, id(1), refund, tx(n), unchecked).await;
            let why = why(told);
            let due = format!("due are 2.500000 TEST to {}", THERE.to_checksum(None));
            assert!(why.contains(&due), "{n:x}: {why}");
        }
    }
    // One that was there before the money came.
    world.chain.has(tx(0x57), 0, &[(Some(TOKEN), THERE, DUE)]);
    let why = why(told(&world, 1, refund, tx(0x57)).await);
    assert!(why.contains("came in block 1"), "{why}");
    // Who sends to themselves has got nothing, and what the hub sends is for another refund.
    for (n, from) in [(0x58, THERE), (0x59, account)] {
        world.chain.has(tx(n), 1, &[(Some(TOKEN), THERE, DUE)]);
        {
            let mut looked = world.chain.looked.lock().unwrap();
            let looked = looked.get_mut(&tx(n)).unwrap().as_mut().unwrap();
            looked.moves[0].from = from;
        }
        told(&world, 1, refund, tx(n)).await.unwrap_err();
    }
    let unknown = told(&world, 1, refund, tx(0x5a)).await;
    assert!(matches!(unknown, Err(Refused::NotReady(_))), "{unknown:?}");
    assert_eq!(refund_of(&world).await.status(), Status::Due);

    world
        .chain
        .has(tx(0x60), 1, &[(Some(TOKEN), THERE, DUE + 1)]);
    told(&world, 1, refund, tx(0x60)).await.unwrap();
    let mut outbox = outbox(&world);
    turn(&mut outbox).await;
    let seen = refund_of(&world).await;
    assert_eq!((seen.status(), seen.tx), (Status::Sent, Some(tx(0x60))));
    world.finalize(1).await;
    later(&world, 10);
    turn(&mut outbox).await;
    assert_eq!(refund_of(&world).await.status(), Status::Confirmed);
    let why = self::why(told(&world, 1, refund, tx(0x51)).await);
    assert!(why.contains("was sent already"), "{why}");
}

#[tokio::test]
async fn a_movement_of_money_serves_one_refund() {
    let world = World::new().await;
    let first = goes_back(&world, 1, Some(TOKEN)).await;
    let second = goes_back(&world, 2, Some(TOKEN)).await;
    let move_once = (Some(TOKEN), THERE, DUE);
    world.chain.has(tx(0x60), 5, &[move_once]);
    told(&world, 1, first, tx(0x60)).await.unwrap();
    let why = self::why(told(&world, 2, second, tx(0x60)).await);
    // In the words of who has told it: which refunds of which invoices, and the transaction.
    for part in [
        format!("refund {first} of invoice {}", id(1)),
        format!("refund {second} of invoice {}", id(2)),
        format!("the transaction {:#x} has sent", tx(0x60)),
    ] {
        assert!(why.contains(&part), "{part}: {why}");
    }
    let key = format!("{}:{:#x}", fake::ID, tx(0x60));
    assert!(!why.contains(&key), "{why}");
    // Told of another one, the first one leaves it to whom it was for.
    world.chain.has(tx(0x61), 5, &[move_once]);
    told(&world, 1, first, tx(0x61)).await.unwrap();
    told(&world, 2, second, tx(0x60)).await.unwrap();
    // A transaction that sends twice serves two.
    world.chain.has(tx(0x62), 5, &[move_once, move_once]);
    told(&world, 1, first, tx(0x62)).await.unwrap();
    told(&world, 2, second, tx(0x62)).await.unwrap();
    let movement = async |n| {
        let about = world.invoice(n).await.kept.about;
        let told: Vec<_> = about.told.into_values().collect();
        told[0].movement.clone()
    };
    assert_ne!(movement(1).await, movement(2).await);
}

#[tokio::test]
async fn a_refund_whose_transaction_leaves_the_chain_is_due_again_once_that_can_not_come_back() {
    let world = World::new().await;
    let refund = goes_back(&world, 1, Some(TOKEN)).await;
    let mut outbox = outbox(&world);
    let right = [(Some(TOKEN), THERE, DUE)];
    world.chain.has(tx(0x60), 5, &right);
    told(&world, 1, refund, tx(0x60)).await.unwrap();
    let gone = || world.chain.looked.lock().unwrap().insert(tx(0x60), None);
    let mut turns = async |seconds: i64| {
        later(&world, seconds);
        turn(&mut outbox).await;
        refund_of(&world).await.status()
    };
    // It is in another block a moment later.
    gone();
    assert_eq!(turns(0).await, Status::Sent);
    world.chain.has(tx(0x60), 6, &right);
    assert_eq!(turns(60).await, Status::Sent);
    gone();
    let shown = |at: &At| {
        let view = InvoiceView::of(at, world.cashier.chains(), "https://hub.example");
        serde_json::to_value(&view).unwrap()
    };
    for _ in 0..2 {
        assert_eq!(turns(100).await, Status::Sent);
    }
    // It lies about, and may come into a block at any time: who sent the refund anew would send it twice.
    for _ in 0..3 {
        assert_eq!(turns(100).await, Status::Sent);
        let seen = shown(&world.invoice(1).await);
        let why = seen["refunds"][0]["waits"].as_str().unwrap();
        assert!(why.contains("its nonce, 96 of 0x"), "{why}");
        assert!(why.ends_with(", and tell of that one"), "{why}");
        assert_eq!(seen["facets"]["refund_stuck"], true);
    }
    world.chain.has(tx(0x60), 6, &right);
    assert_eq!(turns(100).await, Status::Sent);
    let seen = shown(&world.invoice(1).await);
    assert_eq!(seen["facets"]["refund_stuck"], false, "{seen}");
    assert_eq!(seen["refunds"][0]["waits"], serde_json::Value::Null);
    // It is due once another one has its nonce in a block that is final.
    gone();
    world.finalize(0).await;
    let sender = fake::PAYEE;
    for (next, expected) in [(0x60, Status::Sent), (0x61, Status::Due)] {
        let known = world.chain.nonces.lock();
        known.unwrap().insert((sender, 0), next);
        for _ in 0..2 {
            turns(100).await;
        }
        assert_eq!(turns(100).await, expected);
    }
    let seen = shown(&world.invoice(1).await);
    let why = seen["refunds"][0]["waits"].as_str().unwrap();
    assert!(why.contains("another transaction has its nonce"), "{why}");
    assert_eq!(seen["facets"]["refund_stuck"], true);
    // It may come back, and be told again; or another one is.
    world.chain.has(tx(0x60), 7, &right);
    told(&world, 1, refund, tx(0x60)).await.unwrap();
    world.chain.has(tx(0x61), 7, &right);
    let at = told(&world, 1, refund, tx(0x61)).await.unwrap();
    assert_eq!(shown(&at)["facets"]["refund_stuck"], false);
    assert_eq!(turns(10).await, Status::Sent);
    // One that does nothing in its last block has sent nothing.
    {
        let mut looked = world.chain.looked.lock().unwrap();
        let looked = looked.get_mut(&tx(0x61)).unwrap().as_mut().unwrap();
        (looked.outcome.block, looked.outcome.succeeded) = (0, false);
    }
    assert_eq!(turns(10).await, Status::Due);
    world.chain.has(tx(0x62), 0, &right);
    told(&world, 1, refund, tx(0x62)).await.unwrap();
    assert_eq!(turns(10).await, Status::Confirmed);
}

/// What was told before senders were kept: it may still leave its block.
#[tokio::test]
async fn who_has_sent_what_was_told_long_ago_is_noted_once_it_is_seen() {
    let world = World::new().await;
    let refund = goes_back(&world, 1, Some(TOKEN)).await;
    world.chain.has(tx(0x60), 5, &[(Some(TOKEN), THERE, DUE)]);
    told(&world, 1, refund, tx(0x60)).await.unwrap();
    let forget = |kept: &Kept| {
        let mut about = kept.about.clone();
        about.told.get_mut(&refund).unwrap().by = None;
        Ok(Alter {
            events: Vec::new(),
            about: Some(about),
            todo: Vec::new(),
        })
    };
    world.cashier.alter(&acme(), id(1), forget).await.unwrap();
    let mut outbox = outbox(&world);
    for _ in 0..3 {
        later(&world, 100);
        turn(&mut outbox).await;
    }
    let about = world.invoice(1).await.kept.about;
    assert_eq!(about.told[&refund].by, Some((fake::PAYEE, 0x60)));
}

/// As on chains whose blocks are final long after full nodes have let their state go.
#[tokio::test]
async fn where_nobody_has_the_state_of_the_final_block_a_nonce_is_used_since_one_that_is_final() {
    let world = World::new().await;
    let refund = goes_back(&world, 1, Some(TOKEN)).await;
    let mut outbox = outbox(&world);
    world.chain.has(tx(0x60), 5, &[(Some(TOKEN), THERE, DUE)]);
    told(&world, 1, refund, tx(0x60)).await.unwrap();
    world.chain.looked.lock().unwrap().insert(tx(0x60), None);
    let mut turns = async |seconds: i64| {
        later(&world, seconds);
        turn(&mut outbox).await;
        refund_of(&world).await.status()
    };
    // The state of the newest block alone is known, and what the account's next nonce is in it.
    let newest = async |next: u64| {
        let number = world.block(60, &[]).await;
        let mut known = world.chain.nonces.lock().unwrap();
        known.clear();
        known.insert((fake::PAYEE, number), next);
        number
    };
    world.finalize(0).await;
    newest(0x60).await;
    for _ in 0..3 {
        assert_eq!(turns(100).await, Status::Sent);
    }
    // Another one has its nonce, in a block that goes again.
    let gone = newest(0x61).await;
    assert_eq!(turns(100).await, Status::Sent);
    newest(0x60).await;
    assert_eq!(turns(100).await, Status::Sent);
    let stays = newest(0x61).await;
    assert_eq!(turns(100).await, Status::Sent);
    newest(0x61).await;
    world.finalize(gone).await;
    assert_eq!(turns(100).await, Status::Sent);
    world.finalize(stays).await;
    assert_eq!(turns(100).await, Status::Due);
}

#[tokio::test]
async fn what_no_chain_can_show_is_the_tenants_word_and_says_so() {
    let mut world = World::new().await;
    let refund = goes_back(&world, 1, None).await;
    // A contract wallet has sent the coin.
    world.chain.has(tx(0x60), 0, &[]);
    let why = self::why(told(&world, 1, refund, tx(0x60)).await);
    assert!(why.contains("`\"unchecked\": true`"), "{why}");
    let tell = async |world: &World, n: u8, refund, tx| {
        sent_by_tenant(&world.cashier, &acme(), id(n), refund, tx, true).await
    };
    // What has paid the invoice has sent nothing back.
    let why = self::why(tell(&world, 1, refund, tx(1)).await);
    assert!(why.contains("has paid this invoice"), "{why}");
    let at = tell(&world, 1, refund, tx(0x60)).await.unwrap();
    let view = InvoiceView::of(&at, world.cashier.chains(), "https://hub.example");
    let seen = serde_json::to_value(&view.refunds[0]).unwrap();
    assert_eq!(
        (&seen["status"], &seen["unchecked"]),
        (&json!("sent"), &json!(true))
    );
    let second = goes_back(&world, 2, None).await;
    world.chain.has(tx(0x60), 5, &[]);
    let why = self::why(tell(&world, 2, second, tx(0x60)).await);
    assert!(
        why.contains("counts for one refund alone") && !why.contains('@'),
        "{why}"
    );
    world.chain.has(tx(0x60), 0, &[]);
    world.finalize(0).await;
    let mut outbox = outbox(&world);
    // One thing is asked of a chain for an invoice at a time.
    for _ in 0..3 {
        turn(&mut outbox).await;
        later(&world, 10);
    }
    assert_eq!(refund_of(&world).await.status(), Status::Confirmed);

    // What the coin's transaction shows needs nobody's word.
    world.chain.has(tx(0x61), 5, &[(None, THERE, DUE)]);
    let at = tell(&world, 2, second, tx(0x61)).await.unwrap();
    assert!(!at.kept.invoice.refunds()[0].unchecked);

    let third = goes_back(&world, 3, Some(TOKEN)).await;
    world.restart_with(Chains::new(Vec::new())).await;
    let why = self::why(told(&world, 3, third, tx(0x62)).await);
    assert!(why.contains("does not follow the chain"), "{why}");
    let at = tell(&world, 3, third, tx(0x62)).await.unwrap();
    let back = &at.kept.invoice.refunds()[0];
    assert_eq!((back.status(), back.unchecked), (Status::Confirmed, true));
}
