//! The pipeline's commit: one transaction.

use std::collections::{BTreeMap, HashSet};
use std::hash::Hash;

use async_trait::async_trait;
use sqlx::SqliteConnection;
use stencil_protocol::id::{Boot, DeviceId, TenantId};
use stencil_protocol::ledger::BootLedger;

use super::bulk::Bulk;
use super::row::{Columns as _, bigint};
use super::state::Turn;
use super::{Sqlite, alarms, commands, devices, gateways, registry, rollouts, sealing};
use crate::series::head::Change;
use crate::{
    Commit, Committed, Error, Loaded, MAX_QUARANTINED_PAYLOAD, Pipeline, Points, Quarantined,
    RuleState, Trigger,
};

/// How many names of series are kept in memory beyond those with unsealed points.
const MAX_KNOWN_SERIES: usize = 262_144;
/// The longest text of a quarantine row, in bytes.
const MAX_QUARANTINE_TEXT: usize = 1_024;

static LEDGERS: Bulk = Bulk::new(
    "INSERT INTO ledgers (tenant, device, boot, body)",
    4,
    "ON CONFLICT (tenant, device, boot) DO UPDATE SET body = excluded.body",
);

static RULE_STATES: Bulk = Bulk::new(
    "INSERT INTO rule_states (tenant, workflow, device, body)",
    4,
    "ON CONFLICT (tenant, workflow, device) DO UPDATE SET body = excluded.body",
);

static QUARANTINE: Bulk = Bulk::new(
    "INSERT INTO quarantine \
     (tenant, position, ordinal, device, topic, reason, path, payload, at_us)",
    9,
    "ON CONFLICT DO NOTHING",
);

static RUNS: Bulk = Bulk::new(
    "INSERT INTO runs (tenant, run, workflow, version, event, state, at_us, due_us, fence)",
    9,
    "ON CONFLICT (tenant, run) DO NOTHING",
);

#[async_trait]
impl Pipeline for Sqlite {
    async fn load(&self, boots_per_device: u32) -> Result<Loaded, Error> {
        let mut snapshot = self.snapshot().await?;
        let loaded = load(&mut snapshot, boots_per_device).await;
        snapshot.end(loaded).await
    }

    async fn ledger(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        boot: Boot,
    ) -> Result<Option<BootLedger>, Error> {
        let row =
            sqlx::query("SELECT body FROM ledgers WHERE tenant = $1 AND device = $2 AND boot = $3")
                .bind(tenant.as_str())
                .bind(device.as_str())
                .bind(i64::from(boot.0))
                .fetch_optional(self.readers())
                .await?;
        row.map(|row| decode_ledger(&row.bytes("body")?))
            .transpose()
    }

    async fn commit(&self, commit: Commit) -> Result<Committed, Error> {
        // In a task of its own: a caller that stops waiting must not stop us
        // between the database and the heads.
        let this = self.clone();
        tokio::spawn(async move { this.commit_whole(&commit).await })
            .await
            .map_err(|error| Error::Unavailable(format!("a commit was torn off: {error}")))?
    }
}

impl Sqlite {
    async fn commit_whole(&self, commit: &Commit) -> Result<Committed, Error> {
        let turn = self.turn().await?;
        let mut transaction = self.write().await?;
        let stored = self.store_commit(&mut transaction, &turn, commit).await;
        let fenced_off = matches!(stored, Err(Error::Conflict(_)));
        let doubt = (stored.is_ok() || fenced_off).then(|| turn.doubt());
        if let Ok((_, change)) = &stored {
            turn.tries(&commit.points, change.tail);
        }
        let (committed, change) = transaction.end(stored).await?;
        if let Some(doubt) = doubt {
            doubt.settle(change, MAX_KNOWN_SERIES);
        }
        Ok(committed)
    }

