//! A process that dies between an effect and its record does the effect again
//! with the same key, so that whoever takes it does it once.
//!
//! The dying process is this test binary, started again with `STENCIL_CRASH`
//! set; it is killed by SIGKILL, as the power cut would.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::json;
use stencil_protocol::id::{Boot, CommandId, DeviceId, Seq, TenantId};
use stencil_protocol::sample::OwnedValue;
use stencil_rules::{Cause, Finite, Firing};
use stencil_store::sqlite::{self, Sqlite};
use stencil_store::{Progress, Run, RunFilter, Runs, Tenancy, Workflows};
use stencil_workflow::{
    Effects, Failure, Options, Parts, Performed, Request, Runner, definition, effect_key, trigger,
};
use tokio::sync::watch;

const DIR: &str = "STENCIL_TEST_DIR";
const RUNS: usize = 3;
const STEPS: [&str; 3] = ["one", "two", "three"];

const YAML: &str = "
id: w
version: 1
on: { telemetry: { devices: \"*\", name: t } }
when: { above: 0 }
steps:
  - { id: one, use: content.publish, with: { collection: c, key: k } }
  - { id: two, use: webhook.post, with: { url: \"http://h/\", body: \"{{ steps.one.version }}\" } }
  - { id: three, use: content.publish, with: { collection: c, key: \"{{ steps.two.status }}\" } }
";

/// The other side: notes each effect on disk, so that it survives the crash.
struct Receiver(PathBuf);

#[async_trait]
impl Effects for Receiver {
    async fn perform(&self, request: &Request<'_>) -> Result<Performed, Failure> {
        let mut journal = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(&self.0)
            .unwrap();
        writeln!(journal, "{}", request.effect_key).unwrap();
        Ok(Performed::Done(
            json!({ "version": 1, "status": 200, "key": request.effect_key }),
        ))
    }

    async fn settle(&self, _: &TenantId, command: &CommandId) -> Result<Performed, Failure> {
        Ok(Performed::Waiting(*command))
    }
}

fn tenant() -> TenantId {
    TenantId::parse("acme").unwrap()
}

async fn open(dir: &Path) -> Arc<Sqlite> {
    Arc::new(sqlite::open(dir.join("hub.db")).await.unwrap())
}

async fn runs(store: &Sqlite) -> Vec<Run> {
    Runs::list(store, &tenant(), &RunFilter::default(), None, 100)
        .await
        .unwrap()
        .items
}

/// Runs what is due until all runs have ended.
async fn run_to_the_end(dir: &Path) {
    let store = open(dir).await;
    let effects = Arc::new(Receiver(dir.join("journal")));
    let options = Options {
        lease_ms: 200,
        max_concurrent_runs: 1,
        ..Options::default()
    };
    let parts = Parts::system(
        store.clone(),
        store.clone(),
        store.clone(),
        store.clone(),
        effects,
    );
    let runner = Runner::new(options, parts);
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(runner.run(stopped));
    while !runs(&store).await.iter().all(|run| run.state.is_final()) {
        tokio::task::yield_now().await;
    }
    stop.send_replace(true);
    running.await.unwrap();
}

/// Not a test of its own: what the dying process runs.
#[tokio::test]
async fn child() {
    if let Some(dir) = std::env::var_os(DIR) {
        run_to_the_end(Path::new(&dir)).await;
    }
}

#[tokio::test]
async fn each_effect_happens_once_by_its_key_wherever_the_process_dies() {
    for crash_at in 1..=RUNS * STEPS.len() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path()).await;
        store.create_tenant(&tenant(), 0).await.unwrap();
        store.put(&tenant(), "w", 1, YAML, 0).await.unwrap();
        let definition = definition::parse(YAML).unwrap();
        let device = DeviceId::parse("d").unwrap();
        let mut expected = BTreeMap::new();
        for seq in 1..=RUNS as u64 {
            let cause = Cause::Numbered {
                boot: Boot(1),
                seq: Seq(seq),
            };
            let value = Finite::new(1.0);
            let firing = Firing {
                since_us: 1,
                at_us: 1,
                value,
                cause,
            };
            let value = OwnedValue::Number(1.0);
            let trigger = trigger(
                &tenant(),
                &definition,
                &device,
                Some((&value, None)),
                &firing,
            );
            store.trigger(&trigger).await.unwrap();
            expected.extend(STEPS.map(|step| (effect_key(&trigger.run, step), 1)));
        }
        drop(store);

        let status = Command::new(std::env::current_exe().unwrap())
            .args(["child", "--exact"])
            .env(DIR, dir.path())
            .env(
                stencil_crashpoint::VARIABLE,
                format!("workflow.after_effect:{crash_at}"),
            )
            .status()
            .unwrap();
        assert_eq!(
            status.signal(),
            Some(9),
            "it must have died at effect {crash_at}"
        );

        run_to_the_end(dir.path()).await;
        let store = open(dir.path()).await;
        for run in runs(&store).await {
            assert_eq!((run.state, run.steps.len()), (Progress::Done, STEPS.len()));
            assert!(
                run.steps.iter().all(|step| step.attempts == 1),
                "{:?}",
                run.steps
            );
            for step in &run.steps {
                assert_eq!(step.output.as_ref().unwrap()["key"], step.effect_key);
            }
        }
        let journal = std::fs::read_to_string(dir.path().join("journal")).unwrap();
        let mut performed: BTreeMap<String, usize> = BTreeMap::new();
        for key in journal.lines() {
            *performed.entry(key.to_owned()).or_default() += 1;
        }
        assert!(
            performed.keys().eq(expected.keys()),
            "no effect more, none less"
        );
        let twice = performed.values().filter(|times| **times == 2).count();
        assert_eq!(
            (performed.values().sum::<usize>(), twice),
            (expected.len() + 1, 1)
        );
    }
}
