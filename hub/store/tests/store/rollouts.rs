//! Images, who may sign them, and roll-outs.

use sha2::Digest as _;
use stencil_protocol::id::TenantId;
use stencil_store::{
    DeviceImage, DeviceVerdict, Erased, Error, Image, LinkSeen, RolloutChange, RolloutDevice,
    RolloutHead, RolloutNotice, Store, UpdateTrust, Wanted,
};

use crate::{acme, at, device, fresh, gateway, other, reopen};

fn image(n: u8, sequence: u64) -> Image {
    Image {
        digest: [n; 32],
        vendor: [1; 16],
        class: [2; 16],
        sequence,
        version: format!("1.{n}"),
        size: 1_000,
        envelope: vec![n; 5_000],
        pushed_us: i64::from(n),
    }
}

fn row(id: &str, phase: &str, through: &str) -> RolloutDevice {
    RolloutDevice {
        device: device(id),
        gateway: Some(gateway(through)),
        phase: phase.to_owned(),
        percent: (phase == "downloading").then_some(40),
        detail: None,
        since_us: 7,
        body: format!("{{\"phase\":\"{phase}\"}}"),
    }
}

fn runs(id: &str, n: u8) -> DeviceImage {
    DeviceImage {
        device: device(id),
        gateway: Some(gateway("g1")),
        digest: [n; 32],
        sequence: u64::from(n),
        class: "a/b".into(),
        version: None,
        trial: n == 2,
        reported_us: 9,
    }
}

fn refused(id: &str, n: u8) -> DeviceVerdict {
    DeviceVerdict {
        device: device(id),
        digest: [n; 32],
        reason: format!("refused for the {n}. time"),
        reported_us: 9,
    }
}

fn head(tenant: TenantId, status: &str, is_over: bool) -> RolloutHead {
    RolloutHead {
        tenant,
        id: [9; 16],
        status: status.to_owned(),
        is_over,
        head: format!("\"{status}\""),
        changed_us: 20,
    }
}

/// A roll-out of both tenants, with these devices of `acme`.
async fn begun(store: &Store) {
    for tenant in [acme(), other()] {
        store
            .rollouts
            .put_image(&tenant, &image(1, 1))
            .await
            .unwrap();
        let created = store.rollouts.create(&tenant, &[9; 16], &[1; 32], "{}", 5);
        assert!(created.await.unwrap());
    }
    let mut commit = at(1);
    commit.rollouts = RolloutChange {
        heads: vec![head(acme(), "running", false)],
        devices: [
            "a offered g1",
            "b downloading g1",
            "c waiting g1",
            "d installed g2",
        ]
        .iter()
        .map(|text| {
            let words: Vec<&str> = text.split(' ').collect();
            (acme(), [9; 16], row(words[0], words[1], words[2]))
        })
        .collect(),
        notices: vec![(
            acme(),
            [9; 16],
            RolloutNotice {
                at_us: 3,
                body: "{}".into(),
            },
        )],
        images: vec![
            (acme(), runs("a", 1)),
            (acme(), runs("z", 1)),
            (acme(), runs("a", 2)),
        ],
        verdicts: vec![(acme(), refused("a", 1)), (acme(), refused("a", 3))],
    };
    // As after an answer that was lost.
    store.pipeline.commit(commit.clone()).await.unwrap();
    commit.position += 1;
    store.pipeline.commit(commit).await.unwrap();
}

#[tokio::test]
async fn an_image_is_kept_once_and_only_newer_ones_follow() {
    let fresh = fresh().await;
    let port = &fresh.store.rollouts;
    assert!(port.put_image(&acme(), &image(1, 5)).await.unwrap());
    assert!(!port.put_image(&acme(), &image(1, 5)).await.unwrap());
    for (bad, why) in [
        (image(1, 6), "exactly these bytes are here already"),
        (image(2, 5), "has to be higher"),
        (image(2, 4), "has to be higher"),
    ] {
        let error = port.put_image(&acme(), &bad).await.unwrap_err();
        assert!(
            matches!(&error, Error::Conflict(text) if text.contains(why)),
            "{error}"
        );
    }
    let mut another = image(3, 1);
    another.class = [7; 16];
    assert!(
        port.put_image(&acme(), &another).await.unwrap(),
        "each class has its own order"
    );
    let huge = image(4, u64::MAX);
    assert!(matches!(
        port.put_image(&acme(), &huge).await,
        Err(Error::Invalid { .. })
    ));
    assert!(port.put_image(&other(), &image(2, 1)).await.unwrap());

    assert_eq!(
        port.image(&acme(), &[1; 32]).await.unwrap(),
        Some(image(1, 5))
    );
    assert_eq!(
        port.image(&acme(), &[2; 32]).await.unwrap(),
        None,
        "that is another's"
    );
    let first = port.images(&acme(), None, 1).await.unwrap();
    assert_eq!(first.items, [another]);
    let rest = port
        .images(&acme(), first.next.as_deref(), 1)
        .await
        .unwrap();
    assert_eq!((rest.items, rest.next), (vec![image(1, 5)], None));
    for (n, needed) in [(1, true), (2, true), (5, false)] {
        assert_eq!(port.is_payload_needed(&[n; 32]).await.unwrap(), needed);
    }
}

