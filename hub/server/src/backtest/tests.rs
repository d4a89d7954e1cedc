//! A real recording with known failures of the machine that it is of.

use std::collections::BTreeMap;

use stencil_protocol::id::{DeviceId, TenantId};
use stencil_protocol::moment;
use stencil_protocol::sample::OwnedValue;
use stencil_store::{Commit, Point, Store, TwinUpdate, sqlite};
use stencil_workflow::definition;

use super::{Backtest, BacktestOptions, Backtests, Question};

/// `timestamp,value`, in UTC, every five minutes: the temperature of a machine that fails thrice.
const RECORDING: &str =
    include_str!("../../../../simulators/data/machine_temperature_system_failure.csv");

/// When it was below 50 for half an hour, counted over the recording by another program: since
/// when, from when on for half an hour, and until when.
const COLD: [[&str; 3]; 7] = [
    [
        "2013-12-10 09:50:00",
        "2013-12-10 10:20:00",
        "2013-12-10 10:30:00",
    ],
    [
        "2013-12-10 11:05:00",
        "2013-12-10 11:35:00",
        "2013-12-10 11:40:00",
    ],
    [
        "2013-12-16 08:20:00",
        "2013-12-16 08:50:00",
        "2013-12-16 09:10:00",
    ],
    [
        "2013-12-16 09:50:00",
        "2013-12-16 10:20:00",
        "2013-12-16 18:35:00",
    ],
    [
        "2014-01-30 18:25:00",
        "2014-01-30 18:55:00",
        "2014-01-30 19:20:00",
    ],
    [
        "2014-02-03 09:00:00",
        "2014-02-03 09:30:00",
        "2014-02-03 11:55:00",
    ],
    [
        "2014-02-07 21:15:00",
        "2014-02-07 21:45:00",
        "2014-02-09 12:00:00",
    ],
];

const RULE: &str = "id: cold\nversion: 1\n\
    on: { telemetry: { devices: \"machine-*\", name: temperature } }\n\
    when: { below: 50.0, for: 30m }\nalarm: { severity: critical }\n";

/// `2013-12-02 21:15:00` in µs.
fn time_us(text: &str) -> i64 {
    let part = |at: std::ops::Range<usize>| text[at].parse::<i64>().unwrap();
    let (year, month, day) = (part(0..4), part(5..7), part(8..10));
    let before = |month: i64| {
        let month = usize::try_from(month).unwrap();
        [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334][month - 1]
    };
    let leaps = (year - 1969) / 4 + i64::from(year % 4 == 0 && month > 2);
    let days = (year - 1970) * 365 + leaps + before(month) + day - 1;
    let seconds = part(11..13) * 3_600 + part(14..16) * 60 + part(17..19);
    (days * 86_400 + seconds) * 1_000_000
}

struct Recorded {
    store: Store,
    tenant: TenantId,
    samples: usize,
    _folder: tempfile::TempDir,
}

impl Recorded {
    async fn store() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = sqlite::open(folder.path().join("hub.db"))
            .await
            .unwrap()
            .store();
        let tenant = TenantId::parse("acme").unwrap();
        store.tenancy.create_tenant(&tenant, 0).await.unwrap();
        let device = DeviceId::parse("machine-1").unwrap();
        // Some times are there twice: the later value counts.
        let values: BTreeMap<i64, f64> = RECORDING
            .lines()
            .skip(1)
            .map(|line| line.split_once(',').unwrap())
            .map(|(at, value)| (time_us(at), value.parse().unwrap()))
            .collect();
        let points: Vec<Point> = values
            .iter()
            .map(|(&time_us, &value)| Point {
                tenant: tenant.clone(),
                device: device.clone(),
                name: "temperature".to_owned(),
                time_us,
                value: OwnedValue::Number(value),
                unit: None,
            })
            .collect();
        let (samples, last) = (points.len(), points.last().unwrap().clone());
        let twin = TwinUpdate {
            tenant: tenant.clone(),
            device,
            gateway: None,
            name: last.name,
            value: last.value,
            unit: None,
            time_us: last.time_us,
            received_us: last.time_us,
            link: None,
        };
        let commit = Commit {
            position: 1,
            points: points.into(),
            twins: vec![twin],
            ..Commit::default()
        };
        store.pipeline.commit(commit).await.unwrap();
        Self {
            store,
            tenant,
            samples,
            _folder: folder,
        }
    }

    async fn test(&self, options: BacktestOptions, from: &str, to: &str) -> Backtest {
        let definition = definition::parse(RULE).unwrap();
        let question = Question {
            tenant: &self.tenant,
            definition: &definition,
            from_us: time_us(from),
            to_us: time_us(to),
            device: None,
            max_devices: None,
        };
        Backtests::new(options)
            .run(&self.store, &question)
            .await
            .unwrap()
    }
}

