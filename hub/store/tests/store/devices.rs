use stencil_protocol::id::Boot;
use stencil_protocol::ledger::BootLedger;
use stencil_protocol::sample::OwnedValue;
use stencil_store::{
    Commit, DeviceFilter, Erased, LinkInfo, LinkSeen, Linked, Standing, TwinUpdate,
};

use crate::{acme, at, device, fresh, gateway, twin};

fn link() -> LinkInfo {
    LinkInfo {
        suite: Some("X25519MlKem768ChaChaPoly".into()),
        group: Some("X25519MLKEM768".into()),
        post_quantum: true,
    }
}

fn seen(through: &str, at_us: i64, connected: bool) -> LinkSeen {
    LinkSeen {
        tenant: acme(),
        device: device("freezer-1"),
        gateway: Some(gateway(through)),
        at_us,
        received_us: at_us,
        connected,
        link: connected.then(link),
    }
}

#[tokio::test]
async fn the_latest_value_is_the_newest_event_not_the_newest_arrival() {
    let fresh = fresh().await;
    let mut commit = at(1);
    commit.twins = vec![twin("freezer-1", 100, 1.0), twin("freezer-1", 90, 2.0)];
    fresh.store.pipeline.commit(commit).await.unwrap();
    let mut commit = at(2);
    commit.twins = vec![twin("freezer-1", 95, 3.0)];
    fresh.store.pipeline.commit(commit).await.unwrap();

    let latest = fresh
        .store
        .devices
        .latest(&acme(), &device("freezer-1"))
        .await
        .unwrap();
    assert_eq!(latest.len(), 1);
    assert_eq!(
        (latest[0].time_us, &latest[0].value),
        (100, &OwnedValue::Number(1.0))
    );
    assert_eq!(latest[0].unit.as_deref(), Some("degC"));
    let known = fresh
        .store
        .devices
        .get(&acme(), &device("freezer-1"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (known.last_event_us, known.last_received_us),
        (Some(100), Some(110))
    );
}

#[tokio::test]
async fn devices_that_number_nothing_are_told_apart() {
    let fresh = fresh().await;
    let commit = Commit {
        position: 1,
        twins: vec![twin("foreign", 1, 1.0), twin("freezer-1", 1, 1.0)],
        ledgers: vec![(acme(), device("freezer-1"), Boot(1), BootLedger::default())],
        ..Commit::default()
    };
    fresh.store.pipeline.commit(commit).await.unwrap();
    let mut later = at(2);
    later.twins = vec![twin("freezer-1", 2, 1.0)];
    fresh.store.pipeline.commit(later).await.unwrap();
    let page = fresh.store.devices.list(&acme(), None, 10).await.unwrap();
    let numbered: Vec<_> = page
        .items
        .iter()
        .map(|d| (d.id.as_str(), d.numbered))
        .collect();
    assert_eq!(numbered, [("foreign", false), ("freezer-1", true)]);
    assert_eq!(fresh.store.devices.count(&acme()).await.unwrap(), 2);
}

#[tokio::test]
async fn a_late_goodbye_of_the_old_gateway_is_ignored() {
    let fresh = fresh().await;
    let get = || async {
        let found = fresh.store.devices.get(&acme(), &device("freezer-1")).await;
        found.unwrap().unwrap()
    };
    let mut commit = at(1);
    commit.links = vec![
        seen("g1", 10, true),
        seen("g1", 20, false),
        seen("g2", 30, true),
    ];
    fresh.store.pipeline.commit(commit).await.unwrap();
    let mut commit = at(2);
    commit.links = vec![seen("g1", 40, false), seen("g1", 25, true)];
    fresh.store.pipeline.commit(commit).await.unwrap();
    let found = get().await;
    assert_eq!(
        (found.connected, found.gateway),
        (Some(true), Some(gateway("g2")))
    );
    assert_eq!(
        (found.link_changed_us, found.link),
        (Some(30), Some(link()))
    );

    let mut commit = at(3);
    commit.links = vec![seen("g2", 50, false)];
    fresh.store.pipeline.commit(commit).await.unwrap();
    let found = get().await;
    assert_eq!(
        (found.connected, found.gateway),
        (Some(false), Some(gateway("g2")))
    );
}

#[tokio::test]
async fn a_backlog_from_the_old_gateway_does_not_move_the_device() {
    let fresh = fresh().await;
    let mut commit = at(1);
    commit.links = vec![seen("g2", 1_000, true)];
    fresh.store.pipeline.commit(commit).await.unwrap();
    let mut late = twin("freezer-1", 500, 1.0);
    late.gateway = Some(gateway("g1"));
    late.received_us = 5_000;
    let mut commit = at(2);
    commit.twins = vec![late];
    fresh.store.pipeline.commit(commit).await.unwrap();
    let found = fresh
        .store
        .devices
        .get(&acme(), &device("freezer-1"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.gateway, Some(gateway("g2")));
}

#[tokio::test]
async fn lists_go_on_where_they_ended() {
    let fresh = fresh().await;
    let mut commit = at(1);
    commit.twins = (0..5)
        .map(|n| twin(&format!("d{n}"), 1, f64::from(n)))
        .collect();
    fresh.store.pipeline.commit(commit).await.unwrap();
    let port = &fresh.store.devices;
    let (mut ids, mut values, mut after) = (Vec::new(), Vec::new(), None);
    loop {
        let page = port.list(&acme(), after.as_deref(), 2).await.unwrap();
        let of = port
            .latest_of(&acme(), "temperature", after.as_deref(), 2)
            .await
            .unwrap();
        assert_eq!(page.next, of.next);
        ids.extend(page.items.into_iter().map(|device| device.id.to_string()));
        values.extend(of.items.into_iter().map(|(_, latest)| latest.value));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(ids, ["d0", "d1", "d2", "d3", "d4"]);
    assert_eq!(
        values,
        (0..5)
            .map(|n| OwnedValue::Number(f64::from(n)))
            .collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_device_is_heard_of_through_the_gateway_that_it_has() {
    let fresh = fresh().await;
    let mut position = 0;
    let mut told = async |twins: Vec<stencil_store::TwinUpdate>, links: Vec<LinkSeen>| {
        position += 1;
        let mut commit = at(position);
        (commit.twins, commit.links) = (twins, links);
        fresh.store.pipeline.commit(commit).await.unwrap();
        let found = fresh.store.devices.get(&acme(), &device("freezer-1")).await;
        found.unwrap().unwrap().heard_us
    };
    let twin = |through: &str, time_us, received_us| {
        let mut twin = twin("freezer-1", time_us, 1.0);
        (twin.gateway, twin.received_us) = (Some(gateway(through)), received_us);
        twin
    };
    let link = |through, at_us, connected, received_us| LinkSeen {
        received_us,
        ..seen(through, at_us, connected)
    };
    assert_eq!(told(vec![twin("g1", 50, 60)], vec![]).await, Some(60));
    let moved = vec![link("g2", 100, true, 110)];
    assert_eq!(told(vec![], moved).await, Some(110));
    // Late news from the gateway that it has left.
    assert_eq!(told(vec![twin("g1", 70, 200)], vec![]).await, Some(110));
    let late = vec![link("g1", 120, false, 210)];
    assert_eq!(told(vec![], late).await, Some(110));
    // Older than the move, but through the gateway that it has.
    assert_eq!(told(vec![twin("g2", 80, 220)], vec![]).await, Some(220));
    let gone = vec![link("g2", 130, false, 230)];
    assert_eq!(told(vec![], gone).await, Some(230));
    assert_eq!(told(vec![twin("g3", 240, 250)], vec![]).await, Some(250));
}

#[tokio::test]
async fn a_link_outlasts_an_erasure_until_it_ends_and_is_no_device() {
    let fresh = fresh().await;
    let (store, id) = (&fresh.store, device("freezer-1"));
    let told = async |position, twins: Vec<TwinUpdate>, links: Vec<LinkSeen>| {
        let commit = Commit {
            twins,
            links,
            ..at(position)
        };
        store.pipeline.commit(commit).await.unwrap();
        let found = store.devices.get(&acme(), &id).await.unwrap();
        found.map(|device| (device.connected, device.link_changed_us))
    };
    let erase = async |position| {
        let erased = Erased::Device(acme(), device("freezer-1"));
        store.keeping.erase(position, &erased).await.unwrap();
        assert_eq!(store.devices.count(&acme()).await.unwrap(), 0);
    };
    let heard = |through| {
        let mut twin = twin("freezer-1", 200, 1.0);
        twin.gateway = Some(gateway(through));
        vec![twin]
    };
    let up = Some((Some(true), Some(100)));
    let link = vec![seen("g1", 100, true)];
    assert_eq!(told(1, heard("g1"), link).await, up);
    erase(2).await;
    // Late news of a link before it.
    let late = vec![seen("g2", 120, false)];
    assert_eq!(told(3, vec![], late).await, None);
    erase(4).await;
    assert_eq!(told(5, heard("g1"), vec![]).await, up);
    // Through another gateway it is not known to be linked.
    erase(6).await;
    assert_eq!(told(7, heard("g2"), vec![]).await, Some((None, None)));
    let moved = vec![seen("g2", 130, true)];
    assert_eq!(told(8, vec![], moved).await, Some((Some(true), Some(130))));
    erase(9).await;
    let ended = vec![seen("g2", 140, false)];
    assert_eq!(told(10, vec![], ended).await, None);
    assert_eq!(told(11, heard("g2"), vec![]).await, Some((None, None)));
}

/// Devices `a-1` and `a_2` by `gw-1`, `B-3` by `gw-2`, and `c` that nobody linked.
async fn few() -> crate::Fresh {
    let fresh = fresh().await;
    let of = |name: &str, through: &str, connected: bool| LinkSeen {
        device: device(name),
        ..seen(through, 100, connected)
    };
    let commit = Commit {
        position: 1,
        twins: vec![twin("c", 1, 1.0), twin("a-1", 1, 2.0)],
        links: vec![
            of("a-1", "gw-1", true),
            of("a_2", "gw-1", false),
            of("B-3", "gw-2", true),
        ],
        ..Commit::default()
    };
    fresh.store.pipeline.commit(commit).await.unwrap();
    fresh
}

async fn found(fresh: &crate::Fresh, filter: &DeviceFilter) -> Vec<String> {
    let page = fresh
        .store
        .devices
        .find(&acme(), filter, None, 10)
        .await
        .unwrap();
    page.items.iter().map(|d| d.id.to_string()).collect()
}

#[tokio::test]
async fn devices_are_found_by_a_part_of_their_id_by_their_link_and_by_their_gateway() {
    let fresh = few().await;
    let all = DeviceFilter::default();
    assert_eq!(found(&fresh, &all).await, ["B-3", "a-1", "a_2", "c"]);
    for (search, expected) in [
        ("b-", vec!["B-3"]),
        ("A", vec!["a-1", "a_2"]),
        ("_", vec!["a_2"]),
        ("%", vec![]),
        ("!", vec![]),
    ] {
        let filter = DeviceFilter {
            search: Some(search.to_owned()),
            ..all.clone()
        };
        assert_eq!(found(&fresh, &filter).await, expected, "{search}");
    }
    for (linked, expected) in [
        (Linked::Connected, vec!["B-3", "a-1"]),
        (Linked::CutOff, vec!["a_2"]),
        (Linked::Unknown, vec!["c"]),
    ] {
        let filter = DeviceFilter {
            linked: Some(linked),
            ..all.clone()
        };
        assert_eq!(found(&fresh, &filter).await, expected, "{linked:?}");
    }
    let filter = DeviceFilter {
        gateway: Some(gateway("gw-1")),
        linked: Some(Linked::Connected),
        search: Some("1".to_owned()),
        ..all.clone()
    };
    assert_eq!(found(&fresh, &filter).await, ["a-1"]);
    for (post_quantum, expected) in [(true, vec!["B-3", "a-1"]), (false, vec![])] {
        let filter = DeviceFilter {
            post_quantum: Some(post_quantum),
            ..all.clone()
        };
        assert_eq!(found(&fresh, &filter).await, expected, "{post_quantum}");
    }
    let gateways = fresh.store.devices.gateways(&acme()).await.unwrap();
    assert_eq!(gateways, [gateway("gw-1"), gateway("gw-2")]);
    // By pages, without one twice.
    let first = fresh
        .store
        .devices
        .find(&acme(), &all, None, 3)
        .await
        .unwrap();
    let rest = fresh
        .store
        .devices
        .find(&acme(), &all, first.next.as_deref(), 3)
        .await
        .unwrap();
    assert_eq!((first.items.len(), rest.items[0].id.as_str()), (3, "c"));
    assert_eq!(rest.next, None);
}

#[tokio::test]
async fn a_gateway_whose_session_ended_links_nobody() {
    let fresh = few().await;
    let (store, acme) = (&fresh.store.devices, acme());
    let count = async |standing: &Standing| {
        let counts = store.counts(&acme, standing).await.unwrap();
        (counts.devices, counts.connected, counts.cut_off)
    };
    let ended = |at_us| Standing {
        since_us: 0,
        ended: vec![(gateway("gw-1"), at_us)],
    };
    assert_eq!(count(&Standing::default()).await, (4, 2, 1));
    assert_eq!(count(&ended(99)).await, (4, 2, 1));
    assert_eq!(count(&ended(100)).await, (4, 1, 2));
    let later = Standing {
        since_us: 101,
        ended: Vec::new(),
    };
    assert_eq!(count(&later).await, (4, 0, 3));
    let filter = DeviceFilter {
        linked: Some(Linked::CutOff),
        standing: ended(100),
        ..DeviceFilter::default()
    };
    assert_eq!(found(&fresh, &filter).await, ["a-1", "a_2"]);
    let counts = store.counts(&acme, &Standing::default()).await.unwrap();
    assert_eq!(
        counts.post_quantum, 2,
        "whose last word of a link was post-quantum"
    );
}

#[tokio::test]
async fn newest_values_of_several_devices_come_at_once() {
    let fresh = few().await;
    let named = |name: &str, value| stencil_store::TwinUpdate {
        name: name.to_owned(),
        ..twin("c", 5, value)
    };
    let mut commit = at(2);
    commit.twins = vec![named("a", 1.0), named("b", 2.0)];
    fresh.store.pipeline.commit(commit).await.unwrap();
    let ids = [device("a-1"), device("c"), device("B-3"), device("none")];
    let newest = fresh.store.devices.newest(&acme(), &ids, 2).await.unwrap();
    let seen: Vec<_> = newest
        .iter()
        .map(|n| {
            let names: Vec<_> = n.values.iter().map(|v| v.name.as_str()).collect();
            (n.device.as_str(), names, n.names)
        })
        .collect();
    assert_eq!(
        seen,
        [("a-1", vec!["temperature"], 1), ("c", vec!["a", "b"], 3)]
    );
    assert!(
        fresh
            .store
            .devices
            .newest(&acme(), &[], 2)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn the_devices_heard_last_come_first() {
    let fresh = few().await;
    let heard = |name: &str, received_us| stencil_store::TwinUpdate {
        received_us,
        ..twin(name, 5, 1.0)
    };
    let mut commit = at(2);
    commit.twins = vec![heard("c", 500), heard("B-3", 900), heard("a-1", 700)];
    fresh.store.pipeline.commit(commit).await.unwrap();
    let recent = fresh.store.devices.recent(&acme(), 2).await.unwrap();
    let ids: Vec<_> = recent.iter().map(|device| device.id.as_str()).collect();
    assert_eq!(ids, ["B-3", "a-1"]);
}

#[tokio::test]
async fn devices_that_are_known_to_be_less_than_post_quantum_are_told_from_unknown_ones() {
    let fresh = few().await;
    let classical = stencil_store::LinkInfo {
        suite: None,
        group: Some("X25519".to_owned()),
        post_quantum: false,
    };
    let of = |name: &str, link| stencil_store::TwinUpdate {
        link,
        ..twin(name, 5, 1.0)
    };
    let (acme, all) = (acme(), Standing::default());
    let before = fresh.store.devices.counts(&acme, &all).await.unwrap();
    let mut commit = at(2);
    commit.twins = vec![of("old", Some(classical)), of("dark", None)];
    fresh.store.pipeline.commit(commit).await.unwrap();
    let filter = DeviceFilter {
        post_quantum: Some(false),
        ..DeviceFilter::default()
    };
    assert_eq!(found(&fresh, &filter).await, ["old"]);
    let counts = fresh.store.devices.counts(&acme, &all).await.unwrap();
    assert_eq!(
        (counts.devices, counts.post_quantum, counts.not_post_quantum),
        (
            before.devices + 2,
            before.post_quantum,
            before.not_post_quantum + 1
        )
    );
}
