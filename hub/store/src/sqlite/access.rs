//! Rights to command devices, policies of tenants, receipts of gateways.

use async_trait::async_trait;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;
use stencil_protocol::command::State;
use stencil_protocol::id::{CommandId, DeviceId, GatewayId, TenantId};

use super::failure::of_tenant;
use super::row::{Columns as _, bigint};
use super::{Sqlite, credentials, judging, pair};
use crate::access::{
    AccessRights, BroughtReceipt, MAX_DEVICE_TOKEN_RIGHTS, MAX_RECEIPTS, MAX_RIGHTS,
    MAX_TOKEN_RIGHTS, NewRight, RightsOf, StoredReceipt, StoredRight, TOKEN_SOURCE,
};
use crate::page::clamp;
use crate::{CredentialStanding, Error, KeptCredential, Page, RunId, StoredCredential, WalletKey};

macro_rules! rights {
    ($of:literal) => {
        concat!(
            "SELECT r.tenant, r.right_id, r.holder, r.device, r.source, r.body, r.run, r.step, \
             r.taken, r.until_us, r.made_us, c.standing, c.changed_us, c.list, c.bit, r.revision \
             FROM access_rights r JOIN credentials c \
             ON c.tenant = r.tenant AND c.credential = r.right_id ",
            $of
        )
    };
}

macro_rules! receipts {
    ($of:literal) => {
        concat!(
            "SELECT gateway, chain, number, hash, body, right_id, outcome, follows, conflict, \
             told, at_us, received_us FROM access_receipts WHERE ",
            $of
        )
    };
}

pub(super) use receipts;

#[async_trait]
impl AccessRights for Sqlite {
    async fn issue_right(
        &self,
        tenant: &TenantId,
        credential: &StoredCredential,
        right: &NewRight,
    ) -> Result<KeptCredential, Error> {
        credentials::check_place(credential)?;
        let mut transaction = self.write().await?;
        let kept = async {
            let kept = credentials::keep(&mut transaction, tenant, credential).await?;
            if kept == KeptCredential::Made {
                put_right(&mut transaction, tenant, right).await?;
            }
            Ok(kept)
        }
        .await;
        transaction.end(kept).await
    }

    async fn rights_of_tokens(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        holder: &WalletKey,
        now_us: i64,
    ) -> Result<Vec<StoredRight>, Error> {
        let rows = sqlx::query(rights!(
            "WHERE r.source = 'token' AND r.tenant = $1 AND r.device = $2 AND r.holder = $3 \
             AND (r.until_us IS NULL OR r.until_us > $4) AND c.standing <> 'revoked' \
             ORDER BY r.made_us DESC, r.right_id DESC LIMIT 1000"
        ))
        .bind(tenant.as_str())
        .bind(device.as_str())
        .bind(holder.to_vec())
        .bind(now_us)
        .fetch_all(self.readers())
        .await?;
        rows.iter().map(stored).collect()
    }

    async fn put_right(&self, tenant: &TenantId, right: &NewRight) -> Result<bool, Error> {
        let mut transaction = self.write().await?;
        let put = put_right(&mut transaction, tenant, right).await;
        transaction.end(put).await
    }

    async fn right(&self, tenant: &TenantId, right: &str) -> Result<Option<StoredRight>, Error> {
        let row = sqlx::query(rights!("WHERE r.tenant = $1 AND r.right_id = $2"))
            .bind(tenant.as_str())
            .bind(right)
            .fetch_optional(self.readers())
            .await?;
        row.as_ref().map(stored).transpose()
    }

    async fn rights(
        &self,
        whose: RightsOf<'_>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<StoredRight>, Error> {
        // An id has colons of its own: the time stands behind it.
        let place = pair::<String, i64>(after)?;
        let (id, made_us) = place.unwrap_or((String::new(), i64::MAX));
        let query = match whose {
            RightsOf::Tenant(tenant) => sqlx::query(rights!(
                "WHERE r.tenant = $1 AND (r.made_us, r.right_id) < ($2, $3) \
                 ORDER BY r.made_us DESC, r.right_id DESC LIMIT $4"
            ))
            .bind(tenant.as_str().to_owned()),
            RightsOf::Holder(holder) => sqlx::query(rights!(
                "WHERE r.holder = $1 AND (r.made_us, r.right_id) < ($2, $3) \
                 ORDER BY r.made_us DESC, r.right_id DESC LIMIT $4"
            ))
            .bind(holder.to_vec()),
        };
        let rows = query
            .bind(made_us)
            .bind(id)
            .bind(i64::from(clamp(limit)) + 1)
            .fetch_all(self.readers())
            .await?;
        let rights = rows.iter().map(stored).collect::<Result<_, _>>()?;
        Ok(Page::cut(rights, limit, |it: &StoredRight| {
            format!("{}:{}", it.right.right, it.right.made_us)
        }))
    }

