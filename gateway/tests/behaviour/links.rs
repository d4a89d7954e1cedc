//! Who gets in, and that nobody disturbs anybody else.

use std::{
    io,
    sync::{Arc, Mutex},
};

use stencil_crypto::{Psk, rng};
use stencil_protocol::{frame::Kind, id::DeviceId, link::Up, report::Link};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    device::{Device, Frames, Told, answer, batch, hello, opening, resuming, send_fragments},
    hub::{Hub, batches, link_events},
    place::{Gateway, Place},
    soon,
};

async fn connected(gateway: &Gateway) -> Frames<TcpStream> {
    Frames::new(TcpStream::connect(gateway.link).await.unwrap())
}

/// The reason for which one frame is refused.
async fn refused_frame(gateway: &Gateway, kind: Kind, payload: &[u8]) -> u8 {
    let mut frames = connected(gateway).await;
    frames.send(kind, payload).await.unwrap();
    let (kind, reason) = frames.next().await.unwrap();
    assert_eq!((kind, reason.len()), (Kind::Refused, 1));
    reason[0]
}

/// A hello of version 1, in one frame of its time: 1,247 bytes, stuffed without a zero in front.
fn old_hello() -> Vec<u8> {
    let body = [vec![1, 1], vec![7; 1_250]].concat();
    let mut frame = Vec::new();
    for block in body.chunks(254) {
        frame.push(u8::try_from(block.len() + 1).unwrap());
        frame.extend_from_slice(block);
    }
    frame.push(0);
    frame
}

