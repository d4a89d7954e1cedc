//! Real processes in temporary folders, for whole-system tests.
#![allow(clippy::print_stderr, reason = "what failed is shown with its logs")]
#![allow(
    dead_code,
    unused_imports,
    reason = "each test uses its part of this module"
)]

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

pub(crate) mod batch;
mod births;
mod board;
pub(crate) mod browser;
pub(crate) mod chain;
mod device;
mod door;
mod gateway;
pub(crate) mod http;
mod hub;
pub(crate) mod modbus;
pub(crate) mod mqtt;
mod mqtt_device;
pub(crate) mod process;
mod small_disk;

pub(crate) use births::born;
pub(crate) use board::BoardDevice;
pub(crate) use device::Device;
pub(crate) use door::Door;
pub(crate) use gateway::Gateway;
pub(crate) use hub::{Hub, last_segment};
pub(crate) use modbus::ModbusPeer;
pub(crate) use mqtt_device::MqttDevice;
pub(crate) use small_disk::SmallDisk;

/// How long anything may take before a test gives up.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// The `stencil` command, without what the environment may hold for it.
pub(crate) fn stencil() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stencil"));
    for (name, _) in std::env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| name.starts_with("STENCIL_"))
        {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// Runs a command that must succeed, and gives its standard output.
pub(crate) fn succeed(command: &mut Command) -> String {
    let output = command.output().expect("it starts");
    assert!(
        output.status.success(),
        "{command:?} failed: {}",
        text(&output)
    );
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Both outputs of a command, for messages.
pub(crate) fn text(output: &Output) -> String {
    format!(
        "{}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Looks again and again until there is something; panics after [`LIMIT`].
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(
            begun.elapsed() < LIMIT,
            "waited {} s in vain for {what}",
            LIMIT.as_secs()
        );
        // Another process is watched from outside: there is nothing to wait on but the clock.
        #[allow(clippy::disallowed_methods)]
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The Python with the foreign clients, which `cargo xtask test` sets up.
pub(crate) fn python() -> PathBuf {
    std::env::var_os("STENCIL_TEST_PYTHON")
        .map(PathBuf::from)
        .expect("STENCIL_TEST_PYTHON names a Python with paho-mqtt; `cargo xtask test` sets it up")
}
