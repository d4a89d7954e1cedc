//! A hub process.

use std::hash::BuildHasher as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use serde_json::Value;

use super::http::{self, Answer};
use super::process::Process;
use super::small_disk::SmallDisk;
use super::{Gateway, mqtt::Mqtt, stencil, succeed, wait_for};

/// A hub process with a tenant `acme`.
pub(crate) struct Hub {
    /// The admin's token.
    pub(crate) token: String,
    process: Process,
    start: Start,
    /// Its temporary folder; the data folder is `hub` in it.
    pub(crate) dir: tempfile::TempDir,
}

/// How it is started.
struct Start {
    folder: PathBuf,
    flags: Vec<String>,
    variables: Vec<(String, String)>,
    disk: Option<SmallDisk>,
}

impl Hub {
    /// Makes a data folder and starts a hub on free ports, with these further flags.
    pub(crate) fn start(flags: &[&str]) -> Self {
        Self::start_with(flags, &[])
    }

    /// As [`Hub::start`] with settings from the environment.
    pub(crate) fn start_with(flags: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::make(flags, variables, tempfile::tempdir().unwrap(), None)
    }

    /// As [`Hub::start_with`] with its data on a disk of so many KiB; nothing where such a disk
    /// can't be had.
    pub(crate) fn on_small_disk(
        kib: u32,
        flags: &[&str],
        variables: &[(&str, &str)],
    ) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let disk = SmallDisk::mount(&dir.path().join("hub"), kib)?;
        Some(Self::make(flags, variables, dir, Some(disk)))
    }

    /// Starts a hub on the data folder `hub` that lies in `dir` already, whose admin has `token`.
    pub(crate) fn over(dir: tempfile::TempDir, token: &str, flags: &[&str]) -> Self {
        let start = Start {
            folder: dir.path().to_owned(),
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            variables: Vec::new(),
            disk: None,
        };
        let process = start.serve(&format!("127.0.0.1:{}", lasting_port()), None);
        Self {
            token: token.to_owned(),
            process,
            start,
            dir,
        }
    }

    fn make(
        flags: &[&str],
        variables: &[(&str, &str)],
        dir: tempfile::TempDir,
        disk: Option<SmallDisk>,
    ) -> Self {
        let owned = |text: &&str| (*text).to_owned();
        let start = Start {
            folder: dir.path().to_owned(),
            flags: flags.iter().map(owned).collect(),
            variables: variables
                .iter()
                .map(|(name, value)| (owned(name), owned(value)))
                .collect(),
            disk,
        };
        let token = start.init("acme");
        let process = start.serve(&format!("127.0.0.1:{}", lasting_port()), None);
        Self {
            token,
            process,
            start,
            dir,
        }
    }

    /// Adds a tenant beside the running hub; gives its admin's token.
    pub(crate) fn add_tenant(&self, tenant: &str) -> String {
        self.start.init(tenant)
    }

    /// Makes a gateway of `tenant`, unless it was made before: its folder with keys and settings.
    pub(crate) fn add_gateway(&self, tenant: &str, gateway: &str) -> PathBuf {
        let out = self.dir.path().join(format!("{tenant}-{gateway}"));
        if out.exists() {
            return out;
        }
        let mut command = stencil();
        command
            .args([
                "hub",
                "add-gateway",
                "--tenant",
                tenant,
                gateway,
                "--data-dir",
            ])
            .arg(self.data())
            .args([
                "--hub",
                &format!("127.0.0.1:{}", self.port("mqtt_strict")),
                "--out",
            ])
            .arg(&out);
        succeed(&mut command);
        out
    }

    /// Gives a gateway's folder a new certificate of the same name, as `hub add-gateway` writes it, and
    /// leaves its settings and its spool.
    pub(crate) fn make_anew(&self, gateway: &Gateway, name: &str) -> Gateway {
        let out = self.dir.path().join(format!("{name}-anew"));
        let mut command = stencil();
        command
            .args(["hub", "add-gateway", "--tenant", "acme", name, "--data-dir"])
            .arg(self.data())
            .arg("--out")
            .arg(&out);
        succeed(&mut command);
        for end in ["pem", "key"] {
            let file = format!("{name}.{end}");
            std::fs::copy(out.join(&file), gateway.folder().join(&file)).unwrap();
        }
        Gateway::over(gateway.folder())
    }

    /// Its data folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.start.folder.join("hub")
    }

    /// The disk that it was put on.
    pub(crate) fn disk(&self) -> &SmallDisk {
        self.start.disk.as_ref().expect("it is on a small disk")
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// SIGTERM, and its end.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.process.stop()
    }

    /// Waits for its end, as by a crash plan.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        self.process.ended()
    }

    /// Whether it has ended by itself within this time.
    pub(crate) fn ended_within(&mut self, time: std::time::Duration) -> bool {
        self.process.ended_within(time)
    }

    /// A new start on the same data, with a crash plan if there is one. The strict listener
    /// stays where gateways know it, other ports are new.
    pub(crate) fn start_again(&mut self, crash: Option<&str>) {
        let strict = self.process.said["mqtt_strict"]
            .as_str()
            .unwrap()
            .to_owned();
        self.process.kill();
        self.process = self.start.serve(&strict, crash);
    }

    /// The port of a listener: `http`, `mqtt_strict`, `mqtt_prefer`, `mqtt_plain`.
    pub(crate) fn port(&self, listener: &str) -> u16 {
        let said = &self.process.said;
        let address = said[listener]
            .as_str()
            .unwrap_or_else(|| panic!("no {listener}: {said}"));
        address.rsplit(':').next().unwrap().parse().unwrap()
    }

    /// What the hub logged so far.
    pub(crate) fn log(&self) -> String {
        self.process.log()
    }

    /// Waits for a line of the log that has all these words, and gives it.
    pub(crate) fn wait_for_log(&self, words: &[&str]) -> String {
        self.process.wait_for_log(words)
    }

    /// A `stencil` command with this hub's address and the admin's token.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = stencil();
        command
            .args(arguments)
            .env(
                "STENCIL_HUB_URL",
                format!("http://127.0.0.1:{}", self.port("http")),
            )
            .env("STENCIL_TOKEN", &self.token);
        command
    }

    /// Runs such a command, which must succeed and answer in JSON.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Value {
        let mut command = self.command(arguments);
        serde_json::from_str(&succeed(command.args(["--output", "json"]))).expect("JSON")
    }

    /// GET with the admin's token.
    pub(crate) fn get(&self, path: &str) -> Answer {
        http::get(self.port("http"), path, Some(&self.token))
    }

    /// GET with the admin's token, which must succeed: the items of a list.
    pub(crate) fn items(&self, path: &str) -> Vec<Value> {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()["items"].as_array().expect("a list").clone()
    }

    /// A token for a foreign device.
    pub(crate) fn device_token(&self, device: &str) -> String {
        succeed(&mut self.command(&["token", "create", "--device", device]))
            .trim()
            .to_owned()
    }

    /// A foreign device, connected to the plain listener.
    pub(crate) fn foreign(&self, device: &str) -> Mqtt {
        let token = self.device_token(device);
        Mqtt::plain(self.port("mqtt_plain")).connect(device, Some(&token))
    }

    /// Whoever holds a gateway's certificate, connected to the strict listener.
    pub(crate) fn as_gateway(&self, tenant: &str, gateway: &str) -> Mqtt {
        let folder = self.add_gateway(tenant, gateway);
        let identity = Some((folder.as_path(), gateway));
        Mqtt::tls(self.port("mqtt_strict"), &folder.join("root.pem"), identity)
            .connect(gateway, None)
    }

    /// Waits until the newest value of a series is `value`.
    pub(crate) fn wait_for_latest(&self, device: &str, name: &str, value: &Value) -> Value {
        wait_for(&format!("{device}/{name} = {value}"), || {
            let answer = self.get(&format!("/api/v1/devices/{device}/latest"));
            let latest: Value = serde_json::from_str(&answer.body).ok()?;
            let item = latest["items"]
                .as_array()?
                .iter()
                .find(|item| item["name"] == name)?;
            (item["value"] == *value).then(|| item.clone())
        })
    }

    /// How many points a series has.
    pub(crate) fn points(&self, device: &str, name: &str) -> usize {
        let answer = self.get(&format!(
            "/api/v1/devices/{device}/series/{name}?limit=10000"
        ));
        match answer.status {
            200 => answer.json()["items"].as_array().expect("points").len(),
            _ => 0,
        }
    }

    /// The loss ledger of a device's boot as soon as `is_right` says so.
    pub(crate) fn wait_for_ledger(
        &self,
        device: &str,
        boot: u32,
        is_right: impl Fn(&Value) -> bool,
    ) -> Value {
        wait_for(&format!("the ledger of {device}, boot {boot}"), || {
            let answer = self.get(&format!("/api/v1/devices/{device}/ledger"));
            let page: Value = serde_json::from_str(&answer.body).ok()?;
            let row = page["items"]
                .as_array()?
                .iter()
                .find(|row| row["boot"] == boot)?;
            is_right(&row["ledger"]).then(|| row["ledger"].clone())
        })
    }

    /// Waits until `/readyz` answers so, and gives the answer's body.
    pub(crate) fn wait_until_ready(&self, ready: bool) -> String {
        let status = if ready { 200 } else { 503 };
        wait_for(&format!("/readyz to answer {status}"), || {
            let answer = http::get(self.port("http"), "/readyz", None);
            (answer.status == status).then_some(answer.body)
        })
    }

    /// Nothing has panicked.
    pub(crate) fn is_sound(&self) {
        let log = self.log();
        assert!(!log.contains("panicked"), "{log}");
    }
}

