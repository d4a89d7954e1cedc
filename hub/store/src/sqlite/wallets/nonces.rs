//! Nonces: kept until they are used or over, and never more than there is room for. One that was given a moment
//! ago is pushed out by nobody: else who asks fastest would keep all others out.

use sqlx::AssertSqlSafe;

use super::super::row::Columns as _;
use super::super::secret::digest;
use super::super::transaction::Transaction;
use crate::Error;
use crate::wallets::{MAX_NETWORK_NONCES, MAX_NONCES, NONCE_STAYS_US, NewNonce};

pub(super) async fn give(
    transaction: &mut Transaction,
    nonce: &NewNonce<'_>,
) -> Result<Option<i64>, Error> {
    // What is over makes room first.
    sqlx::query("DELETE FROM wallet_nonces WHERE expires_us <= $1")
        .bind(nonce.now_us)
        .execute(&mut **transaction)
        .await?;
    for (network, most) in [
        (Some(nonce.network), MAX_NETWORK_NONCES),
        (None, MAX_NONCES),
    ] {
        if let Some(free_us) = full_until(transaction, network, most, nonce.now_us).await? {
            return Ok(Some(free_us));
        }
    }
    sqlx::query(
        "INSERT INTO wallet_nonces (nonce_sha256, network, body, given_us, expires_us) \
         VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(digest(nonce.nonce))
    .bind(nonce.network)
    .bind(nonce.body)
    .bind(nonce.now_us)
    .bind(nonce.expires_us)
    .execute(&mut **transaction)
    .await?;
    Ok(None)
}

/// Makes room for one more beside what is kept of a network, or of all. `Some`: when there is room, since what
/// is kept was given too lately to go.
async fn full_until(
    transaction: &mut Transaction,
    network: Option<&str>,
    most: u32,
    now_us: i64,
) -> Result<Option<i64>, Error> {
    // The oldest of the newest `most`: with one more than these it has to go.
    let of = match network {
        Some(_) => "network = $1",
        None => "$1 IS NULL",
    };
    let oldest = sqlx::query(AssertSqlSafe(format!(
        "SELECT given_us FROM wallet_nonces WHERE {of} \
         ORDER BY given_us DESC, nonce_sha256 LIMIT 1 OFFSET $2"
    )))
    .bind(network)
    .bind(i64::from(most) - 1)
    .fetch_optional(&mut **transaction)
    .await?;
    let Some(oldest) = oldest else {
        return Ok(None);
    };
    let stays_until_us = oldest.int("given_us")?.saturating_add(NONCE_STAYS_US);
    if stays_until_us > now_us {
        return Ok(Some(stays_until_us));
    }
    sqlx::query(AssertSqlSafe(format!(
        "DELETE FROM wallet_nonces WHERE nonce_sha256 IN (SELECT nonce_sha256 FROM wallet_nonces \
         WHERE {of} ORDER BY given_us DESC, nonce_sha256 LIMIT $2 OFFSET $3)"
    )))
    .bind(network)
    .bind(i64::MAX)
    .bind(i64::from(most) - 1)
    .execute(&mut **transaction)
    .await?;
    Ok(None)
}

pub(super) async fn take(
    transaction: &mut Transaction,
    nonce: &str,
    now_us: i64,
) -> Result<Option<(String, i64)>, Error> {
    let row = sqlx::query(
        "DELETE FROM wallet_nonces WHERE nonce_sha256 = $1 RETURNING body, given_us, expires_us",
    )
    .bind(digest(nonce))
    .fetch_optional(&mut **transaction)
    .await?;
    match row {
        Some(row) if row.int("expires_us")? > now_us => {
            Ok(Some((row.text("body")?, row.int("given_us")?)))
        }
        _ => Ok(None),
    }
}
