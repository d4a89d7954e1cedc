//! How rights to command devices stood when, and receipts that are judged again because of it.

use async_trait::async_trait;
use sqlx::SqliteConnection;
use stencil_protocol::id::TenantId;

use super::Sqlite;
use super::access::{receipt, receipts};
use super::credentials;
use super::row::{Columns as _, bigint};
use crate::judging::{Judged, Judging, MAX_STANDINGS, RightStanding, StoodAs, ToJudge};
use crate::page::clamp;
use crate::{CredentialStanding, Error, StandingSet};

#[async_trait]
impl Judging for Sqlite {
    async fn set_by_cause(
        &self,
        tenant: &TenantId,
        right: &str,
        stood: &[(RightStanding, i64)],
        now_us: i64,
    ) -> Result<StandingSet, Error> {
        let mut transaction = self.write().await?;
        let set = set_by_cause(&mut transaction, tenant, right, stood, now_us).await;
        transaction.end(set).await
    }

    async fn standings(&self, tenant: &TenantId, right: &str) -> Result<Vec<StoodAs>, Error> {
        let rows = sqlx::query(
            "SELECT by_cause, standing, from_us, known_us FROM access_standings \
             WHERE tenant = $1 AND right_id = $2 ORDER BY by_cause, from_us",
        )
        .bind(tenant.as_str())
        .bind(right)
        .fetch_all(self.readers())
        .await?;
        let stood = rows.iter().map(|row| {
            Ok(StoodAs {
                by_cause: row.flag("by_cause")?,
                standing: named(row.text("standing")?)?,
                from_us: row.int("from_us")?,
                known_us: row.int("known_us")?,
            })
        });
        stood.collect()
    }

    async fn to_judge(&self, limit: u32) -> Result<Option<ToJudge>, Error> {
        let row = sqlx::query(
            "SELECT tenant, right_id, turn, at_us, gateway, chain, number FROM access_judging \
             ORDER BY queued_us, tenant, right_id LIMIT 1",
        )
        .fetch_optional(self.readers())
        .await?;
        let Some(row) = row else { return Ok(None) };
        let (tenant, right): (TenantId, _) = (row.parsed("tenant")?, row.text("right_id")?);
        let limit = clamp(limit);
        let rows = sqlx::query(receipts!(
            "tenant = $1 AND right_id = $2 AND (at_us, gateway, chain, number) > ($3, $4, $5, $6) \
             ORDER BY at_us, gateway, chain, number LIMIT $7"
        ))
        .bind(tenant.as_str())
        .bind(right.as_str())
        .bind(row.int("at_us")?)
        .bind(row.text("gateway")?)
        .bind(row.text("chain")?)
        .bind(row.int("number")?)
        .bind(i64::from(limit) + 1)
        .fetch_all(self.readers())
        .await?;
        let mut receipts: Vec<_> = rows.iter().map(receipt).collect::<Result<_, _>>()?;
        let most = usize::try_from(limit).unwrap_or(usize::MAX);
        let is_last = receipts.len() <= most;
        receipts.truncate(most);
        Ok(Some(ToJudge {
            tenant,
            right,
            turn: row.number("turn")?,
            receipts,
            is_last,
        }))
    }

    async fn judged(&self, of: &ToJudge, judged: &[Judged]) -> Result<bool, Error> {
        let mut transaction = self.write().await?;
        let kept = keep(&mut transaction, of, judged).await;
        transaction.end(kept).await
    }
}

