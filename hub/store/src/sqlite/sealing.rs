//! The series part of a commit: naming series, the tail row, sealing.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use sqlx::{Row as _, SqliteConnection};
use stencil_protocol::id::TenantId;

use super::bulk::Bulk;
use super::row::Columns as _;
use super::state::Turn;
use super::{Options, Sqlite};
use crate::series::chunk;
use crate::series::head::{Change, Heads, Key, Known};
use crate::series::seal::{self, Span};
use crate::series::tail::{self, Group};
use crate::{Error, Points, SeriesPoint, SeriesPoints};

static NEW_SERIES: Bulk = Bulk::new(
    "INSERT INTO series (series, tenant, device, name, unit, sealed_through)",
    6,
    "ON CONFLICT (series) DO UPDATE SET unit = excluded.unit",
);

/// Stores the points of a commit as its tail row, and seals what is full or
/// overdue. The heads are left alone: the answer says how to change them.
pub(super) async fn store(
    connection: &mut SqliteConnection,
    turn: &Turn<'_>,
    options: &Options,
    points: &Points,
) -> Result<Change, Error> {
    let (tail_number, newest_series) =
        turn.look(|heads| (heads.tail() + 1, heads.newest_series()))?;
    let mut change = Change {
        tail: tail_number,
        newest_series,
        ..Change::default()
    };
    change.groups = group(
        connection,
        turn,
        points,
        &mut change.known,
        &mut change.newest_series,
    )
    .await?;
    NEW_SERIES
        .execute(connection, &change.known, |query, (key, known)| {
            query
                .bind(known.series)
                .bind(key.tenant.as_str().to_owned())
                .bind(key.device.as_str().to_owned())
                .bind(key.name.clone())
                .bind(known.unit.clone())
                .bind(0_i64)
        })
        .await?;

    change.sealed = turn.look(|heads| due(heads, &change.groups, options))?;
    let mut new: HashMap<i64, &mut Group> = change
        .groups
        .iter_mut()
        .map(|group| (group.series, group))
        .collect();
    for series in &change.sealed {
        let new = new.get_mut(series);
        let new = new.map(|group| std::mem::take(&mut group.points));
        let head = turn.look(|heads| heads.with(*series, new.unwrap_or_default()))?;
        seal_head(connection, *series, head, options.chunk_points).await?;
        sqlx::query("UPDATE series SET sealed_through = $1 WHERE series = $2")
            .bind(tail_number)
            .bind(*series)
            .execute(&mut *connection)
            .await?;
    }
    for (first, last) in turn.look(|heads| heads.freed_by(&change.sealed))? {
        sqlx::query("DELETE FROM series_tail WHERE tail >= $1 AND tail <= $2")
            .bind(first)
            .bind(last)
            .execute(&mut *connection)
            .await?;
    }

    let sealed: HashSet<i64> = change.sealed.iter().copied().collect();
    let unsealed: Vec<&Group> = change
        .groups
        .iter()
        .filter(|group| !sealed.contains(&group.series))
        .collect();
    if !unsealed.is_empty() {
        sqlx::query("INSERT INTO series_tail (tail, body) VALUES ($1, $2)")
            .bind(tail_number)
            .bind(tail::encode(unsealed.into_iter()))
            .execute(&mut *connection)
            .await?;
    }
    Ok(change)
}

/// Seals series of a tenant of which an unsealed point is older than `before_us`, one a
/// transaction and at most `limit` of them.
pub(super) async fn seal_older(
    store: &Sqlite,
    tenant: &TenantId,
    before_us: i64,
    limit: u32,
) -> Result<(), Error> {
    for _ in 0..limit {
        let turn = store.turn().await?;
        let Some(series) = turn.look(|heads| heads.older(tenant, before_us, 1))?.pop() else {
            break;
        };
        let mut transaction = store.write().await?;
        let sealed = seal_one(&mut transaction, &turn, series, store.options()).await;
        let doubt = sealed.is_ok().then(|| turn.doubt());
        let change = transaction.end(sealed).await?;
        if let Some(doubt) = doubt {
            doubt.settle(change, usize::MAX);
        }
    }
    Ok(())
}

