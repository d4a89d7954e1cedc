//! Who controls devices by what a chain says.

mod documents;
mod forget;

use async_trait::async_trait;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;
use stencil_protocol::id::{DeviceId, TenantId};

use super::failure::of_tenant;
use super::row::{Columns as _, bigint};
use super::transaction::Transaction;
use super::{Sqlite, chains, commands, pair};
use crate::ownership::{
    Anew, DevicePassport, Document, DocumentHead, Followed, HeldCommit, HeldDevice, HeldToken,
    MAX_DOCUMENT, MAX_HELD_TOKENS, Ownership, StoredOwnership, TokenKey,
};
use crate::page::clamp;
use crate::{Error, Page, PayerKey};

const HELD: &str =
    "tenant, chain, collection, token, version, body, holder, passport, looked, changed_us, ends_s";

#[async_trait]
impl Ownership for Sqlite {
    async fn put_ownership(&self, ownership: &StoredOwnership, anew: &Anew) -> Result<(), Error> {
        let mut transaction = self.write().await?;
        let put = async {
            put_policy(&mut transaction, ownership, anew).await?;
            put_aside(&mut transaction, ownership, anew).await?;
            let before = anew.before.as_ref();
            if before.is_some_and(|before| *before != ownership.body) {
                let (tenant, now_us) = (&ownership.tenant, ownership.changed_us);
                commands::allowed_anew(&mut transaction, tenant, None, now_us).await?;
            }
            Ok(())
        }
        .await;
        transaction.end(put).await
    }

    async fn remove_ownership(&self, tenant: &TenantId, now_us: i64) -> Result<bool, Error> {
        let mut transaction = self.write().await?;
        let removed = async {
            ask_no_more(&mut transaction, tenant, "", &[]).await?;
            commands::allowed_anew(&mut transaction, tenant, None, now_us).await?;
            let done = sqlx::query("DELETE FROM ownership WHERE tenant = $1")
                .bind(tenant.as_str())
                .execute(&mut *transaction)
                .await?;
            Ok(done.rows_affected() == 1)
        }
        .await;
        transaction.end(removed).await
    }

    async fn ownership(&self, tenant: &TenantId) -> Result<Option<StoredOwnership>, Error> {
        let row =
            sqlx::query("SELECT tenant, chain, body, changed_us FROM ownership WHERE tenant = $1")
                .bind(tenant.as_str())
                .fetch_optional(self.readers())
                .await?;
        row.as_ref().map(stored_ownership).transpose()
    }

    async fn all_ownership(&self) -> Result<Vec<StoredOwnership>, Error> {
        let rows =
            sqlx::query("SELECT tenant, chain, body, changed_us FROM ownership ORDER BY tenant")
                .fetch_all(self.readers())
                .await?;
        rows.iter().map(stored_ownership).collect()
    }

    async fn put_device_passport(&self, passport: &DevicePassport) -> Result<(), Error> {
        let mut transaction = self.write().await?;
        let put = put_passport(&mut transaction, passport).await;
        transaction.end(put).await
    }

    async fn remove_device_passport(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        now_us: i64,
    ) -> Result<bool, Error> {
        let mut transaction = self.write().await?;
        let removed = async {
            commands::allowed_anew(&mut transaction, tenant, Some(device), now_us).await?;
            let done =
                sqlx::query("DELETE FROM device_passports WHERE tenant = $1 AND device = $2")
                    .bind(tenant.as_str())
                    .bind(device.as_str())
                    .execute(&mut *transaction)
                    .await?;
            Ok(done.rows_affected() == 1)
        }
        .await;
        transaction.end(removed).await
    }

    async fn device_with(
        &self,
        tenant: &TenantId,
        passport: &TokenKey,
    ) -> Result<Option<DeviceId>, Error> {
        let row =
            sqlx::query("SELECT device FROM device_passports WHERE tenant = $1 AND token = $2")
                .bind(tenant.as_str())
                .bind(passport.to_vec())
                .fetch_optional(self.readers())
                .await?;
        row.map(|row| row.parsed("device")).transpose()
    }

    async fn device_passport(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
    ) -> Result<Option<DevicePassport>, Error> {
        let row = sqlx::query(
            "SELECT tenant, device, token, did, created_us FROM device_passports \
             WHERE tenant = $1 AND device = $2",
        )
        .bind(tenant.as_str())
        .bind(device.as_str())
        .fetch_optional(self.readers())
        .await?;
        row.map(|row| {
            Ok(DevicePassport {
                tenant: row.parsed("tenant")?,
                device: row.parsed("device")?,
                token: row.array("token")?,
                did: row.maybe_text("did")?,
                created_us: row.int("created_us")?,
            })
        })
        .transpose()
    }

