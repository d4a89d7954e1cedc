use stencil_protocol::command::State;
use stencil_protocol::id::{Boot, Seq};
use stencil_protocol::ledger::BootLedger;
use stencil_protocol::sample::OwnedValue;
use stencil_store::{
    CommandStatus, Commit, Committed, Error, MAX_QUARANTINED_PAYLOAD, NewCommand, RuleState,
};

use crate::{acme, at, command, device, fresh, point, quarantined, reopen, trigger, twin};

fn ledger(through: u64) -> BootLedger {
    let mut ledger = BootLedger::default();
    for seq in 1..=through {
        ledger.store(Seq(seq));
    }
    ledger
}

fn rule_state(bytes: &[u8]) -> RuleState {
    RuleState {
        tenant: acme(),
        workflow: "freezer-warm".into(),
        device: device("freezer-1"),
        bytes: bytes.to_vec(),
    }
}

#[tokio::test]
async fn what_was_committed_is_loaded() {
    let fresh = fresh().await;
    let loaded = fresh.store.pipeline.load(4).await.unwrap();
    assert_eq!((loaded.position, loaded.ledgers.len()), (0, 0));

    let id = device("freezer-1");
    let commit = Commit {
        position: 100,
        ledgers: vec![(acme(), id.clone(), Boot(1), ledger(3))],
        twins: vec![twin("freezer-1", 50, -18.5)],
        rule_states: vec![rule_state(b"armed")],
        ..Commit::default()
    };
    fresh.store.pipeline.commit(commit).await.unwrap();

    let store = reopen(fresh.folder.path(), Default::default()).await;
    let loaded = store.pipeline.load(4).await.unwrap();
    assert_eq!(loaded.position, 100);
    assert_eq!(loaded.ledgers, [(acme(), id, Boot(1), ledger(3))]);
    assert_eq!(loaded.twins, [twin("freezer-1", 50, -18.5)]);
    assert_eq!(loaded.rule_states, [rule_state(b"armed")]);
}

#[tokio::test]
async fn a_repeated_commit_changes_nothing() {
    let fresh = fresh().await;
    let pipeline = &fresh.store.pipeline;
    let commit = Commit {
        position: 7,
        points: vec![point("temperature", 10, OwnedValue::Number(1.5))].into(),
        twins: vec![twin("freezer-1", 10, 1.5)],
        triggers: vec![trigger(1), trigger(1)],
        quarantined: vec![quarantined(7, "a"), quarantined(7, "b")],
        ..Commit::default()
    };
    let first = pipeline.commit(commit.clone()).await.unwrap();
    assert_eq!(
        first,
        Committed {
            started: 1,
            ..Committed::default()
        }
    );
    let again = pipeline.commit(commit).await.unwrap();
    assert_eq!(again, Committed::default());

    assert_eq!(
        fresh.store.ledger.quarantine_count(&acme()).await.unwrap(),
        2
    );
    let points = fresh
        .store
        .series
        .range(&acme(), &device("freezer-1"), "temperature", 0, 100, 10)
        .await
        .unwrap();
    assert_eq!(points.len(), 1);
}

#[tokio::test]
async fn the_position_never_goes_back() {
    let fresh = fresh().await;
    let pipeline = &fresh.store.pipeline;
    pipeline.commit(at(9)).await.unwrap();
    let mut back = at(8);
    back.twins = vec![twin("freezer-1", 10, 1.5)];
    let error = pipeline.commit(back).await.unwrap_err();
    assert!(
        matches!(error, Error::Conflict(_)) && !error.retryable(),
        "{error}"
    );
    let loaded = pipeline.load(1).await.unwrap();
    assert_eq!((loaded.position, loaded.twins.len()), (9, 0));
    pipeline.commit(at(10)).await.unwrap();
}

#[tokio::test]
async fn one_bad_part_undoes_the_whole_commit() {
    let fresh = fresh().await;
    let pipeline = &fresh.store.pipeline;
    let commit = Commit {
        position: 7,
        points: vec![point("temperature", 10, OwnedValue::Number(1.5))].into(),
        twins: vec![twin("freezer-1", 10, 1.5)],
        quarantined: vec![quarantined(u64::MAX, "a position that cannot be kept")],
        ..Commit::default()
    };
    let error = pipeline.commit(commit).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::Invalid {
                what: "position",
                ..
            }
        ),
        "{error}"
    );
    let loaded = pipeline.load(1).await.unwrap();
    assert_eq!((loaded.position, loaded.twins.len()), (0, 0));
    let id = device("freezer-1");
    assert!(
        !fresh
            .store
            .series
            .contains(&acme(), &id, "temperature", 10)
            .await
            .unwrap()
    );
    assert_eq!(fresh.store.series.names(&acme(), &id).await.unwrap(), []);
}

