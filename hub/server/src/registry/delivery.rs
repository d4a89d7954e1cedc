//! Gives gateways the keys of their devices, and has the pipeline refuse who was revoked.
//!
//! What a gateway shall hold, and how far it says that it does, is in the store. In memory is only
//! what is on its way and since when: a restart sends it again, which the gateway knows by its
//! revision.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use stencil_crypto::rng;
use stencil_crypto::seal::{Place, PublicKey, Purpose, Sealer};
use stencil_mqtt::{Handle, Qos};
use stencil_protocol::id::{DeviceId, GatewayId, TenantId};
use stencil_protocol::keys::{Entry, MAX_ENTRIES, SealedKey, Update};
use stencil_protocol::topic::Topic;
use stencil_store::{Delivery, Error, Registry};
use tokio::sync::watch;

use super::HubKey;
use crate::clock::Clock;
use crate::ingest::{Admission, Ingest};
use crate::parts::told_to_end;
use crate::policy::{Peer, namespace};
use crate::wake::Wakes;
use crate::{DispatchOptions, Principal, Role};

/// Gateways, and devices, that are looked after at once.
const AT_ONCE: u32 = 1_000;

/// Brings gateways and the pipeline to where the store says they shall be.
pub(crate) struct Deliverer {
    pub(crate) registry: Arc<dyn Registry>,
    pub(crate) key: HubKey,
    pub(crate) handle: Handle<Peer>,
    pub(crate) ingest: Ingest,
    pub(crate) wakes: Wakes,
    pub(crate) clock: Clock,
    pub(crate) options: DispatchOptions,
    /// What was handed over and is not acknowledged.
    pub(crate) in_flight: HashMap<(TenantId, GatewayId), Flight>,
    /// What was logged and is not applied, and when.
    pub(crate) logged: HashMap<(TenantId, DeviceId), (bool, i64)>,
}

/// An update on its way.
pub(crate) struct Flight {
    epoch: u64,
    after: u64,
    at_us: i64,
}

/// Why an update cannot be made.
#[derive(Debug, thiserror::Error)]
enum Unsealable {
    #[error("the hub's own key, keys/seal.key, is missing")]
    NoKey,
    #[error("the gateway's key: {0}")]
    Gateway(stencil_crypto::seal::Error),
    #[error("the key of device {device} cannot be opened: {why}")]
    Device {
        device: DeviceId,
        why: stencil_crypto::seal::Error,
    },
    #[error("{0}")]
    Message(#[from] stencil_protocol::keys::Error),
}

impl Deliverer {
    /// Works until `stop` holds true.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let interval = Duration::from_millis(self.options.sweep_interval_ms);
        let mut sweep = tokio::time::interval(interval);
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let wakes = self.wakes.clone();
        loop {
            let done = tokio::select! {
                () = told_to_end(&mut stop) => return,
                () = wakes.keys_woken() => {
                    for gateway in wakes.take_keys_of() {
                        self.in_flight.remove(&gateway);
                    }
                    self.deliver().await
                }
                _ = sweep.tick() => match self.settle().await {
                    Ok(()) => self.deliver().await,
                    failed => failed,
                },
            };
            if let Err(error) = done {
                tracing::warn!(%error, "keys of devices cannot be given out now; trying again");
            }
        }
    }

    /// Logs decisions that the pipeline does not follow yet: the hub was killed after one was kept
    /// and before it was logged, or the log had no room.
    async fn settle(&mut self) -> Result<(), Error> {
        let now_us = self.clock.now_us();
        let again_us = microseconds(self.options.resend_after_ms);
        self.logged
            .retain(|_, (_, at_us)| now_us.saturating_sub(*at_us) < again_us);
        for one in self.registry.unsettled(AT_ONCE).await? {
            let key = (one.tenant.clone(), one.device.clone());
            if self
                .logged
                .get(&key)
                .is_some_and(|(refused, _)| *refused == one.refused)
            {
                continue;
            }
            let admission = Admission {
                tenant: one.tenant,
                device: one.device,
                refused: one.refused,
            };
            match self.ingest.admit(admission).await {
                Ok(_) => {
                    self.logged.insert(key, (one.refused, now_us));
                }
                Err(error) => {
                    tracing::warn!(%error, "a revocation is not logged yet; trying again");
                    break;
                }
            }
        }
        Ok(())
    }

