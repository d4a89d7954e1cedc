//! Invoices: what their payment causes, as deep as it is.

use serde_json::json;
use stencil_payments::invoice::{self, Event, Invoice, Method, Payment, Policy, Price, Way};
use stencil_payments::money::{Amount, Asset, Token};
use stencil_payments::observation::{Block, Key, Needs};
use stencil_protocol::command::State;
use stencil_protocol::id::TenantId;
use stencil_store::{InvoiceCommit, InvoiceEffect, Progress, StoredInvoice};

use super::chain::{Branch, ID};
use super::fuse::Fuse;
use super::world::{SECOND_US, START_US, WHOLE, World, acme, other};

pub(super) const LOCKER: &str = "id: paid\nversion: 1\non: { payment: { reference: 'locker-*' } }\nsteps:\n\
    - { id: open, use: device.command, finality: { confirmations: 3 }, undo: { command: close, patience: 10s }, \
    with: { device: '{{ event.reference }}', command: open, expires: 30s } }\n\
    - { id: page, use: content.upsert, with: { collection: lockers, key: '{{ event.reference }}', \
    set: { invoice: '{{ event.invoice }}', box: '{{ event.metadata.box }}' } } }\n";

pub(super) const INVOICE: [u8; 16] = [5; 16];

pub(super) fn whole() -> Fuse {
    Fuse::new(WHOLE, false)
}

pub(super) fn invoice(tenant: &TenantId) -> Invoice {
    let token = Token::new(Asset::erc20(ID, [1; 20].into()), 6, "USDC").unwrap();
    let price = Price::Token {
        asset: token.asset(),
        amount: token.parse("2.50").unwrap(),
    };
    let method = |needs| {
        let payee = [2; 20].into();
        Method::priced(
            &price,
            token.clone(),
            None,
            payee,
            Way::Authorization,
            needs,
        )
        .unwrap()
    };
    Invoice::new(invoice::Definition {
        id: invoice::Id(INVOICE),
        tenant: tenant.clone(),
        price,
        methods: vec![method(Needs::Confirmations(1))],
        created_us: 0,
        expires_us: 900_000_000_000,
        policy: Policy::DEFAULT,
    })
    .unwrap()
}

/// Keeps an invoice as the cashier does, and says what changed.
pub(super) async fn keep(
    world: &World,
    tenant: &TenantId,
    invoice: &Invoice,
    version: u64,
    key: u8,
) {
    let is_paid = matches!(
        invoice.state(),
        invoice::State::Confirming | invoice::State::Settled
    );
    let body = json!({
        "invoice": invoice,
        "about": {
            "reference": "locker-7", "title": "Locker 7", "metadata": { "box": "large" },
            "paid_us": is_paid.then_some(START_US),
        },
    });
    let commit = InvoiceCommit {
        invoice: StoredInvoice {
            tenant: tenant.clone(),
            invoice: INVOICE,
            version,
            state: "x".to_owned(),
            body: body.to_string(),
            wakes_us: None,
            watched_until_us: i64::MAX,
            created_us: 1,
            changed_us: 1,
        },
        is_undone: false,
        payers: Vec::new(),
        credits: vec![],
        entries: vec![],
        effects: vec![InvoiceEffect {
            key: [key; 32],
            body: "{}".to_owned(),
        }],
        refunds: Vec::new(),
    };
    world.store.payments.commit_invoice(&commit).await.unwrap();
}

pub(super) async fn changed(world: &World, tenant: &TenantId, key: u8) {
    let triggers = world.triggers(&world.store);
    for _ in 0..2 {
        triggers
            .invoice_changed(tenant, &INVOICE, Some(&[key; 32]))
            .await
            .unwrap();
    }
    let due = world.store.payments.due_invoice_effects(i64::MAX, 10).await;
    assert_eq!(due.unwrap(), [], "it is done with it");
}

/// All of the stream has come to the invoices.
pub(super) async fn cashier(world: &World) {
    let chains = &world.store.chains;
    let last = chains.chain("local").await.unwrap().unwrap().last_entry;
    chains
        .advance_chain_reader("local", "cashier", last)
        .await
        .unwrap();
}

pub(super) fn credit(block: u64, seq: u64, amount: u64) -> Event {
    let key = Key {
        chain: ID,
        tx: [u8::try_from(amount % 251).unwrap(); 32].into(),
        ordinal: 0,
    };
    let block = Block {
        number: block,
        hash: [4; 32].into(),
        time_s: 1_000 + block,
    };
    Event::Credit {
        key,
        seq,
        payment: Payment {
            method: 0,
            amount: Amount::from(amount),
            from: [3; 20].into(),
            block,
        },
    }
}

