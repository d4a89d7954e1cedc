//! `/runs`, `/content` and `/quarantine`.

use serde_json::json;
use stencil_store::{Commit, Quarantined, RunId, Trigger};

use super::{ESCAPED, HOSTILE, NOW_US, Served, hides, page, seed, shows};

async fn commit(served: &Served, commit: Commit) {
    let commit = Commit {
        position: 11,
        ..commit
    };
    served.store.pipeline.commit(commit).await.unwrap();
}

#[tokio::test]
async fn runs_are_listed_by_workflow_and_state() {
    let served = Served::start().await;
    let link = format!("href=\"/runs/{}\"", seed::RUN);
    for (query, there) in [
        ("", true),
        ("?workflow=&state=", true),
        ("?state=done", true),
        ("?state=failed", false),
        ("?workflow=warm-marked", true),
        ("?workflow=other", false),
    ] {
        let list = page(&served, &format!("/runs{query}")).await;
        assert_eq!(list.contains(&link), there, "{query}");
    }
    shows(
        &page(&served, "/runs").await,
        &["page-marked: done", "freezer-marked"],
    );
    let detail = served.read("/runs?state=over").await.problem(400);
    assert!(detail.contains("`over`"), "{detail}");
}

#[tokio::test]
async fn a_run_is_a_timeline_of_its_steps() {
    let served = Served::start().await;
    let run = page(&served, &format!("/runs/{}", seed::RUN)).await;
    shows(
        &run,
        &[
            "class=\"timeline\"",
            "<h3>page-marked</h3>",
            "content.publish",
            "340 ms",
            "2 attempts",
            "class=\"along\"",
            "key-marked",
            "-8.1",
            "href=\"/workflows/warm-marked?version=1\"",
        ],
    );
    served.read("/runs/12").await.problem(400);
    served
        .read(&format!("/runs/{}", "0".repeat(64)))
        .await
        .problem(404);
}

#[tokio::test]
async fn what_caused_a_run_is_text() {
    let served = Served::start().await;
    let run = RunId([0x22; 32]);
    let trigger = Trigger {
        run,
        tenant: seed::acme(),
        workflow: "warm-marked".to_owned(),
        version: 1,
        event: json!({ "device": "freezer-marked", "name": HOSTILE, "value": HOSTILE, "time_us": NOW_US }),
        at_us: NOW_US,
        not_before_us: None,
    };
    let triggers = vec![trigger];
    commit(
        &served,
        Commit {
            triggers,
            ..Commit::default()
        },
    )
    .await;
    let shown = page(&served, &format!("/runs/{run}")).await;
    // Its step has not begun, and is shown as such.
    shows(&shown, &[ESCAPED, "<h3>page</h3>", ">pending<"]);
    page(&served, "/runs").await;
}

#[tokio::test]
async fn content_is_listed_by_collection_and_entries_have_versions() {
    let served = Served::start().await;
    let list = page(&served, "/content").await;
    shows(
        &list,
        &[
            "notices-marked",
            "draft-marked",
            "href=\"/p/acme/notices-marked/published-marked\"",
            "Freezer &lt;07&gt; is warm, marked",
        ],
    );
    hides(&list, &["href=\"/p/acme/notices-marked/draft-marked\""]);
    let fields = json!({ "title": HOSTILE, "value": 4 });
    let (tenant, content) = (seed::acme(), &served.store.content);
    let fields = fields.as_object().unwrap();
    let changed = content.upsert(
        &tenant,
        "notices-marked",
        "published-marked",
        fields,
        None,
        NOW_US + 1,
    );
    changed.await.unwrap();
    let entry = page(&served, "/content/notices-marked/published-marked").await;
    shows(
        &entry,
        &[
            "version 1 published",
            "version 2 is a draft",
            &format!("<ins>{ESCAPED}</ins>"),
            "<del>Freezer &lt;07&gt; is warm, marked</del>",
            "<del>-8.1</del>",
            "/content/v1/acme/notices-marked/published-marked",
        ],
    );
    hides(
        &page(&served, "/content/notices-marked/draft-marked").await,
        &["Public page"],
    );
    for path in [
        "/content?collection=none",
        "/content/notices-marked/none",
        "/content/none/a",
    ] {
        served.read(path).await.problem(404);
    }
}

#[tokio::test]
async fn quarantine_shows_what_came_as_text_and_as_bytes() {
    let served = Served::start().await;
    let seeded = page(&served, "/quarantine").await;
    shows(
        &seeded,
        &[
            "not a batch",
            "ff 00",
            "stencil/v1/d/freezer-marked/batch",
            "1 payload in all",
        ],
    );
    let hostile = Quarantined {
        tenant: seed::acme(),
        device: None,
        topic: HOSTILE.to_owned(),
        reason: HOSTILE.to_owned(),
        path: Some(HOSTILE.to_owned()),
        payload: HOSTILE.as_bytes().to_vec(),
        at_us: NOW_US,
        position: 11,
    };
    let quarantined = vec![hostile];
    commit(
        &served,
        Commit {
            quarantined,
            ..Commit::default()
        },
    )
    .await;
    let both = page(&served, "/quarantine").await;
    shows(
        &both,
        &[
            "2 payloads in all",
            &format!("<h2 id=\"q11-0\">{ESCAPED}"),
            "3c 69 6d 67",
            "not known",
        ],
    );
    assert_eq!(
        both.matches(ESCAPED).count(),
        4,
        "reason, topic, place, payload"
    );
}
