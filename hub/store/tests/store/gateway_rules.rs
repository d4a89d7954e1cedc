//! Rules at gateways: what these say of them, and what they did by themselves.

use stencil_protocol::command::State;
use stencil_store::{
    Commit, GatewayRules, Given, NewCommand, RanOut, Room, StoredCommand, Trigger,
};

use crate::{acme, command, device, fresh, gateway, run, trigger};

const LATER: i64 = 90_000;

fn waiting(n: u8) -> Trigger {
    Trigger {
        not_before_us: Some(LATER),
        ..trigger(n)
    }
}

fn lock(n: u8) -> NewCommand {
    NewCommand {
        id: command(n),
        tenant: acme(),
        device: device("lock-1"),
        name: "lock".into(),
        argument: None,
        expires_us: 500,
        effect_key: Some(format!("effect {n}")),
    }
}

fn given(n: u8, command: Option<NewCommand>) -> Given {
    Given {
        tenant: acme(),
        gateway: gateway("gw-1"),
        run: run(n),
        command,
        received_us: 50_000,
    }
}

#[tokio::test]
async fn a_run_waits_for_its_gateways_word_and_no_longer() {
    let fresh = fresh().await;
    let (pipeline, runs) = (&fresh.store.pipeline, &fresh.store.runs);
    let mut commit = Commit {
        position: 1,
        triggers: vec![waiting(1), waiting(2), waiting(3), trigger(4)],
        ..Commit::default()
    };
    pipeline.commit(commit.clone()).await.unwrap();
    let claims = runs.claim_due(1_000, 10_000, &Room::any(10)).await.unwrap();
    let ids: Vec<_> = claims.iter().map(|claim| claim.run.id).collect();
    assert_eq!(ids, [run(4)], "the one that waits for nobody");

    // One was done, one could not be: both go on.
    commit = Commit {
        position: 2,
        given: vec![given(1, Some(lock(1))), given(2, None)],
        ..Commit::default()
    };
    for _ in 0..2 {
        let committed = pipeline.commit(commit.clone()).await.unwrap();
        commit.position += 1;
        assert!(committed.woken == 2 || commit.position == 4);
    }
    let claims = runs.claim_due(2_000, 10_000, &Room::any(10)).await.unwrap();
    let mut ids: Vec<_> = claims.iter().map(|claim| claim.run.id).collect();
    ids.sort();
    assert_eq!(ids, [run(1), run(2)]);
    let claims = runs.claim_due(LATER, 10_000, &Room::any(10)).await.unwrap();
    assert!(
        claims.iter().any(|claim| claim.run.id == run(3)),
        "it waits no longer"
    );
}

#[tokio::test]
async fn a_command_that_a_gateway_gave_is_one_that_it_was_sent() {
    let fresh = fresh().await;
    let (pipeline, commands) = (&fresh.store.pipeline, &fresh.store.commands);
    let stored =
        async |n| -> StoredCommand { commands.get(&acme(), &command(n)).await.unwrap().unwrap() };
    // The hub has queued the second one, too.
    let mut second = lock(2);
    second.expires_us = 80_000;
    commands.queue(&second, 40_000).await.unwrap();
    let commit = Commit {
        position: 1,
        given: vec![given(1, Some(lock(1))), given(2, Some(lock(2)))],
        ..Commit::default()
    };
    pipeline.commit(commit).await.unwrap();
    for n in [1, 2] {
        assert_eq!(stored(n).await.state, State::Sent);
        assert!(
            !commands.queue(&lock(n), 60_000).await.unwrap(),
            "it is there"
        );
    }
    // Its time was over when the hub heard of it: the device's word is on its way behind it.
    assert_eq!(commands.expire(50_000, 10).await.unwrap(), []);
    let late = commands.expire(50_001, 10).await.unwrap();
    let one = RanOut {
        tenant: acme(),
        command: command(1),
        state: State::Sent,
        gateway: None,
    };
    assert!(late.contains(&one), "{late:?}");
    assert!(stored(1).await.overdue_us.is_some());
}

#[tokio::test]
async fn what_a_gateway_says_of_its_rules_takes_the_place_of_what_it_said() {
    let fresh = fresh().await;
    let (pipeline, workflows) = (&fresh.store.pipeline, &fresh.store.workflows);
    let said = |position, id: &str, verdicts: &[(&str, u32, Option<&str>)]| Commit {
        position,
        gateway_rules: vec![GatewayRules {
            tenant: acme(),
            gateway: gateway(id),
            verdicts: verdicts
                .iter()
                .map(|(workflow, version, why)| {
                    ((*workflow).to_owned(), *version, why.map(str::to_owned))
                })
                .collect(),
            at_us: i64::try_from(position).unwrap(),
        }],
        ..Commit::default()
    };
    let first = said(
        1,
        "gw-1",
        &[("door", 1, None), ("warm", 2, Some("too dear"))],
    );
    pipeline.commit(first).await.unwrap();
    pipeline
        .commit(said(2, "gw-2", &[("door", 1, None)]))
        .await
        .unwrap();
    pipeline
        .commit(said(3, "gw-1", &[("door", 4, Some("no"))]))
        .await
        .unwrap();
    let of = async |workflow| {
        let rows = workflows.at_gateways(&acme(), workflow, 10).await.unwrap();
        let rows = rows.into_iter();
        rows.map(|row| (row.gateway.to_string(), row.version, row.refused, row.at_us))
            .collect::<Vec<_>>()
    };
    let door = [
        ("gw-1".to_owned(), 4, Some("no".to_owned()), 3),
        ("gw-2".to_owned(), 1, None, 2),
    ];
    assert_eq!(of(Some("door")).await, door);
    assert_eq!(of(Some("warm")).await, []);
    assert_eq!(of(None).await, door);
}
