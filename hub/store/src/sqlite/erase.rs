//! Erasure of a device or a tenant.
//!
//! The small tables go at once. A device's series may be of any length: they are taken from their
//! owner at once (their rows get the empty tenant, which nobody can ask for), and their chunks go
//! in portions, so that the pipeline is not held up.

use std::collections::{BTreeSet, HashSet};

use sqlx::{AssertSqlSafe, SqliteConnection};
use stencil_protocol::id::{DeviceId, TenantId};

use super::devices::standing;
use super::row::{Columns as _, bigint};
use super::state::Turn;
use super::{Sqlite, pipeline};
use crate::series::head::Change;
use crate::series::tail;
use crate::{Erased, Error};

/// Tables with a row or more a device, besides the series. `ledgers`, `standing_links` and
/// `rule_states` are looked at apart.
const OF_DEVICES: &[&str] = &[
    "devices",
    "twins",
    "quarantine",
    "commands",
    "alarms",
    "alarm_silences",
    "device_images",
    "device_verdicts",
    "rollout_devices",
    "sealed_batches",
    "sealed_runs",
    "seal_marks",
    "device_passports",
];

/// Tables with a row or more a tenant, besides the series, those first that refer to others.
const OF_TENANTS: &[&str] = &[
    "ledgers",
    "devices",
    "standing_links",
    "twins",
    "rule_states",
    "quarantine",
    "commands",
    "device_images",
    "device_verdicts",
    "rollout_devices",
    "rollout_notices",
    "rollouts",
    "images",
    "update_leaves",
    "update_successions",
    "update_trust",
    "alarm_events",
    "alarms",
    "alarm_silences",
    "caused_turns",
    "caused_commands",
    "caused_waits",
    "caused_runs",
    "attempts",
    "steps",
    "runs",
    "effects",
    "versions",
    "entries",
    "workflows",
    "gateway_rules",
    "retention",
    "answers",
    "sessions",
    "wallets",
    "payers",
    "login_links",
    "users",
    "audit",
    "tokens",
    "gateway_certificates",
    "gateway_groups",
    "gateways",
    "desired_states",
    "desired_texts",
    "placements",
    "gateway_keys",
    "device_keys",
    "registrations",
    "ownership",
    "device_passports",
    "held_tokens",
    "documents",
    "chain_watches",
    "chain_limits",
    "chain_callable",
    "chain_send_causes",
    "chain_spent",
    "payment_payees",
    "payment_settings",
    "invoice_starts",
    "invoice_effects",
    "invoice_credits",
    "refund_movements",
    "invoices",
    "journal_entries",
    "journal_balances",
    "access_receipts",
    "access_standings",
    "access_judging",
    "access_rights",
    "access_policies",
    "issuers",
    "credentials",
    "offer_payees",
    "offers",
    "purchases",
    "exposures",
    "seal_marks",
    "sealed_runs",
    "sealed_batches",
    "seals",
    "sealing_keys",
    "sealing_gateways",
    "anchoring",
    "anchors",
    "tenants",
];

/// Tail rows that are looked through at once.
const TAILS_AT_ONCE: i64 = 256;

/// See [`crate::Keeping::erase`].
pub(super) async fn erase(store: &Sqlite, position: u64, erased: &Erased) -> Result<(), Error> {
    let turn = store.turn().await?;
    let mut transaction = store.write().await?;
    let done = within(&mut transaction, &turn, position, erased).await;
    let doubt = done.is_ok().then(|| turn.doubt());
    let change = transaction.end(done).await?;
    if let Some(doubt) = doubt {
        doubt.settle(change, usize::MAX);
    }
    Ok(())
}

/// See [`crate::Keeping::purge`].
pub(super) async fn purge(connection: &mut SqliteConnection, limit: i64) -> Result<u64, Error> {
    overwriting(connection, true).await?;
    let purged = sqlx::query(
        "DELETE FROM series_chunks WHERE (series, from_us) IN \
         (SELECT c.series, c.from_us FROM series s JOIN series_chunks c ON c.series = s.series \
         WHERE s.tenant = '' LIMIT $1)",
    )
    .bind(limit)
    .execute(&mut *connection)
    .await?
    .rows_affected();
    sqlx::query(
        "DELETE FROM series WHERE tenant = '' AND NOT EXISTS \
         (SELECT 1 FROM series_chunks c WHERE c.series = series.series)",
    )
    .execute(&mut *connection)
    .await?;
    overwriting(connection, false).await?;
    Ok(purged)
}

