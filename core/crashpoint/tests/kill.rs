//! An armed point kills the process, at its count and not before.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};

const CHILD: &str = "STENCIL_CRASHPOINT_TEST_CHILD";

/// This very test, in a process of its own, reaches `kill.here` twice.
#[test]
fn child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    for _ in 0..2 {
        stencil_crashpoint::reach("kill.elsewhere");
        stencil_crashpoint::reach("kill.here");
    }
}

fn run(setting: Option<&str>) -> ExitStatus {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "child", "--quiet"]).env(CHILD, "1");
    child.env_remove(stencil_crashpoint::VARIABLE);
    if let Some(setting) = setting {
        child.env(stencil_crashpoint::VARIABLE, setting);
    }
    child.output().unwrap().status
}

#[test]
fn killed_at_the_count() {
    const SIGKILL: i32 = 9;
    assert_eq!(run(Some("kill.here:2")).signal(), Some(SIGKILL));
    assert_eq!(
        run(Some("other:1,kill.elsewhere:1")).signal(),
        Some(SIGKILL)
    );
}

#[test]
fn alive_before_the_count_and_without_the_setting() {
    for setting in [
        None,
        Some(""),
        Some("kill.here:3"),
        Some("kill.her:1"),
        Some("nonsense"),
    ] {
        assert!(run(setting).success(), "{setting:?}");
    }
}
