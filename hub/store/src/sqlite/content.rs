//! Collections, entries, versions: the port and what reads.

use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;
use stencil_protocol::id::TenantId;

use super::row::Columns as _;
use super::{Sqlite, cursor};
use crate::page::clamp;
use crate::{Content, Entry, EntryVersion, Error, Fields, MAX_PAGE, Page, Published, Written};

pub(super) mod write;

use write::Place;

#[async_trait]
impl Content for Sqlite {
    async fn upsert(
        &self,
        tenant: &TenantId,
        collection: &str,
        key: &str,
        fields: &Fields,
        effect_key: Option<&str>,
        now_us: i64,
    ) -> Result<Written, Error> {
        let place = Place::checked(tenant, collection, key)?;
        let mut transaction = self.write().await?;
        let written = write::upsert(&mut transaction, place, fields, effect_key, now_us).await;
        transaction.end(written).await
    }

    async fn publish(
        &self,
        tenant: &TenantId,
        collection: &str,
        key: &str,
        effect_key: Option<&str>,
        now_us: i64,
    ) -> Result<Written, Error> {
        let place = Place::checked(tenant, collection, key)?;
        let mut transaction = self.write().await?;
        let written = write::publish(&mut transaction, place, effect_key, now_us).await;
        transaction.end(written).await
    }

    async fn unpublish(
        &self,
        tenant: &TenantId,
        collection: &str,
        key: &str,
    ) -> Result<bool, Error> {
        let mut transaction = self.write().await?;
        let done = sqlx::query(
            "UPDATE entries SET published = NULL, published_us = NULL WHERE tenant = $1 \
             AND collection = $2 AND entry = $3 AND published IS NOT NULL",
        )
        .bind(tenant.as_str())
        .bind(collection)
        .bind(key)
        .execute(&mut *transaction)
        .await
        .map(|done| done.rows_affected() == 1)
        .map_err(Error::from);
        transaction.end(done).await
    }

    async fn get(
        &self,
        tenant: &TenantId,
        collection: &str,
        key: &str,
    ) -> Result<Option<Entry>, Error> {
        let row = sqlx::query(
            "SELECT v.collection, v.entry, v.version, v.fields, v.effect_key, v.created_us, \
             e.published, e.published_us FROM entries AS e JOIN versions AS v \
             ON v.tenant = e.tenant AND v.collection = e.collection AND v.entry = e.entry \
             AND v.version = e.newest \
             WHERE e.tenant = $1 AND e.collection = $2 AND e.entry = $3",
        )
        .bind(tenant.as_str())
        .bind(collection)
        .bind(key)
        .fetch_optional(self.readers())
        .await?;
        row.as_ref().map(entry).transpose()
    }

    async fn collections(&self, tenant: &TenantId) -> Result<Vec<String>, Error> {
        let rows = sqlx::query(
            "SELECT DISTINCT collection FROM entries WHERE tenant = $1 ORDER BY collection LIMIT $2",
        )
        .bind(tenant.as_str())
        .bind(i64::from(MAX_PAGE))
        .fetch_all(self.readers())
        .await?;
        rows.iter().map(|row| row.text("collection")).collect()
    }

