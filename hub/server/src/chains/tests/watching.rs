//! What chains are asked to look at: of a token, what payees get.

use std::sync::atomic::Ordering;

use stencil_payments::invoice::Way;
use stencil_payments::matching::PaidTo;
use stencil_payments::money::Asset;
use stencil_payments::observation::Needs;
use stencil_store::{Watch, WatchKind};

use super::*;

const ONE: Needs = Needs::Confirmations(1);

fn to(payee: Address) -> WatchKind {
    WatchKind::EventTo {
        topic0: abi::TRANSFER.0,
        to: payee.0.0,
    }
}

fn watch(owner: &str, address: Address, kind: WatchKind) -> Watch {
    Watch {
        owner: owner.to_owned(),
        address: address.0.0,
        kind,
    }
}

/// What is watched now, and the block from which each holds.
async fn watched(world: &World) -> Vec<(Watch, u64)> {
    let (_, watched) = world.store.chains.chain_watches(CHAIN).await.unwrap();
    let watched = watched.into_iter().map(|it| (it.watch, it.from_block));
    watched.collect()
}

#[tokio::test]
async fn of_a_token_it_is_what_its_payees_get() {
    let mut world = World::new().await;
    let rivals = Address::repeat_byte(0xab);
    let place = PaidTo::Payee(Asset::erc20(ID, TOKEN), rivals);
    let rival = "rival".parse().unwrap();
    world.cashier.hold(&rival, [place].into()).await.unwrap();
    let newest = world.block(1, &[]).await;
    // An address that comes while the chain is followed holds from the next block on.
    world.create(invoice(1, Way::Authorization, ONE)).await;
    let beside = WatchKind::Beside(abi::AUTHORIZATION_USED.0);
    let expected = [
        (watch("acme", TOKEN, beside), newest + 1),
        (watch("acme", TOKEN, to(PAYEE)), newest + 1),
        (watch("rival", TOKEN, beside), 0),
        (watch("rival", TOKEN, to(rivals)), 0),
    ];
    assert_eq!(watched(&world).await, expected);
    // By a contract too: the transfer that it makes stands beside its event.
    world.create(invoice(2, Way::Contract(CONTRACT), ONE)).await;
    let paid = watch("acme", CONTRACT, WatchKind::Event(abi::PAID.0));
    assert!(watched(&world).await.contains(&(paid, newest + 1)));
    world.create(coin(3, Way::UniqueAmount)).await;
    let coins = watch("acme", PAYEE, WatchKind::Native);
    assert!(watched(&world).await.contains(&(coins, newest + 1)));
    // An older hub had watched for something else: the invoice is found all the same after a start.
    let all: Vec<Watch> = watched(&world)
        .await
        .into_iter()
        .map(|(watch, _)| watch)
        .collect();
    world.store.chains.unwatch_chain(CHAIN, &all).await.unwrap();
    world.restart().await;
    let again = watched(&world).await.into_iter().map(|(watch, _)| watch);
    let acmes: Vec<Watch> = all.into_iter().filter(|it| it.owner == "acme").collect();
    assert_eq!(again.collect::<Vec<_>>(), acmes, "of what is kept");
}

