//! Signing in with wallets: what is taken once, what is not, and what a wallet sees then.

use std::sync::atomic::Ordering;

use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;
use serde_json::{Value, json};
use stencil_payments::abi::calls;
use stencil_payments::port::{Called, Unknown};
use stencil_payments::{Address, B256, Bytes, U256};
use stencil_protocol::id::TenantId;
use stencil_store::{AuditFilter, MAX_NETWORK_NONCES, Role};
use stencil_wallet::{Message, Moment, digest};

use super::client::Answer;
use super::{NOW_US, Served, seed};
use crate::chains::tests::fake::ID;

const CHALLENGE: &str = "/api/v1/wallet/challenge";
const SIGN_IN: &str = "/api/v1/wallet/sign-in";
const S: i64 = 1_000_000;
/// The order of secp256k1.
const ORDER: &str = "0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";

pub(super) fn key() -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::repeat_byte(7)).unwrap()
}

fn account() -> String {
    key().address().to_checksum(None)
}

fn signature(message: &str) -> String {
    let signed = key().sign_message_sync(message.as_bytes()).unwrap();
    format!("0x{}", hex::encode(signed.as_bytes()))
}

impl Served {
    fn own_host(&self) -> String {
        format!("localhost:{}", self.address.port())
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        let ask = self.ask("POST", path).host(&self.own_host());
        ask.json(body).send().await
    }

    async fn challenge(&self, tenant: Option<&str>) -> Value {
        let body = json!({ "address": account(), "chain_id": ID, "tenant": tenant });
        self.post(CHALLENGE, &body).await.ok()
    }

    /// The text to sign, in which something may be otherwise.
    async fn text(&self, tenant: Option<&str>, change: impl FnOnce(&mut Message)) -> String {
        let given = self.challenge(tenant).await;
        let mut message = Message::parse(given["message"].as_str().unwrap()).unwrap();
        change(&mut message);
        message.text().unwrap()
    }

    async fn answer(&self, message: &str, signature: &str) -> Answer {
        let body = json!({ "message": message, "signature": signature });
        self.post(SIGN_IN, &body).await
    }

    /// Signs in: the answer, and the secret of the session.
    async fn signs_in(&self, tenant: Option<&str>) -> (Value, String) {
        let text = self.text(tenant, |_| {}).await;
        let answer = self.answer(&text, &signature(&text)).await;
        let secret = secret(&answer);
        (answer.ok(), secret)
    }

    pub(super) async fn grants(&self, tenant: &TenantId, role: Role) {
        let (wallets, wallet) = (&self.store.wallets, key().address().0.0);
        let granted = wallets.grant_wallet(tenant, &wallet, role, None, Some("ann"), NOW_US);
        granted.await.unwrap();
    }

    async fn with(&self, secret: &str, path: &str) -> Answer {
        self.get(path).session(secret).send().await
    }

    async fn audited(&self, action: &str) -> Vec<(String, String)> {
        let (filter, acme) = (AuditFilter::default(), seed::acme());
        let page = self.store.audit.entries(&acme, &filter, None, 100);
        let items = page.await.unwrap().items;
        items
            .into_iter()
            .filter(|entry| entry.action == action)
            .map(|entry| (entry.who, entry.outcome.as_str().to_owned()))
            .collect()
    }
}

