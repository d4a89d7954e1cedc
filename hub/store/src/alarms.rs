//! Alarms: states, not messages. An alarm is *active* from the moment at which a
//! workflow's rule became true for a device until it no longer is, and says so for
//! as long as that takes, whether or not anybody has seen it.
//!
//! One row is one such episode; of a workflow and a device at most one is active.
//! The pipeline raises and clears ([`AlarmChange`], in the transaction of its
//! commit); people acknowledge and silence.

use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use stencil_protocol::id::{DeviceId, TenantId};

use crate::{Error, Page};

/// The longest title of an alarm, in bytes; a longer one is cut.
pub const MAX_ALARM_TITLE: usize = 512;

/// The longest note of who acknowledges, in bytes.
pub const MAX_ALARM_NOTE: usize = 1_024;

/// How many entries an alarm's history keeps; of what people did to it the
/// oldest are forgotten, that it was raised never is.
pub const MAX_ALARM_EVENTS: u32 = 200;

/// The id of an alarm: derived from its cause, so that a replay raises the same
/// one. Shown as 32 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AlarmId(pub [u8; 16]);

impl fmt::Display for AlarmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for AlarmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AlarmId({self})")
    }
}

impl FromStr for AlarmId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut id = [0; 16];
        hex::decode_to_slice(text, &mut id)
            .map_err(|_| Error::invalid("alarm id", "32 hex digits are expected"))?;
        Ok(Self(id))
    }
}

impl Serialize for AlarmId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AlarmId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// How bad it is; a later one is worse.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Something to know.
    Warning,
    /// Something to see to at some time.
    Minor,
    /// Something to see to soon.
    Major,
    /// Something to see to now.
    Critical,
}

impl Severity {
    /// All of them, the least first.
    pub const ALL: [Self; 4] = [Self::Warning, Self::Minor, Self::Major, Self::Critical];

    /// The name as shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Minor => "minor",
            Self::Major => "major",
            Self::Critical => "critical",
        }
    }

    /// The severity of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == name)
    }

    /// Its place in [`Severity::ALL`], from 1: as stored.
    pub(crate) fn rank(self) -> i64 {
        match self {
            Self::Warning => 1,
            Self::Minor => 2,
            Self::Major => 3,
            Self::Critical => 4,
        }
    }
}

/// An alarm: one episode of a workflow's rule on a device.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Alarm {
    /// Its id.
    #[schema(value_type = String)]
    pub id: AlarmId,
    /// The tenant.
    #[serde(skip)]
    pub tenant: TenantId,
    /// The workflow whose rule raised it.
    pub workflow: String,
    /// That workflow's version then.
    pub version: u32,
    /// The device.
    #[schema(value_type = String)]
    pub device: DeviceId,
    /// How bad it is.
    pub severity: Severity,
    /// What to show: text, not markup.
    pub title: String,
    /// When the rule became true (event time).
    pub raised_us: i64,
    /// The value that raised it, where it is a number.
    pub value: Option<f64>,
    /// When it ended (event time); `None`: it is active.
    pub cleared_us: Option<i64>,
    /// Why it ended, in words.
    pub cleared_why: Option<String>,
    /// Who has taken note of it.
    pub acknowledged: Option<Mark>,
    /// Until when nobody is told of this rule on this device. It may be past.
    pub silenced_until_us: Option<i64>,
    /// Who asked for that silence.
    pub silenced_by: Option<String>,
}

impl Alarm {
    /// Whether its rule still holds.
    pub fn is_active(&self) -> bool {
        self.cleared_us.is_none()
    }
}

/// That somebody took note of an alarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Mark {
    /// When.
    pub at_us: i64,
    /// Who.
    pub by: String,
    /// What they had to say.
    pub note: Option<String>,
}

/// An entry of an alarm's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct AlarmEvent {
    /// What happened.
    pub kind: AlarmEventKind,
    /// When: event time if the rule did it, the wall clock's if somebody did.
    pub at_us: i64,
    /// Who did it; `None`: the rule.
    pub by: Option<String>,
    /// The note, or why it was cleared.
    pub note: Option<String>,
    /// Of a silence: until when.
    pub until_us: Option<i64>,
}

/// What can happen to an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AlarmEventKind {
    /// The rule became true.
    Raised,
    /// The rule is no longer true, or no longer in force.
    Cleared,
    /// Somebody took note.
    Acknowledged,
    /// Somebody asked that nobody be told for a time.
    Silenced,
    /// Somebody ended that time.
    Unsilenced,
}

impl AlarmEventKind {
    /// The name as stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Cleared => "cleared",
            Self::Acknowledged => "acknowledged",
            Self::Silenced => "silenced",
            Self::Unsilenced => "unsilenced",
        }
    }

    /// The kind of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "raised" => Self::Raised,
            "cleared" => Self::Cleared,
            "acknowledged" => Self::Acknowledged,
            "silenced" => Self::Silenced,
            "unsilenced" => Self::Unsilenced,
            _ => return None,
        })
    }
}

