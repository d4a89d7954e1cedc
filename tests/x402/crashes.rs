//! A purchase goes on wherever the hub was killed.

use serde_json::json;

use crate::shop::{PAYEE, Shop, payer};
use crate::support::wait_for;

/// The places between the steps of a purchase.
const POINTS: [&str; 9] = [
    "x402.kept",
    "cashier.before_created",
    "x402.invoiced",
    "send.reserved",
    "send.signed",
    "send.broadcast",
    "x402.ordered",
    "x402.settled",
    "x402.answered",
];

#[test]
fn the_same_payment_is_paid_once_and_answered_wherever_the_hub_was_killed() {
    let mut shop = Shop::open(&[], &[]);
    shop.readings("meter-1", 5);
    let offer = json!({
        "sells": { "endpoint": { "path": "/api/v1/devices/meter-1/latest" } },
        "prices": [shop.price(shop.token)], "settle_s": 20,
    });
    shop.offer("latest", &offer);
    let path = "/x402/acme/latest";
    let before = shop.balance(shop.token, payer().address);
    for (n, point) in (1..).zip(POINTS) {
        shop.hub.start_again(Some(&format!("{point}:1")));
        let signed = {
            let required = wait_for("the chain to be known", || {
                let answer = shop.send("GET", path, &[], "");
                (answer.status == 402).then(|| shop.asks("GET", path, ""))
            });
            shop.signs(&required)
        };
        let headers = [("payment-signature", signed.as_str())];
        let cut = shop.try_send("GET", path, &headers, "");
        assert!(cut.is_none(), "{point} was not reached: {cut:?}");
        shop.hub.ended();
        shop.hub.start_again(None);
        let answer = wait_for(&format!("what was paid for, after {point}"), || {
            let answer = shop.send("GET", path, &headers, "");
            (answer.status != 503).then_some(answer)
        });
        assert_eq!(answer.status, 200, "{point}: {answer:?}");
        assert_eq!(answer.json()["items"][0]["value"], 4, "{point}");
        assert_eq!(shop.balance(shop.token, PAYEE), n * 10_000, "{point}");
        assert_eq!(
            shop.balance(shop.token, payer().address),
            before - n * 10_000,
            "{point}"
        );
    }
    shop.hub.is_sound();
}
