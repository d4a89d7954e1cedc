//! What the page says of each state, without a script.

use stencil_payments::invoice::Facets;

use super::*;
use crate::chains::checkout::{Payable, RefundSeen, Seen};
use crate::chains::view::{MethodView, PaymentView, PriceView, Shown, TokenView};

const PAYEE: &str = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed";
const PAYER: &str = "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359";
const LINK: &str = "ethereum:0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed@31337/transfer?uint256=1";

fn shown(amount: &str, units: &str) -> Shown {
    Shown {
        amount: amount.to_owned(),
        units: units.to_owned(),
    }
}

fn way(way: &str) -> Payable {
    let token = TokenView {
        asset: format!("eip155:31337/erc20:{PAYEE}"),
        symbol: "USDC".to_owned(),
        decimals: 6,
        contract: Some(PAYEE.to_owned()),
    };
    let is_signed = way == "authorization";
    Payable {
        method: MethodView {
            name: format!("dev/USDC/{way}"),
            chain: "dev".to_owned(),
            chain_id: 31_337,
            token,
            way: way.to_owned(),
            payee: Some(PAYEE.to_owned()),
            contract: None,
            due: shown("2.500000", "2500000"),
            open: shown("2.500000", "2500000"),
            rate: None,
            confirmations: Some(3),
        },
        payable: true,
        unusable: None,
        link: (!is_signed).then(|| LINK.to_owned()),
        transactions: if is_signed {
            vec![]
        } else {
            vec![serde_json::json!({})]
        },
        typed_data: is_signed.then(|| serde_json::json!({})),
        attempt: is_signed.then_some(0),
        nonces: vec![],
        hub_pays_gas: is_signed,
        add_chain: None,
    }
}

fn payment() -> PaymentView {
    PaymentView {
        method: "dev/USDC/unique_amount".to_owned(),
        amount: shown("1.000000", "1000000"),
        from: PAYER.to_owned(),
        tx: format!("0x{}", "ab".repeat(32)),
        key: String::new(),
        block: 9,
        time_s: 1_700_000_000,
        counted: false,
    }
}

fn seen(confirmations: u64) -> Seen {
    Seen {
        payment: payment(),
        confirmations,
    }
}

fn view(state: &str) -> Checkout {
    Checkout {
        id: "07".repeat(16),
        version: 1,
        state: state.to_owned(),
        facets: Facets::default(),
        price: PriceView {
            amount: shown("2.00", "200"),
            currency: Some("EUR".to_owned()),
            token: None,
        },
        title: Some("Locker <7>".to_owned()),
        description: None,
        return_url: None,
        expires_us: 1_700_000_900_000_000,
        now_us: 1_700_000_000_000_000,
        payable: matches!(state, "new" | "seen"),
        is_open: matches!(state, "new" | "seen"),
        methods: vec![way("authorization"), way("unique_amount")],
        payments: vec![],
        lost: vec![],
        refunds: vec![],
    }
}

fn text(view: &Checkout) -> String {
    page(view, "acme").into_string()
}

#[track_caller]
fn says(view: &Checkout, words: &[&str]) {
    let text = text(view);
    for word in words {
        assert!(text.contains(word), "«{word}» is not in\n{text}");
    }
}

#[track_caller]
fn says_not(view: &Checkout, words: &[&str]) {
    let text = text(view);
    for word in words {
        assert!(!text.contains(word), "«{word}» is in\n{text}");
    }
}

#[test]
fn what_is_to_be_paid_is_said_without_a_script() {
    let view = view("new");
    says(
        &view,
        &[
            "Pay <strong>acme</strong>",
            "<h1>Locker &lt;7&gt;</h1>",
            "2.00 EUR",
            "Waiting for your payment.",
            "2023-11-14 22:28:20 UTC",
            "<strong>2.50 USDC</strong> on dev",
            "chain id 31337",
            PAYEE,
            &format!("href=\"{LINK}\""),
            "aria-label=\"Code that pays 2.50 USDC on dev\"",
            "Choose how to pay",
            "needs a wallet in this browser, and JavaScript",
            "name=\"robots\" content=\"noindex\"",
        ],
    );
    let text = text(&view);
    assert_eq!(text.matches(" open>").count(), 1, "the first way is open");
    assert!(!text.contains("<7>"), "a title is text");
}

#[test]
fn what_nobody_brings_to_the_chain_is_not_offered() {
    let mut view = view("new");
    view.methods[0].hub_pays_gas = false;
    says_not(&view, &["without a fee", "Choose how to pay"]);
    says(&view, &["How to pay"]);
    view.methods.remove(1);
    says(
        &view,
        &[
            "can't be paid at the moment",
            "what you would sign can't be brought to the chain now",
        ],
    );
    says_not(&view, &["the chain does not answer"]);
}

