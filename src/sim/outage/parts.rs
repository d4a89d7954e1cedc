//! The processes and what they leave on the disk.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use stencil_gateway::Options;
use stencil_protocol::id::{DeviceId, GatewayId, TenantId};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::api::Client;
use crate::config;

const TENANT: &str = "acme";
const GATEWAY: &str = "gw-1";
/// How long a process may take to start.
const START: Duration = Duration::from_secs(60);
/// How long one may take to end in order.
const END: Duration = Duration::from_secs(30);
/// Between two looks at the spool's size.
const LOOK: Duration = Duration::from_millis(100);

/// A hub of its own, which may be away.
pub(super) struct Hub {
    dir: PathBuf,
    token: String,
    http: String,
    mqtt: SocketAddr,
    child: Child,
}

impl Hub {
    /// Makes one in `dir` and starts it.
    pub(super) async fn begin(dir: &Path) -> anyhow::Result<Self> {
        let tenant = TenantId::parse(TENANT)?;
        let names = ["localhost", "127.0.0.1"];
        let made = stencil_server::init(&dir.join("hub"), &tenant, &names).await?;
        let (child, http, mqtt) = hub(dir, "127.0.0.1:0").await?;
        Ok(Self {
            dir: dir.to_owned(),
            token: made.admin_token.reveal().to_owned(),
            http,
            mqtt,
            child,
        })
    }

    /// Starts it where it was.
    pub(super) async fn start(&mut self) -> anyhow::Result<()> {
        (self.child, self.http, _) = hub(&self.dir, &self.mqtt.to_string()).await?;
        Ok(())
    }

    pub(super) async fn kill(&mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }

    pub(super) fn client(&self) -> anyhow::Result<Client> {
        Client::with(&self.http, &self.token)
    }
}

async fn hub(dir: &Path, mqtt: &str) -> anyhow::Result<(Child, String, SocketAddr)> {
    let mut command = stencil()?;
    command
        .args(["hub", "--output", "json", "--http", "127.0.0.1:0", "--mqtt"])
        .arg(mqtt)
        .arg("--data-dir")
        .arg(dir.join("hub"));
    let (child, said) = start(command, &dir.join("hub.log")).await?;
    let http = said["http"].as_str().context("no HTTP address")?;
    let mqtt = said["mqtt_strict"].as_str().context("no MQTT address")?;
    Ok((child, format!("http://{http}"), mqtt.parse()?))
}

/// The gateway.
pub(super) struct Gateway {
    dir: PathBuf,
    options: Options,
    child: Child,
    pub(super) kills: u32,
    pub(super) start_up_ms: Vec<u64>,
}

impl Gateway {
    /// Makes one of the hub's in `dir`, and starts it.
    pub(super) async fn begin(dir: &Path, hub: &Hub, max_bytes: u64) -> anyhow::Result<Self> {
        let (tenant, gateway) = (TenantId::parse(TENANT)?, GatewayId::parse(GATEWAY)?);
        let folder = dir.join("gateway");
        stencil_server::add_gateway(&dir.join("hub"), &tenant, &gateway, &folder)?;
        let mut options = Options::in_folder(&folder);
        options.hub.address = hub.mqtt.to_string();
        options.hub.max_backoff_ms = 1_000;
        options.link.tcp = vec!["127.0.0.1:0".parse()?];
        options.http.listen = "127.0.0.1:0".parse()?;
        options.spool.max_bytes = max_bytes;
        // So that little of it goes at once where it has little room.
        options.spool.segment_bytes = options.spool.segment_bytes.min(max_bytes / 8);
        let mut gateway = Self {
            dir: dir.to_owned(),
            child: spare()?,
            options,
            kills: 0,
            start_up_ms: Vec::new(),
        };
        let said = gateway.start().await?;
        // At the same place from now on, as an installed one is.
        let link = said["link"][0].as_str().context("no address of links")?;
        gateway.options.link.tcp = vec![link.parse()?];
        Ok(gateway)
    }

    pub(super) fn add_device(&self, device: &DeviceId) -> anyhow::Result<()> {
        stencil_gateway::add_device(&self.options.psk_dir, device)?;
        Ok(())
    }

    /// SIGKILL, and the next start.
    pub(super) async fn kill_and_start(&mut self) -> anyhow::Result<()> {
        self.child.kill().await?;
        self.kills += 1;
        self.start().await?;
        Ok(())
    }

