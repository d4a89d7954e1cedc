//! What a backtest answers.

use serde::Serialize;
use stencil_protocol::id::DeviceId;
use stencil_store::{AlarmId, RunId};

/// When a draft would have fired, and what the version in force did.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Backtest {
    /// The draft's id.
    pub workflow: String,
    /// The draft's version.
    pub version: u32,
    /// Its rule in plain words.
    pub rule: String,
    /// From this event time on.
    pub from_us: i64,
    /// Up to this event time.
    pub to_us: i64,
    /// Up to which event time all samples were looked at: `to_us`, or less where `truncated` says
    /// why.
    pub through_us: i64,
    /// Samples that were looked at; some before `from_us`, so that the rule knows how things were.
    pub samples: u64,
    /// Devices that were looked at.
    pub devices: u32,
    /// What was not looked at, or is not shown, and why.
    pub truncated: Option<String>,
    /// When it would have fired, by time; the first 1,000.
    pub firings: Vec<BacktestFiring>,
    /// Runs that it would have started.
    pub would_run: u64,
    /// Alarms that it would have raised.
    pub would_raise: u64,
    /// The version in force now; null: none is.
    pub active_version: Option<u32>,
    /// What versions in force did in that time, by time; the newest 1,000 runs and alarms.
    pub actual: Vec<Actual>,
}

/// A moment at which a rule would have fired.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct BacktestFiring {
    /// The device.
    #[schema(value_type = String)]
    pub device: DeviceId,
    /// Since when its condition had held.
    pub since_us: i64,
    /// When it would have fired.
    pub at_us: i64,
    /// When that would have ended; null: it had not by the end.
    pub cleared_us: Option<i64>,
    /// What was compared, where it is a number.
    pub value: Option<f64>,
}

/// A run that there was, or an alarm.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Actual {
    /// The device.
    pub device: String,
    /// When the rule fired (event time).
    pub at_us: i64,
    /// The workflow's version then.
    pub version: u32,
    /// The run that it started.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub run: Option<RunId>,
    /// The alarm that it raised.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub alarm: Option<AlarmId>,
    /// When that alarm ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cleared_us: Option<i64>,
}