async fn within(
    connection: &mut SqliteConnection,
    turn: &Turn<'_>,
    position: u64,
    erased: &Erased,
) -> Result<Change, Error> {
    overwriting(connection, true).await?;
    let (tail, newest_series) = turn.look(|heads| (heads.tail(), heads.newest_series()))?;
    let moved = sqlx::query(
        "UPDATE pipeline SET position = $1, tail = $2 \
         WHERE one = 1 AND tail = $3 AND position <= $1",
    )
    .bind(bigint("position", position)?)
    .bind(tail + 1)
    .bind(tail)
    .execute(&mut *connection)
    .await?
    .rows_affected();
    if moved != 1 {
        return Err(Error::Conflict(format!(
            "the pipeline is already beyond position {position}, or another process commits"
        )));
    }
    let series = match erased {
        Erased::Device(tenant, device) => {
            standing::keep(connection, tenant, device).await?;
            for table in OF_DEVICES {
                let statement = format!("DELETE FROM {table} WHERE tenant = $1 AND device = $2");
                sqlx::query(AssertSqlSafe(statement))
                    .bind(tenant.as_str())
                    .bind(device.as_str())
                    .execute(&mut *connection)
                    .await?;
            }
            // Rows whose workflow begins with `@` are no states of devices: the pipeline keeps
            // there which version is in force, under a device's name of its own.
            sqlx::query(
                "DELETE FROM rule_states \
                 WHERE tenant = $1 AND device = $2 AND substr(workflow, 1, 1) <> '@'",
            )
            .bind(tenant.as_str())
            .bind(device.as_str())
            .execute(&mut *connection)
            .await?;
            erase_ledgers(connection, tenant, device).await?;
            let found = sqlx::query("SELECT series FROM series WHERE tenant = $1 AND device = $2")
                .bind(tenant.as_str())
                .bind(device.as_str());
            found.fetch_all(&mut *connection).await?
        }
        Erased::Tenant(tenant) => {
            super::chains::watch_no_more(connection, tenant.as_str()).await?;
            super::sends::disown(connection, tenant.as_str()).await?;
            for table in OF_TENANTS {
                let statement = format!("DELETE FROM {table} WHERE tenant = $1");
                sqlx::query(AssertSqlSafe(statement))
                    .bind(tenant.as_str())
                    .execute(&mut *connection)
                    .await?;
            }
            let found =
                sqlx::query("SELECT series FROM series WHERE tenant = $1").bind(tenant.as_str());
            found.fetch_all(&mut *connection).await?
        }
    };
    let series = series
        .iter()
        .map(|row| row.int("series"))
        .collect::<Result<BTreeSet<_>, _>>()?;
    for one in &series {
        disown(connection, *one).await?;
    }
    clear_tails(connection, &series).await?;
    overwriting(connection, false).await?;
    Ok(Change {
        erased: series.into_iter().collect::<HashSet<_>>(),
        tail: tail + 1,
        newest_series,
        ..Change::default()
    })
}

/// Whether what is deleted is overwritten with zeros in the file.
async fn overwriting(connection: &mut SqliteConnection, on: bool) -> Result<(), Error> {
    let statement = if on {
        "PRAGMA secure_delete = ON"
    } else {
        "PRAGMA secure_delete = OFF"
    };
    sqlx::query(statement).fetch_all(connection).await?;
    Ok(())
}

