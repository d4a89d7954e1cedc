//! A PostgreSQL cluster of its own: a temporary folder, a Unix socket, no network.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::Copied;
use crate::{shell, tools};

/// How long it may take to listen, or to end.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);
const HOUR_US: i64 = 3_600_000_000;
const DAYS_90_US: i64 = 90 * 24 * HOUR_US;
/// The account that the server runs under where the bench is root's; Debian's package makes it.
const ACCOUNT: &str = "postgres";

/// A running cluster; it is ended when it is dropped.
pub(super) struct Cluster {
    server: Child,
    folder: PathBuf,
    as_account: bool,
}

impl Cluster {
    pub(super) fn start() -> anyhow::Result<Self> {
        let name = format!("stencil-bench-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir(&folder).with_context(|| folder.display().to_string())?;
        // The server refuses to be root.
        let as_account =
            shell::output(Command::new("id").arg("-u")).is_some_and(|id| id.trim() == "0");
        if as_account {
            shell::output(Command::new("chown").arg(ACCOUNT).arg(&folder)).context("chown")?;
        }
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
        let data = folder.join("data");
        let mut init = program(as_account, "initdb");
        init.args([
            "--auth=trust",
            "--encoding=UTF8",
            "--no-locale",
            "--username=bench",
            "-D",
        ]);
        let made = shell::output(init.arg(&data));
        if made.is_none() {
            let _ = fs::remove_dir_all(&folder);
        }
        made.context("initdb failed")?;
        let mut serve = program(as_account, "postgres");
        serve.arg("-D").arg(&data).args(["-c", "listen_addresses="]);
        serve
            .arg("-c")
            .arg(format!("unix_socket_directories={}", folder.display()));
        serve.args(["-c", "synchronous_commit=on", "-c", "fsync=on"]);
        serve
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let cluster = Self {
            server: serve.spawn().context("postgres")?,
            folder,
            as_account,
        };
        let until = Instant::now() + PATIENCE;
        while cluster.ask("SELECT 1").is_err() {
            ensure!(Instant::now() < until, "PostgreSQL does not listen");
            std::thread::sleep(PAUSE);
        }
        Ok(cluster)
    }

    /// Its version.
    pub(super) fn version(&self) -> anyhow::Result<String> {
        self.ask("SHOW server_version")
    }

    /// Takes the data in, and asks for ranges of it.
    pub(super) fn measure(&self, data: &Copied, queries: (u32, u32)) -> anyhow::Result<Value> {
        self.ask("DROP TABLE IF EXISTS points")?;
        self.ask(
            "CREATE TABLE points (series int, time_us bigint, value double precision NOT NULL, \
             PRIMARY KEY (series, time_us))",
        )?;
        let began = Instant::now();
        let file = fs::File::open(&data.file)?;
        let mut load = self.psql();
        let loaded = load.stdin(file).stdout(Stdio::null()).status()?;
        let took = began.elapsed();
        ensure!(loaded.success(), "psql failed: {loaded}");
        self.ask("VACUUM ANALYZE points")?;
        self.ask("CHECKPOINT")?;
        let count: u64 = self.ask("SELECT count(*) FROM points")?.parse()?;
        let bytes: u64 = self
            .ask("SELECT pg_total_relation_size('points')")?
            .parse()?;
        #[expect(clippy::cast_precision_loss, reason = "figures")]
        let (each, per_s) = (
            bytes as f64 / count as f64,
            count as f64 / took.as_secs_f64(),
        );
        Ok(json!({
            "points": count,
            "bytes_per_point": each,
            "points_per_s": per_s,
            "range_1h": self.ranges(data, HOUR_US, queries.0)?,
            "range_90d": self.ranges(data, DAYS_90_US, queries.1)?,
        }))
    }

    /// By pgbench, which notes how long each took.
    fn ranges(&self, data: &Copied, length_us: i64, count: u32) -> anyhow::Result<Value> {
        let last = (data.to_us - length_us).max(data.from_us);
        let script = self.folder.join("range.pgbench");
        fs::write(
            &script,
            format!(
                "\\set series random(1, {})\n\\set at random({}, {last})\n\
                 SELECT time_us, value FROM points WHERE series = :series AND time_us >= :at \
                 AND time_us < :at + {length_us} ORDER BY time_us;\n",
                data.series, data.from_us
            ),
        )?;
        let logs = self.folder.join(format!("ranges-{length_us}"));
        let _ = fs::remove_dir_all(&logs);
        fs::create_dir(&logs)?;
        let mut bench = Command::new(tools::postgresql_program("pgbench"));
        bench.args([
            "-h",
            &self.folder.display().to_string(),
            "-U",
            "bench",
            "-n",
            "-c",
            "1",
        ]);
        bench.args([
            "-M",
            "prepared",
            "-t",
            &count.to_string(),
            "--random-seed=1",
            "-l",
        ]);
        bench.arg(format!("--log-prefix={}", logs.join("log").display()));
        shell::output(bench.arg("-f").arg(&script).arg("postgres")).context("pgbench failed")?;
        // A line a query: client, number, µs, and more (pgbench's documentation, "Per-Transaction
        // Logging").
        let mut spent: Vec<u64> = Vec::new();
        for entry in fs::read_dir(&logs)? {
            let text = fs::read_to_string(entry?.path())?;
            let us = text
                .lines()
                .map(|line| line.split(' ').nth(2)?.parse().ok());
            spent.extend(
                us.collect::<Option<Vec<u64>>>()
                    .context("a line of pgbench's log")?,
            );
        }
        ensure!(
            spent.len() == count as usize,
            "{} of {count} ranges answered",
            spent.len()
        );
        spent.sort_unstable();
        let at = |share: usize| spent.get((spent.len() * share / 100).min(spent.len() - 1));
        Ok(json!({ "p50_us": at(50), "p99_us": at(99), "queries": count }))
    }

    /// The only value of a statement's answer.
    fn ask(&self, statement: &str) -> anyhow::Result<String> {
        let mut psql = self.psql();
        let answer = shell::output(psql.args(["-c", statement]));
        let answer = answer.with_context(|| format!("PostgreSQL refuses: {statement}"))?;
        Ok(answer.trim().to_owned())
    }

    fn psql(&self) -> Command {
        let mut psql = Command::new(tools::postgresql_program("psql"));
        psql.arg("-h")
            .arg(&self.folder)
            .args(["-U", "bench", "-d", "postgres"]);
        psql.args(["-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1"]);
        psql
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Fast shutdown (SIGINT); a kill where that does not help.
        let pid = self.server.id().to_string();
        let asked = shell::output(Command::new("kill").args(["-INT", &pid]));
        let until = Instant::now() + PATIENCE;
        while asked.is_some() && Instant::now() < until {
            if !matches!(self.server.try_wait(), Ok(None)) {
                break;
            }
            std::thread::sleep(PAUSE);
        }
        let _ = self.server.kill();
        let _ = self.server.wait();
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            let account = if self.as_account {
                ACCOUNT
            } else {
                "this account"
            };
            eprintln!("{} of {account} stays: {error}", self.folder.display());
        }
    }
}

/// A program of the server's, under the account that it wants.
fn program(as_account: bool, name: &str) -> Command {
    let path: PathBuf = tools::postgresql_program(name);
    if !as_account {
        return Command::new(path);
    }
    // In place of the process that is started, so that its id is the server's.
    let mut command = Command::new("setpriv");
    command.args([
        "--reuid",
        ACCOUNT,
        "--regid",
        ACCOUNT,
        "--clear-groups",
        "--",
    ]);
    command.arg(path).current_dir(Path::new("/"));
    command
}
