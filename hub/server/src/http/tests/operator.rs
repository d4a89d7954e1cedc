//! Probes, counters, and what every answer carries.

use super::{Served, problem, seed};

#[tokio::test]
async fn probes_and_counters() {
    let served = Served::start().await;
    assert_eq!(served.get("/livez").send().await.body, "ok\n");
    assert_eq!(served.get("/readyz").send().await.ok()["ready"], true);
    let metrics = served.get("/metrics").send().await;
    assert!(metrics.body.contains("stencil_hub_samples_stored_total"));
    assert!(
        metrics
            .header("content-type")
            .unwrap()
            .starts_with("text/plain; version=0.0.4")
    );

    problem(&served, "the disk is full");
    let answer = served.get("/readyz").send().await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json()["checks"][0]["problem"], "the disk is full");
    assert_eq!(served.get("/livez").send().await.status, 200);
}

#[tokio::test]
async fn every_answer_is_guarded() {
    let served = Served::start().await;
    for path in [
        "/",
        "/login",
        "/livez",
        "/api/v1/devices",
        "/nothing",
        "/assets/core.js",
    ] {
        let answer = served.get(path).send().await;
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'"), "{path}");
        assert!(!policy.contains("unsafe"), "{path}");
        assert_eq!(
            answer.header("x-content-type-options"),
            Some("nosniff"),
            "{path}"
        );
        assert_eq!(
            answer.header("referrer-policy"),
            Some("no-referrer"),
            "{path}"
        );
        let cached = answer.header("cache-control").unwrap();
        assert_eq!(
            cached == "no-store",
            !path.starts_with("/assets"),
            "{path}: {cached}"
        );
    }
}

#[tokio::test]
async fn problems_are_explained_where_they_point_to() {
    let served = Served::start().await;
    let page = served.get("/problems").send().await.body;
    for (path, status) in [
        ("/api/v1/devices", 401),
        ("/nothing", 404),
        ("/p/acme/none", 404),
    ] {
        let answer = served.get(path).send().await;
        answer.problem(status);
        let kind = answer.json()["type"].as_str().unwrap().to_owned();
        let id = kind.strip_prefix("/problems#").unwrap();
        assert!(page.contains(&format!("<section id=\"{id}\">")), "{kind}");
    }
    assert!(!page.contains(seed::MARK));
}
