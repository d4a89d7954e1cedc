//! Somebody pays with a wallet in their browser: by a signature on a phone, through the contract at a
//! desk with everything that goes wrong on the way; the time runs out, and a block is taken back.

use serde_json::json;
use stencil_payments::U256;

use crate::Visit;
use crate::audit;
use crate::pages::everywhere;
use crate::shop::{CONFIRMATIONS, Shop};
use crate::support::browser::{Browser, DESKTOP, PHONE, keys};
use crate::support::{http, wait_for};
use crate::wallet::Wallet;

const SIGNED: &str = "dev/DUSD/authorization";
const CONTRACT: &str = "dev/DUSD/contract";
const COIN: &str = "dev/ETH/unique_amount";
/// 2 euros in base units of the dollar.
const DUE: u64 = 2_500_000;

/// Whoever has a phone scans the code, and must not have to look for it.
#[test]
fn the_code_is_within_the_first_screen_of_a_phone_and_of_a_desk() {
    let shop = Shop::open();
    let id = shop.bills(&[COIN]);
    let visit = comes_to(&shop);
    for screen in [PHONE, DESKTOP] {
        visit.browser.on_screen(screen);
        visit.opens_checkout(&id);
        let at = visit.browser.run(
            "scrollTo(0, 0); const it = document.querySelector('details[open] .qr').getBoundingClientRect(); \
             return [it.top, it.bottom, it.width, it.height, innerHeight]",
        );
        let at: Vec<f64> = serde_json::from_value(at).unwrap();
        assert!(at[0] > 0.0 && at[1] <= at[4], "{}: {at:?}", screen.name);
        assert!(at[2] >= 140.0 && (at[2] - at[3]).abs() < 1.0, "{at:?}");
    }
}

/// A payer's browser with two wallets in it.
pub(crate) fn comes_to(shop: &Shop) -> Visit {
    let browser = Browser::start();
    browser.inject(include_str!("wallets.inject.js"));
    let origin = format!("http://127.0.0.1:{}", shop.hub.port("http"));
    Visit { browser, origin }
}

impl Visit {
    fn opens_checkout(&self, id: &str) {
        self.browser.open(&format!("{}/pay/{id}", self.origin));
        self.browser
            .find("#pay-0-0, .again, [data-wallet] .alert, #standing .good, #standing .bad");
    }

    fn shows(&self, css: &str, words: &str) {
        self.browser.wait_for_text(css, words);
    }
}

