use stencil_protocol::sample::OwnedValue;
use stencil_store::sqlite::Options;
use stencil_store::{Commit, SeriesName, SeriesPoint, Store};

use crate::{acme, at, device, fresh, fresh_with, point, reopen};

async fn range(store: &Store, name: &str, from: i64, to: i64, limit: u32) -> Vec<SeriesPoint> {
    store
        .series
        .range(&acme(), &device("freezer-1"), name, from, to, limit)
        .await
        .unwrap()
}

fn small() -> Options {
    Options {
        chunk_points: 4,
        ..Options::default()
    }
}

#[tokio::test]
async fn every_kind_of_value_comes_back_from_tail_and_from_chunks() {
    let values = [
        OwnedValue::Number(-18.25),
        OwnedValue::Number(-0.0),
        OwnedValue::Integer(i64::MIN),
        OwnedValue::Bool(true),
        OwnedValue::Text("door open".into()),
        OwnedValue::Text(String::new()),
        OwnedValue::Bool(false),
        OwnedValue::Integer(0),
        OwnedValue::Number(f64::MAX),
    ];
    for options in [Options::default(), small()] {
        let fresh = fresh_with(options.clone()).await;
        let points: Vec<_> = values
            .iter()
            .zip(0_i64..)
            .map(|(v, t)| point("mixed", t, v.clone()))
            .collect();
        fresh
            .store
            .pipeline
            .commit(Commit {
                points: points.into(),
                ..at(1)
            })
            .await
            .unwrap();
        for store in [
            fresh.store.clone(),
            reopen(fresh.folder.path(), options).await,
        ] {
            let found = range(&store, "mixed", i64::MIN, i64::MAX, 100).await;
            assert!(found.iter().map(|p| &p.value).eq(&values), "{found:?}");
        }
    }
}

#[tokio::test]
async fn values_of_one_time_are_all_kept_wherever_they_are() {
    let fresh = fresh_with(small()).await;
    let number = |t, v| point("temperature", t, OwnedValue::Number(v));
    let first = vec![
        number(1, 1.0),
        number(2, 1.0),
        number(3, 1.0),
        number(4, 1.0),
    ];
    fresh
        .store
        .pipeline
        .commit(Commit {
            points: first.into(),
            ..at(1)
        })
        .await
        .unwrap();
    let second = vec![number(2, 2.0), number(2, 3.0)];
    fresh
        .store
        .pipeline
        .commit(Commit {
            points: second.into(),
            ..at(2)
        })
        .await
        .unwrap();
    let values = |points: Vec<SeriesPoint>| -> Vec<_> {
        points.into_iter().map(|p| (p.time_us, p.value)).collect()
    };
    // The least of those that want a time has it.
    let expected = [(1, 1.0), (2, 1.0), (3, 1.0), (4, 1.0), (5, 2.0), (6, 3.0)]
        .map(|(t, v)| (t, OwnedValue::Number(v)));
    assert_eq!(
        values(range(&fresh.store, "temperature", 0, 9, 9).await),
        expected
    );
    // Seal them into the chunk.
    let more = vec![number(15, 1.0), number(16, 1.0), number(17, 1.0)];
    fresh
        .store
        .pipeline
        .commit(Commit {
            points: more.into(),
            ..at(3)
        })
        .await
        .unwrap();
    assert_eq!(
        values(range(&fresh.store, "temperature", 0, 10, 9).await),
        expected
    );
    let store = reopen(fresh.folder.path(), small()).await;
    assert_eq!(
        values(range(&store, "temperature", 0, 10, 9).await),
        expected
    );
}

