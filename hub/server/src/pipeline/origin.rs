//! Where a publication came from, as far as its effects depend on it.

use stencil_crypto::suite;
use stencil_protocol::id::{GatewayId, TenantId};
use stencil_store::LinkInfo;

use crate::Principal;
use crate::ingest::{Publication, Transport};

/// The circumstances of one publication.
#[derive(Debug)]
pub(super) struct Origin<'a> {
    pub(super) tenant: TenantId,
    pub(super) from: Principal,
    pub(super) topic: &'a str,
    pub(super) payload: &'a [u8],
    pub(super) received_us: i64,
    /// Where its record begins in the log.
    pub(super) position: u64,
    /// What the hops negotiated.
    pub(super) link: LinkInfo,
    /// Whether the hop to the hub was post-quantum.
    pub(super) hub_hop: bool,
}

impl<'a> Origin<'a> {
    pub(super) fn new(publication: &Publication<'a>, received_us: i64, position: u64) -> Self {
        Self {
            tenant: publication.from.tenant.clone(),
            from: publication.from.clone(),
            topic: publication.topic,
            payload: publication.payload,
            received_us,
            position,
            link: link(publication),
            hub_hop: matches!(
                publication.transport,
                Transport::Tls {
                    post_quantum: true,
                    ..
                }
            ),
        }
    }

    /// The gateway that it came through, if any.
    pub(super) fn gateway(&self) -> Option<&GatewayId> {
        self.from.gateway()
    }
}

/// A reading was post-quantum all the way only if each hop says so of itself: a gateway that
/// names no suite, or one that the hub does not know, does not count.
fn link(publication: &Publication<'_>) -> LinkInfo {
    let (group, hub_hop) = match &publication.transport {
        Transport::Plain => (None, false),
        Transport::Tls {
            group,
            post_quantum,
        } => (Some((*group).to_owned()), *post_quantum),
    };
    let device_hop = match (publication.from.gateway(), publication.link_suite) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(_), Some(name)) => {
            suite::Suite::from_name(name).is_some_and(suite::Suite::post_quantum)
        }
    };
    LinkInfo {
        suite: publication
            .from
            .gateway()
            .and(publication.link_suite)
            .map(str::to_owned),
        group,
        post_quantum: hub_hop && device_hop,
    }
}
