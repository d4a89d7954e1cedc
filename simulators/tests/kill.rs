//! A simulator that is killed in the middle: its devices go on as after a
//! reset, and the books still agree to the last number.
#![allow(clippy::unwrap_used, clippy::panic)]

mod gateway;

use std::io::Read;
use std::process::{Child, Command, Stdio};

use gateway::{Gateway, enrol};
use stencil_simulators::fleet::{self, Doors, Faults, Options};
use stencil_simulators::journal;
use tokio::sync::watch;

/// Where the child finds its options.
const OPTIONS: &str = "STENCIL_TEST_FLEET_OPTIONS";

/// The simulator's process: this test binary again. Stops when its standard
/// input ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the process that the other test starts and kills"]
async fn child() {
    let Ok(options) = std::env::var(OPTIONS) else {
        return;
    };
    let options: Options = serde_json::from_str(&options).unwrap();
    let (stop, stopped) = watch::channel(false);
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        stop.send(true).unwrap();
    });
    let outcome = fleet::run(options, stopped).await.unwrap();
    assert!(outcome.unsettled.is_empty(), "{outcome:?}");
}

fn spawn(options: &Options) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--ignored"])
        .env(OPTIONS, serde_json::to_string(options).unwrap())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_books_agree_after_kills() {
    let dir = tempfile::tempdir().unwrap();
    let psk_dir = dir.path().join("psk");
    let gateway = Gateway::start(&psk_dir).await;
    let options = Options {
        state_dir: dir.path().join("state"),
        journal_dir: dir.path().join("journal"),
        psk_dir: psk_dir.clone(),
        gateways: vec![gateway.address.to_string()],
        freezers: 3,
        locks: 3,
        rooms: 1,
        samples_per_s: 50.0,
        doors: Doors {
            first_s: -1.0,
            ..Doors::default()
        },
        faults: Faults {
            first_s: -1.0,
            ..Faults::default()
        },
        ..Options::default()
    };
    enrol(&psk_dir, &options.devices().unwrap());
    gateway.command("lock-02", 9, "lock");
    for round in 1..=4 {
        let mut child = spawn(&options);
        gateway
            .until("some", |notes| notes.stored.len() > round * 400)
            .await;
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let mut child = spawn(&options);
    gateway
        .until("more", |notes| notes.stored.len() > 2_000)
        .await;
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());

    let journals = journal::read(dir.path().join("journal")).unwrap();
    assert!(
        journals.given.len() > 4 * 7,
        "every device started five times"
    );
    gateway.reconcile(&journals);
    // Offered hundreds of times to five boots: carried out once. (A kill
    // between the deed and its line would leave none.)
    assert!(journals.executed.len() <= 1, "{:?}", journals.executed);
}
