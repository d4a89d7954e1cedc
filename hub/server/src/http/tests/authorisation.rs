//! Who may use which route. The sample requests must cover the table of routes: a route that is
//! added without one fails here.

mod samples;

use std::collections::BTreeSet;

use stencil_protocol::id::{GatewayId, TenantId};
use stencil_store::{DesiredOf, Opener, Role, TokenKind, UserChange};

use super::{Answer, NOW_US, Served, seed};
use crate::chains::tests::fake::ID;
use crate::http::access::Access;
use crate::http::routes::routes;

use samples::{ASKED, Rival};
pub(super) use samples::{OPEN, SAMPLES};

fn access(method: &str, path: &str) -> Access {
    let found = routes()
        .into_iter()
        .find(|r| r.method == method && r.path == path);
    found
        .unwrap_or_else(|| panic!("{method} {path} is no route"))
        .access
}

#[test]
fn each_route_has_its_test() {
    let tested: BTreeSet<(String, &str)> = SAMPLES
        .iter()
        .map(|(method, route, ..)| (*method, *route))
        .chain(OPEN.iter().copied())
        .map(|(method, route)| (method.to_owned(), route))
        .collect();
    let all: BTreeSet<_> = routes()
        .iter()
        .map(|r| (r.method.to_string(), r.path))
        .collect();
    assert_eq!(all, tested, "give each route a sample request here");
    assert_eq!(all.len(), routes().len(), "a route is there twice");
    for (method, route) in OPEN {
        let access = access(method, route);
        let enters = matches!(access, Access::SignIn);
        assert!(enters || access == Access::Public, "{method} {route}");
    }
    for (method, route, ..) in SAMPLES {
        let access = access(method, route);
        let open = matches!(access, Access::Public | Access::SignIn);
        assert!(!open, "{method} {route}");
        let reads = matches!(access, Access::Read | Access::Page);
        assert!(
            *method == "GET" || !reads || ASKED.contains(route),
            "{method} {route} changes something for readers"
        );
    }
}

