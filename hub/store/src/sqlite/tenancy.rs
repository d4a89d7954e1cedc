//! Tenants and tokens.

use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;
use stencil_protocol::id::TenantId;

use super::Sqlite;
use super::failure::of_tenant;
use super::row::Columns as _;
use super::secret::{digest, fresh, has_form};
use super::transaction::Transaction;
use crate::page::clamp;
use crate::{Error, IssuedToken, Page, Role, Tenancy, Token, TokenEnd, TokenKind, TokenOwner};

/// Marks a secret as one of ours, so that scanners for leaked secrets find it.
const PREFIX: &str = "stencil_";
const MAX_NAME: usize = 64;

#[async_trait]
impl Tenancy for Sqlite {
    async fn create_tenant(&self, tenant: &TenantId, now_us: i64) -> Result<bool, Error> {
        let mut transaction = self.write().await?;
        let made = create(&mut transaction, tenant, now_us).await;
        transaction.end(made).await
    }

    async fn tenant_made(&self, tenant: &TenantId) -> Result<Option<i64>, Error> {
        let row = sqlx::query("SELECT created_us FROM tenants WHERE tenant = $1")
            .bind(tenant.as_str())
            .fetch_optional(self.readers())
            .await?;
        row.map(|row| row.int("created_us")).transpose()
    }

    async fn tenants(&self, after: Option<&str>, limit: u32) -> Result<Page<TenantId>, Error> {
        let rows =
            sqlx::query("SELECT tenant FROM tenants WHERE tenant > $1 ORDER BY tenant LIMIT $2")
                .bind(after.unwrap_or(""))
                .bind(i64::from(clamp(limit)) + 1)
                .fetch_all(self.readers())
                .await?;
        let tenants = rows
            .iter()
            .map(|row| row.parsed("tenant"))
            .collect::<Result<_, _>>()?;
        Ok(Page::cut(tenants, limit, TenantId::to_string))
    }