#[test]
fn somebody_pays_by_a_signature_on_a_phone() {
    let shop = Shop::open();
    shop.mints(2, DUE);
    let id = shop.bills(&[SIGNED, CONTRACT, COIN]);
    let visit = comes_to(&shop);
    let mut wallet = Wallet::new(&shop.chain, 2);
    let mut faults = everywhere(&visit, "checkout-new", || visit.opens_checkout(&id));
    visit.browser.on_screen(PHONE);
    visit.opens_checkout(&id);
    visit.mark();
    visit.shows(".due", "acme");
    visit.shows(".due h1", "Locker 7, one hour");
    visit.shows(".due .price", "2.00 EUR");
    visit.shows(".until", "left");
    visit.shows("#ways details[open] summary", "2.50 DUSD on dev");
    // Both wallets by their names, which are text; the icon from elsewhere is none.
    visit.shows("#pay-0-0", "Pay with Amber");
    visit.shows("#pay-0-1", "Pay with Basalt <b>wallet</b>");
    let icons = visit
        .browser
        .run("return [...document.images].map((one) => one.src.slice(0, 10))");
    let icons = icons.as_array().unwrap();
    assert!(
        !icons.is_empty() && icons.iter().all(|icon| icon == "data:image"),
        "{icons:?}"
    );

    // Without a mouse.
    visit.browser.tab_to("#pay-0-1");
    visit.browser.press(keys::ENTER);
    wallet.until(&visit, "a signature", |it| {
        (it.times("eth_signTypedData_v4") > 0).then_some(())
    });
    visit.shows("#progress [aria-current]", "Is confirmed");
    visit.shows("#standing", "Your payment has arrived.");
    visit.shows("#payments", &wallet.address().to_checksum(None));
    faults.extend(audit::faults(&visit.browser));
    for n in 2..CONFIRMATIONS {
        shop.chain.mine(1);
        visit.shows("#progress", &format!("{n} of {CONFIRMATIONS}"));
    }
    shop.chain.mine(1);
    visit.shows("#standing", "Paid. Thank you!");
    visit.shows("#after", "Go on");
    let receipt = format!("/pay/{id}/receipt");
    let receipt = http::get(shop.hub.port("http"), &receipt, None).json();
    assert_eq!(receipt["invoice"], id, "{receipt}");
    visit.is_the_same();
    assert!(
        wallet.asked.iter().all(|(by, _)| by == "example.basalt"),
        "{:?}",
        wallet.asked
    );
    // No gas was needed, and nothing was asked twice.
    assert!(wallet.sent.is_empty());
    assert_eq!(wallet.times("eth_signTypedData_v4"), 1);
    let invoice = shop.invoice(&id);
    assert_eq!(invoice["state"], "settled", "{invoice}");
    assert_eq!(invoice["payments"][0]["units"], DUE.to_string());
    faults.extend(everywhere(&visit, "checkout-settled", || {
        visit.opens_checkout(&id)
    }));
    assert!(faults.is_empty(), "{faults:#?}");
    visit.is_clean();
    shop.hub.is_sound();
}

#[test]
fn a_wallet_that_does_not_know_the_chain_is_told_of_it() {
    let shop = Shop::open_with(
        "wallet = { name = \"Dev chain\", rpc = [\"http://127.0.0.1:8545\"], coin = \"ETH\" }",
    );
    shop.mints(2, DUE);
    let id = shop.bills(&[SIGNED]);
    let visit = comes_to(&shop);
    let mut wallet = Wallet::new(&shop.chain, 2);
    (wallet.on, wallet.knows) = (1, vec![1]);
    visit.opens_checkout(&id);
    // They are asked, and say no: nothing has happened.
    wallet.refuses = Some("wallet_addEthereumChain");
    visit.browser.click("#pay-0-0");
    wallet.until_shown(
        &visit,
        "#doing.bad",
        "You said no in Amber. Nothing was sent",
    );
    assert_eq!((wallet.on, wallet.added.len()), (1, 0));
    wallet.refuses = None;
    visit.browser.click("#pay-0-0");
    wallet.until(&visit, "a signature", |it| {
        (it.times("eth_signTypedData_v4") > 0).then_some(())
    });
    let told = json!({
        "chainId": "0x7a69", "chainName": "Dev chain", "rpcUrls": ["http://127.0.0.1:8545"],
        "nativeCurrency": { "name": "ETH", "symbol": "ETH", "decimals": 18 },
    });
    assert_eq!((wallet.on, &wallet.added[..]), (31_337, &[told][..]));
    visit.shows("#progress [aria-current]", "Is confirmed");
}

