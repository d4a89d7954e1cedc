//! Who may use which route. The sample requests must cover the table of routes: a route that is
//! added without one fails here.

use std::collections::BTreeSet;

use stencil_store::TokenKind;

use super::{Answer, Served, seed};
use crate::http::access::Access;
use crate::http::routes::routes;

/// What another tenant's admin gets of `acme`'s things.
#[derive(Clone, Copy, PartialEq)]
enum Rival {
    /// 404.
    Nothing,
    /// 200, without anything of `acme`'s.
    Empty,
    /// What it did, it did to its own tenant.
    Own,
}

/// Method, route, a request to `acme`'s things that a right token is allowed, and what a rival
/// gets for it.
const SAMPLES: &[(&str, &str, &str, Rival)] = &[
    // Pages first: what a rival writes below, its own pages show.
    (
        "GET",
        "/live/figure",
        "/live/figure?name=temperature&from_us=0&to_us=1&device=freezer-marked",
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
    ("GET", "/content", "/content", Rival::Empty),
    (
        "GET",
        "/content/{collection}/{key}",
        "/content/notices-marked/draft-marked",
        Rival::Nothing,
    ),
    ("GET", "/ledger", "/ledger", Rival::Empty),
    ("GET", "/quarantine", "/quarantine", Rival::Empty),
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
    ("GET", "/api/v1/tokens", "/api/v1/tokens", Rival::Own),
    ("POST", "/api/v1/tokens", "/api/v1/tokens", Rival::Own),
    (
        "DELETE",
        "/api/v1/tokens/{token}",
        "/api/v1/tokens/{acme's}",
        Rival::Nothing,
    ),
    ("GET", "/", "/", Rival::Empty),
    ("GET", "/live", "/live", Rival::Empty),
    (
        "GET",
        "/devices/{device}",
        "/devices/freezer-marked",
        Rival::Nothing,
    ),
];

/// Questions that are asked by POST and change nothing; their modules' tests show that.
const ASKED: &[&str] = &["/api/v1/workflows/check", "/api/v1/backtest"];

/// Routes that need no token; each is tested where its module is.
const OPEN: &[(&str, &str)] = &[
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
    ("GET", "/assets/{file}"),
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
        assert_eq!(access(method, route), Access::Public);
    }
    for (method, route, ..) in SAMPLES {
        let access = access(method, route);
        assert_ne!(access, Access::Public, "{method} {route}");
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
    /// From a page of the hub.
    Cookie(&'s str),
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
    let ask = served.ask(method, &path);
    let ask = match (method, path.as_str()) {
        ("POST", "/api/v1/tokens") => {
            ask.json(&serde_json::json!({ "kind": "api", "role": "viewer", "name": "n" }))
        }
        ("POST", path) if path.contains("/alarms/") => ask.json(&serde_json::json!({})),
        ("POST", "/api/v1/workflows/check") => {
            ask.json(&serde_json::json!({ "definition": "id: other" }))
        }
        ("POST", "/api/v1/backtest") => ask.json(&serde_json::json!({
            "definition": seed::workflow(2).replace("warm-marked", "draft"), "from_us": 0, "to_us": super::NOW_US + 1,
        })),
        ("POST", _) => ask.json(&serde_json::json!({ "name": "lock" })),
        ("PUT", _) => ask.body(seed::workflow(2)),
        _ => ask,
    };
    let ask = match who {
        As::Nobody => ask,
        As::Token(secret) => ask.bearer(secret),
        As::Cookie(secret) => ask
            .header("cookie", &format!("a=b; stencil_session={secret}; c=d"))
            .header("sec-fetch-site", "same-origin"),
    };
    if path == "/live" {
        // The stream does not end by itself: its head tells.
        return head_only(ask).await;
    }
    ask.send().await
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

#[tokio::test]
async fn without_a_token_nothing_opens() {
    let served = Served::start().await;
    for (method, route, path, _) in SAMPLES {
        for who in [
            As::Nobody,
            As::Token("nonsense"),
            As::Token(""),
            As::Cookie("nonsense"),
        ] {
            let answer = ask(&served, method, path, who).await;
            if access(method, route) == Access::Page {
                assert_eq!(answer.status, 303, "{method} {route}");
                assert_eq!(answer.header("location"), Some("/login"));
            } else {
                assert_eq!(answer.status, 401, "{method} {route}: {answer:?}");
                assert!(
                    answer
                        .header("www-authenticate")
                        .unwrap()
                        .starts_with("bearer")
                );
            }
            assert!(
                !answer.body.contains(seed::MARK),
                "{method} {route}: {answer:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_devices_token_opens_nothing() {
    let served = Served::start().await;
    for (method, route, path, _) in SAMPLES {
        let answer = ask(&served, method, path, As::Token(&served.tokens.device)).await;
        assert_eq!(answer.status, 403, "{method} {route}: {answer:?}");
        assert!(!answer.body.contains(seed::MARK));
    }
}

#[tokio::test]
async fn each_role_may_do_what_it_may() {
    let served = Served::start().await;
    let tokens = &served.tokens;
    for (method, route, path, _) in SAMPLES {
        let (refused, allowed): (&[&String], &String) = match access(method, route) {
            Access::Public | Access::Page | Access::Read => (&[], &tokens.reader),
            Access::Write => (&[&tokens.reader], &tokens.editor),
            Access::Admin => (&[&tokens.reader, &tokens.editor], &tokens.admin),
        };
        for token in refused {
            let answer = ask(&served, method, path, As::Token(token)).await;
            assert_eq!(answer.status, 403, "{method} {route}: {answer:?}");
        }
        let answer = ask(&served, method, path, As::Token(allowed)).await;
        assert!(
            (200..300).contains(&answer.status),
            "{method} {route}: {answer:?}"
        );
    }
}

#[tokio::test]
async fn another_tenants_things_do_not_exist() {
    let served = Served::start().await;
    for (method, route, path, expected) in SAMPLES {
        let answer = ask(&served, method, path, As::Token(&served.tokens.rival)).await;
        let right = match expected {
            Rival::Nothing => answer.status == 404,
            Rival::Empty => answer.status == 200,
            Rival::Own => (200..300).contains(&answer.status),
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
    let served = Served::start().await;
    let cookies = [served.tokens.admin.as_str(), "nonsense"]
        .map(|secret| format!("a=b; stencil_session={secret}; c=d"));
    let foreign: [&[(&str, &str)]; 6] = [
        &[],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "none"), ("origin", "http://hub")],
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
async fn a_cookie_opens_what_its_role_may() {
    let served = Served::start().await;
    for (method, route, path, _) in SAMPLES {
        let (refused, allowed) = match access(method, route) {
            Access::Public | Access::Page | Access::Read => (None, &served.tokens.reader),
            Access::Write => (Some(&served.tokens.reader), &served.tokens.editor),
            Access::Admin => (Some(&served.tokens.editor), &served.tokens.admin),
        };
        if let Some(secret) = refused {
            let answer = ask(&served, method, path, As::Cookie(secret)).await;
            assert_eq!(answer.status, 403, "{method} {route}: {answer:?}");
        }
        let answer = ask(&served, method, path, As::Cookie(allowed)).await;
        assert!(
            (200..300).contains(&answer.status),
            "{method} {route}: {answer:?}"
        );
    }
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
