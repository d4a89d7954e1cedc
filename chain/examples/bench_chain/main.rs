//! What it takes to catch up with a chain, and what open invoices cost: `cargo xtask bench chain`
//! builds it in the release profile and runs this.
//!
//! The dev chain is a process of its own (this program once more, as `bench_chain serve …`), so that
//! the memory looked at is the follower's alone; both share the machine. The follower is the hub's
//! own with its SQLite file, which lies where `TMPDIR` says: it should be on a disk.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    missing_docs,
    reason = "a bench"
)]

mod catch_up;
mod invoices;
mod matching;
mod memory;
mod world;

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use stencil_store::sqlite;

use crate::invoices::Invoices;
use crate::world::{Plan, Told};

/// The server's process.
struct Chain {
    child: Child,
    told: Told,
}

impl Chain {
    fn start(plan: &Plan) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("serve")
            .args([plan.blocks, plan.invoices].map(|number| number.to_string()))
            // It ends when this end of the pipe does.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the dev chain's process");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let told = serde_json::from_str(&line).expect("what the dev chain says");
        Self { child, told }
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize| -> u64 {
        let usage = "bench_chain BLOCKS INVOICES ENDPOINTS";
        arguments.get(place).expect(usage).parse().expect(usage)
    };
    if arguments.first().is_some_and(|first| first == "serve") {
        let plan = Plan::new(number(1), number(2));
        return world::serve(&plan).await;
    }
    let (plan, endpoints) = (Plan::new(number(0), number(1)), number(2) as usize);
    let chain = Chain::start(&plan);
    let told = &chain.told;
    eprintln!(
        "a chain of {} blocks with {} transfers, made in {:.1} s",
        told.blocks, told.transfers, told.made_s
    );
    let bare_s = catch_up::bare(told).await;
    let folder = tempfile::tempdir().unwrap();
    let store = sqlite::open(folder.path().join("chain.db")).await.unwrap();
    let caught_up = catch_up::run(told, endpoints, &store).await;
    let file_bytes = std::fs::metadata(folder.path().join("chain.db"))
        .unwrap()
        .len();
    let mut report = json!({
        "blocks": told.blocks,
        "transfers": told.transfers,
        "endpoints": endpoints,
        "file_bytes": file_bytes,
        "bare_blocks_per_s": (told.blocks as f64 / bare_s).round(),
    });
    join(&mut report, caught_up.report(told));
    let invoices = Invoices::new(&plan, told);
    join(&mut report, matching::run(told, &invoices, &store).await);
    println!("{}", serde_json::to_string_pretty(&report).unwrap());
}

fn join(report: &mut Value, more: Value) {
    let (Value::Object(report), Value::Object(more)) = (report, more) else {
        panic!("reports are objects");
    };
    report.extend(more);
}
