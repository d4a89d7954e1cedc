//! What led to a run, across what it sends; and what a payment starts, which is decided once.

use stencil_store::{
    CausedCommit, CausedRuns, CausingRun, Erased, Error, InvoiceEffect, InvoiceStart, Lineage,
    NewSend, Progress, SendAttempt, SentBecause, SpendLimit, Store,
};

use crate::{acme, fresh, other, reopen, run, trigger};

const CHAIN: &str = "dev";

/// Sends something by a key, and gives the transaction's hash.
async fn send(store: &Store, key: &str, tx: u8) -> [u8; 32] {
    let sends = &store.sends;
    let limit = SpendLimit {
        tenant: "acme".to_owned(),
        chain: CHAIN.to_owned(),
        asset: None,
        window_s: 60,
        most: [1; 32],
    };
    sends.set_spend_limit(&limit).await.unwrap();
    let new = NewSend {
        chain: CHAIN.to_owned(),
        sender: [1; 20],
        tenant: "acme".to_owned(),
        key: key.to_owned(),
        receiver: [2; 20],
        value: [0; 32],
        data: vec![],
        gas: 21_000,
        most_fee: [0; 32],
        token: None,
        brings: None,
    };
    let stored = sends.reserve_send(&new, 0, 1).await.unwrap();
    let attempt = SendAttempt {
        tx: [tx; 32],
        raw: vec![tx],
        max_fee: 1,
        max_priority: 1,
        signed_us: 1,
        gives_up: None,
    };
    let added = sends.add_attempt(CHAIN, [1; 20], stored.nonce, 0, &attempt);
    added.await.unwrap();
    [tx; 32]
}

async fn note(port: &dyn CausedRuns, key: &str, because: SentBecause<'_>) {
    port.will_send(&acme(), key, because).await.unwrap();
}

fn cause(n: u8) -> CausingRun {
    CausingRun {
        tenant: acme(),
        run: run(n),
        workflow: "freezer-warm".to_owned(),
    }
}

fn made(n: u8, causes: Vec<CausingRun>, refused: Option<&str>) -> CausedCommit {
    CausedCommit {
        runs: vec![trigger(n)],
        lineages: vec![Lineage {
            tenant: acme(),
            run: run(n),
            causes,
            refused: refused.map(str::to_owned),
        }],
        at_us: 7,
        ..CausedCommit::default()
    }
}

#[tokio::test]
async fn what_a_run_sends_leads_back_to_it_and_to_what_led_to_it() {
    let fresh = fresh().await;
    let store = &fresh.store;
    store.chains.open_chain(CHAIN, 1, 1).await.unwrap();
    let port = store.caused.as_ref();
    store.runs.trigger(&trigger(1)).await.unwrap();
    note(port, "one", SentBecause::Run(&run(1))).await;
    let first = send(store, "one", 0xa1).await;
    assert_eq!(port.causes_of(CHAIN, &first).await.unwrap(), [cause(1)]);
    assert_eq!(port.causes_of("other", &first).await.unwrap(), []);
    assert_eq!(port.causes_of(CHAIN, &[9; 32]).await.unwrap(), []);
    // Nobody noted why this one is sent.
    let plain = send(store, "plain", 0xa2).await;
    assert_eq!(port.causes_of(CHAIN, &plain).await.unwrap(), []);

    let committed = port.commit_caused(&made(2, vec![cause(1)], None)).await;
    assert_eq!(committed.unwrap().started, 1);
    note(port, "two", SentBecause::Run(&run(2))).await;
    let second = send(store, "two", 0xa3).await;
    // What is noted stays, and so it does after a restart.
    note(port, "two", SentBecause::Runs(&[])).await;
    let store = reopen(fresh.folder.path(), Default::default()).await;
    let port = store.caused.as_ref();
    let both = [cause(1), cause(2)];
    assert_eq!(port.causes_of(CHAIN, &second).await.unwrap(), both);
    // A refund, of which no run knows.
    note(port, "refund", SentBecause::Runs(&both)).await;
    let refund = send(&store, "refund", 0xa4).await;
    assert_eq!(port.causes_of(CHAIN, &refund).await.unwrap(), both);

    let nobody = port
        .will_send(&other(), "three", SentBecause::Run(&run(1)))
        .await
        .unwrap_err();
    assert!(matches!(nobody, Error::NotFound { .. }), "{nobody}");
    let erased = Erased::Tenant(acme());
    store.keeping.erase(1, &erased).await.unwrap();
    assert_eq!(port.causes_of(CHAIN, &second).await.unwrap(), []);
}

#[tokio::test]
async fn a_run_that_is_refused_never_begins_and_one_that_is_there_stays() {
    let fresh = fresh().await;
    let store = &fresh.store;
    let refused = made(1, vec![cause(2)], Some("not started: a loop"));
    let committed = store.caused.commit_caused(&refused).await.unwrap();
    assert_eq!((committed.started, committed.refused), (0, 1));
    let kept = store.runs.get(&acme(), &run(1)).await.unwrap().unwrap();
    assert_eq!(kept.state, Progress::Failed);
    assert_eq!(kept.error.as_deref(), Some("not started: a loop"));
    assert_eq!(kept.ended_us, Some(7));
    assert_eq!(store.runs.next_due_us(&[]).await.unwrap(), None);
    let again = store.caused.commit_caused(&refused).await.unwrap();
    assert_eq!((again.started, again.refused), (0, 0));

    let started = made(3, vec![cause(2)], None);
    store.caused.commit_caused(&started).await.unwrap();
    let late = made(3, vec![cause(2)], Some("not started: a loop"));
    let committed = store.caused.commit_caused(&late).await.unwrap();
    assert_eq!(committed.refused, 0);
    let kept = store.runs.get(&acme(), &run(3)).await.unwrap().unwrap();
    assert_eq!(kept.state, Progress::Pending);
}

#[tokio::test]
async fn what_a_payment_starts_is_kept_with_what_is_told_of_it() {
    let fresh = fresh().await;
    let port = fresh.store.caused.as_ref();
    let start = InvoiceStart {
        tenant: acme(),
        invoice: [5; 16],
        paid_us: Some(3),
        at_us: 4,
        missed: true,
    };
    let tell = InvoiceEffect {
        key: [6; 32],
        body: "{}".to_owned(),
    };
    let commit = CausedCommit {
        start: Some(start.clone()),
        tells: vec![tell.clone()],
        at_us: 4,
        ..CausedCommit::default()
    };
    for _ in 0..2 {
        port.commit_caused(&commit).await.unwrap();
    }
    let kept = port.invoice_start(&acme(), &[5; 16]).await.unwrap();
    assert_eq!(kept, Some(start.clone()));
    let nobodys = port.invoice_start(&other(), &[5; 16]).await.unwrap();
    assert_eq!(nobodys, None);
    let due = fresh.store.payments.due_invoice_effects(9, 10).await;
    let due = due.unwrap();
    assert_eq!((due.len(), &due[0].effect), (1, &tell));
    assert_eq!((due[0].invoice, due[0].again), ([5; 16], false));

    let by_hand = CausedCommit {
        start: Some(InvoiceStart {
            missed: false,
            ..start
        }),
        ..CausedCommit::default()
    };
    port.commit_caused(&by_hand).await.unwrap();
    let kept = port.invoice_start(&acme(), &[5; 16]).await.unwrap();
    assert!(!kept.unwrap().missed);
}
