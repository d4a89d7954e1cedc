//! Durable runs of workflows: one row a run, one a step, and the claim that lets
//! exactly one runner work on a run at a time.
//!
//! A run is *due* at `due_us`. [`Runs::claim_due`] takes due runs by moving
//! `due_us` to the end of a lease: if the runner dies, the run becomes due again
//! by itself. Each claim carries a fence; [`Runs::record`] refuses the outcome of
//! a claim that a later one has overtaken. Effects carry keys of their own, so a
//! step that is done twice at such a seam acts once.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use stencil_protocol::id::{CommandId, TenantId};

use crate::{Error, Page, Trigger};

/// How many attempts are kept a step; older ones are forgotten (the step still
/// counts them).
pub const MAX_ATTEMPTS_KEPT: u32 = 20;

/// A run's id: SHA-256 over tenant, workflow, version and cause. Shown as 64 hex
/// digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub [u8; 32]);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RunId({self})")
    }
}

impl FromStr for RunId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut id = [0; 32];
        hex::decode_to_slice(text, &mut id)
            .map_err(|_| Error::invalid("run id", "64 hex digits are expected"))?;
        Ok(Self(id))
    }
}

impl Serialize for RunId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RunId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// Where a run or a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// Not begun.
    Pending,
    /// Begun; between attempts too.
    Running,
    /// Waits for something outside, e.g. a command's end.
    Waiting,
    /// Ended well.
    Done,
    /// Ended badly.
    Failed,
}

impl Progress {
    /// The name as stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }

    /// The state of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "pending" => Self::Pending,
            "running" => Self::Running,
            "waiting" => Self::Waiting,
            "done" => Self::Done,
            "failed" => Self::Failed,
            _ => return None,
        })
    }

    /// Whether nothing more will happen.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed)
    }
}

/// A run of a workflow.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Run {
    /// Its id.
    #[schema(value_type = String)]
    pub id: RunId,
    /// The tenant.
    #[serde(skip)]
    pub tenant: TenantId,
    /// The workflow.
    pub workflow: String,
    /// The version that it is pinned to.
    pub version: u32,
    /// What its templates see as `event`.
    #[schema(value_type = crate::schema::Json)]
    pub event: Value,
    /// Where it stands.
    pub state: Progress,
    /// When its rule fired (event time).
    pub at_us: i64,
    /// When it ended.
    pub ended_us: Option<i64>,
    /// Why it failed.
    pub error: Option<String>,
    /// Its steps so far, by index. Empty until the first outcome is recorded.
    pub steps: Vec<Step>,
}

/// A step of a run.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Step {
    /// Its place in the definition, from 0.
    pub index: u32,
    /// Its id in the definition.
    pub id: String,
    /// What it uses, e.g. `content.upsert`.
    #[serde(rename = "use")]
    pub uses: String,
    /// Where it stands.
    pub state: Progress,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried next, or looked at again.
    pub next_at_us: Option<i64>,
    /// What it gave; visible to later steps.
    #[schema(value_type = Option<crate::schema::Json>)]
    pub output: Option<Value>,
    /// Why the last attempt failed.
    pub error: Option<String>,
    /// The key that makes its effect happen once.
    pub effect_key: String,
    /// The command whose end it waits for (state [`Progress::Waiting`]).
    #[schema(value_type = Option<String>)]
    pub waiting_for: Option<CommandId>,
}

/// One attempt of a step, for the run's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Attempt {
    /// The step's index.
    pub step: u32,
    /// Which attempt, from 1.
    pub number: u32,
    /// When it began.
    pub started_us: i64,
    /// When it ended.
    pub ended_us: i64,
    /// Why it failed; `None`: it did not.
    pub error: Option<String>,
}

/// A run that was claimed.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// The run with all its steps.
    pub run: Run,
    /// Grows with each claim of the run.
    pub fence: u64,
    /// Until when nobody else claims it.
    pub lease_until_us: i64,
}

/// How many runs may be claimed: of all tenants together and of each.
///
/// So that the runs of one tenant, however many are due and however long each
/// takes, leave room for another's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Room {
    /// So many runs, of whatever tenant.
    pub runs: u32,
    /// So many of one tenant, those in `busy` included.
    pub tenant_runs: u32,
    /// How many runs of each tenant are being worked on.
    pub busy: BTreeMap<TenantId, u32>,
}