#[tokio::test]
async fn only_the_newest_boots_are_loaded_and_the_others_can_be_had() {
    let fresh = fresh().await;
    let pipeline = &fresh.store.pipeline;
    let id = device("freezer-1");
    let mut commit = at(1);
    commit.ledgers = (1..=5)
        .map(|n| (acme(), id.clone(), Boot(n), ledger(u64::from(n))))
        .collect();
    pipeline.commit(commit).await.unwrap();

    let mut boots: Vec<u32> = pipeline
        .load(2)
        .await
        .unwrap()
        .ledgers
        .iter()
        .map(|row| row.2.0)
        .collect();
    boots.sort_unstable();
    assert_eq!(boots, [4, 5]);
    let old = pipeline.ledger(&acme(), &id, Boot(2)).await.unwrap();
    assert_eq!(old, Some(ledger(2)));
    assert_eq!(pipeline.ledger(&acme(), &id, Boot(9)).await.unwrap(), None);
}

#[tokio::test]
async fn of_one_key_the_last_state_stays_and_an_empty_one_is_forgotten() {
    let fresh = fresh().await;
    let pipeline = &fresh.store.pipeline;
    let id = device("freezer-1");
    let mut commit = at(1);
    commit.rule_states = vec![rule_state(b"a"), rule_state(b"b")];
    commit.ledgers = vec![
        (acme(), id.clone(), Boot(1), ledger(1)),
        (acme(), id.clone(), Boot(1), ledger(2)),
    ];
    pipeline.commit(commit).await.unwrap();
    let loaded = pipeline.load(1).await.unwrap();
    assert_eq!(loaded.rule_states, [rule_state(b"b")]);
    assert_eq!(loaded.ledgers[0].3, ledger(2));

    let mut commit = at(2);
    commit.rule_states = vec![rule_state(b"")];
    pipeline.commit(commit).await.unwrap();
    assert_eq!(pipeline.load(1).await.unwrap().rule_states, []);
}

#[tokio::test]
async fn the_quarantine_is_bounded_and_newest_first() {
    let options = stencil_store::sqlite::Options {
        max_quarantined: 3,
        ..Default::default()
    };
    let fresh = crate::fresh_with(options).await;
    for position in 1..=6 {
        let mut commit = at(position);
        let mut row = quarantined(position, "bad");
        row.payload = vec![0; MAX_QUARANTINED_PAYLOAD + 1];
        row.reason = "ü".repeat(4_000);
        commit.quarantined = vec![row];
        fresh.store.pipeline.commit(commit).await.unwrap();
    }
    let port = &fresh.store.ledger;
    let first = port.quarantine(&acme(), None, 2).await.unwrap();
    let rest = port
        .quarantine(&acme(), first.next.as_deref(), 2)
        .await
        .unwrap();
    let positions: Vec<u64> = first
        .items
        .iter()
        .chain(&rest.items)
        .map(|row| row.position)
        .collect();
    assert_eq!(positions, [6, 5, 4, 3][..positions.len()]);
    assert!((3..=4).contains(&positions.len()) && rest.next.is_none());
    assert_eq!(first.items[0].payload.len(), MAX_QUARANTINED_PAYLOAD);
    assert!(first.items[0].reason.len() <= 1_024);
}

#[tokio::test]
async fn statuses_in_a_commit_move_commands_and_say_so() {
    let fresh = fresh().await;
    let new = NewCommand {
        id: command(1),
        tenant: acme(),
        device: device("lock-1"),
        name: "lock".into(),
        argument: None,
        expires_us: 1_000,
        effect_key: None,
    };
    fresh.store.commands.queue(&new, 1).await.unwrap();
    let status = |state| CommandStatus {
        tenant: acme(),
        command: command(1),
        state,
        at_us: 5,
        detail: None,
        gateway: None,
    };
    let mut commit = at(1);
    commit.statuses = vec![
        status(State::Acknowledged),
        status(State::Done),
        status(State::Acknowledged),
    ];
    let committed = fresh.store.pipeline.commit(commit).await.unwrap();
    assert_eq!(committed.statuses, 2);
    let stored = fresh
        .store
        .commands
        .get(&acme(), &command(1))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(stored.state, State::Done);
}

#[tokio::test]
async fn a_caller_that_stops_waiting_does_not_part_heads_from_database() {
    let fresh = fresh().await;
    for n in 1..=20_i64 {
        let mut commit = at(n.unsigned_abs());
        commit.points = vec![point("temperature", n, OwnedValue::Integer(n))].into();
        let pipeline = fresh.store.pipeline.clone();
        let task = tokio::spawn(async move { pipeline.commit(commit).await });
        tokio::task::yield_now().await;
        task.abort();
    }
    // A commit that begins after them ends after them. Some of those above may
    // never have begun; heads and database agree on which.
    fresh.store.pipeline.commit(at(21)).await.unwrap();
    let range = |store: stencil_store::Store| async move {
        let id = device("freezer-1");
        store
            .series
            .range(&acme(), &id, "temperature", 0, 100, 100)
            .await
            .unwrap()
    };
    let by_heads = range(fresh.store.clone()).await;
    let by_database = range(reopen(fresh.folder.path(), Default::default()).await).await;
    assert_eq!(by_heads, by_database);
}
