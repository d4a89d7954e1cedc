//! Users and their one-time links.

use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;
use stencil_protocol::id::TenantId;

use super::Sqlite;
use super::failure::of_tenant;
use super::row::Columns as _;
use super::secret::{digest, fresh, has_form};
use super::transaction::Transaction;
use crate::page::clamp;
use crate::{
    Ended, Error, MAX_USERS, Opener, Page, Role, Secret, Session, SessionOwner, User, UserChange,
    Users, check_user_name,
};

mod sessions;

pub(super) use sessions::NOTE_EVERY_US;

const LINK_PREFIX: &str = "stencil_link_";

#[async_trait]
impl Users for Sqlite {
    async fn create_user(
        &self,
        tenant: &TenantId,
        name: &str,
        role: Role,
        now_us: i64,
    ) -> Result<User, Error> {
        check_user_name(name)?;
        let mut transaction = self.write().await?;
        let made = create(&mut transaction, tenant, name, role, now_us).await;
        transaction.end(made).await
    }

    async fn users(
        &self,
        tenant: &TenantId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<User>, Error> {
        let rows = sqlx::query(
            "SELECT name, role, password IS NOT NULL AS has_password, disabled_us, created_us, \
             signed_in_us FROM users WHERE tenant = $1 AND name > $2 ORDER BY name LIMIT $3",
        )
        .bind(tenant.as_str())
        .bind(after.unwrap_or(""))
        .bind(i64::from(clamp(limit)) + 1)
        .fetch_all(self.readers())
        .await?;
        let users = rows.iter().map(user).collect::<Result<_, _>>()?;
        Ok(Page::cut(users, limit, |user: &User| user.name.clone()))
    }

    async fn user(&self, tenant: &TenantId, name: &str) -> Result<Option<User>, Error> {
        let row = sqlx::query(
            "SELECT name, role, password IS NOT NULL AS has_password, disabled_us, created_us, \
             signed_in_us FROM users WHERE tenant = $1 AND name = $2",
        )
        .bind(tenant.as_str())
        .bind(name)
        .fetch_optional(self.readers())
        .await?;
        row.as_ref().map(user).transpose()
    }

    async fn change_user(
        &self,
        tenant: &TenantId,
        name: &str,
        change: UserChange,
        now_us: i64,
    ) -> Result<(User, Ended), Error> {
        let mut transaction = self.write().await?;
        let changed = self::change(&mut transaction, tenant, name, change, now_us).await;
        transaction.end(changed).await
    }

    async fn delete_user(&self, tenant: &TenantId, name: &str) -> Result<Ended, Error> {
        let mut transaction = self.write().await?;
        let deleted = delete(&mut transaction, tenant, name).await;
        transaction.end(deleted).await
    }

    async fn issue_link(
        &self,
        tenant: &TenantId,
        name: &str,
        expires_us: i64,
    ) -> Result<Secret, Error> {
        let (_, secret) = fresh(LINK_PREFIX)?;
        let mut transaction = self.write().await?;
        let issued = async {
            let user = known(&mut transaction, tenant, name).await?;
            if user.disabled_us.is_some() {
                return Err(Error::Conflict(format!(
                    "user {name} is disabled; enable them first"
                )));
            }
            sqlx::query(
                "INSERT INTO login_links (tenant, name, secret_sha256, expires_us) \
                 VALUES ($1, $2, $3, $4) ON CONFLICT (tenant, name) DO UPDATE \
                 SET secret_sha256 = excluded.secret_sha256, expires_us = excluded.expires_us",
            )
            .bind(tenant.as_str())
            .bind(name)
            .bind(digest(secret.reveal()))
            .bind(expires_us)
            .execute(&mut *transaction)
            .await?;
            Ok(())
        }
        .await;
        transaction.end(issued).await?;
        Ok(secret)
    }

    async fn link_owner(
        &self,
        secret: &str,
        now_us: i64,
    ) -> Result<Option<(TenantId, String)>, Error> {
        if !has_form(secret, LINK_PREFIX) {
            return Ok(None);
        }
        let row = sqlx::query(
            "SELECT users.tenant, users.name FROM login_links JOIN users \
             ON users.tenant = login_links.tenant AND users.name = login_links.name \
             WHERE secret_sha256 = $1 AND expires_us > $2 AND disabled_us IS NULL",
        )
        .bind(digest(secret))
        .bind(now_us)
        .fetch_optional(self.readers())
        .await?;
        row.map(|row| Ok((row.parsed("tenant")?, row.text("name")?)))
            .transpose()
    }

    async fn use_link(
        &self,
        secret: &str,
        password: &str,
        now_us: i64,
    ) -> Result<Option<(TenantId, String, Ended)>, Error> {
        if !has_form(secret, LINK_PREFIX) {
            return Ok(None);
        }
        let mut transaction = self.write().await?;
        let used = use_link(&mut transaction, secret, password, now_us).await;
        transaction.end(used).await
    }

    async fn password(&self, tenant: &TenantId, name: &str) -> Result<Option<String>, Error> {
        let row = sqlx::query(
            "SELECT password FROM users \
             WHERE tenant = $1 AND name = $2 AND disabled_us IS NULL",
        )
        .bind(tenant.as_str())
        .bind(name)
        .fetch_optional(self.readers())
        .await?;
        match row {
            Some(row) => row.maybe_text("password"),
            None => Ok(None),
        }
    }

    async fn set_password(
        &self,
        tenant: &TenantId,
        name: &str,
        password: &str,
        keep: Option<&str>,
    ) -> Result<Ended, Error> {
        let mut transaction = self.write().await?;
        let set = set_password(&mut transaction, tenant, name, password, keep).await;
        transaction.end(set).await
    }

    async fn open_session(
        &self,
        tenant: &TenantId,
        opener: &Opener,
        address: Option<&str>,
        expires_us: i64,
        now_us: i64,
    ) -> Result<(Session, Secret, Ended), Error> {
        self.open(tenant, opener, address, expires_us, now_us).await
    }

    async fn verify_session(
        &self,
        secret: &str,
        idle_us: i64,
        now_us: i64,
    ) -> Result<Option<SessionOwner>, Error> {
        self.verify(secret, idle_us, now_us).await
    }

    async fn sessions(
        &self,
        tenant: &TenantId,
        opener: &Opener,
        now_us: i64,
    ) -> Result<Vec<Session>, Error> {
        self.sessions_of(tenant, opener, now_us).await
    }

    async fn end_session(&self, tenant: &TenantId, session: &str) -> Result<bool, Error> {
        let mut transaction = self.write().await?;
        let ended = sqlx::query("DELETE FROM sessions WHERE tenant = $1 AND session = $2")
            .bind(tenant.as_str())
            .bind(session)
            .execute(&mut *transaction)
            .await
            .map(|done| done.rows_affected() == 1)
            .map_err(Error::from);
        transaction.end(ended).await
    }

    async fn forget_expired(&self, idle_us: i64, now_us: i64) -> Result<u64, Error> {
        let mut transaction = self.write().await?;
        let forgotten = async {
            let links = sqlx::query("DELETE FROM login_links WHERE expires_us <= $1")
                .bind(now_us)
                .execute(&mut *transaction)
                .await?;
            let sessions =
                sqlx::query("DELETE FROM sessions WHERE expires_us <= $1 OR seen_us <= $2")
                    .bind(now_us)
                    .bind(now_us.saturating_sub(idle_us))
                    .execute(&mut *transaction)
                    .await?;
            Ok(links.rows_affected() + sessions.rows_affected())
        }
        .await;
        transaction.end(forgotten).await
    }
}

async fn create(
    transaction: &mut Transaction,
    tenant: &TenantId,
    name: &str,
    role: Role,
    now_us: i64,
) -> Result<User, Error> {
    let row = sqlx::query("SELECT COUNT(*) AS users FROM users WHERE tenant = $1")
        .bind(tenant.as_str())
        .fetch_one(&mut **transaction)
        .await?;
    if row.int("users")? >= i64::from(MAX_USERS) {
        return Err(Error::Conflict(format!(
            "tenant {tenant} has {MAX_USERS} users, which is the limit; delete one first"
        )));
    }
    let done = sqlx::query(
        "INSERT INTO users (tenant, name, role, created_us) VALUES ($1, $2, $3, $4) \
         ON CONFLICT DO NOTHING",
    )
    .bind(tenant.as_str())
    .bind(name)
    .bind(role.as_str())
    .bind(now_us)
    .execute(&mut **transaction)
    .await
    .map_err(|error| of_tenant(error, tenant.as_str()))?;
    if done.rows_affected() == 0 {
        return Err(Error::Conflict(format!("there is a user {name} already")));
    }
    Ok(User {
        name: name.to_owned(),
        role,
        has_password: false,
        disabled_us: None,
        created_us: now_us,
        signed_in_us: None,
    })
}

async fn change(
    transaction: &mut Transaction,
    tenant: &TenantId,
    name: &str,
    change: UserChange,
    now_us: i64,
) -> Result<(User, Ended), Error> {
    let before = known(transaction, tenant, name).await?;
    let mut after = before.clone();
    after.role = change.role.unwrap_or(before.role);
    after.disabled_us = match change.disabled {
        Some(true) => Some(before.disabled_us.unwrap_or(now_us)),
        Some(false) => None,
        None => before.disabled_us,
    };
    if after == before {
        return Ok((after, Ended::new()));
    }
    let is_admin = |user: &User| user.role == Role::Admin && user.disabled_us.is_none();
    if is_admin(&before) && !is_admin(&after) {
        not_the_last_admin(transaction, tenant, name).await?;
    }
    sqlx::query("UPDATE users SET role = $1, disabled_us = $2 WHERE tenant = $3 AND name = $4")
        .bind(after.role.as_str())
        .bind(after.disabled_us)
        .bind(tenant.as_str())
        .bind(name)
        .execute(&mut **transaction)
        .await?;
    if after.disabled_us.is_some() {
        forget_link(transaction, tenant, name).await?;
    }
    let ended = end_all(transaction, tenant, name, None).await?;
    Ok((after, ended))
}

async fn delete(
    transaction: &mut Transaction,
    tenant: &TenantId,
    name: &str,
) -> Result<Ended, Error> {
    let user = known(transaction, tenant, name).await?;
    if user.role == Role::Admin && user.disabled_us.is_none() {
        not_the_last_admin(transaction, tenant, name).await?;
    }
    let ended = end_all(transaction, tenant, name, None).await?;
    sqlx::query("DELETE FROM users WHERE tenant = $1 AND name = $2")
        .bind(tenant.as_str())
        .bind(name)
        .execute(&mut **transaction)
        .await?;
    Ok(ended)
}

async fn use_link(
    transaction: &mut Transaction,
    secret: &str,
    password: &str,
    now_us: i64,
) -> Result<Option<(TenantId, String, Ended)>, Error> {
    let row = sqlx::query(
        "DELETE FROM login_links WHERE secret_sha256 = $1 AND expires_us > $2 \
         RETURNING tenant, name",
    )
    .bind(digest(secret))
    .bind(now_us)
    .fetch_optional(&mut **transaction)
    .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let (tenant, name): (TenantId, _) = (row.parsed("tenant")?, row.text("name")?);
    let ended = set_password(transaction, &tenant, &name, password, None).await?;
    Ok(Some((tenant, name, ended)))
}

async fn set_password(
    transaction: &mut Transaction,
    tenant: &TenantId,
    name: &str,
    password: &str,
    keep: Option<&str>,
) -> Result<Ended, Error> {
    let done = sqlx::query("UPDATE users SET password = $1 WHERE tenant = $2 AND name = $3")
        .bind(password)
        .bind(tenant.as_str())
        .bind(name)
        .execute(&mut **transaction)
        .await?;
    if done.rows_affected() == 0 {
        return Err(Error::not_found("user", name));
    }
    forget_link(transaction, tenant, name).await?;
    end_all(transaction, tenant, name, keep).await
}

async fn forget_link(
    transaction: &mut Transaction,
    tenant: &TenantId,
    name: &str,
) -> Result<(), Error> {
    sqlx::query("DELETE FROM login_links WHERE tenant = $1 AND name = $2")
        .bind(tenant.as_str())
        .bind(name)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

/// Ends the sessions of a user but `keep`.
async fn end_all(
    transaction: &mut Transaction,
    tenant: &TenantId,
    name: &str,
    keep: Option<&str>,
) -> Result<Ended, Error> {
    let rows = sqlx::query(
        "DELETE FROM sessions WHERE tenant = $1 AND name = $2 AND session <> $3 \
         RETURNING session",
    )
    .bind(tenant.as_str())
    .bind(name)
    .bind(keep.unwrap_or(""))
    .fetch_all(&mut **transaction)
    .await?;
    rows.iter().map(|row| row.text("session")).collect()
}

async fn not_the_last_admin(
    transaction: &mut Transaction,
    tenant: &TenantId,
    name: &str,
) -> Result<(), Error> {
    let other = sqlx::query(
        "SELECT name FROM users WHERE tenant = $1 AND name <> $2 AND role = 'admin' \
         AND disabled_us IS NULL LIMIT 1",
    )
    .bind(tenant.as_str())
    .bind(name)
    .fetch_optional(&mut **transaction)
    .await?;
    match other {
        Some(_) => Ok(()),
        None => Err(Error::Conflict(format!(
            "user {name} is the last admin of tenant {tenant}; make another one an admin first"
        ))),
    }
}

async fn known(
    transaction: &mut Transaction,
    tenant: &TenantId,
    name: &str,
) -> Result<User, Error> {
    let row = sqlx::query(
        "SELECT name, role, password IS NOT NULL AS has_password, disabled_us, created_us, \
         signed_in_us FROM users WHERE tenant = $1 AND name = $2",
    )
    .bind(tenant.as_str())
    .bind(name)
    .fetch_optional(&mut **transaction)
    .await?
    .ok_or_else(|| Error::not_found("user", name))?;
    user(&row)
}

fn user(row: &SqliteRow) -> Result<User, Error> {
    Ok(User {
        name: row.text("name")?,
        role: role(row.text("role")?)?,
        has_password: row.flag("has_password")?,
        disabled_us: row.maybe_int("disabled_us")?,
        created_us: row.int("created_us")?,
        signed_in_us: row.maybe_int("signed_in_us")?,
    })
}

pub(super) fn role(name: String) -> Result<Role, Error> {
    Role::parse(&name).ok_or_else(|| Error::corrupt("role", name))
}
