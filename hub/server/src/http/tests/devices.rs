//! Devices, newest values, series.

use super::{NOW_US, Served};

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
    assert!(second["next"].is_null());
    assert_eq!(
        &served.read("/api/v1/devices/freezer-marked").await.ok(),
        device
    );
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
