//! Where a publication came from, as far as its effects depend on it.

use bytes::Bytes;
use stencil_crypto::suite;
use stencil_protocol::id::{GatewayId, TenantId};
use stencil_protocol::line::Line;
use stencil_protocol::topic::{self, Topic};
use stencil_store::LinkInfo;

use crate::Principal;
use crate::ingest::{Published, Transport};

/// How far a gateway's clock may be ahead of the hub's: ten minutes.
const MAX_AHEAD_US: i64 = 600_000_000;

/// The circumstances of one publication.
#[derive(Debug)]
pub(super) struct Origin<'a> {
    pub(super) tenant: &'a TenantId,
    pub(super) from: &'a Principal,
    pub(super) topic: &'a str,
    /// What the topic says.
    pub(super) about: Result<Topic, topic::Error>,
    pub(super) payload: &'a [u8],
    /// The record of the log that the payload lies in.
    record: &'a Bytes,
    pub(super) received_us: i64,
    /// Where its record begins in the log.
    pub(super) position: u64,
    /// What the hops negotiated.
    pub(super) link: &'a LinkInfo,
    /// Whether the hop to the hub was post-quantum.
    pub(super) hub_hop: bool,
}

/// Who sent the publications of one record, and what they have in common. Mostly that is also
/// topic and link, so what follows from them is worked out when they change.
#[derive(Debug)]
pub(super) struct Sender<'a> {
    from: &'a Principal,
    transport: &'a Transport<'a>,
    received_us: i64,
    position: u64,
    record: &'a Bytes,
    suite: Option<&'a str>,
    link: LinkInfo,
    topic: &'a str,
    about: Result<Topic, topic::Error>,
}

impl<'a> Sender<'a> {
    pub(super) fn new(
        from: &'a Principal,
        transport: &'a Transport<'a>,
        received_us: i64,
        position: u64,
        record: &'a Bytes,
    ) -> Self {
        Self {
            from,
            transport,
            received_us,
            position,
            record,
            suite: None,
            link: link(from, transport, None),
            topic: "",
            about: Topic::parse(""),
        }
    }

    /// The circumstances of the next publication.
    pub(super) fn origin(&mut self, publication: &Published<'a>) -> Origin<'_> {
        if publication.link_suite != self.suite {
            self.suite = publication.link_suite;
            self.link = link(self.from, self.transport, self.suite);
        }
        if publication.topic != self.topic {
            self.topic = publication.topic;
            self.about = Topic::parse(self.topic);
        }
        Origin {
            tenant: &self.from.tenant,
            from: self.from,
            topic: self.topic,
            about: self.about.clone(),
            payload: publication.payload,
            record: self.record,
            received_us: self.received_us,
            position: self.position,
            link: &self.link,
            hub_hop: hub_hop(self.transport),
        }
    }
}

impl Origin<'_> {
    /// The gateway, where what it says does not come from a device's link.
    pub(super) fn own_word(&self) -> Option<GatewayId> {
        let gateway = self.gateway().filter(|_| self.link.suite.is_none());
        gateway.cloned()
    }

    /// When something happened, by the word of a gateway; when it was received where the gateway
    /// doesn't know (0), or its clock is wrong.
    pub(super) fn moment(&self, at_us: i64) -> i64 {
        let latest_us = self.received_us.saturating_add(MAX_AHEAD_US);
        match at_us {
            0 => self.received_us,
            at_us if at_us > latest_us => self.received_us,
            at_us => at_us,
        }
    }

    /// Bytes of the payload, to be kept until they are committed: they share the memory of the log's
    /// record.
    pub(super) fn shared(&self, part: &[u8]) -> Bytes {
        let (whole, part_at) = (self.record.as_ptr() as usize, part.as_ptr() as usize);
        let begin = part_at.checked_sub(whole);
        let range = begin.and_then(|begin| Some(begin..begin.checked_add(part.len())?));
        match range {
            Some(range) if range.end <= self.record.len() => self.record.slice(range),
            // Not of this record: nothing that comes out of the log is.
            _ => Bytes::copy_from_slice(part),
        }
    }

    /// The gateway that it came through, if any.
    pub(super) fn gateway(&self) -> Option<&GatewayId> {
        self.from.gateway()
    }
}

fn hub_hop(transport: &Transport<'_>) -> bool {
    matches!(
        transport,
        Transport::Tls {
            post_quantum: true,
            ..
        }
    )
}

/// A reading was post-quantum all the way only if each hop says so of itself: a gateway that
/// names no suite, or one that the hub does not know, does not count.
fn link(from: &Principal, transport: &Transport<'_>, suite: Option<&str>) -> LinkInfo {
    let group = match transport {
        Transport::Plain => None,
        Transport::Tls { group, .. } => Some((*group).to_owned()),
    };
    let device_hop = match (from.gateway(), suite) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(_), Some(name)) => {
            suite::Suite::from_name(name).is_some_and(suite::Suite::post_quantum)
                || Line::from_name(name).is_some_and(Line::post_quantum)
        }
    };
    LinkInfo {
        suite: from.gateway().and(suite).map(str::to_owned),
        group,
        post_quantum: hub_hop(transport) && device_hop,
    }
}
