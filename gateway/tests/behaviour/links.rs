//! Who gets in, and that nobody disturbs anybody else.

use stencil_crypto::{Psk, rng};
use stencil_protocol::{frame::Kind, id::DeviceId, link::Up, report::Link};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    device::{Device, Frames, Told, batch, hello},
    hub::{Hub, batches, link_events},
    place::{Gateway, Place},
    soon,
};

async fn refused(gateway: &Gateway, hello: &[u8]) -> u8 {
    let mut frames = Frames::new(TcpStream::connect(gateway.link).await.unwrap());
    frames.send(Kind::Hello, hello).await.unwrap();
    let (kind, reason) = frames.next().await.unwrap();
    assert_eq!(kind, Kind::Refused);
    assert_eq!(reason.len(), 1);
    reason[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn two_devices_send_side_by_side() {
    let place = Place::new();
    let hub = Hub::started(&place.authority).await;
    let gateway = place.gateway(&hub).await;
    let mut tasks = tokio::task::JoinSet::new();
    for name in ["freezer-01", "freezer-02"] {
        // Made while the gateway runs: no restart is needed.
        let (id, psk) = place.device(name);
        let address = gateway.link;
        tasks.spawn(async move {
            let mut device = Device::link(address, &id, &psk).await;
            for n in 0..50 {
                device.deliver(1, 1 + n * 4, 4).await;
            }
            device
        });
    }
    let devices = tasks.join_all().await;
    assert_eq!(gateway.metric("links").await, 2);
    for device in &devices {
        hub.until(|kept| batches(kept, &device.id).len() == 50)
            .await;
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_refused_and_learn_nothing() {
    let place = Place::new();
    let hub = Hub::started(&place.authority).await;
    let gateway = place.gateway(&hub).await;
    let (id, psk) = place.device("freezer-01");
    let mut device = Device::link(gateway.link, &id, &psk).await;

    let wrong = Psk::generate(&mut rng::Os);
    let unknown = DeviceId::parse("freezer-99").unwrap();
    let for_wrong_key = refused(&gateway, &hello(&id, &wrong).1).await;
    let for_unknown = refused(&gateway, &hello(&unknown, &wrong).1).await;
    assert_eq!(for_wrong_key, for_unknown, "who is enrolled isn't told");

    let (_, mut altered) = hello(&id, &psk);
    *altered.last_mut().unwrap() ^= 1;
    assert_eq!(refused(&gateway, &altered).await, for_wrong_key);
    assert_eq!(refused(&gateway, &altered[..40]).await, 1);
    let (_, mut version) = hello(&id, &psk);
    version[0] = 99;
    assert_eq!(refused(&gateway, &version).await, 3);
    // A path is no identity.
    let mut path = hello(&DeviceId::parse("aa-psk").unwrap(), &psk).1;
    let at = path
        .windows(6)
        .position(|window| window == b"aa-psk")
        .unwrap();
    path[at..at + 6].copy_from_slice(b"../psk");
    assert_eq!(refused(&gateway, &path).await, 1);
    // A record without a session.
    let mut frames = Frames::new(TcpStream::connect(gateway.link).await.unwrap());
    frames.send(Kind::Record, &[7; 100]).await.unwrap();
    assert_eq!(frames.next().await, Some((Kind::Refused, vec![4])));

    gateway.until("handshakes_refused_total", |n| n == 6).await;
    device.deliver(1, 1, 1).await;
    assert_eq!(gateway.metric("links").await, 1);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_first_message_cuts_nobody_off() {
    let place = Place::new();
    let hub = Hub::started(&place.authority).await;
    let gateway = place.gateway(&hub).await;
    let (id, psk) = place.device("freezer-01");

    // What an eavesdropper has recorded of an earlier link.
    let (initiator, recorded_hello) = hello(&id, &psk);
    let mut frames = Frames::new(TcpStream::connect(gateway.link).await.unwrap());
    frames.send(Kind::Hello, &recorded_hello).await.unwrap();
    assert_eq!(frames.next().await.unwrap().0, Kind::Answer);
    drop((initiator, frames));
    let mut device = Device::link(gateway.link, &id, &psk).await;
    let recorded_record = device.sealed(&Up::Batch(&batch(1, 900, 5)));
    device.deliver(1, 1, 5).await;

    let mut replay = Frames::new(TcpStream::connect(gateway.link).await.unwrap());
    replay.send(Kind::Hello, &recorded_hello).await.unwrap();
    assert_eq!(
        replay.next().await.unwrap().0,
        Kind::Answer,
        "it is a valid first message"
    );
    replay.send(Kind::Record, &recorded_record).await.unwrap();
    gateway.until("records_bad_total", |n| n == 1).await;

    device.deliver(1, 6, 5).await;
    assert_eq!(gateway.metric("links").await, 1);
    let kept = hub.until(|kept| batches(kept, &id).len() == 2).await;
    assert_eq!(
        link_events(&kept, &id).len(),
        1,
        "it was never disconnected"
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_and_garbled_records_cost_only_themselves() {
    let place = Place::new();
    let hub = Hub::started(&place.authority).await;
    let gateway = place.gateway(&hub).await;
    let (id, psk) = place.device("freezer-01");
    let (other_id, other_psk) = place.device("freezer-02");
    let mut device = Device::link(gateway.link, &id, &psk).await;
    let mut other = Device::link(gateway.link, &other_id, &other_psk).await;

    let record = device.sealed(&Up::Batch(&batch(1, 1, 3)));
    device.frames.send(Kind::Record, &record).await.unwrap();
    assert!(device.told().await.is_some());
    device.frames.send(Kind::Record, &record).await.unwrap();
    let mut garbled = device.sealed(&Up::Batch(&batch(1, 4, 3)));
    garbled[20] ^= 1;
    device.frames.send(Kind::Record, &garbled).await.unwrap();
    // Another device's record.
    let foreign = other.sealed(&Up::Batch(&batch(1, 1, 3)));
    device.frames.send(Kind::Record, &foreign).await.unwrap();
    gateway.until("records_bad_total", |n| n == 3).await;
    // Noise on the line, a batch that is none, a message that is none.
    device.frames.stream.write_all(&[0xff; 5000]).await.unwrap();
    device.frames.stream.write_all(&[0]).await.unwrap();
    gateway.until("frames_bad_total", |n| n >= 1).await;
    device.say(&Up::Batch(b"no batch")).await;
    gateway.until("batches_malformed_total", |n| n == 1).await;

    device.deliver(1, 4, 3).await;
    other.deliver(1, 1, 3).await;
    hub.until(|kept| batches(kept, &id).len() >= 3).await;
    gateway.stop().await;
    let kept = hub.kept();
    let payloads: Vec<&[u8]> = batches(&kept, &id)
        .iter()
        .map(|kept| &kept.payload[..])
        .collect();
    assert_eq!(
        payloads,
        [&batch(1, 1, 3)[..], b"no batch", &batch(1, 4, 3)]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_cannot_be_read_is_shown_to_the_hub_once_and_never_acknowledged() {
    let place = Place::new();
    let hub = Hub::started(&place.authority).await;
    let gateway = place.gateway(&hub).await;
    let (id, psk) = place.device("freezer-01");
    let mut device = Device::link(gateway.link, &id, &psk).await;
    for _ in 0..20 {
        device.say(&Up::Batch(b"no batch")).await;
    }
    // Also over a new link.
    let mut device = Device::link(gateway.link, &id, &psk).await;
    device.say(&Up::Batch(b"no batch")).await;
    gateway.until("batches_malformed_total", |n| n == 21).await;
    // What comes next over the link is the next batch's acknowledgement.
    device.deliver(1, 1, 3).await;
    let kept = hub.until(|kept| batches(kept, &id).len() >= 2).await;
    let payloads: Vec<&[u8]> = batches(&kept, &id)
        .iter()
        .map(|kept| &kept.payload[..])
        .collect();
    assert_eq!(payloads, [b"no batch", &batch(1, 1, 3)[..]]);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newer_of_two_links_wins() {
    let place = Place::new();
    let hub = Hub::started(&place.authority).await;
    let gateway = place.gateway(&hub).await;
    let (id, psk) = place.device("freezer-01");
    let mut older = Device::link(gateway.link, &id, &psk).await;
    older.deliver(1, 1, 1).await;
    let mut newer = Device::answered(gateway.link, &id, &psk).await;
    older.deliver(1, 2, 1).await;
    newer.say(&Up::Ping).await;
    assert_eq!(older.told().await, None, "closed");
    newer.deliver(1, 3, 1).await;
    let kept = hub.until(|kept| batches(kept, &id).len() == 3).await;
    let events = link_events(&kept, &id);
    assert_eq!(events.len(), 2);
    assert!(
        events
            .iter()
            .all(|event| matches!(event.event, Link::Connected { .. }))
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_may_shake_hands_anew_on_the_same_link() {
    let place = Place::new();
    let hub = Hub::started(&place.authority).await;
    let gateway = place.gateway(&hub).await;
    let (id, psk) = place.device("freezer-01");
    let mut device = Device::link(gateway.link, &id, &psk).await;
    device.deliver(1, 1, 1).await;
    // Handshakes on one link have a least distance: this one waits for it.
    let mut device = Device::handshake(device.frames, &id, &psk).await;
    device.deliver(2, 1, 1).await;
    hub.until(|kept| batches(kept, &id).len() == 2).await;
    assert_eq!(gateway.metric("links").await, 1);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn links_have_bounds_in_number_and_time() {
    let place = Place::new();
    let hub = Hub::started(&place.authority).await;
    let (id, psk) = place.device("freezer-01");
    let mut options = place.options(&hub);
    options.link.max_strangers = 2;
    options.link.handshake_timeout_ms = 300;
    options.link.idle_timeout_ms = 300;
    let gateway = Gateway::start(options).await;
    let mut device = Device::link(gateway.link, &id, &psk).await;
    device.deliver(1, 1, 1).await;

    let mut first = TcpStream::connect(gateway.link).await.unwrap();
    let _second = TcpStream::connect(gateway.link).await.unwrap();
    gateway.until("links_accepted_total", |n| n == 3).await;
    let mut third = TcpStream::connect(gateway.link).await.unwrap();
    assert_eq!(
        soon(third.read(&mut [0; 8])).await.unwrap_or(0),
        0,
        "closed at once"
    );
    assert_eq!(gateway.metric("links_over_bound_total").await, 1);
    assert_eq!(
        soon(first.read(&mut [0; 8])).await.unwrap(),
        0,
        "closed after its time"
    );
    assert_eq!(device.told().await, None, "silent for too long");
    hub.until(|kept| {
        link_events(kept, &id)
            .last()
            .is_some_and(|event| event.event == Link::Disconnected)
    })
    .await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_whose_key_is_taken_away_is_cut_off() {
    let place = Place::new();
    let hub = Hub::started(&place.authority).await;
    let (id, psk) = place.device("freezer-01");
    let mut options = place.options(&hub);
    options.link.time_interval_ms = 100;
    let gateway = Gateway::start(options).await;
    let mut device = Device::link(gateway.link, &id, &psk).await;
    assert!(
        matches!(device.told().await, Some(Told::Time(_))),
        "told again and again"
    );
    std::fs::remove_file(place.folder().join("psk/freezer-01.psk")).unwrap();
    while let Some(told) = device.told().await {
        assert!(matches!(told, Told::Time(_)));
    }
    assert_eq!(gateway.metric("links").await, 0);
    assert_eq!(refused(&gateway, &hello(&id, &psk).1).await, 2);
    gateway.stop().await;
}
