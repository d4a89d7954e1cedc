//! What a payer is shown of an invoice of which a part was paid, and of one that takes nothing any more.

use stencil_payments::abi::calls;
use stencil_payments::invoice::{Decision, Event, Way};
use stencil_payments::observation::Needs;

use super::*;
use crate::chains::checkout::{Checkout, Payable};

const ONE: Needs = Needs::Confirmations(1);

/// An invoice that can be paid by each way.
async fn by_each_way(world: &World, n: u8) -> At {
    let mut definition = invoice(n, Way::UniqueAmount, ONE);
    for way in [Way::Contract(CONTRACT), Way::Authorization] {
        definition.methods.push(method(token(), way, ONE, DUE));
    }
    world.create(definition).await
}

async fn seen(world: &World, n: u8) -> Checkout {
    let now_us = world.now_us.load(Ordering::SeqCst);
    Checkout::of(
        &world.invoice(n).await,
        world.cashier.chains(),
        &[],
        &[],
        now_us,
    )
}

fn has_nothing_to_pay_with(way: &Payable) {
    assert!(way.link.is_none() && way.transactions.is_empty() && way.typed_data.is_none());
    assert!(!way.payable && !way.hub_pays_gas, "{way:?}");
}

#[tokio::test]
async fn the_rest_is_asked_for_by_one_figure_and_never_by_a_unique_amount() {
    let world = World::new().await;
    by_each_way(&world, 1).await;
    let whole = seen(&world, 1).await;
    assert!(whole.methods.iter().all(|way| way.payable));
    // A part comes by the contract.
    world.block(10, &paid(1, 1, TOKEN, 1_000_000)).await;
    let part = seen(&world, 1).await;
    assert!(part.payable && part.is_open);
    let [unique, contract, signed] = &part.methods[..] else {
        panic!("{part:?}")
    };
    let why = unique.unusable.as_deref().unwrap();
    assert!(
        why.contains("can't be told by its amount") && why.contains("what has come goes back"),
        "{why}"
    );
    has_nothing_to_pay_with(unique);
    assert_eq!(unique.method.payee, None);
    for way in [contract, signed] {
        assert_eq!(
            (way.method.open.units.as_str(), way.payable),
            ("1500000", true)
        );
    }
    let rest = Amount::from(1_500_000_u64);
    let link = contract.link.as_deref().unwrap();
    assert!(link.contains("1500000"), "{link}");
    let pay = calls::pay(abi::invoice_id(id(1)), TOKEN, rest);
    assert_eq!(
        contract.transactions[1]["data"],
        format!("0x{}", hex::encode(pay))
    );
    let typed = signed.typed_data.as_ref().unwrap();
    assert_eq!(typed["message"]["value"], "1500000");
    // And what is asked for settles it.
    world.block(11, &authorised(2, 1, 1_500_000)).await;
    assert_eq!(world.state(1).await, "settled");
}

#[tokio::test]
async fn what_takes_nothing_any_more_has_nothing_to_pay_with() {
    let world = World::new().await;
    for n in 1..=3 {
        by_each_way(&world, n).await;
    }
    world.block(10, &paid(1, 1, TOKEN, DUE)).await;
    let closed = async |n: u8, state: &str| {
        let seen = seen(&world, n).await;
        assert_eq!((seen.state.as_str(), seen.payable), (state, false));
        for way in &seen.methods {
            has_nothing_to_pay_with(way);
            assert_eq!(way.unusable, None);
        }
    };
    closed(1, "settled").await;
    // All of it goes back, and what is missing then is asked of nobody.
    let back = Event::Resolve(Decision::RefundAll);
    let at = world.cashier.apply(&acme(), id(1), back).await.unwrap();
    let refund = at.kept.invoice.refunds()[0].id;
    for event in [
        Event::RefundSent {
            id: refund,
            tx: None,
        },
        Event::RefundConfirmed { id: refund, seq: 9 },
    ] {
        world.cashier.apply(&acme(), id(1), event).await.unwrap();
    }
    assert!(
        !world
            .invoice(1)
            .await
            .kept
            .invoice
            .open(1)
            .unwrap()
            .is_zero()
    );
    closed(1, "settled").await;
    world
        .cashier
        .apply(&acme(), id(2), Event::Cancel)
        .await
        .unwrap();
    closed(2, "cancelled").await;
    // By the hub's clock it is over, though no block has said so.
    world.now_us.fetch_add(16 * MINUTE_US, Ordering::SeqCst);
    closed(3, "new").await;
}