#[tokio::test]
async fn ranges_end_where_they_should() {
    let fresh = fresh_with(small()).await;
    for n in 0..40_i64 {
        let points = vec![point("count", n * 10, OwnedValue::Integer(n))];
        let commit = Commit {
            points: points.into(),
            ..at(n.unsigned_abs() + 1)
        };
        fresh.store.pipeline.commit(commit).await.unwrap();
    }
    let times = |points: Vec<SeriesPoint>| points.iter().map(|p| p.time_us).collect::<Vec<_>>();
    let all: Vec<i64> = (0..40).map(|n| n * 10).collect();
    assert_eq!(
        times(range(&fresh.store, "count", 0, 400, 1_000).await),
        all
    );
    assert_eq!(
        times(range(&fresh.store, "count", 15, 50, 1_000).await),
        [20, 30, 40]
    );
    assert_eq!(
        times(range(&fresh.store, "count", 20, 50, 2).await),
        [20, 30]
    );
    assert_eq!(
        times(range(&fresh.store, "count", 390, i64::MAX, 9).await),
        [390]
    );
    assert_eq!(
        times(range(&fresh.store, "count", 50, 50, 9).await),
        Vec::<i64>::new()
    );
    assert_eq!(
        times(range(&fresh.store, "count", 60, 50, 9).await),
        Vec::<i64>::new()
    );
    assert_eq!(
        times(range(&fresh.store, "count", 0, 400, 0).await),
        Vec::<i64>::new()
    );
    assert_eq!(
        times(range(&fresh.store, "unknown", 0, 400, 9).await),
        Vec::<i64>::new()
    );
}

