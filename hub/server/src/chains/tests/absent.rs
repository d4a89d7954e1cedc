//! Chains that can't be paid on: taken out of the hub's settings, still, stopped, or not reached yet.

use stencil_payments::invoice::{Price, Way};
use stencil_payments::money::{Currency, Fiat, Rate, Token};
use stencil_payments::observation::Needs;
use stencil_payments::port::Head;
use stencil_store::{NewSend, SpendLimit};

use super::*;
use crate::chains::checkout::Checkout;
use crate::chains::rates::RateSource;
use crate::chains::settings::PaymentSettings;

const ONE: Needs = Needs::Confirmations(1);

fn checkout(world: &World, at: &At) -> Checkout {
    let now_us = world.now_us.load(Ordering::SeqCst);
    Checkout::of(at, world.cashier.chains(), &[], &[], now_us)
}

fn metrics(world: &World) -> String {
    let mut text = String::new();
    crate::scrape::cashier(&world.cashier, &mut text);
    text
}

/// A refund, an anchor, what a workflow has called: what became of it nobody sees.
#[tokio::test]
async fn what_the_hub_has_sent_there_is_told_of_without_any_invoice() {
    let mut world = World::new().await;
    let limit = SpendLimit {
        tenant: acme().to_string(),
        chain: CHAIN.to_owned(),
        asset: None,
        window_s: 3_600,
        most: [0xff; 32],
    };
    let sends = world.store.sends.clone();
    sends.set_spend_limit(&limit).await.unwrap();
    let send = NewSend {
        chain: CHAIN.to_owned(),
        sender: fake::ACCOUNT.into_array(),
        tenant: acme().to_string(),
        key: "refund".to_owned(),
        receiver: PAYER.into_array(),
        value: [0; 32],
        data: Vec::new(),
        gas: 30_000,
        most_fee: [0; 32],
        token: None,
        brings: None,
    };
    let trouble = "stencil_hub_chain_trouble{chain=\"local\"}";
    // A chain on which nothing is open is nobody's loss.
    world.restart_with(Chains::new(Vec::new())).await;
    assert!(world.cashier.absent().is_empty() && !metrics(&world).contains(trouble));
    sends.reserve_send(&send, 0, 1).await.unwrap();
    world.restart_with(Chains::new(Vec::new())).await;
    let [absent] = world.cashier.absent() else {
        panic!("{:?}", world.cashier.absent())
    };
    assert_eq!((absent.invoices, absent.sends), (0, 1));
    let why = absent.why();
    assert!(
        why.starts_with("it is not followed any more, and 1 transaction that the hub has sent")
            && why.contains("[chains.local]"),
        "{why}"
    );
    assert!(metrics(&world).contains(&format!("{trouble} 1")));
}

#[tokio::test]
async fn its_invoices_are_told_of_nobody_is_sent_there_and_what_is_paid_counts_once_it_is_back() {
    let mut world = World::new().await;
    let made = world.create(coin(1, Way::UniqueAmount)).await;
    world.create(invoice(2, Way::Contract(CONTRACT), ONE)).await;
    world.block(1, &paid(9, 2, TOKEN, DUE)).await;
    assert_eq!(world.state(2).await, "settled");
    assert!(world.cashier.absent().is_empty());
    let seen = checkout(&world, &made);
    assert!(seen.payable && seen.methods[0].payable);
    assert!(seen.methods[0].link.is_some() && !seen.methods[0].transactions.is_empty());

    let followed = Chains::new(vec![world.chain.clone()]);
    world.restart_with(Chains::new(Vec::new())).await;
    let absent = world.cashier.absent().to_vec();
    assert_eq!(absent.len(), 1, "{absent:?}");
    assert_eq!((absent[0].chain, &absent[0].name[..]), (ID, CHAIN));
    // The one that is settled waits for nothing there.
    assert_eq!(absent[0].invoices, 1);
    let why = absent[0].why();
    assert!(
        why.contains("1 invoice that is not over") && why.contains("[chains.local]"),
        "{why}"
    );
    let seen = checkout(&world, &world.invoice(1).await);
    assert!(!seen.payable && seen.is_open && !seen.methods[0].payable);
    let [way] = &seen.methods[..] else {
        panic!("{seen:?}")
    };
    assert!(way.link.is_none() && way.transactions.is_empty());
    let why = way.unusable.as_deref().unwrap();
    assert!(why.contains("does not follow its chain any more"), "{why}");

    let check = world.cashier.chains_check().unwrap();
    let told = check.problem.unwrap();
    assert!(
        told.starts_with("local: it is not followed any more"),
        "{told}"
    );
    let is_told = "stencil_hub_chain_trouble{chain=\"local\"} 1";
    assert!(metrics(&world).contains(is_told), "{}", metrics(&world));

    // It is paid all the same, and the chain comes back.
    let due = made.kept.invoice.definition().methods[0].due;
    let due = u64::try_from(due.0).unwrap();
    world
        .follower
        .block(START_S + 2, &[native(3, PAYEE, due)])
        .await;
    world.restart_with(followed).await;
    assert!(world.cashier.absent().is_empty());
    assert_eq!(world.cashier.chains_check().unwrap().problem, None);
    assert!(!metrics(&world).contains(is_told));
    world.catch_up().await;
    assert_eq!(world.state(1).await, "settled");
}

