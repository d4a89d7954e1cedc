//! Real processes in temporary folders, for whole-system tests.
#![allow(dead_code, reason = "each test uses its part of this module")]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take before a test gives up.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// The `stencil` command.
pub(crate) fn stencil() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stencil"));
    command.env_remove("STENCIL_CRASH").env_remove("STENCIL_TOKEN").stdin(Stdio::null());
    command
}

/// Runs a command that must succeed, and gives its standard output.
pub(crate) fn succeed(command: &mut Command) -> String {
    let output = command.output().expect("it starts");
    assert!(output.status.success(), "{command:?} failed: {}", text(&output));
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

/// A hub process with a tenant `acme`.
pub(crate) struct Hub {
    /// Its temporary folder; the data folder is `hub` in it.
    pub(crate) dir: tempfile::TempDir,
    /// Its addresses, as it printed them.
    pub(crate) addresses: Value,
    /// The admin's token.
    pub(crate) token: String,
    child: Child,
    flags: Vec<String>,
}

impl Hub {
    /// Makes a data folder and starts a hub on free ports, with these further flags.
    pub(crate) fn start(flags: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let made = succeed(stencil().args(["hub", "init", "--tenant", "acme", "--output", "json"]).arg("--data-dir").arg(dir.path().join("hub")));
        let made: Value = serde_json::from_str(&made).expect("JSON");
        let token = made["admin_token"].as_str().expect("a token").to_owned();
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let (child, addresses) = serve(dir.path(), &flags, None);
        Self { dir, addresses, token, child, flags }
    }

    /// SIGKILL, and a new start on the same data; ports are new.
    pub(crate) fn kill_and_restart(&mut self, crash: Option<&str>) {
        self.kill();
        (self.child, self.addresses) = serve(self.dir.path(), &self.flags, crash);
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The port of a listener: `http`, `mqtt_strict`, `mqtt_prefer`, `mqtt_plain`.
    pub(crate) fn port(&self, listener: &str) -> u16 {
        let address = self.addresses[listener].as_str().unwrap_or_else(|| panic!("no {listener}"));
        address.rsplit(':').next().unwrap().parse().unwrap()
    }

    /// What the hub logged so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("hub.log")).unwrap_or_default()
    }

    /// Waits for a line of the log that has all these words, and gives it.
    pub(crate) fn wait_for_log(&self, words: &[&str]) -> String {
        wait_for(&format!("a log line with {words:?}"), || {
            let log = self.log();
            let line = log.lines().find(|line| words.iter().all(|word| line.contains(word)))?;
            Some(line.to_owned())
        })
    }

    /// A `stencil` command with this hub's address and the admin's token.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = stencil();
        command
            .args(arguments)
            .env("STENCIL_HUB_URL", format!("http://127.0.0.1:{}", self.port("http")))
            .env("STENCIL_TOKEN", &self.token);
        command
    }

    /// Runs such a command, which must succeed and answer in JSON.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Value {
        let mut command = self.command(arguments);
        serde_json::from_str(&succeed(command.args(["--output", "json"]))).expect("JSON")
    }

    /// A token for a foreign device.
    pub(crate) fn device_token(&self, device: &str) -> String {
        succeed(&mut self.command(&["token", "create", "--device", device])).trim().to_owned()
    }

    /// Waits until the newest value of a series is `value`.
    pub(crate) fn wait_for_latest(&self, device: &str, name: &str, value: &Value) -> Value {
        wait_for(&format!("{device}/{name} = {value}"), || {
            let output = self
                .command(&["device", "--output", "json", "latest", device])
                .output()
                .expect("it starts");
            let items: Value = serde_json::from_slice(&output.stdout).ok()?;
            let item = items.as_array()?.iter().find(|item| item["name"] == name)?;
            (item["value"] == *value).then(|| item.clone())
        })
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("the hub's log:\n{}", self.log());
        }
    }
}

fn serve(dir: &Path, flags: &[String], crash: Option<&str>) -> (Child, Value) {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(dir.join("hub.log"))
        .expect("a log file");
    let mut command = stencil();
    command
        .args(["hub", "--output", "json", "--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0"])
        .args(flags)
        .arg("--data-dir")
        .arg(dir.join("hub"))
        .stdout(Stdio::piped())
        .stderr(log);
    if let Some(crash) = crash {
        command.env("STENCIL_CRASH", crash);
    }
    let mut child = command.spawn().expect("the hub starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).expect("addresses");
    let addresses = serde_json::from_str(&line).unwrap_or_else(|error| {
        let log = std::fs::read_to_string(dir.join("hub.log")).unwrap_or_default();
        panic!("the hub printed {line:?} ({error}); its log:\n{log}")
    });
    (child, addresses)
}

/// Looks again and again until there is something; panics after [`LIMIT`].
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < LIMIT, "waited {} s in vain for {what}", LIMIT.as_secs());
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
