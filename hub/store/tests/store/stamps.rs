//! Series of a device that are measured at once keep their times once.

use sqlx::SqlitePool;
use stencil_protocol::sample::OwnedValue;
use stencil_store::sqlite::{self, Options};
use stencil_store::{Commit, Erased, Point, SeriesPoint, Store};

use crate::{Fresh, acme, at, device, fresh_with, point, reopen};

const NAMES: [&str; 3] = ["temperature", "humidity", "door"];

fn small() -> Options {
    Options {
        chunk_points: 16,
        ..Options::default()
    }
}

/// What a device measures at the `n`th time: late by something, one value of each kind.
fn sample(id: &str, n: i64) -> Vec<Point> {
    let time_us = n * 1_000 + n * n % 37;
    let values = [
        OwnedValue::Number(n as f64 / 3.0),
        OwnedValue::Integer(n * 7),
        OwnedValue::Bool(n % 5 == 0),
    ];
    let of = |(name, value): (&str, OwnedValue)| {
        let mut point = point(name, time_us, value);
        point.device = device(id);
        point
    };
    NAMES.into_iter().zip(values).map(of).collect()
}

async fn commit(store: &Store, position: u64, points: Vec<Point>) {
    let commit = Commit {
        points: points.into(),
        ..at(position)
    };
    store.pipeline.commit(commit).await.unwrap();
}

/// Two devices, each with 64 samples of three series: four chunks a series.
async fn two_devices() -> Fresh {
    let fresh = fresh_with(small()).await;
    for n in 0..64 {
        let both = [sample("freezer-1", n), sample("freezer-2", n)].concat();
        commit(&fresh.store, n.unsigned_abs() + 1, both).await;
    }
    fresh
}

async fn all(store: &Store, id: &str, name: &str) -> Vec<SeriesPoint> {
    store
        .series
        .range(&acme(), &device(id), name, i64::MIN, i64::MAX, 1_000)
        .await
        .unwrap()
}

fn expected(id: &str, name: &str, samples: impl Iterator<Item = i64>) -> Vec<SeriesPoint> {
    samples
        .flat_map(|n| sample(id, n))
        .filter(|point| point.name == name)
        .map(|point| SeriesPoint {
            time_us: point.time_us,
            value: point.value,
        })
        .collect()
}

async fn database(fresh: &Fresh) -> SqlitePool {
    let url = format!("sqlite://{}", fresh.folder.path().join("hub.db").display());
    SqlitePool::connect(&url).await.unwrap()
}

async fn count(database: &SqlitePool, of: &'static str) -> i64 {
    sqlx::query_scalar(of).fetch_one(database).await.unwrap()
}

const KEPT: &str = "SELECT COUNT(*) FROM series_stamps";

#[tokio::test]
async fn the_series_of_a_device_refer_to_the_same_times() {
    let fresh = two_devices().await;
    let database = database(&fresh).await;
    let chunks = "SELECT COUNT(*) FROM series_chunks WHERE stamps IS NOT NULL";
    assert_eq!(count(&database, chunks).await, 2 * 3 * 4);
    assert_eq!(count(&database, KEPT).await, 2 * 4);
    // Nothing is kept for two devices: one may be erased.
    let devices = "SELECT MAX(devices) FROM (SELECT COUNT(DISTINCT s.device) AS devices \
                   FROM series_chunks c JOIN series s ON s.series = c.series GROUP BY c.stamps)";
    assert_eq!(count(&database, devices).await, 1);
    let again = reopen(fresh.folder.path(), small()).await;
    for store in [&fresh.store, &again] {
        for name in NAMES {
            let points = all(store, "freezer-2", name).await;
            assert_eq!(points, expected("freezer-2", name, 0..64), "{name}");
        }
    }
    let at = sample("freezer-1", 20)[0].time_us;
    for (time, there) in [(at, true), (at + 1, false)] {
        let (port, id) = (&fresh.store.series, device("freezer-1"));
        let contains = port.contains(&acme(), &id, "door", time).await.unwrap();
        assert_eq!(contains, there);
    }
}

#[tokio::test]
async fn one_that_drops_out_now_and_then_refers_to_them_too() {
    let fresh = fresh_with(small()).await;
    let dropped = |n: &i64| n % 8 == 3;
    for n in 0..16 {
        let mut points = sample("freezer-1", n);
        if dropped(&n) {
            points.remove(1);
        }
        commit(&fresh.store, n.unsigned_abs() + 1, points).await;
    }
    let database = database(&fresh).await;
    let refer = "SELECT COUNT(stamps) FROM series_chunks";
    assert_eq!(
        (count(&database, refer).await, count(&database, KEPT).await),
        (3, 1)
    );
    let humidity = expected("freezer-1", "humidity", (0..16).filter(|n| !dropped(n)));
    assert_eq!(all(&fresh.store, "freezer-1", "humidity").await, humidity);
    let door = expected("freezer-1", "door", 0..16);
    assert_eq!(all(&fresh.store, "freezer-1", "door").await, door);
}