fn told(backtest: &Backtest) -> Vec<[String; 3]> {
    let firings = backtest.firings.iter();
    firings
        .map(|firing| {
            [
                firing.since_us,
                firing.at_us,
                firing.cleared_us.unwrap_or_default(),
            ]
        })
        .map(|times| times.map(moment::utc))
        .collect()
}

#[tokio::test]
async fn the_failures_of_a_machine_are_found_at_their_times() {
    let recorded = Recorded::store().await;
    let options = BacktestOptions::default;
    let whole = recorded
        .test(options(), "2013-12-01 00:00:00", "2014-03-01 00:00:00")
        .await;
    assert_eq!(told(&whole), COLD);
    assert_eq!((whole.samples, whole.devices), (recorded.samples as u64, 1));
    assert_eq!((whole.would_raise, whole.would_run), (7, 0));
    assert_eq!((whole.truncated, whole.actual), (None, vec![]));
    assert!(
        whole
            .firings
            .iter()
            .all(|firing| firing.value.unwrap() < 50.0)
    );

    // A part of it: what began within is found at the same times, and no other thing.
    let part = recorded
        .test(options(), "2013-12-16 00:00:00", "2014-01-31 00:00:00")
        .await;
    assert_eq!(told(&part), COLD[2..5]);
    // What has not ended by the end of the range has no end.
    let cut = recorded
        .test(options(), "2014-02-07 00:00:00", "2014-02-08 00:00:00")
        .await;
    assert_eq!(cut.firings[0].cleared_us, None);
    assert_eq!(cut.firings.len(), 1);
    // It holds already when the range begins, within what the rule looks back: no new firing.
    let later = recorded
        .test(options(), "2014-02-07 22:00:00", "2014-02-09 00:00:00")
        .await;
    assert_eq!(told(&later), [[""; 3]; 0]);
}

#[tokio::test]
async fn a_bound_on_samples_gives_the_first_part_of_the_same() {
    let recorded = Recorded::store().await;
    let max_samples = 5_000;
    let options = BacktestOptions {
        max_samples,
        ..BacktestOptions::default()
    };
    let first = recorded
        .test(options, "2013-12-01 00:00:00", "2014-03-01 00:00:00")
        .await;
    assert_eq!(first.samples, max_samples);
    assert!(first.truncated.unwrap().contains("more than 5000 samples"));
    assert!(first.through_us < time_us("2013-12-21 00:00:00"));
    let times: Vec<i64> = first.firings.iter().map(|firing| firing.at_us).collect();
    let expected = COLD
        .iter()
        .map(|[_, at, _]| time_us(at))
        .filter(|at| *at < first.through_us);
    assert_eq!(times, expected.collect::<Vec<_>>());
    assert_eq!(times.len(), 4);
}

#[tokio::test]
async fn a_bound_on_time_is_kept_and_said() {
    let recorded = Recorded::store().await;
    let options = BacktestOptions {
        max_ms: 0,
        ..BacktestOptions::default()
    };
    let none = recorded
        .test(options, "2013-12-01 00:00:00", "2014-03-01 00:00:00")
        .await;
    assert!(none.truncated.unwrap().contains("longer than 0 ms"));
    assert_eq!((none.samples, none.firings.len()), (0, 0));
    assert_eq!(none.through_us, time_us("2013-12-02 21:15:00"));
}
