//! Runs that something on a chain has caused: one commit is all or nothing, and follows the one before.

use serde_json::json;
use stencil_protocol::command::State;
use stencil_store::{
    CausedChange, CausedCommit, CausedWait, CommandStatus, Error, InvoiceCommit, InvoiceEffect,
    NewCommand, Outcome, Progress, ReadUpTo, Room, Step, StoredCaused, StoredInvoice, Turn,
    TurnKind,
};

use crate::{acme, command, device, fresh, other, reopen, run, trigger};

const CAUSE: [u8; 32] = [3; 32];

fn caused(n: u8, version: u64) -> StoredCaused {
    StoredCaused {
        tenant: acme(),
        run: run(n),
        cause: CAUSE,
        version,
        body: format!("{{\"version\":{version}}}"),
        opened: 0,
        wakes_us: None,
        under_way: vec![],
        expired: vec![],
        waits: vec![],
    }
}

fn change(caused: StoredCaused) -> CausedChange {
    let kind = TurnKind::Included;
    let turn = Turn {
        step: None,
        kind,
        at_us: 5,
        command: None,
        detail: Some("block 7 of local".to_owned()),
    };
    CausedChange {
        caused,
        turns: vec![turn],
    }
}

fn open_door(n: u8) -> NewCommand {
    NewCommand {
        id: command(n),
        tenant: acme(),
        device: device("door-1"),
        name: "open".into(),
        argument: None,
        expires_us: 1_000,
        effect_key: Some(format!("{n:064x}")),
    }
}

fn first() -> CausedCommit {
    CausedCommit {
        runs: vec![trigger(1)],
        changes: vec![change(StoredCaused {
            under_way: vec![command(9)],
            wakes_us: Some(70),
            waits: vec![CausedWait {
                chain: "local".to_owned(),
                newest: Some(9),
                finalized: Some(7),
            }],
            ..caused(1, 1)
        })],
        commands: vec![open_door(9)],
        at_us: 5,
        ..CausedCommit::default()
    }
}

#[tokio::test]
async fn all_of_a_commit_is_kept_or_nothing() {
    let fresh = fresh().await;
    let store = &fresh.store;
    store.chains.open_chain("local", 1, 1).await.unwrap();
    let entry = |position| {
        Some(ReadUpTo::Entry {
            chain: "local".to_owned(),
            reader: "triggers".to_owned(),
            position,
        })
    };
    // The stream has no such entry.
    let beyond = CausedCommit {
        read: entry(1),
        ..first()
    };
    store.caused.commit_caused(&beyond).await.unwrap_err();
    assert_eq!(store.caused.caused_by(&CAUSE).await.unwrap(), []);
    assert_eq!(store.runs.get(&acme(), &run(1)).await.unwrap(), None);
    assert_eq!(
        store.commands.get(&acme(), &command(9)).await.unwrap(),
        None
    );

    let whole = CausedCommit {
        read: entry(0),
        ..first()
    };
    let committed = store.caused.commit_caused(&whole).await.unwrap();
    assert_eq!((committed.started, committed.queued), (1, 1));
    let store = reopen(fresh.folder.path(), Default::default()).await;
    let known = store.caused.caused_by(&CAUSE).await.unwrap();
    assert_eq!(known.len(), 1);
    assert_eq!((known[0].version, known[0].wakes_us), (1, Some(70)));
    assert_eq!(known[0].body, "{\"version\":1}");
    let turns = store.caused.turns(&acme(), &run(1)).await.unwrap();
    assert_eq!(turns, first().changes[0].turns);
    assert!(store.runs.get(&acme(), &run(1)).await.unwrap().is_some());

    // The same again does not follow, and takes nothing along.
    let again = CausedCommit {
        runs: vec![trigger(2)],
        commands: vec![open_door(8)],
        ..first()
    };
    let error = store.caused.commit_caused(&again).await.unwrap_err();
    assert!(matches!(error, Error::Conflict(_)), "{error}");
    assert_eq!(store.runs.get(&acme(), &run(2)).await.unwrap(), None);
    assert_eq!(
        store.commands.get(&acme(), &command(8)).await.unwrap(),
        None
    );

    // What is known of it is no other tenant's.
    assert_eq!(store.caused.caused(&other(), &run(1)).await.unwrap(), None);
    assert_eq!(store.caused.turns(&other(), &run(1)).await.unwrap(), []);
}

#[tokio::test]
async fn a_cause_is_found_at_the_block_that_tells_more_of_it() {
    let fresh = fresh().await;
    let port = fresh.store.caused.as_ref();
    port.commit_caused(&first()).await.unwrap();
    let found = async |newest, finalized| {
        let found = port.caused_at("local", newest, finalized, None, 10).await;
        found.unwrap().len()
    };
    assert_eq!(found(8, None).await, 0);
    assert_eq!(found(9, None).await, 1);
    assert_eq!(found(8, Some(6)).await, 0);
    assert_eq!(found(8, Some(7)).await, 1);
    assert_eq!(found(9, Some(7)).await, 1, "once");
    let other = port.caused_at("other", 99, Some(99), None, 10).await;
    assert_eq!(other.unwrap(), []);
    let known = port.caused(&acme(), &run(1)).await.unwrap().unwrap();
    let after = Some((&known.tenant, &known.run));
    let rest = port.caused_at("local", 9, None, after, 10).await;
    assert_eq!(rest.unwrap(), []);
    let commit = CausedCommit {
        changes: vec![change(caused(1, 2))],
        ..CausedCommit::default()
    };
    port.commit_caused(&commit).await.unwrap();
    assert_eq!(found(99, Some(99)).await, 0, "nothing more is to be known");
}

