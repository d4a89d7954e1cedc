//! What gateways shall be like, on its way to them: named to each that has not judged it, and sent
//! piece by piece as they ask for it.
//!
//! What each shall be like, and how far it says that it is, is in the store. In memory is only what
//! was named and when: a restart names it again, which the gateway knows by its revision.

mod delivery;
mod renewal;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use stencil_protocol::desired::Digest;
use stencil_protocol::id::{GatewayId, TenantId};
use tokio::sync::{Notify, mpsc};

pub(crate) use delivery::Delivery;
pub(crate) use renewal::{Asked as RenewalAsked, Renewals};

/// Requests for pieces that may wait; what is beyond is named again, and asked for again.
const MAX_FETCHES: usize = 1_024;

/// Certificates that may wait to be renewed; who is beyond asks again.
const MAX_RENEWALS: usize = 256;

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
    renewals: mpsc::Sender<RenewalAsked>,
}

/// Where what gateways ask for comes out.
pub(crate) struct Ends {
    /// Pieces of texts.
    pub(crate) asked: mpsc::Receiver<Asked>,
    /// Successors of certificates.
    pub(crate) renewals: mpsc::Receiver<RenewalAsked>,
}

impl Desires {
    /// With the ends at which requests come out.
    pub(crate) fn new() -> (Self, Ends) {
        let (fetches, asked) = mpsc::channel(MAX_FETCHES);
        let (renewals, to_renew) = mpsc::channel(MAX_RENEWALS);
        let inner = Inner {
            wake: Notify::new(),
            listening: Mutex::default(),
            fetches,
            renewals,
        };
        let ends = Ends {
            asked,
            renewals: to_renew,
        };
        (Self(Arc::new(inner)), ends)
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

    /// A gateway asks for the successor of its certificate.
    pub(crate) fn renew(&self, asked: RenewalAsked) {
        let (tenant, gateway) = (asked.0.clone(), asked.1.clone());
        if self.0.renewals.try_send(asked).is_err() {
            tracing::warn!(%tenant, %gateway, "a certificate is not renewed now: too many wait");
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
