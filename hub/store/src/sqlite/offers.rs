//! Offers, purchases, and what payers have under way.

use async_trait::async_trait;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;
use stencil_protocol::id::{CommandId, TenantId};

use super::failure::of_tenant;
use super::payments::payees;
use super::row::{Columns as _, bigint};
use super::{Sqlite, pair};
use crate::offers::{
    MAX_OFFER_NAME, MAX_OFFERS, MAX_UNDER_WAY, Offers, PayerKey, StoredExposure, StoredOffer,
    StoredPurchase, UNDER_WAY_SHARE,
};
use crate::page::clamp;
use crate::{Error, InvoiceKey, Page};

const PURCHASE: &str = "tenant, purchase, version, offer, payer, body, wakes_us, under_way, \
    command, created_us, changed_us";

#[async_trait]
impl Offers for Sqlite {
    async fn put_offer(
        &self,
        tenant: &TenantId,
        offer: &str,
        body: &str,
        payees: &[(u64, [u8; 20])],
        now_us: i64,
    ) -> Result<bool, Error> {
        if !(1..=MAX_OFFER_NAME).contains(&offer.len()) {
            let why = format!("{} bytes, not 1 to {MAX_OFFER_NAME}", offer.len());
            return Err(Error::invalid("offer", why));
        }
        let mut transaction = self.write().await?;
        let put = async {
            let is_new = put_offer(&mut transaction, tenant, offer, body, now_us).await?;
            payees::of_offer(&mut transaction, tenant, offer, payees).await?;
            Ok(is_new)
        };
        let put = put.await;
        transaction.end(put).await
    }

    async fn remove_offer(&self, tenant: &TenantId, offer: &str) -> Result<bool, Error> {
        let mut transaction = self.write().await?;
        let removed = async {
            payees::of_offer(&mut transaction, tenant, offer, &[]).await?;
            let gone = sqlx::query("DELETE FROM offers WHERE tenant = $1 AND offer = $2")
                .bind(tenant.as_str())
                .bind(offer)
                .execute(&mut *transaction)
                .await?;
            Ok(gone.rows_affected() == 1)
        };
        let removed = removed.await;
        transaction.end(removed).await
    }

    async fn offer(&self, tenant: &TenantId, offer: &str) -> Result<Option<StoredOffer>, Error> {
        let row = sqlx::query(
            "SELECT offer, body, created_us, changed_us FROM offers \
             WHERE tenant = $1 AND offer = $2",
        )
        .bind(tenant.as_str())
        .bind(offer)
        .fetch_optional(self.readers())
        .await?;
        row.as_ref().map(stored_offer).transpose()
    }

