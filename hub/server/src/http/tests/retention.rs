//! For how long history is kept.

use serde_json::{Value, json};
use stencil_protocol::id::TenantId;
use stencil_store::{Keep, Retention};

use super::{Answer, Served, seed};

const PATH: &str = "/api/v1/retention";

async fn set(served: &Served, body: &Value) -> Answer {
    let ask = served.ask("PUT", PATH).bearer(&served.tokens.admin);
    ask.json(body).send().await
}

/// All kinds, these with a value and the others with null.
fn with(set: &[(&str, Value)]) -> Value {
    let mut all = json!({
        "series_days": null, "runs_days": null, "alarms_days": null, "quarantine_days": null,
        "audit_days": null,
    });
    for (kind, value) in set {
        all[*kind] = value.clone();
    }
    all
}

#[tokio::test]
async fn a_part_is_refused_and_changes_nothing() {
    let served = Served::start().await;
    let all = with(&[("series_days", 30.into()), ("audit_days", 90.into())]);
    set(&served, &all).await.ok();
    for (part, missing) in [
        (json!({ "series_days": 7 }), 4),
        (json!({}), 5),
        (
            json!({
                "series_days": 7, "runs_days": null, "alarms_days": null, "quarantine_days": 3,
            }),
            1,
        ),
    ] {
        let answer = set(&served, &part).await;
        let detail = answer.problem(422);
        let errors = answer.json()["errors"].clone();
        let places: Vec<_> = errors.as_array().unwrap().iter().collect();
        assert_eq!(places.len(), missing, "{errors}");
        assert!(detail.contains("`audit_days`"), "{detail}");
        assert_eq!(places[missing - 1]["pointer"], "#/audit_days");
    }
    let kept = served.store.keeping.retention(&seed::acme()).await.unwrap();
    assert_eq!(
        (kept.series, kept.audit),
        (Some(Keep::Days(30)), Some(Keep::Days(90)))
    );
}

#[tokio::test]
async fn an_admin_does_not_have_the_audit_log_freed_at_once() {
    let served = Served::start().await;
    for days in [1, 29] {
        let body = with(&[("audit_days", days.into())]);
        let detail = set(&served, &body).await.problem(400);
        assert!(detail.contains("from 30 to 36500"), "{detail}");
    }
    let body = with(&[("audit_days", 30.into())]);
    set(&served, &body).await.ok();
    // What was set before there was a floor is raised to it.
    let acme = seed::acme();
    let before = Retention {
        audit: Some(Keep::Days(1)),
        ..Retention::default()
    };
    let keeping = &served.store.keeping;
    keeping.set_retention(&acme, &before, 1).await.unwrap();
    let ask = served.get(PATH).bearer(&served.tokens.admin);
    assert_eq!(ask.send().await.ok()["in_force"]["audit_days"], 30);
}

#[tokio::test]
async fn set_shown_and_back_to_what_the_hub_does() {
    let served = Served::start().await;
    let none = json!({
        "series_days": null, "runs_days": null, "alarms_days": null, "quarantine_days": null,
        "audit_days": null,
    });
    let defaults = json!({
        "series_days": "always", "runs_days": 365, "alarms_days": 365, "quarantine_days": 90,
        "audit_days": 730,
    });
    let read = async || {
        let ask = served.get(PATH).bearer(&served.tokens.admin);
        ask.send().await.ok()
    };
    assert_eq!(read().await, json!({ "set": none, "in_force": defaults }));
    let wanted = with(&[("series_days", 730.into()), ("runs_days", "always".into())]);
    for _ in 0..2 {
        let answer = set(&served, &wanted).await.ok();
        assert_eq!(
            (&answer["set"]["series_days"], &answer["set"]["audit_days"]),
            (&730.into(), &Value::Null)
        );
        assert_eq!(answer["in_force"]["series_days"], 730);
        assert_eq!(answer["in_force"]["runs_days"], "always");
        assert_eq!(answer["in_force"]["alarms_days"], 365);
        assert_eq!(read().await, answer);
    }
    let kept = served.store.keeping.retention(&seed::acme()).await.unwrap();
    let expected = Retention {
        series: Some(Keep::Days(730)),
        runs: Some(Keep::Always),
        ..Retention::default()
    };
    assert_eq!(kept, expected);
    // Nobody else's.
    let rival = TenantId::parse("rival").unwrap();
    let theirs = served.store.keeping.retention(&rival).await.unwrap();
    assert_eq!(theirs, Retention::default());
    // It replaces the whole.
    let audit = with(&[("audit_days", 36_500.into())]);
    let answer = set(&served, &audit).await.ok();
    assert_eq!(
        (&answer["set"]["series_days"], &answer["set"]["audit_days"]),
        (&Value::Null, &36_500.into())
    );
    assert_eq!(
        set(&served, &with(&[])).await.ok(),
        json!({ "set": none, "in_force": defaults })
    );
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let served = Served::start().await;
    for (body, text) in [
        (
            json!({ "series_days": 0 }),
            "`series_days` is 0, it has to be a number of days from 1 to 36500",
        ),
        (json!({ "runs_days": -1 }), "`runs_days` is -1"),
        (json!({ "alarms_days": 36_501 }), "`alarms_days` is 36501"),
        (
            json!({ "quarantine_days": 1.5 }),
            "`quarantine_days` is 1.5",
        ),
        (json!({ "audit_days": "never" }), "\"always\", or null"),
        (json!({ "audit_days": u64::MAX }), "30 to 36500"),
        (json!({ "audit_days": ["x".repeat(5_000)] }), "30 to 36500"),
        (json!({ "days": 5 }), "unknown field `days`"),
    ] {
        // A kind more than the five is one that there is not.
        let members: Vec<_> = body.as_object().unwrap().iter().collect();
        let members: Vec<_> = members
            .iter()
            .map(|(kind, value)| (kind.as_str(), (*value).clone()))
            .collect();
        let detail = set(&served, &with(&members)).await.problem(400);
        assert!(
            detail.contains(text) && detail.len() < 300,
            "{body}: {detail}"
        );
    }
    let kept = served.store.keeping.retention(&seed::acme()).await.unwrap();
    assert_eq!(kept, Retention::default());
}