/// What the pipeline says of an alarm.
#[derive(Debug, Clone, PartialEq)]
pub enum AlarmChange {
    /// A rule became true; if the alarm exists already, it is left alone.
    Raised(Raised),
    /// It no longer is; an alarm that is not active is left alone.
    Cleared(Cleared),
}

/// An alarm to raise.
#[derive(Debug, Clone, PartialEq)]
pub struct Raised {
    /// Its id, derived from its cause.
    pub id: AlarmId,
    /// The tenant.
    pub tenant: TenantId,
    /// The workflow's id.
    pub workflow: String,
    /// The workflow's version.
    pub version: u32,
    /// The device.
    pub device: DeviceId,
    /// How bad it is.
    pub severity: Severity,
    /// What to show; cut to [`MAX_ALARM_TITLE`] bytes.
    pub title: String,
    /// When (event time).
    pub at_us: i64,
    /// The value, where it is a number.
    pub value: Option<f64>,
}

/// An alarm to clear.
#[derive(Debug, Clone, PartialEq)]
pub struct Cleared {
    /// Which one.
    pub id: AlarmId,
    /// The tenant.
    pub tenant: TenantId,
    /// The workflow's id.
    pub workflow: String,
    /// The device.
    pub device: DeviceId,
    /// How bad it was.
    pub severity: Severity,
    /// When (event time).
    pub at_us: i64,
    /// Why, in words.
    pub why: String,
}

/// An active alarm, as the pipeline has to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveAlarm {
    /// Its id.
    pub id: AlarmId,
    /// The tenant.
    pub tenant: TenantId,
    /// The workflow's id.
    pub workflow: String,
    /// The device.
    pub device: DeviceId,
    /// How bad it is.
    pub severity: Severity,
}

/// Which alarms to list. All of what is set must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlarmFilter {
    /// Only those that are active, or only those that are not.
    pub active: Option<bool>,
    /// Only of this device.
    pub device: Option<DeviceId>,
    /// Only of this workflow.
    pub workflow: Option<String>,
    /// Only of this severity.
    pub severity: Option<Severity>,
    /// Only those that somebody has taken note of, or only those that nobody has.
    pub acknowledged: Option<bool>,
    /// Only those that were raised at this time (event time) or later.
    pub from_us: Option<i64>,
    /// Only those that were raised before this time.
    pub to_us: Option<i64>,
}

/// How many alarms are active.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct AlarmCounts {
    /// Of severity warning.
    pub warning: u64,
    /// Of severity minor.
    pub minor: u64,
    /// Of severity major.
    pub major: u64,
    /// Of severity critical.
    pub critical: u64,
    /// Those of them that nobody has taken note of.
    pub unacknowledged: u64,
}

impl AlarmCounts {
    /// All active alarms.
    pub fn active(&self) -> u64 {
        self.warning + self.minor + self.major + self.critical
    }
}

/// Alarms, and what people do with them.
#[async_trait]
pub trait Alarms: Send + Sync + 'static {
    /// The tenant's alarms, those that were raised last first.
    async fn list(
        &self,
        tenant: &TenantId,
        filter: &AlarmFilter,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Alarm>, Error>;

    /// One alarm.
    async fn get(&self, tenant: &TenantId, alarm: &AlarmId) -> Result<Option<Alarm>, Error>;

    /// What happened to an alarm, the oldest first; empty if there is none.
    async fn history(&self, tenant: &TenantId, alarm: &AlarmId) -> Result<Vec<AlarmEvent>, Error>;

    /// Takes note of an alarm, active or not. Once more replaces who, when and what.
    ///
    /// [`Error::NotFound`] if there is none; [`Error::Invalid`] for a note of more
    /// than [`MAX_ALARM_NOTE`] bytes.
    async fn acknowledge(
        &self,
        tenant: &TenantId,
        alarm: &AlarmId,
        by: &str,
        note: Option<&str>,
        now_us: i64,
    ) -> Result<Alarm, Error>;

    /// Lets the alarm's workflow tell nobody about the alarm's device until a time;
    /// `None` ends that. Also holds for later alarms of the two.
    ///
    /// [`Error::NotFound`] if there is no such alarm.
    async fn silence(
        &self,
        tenant: &TenantId,
        alarm: &AlarmId,
        until_us: Option<i64>,
        by: &str,
        now_us: i64,
    ) -> Result<Alarm, Error>;

    /// Until when a workflow tells nobody about a device; `None`: it does tell at
    /// `now_us`.
    async fn silenced(
        &self,
        tenant: &TenantId,
        workflow: &str,
        device: &DeviceId,
        now_us: i64,
    ) -> Result<Option<i64>, Error>;

    /// How many alarms the tenant has that are active.
    async fn counts(&self, tenant: &TenantId) -> Result<AlarmCounts, Error>;

    /// Forgets up to `limit` alarms that were cleared before `before_us`, and
    /// silences that ended before it; returns how many alarms.
    async fn forget_cleared(
        &self,
        tenant: &TenantId,
        before_us: i64,
        limit: u32,
    ) -> Result<u64, Error>;
}
