//! Tenants, for who runs the hub.

use serde_json::json;

use super::{NOW_US, PASSWORD, Served};

async fn operator(served: &Served) -> String {
    let made = served.store.operators.create_operator("ops", None, NOW_US);
    made.await.unwrap().1.reveal().to_owned()
}

#[tokio::test]
async fn an_operator_makes_a_tenant_whose_admin_signs_in() {
    let served = Served::start().await;
    let operator = operator(&served).await;
    let make = |body: serde_json::Value| {
        served
            .ask("POST", "/api/v1/operator/tenants")
            .bearer(&operator)
            .json(&body)
            .send()
    };
    let made = make(json!({ "id": "globex", "admin": "hank" })).await;
    assert_eq!(made.status, 201, "{made:?}");
    let made = made.json();
    assert_eq!(
        (&made["id"], &made["admin"]),
        (&"globex".into(), &"hank".into())
    );
    let link = made["link"].as_str().unwrap();
    let link = link.strip_prefix("http://127.0.0.1:8080").unwrap();
    let form = format!("password={PASSWORD}&again={PASSWORD}");
    let session = served.ask("POST", link).body(form).send().await.session();
    let me = served.get("/api/v1/me").session(&session).send().await.ok();
    assert_eq!(
        (&me["tenant"], &me["role"]),
        (&"globex".into(), &"admin".into())
    );

    let list = served.get("/api/v1/operator/tenants").bearer(&operator);
    let list = list.send().await.ok();
    let ids: Vec<_> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tenant| tenant["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["acme", "globex", "rival"]);
    assert!(
        make(json!({ "id": "acme" }))
            .await
            .problem(409)
            .contains("acme")
    );
    make(json!({ "id": "a/b" })).await.problem(400);
    make(json!({ "id": "new", "admin": "No Name" }))
        .await
        .problem(400);
    // What was refused has made nothing.
    let made = make(json!({ "id": "new" })).await;
    assert_eq!((made.status, &made.json()["admin"]), (201, &"admin".into()));
}

#[tokio::test]
async fn an_operator_sees_nothing_of_a_tenant_and_a_tenant_nothing_of_the_others() {
    let served = Served::start().await;
    let operator = operator(&served).await;
    let own = served.get("/api/v1/devices").bearer(&operator).send().await;
    assert!(own.problem(403).contains("operator"));
    let login = served.get(&format!("/login?token={operator}")).send().await;
    assert_eq!(login.status, 403, "{login:?}");
    assert!(login.header("set-cookie").is_none());
    let path = "/api/v1/operator/tenants";
    let admin = served.get(path).bearer(&served.tokens.admin).send().await;
    assert!(admin.problem(403).contains("add-operator"));
    let session = served.session(&served.tokens.admin).await;
    served.get(path).session(&session).send().await.problem(403);
    served
        .get(path)
        .bearer("nonsense")
        .send()
        .await
        .problem(401);
    served
        .get(path)
        .session("nonsense")
        .send()
        .await
        .problem(401);
    served.get(path).send().await.problem(401);

    let id = served
        .store
        .operators
        .verify_operator(&operator, NOW_US)
        .await;
    let revoked = &served.store.operators;
    revoked
        .revoke_operator(&id.unwrap().unwrap().id, 1)
        .await
        .unwrap();
    served.get(path).bearer(&operator).send().await.problem(401);
}

#[tokio::test]
async fn an_erased_tenant_is_gone_and_lets_nobody_in() {
    let served = Served::start().await;
    let operator = operator(&served).await;
    let session = served.session(&served.tokens.admin).await;
    let erase = |tenant: &str| {
        let path = format!("/api/v1/operator/tenants/{tenant}");
        served.ask("DELETE", &path).bearer(&operator).send()
    };
    assert_eq!(erase("acme").await.status, 204);
    served.read("/api/v1/devices").await.problem(401);
    let gone = served.get("/api/v1/me").session(&session).send().await;
    gone.problem(401);
    let other = served.get("/api/v1/me").bearer(&served.tokens.rival);
    other.send().await.ok();
    for unknown in ["acme", "nobody", "a%2fb", "%00"] {
        erase(unknown).await.problem(404);
    }
}
