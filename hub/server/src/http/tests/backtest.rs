//! A draft over what is stored, asked over HTTP.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use stencil_protocol::id::{DeviceId, TenantId};
use stencil_store::{Error, Series, SeriesName, SeriesPoint};
use tokio::sync::{mpsc, watch};

use super::{Answer, Limits, NOW_US, Served, seed};
use crate::backtest::BacktestOptions;
use crate::{LiveEvent, Next};

const PATH: &str = "/api/v1/backtest";
const S: i64 = 1_000_000;

async fn ask(served: &Served, body: &Value) -> Answer {
    let ask = served.ask("POST", PATH).bearer(&served.tokens.reader);
    ask.json(body).send().await
}

/// The seed's workflow over all that the freezer sent.
fn all() -> Value {
    json!({ "definition": seed::workflow(1), "from_us": NOW_US - 119 * S, "to_us": NOW_US + 1 })
}

fn with(changes: &Value) -> Value {
    let mut body = all();
    for (name, value) in changes.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

/// When the freezer's `n`th value was measured, of 120 that rise by 0.1 from -20.
fn at(n: i64) -> i64 {
    NOW_US - (119 - n) * S
}

#[tokio::test]
async fn says_when_it_would_have_fired_beside_what_was_done() {
    let served = Served::start().await;
    let answer = ask(&served, &all()).await.ok();
    // Above -12 from value 81 on; for 3 s at value 84.
    assert_eq!(
        answer["firings"],
        json!([{
            "device": "freezer-marked", "since_us": at(81), "at_us": at(84), "cleared_us": null,
            "value": -20.0 + 8.4,
        }])
    );
    assert_eq!(
        (&answer["would_run"], &answer["would_raise"]),
        (&1.into(), &0.into())
    );
    assert_eq!(
        (&answer["samples"], &answer["devices"]),
        (&120.into(), &1.into())
    );
    assert_eq!(
        (&answer["workflow"], &answer["version"]),
        (&"warm-marked".into(), &1.into())
    );
    assert_eq!(
        answer["rule"],
        "temperature of freezer-*: the value is above -12 for 3s"
    );
    assert_eq!(
        (&answer["through_us"], &answer["truncated"]),
        (&answer["to_us"], &Value::Null)
    );
    assert_eq!(answer["active_version"], 1);
    let actual = answer["actual"].as_array().unwrap();
    assert_eq!(actual.len(), 2, "{answer}");
    assert!(actual.iter().any(|one| one["run"] == seed::RUN.to_string()));
    assert!(
        actual
            .iter()
            .any(|one| one["alarm"] == seed::ALARM.to_string())
    );
    for one in actual {
        assert_eq!(
            (&one["device"], &one["at_us"]),
            (&"freezer-marked".into(), &NOW_US.into())
        );
        assert_eq!(one["version"], 1);
    }
}

#[tokio::test]
async fn the_range_counts_by_event_time_and_what_was_so_before_is_known() {
    let served = Served::start().await;
    // It fired before the range: within it nothing happens.
    let later = ask(&served, &with(&json!({ "from_us": at(85) })))
        .await
        .ok();
    assert_eq!(later["firings"], json!([]), "{later}");
    // The moment of the firing is in the range, or it is just after its end.
    let from = ask(&served, &with(&json!({ "from_us": at(84) })))
        .await
        .ok();
    assert_eq!(from["firings"][0]["since_us"], at(81));
    let until = ask(&served, &with(&json!({ "to_us": at(84) }))).await.ok();
    assert_eq!(
        (&until["firings"], &until["actual"]),
        (&json!([]), &json!([]))
    );
    // With an alarm it would have raised one; with an end it would have been cleared.
    let alarm = "id: other\nversion: 7\non: { telemetry: { devices: \"*\", name: temperature } }\n\
                 when: { below: -15.0 }\nalarm: { severity: minor }\n";
    let answer = ask(&served, &with(&json!({ "definition": alarm })))
        .await
        .ok();
    assert_eq!(
        (&answer["would_run"], &answer["would_raise"]),
        (&0.into(), &1.into())
    );
    let firing = &answer["firings"][0];
    assert_eq!(
        (&firing["at_us"], &firing["cleared_us"]),
        (&at(0).into(), &at(50).into())
    );
    assert_eq!(
        (&answer["active_version"], &answer["actual"]),
        (&Value::Null, &json!([]))
    );
}

#[tokio::test]
async fn a_time_that_no_calendar_has_is_refused() {
    let served = Served::start().await;
    for (name, other) in [("from_us", i64::MIN), ("to_us", i64::MAX)] {
        let refused = ask(&served, &with(&json!({ name: other }))).await;
        let detail = refused.problem(400);
        assert!(
            detail.contains(name) && detail.contains("years 1 to 9999"),
            "{detail}"
        );
    }
    let widest =
        json!({ "from_us": -62_135_596_800_000_000_i64, "to_us": 253_402_300_800_000_000_i64 });
    let answer = ask(&served, &with(&widest)).await.ok();
    assert_eq!(answer["through_us"], widest["to_us"]);
    assert_eq!(
        (&answer["samples"], &answer["truncated"]),
        (&120.into(), &Value::Null)
    );
}

#[tokio::test]
async fn one_device_or_a_number_of_them() {
    let served = Served::start().await;
    let any = seed::workflow(2).replace("freezer-*", "*");
    let body = with(&json!({ "definition": any, "from_us": 0 }));
    assert_eq!(ask(&served, &body).await.ok()["devices"], 2);
    let body = with(&json!({ "definition": any, "from_us": 0, "max_devices": 1 }));
    let first = ask(&served, &body).await.ok();
    assert_eq!(first["devices"], 1);
    assert_eq!(first["truncated"], "only the first 1 devices");
    let body = with(&json!({ "definition": any, "from_us": 0, "device": "freezer-marked" }));
    let one = ask(&served, &body).await.ok();
    assert_eq!(
        (&one["devices"], &one["truncated"]),
        (&1.into(), &Value::Null)
    );
    assert_eq!(one["firings"][0]["device"], "freezer-marked");
}

#[tokio::test]
async fn nothing_is_changed_by_it() {
    let served = Served::start().await;
    let look = async || {
        let mut seen = Vec::new();
        for path in [
            "/api/v1/devices",
            "/api/v1/devices/freezer-marked/latest",
            "/api/v1/devices/freezer-marked/series/temperature",
            "/api/v1/workflows",
            "/api/v1/workflows/warm-marked/versions",
            "/api/v1/runs",
            "/api/v1/alarms",
            "/api/v1/commands",
            "/api/v1/content/notices-marked",
            "/api/v1/ledger",
            "/api/v1/quarantine",
        ] {
            seen.push(served.read(path).await.body);
        }
        seen
    };
    let before = look().await;
    let rules = served.store.pipeline.load(10).await.unwrap().rule_states;
    let mut events = served.live.subscribe(seed::acme());
    let alarm = "id: warm-marked\nversion: 9\non: { telemetry: { devices: \"*\", name: temperature } }\n\
                 when: { above: -100.0 }\nalarm: { severity: critical }\n\
                 steps:\n  - { id: page, use: content.publish, with: { collection: notices-marked, key: draft-marked } }\n";
    let fired = ask(&served, &with(&json!({ "definition": alarm })))
        .await
        .ok();
    assert!(!fired["firings"].as_array().unwrap().is_empty(), "{fired}");
    assert_eq!(look().await, before);
    assert_eq!(
        served.store.pipeline.load(10).await.unwrap().rule_states,
        rules
    );
    // Nobody was told: what comes first is what comes now.
    let sign = LiveEvent::RunChanged { run: seed::RUN };
    served.live.send(&seed::acme(), sign.clone());
    assert_eq!(events.next().await, Next::Event(sign));
}

#[tokio::test]
async fn what_is_not_looked_at_is_said() {
    let bounded = |change: fn(&mut BacktestOptions)| {
        let mut options = BacktestOptions::default();
        change(&mut options);
        Served::start_changed(Limits::default(), |state| state.backtesting(options))
    };
    let served = bounded(|options| options.max_samples = 50).await;
    let answer = ask(&served, &all()).await.ok();
    assert_eq!(answer["truncated"], "there are more than 50 samples");
    assert_eq!(
        (&answer["samples"], &answer["through_us"]),
        (&50.into(), &at(50).into())
    );
    let served = bounded(|options| options.max_series = 1).await;
    let any = seed::workflow(2).replace("freezer-*", "*");
    let answer = ask(&served, &with(&json!({ "definition": any })))
        .await
        .ok();
    assert_eq!(answer["truncated"], "only the first 1 series");
    assert_eq!(
        (&answer["devices"], &answer["firings"]),
        (&1.into(), &json!([]))
    );
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let served = Served::start().await;
    for (changes, status, text) in [
        (
            json!({ "from_us": 5, "to_us": 5 }),
            400,
            "`from_us` 5 is not before `to_us` 5",
        ),
        (json!({ "from_us": "now" }), 400, "from_us"),
        (
            json!({ "device": "freezer-08" }),
            404,
            "there is no device `freezer-08`",
        ),
        (json!({ "device": "a/b" }), 400, "the device"),
        (
            json!({ "device": "a-foreign-marked" }),
            400,
            "it is about `freezer-*`",
        ),
        (json!({ "max_devices": 0 }), 400, "1 or more"),
        (json!({ "max_devices": -1 }), 400, "max_devices"),
        (json!({ "devices": 3 }), 400, "unknown field `devices`"),
        (json!({ "definition": "x".repeat(65_537) }), 422, "65"),
        (json!({ "definition": "x".repeat(140_000) }), 413, "131072"),
    ] {
        let answer = ask(&served, &with(&changes)).await;
        let detail = answer.problem(status);
        assert!(detail.contains(text), "{changes}: {detail}");
    }
    let wrong = seed::workflow(1).replace("above:", "abov:");
    let answer = ask(&served, &with(&json!({ "definition": wrong }))).await;
    assert!(answer.problem(422).contains("line 4"), "{answer:?}");
    assert_eq!(answer.json()["errors"][0]["line"], 4);
}

/// Series that are slow: each read says that it has begun, and that it is over, done or not.
struct Slow {
    inner: Arc<dyn Series>,
    open: watch::Receiver<bool>,
    begun: mpsc::UnboundedSender<()>,
    over: mpsc::UnboundedSender<()>,
}

struct Over(mpsc::UnboundedSender<()>);

impl Drop for Over {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

#[async_trait]
impl Series for Slow {
    async fn range(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        name: &str,
        from_us: i64,
        to_us: i64,
        limit: u32,
    ) -> Result<Vec<SeriesPoint>, Error> {
        let _over = Over(self.over.clone());
        let _ = self.begun.send(());
        let _ = self.open.clone().wait_for(|open| *open).await;
        let range = self
            .inner
            .range(tenant, device, name, from_us, to_us, limit);
        range.await
    }

    async fn contains(&self, t: &TenantId, d: &DeviceId, n: &str, at: i64) -> Result<bool, Error> {
        self.inner.contains(t, d, n, at).await
    }

    async fn names(&self, t: &TenantId, d: &DeviceId) -> Result<Vec<SeriesName>, Error> {
        self.inner.names(t, d).await
    }

    async fn expire(&self, tenant: &TenantId, before_us: i64) -> Result<u64, Error> {
        self.inner.expire(tenant, before_us).await
    }
}

#[tokio::test]
async fn one_too_many_is_refused_and_a_client_that_goes_away_makes_room() {
    let (open, gate) = watch::channel(false);
    let (begun, mut has_begun) = mpsc::unbounded_channel();
    let (over, mut is_over) = mpsc::unbounded_channel();
    let served = Served::start_changed(Limits::default(), |mut state| {
        let inner = Arc::clone(&state.store.series);
        state.store.series = Arc::new(Slow {
            inner,
            open: gate,
            begun,
            over,
        });
        let max_running = 1;
        state.backtesting(BacktestOptions {
            max_running,
            ..BacktestOptions::default()
        })
    })
    .await;
    let first = served
        .ask("POST", PATH)
        .bearer(&served.tokens.reader)
        .json(&all());
    let first = first.open().await;
    has_begun.recv().await.unwrap();
    let refused = ask(&served, &all()).await;
    assert!(
        refused.problem(429).contains("1 backtests are running"),
        "{refused:?}"
    );
    assert!(
        refused
            .header("retry-after")
            .unwrap()
            .parse::<u32>()
            .unwrap()
            > 0
    );
    drop(first);
    // The read that waits is given up: nobody waits for its answer any more.
    is_over.recv().await.unwrap();
    open.send(true).unwrap();
    // Its room comes back in the same breath; an answer on another connection may be as quick.
    let mut answer = ask(&served, &all()).await;
    for _ in 0..100 {
        if answer.status == 200 {
            break;
        }
        answer = ask(&served, &all()).await;
    }
    assert_eq!(answer.ok()["samples"], 120);
}
