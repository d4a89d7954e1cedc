//! A process that dies anywhere between the store's transactions has lost nothing and does nothing
//! twice. The dying process is this test binary, started again.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;

use stencil_payments::invoice::Way;
use stencil_payments::observation::Needs;
use stencil_store::{DueEffect, JournalEntry};

use super::*;
use crate::chains::Kept;

const DIR: &str = "STENCIL_TEST_CASHIER";

/// Two invoices, one paid and final, the other paid, gone and paid again; all of it is in the stream
/// before the cashier sees any of it.
async fn prepare(dir: &Path) {
    let mut world = World::at(dir).await;
    let base = world.follower.block(START_S, &[]).await;
    for n in [1, 2] {
        world
            .create(invoice(n, Way::Contract(CONTRACT), Needs::Confirmations(2)))
            .await;
    }
    let follower = &mut world.follower;
    follower.block(START_S + 10, &paid(1, 1, TOKEN, DUE)).await;
    let second = follower.block(START_S + 20, &paid(2, 2, TOKEN, DUE)).await;
    assert_eq!(second, base + 2);
    follower.back_to(base + 1).await;
    follower.block(START_S + 21, &[]).await;
    follower.block(START_S + 30, &paid(2, 2, TOKEN, DUE)).await;
    follower
        .block(START_S + 40, &[transfer(3, 0, PAYEE, 5)])
        .await;
    follower.block(START_S + 50, &[]).await;
}

/// Not a test of its own: what the dying process runs.
#[tokio::test]
async fn child() {
    if let Some(dir) = std::env::var_os(DIR) {
        let world = World::at(Path::new(&dir)).await;
        world
            .create(invoice(3, Way::UniqueAmount, Needs::Finalized))
            .await;
        world.catch_up().await;
    }
}

/// All that is to be the same, wherever it was killed.
async fn outcome(dir: &Path) -> (Vec<Kept>, Vec<JournalEntry>, Vec<DueEffect>, usize) {
    let world = World::at(dir).await;
    world
        .create(invoice(3, Way::UniqueAmount, Needs::Finalized))
        .await;
    world.catch_up().await;
    let mut kept = Vec::new();
    for n in 1..=3 {
        kept.push(world.invoice(n).await.kept);
    }
    let payments = &world.store.payments;
    let journal = payments.journal(&acme(), None, 1_000).await.unwrap().items;
    let effects = payments.due_invoice_effects(i64::MAX, 1_000).await.unwrap();
    let strays = world.unmatched(&acme()).await.len();
    (kept, journal, effects, strays)
}

#[tokio::test]
async fn wherever_the_process_dies_the_same_comes_of_it() {
    let whole = tempfile::tempdir().unwrap();
    prepare(whole.path()).await;
    let expected = outcome(whole.path()).await;
    let states: Vec<_> = expected
        .0
        .iter()
        .map(|kept| super::super::cashier::state(&kept.invoice))
        .collect();
    assert_eq!(states, ["settled", "settled", "new"]);
    assert_eq!(expected.0[1].invoice.settlement().0, 1);
    let points = [
        ("cashier.before_created", 1),
        ("cashier.created", 1),
        ("cashier.before_commit", 7),
        ("cashier.after_commit", 7),
        ("cashier.before_position", 1),
        ("cashier.after_position", 1),
    ];
    let mut killed = 0;
    for (point, most) in points {
        for count in 1..=most {
            let dir = tempfile::tempdir().unwrap();
            prepare(dir.path()).await;
            let status = Command::new(std::env::current_exe().unwrap())
                .args(["chains::tests::crash::child", "--exact"])
                .env(DIR, dir.path())
                .env(stencil_crashpoint::VARIABLE, format!("{point}:{count}"))
                .stdout(std::process::Stdio::null())
                .status()
                .unwrap();
            if status.success() {
                // It is not reached that often.
                assert!(count > 4, "{point} is reached {} times only", count - 1);
                break;
            }
            assert_eq!(status.signal(), Some(9), "{point}:{count}");
            killed += 1;
            assert_eq!(outcome(dir.path()).await, expected, "{point}:{count}");
        }
    }
    assert!(killed >= 12, "{killed}");
}