#[tokio::test]
async fn who_may_sign_is_a_tenants_own() {
    let fresh = fresh().await;
    let port = &fresh.store.rollouts;
    assert_eq!(port.trust(&acme()).await.unwrap(), None);
    for changed_us in [1, 2] {
        let trust = UpdateTrust {
            keys: format!("ed25519 {changed_us}"),
            classes: vec![([1; 16], [2; 16])],
            changed_us,
        };
        port.set_trust(&acme(), &trust).await.unwrap();
        assert_eq!(port.trust(&acme()).await.unwrap(), Some(trust));
    }
    assert_eq!(port.trust(&other()).await.unwrap(), None);
}

#[tokio::test]
async fn a_rollout_is_what_the_commits_made_of_it() {
    let fresh = fresh().await;
    begun(&fresh.store).await;
    let store = reopen(fresh.folder.path(), Default::default()).await;
    let port = &store.rollouts;
    assert!(
        !port
            .create(&acme(), &[9; 16], &[1; 32], "{}", 6)
            .await
            .unwrap()
    );
    for (id, image, plan) in [([9; 16], [1; 32], "{ }"), ([8; 16], [4; 32], "{}")] {
        let error = port
            .create(&acme(), &id, &image, plan, 6)
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Conflict(_)), "{error}");
    }
    let open = port.open().await.unwrap();
    let seen: Vec<_> = open
        .iter()
        .map(|(tenant, rollout, devices)| (tenant, rollout.status.as_str(), devices.len()))
        .collect();
    assert_eq!(seen, [(&acme(), "running", 4), (&other(), "starting", 0)]);
    assert_eq!(open[0].1.head.as_deref(), Some("\"running\""));
    assert_eq!(open[0].2[1], row("b", "downloading", "g1"));

    let mut counts = port.counts(&acme(), &[9; 16]).await.unwrap();
    counts.sort();
    let one = |name: &str| (name.to_owned(), 1);
    assert_eq!(
        counts,
        ["downloading", "installed", "offered", "waiting"].map(one)
    );
    assert_eq!(port.notices(&acme(), &[9; 16], 9).await.unwrap().len(), 2);
    let page = port
        .devices(&acme(), &[9; 16], None, None, 3)
        .await
        .unwrap();
    assert_eq!(page.next.as_deref(), Some("c"));
    let rest = port
        .devices(&acme(), &[9; 16], None, page.next.as_deref(), 3)
        .await
        .unwrap();
    assert_eq!(rest.items, [row("d", "installed", "g2")]);
    let offered = port
        .devices(&acme(), &[9; 16], Some("offered"), None, 3)
        .await
        .unwrap();
    assert_eq!(offered.items, [row("a", "offered", "g1")]);
    let wanted = port.wanted(&acme(), &gateway("g1")).await.unwrap();
    let is_wanted = |id| Wanted {
        device: device(id),
        rollout: [9; 16],
        image: [1; 32],
    };
    assert_eq!(wanted, ["a", "b"].map(is_wanted));
    assert_eq!(port.wanted(&other(), &gateway("g1")).await.unwrap(), []);

    let mut commit = at(3);
    commit.rollouts.heads = vec![head(acme(), "finished", true)];
    store.pipeline.commit(commit).await.unwrap();
    assert_eq!(port.open().await.unwrap().len(), 1);
    let list = port.list(&acme(), None, 9).await.unwrap();
    assert_eq!(
        (list.items.len(), list.items[0].status.as_str()),
        (1, "finished")
    );
    assert_eq!(port.get(&acme(), &[8; 16]).await.unwrap(), None);
}

