//! A series as a file.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use stencil_protocol::id::{DeviceId, TenantId};
use stencil_protocol::sample::OwnedValue;
use stencil_store::{Commit, Error, Point, Series, SeriesName, SeriesPoint};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Limits, NOW_US, Served, seed};
use crate::ExportOptions;

const PATH: &str = "/api/v1/devices/freezer-marked/series/temperature/csv";

/// The body of an answer in chunks (RFC 9112, 7.1), if it came to its end.
fn whole(mut body: &str) -> Option<String> {
    let mut whole = String::new();
    loop {
        let (length, rest) = body.split_once("\r\n")?;
        let length = usize::from_str_radix(length, 16).ok()?;
        if length == 0 {
            return Some(whole);
        }
        whole.push_str(rest.get(..length)?);
        body = rest.get(length..)?.strip_prefix("\r\n")?;
    }
}

#[tokio::test]
async fn each_point_is_a_row() {
    let served = Served::start().await;
    let answer = served.read(PATH).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        answer.header("content-type"),
        Some("text/csv; charset=utf-8; header=present")
    );
    let name = "attachment; filename=\"freezer-marked-temperature.csv\"";
    assert_eq!(answer.header("content-disposition"), Some(name));
    let text = whole(&answer.body).unwrap();
    let rows: Vec<&str> = text.split_terminator("\r\n").collect();
    assert_eq!(rows.len(), 121);
    assert_eq!(rows[0], "time,time_us,value");
    assert_eq!(
        rows[1],
        "2023-11-14T22:11:21.000000Z,1699999881000000,-20.0"
    );
    assert_eq!(
        rows[120],
        "2023-11-14T22:13:20.000000Z,1700000000000000,-8.1"
    );
    let json = served.read(PATH.strip_suffix("/csv").unwrap()).await.ok();
    for (row, point) in rows[1..].iter().zip(json["items"].as_array().unwrap()) {
        let end = format!(",{},{}", point["time_us"], point["value"]);
        assert!(row.ends_with(&end), "{row} {point}");
    }
    let part = format!("{PATH}?from_us={}&to_us={NOW_US}", NOW_US - 2_000_000);
    let part = whole(&served.read(&part).await.body).unwrap();
    assert_eq!(part.lines().count(), 3);
    let none = format!("{PATH}?from_us=5&to_us=5");
    assert_eq!(
        whole(&served.read(&none).await.body).unwrap(),
        "time,time_us,value\r\n"
    );
    let note = "/api/v1/devices/freezer-marked/series/note/csv";
    let note = whole(&served.read(note).await.body).unwrap();
    assert!(note.ends_with(",\"<b>marked</b>\"\r\n"), "{note}");
    let head = served
        .ask("HEAD", PATH)
        .bearer(&served.tokens.reader)
        .send()
        .await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let served = Served::start().await;
    for (path, status, text) in [
        (
            "/api/v1/devices/freezer-08/series/t/csv",
            404,
            "no device `freezer-08`",
        ),
        (
            "/api/v1/devices/freezer-marked/series/pressure/csv",
            404,
            "no series `pressure`",
        ),
        (
            "/api/v1/devices/freezer-marked/series/temperature/csv?from_us=2&to_us=1",
            400,
            "is after",
        ),
        (
            "/api/v1/devices/freezer-marked/series/temperature/csv?limit=2",
            400,
            "unknown field `limit`",
        ),
    ] {
        let detail = served.read(path).await.problem(status);
        assert!(detail.contains(text), "{path}: {detail}");
    }
}

/// 60 pages of points with texts as long as may be: more than sockets take by themselves.
async fn long(served: &Served) {
    let point = |n: i64| Point {
        tenant: seed::acme(),
        device: seed::freezer(),
        name: "long".to_owned(),
        time_us: n,
        value: OwnedValue::Text(format!("{n}-{}", "x".repeat(240))),
        unit: None,
    };
    for part in 0..12_u64 {
        let first = i64::try_from(part).unwrap() * 5_000;
        let points = (first..first + 5_000).map(point).collect();
        let commit = Commit {
            position: 20 + part,
            points,
            ..Commit::default()
        };
        served.store.pipeline.commit(commit).await.unwrap();
    }
}

/// Series that count their reads.
struct Counted {
    inner: Arc<dyn Series>,
    reads: Arc<AtomicUsize>,
}

#[async_trait]
impl Series for Counted {
    async fn range(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        name: &str,
        from_us: i64,
        to_us: i64,
        limit: u32,
    ) -> Result<Vec<SeriesPoint>, Error> {
        assert!(limit <= 1_000, "a page is bounded");
        self.reads.fetch_add(1, Ordering::SeqCst);
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
async fn it_is_read_as_it_is_taken_and_no_more_when_the_client_is_gone() {
    let reads = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&reads);
    let served = Served::start_changed(Limits::default(), |mut state| {
        let inner = Arc::clone(&state.store.series);
        state.store.series = Arc::new(Counted {
            inner,
            reads: counted,
        });
        state.exporting(&ExportOptions { max_running: 1 })
    })
    .await;
    long(&served).await;
    let path = "/api/v1/devices/freezer-marked/series/long/csv";
    let answer = served.read(path).await;
    assert_eq!(answer.status, 200, "{}", answer.head);
    let text = whole(&answer.body).expect("the whole of it");
    assert_eq!(text.split_terminator("\r\n").count(), 60_001);
    // One more than the pages: the last is full.
    assert_eq!(reads.swap(0, Ordering::SeqCst), 61);

    // A client that takes nothing: what sockets hold is read, and not the rest.
    let ask = served.get(path).bearer(&served.tokens.reader);
    let mut first = ask.open().await;
    let mut bytes = [0; 15];
    first.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"HTTP/1.1 200 OK");
    // There is room for one.
    let refused = served.read(PATH).await;
    assert!(refused.problem(429).contains("exports"), "{refused:?}");
    first.shutdown().await.unwrap();
    drop(first);
    // Its room is free as soon as the hub knows.
    let mut answer = served.read(PATH).await;
    for _ in 0..1_000 {
        if answer.status == 200 {
            break;
        }
        answer = served.read(PATH).await;
    }
    assert_eq!(answer.status, 200, "{answer:?}");
    // The one read for that answer, and of the long series not all.
    assert!(reads.load(Ordering::SeqCst) < 1 + 61, "{reads:?}");
}