/// How somebody says who they are.
#[derive(Clone, Copy)]
enum As<'s> {
    Nobody,
    Token(&'s str),
    /// By the secret of a session, from a page of the hub.
    Session(&'s str),
}

/// A served store with users of each role, and an operator.
struct Peopled {
    served: Served,
    /// Sessions of users, and who they are.
    viewer: String,
    editor: String,
    admin: String,
    operator: String,
    /// The session of a wallet that is in no tenant.
    wallet: String,
}

impl std::ops::Deref for Peopled {
    type Target = Served;

    fn deref(&self) -> &Served {
        &self.served
    }
}

impl Peopled {
    async fn start() -> Self {
        let served = Served::start().await;
        let people = [
            ("vic", Role::Viewer),
            ("eve", Role::Editor),
            ("ada", Role::Admin),
            ("dee-marked", Role::Viewer),
        ];
        for (name, role) in people {
            served.user(&seed::acme(), name, role).await;
        }
        let operators = &served.store.operators;
        let operator = operators
            .create_operator("ops", None, NOW_US)
            .await
            .unwrap()
            .1;
        Self {
            viewer: open(&served, "vic", 3_600).await,
            editor: open(&served, "eve", 3_600).await,
            admin: open(&served, "ada", 3_600).await,
            operator: operator.reveal().to_owned(),
            wallet: {
                let wallets = &served.store.wallets;
                let opened = wallets.open_wallet_session(&[0x5b; 20], None, None, i64::MAX, NOW_US);
                opened.await.unwrap().1.reveal().to_owned()
            },
            served,
        }
    }
}

/// The secret of a session of a user, which lasts so many seconds.
async fn open(served: &Served, name: &str, seconds: i64) -> String {
    let (users, opener) = (&served.store.users, Opener::User(name.to_owned()));
    let until_us = NOW_US + seconds * 1_000_000;
    let acme = seed::acme();
    let opened = users.open_session(&acme, &opener, None, until_us, NOW_US);
    opened.await.unwrap().1.reveal().to_owned()
}

/// Whether an answer shows that somebody was let in.
fn let_in(path: &str, answer: &Answer) -> bool {
    let tokens_have_none = path == "/api/v1/me/password" && answer.status == 409;
    (200..300).contains(&answer.status) || tokens_have_none
}

/// The sample request, with a body where one is needed.
async fn ask(served: &Served, method: &str, path: &str, who: As<'_>) -> Answer {
    // The device's: the others are needed for asking.
    let tokens = served
        .store
        .tenancy
        .tokens(&seed::acme(), None, 10)
        .await
        .unwrap()
        .items;
    let device = tokens
        .iter()
        .find(|t| matches!(t.owner, TokenKind::Device { .. }))
        .unwrap();
    let path = path.replace("{acme's}", &device.id);
    let document = stencil_ownership::cid::Cid::of(seed::DOCUMENT).to_string();
    let path = path.replace("{document}", &document);
    let path = if path.contains("{viewer's}") {
        path.replace("{viewer's}", &viewers(served, who).await)
    } else {
        path
    };
    let path = if path.contains("{overpaid}") {
        let (invoice, refund) = seed::overpaid(&served.cashier, &served.store).await;
        path.replace("{overpaid}", &invoice)
            .replace("{refund's}", &refund)
    } else {
        path
    };
    let ask = served.ask(method, &path);
    let ask = match (method, path.as_str()) {
        ("POST", "/api/v1/tokens") => {
            ask.json(&serde_json::json!({ "kind": "api", "role": "viewer", "name": "n" }))
        }
        ("POST", "/api/v1/rollouts") => ask.json(&serde_json::json!({
            "image": "4b".repeat(32), "devices": "freezer-marked*",
        })),
        ("POST", path) if path.contains("/alarms/") => ask.json(&serde_json::json!({})),
        ("POST", "/api/v1/workflows/check") => {
            ask.json(&serde_json::json!({ "definition": "id: other" }))
        }
        ("POST", "/api/v1/backtest") => ask.json(&serde_json::json!({
            "definition": seed::workflow(2).replace("warm-marked", "draft"), "from_us": 0, "to_us": super::NOW_US + 1,
        })),
        ("POST", "/api/v1/users") => {
            ask.json(&serde_json::json!({ "name": "new", "role": "viewer" }))
        }
        ("POST", "/api/v1/me/password") => ask.json(&serde_json::json!({
            "current": super::PASSWORD, "password": "another-password-1",
        })),
        ("GET" | "DELETE", path) if path.starts_with("/api/v1/wallets/") => {
            let (wallets, acme) = (&served.store.wallets, seed::acme());
            let granted = wallets.grant_wallet(&acme, &[0x5c; 20], Role::Viewer, None, None, NOW_US);
            // An operator may have erased the tenant by now.
            let _ = granted.await;
            ask
        }
        ("POST", "/api/v1/wallets") => ask.json(&serde_json::json!({
            "address": "0x5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d", "role": "viewer",
        })),
        ("DELETE", "/api/v1/gateways/gateway-gone") => {
            with_gateway(served, "gateway-gone").await;
            ask
        }
        ("POST", "/api/v1/gateways/gateway-lost/revoke") => {
            with_gateway(served, "gateway-lost").await;
            ask
        }
        ("POST", "/api/v1/devices/claim") => {
            with_gateway(served, "gw-1").await;
            let code = super::enrolment::waiting(served).await;
            ask.json(&serde_json::json!({ "code": code, "gateway": "gw-1" }))
        }
        ("POST", "/api/v1/devices/enrol" | "/api/v1/operator/births") => {
            ask.json(&serde_json::json!([{
                "device": "rotated", "gateway": "gw-1", "psk": super::enrolment::psk_hex(),
            }]))
        }
        ("POST", "/api/v1/access/rights") => ask.json(&super::access::plain(served).await),
        ("PUT", "/api/v1/access/policy") => ask.json(&serde_json::json!({
            "tolerance_s": 60, "staleness_s": 3_600, "valid_s": 600, "commands": null,
        })),
        ("POST", "/api/v1/credentials") => ask.json(&super::credentials::wanted("did:web:d.example")),
        ("POST", path) if path.ends_with("/move") => {
            ask.json(&serde_json::json!({ "gateway": "gw-1" }))
        }
        ("POST", path) if path.ends_with("/replace") => {
            ask.json(&serde_json::json!({ "psk": super::enrolment::psk_hex() }))
        }
        ("POST", "/api/v1/operator/tenants") => ask.json(&serde_json::json!({ "id": "new" })),
        ("POST", "/api/v1/invoices") => {
            can_be_paid(served, who).await;
            ask.json(&serde_json::json!({ "amount": "1", "currency": "EUR" }))
        }
        ("POST", path) if path.ends_with("/address") => ask.json(&serde_json::json!({
            "address": format!("0x{}", "12".repeat(20)), "reason": "asked for it",
        })),
        ("POST", path) if path.ends_with("/start") => {
            seed::waits_for_lockers(served).await;
            ask
        }
        ("POST", path) if path.ends_with("/sent") => {
            let address = path.replace("/sent", "/address");
            let there = serde_json::json!({
                "address": format!("0x{}", "12".repeat(20)), "reason": "asked for it",
            });
            seed::sends(&served.chain, 0x12, stencil_payments::Address::repeat_byte(0x12));
            // It may be sent by now.
            let _ = served.decide(&address, &there).await;
            ask.json(&serde_json::json!({ "tx": format!("0x{}", "12".repeat(32)) }))
        }
        ("POST", path) if path.ends_with("/decisions") => {
            ask.json(&serde_json::json!({ "decision": "refund_all" }))
        }
        ("PUT", "/api/v1/payments/settings") => ask.json(&serde_json::json!({ "methods": [] })),
        ("POST", path) if path.ends_with("/forgive") => ask.json(&serde_json::json!({
            "asset": format!("eip155:1/erc20:{}", "0x7070707070707070707070707070707070707070"),
        })),
        ("PATCH", _) => ask.json(&serde_json::json!({ "role": "editor" })),
        ("PUT", "/api/v1/anchoring") => {
            ask.json(&serde_json::json!({ "chain": "local", "interval_s": 60 }))
        }
        ("GET", "/api/v1/seal-marks") => {
            seed::marked(&served.store, &seed::acme()).await;
            ask
        }
        ("POST", path) if path.ends_with("/clear") => {
            let tenant = match who {
                As::Token(secret) if secret == served.tokens.rival => seed::rival(),
                _ => seed::acme(),
            };
            seed::marked(&served.store, &tenant).await;
            ask.json(&serde_json::json!({ "why": "looked at" }))
        }
        ("GET", path) if path.contains("/proof?") => {
            seed::sealed(&served.store).await;
            ask
        }
        ("POST", "/api/v1/operator/chains/local/resume") => {
            let chains = &served.store.chains;
            chains.open_chain("local", ID, NOW_US).await.unwrap();
            let why = Some("a reorganisation went deeper");
            chains.stop_chain("local", why, NOW_US).await.unwrap();
            ask
        }
        ("PUT", "/api/v1/ownership") => {
            seed::contracts(&served.chain);
            ask.json(&seed::ownership_body())
        }
        ("DELETE", "/api/v1/ownership") => {
            seed::owned(&served.store).await;
            ask
        }
        ("POST", "/api/v1/ownership/rights") => {
            seed::contracts(&served.chain);
            for tenant in [seed::acme(), seed::rival()] {
                seed::ownership(&served.store, &tenant).await;
            }
            ask.json(&serde_json::json!({ "token": "5" }))
        }
        ("GET", "/api/v1/wallet/devices") => {
            super::held::held(served).await;
            ask
        }
        ("GET", path) if path.starts_with("/api/v1/wallet/devices/") => {
            super::held::queued(served).await;
            ask
        }
        ("POST", path) if path.starts_with("/api/v1/wallet/devices/") => {
            super::held::held(served).await;
            seed::contracts(&served.chain);
            super::ownership::for_sale_by(served, super::held::OWNER, 0, seed::MARKET);
            ask.json(&match path.rsplit('/').next() {
                Some("commands") => serde_json::json!({ "name": "lock" }),
                Some("right") => serde_json::json!({ "commands": ["lock"] }),
                _ => serde_json::json!({ "price": "1000", "nonce": "1" }),
            })
        }
        ("POST", path) if path.starts_with("/api/v1/wallet/listings/") => {
            seed::contracts(&served.chain);
            seed::owned(&served.store).await;
            ask.json(&super::ownership::market_body("/api/v1/market/check")["offer"])
        }
        ("POST", path) if path.ends_with("/passport/check") => {
            seed::owned(&served.store).await;
            ask.json(&serde_json::json!({
                "account": seed::PASSPORTS.to_checksum(None), "command": "lock",
            }))
        }
        ("POST", path) if path.ends_with("/passport/listing") || path == "/api/v1/market/check" => {
            seed::contracts(&served.chain);
            seed::owned(&served.store).await;
            seed::ownership(&served.store, &seed::rival()).await;
            super::ownership::for_sale_by(served, super::ownership::account(), 0, seed::MARKET);
            ask.json(&super::ownership::market_body(path))
        }
        ("PUT", path) if path.ends_with("/passport") => {
            seed::contracts(&served.chain);
            seed::ownership(&served.store, &seed::acme()).await;
            ask.json(&serde_json::json!({ "token": "0x4e" }))
        }
        ("GET" | "DELETE", path) if path.ends_with("/passport") => {
            seed::owned(&served.store).await;
            ask
        }
        ("POST", "/api/v1/documents") => {
            ask.header("content-type", "text/plain").body("a document")
        }
        ("DELETE", path) if path.starts_with("/api/v1/documents/") => {
            seed::owned(&served.store).await;
            ask
        }
        ("POST", _) => ask.json(&serde_json::json!({ "name": "lock" })),
        ("PUT", "/api/v1/update-trust") => {
            ask.json(&serde_json::json!({ "keys": seed::update().keys }))
        }
        ("PUT", path) if path.starts_with("/api/v1/images/") => {
            seed::trust_updates(&served.store).await;
            let kind = "application/octet-stream";
            ask.header("content-type", kind).body(seed::update().package.clone())
        }
        ("PUT", path) if path.ends_with("/groups") => {
            with_gateway(served, "gateway-new").await;
            ask.json(&serde_json::json!({ "groups": ["group-new"] }))
        }
        ("PUT", path) if path.ends_with("/desired-state") => {
            with_gateway(served, "gateway-new").await;
            let replaces = desired_version(served, who, path).await;
            ask.json(&serde_json::json!({ "replaces": replaces, "settings": "" }))
        }
        ("PUT", path) if path.ends_with("/log-level") => {
            ask.json(&serde_json::json!({ "level": "debug", "seconds": 600 }))
        }
        ("PUT", path) if path.starts_with("/api/v1/offers/") => {
            let mut offer = super::x402::offer("freezer-9");
            // An address of who asks: one that somebody else is paid at would be refused.
            offer["prices"][0]["pay_to"] = format!("0x{}", "e1".repeat(20)).into();
            ask.json(&offer)
        }
        ("PUT", path) if path.ends_with("/spend-limits") => {
            let chains = &served.store.chains;
            chains.open_chain("local", 31_337, super::NOW_US).await.unwrap();
            ask.json(&serde_json::json!({
                "chain": "local", "window_s": 3_600, "most": "1000000000000000000",
            }))
        }
        ("PUT", path) if path.ends_with("/callable") => {
            ask.json(&serde_json::json!({ "items": [] }))
        }
        ("PUT", "/api/v1/retention") => ask.json(&serde_json::json!({
            "series_days": null, "runs_days": 30, "alarms_days": null, "quarantine_days": null,
            "audit_days": null,
        })),
        ("PUT", _) => ask.body(seed::workflow(2)),
        _ => ask,
    };
    let ask = match who {
        As::Nobody => ask,
        As::Token(secret) => ask.bearer(secret),
        As::Session(secret) => ask.session(secret),
    };
    if path == "/live" {
        // The stream does not end by itself: its head tells.
        return head_only(ask).await;
    }
    ask.send().await
}

/// Whoever asks is of a tenant that takes payments.
async fn can_be_paid(served: &Served, who: As<'_>) {
    let (tenant, payee) = match who {
        As::Token(secret) if secret == served.tokens.rival => (seed::rival(), 0xdd),
        _ => (seed::acme(), 0xaa),
    };
    let payee = stencil_payments::Address::repeat_byte(payee);
    seed::take_payments(&served.cashier, &served.store, &tenant, payee).await;
}

/// Both tenants have a gateway of this name.
async fn with_gateway(served: &Served, name: &str) {
    let gateway = GatewayId::parse(name).unwrap();
    for tenant in [seed::acme(), seed::rival()] {
        // An operator may have erased it by now.
        let registry = &served.store.registry;
        let _ = registry.add_gateway(&tenant, &gateway, super::NOW_US).await;
    }
}

/// The version of the desired state that whoever asks would replace.
async fn desired_version(served: &Served, who: As<'_>, path: &str) -> u64 {
    let tenant = match who {
        As::Token(secret) if secret == served.tokens.rival => "rival",
        _ => "acme",
    };
    let tenant = TenantId::parse(tenant).unwrap();
    let of = match path.contains("/gateway-groups/") {
        true => DesiredOf::Group(GatewayId::parse("group-new").unwrap()),
        false => DesiredOf::Gateway(GatewayId::parse("gateway-new").unwrap()),
    };
    let desired = served.store.gateways.desired(&tenant, &of).await;
    desired.unwrap().version
}

/// The id of a session that is the asking viewer's own: of the user `vic`, or of the viewer's token.
async fn viewers(served: &Served, who: As<'_>) -> String {
    let opener = match who {
        As::Session(_) => Opener::User("vic".to_owned()),
        _ => {
            let owner = served
                .store
                .tenancy
                .verify_token(&served.tokens.reader, NOW_US);
            Opener::Token(owner.await.unwrap().expect("the viewer's").id)
        }
    };
    let users = &served.store.users;
    let acme = seed::acme();
    let opened = users.open_session(&acme, &opener, None, i64::MAX, NOW_US);
    opened.await.unwrap().0.id
}

async fn head_only(ask: super::Ask) -> Answer {
    use tokio::io::AsyncReadExt;
    let mut stream = ask.open().await;
    let mut bytes = Vec::new();
    while !bytes.windows(4).any(|w| w == b"\r\n\r\n") {
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0);
    }
    let text = String::from_utf8_lossy(&bytes).to_lowercase();
    let status = text.split(' ').nth(1).unwrap().parse().unwrap();
    Answer {
        status,
        head: text,
        body: String::new(),
    }
}

