//! The real connectors under a process that dies between an effect and its
//! record, and a receiver that loses answers after it acted: each page, each
//! webhook and each command happens once by its key.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use stencil_connect::{Connectors, Options, webhook};
use stencil_protocol::command::State;
use stencil_protocol::id::{Boot, DeviceId, Seq, TenantId};
use stencil_protocol::sample::OwnedValue;
use stencil_rules::{Cause, Finite, Firing};
use stencil_store::sqlite::{self, Sqlite};
use stencil_store::{
    CommandStatus, Commands, Content, Progress, Run, RunFilter, Runs, Tenancy, Workflows,
};
use stencil_workflow::clock::{Clock as _, SystemClock};
use stencil_workflow::{Handle, Parts, Runner, definition, effect_key, trigger};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

const DIR: &str = "STENCIL_TEST_DIR";
const RUNS: u64 = 2;
const STEPS: [&str; 4] = ["notice", "page", "tell", "lock"];

fn yaml(port: u16) -> String {
    format!(
        r#"
id: warm
version: 1
on: {{ telemetry: {{ devices: "freezer-*", name: temperature }} }}
when: {{ above: -12.0 }}
steps:
  - {{ id: notice, use: content.upsert, with: {{ collection: notices, key: "n{{{{ event.seq }}}}", set: {{ value: "{{{{ event.value }}}}" }} }} }}
  - {{ id: page, use: content.publish, with: {{ collection: notices, key: "{{{{ steps.notice.key }}}}" }} }}
  - {{ id: tell, use: webhook.post, with: {{ url: "http://127.0.0.1:{port}/", body: {{ device: "{{{{ event.device }}}}" }} }}, retry: {{ initial: 10ms, cap: 20ms }} }}
  - {{ id: lock, use: device.command, with: {{ device: "{{{{ event.device | replace('freezer', 'lock') }}}}", command: lock, expires: 1h }} }}
"#
    )
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

/// What the hub does beside of the runner: a device that does as it is told.
async fn device(store: Arc<Sqlite>, connectors: Arc<Connectors>, runner: Handle) {
    let queued = connectors.queued();
    loop {
        let waiting = queued.notified();
        let now_us = SystemClock.now_us();
        for outstanding in store.queued(now_us, None, 100).await.unwrap() {
            let (command, at_us) = (outstanding.command.id, now_us);
            let state = State::Done;
            let status = CommandStatus {
                tenant: tenant(),
                command,
                state,
                at_us,
                detail: None,
                gateway: None,
            };
            assert!(store.status(&status).await.unwrap());
            runner.wake();
        }
        waiting.await;
    }
}

async fn run_to_the_end(dir: &Path) {
    let store = open(dir).await;
    let webhook = webhook::Options {
        allow_loopback: true,
        ..Default::default()
    };
    let options = Options {
        webhook,
        ..Options::default()
    };
    let connectors = Arc::new(Connectors::new(&options, store.clone(), store.clone()).unwrap());
    let parts = Parts::system(
        store.clone(),
        store.clone(),
        store.clone(),
        store.clone(),
        connectors.clone(),
    );
    let options = stencil_workflow::Options {
        lease_ms: 200,
        ..Default::default()
    };
    let runner = Runner::new(options, parts);
    let device = tokio::spawn(device(store.clone(), connectors, runner.handle()));
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(runner.run(stopped));
    while !runs(&store).await.iter().all(|run| run.state.is_final()) {
        assert!(!device.is_finished());
        tokio::task::yield_now().await;
    }
    stop.send_replace(true);
    running.await.unwrap();
    device.abort();
}

/// Acts once a key, counts how often each was posted, and loses every second
/// answer after it acted.
async fn receiver() -> (u16, Arc<Mutex<BTreeMap<String, usize>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let posted = Arc::new(Mutex::new(BTreeMap::new()));
    let keys = posted.clone();
    tokio::spawn(async move {
        for number in 0_usize.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            let Some(key) = key_of(&mut stream).await else {
                continue;
            };
            *keys.lock().unwrap().entry(key).or_default() += 1;
            if number % 2 == 1 {
                let answer = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";
                let _ = stream.write_all(answer).await;
            }
        }
    });
    (port, posted)
}

async fn key_of(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let header = |name: &str| {
        head.split("\r\n")
            .find_map(|line| line.strip_prefix(name))
            .map(str::to_owned)
    };
    let length = header("content-length: ")?.parse().unwrap();
    stream.read_exact(&mut vec![0; length]).await.ok()?;
    header("idempotency-key: ")
}

/// Not a test of its own: what the dying process runs.
#[tokio::test]
async fn child() {
    if let Some(dir) = std::env::var_os(DIR) {
        run_to_the_end(Path::new(&dir)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_by_its_key_wherever_the_process_dies() {
    for crash_at in 1..=2 * STEPS.len() {
        let (port, posted) = receiver().await;
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path()).await;
        store.create_tenant(&tenant(), 0).await.unwrap();
        let yaml = yaml(port);
        let definition = definition::parse(&yaml).unwrap();
        store.put(&tenant(), "warm", 1, &yaml, 0).await.unwrap();
        let mut told = Vec::new();
        for seq in 1..=RUNS {
            let cause = Cause::Numbered {
                boot: Boot(1),
                seq: Seq(seq),
            };
            let value = Finite::new(-11.0);
            let firing = Firing {
                since_us: 1,
                at_us: 1,
                value,
                cause,
            };
            let device = DeviceId::parse("freezer-07").unwrap();
            let value = OwnedValue::Number(-11.0);
            let trigger = trigger(
                &tenant(),
                &definition,
                &device,
                Some((&value, None)),
                &firing,
            );
            store.trigger(&trigger).await.unwrap();
            told.push(effect_key(&trigger.run, "tell"));
        }
        told.sort();
        drop(store);

        let mut child = tokio::process::Command::new(std::env::current_exe().unwrap())
            .args(["child", "--exact"])
            .env(DIR, dir.path())
            .env(
                stencil_crashpoint::VARIABLE,
                format!("workflow.after_effect:{crash_at}"),
            )
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let status = child.wait().await.unwrap();
        assert_eq!(
            status.signal(),
            Some(9),
            "it must have died at effect {crash_at}"
        );
        run_to_the_end(dir.path()).await;

        let store = open(dir.path()).await;
        for run in runs(&store).await {
            assert_eq!(run.state, Progress::Done, "{run:?}");
            assert!(run.steps.iter().map(|step| step.id.as_str()).eq(STEPS));
        }
        for seq in 1..=RUNS {
            let key = format!("n{seq}");
            let versions = Content::versions(&*store, &tenant(), "notices", &key, None, 10).await;
            assert_eq!(versions.unwrap().items.len(), 1, "written once");
            let published = store
                .published(&tenant(), "notices", &key)
                .await
                .unwrap()
                .unwrap();
            assert_eq!(published.version.fields["value"], -11.0);
        }
        let commands = Commands::list(&*store, &tenant(), None, None, 10)
            .await
            .unwrap()
            .items;
        assert_eq!(commands.len() as u64, RUNS, "given once");
        assert!(
            commands
                .iter()
                .all(|c| c.state == State::Done && c.device.as_str() == "lock-07")
        );
        let posted = posted.lock().unwrap().clone();
        assert!(posted.keys().eq(told.iter()), "each key, and no other");
        assert!(
            posted.values().any(|times| *times > 1),
            "answers were lost: {posted:?}"
        );
    }
}