    /// Fails when it has ended by itself.
    pub(super) fn is_alive(&mut self) -> anyhow::Result<()> {
        let ended = self.child.try_wait()?;
        ensure!(
            ended.is_none(),
            "the gateway has ended; its log is {}",
            self.log().display()
        );
        Ok(())
    }

    /// SIGTERM, and its end.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(id) = id.and_then(rustix::process::Pid::from_raw) {
            rustix::process::kill_process(id, rustix::process::Signal::TERM)?;
        }
        let status = tokio::time::timeout(END, self.child.wait()).await;
        let status = status.context("the gateway doesn't end")??;
        ensure!(status.success(), "the gateway ended with {status}");
        Ok(())
    }

    pub(super) fn link(&self) -> SocketAddr {
        self.options.link.tcp[0]
    }

    pub(super) fn psk_dir(&self) -> PathBuf {
        self.options.psk_dir.clone()
    }

    pub(super) fn spool(&self) -> PathBuf {
        self.options.data_dir.join("spool")
    }

    /// Its bound, and the file that takes the place of what is dropped.
    pub(super) fn disk_bound_bytes(&self) -> u64 {
        self.options.spool.max_bytes + self.options.spool.segment_bytes
    }

    async fn start(&mut self) -> anyhow::Result<Value> {
        let settings = self.dir.join("gateway.toml");
        std::fs::write(&settings, config::dump(&self.options)?)?;
        let mut command = stencil()?;
        command
            .args(["gateway", "--output", "json", "--config"])
            .arg(settings);
        let before = Instant::now();
        let (child, said) = start(command, &self.log()).await?;
        let link: SocketAddr = said["link"][0]
            .as_str()
            .context("no address of links")?
            .parse()?;
        tokio::net::TcpStream::connect(link).await?;
        let took_ms = u64::try_from(before.elapsed().as_millis())?;
        self.start_up_ms.push(took_ms);
        self.child = child;
        Ok(said)
    }

    fn log(&self) -> PathBuf {
        self.dir.join("gateway.log")
    }
}

/// A process that has ended, in the place of one that is yet to be started.
fn spare() -> anyhow::Result<Child> {
    let mut command = stencil()?;
    command.arg("--version").stdout(Stdio::null());
    Ok(command.spawn()?)
}

fn stencil() -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.stdin(Stdio::null()).kill_on_drop(true);
    Ok(command)
}

/// Starts a process, and returns it with what it says first.
async fn start(mut command: Command, log: &Path) -> anyhow::Result<(Child, Value)> {
    let file = std::fs::File::options()
        .create(true)
        .append(true)
        .open(log)?;
    let mut child = command.stdout(Stdio::piped()).stderr(file).spawn()?;
    let stdout = child.stdout.take().context("no output")?;
    let mut line = String::new();
    let mut stdout = BufReader::new(stdout);
    let read = tokio::time::timeout(START, stdout.read_line(&mut line)).await;
    ensure!(
        matches!(read, Ok(Ok(1..))),
        "a process has not said where it listens; its log is {}",
        log.display()
    );
    Ok((child, serde_json::from_str(&line)?))
}

/// Looks at the size of a folder until it is ended.
pub(super) struct Disk {
    end: oneshot::Sender<()>,
    looking: JoinHandle<()>,
    most: Arc<AtomicU64>,
}

impl Disk {
    pub(super) fn watch(folder: PathBuf) -> Self {
        let most = Arc::new(AtomicU64::new(0));
        let (end, mut ended) = oneshot::channel();
        let looking = tokio::spawn({
            let most = Arc::clone(&most);
            async move {
                let mut tick = tokio::time::interval(LOOK);
                loop {
                    tokio::select! {
                        _ = tick.tick() => {
                            most.fetch_max(bytes(&folder), Ordering::Relaxed);
                        }
                        _ = &mut ended => return,
                    }
                }
            }
        });
        Self { end, looking, most }
    }

    /// The most that it took.
    pub(super) async fn end(self) -> u64 {
        let _ = self.end.send(());
        let _ = self.looking.await;
        self.most.load(Ordering::Relaxed)
    }
}

fn bytes(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    let lengths = entries.filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len()));
    lengths.sum()
}

/// A folder that goes when it is dropped.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> anyhow::Result<Self> {
        let mut name = [0; 8];
        rand_core::Rng::fill_bytes(&mut stencil_crypto::rng::Os, &mut name);
        let name = format!("stencil-sim-outage-{}", hex::encode(name));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).with_context(|| path.display().to_string())?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Microseconds since the Unix epoch.
pub(super) fn now_us() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
