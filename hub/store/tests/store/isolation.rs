//! No query answers with, or changes, another tenant's rows.

use serde_json::json;
use stencil_protocol::command::State;
use stencil_protocol::id::{Boot, TenantId};
use stencil_protocol::ledger::BootLedger;
use stencil_protocol::sample::OwnedValue;
use stencil_store::{
    CommandStatus, Commit, Fields, LinkSeen, NewCommand, Outcome, Progress, Role, Room, RunFilter,
    Store, TokenKind,
};

use crate::{acme, command, device, fresh, gateway, other, point, quarantined, run, trigger, twin};

fn lock(tenant: &TenantId) -> NewCommand {
    NewCommand {
        id: command(1),
        tenant: tenant.clone(),
        device: device("freezer-1"),
        name: "lock".into(),
        argument: None,
        expires_us: 1_000,
        effect_key: Some("same effect".into()),
    }
}

/// Everything that a tenant can have, under the same names for every tenant.
async fn fill(store: &Store, tenant: &TenantId, position: u64, value: i64) -> String {
    let mut twin = twin("freezer-1", 10, 0.0);
    let mut point = point("temperature", 10, OwnedValue::Integer(value));
    let mut trigger = trigger(1);
    let mut quarantined = quarantined(position, tenant.as_str());
    twin.value = OwnedValue::Integer(value);
    twin.tenant = tenant.clone();
    point.tenant = tenant.clone();
    trigger.tenant = tenant.clone();
    trigger.event = json!({ "value": value });
    quarantined.tenant = tenant.clone();
    let ledger = BootLedger {
        duplicate: value.unsigned_abs(),
        ..BootLedger::default()
    };
    let commit = Commit {
        position,
        ledgers: vec![(tenant.clone(), device("freezer-1"), Boot(1), ledger)],
        twins: vec![twin],
        points: vec![point].into(),
        triggers: vec![trigger],
        quarantined: vec![quarantined],
        links: vec![LinkSeen {
            tenant: tenant.clone(),
            device: device("freezer-1"),
            gateway: Some(gateway("g1")),
            at_us: value,
            received_us: 1,
            connected: true,
            link: None,
        }],
        ..Commit::default()
    };
    store.pipeline.commit(commit).await.unwrap();
    let mut fields = Fields::new();
    fields.insert("value".into(), value.into());
    store
        .content
        .upsert(tenant, "notices", "n", &fields, Some("e"), 1)
        .await
        .unwrap();
    store
        .content
        .publish(tenant, "notices", "n", Some("p"), 1)
        .await
        .unwrap();
    store.commands.queue(&lock(tenant), value).await.unwrap();
    store
        .workflows
        .put(tenant, "w", 1, &format!("value: {value}"), 1)
        .await
        .unwrap();
    let kind = TokenKind::Api { role: Role::Admin };
    store
        .tenancy
        .create_token(tenant, kind, tenant.as_str(), None, 1)
        .await
        .unwrap()
        .token
        .id
}

