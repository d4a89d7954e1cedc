//! Sessions of browsers.

use sqlx::sqlite::SqliteRow;
use stencil_protocol::id::TenantId;

use super::super::Sqlite;
use super::super::row::Columns as _;
use super::super::secret::{digest, fresh, has_form};
use super::super::transaction::Transaction;
use super::role;
use crate::users::MAX_SESSIONS;
use crate::wallets::WalletKey;
use crate::{Ended, Error, Opener, Secret, Session, SessionOwner};

const PREFIX: &str = "stencil_session_";
/// That a session is used is written down when the last note is older, so that reading a page
/// does not mean writing.
pub(in crate::sqlite) const NOTE_EVERY_US: i64 = 60_000_000;

impl Sqlite {
    pub(super) async fn open(
        &self,
        tenant: &TenantId,
        opener: &Opener,
        address: Option<&str>,
        expires_us: i64,
        now_us: i64,
    ) -> Result<(Session, Secret, Ended), Error> {
        let (id, secret) = fresh(PREFIX)?;
        let (user, token, wallet) = columns(opener);
        let session = Session {
            id,
            user: user.map(str::to_owned),
            token: token.map(str::to_owned),
            wallet: wallet.map(shown),
            address: address.map(str::to_owned),
            created_us: now_us,
            seen_us: now_us,
            expires_us,
        };
        let mut transaction = self.write().await?;
        let opened = insert(&mut transaction, tenant, opener, &session, &secret).await;
        let ended = transaction.end(opened).await?;
        Ok((session, secret, ended))
    }

    pub(super) async fn verify(
        &self,
        secret: &str,
        idle_us: i64,
        now_us: i64,
    ) -> Result<Option<SessionOwner>, Error> {
        if !has_form(secret, PREFIX) {
            return Ok(None);
        }
        let row = sqlx::query(
            "SELECT sessions.tenant, session, sessions.name, sessions.token, \
             sessions.wallet, seen_us, users.role AS user_role, tokens.role AS token_role, \
             tokens.name AS token_name, wallets.role AS wallet_role \
             FROM sessions \
             LEFT JOIN users ON users.tenant = sessions.tenant AND users.name = sessions.name \
             AND users.disabled_us IS NULL \
             LEFT JOIN tokens ON tokens.tenant = sessions.tenant \
             AND tokens.token = sessions.token AND tokens.revoked_us IS NULL \
             AND (tokens.expires_us IS NULL OR tokens.expires_us > $2) \
             LEFT JOIN wallets ON wallets.tenant = sessions.tenant \
             AND wallets.address = sessions.wallet \
             WHERE sessions.secret_sha256 = $1 AND sessions.expires_us > $2 AND seen_us > $3",
        )
        .bind(digest(secret))
        .bind(now_us)
        .bind(now_us.saturating_sub(idle_us))
        .fetch_optional(self.readers())
        .await?;
        let Some(row) = row else {
            return Ok(None);
        };
        let owner = owner(&row)?;
        if let Some(owner) = &owner
            && now_us.saturating_sub(row.int("seen_us")?) >= NOTE_EVERY_US
        {
            // With a full disk one can still read.
            if let Err(error) = self.seen(owner, now_us).await {
                tracing::warn!(%error, session = owner.session, "a session's use is not noted");
            }
        }
        Ok(owner)
    }

    async fn seen(&self, owner: &SessionOwner, now_us: i64) -> Result<(), Error> {
        let mut transaction = self.write().await?;
        let noted = sqlx::query(
            "UPDATE sessions SET seen_us = $1 WHERE tenant = $2 AND session = $3 AND seen_us < $1",
        )
        .bind(now_us)
        .bind(owner.tenant.as_str())
        .bind(owner.session.as_str())
        .execute(&mut *transaction)
        .await
        .map(drop)
        .map_err(Error::from);
        transaction.end(noted).await
    }

    pub(super) async fn sessions_of(
        &self,
        tenant: &TenantId,
        opener: &Opener,
        now_us: i64,
    ) -> Result<Vec<Session>, Error> {
        let (user, token, wallet) = columns(opener);
        let rows = sqlx::query(
            "SELECT session, name, token, wallet, address, created_us, seen_us, expires_us \
             FROM sessions WHERE tenant = $1 AND (name = $2 OR token = $3 OR wallet = $6) \
             AND expires_us > $4 \
             ORDER BY created_us DESC, session LIMIT $5",
        )
        .bind(tenant.as_str())
        .bind(user)
        .bind(token)
        .bind(now_us)
        .bind(i64::from(MAX_SESSIONS))
        .bind(wallet.map(|wallet| wallet.to_vec()))
        .fetch_all(self.readers())
        .await?;
        rows.iter().map(session).collect()
    }
}

