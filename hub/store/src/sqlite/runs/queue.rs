//! Whose turn it is: which of the runs that are due are claimed.

use std::collections::VecDeque;

use sqlx::SqliteConnection;
use stencil_protocol::id::TenantId;

use crate::sqlite::row::Columns as _;
use crate::{Error, MAX_PAGE, Room};

/// The longest due of a tenant's runs, by index: one look at each tenant that
/// has runs which have not ended, however many they are.
const HEADS: &str = "WITH RECURSIVE open (tenant) AS (\
     SELECT MIN(tenant) FROM runs WHERE due_us IS NOT NULL \
     UNION ALL \
     SELECT (SELECT MIN(tenant) FROM runs WHERE due_us IS NOT NULL AND tenant > open.tenant) \
     FROM open WHERE open.tenant IS NOT NULL) \
     SELECT tenant, \
     (SELECT due_us FROM runs WHERE runs.tenant = open.tenant AND due_us IS NOT NULL \
     ORDER BY due_us, at_us LIMIT 1) AS due_us, \
     (SELECT at_us FROM runs WHERE runs.tenant = open.tenant AND due_us IS NOT NULL \
     ORDER BY due_us, at_us LIMIT 1) AS at_us \
     FROM open WHERE tenant IS NOT NULL";

/// When a run is due, and of what time its event is.
type Due = (i64, i64);

/// A tenant's runs that are due.
struct Queue {
    tenant: TenantId,
    /// How many of its runs are worked on, or chosen.
    busy: u32,
    /// How many more may be.
    free: u32,
    runs: VecDeque<(Due, Vec<u8>)>,
}

/// The runs that are due and for which there is room: the next one is always of
/// the tenant that has the fewest, of those the one that is due for longest.
pub(super) async fn next(
    connection: &mut SqliteConnection,
    now_us: i64,
    room: &Room,
) -> Result<Vec<(TenantId, Vec<u8>)>, Error> {
    let most = usize::try_from(room.runs.min(MAX_PAGE)).unwrap_or(usize::MAX);
    let mut heads = heads(connection).await?;
    heads.retain(|(tenant, (due_us, _))| *due_us <= now_us && room.of(tenant) > 0);
    heads.sort_by_key(|(tenant, due)| (room.busy(tenant), *due));
    // A tenant beyond these would have its turn after each of them had one.
    heads.truncate(most);
    let mut queues = Vec::with_capacity(heads.len());
    for (tenant, _) in heads {
        let (busy, free) = (room.busy(&tenant), room.of(&tenant).min(MAX_PAGE));
        let runs = due(connection, &tenant, now_us, free).await?;
        queues.push(Queue {
            tenant,
            busy,
            free,
            runs,
        });
    }
    let mut chosen = Vec::new();
    while chosen.len() < most {
        let waiting = queues.iter_mut().filter(|queue| queue.free > 0);
        let turn = waiting
            .filter_map(|queue| Some(((queue.busy, queue.runs.front()?.0), queue)))
            .min_by_key(|(turn, _)| *turn);
        let Some((_, queue)) = turn else { break };
        queue.busy = queue.busy.saturating_add(1);
        queue.free -= 1;
        if let Some((_, run)) = queue.runs.pop_front() {
            chosen.push((queue.tenant.clone(), run));
        }
    }
    Ok(chosen)
}

/// When the next run of a tenant is due that is not among `without`.
pub(super) async fn next_due_us(
    connection: &mut SqliteConnection,
    without: &[TenantId],
) -> Result<Option<i64>, Error> {
    let heads = heads(connection).await?.into_iter();
    Ok(heads
        .filter(|(tenant, _)| !without.contains(tenant))
        .map(|(_, (due_us, _))| due_us)
        .min())
}

async fn heads(connection: &mut SqliteConnection) -> Result<Vec<(TenantId, Due)>, Error> {
    let rows = sqlx::query(HEADS).fetch_all(connection).await?;
    rows.iter()
        .map(|row| {
            let due = (row.int("due_us")?, row.int("at_us")?);
            Ok((row.parsed("tenant")?, due))
        })
        .collect()
}

async fn due(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    now_us: i64,
    limit: u32,
) -> Result<VecDeque<(Due, Vec<u8>)>, Error> {
    let rows = sqlx::query(
        "SELECT run, due_us, at_us FROM runs \
         WHERE tenant = $1 AND due_us IS NOT NULL AND due_us <= $2 \
         ORDER BY due_us, at_us LIMIT $3",
    )
    .bind(tenant.as_str())
    .bind(now_us)
    .bind(i64::from(limit))
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| Ok(((row.int("due_us")?, row.int("at_us")?), row.bytes("run")?)))
        .collect()
}