    async fn create_token(
        &self,
        tenant: &TenantId,
        kind: TokenKind,
        name: &str,
        expires_us: Option<i64>,
        now_us: i64,
    ) -> Result<IssuedToken, Error> {
        check_token_name(name)?;
        let (id, secret) = fresh(PREFIX)?;
        let (kind_name, role, device) = match &kind {
            TokenKind::Api { role } => ("api", Some(role.as_str()), None),
            TokenKind::Device { device } => ("device", None, Some(device.as_str())),
        };
        let mut transaction = self.write().await?;
        let made = sqlx::query(
            "INSERT INTO tokens (tenant, token, secret_sha256, kind, role, device, name, \
             created_us, expires_us) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(tenant.as_str())
        .bind(id.as_str())
        .bind(digest(secret.reveal()))
        .bind(kind_name)
        .bind(role)
        .bind(device)
        .bind(name)
        .bind(now_us)
        .bind(expires_us)
        .execute(&mut *transaction)
        .await
        .map(drop)
        .map_err(|error| of_tenant(error, tenant.as_str()));
        transaction.end(made).await?;
        let name = name.to_owned();
        let token = Token {
            id,
            owner: kind,
            name,
            created_us: now_us,
            revoked_us: None,
            expires_us,
        };
        Ok(IssuedToken { token, secret })
    }

    async fn verify_token(&self, secret: &str, now_us: i64) -> Result<Option<TokenOwner>, Error> {
        if !has_form(secret, PREFIX) {
            return Ok(None);
        }
        let row = sqlx::query(
            "SELECT tenant, token, kind, role, device, name FROM tokens \
             WHERE secret_sha256 = $1 AND revoked_us IS NULL \
             AND (expires_us IS NULL OR expires_us > $2)",
        )
        .bind(digest(secret))
        .bind(now_us)
        .fetch_optional(self.readers())
        .await?;
        row.map(|row| {
            Ok(TokenOwner {
                tenant: row.parsed("tenant")?,
                id: row.text("token")?,
                name: row.text("name")?,
                kind: kind(&row)?,
            })
        })
        .transpose()
    }

    async fn token_ended(&self, secret: &str, now_us: i64) -> Result<Option<i64>, Error> {
        if !has_form(secret, PREFIX) {
            return Ok(None);
        }
        let row = sqlx::query(
            "SELECT expires_us FROM tokens \
             WHERE secret_sha256 = $1 AND revoked_us IS NULL AND expires_us <= $2",
        )
        .bind(digest(secret))
        .bind(now_us)
        .fetch_optional(self.readers())
        .await?;
        row.map(|row| row.int("expires_us")).transpose()
    }

    async fn tokens_ended(
        &self,
        after: &TokenEnd,
        until_us: i64,
        limit: u32,
    ) -> Result<Vec<(TenantId, TokenEnd)>, Error> {
        // The first two conditions are for the index.
        let rows = sqlx::query(
            "SELECT tenant, token, expires_us FROM tokens \
             WHERE expires_us >= $1 AND expires_us <= $2 \
             AND (expires_us, tenant, token) > ($1, $3, $4) \
             ORDER BY expires_us, tenant, token LIMIT $5",
        )
        .bind(after.at_us)
        .bind(until_us)
        .bind(after.tenant.as_str())
        .bind(after.id.as_str())
        .bind(i64::from(clamp(limit)))
        .fetch_all(self.readers())
        .await?;
        rows.iter()
            .map(|row| {
                let end = TokenEnd {
                    at_us: row.int("expires_us")?,
                    tenant: row.text("tenant")?,
                    id: row.text("token")?,
                };
                Ok((row.parsed("tenant")?, end))
            })
            .collect()
    }

    async fn tokens(
        &self,
        tenant: &TenantId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Token>, Error> {
        let rows = sqlx::query(
            "SELECT token, kind, role, device, name, created_us, revoked_us, expires_us FROM tokens \
             WHERE tenant = $1 AND token > $2 ORDER BY token LIMIT $3",
        )
        .bind(tenant.as_str())
        .bind(after.unwrap_or(""))
        .bind(i64::from(clamp(limit)) + 1)
        .fetch_all(self.readers())
        .await?;
        let tokens = rows
            .iter()
            .map(|row| {
                Ok(Token {
                    id: row.text("token")?,
                    owner: kind(row)?,
                    name: row.text("name")?,
                    created_us: row.int("created_us")?,
                    revoked_us: row.maybe_int("revoked_us")?,
                    expires_us: row.maybe_int("expires_us")?,
                })
            })
            .collect::<Result<_, Error>>()?;
        Ok(Page::cut(tokens, limit, |token: &Token| token.id.clone()))
    }

    async fn revoke_token(&self, tenant: &TenantId, id: &str, now_us: i64) -> Result<bool, Error> {
        let mut transaction = self.write().await?;
        let revoked = revoke(&mut transaction, tenant, id, now_us).await;
        transaction.end(revoked).await
    }
}

async fn create(
    transaction: &mut Transaction,
    tenant: &TenantId,
    now_us: i64,
) -> Result<bool, Error> {
    let there = sqlx::query("SELECT 1 FROM tenants WHERE tenant = $1")
        .bind(tenant.as_str())
        .fetch_optional(&mut **transaction)
        .await?;
    if there.is_some() {
        return Ok(false);
    }
    let issued = sqlx::query("SELECT 1 FROM issued_names WHERE name = $1")
        .bind(tenant.as_str())
        .fetch_optional(&mut **transaction)
        .await?;
    if issued.is_some() {
        return Err(Error::Conflict(format!(
            "a tenant {tenant} that was erased has issued credentials, and who believes them would \
             believe this one: take another name"
        )));
    }
    // People, and some file systems and names in the Web, take them for the same.
    let alike = sqlx::query(
        "SELECT tenant AS name FROM tenants WHERE lower(tenant) = lower($1) \
         UNION SELECT name FROM issued_names WHERE lower(name) = lower($1) LIMIT 1",
    )
    .bind(tenant.as_str())
    .fetch_optional(&mut **transaction)
    .await?;
    if let Some(row) = alike {
        return Err(Error::Conflict(format!(
            "the name {tenant} differs from {}, of a tenant that is there or was erased, by small and \
             capital letters alone: take another name",
            row.text("name")?
        )));
    }
    sqlx::query("INSERT INTO tenants (tenant, created_us) VALUES ($1, $2)")
        .bind(tenant.as_str())
        .bind(now_us)
        .execute(&mut **transaction)
        .await?;
    Ok(true)
}

async fn revoke(
    transaction: &mut Transaction,
    tenant: &TenantId,
    id: &str,
    now_us: i64,
) -> Result<bool, Error> {
    let token = sqlx::query(
        "SELECT revoked_us, role IS 'admin' AND (expires_us IS NULL OR expires_us > $3) \
         AND NOT EXISTS (SELECT 1 FROM tokens other \
         WHERE other.tenant = $1 AND other.token <> $2 AND other.role = 'admin' \
         AND other.revoked_us IS NULL AND (other.expires_us IS NULL OR other.expires_us > $3)) AS last_admin \
         FROM tokens WHERE tenant = $1 AND token = $2",
    )
    .bind(tenant.as_str())
    .bind(id)
    .bind(now_us)
    .fetch_optional(&mut **transaction)
    .await?
    .ok_or_else(|| Error::not_found("token", id))?;
    if token.maybe_int("revoked_us")?.is_some() {
        return Ok(false);
    }
    if token.int("last_admin")? != 0 {
        return Err(Error::Conflict(format!(
            "token {id} is the last admin token of tenant {tenant}, nobody could make another \
             one without it; make another admin token first, then revoke this one with that"
        )));
    }
    sqlx::query("UPDATE tokens SET revoked_us = $1 WHERE tenant = $2 AND token = $3")
        .bind(now_us)
        .bind(tenant.as_str())
        .bind(id)
        .execute(&mut **transaction)
        .await?;
    Ok(true)
}

/// What a name of a token has to be.
pub(super) fn check_token_name(name: &str) -> Result<(), Error> {
    if name.is_empty() || name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
        return Err(Error::invalid(
            "token name",
            format!("1 to {MAX_NAME} characters without control characters are allowed"),
        ));
    }
    Ok(())
}

fn kind(row: &SqliteRow) -> Result<TokenKind, Error> {
    let kind = row.text("kind")?;
    match kind.as_str() {
        "api" => {
            let role = row.maybe_text("role")?.unwrap_or_default();
            let role = Role::parse(&role).ok_or_else(|| Error::corrupt("role", role))?;
            Ok(TokenKind::Api { role })
        }
        "device" => Ok(TokenKind::Device {
            device: row.parsed("device")?,
        }),
        _ => Err(Error::corrupt("token kind", kind)),
    }
}
