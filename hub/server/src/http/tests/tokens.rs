//! Tokens.

use serde_json::{Value, json};

use super::{Answer, NOW_US, Served};

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
    let owner = served
        .store
        .tenancy
        .verify_token(admin, NOW_US)
        .await
        .unwrap();
    let path = format!("/api/v1/tokens/{}", owner.unwrap().id);
    let refused = served.ask("DELETE", &path).bearer(admin).send().await;
    let detail = refused.problem(409);
    assert!(detail.contains("last admin token"), "{detail}");
    let another = json!({ "kind": "api", "role": "admin", "name": "second" });
    assert_eq!(make(&served, &another).await.status, 201);
    let done = served.ask("DELETE", &path).bearer(admin).send().await;
    assert_eq!(done.status, 204, "{done:?}");
}

#[tokio::test]
async fn a_token_ends_and_who_has_it_is_told() {
    let served = Served::start().await;
    let api = |more: Value| {
        let mut wanted = json!({ "kind": "api", "role": "viewer", "name": "ci" });
        wanted
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        wanted
    };
    let usual = make(&served, &api(json!({}))).await.json();
    assert_eq!(usual["expires_us"], NOW_US + 365 * 86_400_000_000);
    let endless = make(&served, &api(json!({ "valid_for_s": 0 })))
        .await
        .json();
    assert_eq!(endless["expires_us"], Value::Null);
    let device = json!({ "kind": "device", "device": "probe-1", "name": "probe" });
    assert_eq!(
        make(&served, &device).await.json()["expires_us"],
        Value::Null
    );
    for wrong in [json!(316_224_001), json!(u64::MAX), json!(-1), json!(1.5)] {
        let detail = make(&served, &api(json!({ "valid_for_s": wrong })))
            .await
            .problem(400);
        assert!(detail.contains("valid_for_s"), "{wrong}: {detail}");
    }

    let made = make(&served, &api(json!({ "valid_for_s": 60 })))
        .await
        .json();
    let secret = made["token"].as_str().unwrap();
    let ask = || served.get("/api/v1/devices").bearer(secret).send();
    let session = served.session(secret).await;
    ask().await.ok();
    served.later(59);
    ask().await.ok();
    served.later(1);
    let detail = ask().await.problem(401);
    assert!(
        detail.contains("the token has ended") && detail.contains("stencil token create"),
        "{detail}"
    );
    // Neither does what it has opened stand, nor is anybody signed in by it.
    let page = served.get("/devices").session(&session).send().await;
    assert_eq!(page.status, 303, "{page:?}");
    let form = format!("token={secret}");
    let entered = served.ask("POST", "/login").body(form).send().await;
    assert_eq!(entered.status, 401, "{entered:?}");
    assert!(entered.body.contains("This token has ended"), "{entered:?}");
    // The list says it, and so does the page.
    let list = served
        .get("/api/v1/tokens")
        .bearer(&served.tokens.admin)
        .send();
    let list = list.await.ok();
    let mut listed = list["items"].as_array().unwrap().iter();
    let listed = listed.find(|it| it["id"] == made["id"]).unwrap();
    assert_eq!(listed["expires_us"], NOW_US + 60_000_000);
    let admin = served.session(&served.tokens.admin).await;
    let page = served.get("/settings").session(&admin).send().await.body;
    assert!(
        page.contains(">ended<") && page.contains("without an end"),
        "{page}"
    );
}

#[tokio::test]
async fn an_operators_token_ends_likewise() {
    let served = Served::start().await;
    let operators = &served.store.operators;
    let made = operators.create_operator("ops", Some(NOW_US + 1_000_000), NOW_US);
    let (_, secret) = made.await.unwrap();
    let ask = |path| served.get(path).bearer(secret.reveal()).send();
    ask("/api/v1/operator/tenants").await.ok();
    served.later(1);
    for path in ["/api/v1/operator/tenants", "/api/v1/devices"] {
        let detail = ask(path).await.problem(401);
        assert!(
            detail.contains("the operator's token has ended"),
            "{detail}"
        );
        assert!(detail.contains("stencil hub add-operator"), "{detail}");
    }
}