/// An answer to somebody whom nobody knows.
#[track_caller]
fn shut_out(method: &str, route: &str, answer: &Answer) {
    if access(method, route) == Access::WalletPage {
        assert_eq!(
            (answer.status, answer.header("location")),
            (303, Some("/login"))
        );
    } else if access(method, route) == Access::Page {
        assert_eq!(answer.status, 303, "{method} {route}: {answer:?}");
        let form = answer.header("location").expect("the form");
        match route {
            "/" => assert_eq!(form, "/login"),
            _ => assert!(form.starts_with("/login?next=%2f"), "{route}: {form}"),
        }
    } else {
        assert_eq!(answer.status, 401, "{method} {route}: {answer:?}");
        let scheme = answer.header("www-authenticate").expect("a challenge");
        assert!(scheme.starts_with("bearer"), "{scheme}");
    }
    assert!(
        !answer.body.contains(seed::MARK),
        "{method} {route}: {answer:?}"
    );
}

#[tokio::test]
async fn without_a_token_nothing_opens() {
    let served = Peopled::start().await;
    for (method, route, path, _) in SAMPLES {
        for who in [
            As::Nobody,
            As::Token("nonsense"),
            As::Token(""),
            As::Session("nonsense"),
            // Each opens what is its own, and not in the other's place.
            As::Token(&served.admin),
            As::Session(&served.tokens.admin),
            As::Session(&served.operator),
        ] {
            shut_out(method, route, &ask(&served, method, path, who).await);
        }
    }
}

