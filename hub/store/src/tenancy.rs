//! Tenants and the tokens that prove who belongs to them.

use std::fmt;

use async_trait::async_trait;
use serde::Serialize;
use stencil_protocol::id::{DeviceId, TenantId};

use crate::{Error, Page};

/// What an API token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything within the tenant, tokens included.
    Admin,
    /// Reads and writes, but no tokens.
    Editor,
    /// Reads only.
    Viewer,
}

impl Role {
    /// The name as stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Editor => "editor",
            Self::Viewer => "viewer",
        }
    }

    /// The role of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "admin" => Self::Admin,
            "editor" => Self::Editor,
            "viewer" => Self::Viewer,
            _ => return None,
        })
    }
}

/// Who holds a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum TokenKind {
    /// A user or program of the HTTP API.
    Api {
        /// What it may do.
        role: Role,
    },
    /// A foreign device, which signs in to MQTT with the token as its user name.
    Device {
        /// The device that it speaks for, and for no other.
        #[schema(value_type = String)]
        device: DeviceId,
    },
}

/// A token's secret: shown once, never stored (its SHA-256 is), never printed by
/// `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub(crate) fn new(text: String) -> Self {
        Self(text)
    }

    /// The secret itself, to hand to its owner.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Token {
    /// Names the token within its tenant; 16 hex digits.
    pub id: String,
    /// Who holds it.
    #[serde(flatten)]
    pub owner: TokenKind,
    /// What its maker called it.
    pub name: String,
    /// When it was made.
    pub created_us: i64,
    /// When it was revoked; it opens nothing since.
    pub revoked_us: Option<i64>,
    /// From when on it opens nothing by itself; null: it has no end.
    pub expires_us: Option<i64>,
}

impl Token {
    /// Whether it has come to its end, revoked or not.
    #[must_use]
    pub fn has_ended(&self, now_us: i64) -> bool {
        self.expires_us.is_some_and(|end_us| end_us <= now_us)
    }
}

/// A fresh token with its secret.
#[derive(Debug, Clone)]
pub struct IssuedToken {
    /// The token.
    pub token: Token,
    /// Its secret; this is the only time that it can be had.
    pub secret: Secret,
}

/// Whom a secret belongs to. The tenant follows from here and from nowhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenOwner {
    /// The tenant.
    pub tenant: TenantId,
    /// The token's id.
    pub id: String,
    /// What the token's maker called it.
    pub name: String,
    /// Who holds it.
    pub kind: TokenKind,
}

/// The end of a token, in the order of all ends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenEnd {
    /// When.
    pub at_us: i64,
    /// The token's tenant.
    pub tenant: String,
    /// The token's id.
    pub id: String,
}

impl TokenEnd {
    /// Before all that end at this time.
    #[must_use]
    pub fn from(at_us: i64) -> Self {
        Self {
            at_us,
            ..Self::default()
        }
    }
}

/// Tenants and tokens.
#[async_trait]
pub trait Tenancy: Send + Sync + 'static {
    /// Makes a tenant; `false` if it exists already.
    /// [`Error::Conflict`]: one of that name was erased that had issued credentials, or there is, or was, one
    /// whose name differs by small and capital letters alone.
    async fn create_tenant(&self, tenant: &TenantId, now_us: i64) -> Result<bool, Error>;

    /// When a tenant was made; `None`: there is none of this id.
    async fn tenant_made(&self, tenant: &TenantId) -> Result<Option<i64>, Error>;

    /// All tenants, by id. For the hub's own loops, not for a tenant's users.
    async fn tenants(&self, after: Option<&str>, limit: u32) -> Result<Page<TenantId>, Error>;

    /// Makes a token of an existing tenant. `name` is 1 to 64 characters; from `expires_us` on it opens
    /// nothing, without one it has no end.
    async fn create_token(
        &self,
        tenant: &TenantId,
        kind: TokenKind,
        name: &str,
        expires_us: Option<i64>,
        now_us: i64,
    ) -> Result<IssuedToken, Error>;

    /// Whom the secret belongs to; `None` if it is unknown or revoked, or has ended.
    async fn verify_token(&self, secret: &str, now_us: i64) -> Result<Option<TokenOwner>, Error>;

    /// When the token of a secret has ended that would open something otherwise; `None`: there is no such one.
    async fn token_ended(&self, secret: &str, now_us: i64) -> Result<Option<i64>, Error>;

    /// Tokens of all tenants that have ended behind `after` and not after `until_us`, revoked ones included, in
    /// the order of their ends; at most `limit`. For the hub's own loops.
    async fn tokens_ended(
        &self,
        after: &TokenEnd,
        until_us: i64,
        limit: u32,
    ) -> Result<Vec<(TenantId, TokenEnd)>, Error>;

    /// The tenant's tokens, by id, revoked ones included.
    async fn tokens(
        &self,
        tenant: &TenantId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Token>, Error>;

    /// Revokes a token for good; `false` if it was revoked before. The tenant's last admin token that has not
    /// ended is not revoked ([`Error::Conflict`]): nobody could make another one then.
    async fn revoke_token(&self, tenant: &TenantId, id: &str, now_us: i64) -> Result<bool, Error>;
}