    async fn list(
        &self,
        tenant: &TenantId,
        collection: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Entry>, Error> {
        let rows = sqlx::query(
            "SELECT v.collection, v.entry, v.version, v.fields, v.effect_key, v.created_us, \
             e.published, e.published_us FROM entries AS e JOIN versions AS v \
             ON v.tenant = e.tenant AND v.collection = e.collection AND v.entry = e.entry \
             AND v.version = e.newest \
             WHERE e.tenant = $1 AND e.collection = $2 AND e.entry > $3 ORDER BY e.entry LIMIT $4",
        )
        .bind(tenant.as_str())
        .bind(collection)
        .bind(after.unwrap_or(""))
        .bind(i64::from(clamp(limit)) + 1)
        .fetch_all(self.readers())
        .await?;
        let entries = rows.iter().map(entry).collect::<Result<_, _>>()?;
        Ok(Page::cut(entries, limit, |entry: &Entry| {
            entry.newest.key.clone()
        }))
    }

    async fn versions(
        &self,
        tenant: &TenantId,
        collection: &str,
        key: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<EntryVersion>, Error> {
        let rows = sqlx::query(
            "SELECT collection, entry, version, fields, effect_key, created_us FROM versions \
             WHERE tenant = $1 AND collection = $2 AND entry = $3 AND version < $4 \
             ORDER BY version DESC LIMIT $5",
        )
        .bind(tenant.as_str())
        .bind(collection)
        .bind(key)
        .bind(cursor::<u32>(after)?.map_or(i64::MAX, i64::from))
        .bind(i64::from(clamp(limit)) + 1)
        .fetch_all(self.readers())
        .await?;
        let versions = rows.iter().map(version).collect::<Result<_, _>>()?;
        Ok(Page::cut(versions, limit, |version: &EntryVersion| {
            version.version.to_string()
        }))
    }

    async fn published(
        &self,
        tenant: &TenantId,
        collection: &str,
        key: &str,
    ) -> Result<Option<Published>, Error> {
        let row = sqlx::query(
            "SELECT v.collection, v.entry, v.version, v.fields, v.effect_key, v.created_us, \
             e.published_us FROM entries AS e JOIN versions AS v \
             ON v.tenant = e.tenant AND v.collection = e.collection AND v.entry = e.entry \
             AND v.version = e.published \
             WHERE e.tenant = $1 AND e.collection = $2 AND e.entry = $3",
        )
        .bind(tenant.as_str())
        .bind(collection)
        .bind(key)
        .fetch_optional(self.readers())
        .await?;
        row.as_ref().map(published).transpose()
    }

    async fn published_list(
        &self,
        tenant: &TenantId,
        collection: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Published>, Error> {
        let rows = sqlx::query(
            "SELECT v.collection, v.entry, v.version, v.fields, v.effect_key, v.created_us, \
             e.published_us FROM entries AS e JOIN versions AS v \
             ON v.tenant = e.tenant AND v.collection = e.collection AND v.entry = e.entry \
             AND v.version = e.published \
             WHERE e.tenant = $1 AND e.collection = $2 AND e.entry > $3 ORDER BY e.entry LIMIT $4",
        )
        .bind(tenant.as_str())
        .bind(collection)
        .bind(after.unwrap_or(""))
        .bind(i64::from(clamp(limit)) + 1)
        .fetch_all(self.readers())
        .await?;
        let found = rows.iter().map(published).collect::<Result<_, _>>()?;
        Ok(Page::cut(found, limit, |published: &Published| {
            published.version.key.clone()
        }))
    }

    async fn forget_effects(
        &self,
        tenant: &TenantId,
        before_us: i64,
        limit: u32,
    ) -> Result<u64, Error> {
        let mut transaction = self.write().await?;
        let forgotten = sqlx::query(
            "DELETE FROM effects WHERE tenant = $1 AND effect_key IN (SELECT effect_key \
             FROM effects WHERE tenant = $1 AND at_us < $2 ORDER BY at_us LIMIT $3)",
        )
        .bind(tenant.as_str())
        .bind(before_us)
        .bind(i64::from(clamp(limit)))
        .execute(&mut *transaction)
        .await
        .map(|done| done.rows_affected())
        .map_err(Error::from);
        transaction.end(forgotten).await
    }
}

fn version(row: &SqliteRow) -> Result<EntryVersion, Error> {
    Ok(EntryVersion {
        collection: row.text("collection")?,
        key: row.text("entry")?,
        version: row.number("version")?,
        fields: row.json("fields")?,
        effect_key: row.maybe_text("effect_key")?,
        created_us: row.int("created_us")?,
    })
}

fn entry(row: &SqliteRow) -> Result<Entry, Error> {
    Ok(Entry {
        newest: version(row)?,
        published_version: row.maybe_number("published")?,
        published_us: row.maybe_int("published_us")?,
    })
}

fn published(row: &SqliteRow) -> Result<Published, Error> {
    Ok(Published {
        version: version(row)?,
        published_us: row.int("published_us")?,
    })
}
