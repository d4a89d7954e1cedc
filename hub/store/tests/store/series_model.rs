//! A series answers as a simple model would, which is given all points at once: whatever order they
//! come in, however often heads are sealed or rebuilt, and however many have one time.

use std::collections::BTreeMap;

use proptest::prelude::*;
use sqlx::Connection as _;
use stencil_protocol::sample::OwnedValue;
use stencil_store::sqlite::Options;
use stencil_store::{Commit, SeriesPoint};

use crate::{acme, at, device, fresh_with, point, reopen};

#[derive(Debug, Clone)]
enum Step {
    /// Points of one of three series, all in one commit.
    Commit(Vec<(u8, i64, OwnedValue)>),
    /// A device measures several of its three series at once, again and again; one or another
    /// drops out.
    Samples(Vec<(i64, [Option<OwnedValue>; 3])>),
    Reopen,
    Range {
        series: u8,
        from: i64,
        to: i64,
        limit: u32,
    },
}

fn value() -> impl Strategy<Value = OwnedValue> {
    prop_oneof![
        4 => (-50_i32..50).prop_map(|n| OwnedValue::Number(f64::from(n) / 4.0)),
        1 => any::<i64>().prop_map(OwnedValue::Integer),
        1 => any::<bool>().prop_map(OwnedValue::Bool),
        1 => "[a-z]{0,5}".prop_map(OwnedValue::Text),
    ]
}

fn time() -> impl Strategy<Value = i64> {
    prop_oneof![8 => 0_i64..200, 1 => Just(i64::MIN), 1 => Just(i64::MAX), 1 => -1_000_i64..1_000]
}

fn some_values() -> impl Strategy<Value = [Option<OwnedValue>; 3]> {
    prop::array::uniform3(prop::option::weighted(0.9, value()))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => prop::collection::vec((0_u8..3, time(), value()), 1..12).prop_map(Step::Commit),
        6 => prop::collection::vec((time(), some_values()), 1..24).prop_map(Step::Samples),
        1 => Just(Step::Reopen),
        3 => (0_u8..3, time(), time(), 0_u32..30)
            .prop_map(|(series, from, to, limit)| Step::Range { series, from, to, limit }),
    ]
}

fn options() -> impl Strategy<Value = Options> {
    (2_usize..9, 1_usize..40, 1_usize..6, 1_usize..4).prop_map(|(chunk, points, tails, seals)| {
        Options {
            chunk_points: chunk,
            max_unsealed_points: points,
            max_tail_rows: tails,
            max_seals_per_commit: seals,
            readers: 1,
            ..Options::default()
        }
    })
}

/// All points that came, in the order in which they came.
#[derive(Default)]
struct Model(Vec<(u8, i64, OwnedValue)>);

impl Model {
    fn add(&mut self, series: u8, time: i64, value: OwnedValue) {
        self.0.push((series, time, value));
    }

    fn came(&self, series: u8, time: i64) -> bool {
        self.0
            .iter()
            .any(|(of, at, _)| (*of, *at) == (series, time))
    }

    /// One by one, latest first: who wants a time that is taken goes on, or the one that is there does.
    fn placed(&self, series: u8) -> BTreeMap<i64, OwnedValue> {
        let mut placed: BTreeMap<i64, OwnedValue> = BTreeMap::new();
        for (_, time, value) in self.0.iter().rev().filter(|(of, _, _)| *of == series) {
            let (mut time, mut value) = (*time, value.clone());
            loop {
                let Some(there) = placed.get_mut(&time) else {
                    placed.insert(time, value);
                    break;
                };
                if less(&value, there) {
                    std::mem::swap(&mut value, there);
                }
                let Some(next) = time.checked_add(1) else {
                    break;
                };
                time = next;
            }
        }
        placed
    }
}