#[tokio::test]
async fn a_paid_locker_opens_when_the_payment_is_deep_and_closes_when_it_is_gone() {
    let mut world = World::new().await;
    world.put(&acme(), LOCKER).await;
    let mut branch = Branch::default();
    branch.extend(&world.store, &[], world.now_us()).await;
    let mut paid = invoice(&acme());
    keep(&world, &acme(), &paid, 1, 1).await;
    changed(&world, &acme(), 1).await;
    assert!(world.runs(&acme()).await.is_empty(), "nothing is paid");

    // A part of it starts nothing.
    paid.apply(&credit(1, 1, 1_000_000)).unwrap();
    keep(&world, &acme(), &paid, 2, 2).await;
    changed(&world, &acme(), 2).await;
    assert!(world.runs(&acme()).await.is_empty(), "not all is paid");
    branch.extend(&world.store, &[], world.now_us()).await;
    paid.apply(&credit(2, 2, 1_500_000)).unwrap();
    assert_eq!(paid.state(), invoice::State::Settled);
    keep(&world, &acme(), &paid, 3, 3).await;
    cashier(&world).await;
    changed(&world, &acme(), 3).await;
    world.hub(whole()).await;
    let runs = world.runs(&acme()).await;
    assert_eq!((runs.len(), runs[0].state), (1, Progress::Waiting));
    assert_eq!(runs[0].event["reference"], "locker-7");
    assert_eq!(runs[0].event["metadata"]["box"], "large");
    assert_eq!(runs[0].at_us, 1_002 * SECOND_US);

    // More than was asked comes later: that is no reason to wait for that, too.
    branch.extend(&world.store, &[], world.now_us()).await;
    world.hub(whole()).await;
    assert!(world.commands().await.is_empty(), "two confirmations");
    branch.extend(&world.store, &[], world.now_us()).await;
    paid.apply(&credit(4, 3, 7)).unwrap();
    keep(&world, &acme(), &paid, 4, 4).await;
    changed(&world, &acme(), 4).await;
    world.hub(whole()).await;
    assert_eq!(world.commands().await.len(), 1, "three");
    world.devices(State::Done).await;
    world.hub(whole()).await;
    let waits = &world.runs(&acme()).await[0];
    assert_eq!(
        waits.state,
        Progress::Waiting,
        "the page waits for the finality of the chain"
    );

    // A reorganisation takes it away.
    let Event::Credit { key, .. } = credit(2, 2, 1_500_000) else {
        panic!()
    };
    paid.apply(&Event::Retracted { key, seq: 9 }).unwrap();
    assert_ne!(paid.state(), invoice::State::Settled);
    keep(&world, &acme(), &paid, 5, 5).await;
    changed(&world, &acme(), 5).await;
    world.hub(whole()).await;
    assert_eq!(world.commands().await.len(), 1, "it may come back");
    world.clock.advance(11 * SECOND_US);
    world.hub(whole()).await;
    world.devices(State::Done).await;
    assert_eq!(world.done().await["locker-7"], ["open", "close"]);

    // It comes back, and is final.
    paid.apply(&credit(2, 11, 1_500_000)).unwrap();
    keep(&world, &acme(), &paid, 6, 6).await;
    changed(&world, &acme(), 6).await;
    branch.finalize(&world.store, 0, world.now_us()).await;
    world.hub(whole()).await;
    world.devices(State::Done).await;
    world.hub(whole()).await;
    assert_eq!(world.done().await["locker-7"], ["open", "close", "open"]);
    let runs = world.runs(&acme()).await;
    assert_eq!((runs.len(), runs[0].state), (1, Progress::Done));
}

/// A month later another id stands in the place of the workflow's: what was paid has opened its door, and
/// does so no second time.
#[tokio::test]
async fn what_was_paid_before_a_workflow_was_in_force_starts_nothing() {
    let mut world = World::new().await;
    world.put(&acme(), LOCKER).await;
    let mut branch = Branch::default();
    branch.extend(&world.store, &[], world.now_us()).await;
    let mut paid = invoice(&acme());
    paid.apply(&credit(1, 1, 2_500_000)).unwrap();
    keep(&world, &acme(), &paid, 1, 1).await;
    changed(&world, &acme(), 1).await;
    world.hub(whole()).await;
    assert_eq!(world.runs(&acme()).await.len(), 1);

    let workflows = &world.store.workflows;
    let later_us = START_US + 30 * 86_400 * SECOND_US;
    let renamed = LOCKER.replace("id: paid", "id: paid-anew");
    workflows
        .activate(&acme(), "paid", None, later_us)
        .await
        .unwrap();
    workflows
        .put(&acme(), "paid-anew", 1, &renamed, later_us)
        .await
        .unwrap();
    // Some dust changes the invoice once more.
    paid.apply(&credit(4, 3, 7)).unwrap();
    keep(&world, &acme(), &paid, 2, 2).await;
    changed(&world, &acme(), 2).await;
    world.hub(whole()).await;
    let runs = world.runs(&acme()).await;
    assert_eq!((runs.len(), &runs[0].workflow[..]), (1, "paid"));
}

#[tokio::test]
async fn as_long_as_invoices_lag_behind_the_chain_nothing_is_deep() {
    let mut world = World::new().await;
    world.put(&acme(), LOCKER).await;
    let mut branch = Branch::default();
    branch.extend(&world.store, &[], world.now_us()).await;
    let mut paid = invoice(&acme());
    paid.apply(&credit(1, 1, 2_500_000)).unwrap();
    keep(&world, &acme(), &paid, 1, 1).await;
    changed(&world, &acme(), 1).await;
    // Something was said of the chain that has not come to the invoices: perhaps that it is gone.
    for _ in 0..4 {
        branch
            .extend(
                &world.store,
                &[u8::try_from(branch.height()).unwrap()],
                world.now_us(),
            )
            .await;
    }
    world.hub(whole()).await;
    assert!(world.commands().await.is_empty());
    cashier(&world).await;
    world.hub(whole()).await;
    assert_eq!(world.commands().await.len(), 1);
}

#[tokio::test]
async fn the_payment_of_another_tenant_opens_nothing() {
    let mut world = World::new().await;
    world.put(&acme(), LOCKER).await;
    let mut branch = Branch::default();
    branch.extend(&world.store, &[], world.now_us()).await;
    let mut paid = invoice(&other());
    paid.apply(&credit(1, 1, 2_500_000)).unwrap();
    keep(&world, &other(), &paid, 1, 1).await;
    changed(&world, &other(), 1).await;
    world.hub(whole()).await;
    assert!(world.runs(&acme()).await.is_empty());
    assert!(world.runs(&other()).await.is_empty());
}
