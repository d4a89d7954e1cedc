//! Tells gateways which images their devices are to run, and sends the pieces that they ask for.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use stencil_mqtt::{Handle, Qos};
use stencil_protocol::id::{GatewayId, TenantId};
use stencil_protocol::image::{Fetch, MAX_PIECE_BYTES, MAX_WANTED, Part, Piece, Wanted};
use stencil_protocol::topic::Topic;
use stencil_store::Rollouts as Port;
use tokio::sync::{mpsc, watch};

use super::{Asked, Images, Rollouts};
use crate::parts::told_to_end;
use crate::policy::{Peer, namespace};
use crate::{Error, Principal, Role};

/// Between two attempts at what could not be told.
const AGAIN: Duration = Duration::from_secs(1);

/// Works at what gateways are to be told.
pub(crate) struct Delivery {
    pub(crate) rollouts: Rollouts,
    pub(crate) asked: mpsc::Receiver<Asked>,
    pub(crate) store: Arc<dyn Port>,
    pub(crate) images: Images,
    pub(crate) handle: Handle<Peer>,
}

impl Delivery {
    /// Works until `stop` holds true.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        // Those whose queue was full, or when the store did not answer.
        let mut late: BTreeSet<(TenantId, GatewayId)> = BTreeSet::new();
        let mut again = tokio::time::interval(AGAIN);
        again.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let rollouts = self.rollouts.clone();
        loop {
            tokio::select! {
                () = told_to_end(&mut stop) => return,
                () = rollouts.0.wake.notified() => {
                    for (tenant, gateway) in rollouts.take_wanted() {
                        if !self.tell(&tenant, &gateway).await {
                            late.insert((tenant, gateway));
                        }
                    }
                }
                _ = again.tick(), if !late.is_empty() => {
                    for (tenant, gateway) in std::mem::take(&mut late) {
                        if !self.tell(&tenant, &gateway).await {
                            late.insert((tenant, gateway));
                        }
                    }
                }
                Some((tenant, gateway, fetch)) = self.asked.recv() => {
                    self.send(&tenant, &gateway, &fetch).await;
                }
            }
        }
    }

    /// Tells a gateway all that its devices are to run; false if it has to be told again. One
    /// that does not listen is told when it does.
    async fn tell(&self, tenant: &TenantId, gateway: &GatewayId) -> bool {
        let wanted = match self.store.wanted(tenant, gateway).await {
            Ok(wanted) => wanted,
            Err(error) => {
                tracing::warn!(%tenant, %gateway, %error, "a gateway is not told of images now");
                return false;
            }
        };
        // A plan's bound for one gateway is far below; what is beyond comes when these are done.
        let wanted = wanted.into_iter().take(MAX_WANTED);
        let wanted = Wanted(wanted.map(|it| (it.device, it.image)).collect());
        match wanted.encode() {
            Ok(bytes) => self.publish(tenant, gateway, Topic::GatewayWanted, bytes),
            Err(error) => {
                tracing::error!(%tenant, %gateway, %error, "what is wanted cannot be written");
                true
            }
        }
    }

    /// Sends a piece. One that is not sent is asked for again.
    async fn send(&self, tenant: &TenantId, gateway: &GatewayId, fetch: &Fetch) {
        let piece = match self.piece(tenant, fetch).await {
            Ok(piece) => piece,
            Err(error) => {
                tracing::warn!(%tenant, %gateway, %error, "a piece of an image cannot be read now");
                return;
            }
        };
        match piece.encode() {
            Ok(bytes) => drop(self.publish(tenant, gateway, Topic::GatewayPiece, bytes)),
            Err(error) => tracing::error!(%error, "a piece of an image cannot be written"),
        }
    }

    async fn piece(&self, tenant: &TenantId, fetch: &Fetch) -> Result<Piece, Error> {
        let mut piece = Piece {
            digest: fetch.digest,
            part: fetch.part,
            offset: fetch.offset,
            of: 0,
            bytes: None,
        };
        if fetch.part == Part::Succession {
            let succession = self.store.succession(tenant, &fetch.digest).await?;
            piece.bytes = succession.map(String::into_bytes);
            let length = piece.bytes.as_ref().map_or(0, Vec::len);
            piece.of = u32::try_from(length).unwrap_or(u32::MAX);
            return Ok(piece);
        }
        let Some(image) = self.store.image(tenant, &fetch.digest).await? else {
            return Ok(piece);
        };
        match fetch.part {
            Part::Succession => {}
            Part::Manifest => {
                piece.of = u32::try_from(image.envelope.len()).unwrap_or(u32::MAX);
                let from = usize::try_from(fetch.offset).unwrap_or(usize::MAX);
                let rest = image.envelope.get(from..).unwrap_or_default();
                piece.bytes = Some(rest.iter().copied().take(MAX_PIECE_BYTES).collect());
            }
            Part::Payload => {
                piece.of = image.size;
                let (images, digest) = (self.images.clone(), fetch.digest);
                let offset = u64::from(fetch.offset);
                let read = move || images.read(&digest, offset, MAX_PIECE_BYTES);
                let read = tokio::task::spawn_blocking(read).await;
                piece.bytes =
                    read.map_err(|error| Error::Stopped("reading of images", error.to_string()))??;
            }
        }
        Ok(piece)
    }

    /// Publishes to a gateway; false if it listens and has not got it.
    fn publish(
        &self,
        tenant: &TenantId,
        gateway: &GatewayId,
        topic: fn(GatewayId) -> Topic,
        bytes: Vec<u8>,
    ) -> bool {
        let principal = Principal {
            tenant: tenant.clone(),
            role: Role::Gateway(gateway.clone()),
        };
        let (space, topic) = (namespace(&principal), topic(gateway.clone()).to_string());
        let published = self
            .handle
            .publish(&space, &topic, bytes, Qos::AtLeastOnce, false);
        match published {
            Ok(0) => self.handle.listeners(&space, &topic) == 0,
            Ok(_) => true,
            Err(error) => {
                tracing::warn!(%tenant, %gateway, %error, "a gateway cannot be told of images");
                true
            }
        }
    }
}