#[tokio::test]
async fn a_session_that_is_over_opens_nothing() {
    let served = Peopled::start().await;
    let (acme, users) = (seed::acme(), &served.store.users);
    let expired = open(&served, "ada", 0).await;
    let (ended, unused) = (
        open(&served, "ada", 3_600).await,
        open(&served, "ada", i64::MAX / 2_000_000).await,
    );
    let owner = users
        .verify_session(&ended, i64::MAX, NOW_US)
        .await
        .unwrap();
    let id = owner.unwrap().session;
    assert!(users.end_session(&acme, &id).await.unwrap());
    served.user(&acme, "off", Role::Admin).await;
    let disabled = open(&served, "off", 3_600).await;
    let off = UserChange {
        disabled: Some(true),
        role: None,
    };
    users.change_user(&acme, "off", off, NOW_US).await.unwrap();
    // A session that somebody who is shut out has kept, however that came about.
    let kept = open(&served, "off", 3_600).await;
    served.user(&acme, "gone", Role::Admin).await;
    let deleted = open(&served, "gone", 3_600).await;
    users.delete_user(&acme, "gone").await.unwrap();
    for secret in [&expired, &ended, &disabled, &kept, &deleted] {
        for (method, route, path, _) in SAMPLES {
            let answer = ask(&served, method, path, As::Session(secret)).await;
            shut_out(method, route, &answer);
        }
    }
    served.later(8 * 24 * 3_600);
    for (method, route, path, _) in SAMPLES {
        let answer = ask(&served, method, path, As::Session(&unused)).await;
        shut_out(method, route, &answer);
    }
}

