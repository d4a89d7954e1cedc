//! Operators.

use async_trait::async_trait;

use super::Sqlite;
use super::row::Columns as _;
use super::secret::{digest, fresh, has_form};
use super::tenancy::check_token_name;
use crate::page::clamp;
use crate::{Error, Operator, OperatorRow, Operators, Page, Secret, Tenant};

const PREFIX: &str = "stencil_operator_";

#[async_trait]
impl Operators for Sqlite {
    async fn create_operator(
        &self,
        name: &str,
        expires_us: Option<i64>,
        now_us: i64,
    ) -> Result<(Operator, Secret), Error> {
        check_token_name(name)?;
        let (id, secret) = fresh(PREFIX)?;
        let mut transaction = self.write().await?;
        let made = sqlx::query(
            "INSERT INTO operators (token, secret_sha256, name, created_us, expires_us) \
             VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(id.as_str())
        .bind(digest(secret.reveal()))
        .bind(name)
        .bind(now_us)
        .bind(expires_us)
        .execute(&mut *transaction)
        .await
        .map(drop)
        .map_err(Error::from);
        transaction.end(made).await?;
        let name = name.to_owned();
        Ok((Operator { id, name }, secret))
    }

    async fn verify_operator(&self, secret: &str, now_us: i64) -> Result<Option<Operator>, Error> {
        if !has_form(secret, PREFIX) {
            return Ok(None);
        }
        let row = sqlx::query(
            "SELECT token, name FROM operators WHERE secret_sha256 = $1 AND revoked_us IS NULL \
             AND (expires_us IS NULL OR expires_us > $2)",
        )
        .bind(digest(secret))
        .bind(now_us)
        .fetch_optional(self.readers())
        .await?;
        row.map(|row| {
            Ok(Operator {
                id: row.text("token")?,
                name: row.text("name")?,
            })
        })
        .transpose()
    }

    async fn operator_ended(&self, secret: &str, now_us: i64) -> Result<Option<i64>, Error> {
        if !has_form(secret, PREFIX) {
            return Ok(None);
        }
        let row = sqlx::query(
            "SELECT expires_us FROM operators \
             WHERE secret_sha256 = $1 AND revoked_us IS NULL AND expires_us <= $2",
        )
        .bind(digest(secret))
        .bind(now_us)
        .fetch_optional(self.readers())
        .await?;
        row.map(|row| row.int("expires_us")).transpose()
    }

    async fn operators(&self, after: Option<&str>, limit: u32) -> Result<Page<OperatorRow>, Error> {
        let rows = sqlx::query(
            "SELECT token, name, created_us, revoked_us, expires_us FROM operators \
             WHERE token > $1 ORDER BY token LIMIT $2",
        )
        .bind(after.unwrap_or(""))
        .bind(i64::from(clamp(limit)) + 1)
        .fetch_all(self.readers())
        .await?;
        let operators = rows
            .iter()
            .map(|row| {
                Ok(OperatorRow {
                    id: row.text("token")?,
                    name: row.text("name")?,
                    created_us: row.int("created_us")?,
                    revoked_us: row.maybe_int("revoked_us")?,
                    expires_us: row.maybe_int("expires_us")?,
                })
            })
            .collect::<Result<_, Error>>()?;
        Ok(Page::cut(operators, limit, |row: &OperatorRow| {
            row.id.clone()
        }))
    }

    async fn revoke_operator(&self, id: &str, now_us: i64) -> Result<bool, Error> {
        let mut transaction = self.write().await?;
        let revoked = sqlx::query(
            "UPDATE operators SET revoked_us = $1 WHERE token = $2 AND revoked_us IS NULL",
        )
        .bind(now_us)
        .bind(id)
        .execute(&mut *transaction)
        .await
        .map(|done| done.rows_affected() == 1)
        .map_err(Error::from);
        transaction.end(revoked).await
    }

    async fn overview(&self, after: Option<&str>, limit: u32) -> Result<Page<Tenant>, Error> {
        let rows = sqlx::query(
            "SELECT tenant, created_us FROM tenants WHERE tenant > $1 ORDER BY tenant LIMIT $2",
        )
        .bind(after.unwrap_or(""))
        .bind(i64::from(clamp(limit)) + 1)
        .fetch_all(self.readers())
        .await?;
        let tenants = rows
            .iter()
            .map(|row| {
                Ok(Tenant {
                    id: row.parsed("tenant")?,
                    created_us: row.int("created_us")?,
                })
            })
            .collect::<Result<_, Error>>()?;
        Ok(Page::cut(tenants, limit, |tenant: &Tenant| {
            tenant.id.to_string()
        }))
    }
}
