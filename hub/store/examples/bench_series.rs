//! Stores the points of a file, and asks for ranges of them: what `cargo xtask bench series`
//! measures on this side.
//!
//! The file has lines `device,name,time_us,value` by time, with a head line. One document of JSON
//! goes to standard output.
#![allow(missing_docs, clippy::print_stdout)]

use std::collections::BTreeSet;
use std::error::Error;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use sqlx::{Connection as _, Row as _};
use stencil_protocol::id::{DeviceId, TenantId};
use stencil_protocol::sample::OwnedValue;
use stencil_store::{Commit, MAX_RANGE, Point, Points, Store, sqlite};

const HOUR_US: i64 = 3_600_000_000;
const DAYS_90_US: i64 = 90 * 24 * HOUR_US;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (needed, chunk_points) = match arguments.as_slice() {
        [needed @ .., chunk_points] if needed.len() == 5 => (needed, Some(chunk_points.parse()?)),
        needed => (needed, None),
    };
    let [file, folder, batch, short, long] = needed else {
        let usage =
            "bench_series FILE FOLDER POINTS_A_COMMIT QUERIES_1H QUERIES_90D [CHUNK_POINTS]";
        return Err(usage.into());
    };
    let mut options = sqlite::Options::default();
    if let Some(chunk_points) = chunk_points {
        options.chunk_points = chunk_points;
    }
    let points = read(Path::new(file))?;
    let database = Path::new(folder).join("series.db");
    let runtime = tokio::runtime::Runtime::new()?;
    let result = runtime.block_on(measure(
        points,
        &database,
        &options,
        batch.parse()?,
        (short.parse()?, long.parse()?),
    ))?;
    println!("{result}");
    Ok(())
}

async fn measure(
    points: Vec<Point>,
    database: &Path,
    options: &sqlite::Options,
    batch: usize,
    queries: (u32, u32),
) -> Outcome<serde_json::Value> {
    let count = points.len();
    let (from_us, to_us) = (points[0].time_us, points[count - 1].time_us);
    let series: Vec<(DeviceId, String)> = points
        .iter()
        .map(|point| (point.device.clone(), point.name.clone()))
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let tenant = points[0].tenant.clone();
    let opened = sqlite::open_with(database, options.clone()).await?;
    opened.close().await;
    let empty = size(database)?;

    let opened = sqlite::open_with(database, options.clone()).await?;
    let store = opened.store();
    let mut batches = Vec::new();
    let mut rest = points.into_iter();
    loop {
        let points: Points = rest.by_ref().take(batch).collect();
        if points.is_empty() {
            break;
        }
        batches.push(points);
    }
    let began = Instant::now();
    for (position, points) in (1..).zip(batches) {
        let commit = Commit {
            position,
            points,
            ..Commit::default()
        };
        store.pipeline.commit(commit).await?;
    }
    let took = began.elapsed();

    let mut random = 1_u64;
    let hour = ranges(
        &store,
        &tenant,
        &series,
        (from_us, to_us),
        HOUR_US,
        queries.0,
        &mut random,
    );
    let hour = hour.await?;
    let days = ranges(
        &store,
        &tenant,
        &series,
        (from_us, to_us),
        DAYS_90_US,
        queries.1,
        &mut random,
    );
    let days = days.await?;
    drop(store);
    opened.close().await;
    let bytes = size(database)? - empty;
    let (chunks, sealed) = sealed(database).await?;
    #[expect(clippy::cast_precision_loss, reason = "figures")]
    let result = json!({
        "points": count,
        "series": series.len(),
        "chunk_points": options.chunk_points,
        "bytes_per_point": bytes as f64 / count as f64,
        "chunk_bytes_per_point": chunks as f64 / sealed as f64,
        "unsealed_points": count as i64 - sealed,
        "points_per_s": count as f64 / took.as_secs_f64(),
        "range_1h": hour,
        "range_90d": days,
    });
    Ok(result)
}

/// Asks for `count` ranges of this length, of series and at times drawn by chance.
async fn ranges(
    store: &Store,
    tenant: &TenantId,
    series: &[(DeviceId, String)],
    (from_us, to_us): (i64, i64),
    length_us: i64,
    count: u32,
    random: &mut u64,
) -> Outcome<serde_json::Value> {
    let mut spent = Vec::new();
    let mut points = 0_usize;
    for _ in 0..count {
        let nth = usize::try_from(draw(random, series.len() as u64)?)?;
        let (device, name) = &series[nth];
        let room = u64::try_from((to_us - from_us - length_us).max(1))?;
        let mut at = from_us + i64::try_from(draw(random, room)?)?;
        let end = at + length_us;
        let began = Instant::now();
        loop {
            let some = store
                .series
                .range(tenant, device, name, at, end, MAX_RANGE)
                .await?;
            points += some.len();
            match some.last() {
                Some(last) if some.len() == MAX_RANGE as usize => at = last.time_us + 1,
                _ => break,
            }
        }
        spent.push(began.elapsed());
    }
    spent.sort_unstable();
    let at = |share: usize| {
        let index = (spent.len() * share / 100).min(spent.len().saturating_sub(1));
        spent.get(index).map_or(0, Duration::as_micros)
    };
    Ok(json!({
        "p50_us": u64::try_from(at(50))?,
        "p99_us": u64::try_from(at(99))?,
        "queries": count,
        "points_a_query": points as u64 / u64::from(count.max(1)),
    }))
}

/// A number below `bound` (Knuth's MMIX generator).
fn draw(random: &mut u64, bound: u64) -> Outcome<u64> {
    *random = random
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*random >> 16)
        .checked_rem(bound)
        .ok_or_else(|| "nothing to draw from".into())
}

fn read(file: &Path) -> Outcome<Vec<Point>> {
    let tenant = TenantId::parse("bench")?;
    let mut points = Vec::new();
    for line in BufReader::new(std::fs::File::open(file)?).lines().skip(1) {
        let line = line?;
        let fields: Vec<&str> = line.split(',').collect();
        let [device, name, time_us, value] = fields.as_slice() else {
            return Err(format!("not device,name,time_us,value: {line}").into());
        };
        points.push(Point {
            tenant: tenant.clone(),
            device: DeviceId::parse(device)?,
            name: (*name).to_owned(),
            time_us: time_us.parse()?,
            value: match *value {
                "true" => OwnedValue::Bool(true),
                "false" => OwnedValue::Bool(false),
                number => OwnedValue::Number(number.parse()?),
            },
            unit: None,
        });
    }
    if points.is_empty() {
        return Err("no points".into());
    }
    Ok(points)
}

/// Bytes of the database's files.
fn size(database: &Path) -> Outcome<u64> {
    let wal = database.with_extension("db-wal");
    let log = wal.metadata().map_or(0, |it| it.len());
    Ok(database.metadata()?.len() + log)
}

/// Bytes and points of all sealed chunks, with the times that they refer to.
async fn sealed(database: &Path) -> Outcome<(i64, i64)> {
    let url = format!("sqlite://{}", database.display());
    let mut connection = sqlx::SqliteConnection::connect(&url).await?;
    let sums = "SELECT COALESCE(SUM(LENGTH(body)), 0) \
                + (SELECT COALESCE(SUM(LENGTH(body)), 0) FROM series_stamps), \
                COALESCE(SUM(points), 0) FROM series_chunks";
    let row = sqlx::query(sums).fetch_one(&mut connection).await?;
    let sums = (row.try_get(0)?, row.try_get(1)?);
    connection.close().await?;
    Ok(sums)
}