fn secret(answer: &Answer) -> String {
    let cookie = answer
        .header("set-cookie")
        .unwrap_or_else(|| panic!("{answer:?}"));
    for part in ["path=/", "httponly", "samesite=strict"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let secret = cookie.strip_prefix("stencil_session=").unwrap();
    secret.split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_wallet_with_a_role_is_in_its_tenant_as_others_are() {
    let served = Served::start().await;
    served.grants(&seed::acme(), Role::Editor).await;
    let (known, secret) = served.signs_in(Some("acme")).await;
    for (field, right) in [
        ("address", json!(account())),
        ("tenant", json!("acme")),
        ("role", json!("editor")),
        ("roles", json!([{ "tenant": "acme", "role": "editor" }])),
        ("warnings", json!([])),
    ] {
        assert_eq!(known[field], right, "{known}");
    }
    let me = served.with(&secret, "/api/v1/me").await.ok();
    assert_eq!(
        (&me["kind"], &me["name"], &me["role"]),
        (&json!("wallet"), &json!(account()), &json!("editor"))
    );
    assert_eq!(served.with(&secret, "/").await.status, 200);
    served.with(&secret, "/api/v1/users").await.problem(403);
    let sessions = served.with(&secret, "/api/v1/sessions").await.ok();
    let own = &sessions["items"][0];
    assert_eq!(own["current"], true);
    assert_eq!(own["wallet"], format!("{:#x}", key().address()));
    let who = format!("wallet {}", account());
    assert_eq!(
        served.audited("session.sign_in").await,
        [(who.clone(), "done".to_owned())]
    );
    let acme = seed::acme();
    let own = key().address().0.0;
    let wallet = served.store.wallets.wallet(&acme, &own);
    assert!(wallet.await.unwrap().unwrap().signed_in_us.is_some());

    let out = served
        .ask("POST", "/api/v1/wallet/sign-out")
        .session(&secret);
    let out = out.send().await;
    assert_eq!(out.status, 204, "{out:?}");
    served.with(&secret, "/api/v1/me").await.problem(401);
    let out = served.audited("session.sign_out").await;
    assert_eq!(out, [(who, "done".to_owned())]);
}

#[tokio::test]
async fn without_a_role_it_sees_its_own_and_nothing_of_tenants() {
    let served = Served::start().await;
    let (known, secret) = served.signs_in(None).await;
    assert_eq!(
        (&known["tenant"], &known["role"], &known["roles"]),
        (&Value::Null, &Value::Null, &json!([]))
    );
    for (_, route, path, _) in super::authorisation::SAMPLES
        .iter()
        .filter(|it| it.0 == "GET")
    {
        let answer = served.with(&secret, path).await;
        let own = route.starts_with("/api/v1/wallet") && !route.starts_with("/api/v1/wallets");
        match *route {
            // A right that somebody else was given is not there; what was asked for may be said again.
            "/api/v1/wallet/access/{tenant}/{right}"
            | "/api/v1/wallet/access/{tenant}/{right}/file"
            | "/api/v1/wallet/devices/{tenant}/{device}/commands/{command}" => {
                assert_eq!(answer.status, 404, "{answer:?}");
                continue;
            }
            _ if own => assert_eq!(answer.status, 200, "{route}"),
            "/wallet" => assert_eq!(answer.status, 200, "{route}"),
            _ if answer.status == 303 => assert_eq!(answer.header("location"), Some("/wallet")),
            _ => assert!(answer.problem(403).contains(&account()) || route.contains("operator")),
        }
        assert!(!answer.body.contains(seed::MARK), "{route}: {answer:?}");
    }
    let own = served.with(&secret, "/api/v1/wallet").await.ok();
    assert_eq!(own["address"], account());
    let page = served.with(&secret, "/wallet").await;
    assert!(page.body.contains(&account()) && page.body.contains("no role in any tenant"));
    // Those of a tenant are no wallets, and a wallet's session is no token.
    let reader = served.get("/api/v1/wallet").bearer(&served.tokens.reader);
    assert!(reader.send().await.problem(403).contains("wallet"));
    served
        .get("/api/v1/wallet")
        .bearer(&secret)
        .send()
        .await
        .problem(401);
    served.get("/api/v1/wallet").send().await.problem(401);
    let page = served.get("/wallet").send().await;
    assert_eq!(
        (page.status, page.header("location")),
        (303, Some("/login"))
    );

    let out = served.ask("POST", "/logout").session(&secret).send().await;
    assert_eq!(out.status, 303);
    served.with(&secret, "/api/v1/wallet").await.problem(401);
}

#[tokio::test]
async fn what_it_has_paid_is_its_own_alone() {
    let served = Served::start().await;
    let (_, secret) = served.signs_in(None).await;
    let list = served.with(&secret, "/api/v1/wallet/payments").await.ok();
    assert_eq!(list["items"], json!([]), "another has paid that");
    let (wallets, acme) = (&served.store, seed::acme());
    let mut stored = wallets
        .payments
        .invoice(&acme, &seed::INVOICE)
        .await
        .unwrap()
        .unwrap();
    stored.version += 1;
    let commit = stencil_store::InvoiceCommit {
        invoice: stored,
        is_undone: false,
        payers: vec![key().address().0.0],
        credits: Vec::new(),
        entries: Vec::new(),
        effects: Vec::new(),
        refunds: Vec::new(),
    };
    wallets.payments.commit_invoice(&commit).await.unwrap();
    let list = served
        .with(&secret, "/api/v1/wallet/payments?limit=1")
        .await
        .ok();
    let one = &list["items"][0];
    for (field, right) in [
        ("tenant", json!("acme")),
        ("title", json!("Locker, an hour")),
        ("state", json!("new")),
        ("offer", Value::Null),
    ] {
        assert_eq!(one[field], right, "{one}");
    }
    assert_eq!(one["price"]["amount"], "2.500000");
    assert!(one["checkout_url"].as_str().unwrap().contains("/pay/1a1a"));
    // What the tenant's programs keep is not the payer's to see.
    assert!(!list.to_string().contains(seed::MARK), "{list}");
    let page = served.with(&secret, "/wallet").await;
    assert!(page.body.contains("Locker, an hour") && !page.body.contains(seed::MARK));
}

#[tokio::test]
async fn a_role_is_given_and_taken_back_at_once() {
    let served = Served::start().await;
    let admin = |method: &str, path: &str| {
        let ask = served.ask(method, path);
        ask.bearer(&served.tokens.admin)
    };
    let path = format!("/api/v1/wallets/{}", account());
    let grant = json!({ "address": account().to_lowercase(), "role": "viewer", "name": "ann" });
    let made = admin("POST", "/api/v1/wallets").json(&grant).send().await;
    assert_eq!(
        (made.status, made.json()["address"].clone()),
        (201, json!(account()))
    );
    assert_eq!(made.header("location"), Some(path.to_lowercase().as_str()));
    let (_, secret) = served.signs_in(Some("acme")).await;
    served.with(&secret, "/api/v1/devices").await.ok();

    // The same again ends nothing; another role asks for another sign-in.
    let again = admin("POST", "/api/v1/wallets").json(&grant).send().await;
    assert_eq!(again.status, 200, "{again:?}");
    served.with(&secret, "/api/v1/devices").await.ok();
    let grant = json!({ "address": account(), "role": "editor" });
    let other = admin("POST", "/api/v1/wallets")
        .json(&grant)
        .send()
        .await
        .ok();
    assert_eq!(
        (&other["role"], &other["name"]),
        (&json!("editor"), &json!("ann"))
    );
    served.with(&secret, "/api/v1/devices").await.problem(401);

    let (_, secret) = served.signs_in(Some("acme")).await;
    served.with(&secret, "/api/v1/devices").await.ok();
    assert_eq!(admin("DELETE", &path).send().await.status, 204);
    served.with(&secret, "/api/v1/devices").await.problem(401);
    admin("DELETE", &path).send().await.problem(404);
    admin("GET", &path).send().await.problem(404);
    let text = served.text(Some("acme"), |_| {}).await;
    let refused = served.answer(&text, &signature(&text)).await.problem(403);
    // A tenant that there is not is told alike.
    let text = served.text(Some("nowhere"), |_| {}).await;
    let nowhere = served.answer(&text, &signature(&text)).await.problem(403);
    assert_eq!(refused.replace("acme", "nowhere"), nowhere);
    let noted = served.audited("wallets.grant").await;
    assert_eq!(noted.len(), 3, "{noted:?}");
    assert_eq!(served.audited("wallets.revoke").await.len(), 2);

    for wrong in [
        json!({ "address": "0x12", "role": "viewer" }),
        json!({ "address": account(), "role": "root" }),
        json!({ "address": account(), "role": "viewer", "name": "" }),
        json!({ "address": format!("0x{}", "0".repeat(40)), "role": "viewer" }),
    ] {
        let answer = admin("POST", "/api/v1/wallets").json(&wrong).send().await;
        answer.problem(400);
    }
}

/// EIP-1271's answer.
fn magic() -> [u8; 32] {
    let mut magic = [0; 32];
    magic[..4].copy_from_slice(&calls::IS_VALID);
    magic
}

const CONTRACT: Address = Address::repeat_byte(0x5c);

impl Served {
    /// Signs in as the contract wallet, which takes any signature.
    async fn contract_signs_in(&self, tenant: Option<&str>) -> Answer {
        self.chain.is_contract(CONTRACT);
        let called = Called::Returned(Bytes::from(magic().to_vec()));
        self.chain.otherwise(Ok(called));
        self.as_contract(tenant).await
    }

    async fn as_contract(&self, tenant: Option<&str>) -> Answer {
        let body = json!({ "address": CONTRACT, "chain_id": ID, "tenant": tenant });
        let given = self.post(CHALLENGE, &body).await.ok();
        let text = given["message"].as_str().unwrap();
        self.answer(text, &signature(text)).await
    }
}

#[tokio::test]
async fn a_role_of_a_contract_is_for_its_chain_alone() {
    let served = Served::start().await;
    let (acme, key) = (seed::acme(), CONTRACT.0.0);
    let wallets = &served.store.wallets;
    let grant = async |chain| {
        let granted = wallets.grant_wallet(&acme, &key, Role::Admin, chain, None, NOW_US);
        granted.await.unwrap();
    };
    // By the account's own key, or as the contract of another chain, it is somebody else.
    for chain in [None, Some(1)] {
        grant(chain).await;
        let why = served.contract_signs_in(Some("acme")).await.problem(403);
        assert!(why.contains("as a contract of chain 31337"), "{why}");
        let known = served.contract_signs_in(None).await.ok();
        assert_eq!(
            (&known["tenant"], &known["roles"]),
            (&Value::Null, &json!([]))
        );
    }
    let who = format!("wallet {}", CONTRACT.to_checksum(None));
    let noted = served.audited("session.sign_in").await;
    assert_eq!(noted, [(who.clone(), "refused".to_owned())]);
    let ask = |body: &Value| {
        let ask = served.ask("POST", "/api/v1/wallets").json(body);
        ask.bearer(&served.tokens.admin).send()
    };
    let wanted = json!({ "address": CONTRACT, "role": "viewer", "chain_id": 5 });
    assert!(
        ask(&wanted)
            .await
            .problem(400)
            .contains("one of 31337 is right")
    );
    let wanted = json!({ "address": CONTRACT, "role": "viewer", "chain_id": ID });
    assert_eq!(ask(&wanted).await.ok()["chain_id"], ID);
    let answer = served.contract_signs_in(Some("acme")).await;
    let secret = secret(&answer);
    assert_eq!(answer.ok()["role"], "viewer");
    served.with(&secret, "/api/v1/devices").await.ok();
    let own = served.with(&secret, "/api/v1/wallet").await.ok();
    assert_eq!(
        own["roles"],
        json!([{ "tenant": "acme", "role": "viewer" }])
    );
    let known = served.contract_signs_in(None).await.ok();
    assert_eq!(known["roles"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_contract_sees_what_was_paid_on_its_chain() {
    let served = Served::start().await;
    let (store, acme) = (&served.store, seed::acme());
    let stored = store.payments.invoice(&acme, &seed::INVOICE).await.unwrap();
    let mut invoice = stored.unwrap();
    invoice.version += 1;
    let commit = stencil_store::InvoiceCommit {
        invoice,
        is_undone: false,
        payers: vec![CONTRACT.0.0],
        credits: Vec::new(),
        entries: Vec::new(),
        effects: Vec::new(),
        refunds: Vec::new(),
    };
    store.payments.commit_invoice(&commit).await.unwrap();
    for (chain, paid) in [(None, 1), (Some(ID), 1), (Some(1), 0)] {
        let end_us = NOW_US + 60 * S;
        let wallets = &store.wallets;
        let opened = wallets.open_wallet_session(&CONTRACT.0.0, chain, None, end_us, NOW_US);
        let (_, secret) = opened.await.unwrap();
        let list = served.with(secret.reveal(), "/api/v1/wallet/payments");
        let list = list.await.ok();
        assert_eq!(list["items"].as_array().unwrap().len(), paid, "{chain:?}");
    }
}

#[tokio::test]
async fn a_role_that_was_not_asked_for_is_not_signed_in_to() {
    let served = Served::start().await;
    served.grants(&seed::rival(), Role::Editor).await;
    let (known, secret) = served.signs_in(None).await;
    assert_eq!(
        (&known["tenant"], &known["role"]),
        (&Value::Null, &Value::Null)
    );
    let roles = json!([{ "tenant": "rival", "role": "editor" }]);
    assert_eq!(known["roles"], roles);
    served.with(&secret, "/api/v1/devices").await.problem(403);
    // Who wants it signs a text that names it; what they had goes then.
    let text = served.text(Some("rival"), |_| {}).await;
    assert!(text.contains("tenant rival"), "{text}");
    let (known, _) = served.signs_in(Some("rival")).await;
    assert_eq!(known["role"], "editor");
}

#[tokio::test]
async fn who_has_no_role_any_more_is_noted() {
    let served = Served::start().await;
    let (acme, own) = (seed::acme(), key().address().0.0);
    served.grants(&acme, Role::Admin).await;
    let revoked = served.store.wallets.revoke_wallet(&acme, &own).await;
    assert!(revoked.unwrap().is_some());
    let text = served.text(Some("acme"), |_| {}).await;
    served.answer(&text, &signature(&text)).await.problem(403);
    let noted = served.audited("session.sign_in").await;
    assert_eq!(noted, [("unknown wallet".to_owned(), "refused".to_owned())]);
}

#[tokio::test]
async fn what_a_contract_keeps_from_being_known_counts_and_what_the_chain_does_not() {
    let served = Served::start().await;
    served.chain.is_contract(CONTRACT);
    served.chain.silent.store(true, Ordering::SeqCst);
    for _ in 0..25 {
        let why = served.as_contract(None).await.problem(503);
        assert!(why.contains("the chain does not answer"), "{why}");
    }
    served.chain.silent.store(false, Ordering::SeqCst);
    served.chain.otherwise(Err(Unknown("they disagree".into())));
    for _ in 0..20 {
        let why = served.as_contract(Some("acme")).await.problem(503);
        assert!(why.contains("all of the chain's endpoints alike"), "{why}");
    }
    served.as_contract(None).await.problem(429);
    let noted = served.audited("session.sign_in").await;
    assert_eq!(noted, [("unknown wallet".to_owned(), "failed".to_owned())]);
}

#[tokio::test]
async fn without_room_to_ask_a_contract_nothing_is_used_up() {
    let mut contracts = None;
    let served = Served::start_changed(crate::http::Limits::default(), |state| {
        contracts = Some(state.contracts().clone());
        state
    })
    .await;
    let here = std::net::IpAddr::from([127, 0, 0, 1]);
    let contracts = contracts.unwrap();
    let rooms: Vec<_> = std::iter::from_fn(|| contracts.room(here)).collect();
    assert_eq!(rooms.len(), 2);
    served.chain.is_contract(CONTRACT);
    let called = Called::Returned(Bytes::from(magic().to_vec()));
    served.chain.otherwise(Ok(called));
    let body = json!({ "address": CONTRACT, "chain_id": ID });
    let given = served.post(CHALLENGE, &body).await.ok();
    let text = given["message"].as_str().unwrap();
    let why = served.answer(text, &signature(text)).await.problem(503);
    assert!(why.contains("The challenge can still be answered"), "{why}");
    // Others' own keys need no room.
    served.signs_in(None).await;
    drop(rooms);
    served.answer(text, &signature(text)).await.ok();
}

#[tokio::test]
async fn with_roles_in_several_tenants_it_says_which() {
    let served = Served::start().await;
    served.grants(&seed::acme(), Role::Viewer).await;
    served.grants(&seed::rival(), Role::Admin).await;
    let (known, secret) = served.signs_in(None).await;
    assert_eq!(known["tenant"], Value::Null);
    assert_eq!(known["roles"].as_array().unwrap().len(), 2);
    let page = served.with(&secret, "/wallet").await;
    assert!(page.body.contains("acme") && page.body.contains("rival"));
    let (known, secret) = served.signs_in(Some("rival")).await;
    assert_eq!(
        (&known["tenant"], &known["role"]),
        (&json!("rival"), &json!("admin"))
    );
    let me = served.with(&secret, "/api/v1/me").await.ok();
    assert_eq!(me["tenant"], "rival");
    assert!(
        !served
            .with(&secret, "/api/v1/devices")
            .await
            .body
            .contains(seed::MARK)
    );
}

#[tokio::test]
async fn a_nonce_is_for_one_attempt_and_for_five_minutes() {
    let served = Served::start().await;
    let text = served.text(None, |_| {}).await;
    let signed = signature(&text);
    served.answer(&text, &signed).await.ok();
    assert!(
        served
            .answer(&text, &signed)
            .await
            .problem(401)
            .contains("used already")
    );
    // A wrong attempt uses it, too.
    let text = served.text(None, |_| {}).await;
    let other = signature("something else");
    assert!(
        served
            .answer(&text, &other)
            .await
            .problem(401)
            .contains("has signed this")
    );
    let replay = served.answer(&text, &signature(&text)).await;
    assert!(replay.problem(401).contains("used already"));
    // And one that was never given is none.
    let text = text.replace("Nonce: ", "Nonce: 0");
    assert!(
        served
            .answer(&text, &signature(&text))
            .await
            .problem(401)
            .contains("never given")
    );
    let text = served.text(None, |_| {}).await;
    served.later(300);
    assert!(
        served
            .answer(&text, &signature(&text))
            .await
            .problem(401)
            .contains("is over")
    );
    let text = served.text(None, |_| {}).await;
    served.later(299);
    served.answer(&text, &signature(&text)).await.ok();
}

#[tokio::test]
async fn what_says_something_else_is_refused_by_its_part() {
    let served = Served::start().await;
    let at = Moment::of;
    type Change = Box<dyn FnOnce(&mut Message)>;
    let cases: Vec<(&str, Change)> = vec![
        (
            "domain: `evil.example`",
            Box::new(|it| it.domain = "evil.example".into()),
        ),
        (
            "scheme: `https`",
            Box::new(|it| it.scheme = Some("https".into())),
        ),
        (
            "URI: `https://evil.example/login`",
            Box::new(|it| {
                it.uri = "https://evil.example/login".into();
            }),
        ),
        (
            "Chain ID: `1` is said, `31337`",
            Box::new(|it| it.chain_id = 1),
        ),
        (
            "statement: `",
            Box::new(|it| it.statement = Some("I owe you all.".into())),
        ),
        ("statement: ``", Box::new(|it| it.statement = None)),
        (
            "address: 0x",
            Box::new(|it| it.address = Address::repeat_byte(9)),
        ),
        (
            "Issued At: ",
            Box::new(move |it| it.issued_at = at(NOW_US + 61 * S)),
        ),
        (
            "Issued At: ",
            Box::new(move |it| it.issued_at = at(NOW_US - 361 * S)),
        ),
        (
            "Expiration Time: it has expired",
            Box::new(move |it| {
                it.expiration_time = Some(at(NOW_US));
            }),
        ),
        (
            "Not Before: it does not hold before",
            Box::new(move |it| {
                it.not_before = Some(at(NOW_US + 61 * S));
            }),
        ),
    ];
    for (right, change) in cases {
        let text = served.text(None, change).await;
        let why = served.answer(&text, &signature(&text)).await.problem(401);
        assert!(why.starts_with(right), "{right}: {why}");
    }
    // What was altered after it was signed was not signed.
    let text = served.text(Some("acme"), |_| {}).await;
    let signed = signature(&text);
    let altered = text.replace("tenant acme", "tenant evil");
    assert_ne!(altered, text);
    assert!(
        served
            .answer(&altered, &signed)
            .await
            .problem(401)
            .starts_with("statement")
    );
    // Its own times, a request id and resources are the wallet's to say.
    let text = served
        .text(None, |it| {
            it.scheme = Some("http".into());
            it.issued_at = at(NOW_US + 60 * S);
            it.not_before = Some(at(NOW_US + 60 * S));
            it.expiration_time = None;
            it.request_id = Some("r-1".into());
            it.resources = vec!["https://example.org/terms".into()];
            it.is_checksummed = false;
        })
        .await;
    let known = served.answer(&text, &signature(&text)).await.ok();
    assert!(
        known["warnings"][0].as_str().unwrap().contains("EIP-55"),
        "{known}"
    );
}

#[tokio::test]
async fn what_is_no_message_or_signature_says_what_would_be_right() {
    let served = Served::start().await;
    let text = served.text(None, |_| {}).await;
    let right = signature(&text);
    let order: U256 = ORDER.parse().unwrap();
    let bytes = hex::decode(&right[2..]).unwrap();
    let s = U256::from_be_slice(&bytes[32..64]);
    let mut twin = bytes.clone();
    twin[32..64].copy_from_slice(&(order - s).to_be_bytes::<32>());
    twin[64] = 55 - twin[64];
    let twin = format!("0x{}", hex::encode(twin));
    for (message, signature, part) in [
        (text.clone(), twin, "EIP-2"),
        (text.clone(), right[..130].to_owned(), "EIP-2098"),
        (text.clone(), right[..128].to_owned(), "65 bytes"),
        (
            text.clone(),
            right[2..].to_owned(),
            "0x and hexadecimal digits",
        ),
        (
            text.clone(),
            format!("0x{}", "1b".repeat(4_097)),
            "too long",
        ),
        (text.clone(), format!("{}1d", &right[..130]), "27 or 28"),
        (text.clone(), "0x".to_owned(), "65 bytes"),
        ("hello".to_owned(), right.clone(), "first line"),
        (
            text.replace("Version: 1", "Version: 2"),
            right.clone(),
            "Version (line 7)",
        ),
        (
            format!("{text}{}", " ".repeat(4_096)),
            right.clone(),
            "at most 4096",
        ),
    ] {
        let why = served.answer(&message, &signature).await.problem(400);
        assert!(why.contains(part), "{part}: {why}");
    }
    let long = json!({ "message": "x".repeat(17_000), "signature": right });
    served.post(SIGN_IN, &long).await.problem(413);
    served
        .post(SIGN_IN, &json!({ "message": text }))
        .await
        .problem(400);
    // None of these has used the nonce up.
    served.answer(&text, &right).await.ok();
}

#[tokio::test]
async fn a_contract_wallet_is_asked_and_nobody_else_is_believed() {
    let served = Served::start().await;
    let wallet = Address::repeat_byte(0x5c);
    let body = json!({ "address": wallet, "chain_id": ID });
    let challenge = async || {
        let given = served.post(CHALLENGE, &body).await.ok();
        given["message"].as_str().unwrap().to_owned()
    };
    // Before it is deployed it is none.
    let text = challenge().await;
    let why = served.answer(&text, &signature(&text)).await.problem(401);
    assert!(why.contains("has signed this, not"), "{why}");
    let text = challenge().await;
    let why = served
        .answer(&text, &format!("0x{}", "22".repeat(130)))
        .await
        .problem(401);
    assert!(why.contains("EIP-6492"), "{why}");

    served.chain.is_contract(wallet);
    let chain = &served.chain;
    let says = async |called: Result<Called, Unknown>| {
        chain.otherwise(called);
        let text = challenge().await;
        served.answer(&text, &signature(&text)).await
    };
    let returned = |bytes: Vec<u8>| Ok(Called::Returned(Bytes::from(bytes)));
    let magic = magic();
    for (called, right) in [
        (returned(vec![0; 32]), "does not take the signature"),
        (returned(Vec::new()), "0 bytes, where 32 are right"),
        (returned(magic[..4].to_vec()), "4 bytes, where 32 are right"),
        (
            returned([magic.to_vec(), vec![0; 1 << 20]].concat()),
            "1048608 bytes",
        ),
        (Ok(Called::Reverted("out of gas".into())), "reverted"),
    ] {
        let why = says(called).await.problem(401);
        assert!(
            why.contains("contract wallet") && why.contains(right),
            "{why}"
        );
    }
    let away = says(Err(Unknown("nobody answers at 10.0.0.1".into()))).await;
    let why = away.problem(503);
    assert!(
        why.contains("Ask for another challenge") && !why.contains("10.0.0.1"),
        "{why}"
    );

    // It is asked about this text and this signature.
    chain.otherwise(returned(vec![0; 32]));
    let text = challenge().await;
    let signed = format!("0x{}", "33".repeat(200));
    let question = calls::is_valid_signature(digest(&text), &[0x33; 200]);
    chain.answers(wallet, question, magic);
    let known = served.answer(&text, &signed).await.ok();
    assert_eq!(known["address"], wallet.to_checksum(None));
}

#[tokio::test]
async fn only_the_hubs_own_names_are_signed_and_only_its_own_pages_ask() {
    let served = Served::start().await;
    let body = json!({ "address": account() });
    let port = served.address.port();
    let ask = |host: &str| served.ask("POST", CHALLENGE).host(host).json(&body);
    let given = ask(&served.own_host()).send().await.ok();
    let right = format!("localhost:{port}");
    assert_eq!(given["domain"], right);
    assert_eq!(given["uri"], format!("http://{right}/login"));
    let text = given["message"].as_str().unwrap();
    assert!(
        text.starts_with(&format!("{right} wants you to sign in")),
        "{text}"
    );
    let by_public = ask("127.0.0.1:8080").send().await.ok();
    assert_eq!(by_public["domain"], "127.0.0.1:8080", "as it is set");
    for host in ["evil.example", "localhost:9", "hub.example.org"] {
        ask(host).send().await.problem(421);
    }
    for path in [CHALLENGE, SIGN_IN] {
        let foreign = ask(&served.own_host()).header("sec-fetch-site", "cross-site");
        foreign.send().await.problem(403);
        let foreign = served.ask("POST", path).host(&served.own_host());
        let foreign = foreign.header("origin", "http://evil.example").json(&body);
        foreign.send().await.problem(403);
    }
    let (_, secret) = served.signs_in(None).await;
    let out = served.ask("POST", "/api/v1/wallet/sign-out");
    let out = out.header("cookie", &format!("stencil_session={secret}"));
    out.send().await.problem(403);
    served.with(&secret, "/api/v1/wallet").await.ok();
}

#[tokio::test]
async fn off_loopback_another_name_gets_no_text_with_it() {
    let served = Served::start_changed(crate::http::Limits::default(), |mut state| {
        state.under_any_name();
        state.reached_at("https://hub.example.org")
    })
    .await;
    let ask = |host: &str| served.ask("POST", CHALLENGE).host(host);
    let body = json!({ "address": account() });
    let given = ask("hub.example.org").json(&body).send().await.ok();
    assert_eq!(given["uri"], "https://hub.example.org/login");
    ask("evil.example").json(&body).send().await.problem(421);
}

#[tokio::test]
async fn challenges_say_what_is_wrong_with_them() {
    let served = Served::start().await;
    for (body, part) in [
        (json!({ "address": "0x12" }), "`address`"),
        (
            json!({ "address": account(), "chain_id": 5 }),
            "one of 31337 is right",
        ),
        (json!({ "address": account(), "tenant": "a/b" }), "`tenant`"),
        (json!({ "address": account(), "nonce": "x" }), "nonce"),
        (json!({}), "address"),
    ] {
        let answer = served.post(CHALLENGE, &body).await;
        let why = answer.problem(400);
        assert!(
            why.contains(part) || answer.body.contains(part),
            "{part}: {answer:?}"
        );
    }
    served.get(CHALLENGE).send().await.problem(405);
}

#[tokio::test]
async fn a_stranger_fills_nothing_and_guesses_slowly() {
    let served = Served::start().await;
    let first = served.text(None, |_| {}).await;
    for _ in 1..MAX_NETWORK_NONCES {
        served.challenge(None).await;
    }
    // Who asks for more waits, and pushes nobody's out that a person may be reading.
    let body = json!({ "address": account(), "chain_id": ID });
    let full = served.post(CHALLENGE, &body).await;
    assert!(full.problem(429).contains("more were asked for"));
    assert_eq!(full.header("retry-after"), Some("60"));
    served.answer(&first, &signature(&first)).await.ok();
    served.challenge(None).await;
    let elsewhere = served
        .ask("POST", CHALLENGE)
        .host(&served.own_host())
        .from([127, 0, 0, 9]);
    let elsewhere = elsewhere.json(&body).send().await.ok();
    // After a minute the oldest go, of the same network.
    served.later(60);
    for _ in 0..MAX_NETWORK_NONCES {
        served.challenge(None).await;
    }
    let text = elsewhere["message"].as_str().unwrap();
    served.answer(text, &signature(text)).await.ok();
    served.later(60);
    let mut tried = 0;
    let refused = loop {
        let text = served.text(Some("acme"), |_| {}).await;
        let answer = served.answer(&text, &signature("other")).await;
        if answer.status != 401 {
            break answer;
        }
        tried += 1;
        assert!(tried < 100, "guessing is not slowed down");
    };
    assert!(refused.problem(429).contains("try again in"));
    assert!(refused.header("retry-after").is_some());
    // What strangers do is one entry of the tenant's log.
    let noted = served.audited("session.sign_in").await;
    assert_eq!(noted, [("unknown wallet".to_owned(), "refused".to_owned())]);
    // Nobody at another address has to wait.
    let ask = |path: &str| {
        served
            .ask("POST", path)
            .host(&served.own_host())
            .from([127, 0, 0, 8])
    };
    let given = ask(CHALLENGE).json(&body).send().await.ok();
    let text = given["message"].as_str().unwrap();
    let right = json!({ "message": text, "signature": signature(text) });
    ask(SIGN_IN).json(&right).send().await.ok();
}

#[tokio::test]
async fn the_page_offers_it_where_a_chain_is_followed() {
    let served = Served::start().await;
    let page = served.get("/login?next=%2Falarms").send().await;
    for part in [
        "Sign in with a wallet",
        "/assets/wallets.js",
        "/assets/signing.js",
        "data-next=\"/alarms\"",
        "31337",
    ] {
        assert!(page.body.contains(part), "{part}: {}", page.body);
    }
    let page = served
        .get("/settings")
        .bearer(&served.tokens.admin)
        .send()
        .await;
    assert!(page.body.contains("POST /api/v1/wallets"));
    let page = served
        .get("/settings")
        .bearer(&served.tokens.reader)
        .send()
        .await;
    assert!(!page.body.contains("POST /api/v1/wallets"));
}