#[test]
fn somebody_pays_through_the_contract_at_a_desk_and_much_goes_wrong() {
    let shop = Shop::open();
    let id = shop.bills(&[CONTRACT]);
    let visit = comes_to(&shop);
    let mut wallet = Wallet::new(&shop.chain, 3);
    visit.opens_checkout(&id);

    // They do not show their account.
    wallet.refuses = Some("eth_requestAccounts");
    visit.browser.click("#pay-0-0");
    wallet.until_shown(
        &visit,
        "#doing.bad",
        "You said no in Amber. Nothing was sent",
    );
    wallet.refuses = None;

    // The wallet is on another chain, and does not know this one.
    (wallet.on, wallet.knows) = (1, vec![1]);
    visit.browser.click("#pay-0-0");
    wallet.until_shown(
        &visit,
        "#doing.bad",
        "The chain dev (chain id 31337) is not known to Amber",
    );
    assert_eq!(
        wallet.times("wallet_addEthereumChain"),
        0,
        "nothing is made up"
    );
    wallet.knows = vec![1, 31_337];

    // There is too little; the chain is changed on the way.
    shop.mints(3, 1_000_000);
    visit.browser.click("#pay-0-0");
    wallet.until_shown(
        &visit,
        "#doing.bad",
        "has 1.00 DUSD on dev, and 2.50 DUSD are due",
    );
    assert_eq!(wallet.on, 31_337);
    shop.mints(3, 2_000_000);

    // They say no to the payment, after the contract was let take it.
    visit.browser.click("#pay-0-0");
    wallet.until(&visit, "the approval", |it| {
        (it.sent.len() == 1).then_some(())
    });
    wallet.refuses = Some("eth_sendTransaction");
    wallet.until_shown(
        &visit,
        "#doing.bad",
        "You said no in Amber. Nothing was sent",
    );
    wallet.refuses = None;
    let faults = audit::faults(&visit.browser);
    assert!(faults.is_empty(), "{faults:#?}");

    // Twice at once, and the page is loaded anew before they have decided.
    wallet.leaves_open = Some("eth_sendTransaction");
    let before = wallet.times("eth_sendTransaction");
    visit
        .browser
        .run("const it = document.querySelector('#pay-0-0'); it.click(); it.click();");
    wallet.until(&visit, "the question", |it| {
        (!it.open.is_empty()).then_some(())
    });
    visit.opens_checkout(&id);
    visit.shows("[data-wallet]", "what came of it is not known here");
    assert!(
        visit.browser.look("#pay-0-0").is_none(),
        "it could be paid twice"
    );
    let faults = everywhere(&visit, "checkout-asked", || visit.opens_checkout(&id));
    assert!(faults.is_empty(), "{faults:#?}");
    assert_eq!(
        wallet.times("eth_sendTransaction"),
        before + 1,
        "asked once"
    );

    // Then they say yes.
    let open = wallet.open.remove(0);
    wallet
        .send(&open[0])
        .unwrap_or_else(|_| panic!("the chain takes it"));
    visit.shows("#standing", "Your payment has arrived.");
    visit.shows("#progress", &format!("1 of {CONFIRMATIONS}"));
    let faults = everywhere(&visit, "checkout-confirming", || {
        visit.browser.open(&format!("{}/pay/{id}", visit.origin))
    });
    assert!(faults.is_empty(), "{faults:#?}");
    shop.chain.mine(CONFIRMATIONS);
    visit.shows("#standing", "Paid. Thank you!");
    // The approval once, the payment once.
    assert_eq!(wallet.sent.len(), 2, "{:?}", wallet.sent);
    let invoice = shop.invoice(&id);
    assert_eq!(invoice["state"], "settled", "{invoice}");
    assert_eq!(invoice["payments"].as_array().unwrap().len(), 1);
    visit.is_clean();
    shop.hub.is_sound();
}

