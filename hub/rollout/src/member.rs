//! One device of a roll-out.

use serde::{Deserialize, Serialize};
use stencil_protocol::id::GatewayId;

/// Why a device does not get the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Skip {
    /// It runs the image already.
    Running,
    /// It is of another class.
    Incompatible,
    /// It runs a later image.
    Newer,
    /// The roll-out was aborted before the device had the image.
    Aborted,
    /// It was on for as long as a time-out, and has never said what it runs.
    Silent,
    /// It was revoked.
    Revoked,
}

impl Skip {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "it runs this image already",
            Self::Incompatible => "the image is for another class of devices",
            Self::Newer => "it runs an image that is as new or newer",
            Self::Aborted => "the roll-out was aborted",
            Self::Silent => "it never said what it runs, as a device without slots",
            Self::Revoked => "it was revoked",
        }
    }
}

/// How far a device has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum Phase {
    /// Its turn has not come, or it is off, or it has not said yet what it runs.
    Waiting,
    /// It is to get the image, and has said nothing about it.
    Offered,
    /// It has so much of it.
    Downloading {
        /// In percent.
        percent: u8,
    },
    /// It has verified all of it, and runs it on trial or is about to.
    Installed,
    /// It runs the image, and keeps it.
    Done,
    /// It does not run the image.
    Failed {
        /// Why.
        reason: String,
    },
    /// It was on and showed no progress for too long.
    TimedOut,
    /// It does not get the image.
    Skipped {
        /// Why.
        why: Skip,
    },
}

impl Phase {
    /// All names, in the order in which they come about.
    pub const NAMES: [&'static str; 8] = [
        "waiting",
        "offered",
        "downloading",
        "installed",
        "done",
        "failed",
        "timed_out",
        "skipped",
    ];

    /// Its name.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Offered => "offered",
            Self::Downloading { .. } => "downloading",
            Self::Installed => "installed",
            Self::Done => "done",
            Self::Failed { .. } => "failed",
            Self::TimedOut => "timed_out",
            Self::Skipped { .. } => "skipped",
        }
    }

    /// The image is wanted on the device.
    pub fn is_active(&self) -> bool {
        matches!(
            self,
            Self::Offered | Self::Downloading { .. } | Self::Installed
        )
    }

    /// It has tried, and come to an end.
    pub fn is_finished(&self) -> bool {
        matches!(self, Self::Done) || self.has_failed()
    }

    /// It has tried in vain.
    pub fn has_failed(&self) -> bool {
        matches!(self, Self::Failed { .. } | Self::TimedOut)
    }

    /// In words, where the name does not say all.
    fn detail(&self) -> Option<&str> {
        match self {
            Self::Failed { reason } => Some(reason),
            Self::Skipped { why } => Some(why.as_str()),
            _ => None,
        }
    }
}

/// One device of a roll-out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// How far it has come.
    #[serde(flatten)]
    pub phase: Phase,
    /// Since when, µs since the Unix epoch.
    pub since_us: i64,
    /// The gateway that it was last heard through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<GatewayId>,
    /// It is on.
    pub on: bool,
    /// It has said what it runs, and that may be replaced by the image.
    pub known: bool,
    /// It has said what it runs since the roll-out knows it.
    #[serde(default)]
    pub reported: bool,
    /// How often it was offered the image.
    pub offers: u32,
    /// The roll-out's time since which it shows no progress, while it is on; else how long it
    /// has shown none.
    pub(crate) quiet: Quiet,
}

impl Member {
    /// In words, where the phase's name does not say all: why it failed, is skipped, or what it
    /// waits for.
    pub fn detail(&self) -> Option<&str> {
        match &self.phase {
            Phase::Waiting if !self.on => Some("it is off"),
            Phase::Waiting if self.is_silent() => {
                Some("it has not said what it runs; a device without slots never does")
            }
            Phase::Waiting if !self.known => Some("it runs the image on trial already"),
            Phase::Waiting => Some("its turn has not come"),
            Phase::Offered | Phase::Downloading { .. } | Phase::Installed if !self.on => {
                Some("it went off")
            }
            phase => phase.detail(),
        }
    }

    /// It waits, and has never said what it runs.
    pub(crate) fn is_silent(&self) -> bool {
        self.phase == Phase::Waiting && !self.known && !self.reported
    }
}

/// For how long a device has shown no progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Quiet {
    /// Since this time of the roll-out's, µs.
    Since(u64),
    /// So long, µs; the device is off and time stands still.
    For(u64),
}

impl Quiet {
    pub(crate) fn for_us(self, now_us: u64) -> u64 {
        match self {
            Self::Since(since_us) => now_us.saturating_sub(since_us),
            Self::For(us) => us,
        }
    }
}
