//! Somebody stands at a door whose gateway has lost its hub, with a phone, a wallet, and a credential that
//! was fetched before. And who has none of these, or what no longer holds, is told why.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::{Value, json};

use crate::Visit;
use crate::audit;
use crate::checkout::comes_to;
use crate::pages::everywhere;
use crate::shop::Shop;
use crate::support::browser::{PHONE, keys};
use crate::support::{Door, wait_for};
use crate::wallet::Wallet;

const DEVICE: &str = "locker-1";
const PAGE: &str = "/?device=locker-1&command=open";

/// Where the door's page is.
fn origin(door: &Door) -> String {
    format!("http://{}", door.gateway.access())
}

/// The bits of the gateway's list of what is revoked, once it has all lists.
fn tells_revoked(door: &Door) -> Option<String> {
    let trust = door.trust();
    let lists = trust["lists"].as_array().filter(|lists| lists.len() == 2)?;
    let subjects = lists.iter().map(|list| &list["credentialSubject"]);
    let mut revoked = subjects.filter(|it| it["statusPurpose"] == "revocation");
    Some(revoked.next()?["encodedList"].as_str()?.to_owned())
}

/// Gives a right to the door's device; its id.
fn gives(shop: &Shop, holder: &str, seconds: Option<u64>) -> String {
    let wanted = json!({
        "holder": holder, "device": DEVICE, "commands": ["open"], "valid_for_s": seconds,
    });
    let answer = shop.asks("POST", "/api/v1/access/rights", &wanted);
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()["id"].as_str().unwrap().to_owned()
}

/// Keeps the credential of a right as a file, by the link of the wallet's page.
fn fetches(visit: &Visit, folder: &Path, right: &str) -> PathBuf {
    visit.browser.open(&format!("{}/wallet", visit.origin));
    let script = "const link = document.querySelector(`#rights a[href*=\"${arguments[0]}\"]`);
        return fetch(link.href).then((answer) => answer.text())";
    // The rest of the id has colons, which a link has coded.
    let uuid = right.rsplit(':').next().unwrap();
    let text = visit.browser.run_with(script, json!([uuid]));
    let file = folder.join(format!("{uuid}.json"));
    std::fs::write(&file, text.as_str().unwrap()).unwrap();
    file
}

impl Visit {
    fn chooses(&self, file: &Path) {
        self.browser.type_into("#file", file.to_str().unwrap());
    }

    /// Signs in another wallet, and brings the signature to the page.
    fn brings(&self, signature: &str) {
        if self.browser.look("#signature").is_none() {
            self.browser.click("#elsewhere summary");
        }
        self.browser.fill("#signature", signature);
        // As who is in a hurry.
        self.browser
            .run("const it = document.querySelector('#send'); it.click(); it.click();");
    }

    fn text_to_sign(&self) -> String {
        let text = self
            .browser
            .run("return document.querySelector('#text').textContent");
        text.as_str().unwrap().to_owned()
    }
}

fn now_ms() -> u128 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap().as_millis()
}

