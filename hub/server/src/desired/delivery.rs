//! Names to gateways what they shall be like, and sends the pieces that they ask for.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use stencil_mqtt::{Handle, Qos};
use stencil_protocol::desired::{Desired, Digest, MAX_PIECE_BYTES, Named, Revision};
use stencil_protocol::id::{GatewayId, TenantId};
use stencil_protocol::topic::Topic;
use stencil_store::{Error, Gateways};
use tokio::sync::{mpsc, watch};

use super::{Asked, Desires};
use crate::clock::Clock;
use crate::parts::told_to_end;
use crate::policy::{Peer, namespace};
use crate::{DispatchOptions, Principal, Role};

/// Gateways that are looked after at once.
const AT_ONCE: u32 = 1_000;
/// Texts that are held in memory for the pieces to come.
const HELD_TEXTS: usize = 16;

/// Works at what gateways shall be like.
pub(crate) struct Delivery {
    pub(crate) desires: Desires,
    pub(crate) asked: mpsc::Receiver<Asked>,
    pub(crate) gateways: Arc<dyn Gateways>,
    pub(crate) handle: Handle<Peer>,
    pub(crate) clock: Clock,
    pub(crate) options: DispatchOptions,
    /// What was named and is not judged, and when.
    pub(crate) named: HashMap<(TenantId, GatewayId), (Revision, i64)>,
    /// The texts that were asked for last, the newest last.
    pub(crate) texts: Vec<(TenantId, Digest, Arc<str>)>,
}

impl Delivery {
    /// Works until `stop` holds true.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let interval = Duration::from_millis(self.options.sweep_interval_ms);
        let mut sweep = tokio::time::interval(interval);
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let desires = self.desires.clone();
        loop {
            tokio::select! {
                () = told_to_end(&mut stop) => return,
                () = desires.0.wake.notified() => {
                    for gateway in desires.take_listening() {
                        self.named.remove(&gateway);
                    }
                    self.name_all().await;
                }
                _ = sweep.tick() => self.name_all().await,
                Some((tenant, gateway, digest, offset)) = self.asked.recv() => {
                    self.send(&tenant, &gateway, digest, offset).await;
                }
            }
        }
    }

    async fn name_all(&mut self) {
        if let Err(error) = self.name_each().await {
            tracing::warn!(%error, "gateways are not told what they shall be like now; trying again");
        }
    }

    async fn name_each(&mut self) -> Result<(), Error> {
        let now_us = self.clock.now_us();
        let again_us = self.options.resend_after_ms.saturating_mul(1_000);
        let again_us = i64::try_from(again_us).unwrap_or(i64::MAX);
        self.named
            .retain(|_, (_, at_us)| now_us.saturating_sub(*at_us) < again_us);
        for (tenant, gateway) in self.gateways.undecided(AT_ONCE).await? {
            let Some(effective) = self.gateways.effective(&tenant, &gateway).await? else {
                continue;
            };
            let revision = effective.revision;
            let key = (tenant, gateway);
            if self.named.get(&key).is_some_and(|(of, _)| *of == revision) {
                continue;
            }
            let sections = effective.sections.iter().map(|section| Named {
                section: section.section,
                digest: section.digest,
                length: section.length,
            });
            let message = Desired::Be {
                revision,
                sections: sections.collect(),
            };
            if self.publish(&key.0, &key.1, &message) {
                self.named.insert(key, (revision, now_us));
            }
        }
        Ok(())
    }

    /// Sends a piece. One that is not sent is asked for again when the state is named again.
    async fn send(&mut self, tenant: &TenantId, gateway: &GatewayId, digest: Digest, offset: u32) {
        let text = match self.text(tenant, digest).await {
            Ok(text) => text,
            Err(error) => {
                tracing::warn!(%tenant, %gateway, %error, "a desired state cannot be read now");
                return;
            }
        };
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = text.as_deref().and_then(|text| text.as_bytes().get(from..));
        let bytes = rest.unwrap_or_default().iter().copied();
        let message = Desired::Piece {
            digest,
            offset,
            bytes: bytes.take(MAX_PIECE_BYTES).collect(),
        };
        self.publish(tenant, gateway, &message);
    }

    async fn text(&mut self, tenant: &TenantId, digest: Digest) -> Result<Option<Arc<str>>, Error> {
        let mut held = self.texts.iter();
        if let Some((_, _, text)) = held.find(|(of, is, _)| of == tenant && *is == digest) {
            return Ok(Some(Arc::clone(text)));
        }
        let Some(text) = self.gateways.desired_text(tenant, &digest).await? else {
            return Ok(None);
        };
        let text: Arc<str> = text.into();
        if self.texts.len() >= HELD_TEXTS {
            self.texts.remove(0);
        }
        self.texts.push((tenant.clone(), digest, Arc::clone(&text)));
        Ok(Some(text))
    }

    /// Hands a message over; false if the gateway does not listen.
    fn publish(&self, tenant: &TenantId, gateway: &GatewayId, message: &Desired) -> bool {
        let bytes = match message.encode() {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::error!(%tenant, %gateway, %error, "a desired state cannot be written");
                return false;
            }
        };
        let principal = Principal {
            tenant: tenant.clone(),
            role: Role::Gateway(gateway.clone()),
        };
        let topic = Topic::GatewayDesired(gateway.clone()).to_string();
        let space = namespace(&principal);
        let sent = self
            .handle
            .publish(&space, &topic, bytes, Qos::AtLeastOnce, false);
        match sent {
            Ok(listeners) => listeners > 0,
            Err(error) => {
                tracing::warn!(%tenant, %gateway, %error, "a gateway cannot be told what it shall \
                    be like");
                false
            }
        }
    }
}