/// Inserts a session; ends those of its opener beyond the most that one may have.
async fn insert(
    transaction: &mut Transaction,
    tenant: &TenantId,
    opener: &Opener,
    session: &Session,
    secret: &Secret,
) -> Result<Ended, Error> {
    let wallet = columns(opener).2.map(|wallet| wallet.to_vec());
    if let Some(wallet) = &wallet {
        // No reference of the schema's sees to it that it has a role.
        let known =
            sqlx::query("UPDATE wallets SET signed_in_us = $1 WHERE tenant = $2 AND address = $3")
                .bind(session.created_us)
                .bind(tenant.as_str())
                .bind(wallet.clone())
                .execute(&mut **transaction)
                .await?;
        if known.rows_affected() == 0 {
            let address = session.wallet.as_deref().unwrap_or_default();
            return Err(Error::not_found("wallet", address));
        }
    }
    let rows = sqlx::query(
        "DELETE FROM sessions WHERE tenant = $1 AND session IN (SELECT session FROM sessions \
         WHERE tenant = $1 AND (name = $2 OR token = $3 OR wallet = $6) \
         ORDER BY seen_us DESC, session LIMIT $4 OFFSET $5) RETURNING session",
    )
    .bind(tenant.as_str())
    .bind(session.user.as_deref())
    .bind(session.token.as_deref())
    .bind(i64::MAX)
    .bind(i64::from(MAX_SESSIONS) - 1)
    .bind(wallet.clone())
    .fetch_all(&mut **transaction)
    .await?;
    let ended: Ended = rows
        .iter()
        .map(|row| row.text("session"))
        .collect::<Result<_, _>>()?;
    sqlx::query(
        "INSERT INTO sessions (tenant, session, secret_sha256, name, token, address, created_us, \
         seen_us, expires_us, wallet) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(tenant.as_str())
    .bind(session.id.as_str())
    .bind(digest(secret.reveal()))
    .bind(session.user.as_deref())
    .bind(session.token.as_deref())
    .bind(session.address.as_deref())
    .bind(session.created_us)
    .bind(session.seen_us)
    .bind(session.expires_us)
    .bind(wallet)
    .execute(&mut **transaction)
    .await
    .map_err(|error| no_opener(error, session))?;
    if let Some(user) = &session.user {
        sqlx::query("UPDATE users SET signed_in_us = $1 WHERE tenant = $2 AND name = $3")
            .bind(session.created_us)
            .bind(tenant.as_str())
            .bind(user.as_str())
            .execute(&mut **transaction)
            .await?;
    }
    Ok(ended)
}

fn no_opener(error: sqlx::Error, session: &Session) -> Error {
    match (&error, &session.user, &session.token) {
        (sqlx::Error::Database(database), user, token) if database.is_foreign_key_violation() => {
            match (user, token) {
                (Some(user), _) => Error::not_found("user", user),
                (None, token) => Error::not_found("token", token.as_deref().unwrap_or_default()),
            }
        }
        _ => error.into(),
    }
}

fn columns(opener: &Opener) -> (Option<&str>, Option<&str>, Option<&WalletKey>) {
    match opener {
        Opener::User(name) => (Some(name), None, None),
        Opener::Token(id) => (None, Some(id), None),
        Opener::Wallet(wallet) => (None, None, Some(wallet)),
    }
}

/// An address as it is shown.
fn shown(wallet: &WalletKey) -> String {
    format!("0x{}", hex::encode(wallet))
}

/// `None`: the user, token or wallet is shut out.
fn owner(row: &SqliteRow) -> Result<Option<SessionOwner>, Error> {
    let (user, token) = (row.maybe_text("name")?, row.maybe_text("token")?);
    let wallet = row.maybe_bytes("wallet")?.map(|_| row.array("wallet"));
    let (opener, name, role_column) = match (user, token) {
        (None, None) => match wallet.transpose()? {
            Some(wallet) => {
                let name = shown(&wallet);
                (Opener::Wallet(wallet), Some(name), "wallet_role")
            }
            None => return Ok(None),
        },
        (Some(user), _) => (Opener::User(user.clone()), Some(user), "user_role"),
        (None, token) => (
            Opener::Token(token.unwrap_or_default()),
            row.maybe_text("token_name")?,
            "token_role",
        ),
    };
    let (Some(name), Some(text)) = (name, row.maybe_text(role_column)?) else {
        return Ok(None);
    };
    Ok(Some(SessionOwner {
        tenant: row.parsed("tenant")?,
        session: row.text("session")?,
        opener,
        name,
        role: role(text)?,
    }))
}

fn session(row: &SqliteRow) -> Result<Session, Error> {
    let wallet = row.maybe_bytes("wallet")?.map(|_| row.array("wallet"));
    Ok(Session {
        id: row.text("session")?,
        user: row.maybe_text("name")?,
        token: row.maybe_text("token")?,
        wallet: wallet.transpose()?.as_ref().map(shown),
        address: row.maybe_text("address")?,
        created_us: row.int("created_us")?,
        seen_us: row.int("seen_us")?,
        expires_us: row.int("expires_us")?,
    })
}
