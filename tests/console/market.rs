//! Somebody sells a device's passport on the page of their wallet, and somebody else buys it by the link that they
//! were given: with the coin, and on with a token. Control moves, and what is no good says so.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use stencil_chain::deploy::Contract;
use stencil_ownership::abi::{self, SolCall as _};
use stencil_ownership::cid::Cid;
use stencil_payer::Call;
use stencil_payments::{Address, U256};

use crate::Visit;
use crate::checkout::comes_to;
use crate::pages::everywhere;
use crate::shop::Shop;
use crate::support::wait_for;
use crate::wallet::Wallet;

const DEVICE: &str = "locker-7";
const DID: &str = "did:web:hub.example:tenants:acme:devices:locker-7";
/// Deep enough for the hub.
const FINAL: u64 = 16;
const BUY: &str = "/wallet/buy";
/// 12.5 of the dollar, in base units.
const DOLLARS: u64 = 12_500_000;
/// Accounts of the chain.
const TENANT: usize = 0;
const SELLER: usize = 2;
const BUYER: usize = 3;

/// A locker whose passport is the seller's for good. The buyer has a right to use it.
fn owns(shop: &Shop) {
    let chain = &shop.chain;
    let tenant = chain.account(TENANT).1;
    let made = |contract: &Contract| chain.deploys(contract.creation().unwrap());
    let passports = made(&Contract::Passport {
        name: "Lockers".to_owned(),
        symbol: "LOCK".to_owned(),
        administrator: tenant,
        royalty_to: tenant,
        royalty: 250,
    });
    let rights = made(&Contract::AccessRight {
        name: "Access".to_owned(),
        symbol: "ACC".to_owned(),
        administrator: tenant,
        terms: Cid::of(b"Whoever holds this may open the locker.").0,
    });
    let market = made(&Contract::Market);
    let mut device = shop.hub.foreign(DEVICE);
    device.deliver("v1/devices/me/telemetry", b"{\"door\": 0}");
    shop.hub.wait_for_latest(DEVICE, "door", &json!(0));
    let put = |method: &str, path: &str, body: &Value| {
        let answer = shop.asks(method, path, body);
        assert!((200..300).contains(&answer.status), "{path}: {answer:?}");
        answer.json()
    };
    let policy = json!({
        "chain": "dev", "passports": passports.to_checksum(None),
        "access_rights": rights.to_checksum(None), "market": market.to_checksum(None),
        "owner_may": ["*"], "user_may": ["unlock"],
    });
    put("PUT", "/api/v1/ownership", &policy);
    let document = json!({ "name": "Locker 7, at the station" });
    let kept = put("POST", "/api/v1/documents", &document);
    let hash: Vec<u8> = hex::decode(&kept["sha256"].as_str().unwrap()[2..]).unwrap();
    let issue = abi::issueCall {
        to: chain.account(SELLER).1,
        did: DID.to_owned(),
        metadata: stencil_payments::B256::from_slice(&hash),
    };
    let call = |to: Address, input: Vec<u8>| Call {
        to: to.into(),
        input: input.into(),
        value: U256::ZERO,
        gas_limit: 500_000,
    };
    chain.does(TENANT, &call(passports, issue.abi_encode()));
    // `issue(address,uint256,uint64)` of `AccessRight`.
    let passport = U256::from_be_bytes(stencil_ownership::token_of(DID).unwrap().0);
    let latest = chain.call("eth_getBlockByNumber", &json!(["latest", false]));
    let now: U256 = latest["timestamp"].as_str().unwrap().parse().unwrap();
    let selector = &alloy_primitives::keccak256("issue(address,uint256,uint64)")[..4];
    let words = [
        chain.account(BUYER).1.into_word().into(),
        passport.to_be_bytes::<32>(),
        (now + U256::from(86_400)).to_be_bytes::<32>(),
    ];
    chain.does(TENANT, &call(rights, [selector, &words.concat()].concat()));
    let path = format!("/api/v1/devices/{DEVICE}/passport");
    put("PUT", &path, &json!({ "did": DID }));
    chain.mine(FINAL);
    is_owned(shop, SELLER);
}

/// The hub says that it is this account's, for good.
fn is_owned(shop: &Shop, account: usize) {
    let owner = shop.chain.account(account).1.to_checksum(None);
    wait_for("the owner", || {
        let path = format!("/api/v1/devices/{DEVICE}/passport");
        let known = shop.hub.get(&path).json();
        let rights = known["rights"].as_array()?;
        (known["owner"] == owner && rights.first()?["in_effect"] == true).then_some(())
    });
}

