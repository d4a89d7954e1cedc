//! When a gateway begins to listen for commands, and when its session ends.

use stencil_mqtt::{Disconnect, Event};
use stencil_protocol::id::{GatewayId, TenantId};
use tokio::sync::{broadcast, watch};

use super::Contest;
use crate::access::Telling;
use crate::clock::Clock;
use crate::desired::Desires;
use crate::ingest::Ingest;
use crate::links::Links;
use crate::parts::told_to_end;
use crate::placing::Placing;
use crate::policy::Peer;
use crate::rollout::Rollouts;
use crate::wake::Wakes;
use crate::{Live, LiveEvent};

/// Follows the endpoint's events, and tells those whom they concern.
pub(crate) struct Sessions {
    pub(crate) events: broadcast::Receiver<Event<Peer>>,
    pub(crate) wakes: Wakes,
    pub(crate) links: Links,
    pub(crate) live: Live,
    pub(crate) clock: Clock,
    pub(crate) rollouts: Rollouts,
    pub(crate) placing: Placing,
    pub(crate) telling: Telling,
    pub(crate) desires: Desires,
    pub(crate) ingest: Ingest,
    pub(crate) contest: Contest,
}

impl Sessions {
    /// Nobody is connected yet.
    pub(crate) fn begin(&self) {
        self.gone(None);
    }

    /// Says in the log that a gateway is cut off, or all are, where a roll-out has to know.
    fn gone(&self, of: Option<(TenantId, GatewayId)>) {
        if !self.rollouts.is_any_under_way() {
            return;
        }
        if let Err(error) = self.ingest.gateway_gone(of) {
            // Time-outs of roll-outs may then run for devices that are off.
            tracing::warn!(%error, "the log takes no word of a gateway that is cut off");
        }
    }

    /// Works until told to end. Waits for nothing else, so that it does not fall behind.
    pub(crate) async fn watch(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            let event = tokio::select! {
                event = self.events.recv() => event,
                () = told_to_end(&mut stop) => return,
            };
            match event {
                Ok(event) => self.take(&event),
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    tracing::warn!(missed, "endpoint events were missed");
                    self.links.all_ended(self.clock.now_us());
                    self.ingest.asking().all_gone();
                    self.gone(None);
                }
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }

    fn take(&mut self, event: &Event<Peer>) {
        let (Event::Subscribed { source, .. } | Event::Disconnected { source, .. }) = event else {
            return;
        };
        let principal = &source.principal.principal;
        let (tenant, Some(gateway)) = (&principal.tenant, principal.gateway()) else {
            return;
        };
        match event {
            // The policy lets a gateway subscribe to what is its own to hear, and to nothing else.
            Event::Subscribed { filter, .. } => {
                self.telling.listens(tenant, gateway, filter);
                self.wakes.gateway(tenant, gateway);
                self.wakes.keys_of(tenant, gateway);
                self.rollouts.wanted(tenant, gateway);
                self.placing.listens(tenant, gateway);
                self.desires.listens(tenant, gateway);
            }
            // The session lives on in another connection.
            Event::Disconnected {
                reason: Disconnect::TakenOver,
                ..
            } => self
                .contest
                .taken_over(tenant, gateway, self.clock.now_us()),
            _ => {
                let at_us = self.clock.now_us();
                self.links.ended(tenant, gateway, at_us);
                self.placing.ended(tenant, gateway);
                self.telling.ended(tenant, gateway);
                self.ingest.asking().gone(tenant, gateway);
                self.gone(Some((tenant.clone(), gateway.clone())));
                let gateway = gateway.clone();
                self.live
                    .send(tenant, LiveEvent::GatewayLost { gateway, at_us });
            }
        }
    }
}