#[tokio::test]
async fn devices_are_met_with_what_they_run() {
    let fresh = fresh().await;
    begun(&fresh.store).await;
    let mut commit = at(3);
    commit.links = vec![LinkSeen {
        tenant: acme(),
        device: device("m"),
        gateway: Some(gateway("g2")),
        at_us: 1,
        received_us: 1,
        connected: true,
        link: None,
    }];
    fresh.store.pipeline.commit(commit).await.unwrap();
    let port = &fresh.store.rollouts;
    let first = port.candidates(&acme(), None, 2).await.unwrap();
    let rest = port
        .candidates(&acme(), Some(&first[1].device), 2)
        .await
        .unwrap();
    let all: Vec<_> = first.iter().chain(&rest).collect();
    let ids: Vec<&str> = all.iter().map(|it| it.device.as_str()).collect();
    assert_eq!(ids, ["a", "m", "z"]);
    assert_eq!(all[0].image, Some(runs("a", 2)), "what it said last");
    assert_eq!(all[0].gateway, Some(gateway("g1")));
    assert_eq!((all[1].connected, &all[1].image), (true, &None));
    assert_eq!(port.candidates(&other(), None, 9).await.unwrap(), []);
    let said = port.device_image(&acme(), &device("z")).await.unwrap();
    assert_eq!(said, Some(runs("z", 1)));
    let verdict = port.device_verdict(&acme(), &device("a")).await.unwrap();
    assert_eq!(verdict, Some(refused("a", 3)), "the last");
    assert_eq!(
        port.device_verdict(&other(), &device("a")).await.unwrap(),
        None
    );
    assert_eq!(
        port.device_image(&other(), &device("z")).await.unwrap(),
        None
    );
}

#[tokio::test]
async fn who_signs_after_whom_is_kept_with_who_signs_now() {
    let fresh = fresh().await;
    let port = &fresh.store.rollouts;
    let trust = |keys: &str| UpdateTrust {
        keys: keys.to_owned(),
        classes: Vec::new(),
        changed_us: 5,
    };
    let digest = |keys: &str| -> [u8; 32] { sha2::Sha256::digest(keys.as_bytes()).into() };
    let a = digest("a");
    let succeed = async |before: [u8; 32], body: &str, keys: &str| {
        let (tenant, keys) = (acme(), trust(keys));
        port.succeed_trust(&tenant, &before, body, &keys).await
    };
    let early = succeed(a, "b after a", "b").await;
    assert!(matches!(early, Err(Error::Conflict(_))), "{early:?}");
    port.set_trust(&acme(), &trust("a")).await.unwrap();
    let others = succeed(digest("x"), "b after x", "b").await;
    assert!(matches!(others, Err(Error::Conflict(_))), "{others:?}");
    assert_eq!(port.trust(&acme()).await.unwrap(), Some(trust("a")));
    succeed(a, "b after a", "b").await.unwrap();
    assert_eq!(port.trust(&acme()).await.unwrap(), Some(trust("b")));
    let twice = succeed(a, "c after a", "c").await;
    assert!(matches!(twice, Err(Error::Conflict(_))), "{twice:?}");
    let kept = async |tenant| port.succession(&tenant, &a).await.unwrap();
    assert_eq!(kept(acme()).await.as_deref(), Some("b after a"));
    assert_eq!(kept(other()).await, None);
    fresh
        .store
        .keeping
        .erase(3, &Erased::Tenant(acme()))
        .await
        .unwrap();
    assert_eq!(kept(acme()).await, None);
}

#[tokio::test]
async fn erased_nothing_is_left() {
    let fresh = fresh().await;
    begun(&fresh.store).await;
    let (port, keeping) = (&fresh.store.rollouts, &fresh.store.keeping);
    keeping
        .erase(3, &Erased::Device(acme(), device("a")))
        .await
        .unwrap();
    assert_eq!(
        port.device_image(&acme(), &device("a")).await.unwrap(),
        None
    );
    assert_eq!(
        port.device_verdict(&acme(), &device("a")).await.unwrap(),
        None
    );
    assert_eq!(port.wanted(&acme(), &gateway("g1")).await.unwrap().len(), 1);
    keeping.erase(4, &Erased::Tenant(acme())).await.unwrap();
    assert_eq!(port.get(&acme(), &[9; 16]).await.unwrap(), None);
    assert_eq!(port.image(&acme(), &[1; 32]).await.unwrap(), None);
    assert!(
        port.is_payload_needed(&[1; 32]).await.unwrap(),
        "the other tenant has it, too"
    );
    keeping.erase(5, &Erased::Tenant(other())).await.unwrap();
    assert!(!port.is_payload_needed(&[1; 32]).await.unwrap());
}