#[tokio::test]
async fn times_go_with_the_last_chunk_that_refers_to_them() {
    let fresh = two_devices().await;
    let database = database(&fresh).await;
    // Late points of one series: its chunk is written again, the others still refer.
    let late = |n: i64| {
        let mut point = sample("freezer-1", 2)[0].clone();
        point.time_us += n;
        point
    };
    commit(&fresh.store, 65, (1..=16).map(late).collect()).await;
    assert_eq!(count(&database, KEPT).await, 2 * 4);
    assert_eq!(
        all(&fresh.store, "freezer-1", "temperature").await.len(),
        80
    );
    let door = expected("freezer-1", "door", 0..64);
    assert_eq!(all(&fresh.store, "freezer-1", "door").await, door);

    // The first chunk of every series of both devices.
    let before = sample("freezer-1", 16)[0].time_us;
    let keeping = &fresh.store.keeping;
    keeping.forget_points(&acme(), before, 100).await.unwrap();
    assert_eq!(count(&database, KEPT).await, 2 * 3);
    let door = expected("freezer-1", "door", 16..64);
    assert_eq!(all(&fresh.store, "freezer-1", "door").await, door);

    // An erased device takes its own along, overwritten; its neighbour keeps them.
    let mark = "times-of-the-first-device";
    sqlx::query(
        "UPDATE series_stamps SET body = CAST($1 AS BLOB) WHERE stamps IN (SELECT c.stamps \
         FROM series_chunks c JOIN series s ON s.series = c.series WHERE s.device = 'freezer-1')",
    )
    .bind(mark)
    .execute(&database)
    .await
    .unwrap();
    let erased = Erased::Device(acme(), device("freezer-1"));
    keeping.erase(66, &erased).await.unwrap();
    while keeping.purge(2).await.unwrap() > 0 {}
    assert_eq!(count(&database, KEPT).await, 3);
    let door = expected("freezer-2", "door", 16..64);
    assert_eq!(all(&fresh.store, "freezer-2", "door").await, door);
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
        .execute(&database)
        .await
        .unwrap();
    let bytes = std::fs::read(fresh.folder.path().join("hub.db")).unwrap();
    let holds = |text: &str| bytes.windows(text.len()).any(|it| it == text.as_bytes());
    assert!(holds("freezer-2") && !holds(mark));
}

#[tokio::test]
async fn damaged_times_are_reported_and_do_not_stop_the_pipeline() {
    let fresh = two_devices().await;
    let database = database(&fresh).await;
    let first = "stamps = (SELECT MIN(stamps) FROM series_stamps)";
    let damage = format!("UPDATE series_stamps SET body = x'8501' WHERE {first}");
    sqlx::query(sqlx::AssertSqlSafe(damage))
        .execute(&database)
        .await
        .unwrap();
    let damaged = "freezer-1";
    let range = |from| {
        let series = fresh.store.series.clone();
        async move {
            let id = device(damaged);
            series
                .range(&acme(), &id, "door", from, i64::MAX, 1_000)
                .await
        }
    };
    let error = range(0).await.unwrap_err();
    assert!(
        !error.retryable() && error.to_string().contains("series stamps"),
        "{error}"
    );
    // What does not refer to them can be read.
    let rest = range(sample(damaged, 16)[0].time_us).await.unwrap();
    assert_eq!(rest, expected(damaged, "door", 16..64));

    // Late points that belong into a chunk that does: it is moved aside, with the times.
    let late = |n: i64| {
        let mut point = sample(damaged, 2)[2].clone();
        point.time_us += n;
        point
    };
    commit(&fresh.store, 65, (1..=16).map(late).collect()).await;
    assert_eq!(range(0).await.unwrap().len(), 16 + 48);
    let aside = "SELECT COUNT(*) FROM series_damaged WHERE stamps = x'8501'";
    assert_eq!(count(&database, aside).await, 1);
}

#[tokio::test]
async fn a_file_with_pages_of_another_size_stays_as_it_is_until_it_is_copied() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hub.db");
    let url = format!("sqlite://{}?mode=rwc", file.display());
    let old = SqlitePool::connect(&url).await.unwrap();
    for statement in ["PRAGMA page_size = 4096", "CREATE TABLE old (n BIGINT)"] {
        sqlx::query(statement).execute(&old).await.unwrap();
    }
    old.close().await;
    let store = sqlite::open_with(&file, small()).await.unwrap();
    for n in 0..32 {
        let points = sample("freezer-1", n);
        commit(&store.store(), n.unsigned_abs() + 1, points).await;
    }
    let copy = folder.path().join("copy.db");
    assert_eq!(sqlite::copy(&file, &copy).await.unwrap().position, 32);
    let copied = sqlite::open_with(&copy, small()).await.unwrap();
    for store in [&store, &copied] {
        let door = expected("freezer-1", "door", 0..32);
        assert_eq!(all(&store.store(), "freezer-1", "door").await, door);
    }
    copied.close().await;
    let page = |path: &std::path::Path| {
        let header = std::fs::read(path).unwrap();
        u16::from_be_bytes([header[16], header[17]])
    };
    assert_eq!((page(&file), page(&copy)), (4_096, 2_048));
}
