//! What no node takes, and accounts that are not the hub's any more, over a dev chain: nothing that is sent
//! holds up what others send.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::atomic::{AtomicI64, Ordering};

use alloy_primitives::{Bytes, U256};
use stencil_chain::sender::Policy;
use stencil_payments::money::Amount;
use stencil_payments::port::{Chain, NotOrdered, Order, Sent};
use stencil_store::{MAX_OPEN_SENDS, Sends as _};
use support::anvil::hex0x;
use support::world::{SHOP, World, fixed, is_final, order, run, tenant, until};
use support::{Fault, Proxy};

#[tokio::test(flavor = "multi_thread")]
async fn what_no_node_would_take_is_refused_before_it_has_a_nonce() {
    let world = World::new().await;
    let chain = world.connect(Some(1), fixed);
    let _running = run(&chain);
    let data = Bytes::from_static(&[1; 40]);
    let (least, most) = (21_000 + 40 * 40, 1 << 24);
    let bad = |gas: u64, value: U256, data: &Bytes| Order {
        gas,
        value: Amount(value),
        data: data.clone(),
        ..order(0, "bad", 0)
    };
    for (bad, expected) in [
        (bad(21_000, U256::ZERO, &data), "at least 22600"),
        (bad(least - 1, U256::ZERO, &data), "at least 22600"),
        (bad(most + 1, U256::ZERO, &data), "at most 16777216"),
        (bad(30_000, U256::MAX >> 1, &Bytes::new()), "this takes"),
        // All that it has leaves nothing for the gas.
        (
            bad(
                30_000,
                world.balance(chain.account().unwrap()).await,
                &Bytes::new(),
            ),
            "this takes",
        ),
    ] {
        let refused = chain.order(&bad).await.unwrap_err();
        let NotOrdered::Refused(why) = &refused else {
            panic!("{refused:?}");
        };
        assert!(why.contains(expected), "{why}");
    }
    let account = chain.account().unwrap().into_array();
    let open = world.store.open_sends("dev", account).await.unwrap();
    assert!(open.is_empty(), "{open:?}");
    // Just enough is enough.
    let enough = bad(least, U256::from(1), &data);
    assert_eq!(chain.order(&enough).await, Ok(Sent::Pending));
    chain.order(&order(1, "good", 2)).await.unwrap();
    for (of, key) in [(0, "bad"), (1, "good")] {
        let sent = is_final(&world, &chain, of, key).await;
        assert!(matches!(sent, Sent::Final(o) if o.succeeded), "{sent:?}");
    }
    assert_eq!(world.balance(SHOP).await, U256::from(3));
}

/// What is under way counts, and may be in a block soon: that is no refusal.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_is_not_spent_twice() {
    let world = World::new().await;
    let chain = world.connect(Some(1), fixed);
    let account = chain.account().unwrap();
    let coin = U256::from(10).pow(U256::from(18));
    world.chain.set_balance(account, coin);
    world.chain.mine(1);
    let most = |of, key| Order {
        value: Amount(coin / U256::from(2)),
        ..order(of, key, 0)
    };
    assert_eq!(chain.order(&most(0, "a")).await, Ok(Sent::Pending));
    let held = chain.order(&most(1, "b")).await;
    let Err(NotOrdered::Unknown(why)) = &held else {
        panic!("{held:?}");
    };
    assert!(why.contains("what is under way may take"), "{why}");
    let _running = run(&chain);
    is_final(&world, &chain, 0, "a").await;
    let gone = chain.order(&most(1, "b")).await;
    assert!(matches!(gone, Err(NotOrdered::Refused(_))), "{gone:?}");
}