    async fn forget_ended_rights(
        &self,
        tenant: &TenantId,
        before_us: i64,
        limit: u32,
    ) -> Result<u64, Error> {
        // Looked for by a reader, so that the only writer is not held for it.
        let rows = sqlx::query(
            "SELECT right_id FROM access_rights WHERE tenant = $1 AND until_us < $2 \
             UNION SELECT r.right_id FROM credentials c JOIN access_rights r \
             ON r.tenant = c.tenant AND r.right_id = c.credential \
             WHERE c.tenant = $1 AND c.standing = 'revoked' AND c.changed_us < $2 LIMIT $3",
        )
        .bind(tenant.as_str())
        .bind(before_us)
        .bind(i64::from(clamp(limit)))
        .fetch_all(self.readers())
        .await?;
        let ended: Vec<String> = rows
            .iter()
            .map(|row| row.text("right_id"))
            .collect::<Result<_, _>>()?;
        if ended.is_empty() {
            return Ok(0);
        }
        let mut transaction = self.write().await?;
        let gone = take(&mut transaction, tenant, &ended).await;
        transaction.end(gone).await
    }

    async fn rights_adrift(&self, now_us: i64, limit: u32) -> Result<Vec<StoredRight>, Error> {
        let rows = sqlx::query(rights!(
            "JOIN caused_runs k ON k.tenant = r.tenant AND k.run = r.run \
             WHERE r.run IS NOT NULL AND (r.until_us IS NULL OR r.until_us > $1) \
             AND (c.standing <> 'revoked' OR c.changed_us > $1) AND (((k.opened >> r.step) & 1) = 0 \
             AND (r.taken = 0 OR c.standing = 'good') \
             OR r.taken = 1 AND ((k.opened >> r.step) & 1) = 1) \
             ORDER BY r.tenant, r.right_id LIMIT $2"
        ))
        .bind(now_us)
        .bind(i64::from(clamp(limit)))
        .fetch_all(self.readers())
        .await?;
        rows.iter().map(stored).collect()
    }

    async fn rights_from(
        &self,
        source: &str,
        now_us: i64,
        ended_since_us: Option<i64>,
        after: Option<(&TenantId, &str)>,
        limit: u32,
    ) -> Result<Vec<StoredRight>, Error> {
        let (tenant, right) = after.map_or(("", ""), |(tenant, right)| (tenant.as_str(), right));
        let query = match ended_since_us {
            None => sqlx::query(rights!(
                "WHERE r.source = $1 AND (r.until_us IS NULL OR r.until_us > $2) AND $6 IS NULL \
                 AND c.standing <> 'revoked' AND (r.tenant, r.right_id) > ($3, $4) \
                 ORDER BY r.tenant, r.right_id LIMIT $5"
            )),
            Some(_) => sqlx::query(rights!(
                "WHERE r.source = $1 AND (r.until_us IS NULL OR r.until_us > $6) \
                 AND (c.standing <> 'revoked' AND r.until_us <= $2 \
                 OR c.standing = 'revoked' AND c.changed_us > $6) AND (r.tenant, r.right_id) > ($3, $4) \
                 ORDER BY r.tenant, r.right_id LIMIT $5"
            )),
        };
        let rows = query
            .bind(source)
            .bind(now_us)
            .bind(tenant)
            .bind(right)
            .bind(i64::from(clamp(limit)))
            .bind(ended_since_us)
            .fetch_all(self.readers())
            .await?;
        rows.iter().map(stored).collect()
    }

    async fn access_lists(&self, tenant: &TenantId, now_us: i64) -> Result<Vec<u32>, Error> {
        let rows = sqlx::query(
            "SELECT DISTINCT c.list FROM access_rights r JOIN credentials c \
             ON c.tenant = r.tenant AND c.credential = r.right_id \
             WHERE r.tenant = $1 AND (r.until_us IS NULL OR r.until_us > $2) ORDER BY c.list DESC",
        )
        .bind(tenant.as_str())
        .bind(now_us)
        .fetch_all(self.readers())
        .await?;
        rows.iter().map(|row| row.number("list")).collect()
    }