    async fn held_token(
        &self,
        tenant: &TenantId,
        chain: &str,
        collection: &PayerKey,
        token: &TokenKey,
    ) -> Result<Option<HeldToken>, Error> {
        let row = sqlx::query(statement(
            "tenant = $1 AND chain = $2 AND collection = $3 AND token = $4",
        ))
        .bind(tenant.as_str())
        .bind(chain)
        .bind(collection.to_vec())
        .bind(token.to_vec())
        .fetch_optional(self.readers())
        .await?;
        row.as_ref().map(held).transpose()
    }

    async fn rights_to(
        &self,
        tenant: &TenantId,
        chain: &str,
        collection: &PayerKey,
        passport: &TokenKey,
        holder: Option<&PayerKey>,
        now_s: u64,
        limit: u32,
    ) -> Result<Vec<HeldToken>, Error> {
        let of_holder = match holder {
            Some(_) => "AND holder = $5",
            None => "AND $5 IS NULL",
        };
        let rest = format!(
            "tenant = $1 AND chain = $2 AND collection = $3 AND passport = $4 {of_holder} \
             ORDER BY (ends_s IS NULL OR ends_s >= $7) DESC, \
             COALESCE(ends_s, 9223372036854775807) DESC, changed_us DESC, token DESC LIMIT $6"
        );
        let rows = sqlx::query(statement(&rest))
            .bind(tenant.as_str())
            .bind(chain)
            .bind(collection.to_vec())
            .bind(passport.to_vec())
            .bind(holder.map(|holder| holder.to_vec()))
            .bind(i64::from(clamp(limit)))
            .bind(i64::try_from(now_s).unwrap_or(i64::MAX))
            .fetch_all(self.readers())
            .await?;
        rows.iter().map(held).collect()
    }

    async fn rights_of(
        &self,
        tenant: &TenantId,
        chain: &str,
        collection: &PayerKey,
        holder: &PayerKey,
        now_s: u64,
        limit: u32,
    ) -> Result<Vec<(DeviceId, HeldToken)>, Error> {
        let columns = HELD.replace(", ", ", h.");
        let statement = sqlx::AssertSqlSafe(format!(
            "SELECT h.{columns}, d.device AS device FROM held_tokens h \
             JOIN device_passports d ON d.tenant = h.tenant AND d.token = h.passport \
             WHERE h.tenant = $1 AND h.chain = $2 AND h.collection = $3 AND h.holder = $4 \
             ORDER BY (h.ends_s IS NULL OR h.ends_s >= $6) DESC, \
             COALESCE(h.ends_s, 9223372036854775807) DESC, h.changed_us DESC, h.token DESC LIMIT $5"
        ));
        let rows = sqlx::query(statement)
            .bind(tenant.as_str())
            .bind(chain)
            .bind(collection.to_vec())
            .bind(holder.to_vec())
            .bind(i64::from(clamp(limit)))
            .bind(i64::try_from(now_s).unwrap_or(i64::MAX))
            .fetch_all(self.readers())
            .await?;
        rows.iter()
            .map(|row| Ok((row.parsed("device")?, held(row)?)))
            .collect()
    }

