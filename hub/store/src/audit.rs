//! The audit log: who changed what, when, from where, and whether it was allowed.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use stencil_protocol::id::TenantId;

use crate::{Error, Page};

/// The longest text of an audit entry, in characters; longer ones are cut.
pub const MAX_AUDIT_TEXT: usize = 256;

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuditOutcome {
    /// It was done.
    Done,
    /// It was not allowed.
    Refused,
    /// It was allowed, but not done, or not wholly.
    Failed,
}

impl AuditOutcome {
    /// The name as stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }

    /// The outcome of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "done" => Self::Done,
            "refused" => Self::Refused,
            "failed" => Self::Failed,
            _ => return None,
        })
    }
}

/// What is to be written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAudit {
    /// When.
    pub at_us: i64,
    /// Who: `user alice`, `token ci`, `operator`.
    pub who: String,
    /// What: `tokens.create`.
    pub action: String,
    /// To which thing.
    pub target: Option<String>,
    /// How it went.
    pub outcome: AuditOutcome,
    /// More in words, e.g. why it was refused.
    pub detail: Option<String>,
    /// From which address.
    pub address: Option<String>,
}

/// One entry of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct AuditEntry {
    /// Its number within the tenant, from 1, without gaps; old ones are forgotten.
    pub entry: u64,
    /// When.
    pub at_us: i64,
    /// Who: `user alice`, `token ci`, `operator ann`, `command line`.
    pub who: String,
    /// What: `tokens.create`.
    pub action: String,
    /// To which thing.
    pub target: Option<String>,
    /// How it went.
    pub outcome: AuditOutcome,
    /// More in words, e.g. why it was refused.
    pub detail: Option<String>,
    /// From which address.
    pub address: Option<String>,
}

/// Which entries; what is `None` does not narrow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// By these only.
    pub who: Option<String>,
    /// Of this action only.
    pub action: Option<String>,
    /// With this outcome only.
    pub outcome: Option<AuditOutcome>,
}

/// The audit log.
#[async_trait]
pub trait Audit: Send + Sync + 'static {
    /// Writes an entry down, and forgets those of the tenant beyond the newest `keep`.
    async fn note(&self, tenant: &TenantId, entry: &NewAudit, keep: u32) -> Result<(), Error>;

    /// The tenant's entries, the newest first.
    async fn entries(
        &self,
        tenant: &TenantId,
        filter: &AuditFilter,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<AuditEntry>, Error>;

    /// Forgets entries of the tenant that are older than `before_us`, at most `limit`; how many.
    async fn forget_before(
        &self,
        tenant: &TenantId,
        before_us: i64,
        limit: u32,
    ) -> Result<u64, Error>;
}