/// All that can be read of a tenant, as one text.
async fn read(store: &Store, tenant: &TenantId) -> String {
    let id = device("freezer-1");
    let mut seen = Vec::new();
    let mut add = |text: String| seen.push(text);
    add(format!(
        "{:?}",
        store.tenancy.tokens(tenant, None, 9).await.unwrap()
    ));
    add(format!(
        "{:?}",
        store.pipeline.ledger(tenant, &id, Boot(1)).await.unwrap()
    ));
    add(format!(
        "{:?}",
        store.devices.list(tenant, None, 9).await.unwrap()
    ));
    add(format!(
        "{:?}",
        store.devices.get(tenant, &id).await.unwrap()
    ));
    add(format!("{:?}", store.devices.count(tenant).await.unwrap()));
    let all = stencil_store::DeviceFilter::default();
    add(format!(
        "{:?} {:?} {:?} {:?} {:?}",
        store.devices.recent(tenant, 9).await.unwrap(),
        store.devices.find(tenant, &all, None, 9).await.unwrap(),
        store.devices.counts(tenant, &all.standing).await.unwrap(),
        store.devices.gateways(tenant).await.unwrap(),
        store
            .devices
            .newest(tenant, std::slice::from_ref(&id), 9)
            .await
            .unwrap()
    ));
    add(format!(
        "{:?}",
        store.devices.latest(tenant, &id).await.unwrap()
    ));
    add(format!(
        "{:?}",
        store
            .devices
            .latest_of(tenant, "temperature", None, 9)
            .await
            .unwrap()
    ));
    let series = &store.series;
    add(format!(
        "{:?}",
        series
            .range(tenant, &id, "temperature", 0, 99, 9)
            .await
            .unwrap()
    ));
    add(format!(
        "{:?}",
        series
            .contains(tenant, &id, "temperature", 10)
            .await
            .unwrap()
    ));
    add(format!("{:?}", series.names(tenant, &id).await.unwrap()));
    add(format!(
        "{:?}",
        store.runs.get(tenant, &run(1)).await.unwrap()
    ));
    for filter in [
        RunFilter::default(),
        RunFilter {
            workflow: Some("freezer-warm".into()),
            ..RunFilter::default()
        },
        RunFilter {
            state: Some(Progress::Pending),
            ..RunFilter::default()
        },
        RunFilter {
            workflow: Some("freezer-warm".into()),
            state: Some(Progress::Pending),
            ..RunFilter::default()
        },
    ] {
        add(format!(
            "{:?}",
            store.runs.list(tenant, &filter, None, 9).await.unwrap()
        ));
    }
    add(format!(
        "{:?} {:?}",
        store.runs.counts(tenant).await.unwrap(),
        store.runs.counts_since(tenant, i64::MIN).await.unwrap()
    ));
    add(format!(
        "{:?}",
        store.runs.attempts(tenant, &run(1)).await.unwrap()
    ));
    add(format!(
        "{:?}",
        store.workflows.get(tenant, "w", None).await.unwrap()
    ));
    add(format!(
        "{:?}",
        store.workflows.get(tenant, "w", Some(1)).await.unwrap()
    ));
    add(format!(
        "{:?}",
        store.workflows.list(tenant, None, 9).await.unwrap()
    ));
    add(format!(
        "{:?}",
        store
            .workflows
            .versions(tenant, "w", None, 9)
            .await
            .unwrap()
    ));
    add(format!(
        "{:?}",
        store.content.collections(tenant).await.unwrap()
    ));
    add(format!(
        "{:?}",
        store.content.get(tenant, "notices", "n").await.unwrap()
    ));
    add(format!(
        "{:?}",
        store
            .content
            .list(tenant, "notices", None, 9)
            .await
            .unwrap()
    ));
    add(format!(
        "{:?}",
        store
            .content
            .versions(tenant, "notices", "n", None, 9)
            .await
            .unwrap()
    ));
    add(format!(
        "{:?}",
        store
            .content
            .published(tenant, "notices", "n")
            .await
            .unwrap()
    ));
    add(format!(
        "{:?}",
        store
            .content
            .published_list(tenant, "notices", None, 9)
            .await
            .unwrap()
    ));
    let commands = &store.commands;
    add(format!(
        "{:?}",
        commands.get(tenant, &command(1)).await.unwrap()
    ));
    add(format!(
        "{:?}",
        commands.list(tenant, None, None, 9).await.unwrap()
    ));
    add(format!(
        "{:?}",
        commands.list(tenant, Some(&id), None, 9).await.unwrap()
    ));
    add(format!(
        "{:?}",
        commands
            .outstanding(tenant, &gateway("g1"), 0, None, 9)
            .await
            .unwrap()
    ));
    add(format!(
        "{:?}",
        store.ledger.list(tenant, None, 9).await.unwrap()
    ));
    add(format!(
        "{:?}",
        store.ledger.of_device(tenant, &id, None, 9).await.unwrap()
    ));
    add(format!(
        "{:?}",
        store.ledger.quarantine(tenant, None, 9).await.unwrap()
    ));
    add(format!(
        "{:?}",
        store.ledger.quarantine_count(tenant).await.unwrap()
    ));
    seen.join("\n")
}

#[tokio::test]
async fn what_one_tenant_reads_does_not_depend_on_another() {
    let fresh = fresh().await;
    let empty = read(&fresh.store, &acme()).await;
    fill(&fresh.store, &other(), 1, 111).await;
    assert_eq!(read(&fresh.store, &acme()).await, empty);

    fill(&fresh.store, &acme(), 2, 222).await;
    let (ours, theirs) = (
        read(&fresh.store, &acme()).await,
        read(&fresh.store, &other()).await,
    );
    assert!(ours.contains("222") && !ours.contains("111"), "{ours}");
    assert!(
        theirs.contains("111") && !theirs.contains("222"),
        "{theirs}"
    );
    assert_eq!(ours.lines().count(), theirs.lines().count());
}