#[tokio::test]
async fn contains_finds_points_in_head_and_chunks() {
    let fresh = fresh_with(small()).await;
    for n in 0..10_i64 {
        let points = vec![point("count", n * 10, OwnedValue::Integer(n))];
        let commit = Commit {
            points: points.into(),
            ..at(n.unsigned_abs() + 1)
        };
        fresh.store.pipeline.commit(commit).await.unwrap();
    }
    let port = &fresh.store.series;
    for time in -5..105 {
        let found = port
            .contains(&acme(), &device("freezer-1"), "count", time)
            .await
            .unwrap();
        assert_eq!(found, (0..100).contains(&time) && time % 10 == 0, "{time}");
    }
    assert!(
        !port
            .contains(&acme(), &device("freezer-1"), "unknown", 0)
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn names_carry_the_newest_unit() {
    let fresh = fresh().await;
    let mut points = vec![
        point("temperature", 1, OwnedValue::Number(1.0)),
        point("door", 1, OwnedValue::Bool(true)),
    ];
    points[0].unit = Some("degF".into());
    fresh
        .store
        .pipeline
        .commit(Commit {
            points: points.clone().into(),
            ..at(1)
        })
        .await
        .unwrap();
    points[0].unit = Some("degC".into());
    fresh
        .store
        .pipeline
        .commit(Commit {
            points: points.clone().into(),
            ..at(2)
        })
        .await
        .unwrap();
    points[0].unit = None;
    fresh
        .store
        .pipeline
        .commit(Commit {
            points: points.into(),
            ..at(3)
        })
        .await
        .unwrap();
    let names = fresh
        .store
        .series
        .names(&acme(), &device("freezer-1"))
        .await
        .unwrap();
    let name = |name: &str, unit: Option<&str>| SeriesName {
        name: name.into(),
        unit: unit.map(Into::into),
    };
    assert_eq!(
        names,
        [name("door", None), name("temperature", Some("degC"))]
    );
}

#[tokio::test]
async fn old_chunks_expire_whole() {
    let fresh = fresh_with(small()).await;
    let points: Vec<_> = (0..12)
        .map(|t| point("count", t, OwnedValue::Integer(t)))
        .collect();
    for (chunk, position) in points.chunks(4).zip(1..) {
        let commit = Commit {
            points: chunk.to_vec().into(),
            ..at(position)
        };
        fresh.store.pipeline.commit(commit).await.unwrap();
    }
    assert_eq!(
        fresh
            .store
            .series
            .expire(&crate::other(), 100)
            .await
            .unwrap(),
        0
    );
    assert_eq!(fresh.store.series.expire(&acme(), 5).await.unwrap(), 4);
    let left = range(&fresh.store, "count", 0, 100, 100).await;
    assert_eq!((left.len(), left[0].time_us), (8, 4));
}

#[tokio::test]
async fn slow_series_do_not_hold_the_tail() {
    let options = Options {
        max_tail_rows: 8,
        max_seals_per_commit: 1,
        ..Options::default()
    };
    let fresh = fresh_with(options.clone()).await;
    let mut slow = point("slow", 1, OwnedValue::Integer(1));
    slow.device = device("slow");
    let commit = Commit {
        points: vec![slow].into(),
        ..at(1)
    };
    fresh.store.pipeline.commit(commit).await.unwrap();
    for n in 2..60_u64 {
        let time = i64::try_from(n).unwrap();
        let points = vec![point("fast", time, OwnedValue::Integer(time))];
        fresh
            .store
            .pipeline
            .commit(Commit {
                points: points.into(),
                ..at(n)
            })
            .await
            .unwrap();
    }
    let url = format!("sqlite://{}", fresh.folder.path().join("hub.db").display());
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    let rows: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM series_tail")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert!(rows <= 9, "{rows} tail rows");
    let store = reopen(fresh.folder.path(), options).await;
    assert_eq!(range(&store, "fast", 0, 100, 100).await.len(), 58);
    let slow = store
        .series
        .range(&acme(), &device("slow"), "slow", 0, 9, 9)
        .await
        .unwrap();
    assert_eq!(slow.len(), 1);
}

#[tokio::test]
async fn a_damaged_chunk_is_reported_and_does_not_stop_the_pipeline() {
    let fresh = fresh_with(small()).await;
    let points = |times: std::ops::Range<i64>| -> Vec<_> {
        times
            .map(|t| point("count", t * 10, OwnedValue::Integer(t)))
            .collect()
    };
    let commit = Commit {
        points: points(0..4).into(),
        ..at(1)
    };
    fresh.store.pipeline.commit(commit).await.unwrap();
    let url = format!("sqlite://{}", fresh.folder.path().join("hub.db").display());
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    sqlx::query("UPDATE series_chunks SET body = x'82010203'")
        .execute(&pool)
        .await
        .unwrap();

    let id = device("freezer-1");
    let error = fresh
        .store
        .series
        .range(&acme(), &id, "count", 0, 9, 9)
        .await
        .unwrap_err();
    assert!(
        !error.retryable() && error.to_string().contains("series chunk"),
        "{error}"
    );
    // Late points that belong into the damaged chunk.
    let late: Vec<_> = (0..4)
        .map(|t| point("count", t * 10 + 5, OwnedValue::Integer(t)))
        .collect();
    fresh
        .store
        .pipeline
        .commit(Commit {
            points: late.into(),
            ..at(2)
        })
        .await
        .unwrap();
    assert_eq!(range(&fresh.store, "count", 0, 99, 99).await.len(), 4);
    let aside: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM series_damaged")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(aside, 1);
}

#[tokio::test]
async fn memory_for_heads_is_bounded_however_many_series_there_are() {
    let options = Options {
        max_unsealed_points: 50,
        max_seals_per_commit: 1,
        ..Options::default()
    };
    let fresh = fresh_with(options).await;
    for n in 0..20_u64 {
        let time = i64::try_from(n).unwrap();
        let points = (0..40)
            .map(|s| point(&format!("s{s}"), time, OwnedValue::Integer(time)))
            .collect();
        fresh
            .store
            .pipeline
            .commit(Commit {
                points,
                ..at(n + 1)
            })
            .await
            .unwrap();
    }
    let url = format!("sqlite://{}", fresh.folder.path().join("hub.db").display());
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    let sealed: i64 = sqlx::query_scalar("SELECT SUM(points) FROM series_chunks")
        .fetch_one(&pool)
        .await
        .unwrap();
    let unsealed = 20 * 40 - sealed;
    assert!(unsealed <= 2 * 50 + 40, "{unsealed} points are unsealed");
    for s in 0..40 {
        assert_eq!(
            range(&fresh.store, &format!("s{s}"), 0, 99, 99).await.len(),
            20
        );
    }
}
