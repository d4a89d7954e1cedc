use std::collections::BTreeMap;

use serde_json::json;
use stencil_protocol::command::State;
use stencil_protocol::id::CommandId;
use stencil_store::{
    Attempt, Claim, CommandStatus, Error, MAX_ATTEMPTS_KEPT, NewCommand, Outcome, Progress, Room,
    Run, RunFilter, Step, Store,
};

use crate::{acme, command, device, fresh, other, reopen, run, trigger};

const LEASE: i64 = 100;

fn step(state: Progress) -> Step {
    Step {
        index: 0,
        id: "notice".into(),
        uses: "content.upsert".into(),
        state,
        attempts: 1,
        next_at_us: None,
        output: Some(json!({ "version": 1 })),
        error: None,
        effect_key: "key".into(),
        waiting_for: None,
    }
}

fn outcome(state: Progress, due_us: i64, steps: Vec<Step>) -> Outcome {
    Outcome {
        state,
        due_us,
        error: None,
        steps,
        attempt: None,
    }
}

async fn claim_one(store: &Store, now_us: i64) -> Claim {
    let mut claims = store
        .runs
        .claim_due(now_us, LEASE, &Room::any(10))
        .await
        .unwrap();
    assert_eq!(claims.len(), 1, "{claims:?}");
    claims.remove(0)
}

#[tokio::test]
async fn a_run_goes_from_its_trigger_to_its_end() {
    let fresh = fresh().await;
    let port = &fresh.store.runs;
    assert_eq!(port.next_due_us(&[]).await.unwrap(), None);
    assert!(port.trigger(&trigger(1)).await.unwrap());
    assert!(!port.trigger(&trigger(1)).await.unwrap());

    let claim = claim_one(&fresh.store, 1_000).await;
    assert_eq!(
        (claim.run.id, claim.run.state, claim.run.version),
        (run(1), Progress::Running, 1)
    );
    assert_eq!(claim.run.event, json!({ "device": "freezer-1" }));
    assert_eq!((claim.run.steps.len(), claim.lease_until_us), (0, 1_100));
    assert_eq!(
        port.claim_due(1_050, LEASE, &Room::any(10)).await.unwrap(),
        []
    );
    assert_eq!(port.next_due_us(&[]).await.unwrap(), Some(1_100));

    let done = outcome(Progress::Running, 1_010, vec![step(Progress::Done)]);
    assert_eq!(
        port.record(&claim, &done, 1_005).await.unwrap(),
        Some(1_010)
    );
    let claim = claim_one(&fresh.store, 1_010).await;
    assert_eq!(claim.run.steps, [step(Progress::Done)]);

    let end = outcome(Progress::Done, 0, Vec::new());
    assert_eq!(port.record(&claim, &end, 1_020).await.unwrap(), None);
    assert_eq!(port.next_due_us(&[]).await.unwrap(), None);
    let found = port.get(&acme(), &run(1)).await.unwrap().unwrap();
    assert_eq!((found.state, found.ended_us), (Progress::Done, Some(1_020)));
    assert_eq!(found.steps, [step(Progress::Done)]);
    assert!(
        !port.trigger(&trigger(1)).await.unwrap(),
        "an ended run does not start again"
    );
}

#[tokio::test]
async fn a_runner_that_dies_loses_its_run_and_cannot_record_any_more() {
    let fresh = fresh().await;
    fresh.store.runs.trigger(&trigger(1)).await.unwrap();
    let lost = claim_one(&fresh.store, 1_000).await;
    let store = reopen(fresh.folder.path(), Default::default()).await;
    let taken = claim_one(&store, 1_100).await;
    assert!(taken.fence > lost.fence);
    let late = outcome(Progress::Done, 0, Vec::new());
    let error = store.runs.record(&lost, &late, 1_101).await.unwrap_err();
    assert!(matches!(error, Error::Conflict(_)), "{error}");
    store.runs.record(&taken, &late, 1_102).await.unwrap();
    let error = store.runs.record(&taken, &late, 1_103).await.unwrap_err();
    assert!(matches!(error, Error::Conflict(_)), "an ended run: {error}");
}

#[tokio::test]
async fn two_runners_never_hold_one_run() {
    let fresh = fresh().await;
    for n in 1..=20 {
        fresh.store.runs.trigger(&trigger(n)).await.unwrap();
    }
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let runs = fresh.store.runs.clone();
            tokio::spawn(async move {
                let mut mine = Vec::new();
                for _ in 0..5 {
                    mine.extend(runs.claim_due(1_000, LEASE, &Room::any(3)).await.unwrap());
                }
                mine
            })
        })
        .collect();
    let mut ids = Vec::new();
    for task in tasks {
        ids.extend(task.await.unwrap().into_iter().map(|claim| claim.run.id));
    }
    ids.sort_unstable();
    assert_eq!(ids, (1..=20).map(run).collect::<Vec<_>>());
}

fn lock() -> NewCommand {
    NewCommand {
        id: command(7),
        tenant: acme(),
        device: device("lock-1"),
        name: "lock".into(),
        argument: None,
        expires_us: 50_000,
        effect_key: None,
    }
}