#[tokio::test]
async fn a_devices_token_opens_nothing() {
    let served = Peopled::start().await;
    for (method, route, path, _) in SAMPLES {
        let answer = ask(&served, method, path, As::Token(&served.tokens.device)).await;
        assert_eq!(answer.status, 403, "{method} {route}: {answer:?}");
        assert!(!answer.body.contains(seed::MARK));
    }
}

/// Who is refused, and who is allowed, of those who are known.
fn expected<'s>(served: &'s Peopled, access: Access, by_session: bool) -> (Vec<As<'s>>, As<'s>) {
    let tokens = &served.served.tokens;
    let [viewer, editor, admin] = if by_session {
        [&served.viewer, &served.editor, &served.admin].map(|secret| As::Session(secret))
    } else {
        [&tokens.reader, &tokens.editor, &tokens.admin].map(|secret| As::Token(secret))
    };
    match access {
        Access::Public | Access::SignIn | Access::Page | Access::Read | Access::Own => {
            (vec![], viewer)
        }
        Access::Write => (vec![viewer], editor),
        Access::Admin => (vec![viewer, editor], admin),
        Access::Wallet | Access::WalletPage => {
            (vec![viewer, editor, admin], As::Session(&served.wallet))
        }
        Access::Operator => (vec![viewer, editor, admin], As::Token(&served.operator)),
    }
}

