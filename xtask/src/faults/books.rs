//! The receiver of webhooks, and its book: what came about, and under which keys.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, ensure};
use serde_json::Value;

use super::hub::{PATIENCE, PAUSE};

/// Answers that get lost after the receiver has acted.
const DROPPED_ANSWERS: &str = "0.1";

/// A reading that fired the rule: its device and number.
pub(super) type Cause = (String, u64);

/// The repository's receiver: it acts once a key, and loses answers.
pub(super) struct Receiver {
    child: Child,
    journal: PathBuf,
    pub(super) url: String,
}

impl Receiver {
    pub(super) fn start(stencil: &Path, folder: &Path) -> anyhow::Result<Self> {
        // Free now, and taken a moment later.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let journal = folder.join("webhooks.jsonl");
        let child = Command::new(stencil)
            .args(["--log", "error", "sim", "receiver"])
            .env("STENCIL_SIM_LISTEN", address.to_string())
            .env("STENCIL_SIM_JOURNAL", &journal)
            .env("STENCIL_SIM_DROP_FRACTION", DROPPED_ANSWERS)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("the receiver")?;
        let receiver = Self {
            child,
            journal,
            url: format!("http://{address}/hook"),
        };
        let until = Instant::now() + PATIENCE;
        while std::net::TcpStream::connect(address).is_err() {
            ensure!(Instant::now() < until, "the receiver does not listen");
            std::thread::sleep(PAUSE);
        }
        Ok(receiver)
    }

    /// The keys under which each cause was acted on.
    pub(super) fn acted(&self) -> anyhow::Result<BTreeMap<Cause, BTreeSet<String>>> {
        let mut acted: BTreeMap<Cause, BTreeSet<String>> = BTreeMap::new();
        let text = match std::fs::read_to_string(&self.journal) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(acted),
            text => text.context("the receiver's journal")?,
        };
        // The last line may be being written.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        for line in whole.lines() {
            let line: Value = serde_json::from_str(line).context("the receiver's journal")?;
            if line["acted"] != true {
                continue;
            }
            let body = &line["body"];
            let cause = body["device"]
                .as_str()
                .zip(
                    body["seq"]
                        .as_f64()
                        .or_else(|| body["seq"].as_str()?.parse().ok()),
                )
                .with_context(|| format!("a webhook without device and number: {line}"))?;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a number"
            )]
            let cause = (cause.0.to_owned(), cause.1 as u64);
            let key = line["key"].as_str().context("a key")?;
            acted.entry(cause).or_default().insert(key.to_owned());
        }
        Ok(acted)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
