//! What is kept of tokens that are good for nothing any more.
//!
//! Looked for by a reader, and taken by their keys, so that the store's only writer is not held for the looking.

use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;
use stencil_protocol::id::TenantId;

use super::super::Sqlite;
use super::super::row::{Columns as _, bigint};
use crate::ownership::Followed;
use crate::page::clamp;
use crate::{Error, PayerKey, TokenKey};

/// A token, and what it was when it was found.
struct Found {
    chain: String,
    collection: PayerKey,
    token: TokenKey,
    version: u64,
}

const FOUND: &str = "SELECT chain, collection, token, version FROM held_tokens WHERE ";

/// See [`crate::Ownership::forget_held`].
pub(super) async fn forget(
    store: &Sqlite,
    tenant: &TenantId,
    followed: Option<&Followed>,
    before_us: i64,
    limit: u32,
) -> Result<u64, Error> {
    let limit = clamp(limit);
    let mut found = over(store, tenant, before_us, limit).await?;
    if found.is_empty() {
        found = of_nobody(store, tenant, before_us, limit).await?;
    }
    if let (true, Some(followed)) = (found.is_empty(), followed) {
        found = of_others(store, tenant, followed, limit).await?;
    }
    if found.is_empty() {
        return Ok(0);
    }
    let mut transaction = store.write().await?;
    let taken = take(&mut transaction, tenant, &found).await;
    transaction.end(taken).await
}

/// Rights that ended before.
async fn over(
    store: &Sqlite,
    tenant: &TenantId,
    before_us: i64,
    limit: u32,
) -> Result<Vec<Found>, Error> {
    let rows = sqlx::query(statement(
        "tenant = $1 AND ends_s < $2 AND changed_us < $3 ORDER BY ends_s LIMIT $4",
    ))
    .bind(tenant.as_str())
    .bind(before_us.div_euclid(1_000_000))
    .bind(before_us)
    .bind(i64::from(limit))
    .fetch_all(store.readers())
    .await?;
    rows.iter().map(found).collect()
}

/// Tokens of nobody, such as were burnt, whose contract has not to be asked, and that are no device's passport.
async fn of_nobody(
    store: &Sqlite,
    tenant: &TenantId,
    before_us: i64,
    limit: u32,
) -> Result<Vec<Found>, Error> {
    let rows = sqlx::query(statement(
        "tenant = $1 AND changed_us < $2 AND holder IS NULL AND looked IS NULL AND NOT EXISTS \
         (SELECT 1 FROM device_passports d WHERE d.tenant = held_tokens.tenant \
         AND d.token = held_tokens.token) ORDER BY changed_us LIMIT $3",
    ))
    .bind(tenant.as_str())
    .bind(before_us)
    .bind(i64::from(limit))
    .fetch_all(store.readers())
    .await?;
    rows.iter().map(found).collect()
}

/// Tokens of collections that are followed no more.
async fn of_others(
    store: &Sqlite,
    tenant: &TenantId,
    followed: &Followed,
    limit: u32,
) -> Result<Vec<Found>, Error> {
    let mut last: (String, Vec<u8>) = Default::default();
    loop {
        // From one collection to the next: there are few, of many tokens.
        let next = sqlx::query(
            "SELECT chain, collection FROM held_tokens WHERE tenant = $1 \
             AND (chain, collection) > ($2, $3) ORDER BY chain, collection LIMIT 1",
        )
        .bind(tenant.as_str())
        .bind(&last.0)
        .bind(&last.1)
        .fetch_optional(store.readers())
        .await?;
        let Some(row) = next else {
            return Ok(Vec::new());
        };
        let (chain, collection) = (row.text("chain")?, row.array::<20>("collection")?);
        if chain == followed.chain && followed.collections.contains(&collection) {
            last = (chain, collection.to_vec());
            continue;
        }
        let rows = sqlx::query(statement(
            "tenant = $1 AND chain = $2 AND collection = $3 LIMIT $4",
        ))
        .bind(tenant.as_str())
        .bind(&chain)
        .bind(collection.to_vec())
        .bind(i64::from(limit))
        .fetch_all(store.readers())
        .await?;
        return rows.iter().map(found).collect();
    }
}

/// Takes those that are as they were found.
async fn take(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    found: &[Found],
) -> Result<u64, Error> {
    let mut taken = 0;
    for one in found {
        let gone = sqlx::query(
            "DELETE FROM held_tokens WHERE tenant = $1 AND chain = $2 AND collection = $3 \
             AND token = $4 AND version = $5",
        )
        .bind(tenant.as_str())
        .bind(&one.chain)
        .bind(one.collection.to_vec())
        .bind(one.token.to_vec())
        .bind(bigint("version", one.version)?)
        .execute(&mut *connection)
        .await?;
        taken += gone.rows_affected();
    }
    Ok(taken)
}

/// No part of it comes from outside.
fn statement(rest: &str) -> sqlx::AssertSqlSafe<String> {
    sqlx::AssertSqlSafe(format!("{FOUND}{rest}"))
}

fn found(row: &SqliteRow) -> Result<Found, Error> {
    Ok(Found {
        chain: row.text("chain")?,
        collection: row.array("collection")?,
        token: row.array("token")?,
        version: row.number("version")?,
    })
}
