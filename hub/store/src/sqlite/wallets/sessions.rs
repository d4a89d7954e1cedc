//! Sessions of wallets that are in no tenant.

use super::super::Sqlite;
use super::super::row::Columns as _;
use super::super::secret::{digest, fresh, has_form};
use super::super::transaction::Transaction;
use super::super::users::NOTE_EVERY_US;
use crate::wallets::{
    MAX_ALL_WALLET_SESSIONS, MAX_NETWORK_WALLET_SESSIONS, MAX_WALLET_SESSIONS, WalletKey,
    WalletOwner, WalletSession,
};
use crate::{Error, Secret};

const PREFIX: &str = "stencil_wallet_";

pub(super) async fn open(
    store: &Sqlite,
    proven: (&WalletKey, Option<i64>),
    network: Option<&str>,
    expires_us: i64,
    now_us: i64,
) -> Result<(WalletSession, Secret), Error> {
    let (id, secret) = fresh(PREFIX)?;
    let session = WalletSession {
        id,
        created_us: now_us,
        expires_us,
    };
    let mut transaction = store.write().await?;
    let opened = insert(&mut transaction, proven, network, &session, &secret).await;
    transaction.end(opened).await?;
    Ok((session, secret))
}

async fn insert(
    transaction: &mut Transaction,
    (wallet, chain): (&WalletKey, Option<i64>),
    network: Option<&str>,
    session: &WalletSession,
    secret: &Secret,
) -> Result<(), Error> {
    sqlx::query(
        "DELETE FROM wallet_sessions WHERE session IN (SELECT session FROM wallet_sessions \
         WHERE address = $1 ORDER BY seen_us DESC, session LIMIT $2 OFFSET $3)",
    )
    .bind(wallet.to_vec())
    .bind(i64::MAX)
    .bind(i64::from(MAX_WALLET_SESSIONS) - 1)
    .execute(&mut **transaction)
    .await?;
    if let Some(network) = network {
        let room = i64::from(MAX_NETWORK_WALLET_SESSIONS) - 1;
        make_room(transaction, "network = $1", Some(network), room).await?;
    }
    let room = i64::from(MAX_ALL_WALLET_SESSIONS) - 1;
    make_room(transaction, "$1 IS NULL", None, room).await?;
    sqlx::query(
        "INSERT INTO wallet_sessions (session, secret_sha256, address, network, created_us, \
         seen_us, expires_us, chain) VALUES ($1, $2, $3, $4, $5, $5, $6, $7)",
    )
    .bind(session.id.as_str())
    .bind(digest(secret.reveal()))
    .bind(wallet.to_vec())
    .bind(network)
    .bind(session.created_us)
    .bind(session.expires_us)
    .bind(chain)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// Ends what is beyond the room, of those that the condition names. Accounts are free to make: those that
/// have neither paid nor hold anything go first, so that nobody's sessions are pushed out by such.
async fn make_room(
    transaction: &mut Transaction,
    condition: &'static str,
    network: Option<&str>,
    room: i64,
) -> Result<(), Error> {
    let open: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
        "SELECT COUNT(*) FROM wallet_sessions WHERE {condition}"
    )))
    .bind(network)
    .fetch_one(&mut **transaction)
    .await?;
    if open <= room {
        return Ok(());
    }
    sqlx::query(sqlx::AssertSqlSafe(format!(
        "DELETE FROM wallet_sessions WHERE session IN (SELECT session FROM wallet_sessions \
         WHERE {condition} \
         ORDER BY EXISTS (SELECT 1 FROM payers WHERE payer = address) \
         OR EXISTS (SELECT 1 FROM held_tokens WHERE holder = address) DESC, \
         seen_us DESC, session LIMIT $2 OFFSET $3)"
    )))
    .bind(network)
    .bind(i64::MAX)
    .bind(room)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

pub(super) async fn verify(
    store: &Sqlite,
    secret: &str,
    idle_us: i64,
    now_us: i64,
) -> Result<Option<WalletOwner>, Error> {
    if !has_form(secret, PREFIX) {
        return Ok(None);
    }
    let row = sqlx::query(
        "SELECT session, address, chain, seen_us FROM wallet_sessions \
         WHERE secret_sha256 = $1 AND expires_us > $2 AND seen_us > $3",
    )
    .bind(digest(secret))
    .bind(now_us)
    .bind(now_us.saturating_sub(idle_us))
    .fetch_optional(store.readers())
    .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let owner = WalletOwner {
        wallet: row.array("address")?,
        chain: row.maybe_number("chain")?,
        session: row.text("session")?,
    };
    if now_us.saturating_sub(row.int("seen_us")?) >= NOTE_EVERY_US
        && let Err(error) = seen(store, &owner.session, now_us).await
    {
        // With a full disk one can still read.
        tracing::warn!(%error, session = owner.session, "a session's use is not noted");
    }
    Ok(Some(owner))
}

async fn seen(store: &Sqlite, session: &str, now_us: i64) -> Result<(), Error> {
    let mut transaction = store.write().await?;
    let noted =
        sqlx::query("UPDATE wallet_sessions SET seen_us = $1 WHERE session = $2 AND seen_us < $1")
            .bind(now_us)
            .bind(session)
            .execute(&mut *transaction)
            .await
            .map(drop)
            .map_err(Error::from);
    transaction.end(noted).await
}
