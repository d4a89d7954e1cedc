//! Invoices are settled by what is on the chain, each way, and what is for none is kept.

use std::sync::atomic::Ordering;

use stencil_payments::invoice::{Decision, Event, Late, State, Way};
use stencil_payments::matching::PaidTo;
use stencil_payments::observation::Needs;
use stencil_payments::{Address, money::Asset};
use stencil_protocol::id::CommandId;
use stencil_store::StoredPurchase;

use super::*;
use crate::chains::cashier::Refused;
use crate::chains::x402::till::Till;

const ONE: Needs = Needs::Confirmations(1);

/// Whoever makes it, and also where the chain was asked a moment before.
#[tokio::test]
async fn no_invoice_is_made_on_a_chain_that_was_not_reached_yet() {
    let world = World::new().await;
    let make = async |definition: Definition| {
        let about = About::default();
        let new = NewInvoice { definition, about };
        world.cashier.create(new).await
    };
    *world.chain.not_ready.lock().unwrap() = Some("not yet".to_owned());
    for definition in [
        invoice(1, Way::Authorization, ONE),
        coin(2, Way::UniqueAmount),
    ] {
        let refused = make(definition).await;
        assert!(matches!(refused, Err(Refused::NotReady(_))), "{refused:?}");
    }
    assert_eq!(world.cashier.open_invoices(), 0);
    *world.chain.not_ready.lock().unwrap() = None;
    make(coin(2, Way::UniqueAmount)).await.unwrap();
    assert_eq!(world.cashier.open_invoices(), 1);
}

#[tokio::test]
async fn each_way_settles_its_invoice_and_no_other() {
    let world = World::new().await;
    world.create(invoice(1, Way::Authorization, ONE)).await;
    world.create(invoice(2, Way::Contract(CONTRACT), ONE)).await;
    let third = world.create(invoice(3, Way::UniqueAmount, ONE)).await;
    let fourth = world.create(invoice(4, Way::UniqueAmount, ONE)).await;
    world.create(coin(5, Way::UniqueAmount)).await;
    world.create(coin(6, Way::Contract(CONTRACT))).await;
    world.create(invoice(7, Way::Authorization, ONE)).await;
    let due = |at: &At| {
        let due = at.kept.invoice.definition().methods[0].due;
        u64::try_from(due.0).unwrap()
    };
    assert_ne!(due(&third), due(&fourth), "amounts tell them apart");
    let coins = due(&world.invoice(5).await);
    let mut changes = world.cashier.changed();
    world.block(10, &authorised(1, 1, DUE)).await;
    assert_eq!(changes.recv().await.unwrap().invoice, id(1));
    world.block(20, &paid(2, 2, TOKEN, DUE)).await;
    world
        .block(30, &[transfer(3, 0, PAYEE, due(&fourth))])
        .await;
    world.block(40, &[native(4, PAYEE, coins)]).await;
    world.block(50, &paid(5, 6, Address::ZERO, DUE)).await;
    let mut states = Vec::new();
    for n in 1..=7 {
        states.push(world.state(n).await);
    }
    assert_eq!(
        states,
        [
            "settled", "settled", "new", "settled", "settled", "settled", "new"
        ]
    );
    assert!(world.unmatched(&acme()).await.is_empty());
    // The settlement's time is the chain's, not the hub's.
    let settled = world.invoice(2).await.kept.invoice.settlement();
    assert_eq!(
        settled,
        (1, i64::try_from(START_S + 20).unwrap() * 1_000_000)
    );
}

#[tokio::test]
async fn what_is_taken_again_changes_nothing() {
    let mut world = World::new().await;
    world.create(invoice(1, Way::Authorization, ONE)).await;
    world.block(10, &authorised(1, 1, DUE)).await;
    let before = world.invoice(1).await;
    let held = world.holds().await;
    // Another cashier begins at the beginning, as after a kill before the position was kept.
    world.restart().await;
    let entries = world
        .store
        .chains
        .chain_entries(CHAIN, 0, 10)
        .await
        .unwrap();
    assert_eq!(entries.len(), 2);
    reader::observed(&world.cashier, ID, &entries)
        .await
        .unwrap();
    assert_eq!(world.invoice(1).await, before);
    assert_eq!(world.holds().await, held);
    assert_eq!(held.get("revenue"), Some(&-i128::from(DUE)));
}

