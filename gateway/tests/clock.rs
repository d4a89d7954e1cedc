//! A clock that is wrong at the start and right later: nothing is too old for it, nobody is told
//! it. A process of its own, as the clock is the process's.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    dead_code,
    reason = "it uses a part of the behaviour's tests"
)]

#[path = "behaviour/device.rs"]
mod device;
#[path = "behaviour/hub.rs"]
mod hub;
#[path = "behaviour/place.rs"]
mod place;

use std::time::{Duration, SystemTime};

use stencil_gateway::clock;
use stencil_protocol::{id::Boot, link::Up};

use crate::{
    device::{Device, Told},
    hub::{Hub, ledger, link_events},
    place::{Gateway, Place, get},
};

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future)
        .await
        .expect("it took too long")
}

fn true_now_us() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap().as_micros() as i64
}

/// The time that the device is told when it asks, if it is told one before an acknowledgement. Its
/// first message shows its key.
async fn time_told(device: &mut Device, first: u64) -> Option<i64> {
    device.say(&Up::Ping).await;
    device.say(&Up::Batch(&device::batch(1, first, 10))).await;
    let mut told_us = None;
    loop {
        match device.told().await.expect("a link") {
            Told::Time(now_us) => told_us = Some(now_us),
            Told::Ack(..) => return told_us,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_clock_costs_nothing_and_is_told_to_nobody() {
    let place = Place::new();
    let mut hub = Hub::new(&place.authority);
    let (id, psk) = place.device("freezer-07");
    let mut options = place.options(&hub);
    options.spool.segment_bytes = 70_000;
    options.spool.max_age_s = 3_600;
    const YEAR_US: i64 = 365 * 86_400_000_000;
    let mut first = 1;
    // Without power 1970, then ten years ahead, then right; a life of the gateway each.
    for wrong_by_us in [-true_now_us(), 10 * YEAR_US, 0] {
        clock::shift_us(wrong_by_us);
        let gateway = Gateway::start(options.clone()).await;
        let mut device = Device::answered(gateway.link, &id, &psk).await;
        let told_us = time_told(&mut device, first).await;
        first += 10;
        let (_, ready) = get(gateway.http, "/readyz").await;
        if wrong_by_us == 0 {
            let off_us = (told_us.expect("the time") - true_now_us()).abs();
            assert!(off_us < 60_000_000, "{off_us}");
            assert!(!ready.contains("clock"), "{ready}");
        } else {
            assert_eq!(told_us, None, "{wrong_by_us}");
            assert!(ready.contains("clock: it has not been set"), "{ready}");
        }
        for _ in 0..200 {
            device.deliver(1, first, 50).await;
            first += 50;
        }
        // What is too old is looked for at each start, and now and then.
        assert_eq!(gateway.metric("samples_lost_total").await, 0);
        gateway.stop().await;
    }
    // Put right while it runs.
    clock::shift_us(-true_now_us());
    let gateway = Gateway::start(options).await;
    let mut device = Device::answered(gateway.link, &id, &psk).await;
    assert_eq!(time_told(&mut device, first).await, None);
    clock::shift_us(0);
    assert!(time_told(&mut device, first + 10).await.is_some());
    first += 20;
    assert_eq!(gateway.metric("samples_lost_total").await, 0);
    hub.start().await;
    let kept = hub
        .until(|kept| ledger(kept, &id, Boot(1)).stored.len() == first - 1)
        .await;
    assert!(ledger(&kept, &id, Boot(1)).dropped.is_empty());
    // What the gateway says itself has a time where it knew one, and else none.
    let times: Vec<i64> = link_events(&kept, &id)
        .iter()
        .map(|event| event.at_us)
        .collect();
    assert_eq!(times[..4], [0; 4], "{times:?}");
    assert!((times[4] - true_now_us()).abs() < 600_000_000, "{times:?}");
    gateway.stop().await;
}