    async fn store_commit(
        &self,
        connection: &mut SqliteConnection,
        turn: &Turn<'_>,
        commit: &Commit,
    ) -> Result<(Committed, Change), Error> {
        let position = bigint("position", commit.position)?;
        let tail = turn.look(|heads| heads.tail())?;
        let moved = sqlx::query(
            "UPDATE pipeline SET position = $1, tail = $2 \
             WHERE one = 1 AND tail = $3 AND position <= $1",
        )
        .bind(position)
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
        // A point that is there would be another one of its time.
        let none = Points::default();
        let points = match turn.are_there(&commit.points)? {
            true => &none,
            false => &commit.points,
        };
        let change = sealing::store(connection, turn, &self.inner.options, points).await?;
        devices::store(connection, commit).await?;
        store_ledgers(connection, commit).await?;
        store_rule_states(connection, &commit.rule_states).await?;
        alarms::write::apply(connection, &commit.alarms).await?;
        rollouts::write::apply(connection, commit.position, &commit.rollouts).await?;
        store_quarantine(connection, commit, self.inner.options.max_quarantined).await?;
        gateways::log::store(connection, &commit.gateways).await?;
        super::proofs::store(connection, &commit.proofs).await?;
        let mut committed = Committed {
            rekeyed: registry::log::store(connection, commit).await?,
            started: start_runs(connection, &commit.triggers).await?,
            ..Committed::default()
        };
        for given in &commit.given {
            committed.woken += commands::given(connection, given).await?;
        }
        for said in &commit.gateway_rules {
            super::workflows::said(connection, said).await?;
        }
        for status in &commit.statuses {
            let applied = commands::apply(connection, status).await?;
            committed.statuses += u64::from(applied.changed);
            committed.woken += applied.woken;
        }
        Ok((committed, change))
    }
}

/// Starts runs that are new; says how many.
pub(super) async fn start_runs(
    connection: &mut SqliteConnection,
    triggers: &[Trigger],
) -> Result<u64, Error> {
    RUNS.execute(connection, triggers, |query, trigger| {
        query
            .bind(trigger.tenant.as_str().to_owned())
            .bind(trigger.run.0.to_vec())
            .bind(trigger.workflow.clone())
            .bind(i64::from(trigger.version))
            .bind(trigger.event.to_string())
            .bind("pending")
            .bind(trigger.at_us)
            .bind(trigger.not_before_us.unwrap_or(super::runs::AT_ONCE))
            .bind(0_i64)
    })
    .await
}

/// Of rows with the same key the last one, so that a statement has each key once.
pub(super) fn last_of_each<'a, T, K: Eq + Hash>(
    rows: &'a [T],
    key: impl Fn(&'a T) -> K,
) -> Vec<&'a T> {
    let mut seen = HashSet::with_capacity(rows.len());
    let mut last: Vec<&T> = rows
        .iter()
        .rev()
        .filter(|row| seen.insert(key(row)))
        .collect();
    last.reverse();
    last
}

async fn load(connection: &mut SqliteConnection, boots: u32) -> Result<Loaded, Error> {
    let row = sqlx::query("SELECT position FROM pipeline WHERE one = 1")
        .fetch_one(&mut *connection)
        .await?;
    let mut loaded = Loaded {
        position: row.number("position")?,
        ..Loaded::default()
    };
    let rows = sqlx::query(
        "SELECT tenant, device, boot, body FROM (SELECT tenant, device, boot, body, \
         ROW_NUMBER() OVER (PARTITION BY tenant, device ORDER BY boot DESC) AS newest \
         FROM ledgers) AS numbered WHERE newest <= $1",
    )
    .bind(i64::from(boots))
    .fetch_all(&mut *connection)
    .await?;
    for row in rows {
        loaded.ledgers.push((
            row.parsed("tenant")?,
            row.parsed("device")?,
            Boot(row.number("boot")?),
            decode_ledger(&row.bytes("body")?)?,
        ));
    }
    let rows = sqlx::query("SELECT tenant, workflow, device, body FROM rule_states")
        .fetch_all(&mut *connection)
        .await?;
    for row in rows {
        loaded.rule_states.push(RuleState {
            tenant: row.parsed("tenant")?,
            workflow: row.text("workflow")?,
            device: row.parsed("device")?,
            bytes: row.bytes("body")?,
        });
    }
    loaded.alarms = alarms::write::active(connection).await?;
    loaded.twins = devices::load(connection).await?;
    loaded.sealing = super::proofs::load(connection).await?;
    loaded.refused = registry::log::refused(connection).await?;
    Ok(loaded)
}

