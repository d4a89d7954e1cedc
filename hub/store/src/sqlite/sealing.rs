//! The series part of a commit: naming series, the tail row, sealing.

use std::collections::{BTreeMap, HashMap, HashSet};

use sqlx::{Row as _, SqliteConnection};
use stencil_protocol::id::TenantId;
use stencil_protocol::sample::OwnedValue;

use super::bulk::Bulk;
use super::row::Columns as _;
use super::state::Turn;
use super::{Options, Sqlite};
use crate::series::chunk;
use crate::series::head::{Change, Heads, Key, Known};
use crate::series::seal::{self, Span};
use crate::series::tail::{self, Group};
use crate::{Error, Point, SeriesPoint};

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
    points: &[Point],
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
    let new: HashMap<i64, &Group> = change
        .groups
        .iter()
        .map(|group| (group.series, group))
        .collect();
    for series in &change.sealed {
        let head = turn.look(|heads| heads.with(*series, new.get(series).copied()))?;
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
    let head = turn.look(|heads| heads.with(series, None))?;
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

/// Sorts points by series. Of two points of one time the later one stays. Series
/// that are new, or whose unit changed, are added to `known`.
async fn group(
    connection: &mut SqliteConnection,
    turn: &Turn<'_>,
    points: &[Point],
    known: &mut Vec<(Key, Known)>,
    newest_series: &mut i64,
) -> Result<Vec<Group>, Error> {
    struct Collected<'a> {
        points: BTreeMap<i64, &'a OwnedValue>,
        unit: Option<&'a str>,
    }
    let mut by_key: HashMap<(&str, &str, &str), Collected<'_>> = HashMap::new();
    let mut order = Vec::new();
    for point in points {
        let key = (
            point.tenant.as_str(),
            point.device.as_str(),
            point.name.as_str(),
        );
        let collected = by_key.entry(key).or_insert_with(|| {
            order.push(point);
            Collected {
                points: BTreeMap::new(),
                unit: None,
            }
        });
        collected.points.insert(point.time_us, &point.value);
        collected.unit = point.unit.as_deref().or(collected.unit);
    }
    let mut groups = Vec::with_capacity(order.len());
    for first in order {
        let key = Key {
            tenant: first.tenant.clone(),
            device: first.device.clone(),
            name: first.name.clone(),
        };
        let Some(collected) = by_key.remove(&(
            first.tenant.as_str(),
            first.device.as_str(),
            first.name.as_str(),
        )) else {
            continue;
        };
        let stored = match turn.look(|heads| heads.known(&key).cloned())? {
            Some(stored) => Some(stored),
            None => find(connection, &key).await?,
        };
        let series = match stored {
            Some(stored) => {
                if let Some(unit) = collected.unit.filter(|u| stored.unit.as_deref() != Some(u)) {
                    let unit = Some(unit.to_owned());
                    known.push((
                        key,
                        Known {
                            series: stored.series,
                            unit,
                        },
                    ));
                } else if turn.look(|heads| heads.known(&key).is_none())? {
                    known.push((key, stored.clone()));
                }
                stored.series
            }
            None => {
                *newest_series += 1;
                let unit = collected.unit.map(ToOwned::to_owned);
                known.push((
                    key,
                    Known {
                        series: *newest_series,
                        unit,
                    },
                ));
                *newest_series
            }
        };
        let points = collected
            .points
            .into_iter()
            .map(|(time_us, value)| SeriesPoint {
                time_us,
                value: value.clone(),
            })
            .collect();
        groups.push(Group { series, points });
    }
    Ok(groups)
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
