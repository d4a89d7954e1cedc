//! Retention and erasure.

use stencil_protocol::id::{Boot, DeviceId};
use stencil_protocol::ledger::BootLedger;
use stencil_protocol::sample::OwnedValue;
use stencil_store::sqlite::Options;
use stencil_store::{
    Commit, Erased, Error, Forgotten, Keep, NewCommand, Point, Retention, RuleState, Store,
};

use crate::{
    acme, at, command, device, fresh, fresh_with, other, point, quarantined, reopen, twin,
};

#[tokio::test]
async fn each_tenant_has_retention_of_its_own() {
    let fresh = fresh().await;
    let keeping = &fresh.store.keeping;
    let asked = Retention {
        series: Some(Keep::Days(30)),
        runs: Some(Keep::Always),
        audit: Some(Keep::Days(400)),
        ..Retention::default()
    };
    keeping.set_retention(&acme(), &asked, 5).await.unwrap();
    assert_eq!(keeping.retention(&acme()).await.unwrap(), asked);
    assert_eq!(
        keeping.retention(&other()).await.unwrap(),
        Retention::default()
    );
    let none = Retention::default();
    keeping.set_retention(&acme(), &none, 6).await.unwrap();
    assert_eq!(keeping.retention(&acme()).await.unwrap(), none);

    let too_short = Retention {
        alarms: Some(Keep::Days(0)),
        ..Retention::default()
    };
    let error = keeping.set_retention(&acme(), &too_short, 7).await;
    assert!(matches!(error, Err(Error::Invalid { .. })), "{error:?}");
    let nobody = "nobody".parse().unwrap();
    let error = keeping.set_retention(&nobody, &none, 7).await;
    assert!(
        matches!(error, Err(Error::NotFound { what: "tenant", .. })),
        "{error:?}"
    );
}

#[tokio::test]
async fn points_go_in_portions_also_those_that_were_in_no_chunk() {
    let fresh = fresh_with(Options {
        chunk_points: 4,
        ..Options::default()
    })
    .await;
    let store = &fresh.store;
    for position in 0..10_u64 {
        let first = i64::try_from(position).unwrap() * 4;
        let points = (first..first + 4).map(|time| numbered("temperature", time));
        let mut commit = at(position + 1);
        commit.points = points.collect();
        store.pipeline.commit(commit).await.unwrap();
    }
    // A device that says little: its points fill no chunk.
    let mut commit = at(11);
    commit.points = vec![numbered("battery", 3), numbered("battery", 90)].into();
    let mut foreign = numbered("temperature", 3);
    foreign.tenant = other();
    commit.points.push(foreign);
    store.pipeline.commit(commit).await.unwrap();

    let first = store.keeping.forget_points(&acme(), 24, 4).await.unwrap();
    assert_eq!(
        first,
        Forgotten {
            chunks: 4,
            points: 16
        }
    );
    let rest = store.keeping.forget_points(&acme(), 24, 4).await.unwrap();
    assert_eq!((rest.chunks, rest.points), (2, 8));
    assert_eq!(times(store, "temperature").await, Vec::from_iter(24..40));
    // Its newest point is newer: the chunk stays, until that is older too.
    assert_eq!(times(store, "battery").await, [3, 90]);
    let last = store.keeping.forget_points(&acme(), 91, 100).await.unwrap();
    assert_eq!((last.chunks, last.points), (5, 18));
    assert_eq!(times(store, "battery").await, [] as [i64; 0]);
    let foreign = store
        .series
        .range(&other(), &device("freezer-1"), "temperature", 0, 100, 9)
        .await
        .unwrap();
    assert_eq!(foreign.len(), 1);

    let store = reopen(fresh.folder.path(), Options::default()).await;
    assert_eq!(times(&store, "temperature").await, [] as [i64; 0]);
    assert_eq!(times(&store, "battery").await, [] as [i64; 0]);
}

#[tokio::test]
async fn quarantined_payloads_go_by_age_and_in_portions() {
    let fresh = fresh().await;
    let mut commit = at(1);
    for age in 0..5 {
        let mut row = quarantined(1, &format!("reason {age}"));
        row.at_us = age;
        commit.quarantined.push(row.clone());
        row.tenant = other();
        commit.quarantined.push(row);
    }
    fresh.store.pipeline.commit(commit).await.unwrap();
    let tenant = acme();
    let forget = |limit| fresh.store.keeping.forget_quarantined(&tenant, 3, limit);
    assert_eq!(forget(2).await.unwrap(), 2);
    assert_eq!(forget(2).await.unwrap(), 1);
    let left = fresh.store.ledger.quarantine(&acme(), None, 10).await;
    let left: Vec<i64> = left.unwrap().items.iter().map(|row| row.at_us).collect();
    assert_eq!(left, [4, 3]);
    let others = fresh.store.ledger.quarantine(&other(), None, 10).await;
    assert_eq!(others.unwrap().items.len(), 5);
}

