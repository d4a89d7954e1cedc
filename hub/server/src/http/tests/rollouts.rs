//! Roll-outs over the API: what is shown, and what is refused.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{Served, seed};

const ROLLOUT: &str = "/api/v1/rollouts/4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a";

fn image() -> String {
    "4b".repeat(32)
}

#[tokio::test]
async fn one_is_shown_with_its_counts_its_devices_and_what_it_told() {
    let served = Served::start().await;
    let shown: Value = served.read(ROLLOUT).await.json();
    assert_eq!(shown["status"], "paused");
    let why = json!({ "by": "failures", "failed": 1, "finished": 2 });
    assert_eq!(shown["why"], why);
    assert_eq!((&shown["stage"], &shown["turn"]), (&json!(0), &json!(1)));
    for (phase, count) in [
        ("failed", 1),
        ("downloading", 1),
        ("done", 0),
        ("waiting", 0),
    ] {
        assert_eq!(shown["counts"][phase], count, "{phase}");
    }
    assert_eq!(shown["plan"]["image"]["digest"], image());
    assert_eq!(shown["matches"], 2);
    let list: Value = served.read("/api/v1/rollouts").await.json();
    assert_eq!(list["items"], json!([shown]));

    let path = format!("{ROLLOUT}/devices?limit=1");
    let first: Value = served.read(&path).await.json();
    assert_eq!(first["items"][0]["percent"], 40);
    let next = first["next"].as_str().unwrap();
    let rest: Value = served.read(&format!("{path}&after={next}")).await.json();
    assert_eq!(rest["items"][0]["detail"], "<no room> marked");
    assert_eq!(rest["next"], Value::Null);
    let failed = format!("{ROLLOUT}/devices?phase=failed");
    let failed: Value = served.read(&failed).await.json();
    assert_eq!(failed["items"], rest["items"]);
    let told: Value = served.read(&format!("{ROLLOUT}/notices")).await.json();
    assert_eq!(told["items"][0]["what"]["canary"], true);
}