/// The reason for which a hello is refused.
async fn refused(
    gateway: &Gateway,
    id: &DeviceId,
    psk: &Psk,
    alter: impl FnOnce(&mut Vec<u8>),
) -> u8 {
    let mut frames = connected(gateway).await;
    let (_, number, mut hello) = hello(&mut frames, id, psk).await;
    alter(&mut hello);
    send_fragments(&mut frames, number, &hello).await;
    answer(&mut frames).await.unwrap_err()
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
    let as_it_is = |_: &mut Vec<u8>| {};
    let for_wrong_key = refused(&gateway, &id, &wrong, as_it_is).await;
    let for_unknown = refused(&gateway, &unknown, &wrong, as_it_is).await;
    assert_eq!(for_wrong_key, for_unknown, "who is enrolled isn't told");

    let flip_last = |hello: &mut Vec<u8>| *hello.last_mut().unwrap() ^= 1;
    assert_eq!(refused(&gateway, &id, &psk, flip_last).await, for_wrong_key);
    assert_eq!(
        refused(&gateway, &id, &psk, |hello| hello.truncate(90)).await,
        1
    );
    // An offer that is not the one that was challenged.
    assert_eq!(refused(&gateway, &id, &psk, |hello| hello[1] = 9).await, 1);
    // What the gateway doesn't speak, and what nobody speaks any more.
    let mut newer = opening(&id).message().to_vec();
    newer[..2].copy_from_slice(&[8, 9]);
    assert_eq!(refused_frame(&gateway, Kind::Open, &newer).await, 3);
    let mut other = opening(&id).message().to_vec();
    other[4..6].copy_from_slice(&[0x7f, 0]);
    assert_eq!(refused_frame(&gateway, Kind::Open, &other).await, 3);
    let mut frames = connected(&gateway).await;
    frames.stream.write_all(&old_hello()).await.unwrap();
    assert_eq!(frames.next().await, Some((Kind::Refused, vec![3])));
    assert_eq!(refused_frame(&gateway, Kind::Open, &other[..20]).await, 1);
    // A path is no identity.
    let mut frames = connected(&gateway).await;
    let mut path = opening(&DeviceId::parse("aa-psk").unwrap())
        .message()
        .to_vec();
    path[7..13].copy_from_slice(b"../psk");
    frames.send(Kind::Open, &path).await.unwrap();
    let (kind, challenge) = frames.next().await.unwrap();
    assert_eq!(kind, Kind::Challenge);
    let hello = [&path[..], &challenge, &[7; 1232]].concat();
    let number = stencil_crypto::link::handshake_id(&challenge);
    send_fragments(&mut frames, number, &hello).await;
    assert_eq!(answer(&mut frames).await, Err(1));
    // A record without a session.
    let mut frames = Frames::new(TcpStream::connect(gateway.link).await.unwrap());
    frames.send(Kind::Record, &[7; 100]).await.unwrap();
    assert_eq!(frames.next().await, Some((Kind::Refused, vec![4])));

    gateway.until("handshakes_refused_total", |n| n == 10).await;
    device.deliver(1, 1, 1).await;
    assert_eq!(gateway.metric("links").await, 1);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_hello_is_worth_nothing_on_another_link_nor_twice() {
    let place = Place::new();
    let hub = Hub::started(&place.authority).await;
    let gateway = place.gateway(&hub).await;
    let (id, psk) = place.device("freezer-01");

    // What an eavesdropper has recorded.
    let mut frames = connected(&gateway).await;
    let (_, number, recorded) = hello(&mut frames, &id, &psk).await;
    send_fragments(&mut frames, number, &recorded).await;
    let first = answer(&mut frames).await.unwrap();
    // Again on the same link: nothing is computed anew, and only what came is told.
    send_fragments(&mut frames, number, &recorded).await;
    let (kind, told) = frames.next().await.unwrap();
    assert_eq!(
        (kind, told[..4].to_vec()),
        (Kind::Received, number.to_be_bytes().to_vec())
    );
    assert_eq!(first.len(), stencil_crypto::link::ANSWER_BYTES);

    let mut device = Device::link(gateway.link, &id, &psk).await;
    device.deliver(1, 1, 5).await;
    // On another link no fragment of it is even kept.
    let mut other = connected(&gateway).await;
    let before = gateway.metric("frames_bad_total").await;
    send_fragments(&mut other, number, &recorded).await;
    gateway.until("frames_bad_total", |n| n >= before + 7).await;
    // And under a number of that link its cookie is another's.
    other
        .send(Kind::Open, opening(&id).message())
        .await
        .unwrap();
    let (_, challenge) = other.next().await.unwrap();
    let number = stencil_crypto::link::handshake_id(&challenge);
    send_fragments(&mut other, number, &recorded).await;
    assert_eq!(answer(&mut other).await, Err(1));

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
async fn a_session_is_resumed_also_after_a_restart_and_never_from_an_old_secret() {
    let place = Place::new();
    let hub = Hub::started(&place.authority).await;
    let gateway = place.gateway(&hub).await;
    let (id, psk) = place.device("freezer-01");
    let mut device = Device::link(gateway.link, &id, &psk).await;
    device.deliver(1, 1, 1).await;
    let first = device.left;
    let mut device = Device::resume(gateway.link, &id, &psk, &first)
        .await
        .unwrap();
    device.deliver(1, 2, 1).await;
    // The secret has moved on.
    let refused = Device::resume(gateway.link, &id, &psk, &first).await.err();
    assert_eq!(refused, Some(2));
    assert_eq!(gateway.metric("sessions_resumed_total").await, 1);
    gateway.stop().await;

    let gateway = place.gateway(&hub).await;
    // Answered, but the answer gets lost: the device comes again with the same secret.
    let mut frames = connected(&gateway).await;
    let lost = resuming(&id, &psk, &device.left);
    for _ in 0..2 {
        frames.send(Kind::Resume, lost.message()).await.unwrap();
    }
    let (_, one) = frames.next().await.unwrap();
    let (kind, same) = frames.next().await.unwrap();
    assert_eq!(
        (kind, one),
        (Kind::Resumed, same),
        "the same to the same message"
    );
    let mut again = Device::resume(gateway.link, &id, &psk, &device.left)
        .await
        .unwrap();
    again.deliver(1, 3, 1).await;
    // What was recorded cuts nobody off.
    let mut replay = connected(&gateway).await;
    replay.send(Kind::Resume, lost.message()).await.unwrap();
    assert_eq!(replay.next().await.unwrap(), (Kind::Refused, vec![2]));
    again.deliver(1, 4, 1).await;
    // A replaced key ends it, and so does a gateway that keeps nothing.
    let other = Psk::generate(&mut rng::Os);
    let path = place.folder().join("psk/freezer-01.psk");
    other.save(&path).unwrap();
    let refused = Device::resume(gateway.link, &id, &psk, &again.left)
        .await
        .err();
    assert_eq!(refused, Some(2));
    psk.save(&path).unwrap();
    gateway.stop().await;
    std::fs::remove_dir_all(place.folder().join("data/resumption")).unwrap();
    let gateway = place.gateway(&hub).await;
    let refused = Device::resume(gateway.link, &id, &psk, &again.left)
        .await
        .err();
    assert_eq!(refused, Some(2));
    let mut device = Device::link(gateway.link, &id, &psk).await;
    device.deliver(1, 5, 1).await;
    hub.until(|kept| batches(kept, &id).len() == 5).await;
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
    newer.greet().await;
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
    device.greet().await;
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
    let mut second = TcpStream::connect(gateway.link).await.unwrap();
    gateway.until("links_accepted_total", |n| n == 3).await;
    assert_eq!(gateway.metric("links_made_way_total").await, 0);
    let _third = TcpStream::connect(gateway.link).await.unwrap();
    assert_eq!(
        soon(first.read(&mut [0; 8])).await.unwrap_or(0),
        0,
        "it makes way"
    );
    gateway.until("links_made_way_total", |n| n == 1).await;
    assert_eq!(
        soon(second.read(&mut [0; 8])).await.unwrap(),
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

/// What is logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// On one thread, so that all of its log is here.
#[tokio::test]
async fn handshakes_that_are_refused_write_a_line_of_each_cause() {
    let log = Log::default();
    let to = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || to.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let place = Place::new();
    let hub = Hub::started(&place.authority).await;
    let gateway = place.gateway(&hub).await;
    for _ in 0..60 {
        refused_frame(&gateway, Kind::OldHello, &[1; 40]).await;
        refused_frame(&gateway, Kind::Open, b"nonsense").await;
    }
    assert_eq!(gateway.metric("handshakes_refused_total").await, 120);
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<_> = text
        .lines()
        .filter(|it| it.contains("handshake refused"))
        .collect();
    assert_eq!(lines.len(), 2, "{lines:#?}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_links_keep_no_device_out() {
    let place = Place::new();
    let hub = Hub::started(&place.authority).await;
    let (id, psk) = place.device("freezer-01");
    let (other, others) = place.device("freezer-02");
    let mut options = place.options(&hub);
    options.link.max_links = 9;
    options.link.max_strangers = 8;
    options.link.handshake_timeout_ms = 600_000;
    let gateway = Gateway::start(options).await;
    let mut linked = Device::link(gateway.link, &other, &others).await;
    linked.deliver(1, 1, 1).await;
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(TcpStream::connect(gateway.link).await.unwrap());
    }
    gateway.until("links_accepted_total", |n| n == 41).await;
    // Behind the same address, as it happens.
    let mut device = Device::link(gateway.link, &id, &psk).await;
    device.deliver(1, 1, 1).await;
    linked.deliver(1, 2, 1).await;
    assert_eq!(gateway.metric("links_over_bound_total").await, 0);
    assert!(gateway.metric("links_made_way_total").await >= 33);
    drop(silent);
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
    assert_eq!(refused(&gateway, &id, &psk, |_| {}).await, 2);
    gateway.stop().await;
}