    async fn access_policy(&self, tenant: &TenantId) -> Result<Option<String>, Error> {
        let row = sqlx::query("SELECT body FROM access_policies WHERE tenant = $1")
            .bind(tenant.as_str())
            .fetch_optional(self.readers())
            .await?;
        row.map(|row| row.text("body")).transpose()
    }

    async fn put_access_policy(
        &self,
        tenant: &TenantId,
        body: &str,
        now_us: i64,
    ) -> Result<(), Error> {
        let mut transaction = self.write().await?;
        let put = sqlx::query(
            "INSERT INTO access_policies (tenant, body, changed_us) VALUES ($1, $2, $3) \
             ON CONFLICT (tenant) DO UPDATE SET body = excluded.body, \
             changed_us = excluded.changed_us",
        )
        .bind(tenant.as_str())
        .bind(body)
        .bind(now_us)
        .execute(&mut *transaction)
        .await
        .map(drop)
        .map_err(|error| of_tenant(error, tenant.as_str()));
        transaction.end(put).await
    }

    async fn last_receipt(
        &self,
        tenant: &TenantId,
        gateway: &GatewayId,
        chain: &str,
    ) -> Result<Option<(u64, [u8; 32])>, Error> {
        let row = sqlx::query(
            "SELECT number, hash FROM access_receipts \
             WHERE tenant = $1 AND gateway = $2 AND chain = $3 ORDER BY number DESC LIMIT 1",
        )
        .bind(tenant.as_str())
        .bind(gateway.as_str())
        .bind(chain)
        .fetch_optional(self.readers())
        .await?;
        row.map(|row| Ok((row.number("number")?, row.array("hash")?)))
            .transpose()
    }

    async fn newest_chain(
        &self,
        tenant: &TenantId,
        gateway: &GatewayId,
    ) -> Result<Option<(String, u64, [u8; 32])>, Error> {
        // The hub's clock may have been ahead when some of the chain came.
        let row = sqlx::query(
            "SELECT chain, number, hash FROM access_receipts \
             WHERE tenant = $1 AND gateway = $2 AND chain = (SELECT chain FROM access_receipts \
             WHERE tenant = $1 AND gateway = $2 ORDER BY received_us DESC, number DESC LIMIT 1) \
             ORDER BY number DESC LIMIT 1",
        )
        .bind(tenant.as_str())
        .bind(gateway.as_str())
        .fetch_optional(self.readers())
        .await?;
        row.map(|row| {
            Ok((
                row.text("chain")?,
                row.number("number")?,
                row.array("hash")?,
            ))
        })
        .transpose()
    }

    async fn receipt(
        &self,
        tenant: &TenantId,
        gateway: &GatewayId,
        chain: &str,
        number: u64,
    ) -> Result<Option<StoredReceipt>, Error> {
        let row = sqlx::query(receipts!(
            "tenant = $1 AND gateway = $2 AND chain = $3 AND number = $4"
        ))
        .bind(tenant.as_str())
        .bind(gateway.as_str())
        .bind(chain)
        .bind(bigint("number", number)?)
        .fetch_optional(self.readers())
        .await?;
        row.as_ref().map(receipt).transpose()
    }

    async fn receipt_of(
        &self,
        tenant: &TenantId,
        command: &CommandId,
    ) -> Result<Option<StoredReceipt>, Error> {
        // The plus keeps it from going through all of the tenant's.
        let row = sqlx::query(receipts!(
            "+tenant = $1 AND json_extract(body, '$.command') = $2 LIMIT 1"
        ))
        .bind(tenant.as_str())
        .bind(command.to_string())
        .fetch_optional(self.readers())
        .await?;
        row.as_ref().map(receipt).transpose()
    }

    async fn receipts_of_nonce(
        &self,
        tenant: &TenantId,
        gateway: &GatewayId,
        nonce: &str,
        limit: u32,
    ) -> Result<Vec<StoredReceipt>, Error> {
        // As in `receipt_of`.
        let rows = sqlx::query(receipts!(
            "+tenant = $1 AND +gateway = $2 AND json_extract(body, '$.challenge.nonce') = $3 LIMIT $4"
        ))
        .bind(tenant.as_str())
        .bind(gateway.as_str())
        .bind(nonce)
        .bind(i64::from(clamp(limit)))
        .fetch_all(self.readers())
        .await?;
        rows.iter().map(receipt).collect()
    }

