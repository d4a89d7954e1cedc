//! Reference clients buy a series.

use serde_json::{Value, json};

use crate::shop::{PAYEE, Shop, payer};
use crate::support::wait_for;

fn series(shop: &Shop, token: alloy_primitives::Address) -> Value {
    json!({
        "sells": { "series": {
            "device": "meter-1", "name": "temperature", "longest_span_s": 60,
        } },
        "prices": [shop.price(token)], "settle_s": 20,
    })
}

#[test]
fn clients_of_npm_and_pypi_buy_a_series_and_are_charged_once_each() {
    let shop = Shop::open(&[], &[]);
    let first_us = shop.readings("meter-1", 20);
    shop.offer("feed", &series(&shop, shop.token));
    let path = format!(
        "/x402/acme/feed?from_us={first_us}&to_us={}",
        first_us + 10_000_000
    );
    let before = shop.balance(shop.token, payer().address);

    let npm = shop.buys_by_npm("GET", &path, "");
    let python = shop.buys_by_python("GET", &path);
    for (paid, bought) in [(1, &npm), (2, &python)] {
        assert_eq!(bought["status"], 200, "{bought}");
        let items = bought["body"]["items"].as_array().unwrap();
        assert_eq!(items.len(), 10, "{bought}");
        assert_eq!(items[3]["value"], 3);
        let settled = &bought["settled"];
        assert_eq!(settled["success"], true, "{bought}");
        assert_eq!(settled["network"], "eip155:31337");
        assert_eq!(settled["payer"], bought["payer"]);
        let receipt = shop.receipt(settled["transaction"].as_str().unwrap());
        assert_eq!(receipt["status"], "0x1", "{paid}: {receipt}");
    }
    assert_eq!(shop.balance(shop.token, PAYEE), 20_000);
    assert_eq!(shop.balance(shop.token, payer().address), before - 20_000);

    // What npm's client has sent, sent again, is answered the same and not charged.
    let signed = npm["signed"].as_str().unwrap();
    let again = shop.send("GET", &path, &[("payment-signature", signed)], "");
    assert_eq!(again.status, 200, "{again:?}");
    assert_eq!(again.json(), npm["body"]);
    assert_eq!(shop.balance(shop.token, PAYEE), 20_000);

    // A purchase is an invoice, and the books have it.
    let purchases = shop.hub.items("/api/v1/purchases");
    assert_eq!(purchases.len(), 2);
    let id = purchases[0]["purchase"].as_str().unwrap();
    let invoice = shop.hub.get(&format!("/api/v1/invoices/{id}"));
    assert_eq!(invoice.json()["state"], "settled", "{invoice:?}");
    shop.mine(10);
    wait_for("the payment to be final", || {
        let invoice = shop.hub.get(&format!("/api/v1/invoices/{id}"));
        (invoice.json()["state"] == "settled").then_some(())
    });
    shop.hub.is_sound();
}

#[test]
fn a_token_that_takes_a_fee_and_a_chain_that_is_away_are_told_as_such() {
    let mut shop = Shop::open(&[], &[]);
    shop.readings("meter-1", 5);
    shop.offer("feed", &series(&shop, shop.fee_token));
    let required = shop.asks("GET", "/x402/acme/feed", "");
    let signed = shop.signs(&required);
    let answer = shop.send(
        "GET",
        "/x402/acme/feed",
        &[("payment-signature", &signed)],
        "",
    );
    assert_eq!(answer.status, 402, "{answer:?}");
    assert!(answer.body.contains("fee"), "{answer:?}");
    shop.hub.is_sound();
}
