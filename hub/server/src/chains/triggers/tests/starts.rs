//! What a payment starts is decided once, and nothing of it is lost in silence.

use stencil_payments::invoice::{Id, Invoice};
use stencil_store::Progress;

use super::chain::Branch;
use super::payments::{INVOICE, LOCKER, cashier, changed, credit, invoice, keep, whole};
use super::world::{SECOND_US, START_US, World, acme};
use crate::chains::change::{Due, Todo};

/// An invoice that is paid, of which nobody was told; `LOCKER` was in force when it was, and is no more.
async fn paid_and_waiting(had_one: bool) -> (World, Branch, Invoice) {
    let world = World::new().await;
    let mut branch = Branch::default();
    branch.extend(&world.store, &[], world.now_us()).await;
    if had_one {
        world.put(&acme(), LOCKER).await;
    }
    let mut paid = invoice(&acme());
    paid.apply(&credit(1, 1, 2_500_000)).unwrap();
    keep(&world, &acme(), &paid, 1, 1).await;
    cashier(&world).await;
    if had_one {
        let workflows = &world.store.workflows;
        let at_us = START_US + SECOND_US;
        workflows
            .activate(&acme(), "paid", None, at_us)
            .await
            .unwrap();
    }
    (world, branch, paid)
}

async fn put_later(world: &World, id: &str) {
    let yaml = LOCKER
        .replace("id: paid", &format!("id: {id}"))
        .replace("version: 1", "version: 2");
    let at_us = START_US + 2 * SECOND_US;
    let workflows = &world.store.workflows;
    workflows.put(&acme(), id, 2, &yaml, at_us).await.unwrap();
}

/// What is to be told of the invoice.
async fn to_tell(world: &World) -> Vec<Todo> {
    let due = world.store.payments.due_invoice_effects(i64::MAX, 10).await;
    let due = due.unwrap().into_iter();
    due.map(|one| serde_json::from_str::<Due>(&one.effect.body).unwrap().what)
        .collect()
}

async fn take(world: &World, key: u8) {
    // Once more after a kill.
    let (tenant, key) = (acme(), [key; 32]);
    for _ in 0..2 {
        let triggers = world.triggers(&world.store);
        let taken = triggers.invoice_changed(&tenant, &INVOICE, Some(&key));
        taken.await.unwrap();
    }
}

#[tokio::test]
async fn a_payment_whose_workflow_is_replaced_while_it_waits_starts_the_one_that_is_there() {
    for id in ["paid", "paid-anew"] {
        let (mut world, _, _) = paid_and_waiting(true).await;
        put_later(&world, id).await;
        changed(&world, &acme(), 1).await;
        world.hub(whole()).await;
        let runs = world.runs(&acme()).await;
        assert_eq!(runs.len(), 1, "{id}");
        assert_eq!((&runs[0].workflow[..], runs[0].version), (id, 2));
        let started = world.triggers(&world.store);
        let started = started
            .started(&acme(), Id(INVOICE))
            .await
            .unwrap()
            .unwrap();
        assert!(started.paid && !started.missed);
        assert_eq!(started.runs.len(), 1);
    }
}

#[tokio::test]
async fn a_payment_that_no_workflow_takes_is_told_once_and_started_by_hand() {
    let (mut world, mut branch, mut paid) = paid_and_waiting(true).await;
    take(&world, 1).await;
    assert_eq!(to_tell(&world).await, [Todo::NotStarted {}]);
    let triggers = world.triggers(&world.store);
    let started = triggers.started(&acme(), Id(INVOICE)).await.unwrap();
    let started = started.unwrap();
    assert!(started.paid && started.missed && started.runs.is_empty());
    let refused = triggers.start_by_hand(&acme(), Id(INVOICE)).await;
    let why = refused.unwrap_err().to_string();
    let says = "no workflow is in force that waits for payments of `locker-7`";
    assert!(why.contains(says), "{why}");

    // What is put in force later is not started by dust.
    put_later(&world, "paid").await;
    branch.extend(&world.store, &[], world.now_us()).await;
    paid.apply(&credit(2, 3, 7)).unwrap();
    keep(&world, &acme(), &paid, 2, 2).await;
    cashier(&world).await;
    take(&world, 2).await;
    assert!(world.runs(&acme()).await.is_empty());
    assert_eq!(to_tell(&world).await.len(), 1, "it is told once");

    world.restart().await;
    let triggers = world.triggers(&world.store);
    let started = triggers.start_by_hand(&acme(), Id(INVOICE)).await.unwrap();
    assert!(!started.missed);
    assert_eq!(started.runs.len(), 1);
    // It waits for its depth like any other.
    world.hub(whole()).await;
    let runs = world.runs(&acme()).await;
    assert_eq!((runs.len(), runs[0].state), (1, Progress::Waiting));
    assert!(world.commands().await.is_empty());
    branch.extend(&world.store, &[], world.now_us()).await;
    world.hub(whole()).await;
    assert_eq!(world.commands().await.len(), 1, "three confirmations");
    let again = triggers.start_by_hand(&acme(), Id(INVOICE)).await;
    let why = again.unwrap_err().to_string();
    assert!(why.contains("`paid`"), "{why}");
    assert_eq!(world.runs(&acme()).await.len(), 1);
}

#[tokio::test]
async fn who_never_had_a_workflow_for_payments_is_told_of_none() {
    let (world, _, _) = paid_and_waiting(false).await;
    take(&world, 1).await;
    assert_eq!(to_tell(&world).await, []);
    let triggers = world.triggers(&world.store);
    let started = triggers.started(&acme(), Id(INVOICE)).await.unwrap();
    assert!(!started.unwrap().missed);
    let nothing = triggers.started(&acme(), Id([7; 16])).await.unwrap();
    assert_eq!(nothing, None);
}

#[tokio::test]
async fn what_is_not_paid_is_not_started_by_hand() {
    let world = World::new().await;
    world.put(&acme(), LOCKER).await;
    keep(&world, &acme(), &invoice(&acme()), 1, 1).await;
    let triggers = world.triggers(&world.store);
    let refused = triggers.start_by_hand(&acme(), Id(INVOICE)).await;
    let why = refused.unwrap_err().to_string();
    assert!(why.contains("the invoice is not paid"), "{why}");
    assert!(world.runs(&acme()).await.is_empty());
}
