//! Under which names the console is reached.

use super::authorisation::{OPEN, SAMPLES};
use super::{Limits, Served};
use crate::http::access::Access;
use crate::http::routes::routes;

const EVIL: &str = "evil.example:8080";

fn access(method: &str, route: &str) -> Access {
    let mut all = routes().into_iter();
    let found = all.find(|of| of.method == method && of.path == route);
    found.unwrap().access
}

#[tokio::test]
async fn a_page_that_has_its_name_lead_here_gets_nothing() {
    let served = Served::start().await;
    let secret = served.session(&served.tokens.admin).await;
    let plain = |path: &str| path.replace(['{', '}', '\''], "");
    for (method, route, path, _) in SAMPLES {
        let path = plain(path);
        // To the browser it is all one site.
        let ask = served.ask(method, &path).host(EVIL).session(&secret);
        let answer = ask.header("origin", &format!("http://{EVIL}")).send().await;
        let detail = answer.problem(421);
        for part in ["`evil.example`", "http.public_names", "http.public_url"] {
            assert!(detail.contains(part), "{method} {route}: {detail}");
        }
        // Nor by what it may add itself, or without anything.
        let ask = served.ask(method, &path).host(EVIL).session(&secret);
        let status = ask.header("authorization", "Bearer x").send().await.status;
        assert!(matches!(status, 303 | 401), "{method} {route}: {status}");
        if access(method, route) == Access::Page {
            let answer = served.ask(method, &path).host(EVIL).send().await;
            answer.problem(421);
        }
    }
    for (method, route) in OPEN {
        let ask = served.ask(method, &plain(route)).host(EVIL);
        let answer = ask
            .header("authorization", "Bearer x")
            .header("origin", &format!("http://{EVIL}"))
            .body(format!("token={}", served.tokens.admin))
            .send()
            .await;
        let enters = access(method, route) == Access::SignIn;
        assert_eq!(answer.status == 421, enters, "{method} {route}: {answer:?}");
        assert!(answer.header("set-cookie").is_none(), "{answer:?}");
    }
    // The session is as good as before, under the hub's own name.
    served.get("/").session(&secret).send().await;
}

#[tokio::test]
async fn a_program_with_a_token_may_use_any_name() {
    let served = Served::start().await;
    let reader = &served.tokens.reader;
    for host in [EVIL, "hub", "192.0.2.7", ""] {
        let ask = served.get("/api/v1/me").host(host).bearer(reader);
        ask.send().await.ok();
    }
}

#[tokio::test]
async fn the_names_of_the_settings_are_taken() {
    let names = ["iot.example.org".to_owned()];
    let served = Served::start_changed(Limits::default(), |state| {
        state.reached_at("https://hub.example.org").named(&names)
    })
    .await;
    let reader = &served.tokens.reader;
    for (host, status) in [
        ("hub.example.org", 303),
        ("iot.example.org:443", 303),
        ("127.0.0.1:8080", 303),
        ("[::1]", 303),
        ("other.example.org", 421),
        ("", 421),
    ] {
        let ask = served.ask("POST", "/login").host(host);
        let answer = ask.body(format!("token={reader}")).send().await;
        assert_eq!(answer.status, status, "{host}: {answer:?}");
    }
}