#[tokio::test]
async fn what_one_tenant_writes_does_not_change_another() {
    let fresh = fresh().await;
    let store = &fresh.store;
    let their_token = fill(store, &other(), 1, 111).await;
    fill(store, &acme(), 2, 222).await;
    let before = read(store, &other()).await;

    // Every write by name or id, as acme, on names and ids that both have.
    assert!(
        store
            .tenancy
            .revoke_token(&acme(), &their_token, 5)
            .await
            .is_err()
    );
    let mut fields = Fields::new();
    fields.insert("value".into(), 333.into());
    store
        .content
        .upsert(&acme(), "notices", "n", &fields, None, 5)
        .await
        .unwrap();
    store
        .content
        .publish(&acme(), "notices", "n", None, 5)
        .await
        .unwrap();
    store
        .content
        .unpublish(&acme(), "notices", "n")
        .await
        .unwrap();
    store
        .content
        .forget_effects(&acme(), i64::MAX, 9)
        .await
        .unwrap();
    store
        .workflows
        .put(&acme(), "w", 2, "value: 333", 5)
        .await
        .unwrap();
    store
        .workflows
        .activate(&acme(), "w", None, 1)
        .await
        .unwrap();
    store
        .commands
        .mark_sent(&acme(), &command(1), &gateway("g1"), 5)
        .await
        .unwrap();
    for state in [State::Acknowledged, State::Done] {
        let status = CommandStatus {
            tenant: acme(),
            command: command(1),
            state,
            at_us: 5,
            detail: None,
            gateway: None,
        };
        store.commands.status(&status).await.unwrap();
    }
    for claim in store.runs.claim_due(10, 1, &Room::any(1)).await.unwrap() {
        // Both runs have one id; what is recorded for one stays with its tenant.
        if claim.run.tenant == acme() {
            let outcome = Outcome {
                state: Progress::Done,
                due_us: 0,
                error: None,
                steps: Vec::new(),
                attempt: None,
            };
            store.runs.record(&claim, &outcome, 11).await.unwrap();
        }
    }
    store.runs.forget_ended(&acme(), i64::MAX, 9).await.unwrap();
    store.series.expire(&acme(), i64::MAX).await.unwrap();

    let after = read(store, &other()).await;
    // A claim of theirs is the one thing that this test did to them itself.
    let unclaimed = |text: &str| text.replace("Running", "Pending");
    assert_eq!(
        unclaimed(&after).lines().count(),
        unclaimed(&before).lines().count()
    );
    for (after, before) in after.lines().zip(before.lines()) {
        if !before.contains("Pending") {
            assert_eq!(after, before);
        }
    }
    let theirs = store
        .commands
        .get(&other(), &command(1))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(theirs.state, State::Queued);
    assert!(store.runs.get(&other(), &run(1)).await.unwrap().is_some());
    let effect = store
        .content
        .upsert(&other(), "notices", "n", &fields, Some("e"), 6)
        .await;
    assert!(!effect.unwrap().fresh, "their effect keys are still known");
}

#[tokio::test]
async fn answers_to_the_hubs_own_loops_name_the_tenant() {
    let fresh = fresh().await;
    fill(&fresh.store, &other(), 1, 111).await;
    fill(&fresh.store, &acme(), 2, 222).await;
    let store = &fresh.store;
    for claim in store.runs.claim_due(10, 1, &Room::any(9)).await.unwrap() {
        let value = if claim.run.tenant == acme() { 222 } else { 111 };
        assert_eq!(claim.run.event, json!({ "value": value }));
    }
    for row in store.commands.queued(0, None, 9).await.unwrap() {
        assert_eq!(
            row.command.queued_us,
            if row.tenant == acme() { 222 } else { 111 }
        );
    }
    for (tenant, workflow) in store.workflows.active().await.unwrap() {
        let value = if tenant == acme() { 222 } else { 111 };
        assert_eq!(workflow.yaml, format!("value: {value}"));
    }
    for row in store.pipeline.load(9).await.unwrap().twins {
        assert_eq!(
            row.value,
            OwnedValue::Integer(if row.tenant == acme() { 222 } else { 111 })
        );
    }
}
