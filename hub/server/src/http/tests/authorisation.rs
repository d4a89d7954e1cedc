//! Who may use which route. The sample requests must cover the table of routes: a route that is
//! added without one fails here.

use std::collections::BTreeSet;

use stencil_store::{Opener, Role, TokenKind, UserChange};

use super::{Answer, NOW_US, Served, seed};
use crate::http::access::Access;
use crate::http::routes::routes;

/// What another tenant's admin gets of `acme`'s things.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Rival {
    /// 404.
    Nothing,
    /// 200, without anything of `acme`'s.
    Empty,
    /// What it did, it did to its own tenant.
    Own,
    /// 403: it is for nobody of a tenant.
    Refused,
}

/// Method, route, a request to `acme`'s things that a right token is allowed, and what a rival
/// gets for it.
pub(super) const SAMPLES: &[(&str, &str, &str, Rival)] = &[
    // First: later the rival's own log has the names that it asked for in vain.
    ("GET", "/api/v1/audit", "/api/v1/audit", Rival::Empty),
    // Pages first: what a rival writes below, its own pages show.
    ("GET", "/audit", "/audit", Rival::Empty),
    (
        "GET",
        "/live/figure",
        "/live/figure?name=temperature&from_us=0&to_us=1&device=freezer-marked",
        Rival::Nothing,
    ),
    ("GET", "/claim", "/claim", Rival::Empty),
    ("GET", "/enrolment", "/enrolment", Rival::Empty),
    (
        "GET",
        "/enrolment/{device}",
        "/enrolment/freezer-marked",
        Rival::Nothing,
    ),
    ("GET", "/alarms", "/alarms", Rival::Empty),
    (
        "GET",
        "/alarms/{alarm}",
        "/alarms/efefefefefefefefefefefefefefefef",
        Rival::Nothing,
    ),
    ("GET", "/workflows", "/workflows", Rival::Empty),
    ("GET", "/workflows/new", "/workflows/new", Rival::Empty),
    (
        "GET",
        "/workflows/{workflow}",
        "/workflows/warm-marked",
        Rival::Nothing,
    ),
    ("GET", "/runs", "/runs", Rival::Empty),
    (
        "GET",
        "/runs/{run}",
        "/runs/abababababababababababababababababababababababababababababababab",
        Rival::Nothing,
    ),
    ("GET", "/rollouts", "/rollouts", Rival::Empty),
    (
        "GET",
        "/rollouts/{rollout}",
        "/rollouts/4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a",
        Rival::Nothing,
    ),
    ("GET", "/content", "/content", Rival::Empty),
    (
        "GET",
        "/content/{collection}/{key}",
        "/content/notices-marked/draft-marked",
        Rival::Nothing,
    ),
    ("GET", "/ledger", "/ledger", Rival::Empty),
    ("GET", "/quarantine", "/quarantine", Rival::Empty),
    ("GET", "/api/v1/overview", "/api/v1/overview", Rival::Empty),
    ("GET", "/api/v1/devices", "/api/v1/devices", Rival::Empty),
    (
        "GET",
        "/api/v1/devices/{device}",
        "/api/v1/devices/freezer-marked",
        Rival::Nothing,
    ),
    (
        "GET",
        "/api/v1/devices/{device}/latest",
        "/api/v1/devices/freezer-marked/latest",
        Rival::Nothing,
    ),
    (
        "GET",
        "/api/v1/devices/{device}/series",
        "/api/v1/devices/freezer-marked/series",
        Rival::Nothing,
    ),
    (
        "GET",
        "/api/v1/devices/{device}/series/{name}",
        "/api/v1/devices/freezer-marked/series/temperature",
        Rival::Nothing,
    ),
    (
        "GET",
        "/api/v1/devices/{device}/series/{name}/csv",
        "/api/v1/devices/freezer-marked/series/temperature/csv",
        Rival::Nothing,
    ),
    (
        "GET",
        "/api/v1/devices/{device}/ledger",
        "/api/v1/devices/freezer-marked/ledger",
        Rival::Nothing,
    ),
    (
        "GET",
        "/api/v1/devices/{device}/commands",
        "/api/v1/devices/freezer-marked/commands",
        Rival::Nothing,
    ),
    (
        "POST",
        "/api/v1/devices/{device}/commands",
        "/api/v1/devices/freezer-marked/commands",
        Rival::Nothing,
    ),
    ("GET", "/api/v1/commands", "/api/v1/commands", Rival::Empty),
    (
        "GET",
        "/api/v1/commands/{command}",
        "/api/v1/commands/cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd",
        Rival::Nothing,
    ),
    ("GET", "/api/v1/runs", "/api/v1/runs", Rival::Empty),
    (
        "GET",
        "/api/v1/runs/{run}",
        "/api/v1/runs/abababababababababababababababababababababababababababababababab",
        Rival::Nothing,
    ),
    (
        "GET",
        "/api/v1/update-trust",
        "/api/v1/update-trust",
        Rival::Nothing,
    ),
    (
        "PUT",
        "/api/v1/images/{image}",
        "/api/v1/images/c3bf47ea1f4a4a605470313cacb3a44f4a461f68c6faeab07e737610cb5ac835",
        Rival::Nothing,
    ),
    (
        "PUT",
        "/api/v1/update-trust",
        "/api/v1/update-trust",
        Rival::Own,
    ),
    ("GET", "/api/v1/images", "/api/v1/images", Rival::Empty),
    (
        "GET",
        "/api/v1/images/{image}",
        "/api/v1/images/4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b",
        Rival::Nothing,
    ),
    ("GET", "/api/v1/rollouts", "/api/v1/rollouts", Rival::Empty),
    (
        "POST",
        "/api/v1/rollouts",
        "/api/v1/rollouts",
        Rival::Nothing,
    ),
    (
        "GET",
        "/api/v1/rollouts/{rollout}",
        "/api/v1/rollouts/4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a",
        Rival::Nothing,
    ),
    (
        "GET",
        "/api/v1/rollouts/{rollout}/devices",
        "/api/v1/rollouts/4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a/devices",
        Rival::Nothing,
    ),
    (
        "GET",
        "/api/v1/rollouts/{rollout}/notices",
        "/api/v1/rollouts/4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a/notices",
        Rival::Nothing,
    ),
    (
        "POST",
        "/api/v1/rollouts/{rollout}/pause",
        "/api/v1/rollouts/4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a/pause",
        Rival::Nothing,
    ),
    (
        "POST",
        "/api/v1/rollouts/{rollout}/retry",
        "/api/v1/rollouts/4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a/retry",
        Rival::Nothing,
    ),
    (
        "POST",
        "/api/v1/rollouts/{rollout}/abort",
        "/api/v1/rollouts/4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a/abort",
        Rival::Nothing,
    ),
    (
        "POST",
        "/api/v1/rollouts/{rollout}/resume",
        "/api/v1/rollouts/4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a/resume",
        Rival::Nothing,
    ),
    ("GET", "/api/v1/alarms", "/api/v1/alarms", Rival::Empty),
    (
        "GET",
        "/api/v1/alarms/counts",
        "/api/v1/alarms/counts",
        Rival::Empty,
    ),
    (
        "GET",
        "/api/v1/alarms/{alarm}",
        "/api/v1/alarms/efefefefefefefefefefefefefefefef",
        Rival::Nothing,
    ),
    (
        "GET",
        "/api/v1/alarms/{alarm}/history",
        "/api/v1/alarms/efefefefefefefefefefefefefefefef/history",
        Rival::Nothing,
    ),
    (
        "POST",
        "/api/v1/alarms/{alarm}/acknowledge",
        "/api/v1/alarms/efefefefefefefefefefefefefefefef/acknowledge",
        Rival::Nothing,
    ),
    (
        "POST",
        "/api/v1/alarms/{alarm}/silence",
        "/api/v1/alarms/efefefefefefefefefefefefefefefef/silence",
        Rival::Nothing,
    ),
    ("GET", "/api/v1/ledger", "/api/v1/ledger", Rival::Empty),
    (
        "GET",
        "/api/v1/quarantine",
        "/api/v1/quarantine",
        Rival::Empty,
    ),
    ("GET", "/api/v1/content", "/api/v1/content", Rival::Empty),
    (
        "GET",
        "/api/v1/content/{collection}",
        "/api/v1/content/notices-marked",
        Rival::Empty,
    ),
    (
        "GET",
        "/api/v1/content/{collection}/{key}",
        "/api/v1/content/notices-marked/draft-marked",
        Rival::Nothing,
    ),
    (
        "GET",
        "/api/v1/content/{collection}/{key}/versions",
        "/api/v1/content/notices-marked/draft-marked/versions",
        Rival::Empty,
    ),
    (
        "GET",
        "/api/v1/workflows",
        "/api/v1/workflows",
        Rival::Empty,
    ),
    (
        "GET",
        "/api/v1/workflows/{workflow}",
        "/api/v1/workflows/warm-marked",
        Rival::Nothing,
    ),
    (
        "GET",
        "/api/v1/workflows/{workflow}/versions",
        "/api/v1/workflows/warm-marked/versions",
        Rival::Empty,
    ),
    (
        "POST",
        "/api/v1/workflows/check",
        "/api/v1/workflows/check",
        Rival::Own,
    ),
    ("POST", "/api/v1/backtest", "/api/v1/backtest", Rival::Own),
    (
        "DELETE",
        "/api/v1/workflows/{workflow}",
        "/api/v1/workflows/warm-marked",
        Rival::Nothing,
    ),
    (
        "PUT",
        "/api/v1/workflows/{workflow}",
        "/api/v1/workflows/warm-marked",
        Rival::Own,
    ),
    ("GET", "/api/v1/retention", "/api/v1/retention", Rival::Own),
    ("PUT", "/api/v1/retention", "/api/v1/retention", Rival::Own),
    ("GET", "/api/v1/tokens", "/api/v1/tokens", Rival::Own),
    ("POST", "/api/v1/tokens", "/api/v1/tokens", Rival::Own),
    (
        "DELETE",
        "/api/v1/tokens/{token}",
        "/api/v1/tokens/{acme's}",
        Rival::Nothing,
    ),
    ("GET", "/api/v1/me", "/api/v1/me", Rival::Own),
    ("GET", "/api/v1/sessions", "/api/v1/sessions", Rival::Own),
    (
        "DELETE",
        "/api/v1/sessions/{session}",
        "/api/v1/sessions/{viewer's}",
        Rival::Nothing,
    ),
    ("GET", "/api/v1/users", "/api/v1/users", Rival::Own),
    ("POST", "/api/v1/users", "/api/v1/users", Rival::Own),
    (
        "GET",
        "/api/v1/users/{user}",
        "/api/v1/users/dee-marked",
        Rival::Nothing,
    ),
    (
        "PATCH",
        "/api/v1/users/{user}",
        "/api/v1/users/dee-marked",
        Rival::Nothing,
    ),
    (
        "POST",
        "/api/v1/users/{user}/link",
        "/api/v1/users/dee-marked/link",
        Rival::Nothing,
    ),
    (
        "DELETE",
        "/api/v1/users/{user}",
        "/api/v1/users/dee-marked",
        Rival::Nothing,
    ),
    (
        "POST",
        "/api/v1/me/password",
        "/api/v1/me/password",
        Rival::Own,
    ),
    (
        "GET",
        "/api/v1/operator/tenants",
        "/api/v1/operator/tenants",
        Rival::Refused,
    ),
    (
        "POST",
        "/api/v1/operator/tenants",
        "/api/v1/operator/tenants",
        Rival::Refused,
    ),
    (
        "DELETE",
        "/api/v1/operator/tenants/{tenant}",
        "/api/v1/operator/tenants/rival",
        Rival::Refused,
    ),
    ("GET", "/", "/", Rival::Empty),
    ("GET", "/live", "/live", Rival::Empty),
    ("GET", "/devices", "/devices", Rival::Empty),
    ("GET", "/settings", "/settings", Rival::Own),
    (
        "GET",
        "/devices/{device}/parts",
        "/devices/freezer-marked/parts",
        Rival::Nothing,
    ),
    (
        "GET",
        "/devices/{device}/chart",
        "/devices/freezer-marked/chart?name=temperature&from_us=0&to_us=9&columns=9",
        Rival::Nothing,
    ),
    (
        "GET",
        "/devices/{device}",
        "/devices/freezer-marked",
        Rival::Nothing,
    ),
    (
        "GET",
        "/api/v1/registrations",
        "/api/v1/registrations",
        Rival::Empty,
    ),
    ("GET", "/api/v1/gateways", "/api/v1/gateways", Rival::Empty),
    (
        "POST",
        "/api/v1/devices/claim",
        "/api/v1/devices/claim",
        Rival::Own,
    ),
    (
        "POST",
        "/api/v1/devices/enrol",
        "/api/v1/devices/enrol",
        Rival::Own,
    ),
    // The device that each has enrolled above.
    (
        "POST",
        "/api/v1/devices/{device}/rotate",
        "/api/v1/devices/rotated/rotate",
        Rival::Own,
    ),
    (
        "POST",
        "/api/v1/devices/{device}/replace",
        "/api/v1/devices/rotated/replace",
        Rival::Own,
    ),
    (
        "POST",
        "/api/v1/devices/{device}/revoke",
        "/api/v1/devices/freezer-marked/revoke",
        Rival::Nothing,
    ),
    (
        "GET",
        "/api/v1/devices/{device}/registration",
        "/api/v1/devices/freezer-marked/registration",
        Rival::Nothing,
    ),
    (
        "GET",
        "/api/v1/operator/births",
        "/api/v1/operator/births",
        Rival::Refused,
    ),
    (
        "POST",
        "/api/v1/operator/births",
        "/api/v1/operator/births",
        Rival::Refused,
    ),
    // Last: others ask for the device.
    (
        "DELETE",
        "/api/v1/devices/{device}",
        "/api/v1/devices/freezer-marked",
        Rival::Nothing,
    ),
];