/// Hundreds may wait for places, and ask again until there is one: the endpoints have others to answer.
#[tokio::test(flavor = "multi_thread")]
async fn what_finds_no_place_asks_no_endpoint() {
    let world = World::new().await;
    let proxy = Proxy::start(world.endpoint.address().port()).await;
    let chain = world.connect_by(&[proxy.url()], Some(1), fixed);
    assert_eq!(chain.has_place(&tenant(0)).await, Ok(true));
    for at in 0..MAX_OPEN_SENDS * 4 / 5 {
        let key = at.to_string();
        world.reserved(1, &key, 21_000, U256::ZERO, &[]).await;
    }
    let full = chain.order(&order(0, "one more", 1)).await;
    let Err(NotOrdered::Unknown(why)) = &full else {
        panic!("{full:?}");
    };
    assert!(why.contains("800 sends of tenant \"acme\""), "{why}");
    assert_eq!(chain.has_place(&tenant(0)).await, Ok(false));
    for method in [
        "eth_getBalance",
        "eth_getTransactionCount",
        "eth_feeHistory",
    ] {
        assert_eq!(proxy.calls(method), 0, "{method}");
    }
    assert_eq!(chain.has_place(&tenant(1)).await, Ok(true));
    chain.order(&order(1, "another's", 1)).await.unwrap();
    assert!(proxy.calls("eth_getBalance") > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_for_long_gives_its_nonce_to_an_empty_transaction() {
    static NOW: AtomicI64 = AtomicI64::new(1_000_000);
    let world = World::new().await;
    let chain = world.connect(Some(1), || NOW.load(Ordering::Relaxed));
    world.reserved(1, "bad", 21_000, U256::ZERO, &[1]).await;
    world
        .reserved(1, "worse", 31_000_000, U256::ZERO, &[])
        .await;
    chain.order(&order(1, "good", 5)).await.unwrap();
    let _running = run(&chain);
    // Before, that nothing was heard of the chain since the start.
    let trouble = until(&chain, async || {
        let trouble = chain.trouble();
        trouble.filter(|trouble| trouble.contains("refuse what has nonce 0"))
    });
    let trouble = trouble.await;
    assert!(trouble.contains("intrinsic gas too low"), "{trouble}");
    world.chain.mine(3);
    // Refused often enough, and not for long enough.
    for _ in 0..3 * Policy::default().refused_times {
        chain.stepped().await;
    }
    let bad = world.store.send("acme", "bad").await.unwrap().unwrap();
    assert_eq!(bad.given_up(), None);
    let attempts = async |key: &str| {
        let send = world.store.send("acme", key).await.unwrap().unwrap();
        send.attempts
    };
    let empty = async |key: &str| {
        until(&chain, async || {
            NOW.fetch_add(10_000_000, Ordering::Relaxed);
            let last = attempts(key).await.pop()?;
            last.gives_up
        })
        .await
    };
    let why = empty("bad").await;
    assert!(why.contains("intrinsic gas too low"), "{why}");
    // In a block that a reorganisation takes away nothing is over.
    until(&chain, async || {
        world.chain.mine(1);
        let send = world.store.send("acme", "bad").await.unwrap().unwrap();
        matches!(send.state, stencil_store::SendState::Included(_)).then_some(())
    })
    .await;
    let stands = chain.sent(&tenant(0), "bad").await;
    assert!(
        matches!(stands, Ok(Some(Sent::Pending | Sent::Lost))),
        "{stands:?}"
    );
    assert_eq!(is_final(&world, &chain, 0, "bad").await, Sent::Lost);
    let why = chain.why_lost(&tenant(0), "bad").await.unwrap().unwrap();
    assert!(why.contains("intrinsic gas too low"), "{why}");
    let why = empty("worse").await;
    assert!(why.contains("gas limit"), "{why}");
    assert_eq!(is_final(&world, &chain, 0, "worse").await, Sent::Lost);
    let good = is_final(&world, &chain, 1, "good").await;
    assert!(matches!(good, Sent::Final(o) if o.succeeded), "{good:?}");
    assert_eq!(chain.why_lost(&tenant(1), "good").await, Ok(None));
    assert_eq!(world.balance(SHOP).await, U256::from(5));
    until(&chain, async || chain.trouble().is_none().then_some(())).await;
}

/// Of one transaction no endpoint says where it is, for as long as it likes: what is ordered after it is signed,
/// and what was sent after it comes to be final.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_cannot_be_known_holds_up_no_other() {
    let world = World::new().await;
    let proxy = Proxy::start(world.endpoint.address().port()).await;
    let chain = world.connect_by(&[proxy.url()], Some(1), fixed);
    let _running = run(&chain);
    let signed = async |key: &str| {
        until(&chain, async || {
            let send = world.store.send("acme", key).await.unwrap()?;
            send.attempts.first().map(|attempt| attempt.tx)
        })
        .await
    };
    chain.order(&order(0, "a", 1)).await.unwrap();
    let first = signed("a").await;
    proxy.set(Fault::NoReceipts(vec![hex0x(&first)]));
    // Alone it is all there is, and what waits is told.
    until(&chain, async || chain.trouble()).await;
    chain.order(&order(0, "b", 2)).await.unwrap();
    signed("b").await;
    let sent = is_final(&world, &chain, 0, "b").await;
    assert!(matches!(sent, Sent::Final(o) if o.succeeded), "{sent:?}");
    let trouble = chain.trouble().unwrap();
    assert!(
        trouble.contains("unknown where what has nonce 0"),
        "{trouble}"
    );
    proxy.set(Fault::None);
    is_final(&world, &chain, 0, "a").await;
    until(&chain, async || chain.trouble().is_none().then_some(())).await;
}

/// A burst is in one block, with nonces in a row, and an endpoint loses what it knew of a block.
#[tokio::test(flavor = "multi_thread")]
async fn a_burst_that_cannot_be_known_holds_up_no_other() {
    let world = World::new().await;
    let proxy = Proxy::start(world.endpoint.address().port()).await;
    let endpoints = [proxy.url(), world.endpoint.url()];
    let chain = world.connect_by(&endpoints, Some(1), fixed);
    let _running = run(&chain);
    let mut burst = Vec::new();
    for at in 0..18 {
        let key = at.to_string();
        chain.order(&order(0, &key, 1)).await.unwrap();
        let signed = until(&chain, async || {
            let send = world.store.send("acme", &key).await.unwrap()?;
            send.attempts.first().map(|attempt| hex0x(&attempt.tx))
        });
        burst.push(signed.await);
    }
    let succeeds = async |key: &str| {
        let sent = is_final(&world, &chain, 0, key).await;
        assert!(matches!(sent, Sent::Final(o) if o.succeeded), "{sent:?}");
    };
    // Endpoints that disagree on whatever is asked at once, and at once again, answer all the same.
    proxy.set(Fault::LostReceipts(burst[..16].to_vec()));
    succeeds("17").await;
    // Nothing that was asked at once is answered; there is more to ask for.
    proxy.set(Fault::NoReceipts(burst[..8].to_vec()));
    succeeds("15").await;
    let trouble = chain.trouble().unwrap();
    assert!(
        trouble.contains("unknown where what has nonce 7"),
        "{trouble}"
    );
    proxy.set(Fault::None);
    succeeds("0").await;
    until(&chain, async || chain.trouble().is_none().then_some(())).await;
}

/// Where nothing can be known of any, the endpoints are asked of few, and what was done is told all the same.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_is_told_also_where_not_all_was_looked_at() {
    let world = World::new().await;
    let proxy = Proxy::start(world.endpoint.address().port()).await;
    let chain = world.connect_by(&[proxy.url()], Some(1), fixed);
    let _running = run(&chain);
    proxy.set(Fault::NoReceiptAtAll);
    for at in 0..20 {
        chain.order(&order(0, &at.to_string(), 1)).await.unwrap();
    }
    // Of the first eight, and of the next, of which it is the end.
    until(&chain, async || {
        let trouble = chain.trouble()?;
        let told = ["waits: ", "unknown where what has nonce 7"];
        told.iter().all(|told| trouble.contains(told)).then_some(())
    })
    .await;
    proxy.set(Fault::None);
    is_final(&world, &chain, 0, "19").await;
}