#[tokio::test]
async fn the_end_of_a_command_makes_it_due_also_if_it_came_first() {
    let fresh = fresh().await;
    let store = &fresh.store;
    store.caused.commit_caused(&first()).await.unwrap();
    assert_eq!(store.caused.waking_caused(69, 10).await.unwrap(), []);
    assert_eq!(store.caused.next_waking_caused().await.unwrap(), Some(70));
    let done = CommandStatus {
        tenant: acme(),
        command: command(9),
        state: State::Done,
        detail: None,
        at_us: 6,
        gateway: None,
    };
    assert!(store.commands.status(&done).await.unwrap());
    assert_eq!(store.caused.waking_caused(1, 10).await.unwrap().len(), 1);
    // Who did not know of the end, and keeps that the command is under way, is told at once.
    let late = CausedCommit {
        changes: vec![change(StoredCaused {
            under_way: vec![command(9)],
            ..caused(1, 2)
        })],
        ..CausedCommit::default()
    };
    store.caused.commit_caused(&late).await.unwrap();
    assert_eq!(store.caused.waking_caused(1, 10).await.unwrap().len(), 1);
    let known = CausedCommit {
        changes: vec![change(caused(1, 3))],
        ..CausedCommit::default()
    };
    store.caused.commit_caused(&known).await.unwrap();
    assert_eq!(store.caused.next_waking_caused().await.unwrap(), None);
}

#[tokio::test]
async fn a_run_that_waits_for_its_cause_is_due_when_that_is_deep_enough() {
    let fresh = fresh().await;
    let store = &fresh.store;
    store.caused.commit_caused(&first()).await.unwrap();
    let step = |index| Step {
        index,
        id: format!("step{index}"),
        uses: "device.command".into(),
        state: Progress::Waiting,
        attempts: 0,
        next_at_us: Some(9_000),
        output: None,
        error: None,
        effect_key: "key".into(),
        waiting_for: None,
    };
    let waits = |index| Outcome {
        state: Progress::Waiting,
        due_us: 9_000,
        error: None,
        steps: vec![step(index)],
        attempt: None,
    };
    let claim = async || {
        let claims = store.runs.claim_due(100, 50, &Room::any(1)).await.unwrap();
        claims.into_iter().next().unwrap()
    };
    let due = store.runs.record(&claim().await, &waits(0), 101).await;
    assert_eq!(due.unwrap(), Some(9_000));
    let opened = |version, opened| CausedCommit {
        changes: vec![change(StoredCaused {
            opened,
            ..caused(1, version)
        })],
        ..CausedCommit::default()
    };
    let committed = store.caused.commit_caused(&opened(2, 0b01)).await.unwrap();
    assert_eq!(committed.woken, 1);
    // The next step is open before the run has come to it.
    let claim = claim().await;
    let committed = store.caused.commit_caused(&opened(3, 0b11)).await.unwrap();
    assert_eq!(committed.woken, 1);
    let error = store.runs.record(&claim, &waits(1), 102).await;
    assert_eq!(error.unwrap(), Some(102), "it is due at once");
}

#[tokio::test]
async fn what_was_to_be_done_because_of_an_invoice_is_done_with_it() {
    let fresh = fresh().await;
    let store = &fresh.store;
    let invoice = StoredInvoice {
        tenant: acme(),
        invoice: [5; 16],
        version: 1,
        state: "settled".to_owned(),
        body: json!({}).to_string(),
        wakes_us: None,
        watched_until_us: 9,
        created_us: 1,
        changed_us: 1,
    };
    let effect = InvoiceEffect {
        key: [6; 32],
        body: "{}".to_owned(),
    };
    let commit = InvoiceCommit {
        invoice,
        is_undone: false,
        payers: Vec::new(),
        credits: vec![],
        entries: vec![],
        effects: vec![effect],
        refunds: Vec::new(),
    };
    store.payments.commit_invoice(&commit).await.unwrap();
    let due = async || {
        let due = store.payments.due_invoice_effects(100, 10).await.unwrap();
        due.len()
    };
    assert_eq!(due().await, 1);
    let read = Some(ReadUpTo::InvoiceEffect {
        tenant: acme(),
        key: [6; 32],
    });
    let stale = CausedCommit {
        changes: vec![change(caused(1, 7))],
        read: read.clone(),
        ..CausedCommit::default()
    };
    store.caused.commit_caused(&stale).await.unwrap_err();
    assert_eq!(due().await, 1);
    let commit = CausedCommit { read, ..first() };
    store.caused.commit_caused(&commit).await.unwrap();
    assert_eq!(due().await, 0);
}

#[tokio::test]
async fn it_goes_with_its_run_and_with_its_tenant() {
    let fresh = fresh().await;
    let store = &fresh.store;
    store.caused.commit_caused(&first()).await.unwrap();
    let claims = store.runs.claim_due(100, 50, &Room::any(1)).await.unwrap();
    let end = Outcome {
        state: Progress::Done,
        due_us: 0,
        error: None,
        steps: vec![],
        attempt: None,
    };
    store.runs.record(&claims[0], &end, 110).await.unwrap();
    assert_eq!(store.caused.caused_by(&CAUSE).await.unwrap().len(), 1);
    store.runs.forget_ended(&acme(), 200, 10).await.unwrap();
    assert_eq!(store.caused.caused_by(&CAUSE).await.unwrap(), []);
    assert_eq!(store.caused.next_waking_caused().await.unwrap(), None);

    // Nothing comes of a cause for a tenant that is not there.
    let nobody = CausedCommit {
        runs: vec![],
        changes: vec![change(StoredCaused {
            tenant: "nobody".parse().unwrap(),
            ..caused(4, 1)
        })],
        ..CausedCommit::default()
    };
    let error = store.caused.commit_caused(&nobody).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
}
