//! Alarms: who may do what about them, and what comes of it.

use std::time::Duration;

use serde_json::{Value, json};
use stencil_protocol::id::DeviceId;
use stencil_store::{AlarmChange, AlarmEventKind, AlarmId, Commit, Severity};
use tokio::time::timeout;

use super::{Answer, NOW_US, Served, seed};
use crate::{LiveEvent, Next};

const PATIENCE: Duration = Duration::from_secs(20);
const DAY_US: i64 = 86_400 * 1_000_000;

fn path(rest: &str) -> String {
    format!("/api/v1/alarms/{}{rest}", seed::ALARM)
}

async fn acknowledge(served: &Served, body: &Value) -> Answer {
    served.write("POST", &path("/acknowledge"), body).await
}

async fn silence(served: &Served, body: &Value) -> Answer {
    served.write("POST", &path("/silence"), body).await
}

async fn history(served: &Served) -> Vec<Value> {
    let history = served.read(&path("/history")).await.ok();
    history["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn listed_counted_and_shown() {
    let served = Served::start().await;
    let older = AlarmId([0x11; 16]);
    let mut raised = seed::raised(older, Severity::Warning, NOW_US - 5);
    if let AlarmChange::Raised(raised) = &mut raised {
        raised.device = DeviceId::parse("a-foreign-marked").unwrap();
    }
    let more = Commit {
        position: 11,
        alarms: vec![raised],
        ..Commit::default()
    };
    served.store.pipeline.commit(more).await.unwrap();
    let first = served.read("/api/v1/alarms?limit=1").await.ok();
    assert_eq!(first["items"][0]["id"], seed::ALARM.to_string());
    let after = first["next"].as_str().unwrap();
    let rest = served
        .read(&format!("/api/v1/alarms?limit=1&after={after}"))
        .await
        .ok();
    assert_eq!(rest["items"][0]["id"], older.to_string());
    assert!(rest["next"].is_null());

    for (filter, expected) in [
        ("active=true", 2),
        ("active=false", 0),
        ("severity=major", 1),
        ("device=freezer-marked", 1),
        ("device=a-foreign-marked", 1),
        ("workflow=warm-marked", 2),
        ("workflow=other", 0),
        ("acknowledged=true", 0),
        ("acknowledged=false", 2),
        ("from_us=1700000000000000", 1),
        ("to_us=1700000000000000", 1),
    ] {
        let found = served.read(&format!("/api/v1/alarms?{filter}")).await.ok();
        let found = found["items"].as_array().unwrap().len();
        assert_eq!(found, expected, "{filter}");
    }
    let counts = served.read("/api/v1/alarms/counts").await.ok();
    assert_eq!(
        (&counts["warning"], &counts["major"]),
        (&1.into(), &1.into())
    );
    assert_eq!(counts["unacknowledged"], 2);

    let one = served.read(&path("")).await.ok();
    assert_eq!(one["title"], "freezer-marked is warm");
    assert_eq!(
        (&one["value"], &one["raised_us"]),
        (&json!(-8.1), &NOW_US.into())
    );
    assert!(one["cleared_us"].is_null() && one["acknowledged"].is_null());
    assert_eq!(history(&served).await[0]["kind"], "raised");
}

#[tokio::test]
async fn acknowledged_by_whom_and_once_more_changes_no_other_thing() {
    let served = Served::start().await;
    let alarm = acknowledge(&served, &json!({ "note": "  on my way " }))
        .await
        .ok();
    let mark = &alarm["acknowledged"];
    assert_eq!(mark["note"], "on my way");
    assert_eq!(mark["at_us"], NOW_US);
    let by = mark["by"].as_str().unwrap();
    assert!(by.starts_with("token "), "{by}");
    assert!(alarm["cleared_us"].is_null(), "it is still active: {alarm}");
    let again = acknowledge(&served, &json!({ "note": "on my way" }))
        .await
        .ok();
    assert_eq!(again, alarm);
    assert_eq!(served.read(&path("")).await.ok(), alarm);
    let kinds: Vec<_> = history(&served)
        .await
        .iter()
        .map(|e| e["kind"].clone())
        .collect();
    assert_eq!(kinds, ["raised", "acknowledged", "acknowledged"]);
    // Without a note, or with a blank one, there is none.
    for nothing in [json!({}), json!({ "note": null }), json!({ "note": "  " })] {
        let alarm = acknowledge(&served, &nothing).await.ok();
        assert!(alarm["acknowledged"]["note"].is_null(), "{alarm}");
    }
    let counts = served.read("/api/v1/alarms/counts").await.ok();
    assert_eq!(
        (&counts["major"], &counts["unacknowledged"]),
        (&1.into(), &0.into())
    );
}

#[tokio::test]
async fn silenced_for_a_time_and_not_any_more() {
    let served = Served::start().await;
    let tells = async || {
        let alarms = &served.store.alarms;
        let (tenant, device) = (seed::acme(), seed::freezer());
        let silenced = alarms.silenced(&tenant, "warm-marked", &device, NOW_US);
        silenced.await.unwrap().is_none()
    };
    assert!(tells().await);
    let alarm = silence(&served, &json!({ "for_s": 60 })).await.ok();
    assert_eq!(alarm["silenced_until_us"], NOW_US + 60_000_000);
    assert!(alarm["silenced_by"].as_str().unwrap().starts_with("token "));
    assert!(!tells().await);
    let until_us = NOW_US + 30 * DAY_US;
    for _ in 0..2 {
        let alarm = silence(&served, &json!({ "until_us": until_us }))
            .await
            .ok();
        assert_eq!(alarm["silenced_until_us"], until_us);
    }
    let alarm = silence(&served, &json!({})).await.ok();
    assert!(alarm["silenced_until_us"].is_null(), "{alarm}");
    assert!(tells().await);
    let last = history(&served).await.pop().unwrap();
    assert_eq!(
        (&last["kind"], &last["at_us"]),
        (&"unsilenced".into(), &NOW_US.into())
    );
}

#[tokio::test]
async fn what_people_do_is_seen_live() {
    let served = Served::start().await;
    let mut events = served.live.subscribe(seed::acme());
    acknowledge(&served, &json!({})).await.ok();
    silence(&served, &json!({ "for_s": 60 })).await.ok();
    silence(&served, &json!({})).await.ok();
    for expected in [
        AlarmEventKind::Acknowledged,
        AlarmEventKind::Silenced,
        AlarmEventKind::Unsilenced,
    ] {
        let next = timeout(PATIENCE, events.next()).await.expect("an event");
        let Next::Event(LiveEvent::Alarm {
            alarm,
            device,
            severity,
            state,
            at_us,
            ..
        }) = next
        else {
            panic!("{next:?}");
        };
        assert_eq!(
            (alarm, device, severity),
            (seed::ALARM, seed::freezer(), Severity::Major)
        );
        assert_eq!((state, at_us), (expected, NOW_US));
    }
}

#[tokio::test]
async fn a_refused_change_changes_nothing() {
    let served = Served::start().await;
    for token in [
        &served.tokens.reader,
        &served.tokens.rival,
        &served.tokens.device,
    ] {
        for rest in ["/acknowledge", "/silence"] {
            let ask = served.ask("POST", &path(rest)).bearer(token);
            let answer = ask.json(&json!({})).send().await;
            assert!([403, 404].contains(&answer.status), "{answer:?}");
        }
    }
    assert_eq!(history(&served).await.len(), 1);
    assert!(served.read(&path("")).await.ok()["acknowledged"].is_null());
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let served = Served::start().await;
    let longest = "é".repeat(512);
    acknowledge(&served, &json!({ "note": longest })).await.ok();
    for (body, text) in [
        (
            json!({ "note": format!("{longest}x") }),
            "at most 1024 bytes",
        ),
        (json!({ "note": 7 }), "note"),
        (json!({ "nota": "x" }), "unknown field `nota`"),
        (json!([]), "JSON object"),
    ] {
        let detail = acknowledge(&served, &body).await.problem(400);
        assert!(detail.contains(text), "{body}: {detail}");
    }
    for (body, text) in [
        (
            json!({ "for_s": 0 }),
            "`for_s` is 0, it has to be 1 to 2592000",
        ),
        (json!({ "for_s": -1 }), "1 to 2592000"),
        (json!({ "for_s": 2_592_001 }), "30 days"),
        (json!({ "for_s": i64::MAX }), "30 days"),
        (json!({ "until_us": NOW_US }), "after now"),
        (
            json!({ "until_us": NOW_US + 30 * DAY_US + 1 }),
            "at most 30 days ahead",
        ),
        (json!({ "until_us": i64::MIN }), "after now"),
        (
            json!({ "until_us": NOW_US + 1, "for_s": 1 }),
            "give one of them",
        ),
        (json!({ "for_s": 1.5 }), "for_s"),
        (json!({ "for": 1 }), "unknown field `for`"),
    ] {
        let detail = silence(&served, &body).await.problem(400);
        assert!(detail.contains(text), "{body}: {detail}");
    }
    for (path, status, text) in [
        ("/api/v1/alarms/none", 400, "32 hex digits"),
        (
            "/api/v1/alarms/00000000000000000000000000000000",
            404,
            "no alarm",
        ),
        (
            "/api/v1/alarms/00000000000000000000000000000000/history",
            404,
            "no alarm",
        ),
        (
            "/api/v1/alarms?severity=bad",
            400,
            "warning, minor, major or critical",
        ),
        ("/api/v1/alarms?device=a%2Fb", 400, "the device"),
        ("/api/v1/alarms?after=x", 400, "cursor"),
        ("/api/v1/alarms?limit=0", 400, "1 to 1000"),
        ("/api/v1/alarms?state=active", 400, "unknown field `state`"),
    ] {
        let detail = served.read(path).await.problem(status);
        assert!(detail.contains(text), "{path}: {detail}");
    }
}
