//! The demo's processes: started, watched, killed, restarted.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};

/// How a process is started: `stencil` with these arguments.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    /// The name in the story and of the log file.
    pub name: String,
    /// Arguments after `stencil`.
    pub arguments: Vec<String>,
    /// Where its log goes; appended to.
    pub log_dir: PathBuf,
}

/// A process that is started again whenever it ends before it was told to.
pub(crate) struct Supervised {
    orders: mpsc::Sender<Order>,
    restarts: Arc<std::sync::atomic::AtomicU32>,
}

enum Order {
    /// SIGKILL now; the next life starts with this crash plan.
    Kill {
        next_crash: Option<String>,
        done: oneshot::Sender<()>,
    },
    /// SIGTERM, and no next life.
    Stop {
        limit: Duration,
        done: oneshot::Sender<anyhow::Result<()>>,
    },
}

/// How long a process may take to end by itself.
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// The one variable that parts share with the demo: what to log.
const LOG_VARIABLE: &str = "STENCIL_LOG";
/// Bytes of a part's log in which its last words are looked for.
const MAX_LAST_WORDS: u64 = 4096;
/// Between an unexpected end and the next start.
const RESTART_DELAY: Duration = Duration::from_millis(300);

impl Supervised {
    /// Starts a process. `crashes` are crash plans (`STENCIL_CRASH`) for its first lives, in
    /// order; a life without one runs plainly.
    pub(crate) fn start(
        recipe: Recipe,
        crashes: Vec<String>,
        ended: mpsc::Sender<String>,
    ) -> anyhow::Result<Self> {
        let (orders, inbox) = mpsc::channel(4);
        let restarts = Arc::new(std::sync::atomic::AtomicU32::new(0));
        let mut plans = crashes.into_iter();
        let first = spawn(&recipe, plans.next().as_deref())?;
        tokio::spawn(watch(
            recipe,
            first,
            plans.collect(),
            inbox,
            ended,
            Arc::clone(&restarts),
        ));
        Ok(Self { orders, restarts })
    }

    /// How often it was started again.
    pub(crate) fn restarts(&self) -> u32 {
        self.restarts.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// SIGKILL; it comes back by itself, with `next_crash` as its crash plan.
    pub(crate) async fn kill(&self, next_crash: Option<String>) {
        let (done, finished) = oneshot::channel();
        if self
            .orders
            .send(Order::Kill { next_crash, done })
            .await
            .is_ok()
        {
            let _ = finished.await;
        }
    }

    /// SIGTERM, and waits for the end; an error when it had to be killed or ended badly.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.finish(STOP_LIMIT).await
    }

    /// SIGTERM, and waits for the end up to `limit`; nothing when it has ended already.
    pub(crate) async fn finish(&self, limit: Duration) -> anyhow::Result<()> {
        let (done, finished) = oneshot::channel();
        if self.orders.send(Order::Stop { limit, done }).await.is_err() {
            return Ok(());
        }
        finished.await.unwrap_or(Ok(()))
    }
}

async fn watch(
    recipe: Recipe,
    mut child: Child,
    mut plans: std::collections::VecDeque<String>,
    mut inbox: mpsc::Receiver<Order>,
    ended: mpsc::Sender<String>,
    restarts: Arc<std::sync::atomic::AtomicU32>,
) {
    loop {
        let next_plan = tokio::select! {
            status = child.wait() => {
                let how = status.map_or_else(|error| error.to_string(), describe);
                let why = last_words(&recipe).map(|why| format!(": {why}")).unwrap_or_default();
                // Nobody listens any more when the demo ends.
                let _ = ended
                    .try_send(format!("{} ended ({how}){why}; starting it again", recipe.name));
                plans.pop_front()
            }
            order = inbox.recv() => match order {
                Some(Order::Kill { next_crash, done }) => {
                    let _ = child.kill().await;
                    let _ = done.send(());
                    next_crash.or_else(|| plans.pop_front())
                }
                Some(Order::Stop { limit, done }) => {
                    let _ = done.send(end(&recipe.name, &mut child, limit).await);
                    return;
                }
                None => {
                    let _ = child.kill().await;
                    return;
                }
            },
        };
        restarts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        loop {
            tokio::time::sleep(RESTART_DELAY).await;
            match spawn(&recipe, next_plan.as_deref()) {
                Ok(next) => {
                    child = next;
                    break;
                }
                Err(error) => {
                    let _ = ended.try_send(format!("{} can't be started: {error:#}", recipe.name));
                }
            }
        }
    }
}

fn spawn(recipe: &Recipe, crash: Option<&str>) -> anyhow::Result<Child> {
    let program = std::env::current_exe().context("can't tell where this program is")?;
    let log = open_log(&log_path(recipe))?;
    let mut command = Command::new(program);
    command
        .args(&recipe.arguments)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // Ctrl-C at the terminal is for the demo, which then stops its parts in order.
        .process_group(0)
        .kill_on_drop(true);
    // Its settings are all in its file: what the shell holds for a hub of the user's own is
    // not meant for the demo's.
    for (name, _) in std::env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| name.starts_with("STENCIL_") && name != LOG_VARIABLE)
        {
            command.env_remove(name);
        }
    }
    if let Some(crash) = crash {
        command.env("STENCIL_CRASH", crash);
    }
    command
        .spawn()
        .with_context(|| format!("can't start {}", recipe.name))
}

fn log_path(recipe: &Recipe) -> PathBuf {
    recipe.log_dir.join(format!("{}.log", recipe.name))
}

fn open_log(path: &Path) -> anyhow::Result<File> {
    File::options()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("can't write {}", path.display()))
}

/// What a part said at its end, if it ended with an error.
fn last_words(recipe: &Recipe) -> Option<String> {
    let mut log = File::open(log_path(recipe)).ok()?;
    let length = log.metadata().ok()?.len();
    log.seek(SeekFrom::Start(length.saturating_sub(MAX_LAST_WORDS)))
        .ok()?;
    let mut tail = Vec::new();
    log.take(MAX_LAST_WORDS).read_to_end(&mut tail).ok()?;
    let tail = String::from_utf8_lossy(&tail);
    let words = tail.lines().last()?.strip_prefix("stencil: ")?;
    Some(words.to_owned())
}

async fn end(name: &str, child: &mut Child, limit: Duration) -> anyhow::Result<()> {
    if let Some(pid) = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(rustix::process::Pid::from_raw)
    {
        // It may have ended just now; `wait` tells.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
    match tokio::time::timeout(limit, child.wait()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => anyhow::bail!("{name} ended badly: {}", describe(status)),
        Ok(Err(error)) => Err(error).with_context(|| format!("can't wait for {name}")),
        Err(_) => {
            let _ = child.kill().await;
            anyhow::bail!(
                "{name} did not end within {} s and was killed",
                limit.as_secs()
            )
        }
    }
}

fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(9)) => "SIGKILL".to_owned(),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "unknown end".to_owned(),
    }
}
