//! How many devices have come how far.

use serde::{Deserialize, Serialize};

use crate::Phase;

/// How many devices are in each phase; together they are all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Counts {
    /// Their turn has not come, or they are off.
    pub waiting: u32,
    /// They have said nothing about it yet.
    pub offered: u32,
    /// They have a part of it.
    pub downloading: u32,
    /// They run it on trial.
    pub installed: u32,
    /// They run it and keep it.
    pub done: u32,
    /// They have tried in vain.
    pub failed: u32,
    /// They showed no progress for too long.
    pub timed_out: u32,
    /// They do not get it.
    pub skipped: u32,
}

impl Counts {
    /// All devices.
    pub fn all(&self) -> u32 {
        self.waiting
            + self.offered
            + self.downloading
            + self.installed
            + self.done
            + self.failed
            + self.timed_out
            + self.skipped
    }

    /// Those that have to get it.
    pub fn eligible(&self) -> u32 {
        self.all() - self.skipped
    }

    /// Those whose turn has come.
    pub fn started(&self) -> u32 {
        self.eligible() - self.waiting
    }

    /// Those at work.
    pub fn active(&self) -> u32 {
        self.offered + self.downloading + self.installed
    }

    /// Those that have tried in vain.
    pub fn failures(&self) -> u32 {
        self.failed + self.timed_out
    }

    /// Those that have come to an end.
    pub fn finished(&self) -> u32 {
        self.done + self.failures()
    }

    /// Sets how many are in the phase of this name; another name is none.
    pub fn set(&mut self, phase: &str, count: u32) {
        let place = match phase {
            "waiting" => &mut self.waiting,
            "offered" => &mut self.offered,
            "downloading" => &mut self.downloading,
            "installed" => &mut self.installed,
            "done" => &mut self.done,
            "failed" => &mut self.failed,
            "timed_out" => &mut self.timed_out,
            "skipped" => &mut self.skipped,
            _ => return,
        };
        *place = count;
    }

    pub(crate) fn of(&mut self, phase: &Phase) -> &mut u32 {
        match phase {
            Phase::Waiting => &mut self.waiting,
            Phase::Offered => &mut self.offered,
            Phase::Downloading { .. } => &mut self.downloading,
            Phase::Installed => &mut self.installed,
            Phase::Done => &mut self.done,
            Phase::Failed { .. } => &mut self.failed,
            Phase::TimedOut => &mut self.timed_out,
            Phase::Skipped { .. } => &mut self.skipped,
        }
    }
}
