//! Devices, newest values, series.

use super::{Limits, NOW_US, Served};

#[tokio::test]
async fn devices_in_pages() {
    let served = Served::start().await;
    let first = served.read("/api/v1/devices?limit=1").await.ok();
    assert_eq!(first["items"][0]["id"], "a-foreign-marked");
    let next = first["next"].as_str().unwrap();
    let second = served
        .read(&format!("/api/v1/devices?limit=1&after={next}"))
        .await
        .ok();
    let device = &second["items"][0];
    assert_eq!(device["id"], "freezer-marked");
    assert_eq!(device["gateway"], "gateway-marked");
    assert_eq!(device["connected"], true);
    assert_eq!(device["link"]["post_quantum"], true);
    assert_eq!(device["last_received_us"], NOW_US);
    let did = "did:web:localhost%3A8080:tenants:acme:devices:freezer-marked";
    assert_eq!(device["did"], did);
    let resolved = did.replace('%', "%25");
    let document = served.read(&format!("/api/v1/dids/{resolved}")).await.ok();
    assert_eq!(document["id"], did, "{document}");
    let page = super::page::page(&served, "/devices/freezer-marked").await;
    assert!(page.contains(&format!(">{did}<")), "{page}");
    assert!(second["next"].is_null());
    assert_eq!(
        &served.read("/api/v1/devices/freezer-marked").await.ok(),
        device
    );
}

/// A hub that is reached by an address has no DIDs, and shows its devices all the same.
#[tokio::test]
async fn a_device_of_a_hub_without_a_name_has_no_did() {
    let served = Served::start_changed(Limits::default(), |state| {
        state.reached_at("http://192.0.2.7")
    })
    .await;
    let device = served.read("/api/v1/devices/freezer-marked").await.ok();
    assert_eq!(device["did"], serde_json::Value::Null, "{device}");
    assert_eq!(device["id"], "freezer-marked");
}

#[tokio::test]
async fn found_by_name_link_and_gateway() {
    let served = Served::start().await;
    for (query, expected) in [
        ("", vec!["a-foreign-marked", "freezer-marked"]),
        ("?search=FREEZER", vec!["freezer-marked"]),
        ("?search=marked", vec!["a-foreign-marked", "freezer-marked"]),
        ("?search=", vec!["a-foreign-marked", "freezer-marked"]),
        ("?search=%25", vec![]),
        ("?search=_", vec![]),
        ("?search=%27%20OR%201=1--", vec![]),
        ("?link=connected", vec!["freezer-marked"]),
        ("?link=cut_off", vec![]),
        ("?link=unknown", vec!["a-foreign-marked"]),
        ("?gateway=gateway-marked", vec!["freezer-marked"]),
        ("?gateway=gateway-2", vec![]),
        ("?gateway=gateway-marked&search=foreign", vec![]),
        (
            "?search=marked&limit=1&after=a-foreign-marked",
            vec!["freezer-marked"],
        ),
    ] {
        let found = served.read(&format!("/api/v1/devices{query}")).await.ok();
        let items = found["items"].as_array().unwrap();
        let ids: Vec<_> = items
            .iter()
            .map(|item| item["id"].as_str().unwrap())
            .collect();
        assert_eq!(ids, expected, "{query}");
    }
}

#[tokio::test]
async fn counted_by_link_and_alarm() {
    let served = Served::start().await;
    let overview = served.read("/api/v1/overview").await.ok();
    assert_eq!(
        overview,
        serde_json::json!({
            "devices": { "devices": 2, "connected": 1, "cut_off": 0, "post_quantum": 2, "not_post_quantum": 0 },
            "alarms": { "warning": 0, "minor": 0, "major": 1, "critical": 0, "unacknowledged": 1 },
        })
    );
}

#[tokio::test]
async fn an_erased_device_is_gone() {
    let served = Served::start().await;
    let path = "/api/v1/devices/freezer-marked";
    let erase = async |token: &str| served.ask("DELETE", path).bearer(token).send().await;
    erase(&served.tokens.editor).await.problem(403);
    assert_eq!(served.read(path).await.status, 200);
    let erased = erase(&served.tokens.admin).await;
    assert_eq!((erased.status, erased.body.as_str()), (204, ""));
    for rest in [
        "",
        "/latest",
        "/series",
        "/series/temperature",
        "/ledger",
        "/commands",
    ] {
        served.read(&format!("{path}{rest}")).await.problem(404);
    }
    assert_eq!(
        served.read("/api/v1/alarms").await.ok()["items"],
        serde_json::json!([])
    );
    let left = served.read("/api/v1/devices").await.ok();
    assert_eq!(left["items"].as_array().unwrap().len(), 1, "{left}");
    let detail = erase(&served.tokens.admin).await.problem(404);
    assert!(detail.contains("no device `freezer-marked`"), "{detail}");
}