    async fn devices_held(
        &self,
        holder: &PayerKey,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<HeldDevice>, Error> {
        let (tenant, device) = match pair::<TenantId, DeviceId>(after)? {
            Some((tenant, device)) => (tenant.to_string(), device.to_string()),
            None => (String::new(), String::new()),
        };
        // A right names the passport; of a passport that is its own id.
        let rows = sqlx::query(
            "SELECT DISTINCT d.tenant AS tenant, d.device AS device \
             FROM held_tokens h JOIN ownership o ON o.tenant = h.tenant AND o.chain = h.chain \
             JOIN device_passports d \
             ON d.tenant = h.tenant AND d.token = COALESCE(h.passport, h.token) \
             WHERE h.holder = $1 AND (d.tenant, d.device) > ($2, $3) \
             ORDER BY d.tenant, d.device LIMIT $4",
        )
        .bind(holder.to_vec())
        .bind(tenant)
        .bind(device)
        .bind(i64::from(clamp(limit)) + 1)
        .fetch_all(self.readers())
        .await?;
        let devices = rows
            .iter()
            .map(|row| {
                Ok(HeldDevice {
                    tenant: row.parsed("tenant")?,
                    device: row.parsed("device")?,
                })
            })
            .collect::<Result<_, Error>>()?;
        Ok(Page::cut(devices, limit, |held: &HeldDevice| {
            format!("{}:{}", held.tenant, held.device)
        }))
    }

    async fn looked_tokens(
        &self,
        tenant: &TenantId,
        chain: &str,
        finalized: u64,
        limit: u32,
    ) -> Result<Vec<HeldToken>, Error> {
        let rows = sqlx::query(statement(
            "chain = $1 AND looked <= $2 AND tenant = $4 ORDER BY looked, collection, token LIMIT $3",
        ))
        .bind(chain)
        .bind(bigint("block", finalized)?)
        .bind(i64::from(clamp(limit)))
        .bind(tenant.as_str())
        .fetch_all(self.readers())
        .await?;
        rows.iter().map(held).collect()
    }

    async fn commit_held(&self, commit: &HeldCommit) -> Result<u64, Error> {
        let mut transaction = self.write().await?;
        let done = apply(&mut transaction, commit).await;
        transaction.end(done).await
    }

    async fn forget_held(
        &self,
        tenant: &TenantId,
        followed: Option<&Followed>,
        before_us: i64,
        limit: u32,
    ) -> Result<u64, Error> {
        forget::forget(self, tenant, followed, before_us, limit).await
    }

    async fn held_count(&self, tenant: &TenantId) -> Result<u64, Error> {
        let row = sqlx::query("SELECT held_count FROM tenants WHERE tenant = $1")
            .bind(tenant.as_str())
            .fetch_optional(self.readers())
            .await?;
        row.map_or(Ok(0), |row| row.number("held_count"))
    }

    async fn put_document(
        &self,
        tenant: &TenantId,
        sha256: &TokenKey,
        document: &Document,
        now_us: i64,
    ) -> Result<(bool, DocumentHead), Error> {
        if document.body.len() > MAX_DOCUMENT {
            let why = format!("{} bytes, at most {MAX_DOCUMENT}", document.body.len());
            return Err(Error::invalid("document", why));
        }
        let mut transaction = self.write().await?;
        let put = documents::put(&mut transaction, tenant, sha256, document, now_us).await;
        transaction.end(put).await
    }

    async fn document(&self, sha256: &TokenKey) -> Result<Option<Document>, Error> {
        let row = sqlx::query(
            "SELECT media_type, body FROM documents WHERE sha256 = $1 ORDER BY tenant LIMIT 1",
        )
        .bind(sha256.to_vec())
        .fetch_optional(self.readers())
        .await?;
        row.map(|row| {
            Ok(Document {
                media_type: row.text("media_type")?,
                body: row.bytes("body")?,
            })
        })
        .transpose()
    }

    async fn documents(
        &self,
        tenant: &TenantId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<DocumentHead>, Error> {
        let after = hex::decode(after.unwrap_or_default())
            .map_err(|_| Error::invalid("cursor", "no hash"))?;
        let rows = sqlx::query(
            "SELECT sha256, media_type, LENGTH(body) AS bytes, created_us FROM documents \
             WHERE tenant = $1 AND sha256 > $2 ORDER BY sha256 LIMIT $3",
        )
        .bind(tenant.as_str())
        .bind(after)
        .bind(i64::from(clamp(limit)) + 1)
        .fetch_all(self.readers())
        .await?;
        let documents = rows
            .iter()
            .map(documents::head)
            .collect::<Result<_, Error>>()?;
        Ok(Page::cut(documents, limit, |document: &DocumentHead| {
            document.sha256.clone()
        }))
    }

    async fn remove_document(&self, tenant: &TenantId, sha256: &TokenKey) -> Result<bool, Error> {
        let mut transaction = self.write().await?;
        let removed = sqlx::query("DELETE FROM documents WHERE tenant = $1 AND sha256 = $2")
            .bind(tenant.as_str())
            .bind(sha256.to_vec())
            .execute(&mut *transaction)
            .await
            .map(|done| done.rows_affected() == 1)
            .map_err(Error::from);
        transaction.end(removed).await
    }
}

async fn put_passport(
    connection: &mut SqliteConnection,
    passport: &DevicePassport,
) -> Result<(), Error> {
    let other = sqlx::query(
        "SELECT device FROM device_passports WHERE tenant = $1 AND token = $2 AND device <> $3",
    )
    .bind(passport.tenant.as_str())
    .bind(passport.token.to_vec())
    .bind(passport.device.as_str())
    .fetch_optional(&mut *connection)
    .await?;
    if let Some(other) = other {
        let device = other.text("device")?;
        return Err(Error::Conflict(format!(
            "device {device} has this passport: a passport is of one device"
        )));
    }
    let (tenant, device) = (&passport.tenant, &passport.device);
    let before = sqlx::query(
        "SELECT 1 FROM device_passports WHERE tenant = $1 AND device = $2 AND token <> $3",
    )
    .bind(tenant.as_str())
    .bind(device.as_str())
    .bind(passport.token.to_vec())
    .fetch_optional(&mut *connection)
    .await?;
    if before.is_some() {
        let now_us = passport.created_us;
        commands::allowed_anew(connection, tenant, Some(device), now_us).await?;
    }
    sqlx::query(
        "INSERT INTO device_passports (tenant, device, token, did, created_us) \
         VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (tenant, device) DO UPDATE SET token = $3, did = $4, created_us = $5",
    )
    .bind(passport.tenant.as_str())
    .bind(passport.device.as_str())
    .bind(passport.token.to_vec())
    .bind(passport.did.as_deref())
    .bind(passport.created_us)
    .execute(connection)
    .await
    .map_err(|error| of_tenant(error, passport.tenant.as_str()))?;
    Ok(())
}

/// Sets a policy, if the one before is still the one that was looked at.
async fn put_policy(
    connection: &mut SqliteConnection,
    ownership: &StoredOwnership,
    anew: &Anew,
) -> Result<(), Error> {
    let row = sqlx::query("SELECT body FROM ownership WHERE tenant = $1")
        .bind(ownership.tenant.as_str())
        .fetch_optional(&mut *connection)
        .await?;
    let before = row.map(|row| row.text("body")).transpose()?;
    if before != anew.before {
        let why = "the settings of ownership were changed meanwhile: try again";
        return Err(Error::Conflict(why.to_owned()));
    }
    sqlx::query(
        "INSERT INTO ownership (tenant, chain, body, changed_us) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (tenant) DO UPDATE SET chain = $2, body = $3, changed_us = $4",
    )
    .bind(ownership.tenant.as_str())
    .bind(ownership.chain.as_str())
    .bind(ownership.body.as_str())
    .bind(ownership.changed_us)
    .execute(connection)
    .await
    .map_err(|error| of_tenant(error, ownership.tenant.as_str()))?;
    Ok(())
}

/// Puts aside what is kept of tokens that are followed anew.
async fn put_aside(
    connection: &mut SqliteConnection,
    ownership: &StoredOwnership,
    anew: &Anew,
) -> Result<(), Error> {
    let (tenant, chain) = (&ownership.tenant, ownership.chain.as_str());
    ask_no_more(connection, tenant, chain, &anew.followed).await?;
    for collection in &anew.collections {
        sqlx::query(
            "UPDATE held_tokens SET version = version + 1, body = $4, holder = NULL, \
             passport = NULL, looked = 0, changed_us = $5 \
             WHERE tenant = $1 AND chain = $2 AND collection = $3",
        )
        .bind(tenant.as_str())
        .bind(chain)
        .bind(collection.to_vec())
        .bind(anew.body.as_str())
        .bind(ownership.changed_us)
        .execute(&mut *connection)
        .await?;
        commands::asked_anew(connection, tenant, collection, ownership.changed_us).await?;
    }
    let Some(passports) = anew.passports else {
        return Ok(());
    };
    // No more than there is room for; a device that is left out gets its passport again.
    sqlx::query(
        "INSERT INTO held_tokens (tenant, chain, collection, token, version, body, looked, changed_us) \
         SELECT tenant, $2, $3, token, 1, $4, 0, $5 FROM device_passports WHERE tenant = $1 \
         ORDER BY device \
         LIMIT MAX(0, $6 - (SELECT held_count FROM tenants WHERE tenant = $1)) \
         ON CONFLICT DO NOTHING",
    )
    .bind(tenant.as_str())
    .bind(chain)
    .bind(passports.to_vec())
    .bind(anew.body.as_str())
    .bind(ownership.changed_us)
    .bind(i64::from(MAX_HELD_TOKENS))
    .execute(connection)
    .await?;
    Ok(())
}

/// Contracts of other collections than these are not asked about a tenant's tokens any more.
async fn ask_no_more(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    chain: &str,
    kept: &[PayerKey],
) -> Result<(), Error> {
    let kept: Vec<String> = kept.iter().map(hex::encode_upper).collect();
    sqlx::query(
        "UPDATE held_tokens SET looked = NULL WHERE tenant = $1 AND looked IS NOT NULL \
         AND NOT (chain = $2 AND INSTR($3, HEX(collection)) > 0)",
    )
    .bind(tenant.as_str())
    .bind(chain)
    .bind(kept.join(" "))
    .execute(connection)
    .await?;
    Ok(())
}

async fn apply(transaction: &mut Transaction, commit: &HeldCommit) -> Result<u64, Error> {
    if let Some(passport) = &commit.passport {
        put_passport(transaction, passport).await?;
    }
    let mut left_out = 0;
    for token in &commit.tokens {
        if !put_held(transaction, token).await? {
            left_out += 1;
        }
    }
    match &commit.read {
        Some((chain, reader, position)) => {
            chains::advance(transaction, chain, reader, *position).await?;
        }
        None if left_out > 0 => {
            let why =
                format!("there are {MAX_HELD_TOKENS} tokens, the most that are kept of a tenant");
            return Err(Error::Conflict(why));
        }
        None => {}
    }
    Ok(left_out)
}

/// Puts a token, if its version follows the one that is there; `false`: there are too many.
async fn put_held(connection: &mut SqliteConnection, token: &HeldToken) -> Result<bool, Error> {
    let is_new = token.version == 1;
    if is_new {
        let row = sqlx::query("SELECT held_count FROM tenants WHERE tenant = $1")
            .bind(token.tenant.as_str())
            .fetch_optional(&mut *connection)
            .await?;
        let count = row.map(|row| row.int("held_count")).transpose()?;
        if count.is_some_and(|count| count >= i64::from(MAX_HELD_TOKENS)) {
            return Ok(false);
        }
    }
    let statement = if is_new {
        "INSERT INTO held_tokens (tenant, chain, collection, token, version, body, holder, \
         passport, looked, changed_us, ends_s) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) \
         ON CONFLICT DO NOTHING"
    } else {
        "UPDATE held_tokens SET version = $5, body = $6, holder = $7, passport = $8, looked = $9, \
         changed_us = $10, ends_s = $11 WHERE tenant = $1 AND chain = $2 AND collection = $3 AND token = $4 \
         AND version = $5 - 1"
    };
    let looked = token
        .looked
        .map(|block| bigint("block", block))
        .transpose()?;
    commands::passed_on(
        connection,
        &token.tenant,
        &held_key(&token.collection, &token.token),
        token.holder.as_ref(),
        token.changed_us,
    )
    .await?;
    let done = sqlx::query(statement)
        .bind(token.tenant.as_str())
        .bind(token.chain.as_str())
        .bind(token.collection.to_vec())
        .bind(token.token.to_vec())
        .bind(bigint("version", token.version)?)
        .bind(token.body.as_str())
        .bind(token.holder.map(|holder| holder.to_vec()))
        .bind(token.passport.map(|passport| passport.to_vec()))
        .bind(looked)
        .bind(token.changed_us)
        .bind(
            token
                .ends_s
                .map(|ends| i64::try_from(ends).unwrap_or(i64::MAX)),
        )
        .execute(connection)
        .await
        .map_err(|error| of_tenant(error, token.tenant.as_str()))?;
    if done.rows_affected() == 0 {
        let (id, version) = (hex::encode(token.token), token.version);
        return Err(Error::Conflict(format!(
            "token {id} was changed meanwhile: {version} is not next"
        )));
    }
    Ok(true)
}

/// What commands name a token by.
pub(super) fn held_key(collection: &PayerKey, token: &TokenKey) -> Vec<u8> {
    [collection.as_slice(), token.as_slice()].concat()
}

/// A statement about tokens; no part of it comes from outside.
fn statement(rest: &str) -> sqlx::AssertSqlSafe<String> {
    sqlx::AssertSqlSafe(format!("SELECT {HELD} FROM held_tokens WHERE {rest}"))
}

fn stored_ownership(row: &SqliteRow) -> Result<StoredOwnership, Error> {
    Ok(StoredOwnership {
        tenant: row.parsed("tenant")?,
        chain: row.text("chain")?,
        body: row.text("body")?,
        changed_us: row.int("changed_us")?,
    })
}

fn held(row: &SqliteRow) -> Result<HeldToken, Error> {
    let holder = row.maybe_bytes("holder")?.map(|_| row.array("holder"));
    let passport = row.maybe_bytes("passport")?.map(|_| row.array("passport"));
    Ok(HeldToken {
        tenant: row.parsed("tenant")?,
        chain: row.text("chain")?,
        collection: row.array("collection")?,
        token: row.array("token")?,
        version: row.number("version")?,
        body: row.text("body")?,
        holder: holder.transpose()?,
        passport: passport.transpose()?,
        looked: row.maybe_number("looked")?,
        ends_s: row.maybe_number("ends_s")?,
        changed_us: row.int("changed_us")?,
    })
}
