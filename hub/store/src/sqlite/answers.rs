//! Answers to requests with a key.

use async_trait::async_trait;

use super::Sqlite;
use super::row::Columns as _;
use super::transaction::Transaction;
use crate::answers::MAX_ANSWERS;
use crate::{Answers, Begun, Error, Keyed};

#[async_trait]
impl Answers for Sqlite {
    async fn begin(&self, keyed: &Keyed, after_us: i64, now_us: i64) -> Result<Begun, Error> {
        let mut transaction = self.write().await?;
        let begun = begin(&mut transaction, keyed, after_us, now_us).await;
        transaction.end(begun).await
    }

    async fn answer(&self, keyed: &Keyed, answer: &[u8]) -> Result<(), Error> {
        let mut transaction = self.write().await?;
        let answered = sqlx::query(
            "UPDATE answers SET answer = $1 \
             WHERE tenant = $2 AND caller = $3 AND key_sha256 = $4 AND request_sha256 = $5",
        )
        .bind(answer)
        .bind(tenant(keyed))
        .bind(keyed.caller.as_str())
        .bind(keyed.key.as_slice())
        .bind(keyed.request.as_slice())
        .execute(&mut *transaction)
        .await
        .map(drop)
        .map_err(Error::from);
        transaction.end(answered).await
    }

    async fn forget(&self, keyed: &Keyed) -> Result<(), Error> {
        let mut transaction = self.write().await?;
        let forgotten = sqlx::query(
            "DELETE FROM answers WHERE tenant = $1 AND caller = $2 AND key_sha256 = $3 \
             AND request_sha256 = $4 AND answer IS NULL",
        )
        .bind(tenant(keyed))
        .bind(keyed.caller.as_str())
        .bind(keyed.key.as_slice())
        .bind(keyed.request.as_slice())
        .execute(&mut *transaction)
        .await
        .map(drop)
        .map_err(Error::from);
        transaction.end(forgotten).await
    }
}

async fn begin(
    transaction: &mut Transaction,
    keyed: &Keyed,
    after_us: i64,
    now_us: i64,
) -> Result<Begun, Error> {
    sqlx::query("DELETE FROM answers WHERE tenant = $1 AND begun_us < $2")
        .bind(tenant(keyed))
        .bind(after_us)
        .execute(&mut **transaction)
        .await?;
    let row = sqlx::query(
        "SELECT request_sha256, answer FROM answers \
         WHERE tenant = $1 AND caller = $2 AND key_sha256 = $3",
    )
    .bind(tenant(keyed))
    .bind(keyed.caller.as_str())
    .bind(keyed.key.as_slice())
    .fetch_optional(&mut **transaction)
    .await?;
    if let Some(row) = row {
        return Ok(if row.bytes("request_sha256")? != keyed.request {
            Begun::Another
        } else if let Some(answer) = row.maybe_bytes("answer")? {
            Begun::Answered(answer)
        } else {
            Begun::Unanswered
        });
    }
    sqlx::query(
        "DELETE FROM answers WHERE (tenant, caller, key_sha256) IN \
         (SELECT tenant, caller, key_sha256 FROM answers WHERE tenant = $1 \
         ORDER BY begun_us DESC LIMIT $2 OFFSET $3)",
    )
    .bind(tenant(keyed))
    .bind(i64::MAX)
    .bind(i64::from(MAX_ANSWERS) - 1)
    .execute(&mut **transaction)
    .await?;
    sqlx::query(
        "INSERT INTO answers (tenant, caller, key_sha256, request_sha256, begun_us) \
         VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(tenant(keyed))
    .bind(keyed.caller.as_str())
    .bind(keyed.key.as_slice())
    .bind(keyed.request.as_slice())
    .bind(now_us)
    .execute(&mut **transaction)
    .await?;
    Ok(Begun::Fresh)
}

/// No tenant has the empty name.
fn tenant(keyed: &Keyed) -> &str {
    keyed.tenant.as_ref().map_or("", |tenant| tenant.as_str())
}