#[tokio::test]
async fn newest_values() {
    let served = Served::start().await;
    let latest = served
        .read("/api/v1/devices/freezer-marked/latest")
        .await
        .ok();
    let items = latest["items"].as_array().unwrap();
    let names: Vec<_> = items
        .iter()
        .map(|item| item["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["door", "note", "temperature"]);
    assert_eq!(items[0]["value"], true);
    assert_eq!(items[2]["unit"], "degC");
    assert!(latest["next"].is_null());
}

#[tokio::test]
async fn a_series_in_pages() {
    let served = Served::start().await;
    let path = "/api/v1/devices/freezer-marked/series/temperature";
    let whole = served.read(path).await.ok();
    assert_eq!(whole["items"].as_array().unwrap().len(), 120);
    assert_eq!(whole["unit"], "degC");
    assert!(whole["next"].is_null());

    let mut items = Vec::new();
    let mut after = String::new();
    loop {
        let page = served.read(&format!("{path}?limit=50{after}")).await.ok();
        items.extend(page["items"].as_array().unwrap().clone());
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(&items, whole["items"].as_array().unwrap());

    let (from, to) = (NOW_US - 3_000_000, NOW_US);
    let part = served
        .read(&format!("{path}?from_us={from}&to_us={to}"))
        .await
        .ok();
    let times: Vec<_> = part["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| &p["time_us"])
        .collect();
    assert_eq!(
        times,
        [NOW_US - 3_000_000, NOW_US - 2_000_000, NOW_US - 1_000_000]
    );

    let names = served
        .read("/api/v1/devices/freezer-marked/series")
        .await
        .ok();
    assert_eq!(names["items"].as_array().unwrap().len(), 3);
    let spaced = served
        .read("/api/v1/devices/a-foreign-marked/series/co2%20level")
        .await
        .ok();
    assert_eq!(spaced["items"][0]["value"], 415);
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let served = Served::start().await;
    let series = "/api/v1/devices/freezer-marked/series/temperature";
    for (path, status, text) in [
        (
            "/api/v1/devices/freezer-08".to_owned(),
            404,
            "there is no device `freezer-08`",
        ),
        (
            "/api/v1/devices/freezer-08/latest".to_owned(),
            404,
            "there is no device",
        ),
        (
            "/api/v1/devices/a%2Fb".to_owned(),
            400,
            "byte 1 is something else",
        ),
        ("/api/v1/devices/%FF".to_owned(), 400, "UTF-8"),
        (
            "/api/v1/devices?limit=0".to_owned(),
            400,
            "`limit` is 0, it has to be 1 to 1000",
        ),
        ("/api/v1/devices?limit=1001".to_owned(), 400, "1 to 1000"),
        ("/api/v1/devices?limit=x".to_owned(), 400, "limit"),
        (
            "/api/v1/devices?limt=5".to_owned(),
            400,
            "unknown field `limt`",
        ),
        (
            "/api/v1/devices?link=up".to_owned(),
            400,
            "`link` is `up`, it has to be connected, cut_off or unknown",
        ),
        (
            "/api/v1/devices?gateway=a%2Fb".to_owned(),
            400,
            "the gateway",
        ),
        (
            format!("/api/v1/devices?search={}", "x".repeat(129)),
            400,
            "at most 128 bytes",
        ),
        (
            "/api/v1/devices/freezer-marked/series/pressure".to_owned(),
            404,
            "no series",
        ),
        (
            format!("{series}?from_us=2&to_us=1"),
            400,
            "`from_us` 2 is after `to_us` 1",
        ),
        (format!("{series}?limit=10001"), 400, "1 to 10000"),
        (format!("{series}?after=yesterday"), 400, "after"),
        (
            "/api/v1/nothing".to_owned(),
            404,
            "there is nothing at `/api/v1/nothing`",
        ),
    ] {
        let detail = served.read(&path).await.problem(status);
        assert!(detail.contains(text), "{path}: {detail}");
    }
    let answer = served
        .write("PATCH", "/api/v1/devices", &serde_json::json!({}))
        .await;
    assert!(answer.problem(405).contains("PATCH"));
    assert!(answer.header("allow").unwrap().contains("get"));
}
