//! A `stencil` process that serves until it is ended.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::wait_for;

/// A process that printed one line of JSON, its addresses, and logs into a file.
pub(crate) struct Process {
    /// What it printed.
    pub(crate) said: Value,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it and waits until it has said where it listens; it appends to the file `log`.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Self {
        let file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .expect("a log file");
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .expect("the process starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .expect("addresses");
        let said = serde_json::from_str(&line).unwrap_or_else(|error| {
            let _ = child.wait();
            panic!(
                "{command:?} printed {line:?} ({error}); its log:\n{}",
                read(log)
            )
        });
        Self {
            said,
            child,
            log: log.to_owned(),
        }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, and its end.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        // It may have ended by itself.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        self.ended()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// Waits for its end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let child = &mut self.child;
        wait_for("the end of a process", || {
            child.try_wait().expect("it is our child")
        })
    }

    /// Whether it has ended by itself within this time.
    pub(crate) fn ended_within(&mut self, time: Duration) -> bool {
        let begun = Instant::now();
        loop {
            if self.child.try_wait().expect("it is our child").is_some() {
                return true;
            }
            if begun.elapsed() > time {
                return false;
            }
            // Another process is watched from outside: there is nothing to wait on but the clock.
            #[allow(clippy::disallowed_methods)]
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What it and those before it logged so far.
    pub(crate) fn log(&self) -> String {
        read(&self.log)
    }

    /// Waits for a line of the log that has all these words, and gives it.
    pub(crate) fn wait_for_log(&self, words: &[&str]) -> String {
        wait_for(&format!("a log line with {words:?}"), || {
            let log = self.log();
            let line = log
                .lines()
                .find(|line| words.iter().all(|word| line.contains(word)))?;
            Some(line.to_owned())
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("{}:\n{}", self.log.display(), self.log());
        }
    }
}

fn read(log: &Path) -> String {
    std::fs::read_to_string(log).unwrap_or_default()
}