async fn seal_one(
    connection: &mut SqliteConnection,
    turn: &Turn<'_>,
    series: i64,
    options: &Options,
) -> Result<Change, Error> {
    let (tail, newest_series) = turn.look(|heads| (heads.tail(), heads.newest_series()))?;
    let head = turn.look(|heads| heads.with(series, Vec::new()))?;
    seal_head(connection, series, head, options.chunk_points).await?;
    sqlx::query("UPDATE series SET sealed_through = $1 WHERE series = $2")
        .bind(tail)
        .bind(series)
        .execute(&mut *connection)
        .await?;
    for (first, last) in turn.look(|heads| heads.freed_by(&[series]))? {
        sqlx::query("DELETE FROM series_tail WHERE tail >= $1 AND tail <= $2")
            .bind(first)
            .bind(last)
            .execute(&mut *connection)
            .await?;
    }
    Ok(Change {
        sealed: vec![series],
        tail,
        newest_series,
        ..Change::default()
    })
}

/// The series to seal: those that hold old tail rows or are full, as many as a
/// commit may seal; and without that limit what is beyond twice a bound: then the
/// commit takes long, which holds the pipeline back.
fn due(heads: &Heads, groups: &[Group], options: &Options) -> Vec<i64> {
    let (tails, points) = (options.max_tail_rows, options.max_unsealed_points);
    let max = options.max_seals_per_commit;
    let mut due = heads.overdue(tails, points, max);
    if heads.tails() > 2 * tails || heads.points() > 2 * points {
        due = heads.overdue(2 * tails, 2 * points, usize::MAX);
    }
    let mut chosen: HashSet<i64> = due.iter().copied().collect();
    for group in groups {
        let points = heads.len_of(group.series) + group.points.len();
        let full = points >= options.chunk_points && due.len() < max;
        if (full || points >= 2 * options.chunk_points) && chosen.insert(group.series) {
            due.push(group.series);
        }
    }
    due
}

/// Puts together what belongs to one series. Of two points of one time the later one stays. Series
/// that are new, or whose unit changed, are added to `known`.
async fn group(
    connection: &mut SqliteConnection,
    turn: &Turn<'_>,
    points: &Points,
    known: &mut Vec<(Key, Known)>,
    newest_series: &mut i64,
) -> Result<Vec<Group>, Error> {
    let mut groups = Vec::with_capacity(points.series().len());
    for parts in by_series(points) {
        let Some(first) = parts.first() else {
            continue;
        };
        let key = Key {
            tenant: first.tenant.clone(),
            device: first.device.clone(),
            name: first.name.clone(),
        };
        let unit = parts.iter().rev().find_map(|part| part.unit.as_deref());
        let at_hand = turn.look(|heads| heads.known(&key).cloned())?;
        let is_known = at_hand.is_some();
        let stored = match at_hand {
            Some(stored) => Some(stored),
            None => find(connection, &key).await?,
        };
        let series = match stored {
            Some(stored) => {
                let series = stored.series;
                if let Some(unit) = unit.filter(|unit| stored.unit.as_deref() != Some(unit)) {
                    let unit = Some(unit.to_owned());
                    known.push((key, Known { series, unit }));
                } else if !is_known {
                    known.push((key, stored));
                }
                series
            }
            None => {
                *newest_series += 1;
                let (series, unit) = (*newest_series, unit.map(ToOwned::to_owned));
                known.push((key, Known { series, unit }));
                series
            }
        };
        let points = by_time(&parts);
        groups.push(Group { series, points });
    }
    Ok(groups)
}

/// The parts of each series, in the order in which the series came first.
fn by_series(points: &Points) -> Vec<Vec<&SeriesPoints>> {
    let mut places: HashMap<_, usize> = HashMap::with_capacity(points.series().len());
    let mut found: Vec<Vec<&SeriesPoints>> = Vec::with_capacity(points.series().len());
    for part in points.series().iter().filter(|it| !it.points.is_empty()) {
        let key = (&part.tenant, &part.device, part.name.as_str());
        match places.entry(key) {
            Entry::Occupied(place) => found[*place.get()].push(part),
            Entry::Vacant(place) => {
                place.insert(found.len());
                found.push(vec![part]);
            }
        }
    }
    found
}

