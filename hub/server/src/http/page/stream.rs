//! The event stream of the live page (server-sent events).
//!
//! What happens within a short time becomes one message: the newest reading of each series, and
//! which fragments are to be asked for anew. So a page costs the same with ten readings a second
//! as with ten thousand.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State as Shared;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::FuturesUnordered;
use futures_util::{Stream, StreamExt as _};
use serde::{Deserialize, Serialize};
use stencil_protocol::id::DeviceId;
use stencil_protocol::sample::OwnedValue;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::super::input::{self, Query};
use super::super::problem::{Kind, Problem};
use super::super::{Caller, State};
use crate::grants::Grant;
use crate::{LiveEvent, LiveEvents, Next};

/// Between two signs of life.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Readings in one message; with more the fleet is asked for anew.
const MAX_READINGS: usize = 500;

/// What the stream brings.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Watch {
    /// Of readings and links, those of this device alone.
    device: Option<String>,
}

/// `GET /live?device`: messages of kind `update`, and `end` when the hub stops, the
/// token is revoked or the session ends.
pub(in crate::http) async fn events(
    Shared(state): Shared<State>,
    caller: Caller,
    Query(watch): Query<Watch>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let only = watch.device.as_deref().map(input::device).transpose()?;
    let permit = state.streams().try_acquire_owned().map_err(|_| {
        let max = state.limits.max_streams;
        Problem::new(
            Kind::Busy,
            format!("{max} live pages are open, which is the limit"),
        )
    })?;
    let grants = caller.hold(state.grants());
    // A token was revoked, or a session ended, since this one was verified: the stream ends as it
    // begins, and who opens another one is asked who they are again.
    let in_doubt = state.grants().revocations() != caller.revocations;
    let events = state.live.subscribe(caller.tenant);
    let gather = Duration::from_millis(state.limits.gather_ms);
    let life = Duration::from_millis(state.limits.stream_life_ms);
    let clock = state.clock.clone();
    let end = Box::pin(async move {
        tokio::select! {
            () = std::future::ready(()), if in_doubt => {}
            () = any_revoked(&grants) => {}
            () = state.stopped_or(life) => {}
        }
    });
    let stream = futures_util::stream::unfold(Some((events, end)), move |open| {
        // The room is given back with the stream.
        let _held = &permit;
        let clock = clock.clone();
        let only = only.clone();
        async move {
            let (mut events, mut end) = open?;
            tokio::select! {
                // First, so that nothing is told after a revocation.
                biased;
                () = &mut end => Some((Ok(Event::default().event("end").data("{}")), None)),
                update = gathered(&mut events, gather, only.as_ref()) => match update {
                    Some(mut update) => {
                        update.at_us = clock.now_us();
                        let event = Event::default().event("update");
                        let data = serde_json::to_string(&update).unwrap_or_default();
                        Some((Ok(event.data(data)), Some((events, end))))
                    }
                    None => Some((Ok(Event::default().event("end").data("{}")), None)),
                },
            }
        }
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// Returns when one of them is revoked.
async fn any_revoked(grants: &[Grant]) {
    let mut revoked: FuturesUnordered<_> = grants.iter().map(Grant::revoked).collect();
    if revoked.next().await.is_none() {
        std::future::pending::<()>().await;
    }
}

/// What changed within a short time.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct Update {
    /// The hub's time.
    at_us: i64,
    readings: Vec<Reading>,
    links: Vec<Linked>,
    /// Fragments to be asked for anew.
    fleet: bool,
    runs: bool,
    alarms: bool,
    commands: bool,
    /// Some roll-out or a device of it changed.
    rollouts: bool,
}

#[derive(Debug, PartialEq, Serialize)]
struct Reading {
    device: DeviceId,
    name: String,
    value: OwnedValue,
    unit: Option<String>,
    time_us: i64,
}

#[derive(Debug, PartialEq, Serialize)]
struct Linked {
    device: DeviceId,
    connected: bool,
}

#[derive(Debug, Default)]
struct Gathering {
    readings: BTreeMap<(DeviceId, String), Reading>,
    links: BTreeMap<DeviceId, bool>,
    fleet: bool,
    runs: bool,
    alarms: bool,
    commands: bool,
    /// Some roll-out or a device of it changed.
    rollouts: bool,
}

impl Gathering {
    fn take(&mut self, event: LiveEvent) {
        match event {
            LiveEvent::Reading {
                device,
                name,
                value,
                unit,
                time_us,
                ..
            } => {
                let key = (device.clone(), name.clone());
                if self.readings.len() >= MAX_READINGS && !self.readings.contains_key(&key) {
                    self.fleet = true;
                    return;
                }
                self.readings.insert(
                    key,
                    Reading {
                        device,
                        name,
                        value,
                        unit,
                        time_us,
                    },
                );
            }
            LiveEvent::Link {
                device, connected, ..
            } => {
                if self.links.len() >= MAX_READINGS && !self.links.contains_key(&device) {
                    self.fleet = true;
                    return;
                }
                self.links.insert(device, connected);
            }
            LiveEvent::GatewayLost { .. } => self.fleet = true,
            LiveEvent::Run { .. } | LiveEvent::RunChanged { .. } => self.runs = true,
            LiveEvent::Alarm { .. } => self.alarms = true,
            LiveEvent::Command { .. } => self.commands = true,
            LiveEvent::Rollout { .. } => self.rollouts = true,
        }
    }

    fn missed(&mut self) {
        (self.fleet, self.runs, self.alarms, self.commands) = (true, true, true, true);
    }

    fn update(self) -> Update {
        let links = self.links.into_iter();
        Update {
            at_us: 0,
            readings: self.readings.into_values().collect(),
            links: links
                .map(|(device, connected)| Linked { device, connected })
                .collect(),
            fleet: self.fleet,
            runs: self.runs,
            alarms: self.alarms,
            commands: self.commands,
            rollouts: self.rollouts,
        }
    }
}

/// Whether a viewer of one device is told.
fn concerns(event: &LiveEvent, only: Option<&DeviceId>) -> bool {
    match (event, only) {
        (LiveEvent::Reading { device, .. } | LiveEvent::Link { device, .. }, Some(only)) => {
            device == only
        }
        _ => true,
    }
}

/// Waits for something to happen, then for a moment more. `None`: nothing will.
async fn gathered(
    events: &mut LiveEvents,
    moment: Duration,
    only: Option<&DeviceId>,
) -> Option<Update> {
    let mut gathering = Gathering::default();
    loop {
        match events.next().await {
            Next::Event(event) if concerns(&event, only) => gathering.take(event),
            Next::Event(_) => continue,
            Next::Missed(_) => gathering.missed(),
            Next::Ended => return None,
        }
        break;
    }
    let until = Instant::now() + moment;
    loop {
        match timeout_at(until, events.next()).await {
            Ok(Next::Event(event)) if concerns(&event, only) => gathering.take(event),
            Ok(Next::Event(_)) => {}
            Ok(Next::Missed(_)) => gathering.missed(),
            Ok(Next::Ended) => {
                sleep_until(until).await;
                return Some(gathering.update());
            }
            Err(_) => return Some(gathering.update()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Live;
    use stencil_protocol::id::TenantId;

    fn reading(device: &str, value: f64) -> LiveEvent {
        LiveEvent::Reading {
            device: device.parse().unwrap(),
            name: "temperature".to_owned(),
            value: OwnedValue::Number(value),
            unit: None,
            time_us: 1,
            post_quantum: true,
        }
    }

    #[tokio::test]
    async fn many_events_are_one_message_with_the_newest_readings() {
        let tenant = TenantId::parse("acme").unwrap();
        let live = Live::new(4_096);
        let mut events = live.subscribe(tenant.clone());
        for n in 0..1_000 {
            live.send(&tenant, reading("a", f64::from(n)));
            live.send(&tenant, reading("b", f64::from(-n)));
        }
        let update = gathered(&mut events, Duration::from_millis(50), None)
            .await
            .unwrap();
        let values: Vec<_> = update.readings.iter().map(|r| r.value.clone()).collect();
        assert_eq!(
            values,
            [OwnedValue::Number(999.0), OwnedValue::Number(-999.0)]
        );
        assert!(!update.fleet && !update.runs && !update.commands);
    }

    #[tokio::test]
    async fn too_many_and_missed_ones_ask_for_the_whole() {
        let tenant = TenantId::parse("acme").unwrap();
        let live = Live::new(1_000);
        let mut events = live.subscribe(tenant.clone());
        for n in 0..=MAX_READINGS {
            live.send(&tenant, reading(&format!("d{n}"), 0.0));
        }
        let update = gathered(&mut events, Duration::from_millis(50), None)
            .await
            .unwrap();
        assert_eq!(update.readings.len(), MAX_READINGS);
        assert!(update.fleet && !update.runs);
        for _ in 0..2_000 {
            live.send(&tenant, reading("a", 0.0));
        }
        let update = gathered(&mut events, Duration::from_millis(50), None)
            .await
            .unwrap();
        assert!(update.fleet && update.runs && update.commands);
    }

    #[tokio::test]
    async fn a_viewer_of_one_device_is_told_of_that_one() {
        let tenant = TenantId::parse("acme").unwrap();
        let live = Live::new(100);
        let mut events = live.subscribe(tenant.clone());
        live.send(&tenant, reading("b", 1.0));
        live.send(&tenant, reading("a", 2.0));
        live.send(&tenant, reading("b", 3.0));
        let a = DeviceId::parse("a").unwrap();
        let update = gathered(&mut events, Duration::from_millis(50), Some(&a))
            .await
            .unwrap();
        let values: Vec<_> = update.readings.iter().map(|r| r.value.clone()).collect();
        assert_eq!(values, [OwnedValue::Number(2.0)]);
    }
}