    async fn offers(
        &self,
        tenant: &TenantId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<StoredOffer>, Error> {
        let rows = sqlx::query(
            "SELECT offer, body, created_us, changed_us FROM offers \
             WHERE tenant = $1 AND offer > $2 ORDER BY offer LIMIT $3",
        )
        .bind(tenant.as_str())
        .bind(after.unwrap_or_default())
        .bind(i64::from(clamp(limit)) + 1)
        .fetch_all(self.readers())
        .await?;
        let offers = rows.iter().map(stored_offer).collect::<Result<_, _>>()?;
        Ok(Page::cut(offers, limit, |offer: &StoredOffer| {
            offer.offer.clone()
        }))
    }

    async fn commit_purchase(
        &self,
        purchase: &StoredPurchase,
        exposure: Option<&StoredExposure>,
    ) -> Result<(), Error> {
        let mut transaction = self.write().await?;
        let done = commit(&mut transaction, purchase, exposure).await;
        transaction.end(done).await
    }

    async fn commission_purchase(
        &self,
        purchase: &StoredPurchase,
        exposure: &StoredExposure,
    ) -> Result<bool, Error> {
        let mut transaction = self.write().await?;
        let kept = async {
            if !has_place(&mut *transaction, &purchase.tenant).await? {
                return Ok(false);
            }
            commit(&mut transaction, purchase, Some(exposure)).await?;
            Ok(true)
        };
        let kept = kept.await;
        transaction.end(kept).await
    }

    async fn has_place(&self, tenant: &TenantId) -> Result<bool, Error> {
        has_place(self.readers(), tenant).await
    }

    async fn purchase(
        &self,
        tenant: &TenantId,
        purchase: &InvoiceKey,
    ) -> Result<Option<StoredPurchase>, Error> {
        let row = sqlx::query(statement("tenant = $1 AND purchase = $2"))
            .bind(tenant.as_str())
            .bind(purchase.to_vec())
            .fetch_optional(self.readers())
            .await?;
        row.as_ref().map(stored).transpose()
    }

    async fn purchase_of_command(
        &self,
        tenant: &TenantId,
        command: &CommandId,
    ) -> Result<Option<StoredPurchase>, Error> {
        let row = sqlx::query(statement("tenant = $1 AND command = $2"))
            .bind(tenant.as_str())
            .bind(command.0.to_vec())
            .fetch_optional(self.readers())
            .await?;
        row.as_ref().map(stored).transpose()
    }

    async fn purchases(
        &self,
        tenant: &TenantId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<StoredPurchase>, Error> {
        let (created_us, id) = match pair::<i64, CommandId>(after)? {
            Some((created_us, id)) => (created_us, id.0.to_vec()),
            // Longer than any id, and so behind all of them.
            None => (i64::MAX, vec![0xff; 17]),
        };
        let rows = sqlx::query(statement(
            "tenant = $1 AND (created_us, purchase) < ($2, $3) \
             ORDER BY created_us DESC, purchase DESC LIMIT $4",
        ))
        .bind(tenant.as_str())
        .bind(created_us)
        .bind(id)
        .bind(i64::from(clamp(limit)) + 1)
        .fetch_all(self.readers())
        .await?;
        let purchases = rows.iter().map(stored).collect::<Result<_, _>>()?;
        Ok(Page::cut(purchases, limit, |purchase: &StoredPurchase| {
            format!("{}:{}", purchase.created_us, hex::encode(purchase.purchase))
        }))
    }

    async fn waking_purchases(
        &self,
        now_us: i64,
        after: Option<&StoredPurchase>,
        limit: u32,
    ) -> Result<Vec<StoredPurchase>, Error> {
        let (wakes_us, tenant, purchase) = match after {
            None => (i64::MIN, "", Vec::new()),
            Some(last) => (
                last.wakes_us.unwrap_or(i64::MIN),
                last.tenant.as_str(),
                last.purchase.to_vec(),
            ),
        };
        let rows = sqlx::query(statement(
            "wakes_us <= $1 AND (wakes_us, tenant, purchase) > ($2, $3, $4) \
             ORDER BY wakes_us, tenant, purchase LIMIT $5",
        ))
        .bind(now_us)
        .bind(wakes_us)
        .bind(tenant)
        .bind(purchase)
        .bind(i64::from(clamp(limit)))
        .fetch_all(self.readers())
        .await?;
        rows.iter().map(stored).collect()
    }

    async fn waking_purchases_of(
        &self,
        tenant: &TenantId,
        payer: &PayerKey,
        now_us: i64,
        limit: u32,
    ) -> Result<Vec<StoredPurchase>, Error> {
        // Few wake at any time, and a tenant may have sold any number: `+` keeps to the index of those that wake.
        let rows = sqlx::query(statement(
            "wakes_us <= $1 AND +tenant = $2 AND payer = $3 \
             ORDER BY wakes_us, tenant, purchase LIMIT $4",
        ))
        .bind(now_us)
        .bind(tenant.as_str())
        .bind(payer.to_vec())
        .bind(i64::from(clamp(limit)))
        .fetch_all(self.readers())
        .await?;
        rows.iter().map(stored).collect()
    }

    async fn exposure(
        &self,
        tenant: &TenantId,
        asset: &str,
        payer: &PayerKey,
    ) -> Result<Option<StoredExposure>, Error> {
        let row = sqlx::query(
            "SELECT asset, payer, version, body FROM exposures \
             WHERE tenant = $1 AND asset = $2 AND payer = $3",
        )
        .bind(tenant.as_str())
        .bind(asset)
        .bind(payer.to_vec())
        .fetch_optional(self.readers())
        .await?;
        row.map(|row| {
            Ok(StoredExposure {
                asset: row.text("asset")?,
                payer: row.array("payer")?,
                version: row.number("version")?,
                body: row.text("body")?,
            })
        })
        .transpose()
    }

    async fn put_exposure(
        &self,
        tenant: &TenantId,
        exposure: &StoredExposure,
    ) -> Result<(), Error> {
        let mut transaction = self.write().await?;
        let done = put_exposure(&mut transaction, tenant, exposure).await;
        transaction.end(done).await
    }
}

async fn put_offer(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    offer: &str,
    body: &str,
    now_us: i64,
) -> Result<bool, Error> {
    let set = sqlx::query(
        "UPDATE offers SET body = $3, changed_us = $4 WHERE tenant = $1 AND offer = $2",
    )
    .bind(tenant.as_str())
    .bind(offer)
    .bind(body)
    .bind(now_us)
    .execute(&mut *connection)
    .await?;
    if set.rows_affected() == 1 {
        return Ok(false);
    }
    let made = sqlx::query(
        "INSERT INTO offers (tenant, offer, body, created_us, changed_us) \
         SELECT $1, $2, $3, $4, $4 WHERE (SELECT COUNT(*) FROM offers WHERE tenant = $1) < $5",
    )
    .bind(tenant.as_str())
    .bind(offer)
    .bind(body)
    .bind(now_us)
    .bind(i64::from(MAX_OFFERS))
    .execute(connection)
    .await
    .map_err(|error| of_tenant(error, tenant.as_str()))?;
    if made.rows_affected() == 0 {
        let why = format!("there are {MAX_OFFERS} offers, the most that a tenant may have");
        return Err(Error::Conflict(why));
    }
    Ok(true)
}

async fn commit(
    connection: &mut SqliteConnection,
    purchase: &StoredPurchase,
    exposure: Option<&StoredExposure>,
) -> Result<(), Error> {
    let is_new = purchase.version == 1;
    let statement = if is_new {
        "INSERT INTO purchases (tenant, purchase, version, body, wakes_us, command, changed_us, \
         under_way, offer, payer, created_us) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING"
    } else {
        "UPDATE purchases SET version = $3, body = $4, wakes_us = $5, command = $6, \
         changed_us = $7, under_way = $8 WHERE tenant = $1 AND purchase = $2 AND version = $3 - 1"
    };
    let mut query = sqlx::query(statement)
        .bind(purchase.tenant.as_str())
        .bind(purchase.purchase.to_vec())
        .bind(bigint("version", purchase.version)?)
        .bind(purchase.body.as_str())
        .bind(purchase.wakes_us)
        .bind(purchase.command.map(|command| command.0.to_vec()))
        .bind(purchase.changed_us)
        .bind(i64::from(purchase.under_way));
    if is_new {
        query = query
            .bind(purchase.offer.as_str())
            .bind(purchase.payer.to_vec())
            .bind(purchase.created_us);
    }
    let done = query.execute(&mut *connection).await;
    let done = done.map_err(|error| of_tenant(error, purchase.tenant.as_str()))?;
    if done.rows_affected() == 0 {
        let (id, version) = (hex::encode(purchase.purchase), purchase.version);
        let why = format!("purchase {id} was changed meanwhile: {version} is not next");
        return Err(Error::Conflict(why));
    }
    if is_new {
        let StoredPurchase {
            payer,
            tenant,
            purchase,
            created_us,
            ..
        } = purchase;
        super::wallets::note_payer(connection, payer, tenant, purchase, *created_us).await?;
    }
    match exposure {
        Some(exposure) => put_exposure(connection, &purchase.tenant, exposure).await,
        None => Ok(()),
    }
}

/// Whether a tenant may have one more device command under way: some are left to others, however many it has.
async fn has_place(
    executor: impl sqlx::SqliteExecutor<'_>,
    tenant: &TenantId,
) -> Result<bool, Error> {
    let row = sqlx::query(
        "SELECT COUNT(*) AS of_all, COUNT(*) FILTER (WHERE tenant = $1) AS of_tenant \
         FROM purchases WHERE under_way = 1",
    )
    .bind(tenant.as_str())
    .fetch_one(executor)
    .await?;
    let (of_all, of_tenant) = (row.int("of_all")?, row.int("of_tenant")?);
    let free = i64::from(MAX_UNDER_WAY).saturating_sub(of_all).max(0);
    Ok(of_tenant < free.saturating_mul(UNDER_WAY_SHARE.into()))
}

async fn put_exposure(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    exposure: &StoredExposure,
) -> Result<(), Error> {
    let statement = if exposure.version == 1 {
        "INSERT INTO exposures (tenant, asset, payer, version, body) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (tenant, asset, payer) DO NOTHING"
    } else {
        "UPDATE exposures SET version = $4, body = $5 \
         WHERE tenant = $1 AND asset = $2 AND payer = $3 AND version = $4 - 1"
    };
    let done = sqlx::query(statement)
        .bind(tenant.as_str())
        .bind(exposure.asset.as_str())
        .bind(exposure.payer.to_vec())
        .bind(bigint("version", exposure.version)?)
        .bind(exposure.body.as_str())
        .execute(connection)
        .await
        .map_err(|error| of_tenant(error, tenant.as_str()))?;
    if done.rows_affected() == 0 {
        let payer = hex::encode(exposure.payer);
        let why = format!("what 0x{payer} has under way was changed meanwhile");
        return Err(Error::Conflict(why));
    }
    Ok(())
}

/// Has a command's purchase looked at now, since its invoice is paid no more. It counts as a change: whoever is about
/// to change it has not seen that.
pub(super) async fn wake(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    purchase: &InvoiceKey,
    now_us: i64,
) -> Result<(), Error> {
    sqlx::query(
        "UPDATE purchases SET version = version + 1, wakes_us = $3 \
         WHERE tenant = $1 AND purchase = $2 AND command IS NOT NULL",
    )
    .bind(tenant.as_str())
    .bind(purchase.to_vec())
    .bind(now_us)
    .execute(connection)
    .await?;
    Ok(())
}

/// A statement about purchases; no part of it comes from outside.
fn statement(rest: &str) -> sqlx::AssertSqlSafe<String> {
    sqlx::AssertSqlSafe(format!("SELECT {PURCHASE} FROM purchases WHERE {rest}"))
}

fn stored_offer(row: &SqliteRow) -> Result<StoredOffer, Error> {
    Ok(StoredOffer {
        offer: row.text("offer")?,
        body: row.text("body")?,
        created_us: row.int("created_us")?,
        changed_us: row.int("changed_us")?,
    })
}

fn stored(row: &SqliteRow) -> Result<StoredPurchase, Error> {
    let command = row.maybe_bytes("command")?.map(|_| row.array("command"));
    Ok(StoredPurchase {
        tenant: row.parsed("tenant")?,
        purchase: row.array("purchase")?,
        version: row.number("version")?,
        offer: row.text("offer")?,
        payer: row.array("payer")?,
        body: row.text("body")?,
        wakes_us: row.maybe_int("wakes_us")?,
        under_way: row.int("under_way")? != 0,
        command: command.transpose()?.map(CommandId),
        created_us: row.int("created_us")?,
        changed_us: row.int("changed_us")?,
    })
}