#[test]
#[allow(clippy::too_many_lines, reason = "one visit, from the hub to the door")]
fn a_holder_opens_a_door_whose_hub_is_gone_and_others_are_told_why_not() {
    let mut shop = Shop::open_named();
    let mut door = Door::at(&shop.hub, DEVICE);
    let folder = tempfile::tempdir().unwrap();
    let visit = comes_to(&shop);
    let mut wallet = Wallet::new(&shop.chain, 2);
    let mut other = Wallet::new(&shop.chain, 3);
    let holder = wallet.address().to_checksum(None);

    // While there is a hub: a right that lasts, one that is over soon, and one that is taken away.
    let strict = json!({
        "tolerance_s": 0, "staleness_s": 86_400, "valid_s": 14_400, "commands": null,
    });
    assert_eq!(
        shop.asks("PUT", "/api/v1/access/policy", &strict).status,
        200
    );
    visit.signs_in_by(&mut wallet, None, "/wallet");
    visit.browser.wait_for_text("main", "No rights");
    let lasting = gives(&shop, &holder, None);
    let lasting = fetches(&visit, folder.path(), &lasting);
    let taken = gives(&shop, &holder, None);
    let revoked = fetches(&visit, folder.path(), &taken);
    let short = gives(&shop, &holder, Some(10));
    let short = fetches(&visit, folder.path(), &short);
    let mut faults = everywhere(&visit, "wallet-rights", || {
        visit.browser.open(&format!("{}/wallet", visit.origin));
        visit.browser.wait_for_text("#rights", DEVICE);
    });
    let before = wait_for("the gateway to know how rights stand", || {
        let trust = door.trust();
        (trust["terms"]["policy"]["tolerance_s"] == 0).then_some(())?;
        tells_revoked(&door)
    });
    let path = format!("/api/v1/access/rights/{taken}/revoke");
    assert_eq!(shop.asks("POST", &path, &json!({})).status, 200);
    wait_for("the gateway to know what is revoked", || {
        tells_revoked(&door).filter(|now| *now != before)
    });
    visit.is_clean();
    shop.hub.kill();
    door.gateway
        .wait_for_metric("uplink_connected", |connected| connected == 0);

    // At the door, with a phone. What is no credential, or one for another door, is not taken.
    let visit = Visit {
        browser: visit.browser,
        origin: origin(&door),
    };
    let browser = &visit.browser;
    browser.on_screen(PHONE);
    browser.open(&format!("{}{PAGE}", visit.origin));
    browser.wait_for_text("#what", "Device locker-1: open");
    assert!(
        browser.look("#ask").is_none(),
        "there is nothing to sign by"
    );
    let wrong = folder.path().join("wrong.json");
    let elsewhere = std::fs::read_to_string(&lasting).unwrap();
    let elsewhere = elsewhere.replace(DEVICE, "locker-2");
    for (text, why) in [
        ("{}", "wrong.json is no credential of a right"),
        ("no JSON", "wrong.json is no credential of a right"),
        (
            &elsewhere,
            "is for locker-2, and this is the door of locker-1",
        ),
    ] {
        std::fs::write(&wrong, text).unwrap();
        visit.chooses(&wrong);
        browser.wait_for_text("#said.bad", why);
        assert!(browser.look("#ask").is_none(), "{why}");
    }
    visit.chooses(&lasting);
    browser.wait_for_text("#has", &holder);
    browser.wait_for_text(
        "#text",
        "Device: locker-1\nCommand: open\nGateway: did:web:localhost",
    );
    browser.wait_for_text("#text", ":tenants:acme:gateways:gw-1");
    faults.extend(everywhere(&visit, "door", || {
        browser.open(&format!("{}{PAGE}", visit.origin));
        browser.wait_for_text("#wallets button", "Sign with Basalt <b>wallet</b>");
    }));

    // By keys alone; the phone remembers the credential.
    browser.on_screen(PHONE);
    browser.open(&format!("{}{PAGE}", visit.origin));
    browser.tab_to("#wallets button");
    browser.press(keys::ENTER);
    wallet.until_shown(&visit, "#said.good", "Done: locker-1 has done “open”.");
    assert_eq!(door.told(), ["open"]);
    faults.extend(audit::faults(browser));
    browser.picture(&crate::pages::folder().join("door-done-phone.png"));

    // They say no: to the account, and to the text.
    for refuses in ["eth_requestAccounts", "personal_sign"] {
        wallet.refuses = Some(refuses);
        browser.click("#wallets button");
        wallet.until_shown(
            &visit,
            "#said.bad",
            "You said no in Amber. Nothing was done",
        );
    }
    wallet.refuses = None;
    // Another account than the holder's is told before it signs, and by the door if it has.
    browser.click("#wallets button");
    let shows = format!(
        "The right is of {holder}, and Amber shows {:#x}.",
        other.address()
    );
    other.until_shown(&visit, "#said.bad", &shows);
    assert_eq!(other.times("personal_sign"), 0);
    visit.brings(&other.signs(&visit.text_to_sign()));
    browser.wait_for_text("#said.bad", "has signed this");
    browser.wait_for_text(
        "#said.bad",
        "Choose the account of the right in your wallet",
    );
    faults.extend(audit::faults(browser));
    browser.picture(&crate::pages::folder().join("door-refused-phone.png"));
    assert_eq!(door.told().len(), 1, "nobody else has opened");
    // A wallet on another device; pressed twice, it is done once.
    visit.brings(&wallet.signs(&visit.text_to_sign()));
    browser.wait_for_text("#said.good", "Done: locker-1 has done “open”.");
    assert_eq!(door.told().len(), 2);

    // What is over, and what was taken away.
    let credential: Value =
        serde_json::from_str(&std::fs::read_to_string(&short).unwrap()).unwrap();
    let until = credential["validUntil"].as_str().unwrap();
    let until = browser.run_with("return Date.parse(arguments[0])", json!([until]));
    let until_ms = u128::from(until.as_u64().unwrap());
    wait_for("the end of the right", || {
        (now_ms() > until_ms).then_some(())
    });
    for (file, why, advice) in [
        (
            &short,
            "it was valid until",
            "Fetch a fresh one from the hub",
        ),
        (&revoked, "it is revoked", "The right was taken away"),
    ] {
        browser.click("#forget");
        visit.chooses(file);
        browser.click("#wallets button");
        wallet.until_shown(&visit, "#said.bad", "Not done: the credential:");
        browser.wait_for_text("#said.bad", why);
        browser.wait_for_text("#said.bad", advice);
    }
    assert_eq!(door.told().len(), 2);
    assert_eq!(door.gateway.metric("access_admitted_total"), 2);
    assert!(faults.is_empty(), "{faults:#?}");
    // Nothing but the door was asked.
    visit.complains_only_of(&[403]);

    // The hub is back, and hears of who was let in.
    shop.hub.start_again(None);
    let receipts = wait_for("the receipts", || {
        let items = shop.hub.items("/api/v1/access/receipts");
        (items.len() == 2).then_some(items)
    });
    for receipt in &receipts {
        assert_eq!(
            (&receipt["outcome"], &receipt["conflict"]),
            (&json!("done"), &Value::Null),
            "{receipt}"
        );
    }

    // No door.
    door.unlink();
    door.gateway.is_sound();
    door.gateway.stop();
    browser.click("#wallets button");
    wallet.until_shown(&visit, "#said.bad", "The door does not answer");
    shop.hub.is_sound();
}