#[tokio::test]
async fn an_erased_device_is_gone_and_its_neighbours_are_not() {
    let fresh = fresh_with(Options {
        chunk_points: 4,
        ..Options::default()
    })
    .await;
    let store = &fresh.store;
    fill(store, 1).await;
    let erased = Erased::Device(acme(), device("freezer-1"));
    store.keeping.erase(20, &erased).await.unwrap();
    gone(store).await;
    for (tenant, id) in [(acme(), "freezer-2"), (other(), "freezer-1")] {
        let id = device(id);
        let points = store.series.range(&tenant, &id, "temperature", 0, 100, 99);
        assert_eq!(points.await.unwrap().len(), 10, "{tenant}/{id}");
        assert!(store.devices.get(&tenant, &id).await.unwrap().is_some());
        let commands = store.commands.list(&tenant, Some(&id), None, 9).await;
        assert_eq!(commands.unwrap().items.len(), 1, "{tenant}/{id}");
    }
    let loaded = store.pipeline.load(9).await.unwrap();
    assert_eq!(loaded.position, 20);
    assert_eq!(loaded.ledgers.len(), 2);
    // The row that says which version is in force, under a device's name of its own, stays.
    let states = loaded.rule_states.iter().filter(|row| row.tenant == acme());
    let states: Vec<&str> = states.map(|row| row.workflow.as_str()).collect();
    assert_eq!(states, ["@warm", "warm"]);

    // It may be said again, and an older commit may not come after it.
    store.keeping.erase(20, &erased).await.unwrap();
    let late = store.pipeline.commit(at(19)).await;
    assert!(matches!(late, Err(Error::Conflict(_))), "{late:?}");
    let late = store.keeping.erase(19, &erased).await;
    assert!(matches!(late, Err(Error::Conflict(_))), "{late:?}");

    assert_eq!(store.keeping.purge(1).await.unwrap(), 1);
    assert!(store.keeping.purge(100).await.unwrap() > 0);
    assert_eq!(store.keeping.purge(100).await.unwrap(), 0);
    gone(store).await;

    // Comes back as a new one, after a restart as well.
    for reopened in [false, true] {
        let store = match reopened {
            false => fresh.store.clone(),
            true => reopen(fresh.folder.path(), Options::default()).await,
        };
        if !reopened {
            let mut commit = at(30);
            commit.points = vec![numbered("temperature", 77)].into();
            store.pipeline.commit(commit).await.unwrap();
        }
        assert_eq!(times(&store, "temperature").await, [77]);
        assert_eq!(
            store.keeping.purge(100).await.unwrap(),
            0,
            "nothing of the new one"
        );
    }
}

#[tokio::test]
async fn what_was_erased_is_nowhere_in_the_files() {
    let fresh = fresh().await;
    let store = &fresh.store;
    let mut commit = at(1);
    for (id, text) in [
        ("freezer-1", "a-secret-of-the-first"),
        ("freezer-2", "a-secret-of-the-second"),
    ] {
        let mut said = point("note", 5, OwnedValue::Text(text.into()));
        said.device = device(id);
        commit.points.push(said);
    }
    store.pipeline.commit(commit).await.unwrap();
    let erased = Erased::Device(acme(), device("freezer-1"));
    store.keeping.erase(2, &erased).await.unwrap();
    while store.keeping.purge(100).await.unwrap() > 0 {}
    // What is in the database after a checkpoint; the write-ahead log keeps older pages till then.
    let copy = fresh.folder.path().join("copy.db");
    std::fs::copy(fresh.folder.path().join("hub.db"), &copy).unwrap();
    std::fs::copy(
        fresh.folder.path().join("hub.db-wal"),
        fresh.folder.path().join("copy.db-wal"),
    )
    .unwrap();
    let sqlite = stencil_store::sqlite::open(&copy).await.unwrap();
    sqlite.close().await;
    let bytes = std::fs::read(&copy).unwrap();
    let holds = |text: &str| bytes.windows(text.len()).any(|it| it == text.as_bytes());
    assert!(holds("a-secret-of-the-second"));
    assert!(!holds("a-secret-of-the-first"));
}