#[tokio::test]
async fn a_payment_counts_once_it_is_as_deep_as_is_asked() {
    let world = World::new().await;
    world
        .create(invoice(1, Way::Authorization, Needs::Confirmations(3)))
        .await;
    world
        .create(invoice(2, Way::Authorization, Needs::Finalized))
        .await;
    let first = world.block(10, &authorised(1, 1, DUE)).await;
    world.block(20, &authorised(2, 2, DUE)).await;
    assert_eq!(world.state(1).await, "confirming");
    // Nothing more comes to the stream: the depth follows from the newest block alone.
    world.block(30, &[]).await;
    assert_eq!(world.state(1).await, "settled");
    assert_eq!(world.state(2).await, "confirming");
    world.finalize(first).await;
    assert_eq!(world.state(2).await, "confirming");
    world.finalize(first + 1).await;
    assert_eq!(world.state(2).await, "settled");
}

#[tokio::test]
async fn a_depth_is_found_after_a_restart_too() {
    let mut world = World::new().await;
    world
        .create(invoice(1, Way::Authorization, Needs::Confirmations(2)))
        .await;
    world.block(10, &authorised(1, 1, DUE)).await;
    world.restart().await;
    world.block(20, &[]).await;
    assert_eq!(world.state(1).await, "settled");
}

#[tokio::test]
async fn a_reorganisation_takes_a_payment_away_and_brings_it_back() {
    let mut world = World::new().await;
    let base = world.block(1, &[]).await;
    world.create(invoice(1, Way::UniqueAmount, ONE)).await;
    world.block(10, &[transfer(1, 0, PAYEE, DUE)]).await;
    assert_eq!(world.state(1).await, "settled");
    world.back_to(base).await;
    assert_eq!(world.state(1).await, "new");
    assert!(world.holds().await.is_empty());
    world.block(11, &[]).await;
    // In another block, at another place of it.
    world
        .block(
            12,
            &[
                transfer(9, 0, Address::repeat_byte(1), 5),
                transfer(1, 0, PAYEE, DUE),
            ],
        )
        .await;
    assert_eq!(world.state(1).await, "settled");
    assert_eq!(world.invoice(1).await.kept.invoice.settlement().0, 2);
    assert_eq!(world.holds().await.get("revenue"), Some(&-i128::from(DUE)));
}

#[tokio::test]
async fn what_was_final_can_be_taken_away_as_well() {
    let mut world = World::new().await;
    let base = world.block(1, &[]).await;
    world
        .create(invoice(1, Way::UniqueAmount, Needs::Finalized))
        .await;
    let number = world.block(10, &[transfer(1, 0, PAYEE, DUE)]).await;
    world.finalize(number).await;
    assert_eq!(world.state(1).await, "settled");
    world.back_to(base).await;
    assert_eq!(world.state(1).await, "new");
    assert!(world.holds().await.is_empty());
}

#[tokio::test]
async fn time_is_that_of_the_blocks_that_were_read() {
    let world = World::new().await;
    world.create(invoice(1, Way::Contract(CONTRACT), ONE)).await;
    // The hub's own clock is a day later: nothing was read, so nothing is over.
    world
        .now_us
        .fetch_add(24 * 60 * MINUTE_US, Ordering::SeqCst);
    world.block(60, &paid(1, 1, TOKEN, DUE / 2)).await;
    assert_eq!(world.state(1).await, "seen");
    // In a block of before the expiry, read late: it counts.
    world.block(15 * 60, &paid(2, 1, TOKEN, DUE / 2)).await;
    assert_eq!(world.state(1).await, "settled");
}

#[tokio::test]
async fn a_part_goes_back_when_the_time_is_over_and_so_does_what_is_late() {
    let world = World::new().await;
    world.create(invoice(1, Way::Contract(CONTRACT), ONE)).await;
    world.block(60, &paid(1, 1, TOKEN, 1_000_000)).await;
    world.block(15 * 60 + 30, &[]).await;
    assert_eq!(world.state(1).await, "seen", "the grace is not over");
    world.block(15 * 60 + 150, &[]).await;
    let at = world.invoice(1).await;
    assert_eq!(at.kept.invoice.state(), State::Expired);
    assert!(at.kept.invoice.facets().refund_due);
    world.block(20 * 60, &paid(2, 1, TOKEN, 1_500_000)).await;
    let at = world.invoice(1).await;
    assert!(at.kept.invoice.facets().late);
    let back: Vec<_> = at
        .kept
        .invoice
        .refunds()
        .iter()
        .map(|it| it.amount.to_string())
        .collect();
    assert_eq!(back, ["1000000", "1500000"]);
    let due = world
        .store
        .payments
        .due_invoice_effects(i64::MAX, 100)
        .await
        .unwrap();
    let refunds = due
        .iter()
        .filter(|due| due.effect.body.contains("refund_due\":{"));
    assert_eq!(refunds.count(), 2);
}

