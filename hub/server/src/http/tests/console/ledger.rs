//! `/ledger`.

use stencil_protocol::id::{Boot, Seq};
use stencil_protocol::ledger::BootLedger;
use stencil_store::Commit;

use super::{Served, hides, page, seed, seen_with, shows};

#[tokio::test]
async fn without_a_gap_that_is_what_it_says_first() {
    let served = Served::start().await;
    let ledger = page(&served, "/ledger").await;
    shows(
        &ledger,
        &[
            "<h2 id=\"verdict-title\">No gap</h2>",
            "Each of the 122 numbers that 1 device gave is stored, or was dropped",
            "2 buffer_full",
            ">4</td>",
            "a-foreign-marked",
            "1 device gives no numbers",
        ],
    );
    hides(&ledger, &["Where numbers are missing"]);
    let none = seen_with(&served, &served.tokens.rival, "/ledger").await;
    shows(&none, &["No number has been given yet"]);
}

#[tokio::test]
async fn a_gap_is_counted_and_named() {
    let served = Served::start().await;
    let mut ledger = BootLedger::default();
    for number in [1, 2, 5] {
        ledger.store(Seq(number));
    }
    ledger.announce(Seq(7));
    let lock: stencil_protocol::id::DeviceId = "lock-marked".parse().unwrap();
    let commit = Commit {
        position: 11,
        ledgers: vec![(seed::acme(), lock, Boot(9), ledger)],
        ..Commit::default()
    };
    served.store.pipeline.commit(commit).await.unwrap();
    let shown = page(&served, "/ledger").await;
    shows(
        &shown,
        &[
            "4 numbers are missing",
            "Of 129 numbers that 2 devices gave",
            "3–4, 6–7",
        ],
    );
    hides(&shown, &["No gap"]);
    // Of one device alone.
    let freezer = page(&served, "/ledger?device=freezer-marked").await;
    shows(
        &freezer,
        &["No gap", "122 numbers that freezer-marked gave"],
    );
    hides(&freezer, &["lock-marked", "gives no numbers"]);
    served.read("/ledger?device=none").await.problem(404);
    served.read("/ledger?device=a%20b").await.problem(400);
    served.read("/ledger?after=x").await.problem(400);
}

#[tokio::test]
async fn many_boots_are_pages_and_are_summed_up_whole() {
    let served = Served::start().await;
    let ledgers = (1_000..1_060).map(|boot| {
        let mut ledger = BootLedger::default();
        ledger.store(Seq(1));
        (seed::acme(), seed::freezer(), Boot(boot), ledger)
    });
    let commit = Commit {
        position: 11,
        ledgers: ledgers.collect(),
        ..Commit::default()
    };
    served.store.pipeline.commit(commit).await.unwrap();
    let first = page(&served, "/ledger?device=freezer-marked").await;
    shows(&first, &["182 numbers", "61 boots", ">1000</td>", "No gap"]);
    hides(&first, &[">1059</td>"]);
    let next = first.split("rel=\"next\" href=\"").nth(1).unwrap();
    let next = next.split('"').next().unwrap().replace("&amp;", "&");
    let second = page(&served, &next).await;
    shows(&second, &["182 numbers", ">1059</td>", "First page"]);
    hides(&second, &[">1000</td>", "rel=\"next\""]);
}
