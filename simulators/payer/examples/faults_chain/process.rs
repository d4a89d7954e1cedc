//! The processes of a site: a hub that is killed and started again, and a gateway that stays.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use stencil_crypto::Psk;

use crate::api::Api;

/// Where nobody listens: the API of a hub that died before it did.
const NOWHERE: &str = "127.0.0.1:9";

/// A hub over a data folder.
pub(crate) struct Site {
    stencil: PathBuf,
    folder: PathBuf,
    token: String,
    /// Where its gateway finds it, at each start.
    mqtt: SocketAddr,
    running: Option<Running>,
    pub(crate) starts: u32,
    pub(crate) ended_at_a_point: u32,
    pub(crate) problems: Vec<String>,
}

struct Running {
    child: Child,
    api: Api,
    crashes: bool,
}

impl Site {
    /// Makes the data folder, with a tenant.
    pub(crate) fn new(stencil: PathBuf, folder: PathBuf, config: &str) -> Self {
        std::fs::write(folder.join("hub.toml"), config).unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut site = Self {
            stencil,
            folder,
            token: String::new(),
            mqtt: free.local_addr().unwrap(),
            running: None,
            starts: 0,
            ended_at_a_point: 0,
            problems: Vec::new(),
        };
        let made = site.ask(&["hub", "init", "--output", "json", "--tenant", "acme"]);
        let made: Value = serde_json::from_str(&made).expect("what `hub init` said");
        made["admin_token"]
            .as_str()
            .expect("a token")
            .clone_into(&mut site.token);
        site
    }

    /// A command on the hub's data folder that must go well; gives what it says.
    fn ask(&self, arguments: &[&str]) -> String {
        let mut command = self.command();
        command.args(arguments).arg("--data-dir").arg(self.data());
        said(&mut command)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.stencil);
        command.args(["--log", "info"]).env("NO_COLOR", "1");
        command.env_remove("STENCIL_CRASH").stdin(Stdio::null());
        command
    }

    fn data(&self) -> PathBuf {
        self.folder.join("hub")
    }

    fn log(&self, name: &str) -> File {
        let path = self.folder.join(name);
        let log = File::options().create(true).append(true).open(path);
        log.unwrap()
    }

    /// The token of an operator of the hub.
    pub(crate) fn operator(&self) -> String {
        let said = self.ask(&["hub", "add-operator", "--name", "ops"]);
        said.trim().to_owned()
    }

    /// Starts it where it does not run; it dies at a point of its own where one is named.
    pub(crate) fn start(&mut self, crash: Option<String>) {
        if self.running.is_some() && !self.has_ended() {
            return;
        }
        let mut command = self.command();
        command
            .args(["hub", "--output", "json", "--http", "127.0.0.1:0", "--mqtt"])
            .arg(self.mqtt.to_string())
            .arg("--config")
            .arg(self.folder.join("hub.toml"))
            .arg("--data-dir")
            .arg(self.data())
            .stdout(Stdio::piped())
            .stderr(self.log("hub.log"));
        let crashes = crash.is_some();
        if let Some(crash) = crash {
            command.env("STENCIL_CRASH", crash);
        }
        let mut child = command.spawn().expect("stencil");
        // One that dies before it listens says nothing.
        let told = first_line(&mut child);
        let http = told["http"].as_str().unwrap_or(NOWHERE);
        self.starts += 1;
        self.running = Some(Running {
            child,
            api: Api::new(http, &self.token),
            crashes,
        });
    }

    /// SIGKILL. Whether it ran.
    pub(crate) fn kill(&mut self) -> bool {
        let ran = !self.has_ended();
        if let Some(mut running) = self.running.take() {
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
        ran
    }

    /// Whether it does not run. It may end by itself at a point where it was told to, not otherwise.
    pub(crate) fn has_ended(&mut self) -> bool {
        let Some(running) = &mut self.running else {
            return true;
        };
        let Some(status) = running.child.try_wait().unwrap() else {
            return false;
        };
        if running.crashes {
            self.ended_at_a_point += 1;
        } else {
            self.problems
                .push(format!("it has ended by itself: {status}; see hub.log"));
        }
        self.running = None;
        true
    }

    /// Its API, while it runs.
    pub(crate) fn api(&self) -> Option<&Api> {
        self.running.as_ref().map(|running| &running.api)
    }

    /// Makes and starts a gateway of the tenant, with keys for these devices.
    pub(crate) fn gateway(&self, devices: &[&str]) -> (Gateway, Vec<Psk>) {
        let folder = self.folder.join("gw-1");
        let (hub, out) = (self.mqtt.to_string(), folder.display().to_string());
        let tenant = ["hub", "add-gateway", "--tenant", "acme", "gw-1"];
        self.ask(&[&tenant[..], &["--hub", &hub, "--out", &out]].concat());
        set_gateway(&folder.join("gateway.toml"));
        let psks = devices.iter().map(|device| {
            let mut command = self.command();
            command.args(["gateway", "add-device", device, "--psk-dir"]);
            Psk::load(said(command.arg(folder.join("psk"))).trim()).unwrap()
        });
        let psks = psks.collect();
        let mut command = self.command();
        command
            .args(["gateway", "--output", "json", "--config"])
            .arg(folder.join("gateway.toml"))
            .stdout(Stdio::piped())
            .stderr(self.log("gateway.log"));
        let mut child = command.spawn().expect("stencil");
        let told = first_line(&mut child);
        let link = told["link"][0].as_str().expect("a gateway that listens");
        let link = link.parse().unwrap();
        (Gateway { child, link }, psks)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A gateway process; it is killed when it is dropped.
pub(crate) struct Gateway {
    child: Child,
    /// Where its devices link.
    pub(crate) link: SocketAddr,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// It listens at a free port, and is back soon after its hub is.
fn set_gateway(file: &Path) {
    let text = std::fs::read_to_string(file).unwrap();
    let mut settings: toml::Table = toml::from_str(&text).unwrap();
    settings["link"]["tcp"] = vec!["127.0.0.1:0"].into();
    settings["http"]["listen"] = "127.0.0.1:0".into();
    settings["hub"]["max_backoff_ms"] = 100.into();
    std::fs::write(file, toml::to_string(&settings).unwrap()).unwrap();
}

fn said(command: &mut Command) -> String {
    let output = command.output().expect("stencil");
    let (said, trouble) = (&output.stdout, &output.stderr);
    let trouble = String::from_utf8_lossy(trouble);
    assert!(output.status.success(), "{command:?}: {trouble}");
    String::from_utf8_lossy(said).into_owned()
}

fn first_line(child: &mut Child) -> Value {
    let mut line = String::new();
    let out = child.stdout.take().unwrap();
    tokio::task::block_in_place(|| BufReader::new(out).read_line(&mut line)).unwrap();
    serde_json::from_str(&line).unwrap_or_default()
}
