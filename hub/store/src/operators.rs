//! Those who run the hub: they make and remove tenants, and see nothing of theirs.

use async_trait::async_trait;
use serde::Serialize;
use stencil_protocol::id::TenantId;

use crate::{Error, Page, Secret};

/// A tenant, as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Tenant {
    /// Its id.
    #[schema(value_type = String)]
    pub id: TenantId,
    /// When it was made.
    pub created_us: i64,
}

/// An operator, by their token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// The token's id; 16 hex digits.
    pub id: String,
    /// What its maker called it.
    pub name: String,
}

/// An operator as they are listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OperatorRow {
    /// The token's id; 16 hex digits.
    pub id: String,
    /// What its maker called it.
    pub name: String,
    /// When it was made.
    pub created_us: i64,
    /// When it was revoked, if it was.
    pub revoked_us: Option<i64>,
    /// From when on it opens nothing by itself; null: it has no end.
    pub expires_us: Option<i64>,
}

/// Operators, and the tenants in their sight.
#[async_trait]
pub trait Operators: Send + Sync + 'static {
    /// Makes an operator's token. `name` is 1 to 64 characters; from `expires_us` on it opens nothing,
    /// without one it has no end.
    async fn create_operator(
        &self,
        name: &str,
        expires_us: Option<i64>,
        now_us: i64,
    ) -> Result<(Operator, Secret), Error>;

    /// Whom the secret belongs to; `None` if it is unknown or revoked, or has ended.
    async fn verify_operator(&self, secret: &str, now_us: i64) -> Result<Option<Operator>, Error>;

    /// When the token of a secret has ended that would open something otherwise; `None`: there is no such one.
    async fn operator_ended(&self, secret: &str, now_us: i64) -> Result<Option<i64>, Error>;

    /// Operators, by the id of their token, revoked ones included.
    async fn operators(&self, after: Option<&str>, limit: u32) -> Result<Page<OperatorRow>, Error>;

    /// Revokes an operator's token for good; `false` if there is none that opens anything.
    async fn revoke_operator(&self, id: &str, now_us: i64) -> Result<bool, Error>;

    /// All tenants with what an operator may know of them, by id.
    async fn overview(&self, after: Option<&str>, limit: u32) -> Result<Page<Tenant>, Error>;
}
