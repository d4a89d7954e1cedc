//! What gateways shall be like, on its way to them: named to each that has not judged it, and sent
//! piece by piece as they ask for it.
//!
//! What each shall be like, and how far it says that it is, is in the store. In memory is only what
//! was named and when: a restart names it again, which the gateway knows by its revision.

mod delivery;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use stencil_protocol::desired::Digest;
use stencil_protocol::id::{GatewayId, TenantId};
use tokio::sync::{Notify, mpsc};

pub(crate) use delivery::Delivery;

/// Requests for pieces that may wait; what is beyond is named again, and asked for again.
const MAX_FETCHES: usize = 1_024;

/// A piece that a gateway asks for: of which text, from which byte on.
pub(crate) type Asked = (TenantId, GatewayId, Digest, u32);

/// Who is told that there is something to name or to send. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Desires(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    wake: Notify,
    /// Gateways that have begun to listen; at most as many as are connected.
    listening: Mutex<BTreeSet<(TenantId, GatewayId)>>,
    fetches: mpsc::Sender<Asked>,
}

impl Desires {
    /// With the end at which requests for pieces come out.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Asked>) {
        let (fetches, asked) = mpsc::channel(MAX_FETCHES);
        let inner = Inner {
            wake: Notify::new(),
            listening: Mutex::default(),
            fetches,
        };
        (Self(Arc::new(inner)), asked)
    }

    /// Some gateway shall be another, or has said what it is like.
    pub(crate) fn changed(&self) {
        self.0.wake.notify_one();
    }

    /// A gateway has (again) begun to listen.
    pub(crate) fn listens(&self, tenant: &TenantId, gateway: &GatewayId) {
        let mut listening = self
            .0
            .listening
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        listening.insert((tenant.clone(), gateway.clone()));
        drop(listening);
        self.changed();
    }

    /// A gateway asks for a piece.
    pub(crate) fn fetch(&self, asked: Asked) {
        let (tenant, gateway) = (asked.0.clone(), asked.1.clone());
        if self.0.fetches.try_send(asked).is_err() {
            tracing::warn!(%tenant, %gateway, "a piece of a desired state is not sent now: too \
                many are asked for");
        }
    }

    fn take_listening(&self) -> BTreeSet<(TenantId, GatewayId)> {
        let mut listening = self
            .0
            .listening
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *listening)
    }
}