#[test]
fn a_block_is_taken_back_and_the_time_runs_out() {
    let shop = Shop::open();
    let (paid, late) = (shop.bills(&[COIN]), shop.bills(&[COIN, SIGNED]));
    let visit = comes_to(&shop);
    let mut wallet = Wallet::new(&shop.chain, 2);
    visit.opens_checkout(&paid);
    visit.mark();
    shop.chain.takes_at_once(false);
    visit.browser.click("#pay-0-0");
    wallet.until_shown(
        &visit,
        "[data-wallet]",
        "Sent by your wallet. Waiting for the chain",
    );
    // A reload does not forget it.
    visit.opens_checkout(&paid);
    visit.shows(
        "[data-wallet]",
        "Sent by your wallet. Waiting for the chain",
    );
    visit.mark();
    shop.chain.mine(1);
    visit.shows("#standing", "Your payment has arrived.");
    shop.chain.reorganises(1);
    visit.shows("#standing", "is no longer in the chain; nothing is lost.");
    visit.is_the_same();
    let faults = everywhere(&visit, "checkout-reorganised", || {
        visit.opens_checkout(&paid)
    });
    assert!(faults.is_empty(), "{faults:#?}");
    visit.opens_checkout(&paid);
    visit.mark();
    // The same transaction, or another: the payer is to look first.
    visit.browser.click("#pay-0-0");
    wallet.until(&visit, "the payment", |it| {
        (it.sent.len() == 2).then_some(())
    });
    shop.chain.mine(CONFIRMATIONS);
    visit.shows("#standing", "Paid. Thank you!");
    visit.is_the_same();

    visit.opens_checkout(&late);
    visit.mark();
    shop.chain.pass(100_000);
    visit.shows("#standing", "The time to pay is over. Do not pay any more.");
    visit.is_the_same();
    assert!(
        visit.browser.look("#ways details, .until").is_none(),
        "it could still be paid"
    );
    let faults = everywhere(&visit, "checkout-expired", || visit.opens_checkout(&late));
    assert!(faults.is_empty(), "{faults:#?}");
    let state = shop.invoice(&late)["state"].clone();
    assert_eq!(state, json!("expired"));
    visit.is_clean();
    shop.hub.is_sound();
}

#[test]
fn what_was_paid_goes_back_where_its_payer_signs() {
    let shop = Shop::open();
    let id = shop.bills(&[COIN]);
    let visit = comes_to(&shop);
    let mut wallet = Wallet::new(&shop.chain, 2);
    visit.opens_checkout(&id);
    visit.browser.click("#pay-0-0");
    wallet.until(&visit, "the payment", |it| {
        (it.sent.len() == 1).then_some(())
    });
    visit.shows("#standing", "Your payment has arrived.");
    let called_off = shop.asks("POST", &format!("/api/v1/invoices/{id}/cancel"), &json!({}));
    assert_eq!(called_off.status, 200, "{called_off:?}");
    shop.chain.mine(CONFIRMATIONS);
    visit.shows("#standing", "This invoice was called off. Do not pay it.");
    visit.shows("#refunds", "Say where it goes");
    let path = format!("{}/pay/{id}", visit.origin);
    let faults = everywhere(&visit, "checkout-refund", || {
        visit.browser.open(&path);
        visit.browser.find("#sign-0-0");
    });
    assert!(faults.is_empty(), "{faults:#?}");

    // Somebody else's account, and an address without its checksum.
    let mut other = Wallet::new(&shop.chain, 3);
    visit.browser.click("#sign-0-0");
    let payer = wallet.address().to_checksum(None);
    other.until_shown(
        &visit,
        "#doing.bad",
        &format!("The payment came from {payer}"),
    );
    let to = shop.chain.account(3).1.to_checksum(None);
    visit
        .browser
        .fill("form[data-refund] input", &to.to_lowercase());
    visit.browser.click("#sign-0-0");
    wallet.until_shown(&visit, "#doing.bad", "with small and capital letters");
    assert_eq!(
        other.times("personal_sign") + wallet.times("personal_sign"),
        0
    );

    let before = shop.chain.call("eth_getBalance", &json!([to, "latest"]));
    visit.browser.fill("form[data-refund] input", &to);
    visit.browser.click("#sign-0-0");
    wallet.until_shown(&visit, "#refunds", &to);
    visit.shows("#refunds", "on its way");
    let number = |it: &serde_json::Value| it.as_str().unwrap().parse::<U256>().unwrap();
    // It is written down as sent before a node has it: blocks count only once it is in one.
    let after = wait_for("the money at its address", || {
        let now = shop.chain.call("eth_getBalance", &json!([to, "latest"]));
        (now != before).then_some(now)
    });
    shop.chain.mine(12);
    visit.shows("#refunds", "sent back");
    let due = &shop.invoice(&id)["payments"][0]["units"];
    assert_eq!(number(&after) - number(&before), number(due));
    visit.is_clean();
    shop.hub.is_sound();
}
