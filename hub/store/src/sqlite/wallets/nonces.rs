//! Nonces: kept until they are used or over, and never more than there is room for.

use super::super::row::Columns as _;
use super::super::secret::digest;
use super::super::transaction::Transaction;
use crate::Error;
use crate::wallets::{MAX_NETWORK_NONCES, MAX_NONCES, NewNonce};

pub(super) async fn give(transaction: &mut Transaction, nonce: &NewNonce<'_>) -> Result<(), Error> {
    // What is over makes room first.
    sqlx::query("DELETE FROM wallet_nonces WHERE expires_us <= $1")
        .bind(nonce.now_us)
        .execute(&mut **transaction)
        .await?;
    sqlx::query(
        "DELETE FROM wallet_nonces WHERE nonce_sha256 IN (SELECT nonce_sha256 FROM wallet_nonces \
         WHERE network = $1 ORDER BY given_us DESC, nonce_sha256 LIMIT $2 OFFSET $3)",
    )
    .bind(nonce.network)
    .bind(i64::MAX)
    .bind(i64::from(MAX_NETWORK_NONCES) - 1)
    .execute(&mut **transaction)
    .await?;
    sqlx::query(
        "DELETE FROM wallet_nonces WHERE nonce_sha256 IN (SELECT nonce_sha256 FROM wallet_nonces \
         ORDER BY given_us DESC, nonce_sha256 LIMIT $1 OFFSET $2)",
    )
    .bind(i64::MAX)
    .bind(i64::from(MAX_NONCES) - 1)
    .execute(&mut **transaction)
    .await?;
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
    Ok(())
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
