//! Tokens.

use serde_json::{Value, json};

use super::{Answer, Served};

async fn make(served: &Served, wanted: &Value) -> Answer {
    served
        .ask("POST", "/api/v1/tokens")
        .bearer(&served.tokens.admin)
        .json(wanted)
        .send()
        .await
}

#[tokio::test]
async fn a_fresh_token_works_and_its_secret_is_shown_once() {
    let served = Served::start().await;
    let answer = make(
        &served,
        &json!({ "kind": "api", "role": "viewer", "name": "ci" }),
    )
    .await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let made = answer.json();
    assert_eq!(
        (&made["kind"], &made["role"]),
        (&"api".into(), &"viewer".into())
    );
    let secret = made["token"].as_str().unwrap();
    served
        .get("/api/v1/devices")
        .bearer(secret)
        .send()
        .await
        .ok();
    let list = served
        .get("/api/v1/tokens")
        .bearer(&served.tokens.admin)
        .send()
        .await;
    assert!(!list.body.contains(secret));
    assert!(
        list.ok()["items"]
            .as_array()
            .unwrap()
            .iter()
            .any(|t| t["id"] == made["id"])
    );

    let device = json!({ "kind": "device", "device": "probe-1", "name": "probe" });
    let made = make(&served, &device).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(made.json()["device"], "probe-1");
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let served = Served::start().await;
    for (wanted, text) in [
        (json!({}), "missing field `kind`"),
        (
            json!({ "kind": "user", "name": "a" }),
            "unknown variant `user`",
        ),
        (json!({ "kind": "api", "name": "a" }), "needs a `role`"),
        (
            json!({ "kind": "api", "role": "root", "name": "a" }),
            "viewer, editor or admin",
        ),
        (
            json!({ "kind": "api", "role": "admin", "device": "d", "name": "a" }),
            "no `device`",
        ),
        (json!({ "kind": "device", "name": "a" }), "needs a `device`"),
        (
            json!({ "kind": "device", "device": "a/b", "name": "a" }),
            "byte 1",
        ),
        (
            json!({ "kind": "api", "role": "admin", "name": "" }),
            "name",
        ),
        (
            json!({ "kind": "api", "role": "admin", "name": "x".repeat(65) }),
            "name",
        ),
    ] {
        let detail = make(&served, &wanted).await.problem(400);
        assert!(detail.contains(text), "{wanted}: {detail}");
    }
    let unknown = served.ask("DELETE", "/api/v1/tokens/0000000000000000");
    unknown
        .bearer(&served.tokens.admin)
        .send()
        .await
        .problem(404);
}

#[tokio::test]
async fn an_admin_cannot_lock_its_tenant_out() {
    let served = Served::start().await;
    let admin = &served.tokens.admin;
    let owner = served.store.tenancy.verify_token(admin).await.unwrap();
    let path = format!("/api/v1/tokens/{}", owner.unwrap().id);
    let refused = served.ask("DELETE", &path).bearer(admin).send().await;
    let detail = refused.problem(409);
    assert!(detail.contains("last admin token"), "{detail}");
    let another = json!({ "kind": "api", "role": "admin", "name": "second" });
    assert_eq!(make(&served, &another).await.status, 201);
    let done = served.ask("DELETE", &path).bearer(admin).send().await;
    assert_eq!(done.status, 204, "{done:?}");
}