#[test]
fn a_way_whose_chain_is_away_shows_that_and_no_place_to_pay() {
    let away = |way: &mut Payable| {
        way.payable = false;
        way.unusable = Some("the chain dev can't be used now: it stands still".to_owned());
        (way.link, way.transactions, way.typed_data) = (None, vec![], None);
    };
    let mut view = view("new");
    away(&mut view.methods[1]);
    view.methods[1].method.payee = Some("0xaway".to_owned());
    view.methods[0].method.payee = Some("0xthere".to_owned());
    says(
        &view,
        &[
            "Waiting for your payment.",
            "0xthere",
            "It can't be used now: the chain dev can't be used now: it stands still",
        ],
    );
    says_not(&view, &["0xaway", "ethereum:"]);
    away(&mut view.methods[0]);
    view.payable = false;
    says(
        &view,
        &[
            "It can't be paid at the moment.",
            "Do not pay now.",
            "it counts, and shows here",
        ],
    );
    says_not(
        &view,
        &[
            "0xthere",
            "ethereum:",
            "<svg class=\"qr",
            "data-wallet",
            "The time to pay is over",
        ],
    );
}

#[test]
fn what_can_not_be_paid_any_more_shows_no_way_to_pay() {
    let mut over = view("new");
    (over.payable, over.is_open) = (false, false);
    for (view, words) in [
        (over, "Do not pay any more."),
        (view("confirming"), "Nothing is left to do."),
        (view("settled"), "Paid. Thank you!"),
        (view("expired"), "The time to pay is over."),
        (view("cancelled"), "called off. Do not pay it."),
    ] {
        says(&view, &[words]);
        says_not(
            &view,
            &["<details", "ethereum:", "data-until", "data-wallet"],
        );
    }
}

#[test]
fn a_payment_is_shown_until_it_is_settled() {
    let mut part = view("seen");
    part.payments = vec![seen(1)];
    part.facets.underpaid = true;
    says(
        &part,
        &["A part has arrived.", "<details", "1.00 USDC", PAYER],
    );
    let mut confirming = view("confirming");
    confirming.payments = vec![seen(2)];
    says(
        &confirming,
        &[
            "aria-current=\"step\">Is confirmed",
            " 2 of 3",
            "confirmation 2 of 3",
        ],
    );
    // More than are wanted are no more than that.
    confirming.payments = vec![seen(9)];
    says(&confirming, &["3 of 3"]);
    confirming.methods[1].method.confirmations = None;
    says(&confirming, &["9, until it is final"]);
    let mut settled = view("settled");
    settled.payments = vec![seen(3)];
    settled.payments[0].payment.counted = true;
    settled.return_url = Some("https://shop.example/?a=1&b=2".to_owned());
    says(
        &settled,
        &[
            "confirmed",
            "href=\"https://shop.example/?a=1&amp;b=2\" rel=\"noreferrer\"",
            "Go on",
        ],
    );
    says(
        &settled,
        &[&format!("href=\"/pay/{}/receipt\"", settled.id)],
    );
    says_not(&settled, &["aria-current=\"step\""]);
}

#[test]
fn what_is_not_as_it_should_be_is_said_in_plain_words() {
    let mut lost = view("new");
    lost.lost = vec![payment()];
    says(
        &lost,
        &["The payment of 1.00 USDC is no longer in the chain; nothing is lost."],
    );
    let mut late = view("expired");
    late.payments = vec![seen(3)];
    (late.facets.late, late.facets.undecided) = (true, true);
    says(
        &late,
        &[
            "after the time was over",
            "acme decides what becomes of it.",
        ],
    );
    let mut over = view("settled");
    (over.facets.overpaid, over.facets.refund_due) = (true, true);
    says(
        &over,
        &["More has come than was due.", "What is too much goes back."],
    );
}

#[test]
fn where_a_refund_goes_is_asked_of_who_paid() {
    let mut view = view("cancelled");
    view.payments = vec![seen(3)];
    let refund = RefundSeen {
        id: "cd".repeat(32),
        amount: shown("1.000000", "1000000"),
        method: "dev/USDC/unique_amount".to_owned(),
        status: "due".to_owned(),
        to: None,
        tx: None,
        confirm: Some("Send it to {address}".to_owned()),
    };
    view.refunds = vec![refund.clone()];
    says(
        &view,
        &[
            "What was paid goes back.",
            "What goes back",
            "Say where it goes",
            "data-statement=\"Send it to {address}\"",
            &format!("value=\"{PAYER}\""),
        ],
    );
    view.refunds = vec![RefundSeen {
        status: "sent".to_owned(),
        to: Some(PAYER.to_owned()),
        confirm: None,
        ..refund
    }];
    says(&view, &["on its way"]);
    says_not(&view, &["Say where it goes"]);
}

#[test]
fn nothing_comes_from_elsewhere_and_nothing_runs_inline() {
    for state in [
        "new",
        "seen",
        "confirming",
        "settled",
        "expired",
        "cancelled",
    ] {
        let text = text(&view(state));
        for inline in [
            " style=",
            "<style",
            " onclick=",
            "javascript:",
            "http://",
            "https://",
        ] {
            assert!(!text.contains(inline), "{state}: {inline}");
        }
        for script in text.split("<script").skip(1) {
            assert!(script.starts_with(" src=\"/assets/"), "{state}: {script}");
        }
    }
}
