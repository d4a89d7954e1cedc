//! The demo's processes: started, watched, killed, restarted.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::shutdown;

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
    seen: Arc<Seen>,
}

/// What is to be told of a process.
#[derive(Debug)]
pub(crate) enum News {
    /// It ended, and is started again.
    Ended(String),
    /// It ended, and starting it again would not help.
    GaveUp(String),
}

/// What both sides know of a process.
#[derive(Default)]
struct Seen {
    restarts: AtomicU32,
    /// Whether it runs now.
    running: AtomicBool,
    /// Whether it was ready once: what ends before that will not do better the next time.
    ready: AtomicBool,
}

/// A life of a process.
struct Life {
    child: Child,
    /// Held open: its end is the part's end (see [`shutdown::WITH_STDIN`]).
    _stdin: Option<ChildStdin>,
    /// Where its part of the log begins.
    log_from: u64,
    /// At what it kills itself.
    plan: Option<String>,
}

enum Order {
    /// SIGKILL now; the next life starts with this crash plan.
    Kill {
        next_crash: Option<String>,
        done: oneshot::Sender<()>,
    },
    /// SIGTERM; the next life begins when `resume` is dropped or told.
    Pause {
        limit: Duration,
        done: oneshot::Sender<anyhow::Result<()>>,
        resume: oneshot::Receiver<()>,
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
/// Lines of a log that are told when there is no error among them.
const LAST_LINES: usize = 5;
/// Between an unexpected end and the next start.
const RESTART_DELAY: Duration = Duration::from_millis(300);
/// A part that ends by itself, and not by a signal, more often than this within
/// [`MAX_EXITS_SPAN`] is given up.
const MAX_EXITS: usize = 5;
/// See [`MAX_EXITS`].
const MAX_EXITS_SPAN: Duration = Duration::from_secs(10);

impl Supervised {
    /// Starts a process. `crashes` are crash plans (`STENCIL_CRASH`) for its first lives, in
    /// order; a life without one runs plainly. What is to be told goes to `news`.
    pub(crate) fn start(
        recipe: Recipe,
        crashes: Vec<String>,
        news: mpsc::Sender<News>,
    ) -> anyhow::Result<Self> {
        let (orders, inbox) = mpsc::channel(4);
        let seen = Arc::new(Seen::default());
        let mut plans = crashes.into_iter();
        let first = spawn(&recipe, plans.next())?;
        seen.running.store(true, Ordering::Relaxed);
        tokio::spawn(watch(
            recipe,
            first,
            plans.collect(),
            inbox,
            news,
            Arc::clone(&seen),
        ));
        Ok(Self { orders, seen })
    }

    /// How often it was started again.
    pub(crate) fn restarts(&self) -> u32 {
        self.seen.restarts.load(Ordering::Relaxed)
    }

    /// Whether it runs now.
    pub(crate) fn is_running(&self) -> bool {
        self.seen.running.load(Ordering::Relaxed)
    }

    /// From now on it is started again when it ends; before that its end is final.
    pub(crate) fn set_ready(&self) {
        self.seen.ready.store(true, Ordering::Relaxed);
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

    /// SIGTERM, and waits for the end; it is started again when what this gives is dropped.
    pub(crate) async fn pause(&self) -> anyhow::Result<oneshot::Sender<()>> {
        let (done, finished) = oneshot::channel();
        let (again, resume) = oneshot::channel();
        let order = Order::Pause {
            limit: STOP_LIMIT,
            done,
            resume,
        };
        self.orders.send(order).await.context("it has ended")?;
        finished.await.context("it has ended")??;
        Ok(again)
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
    mut life: Life,
    mut plans: std::collections::VecDeque<String>,
    mut inbox: mpsc::Receiver<Order>,
    news: mpsc::Sender<News>,
    seen: Arc<Seen>,
) {
    let mut exits = std::collections::VecDeque::new();
    loop {
        let next_plan = tokio::select! {
            status = life.child.wait() => {
                seen.running.store(false, Ordering::Relaxed);
                let told = judge(&recipe, &life, status, &mut exits, &seen);
                let over = matches!(told, News::GaveUp(_));
                // Nobody listens any more when the demo ends.
                let _ = news.try_send(told);
                if over {
                    return;
                }
                plans.pop_front()
            }
            order = inbox.recv() => match order {
                Some(Order::Kill { next_crash, done }) => {
                    seen.running.store(false, Ordering::Relaxed);
                    let _ = life.child.kill().await;
                    let _ = done.send(());
                    next_crash.or_else(|| plans.pop_front())
                }
                Some(Order::Pause {
                    limit,
                    done,
                    resume,
                }) => {
                    seen.running.store(false, Ordering::Relaxed);
                    let _ = done.send(end(&recipe.name, &mut life.child, limit).await);
                    // What else is ordered meanwhile waits: nothing orders a part that is paused.
                    let _ = resume.await;
                    plans.pop_front()
                }
                Some(Order::Stop { limit, done }) => {
                    let _ = done.send(end(&recipe.name, &mut life.child, limit).await);
                    return;
                }
                None => {
                    let _ = life.child.kill().await;
                    return;
                }
            },
        };
        seen.restarts.fetch_add(1, Ordering::Relaxed);
        loop {
            tokio::time::sleep(RESTART_DELAY).await;
            match spawn(&recipe, next_plan.clone()) {
                Ok(next) => {
                    life = next;
                    seen.running.store(true, Ordering::Relaxed);
                    break;
                }
                Err(error) => {
                    let line = format!("{} can't be started: {error:#}", recipe.name);
                    let _ = news.try_send(News::Ended(line));
                }
            }
        }
    }
}

/// What an end means: a crash that was planned, one that a new start mends, or neither.
fn judge(
    recipe: &Recipe,
    life: &Life,
    status: std::io::Result<ExitStatus>,
    exits: &mut std::collections::VecDeque<Instant>,
    seen: &Seen,
) -> News {
    let name = &recipe.name;
    let by_itself = status.as_ref().is_ok_and(|status| status.code().is_some());
    if let (false, Some(plan)) = (by_itself, &life.plan) {
        let point = plan.split(':').next().unwrap_or(plan);
        return News::Ended(format!(
            "chaos: {name} kills itself at {point}; starting it again"
        ));
    }
    let how = status.map_or_else(|error| error.to_string(), describe);
    let log = since(recipe, life.log_from).unwrap_or_default();
    if !seen.ready.load(Ordering::Relaxed) {
        return News::GaveUp(format!(
            "{name} ended before it was ready ({how}){}",
            told(last_lines(&log))
        ));
    }
    if by_itself {
        let now = Instant::now();
        exits.push_back(now);
        while exits
            .front()
            .is_some_and(|at| now.duration_since(*at) > MAX_EXITS_SPAN)
        {
            exits.pop_front();
        }
        if exits.len() > MAX_EXITS {
            return News::GaveUp(format!(
                "{name} ended {} times within {} s and is given up ({how}){}",
                exits.len(),
                MAX_EXITS_SPAN.as_secs(),
                told(last_lines(&log))
            ));
        }
    }
    News::Ended(format!(
        "{name} ended ({how}); starting it again{}",
        told(error_lines(&log))
    ))
}

/// Lines of a log, below the line that says whose they are.
fn told(lines: Vec<&str>) -> String {
    lines
        .iter()
        .map(|line| format!("\n          {line}"))
        .collect()
}

fn spawn(recipe: &Recipe, plan: Option<String>) -> anyhow::Result<Life> {
    let program = std::env::current_exe().context("can't tell where this program is")?;
    let log = open_log(&log_path(recipe))?;
    let log_from = log.metadata()?.len();
    let mut command = Command::new(program);
    command
        .args(&recipe.arguments)
        .stdin(Stdio::piped())
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
    command.env(shutdown::WITH_STDIN, "1");
    if let Some(plan) = &plan {
        command.env("STENCIL_CRASH", plan);
    }
    let mut child = command
        .spawn()
        .with_context(|| format!("can't start {}", recipe.name))?;
    // Taken out of the child: waiting for it would close this first.
    let stdin = child.stdin.take();
    Ok(Life {
        child,
        _stdin: stdin,
        log_from,
        plan,
    })
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

/// What a part has logged in its life, or the last of it.
fn since(recipe: &Recipe, from: u64) -> anyhow::Result<String> {
    let mut log = File::open(log_path(recipe))?;
    let length = log.metadata()?.len();
    log.seek(SeekFrom::Start(
        from.max(length.saturating_sub(MAX_LAST_WORDS)),
    ))?;
    let mut tail = Vec::new();
    log.take(MAX_LAST_WORDS).read_to_end(&mut tail)?;
    Ok(String::from_utf8_lossy(&tail).into_owned())
}

/// The error with which a part ended, with all its lines; nothing when it told of none.
fn error_lines(log: &str) -> Vec<&str> {
    let lines: Vec<&str> = log.lines().collect();
    lines
        .iter()
        .rposition(|line| line.starts_with("stencil: "))
        .and_then(|first| lines.get(first..))
        .map(<[&str]>::to_vec)
        .unwrap_or_default()
}

/// The error, or else the last few lines.
fn last_lines(log: &str) -> Vec<&str> {
    let error = error_lines(log);
    if !error.is_empty() {
        return error;
    }
    let lines: Vec<&str> = log.lines().collect();
    lines
        .get(lines.len().saturating_sub(LAST_LINES)..)
        .map(<[&str]>::to_vec)
        .unwrap_or_default()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_lines_of_the_last_error_are_told() {
        let log = "stencil: before\nINFO up\nstencil: the key is open to all\n  try chmod 600\n";
        assert_eq!(
            error_lines(log),
            ["stencil: the key is open to all", "  try chmod 600"]
        );
        assert!(error_lines("INFO up\n").is_empty());
    }

    #[test]
    fn without_an_error_the_last_lines_are_told() {
        let log = "1\n2\n3\n4\n5\n6\n";
        assert_eq!(last_lines(log), ["2", "3", "4", "5", "6"]);
    }
}
