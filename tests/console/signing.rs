//! Somebody signs in with a wallet of their browser: without a role, with one, and when it is taken back.

use serde_json::json;

use crate::Visit;
use crate::checkout::comes_to;
use crate::pages::everywhere;
use crate::shop::Shop;
use crate::support::http;
use crate::wallet::Wallet;

impl Visit {
    /// Signs in with the first wallet, to where that leads.
    /// To a tenant where one is named, and comes to this page.
    pub(crate) fn signs_in_by(&self, wallet: &mut Wallet<'_>, tenant: Option<&str>, to: &str) {
        self.browser.open(&format!("{}/login", self.origin));
        if let Some(tenant) = tenant {
            self.browser.click("#by-wallet summary");
            self.browser.type_into("#wallet-tenant", tenant);
        }
        self.browser.click("#wallet");
        self.browser.wait_for_text("#doing", "Choose a wallet.");
        self.browser.click("#wallets button");
        wallet.until(self, to, |_| (self.browser.path() == to).then_some(()));
    }
}

#[test]
fn somebody_signs_in_with_a_wallet() {
    let shop = Shop::open();
    let visit = comes_to(&shop);
    let mut wallet = Wallet::new(&shop.chain, 2);
    let address = wallet.address().to_checksum(None);
    let mut faults = everywhere(&visit, "sign-in-wallets", || {
        visit.browser.open(&format!("{}/login", visit.origin));
        visit.browser.find("#by-wallet:not([hidden])");
    });

    // They say no, and then yes: what they sign names the hub, and their wallet was on another chain.
    wallet.refuses = Some("personal_sign");
    wallet.on = 1;
    visit.browser.click("#wallet");
    visit.browser.wait_for_text("#doing", "Choose a wallet.");
    visit.browser.click("#wallets button");
    wallet.until_shown(&visit, "#doing", "You said no in Amber.");
    assert_eq!(visit.browser.path(), "/login");
    wallet.refuses = None;
    visit.signs_in_by(&mut wallet, None, "/wallet");
    visit.browser.wait_for_text("code", &address);
    visit.browser.wait_for_text("main", "no role in any tenant");
    faults.extend(everywhere(&visit, "wallet", || {
        visit.browser.open(&format!("{}/wallet", visit.origin));
        visit.browser.wait_for_text("main", "What you have paid");
    }));
    // The console is none of theirs.
    visit.browser.open(&format!("{}/devices", visit.origin));
    visit
        .browser
        .wait_for_path("their own page", |path| path == "/wallet");

    let role = json!({ "address": address, "role": "viewer", "name": "Ann's phone" });
    assert_eq!(shop.asks("POST", "/api/v1/wallets", &role).status, 201);
    visit.signs_out();
    visit.signs_in_by(&mut wallet, None, "/wallet");
    visit.browser.wait_for_text("main", "sign in again");
    visit.signs_out();
    visit.signs_in_by(&mut wallet, Some("acme"), "/");
    visit.browser.wait_for_text("#side", "viewer");
    let cookies = visit.browser.cookies();
    let session = cookies.iter().find(|it| it["name"] == "stencil_session");
    assert_eq!(session.unwrap()["httpOnly"], true, "{cookies:?}");

    // Taken back, they are out at once.
    let (port, token) = (shop.hub.port("http"), Some(shop.hub.token.as_str()));
    let path = format!("/api/v1/wallets/{address}");
    let taken = http::request(port, "DELETE", &path, token, None);
    assert_eq!(taken.status, 204, "{taken:?}");
    visit.browser.open(&format!("{}/devices", visit.origin));
    visit
        .browser
        .wait_for_path("the form", |path| path.starts_with("/login"));
    assert!(faults.is_empty(), "{faults:#?}");
    shop.hub.is_sound();
}
