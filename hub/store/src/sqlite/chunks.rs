//! Writing chunks: the points of heads put among those of their series.

use std::collections::HashMap;

use sqlx::SqliteConnection;

use super::row::Columns as _;
use super::series::chunk_of;
use crate::series::seal::{self, Span};
use crate::series::{chunk, stamps};
use crate::{Error, SeriesPoint};

/// How many points are put together at most because some made way for others.
const MAX_TOGETHER: usize = 16_384;

/// What becomes a chunk.
struct Piece {
    series: i64,
    /// Strictly by time; at least one.
    points: Vec<SeriesPoint>,
    /// The times kept for several series that it refers to, if it does.
    stamps: Option<i64>,
    body: Vec<u8>,
}

/// Puts the points of heads, all of series of one device, among the chunks of their series. What
/// has times in common keeps them once.
pub(super) async fn seal(
    connection: &mut SqliteConnection,
    heads: Vec<(i64, Vec<SeriesPoint>)>,
    chunk_points: usize,
) -> Result<(), Error> {
    let mut pieces = Vec::with_capacity(heads.len());
    for (series, head) in heads {
        for points in arrange(connection, series, head, chunk_points).await? {
            pieces.extend(
                seal::cut(&points, chunk_points)
                    .filter(|points| !points.is_empty())
                    .map(|points| Piece {
                        series,
                        points: points.to_vec(),
                        stamps: None,
                        body: Vec::new(),
                    }),
            );
        }
    }
    encode(connection, &mut pieces).await?;
    for piece in pieces {
        write(connection, piece).await?;
    }
    Ok(())
}

