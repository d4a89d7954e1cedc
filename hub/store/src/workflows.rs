//! Workflow definitions: immutable versions, one of them active.

use async_trait::async_trait;
use serde::Serialize;
use stencil_protocol::id::{GatewayId, TenantId};

use crate::{Error, Page};

/// The longest workflow id, in bytes.
pub const MAX_WORKFLOW_ID: usize = 64;
/// The longest definition, in bytes.
pub const MAX_DEFINITION: usize = 64 * 1024;

/// One version of a workflow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Workflow {
    /// Its id within the tenant.
    pub id: String,
    /// Its version, from 1.
    pub version: u32,
    /// The definition as it was put, to the byte.
    pub yaml: String,
    /// When it was put.
    pub created_us: i64,
    /// Whether its rule is applied. At most one version of an id is active.
    pub active: bool,
    /// Since when the workflow is in force without a break, by whichever of its versions, µs since the
    /// epoch; null: this version is not active.
    pub since_us: Option<i64>,
}

/// A rule that is placed at a gateway, as the gateway says itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct AtGateway {
    /// The gateway.
    #[schema(value_type = String)]
    pub gateway: GatewayId,
    /// The workflow.
    pub workflow: String,
    /// The version that it was told.
    pub version: u32,
    /// Why it does not judge it; `null`: it does.
    pub refused: Option<String>,
    /// When the hub heard of it.
    pub at_us: i64,
}

/// Workflow definitions.
#[async_trait]
pub trait Workflows: Send + Sync + 'static {
    /// Keeps a version and makes it the active one; `false` if exactly this text
    /// was kept under this version before (nothing changes then).
    ///
    /// [`Error::Conflict`] if the version exists with another text, or is lower
    /// than the newest one.
    async fn put(
        &self,
        tenant: &TenantId,
        id: &str,
        version: u32,
        yaml: &str,
        now_us: i64,
    ) -> Result<bool, Error>;

    /// Makes a version the active one, or none.
    async fn activate(
        &self,
        tenant: &TenantId,
        id: &str,
        version: Option<u32>,
        now_us: i64,
    ) -> Result<(), Error>;

    /// A version; `None` asks for the active one, else the newest.
    async fn get(
        &self,
        tenant: &TenantId,
        id: &str,
        version: Option<u32>,
    ) -> Result<Option<Workflow>, Error>;

    /// The tenant's workflows, by id: of each the active version, else the newest.
    async fn list(
        &self,
        tenant: &TenantId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Workflow>, Error>;

    /// All versions of a workflow, the newest first; `after` is a version.
    async fn versions(
        &self,
        tenant: &TenantId,
        id: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Workflow>, Error>;

    /// The active versions of all tenants: what the pipeline applies.
    async fn active(&self) -> Result<Vec<(TenantId, Workflow)>, Error>;

    /// The tenant's versions that are not in force, the newest first, at most `limit`.
    async fn out_of_force(&self, tenant: &TenantId, limit: u32) -> Result<Vec<Workflow>, Error>;

    /// What gateways say of rules that are placed at them: of one workflow, or of all; by workflow
    /// and gateway, at most `limit`.
    async fn at_gateways(
        &self,
        tenant: &TenantId,
        workflow: Option<&str>,
        limit: u32,
    ) -> Result<Vec<AtGateway>, Error>;
}
