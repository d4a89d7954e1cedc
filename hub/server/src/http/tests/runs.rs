//! Runs of workflows.

use serde_json::json;

use super::{Served, seed};

#[tokio::test]
async fn listed_by_workflow_and_state() {
    let served = Served::start().await;
    let count = async |query: &str| {
        let list = served.read(&format!("/api/v1/runs{query}")).await.ok();
        list["items"].as_array().unwrap().len()
    };
    assert_eq!(count("").await, 1);
    assert_eq!(count("?workflow=warm-marked&state=done&limit=5").await, 1);
    assert_eq!(count("?state=failed").await, 0);
    assert_eq!(count("?workflow=other").await, 0);
}

#[tokio::test]
async fn one_with_its_steps_and_attempts() {
    let served = Served::start().await;
    let run = served
        .read(&format!("/api/v1/runs/{}", seed::RUN))
        .await
        .ok();
    assert_eq!(run["workflow"], "warm-marked");
    assert_eq!(run["event"]["value"], -8.1);
    assert_eq!(run["steps"][0]["use"], "content.publish");
    assert_eq!(run["steps"][0]["output"], json!({ "version": 1 }));
    assert_eq!(run["attempts"][0]["number"], 2);
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let served = Served::start().await;
    let detail = served.read("/api/v1/runs?state=over").await.problem(400);
    assert!(
        detail.contains("pending, running, waiting, done or failed"),
        "{detail}"
    );
    let detail = served.read("/api/v1/runs/12").await.problem(400);
    assert!(detail.contains("64 hex digits"), "{detail}");
    served
        .read(&format!("/api/v1/runs/{}", "0".repeat(64)))
        .await
        .problem(404);
}