/// The points of one series strictly by time; of two of one time the one that arrived later.
fn by_time(parts: &[&SeriesPoints]) -> Vec<SeriesPoint> {
    let mut points = Vec::with_capacity(parts.iter().map(|part| part.points.len()).sum());
    for part in parts {
        points.extend_from_slice(&part.points);
    }
    if !points.is_sorted_by(|a: &SeriesPoint, b| a.time_us < b.time_us) {
        // Backwards, so that of equal ones the later comes first and stays.
        points.reverse();
        points.sort_by_key(|point| point.time_us);
        points.dedup_by_key(|point| point.time_us);
    }
    points
}

async fn find(connection: &mut SqliteConnection, key: &Key) -> Result<Option<Known>, Error> {
    let row = sqlx::query(
        "SELECT series, unit FROM series WHERE tenant = $1 AND device = $2 AND name = $3",
    )
    .bind(key.tenant.as_str())
    .bind(key.device.as_str())
    .bind(key.name.as_str())
    .fetch_optional(connection)
    .await?;
    row.map(|row| {
        Ok(Known {
            series: row.int("series")?,
            unit: row.maybe_text("unit")?,
        })
    })
    .transpose()
}

/// Puts the points of a head among the chunks of its series.
async fn seal_head(
    connection: &mut SqliteConnection,
    series: i64,
    head: Vec<SeriesPoint>,
    chunk_points: usize,
) -> Result<(), Error> {
    let (Some(first), Some(last)) = (head.first(), head.last()) else {
        return Ok(());
    };
    let rows = sqlx::query(
        "SELECT from_us, to_us, points FROM series_chunks WHERE series = $1 AND from_us <= $3 \
         AND from_us >= COALESCE((SELECT MAX(from_us) FROM series_chunks \
         WHERE series = $1 AND from_us <= $2), $2) ORDER BY from_us",
    )
    .bind(series)
    .bind(first.time_us)
    .bind(last.time_us)
    .fetch_all(&mut *connection)
    .await?;
    let spans = rows
        .iter()
        .map(|row| {
            Ok(Span {
                from_us: row.int("from_us")?,
                to_us: row.int("to_us")?,
                points: row.number("points")?,
            })
        })
        .collect::<Result<Vec<_>, Error>>()?;
    let plan = seal::plan(head, &spans, chunk_points);
    for (from_us, new) in plan.merge {
        let old = take_chunk(connection, series, from_us).await?;
        write_chunks(connection, series, &seal::merge(old, new), chunk_points).await?;
    }
    for fresh in plan.fresh {
        write_chunks(connection, series, &fresh, chunk_points).await?;
    }
    Ok(())
}

/// Reads and removes a chunk. One that cannot be read is moved aside.
async fn take_chunk(
    connection: &mut SqliteConnection,
    series: i64,
    from_us: i64,
) -> Result<Vec<SeriesPoint>, Error> {
    let row = sqlx::query("SELECT body FROM series_chunks WHERE series = $1 AND from_us = $2")
        .bind(series)
        .bind(from_us)
        .fetch_one(&mut *connection)
        .await?;
    let points = match chunk::decode(row.try_get("body")?) {
        Ok(points) => points,
        Err(error) => {
            tracing::error!(series, from_us, %error, "a chunk is damaged and is moved aside");
            sqlx::query(
                "INSERT INTO series_damaged (series, from_us, to_us, points, body) \
                 SELECT series, from_us, to_us, points, body FROM series_chunks \
                 WHERE series = $1 AND from_us = $2",
            )
            .bind(series)
            .bind(from_us)
            .execute(&mut *connection)
            .await?;
            Vec::new()
        }
    };
    sqlx::query("DELETE FROM series_chunks WHERE series = $1 AND from_us = $2")
        .bind(series)
        .bind(from_us)
        .execute(connection)
        .await?;
    Ok(points)
}

async fn write_chunks(
    connection: &mut SqliteConnection,
    series: i64,
    points: &[SeriesPoint],
    chunk_points: usize,
) -> Result<(), Error> {
    for piece in seal::cut(points, chunk_points) {
        let (Some(first), Some(last)) = (piece.first(), piece.last()) else {
            continue;
        };
        let count = i64::try_from(piece.len()).unwrap_or(i64::MAX);
        sqlx::query(
            "INSERT INTO series_chunks (series, from_us, to_us, points, body) \
             VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(series)
        .bind(first.time_us)
        .bind(last.time_us)
        .bind(count)
        .bind(chunk::encode(piece)?)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}
