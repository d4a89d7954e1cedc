//! The connections that are open, and which of them goes when there is no room for one more.
//!
//! There is room for so many in all and for so many of one address (in IPv6, one /64). Where there
//! is none, the connection goes that has been idle longest: of the newcomer's address when that has
//! its fill, else of all. Idle is one that no request is being answered on, so that half a request
//! keeps no place. When all are in the middle of a request (or an event stream), one of the address
//! that has most goes if the newcomer's has fewer; else the newcomer does.

mod figures;
mod table;

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use tokio::sync::oneshot;

use super::throttle::network;
use table::Table;

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
        let table = Table::new(max, max_per_address);
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
        table.counts.overdue = table.counts.overdue.saturating_add(1);
    }

    /// Appends the figures in Prometheus' text form.
    pub(super) fn render(&self, out: &mut String) {
        let table = lock(&self.table);
        table.counts.render(table.len(), out);
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
        assert_eq!(table.sizes(), [1; 3]);
        assert_eq!(table.counts.no_room_total(), (0, 0));
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
        assert_eq!(table.sizes(), [8; 3]);
        assert_eq!(table.counts.no_room_total(), (9_992, 0));
    }
}
