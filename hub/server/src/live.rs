//! What happens right now, for pages that watch. A viewer that is too slow misses some and is told
//! so; the truth is in the store.

use serde::Serialize;
use stencil_protocol::command::State;
use stencil_protocol::id::{CommandId, DeviceId, GatewayId, TenantId};
use stencil_protocol::sample::OwnedValue;
use stencil_store::{AlarmEventKind, AlarmId, RunId, Severity};
use tokio::sync::broadcast;

use crate::Rates;

/// Something that became durable a moment ago. The tenant stands beside it, never in its JSON.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum LiveEvent {
    /// A new latest value.
    Reading {
        /// The device.
        device: DeviceId,
        /// The sample's name.
        name: String,
        /// The value.
        value: OwnedValue,
        /// Its unit.
        unit: Option<String>,
        /// Event time, µs since the Unix epoch.
        time_us: i64,
        /// Whether every hop was post-quantum.
        post_quantum: bool,
    },
    /// A device's link came or went.
    Link {
        /// The device.
        device: DeviceId,
        /// The gateway.
        gateway: Option<GatewayId>,
        /// Whether it is up.
        connected: bool,
        /// When, µs since the Unix epoch.
        at_us: i64,
    },
    /// A gateway's session has ended: its devices are not linked until they are heard of again.
    GatewayLost {
        /// The gateway.
        gateway: GatewayId,
        /// When, µs since the Unix epoch.
        at_us: i64,
    },
    /// A rule fired and a run began.
    Run {
        /// The run.
        run: RunId,
        /// Its workflow.
        workflow: String,
        /// When the rule fired (event time), µs since the Unix epoch.
        at_us: i64,
    },
    /// A run went on: look it up.
    RunChanged {
        /// The run.
        run: RunId,
    },
    /// Something happened to an alarm.
    Alarm {
        /// The alarm.
        alarm: AlarmId,
        /// The workflow whose rule it is.
        workflow: String,
        /// The device.
        device: DeviceId,
        /// How bad it is.
        severity: Severity,
        /// What happened.
        state: AlarmEventKind,
        /// When, µs since the Unix epoch: event time where the rule did it.
        at_us: i64,
    },
    /// A roll-out or one of its devices changed: look it up.
    Rollout {
        /// The roll-out.
        rollout: stencil_rollout::Id,
    },
    /// A command changed its state.
    Command {
        /// The command.
        command: CommandId,
        /// Its state now.
        state: State,
        /// When, µs since the Unix epoch.
        at_us: i64,
    },
}

/// The stream of events of all tenants; [`Live::subscribe`] gives those of one.
#[derive(Debug, Clone)]
pub struct Live {
    sender: broadcast::Sender<(TenantId, LiveEvent)>,
    rates: Rates,
}

/// One tenant's events from now on.
#[derive(Debug)]
pub struct LiveEvents {
    tenant: TenantId,
    receiver: broadcast::Receiver<(TenantId, LiveEvent)>,
}

/// What a viewer gets next.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// An event.
    Event(LiveEvent),
    /// So many events (of all tenants) were missed: read the state anew.
    Missed(u64),
    /// The hub stops.
    Ended,
}

impl Live {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            sender: broadcast::channel(capacity.max(1)).0,
            rates: Rates::default(),
        }
    }

    /// How many readings come right now, whether or not anybody watches.
    #[must_use]
    pub fn rates(&self) -> &Rates {
        &self.rates
    }

    /// Whether anybody watches.
    pub(crate) fn is_watched(&self) -> bool {
        self.sender.receiver_count() > 0
    }

    pub(crate) fn send(&self, tenant: &TenantId, event: LiveEvent) {
        // No viewer is fine.
        let _ = self.sender.send((tenant.clone(), event));
    }

    /// The events of a tenant from now on.
    #[must_use]
    pub fn subscribe(&self, tenant: TenantId) -> LiveEvents {
        LiveEvents {
            tenant,
            receiver: self.sender.subscribe(),
        }
    }
}

impl LiveEvents {
    /// Waits for what comes next.
    pub async fn next(&mut self) -> Next {
        loop {
            match self.receiver.recv().await {
                Ok((tenant, event)) if tenant == self.tenant => return Next::Event(event),
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(missed)) => return Next::Missed(missed),
                Err(broadcast::error::RecvError::Closed) => return Next::Ended,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(at_us: i64) -> LiveEvent {
        let device = DeviceId::parse("d").unwrap();
        LiveEvent::Link {
            device,
            gateway: None,
            connected: true,
            at_us,
        }
    }

    fn tenant(name: &str) -> TenantId {
        TenantId::parse(name).unwrap()
    }

    #[tokio::test]
    async fn a_viewer_sees_its_own_tenant_only_and_learns_what_it_missed() {
        let live = Live::new(2);
        let mut events = live.subscribe(tenant("ours"));
        live.send(&tenant("theirs"), event(1));
        live.send(&tenant("ours"), event(2));
        assert_eq!(events.next().await, Next::Event(event(2)));
        for at_us in 3..8 {
            live.send(&tenant("ours"), event(at_us));
        }
        assert_eq!(events.next().await, Next::Missed(3));
        assert_eq!(events.next().await, Next::Event(event(6)));
        drop(live);
        assert_eq!(events.next().await, Next::Event(event(7)));
        assert_eq!(events.next().await, Next::Ended);
    }
}
