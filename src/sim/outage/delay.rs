//! How long it takes from a measurement until the hub shows it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use stencil_protocol::id::DeviceId;
use stencil_simulators::outage::SERIES;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::parts::now_us;
use crate::api::Client;

/// Devices that are watched.
const WATCHED: usize = 8;
/// Between two looks: a delay is told up to so much too long, and never too short.
const LOOK: Duration = Duration::from_millis(100);

/// Delays in milliseconds.
#[derive(Debug, Default, Serialize)]
pub(super) struct Delays {
    /// Half of the values came within this.
    pub(super) p50: u64,
    /// 99 of 100.
    pub(super) p99: u64,
    /// All.
    pub(super) max: u64,
    /// How many values were seen.
    pub(super) values: usize,
}

/// Asks the hub for the newest values of some devices until it is ended.
pub(super) struct Probe {
    end: oneshot::Sender<()>,
    asking: JoinHandle<Vec<u64>>,
}

impl Probe {
    pub(super) fn start(client: Client, devices: &[DeviceId]) -> Self {
        let step = devices.len().div_ceil(WATCHED).max(1);
        let watched: Vec<DeviceId> = devices.iter().step_by(step).cloned().collect();
        let (end, mut ended) = oneshot::channel();
        let since_us = now_us();
        let asking = tokio::spawn(async move {
            let mut delays = Vec::new();
            let mut newest: BTreeMap<usize, i64> = BTreeMap::new();
            let mut tick = tokio::time::interval(LOOK);
            loop {
                tokio::select! {
                    _ = tick.tick() => {}
                    _ = &mut ended => return delays,
                }
                for (index, device) in watched.iter().enumerate() {
                    let path = format!("/api/v1/devices/{device}/latest");
                    // Not there yet, or asked too often: the next look tells.
                    let Ok(shown) = client.get(&path).await else {
                        continue;
                    };
                    let now_us = now_us();
                    let time_us = shown["items"]
                        .as_array()
                        .and_then(|items| items.iter().find(|item| item["name"] == SERIES))
                        .and_then(|item| item["time_us"].as_i64());
                    // Of what was measured before, nobody could be shown it sooner.
                    let Some(time_us) = time_us.filter(|time_us| *time_us >= since_us) else {
                        continue;
                    };
                    if newest.insert(index, time_us) != Some(time_us) {
                        let delay_us = u64::try_from(now_us - time_us).unwrap_or(0);
                        delays.push(delay_us / 1_000);
                    }
                }
            }
        });
        Self { end, asking }
    }

    /// What was seen.
    pub(super) async fn end(self) -> Delays {
        let _ = self.end.send(());
        let mut delays = self.asking.await.unwrap_or_default();
        delays.sort_unstable();
        let at = |percent: usize| {
            let index = (delays.len() * percent).div_ceil(100).max(1) - 1;
            delays.get(index).copied().unwrap_or(0)
        };
        Delays {
            p50: at(50),
            p99: at(99),
            max: at(100),
            values: delays.len(),
        }
    }
}