impl Start {
    fn init(&self, tenant: &str) -> String {
        let mut command = stencil();
        command
            .args([
                "hub",
                "init",
                "--tenant",
                tenant,
                "--output",
                "json",
                "--data-dir",
            ])
            .arg(self.folder.join("hub"));
        let made: Value =
            serde_json::from_str(&succeed(&mut self.on_its_disk(command))).expect("JSON");
        made["admin_token"].as_str().expect("a token").to_owned()
    }

    fn serve(&self, strict: &str, crash: Option<&str>) -> Process {
        let mut command = stencil();
        command
            .args([
                "hub",
                "--output",
                "json",
                "--http",
                "127.0.0.1:0",
                "--mqtt",
                strict,
            ])
            .args(&self.flags)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .arg("--data-dir")
            .arg(self.folder.join("hub"));
        if let Some(crash) = crash {
            command.env("STENCIL_CRASH", crash);
        }
        Process::start(&mut self.on_its_disk(command), &self.folder.join("hub.log"))
    }

    fn on_its_disk(&self, command: Command) -> Command {
        match &self.disk {
            Some(disk) => disk.enter(&command),
            None => command,
        }
    }
}

/// A free port that is still free when a hub that listened on it is started again: it is not one
/// of those that the system gives to outgoing connections.
fn lasting_port() -> u16 {
    let chance = std::hash::RandomState::new().hash_one(std::process::id());
    let first = 10_000 + u16::try_from(chance % 10_000).unwrap();
    let mut ports = first..first + 200;
    ports
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port")
}

/// The newest segment of the log in this folder.
pub(crate) fn last_segment(folder: &Path) -> PathBuf {
    let mut segments: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    segments.sort();
    segments.pop().expect("a segment")
}
