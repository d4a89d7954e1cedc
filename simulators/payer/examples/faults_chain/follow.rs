//! The process under test: `stencil chain follow`, and what it has told.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use alloy_primitives::B256;
use serde_json::{Value, json};

use crate::oracle::{self, Place};
use crate::world::{CHAIN_ID, World};

/// Confirmations until a block is final: fewer than reorganisations go deep, so that what was final is
/// retracted at times.
const FINALITY: u64 = 6;
/// How long it may take to tell all, once its endpoints are sound.
const PATIENCE: Duration = Duration::from_secs(90);
/// Logs that are named where there are differences.
const DIFFERENCES: usize = 5;
const PAUSE: Duration = Duration::from_millis(20);

/// What it told, and what that comes to.
#[derive(Default)]
struct Told {
    /// By number, from 1.
    entries: Vec<Value>,
    standing: Standing,
    again: u64,
    problems: Vec<String>,
    /// The next observation is to be lost, and what follows of it.
    lose: bool,
    lost: Option<(Place, B256)>,
}

pub(crate) struct Follow {
    stencil: PathBuf,
    folder: PathBuf,
    running: Option<Running>,
    told: Arc<Mutex<Told>>,
    patience: Duration,
    pub(crate) ended_at_a_point: u32,
}

struct Running {
    child: Child,
    reader: JoinHandle<()>,
    crashes: bool,
}

/// Where a log is by the entries: block's hash, transaction, and whether it is final.
type Standing = BTreeMap<Place, (B256, B256, bool)>;

impl Follow {
    pub(crate) fn new(stencil: PathBuf, folder: PathBuf, world: &World) -> Self {
        let urls = world.faulty.each_ref().map(|endpoint| endpoint.url());
        let config = format!(
            "data = {:?}\n[chain]\nname = \"dev\"\nchain_id = {CHAIN_ID}\nendpoints = {urls:?}\n\
             wake = {:?}\nfinality = {FINALITY}\nstart = 1\npoll_interval_ms = 40\n\
             call_timeout_ms = 250\n[[watch]]\naddress = \"{}\"\n[[watch]]\naddress = \"{}\"\n",
            folder.join("data"),
            world.faulty[0].ws_url(),
            world.token,
            world.contract,
        );
        std::fs::write(folder.join("chain.toml"), config).unwrap();
        Self {
            stencil,
            folder,
            running: None,
            told: Arc::default(),
            patience: PATIENCE,
            ended_at_a_point: 0,
        }
    }

