//! The series part of a commit: naming series, the tail row, sealing.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use sqlx::SqliteConnection;
use stencil_protocol::id::TenantId;

use super::bulk::Bulk;
use super::due::due;
use super::row::Columns as _;
use super::state::Turn;
use super::{Options, Sqlite, chunks};
use crate::series::head::Change;
use crate::series::names::{Key, Known, Owner};
use crate::series::seal::place;
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

    change.sealed = turn.look(|heads| due(heads, &change.groups, &change.known, options))?;
    let by_owner = by_owner(turn, &change)?;
    let mut new: HashMap<i64, &mut Group> = change
        .groups
        .iter_mut()
        .map(|group| (group.series, group))
        .collect();
    for series in by_owner {
        let mut sealed = Vec::with_capacity(series.len());
        for series in series {
            let new = new.get_mut(&series);
            let new = new.map(|group| std::mem::take(&mut group.points));
            let head = turn.look(|heads| heads.with(series, new.unwrap_or_default()))?;
            sealed.push((series, head));
        }
        seal(connection, sealed, tail_number, options).await?;
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
    seal(connection, vec![(series, head)], tail, options).await?;
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

/// Seals heads of series of one device up to and including this tail row.
async fn seal(
    connection: &mut SqliteConnection,
    heads: Vec<(i64, Vec<SeriesPoint>)>,
    tail: i64,
    options: &Options,
) -> Result<(), Error> {
    let sealed: Vec<i64> = heads.iter().map(|(series, _)| *series).collect();
    chunks::seal(connection, heads, options.chunk_points).await?;
    for series in sealed {
        sqlx::query("UPDATE series SET sealed_through = $1 WHERE series = $2")
            .bind(tail)
            .bind(series)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// The series that a commit seals, a list for each device, in the order in which they came.
fn by_owner(turn: &Turn<'_>, change: &Change) -> Result<Vec<Vec<i64>>, Error> {
    let mut found: Vec<Vec<i64>> = Vec::new();
    let mut places: HashMap<Owner, usize> = HashMap::new();
    let new = change.known.iter().map(|(key, known)| (known.series, key));
    let new: HashMap<i64, &Key> = new.collect();
    for series in &change.sealed {
        let known = turn.look(|heads| heads.names().owner(*series))?;
        let owner = known
            .map(|owner| (*owner).clone())
            .or_else(|| new.get(series).map(|key| key.owner()))
            .ok_or_else(|| Error::Database(format!("series {series} has no name")))?;
        let place = *places.entry(owner).or_insert(found.len());
        match found.get_mut(place) {
            Some(of_device) => of_device.push(*series),
            None => found.push(vec![*series]),
        }
    }
    Ok(found)
}

/// Puts together what belongs to one series. Series that are new, or whose unit changed, are added to `known`.
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
        let at_hand = turn.look(|heads| heads.names().get(&key).cloned())?;
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

/// The points of one series strictly by time.
fn by_time(parts: &[&SeriesPoints]) -> Vec<SeriesPoint> {
    let mut points = Vec::with_capacity(parts.iter().map(|part| part.points.len()).sum());
    for part in parts {
        points.extend_from_slice(&part.points);
    }
    if !points.is_sorted_by(|a: &SeriesPoint, b| a.time_us < b.time_us) {
        points.sort_by_key(|point| point.time_us);
        points = place(points);
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
