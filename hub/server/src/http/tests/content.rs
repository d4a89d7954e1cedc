//! Content: the tenant's own view, and what the public sees.

use serde_json::json;

use super::{NOW_US, Served, seed};

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

/// Whoever copies the command from the page believes the gateway and a node, and not the page.
#[tokio::test]
async fn a_page_with_a_proof_names_nothing_that_is_to_be_believed() {
    const SEALED: &str = include_str!("../../../../../core/proof/tests/vectors/sealed.json");
    let served = Served::start().await;
    let mut proof: serde_json::Value = serde_json::from_str(SEALED).unwrap();
    let hash = "5f".repeat(32);
    proof["anchor"]["block_hash"] = json!(hash);
    proof["anchor"]["block_number"] = json!(7_654_321);
    let publish = async |key: &str, fields: serde_json::Value| {
        let (acme, content) = (seed::acme(), &served.store.content);
        let fields = fields.as_object().unwrap();
        let written = content.upsert(&acme, "figures", key, fields, None, NOW_US);
        written.await.unwrap();
        let published = content.publish(&acme, "figures", key, None, NOW_US);
        published.await.unwrap();
        served
            .get(&format!("/p/acme/figures/{key}"))
            .send()
            .await
            .body
    };
    let fields = json!({
        "title": "-4.0 <data data-proof=\"q\">", "value": -18.75, "proof": proof, "unit": "degC",
        "a <b> & \"c\"": "-18.75 degC", "a <b> & \"c\"_proof": proof,
    });
    let page = publish("anchored", fields).await;
    let (document, shown) = page.rsplit_once("</script>").unwrap();
    assert!(
        document.contains(&hash) && !shown.contains(&hash),
        "{shown}"
    );
    for words in [
        "anchored in block 7654321 of chain 1",
        "--gateway-key <i>FINGERPRINT</i> --rpc <i>NODE</i></code>",
        "--block-hash <i>HASH</i></code> with the block's hash from an explorer of your choice",
        "and not from this page",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    // What the page has is what is read of it, whatever its texts and names are.
    let found = stencil_proof::page::find(page.as_bytes()).unwrap();
    assert_eq!(found.len(), 2);
    for one in &found {
        assert_eq!(one.figures.len(), 1);
        one.figures_match().unwrap();
    }
    proof.as_object_mut().unwrap().remove("anchor");
    let page = publish("sealed", json!({ "value": -18.75, "proof": proof })).await;
    assert!(
        page.contains("--gateway-key <i>FINGERPRINT</i></code>"),
        "{page}"
    );
    assert!(
        !page.contains("--rpc") && !page.contains("--block-hash"),
        "{page}"
    );
}
