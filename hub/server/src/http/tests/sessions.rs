//! Sessions over the API, and one's own password.

use serde_json::{Value, json};
use stencil_store::Role;

use super::{Answer, PASSWORD, Served, seed};

async fn sessions(served: &Served, session: &str, query: &str) -> Vec<Value> {
    let path = format!("/api/v1/sessions{query}");
    let list = served.get(&path).session(session).send().await.ok();
    list["items"].as_array().unwrap().clone()
}

async fn end(served: &Served, session: &str, id: &Value) -> Answer {
    let path = format!("/api/v1/sessions/{}", id.as_str().unwrap());
    served.ask("DELETE", &path).session(session).send().await
}

#[tokio::test]
async fn everybody_sees_and_ends_their_own() {
    let served = Served::start().await;
    served.user(&seed::acme(), "ann", Role::Viewer).await;
    served.user(&seed::acme(), "ben", Role::Viewer).await;
    served.user(&seed::acme(), "root", Role::Admin).await;
    let ann = served.sign_in("acme", "ann", PASSWORD).await.session();
    served.later(1);
    let second = served.sign_in("acme", "ann", PASSWORD).await.session();
    let ben = served.sign_in("acme", "ben", PASSWORD).await.session();
    let root = served.sign_in("acme", "root", PASSWORD).await.session();

    let own = sessions(&served, &ann, "").await;
    assert_eq!(own.len(), 2);
    assert_eq!(
        (&own[0]["current"], &own[1]["current"]),
        (&false.into(), &true.into())
    );
    assert_eq!(own[0]["address"], "127.0.0.1");
    assert!(!own.iter().any(|one| one.to_string().contains(&ann)));
    assert_eq!(own, sessions(&served, &ann, "?user=ann").await);

    // Another's are not there for a viewer, and are for an admin.
    let other = served.get("/api/v1/sessions?user=ann").session(&ben);
    other.send().await.problem(403);
    end(&served, &ben, &own[0]["id"]).await.problem(404);
    served.get("/api/v1/me").session(&second).send().await.ok();
    assert_eq!(sessions(&served, &root, "?user=ann").await.len(), 2);
    let unknown = served.get("/api/v1/sessions?user=nobody").session(&root);
    unknown.send().await.problem(404);

    assert_eq!(end(&served, &ann, &own[0]["id"]).await.status, 204);
    let ended = served.get("/api/v1/me").session(&second).send().await;
    ended.problem(401);
    end(&served, &ann, &own[0]["id"]).await.problem(404);
    assert_eq!(end(&served, &root, &own[1]["id"]).await.status, 204);
    let ended = served.get("/api/v1/me").session(&ann).send().await;
    ended.problem(401);
}

#[tokio::test]
async fn a_tokens_sessions_are_its_own() {
    let served = Served::start().await;
    let session = served.session(&served.tokens.reader).await;
    let list = served.read("/api/v1/sessions").await.ok();
    let own = &list["items"][0];
    assert!(own["token"].is_string() && own["user"].is_null(), "{own}");
    let path = format!("/api/v1/sessions/{}", own["id"].as_str().unwrap());
    let by_editor = served.ask("DELETE", &path).bearer(&served.tokens.editor);
    by_editor.send().await.problem(404);
    let by_rival = served.ask("DELETE", &path).bearer(&served.tokens.rival);
    by_rival.send().await.problem(404);
    let ended = served.ask("DELETE", &path).bearer(&served.tokens.reader);
    assert_eq!(ended.send().await.status, 204);
    let ended = served.get("/api/v1/me").session(&session).send().await;
    ended.problem(401);
}

#[tokio::test]
async fn ones_own_password_is_set_by_who_knows_it() {
    let served = Served::start().await;
    served.user(&seed::acme(), "ann", Role::Viewer).await;
    let session = served.sign_in("acme", "ann", PASSWORD).await.session();
    let other = served.sign_in("acme", "ann", PASSWORD).await.session();
    let ask = |current: &str, password: &str| {
        served
            .ask("POST", "/api/v1/me/password")
            .session(&session)
            .json(&json!({ "current": current, "password": password }))
            .send()
    };
    assert!(
        ask(PASSWORD, "short")
            .await
            .problem(400)
            .contains("12 or more")
    );
    ask("wrong", "another-password-1").await.problem(403);
    assert_eq!(ask(PASSWORD, "another-password-1").await.status, 204);
    served.get("/api/v1/me").session(&session).send().await.ok();
    let ended = served.get("/api/v1/me").session(&other).send().await;
    ended.problem(401);
    assert_eq!(served.sign_in("acme", "ann", PASSWORD).await.status, 401);
    served
        .sign_in("acme", "ann", "another-password-1")
        .await
        .session();

    let token = served
        .ask("POST", "/api/v1/me/password")
        .bearer(&served.tokens.reader)
        .json(&json!({ "current": "x", "password": "another-password-1" }));
    assert!(token.send().await.problem(409).contains("no password"));
    let guess = async || ask("wrong", "another-password-2").await;
    for _ in 0..5 {
        guess().await.problem(403);
    }
    let wait = guess().await;
    wait.problem(429);
    assert!(wait.header("retry-after").is_some());
}