impl Room {
    /// Room for so many runs, be they of one tenant or of many.
    pub fn any(runs: u32) -> Self {
        Self {
            runs,
            tenant_runs: runs,
            busy: BTreeMap::new(),
        }
    }

    /// How many runs of a tenant are being worked on.
    pub fn busy(&self, tenant: &TenantId) -> u32 {
        self.busy.get(tenant).copied().unwrap_or(0)
    }

    /// How many more runs of a tenant there is room for.
    pub fn of(&self, tenant: &TenantId) -> u32 {
        let left = self.tenant_runs.saturating_sub(self.busy(tenant));
        left.min(self.runs)
    }

    /// The tenants of whose runs as many are being worked on as may be.
    pub fn full(&self) -> Vec<TenantId> {
        let full = |busy: &u32| *busy >= self.tenant_runs;
        let tenants = self.busy.iter().filter(|(_, busy)| full(busy));
        tenants.map(|(tenant, _)| tenant.clone()).collect()
    }
}

/// What became of a claimed run.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Where the run stands now.
    pub state: Progress,
    /// When it is due again; ignored in a final state. To go on with the same
    /// claim set the end of the (prolonged) lease and keep the fence.
    pub due_us: i64,
    /// Why the run failed.
    pub error: Option<String>,
    /// Steps that changed, whole; inserted or replaced by index.
    pub steps: Vec<Step>,
    /// An attempt for the history.
    pub attempt: Option<Attempt>,
}

/// Which runs to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// Only of this workflow.
    pub workflow: Option<String>,
    /// Only in this state.
    pub state: Option<Progress>,
    /// Only those whose rule fired at this time (event time) or later.
    pub from_us: Option<i64>,
    /// Only those whose rule fired before this time.
    pub to_us: Option<i64>,
}

/// Runs and their steps.
#[async_trait]
pub trait Runs: Send + Sync + 'static {
    /// Starts a run outside of the pipeline; `false` if it exists already.
    async fn trigger(&self, trigger: &Trigger) -> Result<bool, Error>;

    /// Claims runs that are due at `now_us`, as many as there is `room` for, until
    /// `now_us + lease_us`. Tenants take turns: the next one is always of the
    /// tenant that has the fewest in work; of one tenant (and of tenants that have
    /// as many) the one that is due for longest.
    async fn claim_due(&self, now_us: i64, lease_us: i64, room: &Room)
    -> Result<Vec<Claim>, Error>;

    /// Records what became of a claimed run, in one transaction.
    ///
    /// Returns when the run is due next (`None`: it ended). That is earlier than
    /// `outcome.due_us` if a step waits for a command that has ended meanwhile.
    /// [`Error::Conflict`] if a later claim has taken the run over: drop the
    /// outcome.
    async fn record(
        &self,
        claim: &Claim,
        outcome: &Outcome,
        now_us: i64,
    ) -> Result<Option<i64>, Error>;

    /// When the next run is due, leases' ends included, but for those of some
    /// tenants; `None`: nothing to do.
    async fn next_due_us(&self, without: &[TenantId]) -> Result<Option<i64>, Error>;

    /// One run with its steps.
    async fn get(&self, tenant: &TenantId, run: &RunId) -> Result<Option<Run>, Error>;

    /// The tenant's runs with their steps, the newest first.
    async fn list(
        &self,
        tenant: &TenantId,
        filter: &RunFilter,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Run>, Error>;

    /// How many runs the tenant has in each state that occurs.
    async fn counts(&self, tenant: &TenantId) -> Result<Vec<(Progress, u64)>, Error>;

    /// The same of runs that were fired at `since_us` or later (event time).
    async fn counts_since(
        &self,
        tenant: &TenantId,
        since_us: i64,
    ) -> Result<Vec<(Progress, u64)>, Error>;

    /// How many runs of a workflow were fired at `since_us` or later (event time).
    async fn count_since(
        &self,
        tenant: &TenantId,
        workflow: &str,
        since_us: i64,
    ) -> Result<u64, Error>;

    /// The kept attempts of a run, by step and number.
    async fn attempts(&self, tenant: &TenantId, run: &RunId) -> Result<Vec<Attempt>, Error>;

    /// Forgets up to `limit` runs that ended before `before_us`; returns how many.
    /// Their ids are forgotten too: choose `before_us` well below the age of
    /// anything that may still be replayed.
    async fn forget_ended(
        &self,
        tenant: &TenantId,
        before_us: i64,
        limit: u32,
    ) -> Result<u64, Error>;
}
