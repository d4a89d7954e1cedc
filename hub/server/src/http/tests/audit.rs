//! The audit log.

use serde_json::{Value, json};
use stencil_store::{AuditFilter, Role};

use super::{PASSWORD, Served, seed};
use crate::http::access::Access;
use crate::http::routes::routes;

async fn entries(served: &Served, query: &str) -> Vec<Value> {
    let path = format!("/api/v1/audit{query}");
    let log = served.get(&path).bearer(&served.tokens.admin).send().await;
    log.ok()["items"].as_array().unwrap().clone()
}

/// What is of interest of an entry.
fn told(entry: &Value) -> [&str; 4] {
    ["who", "action", "target", "outcome"].map(|field| entry[field].as_str().unwrap_or("-"))
}

#[tokio::test]
async fn what_is_done_is_noted_with_who_what_to_which_and_from_where() {
    let served = Served::start().await;
    served.user(&seed::acme(), "ada", Role::Admin).await;
    let session = served.sign_in("acme", "ada", PASSWORD).await.session();
    let wanted = json!({ "kind": "api", "role": "viewer", "name": "secret name" });
    let made = served.ask("POST", "/api/v1/tokens").session(&session);
    let made = made.json(&wanted).send().await.json();
    let (id, secret) = (
        made["id"].as_str().unwrap(),
        made["token"].as_str().unwrap(),
    );
    let path = format!("/api/v1/tokens/{id}");
    let revoked = served.ask("DELETE", &path).session(&session).send().await;
    assert_eq!(revoked.status, 204);
    let user = json!({ "name": "ann@acme.org", "role": "viewer" });
    let made = served.ask("POST", "/api/v1/users").session(&session);
    assert_eq!(made.json(&user).send().await.status, 201);
    let gone = served.ask("DELETE", "/api/v1/users/ann%40acme.org");
    assert_eq!(gone.session(&session).send().await.status, 204);
    served.ask("POST", "/logout").session(&session).send().await;

    let log = entries(&served, "").await;
    let told: Vec<_> = log.iter().map(told).collect();
    assert_eq!(
        told,
        [
            ["user ada", "session.sign_out", "-", "done"],
            ["user ada", "users.delete", "ann@acme.org", "done"],
            ["user ada", "users.create", "ann@acme.org", "done"],
            ["user ada", "tokens.revoke", id, "done"],
            ["user ada", "tokens.create", id, "done"],
            ["user ada", "session.sign_in", "-", "done"],
        ]
    );
    for (action, detail) in [
        ("tokens.create", "role viewer"),
        ("users.create", "role viewer"),
    ] {
        let entry = log.iter().find(|entry| entry["action"] == action);
        assert_eq!(entry.unwrap()["detail"], detail);
    }
    for entry in &log {
        assert_eq!(entry["address"], "127.0.0.1");
        assert_eq!(entry["at_us"], super::NOW_US);
        let text = entry.to_string();
        for hidden in [secret, &session, PASSWORD, "secret name"] {
            assert!(!text.contains(hidden), "{text}");
        }
    }
    assert_eq!(entries(&served, "?action=tokens.create").await.len(), 1);
    assert_eq!(entries(&served, "?who=user%20ada&limit=2").await.len(), 2);
    assert_eq!(entries(&served, "?outcome=refused").await.len(), 0);
    let wrong = served.get("/api/v1/audit?outcome=good");
    let wrong = wrong.bearer(&served.tokens.admin).send().await;
    assert!(wrong.problem(400).contains("done, refused or failed"));
}

