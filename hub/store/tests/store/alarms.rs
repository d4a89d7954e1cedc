use std::collections::HashSet;

use stencil_store::{
    Alarm, AlarmChange, AlarmCounts, AlarmEventKind, AlarmFilter, AlarmId, Cleared, Commit, Error,
    MAX_ALARM_EVENTS, MAX_ALARM_NOTE, MAX_ALARM_TITLE, Raised, Severity, Store,
};

use crate::{acme, at, device, fresh, other, reopen};

pub(crate) fn alarm(n: u8) -> AlarmId {
    AlarmId([n; 16])
}

pub(crate) fn raised(n: u8, workflow: &str, of: &str) -> Raised {
    Raised {
        id: alarm(n),
        tenant: acme(),
        workflow: workflow.into(),
        version: 2,
        device: device(of),
        severity: Severity::Major,
        title: format!("{of} is warm"),
        at_us: i64::from(n) * 10,
        value: Some(-9.5),
    }
}

fn cleared(of: &Raised, at_us: i64) -> AlarmChange {
    AlarmChange::Cleared(Cleared {
        id: of.id,
        tenant: of.tenant.clone(),
        workflow: of.workflow.clone(),
        device: of.device.clone(),
        severity: of.severity,
        at_us,
        why: "the value is back".into(),
    })
}

fn commit(position: u64, alarms: Vec<AlarmChange>) -> Commit {
    Commit {
        alarms,
        ..at(position)
    }
}

async fn raise(store: &Store, position: u64, all: &[Raised]) {
    let changes = all.iter().cloned().map(AlarmChange::Raised).collect();
    let commit = commit(position, changes);
    store.pipeline.commit(commit).await.unwrap();
}

async fn listed(store: &Store, filter: AlarmFilter) -> Vec<u8> {
    let page = store.alarms.list(&acme(), &filter, None, 100).await;
    let page = page.unwrap();
    assert_eq!(page.next, None);
    page.items.iter().map(|alarm| alarm.id.0[0]).collect()
}

async fn get(store: &Store, id: AlarmId) -> Alarm {
    store.alarms.get(&acme(), &id).await.unwrap().unwrap()
}

#[tokio::test]
async fn an_alarm_is_raised_and_cleared_once_however_often_that_is_committed() {
    let fresh = fresh().await;
    let (first, second) = (
        raised(1, "warm", "freezer-1"),
        raised(2, "warm", "freezer-1"),
    );
    let changes = vec![
        AlarmChange::Raised(first.clone()),
        cleared(&first, 15),
        AlarmChange::Raised(second.clone()),
    ];
    for position in [1, 2] {
        let commit = commit(position, changes.clone());
        fresh.store.pipeline.commit(commit).await.unwrap();
    }
    let ended = get(&fresh.store, first.id).await;
    assert_eq!(ended.cleared_us, Some(15));
    assert_eq!(ended.cleared_why.as_deref(), Some("the value is back"));
    let held = get(&fresh.store, second.id).await;
    assert!(held.is_active(), "what was cleared was the first one");
    assert_eq!(
        (held.workflow.as_str(), held.version, held.device.as_str()),
        ("warm", 2, "freezer-1")
    );
    assert_eq!(
        (held.severity, held.raised_us, held.value),
        (Severity::Major, 20, Some(-9.5))
    );
    let history = fresh.store.alarms.history(&acme(), &first.id).await;
    let kinds: Vec<_> = history.unwrap().iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [AlarmEventKind::Raised, AlarmEventKind::Cleared]);
}

#[tokio::test]
async fn of_a_workflow_and_a_device_one_alarm_is_active() {
    let fresh = fresh().await;
    raise(&fresh.store, 1, &[raised(1, "warm", "freezer-1")]).await;
    raise(&fresh.store, 2, &[raised(2, "warm", "freezer-1")]).await;
    assert_eq!(listed(&fresh.store, AlarmFilter::default()).await, [1]);
}

