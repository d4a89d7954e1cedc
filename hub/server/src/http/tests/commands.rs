//! Commands to devices.

use serde_json::json;

use super::{NOW_US, Served};

const PATH: &str = "/api/v1/devices/freezer-marked/commands";

#[tokio::test]
async fn queued_shown_and_listed() {
    let served = Served::start().await;
    let order = json!({ "name": "unlock", "argument": 2.5, "expires_in_s": 30 });
    let answer = served.write("POST", PATH, &order).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let command = answer.json();
    assert_eq!(command["state"], "queued");
    assert_eq!(command["argument"], 2.5);
    assert_eq!(command["expires_us"], NOW_US + 30_000_000);
    let location = answer.header("location").unwrap();
    assert_eq!(served.read(location).await.ok(), command);
    for path in [PATH, "/api/v1/commands"] {
        let list = served.read(path).await.ok();
        assert_eq!(list["items"].as_array().unwrap().len(), 2, "{list}");
        assert!(list["items"].as_array().unwrap().contains(&command));
    }
    let foreign = served
        .read("/api/v1/devices/a-foreign-marked/commands")
        .await
        .ok();
    assert_eq!(foreign["items"], json!([]));
}

#[tokio::test]
async fn the_same_key_is_the_same_command() {
    let served = Served::start().await;
    let order = async |name: &str, key: &str| {
        let ask = served.ask("POST", PATH).bearer(&served.tokens.editor);
        ask.header("idempotency-key", key)
            .json(&json!({ "name": name }))
            .send()
            .await
    };
    let first = order("unlock", "k1").await.json();
    assert_eq!(order("unlock", "k1").await.json()["id"], first["id"]);
    assert_ne!(order("unlock", "k2").await.json()["id"], first["id"]);
    order("lock", "k1").await.problem(409);
    assert!(
        order("lock", &"k".repeat(129))
            .await
            .problem(400)
            .contains("Idempotency-Key")
    );
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let served = Served::start().await;
    let long = "x".repeat(33);
    for (order, text) in [
        (json!({}), "missing field `name`"),
        (json!({ "name": "" }), "`name` is empty"),
        (json!({ "name": long }), "`name` is longer than 32"),
        (
            json!({ "name": "a", "argument": [1] }),
            "`argument` has to be a number",
        ),
        (
            json!({ "name": "a", "argument": "x".repeat(257) }),
            "`argument`",
        ),
        (json!({ "name": "a", "expires_in_s": 0 }), "1 to 604800"),
        (json!({ "name": "a", "expires_in_s": -1 }), "expires_in_s"),
        (
            json!({ "name": "a", "expire": 1 }),
            "unknown field `expire`",
        ),
    ] {
        let detail = served.write("POST", PATH, &order).await.problem(400);
        assert!(detail.contains(text), "{order}: {detail}");
    }
    let order = json!({ "name": "a" });
    served
        .write("POST", "/api/v1/devices/none/commands", &order)
        .await
        .problem(404);
    let ask = || served.ask("POST", PATH).bearer(&served.tokens.editor);
    ask().body("{\"name\":\"a\"}").send().await.problem(415);
    let broken = ask()
        .header("content-type", "application/json")
        .body("{\n\"name\" 1}");
    assert!(broken.send().await.problem(400).contains("line 2"));
    let long = ask().json(&json!({ "name": "x".repeat(17_000) }));
    assert!(long.send().await.problem(413).contains("16384"));
    served.read("/api/v1/commands/xyz").await.problem(400);
    served
        .read(&format!("/api/v1/commands/{}", "0".repeat(32)))
        .await
        .problem(404);
}