fn waiting(id: CommandId) -> Outcome {
    let step = Step {
        waiting_for: Some(id),
        ..step(Progress::Waiting)
    };
    outcome(Progress::Waiting, 60_000, vec![step])
}

fn ended(state: State) -> CommandStatus {
    CommandStatus {
        tenant: acme(),
        command: command(7),
        state,
        at_us: 2_000,
        detail: None,
        gateway: None,
    }
}

#[tokio::test]
async fn the_end_of_a_command_wakes_the_step_that_waits() {
    for end in [State::Done, State::Failed, State::Expired] {
        let fresh = fresh().await;
        fresh.store.commands.queue(&lock(), 1).await.unwrap();
        fresh.store.runs.trigger(&trigger(1)).await.unwrap();
        let claim = claim_one(&fresh.store, 1_000).await;
        let due = fresh
            .store
            .runs
            .record(&claim, &waiting(command(7)), 1_001)
            .await
            .unwrap();
        assert_eq!(due, Some(60_000));
        fresh
            .store
            .commands
            .status(&ended(State::Acknowledged))
            .await
            .unwrap();
        assert_eq!(
            fresh
                .store
                .runs
                .claim_due(1_500, LEASE, &Room::any(10))
                .await
                .unwrap(),
            []
        );

        match end {
            State::Expired => drop(fresh.store.commands.expire(50_001, 9).await.unwrap()),
            end => {
                let mut commit = crate::at(1);
                commit.statuses = vec![ended(end)];
                assert_eq!(fresh.store.pipeline.commit(commit).await.unwrap().woken, 1);
            }
        }
        let claim = claim_one(&fresh.store, 1_600).await;
        assert_eq!(claim.run.state, Progress::Waiting);
        assert_eq!(claim.run.steps[0].waiting_for, Some(command(7)));
    }
}

#[tokio::test]
async fn a_command_that_ended_before_anybody_waited_wakes_too() {
    let fresh = fresh().await;
    fresh.store.commands.queue(&lock(), 1).await.unwrap();
    fresh.store.runs.trigger(&trigger(1)).await.unwrap();
    let claim = claim_one(&fresh.store, 1_000).await;
    fresh
        .store
        .commands
        .status(&ended(State::Done))
        .await
        .unwrap();
    let due = fresh
        .store
        .runs
        .record(&claim, &waiting(command(7)), 1_001)
        .await
        .unwrap();
    assert_eq!(due, Some(1_001));
    claim_one(&fresh.store, 1_001).await;
}

#[tokio::test]
async fn attempts_are_kept_up_to_a_bound() {
    let fresh = fresh().await;
    fresh.store.runs.trigger(&trigger(1)).await.unwrap();
    let rounds = MAX_ATTEMPTS_KEPT + 5;
    for number in 1..=rounds {
        let now = 1_000 + i64::from(number);
        let claim = claim_one(&fresh.store, now).await;
        let mut outcome = outcome(Progress::Running, now, vec![step(Progress::Running)]);
        outcome.attempt = Some(Attempt {
            step: 0,
            number,
            started_us: now,
            ended_us: now + 1,
            error: Some("refused".into()),
        });
        fresh
            .store
            .runs
            .record(&claim, &outcome, now)
            .await
            .unwrap();
    }
    let attempts = fresh.store.runs.attempts(&acme(), &run(1)).await.unwrap();
    assert_eq!(attempts.len(), MAX_ATTEMPTS_KEPT as usize);
    assert_eq!(attempts.last().map(|attempt| attempt.number), Some(rounds));
}

