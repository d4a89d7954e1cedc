//! Gateways: what each shall be like, and what it says that it is like.
//!
//! A desired state is asked for a gateway or for a group of them, section by section. What follows
//! for a gateway (each section from itself, else from the first of its groups that has it) is
//! numbered anew when it changes: that number is what a gateway is given, and judges, once.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde::{Serialize, Serializer};
use stencil_protocol::desired::{Digest, Few, Judged, Revision, Section, State, Verdict};
use stencil_protocol::id::{DeviceId, GatewayId, TenantId};

use crate::{Error, LinkInfo, Page};

/// The most groups of one gateway.
pub const MAX_GATEWAY_GROUPS: usize = 8;
/// The most groups with a desired state that a tenant may have.
pub const MAX_DESIRED_GROUPS: u32 = 1_000;
/// The most gateways of one group.
pub const MAX_GROUP_GATEWAYS: u32 = 5_000;

/// Whose desired state.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum DesiredOf {
    /// Of one gateway.
    Gateway(GatewayId),
    /// Of all gateways of a group. Its name is formed as a gateway's.
    Group(GatewayId),
}

/// What was asked for, of a gateway or a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredState {
    /// It counts the changes; 0: nothing was ever asked for.
    pub version: u64,
    /// The sections that are set, with their texts.
    pub sections: BTreeMap<Section, String>,
    /// When it last changed.
    pub changed_us: Option<i64>,
    /// Who changed it.
    pub changed_by: Option<String>,
}

/// What follows for one gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// Its number; 0: nothing was ever asked for.
    pub revision: Revision,
    /// The sections.
    pub sections: Vec<EffectiveSection>,
    /// Since when.
    pub since_us: Option<i64>,
}

/// A section of that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectiveSection {
    /// Which.
    pub section: Section,
    /// Its text's name.
    pub digest: Digest,
    /// Its text's length in bytes.
    pub length: u32,
}

/// What a gateway says, by the log.
#[derive(Debug, Clone, PartialEq)]
pub struct GatewaySaid {
    /// The tenant.
    pub tenant: TenantId,
    /// The gateway.
    pub gateway: GatewayId,
    /// What it says that it is like.
    pub state: State,
    /// How it is connected.
    pub link: LinkInfo,
    /// When the hub received it.
    pub received_us: i64,
}

/// A gateway, as people see it.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Gateway {
    /// The gateway.
    #[schema(value_type = String)]
    pub gateway: GatewayId,
    /// The groups that it is in, in the order in which they are asked for a section.
    #[schema(value_type = Vec<String>)]
    pub groups: Vec<GatewayId>,
    /// The number of what it shall be like; 0: nothing was ever asked for.
    pub desired_revision: u64,
    /// The number of what it runs with; `null`: as its own files say.
    pub applied_revision: Option<u64>,
    /// The last that it has judged, and how.
    pub last: Option<GatewayVerdict>,
    /// When the hub last heard what it is like; `null`: never.
    pub said_us: Option<i64>,
    /// Its program's version.
    pub version: Option<String>,
    /// When its process was started, by its clock.
    pub started_us: Option<i64>,
    /// Bytes of its spool.
    pub spool_bytes: Option<u64>,
    /// Of these, what waits for the hub.
    pub waiting_bytes: Option<u64>,
    /// Devices that are linked to it.
    pub links: Option<u64>,
    /// Field devices that it reads; `null`: it has not said so.
    pub field_devices: Option<u64>,
    /// Of these, those that do not answer.
    pub silent: Option<FewDevices>,
    /// Devices whose keys it does not use, as its mapping reads devices of these ids.
    pub unused_keys: Option<FewDevices>,
    /// When the certificate that it uses ends.
    pub certificate_end_us: Option<i64>,
    /// Since when it is let in no more; `null`: it is. One that is added again is.
    pub revoked_us: Option<i64>,
    /// How it is connected: the key agreement of its TLS.
    pub link: Option<LinkInfo>,
    /// Since when it has its present key for devices' keys; `null`: it has not connected yet.
    pub registered_us: Option<i64>,
    /// Devices that it shall let in by keys of the hub.
    pub devices: u64,
    /// Changes of these keys that it does not hold yet.
    pub waiting: u64,
    /// When it last came with another key than it had before; `null`: never. All keys of its devices
    /// are sealed to the new one.
    pub rekeyed_us: Option<i64>,
    /// When somebody last spoke by its name while it was connected, again and again: two have its
    /// certificate. `null`: never.
    pub contested_us: Option<i64>,
}

/// Devices: how many, and the first of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct FewDevices {
    /// How many there are.
    pub count: u32,
    /// The first by their ids, at most 16.
    #[schema(value_type = Vec<String>)]
    pub first: Vec<DeviceId>,
}

