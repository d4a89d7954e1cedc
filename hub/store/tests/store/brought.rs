//! What payers have signed and the hub brings to a chain: what came to nothing is counted, and sales leave a half of
//! a limit to invoices.

use stencil_store::sqlite::Options;
use stencil_store::{
    Amount, BlockMark, Brought, BroughtInVain, Error, NewSend, SendAttempt, SendOutcome, SendState,
    Sends, SpendLimit,
};

use crate::{acme, fresh, reopen};

const CHAIN: &str = "dev";
const SENDER: [u8; 20] = [1; 20];
const PAYER: [u8; 20] = [5; 20];
const SECOND: i64 = 1_000_000;

fn amount(n: u8) -> Amount {
    let mut amount = [0; 32];
    amount[31] = n;
    amount
}

/// What a payer has signed, at a cost of ten at most. It is for the invoice of its number.
fn signed(number: u8, payer: [u8; 20], is_sale: bool) -> NewSend {
    NewSend {
        chain: CHAIN.to_owned(),
        sender: SENDER,
        tenant: "acme".to_owned(),
        key: format!("signed-{number}"),
        receiver: [2; 20],
        value: amount(0),
        data: vec![number],
        gas: 21_000,
        most_fee: amount(10),
        token: None,
        brings: Some(Brought {
            payer,
            invoice: [number; 16],
            is_sale,
        }),
    }
}

async fn limited(sends: &dyn Sends, most: u8) {
    let limit = SpendLimit {
        tenant: "acme".to_owned(),
        chain: CHAIN.to_owned(),
        asset: None,
        window_s: 60,
        most: amount(most),
    };
    sends.set_spend_limit(&limit).await.unwrap();
}

fn ended(succeeded: bool) -> SendOutcome {
    SendOutcome {
        tx: [7; 32],
        block: BlockMark {
            number: 8,
            hash: [8; 32],
        },
        succeeded,
        fee: None,
    }
}

#[tokio::test]
async fn what_a_payer_has_signed_in_vain_is_counted_and_nothing_else() {
    let fresh = fresh().await;
    let sends = fresh.store.sends.as_ref();
    fresh.store.chains.open_chain(CHAIN, 1, 1).await.unwrap();
    limited(sends, 255).await;
    let another = [6; 20];
    for number in 0..6 {
        let payer = if number == 5 { another } else { PAYER };
        let send = signed(number, payer, number % 2 == 0);
        let at_us = i64::from(number) * SECOND;
        let kept = sends.reserve_send(&send, 0, at_us).await.unwrap();
        assert_eq!(kept.nonce, u64::from(number));
        let stored = sends.send("acme", &send.key).await.unwrap().unwrap();
        assert_eq!(stored.send, send);
    }
    // One is on its way, one has paid, and one was given up by the hub: no node took it.
    let empty = SendAttempt {
        tx: [7; 32],
        raw: vec![7],
        max_fee: 1,
        max_priority: 1,
        signed_us: 1,
        gives_up: Some("no node takes it".to_owned()),
    };
    sends
        .add_attempt(CHAIN, SENDER, 3, 0, &empty)
        .await
        .unwrap();
    for (nonce, state) in [
        (0, SendState::Included(ended(false))),
        (1, SendState::Final(ended(false))),
        (2, SendState::Final(ended(true))),
        (3, SendState::Final(ended(false))),
        (5, SendState::Final(ended(false))),
    ] {
        sends
            .set_send_state(CHAIN, SENDER, nonce, state)
            .await
            .unwrap();
    }
    let in_vain = async |tenant: &str, chain: &str, since_us: i64, limit: u32| {
        let found = sends.brought_in_vain(tenant, chain, PAYER, since_us, limit);
        found.await.unwrap()
    };
    let of = |number: u8| BroughtInVain {
        invoice: [number; 16],
        reserved_us: i64::from(number) * SECOND,
    };
    assert_eq!(in_vain("acme", CHAIN, -1, 9).await, [of(1), of(0)]);
    assert_eq!(in_vain("acme", CHAIN, 0, 9).await, [of(1)]);
    assert_eq!(in_vain("acme", CHAIN, -1, 1).await, [of(1)]);
    assert_eq!(in_vain("other", CHAIN, -1, 9).await, []);
    assert_eq!(in_vain("acme", "main", -1, 9).await, []);
    // A reorganisation that takes a block away takes back what was counted for it.
    let back = ended(false).block;
    sends.take_back_send(CHAIN, SENDER, 1, back).await.unwrap();
    assert_eq!(in_vain("acme", CHAIN, -1, 9).await, [of(0)]);
    // And a restart forgets nothing.
    let again = reopen(fresh.folder.path(), Options::default()).await;
    let found = again.sends.brought_in_vain("acme", CHAIN, PAYER, -1, 9);
    assert_eq!(found.await.unwrap(), [of(0)]);
}

#[tokio::test]
async fn sales_leave_a_half_of_a_limit_to_invoices_where_there_are_some() {
    let fresh = fresh().await;
    let sends = fresh.store.sends.as_ref();
    fresh.store.chains.open_chain(CHAIN, 1, 1).await.unwrap();
    limited(sends, 45).await;
    let reserve = async |number: u8, is_sale: bool| {
        let send = signed(number, PAYER, is_sale);
        sends.reserve_send(&send, 0, 100 * SECOND).await
    };
    let share = async || {
        let spent = sends.spent("acme", 100 * SECOND).await.unwrap();
        let sales = spent[0].sales.clone();
        sales.map(|sales| (sales.most, sales.used))
    };
    // As long as the tenant is paid by no invoices on the chain, all of it is for sales.
    reserve(0, true).await.unwrap();
    assert_eq!(share().await, None);
    let payments = &fresh.store.payments;
    let takes = async |chain: u64| {
        let payees = [(chain, [9; 20])];
        let acme = acme();
        let set = payments.set_payment_settings(&acme, "{}", &payees, 1);
        set.await.unwrap();
    };
    takes(2).await;
    assert_eq!(share().await, None, "on another chain");
    takes(1).await;
    assert_eq!(share().await, Some((amount(22), amount(10))));
    reserve(1, true).await.unwrap();
    let error = reserve(2, true).await.unwrap_err();
    assert!(
        matches!(&error, Error::Conflict(why) if why.contains("sales (x402)")
            && why.contains("a half of the limit")),
        "{error}"
    );
    // What the tenant's invoices and all else of its own want is still there.
    reserve(3, false).await.unwrap();
    let own = NewSend {
        brings: None,
        ..signed(4, PAYER, false)
    };
    sends.reserve_send(&own, 0, 100 * SECOND).await.unwrap();
    assert_eq!(share().await, Some((amount(22), amount(20))));
    let error = reserve(5, false).await.unwrap_err();
    assert!(error.to_string().contains("would spend"), "{error}");
    // What was sold leaves the share as it leaves the limit.
    let later = signed(6, PAYER, true);
    let kept = sends.reserve_send(&later, 0, 161 * SECOND);
    kept.await.unwrap();
}
