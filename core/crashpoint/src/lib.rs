//! Named points at which a test may kill the process.
//!
//! Whether nothing is lost between a commit and its acknowledgement shows only
//! if the process dies exactly there. Code marks the place with
//! [`reach`]`("mqtt.before_puback")`; a test starts the program with
//!
//! ```text
//! STENCIL_CRASH=mqtt.before_puback:3,workflow.after_effect:1
//! ```
//!
//! and the process kills itself with SIGKILL when it gets to the first place
//! for the third time, or to the second for the first time. Without the
//! variable a point costs one load.
//!
//! The points: `mqtt.before_puback`, `gateway.before_ack`,
//! `gateway.before_trim`, `gateway.before_command`, `gateway.after_command`,
//! `field.before_spool`, `edge.before_told`, `edge.after_told`, `edge.before_give`, `edge.after_give`, `edge.before_saved`,
//! `gateway.image_piece`, `gateway.image_whole`,
//! `gateway.certificate_key`, `gateway.certificate_before_next`, `gateway.certificate_next`,
//! `gateway.certificate_before_switch`, `gateway.certificate_switched`,
//! `renewal.before_kept`, `renewal.after_kept`,
//! `gateway.desired_before_trial`, `gateway.desired_trial`, `gateway.desired_between`,
//! `gateway.desired_started`, `gateway.desired_before_settled`, `gateway.desired_settled`,
//! `gateway.desired_before_rolled_back`, `gateway.desired_rolled_back`,
//! `dispatch.before_publish`, `dispatch.after_publish`, `pipeline.before_commit`,
//! `pipeline.after_commit`, `workflow.after_effect`, `log.after_write`, `chain.before_commit`,
//! `chain.after_commit`, `chain.printed`, `cashier.before_created`, `cashier.created`,
//! `cashier.before_commit`, `cashier.after_commit`, `cashier.before_position`, `cashier.after_position`,
//! `cashier.told`, `cashier.refund_kept`, `cashier.refund_ordered`,
//! `send.reserved`, `send.signed`, `send.broadcast`, `x402.kept`, `x402.invoiced`, `x402.ordered`,
//! `x402.settled`, `x402.answered`, `x402.commissioned`, `x402.acting`, `x402.charge_kept`,
//! `x402.charge_done`, `send.taken_back`, `anchor.chosen`, `anchor.kept`, `anchor.ordered`, `anchor.included`,
//! `anchor.final`, `anchor.shown`, `anchor.recorded`, `anchor.reopened`, and of the signer of updates
//! `update.before_leaf`, `update.state_half_written`, `update.state_written`,
//! `update.state_synced`, `update.state_renamed`, `update.leaf_taken`, `update.signed`.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The environment variable that arms the points.
pub const VARIABLE: &str = "STENCIL_CRASH";

/// Kills the process if this point is armed and is reached for the count-th
/// time; else does nothing. The variable is read once in the process's life.
pub fn reach(name: &str) {
    static ARMED: OnceLock<Vec<Point>> = OnceLock::new();
    let points = ARMED.get_or_init(armed);
    if points
        .iter()
        .any(|point| point.name == name && point.is_due())
    {
        kill();
    }
}

/// Checks a value of [`VARIABLE`], so that a test with a typing error fails at
/// once.
pub fn check(setting: &str) -> Result<(), Error> {
    parse(setting).map(|_| ())
}

/// What is wrong with a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The part that cannot be read.
    pub part: String,
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{VARIABLE}: `{}` is not of the form name:count with a count from 1",
            self.part
        )
    }
}

impl std::error::Error for Error {}

struct Point {
    name: String,
    left: AtomicU64,
}

impl Point {
    /// True exactly once: at the count-th time.
    fn is_due(&self) -> bool {
        let step = |left: u64| left.checked_sub(1);
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, step)
            == Ok(1)
    }
}

#[expect(
    clippy::print_stderr,
    reason = "a setting for tests, read before any log is set up"
)]
fn armed() -> Vec<Point> {
    let Some(setting) = std::env::var_os(VARIABLE) else {
        return Vec::new();
    };
    parse(&setting.to_string_lossy()).unwrap_or_else(|error| {
        // Neither to be missed nor to be died of.
        eprintln!("{error}; no crash point is armed");
        Vec::new()
    })
}

fn parse(setting: &str) -> Result<Vec<Point>, Error> {
    setting
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| {
            let fail = || Error {
                part: part.to_owned(),
            };
            let (name, count) = part.split_once(':').ok_or_else(fail)?;
            let left = count
                .parse()
                .ok()
                .filter(|&count: &u64| count > 0)
                .ok_or_else(fail)?;
            if name.is_empty() {
                return Err(fail());
            }
            Ok(Point {
                name: name.to_owned(),
                left: AtomicU64::new(left),
            })
        })
        .collect()
}

fn kill() -> ! {
    let own = rustix::process::getpid();
    // No destructor, no flush, no handler: as if the power went.
    let _ = rustix::process::kill_process(own, rustix::process::Signal::KILL);
    // Only if the kernel refused.
    std::process::abort()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_due_once_at_its_count() {
        let points = parse("a.b:3, c:1,").unwrap();
        let due: Vec<bool> = (0..5).map(|_| points[0].is_due()).collect();
        assert_eq!(due, [false, false, true, false, false]);
        assert!(points[1].is_due());
    }

    #[test]
    fn a_typing_error_names_its_part() {
        for bad in ["a", "a:", "a:0", ":1", "a:-1", "a:x"] {
            let error = check(&format!("ok:1,{bad}")).unwrap_err();
            assert_eq!(error.part, bad);
        }
    }
}
