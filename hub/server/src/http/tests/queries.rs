//! A query with a parameter that there is not is refused, by every route.

use super::authorisation::{OPEN, SAMPLES};
use super::{Served, seed};
use crate::http::access::Access;
use crate::http::routes::{Parameters, routes};

/// The path of a sample with this parameter more.
fn with(path: &str, parameter: &str) -> String {
    let path = path.replace(['{', '}', '\''], "");
    let joint = if path.contains('?') { '&' } else { '?' };
    format!("{path}{joint}{parameter}")
}

#[tokio::test]
async fn no_route_takes_a_parameter_that_it_does_not_know() {
    let served = Served::start().await;
    let operators = &served.store.operators;
    let made = operators.create_operator("ops", None, super::NOW_US).await;
    let operator = made.unwrap().1.reveal().to_owned();
    let wallets = &served.store.wallets;
    let opened = wallets.open_wallet_session(&[0x5b; 20], None, None, i64::MAX, super::NOW_US);
    let wallet = opened.await.unwrap().1.reveal().to_owned();
    let samples = SAMPLES
        .iter()
        .map(|(method, route, path, _)| (*method, *route, (*path).to_owned()));
    let open = OPEN.iter().map(|(method, route)| {
        let path = route
            .replace("{tenant}", "acme")
            .replace("{collection}", "notices-marked")
            .replace("{key}", "published-marked")
            .replace("{file}", "stencil.css");
        (*method, *route, path)
    });
    let mut asked = 0;
    for (method, route, path) in samples.chain(open) {
        let found = routes()
            .into_iter()
            .find(|of| of.method == method && of.path == route)
            .unwrap();
        let (parameters, access) = (found.parameters, found.access);
        let token = if route.starts_with("/api/v1/operator/") {
            &operator
        } else {
            &served.tokens.admin
        };
        let send = async |path: String| {
            let ask = served.ask(method, &path);
            let ask = match access {
                Access::Wallet | Access::WalletPage => ask.session(&wallet),
                _ => ask.bearer(token),
            };
            ask.send().await
        };
        let answer = send(with(&path, "nonsense=1")).await;
        if parameters == Parameters::Any {
            assert_ne!(answer.status, 400, "{method} {route}: {answer:?}");
            continue;
        }
        let detail = answer.problem(400);
        assert!(detail.contains("nonsense"), "{method} {route}: {detail}");
        asked += 1;
        // A mark without a mark's meaning would be no query at all.
        if parameters == Parameters::None {
            assert!(detail.contains("takes no query"), "{method} {route}");
        }
    }
    let all = routes();
    let free = all.iter().filter(|of| of.parameters == Parameters::Any);
    assert!(asked + free.count() >= all.len(), "{asked}");
    // An empty query is none, and what is known is taken.
    for path in ["/api/v1/me?", "/api/v1/me?&", "/api/v1/devices?limit=1"] {
        served.read(path).await.ok();
    }
    let device = seed::freezer();
    let latest = format!("/api/v1/devices/{device}/latest?name=temperature");
    let detail = served.read(&latest).await.problem(400);
    assert!(detail.contains("`name`"), "{detail}");
}