#[tokio::test]
async fn one_that_makes_no_sense_is_refused_with_what_would() {
    let served = Served::start().await;
    let begin = async |change: Value| {
        let mut body = json!({ "image": image(), "devices": "freezer-*" });
        for (key, value) in change.as_object().unwrap() {
            body[key] = value.clone();
        }
        served.write("POST", "/api/v1/rollouts", &body).await
    };
    for (change, status, said) in [
        (json!({ "image": "4b" }), 400, "64 hexadecimal digits"),
        (json!({ "image": "4c".repeat(32) }), 404, "image"),
        (json!({ "devices": "a b" }), 400, "devices"),
        (json!({ "waves": [50, 40, 100] }), 400, "must rise"),
        (json!({ "canary": { "devices": 0 } }), 400, "canary"),
        (json!({ "canary": { "share": 5 } }), 400, "canary"),
        (json!({ "window": "22:00-05:30" }), 400, "window"),
        (json!({ "per_gateway": 0 }), 400, "per_gateway"),
        (json!({ "gateways": ["a/b"] }), 400, "gateways"),
        (json!({ "wave": [100] }), 400, "wave"),
    ] {
        let answer = begin(change.clone()).await;
        assert_eq!(answer.status, status, "{change}: {answer:?}");
        assert!(answer.body.contains(said), "{change}: {}", answer.body);
    }
    let answer = begin(json!({ "canary": { "devices": 3 }, "window": "22:00-05:30+02:00" })).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let begun: Value = answer.json();
    assert_eq!(begun["plan"]["canary"], json!({ "devices": 3 }));
    assert_eq!(
        begun["plan"]["waves"],
        json!([25, 100]),
        "the rest has defaults"
    );
    assert_eq!(begun["plan"]["image"]["sequence"], 4, "as the image says");
    let location = answer.header("location").unwrap();
    assert_eq!(
        location,
        format!("/api/v1/rollouts/{}", begun["id"].as_str().unwrap())
    );

    // A slip in the pattern does not become a roll-out that waits for ever.
    for (change, said) in [
        (json!({ "devices": "frezer-*" }), "matches `frezer-*`, so"),
        (
            json!({ "gateways": ["gw-none"] }),
            "matches `freezer-*` behind gateway gw-none",
        ),
    ] {
        let answer = begin(change.clone()).await;
        assert!(answer.problem(409).contains(said), "{change}: {answer:?}");
    }

    for path in [
        "/api/v1/rollouts/nonsense",
        &format!("{ROLLOUT}/devices?phase=nearly"),
        &format!("{ROLLOUT}/devices?limit=0"),
    ] {
        assert_eq!(served.read(path).await.status, 400, "{path}");
    }
    let missing = ROLLOUT.replace("4a4a", "4a4b");
    for path in [
        missing.clone(),
        format!("{missing}/devices"),
        format!("{missing}/notices"),
    ] {
        assert_eq!(served.read(&path).await.status, 404, "{path}");
    }
    assert_eq!(
        served
            .write("POST", &format!("{missing}/abort"), &json!({}))
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn one_for_devices_that_are_to_come_says_that_it_matches_none() {
    let served = Served::start().await;
    let waits = json!({ "image": image(), "devices": "cooler-*", "wait_for_devices": true });
    let answer = served.write("POST", "/api/v1/rollouts", &waits).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.json()["plan"]["devices"], "cooler-*");
    assert_eq!(answer.json()["matches"], 0);
    let page = format!("/rollouts/{}", answer.json()["id"].as_str().unwrap());
    let page = served.read(&page).await;
    assert!(page.body.contains("It matches no device"), "{}", page.body);
    let list = served.read("/rollouts").await;
    assert!(list.body.contains("matches no device"), "{}", list.body);
}

#[tokio::test]
async fn what_it_cannot_do_now_is_a_conflict_with_the_reason() {
    use stencil_rollout::Refusal;
    for refusal in [
        Refusal::Over,
        Refusal::CanaryFailed,
        Refusal::NotPaused,
        Refusal::Unknown,
    ] {
        let problem = crate::http::problem::Problem::from(crate::Error::Rollout(refusal));
        let response = axum::response::IntoResponse::into_response(problem);
        assert_eq!(response.status(), 409, "{refusal}");
    }
    // Whoever may read may not decide.
    let served = Served::start().await;
    let reader = served
        .ask("POST", &format!("{ROLLOUT}/abort"))
        .bearer(&served.tokens.reader);
    assert_eq!(reader.send().await.status, 403);
}

#[tokio::test]
async fn the_payload_of_an_image_that_is_refused_does_not_stay() {
    let served = Served::start().await;
    seed::trust_updates(&served.store).await;
    let digest: [u8; 32] = Sha256::digest(b"firmware").into();
    let push = async || {
        let path = format!("/api/v1/images/{}", hex::encode(digest));
        let ask = served.ask("PUT", &path).bearer(&served.tokens.editor);
        let ask = ask.header("content-type", "application/octet-stream");
        ask.body(seed::update().package.clone()).send().await
    };
    let files = || {
        std::fs::read_dir(served.folder.path().join("images"))
            .unwrap()
            .count()
    };
    let before = files();
    let image = |digest, sequence| stencil_store::Image {
        digest,
        vendor: [1; 16],
        class: [3; 16],
        sequence,
        version: "1".to_owned(),
        size: 8,
        envelope: Vec::new(),
        pushed_us: super::NOW_US,
    };
    let rollouts = &served.store.rollouts;
    let newer = rollouts.put_image(&seed::acme(), &image([9; 32], 7)).await;
    assert!(newer.unwrap());
    push().await.problem(409);
    assert_eq!(files(), before);
    // One that another tenant has stays.
    let theirs = rollouts.put_image(&seed::rival(), &image(digest, 1)).await;
    assert!(theirs.unwrap());
    push().await.problem(409);
    assert_eq!(files(), before + 1);
}