#[tokio::test]
async fn money_of_no_invoice_is_kept_with_its_tenant_until_the_chain_takes_it_away() {
    let mut world = World::new().await;
    let base = world.block(1, &[]).await;
    let place = PaidTo::Payee(Asset::erc20(ID, TOKEN), PAYEE);
    world.cashier.hold(&acme(), [place].into()).await.unwrap();
    let rival = "rival".parse().unwrap();
    let refused = world
        .cashier
        .hold(&rival, [place].into())
        .await
        .unwrap_err();
    assert!(matches!(refused, Refused::Matching(_)), "{refused}");
    world.block(10, &[transfer(1, 0, PAYEE, 77)]).await;
    let strays = world.unmatched(&acme()).await;
    assert_eq!(strays.len(), 1);
    assert_eq!(
        (&strays[0]["amount"], &strays[0]["reason"]),
        (&"77".into(), &"amount".into())
    );
    assert!(world.unmatched(&rival).await.is_empty());
    world.back_to(base).await;
    assert!(world.unmatched(&acme()).await.is_empty());
    // After a restart it is looked at as before.
    let settings = serde_json::json!({ "methods": [{
        "chain": CHAIN, "token": "TEST", "way": "unique_amount", "payee": format!("{PAYEE:#x}"),
    }] });
    let payments = &world.store.payments;
    payments
        .set_payment_settings(&acme(), &settings.to_string(), &[(ID, PAYEE.0.0)], 0)
        .await
        .unwrap();
    world.restart().await;
    world.block(20, &[transfer(2, 0, PAYEE, 78)]).await;
    assert_eq!(world.unmatched(&acme()).await.len(), 1);
}

#[tokio::test]
async fn after_a_restart_an_amount_is_that_of_the_invoice_that_may_be_paid() {
    const DAYS: u64 = 2 * 24 * 3_600;
    let mut world = World::new().await;
    let over = world.create(invoice(1, Way::UniqueAmount, ONE)).await;
    world.block(DAYS, &[]).await;
    assert_eq!(world.cashier.open_invoices(), 0, "it is long over");
    let mut open = invoice(0xff, Way::UniqueAmount, ONE);
    let later_us = i64::try_from(DAYS).unwrap() * 1_000_000;
    open.created_us += later_us;
    open.expires_us += later_us;
    let open = world.create(open).await;
    let due = |at: &At| at.kept.invoice.definition().methods[0].due;
    assert_eq!(due(&open), due(&over), "free again");
    world.restart().await;
    world.block(DAYS + 10, &[transfer(1, 0, PAYEE, DUE)]).await;
    assert_eq!(world.state(0xff).await, "settled");
    assert_eq!(world.state(1).await, "expired");
}

#[tokio::test]
async fn a_payment_that_an_invoice_has_no_room_for_is_not_lost() {
    let world = World::new().await;
    world.create(invoice(1, Way::Contract(CONTRACT), ONE)).await;
    let many = 300_u32;
    let mut seen = Vec::new();
    for at in 0..many {
        let paid = abi::Paid {
            invoiceId: abi::invoice_id(id(1)),
            payer: PAYER,
            token: TOKEN,
            amount: U256::from(1),
            received: U256::from(1),
        };
        seen.push(event(1, at, CONTRACT, &paid));
    }
    world.block(10, &seen).await;
    let kept = world.invoice(1).await.kept.invoice;
    assert_eq!(kept.payments().count(), 64);
    assert!(kept.takes(0, kept.open(0).unwrap()));
    let page = world.store.payments.unmatched(&acme(), None, 300).await;
    let strays = page.unwrap().items;
    assert_eq!(strays.len(), 236);
    assert!(strays.iter().all(|stray| stray.body.contains("refused")));
    // Who pays what is open has it settled all the same.
    let open = u64::try_from(kept.open(0).unwrap().0).unwrap();
    assert_eq!(open, DUE - 64);
    world.block(20, &paid(2, 1, TOKEN, open)).await;
    assert_eq!(world.state(1).await, "settled");
    assert_eq!(world.holds().await.get("revenue"), Some(&-i128::from(DUE)));
}

