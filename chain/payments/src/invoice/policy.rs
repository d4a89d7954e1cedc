//! What a tenant does with payments that are not exactly right.

use serde::{Deserialize, Serialize};

use super::Error;
use super::definition::MAX_SPAN_US;

/// Parts of ten thousand of a price: 100 is one percent.
pub(super) const ALL_BPS: u16 = 10_000;

/// What to do with too little when the time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Underpaid {
    /// Give it back.
    Refund,
    /// Keep it until somebody decides.
    Ask,
}

/// What to do with too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overpaid {
    /// Keep it.
    Keep,
    /// Give it back, if it is at least that many parts of ten thousand of the price: a transfer
    /// costs something, too.
    Refund {
        /// The least excess that is given back.
        least_bps: u16,
    },
}

/// By which rate a late payment counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LateRate {
    /// By the one that the invoice has locked.
    Locked,
    /// By a new one, which is asked for when a late payment comes.
    New,
}

/// What to do with what comes after the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Late {
    /// Give it back.
    Refund,
    /// Keep it until somebody decides.
    Ask,
    /// Count it, if it is in a block whose time is at most so much later; give back what is later
    /// than that.
    Accept {
        /// How much later, µs.
        within_us: i64,
        /// By which rate.
        rate: LateRate,
    },
}

/// A tenant's policy, fixed when the invoice is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// So much less than the price, in parts of ten thousand, still is the price: wallets and
    /// exchanges take fees from what they send.
    pub tolerance_bps: u16,
    /// Less than that. Until the time is over, the rest is waited for.
    pub underpaid: Underpaid,
    /// Too much.
    pub overpaid: Overpaid,
    /// Too late.
    pub late: Late,
    /// How long after all windows are over, or after a reorganisation, to wait before something is
    /// given back or the invoice is told to have expired, µs: blocks take their time to be read,
    /// and transactions to be included again.
    pub grace_us: i64,
}

impl Policy {
    /// Half a percent may be missing; what is less, late or too much (by a percent and more) goes
    /// back; two minutes of grace.
    pub const DEFAULT: Self = Self {
        tolerance_bps: 50,
        underpaid: Underpaid::Refund,
        overpaid: Overpaid::Refund { least_bps: 100 },
        late: Late::Refund,
        grace_us: 120 * 1_000_000,
    };

    pub(super) fn validate(&self) -> Result<(), Error> {
        if self.tolerance_bps >= ALL_BPS {
            return Err(Error::Policy(
                "the tolerance is less than 10000 parts of ten thousand",
            ));
        }
        let within = match self.late {
            Late::Accept { within_us, .. } => within_us,
            Late::Refund | Late::Ask => 0,
        };
        if ![within, self.grace_us]
            .iter()
            .all(|span| (0..=MAX_SPAN_US).contains(span))
        {
            return Err(Error::Policy("windows are 0 to 400 days"));
        }
        Ok(())
    }

    /// How long after the expiry payments can still count, µs.
    pub(super) fn late_window_us(&self) -> i64 {
        match self.late {
            Late::Accept { within_us, .. } => within_us,
            Late::Refund | Late::Ask => 0,
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self::DEFAULT
    }
}