#[tokio::test]
async fn what_nothing_needs_any_more_is_watched_no_more() {
    let world = World::new().await;
    let kinds = async || {
        let watched = watched(&world).await.into_iter();
        watched
            .map(|(watch, _)| (watch.owner, watch.address[0], watch.kind))
            .collect::<Vec<_>>()
    };
    let place = PaidTo::Payee(Asset::erc20(ID, TOKEN), PAYEE);
    world.cashier.hold(&acme(), [place].into()).await.unwrap();
    let at = (TOKEN.0[0], PAYEE.0[0]);
    let beside = WatchKind::Beside(abi::AUTHORIZATION_USED.0);
    let token = |owner: &str| [beside, to(PAYEE)].map(|kind| (owner.to_owned(), at.0, kind));
    // An invoice is paid in the coin and by a contract whose events a workflow waits for, too.
    world.create(coin(1, Way::UniqueAmount)).await;
    world.create(invoice(2, Way::Contract(CONTRACT), ONE)).await;
    let by_contract = WatchKind::Event(abi::PAID.0);
    let coins = ("acme".to_owned(), at.1, WatchKind::Native);
    let contract = ("acme".to_owned(), CONTRACT.0[0], by_contract);
    // Who owns a token is watched by its events, which are nobody's here.
    let others = watch("acme", TOKEN, WatchKind::Event(abi::TRANSFER.0));
    let chains = &world.store.chains;
    let also = std::slice::from_ref(&others);
    chains.watch_chain(CHAIN, also).await.unwrap();
    let others = (others.owner, at.0, others.kind);
    world.cashier.unwatch(world.chain.as_ref()).await.unwrap();
    let mut all = token("acme").to_vec();
    all.extend([coins.clone(), contract.clone(), others.clone()]);
    let sorted = |mut all: Vec<(String, u8, WatchKind)>| {
        all.sort();
        all
    };
    assert_eq!(sorted(kinds().await), sorted(all), "each is needed");

    // The invoices are long over, and the tenant is paid elsewhere.
    world.block(20 * 86_400, &[]).await;
    let elsewhere = PaidTo::Payee(Asset::native(ID), Address::repeat_byte(0xab));
    world
        .cashier
        .hold(&acme(), [elsewhere].into())
        .await
        .unwrap();
    let yaml = format!(
        "id: told\nversion: 1\non: {{ chain: {{ name: {CHAIN}, address: '{CONTRACT:#x}', event: \
         'Paid(uint256 a)' }} }}\nsteps:\n- {{ id: page, use: content.upsert, with: {{ collection: c, \
         key: k, set: {{ a: '1' }} }} }}\n"
    );
    let workflows = &world.store.workflows;
    workflows.put(&acme(), "told", 1, &yaml, 1).await.unwrap();
    world.cashier.unwatch(world.chain.as_ref()).await.unwrap();
    let new = ("acme".to_owned(), 0xab, WatchKind::Native);
    assert_eq!(
        sorted(kinds().await),
        sorted(vec![contract, others.clone(), new.clone()])
    );
    workflows.activate(&acme(), "told", None, 2).await.unwrap();
    world.cashier.unwatch(world.chain.as_ref()).await.unwrap();
    assert_eq!(sorted(kinds().await), sorted(vec![others, new]));
}

#[tokio::test]
async fn what_came_before_the_chain_was_reached_is_not_passed_over() {
    let mut world = World::new().await;
    let settings = serde_json::json!({ "methods": [{
        "chain": CHAIN, "token": "TEST", "way": "unique_amount", "payee": format!("{PAYEE:#x}"),
    }] });
    let payments = &world.store.payments;
    payments
        .set_payment_settings(&acme(), &settings.to_string(), &[(ID, PAYEE.0.0)], 0)
        .await
        .unwrap();
    // The hub was killed before it had read this, and starts while no endpoint answers.
    let strays = [transfer(1, 0, PAYEE, 78)];
    world.follower.block(START_S + 10, &strays).await;
    world.chain.unknown.store(true, Ordering::SeqCst);
    world.restart().await;
    let (cashier, chain) = (world.cashier.clone(), Arc::clone(&world.chain));
    let begun = tokio::spawn(async move { reader::begin(&cashier, chain.as_ref()).await });
    tokio::task::yield_now().await;
    assert!(!begun.is_finished(), "whose it is can't be known yet");
    world.chain.unknown.store(false, Ordering::SeqCst);
    world.chain.stepped.notify_one();
    begun.await.unwrap();
    world.catch_up().await;
    assert_eq!(world.unmatched(&acme()).await.len(), 1);
}