/// Questions that are asked by POST and change nothing; their modules' tests show that.
const ASKED: &[&str] = &["/api/v1/workflows/check", "/api/v1/backtest"];

/// Routes that need no token; each is tested where its module is.
pub(super) const OPEN: &[(&str, &str)] = &[
    ("GET", "/content/v1/{tenant}/{collection}"),
    ("GET", "/content/v1/{tenant}/{collection}/{key}"),
    ("GET", "/p/{tenant}/{collection}"),
    ("GET", "/p/{tenant}/{collection}/{key}"),
    ("GET", "/livez"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/problems"),
    ("GET", "/login"),
    ("POST", "/login"),
    ("POST", "/logout"),
    ("GET", "/link/{secret}"),
    ("POST", "/link/{secret}"),
    ("GET", "/assets/{file}"),
    ("GET", "/api/v1/enrolment/key"),
];

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
        let operator = operators.create_operator("ops", NOW_US).await.unwrap().1;
        Self {
            viewer: open(&served, "vic", 3_600).await,
            editor: open(&served, "eve", 3_600).await,
            admin: open(&served, "ada", 3_600).await,
            operator: operator.reveal().to_owned(),
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
    let path = if path.contains("{viewer's}") {
        path.replace("{viewer's}", &viewers(served, who).await)
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
        ("POST", "/api/v1/devices/claim") => {
            let code = super::enrolment::waiting(served).await;
            ask.json(&serde_json::json!({ "code": code, "gateway": "gw-1" }))
        }
        ("POST", "/api/v1/devices/enrol" | "/api/v1/operator/births") => {
            ask.json(&serde_json::json!([{
                "device": "rotated", "gateway": "gw-1", "psk": super::enrolment::psk_hex(),
            }]))
        }
        ("POST", path) if path.ends_with("/replace") => {
            ask.json(&serde_json::json!({ "psk": super::enrolment::psk_hex() }))
        }
        ("POST", "/api/v1/operator/tenants") => ask.json(&serde_json::json!({ "id": "new" })),
        ("PATCH", _) => ask.json(&serde_json::json!({ "role": "editor" })),
        ("POST", _) => ask.json(&serde_json::json!({ "name": "lock" })),
        ("PUT", "/api/v1/update-trust") => {
            ask.json(&serde_json::json!({ "keys": seed::update().keys }))
        }
        ("PUT", path) if path.starts_with("/api/v1/images/") => {
            seed::trust_updates(&served.store).await;
            let kind = "application/octet-stream";
            ask.header("content-type", kind).body(seed::update().package.clone())
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

/// The id of a session that is the asking viewer's own: of the user `vic`, or of the viewer's token.
async fn viewers(served: &Served, who: As<'_>) -> String {
    let opener = match who {
        As::Session(_) => Opener::User("vic".to_owned()),
        _ => {
            let owner = served.store.tenancy.verify_token(&served.tokens.reader);
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
    if access(method, route) == Access::Page {
        assert_eq!(answer.status, 303, "{method} {route}: {answer:?}");
        assert_eq!(answer.header("location"), Some("/login"));
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
        let known: Vec<&str> = path
            .split(['/', '=', '?'])
            .filter(|p| p.contains("marked"))
            .collect();
        let mut body = answer.body.clone();
        known.iter().for_each(|name| body = body.replace(name, ""));
        assert!(!body.contains(seed::MARK), "{method} {route}: {answer:?}");
    }
    // And what the rival did has changed nothing of `acme`'s.
    let workflow = served.read("/api/v1/workflows/warm-marked").await.ok();
    assert_eq!(
        (&workflow["version"], &workflow["active"]),
        (&1.into(), &true.into())
    );
    let commands = served.read("/api/v1/commands").await.ok();
    assert_eq!(commands["items"].as_array().unwrap().len(), 1);
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
