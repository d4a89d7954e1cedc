//! A chain whose clock is ahead of the hub's.

use std::sync::atomic::Ordering;

use stencil_payments::invoice::{State, Way};
use stencil_payments::observation::Needs;

use super::*;

const ONE: Needs = Needs::Confirmations(1);
const HOUR_S: u64 = 3_600;

/// A block that says it is later than it is.
async fn block_ahead(world: &World, seconds: u64, seen: &[Seen]) {
    let now_us = world.now_us.load(Ordering::SeqCst);
    world
        .follower
        .block_at(START_S + seconds, now_us, seen)
        .await;
    world.catch_up().await;
}

#[tokio::test]
async fn nothing_is_over_or_late_before_the_hubs_own_clock_is_there() {
    let mut world = World::new().await;
    world.create(invoice(1, Way::Contract(CONTRACT), ONE)).await;
    world.create(invoice(2, Way::Contract(CONTRACT), ONE)).await;
    world.block(0, &[]).await;
    assert_eq!(world.cashier.clock_trouble(world.chain.as_ref()), None);
    assert_eq!(world.cashier.ahead_s(world.chain.as_ref()), 0);

    block_ahead(&world, HOUR_S, &[]).await;
    let trouble = world.cashier.clock_trouble(world.chain.as_ref()).unwrap();
    assert!(
        trouble.contains("3600 s ahead of the hub's clock"),
        "{trouble}"
    );
    assert_eq!(world.cashier.ahead_s(world.chain.as_ref()), 3_600);
    assert_eq!(world.state(1).await, "new");
    // Also for a hub that starts anew, and a payment then is none that is late.
    world.restart().await;
    block_ahead(&world, HOUR_S + 1, &paid(1, 1, TOKEN, DUE)).await;
    assert_eq!(world.state(1).await, "settled");
    assert!(!world.invoice(1).await.kept.invoice.facets().late);
    // Not a minute before either, which is how far ahead a clock is believed.
    world
        .now_us
        .fetch_add(17 * MINUTE_US - 1_000_000, Ordering::SeqCst);
    world.catch_up().await;
    assert_eq!(world.state(2).await, "new");
    // When it comes to be that late by the hub's clock, what was not paid is over.
    world.now_us.fetch_add(3 * MINUTE_US, Ordering::SeqCst);
    world.catch_up().await;
    assert_eq!(world.invoice(2).await.kept.invoice.state(), State::Expired);
    assert!(world.cashier.clock_trouble(world.chain.as_ref()).is_some());
    world.now_us.fetch_add(50 * MINUTE_US, Ordering::SeqCst);
    world.catch_up().await;
    assert_eq!(world.cashier.clock_trouble(world.chain.as_ref()), None);
}
