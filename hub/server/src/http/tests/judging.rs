//! Receipts are judged by how their right stood when it was used.

use serde_json::{Value, json};
use stencil_protocol::id::GatewayId;
use stencil_store::{CredentialStanding, RightStanding, RunFilter};

use super::access::{API, Notes, World, keeper};
use super::{NOW_US, seed};

const YAML: &str = "id: conflict\nversion: 1\non: { access: { conflict: 'freezer-*' } }\nsteps:\n\
    - { id: note, use: content.upsert, with: { collection: conflicts, key: '{{ event.device }}', \
    set: { reason: '{{ event.reason }}' } } }\n";
const SECOND_US: i64 = 1_000_000;

/// What the hub has of receipts, the oldest first: why each conflicts.
async fn conflicts(world: &World) -> Vec<Value> {
    let shown = world.served.read("/api/v1/access/receipts").await.ok();
    let items = shown["items"].as_array().unwrap();
    items
        .iter()
        .rev()
        .map(|it| it["conflict"].clone())
        .collect()
}

/// What workflows were told: when each right was used, why that conflicts, and since when.
async fn told(world: &World) -> Vec<(i64, String, i64)> {
    let filter = RunFilter {
        workflow: Some("conflict".to_owned()),
        ..RunFilter::default()
    };
    let runs = &world.served.store.runs;
    let page = runs.list(&seed::acme(), &filter, None, 100).await.unwrap();
    let events = page.items.iter().map(|run| &run.event);
    let mut told: Vec<_> = events
        .map(|event| {
            let number = |name: &str| (event[name].as_i64().unwrap() - NOW_US) / SECOND_US;
            let reason = event["reason"].as_str().unwrap().to_owned();
            (number("used_us"), reason, number("changed_us"))
        })
        .collect();
    told.sort();
    told
}

/// A right, and receipts of its use at these seconds that a gateway has brought.
async fn used(world: &World, seconds: &[i64]) -> String {
    let acme = seed::acme();
    let workflows = &world.served.store.workflows;
    workflows
        .put(&acme, "conflict", 1, YAML, NOW_US)
        .await
        .unwrap();
    workflows
        .activate(&acme, "conflict", Some(1), NOW_US)
        .await
        .unwrap();
    let wanted = World::wanted();
    let given = world.rights.grant(&acme, &wanted, API, NOW_US).await;
    let right = given.unwrap().right.right;
    bring(world, &right, "gateway-marked", seconds).await;
    right
}

async fn bring(world: &World, right: &str, gateway: &str, seconds: &[i64]) {
    if seconds.is_empty() {
        return;
    }
    let mut notes = Notes::new(world, gateway, true).await;
    let texts: Vec<String> = seconds
        .iter()
        .map(|second| notes.note(right, NOW_US + second * SECOND_US))
        .collect();
    let batch = notes.signed(&texts, &notes.key);
    let gateway = GatewayId::parse(gateway).unwrap();
    let kept = keeper(world).keep(&seed::acme(), &gateway, &batch).await;
    assert_eq!(kept.unwrap(), seconds.len());
}

#[tokio::test]
async fn a_use_while_a_right_was_suspended_conflicts_also_when_it_holds_again() {
    let world = World::new().await;
    let (acme, store) = (seed::acme(), &world.served.store);
    let right = used(&world, &[]).await;
    for (standing, second) in [
        (CredentialStanding::Suspended, 10),
        (CredentialStanding::Good, 20),
        (CredentialStanding::Suspended, 30),
        (CredentialStanding::Revoked, 40),
    ] {
        let at_us = NOW_US + second * SECOND_US;
        let set = store
            .credentials
            .set_standing(&acme, &right, standing, at_us);
        set.await.unwrap();
    }
    bring(&world, &right, "gateway-marked", &[5, 15, 25, 35, 45]).await;
    let suspended = || json!("suspended");
    assert_eq!(
        conflicts(&world).await,
        [
            Value::Null,
            suspended(),
            Value::Null,
            suspended(),
            json!("revoked")
        ]
    );
    let expected = [
        (15, "suspended".to_owned(), 10),
        (35, "suspended".to_owned(), 30),
        (45, "revoked".to_owned(), 40),
    ];
    assert_eq!(told(&world).await, expected);
}

#[tokio::test]
async fn a_payment_that_came_back_was_not_there_meanwhile_and_one_that_is_gone_never_was() {
    let world = World::new().await;
    let (acme, store) = (seed::acme(), &world.served.store);
    let right = used(&world, &[5, 15, 25]).await;
    let stands = async |standing, second: i64| {
        let at_us = NOW_US + second * SECOND_US;
        let stood = [(standing, at_us)];
        let set = store.judging.set_by_cause(&acme, &right, &stood, at_us);
        set.await.unwrap();
        while keeper(&world).judge_page(2).await.unwrap() {}
    };
    assert_eq!(
        conflicts(&world).await,
        [Value::Null, Value::Null, Value::Null]
    );
    stands(RightStanding::TakenBack, 10).await;
    let taken = || json!("taken_back");
    assert_eq!(conflicts(&world).await, [taken(), taken(), taken()]);
    assert_eq!(told(&world).await.len(), 3);
    stands(RightStanding::Held, 20).await;
    assert_eq!(conflicts(&world).await, [Value::Null, taken(), Value::Null]);
    stands(RightStanding::TakenBack, 30).await;
    stands(RightStanding::GivenUp, 40).await;
    assert_eq!(conflicts(&world).await, [taken(), taken(), taken()]);
    assert_eq!(told(&world).await.len(), 3, "each is told once");
}

/// Killed after workflows were told, and before that was kept: they are not told again.
#[tokio::test]
async fn what_was_told_before_a_kill_is_told_once() {
    let world = World::new().await;
    let (acme, store) = (seed::acme(), &world.served.store);
    let right = used(&world, &[5, 15, 25, 35]).await;
    let sold = [(RightStanding::Sold, NOW_US + 10 * SECOND_US)];
    let set = store
        .judging
        .set_by_cause(&acme, &right, &sold, NOW_US + 60 * SECOND_US);
    set.await.unwrap();
    let before = store.judging.to_judge(2).await.unwrap().unwrap();
    // What it is judged by changes before it can be kept: all as if it had been killed there.
    let reason_more = [(RightStanding::Sold, NOW_US + 11 * SECOND_US)];
    assert!(keeper(&world).judge_page(2).await.unwrap());
    assert_eq!(told(&world).await.len(), 2);
    let set = store
        .judging
        .set_by_cause(&acme, &right, &reason_more, NOW_US + 61 * SECOND_US);
    set.await.unwrap();
    assert!(!store.judging.judged(&before, &[]).await.unwrap());
    while keeper(&world).judge_page(2).await.unwrap() {}
    let sold = || json!("sold");
    assert_eq!(
        conflicts(&world).await,
        [Value::Null, sold(), sold(), sold()]
    );
    assert_eq!(told(&world).await.len(), 3);
}
