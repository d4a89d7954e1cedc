//! Users over the API.

use serde_json::{Value, json};
use stencil_store::Role;

use super::{Answer, PASSWORD, Served, seed};

async fn as_admin(served: &Served, method: &str, path: &str, body: Option<&Value>) -> Answer {
    let ask = served.ask(method, path).bearer(&served.tokens.admin);
    match body {
        Some(body) => ask.json(body).send().await,
        None => ask.send().await,
    }
}

#[tokio::test]
async fn made_let_in_changed_and_deleted() {
    let served = Served::start().await;
    let wanted = json!({ "name": "ann@acme.org", "role": "editor" });
    let made = as_admin(&served, "POST", "/api/v1/users", Some(&wanted)).await;
    assert_eq!(made.status, 201, "{made:?}");
    let path = made.header("location").unwrap().to_owned();
    let made = made.json();
    assert_eq!(
        (&made["role"], &made["has_password"]),
        (&"editor".into(), &false.into())
    );
    let link = made["link"].as_str().unwrap();
    let link = link
        .strip_prefix("http://127.0.0.1:8080")
        .expect("a whole address");
    let form = format!("password={PASSWORD}&again={PASSWORD}");
    let session = served.ask("POST", link).body(form).send().await.session();

    let one = as_admin(&served, "GET", &path, None).await.ok();
    assert_eq!(one["has_password"], true, "{one}");
    let list = as_admin(&served, "GET", "/api/v1/users", None).await;
    assert!(!list.body.contains("argon2") && !list.body.contains("link"));
    assert_eq!(list.ok()["items"][0]["name"], "ann@acme.org");

    // Another role asks for another sign-in; the same role asks for nothing.
    let same = as_admin(&served, "PATCH", &path, Some(&json!({ "role": "editor" }))).await;
    assert_eq!(same.status, 200, "{same:?}");
    served.get("/api/v1/me").session(&session).send().await.ok();
    let change = json!({ "role": "viewer" });
    let changed = as_admin(&served, "PATCH", &path, Some(&change)).await.ok();
    assert_eq!(changed["role"], "viewer");
    let ended = served.get("/api/v1/me").session(&session).send().await;
    ended.problem(401);

    let session = served
        .sign_in("acme", "ann@acme.org", PASSWORD)
        .await
        .session();
    let change = json!({ "disabled": true });
    let changed = as_admin(&served, "PATCH", &path, Some(&change)).await.ok();
    assert!(changed["disabled_us"].is_i64(), "{changed}");
    let ended = served.get("/api/v1/me").session(&session).send().await;
    ended.problem(401);
    let refused = as_admin(&served, "POST", &format!("{path}/link"), None).await;
    assert!(refused.problem(409).contains("disabled"));

    let deleted = as_admin(&served, "DELETE", &path, None).await;
    assert_eq!(deleted.status, 204, "{deleted:?}");
    as_admin(&served, "GET", &path, None).await.problem(404);
    as_admin(&served, "DELETE", &path, None).await.problem(404);
}

#[tokio::test]
async fn a_new_link_takes_the_place_of_the_one_before() {
    let served = Served::start().await;
    let wanted = json!({ "name": "ann", "role": "viewer" });
    let made = as_admin(&served, "POST", "/api/v1/users", Some(&wanted)).await;
    let first = made.json()["link"].as_str().unwrap().to_owned();
    let link = as_admin(&served, "POST", "/api/v1/users/ann/link", None).await;
    assert_eq!(link.status, 201, "{link:?}");
    let second = link.json()["link"].as_str().unwrap().to_owned();
    assert!(link.json()["link_expires_us"].as_i64() > Some(super::NOW_US));
    for (link, status) in [(first, 404), (second, 200)] {
        let path = link.strip_prefix("http://127.0.0.1:8080").unwrap();
        assert_eq!(served.get(path).send().await.status, status, "{path}");
    }
    let unknown = as_admin(&served, "POST", "/api/v1/users/nobody/link", None).await;
    unknown.problem(404);
}

#[tokio::test]
async fn the_last_admin_stays() {
    let served = Served::start().await;
    served.user(&seed::acme(), "ann", Role::Admin).await;
    for change in [json!({ "role": "editor" }), json!({ "disabled": true })] {
        let refused = as_admin(&served, "PATCH", "/api/v1/users/ann", Some(&change)).await;
        assert!(refused.problem(409).contains("last admin"));
    }
    let refused = as_admin(&served, "DELETE", "/api/v1/users/ann", None).await;
    assert!(refused.problem(409).contains("last admin"));
    served.user(&seed::acme(), "ben", Role::Admin).await;
    let deleted = as_admin(&served, "DELETE", "/api/v1/users/ann", None).await;
    assert_eq!(deleted.status, 204, "{deleted:?}");
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let served = Served::start().await;
    for (wanted, text) in [
        (json!({}), "missing field `name`"),
        (json!({ "name": "ann" }), "missing field `role`"),
        (
            json!({ "name": "ann", "role": "root" }),
            "viewer, editor or admin",
        ),
        (json!({ "name": "Ann", "role": "viewer" }), "a-z 0-9"),
        (json!({ "name": "", "role": "viewer" }), "1 to 64"),
        (
            json!({ "name": "x".repeat(65), "role": "viewer" }),
            "1 to 64",
        ),
        (
            json!({ "name": "a", "role": "viewer", "password": "x" }),
            "unknown field",
        ),
    ] {
        let answer = as_admin(&served, "POST", "/api/v1/users", Some(&wanted)).await;
        let detail = answer.problem(400);
        assert!(detail.contains(text), "{wanted}: {detail}");
    }
    served.user(&seed::acme(), "ann", Role::Admin).await;
    let again = json!({ "name": "ann", "role": "viewer" });
    let again = as_admin(&served, "POST", "/api/v1/users", Some(&again)).await;
    again.problem(409);
    for change in [
        json!({}),
        json!({ "name": "ben" }),
        json!({ "role": "root" }),
    ] {
        let answer = as_admin(&served, "PATCH", "/api/v1/users/ann", Some(&change)).await;
        answer.problem(400);
    }
}
