//! The connections that are open, and which of them goes when there is no room for one more.
//!
//! There is room for so many in all and for so many of one address (in IPv6, one /64). Where there
//! is none, the connection goes that has been idle longest: of the newcomer's address when that has
//! its fill, else of all. Idle is one that no request is being answered on, so that half a request
//! keeps no place. When all are in the middle of a request (or an event stream), one of the address
//! that has most goes if the newcomer's has fewer; else the newcomer does.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::throttle::network;

/// Time between two warnings in the log.
const WARN_AGAIN: Duration = Duration::from_secs(10);

/// Why there was no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    /// Of one address.
    Address,
    /// Of all.
    All,
}

impl Bound {
    const ALL: [Self; 2] = [Self::Address, Self::All];

    fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::All => "all",
        }
    }

    fn setting(self) -> &'static str {
        match self {
            Self::Address => "http.limits.max_connections_per_address",
            Self::All => "http.limits.max_connections",
        }
    }
}

/// All open connections. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Connections {
    table: Arc<Mutex<Table>>,
}

/// The place of a connection, which is given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    ticket: Ticket,
    /// Ready once the place is another's: the connection has to end.
    pub(super) gone: oneshot::Receiver<()>,
}

/// A connection as its requests know it.
#[derive(Debug, Clone)]
pub(super) struct Ticket {
    table: Weak<Mutex<Table>>,
    id: u64,
    requests: Arc<Requests>,
}

/// The requests of one connection.
#[derive(Debug, Default)]
struct Requests {
    answering: AtomicU32,
    begun: AtomicU64,
}

/// A request that is being answered; the connection is not idle until this is dropped.
#[derive(Debug)]
pub(super) struct InRequest(Ticket);

impl Connections {
    /// Room for so many, and for so many of one address.
    pub(super) fn new(max: usize, max_per_address: usize) -> Self {
        let table = Table {
            max: max.max(1),
            max_per_address: max_per_address.max(1),
            ..Table::default()
        };
        Self {
            table: Arc::new(Mutex::new(table)),
        }
    }

    /// A place for a connection from this address; `None`: there is no room for it.
    pub(super) fn admit(&self, address: IpAddr) -> Option<Place> {
        let (send, gone) = oneshot::channel();
        let id = lock(&self.table).admit(network(address), send, Instant::now())?;
        let ticket = Ticket {
            table: Arc::downgrade(&self.table),
            id,
            requests: Arc::default(),
        };
        Some(Place { ticket, gone })
    }

    /// A connection was closed because the head of a request did not come in time.
    pub(super) fn overdue(&self) {
        let mut table = lock(&self.table);
        table.overdue = table.overdue.saturating_add(1);
    }

    /// Appends the figures in Prometheus' text form.
    pub(super) fn render(&self, out: &mut String) {
        let table = lock(&self.table);
        let mut family = |name: &str, kind: &str, help: &str, values: &[(&str, u64)]| {
            let name = format!("stencil_hub_http_{name}");
            // Writing to a String cannot fail.
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (labels, value) in values {
                let _ = writeln!(out, "{name}{labels} {value}");
            }
        };
        let by_bound = |counts: &[u64; 2]| {
            let labels = Bound::ALL.map(|bound| format!("{{bound=\"{}\"}}", bound.name()));
            (labels, *counts)
        };
        let open = table.open.len() as u64;
        family(
            "connections_count",
            "gauge",
            "connections open",
            &[("", open)],
        );
        let accepted = [("", table.accepted)];
        family(
            "connections_accepted_total",
            "counter",
            "connections taken",
            &accepted,
        );
        for (name, help, counts) in [
            (
                "connections_shed_total",
                "connections closed to make room for another, by the bound that was reached",
                &table.shed,
            ),
            (
                "connections_refused_total",
                "connections not taken for want of room, by the bound that was reached",
                &table.refused,
            ),
        ] {
            let ([address, all], [of_address, of_all]) = by_bound(counts);
            let values = [(address.as_str(), of_address), (all.as_str(), of_all)];
            family(name, "counter", help, &values);
        }
        let overdue = [("", table.overdue)];
        let help = "connections closed because a request's head did not come in time";
        family("heads_overdue_total", "counter", help, &overdue);
    }
}

impl Place {
    /// What the requests of this connection are counted by.
    pub(super) fn ticket(&self) -> Ticket {
        self.ticket.clone()
    }

    /// Whether a request is being answered, and how many have begun to be.
    pub(super) fn requests(&self) -> (bool, u64) {
        let requests = &self.ticket.requests;
        (
            requests.answering.load(Ordering::Acquire) > 0,
            requests.begun.load(Ordering::Acquire),
        )
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(table) = self.ticket.table.upgrade() {
            lock(&table).remove(self.ticket.id);
        }
    }
}

impl Ticket {
    /// A request begins to be answered.
    pub(super) fn begin(&self) -> InRequest {
        self.requests.begun.fetch_add(1, Ordering::AcqRel);
        self.requests.answering.fetch_add(1, Ordering::AcqRel);
        self.turn(|requests| requests.saturating_add(1));
        InRequest(self.clone())
    }

    fn turn(&self, change: impl FnOnce(u32) -> u32) {
        if let Some(table) = self.table.upgrade() {
            lock(&table).turn(self.id, change);
        }
    }
}