impl From<&Few> for FewDevices {
    fn from(few: &Few) -> Self {
        Self {
            count: few.count,
            first: few.first.clone(),
        }
    }
}

/// What became of a desired state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct GatewayVerdict {
    /// Which.
    pub revision: u64,
    /// `applied`, `refused` (it has errors, nothing was changed), `rolled_back` (it was tried, and the
    /// one before is in force again) or `trying`.
    #[serde(serialize_with = "by_name")]
    #[schema(value_type = String)]
    pub verdict: Verdict,
    /// When, by the gateway's clock.
    pub at_us: i64,
    /// Why, where it is not applied.
    pub why: Vec<GatewayFlaw>,
}

/// Something that is wrong with a desired state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct GatewayFlaw {
    /// In which section: `settings` or `mapping`.
    pub section: Option<String>,
    /// In which line, from 1.
    pub line: Option<u64>,
    /// From which column on, from 1.
    pub column: Option<u64>,
    /// What is wrong.
    pub what: String,
}

fn by_name<S: Serializer>(verdict: &Verdict, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(verdict.name())
}

impl From<stencil_protocol::desired::Flaw> for GatewayFlaw {
    fn from(flaw: stencil_protocol::desired::Flaw) -> Self {
        Self {
            section: flaw.section.map(|section| section.name().to_owned()),
            line: (flaw.line > 0).then_some(flaw.line),
            column: (flaw.line > 0).then_some(flaw.column),
            what: flaw.what,
        }
    }
}

impl From<Judged> for GatewayVerdict {
    fn from(judged: Judged) -> Self {
        Self {
            revision: judged.revision.number,
            verdict: judged.verdict,
            at_us: judged.at_us,
            why: judged.flaws.into_iter().map(GatewayFlaw::from).collect(),
        }
    }
}

/// Gateways.
#[async_trait]
pub trait Gateways: Send + Sync + 'static {
    /// The tenant's gateways by id, those of one group: all that have connected, have keys of
    /// devices, or shall be like something.
    async fn gateways(
        &self,
        tenant: &TenantId,
        group: Option<&GatewayId>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Gateway>, Error>;

    /// One gateway.
    async fn gateway(
        &self,
        tenant: &TenantId,
        gateway: &GatewayId,
    ) -> Result<Option<Gateway>, Error>;

    /// What was asked for.
    async fn desired(&self, tenant: &TenantId, of: &DesiredOf) -> Result<DesiredState, Error>;

    /// Asks for something else: sections that are not named are left to the groups, or to the
    /// gateway's own files. It replaces this version, and is numbered for all gateways that it
    /// concerns, also where it is the same as before, so that what was rolled back is tried again.
    /// Returns the new version.
    ///
    /// # Errors
    /// [`Error::Conflict`]: the present version is another one, or there are too many groups.
    async fn set_desired(
        &self,
        tenant: &TenantId,
        of: &DesiredOf,
        sections: &BTreeMap<Section, String>,
        replaces: u64,
        by: &str,
        now_us: i64,
    ) -> Result<u64, Error>;

    /// The names of the groups that have a desired state or a gateway, with how many gateways each
    /// has, by name.
    async fn gateway_groups(
        &self,
        tenant: &TenantId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<(GatewayId, u64)>, Error>;

    /// Puts a gateway into these groups and no others, in this order.
    ///
    /// # Errors
    /// [`Error::Invalid`]: too many, or one twice. [`Error::Conflict`]: a group would have too many
    /// gateways.
    async fn set_groups(
        &self,
        tenant: &TenantId,
        gateway: &GatewayId,
        groups: &[GatewayId],
        now_us: i64,
    ) -> Result<(), Error>;

    /// Removes a gateway that is revoked, or that was only ever named: what it was to be like, its
    /// groups, and what it said. That its certificates are revoked stays. `false`: there was none.
    ///
    /// # Errors
    /// [`Error::Conflict`]: it is let in, or devices are let in by it.
    async fn remove_gateway(&self, tenant: &TenantId, gateway: &GatewayId) -> Result<bool, Error>;

    /// What follows for a gateway; `None`: nothing was ever asked for.
    async fn effective(
        &self,
        tenant: &TenantId,
        gateway: &GatewayId,
    ) -> Result<Option<Effective>, Error>;

    /// A text of a desired state.
    async fn desired_text(
        &self,
        tenant: &TenantId,
        digest: &Digest,
    ) -> Result<Option<String>, Error>;

    /// Gateways that have not judged what they shall be like. For the hub's own loop.
    async fn undecided(&self, limit: u32) -> Result<Vec<(TenantId, GatewayId)>, Error>;

    /// Numbers what all gateways shall be like anew: what they were given may be of a later state
    /// than this database, which was restored from a backup.
    async fn renumber_desired(&self) -> Result<(), Error>;
}