#[tokio::test]
async fn the_pipeline_goes_on_with_the_alarms_that_are_active() {
    let fresh = fresh().await;
    let (a, b) = (raised(1, "warm", "a"), raised(2, "warm", "b"));
    raise(&fresh.store, 1, &[a.clone(), b.clone()]).await;
    let clearing = commit(2, vec![cleared(&a, 30)]);
    fresh.store.pipeline.commit(clearing).await.unwrap();
    let store = reopen(fresh.folder.path(), Default::default()).await;
    let loaded = store.pipeline.load(1).await.unwrap().alarms;
    assert_eq!(loaded.len(), 1);
    assert_eq!(
        (loaded[0].id, &loaded[0].tenant, loaded[0].device.as_str()),
        (b.id, &acme(), "b")
    );
}

#[tokio::test]
async fn alarms_are_listed_by_what_is_asked_the_newest_first() {
    let fresh = fresh().await;
    let mut all = vec![
        raised(1, "warm", "a"),
        raised(2, "warm", "b"),
        raised(3, "silent", "a"),
        raised(4, "silent", "b"),
    ];
    all[1].severity = Severity::Critical;
    raise(&fresh.store, 1, &all).await;
    let clearing = commit(2, vec![cleared(&all[2], 50)]);
    fresh.store.pipeline.commit(clearing).await.unwrap();
    let port = &fresh.store.alarms;
    port.acknowledge(&acme(), &alarm(4), "ann", None, 60)
        .await
        .unwrap();

    let none = AlarmFilter::default;
    let (a, b) = (Some(device("a")), Some(device("b")));
    let (warm, silent) = (Some("warm".to_owned()), Some("silent".to_owned()));
    #[rustfmt::skip]
    let cases: Vec<(AlarmFilter, &[u8])> = vec![
        (none(), &[4, 3, 2, 1]),
        (AlarmFilter { active: Some(true), ..none() }, &[4, 2, 1]),
        (AlarmFilter { active: Some(false), ..none() }, &[3]),
        (AlarmFilter { device: a.clone(), ..none() }, &[3, 1]),
        (AlarmFilter { device: a.clone(), active: Some(false), ..none() }, &[3]),
        (AlarmFilter { workflow: silent.clone(), ..none() }, &[4, 3]),
        (AlarmFilter { workflow: silent, device: b.clone(), ..none() }, &[4]),
        (AlarmFilter { workflow: warm, active: Some(true), ..none() }, &[2, 1]),
        (AlarmFilter { device: b, active: Some(true), ..none() }, &[4, 2]),
        (AlarmFilter { severity: Some(Severity::Critical), ..none() }, &[2]),
        (AlarmFilter { acknowledged: Some(true), ..none() }, &[4]),
        (AlarmFilter { acknowledged: Some(false), active: Some(true), ..none() }, &[2, 1]),
        (AlarmFilter { from_us: Some(20), to_us: Some(40), ..none() }, &[3, 2]),
        (AlarmFilter { device: a, from_us: Some(11), ..none() }, &[3]),
    ];
    for (filter, expected) in cases {
        assert_eq!(
            listed(&fresh.store, filter.clone()).await,
            expected,
            "{filter:?}"
        );
    }
    let counts = port.counts(&acme()).await.unwrap();
    assert_eq!(
        counts,
        AlarmCounts {
            major: 2,
            critical: 1,
            unacknowledged: 2,
            ..AlarmCounts::default()
        }
    );
    assert_eq!(counts.active(), 3);
}

#[tokio::test]
async fn pages_hold_each_alarm_once_also_of_one_time() {
    let fresh = fresh().await;
    let all: Vec<_> = (1..=9)
        .map(|n| {
            let mut one = raised(n, "warm", &format!("d{n}"));
            one.at_us = i64::from(n / 4);
            one
        })
        .collect();
    raise(&fresh.store, 1, &all).await;
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let filter = AlarmFilter {
            active: Some(true),
            ..AlarmFilter::default()
        };
        let list = fresh
            .store
            .alarms
            .list(&acme(), &filter, after.as_deref(), 2)
            .await;
        let page = list.unwrap();
        seen.extend(page.items.iter().map(|alarm| alarm.id));
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(seen.len(), 9);
    assert_eq!(seen.iter().collect::<HashSet<_>>().len(), 9);
    let bad = fresh
        .store
        .alarms
        .list(&acme(), &AlarmFilter::default(), Some("x"), 2)
        .await;
    assert!(matches!(bad, Err(Error::Invalid { .. })));
}