#[tokio::test]
async fn each_role_may_do_what_it_may() {
    for by_session in [false, true] {
        let served = Peopled::start().await;
        for (method, route, path, _) in SAMPLES {
            let (refused, allowed) = expected(&served, access(method, route), by_session);
            for who in refused {
                let answer = ask(&served, method, path, who).await;
                assert_eq!(answer.status, 403, "{method} {route}: {answer:?}");
                assert!(!answer.body.contains(seed::MARK), "{answer:?}");
            }
            let answer = ask(&served, method, path, allowed).await;
            assert!(let_in(path, &answer), "{method} {route}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn an_operator_opens_nothing_of_a_tenant() {
    let served = Peopled::start().await;
    for (method, route, path, _) in SAMPLES {
        if access(method, route) != Access::Operator {
            let answer = ask(&served, method, path, As::Token(&served.operator)).await;
            assert_eq!(answer.status, 403, "{method} {route}: {answer:?}");
            assert!(!answer.body.contains(seed::MARK), "{answer:?}");
        }
    }
}

#[tokio::test]
async fn another_tenants_things_do_not_exist() {
    let served = Peopled::start().await;
    for (method, route, path, expected) in SAMPLES {
        let answer = ask(&served, method, path, As::Token(&served.tokens.rival)).await;
        let right = match expected {
            Rival::Nothing => answer.status == 404,
            Rival::Empty => answer.status == 200,
            Rival::Own => let_in(path, &answer),
            Rival::Refused => answer.status == 403,
        };
        assert!(right, "{method} {route}: {answer:?}");
        // A name that the rival itself sent may come back; nothing else of `acme`'s.
        let known: Vec<String> = path
            .split(['/', '=', '?'])
            .filter(|p| p.contains("marked"))
            .map(|p| p.replace("%25", "%"))
            .collect();
        let mut body = answer.body.clone();
        known
            .iter()
            .for_each(|name| body = body.replace(name.as_str(), ""));
        assert!(!body.contains(seed::MARK), "{method} {route}: {answer:?}");
    }
    // And what the rival did has changed nothing of `acme`'s.
    let workflow = served.read("/api/v1/workflows/warm-marked").await.ok();
    assert_eq!(
        (&workflow["version"], &workflow["active"]),
        (&1.into(), &true.into())
    );
    // The tenant's own, and one of a holder's, which a sample is of.
    let commands = served.read("/api/v1/commands").await.ok();
    assert_eq!(commands["items"].as_array().unwrap().len(), 2);
    let admin = served
        .get("/api/v1/tokens")
        .bearer(&served.tokens.admin)
        .send()
        .await
        .ok();
    assert!(
        admin["items"]
            .as_array()
            .unwrap()
            .iter()
            .all(|t| t["revoked_us"].is_null())
    );
}

#[tokio::test]
async fn with_a_cookie_only_the_hubs_own_pages_change_something() {
    let served = Peopled::start().await;
    let cookies = [served.admin.as_str(), "nonsense"]
        .map(|secret| format!("a=b; stencil_session={secret}; c=d"));
    let foreign: [&[(&str, &str)]; 6] = [
        &[],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "none"), ("origin", "http://localhost")],
        &[("origin", "http://evil.example")],
        &[("origin", "null")],
    ];
    for (method, route, ..) in SAMPLES.iter().filter(|sample| sample.0 != "GET") {
        let path = route.replace(['{', '}'], "");
        let mut refusals = std::collections::BTreeSet::new();
        for cookie in &cookies {
            for headers in foreign {
                let ask = served.ask(method, &path).header("cookie", cookie);
                let ask = headers
                    .iter()
                    .fold(ask, |ask, (name, value)| ask.header(name, value));
                let answer = ask.send().await;
                refusals.insert(answer.problem(403));
            }
        }
        assert_eq!(
            refusals.len(),
            1,
            "{method} {route}: the answer tells something"
        );
    }
    let workflow = served.read("/api/v1/workflows/warm-marked").await.ok();
    assert_eq!(workflow["active"], true);
}

#[tokio::test]
async fn a_revoked_token_opens_nothing() {
    let served = Served::start().await;
    let list = served
        .get("/api/v1/tokens")
        .bearer(&served.tokens.admin)
        .send()
        .await
        .ok();
    let reader = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|t| t["role"] == "viewer")
        .unwrap();
    let path = format!("/api/v1/tokens/{}", reader["id"].as_str().unwrap());
    for _ in 0..2 {
        let answer = served
            .ask("DELETE", &path)
            .bearer(&served.tokens.admin)
            .send()
            .await;
        assert_eq!(answer.status, 204, "{answer:?}");
    }
    served.read("/api/v1/devices").await.problem(401);
}

#[tokio::test]
async fn other_schemes_are_told_what_is_right() {
    let served = Served::start().await;
    let answer = served
        .get("/api/v1/devices")
        .header("authorization", "Basic abc")
        .send()
        .await;
    assert!(answer.problem(401).contains("Bearer <token>"));
    let long = "x".repeat(5_000);
    served
        .get("/api/v1/devices")
        .bearer(&long)
        .send()
        .await
        .problem(401);
}
