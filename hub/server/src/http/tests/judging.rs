//! Receipts are judged by how their right stood when it was used.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use stencil_protocol::id::{GatewayId, TenantId};
use stencil_store::{
    CredentialStanding, Error, Judged, Judging, RightStanding, RunFilter, StandingSet, StoodAs,
    Store, ToJudge, sqlite,
};

use super::access::{API, HOUR_US, Notes, World, keeper};
use super::{NOW_US, seed};
use crate::access::Keeper;
use crate::clock::Clock;

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
    // Of each receipt its workflow can keep an entry.
    let filter = RunFilter {
        workflow: Some("conflict".to_owned()),
        ..RunFilter::default()
    };
    let runs = store.runs.list(&acme, &filter, None, 100).await.unwrap();
    for run in &runs.items {
        let key = run.event["receipt_key"].as_str().unwrap();
        let receipt = run.event["receipt"].as_str().unwrap();
        assert_eq!(key, receipt.replace('/', "-"));
        let fields = serde_json::Map::new();
        let kept = store
            .content
            .upsert(&acme, "conflicts", key, &fields, None, NOW_US);
        kept.await.unwrap();
    }
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

/// A store that is gone before it keeps what receipts are judged to be.
struct Killed(Arc<dyn Judging>);

#[async_trait]
impl Judging for Killed {
    async fn set_by_cause(
        &self,
        tenant: &TenantId,
        right: &str,
        stood: &[(RightStanding, i64)],
        now_us: i64,
    ) -> Result<StandingSet, Error> {
        self.0.set_by_cause(tenant, right, stood, now_us).await
    }

    async fn standings(&self, tenant: &TenantId, right: &str) -> Result<Vec<StoodAs>, Error> {
        self.0.standings(tenant, right).await
    }

    async fn to_judge(&self, limit: u32) -> Result<Option<ToJudge>, Error> {
        self.0.to_judge(limit).await
    }

    async fn judged(&self, _: &ToJudge, _: &[Judged]) -> Result<bool, Error> {
        Err(Error::Unavailable("killed".to_owned()))
    }
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
    let killed = Keeper {
        store: Store {
            judging: Arc::new(Killed(Arc::clone(&store.judging))),
            ..store.clone()
        },
        ..keeper(&world)
    };
    killed.judge_page(2).await.unwrap_err();
    assert_eq!(told(&world).await.len(), 2);
    assert_eq!(conflicts(&world).await, vec![Value::Null; 4]);
    // Another process goes on where that one was.
    let path = world.served.folder.path().join("hub.db");
    let next = Keeper {
        store: sqlite::open(path).await.unwrap().store(),
        ..keeper(&world)
    };
    while next.judge_page(2).await.unwrap() {}
    let sold = || json!("sold");
    assert_eq!(
        conflicts(&world).await,
        [Value::Null, sold(), sold(), sold()]
    );
    assert_eq!(told(&world).await.len(), 3);
}

#[tokio::test]
async fn a_gateway_that_begins_another_chain_names_the_one_it_left_and_workflows_hear_of_it() {
    let world = World::new().await;
    let (acme, gateway) = (seed::acme(), GatewayId::parse("gateway-marked").unwrap());
    let store = &world.served.store;
    let right = used(&world, &[]).await;
    let yaml = "id: chains\nversion: 1\non: { access: { new_chain: 'gateway-*' } }\nsteps:\n\
        - { id: note, use: content.upsert, with: { collection: chains, key: '{{ event.gateway }}', \
        set: { left: '{{ event.left.chain }}', missing: '{{ event.missing }}' } } }\n";
    let workflows = &store.workflows;
    workflows
        .put(&acme, "chains", 1, yaml, NOW_US)
        .await
        .unwrap();
    workflows
        .activate(&acme, "chains", Some(1), NOW_US)
        .await
        .unwrap();
    let mut notes = Notes::new(&world, "gateway-marked", true).await;
    let bring = async |notes: &Notes, text: &String, hours: i64| {
        let batch = notes.signed(std::slice::from_ref(text), &notes.key);
        let keeper = Keeper {
            clock: Clock::from_fn(move || NOW_US + hours * HOUR_US),
            ..keeper(&world)
        };
        keeper.keep(&acme, &gateway, &batch).await.unwrap()
    };
    let events = async || {
        let filter = RunFilter {
            workflow: Some("chains".to_owned()),
            ..RunFilter::default()
        };
        let page = store.runs.list(&acme, &filter, None, 10).await.unwrap();
        let events = page.items.into_iter().map(|run| run.event);
        events.collect::<Vec<Value>>()
    };
    let one = notes.note(&right, NOW_US + 1);
    assert_eq!(bring(&notes, &one, 1).await, 1);
    assert_eq!(events().await, [] as [Value; 0], "its first chain");
    // The second is never brought.
    notes.note(&right, NOW_US + 2);
    let left = notes.head();
    notes.begin(&"cd".repeat(16), Some(left.clone()));
    let one = notes.note(&right, NOW_US + 3);
    for count in [1, 0] {
        assert_eq!(bring(&notes, &one, 2).await, count);
    }
    let told = events().await;
    assert_eq!(told.len(), 1);
    for (name, is) in [
        ("gateway", json!("gateway-marked")),
        ("chain", json!("cd".repeat(16))),
        ("left", json!(left)),
        ("brought", json!({ "chain": "ab".repeat(16), "number": 1 })),
        ("missing", json!(1)),
    ] {
        assert_eq!(told[0][name], is, "{name}");
    }
    let shown = world.served.read("/api/v1/access/receipts").await.ok();
    let mut expected = json!(left);
    expected["brought"] = json!(1);
    assert_eq!(shown["items"][0]["chain"], "cd".repeat(16));
    assert_eq!(shown["items"][0]["left"], expected);
    assert_eq!(shown["items"][1]["left"], Value::Null);
    // One that can't name it has begun another one all the same.
    notes.begin(&"ef".repeat(16), None);
    let one = notes.note(&right, NOW_US + 4);
    assert_eq!(bring(&notes, &one, 3).await, 1);
    let told = events().await;
    let unnamed = told.iter().find(|it| it["left"].is_null()).unwrap();
    assert_eq!(
        unnamed["brought"],
        json!({ "chain": "cd".repeat(16), "number": 1 })
    );
    assert_eq!((&unnamed["missing"], told.len()), (&Value::Null, 2));
}