/// Leaves of the device's ledgers only up to which number each boot had counted.
async fn erase_ledgers(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    device: &DeviceId,
) -> Result<(), Error> {
    let rows = sqlx::query("SELECT boot, body FROM ledgers WHERE tenant = $1 AND device = $2")
        .bind(tenant.as_str())
        .bind(device.as_str())
        .fetch_all(&mut *connection)
        .await?;
    for row in rows {
        // What cannot be read must not keep the rest from going.
        let mut ledger = pipeline::decode_ledger(&row.bytes("body")?).unwrap_or_default();
        ledger.erase();
        // Of a boot that never gave a number there is nothing to explain.
        let statement = if ledger.is_erased() {
            "UPDATE ledgers SET body = $4 WHERE tenant = $1 AND device = $2 AND boot = $3"
        } else {
            "DELETE FROM ledgers WHERE tenant = $1 AND device = $2 AND boot = $3"
        };
        let mut query = sqlx::query(statement)
            .bind(tenant.as_str())
            .bind(device.as_str())
            .bind(row.int("boot")?);
        if ledger.is_erased() {
            query = query.bind(pipeline::encode_ledger(&ledger)?);
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Takes a series from its owner.
async fn disown(connection: &mut SqliteConnection, series: i64) -> Result<(), Error> {
    sqlx::query(
        "UPDATE series SET tenant = '', device = '', name = CAST(series AS TEXT), unit = NULL \
         WHERE series = $1",
    )
    .bind(series)
    .execute(&mut *connection)
    .await?;
    sqlx::query("DELETE FROM series_damaged WHERE series = $1")
        .bind(series)
        .execute(connection)
        .await?;
    Ok(())
}

/// Takes the points of these series out of all tail rows, also of those in which they are only
/// because others of the row are not in chunks yet.
async fn clear_tails(
    connection: &mut SqliteConnection,
    series: &BTreeSet<i64>,
) -> Result<(), Error> {
    let mut after = i64::MIN;
    while !series.is_empty() {
        let rows = sqlx::query(
            "SELECT tail, body FROM series_tail WHERE tail > $1 ORDER BY tail LIMIT $2",
        )
        .bind(after)
        .bind(TAILS_AT_ONCE)
        .fetch_all(&mut *connection)
        .await?;
        let Some(last) = rows.last() else { break };
        after = last.int("tail")?;
        for row in &rows {
            let groups = tail::decode(&row.bytes("body")?)?;
            let kept: Vec<_> = groups
                .iter()
                .filter(|group| !series.contains(&group.series))
                .collect();
            if kept.len() == groups.len() {
                continue;
            }
            let statement = if kept.is_empty() {
                "DELETE FROM series_tail WHERE tail = $1"
            } else {
                "UPDATE series_tail SET body = $2 WHERE tail = $1"
            };
            let mut query = sqlx::query(statement).bind(row.int("tail")?);
            if !kept.is_empty() {
                query = query.bind(tail::encode(kept.into_iter()));
            }
            query.execute(&mut *connection).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every table of the schema that has this column.
    async fn with_column(store: &Sqlite, column: &str) -> BTreeSet<String> {
        let rows = sqlx::query(
            "SELECT m.name AS name FROM sqlite_master m JOIN pragma_table_info(m.name) c \
             WHERE m.type = 'table' AND c.name = $1",
        )
        .bind(column)
        .fetch_all(store.readers())
        .await
        .unwrap();
        rows.iter().map(|row| row.text("name").unwrap()).collect()
    }

    #[tokio::test]
    async fn no_table_with_data_of_a_device_or_a_tenant_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let store = super::super::open(folder.path().join("hub.db"))
            .await
            .unwrap();
        let listed = |tables: &[&str], others: &[&str]| -> BTreeSet<String> {
            let all = tables.iter().chain(others);
            all.map(|table| (*table).to_owned()).collect()
        };
        // The series are taken from their owner; of ledgers it stays how far they had counted, of a
        // link that it stands; tokens and registrations let a
        // device come back, and rights let accounts do so.
        let others = [
            "series",
            "ledgers",
            "standing_links",
            "rule_states",
            "tokens",
            "registrations",
            "device_keys",
            "placements",
            "access_rights",
        ];
        assert_eq!(
            with_column(&store, "device").await,
            listed(OF_DEVICES, &others)
        );
        assert_eq!(
            with_column(&store, "tenant").await,
            listed(OF_TENANTS, &["series", "chain_sends"])
        );
    }
}