    async fn put_outcome(
        &self,
        tenant: &TenantId,
        command: &CommandId,
        outcome: State,
    ) -> Result<(), Error> {
        let mut transaction = self.write().await?;
        let put = said(&mut transaction, tenant, command, outcome).await;
        transaction.end(put.map(drop)).await
    }

    async fn keep_receipts(
        &self,
        tenant: &TenantId,
        receipts: &[BroughtReceipt],
    ) -> Result<(), Error> {
        let mut transaction = self.write().await?;
        let kept = async {
            for receipt in receipts {
                keep(&mut transaction, tenant, receipt).await?;
            }
            forget(&mut transaction, tenant).await
        };
        let kept = kept.await;
        transaction.end(kept).await
    }

    async fn receipts(
        &self,
        tenant: &TenantId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<StoredReceipt>, Error> {
        let (offset, received_us) = match pair::<String, i64>(after)? {
            Some((place, received_us)) => (place, received_us),
            None => (String::new(), i64::MAX),
        };
        let (gateway, chain, number) = cursor(&offset)?;
        let rows = sqlx::query(receipts!(
            "tenant = $1 AND (received_us, gateway, chain, number) < ($2, $3, $4, $5) \
             ORDER BY received_us DESC, gateway DESC, chain DESC, number DESC LIMIT $6"
        ))
        .bind(tenant.as_str())
        .bind(received_us)
        .bind(gateway)
        .bind(chain)
        .bind(number)
        .bind(i64::from(clamp(limit)) + 1)
        .fetch_all(self.readers())
        .await?;
        let all = rows.iter().map(receipt).collect::<Result<_, _>>()?;
        Ok(Page::cut(all, limit, |it: &StoredReceipt| {
            format!(
                "{}/{}/{}:{}",
                it.gateway, it.chain, it.number, it.received_us
            )
        }))
    }
}

/// Notes what became of the command of a receipt, if that is news; says whether it was.
pub(super) async fn said(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    command: &CommandId,
    state: State,
) -> Result<bool, Error> {
    if !state.is_settled() {
        return Ok(false);
    }
    // Who says that it was not begun in time may have been told too early.
    let put = sqlx::query(
        "UPDATE access_receipts SET outcome = $3 \
         WHERE +tenant = $1 AND json_extract(body, '$.command') = $2 \
         AND (outcome = 'unknown' OR outcome = 'expired' AND $3 <> 'expired')",
    )
    .bind(tenant.as_str())
    .bind(command.to_string())
    .bind(state.as_str())
    .execute(connection)
    .await?;
    Ok(put.rows_affected() > 0)
}

/// Gateway, chain and number of a cursor.
fn cursor(text: &str) -> Result<(&str, &str, i64), Error> {
    if text.is_empty() {
        return Ok(("", "", 0));
    }
    let mut parts = text.split('/');
    let (gateway, chain, number) = (parts.next(), parts.next(), parts.next());
    let number = number.and_then(|number| number.parse().ok());
    match (gateway, chain, number, parts.next()) {
        (Some(gateway), Some(chain), Some(number), None) => Ok((gateway, chain, number)),
        _ => Err(Error::invalid("after", "take it from the page before")),
    }
}

async fn put_right(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    right: &NewRight,
) -> Result<bool, Error> {
    let there = sqlx::query("SELECT 1 FROM access_rights WHERE tenant = $1 AND right_id = $2")
        .bind(tenant.as_str())
        .bind(right.right.as_str())
        .fetch_optional(&mut *connection)
        .await?;
    if there.is_some() {
        return Ok(false);
    }
    if right.source == TOKEN_SOURCE {
        make_room(&mut *connection, tenant, right).await?;
    }
    let (run, step) = right.cause.unzip();
    let made = sqlx::query(
        "INSERT INTO access_rights (tenant, right_id, holder, device, source, body, run, step, \
         taken, until_us, made_us) SELECT $1, $2, $3, $4, $5, $6, $7, $8, 0, $9, $10 \
         WHERE (SELECT COUNT(*) FROM access_rights WHERE tenant = $1 AND until_us > $10) \
         + (SELECT COUNT(*) FROM access_rights WHERE tenant = $1 AND until_us IS NULL) < $11",
    )
    .bind(tenant.as_str())
    .bind(right.right.as_str())
    .bind(right.holder.to_vec())
    .bind(right.device.as_str())
    .bind(right.source.as_str())
    .bind(right.body.as_str())
    .bind(run.map(|run| run.0.to_vec()))
    .bind(step.map(i64::from))
    .bind(right.until_us)
    .bind(right.made_us)
    .bind(i64::from(MAX_RIGHTS))
    .execute(&mut *connection)
    .await
    .map_err(|error| of_tenant(error, tenant.as_str()))?;
    if made.rows_affected() == 0 {
        return Err(Error::Conflict(format!(
            "there are {MAX_RIGHTS} rights that hold, the most that a tenant may have"
        )));
    }
    // Whoever was quicker with its credential than this.
    sqlx::query(
        "INSERT INTO access_standings (tenant, right_id, by_cause, from_us, standing, known_us) \
         SELECT tenant, credential, 0, changed_us, standing, changed_us FROM credentials \
         WHERE tenant = $1 AND credential = $2 AND standing <> 'good'",
    )
    .bind(tenant.as_str())
    .bind(right.right.as_str())
    .execute(connection)
    .await?;
    Ok(true)
}

/// Sees to it that one more right that a token stands for is not one too many of its account or its device.
async fn make_room(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    right: &NewRight,
) -> Result<(), Error> {
    let row = sqlx::query(
        "SELECT COUNT(*) AS count, COUNT(CASE WHEN r.holder = $3 THEN 1 END) AS own \
         FROM access_rights r JOIN credentials c \
         ON c.tenant = r.tenant AND c.credential = r.right_id \
         WHERE r.source = 'token' AND r.tenant = $1 AND r.device = $2 \
         AND (r.until_us IS NULL OR r.until_us > $4) AND c.standing <> 'revoked'",
    )
    .bind(tenant.as_str())
    .bind(right.device.as_str())
    .bind(right.holder.to_vec())
    .bind(right.made_us)
    .fetch_one(&mut *connection)
    .await?;
    let device = &right.device;
    if row.int("own")? >= i64::from(MAX_TOKEN_RIGHTS) {
        if end_gone(connection, tenant, right, Some(&right.holder)).await? {
            return Ok(());
        }
        return Err(Error::Conflict(format!(
            "this account has {MAX_TOKEN_RIGHTS} rights to command {device} by its tokens, the most that one has: \
             use one of them (the same commands again are the same right), or have the tenant take one away that \
             is not used"
        )));
    }
    if row.int("count")? >= i64::from(MAX_DEVICE_TOKEN_RIGHTS)
        && !end_gone(connection, tenant, right, None).await?
    {
        return Err(Error::Conflict(format!(
            "{MAX_DEVICE_TOKEN_RIGHTS} rights to command {device} hold by its tokens, the most that there are of \
             one device: wait until one is over, or have the tenant take some away that are not used"
        )));
    }
    Ok(())
}

/// Ends the right to a device that has been suspended the longest because its token is gone, of one account or of
/// all; `false`: there is none. Whoever has the token again asks again.
async fn end_gone(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    right: &NewRight,
    holder: Option<&WalletKey>,
) -> Result<bool, Error> {
    let row = sqlx::query(
        "SELECT r.right_id AS right_id FROM access_rights r JOIN credentials c \
         ON c.tenant = r.tenant AND c.credential = r.right_id \
         WHERE r.source = 'token' AND r.tenant = $1 AND r.device = $2 \
         AND ($3 IS NULL OR r.holder = $3) AND r.taken = 1 AND c.standing = 'suspended' \
         AND (r.until_us IS NULL OR r.until_us > $4) \
         ORDER BY c.changed_us, r.right_id LIMIT 1",
    )
    .bind(tenant.as_str())
    .bind(right.device.as_str())
    .bind(holder.map(|holder| holder.to_vec()))
    .bind(right.made_us)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = row else { return Ok(false) };
    let gone = row.text("right_id")?;
    for statement in [
        "UPDATE access_rights SET until_us = $3 WHERE tenant = $1 AND right_id = $2",
        "UPDATE credentials SET valid_until_us = $3 WHERE tenant = $1 AND credential = $2",
    ] {
        sqlx::query(statement)
            .bind(tenant.as_str())
            .bind(gone.as_str())
            .bind(right.made_us)
            .execute(&mut *connection)
            .await?;
    }
    Ok(true)
}

/// Takes rights with their credentials, which stand for them. What has ended begins no more, and what was
/// revoked stays so: it is as it was found.
async fn take(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    rights: &[String],
) -> Result<u64, Error> {
    let mut gone = 0;
    for right in rights {
        for statement in [
            "DELETE FROM access_standings WHERE tenant = $1 AND right_id = $2",
            "DELETE FROM access_judging WHERE tenant = $1 AND right_id = $2",
            "DELETE FROM access_rights WHERE tenant = $1 AND right_id = $2",
            "DELETE FROM credentials WHERE tenant = $1 AND credential = $2",
        ] {
            sqlx::query(statement)
                .bind(tenant.as_str())
                .bind(right)
                .execute(&mut *connection)
                .await?;
        }
        gone += 1;
    }
    Ok(gone)
}

async fn keep(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    BroughtReceipt { receipt, revision }: &BroughtReceipt,
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO access_receipts (tenant, gateway, chain, number, hash, body, outcome, follows, \
         conflict, at_us, received_us, right_id, told) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT (tenant, gateway, chain, number) DO NOTHING",
    )
    .bind(tenant.as_str())
    .bind(receipt.gateway.as_str())
    .bind(receipt.chain.as_str())
    .bind(bigint("number", receipt.number)?)
    .bind(receipt.hash.to_vec())
    .bind(receipt.body.as_str())
    .bind(receipt.outcome.as_str())
    .bind(i64::from(receipt.follows))
    .bind(receipt.conflict.as_deref())
    .bind(receipt.at_us)
    .bind(receipt.received_us)
    .bind(receipt.right.as_str())
    .bind(i64::from(receipt.told))
    .execute(&mut *connection)
    .await
    .map_err(|error| of_tenant(error, tenant.as_str()))?;
    let Some(revision) = revision else {
        return Ok(());
    };
    // How its right stands may have become known between the judgement and now.
    let other = sqlx::query(
        "SELECT 1 FROM access_rights WHERE tenant = $1 AND right_id = $2 AND revision <> $3",
    )
    .bind(tenant.as_str())
    .bind(receipt.right.as_str())
    .bind(bigint("revision", *revision)?)
    .fetch_optional(&mut *connection)
    .await?;
    match other {
        Some(_) => {
            let (right, at_us) = (receipt.right.as_str(), receipt.at_us);
            judging::queue(connection, tenant, right, at_us, receipt.received_us).await
        }
        None => Ok(()),
    }
}

