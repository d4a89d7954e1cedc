//! Refunds are sent once, to where those say whose money it is.

use stencil_payments::invoice::Status;
use stencil_payments::port::{NotOrdered, Sent};

use super::outbox::{Receiver, called_off, later, outcome, refund_of, to, turn};
use super::*;
use crate::chains::outbox::Outbox;
use crate::chains::refund_address;

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