fn less(a: &OwnedValue, b: &OwnedValue) -> bool {
    let kind = |value: &OwnedValue| match value {
        OwnedValue::Bool(_) => 0,
        OwnedValue::Integer(_) => 1,
        OwnedValue::Number(_) => 2,
        OwnedValue::Text(_) => 3,
    };
    match (a, b) {
        (OwnedValue::Bool(a), OwnedValue::Bool(b)) => !a & b,
        (OwnedValue::Integer(a), OwnedValue::Integer(b)) => a < b,
        // There is no -0 among them.
        (OwnedValue::Number(a), OwnedValue::Number(b)) => a < b,
        (OwnedValue::Text(a), OwnedValue::Text(b)) => a < b,
        _ => kind(a) < kind(b),
    }
}

async fn check(options: Options, steps: Vec<Step>) {
    let fresh = fresh_with(options.clone()).await;
    let mut store = fresh.store.clone();
    let mut model = Model::default();
    let mut position = 0;
    for step in steps {
        match step {
            Step::Commit(points) => {
                position += 1;
                let mut commit = Commit { ..at(position) };
                for (series, time, value) in points {
                    commit
                        .points
                        .push(point(&format!("s{series}"), time, value.clone()));
                    model.add(series, time, value);
                }
                store.pipeline.commit(commit).await.unwrap();
            }
            Step::Samples(samples) => {
                position += 1;
                let mut commit = Commit { ..at(position) };
                for (time, values) in samples {
                    for (series, value) in (0_u8..).zip(values) {
                        let Some(value) = value else { continue };
                        let name = format!("s{series}");
                        commit.points.push(point(&name, time, value.clone()));
                        model.add(series, time, value);
                    }
                }
                store.pipeline.commit(commit).await.unwrap();
            }
            Step::Reopen => store = reopen(fresh.folder.path(), options.clone()).await,
            Step::Range {
                series,
                from,
                to,
                limit,
            } => {
                compare(&store, &model, series, from, to, limit).await;
            }
        }
    }
    let url = format!("sqlite://{}", fresh.folder.path().join("hub.db").display());
    let mut database = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let overlaps: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM series_chunks a JOIN series_chunks b ON a.series = b.series \
         AND a.from_us < b.from_us AND a.to_us >= b.from_us",
    )
    .fetch_one(&mut database)
    .await
    .unwrap();
    assert_eq!(overlaps, 0);
    let unused: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM series_stamps s \
         WHERE NOT EXISTS (SELECT 1 FROM series_chunks c WHERE c.stamps = s.stamps)",
    )
    .fetch_one(&mut database)
    .await
    .unwrap();
    assert_eq!(unused, 0, "times that no chunk refers to");
    for reopened in [false, true] {
        if reopened {
            store = reopen(fresh.folder.path(), options.clone()).await;
        }
        for series in 0..3 {
            compare(&store, &model, series, i64::MIN, i64::MAX, 10_000).await;
        }
    }
}

async fn compare(
    store: &stencil_store::Store,
    model: &Model,
    series: u8,
    from: i64,
    to: i64,
    limit: u32,
) {
    let name = format!("s{series}");
    let id = device("freezer-1");
    let found = store
        .series
        .range(&acme(), &id, &name, from, to, limit)
        .await
        .unwrap();
    let placed = model.placed(series);
    let expected: Vec<SeriesPoint> = placed
        .range(from..to.max(from))
        .take(limit as usize)
        .map(|(time, value)| SeriesPoint {
            time_us: *time,
            value: value.clone(),
        })
        .collect();
    assert_eq!(found, expected);
    for probe in [from, to, from.saturating_add(1)] {
        let contains = store
            .series
            .contains(&acme(), &id, &name, probe)
            .await
            .unwrap();
        // Of times that only points have which made way for others either may be said.
        if model.came(series, probe) || !placed.contains_key(&probe) {
            assert_eq!(contains, model.came(series, probe), "contains {probe}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
    #[test]
    fn a_series_is_a_map(options in options(), steps in prop::collection::vec(step(), 1..40)) {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(check(options, steps));
    }
}
