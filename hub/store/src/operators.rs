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
}

/// Operators, and the tenants in their sight.
#[async_trait]
pub trait Operators: Send + Sync + 'static {
    /// Makes an operator's token. `name` is 1 to 64 characters.
    async fn create_operator(&self, name: &str, now_us: i64) -> Result<(Operator, Secret), Error>;

    /// Whom the secret belongs to; `None` if it is unknown or revoked.
    async fn verify_operator(&self, secret: &str) -> Result<Option<Operator>, Error>;

    /// Operators, by the id of their token, revoked ones included.
    async fn operators(&self, after: Option<&str>, limit: u32) -> Result<Page<OperatorRow>, Error>;

    /// Revokes an operator's token for good; `false` if there is none that opens anything.
    async fn revoke_operator(&self, id: &str, now_us: i64) -> Result<bool, Error>;

    /// All tenants with what an operator may know of them, by id.
    async fn overview(&self, after: Option<&str>, limit: u32) -> Result<Page<Tenant>, Error>;
}
