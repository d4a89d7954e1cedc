//! After a long outage what is new goes first, and what waited comes beside it.

use stencil_protocol::{
    id::{Boot, DeviceId},
    topic::Topic,
};

use crate::{
    device::Device,
    hub::{Hub, Kept, batches, ledger, link_events},
    place::{Gateway, Place},
};

/// Batches that wait.
const WAITING: u64 = 300;

/// Two devices behind a gateway whose hub is away; the first has sent much. The second is linked.
struct Outage {
    hub: Hub,
    gateway: Gateway,
    first: Device,
    second: Device,
}

async fn outage(place: &Place, in_order_bytes: u64) -> Outage {
    let hub = Hub::new(&place.authority);
    let mut options = place.options(&hub);
    options.hub.in_order_bytes = in_order_bytes;
    let gateway = Gateway::start(options).await;
    let (id, psk) = place.device("freezer-07");
    let mut first = Device::link(gateway.link, &id, &psk).await;
    for n in 0..WAITING {
        first.deliver(1, 1 + n * 10, 10).await;
    }
    let (id, psk) = place.device("freezer-08");
    let second = Device::link(gateway.link, &id, &psk).await;
    Outage {
        hub,
        gateway,
        first,
        second,
    }
}

fn of<'a>(kept: &'a [Kept], device: &DeviceId) -> Vec<&'a Kept> {
    batches(kept, device)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_new_does_not_wait_for_what_is_old() {
    let place = Place::new();
    let Outage {
        mut hub,
        gateway,
        first,
        mut second,
    } = outage(&place, 0).await;
    // Nothing is acknowledged: so only the first few of what is old are on their way.
    hub.hold();
    hub.start().await;
    gateway
        .until("uplink_connected", |connected| connected == 1)
        .await;
    second.deliver(1, 1, 10).await;
    let kept = hub.until(|kept| !of(kept, &second.id).is_empty()).await;
    assert!(of(&kept, &first.id).len() < 10, "{}", kept.len());

    hub.release();
    let all = |kept: &[Kept]| {
        ledger(kept, &first.id, Boot(1)).stored.len() == WAITING * 10
            && ledger(kept, &second.id, Boot(1)).stored.len() == 10
    };
    let kept = hub.until(all).await;
    let back_filled = of(&kept, &first.id).len() as u64;
    assert_eq!(back_filled, WAITING, "each once, in whatever order");
    gateway
        .until("spool_waiting_bytes", |bytes| bytes == 0)
        .await;
    let counted = gateway.metric("publishes_back_filled_total").await;
    // And the reports of the two links.
    assert_eq!(counted, WAITING + 2);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_outage_keeps_the_order() {
    let place = Place::new();
    let Outage {
        mut hub,
        gateway,
        first,
        mut second,
    } = outage(&place, 1 << 20).await;
    hub.hold();
    hub.start().await;
    gateway
        .until("uplink_connected", |connected| connected == 1)
        .await;
    second.deliver(1, 1, 10).await;
    hub.release();
    let kept = hub.until(|kept| !of(kept, &second.id).is_empty()).await;
    assert_eq!(of(&kept, &first.id).len() as u64, WAITING);
    gateway.stop().await;
}

/// The hub keeps what it hears last of a link, so an older report must not follow a newer one.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_report_of_a_link_does_not_follow_a_newer_one() {
    let place = Place::new();
    let mut hub = Hub::new(&place.authority);
    let mut options = place.options(&hub);
    options.hub.in_order_bytes = 0;
    let gateway = Gateway::start(options).await;
    let (id, psk) = place.device("freezer-07");
    let (talker, talker_psk) = place.device("freezer-08");
    let mut many = Device::link(gateway.link, &talker, &talker_psk).await;
    for n in 0..50 {
        many.deliver(1, 1 + n * 10, 10).await;
    }
    // A link that comes and goes in the outage, behind what fills the window of the back-fill.
    let once = Device::link(gateway.link, &id, &psk).await;
    gateway.until("links", |links| links == 2).await;
    drop(once);
    gateway.until("links", |links| links == 1).await;
    // What is on disk when the hub comes back is back-filled, and what is acknowledged is on disk with all before.
    many.deliver(1, 501, 10).await;
    hub.hold();
    hub.start().await;
    gateway
        .until("uplink_connected", |connected| connected == 1)
        .await;
    let _again = Device::link(gateway.link, &id, &psk).await;
    hub.until(|kept| link_events(kept, &id).len() == 1).await;
    hub.release();
    gateway
        .until("spool_waiting_bytes", |bytes| bytes == 0)
        .await;
    let kept = hub.kept();
    let events = link_events(&kept, &id);
    assert_eq!(events.len(), 1, "{events:?}");
    assert!(
        kept.iter()
            .any(|kept| kept.topic == Topic::Link(id.clone()))
    );
    assert_eq!(gateway.metric("publishes_superseded_total").await, 2);
    gateway.stop().await;
}