#[tokio::test]
async fn an_erased_tenant_is_gone_and_may_be_made_again() {
    let fresh = fresh().await;
    let store = &fresh.store;
    fill(store, 1).await;
    let yaml = "id: warm";
    let put = store.workflows.put(&acme(), "warm", 1, yaml, 1).await;
    assert!(put.unwrap());
    let erased = Erased::Tenant(acme());
    store.keeping.erase(20, &erased).await.unwrap();
    gone(store).await;
    let tenants = store.tenancy.tenants(None, 9).await.unwrap().items;
    assert_eq!(tenants, [other()]);
    let loaded = store.pipeline.load(9).await.unwrap();
    assert!(
        loaded
            .rule_states
            .iter()
            .all(|state| state.tenant != acme())
    );
    assert!(store.workflows.active().await.unwrap().is_empty());
    let left = store.devices.count(&other()).await.unwrap();
    assert_eq!(left, 1);
    assert!(store.tenancy.create_tenant(&acme(), 21).await.unwrap());
    gone(store).await;
}

fn numbered(name: &str, time_us: i64) -> Point {
    point(name, time_us, OwnedValue::Integer(time_us))
}

async fn times(store: &Store, name: &str) -> Vec<i64> {
    let (tenant, device) = (acme(), device("freezer-1"));
    let range = store.series.range(&tenant, &device, name, 0, 100, 100);
    let points = range.await.unwrap();
    points.iter().map(|point| point.time_us).collect()
}

/// Ten points and a row of each kind for `acme`'s freezers 1 and 2, and for `other`'s freezer 1.
async fn fill(store: &Store, position: u64) {
    let whose = [
        (acme(), "freezer-1"),
        (acme(), "freezer-2"),
        (other(), "freezer-1"),
    ];
    for time in 0..10 {
        let mut commit = at(position);
        for (tenant, id) in &whose {
            let mut point = numbered("temperature", time);
            (point.tenant, point.device) = (tenant.clone(), device(id));
            commit.points.push(point);
        }
        store.pipeline.commit(commit).await.unwrap();
    }
    let mut commit: Commit = at(position);
    for (index, (tenant, id)) in whose.iter().enumerate() {
        let id: DeviceId = device(id);
        let mut newest = twin(id.as_str(), 9, 9.0);
        newest.tenant = tenant.clone();
        commit.twins.push(newest);
        let ledger = BootLedger::default();
        commit
            .ledgers
            .push((tenant.clone(), id.clone(), Boot(1), ledger));
        let mut rejected = quarantined(position, "unreadable");
        (rejected.tenant, rejected.device) = (tenant.clone(), Some(id.clone()));
        commit.quarantined.push(rejected);
        commit.rule_states.push(RuleState {
            tenant: tenant.clone(),
            workflow: "warm".into(),
            device: id.clone(),
            bytes: vec![1],
        });
        let queued = NewCommand {
            id: command(u8::try_from(index).unwrap()),
            tenant: tenant.clone(),
            device: id,
            name: "lock".into(),
            argument: None,
            expires_us: 1_000,
            effect_key: None,
        };
        store.commands.queue(&queued, 1).await.unwrap();
    }
    commit.rule_states.push(RuleState {
        tenant: acme(),
        workflow: "@warm".into(),
        device: device("freezer-1"),
        bytes: vec![2],
    });
    store.pipeline.commit(commit).await.unwrap();
}

/// Nobody finds anything of `acme`'s first freezer.
async fn gone(store: &Store) {
    let id = device("freezer-1");
    assert_eq!(times(store, "temperature").await, [] as [i64; 0]);
    assert!(store.series.names(&acme(), &id).await.unwrap().is_empty());
    assert!(store.devices.get(&acme(), &id).await.unwrap().is_none());
    assert!(store.devices.latest(&acme(), &id).await.unwrap().is_empty());
    let ledger = store.pipeline.ledger(&acme(), &id, Boot(1)).await.unwrap();
    assert!(ledger.is_none());
    let commands = store.commands.list(&acme(), Some(&id), None, 9).await;
    assert!(commands.unwrap().items.is_empty());
    let quarantine = store.ledger.quarantine(&acme(), None, 9).await.unwrap();
    assert!(
        quarantine
            .items
            .iter()
            .all(|row| row.device != Some(id.clone()))
    );
}
