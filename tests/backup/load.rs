//! Devices that publish as fast as they are acknowledged, and know what was.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::support::mqtt::Mqtt;
use crate::support::{Hub, batch, wait_for};

/// How many messages a device sends at most: a bound for a test that goes wrong.
const MAX_MESSAGES: u64 = 200_000;
/// An acknowledgement that does not come in this time does not come.
const PATIENCE: Duration = Duration::from_secs(10);

struct Device {
    name: String,
    token: String,
    /// The last number that was acknowledged; numbers are sent one by one.
    acknowledged: Arc<AtomicU64>,
    publishing: Option<JoinHandle<u64>>,
}

/// Some devices.
pub(crate) struct Load {
    devices: Vec<Device>,
    stop: Arc<AtomicBool>,
    /// How far each came.
    sent: BTreeMap<String, u64>,
}

impl Load {
    /// Starts so many: `load-0` and so on, each with a connection of its own.
    pub(crate) fn start(hub: &Hub, devices: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let devices = (0..devices).map(|index| {
            let name = format!("load-{index}");
            let token = hub.device_token(&name);
            let acknowledged = Arc::new(AtomicU64::new(0));
            let client = Mqtt::plain(hub.port("mqtt_plain")).connect(&name, Some(&token));
            let (topic, seen, stop) = (topic(&name), Arc::clone(&acknowledged), Arc::clone(&stop));
            let publishing = std::thread::spawn(move || publish(client, &topic, &seen, &stop));
            Device {
                name,
                token,
                acknowledged,
                publishing: Some(publishing),
            }
        });
        Self {
            devices: devices.collect(),
            stop,
            sent: BTreeMap::new(),
        }
    }

    /// The last acknowledged number of each.
    pub(crate) fn acknowledged(&self) -> BTreeMap<String, u64> {
        let last = |device: &Device| device.acknowledged.load(Ordering::Acquire);
        let devices = self.devices.iter();
        devices.map(|it| (it.name.clone(), last(it))).collect()
    }

    /// Waits until so many are acknowledged in all, and some of each.
    pub(crate) fn wait_for_acknowledged(&self, count: u64) {
        wait_for("acknowledgements under load", || {
            let acknowledged = self.acknowledged();
            let enough = acknowledged.values().sum::<u64>() >= count;
            (enough && acknowledged.values().all(|last| *last > 40)).then_some(())
        });
    }

    /// Ends it; gives the last number that each has sent.
    pub(crate) fn stop(&mut self) -> BTreeMap<String, u64> {
        self.stop.store(true, Ordering::Release);
        for device in &mut self.devices {
            let publishing = device.publishing.take().unwrap();
            self.sent
                .insert(device.name.clone(), publishing.join().unwrap());
        }
        self.sent.clone()
    }

    /// Each sends all that it ever sent once more, to another hub.
    pub(crate) fn send_again(&self, hub: &Hub) {
        for device in &self.devices {
            let mut client =
                Mqtt::plain(hub.port("mqtt_plain")).connect(&device.name, Some(&device.token));
            let last = self.sent[&device.name];
            for first in (1..=last).step_by(50) {
                let count = usize::try_from(50.min(last + 1 - first)).unwrap();
                client.deliver(&topic(&device.name), &batch::numbered(1, first, count));
            }
        }
    }
}

fn topic(device: &str) -> String {
    format!("stencil/v1/d/{device}/batch")
}

/// One number a message, until told to stop or the hub is gone; gives the last that was sent.
fn publish(mut client: Mqtt, topic: &str, acknowledged: &AtomicU64, stop: &AtomicBool) -> u64 {
    for number in 1..=MAX_MESSAGES {
        let payload = batch::numbered(1, number, 1);
        let sent = client.publish(topic, &payload).ok();
        let ack = sent.and_then(|id| Some((id, client.acknowledged(PATIENCE)?)));
        match ack {
            Some((id, ack)) => assert!(ack.id == id && ack.is_success(), "{ack:?}"),
            None => return number,
        }
        acknowledged.store(number, Ordering::Release);
        if stop.load(Ordering::Acquire) {
            return number;
        }
    }
    panic!("nobody has stopped the load");
}