/// Runs of points that become chunks of the series: those of the head, with those of stored chunks
/// into which some of them go, which are removed.
async fn arrange(
    connection: &mut SqliteConnection,
    series: i64,
    head: Vec<SeriesPoint>,
    chunk_points: usize,
) -> Result<Vec<Vec<SeriesPoint>>, Error> {
    let (Some(first), Some(last)) = (head.first(), head.last()) else {
        return Ok(Vec::new());
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
    let mut runs = Vec::with_capacity(plan.merge.len() + plan.fresh.len());
    let mut has_grown = false;
    let last = |points: &[SeriesPoint]| points.last().map(|point| point.time_us);
    for (from_us, new) in plan.merge {
        let old = take(connection, series, from_us).await?;
        let until = last(&old).max(last(&new));
        let run = seal::merge(old, new);
        has_grown |= last(&run) > until;
        runs.push(run);
    }
    runs.extend(plan.fresh);
    match has_grown {
        true => part(connection, series, runs).await,
        false => Ok(runs),
    }
}

/// Points that made way for others of their time may have reached the next run or the next chunk: what
/// touches becomes one. A device whose clock stands still would have ever more of it put together anew:
/// what goes on behind [`MAX_TOGETHER`] of them is let go, and the log says so.
async fn part(
    connection: &mut SqliteConnection,
    series: i64,
    mut runs: Vec<Vec<SeriesPoint>>,
) -> Result<Vec<Vec<SeriesPoint>>, Error> {
    runs.retain(|run| !run.is_empty());
    runs.sort_by_key(|run| run.first().map(|point| point.time_us));
    let mut runs = runs.into_iter().peekable();
    let mut parted = Vec::new();
    while let Some(mut run) = runs.next() {
        while let (Some(first), Some(last)) = (run.first(), run.last()) {
            let (first_us, last_us) = (first.time_us, last.time_us);
            let touches =
                |next: &Vec<SeriesPoint>| next.first().is_some_and(|it| it.time_us <= last_us);
            if let Some(next) = runs.next_if(touches) {
                run = seal::merge(run, next);
                continue;
            }
            let row = sqlx::query(
                "SELECT MIN(from_us) AS next FROM series_chunks \
                 WHERE series = $1 AND from_us >= $2 AND from_us <= $3",
            )
            .bind(series)
            .bind(first_us)
            .bind(last_us)
            .fetch_one(&mut *connection)
            .await?;
            let Some(next) = row.maybe_int("next")? else {
                break;
            };
            if run.len() >= MAX_TOGETHER {
                let before = run.len();
                run.retain(|point| point.time_us < next);
                let points = before - run.len();
                tracing::error!(
                    series,
                    points,
                    at_us = next,
                    "points are dropped: so many have one \
                    time that they make way for each other without an end; is the device's clock \
                    standing still?"
                );
                break;
            }
            run = seal::merge(run, take(connection, series, next).await?);
        }
        parted.push(run);
    }
    Ok(parted)
}

/// Reads and removes a chunk. One that cannot be read is moved aside, with the times that it
/// refers to.
async fn take(
    connection: &mut SqliteConnection,
    series: i64,
    from_us: i64,
) -> Result<Vec<SeriesPoint>, Error> {
    let row = sqlx::query(
        "SELECT c.body, s.body AS stamps FROM series_chunks c \
         LEFT JOIN series_stamps s ON s.stamps = c.stamps \
         WHERE c.series = $1 AND c.from_us = $2",
    )
    .bind(series)
    .bind(from_us)
    .fetch_one(&mut *connection)
    .await?;
    let points = match chunk_of(&row) {
        Ok(points) => points,
        Err(error) => {
            tracing::error!(series, from_us, %error, "a chunk is damaged and is moved aside");
            sqlx::query(
                "INSERT INTO series_damaged (series, from_us, to_us, points, body, stamps) \
                 SELECT c.series, c.from_us, c.to_us, c.points, c.body, s.body \
                 FROM series_chunks c LEFT JOIN series_stamps s ON s.stamps = c.stamps \
                 WHERE c.series = $1 AND c.from_us = $2",
            )
            .bind(series)
            .bind(from_us)
            .execute(&mut *connection)
            .await?;
            Vec::new()
        }
    };
    // The times in common go with the last chunk that refers to them (`series_stamps_freed`).
    sqlx::query("DELETE FROM series_chunks WHERE series = $1 AND from_us = $2")
        .bind(series)
        .bind(from_us)
        .execute(connection)
        .await?;
    Ok(points)
}

/// Encodes pieces; what they have in common is stored.
async fn encode(connection: &mut SqliteConnection, pieces: &mut [Piece]) -> Result<(), Error> {
    let times: Vec<Vec<i64>> = pieces
        .iter()
        .map(|piece| piece.points.iter().map(|point| point.time_us).collect())
        .collect();
    let mut refers: HashMap<usize, (i64, usize)> = HashMap::new();
    let commons = stamps::in_common(&times);
    for (index, common) in commons.iter().enumerate() {
        let stored = sqlx::query("INSERT INTO series_stamps (body) VALUES ($1) RETURNING stamps")
            .bind(stamps::encode(&common.times)?)
            .fetch_one(&mut *connection)
            .await?
            .int("stamps")?;
        refers.extend(common.pieces.iter().map(|piece| (*piece, (stored, index))));
    }
    for (index, piece) in pieces.iter_mut().enumerate() {
        let common = refers
            .get(&index)
            .and_then(|(stored, of)| Some((*stored, commons.get(*of)?)));
        if let Some((stored, common)) = common {
            piece.stamps = Some(stored);
            piece.body = chunk::encode_in(&piece.points, &common.times)?;
        } else {
            piece.body = chunk::encode(&piece.points)?;
        }
    }
    Ok(())
}

async fn write(connection: &mut SqliteConnection, piece: Piece) -> Result<(), Error> {
    let (Some(first), Some(last)) = (piece.points.first(), piece.points.last()) else {
        return Ok(());
    };
    sqlx::query(
        "INSERT INTO series_chunks (series, from_us, to_us, points, body, stamps) \
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(piece.series)
    .bind(first.time_us)
    .bind(last.time_us)
    .bind(i64::try_from(piece.points.len()).unwrap_or(i64::MAX))
    .bind(piece.body)
    .bind(piece.stamps)
    .execute(connection)
    .await?;
    Ok(())
}