#[tokio::test]
async fn who_acknowledges_is_kept_with_the_note() {
    let fresh = fresh().await;
    let port = &fresh.store.alarms;
    raise(&fresh.store, 1, &[raised(1, "warm", "a")]).await;
    let marked = port
        .acknowledge(&acme(), &alarm(1), "user ann", Some("on my way"), 100)
        .await
        .unwrap();
    let mark = marked.acknowledged.clone().unwrap();
    assert_eq!(
        (mark.at_us, mark.by.as_str(), mark.note.as_deref()),
        (100, "user ann", Some("on my way"))
    );
    assert!(
        marked.is_active(),
        "a state that somebody knows of is still one"
    );
    let again = port
        .acknowledge(&acme(), &alarm(1), "user bob", None, 200)
        .await;
    let mark = again.unwrap().acknowledged.unwrap();
    assert_eq!((mark.by.as_str(), mark.note), ("user bob", None));
    let history = port.history(&acme(), &alarm(1)).await.unwrap();
    assert_eq!(history.len(), 3);
    assert_eq!(history[1].by.as_deref(), Some("user ann"));
    assert_eq!(history[1].note.as_deref(), Some("on my way"));

    let missing = port.acknowledge(&acme(), &alarm(9), "ann", None, 1).await;
    assert!(
        matches!(missing, Err(Error::NotFound { .. })),
        "{missing:?}"
    );
    let long = "x".repeat(MAX_ALARM_NOTE + 1);
    let refused = port
        .acknowledge(&acme(), &alarm(1), "ann", Some(&long), 1)
        .await;
    assert!(matches!(refused, Err(Error::Invalid { .. })));
}

#[tokio::test]
async fn a_silence_is_of_the_rule_and_the_device_and_outlives_the_episode() {
    let fresh = fresh().await;
    let port = &fresh.store.alarms;
    let first = raised(1, "warm", "a");
    raise(&fresh.store, 1, &[first.clone(), raised(2, "warm", "b")]).await;
    let silenced = port
        .silence(&acme(), &alarm(1), Some(1_000), "ann", 100)
        .await;
    let silenced = silenced.unwrap();
    assert_eq!(silenced.silenced_until_us, Some(1_000));
    assert_eq!(silenced.silenced_by.as_deref(), Some("ann"));
    assert!(silenced.is_active());

    let clearing = commit(2, vec![cleared(&first, 30)]);
    fresh.store.pipeline.commit(clearing).await.unwrap();
    raise(&fresh.store, 3, &[raised(3, "warm", "a")]).await;
    assert_eq!(
        get(&fresh.store, alarm(3)).await.silenced_until_us,
        Some(1_000)
    );
    let asked = |of: &'static str, now_us| async move {
        let of = device(of);
        port.silenced(&acme(), "warm", &of, now_us).await.unwrap()
    };
    assert_eq!(asked("a", 999).await, Some(1_000));
    assert_eq!(asked("a", 1_000).await, None);
    assert_eq!(asked("b", 500).await, None);

    let ended = port.silence(&acme(), &alarm(3), None, "bob", 200).await;
    assert_eq!(ended.unwrap().silenced_until_us, None);
    assert_eq!(asked("a", 500).await, None);
    let history = port.history(&acme(), &alarm(3)).await.unwrap();
    assert_eq!(history[1].kind, AlarmEventKind::Unsilenced);
}