#[tokio::test]
async fn lists_filter_and_go_on_where_they_ended() {
    let fresh = fresh().await;
    let port = &fresh.store.runs;
    for n in 1..=40 {
        let mut trigger = trigger(n);
        trigger.workflow = if n % 2 == 0 {
            "even".into()
        } else {
            "odd".into()
        };
        port.trigger(&trigger).await.unwrap();
    }
    for claim in port.claim_due(1_000, LEASE, &Room::any(4)).await.unwrap() {
        let end = outcome(Progress::Failed, 0, vec![step(Progress::Failed)]);
        port.record(&claim, &end, 1_001).await.unwrap();
    }
    let (mut ids, mut after) = (Vec::new(), None);
    loop {
        let page = port
            .list(&acme(), &RunFilter::default(), after.as_deref(), 17)
            .await
            .unwrap();
        ids.extend(page.items.iter().map(|found| found.id));
        assert!(
            page.items
                .iter()
                .all(|f| f.steps.len() == usize::from(f.state.is_final()))
        );
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(ids, (1..=40).rev().map(run).collect::<Vec<_>>());

    let filter = |workflow: Option<&str>, state| RunFilter {
        workflow: workflow.map(Into::into),
        state,
        ..RunFilter::default()
    };
    let span = |from_us, to_us| RunFilter {
        from_us: Some(from_us),
        to_us: Some(to_us),
        ..RunFilter::default()
    };
    for (filter, count) in [
        (filter(Some("even"), None), 20),
        (filter(None, Some(Progress::Failed)), 4),
        (filter(Some("even"), Some(Progress::Failed)), 2),
        (filter(Some("even"), Some(Progress::Done)), 0),
        (span(i64::MIN, i64::MAX), 40),
        (span(3, 3), 0),
        (span(3, 5), 2),
    ] {
        assert_eq!(
            port.list(&acme(), &filter, None, 100)
                .await
                .unwrap()
                .items
                .len(),
            count
        );
    }
    let mut counts = port.counts(&acme()).await.unwrap();
    counts.sort_by_key(|(state, _)| state.as_str());
    assert_eq!(counts, [(Progress::Failed, 4), (Progress::Pending, 36)]);
    let all = port.list(&acme(), &RunFilter::default(), None, 100).await;
    let all = all.unwrap().items;
    let middle = all[all.len() / 2].at_us;
    let even = |since_us: i64| {
        let of = |run: &&Run| run.workflow == "even" && run.at_us >= since_us;
        all.iter().filter(of).count() as u64
    };
    for since_us in [i64::MIN, middle, middle + 1, i64::MAX] {
        let counted = port.count_since(&acme(), "even", since_us).await.unwrap();
        assert_eq!(counted, even(since_us), "since {since_us}");
        let by_state = port.counts_since(&acme(), since_us).await.unwrap();
        for state in [Progress::Failed, Progress::Pending] {
            let of = |run: &&Run| run.state == state && run.at_us >= since_us;
            let expected = all.iter().filter(of).count() as u64;
            let found = by_state.iter().find(|(other, _)| *other == state);
            assert_eq!(found.map_or(0, |(_, count)| *count), expected, "{state:?}");
        }
    }
    assert!(0 < even(middle) && even(middle) < even(i64::MIN));
    assert_eq!(
        port.count_since(&other(), "even", i64::MIN).await.unwrap(),
        0
    );
}

#[tokio::test]
async fn ended_runs_are_forgotten_with_all_that_belongs_to_them() {
    let fresh = fresh().await;
    let port = &fresh.store.runs;
    port.trigger(&trigger(1)).await.unwrap();
    port.trigger(&trigger(2)).await.unwrap();
    let claims = port.claim_due(1_000, LEASE, &Room::any(1)).await.unwrap();
    let mut end = outcome(Progress::Done, 0, vec![step(Progress::Done)]);
    end.attempt = Some(Attempt {
        step: 0,
        number: 1,
        started_us: 1,
        ended_us: 2,
        error: None,
    });
    port.record(&claims[0], &end, 1_001).await.unwrap();
    assert_eq!(port.forget_ended(&acme(), 1_001, 10).await.unwrap(), 0);
    assert_eq!(port.forget_ended(&acme(), 1_002, 10).await.unwrap(), 1);
    assert_eq!(port.get(&acme(), &claims[0].run.id).await.unwrap(), None);
    assert_eq!(port.attempts(&acme(), &claims[0].run.id).await.unwrap(), []);
    assert_eq!(
        port.list(&acme(), &RunFilter::default(), None, 9)
            .await
            .unwrap()
            .items
            .len(),
        1
    );
}

#[tokio::test]
async fn tenants_take_turns_and_none_has_more_than_its_share() {
    let fresh = fresh().await;
    let port = &fresh.store.runs;
    for n in 1..=10 {
        port.trigger(&trigger(n)).await.unwrap();
    }
    for n in 101..=103 {
        let mut trigger = trigger(n);
        trigger.tenant = other();
        port.trigger(&trigger).await.unwrap();
    }
    let mut room = Room {
        runs: 5,
        tenant_runs: 3,
        busy: BTreeMap::new(),
    };
    let ids = |claims: Vec<Claim>| -> Vec<_> { claims.iter().map(|it| it.run.id).collect() };
    let claims = port.claim_due(1_000, LEASE, &room).await.unwrap();
    assert_eq!(ids(claims), [1, 101, 2, 102, 3].map(run));
    room.busy = BTreeMap::from([(acme(), 3), (other(), 2)]);
    assert_eq!(port.next_due_us(&room.full()).await.unwrap(), Some(0));
    let claims = port.claim_due(1_000, LEASE, &room).await.unwrap();
    assert_eq!(ids(claims), [103].map(run));
    // What is due of a tenant without room is not the next; its own claims' ends are not either.
    room.busy.insert(other(), 1);
    assert_eq!(port.next_due_us(&[]).await.unwrap(), Some(0));
    assert_eq!(port.next_due_us(&room.full()).await.unwrap(), Some(1_100));
    assert_eq!(port.claim_due(1_050, LEASE, &room).await.unwrap(), []);
    // The one that has fewest in work comes first, though others are due for longer.
    room.busy = BTreeMap::from([(acme(), 2)]);
    room.runs = 1;
    let claims = port.claim_due(1_100, LEASE, &room).await.unwrap();
    assert_eq!(ids(claims), [101].map(run));
    assert_eq!(room.busy(&other()), 0);
    room.runs = 0;
    assert_eq!(port.claim_due(1_100, LEASE, &room).await.unwrap(), []);
}