pub(super) fn decode_ledger(bytes: &[u8]) -> Result<BootLedger, Error> {
    minicbor::decode(bytes).map_err(|error| Error::corrupt("ledger", error))
}

pub(super) fn encode_ledger(ledger: &BootLedger) -> Result<Vec<u8>, Error> {
    minicbor::to_vec(ledger).map_err(|error| Error::invalid("ledger", error.to_string()))
}

async fn store_ledgers(connection: &mut SqliteConnection, commit: &Commit) -> Result<(), Error> {
    let rows = last_of_each(&commit.ledgers, |(tenant, device, boot, _)| {
        (tenant, device, boot)
    });
    let mut encoded = Vec::with_capacity(rows.len());
    for (tenant, device, boot, ledger) in rows {
        let body = encode_ledger(ledger)?;
        encoded.push((tenant, device, boot, body));
    }
    LEDGERS
        .execute(
            connection,
            &encoded,
            |query, (tenant, device, boot, body)| {
                query
                    .bind(tenant.as_str().to_owned())
                    .bind(device.as_str().to_owned())
                    .bind(i64::from(boot.0))
                    .bind(body.clone())
            },
        )
        .await?;
    Ok(())
}

async fn store_rule_states(
    connection: &mut SqliteConnection,
    states: &[RuleState],
) -> Result<(), Error> {
    let rows = last_of_each(states, |state| {
        (&state.tenant, &state.workflow, &state.device)
    });
    let (kept, forgotten): (Vec<_>, Vec<_>) =
        rows.into_iter().partition(|state| !state.bytes.is_empty());
    RULE_STATES
        .execute(connection, &kept, |query, state| {
            query
                .bind(state.tenant.as_str().to_owned())
                .bind(state.workflow.clone())
                .bind(state.device.as_str().to_owned())
                .bind(state.bytes.clone())
        })
        .await?;
    for state in forgotten {
        sqlx::query("DELETE FROM rule_states WHERE tenant = $1 AND workflow = $2 AND device = $3")
            .bind(state.tenant.as_str())
            .bind(state.workflow.as_str())
            .bind(state.device.as_str())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

async fn store_quarantine(
    connection: &mut SqliteConnection,
    commit: &Commit,
    keep: u32,
) -> Result<(), Error> {
    if commit.quarantined.is_empty() {
        return Ok(());
    }
    // The ordinal counts within a record, so that a repeated commit finds its rows.
    let mut ordinals: BTreeMap<(&TenantId, u64), i64> = BTreeMap::new();
    let mut rows = Vec::with_capacity(commit.quarantined.len());
    for row in &commit.quarantined {
        let ordinal = ordinals.entry((&row.tenant, row.position)).or_default();
        rows.push((bigint("position", row.position)?, *ordinal, row));
        *ordinal += 1;
    }
    QUARANTINE
        .execute(
            connection,
            &rows,
            |query, (position, ordinal, row): &(i64, i64, &Quarantined)| {
                let payload = &row.payload[..row.payload.len().min(MAX_QUARANTINED_PAYLOAD)];
                query
                    .bind(row.tenant.as_str().to_owned())
                    .bind(*position)
                    .bind(*ordinal)
                    .bind(row.device.as_ref().map(|device| device.as_str().to_owned()))
                    .bind(cut(&row.topic))
                    .bind(cut(&row.reason))
                    .bind(row.path.as_deref().map(cut))
                    .bind(payload.to_vec())
                    .bind(row.at_us)
            },
        )
        .await?;
    let mut tenants: Vec<&TenantId> = commit.quarantined.iter().map(|row| &row.tenant).collect();
    tenants.dedup();
    for tenant in tenants {
        sqlx::query(
            "DELETE FROM quarantine WHERE tenant = $1 AND position < (SELECT position \
             FROM quarantine WHERE tenant = $1 ORDER BY position DESC, ordinal DESC \
             LIMIT 1 OFFSET $2)",
        )
        .bind(tenant.as_str())
        .bind(i64::from(keep))
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_QUARANTINE_TEXT)].to_owned()
}