#[tokio::test]
async fn a_transaction_is_not_torn_apart_between_two_pages() {
    let world = World::new().await;
    world.create(invoice(1, Way::Authorization, ONE)).await;
    // The authorisation is the last entry of the first page, its transfer the first of the second.
    let other = Address::repeat_byte(1);
    let mut seen: Vec<Seen> = (0..999).map(|at| transfer(9, at, other, 5)).collect();
    seen.extend(authorised(1, 1, DUE));
    world.block(10, &seen).await;
    assert_eq!(world.state(1).await, "settled");
    let position = world
        .store
        .chains
        .chain_position(CHAIN, reader::READER)
        .await
        .unwrap();
    assert_eq!(position, 1_001);
}

#[tokio::test]
async fn what_is_decided_is_kept_and_races_are_run_again() {
    let world = World::new().await;
    let mut definition = invoice(1, Way::Contract(CONTRACT), ONE);
    definition.policy.late = Late::Ask;
    world.create(definition).await;
    world.block(60, &[]).await;
    world.block(16 * 60, &paid(1, 1, TOKEN, DUE)).await;
    assert!(world.invoice(1).await.kept.invoice.facets().undecided);
    let at_once = (0..8).map(|_| {
        let cashier = world.cashier.clone();
        tokio::spawn(async move {
            let event = Event::Resolve(Decision::AcceptLate);
            cashier.apply(&acme(), id(1), event).await
        })
    });
    for one in at_once.collect::<Vec<_>>() {
        one.await.unwrap().unwrap();
    }
    assert_eq!(world.state(1).await, "settled");
    let refused = world
        .cashier
        .apply(&acme(), id(1), Event::Resolve(Decision::RefuseLate))
        .await
        .unwrap_err();
    assert!(matches!(refused, Refused::Invoice(_)), "{refused}");
    let rival = "rival".parse().unwrap();
    let refused = world.cashier.apply(&rival, id(1), Event::Cancel).await;
    assert!(matches!(refused, Err(Refused::NoInvoice(_))));
    assert!(
        world
            .cashier
            .invoice(&rival, id(1))
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn the_same_invoice_is_made_once() {
    let world = World::new().await;
    let first = world.create(invoice(1, Way::UniqueAmount, ONE)).await;
    world.block(10, &[transfer(1, 0, PAYEE, DUE)]).await;
    let again = world.create(invoice(1, Way::UniqueAmount, ONE)).await;
    assert_eq!((first.version, again.version), (1, 2));
    assert_eq!(world.cashier.open_invoices(), 1);
}

#[tokio::test]
async fn an_invoice_that_is_long_over_is_no_longer_looked_for() {
    let world = World::new().await;
    world.create(invoice(1, Way::UniqueAmount, ONE)).await;
    world.block(60, &[]).await;
    assert_eq!(world.cashier.open_invoices(), 1);
    world.block(15 * 60 + 121 + 24 * 3_600, &[]).await;
    assert_eq!(world.state(1).await, "expired");
    world.block(15 * 60 + 122 + 24 * 3_600, &[]).await;
    assert_eq!(world.cashier.open_invoices(), 0);
}

/// What a device has done for it is to be looked at then, whenever that was to be.
#[tokio::test]
async fn a_purchase_whose_payment_is_taken_back_wakes_at_once() {
    let mut world = World::new().await;
    world.create(invoice(1, Way::Authorization, ONE)).await;
    let far_us = i64::MAX;
    let bought = StoredPurchase {
        tenant: acme(),
        purchase: id(1).0,
        version: 1,
        offer: "lock".to_owned(),
        payer: PAYER.0.0,
        body: "{}".to_owned(),
        wakes_us: Some(far_us),
        under_way: false,
        command: Some(CommandId([1; 16])),
        created_us: 1,
        changed_us: 1,
    };
    let offers = &world.store.offers;
    offers.commit_purchase(&bought, None).await.unwrap();
    let before = world.block(5, &[]).await;
    world.block(10, &authorised(1, 1, DUE)).await;
    assert_eq!(world.state(1).await, "settled");
    let now_us = || world.now_us.load(Ordering::SeqCst);
    let offers = &world.store.offers;
    let waking = offers.waking_purchases(now_us(), None, 9).await.unwrap();
    assert!(waking.is_empty(), "{waking:?}");
    world.back_to(before).await;
    let now_us = world.now_us.load(Ordering::SeqCst);
    let offers = &world.store.offers;
    let waking = offers.waking_purchases(now_us, None, 9).await.unwrap();
    let woken: Vec<_> = waking.iter().map(|it| (it.purchase, it.version)).collect();
    assert_eq!(woken, [(id(1).0, 2)]);
    let told = Till::undone(&world.cashier);
    tokio::time::timeout(std::time::Duration::from_secs(1), told)
        .await
        .expect("whoever goes on with charges is told");
}
