//! The overview.

use serde_json::json;
use stencil_store::{AlarmChange, AlarmId, Commit, Raised, RunId, Severity, Trigger};

use super::page::page;
use super::{NOW_US, Served, seed};

/// The tile with this name.
#[track_caller]
fn tile<'p>(page: &'p str, name: &str) -> &'p str {
    let tiles = page.split("id=\"tiles\"").nth(1).unwrap();
    let tiles = tiles.split("</section>").next().unwrap();
    let mut found = tiles.split("<div class=\"tile").skip(1);
    let tile = found.find(|tile| tile.contains(&format!(">{name}<")));
    tile.unwrap_or_else(|| panic!("no tile {name} in {tiles}"))
}

#[track_caller]
fn figure(page: &str, name: &str) -> String {
    let tile = tile(page, name)
        .split("<p class=\"figure\">")
        .nth(1)
        .unwrap();
    tile.split('<').next().unwrap().to_owned()
}

fn alarm(n: u8, severity: Severity) -> AlarmChange {
    AlarmChange::Raised(Raised {
        id: AlarmId([n; 16]),
        tenant: seed::acme(),
        workflow: format!("warm-marked-{n}"),
        version: 1,
        device: seed::freezer(),
        severity,
        title: format!("<i>Warm</i>, marked {n}"),
        at_us: NOW_US - i64::from(n) * 60_000_000,
        value: Some(-8.0),
    })
}

#[tokio::test]
async fn figures_are_of_the_tenants_own_things() {
    let served = Served::start().await;
    let old = Trigger {
        run: RunId([7; 32]),
        tenant: seed::acme(),
        workflow: "old-marked".to_owned(),
        version: 1,
        event: json!({}),
        at_us: NOW_US - 3_600_000_001,
        not_before_us: None,
    };
    let commit = Commit {
        position: 11,
        alarms: vec![alarm(1, Severity::Critical), alarm(2, Severity::Minor)],
        triggers: vec![old],
        ..Commit::default()
    };
    served.store.pipeline.commit(commit).await.unwrap();
    for second in 1..=5 {
        served
            .live
            .rates()
            .add(&seed::acme(), 10, NOW_US - second * 1_000_000);
    }
    let shown = page(&served, "/").await;
    // The freezer is linked; of the foreign device nobody told.
    assert_eq!(figure(&shown, "Devices"), "2");
    let devices = tile(&shown, "Devices");
    assert!(
        devices.contains("1 linked") && devices.contains("1 never linked"),
        "{devices}"
    );
    // One is seeded: it is major.
    assert_eq!(figure(&shown, "Active alarms"), "3");
    let alarms = tile(&shown, "Active alarms");
    assert!(
        ["1 critical", "1 major", "1 minor"]
            .iter()
            .all(|part| alarms.contains(part)),
        "{alarms}"
    );
    assert_eq!(figure(&shown, "Runs in the last hour"), "1");
    assert_eq!(figure(&shown, "Readings a second"), "5.0");
    assert!(tile(&shown, "Readings a second").contains("1 not understood"));
    assert_eq!(figure(&shown, "Not post-quantum"), "0");
    // The navigation counts alarms too.
    assert!(
        shown.contains("3<span class=\"unseen\"> active</span>"),
        "{shown}"
    );
    // What came last, with ways to it, and as text.
    for part in [
        "&lt;i&gt;Warm&lt;/i&gt;, marked 1",
        "href=\"/alarms/01010101010101010101010101010101\"",
        "1 min ago",
        "warm-marked</a>",
        "data-device=\"freezer-marked\"",
        "<b>-8.1</b>",
    ] {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
    assert!(!shown.contains("<i>Warm"));
    let rival = served.get("/").bearer(&served.tokens.rival).send().await;
    for name in ["Devices", "Active alarms", "Runs in the last hour"] {
        assert_eq!(figure(&rival.body, name), "0", "{name}");
    }
    assert_eq!(figure(&rival.body, "Readings a second"), "0.0");
    assert!(!rival.body.contains(seed::MARK));
}

#[tokio::test]
async fn an_empty_hub_says_what_to_do_first() {
    let served = Served::start().await;
    let empty = served.get("/").bearer(&served.tokens.rival).send().await;
    assert_eq!(empty.status, 200);
    for part in [
        "No device has been heard yet.",
        "No workflow has run yet.",
        "No alarm is active.",
        "stencil hub add-gateway --data-dir DIR --tenant rival",
        "href=\"/settings#tokens\"",
        "href=\"/workflows/new\"",
    ] {
        assert!(empty.body.contains(part), "{part} is not in {}", empty.body);
    }
    // With devices and a rule there is nothing to begin.
    let full = page(&served, "/").await;
    assert!(!full.contains("First steps"), "{full}");
}