impl Drop for InRequest {
    fn drop(&mut self) {
        self.0.requests.answering.fetch_sub(1, Ordering::AcqRel);
        self.0.turn(|requests| requests.saturating_sub(1));
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Connections in the order in which they became idle, or busy: by the count of such changes.
type Order = BTreeMap<u64, u64>;

#[derive(Debug, Default)]
struct Table {
    max: usize,
    max_per_address: usize,
    changes: u64,
    open: HashMap<u64, Open>,
    idle: Order,
    networks: HashMap<IpAddr, Network>,
    accepted: u64,
    shed: [u64; 2],
    refused: [u64; 2],
    overdue: u64,
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
    fn admit(&mut self, network: IpAddr, end: oneshot::Sender<()>, now: Instant) -> Option<u64> {
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
            match victim {
                Some(id) => {
                    self.remove(id);
                    self.shed[bound as usize] = self.shed[bound as usize].saturating_add(1);
                }
                None => {
                    self.refused[bound as usize] = self.refused[bound as usize].saturating_add(1);
                }
            }
            self.warn(bound, now);
            victim?;
        }
        self.accepted = self.accepted.saturating_add(1);
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

    fn turn(&mut self, id: u64, change: impl FnOnce(u32) -> u32) {
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

    fn remove(&mut self, id: u64) {
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
        let total = (self.shed.iter().sum(), self.refused.iter().sum());
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

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn is_gone(place: &mut Place) -> bool {
        place.gone.try_recv() == Err(oneshot::error::TryRecvError::Closed)
    }

    #[test]
    fn an_address_with_its_fill_loses_its_own_longest_idle() {
        let connections = Connections::new(100, 3);
        let (greedy, other) = (address("192.0.2.1"), address("192.0.2.2"));
        let mut theirs = connections.admit(other).unwrap();
        let mut places: Vec<_> = (0..3).map(|_| connections.admit(greedy).unwrap()).collect();
        // The first is in the middle of a request, the second was but a moment ago.
        let _request = places[0].ticket().begin();
        drop(places[1].ticket().begin());
        let mut newest = connections.admit(greedy).unwrap();
        let gone: Vec<_> = places.iter_mut().map(is_gone).collect();
        assert_eq!(gone, [false, false, true]);
        assert!(!is_gone(&mut newest) && !is_gone(&mut theirs));
        // With none that is idle the newcomer is not let in.
        let _all = [places[1].ticket().begin(), newest.ticket().begin()];
        assert!(connections.admit(greedy).is_none());
        assert!(connections.admit(other).is_some());
        let mut text = String::new();
        connections.render(&mut text);
        for line in [
            "stencil_hub_http_connections_count 4\n",
            "stencil_hub_http_connections_shed_total{bound=\"address\"} 1\n",
            "stencil_hub_http_connections_refused_total{bound=\"address\"} 1\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }

    #[test]
    fn neighbours_of_one_ipv6_network_are_one_address() {
        let connections = Connections::new(100, 2);
        let mut first = connections.admit(address("2001:db8::1")).unwrap();
        let _second = connections.admit(address("2001:db8::2")).unwrap();
        let _other = connections.admit(address("2001:db8:0:1::1")).unwrap();
        assert!(!is_gone(&mut first));
        let _third = connections.admit(address("2001:db8::3")).unwrap();
        assert!(is_gone(&mut first));
    }

    #[test]
    fn with_no_room_at_all_the_longest_idle_goes_whosever_it_is() {
        let connections = Connections::new(3, 3);
        let mut places: Vec<_> = ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
            .into_iter()
            .map(|of| connections.admit(address(of)).unwrap())
            .collect();
        let _streaming = places[0].ticket().begin();
        let _new = connections.admit(address("192.0.2.4")).unwrap();
        let gone: Vec<_> = places.iter_mut().map(is_gone).collect();
        assert_eq!(gone, [false, true, false]);
    }

    #[test]
    fn where_all_are_busy_the_greediest_address_makes_room_for_one_with_fewer() {
        let connections = Connections::new(4, 3);
        let (greedy, modest, new) = (
            address("192.0.2.1"),
            address("192.0.2.2"),
            address("192.0.2.3"),
        );
        let mut modests = connections.admit(modest).unwrap();
        let mut greedies: Vec<_> = (0..3).map(|_| connections.admit(greedy).unwrap()).collect();
        let _one = modests.ticket().begin();
        // The second of them is busy longest.
        let _second = greedies[1].ticket().begin();
        let _others = [greedies[0].ticket().begin(), greedies[2].ticket().begin()];
        let mut news = connections.admit(new).unwrap();
        let _two = news.ticket().begin();
        let gone: Vec<_> = greedies.iter_mut().map(is_gone).collect();
        assert_eq!(gone, [false, true, false]);
        // Two, one and one: with one more the modest would be as greedy.
        assert!(connections.admit(modest).is_none());
        assert!(!is_gone(&mut modests) && !is_gone(&mut news));
    }

    #[test]
    fn a_place_is_given_back_and_a_late_request_of_it_disturbs_nothing() {
        let connections = Connections::new(1, 1);
        let place = connections.admit(address("192.0.2.1")).unwrap();
        let request = place.ticket().begin();
        drop(place);
        let _next = connections.admit(address("192.0.2.2")).unwrap();
        drop(request);
        let table = lock(&connections.table);
        assert_eq!((table.open.len(), table.idle.len()), (1, 1));
        assert_eq!((table.networks.len(), table.shed), (1, [0, 0]));
    }

    #[test]
    fn of_a_flood_little_is_kept() {
        let connections = Connections::new(8, 4);
        let mut places = Vec::new();
        for n in 0..10_000_u32 {
            let from = IpAddr::V4(n.to_be_bytes().into());
            places.push(connections.admit(from).unwrap());
        }
        let table = lock(&connections.table);
        assert_eq!((table.open.len(), table.networks.len()), (8, 8));
        assert_eq!((table.idle.len(), table.shed), (8, [0, 9_992]));
    }
}
