//! Whether the hub does its work: what `/readyz` answers.

use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use stencil_log::Log;

/// What the parts of the hub say of themselves.
#[derive(Debug, Default)]
pub(crate) struct Health {
    /// Why the pipeline cannot commit.
    commits: Mutex<Option<String>>,
    /// A part that has ended.
    stopped: Mutex<Option<String>>,
}

/// The hub's answer to whether it is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// Whether all checks hold.
    pub ready: bool,
    /// Each check.
    pub checks: Vec<Check>,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What is checked: `log`, `pipeline`, `parts`; and `chains`, which says what is wrong with one
    /// and keeps the hub from nothing.
    pub name: &'static str,
    /// What is wrong; `None`: nothing.
    pub problem: Option<String>,
}

impl Health {
    /// The last commit went well (`None`) or failed.
    pub(crate) fn commits(&self, problem: Option<String>) {
        *self.commits.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }

    /// A part ended that should not have.
    pub(crate) fn stopped(&self, part: &str, why: &str) {
        let mut stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        stopped.get_or_insert_with(|| format!("the {part} has stopped: {why}"));
    }

    pub(crate) fn readiness(&self, log: &Log) -> Readiness {
        let log = match log.health() {
            stencil_log::Health::Ok => None,
            stencil_log::Health::Stalled { why, .. } => Some(format!(
                "the ingest log cannot write and takes little more: {why}"
            )),
            stencil_log::Health::Poisoned { why } => {
                Some(format!("the ingest log needs a restart of the hub: {why}"))
            }
        };
        let of = |held: &Mutex<Option<String>>| {
            held.lock().unwrap_or_else(PoisonError::into_inner).clone()
        };
        let checks = vec![
            Check {
                name: "log",
                problem: log,
            },
            Check {
                name: "pipeline",
                problem: of(&self.commits),
            },
            Check {
                name: "parts",
                problem: of(&self.stopped),
            },
        ];
        Readiness {
            ready: checks.iter().all(|check| check.problem.is_none()),
            checks,
        }
    }
}