#[tokio::test]
async fn history_and_title_are_bounded() {
    let fresh = fresh().await;
    let port = &fresh.store.alarms;
    let long = Raised {
        title: "ä".repeat(MAX_ALARM_TITLE),
        ..raised(1, "warm", "a")
    };
    raise(&fresh.store, 1, &[long]).await;
    let title = get(&fresh.store, alarm(1)).await.title;
    assert_eq!(title.len(), MAX_ALARM_TITLE);
    for n in 0..i64::from(MAX_ALARM_EVENTS) + 10 {
        port.acknowledge(&acme(), &alarm(1), "ann", None, n)
            .await
            .unwrap();
    }
    let history = port.history(&acme(), &alarm(1)).await.unwrap();
    assert!(
        history.len() <= MAX_ALARM_EVENTS as usize,
        "{}",
        history.len()
    );
    assert_eq!(history[0].kind, AlarmEventKind::Raised);
    let newest = i64::from(MAX_ALARM_EVENTS) + 9;
    assert_eq!(history.last().unwrap().at_us, newest);
}

#[tokio::test]
async fn what_was_cleared_long_ago_is_forgotten_and_what_is_active_never() {
    let fresh = fresh().await;
    let port = &fresh.store.alarms;
    let all = [
        raised(1, "warm", "a"),
        raised(2, "warm", "b"),
        raised(3, "warm", "c"),
    ];
    raise(&fresh.store, 1, &all).await;
    port.silence(&acme(), &alarm(1), Some(90), "ann", 40)
        .await
        .unwrap();
    let clearing = commit(2, vec![cleared(&all[0], 50), cleared(&all[1], 100)]);
    fresh.store.pipeline.commit(clearing).await.unwrap();
    assert_eq!(port.forget_cleared(&acme(), 100, 10).await.unwrap(), 1);
    assert_eq!(listed(&fresh.store, AlarmFilter::default()).await, [3, 2]);
    assert!(port.history(&acme(), &alarm(1)).await.unwrap().is_empty());
    let left = port.silenced(&acme(), "warm", &device("a"), 0).await;
    assert_eq!(left.unwrap(), None, "the silence had ended, too");
    assert_eq!(port.forget_cleared(&acme(), 1_000, 10).await.unwrap(), 1);
    assert_eq!(listed(&fresh.store, AlarmFilter::default()).await, [3]);
}

#[tokio::test]
async fn one_tenants_alarms_are_nothing_to_another() {
    let fresh = fresh().await;
    let port = &fresh.store.alarms;
    let ours = raised(1, "warm", "a");
    let theirs = Raised {
        tenant: other(),
        title: "theirs".into(),
        ..ours.clone()
    };
    raise(&fresh.store, 1, &[ours.clone(), theirs.clone()]).await;
    let found = port.get(&other(), &alarm(1)).await.unwrap().unwrap();
    assert_eq!((found.title.as_str(), &found.tenant), ("theirs", &other()));

    port.acknowledge(&acme(), &alarm(1), "ann", None, 1)
        .await
        .unwrap();
    port.silence(&acme(), &alarm(1), Some(1_000), "ann", 1)
        .await
        .unwrap();
    let clearing = commit(2, vec![cleared(&ours, 20)]);
    fresh.store.pipeline.commit(clearing).await.unwrap();
    assert_eq!(port.forget_cleared(&acme(), 100, 10).await.unwrap(), 1);

    let found = port.get(&other(), &alarm(1)).await.unwrap().unwrap();
    assert!(found.is_active());
    assert_eq!((found.acknowledged, found.silenced_until_us), (None, None));
    let silenced = port.silenced(&other(), "warm", &device("a"), 1).await;
    assert_eq!(silenced.unwrap(), None);
    assert_eq!(port.history(&other(), &alarm(1)).await.unwrap().len(), 1);
    assert_eq!(port.counts(&other()).await.unwrap().active(), 1);
    assert_eq!(port.counts(&acme()).await.unwrap().active(), 0);
    let listed = port.list(&acme(), &AlarmFilter::default(), None, 10).await;
    assert!(listed.unwrap().items.is_empty());
}