async fn set_by_cause(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    right: &str,
    stood: &[(RightStanding, i64)],
    now_us: i64,
) -> Result<StandingSet, Error> {
    let Some((standing, _)) = stood.last() else {
        return Ok(StandingSet::Unchanged);
    };
    let credential = match standing.credential() {
        // What somebody has suspended is theirs to let hold again.
        CredentialStanding::Good => newest(connection, tenant, right, false).await?.credential(),
        other => other,
    };
    let set = credentials::put_standing(connection, tenant, right, credential, now_us).await?;
    if set == StandingSet::NotFound {
        return Ok(set);
    }
    // Also of one that somebody has taken away since: what was so before that counts for its receipts.
    sqlx::query("UPDATE access_rights SET taken = $3 WHERE tenant = $1 AND right_id = $2")
        .bind(tenant.as_str())
        .bind(right)
        .bind(i64::from(standing.is_taken()))
        .execute(&mut *connection)
        .await?;
    for (standing, from_us) in stood {
        let stood = StoodAs {
            by_cause: true,
            standing: *standing,
            from_us: *from_us,
            known_us: now_us,
        };
        note(connection, tenant, right, stood).await?;
    }
    Ok(set)
}

/// Notes how a right stands, if it is one and has not stood so before; in the transaction in which its
/// credential changes.
pub(super) async fn note(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    right: &str,
    stood: StoodAs,
) -> Result<(), Error> {
    let row = sqlx::query("SELECT made_us FROM access_rights WHERE tenant = $1 AND right_id = $2")
        .bind(tenant.as_str())
        .bind(right)
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else { return Ok(()) };
    // Nothing of a right is before it, and nothing is known before it is.
    let (made_us, now_us) = (row.int("made_us")?, stood.known_us);
    let from_us = stood.from_us.min(now_us).max(made_us.min(now_us));
    let before = newest(connection, tenant, right, stood.by_cause).await?;
    let gone = sqlx::query(
        "DELETE FROM access_standings WHERE tenant = $1 AND right_id = $2 AND by_cause = $3 \
         AND from_us >= $4",
    )
    .bind(tenant.as_str())
    .bind(right)
    .bind(i64::from(stood.by_cause))
    .bind(from_us)
    .execute(&mut *connection)
    .await?
    .rows_affected();
    let last = newest(connection, tenant, right, stood.by_cause).await?;
    let is_new = last != stood.standing;
    if is_new {
        sqlx::query(
            "INSERT INTO access_standings (tenant, right_id, by_cause, from_us, standing, known_us) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(tenant.as_str())
        .bind(right)
        .bind(i64::from(stood.by_cause))
        .bind(from_us)
        .bind(stood.standing.as_str())
        .bind(now_us)
        .execute(&mut *connection)
        .await?;
        fold(connection, tenant, right, stood.by_cause).await?;
    }
    if !is_new && gone == 0 {
        return Ok(());
    }
    sqlx::query(
        "UPDATE access_rights SET revision = revision + 1 WHERE tenant = $1 AND right_id = $2",
    )
    .bind(tenant.as_str())
    .bind(right)
    .execute(&mut *connection)
    .await?;
    let whenever = before.is_from_the_start() || stood.standing.is_from_the_start();
    match whenever {
        true => queue(connection, tenant, right, i64::MIN, now_us).await,
        // What is in force from now on changes nothing of what was.
        false if from_us < now_us => queue(connection, tenant, right, from_us, now_us).await,
        false => Ok(()),
    }
}

/// How a track of a right stands.
pub(super) async fn newest(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    right: &str,
    by_cause: bool,
) -> Result<RightStanding, Error> {
    let row = sqlx::query(
        "SELECT standing FROM access_standings WHERE tenant = $1 AND right_id = $2 \
         AND by_cause = $3 ORDER BY from_us DESC LIMIT 1",
    )
    .bind(tenant.as_str())
    .bind(right)
    .bind(i64::from(by_cause))
    .fetch_optional(connection)
    .await?;
    row.map_or(Ok(RightStanding::Held), |row| named(row.text("standing")?))
}

/// Makes one of the two oldest standings of a track that has more than are kept.
async fn fold(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    right: &str,
    by_cause: bool,
) -> Result<(), Error> {
    let rows = sqlx::query(
        "SELECT from_us FROM access_standings WHERE tenant = $1 AND right_id = $2 AND by_cause = $3 \
         ORDER BY from_us DESC LIMIT -1 OFFSET $4",
    )
    .bind(tenant.as_str())
    .bind(right)
    .bind(i64::from(by_cause))
    .bind(i64::from(MAX_STANDINGS) - 1)
    .fetch_all(&mut *connection)
    .await?;
    // The newest of them first: all that is older becomes one with the oldest.
    let [newer @ .., oldest] = rows.as_slice() else {
        return Ok(());
    };
    let Some(newest) = newer.first() else {
        return Ok(());
    };
    for (statement, up_to) in [
        (
            "DELETE FROM access_standings WHERE tenant = $1 AND right_id = $2 AND by_cause = $3 \
             AND from_us > $4 AND from_us <= $5",
            newest,
        ),
        (
            "UPDATE access_standings SET standing = 'unknown' WHERE tenant = $1 AND right_id = $2 \
             AND by_cause = $3 AND from_us >= $4 AND from_us <= $5",
            oldest,
        ),
    ] {
        sqlx::query(statement)
            .bind(tenant.as_str())
            .bind(right)
            .bind(i64::from(by_cause))
            .bind(oldest.int("from_us")?)
            .bind(up_to.int("from_us")?)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Has the receipts of a right judged again that are of `from_us` or later; of a right without any nothing is
/// kept.
pub(super) async fn queue(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    right: &str,
    from_us: i64,
    now_us: i64,
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO access_judging (tenant, right_id, turn, queued_us, at_us, gateway, chain, number) \
         SELECT $1, $2, 1, $4, $3, '', '', 0 WHERE EXISTS (SELECT 1 FROM access_receipts \
         WHERE tenant = $1 AND right_id = $2 AND at_us >= $3) \
         ON CONFLICT (tenant, right_id) DO UPDATE SET turn = turn + 1, \
         at_us = MIN(at_us, excluded.at_us), \
         gateway = CASE WHEN excluded.at_us <= at_us THEN '' ELSE gateway END, \
         chain = CASE WHEN excluded.at_us <= at_us THEN '' ELSE chain END, \
         number = CASE WHEN excluded.at_us <= at_us THEN 0 ELSE number END",
    )
    .bind(tenant.as_str())
    .bind(right)
    .bind(from_us)
    .bind(now_us)
    .execute(connection)
    .await?;
    Ok(())
}

async fn keep(
    connection: &mut SqliteConnection,
    of: &ToJudge,
    judged: &[Judged],
) -> Result<bool, Error> {
    let turn = bigint("turn", of.turn)?;
    // First: whoever has queued it again meanwhile has other standings.
    let statement = match (of.is_last, of.receipts.last()) {
        (false, Some(last)) => sqlx::query(
            "UPDATE access_judging SET at_us = $4, gateway = $5, chain = $6, number = $7 \
             WHERE tenant = $1 AND right_id = $2 AND turn = $3",
        )
        .bind(of.tenant.as_str())
        .bind(of.right.as_str())
        .bind(turn)
        .bind(last.at_us)
        .bind(last.gateway.as_str())
        .bind(last.chain.as_str())
        .bind(bigint("number", last.number)?),
        _ => sqlx::query(
            "DELETE FROM access_judging WHERE tenant = $1 AND right_id = $2 AND turn = $3",
        )
        .bind(of.tenant.as_str())
        .bind(of.right.as_str())
        .bind(turn),
    };
    if statement.execute(&mut *connection).await?.rows_affected() == 0 {
        return Ok(false);
    }
    for one in judged {
        sqlx::query(
            "UPDATE access_receipts SET conflict = $5, told = $6 \
             WHERE tenant = $1 AND gateway = $2 AND chain = $3 AND number = $4",
        )
        .bind(of.tenant.as_str())
        .bind(one.gateway.as_str())
        .bind(one.chain.as_str())
        .bind(bigint("number", one.number)?)
        .bind(one.conflict.as_deref())
        .bind(i64::from(one.told))
        .execute(&mut *connection)
        .await?;
    }
    Ok(true)
}

fn named(name: String) -> Result<RightStanding, Error> {
    RightStanding::parse(&name).ok_or_else(|| Error::corrupt("standing", name))
}