#[tokio::test]
async fn nobody_is_sent_to_a_chain_that_stands_still_and_metrics_tell_its_age() {
    let world = World::new().await;
    let made = world.create(coin(1, Way::UniqueAmount)).await;
    assert!(
        !metrics(&world).contains("chain_behind_seconds{"),
        "nothing was heard yet"
    );
    *world.chain.head.lock().unwrap() = Some(Head {
        number: 870,
        time_s: START_S - 400,
    });
    *world.chain.unusable.lock().unwrap() = Some("the chain local stands still".to_owned());
    let text = metrics(&world);
    for line in [
        "stencil_hub_chain_behind_seconds{chain=\"local\"} 400",
        "stencil_hub_chain_head_block{chain=\"local\"} 870",
        "stencil_hub_chain_trouble{chain=\"local\"} 1",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let seen = checkout(&world, &made);
    assert!(!seen.payable && seen.is_open);
    assert_eq!(
        seen.methods[0].unusable.as_deref(),
        Some("the chain local stands still")
    );
    assert!(seen.methods[0].link.is_none());
}

/// Also where a program reads no further than to the first address.
#[tokio::test]
async fn a_way_that_can_not_be_used_names_nobody_who_could_be_paid() {
    let world = World::new().await;
    let addresses = [PAYEE, CONTRACT].map(|address| address.to_checksum(None));
    for (number, way) in [
        (1, Way::UniqueAmount),
        (2, Way::Contract(CONTRACT)),
        (3, Way::Authorization),
    ] {
        let made = world.create(invoice(number, way, ONE)).await;
        let shown = || serde_json::to_string(&checkout(&world, &made)).unwrap();
        assert!(shown().contains(&addresses[0]), "{}", shown());
        *world.chain.unusable.lock().unwrap() = Some("walks back".to_owned());
        let away = shown();
        for address in &addresses {
            let digits = &address[2..];
            let named = [digits, &digits.to_lowercase()].map(|it| away.contains(it));
            assert_eq!(named, [false, false], "{away}");
        }
        assert!(away.contains("\"unusable\":\"walks back\""), "{away}");
        // The tenant's own programs see what they have set.
        let view = crate::chains::view::methods(&made.kept.invoice, world.cashier.chains());
        assert_eq!(view[0].payee.as_ref(), Some(&addresses[0]));
        *world.chain.unusable.lock().unwrap() = None;
    }
}

/// One euro is one coin.
struct Par;

#[async_trait::async_trait]
impl RateSource for Par {
    async fn rate(&self, token: &Token, currency: Currency, now_us: i64) -> Option<Rate> {
        Rate::parse("1", currency, token, "par", now_us).ok()
    }
}

#[tokio::test]
async fn a_chain_that_is_stopped_or_was_not_reached_keeps_no_invoice_from_being_paid_on_another() {
    let (one, two) = (Fake::new(), Fake::called("other", 5));
    let chains = Chains::new(vec![one.clone(), two.clone()]);
    let way = |chain: &str| {
        serde_json::json!({
            "chain": chain,
            "token": "native",
            "way": "unique_amount",
            "payee": PAYEE.to_checksum(None),
        })
    };
    let settings = serde_json::json!({ "methods": [way(CHAIN), way("other")] });
    let settings: PaymentSettings = serde_json::from_value(settings).unwrap();
    let price = Price::Fiat(Fiat::parse("1.00", Currency::parse("EUR").unwrap()).unwrap());
    let made = async || {
        settings.check_ready(&chains, &price, None)?;
        let methods = settings.methods(&chains, &price, None, &Par, 1).await;
        let methods = methods.map_err(|(_, why)| why)?;
        let of = methods.iter().map(|method| method.token.asset().chain);
        Ok::<_, String>(of.collect::<Vec<_>>())
    };
    assert_eq!(made().await, Ok(vec![ID, 5]));
    one.stopped.store(true, Ordering::SeqCst);
    assert_eq!(made().await, Ok(vec![5]));
    // Who names it waits for it.
    let named = [settings.ways(&chains)[0].name.clone()];
    let why = settings.check_ready(&chains, &price, Some(&named));
    assert!(why.unwrap_err().contains("the chain local is not followed"));
    two.stopped.store(true, Ordering::SeqCst);
    let why = made().await.unwrap_err();
    assert!(why.contains("is not followed now"), "{why}");
    assert!(settings.left_out(&chains).is_some());
    for chain in [&one, &two] {
        chain.stopped.store(false, Ordering::SeqCst);
    }
    assert_eq!(settings.left_out(&chains), None);
    // As after a start, whose endpoints do not answer yet.
    let not_yet = "the chain local was not reached yet";
    *one.not_ready.lock().unwrap() = Some(not_yet.to_owned());
    assert_eq!(made().await, Ok(vec![5]));
    let why = settings.check_ready(&chains, &price, Some(&named));
    assert_eq!(why, Err(not_yet.to_owned()));
    assert_eq!(settings.left_out(&chains), Some(not_yet.to_owned()));
    // The other one is heard of, and can't be used.
    *two.unusable.lock().unwrap() = Some("the chain other stands still".to_owned());
    assert_eq!(made().await, Err(not_yet.to_owned()));
    *two.unusable.lock().unwrap() = None;
    *two.not_ready.lock().unwrap() = Some("the chain other neither".to_owned());
    assert_eq!(made().await, Err(not_yet.to_owned()));
    *one.not_ready.lock().unwrap() = None;
    assert_eq!(made().await, Ok(vec![ID]));
}