    /// Starts it where it does not run.
    pub(crate) fn start(&mut self, crash: Option<String>) {
        if self.running.is_some() && !self.has_ended() {
            return;
        }
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("follow.log"))
            .unwrap();
        let mut command = Command::new(&self.stencil);
        command
            .args([
                "--log", "info", "chain", "follow", "--output", "json", "--config",
            ])
            .arg(self.folder.join("chain.toml"))
            .env("NO_COLOR", "1")
            .env_remove("STENCIL_CRASH")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log);
        let crashes = crash.is_some();
        if let Some(crash) = crash {
            command.env("STENCIL_CRASH", crash);
        }
        let mut child = command.spawn().expect("stencil");
        let lines = BufReader::new(child.stdout.take().unwrap());
        let told = Arc::clone(&self.told);
        let reader = std::thread::spawn(move || {
            // The last line of one that was killed may be cut.
            for line in lines.split(b'\n').map_while(Result::ok) {
                if let Ok(line) = serde_json::from_slice::<Value>(&line) {
                    told.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .take(line);
                }
            }
        });
        self.running = Some(Running {
            child,
            reader,
            crashes,
        });
    }

    /// SIGKILL. Whether it ran.
    pub(crate) fn kill(&mut self) -> bool {
        let ran = !self.has_ended();
        self.stop();
        ran
    }

    fn stop(&mut self) {
        if let Some(mut running) = self.running.take() {
            let _ = running.child.kill();
            let _ = running.child.wait();
            running.reader.join().unwrap();
        }
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
            let problem = format!("it has ended by itself: {status}; see follow.log");
            self.lock().problems.push(problem);
        }
        if let Some(running) = self.running.take() {
            running.reader.join().unwrap();
        }
        true
    }

    /// Waits until what it told comes to what the chain has from a block on, all of it final; gives how
    /// many logs that are, and what does not hold.
    pub(crate) async fn check(&mut self, world: &World, from: u64) -> (usize, Vec<String>) {
        let until = Instant::now() + self.patience;
        let canonical = oracle::canonical(&world.truth, from).await;
        let log = |log: &oracle::Log| (log.place(), (log.block_hash, log.transaction_hash, true));
        let expected: Standing = canonical.iter().map(log).collect();
        loop {
            let late = Instant::now() > until;
            let (standing, wrong) = self.standing(from);
            if standing == expected || late || wrong {
                let mut problems = std::mem::take(&mut self.lock().problems);
                problems.extend(differences(&standing, &expected));
                return (expected.len(), problems);
            }
            if self.has_ended() {
                self.start(None);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// What stands by all that was told, from a block on, and whether something was wrong already.
    fn standing(&self, from: u64) -> (Standing, bool) {
        let told = self.lock();
        let standing = told.standing.range((from, 0)..).map(own).collect();
        (standing, !told.problems.is_empty())
    }

    /// Waits for a while until it has told of all that the chain has at the moment, so that what is
    /// taken back was seen.
    pub(crate) async fn see(&mut self, world: &World, within: Duration) {
        let until = Instant::now() + within;
        let canonical = oracle::canonical(&world.truth, world.round_from).await;
        while Instant::now() < until && !self.has_ended() {
            let (standing, _) = self.standing(world.round_from);
            let seen = |log: &oracle::Log| {
                let there = standing.get(&log.place());
                there.is_some_and(|(block, ..)| *block == log.block_hash)
            };
            if canonical.iter().all(seen) {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    pub(crate) fn counts(&self, rounds: u32) -> (Value, bool) {
        let told = self.lock();
        let of = |kind: &str| {
            let entries = told.entries.iter();
            entries.filter(|entry| entry["kind"] == kind).count()
        };
        let again = told.entries.iter();
        let after_final = again.filter(|entry| entry["was_final"] == true).count();
        let retracted = of("retracted");
        let counts = json!({
            "logs_that_stand": told.standing.len(),
            "entries": told.entries.len(),
            "observed": of("observed"),
            "retracted": retracted,
            "retracted_after_final": after_final,
            "final": of("final"),
            "told_again": told.again,
        });
        // Rounds in which nothing was taken back show nothing.
        let enough = (rounds < 10 || retracted > 0) && (rounds < 20 || after_final > 0);
        (counts, enough)
    }

    /// As if an observation had been lost: shows that these checks can fail.
    pub(crate) fn lose_one(&mut self) {
        self.patience = Duration::from_secs(5);
        self.lock().lose = true;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Told {
    fn take(&mut self, line: Value) {
        let next = self.entries.len() as u64 + 1;
        match line["seq"].as_u64() {
            Some(seq) if seq == next => {
                if let Err(problem) = self.apply(&line) {
                    self.problems.push(problem);
                }
                self.entries.push(line);
            }
            Some(seq) if seq > 0 && seq < next => {
                let before = &self.entries[seq as usize - 1];
                if *before == line {
                    self.again += 1;
                } else {
                    let problem = format!("told in other words: {before}, then {line}");
                    self.problems.push(problem);
                }
            }
            _ => self
                .problems
                .push(format!("entry {next} is missing before {line}")),
        }
    }

    /// Each entry has to follow on what stands.
    fn apply(&mut self, entry: &Value) -> Result<(), String> {
        let hash = |value: &Value| value.as_str().and_then(|text| text.parse::<B256>().ok());
        let number = entry["block"]["number"].as_u64();
        let parts = number
            .zip(entry["place"].as_u64())
            .zip(hash(&entry["block"]["hash"]).zip(hash(&entry["tx"])));
        let Some((place, (block, tx))) = parts else {
            return Err(format!("an entry of another form: {entry}"));
        };
        let observed = entry["kind"] == "observed";
        if self.lose && observed {
            self.lose = false;
            self.lost = Some((place, block));
        }
        if self.lost == Some((place, block)) {
            return Ok(());
        }
        let there = self.standing.get(&place).copied();
        let (right, after) = match entry["kind"].as_str() {
            Some("observed") => (there.is_none(), Some(false)),
            Some("final") => (there == Some((block, tx, false)), Some(true)),
            Some("retracted") => {
                let was_final = entry["was_final"] == true;
                (there == Some((block, tx, was_final)), None)
            }
            _ => (false, None),
        };
        match after {
            Some(is_final) => self.standing.insert(place, (block, tx, is_final)),
            None => self.standing.remove(&place),
        };
        if right {
            return Ok(());
        }
        Err(format!("{entry} does not follow on {there:?}"))
    }
}

fn own<K: Copy, V: Copy>((key, value): (&K, &V)) -> (K, V) {
    (*key, *value)
}

fn differences(standing: &Standing, expected: &Standing) -> Vec<String> {
    let mut problems = Vec::new();
    for (place, log) in expected {
        if standing.get(place) != Some(log) {
            problems.push(format!(
                "log {place:?} is {log:?} on the chain, {:?} by what was told",
                standing.get(place)
            ));
        }
    }
    for (place, log) in standing {
        if !expected.contains_key(place) {
            problems.push(format!("log {place:?} {log:?} is not on the chain"));
        }
    }
    let all = problems.len();
    if all > DIFFERENCES {
        problems.truncate(DIFFERENCES);
        problems.push(format!("{all} logs differ"));
    }
    problems
}