#[tokio::test]
async fn what_is_refused_or_fails_is_noted_once_a_minute() {
    let served = Served::start().await;
    for _ in 0..5 {
        served.read("/api/v1/tokens").await.problem(403);
        let path = "/api/v1/workflows/none";
        let ask = served.ask("DELETE", path).bearer(&served.tokens.editor);
        ask.send().await.problem(404);
    }
    let log = entries(&served, "").await;
    let kinds: Vec<_> = log.iter().map(|entry| told(entry)[1..].to_vec()).collect();
    assert_eq!(
        kinds,
        [
            ["workflows.stop", "none", "failed"],
            ["tokens.list", "-", "refused"],
        ]
    );
    assert!(
        log[1]["detail"]
            .as_str()
            .unwrap()
            .contains("needs an admin")
    );
    served.later(60);
    served.read("/api/v1/tokens").await.problem(403);
    let log = entries(&served, "?outcome=refused").await;
    assert_eq!(log.len(), 2);
    let detail = log[0]["detail"].as_str().unwrap();
    assert!(detail.ends_with("4 times more before"), "{detail}");
}

#[tokio::test]
async fn a_refused_sign_in_is_noted_and_no_typed_password_is() {
    let served = Served::start().await;
    served.user(&seed::acme(), "ada", Role::Admin).await;
    served.sign_in("acme", "ada", "wrong").await;
    served
        .sign_in("acme", PASSWORD, "typed-into-the-wrong-field")
        .await;
    served.sign_in("nobody", "ada", PASSWORD).await;
    let log = entries(&served, "").await;
    let told: Vec<_> = log.iter().map(told).collect();
    assert_eq!(
        told,
        [
            ["unknown user", "session.sign_in", "-", "refused"],
            ["user ada", "session.sign_in", "-", "refused"],
        ]
    );
    assert!(!json!(log).to_string().contains(PASSWORD));
}

#[tokio::test]
async fn what_an_operator_does_to_a_tenant_stands_in_its_log() {
    let served = Served::start().await;
    let operators = &served.store.operators;
    let operator = operators.create_operator("ops", None, 1).await.unwrap().1;
    let made = served.ask("POST", "/api/v1/operator/tenants");
    let made = made
        .bearer(operator.reveal())
        .json(&json!({ "id": "globex" }));
    assert_eq!(made.send().await.status, 201);
    let globex = stencil_protocol::id::TenantId::parse("globex").unwrap();
    let log = served
        .store
        .audit
        .entries(&globex, &AuditFilter::default(), None, 10)
        .await
        .unwrap()
        .items;
    assert_eq!(
        (log[0].who.as_str(), log[0].action.as_str()),
        ("operator ops", "operator.create")
    );
    assert!(entries(&served, "").await.is_empty());
}

/// Each way to change something is noted: a route that is added is asked here too.
#[tokio::test]
async fn each_route_that_changes_something_is_noted() {
    let served = Served::start().await;
    let mut changing = 0;
    for route in routes() {
        let changes = matches!(route.access, Access::Own | Access::Write | Access::Admin);
        if route.method == "GET" || !changes {
            continue;
        }
        changing += 1;
        let path = route.path.replace(['{', '}'], "");
        let ask = served.ask(route.method.as_str(), &path);
        // Whatever comes of it, and nothing if it is no JSON.
        ask.bearer(&served.tokens.admin).body("?").send().await;
        let log = entries(&served, "?limit=1").await;
        assert_eq!(
            log[0]["who"], "token test",
            "{} {path}: {log:?}",
            route.method
        );
        let noted = served
            .store
            .audit
            .entries(&seed::acme(), &AuditFilter::default(), None, 1_000)
            .await
            .unwrap()
            .items
            .len();
        assert_eq!(noted, changing, "{} {path} is not noted", route.method);
    }
    assert!(changing > 10);
}

#[tokio::test]
async fn the_log_is_bounded() {
    let limits = super::Limits {
        audit_entries: 100,
        ..super::Limits::default()
    };
    let served = Served::start_with(limits).await;
    for n in 0..110 {
        let wanted = json!({ "kind": "api", "role": "viewer", "name": n.to_string() });
        let ask = served.ask("POST", "/api/v1/tokens");
        ask.bearer(&served.tokens.admin).json(&wanted).send().await;
    }
    let log = entries(&served, "?limit=1000").await;
    assert_eq!(log.len(), 100);
    assert_eq!(
        (&log[0]["entry"], &log[99]["entry"]),
        (&110.into(), &11.into())
    );
}