/// An account that can pay for nothing is told, and what waits is taken once it has coin again.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_given_up_that_only_wants_coin() {
    static NOW: AtomicI64 = AtomicI64::new(1_000_000);
    let world = World::new().await;
    let chain = world.connect(Some(1), || NOW.load(Ordering::Relaxed));
    let account = chain.account().unwrap();
    let coin = world.balance(account).await;
    chain.order(&order(0, "a", 5)).await.unwrap();
    world.chain.set_balance(account, U256::from(7));
    world.chain.mine(1);
    let _running = run(&chain);
    let trouble = until(&chain, async || {
        NOW.fetch_add(20_000_000, Ordering::Relaxed);
        chain.trouble().filter(|told| told.contains("send it some"))
    })
    .await;
    assert!(trouble.contains("insufficient funds"), "{trouble}");
    world.chain.set_balance(account, coin);
    world.chain.mine(1);
    let sent = is_final(&world, &chain, 0, "a").await;
    assert!(matches!(sent, Sent::Final(o) if o.succeeded), "{sent:?}");
    assert_eq!(world.balance(SHOP).await, U256::from(5));
}

/// Another account is set, or none: what the one before has sent goes on to be final, and what it can't sign
/// any more is told.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_account_has_under_way_is_looked_after_when_another_is_set() {
    for other in [Some(2), None] {
        let world = World::new().await;
        let before = world.connect(Some(1), fixed);
        let old = before.account().unwrap();
        before.order(&order(0, "signed", 5)).await.unwrap();
        {
            let _running = run(&before);
            until(&before, async || {
                let send = world.store.send("acme", "signed").await.unwrap()?;
                (!send.attempts.is_empty()).then_some(())
            })
            .await;
        }
        before.order(&order(0, "unsigned", 6)).await.unwrap();
        let chain = world.connect(other, fixed);
        let running = run(&chain);
        let sent = is_final(&world, &chain, 0, "signed").await;
        assert!(matches!(sent, Sent::Final(o) if o.succeeded), "{sent:?}");
        let trouble = until(&chain, async || chain.trouble()).await;
        assert!(
            trouble.contains(&format!("sent from {old}"))
                && trouble.contains("wants a signature, nonces 1"),
            "{trouble}"
        );
        assert_eq!(
            chain.sent(&tenant(0), "unsigned").await,
            Ok(Some(Sent::Pending))
        );
        if other.is_some() {
            chain.order(&order(1, "new", 7)).await.unwrap();
            is_final(&world, &chain, 1, "new").await;
        }
        drop(running);
        let again = world.connect(Some(1), fixed);
        let _running = run(&again);
        is_final(&world, &again, 0, "unsigned").await;
        until(&again, async || again.trouble().is_none().then_some(())).await;
        let all = if other.is_some() { 18 } else { 11 };
        assert_eq!(world.balance(SHOP).await, U256::from(all));
    }
}
