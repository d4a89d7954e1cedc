//! Workflow definitions.

use super::{Answer, Served, seed};

async fn put(served: &Served, id: &str, yaml: &str) -> Answer {
    let path = format!("/api/v1/workflows/{id}");
    served
        .ask("PUT", &path)
        .bearer(&served.tokens.editor)
        .body(yaml)
        .send()
        .await
}

#[tokio::test]
async fn put_shown_and_taken_out_of_force() {
    let served = Served::start().await;
    let second = seed::workflow(2);
    let answer = put(&served, "warm-marked", &second).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.json()["version"], 2);
    assert_eq!(put(&served, "warm-marked", &second).await.status, 200);
    let one = served.read("/api/v1/workflows/warm-marked").await.ok();
    assert_eq!(
        (&one["version"], &one["yaml"]),
        (&2.into(), &second.clone().into())
    );
    let versions = served
        .read("/api/v1/workflows/warm-marked/versions")
        .await
        .ok();
    assert_eq!(versions["items"].as_array().unwrap().len(), 2);

    let path = "/api/v1/workflows/warm-marked";
    let stopped = served
        .ask("DELETE", path)
        .bearer(&served.tokens.editor)
        .send()
        .await;
    assert_eq!(stopped.status, 204, "{stopped:?}");
    let list = served.read("/api/v1/workflows").await.ok();
    assert_eq!(list["items"][0]["active"], false);
}

#[tokio::test]
async fn errors_have_line_and_column() {
    let served = Served::start().await;
    let wrong = seed::workflow(2).replace("above: -12.0", "abov: -12.0");
    let answer = put(&served, "warm-marked", &wrong).await;
    let detail = answer.problem(422);
    let error = &answer.json()["errors"][0];
    assert_eq!(error["line"], 4, "{error}");
    assert!(error["column"].as_u64().unwrap() > 1, "{error}");
    assert!(error["what"].as_str().unwrap().contains("abov"), "{error}");
    assert!(
        error["right"].as_str().unwrap().contains("above"),
        "{error}"
    );
    assert!(detail.starts_with("line 4, column"), "{detail}");
}

#[tokio::test]
async fn a_draft_is_checked_and_not_kept() {
    let served = Served::start().await;
    let check = async |yaml: &str| {
        let ask = served.ask("POST", "/api/v1/workflows/check");
        let body = serde_json::json!({ "definition": yaml });
        ask.bearer(&served.tokens.reader).json(&body).send().await
    };
    let before = served.read("/api/v1/workflows").await.body;
    let draft = seed::workflow(2).replace("warm-marked", "draft");
    let good = check(&draft).await.ok();
    assert_eq!(
        good,
        serde_json::json!({
            "ok": true,
            "workflow": "draft",
            "version": 2,
            "rule": "temperature of freezer-*: the value is above -12 for 3s",
            "summary": "temperature of freezer-*: the value is above -12 for 3s. One step is run.",
            "warnings": [],
        })
    );
    let contract = format!("0x{}", "ab".repeat(20));
    let itself = format!(
        "id: echo\nversion: 1\non: {{ chain: {{ name: local, address: '{contract}', event: 'Said()' }} }}\n\
         steps:\n- {{ id: say, use: chain.send, with: {{ chain: local, address: '{contract}', function: 'say()' }} }}\n"
    );
    let warned = check(&itself).await.ok();
    let warning = warned["warnings"][0].as_str().unwrap();
    assert!(
        warning.contains("step `say` sends to the contract"),
        "{warning}"
    );
    let alarm = draft.replace("steps:", "alarm: { severity: major }\nsteps:");
    let good = check(&alarm).await.ok();
    let summary = good["summary"].as_str().unwrap();
    assert!(
        summary.ends_with(" for 3s. A major alarm is raised, and one step is run."),
        "{summary}"
    );
    let wrong = check(&draft.replace("above:", "abov:")).await.ok();
    assert_eq!(
        (&wrong["ok"], &wrong["line"]),
        (&false.into(), &4.into()),
        "{wrong}"
    );
    assert!(wrong["column"].as_u64().unwrap() > 1);
    assert!(
        wrong["problem"].as_str().unwrap().contains("abov"),
        "{wrong}"
    );
    assert!(
        wrong["suggestion"].as_str().unwrap().contains("above"),
        "{wrong}"
    );
    assert!(wrong["rule"].is_null() && wrong["summary"].is_null());
    assert_eq!(check("").await.ok()["ok"], false);
    // As long as a definition may be, and longer.
    let longest = format!("{draft}# {}", "\"".repeat(64 * 1024 - draft.len() - 2));
    assert_eq!(check(&longest).await.ok()["ok"], true);
    let longer = check(&format!("{longest}x")).await.ok();
    assert!(
        longer["problem"].as_str().unwrap().contains("65"),
        "{longer}"
    );
    check(&"\"".repeat(70 * 1024)).await.problem(413);
    assert_eq!(served.read("/api/v1/workflows").await.body, before);
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let served = Served::start().await;
    let changed = seed::workflow(1).replace("-12.0", "-11.0");
    put(&served, "warm-marked", &changed).await.problem(409);
    let detail = put(&served, "other", &seed::workflow(2)).await.problem(422);
    assert!(
        detail.contains("`warm-marked`") && detail.contains("`other`"),
        "{detail}"
    );
    put(&served, "warm-marked", "").await.problem(422);
    put(&served, "warm-marked", "[1, 2").await.problem(422);
    let long = format!("{}# {}", seed::workflow(2), "x".repeat(64 * 1024));
    assert!(
        put(&served, "warm-marked", &long)
            .await
            .problem(413)
            .contains("65536")
    );
    let ask = served
        .ask("PUT", "/api/v1/workflows/warm-marked")
        .bearer(&served.tokens.editor);
    assert!(
        ask.body(vec![b'a', 0xff])
            .send()
            .await
            .problem(400)
            .contains("byte 1")
    );
    served.read("/api/v1/workflows/none").await.problem(404);
    let path = "/api/v1/workflows/none";
    served
        .ask("DELETE", path)
        .bearer(&served.tokens.editor)
        .send()
        .await
        .problem(404);
    // What was there is as it was.
    assert_eq!(
        served.read("/api/v1/workflows/warm-marked").await.ok()["version"],
        1
    );
}
