use stencil_protocol::command::State;
use stencil_protocol::sample::OwnedValue;
use stencil_store::{CommandStatus, Error, LinkSeen, Marked, NewCommand, RanOut};

use crate::{acme, at, command, device, fresh, gateway, other};

fn new(n: u8, id: &str) -> NewCommand {
    NewCommand {
        id: command(n),
        tenant: acme(),
        device: device(id),
        name: "lock".into(),
        argument: Some(OwnedValue::Text("now".into())),
        expires_us: 1_000,
        effect_key: Some(format!("effect {n}")),
    }
}

fn status(n: u8, state: State) -> CommandStatus {
    CommandStatus {
        tenant: acme(),
        command: command(n),
        state,
        at_us: 50,
        detail: Some("jammed".into()),
        gateway: None,
    }
}

#[tokio::test]
async fn a_command_is_queued_once_and_comes_back_whole() {
    let fresh = fresh().await;
    let port = &fresh.store.commands;
    assert!(port.queue(&new(1, "lock-1"), 10).await.unwrap());
    assert!(!port.queue(&new(1, "lock-1"), 11).await.unwrap());
    let stored = port.get(&acme(), &command(1)).await.unwrap().unwrap();
    assert_eq!(
        (stored.state, stored.queued_us, stored.name.as_str()),
        (State::Queued, 10, "lock")
    );
    assert_eq!(stored.argument, Some(OwnedValue::Text("now".into())));

    let error = port.queue(&new(1, "lock-2"), 12).await.unwrap_err();
    assert!(matches!(error, Error::Conflict(_)), "{error}");
    let mut other_id = new(2, "lock-1");
    other_id.effect_key = Some("effect 1".into());
    let error = port.queue(&other_id, 12).await.unwrap_err();
    assert!(matches!(error, Error::Conflict(_)), "{error}");
    let mut bad = new(3, "lock-1");
    bad.name = "x".repeat(33);
    let error = port.queue(&bad, 12).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::Invalid {
                what: "command",
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_gateway_gets_what_its_devices_wait_for() {
    let fresh = fresh().await;
    let port = &fresh.store.commands;
    let mut commit = at(1);
    commit.links = ["lock-1", "lock-2"]
        .iter()
        .zip(["g1", "g2"])
        .map(|(id, through)| LinkSeen {
            tenant: acme(),
            device: device(id),
            gateway: Some(gateway(through)),
            at_us: 1,
            received_us: 1,
            connected: true,
            link: None,
        })
        .collect();
    fresh.store.pipeline.commit(commit).await.unwrap();
    for (n, id) in [(1, "lock-1"), (2, "lock-2"), (3, "lock-1"), (4, "lock-9")] {
        port.queue(&new(n, id), i64::from(n)).await.unwrap();
    }
    for marked in [Marked::First, Marked::Again] {
        let mark = port
            .mark_sent(&acme(), &command(1), &gateway("g1"), 20)
            .await;
        assert_eq!(mark.unwrap(), marked);
    }
    let ids = |rows: Vec<stencil_store::StoredCommand>| -> Vec<u8> {
        rows.iter().map(|row| row.id.0[0]).collect()
    };
    assert_eq!(
        ids(port
            .outstanding(&acme(), &gateway("g1"), 30, None, 9)
            .await
            .unwrap()),
        [1, 3]
    );
    assert_eq!(
        ids(port
            .outstanding(&acme(), &gateway("g2"), 30, None, 9)
            .await
            .unwrap()),
        [2]
    );
    assert_eq!(
        ids(port
            .outstanding(&acme(), &gateway("g1"), 1_000, None, 9)
            .await
            .unwrap()),
        [1],
        "what was handed over is asked about, what was not is over"
    );
    let queued = port.queued(30, None, 9).await.unwrap();
    let routes: Vec<_> = queued
        .iter()
        .map(|row| (row.command.id.0[0], row.gateway.clone()))
        .collect();
    assert_eq!(
        routes,
        [
            (2, Some(gateway("g2"))),
            (3, Some(gateway("g1"))),
            (4, None)
        ]
    );

    port.status(&status(3, State::Done)).await.unwrap();
    assert_eq!(
        ids(port
            .outstanding(&acme(), &gateway("g1"), 30, None, 9)
            .await
            .unwrap()),
        [1]
    );
}

#[tokio::test]
async fn states_only_go_on() {
    let fresh = fresh().await;
    let port = &fresh.store.commands;
    for (n, from) in State::ALL.into_iter().enumerate() {
        for (m, to) in State::ALL.into_iter().enumerate() {
            let n = u8::try_from(n * 10 + m).unwrap();
            port.queue(&new(n, "lock-1"), 1).await.unwrap();
            port.status(&status(n, from)).await.unwrap();
            let applied = port.status(&status(n, to)).await.unwrap();
            assert_eq!(applied, from.can_become(to), "{from} to {to}");
            let stored = port.get(&acme(), &command(n)).await.unwrap().unwrap();
            let became = match (from, to) {
                (State::Acknowledged, State::Expired) => State::Failed,
                _ => to,
            };
            assert_eq!(stored.state, if applied { became } else { from });
        }
    }
    assert!(!port.status(&status(200, State::Done)).await.unwrap());
}

#[tokio::test]
async fn what_is_not_done_in_time_expires() {
    let fresh = fresh().await;
    let port = &fresh.store.commands;
    for n in 1..=3 {
        port.queue(&new(n, "lock-1"), 1).await.unwrap();
    }
    port.status(&status(2, State::Done)).await.unwrap();
    assert_eq!(port.expire(1_000, 9).await.unwrap(), []);
    let expired = port.expire(1_001, 9).await.unwrap();
    let with = |n| RanOut {
        tenant: acme(),
        command: command(n),
        state: State::Expired,
        gateway: None,
    };
    assert_eq!(expired, [with(1), with(3)]);
    assert_eq!(port.expire(1_001, 9).await.unwrap(), []);
    // The device knows better.
    assert!(port.status(&status(1, State::Done)).await.unwrap());
}

#[tokio::test]
async fn what_a_gateway_has_got_is_overdue_and_its_device_is_asked() {
    let fresh = fresh().await;
    let port = &fresh.store.commands;
    let linked = |connected| {
        let mut commit = at(if connected { 2 } else { 1 });
        commit.links = vec![LinkSeen {
            tenant: acme(),
            device: device("lock-1"),
            gateway: Some(gateway("g1")),
            at_us: if connected { 2 } else { 1 },
            received_us: 1,
            connected,
            link: None,
        }];
        fresh.store.pipeline.commit(commit)
    };
    linked(false).await.unwrap();
    for n in 1..=3 {
        port.queue(&new(n, "lock-1"), i64::from(n)).await.unwrap();
    }
    for n in 1..=2 {
        let first = port
            .mark_sent(&acme(), &command(n), &gateway("g1"), 20)
            .await;
        assert_eq!(first.unwrap(), Marked::First);
    }
    port.status(&status(2, State::Acknowledged)).await.unwrap();
    let expired = port.expire(1_001, 9).await.unwrap();
    let states = [State::Sent, State::Acknowledged, State::Expired];
    let with = |n: u8| RanOut {
        tenant: acme(),
        command: command(n),
        state: states[usize::from(n - 1)],
        gateway: Some(gateway("g1")),
    };
    assert_eq!(expired, [with(1), with(2), with(3)]);
    assert_eq!(
        port.expire(2_000, 9).await.unwrap(),
        [],
        "that is told once"
    );
    let sent = port.get(&acme(), &command(1)).await.unwrap().unwrap();
    assert_eq!((sent.state, sent.overdue_us), (State::Sent, Some(1_001)));

    let asked = || async {
        let g1 = gateway("g1");
        let rows = port.outstanding(&acme(), &g1, 2_000, None, 9).await;
        rows.unwrap()
            .iter()
            .map(|row| row.id.0[0])
            .collect::<Vec<_>>()
    };
    assert_eq!(asked().await, [0; 0], "the device is off");
    linked(true).await.unwrap();
    assert_eq!(asked().await, [1, 2]);
    // It never got the one, and has forgotten the other that it took.
    port.status(&status(1, State::Expired)).await.unwrap();
    port.status(&status(2, State::Expired)).await.unwrap();
    let one = port.get(&acme(), &command(1)).await.unwrap().unwrap();
    assert_eq!(one.state, State::Expired);
    let two = port.get(&acme(), &command(2)).await.unwrap().unwrap();
    assert_eq!(two.state, State::Failed);
    assert!(two.detail.unwrap().contains("not known"));
    assert_eq!(asked().await, [0; 0]);
}

/// What was listed is sent a moment later, and it may have ended meanwhile.
#[tokio::test]
async fn what_is_due_no_more_is_not_handed_over_and_what_a_gateway_has_is_asked_about() {
    let fresh = fresh().await;
    let port = &fresh.store.commands;
    let g1 = gateway("g1");
    let mark = async |n: u8, now_us| {
        let marked = port.mark_sent(&acme(), &command(n), &g1, now_us).await;
        let stored = port.get(&acme(), &command(n)).await.unwrap();
        (marked.unwrap(), stored.map(|stored| stored.state))
    };
    for n in 1..=3 {
        port.queue(&new(n, "lock-1"), i64::from(n)).await.unwrap();
    }
    // Its time is over: at the microsecond that it names.
    let queued = Some(State::Queued);
    assert_eq!(mark(1, 1_000).await, (Marked::NotDue, queued));
    let sent = Some(State::Sent);
    assert_eq!(mark(1, 999).await, (Marked::First, sent));
    // It may have it: its device is asked.
    assert_eq!(mark(1, 2_000).await, (Marked::Again, sent));
    port.status(&status(1, State::Acknowledged)).await.unwrap();
    let taken = Some(State::Acknowledged);
    assert_eq!(mark(1, 2_000).await, (Marked::Again, taken));
    port.status(&status(1, State::Done)).await.unwrap();
    let done = Some(State::Done);
    assert_eq!(mark(1, 20).await, (Marked::NotDue, done));
    // Its device was revoked, or it has expired.
    port.status(&status(2, State::Failed)).await.unwrap();
    assert_eq!(mark(2, 20).await.0, Marked::NotDue);
    port.expire(1_001, 9).await.unwrap();
    let expired = Some(State::Expired);
    assert_eq!(mark(3, 20).await, (Marked::NotDue, expired));
    assert_eq!(mark(9, 20).await, (Marked::NotDue, None));
    let theirs = port.mark_sent(&other(), &command(1), &g1, 20).await;
    assert_eq!(theirs.unwrap(), Marked::NotDue);
}

#[tokio::test]
async fn a_gateway_vouches_only_for_what_no_other_has_got() {
    let fresh = fresh().await;
    let port = &fresh.store.commands;
    let own = |n, through: &str, state| CommandStatus {
        gateway: Some(gateway(through)),
        ..status(n, state)
    };
    for n in 1..=3 {
        port.queue(&new(n, "lock-1"), i64::from(n)).await.unwrap();
        port.mark_sent(&acme(), &command(n), &gateway("g1"), 20)
            .await
            .unwrap();
    }
    let again = port
        .mark_sent(&acme(), &command(2), &gateway("g2"), 21)
        .await;
    assert_eq!(again.unwrap(), Marked::Again);
    assert!(port.status(&own(1, "g1", State::Expired)).await.unwrap());
    for through in ["g1", "g2"] {
        for state in [State::Expired, State::Failed] {
            assert!(
                !port.status(&own(2, through, state)).await.unwrap(),
                "{through} {state}"
            );
        }
    }
    assert!(!port.status(&own(3, "g2", State::Expired)).await.unwrap());
    // What the device has taken is its own to answer for.
    port.status(&status(3, State::Acknowledged)).await.unwrap();
    assert!(!port.status(&own(3, "g1", State::Failed)).await.unwrap());
    assert!(port.status(&status(3, State::Done)).await.unwrap());
}

#[tokio::test]
async fn the_newest_are_listed_first() {
    let fresh = fresh().await;
    let port = &fresh.store.commands;
    for (n, id) in [(1, "lock-1"), (2, "lock-2"), (3, "lock-1"), (4, "lock-1")] {
        port.queue(&new(n, id), i64::from(n)).await.unwrap();
    }
    let ids = |rows: &[stencil_store::StoredCommand]| -> Vec<u8> {
        rows.iter().map(|row| row.id.0[0]).collect()
    };
    let first = port.list(&acme(), None, None, 3).await.unwrap();
    let rest = port
        .list(&acme(), None, first.next.as_deref(), 3)
        .await
        .unwrap();
    assert_eq!(
        (ids(&first.items), ids(&rest.items)),
        (vec![4, 3, 2], vec![1])
    );
    let of = port
        .list(&acme(), Some(&device("lock-2")), None, 3)
        .await
        .unwrap();
    assert_eq!((ids(&of.items), of.next), (vec![2], None));
    let error = port
        .list(&acme(), None, Some("nonsense"), 3)
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::Invalid { what: "cursor", .. }),
        "{error}"
    );
}
