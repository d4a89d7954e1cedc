//! Which connections are open, in which order they became idle or busy, and who makes way.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::figures::{Bound, Counts};

/// Time between two warnings in the log.
const WARN_AGAIN: Duration = Duration::from_secs(10);

/// Connections in the order in which they became idle, or busy: by the count of such changes.
type Order = BTreeMap<u64, u64>;

/// The open connections.
#[derive(Debug, Default)]
pub(super) struct Table {
    max: usize,
    max_per_address: usize,
    changes: u64,
    open: HashMap<u64, Open>,
    idle: Order,
    networks: HashMap<IpAddr, Network>,
    pub(super) counts: Counts,
    warned: Option<Instant>,
    /// Shed and refused when it was last warned of.
    told: (u64, u64),
}

#[derive(Debug)]
struct Open {
    network: IpAddr,
    /// Requests that are being answered.
    requests: u32,
    /// Since which change it is idle, or busy.
    since: u64,
    _end: oneshot::Sender<()>,
}

#[derive(Debug, Default)]
struct Network {
    idle: Order,
    busy: Order,
}

impl Network {
    fn len(&self) -> usize {
        self.idle.len() + self.busy.len()
    }
}

impl Table {
    /// With room for so many, and for so many of one address.
    pub(super) fn new(max: usize, max_per_address: usize) -> Self {
        Self {
            max: max.max(1),
            max_per_address: max_per_address.max(1),
            ..Self::default()
        }
    }

    /// How many are open.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// How many are open, of these idle, and of how many networks.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> [usize; 3] {
        [self.open.len(), self.idle.len(), self.networks.len()]
    }

    /// Takes a connection from this network, which is told when its place is another's; its id.
    pub(super) fn admit(
        &mut self,
        network: IpAddr,
        end: oneshot::Sender<()>,
        now: Instant,
    ) -> Option<u64> {
        let of_address = self.networks.get(&network);
        let mine = of_address.map_or(0, Network::len);
        let bound = if mine >= self.max_per_address {
            Some((Bound::Address, first(of_address.map(|of| &of.idle))))
        } else if self.open.len() >= self.max {
            let victim = first(Some(&self.idle)).or_else(|| self.of_the_greediest(mine + 1));
            Some((Bound::All, victim))
        } else {
            None
        };
        if let Some((bound, victim)) = bound {
            if let Some(id) = victim {
                self.remove(id);
            }
            self.counts.no_room(bound, victim.is_some());
            self.warn(bound, now);
            victim?;
        }
        self.counts.accepted = self.counts.accepted.saturating_add(1);
        self.changes = self.changes.saturating_add(1);
        let id = self.changes;
        let open = Open {
            network,
            requests: 0,
            since: id,
            _end: end,
        };
        self.open.insert(id, open);
        self.idle.insert(id, id);
        self.networks
            .entry(network)
            .or_default()
            .idle
            .insert(id, id);
        Some(id)
    }

    /// The connection that is busy longest of the address with most of them, if these are more than
    /// so many.
    fn of_the_greediest(&self, than: usize) -> Option<u64> {
        let greediest = self.networks.values().max_by_key(|of| of.len())?;
        first(Some(&greediest.busy)).filter(|_| greediest.len() > than)
    }

    /// Changes how many requests of a connection are being answered.
    pub(super) fn turn(&mut self, id: u64, change: impl FnOnce(u32) -> u32) {
        let Some(open) = self.open.get_mut(&id) else {
            return;
        };
        let was_idle = open.requests == 0;
        open.requests = change(open.requests);
        let is_idle = open.requests == 0;
        if was_idle == is_idle {
            return;
        }
        self.changes = self.changes.saturating_add(1);
        let since = std::mem::replace(&mut open.since, self.changes);
        let network = self.networks.entry(open.network).or_default();
        if is_idle {
            network.busy.remove(&since);
            network.idle.insert(self.changes, id);
            self.idle.insert(self.changes, id);
        } else {
            self.idle.remove(&since);
            network.idle.remove(&since);
            network.busy.insert(self.changes, id);
        }
    }

    /// A connection is over, or has to end.
    pub(super) fn remove(&mut self, id: u64) {
        let Some(open) = self.open.remove(&id) else {
            return;
        };
        self.idle.remove(&open.since);
        if let Some(network) = self.networks.get_mut(&open.network) {
            network.idle.remove(&open.since);
            network.busy.remove(&open.since);
            if network.len() == 0 {
                self.networks.remove(&open.network);
            }
        }
    }

    /// Says so in the log, now and then.
    fn warn(&mut self, bound: Bound, now: Instant) {
        if self
            .warned
            .is_some_and(|last| now.saturating_duration_since(last) < WARN_AGAIN)
        {
            return;
        }
        self.warned = Some(now);
        let total = self.counts.no_room_total();
        let told = std::mem::replace(&mut self.told, total);
        let greediest = self.networks.iter().max_by_key(|(_, of)| of.len());
        let (address, of_address) =
            greediest.map_or((None, 0), |(address, of)| (Some(address), of.len()));
        tracing::warn!(
            closed = total.0 - told.0,
            refused = total.1 - told.1,
            open = self.open.len(),
            most_from = ?address,
            of_these = of_address,
            setting = bound.setting(),
            "there are as many HTTP connections as may be; those that were idle longest are closed"
        );
    }
}

fn first(order: Option<&Order>) -> Option<u64> {
    order?.first_key_value().map(|(_, id)| *id)
}
