//! Content: the tenant's own view, and what the public sees.

use serde_json::json;

use super::Served;

#[tokio::test]
async fn the_tenant_sees_drafts() {
    let served = Served::start().await;
    let collections = served.read("/api/v1/content").await.ok();
    assert_eq!(collections["items"], json!(["notices-marked"]));
    let list = served.read("/api/v1/content/notices-marked").await.ok();
    assert_eq!(list["items"][0]["key"], "draft-marked");
    assert!(list["items"][0]["published_version"].is_null());
    assert_eq!(list["items"][1]["published_version"], 1);
    let one = served
        .read("/api/v1/content/notices-marked/draft-marked")
        .await
        .ok();
    assert_eq!(one["fields"]["value"], -8.1);
    let versions = served
        .read("/api/v1/content/notices-marked/draft-marked/versions")
        .await
        .ok();
    assert_eq!(versions["items"].as_array().unwrap().len(), 1);
    served
        .read("/api/v1/content/notices-marked/none")
        .await
        .problem(404);
}

#[tokio::test]
async fn the_public_sees_what_is_published() {
    let served = Served::start().await;
    let list = served
        .get("/content/v1/acme/notices-marked")
        .send()
        .await
        .ok();
    let keys: Vec<_> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| &e["key"])
        .collect();
    assert_eq!(keys, ["published-marked"]);
    let one = served
        .get("/content/v1/acme/notices-marked/published-marked")
        .send()
        .await
        .ok();
    assert_eq!(one["fields"]["value"], -8.1);
    for (path, status) in [
        ("/content/v1/acme/notices-marked/draft-marked", 404),
        ("/content/v1/rival/notices-marked/published-marked", 404),
        ("/content/v1/nobody/notices-marked/published-marked", 404),
        ("/content/v1/a+b/notices-marked/published-marked", 404),
        ("/content/v1/acme/notices-marked?limit=0", 400),
        ("/p/acme/notices-marked/draft-marked", 404),
        ("/p/rival/notices-marked", 404),
    ] {
        served.get(path).send().await.problem(status);
    }
    let rival = served
        .get("/content/v1/rival/notices-marked")
        .send()
        .await
        .ok();
    assert_eq!(rival["items"], json!([]));
}

#[tokio::test]
async fn the_plain_page_shows_fields_and_runs_nothing() {
    let served = Served::start().await;
    let page = served
        .get("/p/acme/notices-marked/published-marked")
        .send()
        .await;
    assert_eq!(page.status, 200);
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert!(
        page.body
            .contains("<h1>Freezer &lt;07&gt; is warm, marked</h1>"),
        "{}",
        page.body
    );
    assert!(page.body.contains("<dt>value</dt><dd>-8.1</dd>"));
    assert!(page.body.contains("&lt;script&gt;") && !page.body.contains("<script"));
    assert!(page.body.contains("2023-11-14 22:13:20 UTC"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"));

    let index = served.get("/p/acme/notices-marked").send().await;
    assert!(
        index
            .body
            .contains("href=\"/p/acme/notices-marked/published-marked\"")
    );
    assert!(!index.body.contains("draft-marked"));
}
