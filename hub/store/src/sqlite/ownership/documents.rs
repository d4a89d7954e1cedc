//! Documents that tokens name.

use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;
use stencil_protocol::id::TenantId;

use super::super::failure::of_tenant;
use super::super::row::Columns as _;
use crate::Error;
use crate::ownership::{Document, DocumentHead, MAX_DOCUMENTS, TokenKey};

/// Keeps a document, or gives what is kept of it already.
pub(super) async fn put(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    sha256: &TokenKey,
    document: &Document,
    now_us: i64,
) -> Result<(bool, DocumentHead), Error> {
    let known = sqlx::query(
        "SELECT sha256, media_type, LENGTH(body) AS bytes, created_us FROM documents \
         WHERE tenant = $1 AND sha256 = $2",
    )
    .bind(tenant.as_str())
    .bind(sha256.to_vec())
    .fetch_optional(&mut *connection)
    .await?;
    if let Some(known) = known {
        return Ok((false, head(&known)?));
    }
    let row = sqlx::query("SELECT COUNT(*) AS count FROM documents WHERE tenant = $1")
        .bind(tenant.as_str())
        .fetch_one(&mut *connection)
        .await?;
    if row.int("count")? >= i64::from(MAX_DOCUMENTS) {
        let why = format!("there are {MAX_DOCUMENTS} documents, the most that a tenant may have");
        return Err(Error::Conflict(why));
    }
    sqlx::query(
        "INSERT INTO documents (tenant, sha256, media_type, body, created_us) \
         VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(tenant.as_str())
    .bind(sha256.to_vec())
    .bind(document.media_type.as_str())
    .bind(document.body.as_slice())
    .bind(now_us)
    .execute(connection)
    .await
    .map_err(|error| of_tenant(error, tenant.as_str()))?;
    let kept = DocumentHead {
        sha256: hex::encode(sha256),
        media_type: document.media_type.clone(),
        bytes: document.body.len() as u64,
        created_us: now_us,
    };
    Ok((true, kept))
}

/// A document without what it says.
pub(super) fn head(row: &SqliteRow) -> Result<DocumentHead, Error> {
    Ok(DocumentHead {
        sha256: hex::encode(row.array::<32>("sha256")?),
        media_type: row.text("media_type")?,
        bytes: row.number("bytes")?,
        created_us: row.int("created_us")?,
    })
}