impl Visit {
    /// Looks at what the seller gets for this price; `token` is the place in the list of what is paid with.
    fn prices(&self, price: &str, token: usize) {
        if self.browser.look(".sell form").is_none() {
            self.browser.click(".sell summary");
        }
        self.browser.fill("#price-0", price);
        self.browser.fill("#token-0", &token.to_string());
        self.browser.click(".sell form > button");
    }

    /// The newest link of the wallet's page.
    fn link(&self) -> String {
        let link = self
            .browser
            .run("return document.querySelector('#link-0').value");
        link.as_str().expect("a link").to_owned()
    }

    /// What somebody pastes.
    fn pastes(&self, text: &str) {
        if self.browser.look("#text").is_none() {
            self.browser.click("#other summary");
        }
        self.browser.fill("#text", text);
        self.browser.click("#taking button");
    }
}

/// The listing of a link.
fn listing(link: &str) -> Value {
    let coded = link.split("#listing=").nth(1).expect("a listing");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(coded).unwrap()).unwrap()
}

#[test]
fn a_passport_is_sold_on_a_page_and_bought_by_its_link() {
    let shop = Shop::open_with(
        "wallet = { name = \"Dev chain\", rpc = [\"http://127.0.0.1:8545\"], coin = \"ETH\" }",
    );
    owns(&shop);
    let visit = comes_to(&shop);
    let (mut seller, mut buyer) = (
        Wallet::new(&shop.chain, SELLER),
        Wallet::new(&shop.chain, BUYER),
    );

    // What is no price is said to be none, and nothing is asked of the wallet.
    visit.signs_in_by(&mut seller, None, "/wallet");
    visit.browser.wait_for_text("#held", "locker-7: passport");
    for (price, why) in [
        ("1e3", "A price is digits"),
        ("0", "The price is zero"),
        ("0.0000000000000000001", "ETH has 18 decimals"),
    ] {
        visit.prices(price, 0);
        visit.browser.wait_for_text("#doing", why);
    }
    let mut faults = everywhere(&visit, "wallet-selling", || {
        visit.browser.open(&format!("{}/wallet", visit.origin));
        visit.prices("0.100000000000000040", 0);
        visit.browser.wait_for_text(".terms", "You get");
    });
    let terms = visit.browser.find(".terms");
    let said = visit.browser.text(&terms);
    for part in [
        // Exact to the last digit: 2.5 % are 1 wei of the last 40.
        "0.10000000000000004 ETH",
        "0.002500000000000001 ETH",
        "0.097500000000000039 ETH",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }

    // They say no to the signature after the approval, which is not asked for again.
    seller.refuses = Some("eth_signTypedData_v4");
    visit.browser.click("#sign-0-0");
    seller.until_shown(&visit, "#doing", "You said no in Amber.");
    assert_eq!(seller.sent.len(), 1, "the approval");
    seller.refuses = None;
    visit.browser.wait_for_text("#sign-0-0", "Sign with Amber");
    visit.browser.click("#sign-0-0");
    seller.until_shown(&visit, "#doing", "Signed: it is for sale.");
    assert_eq!(seller.sent.len(), 1);
    let first = visit.link();
    // It is called off again: also after a reload.
    visit.browser.open(&format!("{}/wallet", visit.origin));
    visit
        .browser
        .wait_for_text("#listed", "0.10000000000000004 ETH");
    visit
        .browser
        .find("#listed a[download^='listing-passport-of-locker-7'][href^='blob:']");
    visit.browser.click("#listed summary");
    visit.browser.click("#off-0-0");
    seller.until_shown(&visit, "#doing", "Called off");
    assert!(visit.browser.look("#listed").is_none());
    visit.prices("0.25", 0);
    visit.browser.click("#sign-0-0");
    seller.until_shown(&visit, "#doing", "Signed: it is for sale.");
    let link = visit.link();
    faults.extend(everywhere(&visit, "wallet-listed", || {
        visit.browser.open(&format!("{}/wallet", visit.origin));
        visit.browser.click("#listed summary");
    }));
    visit.signs_out();

    // The link shows what it says of itself, and leads through the form and back.
    faults.extend(everywhere(&visit, "buy-stranger", || {
        visit.browser.open(&format!("{}/problems", visit.origin));
        visit.browser.open(&link);
        visit
            .browser
            .wait_for_text("#standing", "Nobody has checked");
        visit.browser.wait_for_text("#price", "0.25");
    }));
    visit.browser.click("#sign-in");
    visit.browser.click("#wallet");
    visit.browser.click("#wallets button");
    buyer.until(&visit, "the page that buys", |_| {
        (visit.browser.path() == BUY).then_some(())
    });
    visit
        .browser
        .wait_for_text("#standing", "It can be bought now.");
    for (css, words) in [
        ("#title", "The passport of locker-7"),
        ("#price", "0.25 ETH"),
        ("#facts", "Locker 7, at the station"),
        ("#facts", "0.00625 ETH of the price"),
        ("#facts", "1, until 20"),
        ("#facts", "acme"),
        ("#facts", "dev, chain id 31337"),
    ] {
        visit.browser.wait_for_text(css, words);
    }
    faults.extend(everywhere(&visit, "buy", || {
        visit.browser.open(&format!("{}/problems", visit.origin));
        visit.browser.open(&link);
        visit
            .browser
            .wait_for_text("#standing", "It can be bought now.");
        visit
            .browser
            .wait_for_text("#facts", "Locker 7, at the station");
    }));

    // What is wrong is said, by a paste, by a link and by a file.
    visit.pastes("no listing");
    visit.browser.wait_for_text("#doing", "This is no listing");
    let mut changed = listing(&link);
    changed["listing"]["price"] = json!("260000000000000000");
    visit.pastes(&changed.to_string());
    visit
        .browser
        .wait_for_text("#standing", "changed afterwards");
    assert!(visit.browser.look("#buy button").is_none());
    visit.pastes(&first);
    visit.browser.wait_for_text("#standing", "has cancelled");
    faults.extend(everywhere(&visit, "buy-wrong", || {
        visit.browser.open(&format!("{}/problems", visit.origin));
        visit.browser.open(&first);
        visit.browser.wait_for_text("#standing", "has cancelled");
    }));
    // A file of a program's, which names no tenant.
    let mut plain = listing(&link);
    plain.as_object_mut().unwrap().remove("tenant");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("listing.json");
    std::fs::write(&file, plain.to_string()).unwrap();
    visit.browser.click("#other summary");
    visit.browser.type_into("#file", file.to_str().unwrap());
    visit.browser.click("#taking button");
    visit.browser.fill("#tenant", "acme");
    visit.browser.click("#where button");
    visit
        .browser
        .wait_for_text("#standing", "It can be bought now.");

    // They buy, on a chain that their wallet did not know.
    (buyer.on, buyer.knows) = (1, vec![1]);
    visit.browser.click("#buy-0");
    buyer.until_shown(&visit, "#standing", "not final yet");
    assert_eq!(buyer.added.len(), 1);
    assert_eq!(buyer.sent.len(), 1);
    shop.chain.mine(FINAL);
    buyer.until_shown(&visit, "#standing", "locker-7 is yours.");
    visit.browser.wait_for_text("#standing", "every command");
    is_owned(&shop, BUYER);
    faults.extend(crate::audit::faults(&visit.browser));
    visit
        .browser
        .picture(&crate::pages::folder().join("buy-done-desktop-light.png"));

    // They sell it on, for a token.
    visit.browser.open(&format!("{}/wallet", visit.origin));
    visit.browser.wait_for_text("#held", "locker-7: right 1");
    visit.prices("12.50", 1);
    visit.browser.wait_for_text(".terms", "12.1875 DUSD");
    visit.browser.click("#sign-0-0");
    buyer.until_shown(&visit, "#doing", "Signed: it is for sale.");
    let link = visit.link();
    visit.signs_out();
    visit.signs_in_by(&mut seller, None, "/wallet");
    // What they had listed themselves is sold.
    visit.browser.click("#listed summary");
    visit.browser.click("#off-0-0");
    seller.until_shown(&visit, "#doing", "It was too late");
    visit.browser.open(&link);
    visit
        .browser
        .wait_for_text("#standing", "It can be bought now.");
    visit.browser.click("#buy-0");
    seller.until_shown(&visit, "#doing", "Nothing was sent.");
    shop.mints(SELLER, DOLLARS);
    let sent = seller.sent.len();
    visit.browser.click("#buy-0");
    seller.until_shown(&visit, "#standing", "not final yet");
    assert_eq!(
        seller.sent.len() - sent,
        2,
        "the approval, and the purchase"
    );
    shop.chain.mine(FINAL);
    seller.until_shown(&visit, "#standing", "locker-7 is yours.");
    is_owned(&shop, SELLER);
    assert!(faults.is_empty(), "{faults:#?}");
    visit.is_clean();
    shop.hub.is_sound();
}
