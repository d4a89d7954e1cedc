//! Field devices, as the hub meets them: read by their protocol, numbered by the gateway.

use std::path::PathBuf;

use stencil_protocol::{
    batch::{Batch, DropReason},
    id::{Boot, DeviceId},
    ledger::BootLedger,
    line::Line,
    report::{Link, LinkEvent},
    topic::Topic,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::watch,
};

use crate::{
    full_disk::{Full, full},
    hub::{Hub, Kept, ledger},
    place::{Gateway, Place},
};

/// A Modbus device that has in each holding register how often it was asked.
pub(crate) async fn device() -> u16 {
    device_once(watch::channel(true).1).await
}

/// One that answers when it is told to.
pub(crate) async fn device_once(mut answers: watch::Receiver<bool>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = answers.wait_for(|answers| *answers).await;
            let mut asked = 0u16;
            let mut request = [0; 12];
            while stream.read_exact(&mut request).await.is_ok() {
                asked = asked.wrapping_add(1);
                let count = u16::from_be_bytes([request[10], request[11]]);
                let mut answer = request[..8].to_vec();
                answer.push((2 * count) as u8);
                answer.extend(std::iter::repeat_n(asked.to_be_bytes(), count.into()).flatten());
                let length = (answer.len() - 6) as u16;
                answer[4..6].copy_from_slice(&length.to_be_bytes());
                if stream.write_all(&answer).await.is_err() {
                    break;
                }
            }
        }
    });
    port
}

pub(crate) fn mapping(place: &Place, device: &str, port: u16, points: u16) -> PathBuf {
    let points: String = (0..points)
        .map(|n| format!("      p{n}: {{ holding: {n}, type: u16, unit: kPa }}\n"))
        .collect();
    let yaml = format!(
        "version: 1\nconnections: {{ c: {{ modbus-tcp: \"127.0.0.1:{port}\", timeout: 1m }} }}\ndevices:\n  \
         {device}:\n    connection: c\n    every: 100ms\n    points:\n{points}"
    );
    let file = place.folder().join(format!("{device}.yaml"));
    std::fs::write(&file, yaml).unwrap();
    file
}

pub(crate) fn batches<'a>(
    kept: &'a [Kept],
    device: &'a DeviceId,
) -> impl Iterator<Item = &'a Kept> {
    let topic = Topic::Batch(device.clone());
    kept.iter().filter(move |kept| kept.topic == topic)
}

pub(crate) fn boot(kept: &[Kept], device: &DeviceId) -> Option<Boot> {
    let first = batches(kept, device).next()?;
    Some(Batch::decode(&first.payload).unwrap().header().boot)
}

pub(crate) fn books(kept: &[Kept], device: &DeviceId) -> Option<BootLedger> {
    Some(ledger(kept, device, boot(kept, device)?))
}

fn links(kept: &[Kept], device: &DeviceId) -> Vec<Link> {
    let topic = Topic::Link(device.clone());
    kept.iter()
        .filter(|kept| kept.topic == topic)
        .map(|kept| LinkEvent::decode(&kept.payload).unwrap().event)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_device_is_a_device_to_the_hub_and_its_line_is_named() {
    let place = Place::new();
    let mut hub = Hub::new(&place.authority);
    hub.start().await;
    let mut options = place.options(&hub);
    options.field.mapping = Some(mapping(&place, "press-1", device().await, 3));
    let id = DeviceId::parse("press-1").unwrap();
    let gateway = Gateway::start(options).await;
    hub.until(|kept| batches(kept, &id).count() > 2).await;
    gateway.stop().await;
    // That it is read no more lies in the spool, for the next time.
    let gateway = place.gateway(&hub).await;
    hub.until(|kept| links(kept, &id).len() == 2).await;
    hub.until(|kept| {
        let suite = Line::ModbusTcp.id();
        assert_eq!(
            links(kept, &id),
            [Link::Connected { suite }, Link::Disconnected]
        );
        for batch in batches(kept, &id) {
            let named = ("link-suite".to_owned(), "modbus-tcp".to_owned());
            assert_eq!(batch.user_properties, [named]);
        }
        // From 1 on, without a gap.
        let books = books(kept, &id).unwrap();
        assert_eq!(books.dropped.len(), 0);
        assert!(books.gaps().is_empty(), "{books:?}");
        true
    })
    .await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_spool_has_no_room_for_is_dropped_and_reported() {
    let place = Place::new();
    let mut hub = Hub::new(&place.authority);
    let Full { gateway, next, .. } = full(&place, &hub).await;
    let port = device().await;
    let press = mapping(&place, "press-1", port, 100);
    gateway.running.replace_mapping(&press).await.unwrap();
    gateway
        .until("field_samples_dropped_total", |dropped| dropped > 500)
        .await;
    // No more is read of it, and there is room again.
    let other = mapping(&place, "press-2", port, 1);
    gateway.running.replace_mapping(&other).await.unwrap();
    let dropped = gateway.metric("field_samples_dropped_total").await;
    std::fs::remove_file(next).unwrap();
    hub.start().await;
    let id = DeviceId::parse("press-1").unwrap();
    hub.until(|kept| {
        let Some(books) = books(kept, &id) else {
            return false;
        };
        let reported = books.dropped.get(&DropReason::BufferFull);
        let reported = reported.is_some_and(|reported| reported.len() >= dropped);
        reported && books.gaps().is_empty()
    })
    .await;
    gateway.stop().await;
}