/// Lets the oldest go of more than are kept.
async fn forget(connection: &mut SqliteConnection, tenant: &TenantId) -> Result<(), Error> {
    sqlx::query(
        "DELETE FROM access_receipts WHERE tenant = $1 AND (gateway, chain, number) IN \
         (SELECT gateway, chain, number FROM access_receipts WHERE tenant = $1 \
         ORDER BY received_us DESC, gateway DESC, chain DESC, number DESC LIMIT -1 OFFSET $2)",
    )
    .bind(tenant.as_str())
    .bind(i64::from(MAX_RECEIPTS))
    .execute(connection)
    .await
    .map(drop)
    .map_err(Error::from)
}

fn stored(row: &SqliteRow) -> Result<StoredRight, Error> {
    let standing = row.text("standing")?;
    let run = row.maybe_bytes("run")?;
    let run = run
        .map(|run| <[u8; 32]>::try_from(run).map(RunId))
        .transpose()
        .map_err(|_| Error::corrupt("run", "it has not 32 bytes"))?;
    let step: Option<u32> = row.maybe_number("step")?;
    Ok(StoredRight {
        tenant: row.parsed("tenant")?,
        right: NewRight {
            right: row.text("right_id")?,
            holder: row.array("holder")?,
            device: row.parsed("device")?,
            source: row.text("source")?,
            body: row.text("body")?,
            cause: run.zip(step),
            until_us: row.maybe_int("until_us")?,
            made_us: row.int("made_us")?,
        },
        taken: row.flag("taken")?,
        standing: CredentialStanding::parse(&standing)
            .ok_or_else(|| Error::corrupt("standing", standing))?,
        changed_us: row.int("changed_us")?,
        list: row.number("list")?,
        bit: row.number("bit")?,
        revision: row.number("revision")?,
    })
}

pub(super) fn receipt(row: &SqliteRow) -> Result<StoredReceipt, Error> {
    Ok(StoredReceipt {
        gateway: row.parsed("gateway")?,
        chain: row.text("chain")?,
        number: row.number("number")?,
        hash: row.array("hash")?,
        body: row.text("body")?,
        right: row.text("right_id")?,
        outcome: row.text("outcome")?,
        follows: row.flag("follows")?,
        conflict: row.maybe_text("conflict")?,
        told: row.flag("told")?,
        at_us: row.int("at_us")?,
        received_us: row.int("received_us")?,
    })
}
