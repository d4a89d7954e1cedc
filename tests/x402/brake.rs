//! Payers who take the money away before it is settled: each settlement that fails costs gas of the tenant's, and
//! those who pay have to be settled all the same.

use serde_json::json;
use stencil_devchain::Mining;

use crate::shop::{Answer, PAYEE, Shop, now_s, other, payer};
use crate::support::wait_for;

const PATH: &str = "/x402/acme/latest";
/// More than any of them has.
const FORTUNE: u64 = 100_000_000;

fn selling() -> Shop {
    let shop = Shop::open(&[], &[]);
    shop.readings("meter-1", 2);
    let offer = json!({
        "sells": { "endpoint": { "path": "/api/v1/devices/meter-1/latest" } },
        "prices": [shop.price(shop.token)], "settle_s": 1,
    });
    shop.offer("latest", &offer);
    shop.chain.set_mining(Mining::Manual);
    shop
}

fn pays(shop: &Shop, signed: &str) -> Answer {
    shop.send("GET", PATH, &[("payment-signature", signed)], "")
}

/// Waits until a settlement that was ordered is with the chain.
fn is_broadcast(shop: &Shop) {
    wait_for("the settlement to be sent", || {
        shop.has_waiting().then_some(())
    });
}

#[test]
fn a_payer_who_takes_the_money_away_is_refused_after_some_times_and_a_restart_forgets_nothing() {
    let mut shop = selling();
    for _ in 0..3 {
        let required = shop.asks("GET", PATH, "");
        let signed = shop.signs(&required);
        let answer = pays(&shop, &signed);
        assert_eq!(answer.status, 503, "it is on its way: {answer:?}");
        is_broadcast(&shop);
        shop.spends(shop.token, shop.balance(shop.token, payer().address));
        shop.mine(1);
        let answer = wait_for("the settlement to have failed", || {
            let answer = pays(&shop, &signed);
            (answer.status != 503).then_some(answer)
        });
        assert_eq!(answer.status, 402, "{answer:?}");
        assert!(answer.body.contains("nothing was paid"), "{answer:?}");
        shop.mint(shop.token, payer().address, FORTUNE);
        shop.mine(1);
    }
    for is_new in [false, true] {
        if is_new {
            shop.hub.start_again(None);
        }
        let required = wait_for("the chain to be known", || {
            let answer = shop.send("GET", PATH, &[], "");
            (answer.status == 402).then(|| shop.asks("GET", PATH, ""))
        });
        let signed = shop.signs(&required);
        let answer = pays(&shop, &signed);
        assert_eq!(answer.status, 402, "{answer:?}");
        for told in ["invalid_transaction_state", "3 payments", "have failed"] {
            assert!(answer.body.contains(told), "{told}: {answer:?}");
        }
        let after_s: u64 = answer.head["retry-after"].parse().unwrap();
        assert!((80_000..=86_400).contains(&after_s), "{after_s}");
        assert!(!shop.has_waiting());
    }
    // Somebody else buys.
    shop.mint(shop.token, other().address, FORTUNE);
    shop.mine(1);
    let required = shop.asks("GET", PATH, "");
    let signed = shop.signs_by(&other(), &required);
    assert_eq!(pays(&shop, &signed).status, 503);
    is_broadcast(&shop);
    shop.mine(1);
    let bought = wait_for("what was paid for", || {
        let answer = pays(&shop, &signed);
        (answer.status != 503).then_some(answer)
    });
    assert_eq!(bought.status, 200, "{bought:?}");
    assert_eq!(shop.balance(shop.token, PAYEE), 10_000);
    shop.hub.is_sound();
}

/// Five settlements fit into the limit at one time. Strangers take two of them, and however many more they want,
/// an invoice is brought.
#[test]
fn strangers_who_buy_leave_room_for_invoices() {
    let mut shop = selling();
    let settings = json!({ "methods": [{
        "chain": "local", "token": "USDX", "way": "authorization", "payee": PAYEE, "confirmations": 1,
    }] });
    let set = shop.admin("PUT", "/api/v1/payments/settings", &settings);
    assert_eq!(set.status, 200, "{set:?}");
    assert_eq!(shop.limit("500000000000000000").status, 204);
    let limit = |shop: &Shop| {
        let seen = shop.hub.get("/api/v1/payments/spending").json();
        seen["limits"][0].clone()
    };
    let seen = limit(&shop);
    assert_eq!(seen["sales_most_amount"], "0.25", "{seen}");
    let told = seen["warning"].as_str().unwrap();
    assert!(
        told.contains("5 settlements at one time, 2 of them"),
        "{told}"
    );
    let said = shop.operates(&["tenant", "limits", "acme"]);
    assert!(
        said.contains("look at this again: 0.5 of the coin"),
        "{said}"
    );
    for n in 0..4 {
        let required = shop.asks("GET", PATH, "");
        let signed = shop.signs(&required);
        let answer = pays(&shop, &signed);
        if n < 2 {
            assert_eq!(answer.status, 503, "{n} is on its way: {answer:?}");
        } else {
            assert_eq!(answer.status, 402, "{n}: {answer:?}");
            assert!(answer.body.contains("the seller's limit"), "{answer:?}");
        }
    }
    let seen = limit(&shop);
    assert_eq!(
        (&seen["used_amount"], &seen["sales_used_amount"]),
        (&"0.2".into(), &"0.2".into()),
        "{seen}"
    );
    let invoice = json!({ "amount": "2.5", "token": "local/USDX" });
    let made = shop.admin("POST", "/api/v1/invoices", &invoice);
    assert_eq!(made.status, 201, "{made:?}");
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let seen = shop.send("GET", &format!("/pay/{id}/checkout"), &[], "");
    let way = &seen.json()["methods"][0];
    assert_eq!(way["hub_pays_gas"], true, "{seen:?}");
    let given = shop.authorizes(&way["typed_data"], now_s() + 600);
    let path = format!("/pay/{id}/authorization");
    let brought = shop.send("POST", &path, &[], &given.to_string());
    assert_eq!(brought.status, 202, "{brought:?}");
    wait_for("the invoice to be paid", || {
        shop.mine(1);
        let seen = shop.hub.get(&format!("/api/v1/invoices/{id}")).json();
        (seen["state"] == "settled").then_some(())
    });
    // What is final has cost what it has cost: strangers are served again.
    wait_for("what was bought to be final", || {
        shop.mine(1);
        (limit(&shop)["open_amount"] == "0").then_some(())
    });
    let required = shop.asks("GET", PATH, "");
    let signed = shop.signs(&required);
    assert_eq!(pays(&shop, &signed).status, 503, "it is on its way again");
    shop.hub.is_sound();
}