    async fn deliver(&mut self) -> Result<(), Error> {
        let now_us = self.clock.now_us();
        let resend_us = microseconds(self.options.resend_after_ms);
        self.in_flight
            .retain(|_, flight| now_us.saturating_sub(flight.at_us) < resend_us);
        for (tenant, gateway) in self.registry.behind(AT_ONCE).await? {
            let limit = u32::try_from(MAX_ENTRIES).unwrap_or(u32::MAX);
            let next = self.registry.delivery(&tenant, &gateway, limit).await?;
            let Some(delivery) = next else { continue };
            let key = (tenant, gateway);
            let flies =
                |flight: &Flight| (flight.epoch, flight.after) == (delivery.epoch, delivery.after);
            if self.in_flight.get(&key).is_some_and(flies) {
                continue;
            }
            let (tenant, gateway) = &key;
            let update = match self.sealed(tenant, gateway, &delivery) {
                Ok(update) => update,
                Err(error) => {
                    tracing::error!(%tenant, %gateway, %error, "keys cannot be given to a gateway");
                    continue;
                }
            };
            if self.send(tenant, gateway, update) {
                let flight = Flight {
                    epoch: delivery.epoch,
                    after: delivery.after,
                    at_us: now_us,
                };
                self.in_flight.insert(key, flight);
            }
        }
        Ok(())
    }

    /// The update's bytes.
    fn sealed(
        &self,
        tenant: &TenantId,
        gateway: &GatewayId,
        delivery: &Delivery,
    ) -> Result<Vec<u8>, Unsealable> {
        let keys = self.key.get().ok_or(Unsealable::NoKey)?;
        let to = PublicKey::from_slice(&delivery.public_key).map_err(Unsealable::Gateway)?;
        let sealer = Sealer::new(&to, Purpose::Delivery, &mut rng::Os);
        let mut sealer = sealer.map_err(Unsealable::Gateway)?;
        let mut entries = Vec::with_capacity(delivery.entries.len());
        for placed in &delivery.entries {
            let device = &placed.device;
            let failed = |why| Unsealable::Device {
                device: device.clone(),
                why,
            };
            let mut sealed = Vec::with_capacity(placed.keys.len());
            for (generation, locked) in &placed.keys {
                let psk = keys
                    .unlock(tenant, device, *generation, locked)
                    .map_err(failed)?;
                let place = Place {
                    tenant: tenant.as_str(),
                    gateway: gateway.as_str(),
                    device: device.as_str(),
                    generation: *generation,
                };
                sealed.push(SealedKey {
                    generation: *generation,
                    sealed: sealer.seal(place, &psk).map_err(failed)?,
                });
            }
            entries.push(Entry {
                device: device.clone(),
                identity: placed.identity.clone(),
                keys: sealed,
            });
        }
        let update = Update {
            epoch: delivery.epoch,
            after: delivery.after,
            through: delivery.through,
            encapsulated: sealer.encapsulated().to_vec(),
            entries,
            last: delivery.last,
        };
        Ok(update.encode()?)
    }

    /// Hands an update over; false if the gateway does not listen.
    fn send(&self, tenant: &TenantId, gateway: &GatewayId, update: Vec<u8>) -> bool {
        let principal = Principal {
            tenant: tenant.clone(),
            role: Role::Gateway(gateway.clone()),
        };
        let topic = Topic::GatewayKeys(gateway.clone()).to_string();
        let space = namespace(&principal);
        let sent = self
            .handle
            .publish(&space, &topic, update, Qos::AtLeastOnce, false);
        match sent {
            Ok(listeners) => listeners > 0,
            Err(error) => {
                tracing::warn!(%tenant, %gateway, %error, "keys cannot be published");
                false
            }
        }
    }
}

fn microseconds(ms: u64) -> i64 {
    i64::try_from(ms.saturating_mul(1_000)).unwrap_or(i64::MAX)
}
