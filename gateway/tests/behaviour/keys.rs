//! Keys that the hub gives, and takes away.

use std::time::{Duration, Instant};

use stencil_crypto::{
    Psk, rng,
    seal::{Place as Seal, PublicKey, Purpose, Sealer},
};
use stencil_protocol::{
    id::DeviceId,
    keys::{Entry, Holds, SealedKey, Update, Used},
    topic::Topic,
};
use tokio::net::TcpStream;

use crate::{
    commands::lock,
    device::{Device, Frames, Told, answer, hello, send_fragments},
    hub::{Hub, batches, holds, link_events},
    place::{GATEWAY, Gateway, Place, TENANT},
    soon,
};

fn id(text: &str) -> DeviceId {
    DeviceId::parse(text).unwrap()
}

/// One device: name, identity, keys by generation.
type Wanted<'a> = (&'a str, &'a str, &'a [(u64, &'a Psk)]);

/// What a hub sends to a gateway that has said what it holds.
fn update(said: &Holds, span: (u64, u64), wanted: &[Wanted<'_>]) -> Update {
    let key = PublicKey::from_slice(said.public_key.as_ref().unwrap()).unwrap();
    let mut sealer = Sealer::new(&key, Purpose::Delivery, &mut rng::Os).unwrap();
    let mut entries = Vec::new();
    for (device, identity, keys) in wanted {
        let keys = keys.iter().map(|(generation, psk)| {
            let place = Seal {
                tenant: TENANT,
                gateway: GATEWAY,
                device,
                generation: *generation,
            };
            SealedKey {
                generation: *generation,
                sealed: sealer.seal(place, psk).unwrap(),
            }
        });
        entries.push(Entry {
            device: id(device),
            identity: id(identity),
            keys: keys.collect(),
        });
    }
    Update {
        epoch: 9,
        after: span.0,
        through: span.1,
        encapsulated: sealer.encapsulated().to_vec(),
        entries,
        last: span.1,
    }
}

/// What the gateway says at the beginning of its connection.
async fn first_word(hub: &Hub, from: usize) -> Holds {
    let kept = hub.until(|kept| {
        holds(&kept[from..])
            .iter()
            .any(|it| it.public_key.is_some())
    });
    let said = holds(&kept.await[from..]);
    said.into_iter().find(|it| it.public_key.is_some()).unwrap()
}

async fn give(hub: &Hub, said: &Holds, span: (u64, u64), wanted: &[Wanted<'_>]) {
    assert!(hub.keys(GATEWAY, &update(said, span, wanted)));
    hub.until(|kept| {
        let last = holds(kept).pop();
        last.is_some_and(|it| (it.epoch, it.revision) == (9, span.1))
    })
    .await;
}

async fn is_refused(gateway: &Gateway, device: &DeviceId, psk: &Psk) -> bool {
    let mut frames = Frames::new(TcpStream::connect(gateway.link).await.unwrap());
    let (_, number, hello) = hello(&mut frames, device, psk).await;
    send_fragments(&mut frames, number, &hello).await;
    answer(&mut frames).await.is_err()
}

/// Returns when the gateway has ended the link.
async fn ended(device: &mut Device) {
    soon(async { while device.frames.next().await.is_some() {} }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_links_with_the_key_that_the_hub_gave_until_the_hub_takes_it() {
    let place = Place::new();
    let hub = Hub::started(&place.authority).await;
    let gateway = place.gateway(&hub).await;
    let said = first_word(&hub, 0).await;
    assert_eq!((said.epoch, said.revision), (0, 0));

    let psk = Psk::generate(&mut rng::Os);
    // It was born under another name than it has here.
    let (name, born) = (id("freezer-07"), id("sn-2041"));
    assert!(is_refused(&gateway, &born, &psk).await);
    give(
        &hub,
        &said,
        (0, 1),
        &[("freezer-07", "sn-2041", &[(1, &psk)])],
    )
    .await;
    assert_eq!(gateway.metric("keys").await, 1);
    let mut device = Device::link(gateway.link, &born, &psk).await;
    device.deliver(1, 1, 2).await;
    hub.until(|kept| batches(kept, &name).len() == 1).await;
    assert!(
        is_refused(&gateway, &name, &psk).await,
        "the name is not the identity"
    );
    let used = hub
        .until(|kept| {
            kept.iter()
                .any(|it| it.topic == Topic::Key(id("freezer-07")))
        })
        .await;
    let used = used
        .iter()
        .find(|it| matches!(it.topic, Topic::Key(_)))
        .unwrap();
    assert_eq!(Used::decode(&used.payload).unwrap().generation, 1);

    let began = Instant::now();
    give(&hub, &said, (1, 2), &[("freezer-07", "sn-2041", &[])]).await;
    ended(&mut device).await;
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    assert!(is_refused(&gateway, &born, &psk).await);
    hub.until(|kept| link_events(kept, &name).len() == 2).await;

    // An operator's file does not bring it back.
    psk.save(place.folder().join("psk/freezer-07.psk")).unwrap();
    assert!(is_refused(&gateway, &name, &psk).await);
    gateway.stop().await;
    let from = hub.kept().len();
    let gateway = place.gateway(&hub).await;
    let said = first_word(&hub, from).await;
    assert_eq!((said.epoch, said.revision), (9, 2));
    assert!(is_refused(&gateway, &born, &psk).await);
    assert!(is_refused(&gateway, &name, &psk).await);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn either_key_is_taken_until_the_newer_one_was_used() {
    let place = Place::new();
    let hub = Hub::started(&place.authority).await;
    let gateway = place.gateway(&hub).await;
    let said = first_word(&hub, 0).await;
    let (old, new) = (Psk::generate(&mut rng::Os), Psk::generate(&mut rng::Os));
    let name = id("lock-1");
    give(
        &hub,
        &said,
        (0, 1),
        &[("lock-1", "lock-1", &[(1, &old), (2, &new)])],
    )
    .await;
    // It is told the newer one inside of its link.
    let mut device = Device::link(gateway.link, &name, &old).await;
    assert_eq!(device.told().await, Some(Told::Key(2, *new.reveal())));
    drop(device);
    // A handshake alone shows nothing: it could be a replay.
    drop(Device::answered(gateway.link, &name, &new).await);
    let mut device = Device::link(gateway.link, &name, &old).await;
    assert!(matches!(device.told().await, Some(Told::Key(2, _))));
    device.deliver(1, 1, 1).await;

    let mut device = Device::link(gateway.link, &name, &new).await;
    device.deliver(1, 2, 1).await;
    assert!(is_refused(&gateway, &name, &old).await);
    hub.until(|kept| {
        let used = kept.iter().filter(|it| matches!(it.topic, Topic::Key(_)));
        used.map(|it| Used::decode(&it.payload).unwrap().generation)
            .max()
            == Some(2)
    })
    .await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_linked_device_is_told_a_new_key_as_it_comes() {
    let place = Place::new();
    let hub = Hub::started(&place.authority).await;
    let gateway = place.gateway(&hub).await;
    let said = first_word(&hub, 0).await;
    let (old, new) = (Psk::generate(&mut rng::Os), Psk::generate(&mut rng::Os));
    let name = id("lock-1");
    give(&hub, &said, (0, 1), &[("lock-1", "lock-1", &[(1, &old)])]).await;
    let mut device = Device::link(gateway.link, &name, &old).await;
    device.deliver(1, 1, 1).await;
    let both: &[(u64, &Psk)] = &[(1, &old), (2, &new)];
    give(&hub, &said, (1, 2), &[("lock-1", "lock-1", both)]).await;
    assert_eq!(device.told().await, Some(Told::Key(2, *new.reveal())));
    // Once a link.
    give(&hub, &said, (2, 3), &[("lock-1", "lock-1", both)]).await;
    device.deliver(1, 2, 1).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_reaches_a_device_under_the_name_that_it_knows() {
    let place = Place::new();
    let mut hub = Hub::started(&place.authority).await;
    let gateway = place.gateway(&hub).await;
    hub.subscribed().await;
    let said = first_word(&hub, 0).await;
    let psk = Psk::generate(&mut rng::Os);
    give(&hub, &said, (0, 1), &[("lock-1", "sn-9", &[(1, &psk)])]).await;
    let mut device = Device::link(gateway.link, &id("sn-9"), &psk).await;
    device.deliver(1, 1, 1).await;
    let command = lock(1, &id("lock-1"), i64::MAX);
    assert!(hub.command(GATEWAY, &command));
    // The device's own name is asserted where it is told.
    let told = Some(Told::Command(command.id, "lock".to_owned()));
    assert_eq!(device.told().await, told);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_taken_away_ends_its_link_at_once() {
    let place = Place::new();
    let hub = Hub::started(&place.authority).await;
    let gateway = place.gateway(&hub).await;
    let (kept, kept_psk) = place.device("freezer-01");
    let (gone, gone_psk) = place.device("freezer-02");
    let mut stays = Device::link(gateway.link, &kept, &kept_psk).await;
    let mut goes = Device::link(gateway.link, &gone, &gone_psk).await;
    gateway.until("links", |links| links == 2).await;
    std::fs::remove_file(place.folder().join("psk/freezer-02.psk")).unwrap();
    let began = Instant::now();
    ended(&mut goes).await;
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    stays.deliver(1, 1, 1).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sealed_to_another_gateway_is_not_taken_and_the_hub_hears_it() {
    let place = Place::new();
    let hub = Hub::started(&place.authority).await;
    let gateway = place.gateway(&hub).await;
    let mut said = first_word(&hub, 0).await;
    let other = stencil_crypto::seal::SecretKey::generate(&mut rng::Os);
    said.public_key = Some(other.public_key().to_bytes());
    let psk = Psk::generate(&mut rng::Os);
    let foreign = update(&said, (0, 1), &[("a", "a", &[(1, &psk)])]);
    assert!(hub.keys(GATEWAY, &foreign));
    gateway.until("keys_refused_total", |n| n == 1).await;
    hub.until(|kept| holds(kept).len() >= 2).await;
    assert_eq!(holds(&hub.kept()).pop().unwrap().revision, 0);
    assert!(is_refused(&gateway, &id("a"), &psk).await);
    gateway.stop().await;
}

#[test]
fn a_device_key_is_secret_and_never_replaced_by_the_way() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = stencil_gateway::add_device(dir.path(), &id("freezer-1")).unwrap();
    assert_eq!(path, dir.path().join("freezer-1.psk"));
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    Psk::load(&path).unwrap();
    let again = stencil_gateway::add_device(dir.path(), &id("freezer-1"));
    assert!(
        matches!(again, Err(stencil_gateway::Error::PskExists(_))),
        "{again:?}"
    );
}
