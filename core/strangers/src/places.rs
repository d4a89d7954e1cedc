//! Which connections are open, and which stranger makes way when there is no room for one more.
//!
//! A stranger is who has not shown yet who it is. There is room for so many of them, and for so many
//! of one address; the other places are kept for those who have shown it. Where strangers have their
//! fill, an old one makes way for the new one, rather than that the new one is refused: who means
//! well has shown who it is within a moment, and who holds a place without a word would hold it until
//! its time is over, for those behind the same address (NAT) too. So a flood of connections has to
//! be quicker than a handshake to keep anybody out, and silence never does.
//!
//! Who makes way:
//!
//! - when an address has its fill: one of its own;
//! - when all strangers have: one of the address with most of them. Addresses from which somebody
//!   was let in of late come last, so that others do not push them out;
//! - of an address that one which has said least, and of these the oldest. One whose proof is being
//!   looked at does not make way.

use std::{
    cmp::Reverse,
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::Notify;

use crate::network;

/// Addresses from which somebody was let in that are remembered.
const FRIENDS: usize = 1_024;

/// How many connections there may be at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// In all.
    pub connections: usize,
    /// Of strangers.
    pub strangers: usize,
    /// Of strangers of one address.
    pub strangers_per_address: usize,
}

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// There are as many connections as may be, and none is a stranger's that could make way.
    All,
    /// There are as many strangers as may be, and none could make way.
    Strangers,
    /// As many of this address.
    Address,
}

/// How many there are and were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Open now.
    pub open: usize,
    /// Of these, strangers'.
    pub strangers: usize,
    /// Strangers that made way for another.
    pub made_way: u64,
    /// Connections for which there was no room.
    pub refused: u64,
}

/// All open connections. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Places(Arc<Mutex<Table>>);

/// The place of a connection; given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    places: Places,
    network: IpAddr,
    id: u64,
    is_known: AtomicBool,
    gone: Arc<Notify>,
}

/// How far a stranger has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Refused,
    Silent,
    Begun,
    Judged,
}

#[derive(Debug)]
struct Table {
    bounds: Bounds,
    last_id: u64,
    known: usize,
    strangers: usize,
    networks: HashMap<IpAddr, Network>,
    /// By when somebody was let in last.
    friends: HashMap<IpAddr, u64>,
    made_way: u64,
    refused: u64,
}

/// The strangers of an address.
#[derive(Debug)]
struct Network {
    is_friend: bool,
    strangers: Vec<Stranger>,
}

#[derive(Debug)]
struct Stranger {
    id: u64,
    step: Step,
    gone: Arc<Notify>,
}

impl Places {
    /// With room for so many; at least for one of each kind.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        let bounds = Bounds {
            connections: bounds.connections.max(1),
            strangers: bounds.strangers.max(1),
            strangers_per_address: bounds.strangers_per_address.max(1),
        };
        Self(Arc::new(Mutex::new(Table {
            bounds,
            last_id: 0,
            known: 0,
            strangers: 0,
            networks: HashMap::new(),
            friends: HashMap::new(),
            made_way: 0,
            refused: 0,
        })))
    }

    /// A place for a stranger's connection from this address.
    ///
    /// # Errors
    /// There is none, and nobody makes way.
    pub fn enter(&self, address: IpAddr) -> Result<Place, Full> {
        let (network, gone) = (network(address), Arc::new(Notify::new()));
        let id = self.table().enter(network, &gone)?;
        Ok(Place {
            places: self.clone(),
            network,
            id,
            is_known: AtomicBool::new(false),
            gone,
        })
    }

    /// How many there are and were.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let table = self.table();
        Figures {
            open: table.known + table.strangers,
            strangers: table.strangers,
            made_way: table.made_way,
            refused: table.refused,
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Returns once the place is another's: the connection has to end. It may be waited for anew.
    pub async fn gone(&self) {
        self.gone.notified().await;
        // Whoever asks again is told again.
        self.gone.notify_one();
    }

    /// The other side has said something that makes sense.
    pub fn begun(&self) {
        self.step(Step::Begun);
    }

    /// What the other side has shown is being looked at; until that is done it does not make way.
    /// How long that may take has to have a bound.
    pub fn judged(&self) {
        self.step(Step::Judged);
    }

    /// The other side is not let in, and is told so: it makes way before all others.
    pub fn refused(&self) {
        self.step(Step::Refused);
    }

    /// The other side has shown who it is: it is no stranger any more. False where the place is
    /// another's already: then it has to end.
    #[must_use]
    pub fn known(&self) -> bool {
        if self.is_known.load(Ordering::Relaxed) {
            return true;
        }
        let mut table = self.places.table();
        if table.remove(self.network, self.id).is_none() {
            return false;
        }
        table.known += 1;
        table.befriend(self.network);
        self.is_known.store(true, Ordering::Relaxed);
        true
    }

    fn step(&self, step: Step) {
        let mut table = self.places.table();
        let network = table.networks.get_mut(&self.network);
        let stranger = network.and_then(|of| of.strangers.iter_mut().find(|it| it.id == self.id));
        if let Some(stranger) = stranger {
            stranger.step = step;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.places.table();
        if self.is_known.load(Ordering::Relaxed) {
            table.known -= 1;
        } else {
            table.remove(self.network, self.id);
        }
    }
}

impl Table {
    fn enter(&mut self, network: IpAddr, gone: &Arc<Notify>) -> Result<u64, Full> {
        let mine = self.networks.get(&network).map_or(0, Network::len);
        let full = if mine >= self.bounds.strangers_per_address {
            Some(Full::Address)
        } else if self.known + self.strangers >= self.bounds.connections {
            Some(Full::All)
        } else if self.strangers >= self.bounds.strangers {
            Some(Full::Strangers)
        } else {
            None
        };
        if let Some(full) = full {
            let victim = match full {
                Full::Address => self.of(network),
                Full::All | Full::Strangers => self.greediest(network, mine),
            };
            let victim = victim.and_then(|(network, id)| self.remove(network, id));
            let Some(victim) = victim else {
                self.refused = self.refused.saturating_add(1);
                return Err(full);
            };
            victim.gone.notify_one();
            self.made_way = self.made_way.saturating_add(1);
        }
        self.last_id += 1;
        let is_friend = self.friends.contains_key(&network);
        let fresh = || Network {
            is_friend,
            strangers: Vec::new(),
        };
        let of = self.networks.entry(network).or_insert_with(fresh);
        of.strangers.push(Stranger {
            id: self.last_id,
            step: Step::Silent,
            gone: Arc::clone(gone),
        });
        self.strangers += 1;
        Ok(self.last_id)
    }

    /// Who makes way of an address.
    fn of(&self, network: IpAddr) -> Option<(IpAddr, u64)> {
        let (_, id) = self.networks.get(&network)?.first()?;
        Some((network, id))
    }

    /// Who makes way of all, for a newcomer of an address that has `mine` strangers. Looks at each
    /// stranger, of which there are but so many.
    fn greediest(&self, newcomer: IpAddr, mine: usize) -> Option<(IpAddr, u64)> {
        let with_one = self.networks.iter().filter_map(|(network, of)| {
            let first = of.first()?;
            Some((of.is_friend, Reverse(of.len()), first, *network))
        });
        let (is_friend, Reverse(most), (_, id), network) = with_one.min()?;
        let newcomer_is_friend = self.friends.contains_key(&newcomer);
        // Among equals nobody is pushed out by one who has as many, and no friend by who is none.
        if newcomer_is_friend == is_friend && mine > 0 && mine + 1 >= most {
            return self.of(newcomer);
        }
        if is_friend && !newcomer_is_friend && mine + 1 >= most {
            return self.of(newcomer);
        }
        Some((network, id))
    }

    fn remove(&mut self, network: IpAddr, id: u64) -> Option<Stranger> {
        let of = self.networks.get_mut(&network)?;
        let at = of.strangers.iter().position(|it| it.id == id)?;
        // In the order in which they came.
        let stranger = of.strangers.remove(at);
        if of.strangers.is_empty() {
            self.networks.remove(&network);
        }
        self.strangers -= 1;
        Some(stranger)
    }

    /// Somebody was let in from this address.
    fn befriend(&mut self, network: IpAddr) {
        self.last_id += 1;
        self.friends.insert(network, self.last_id);
        if self.friends.len() > FRIENDS {
            let oldest = self.friends.iter().min_by_key(|(_, at)| **at);
            let oldest = oldest.map(|(network, _)| *network);
            if let Some(oldest) = oldest {
                self.friends.remove(&oldest);
                if let Some(of) = self.networks.get_mut(&oldest) {
                    of.is_friend = false;
                }
            }
        }
        if let Some(of) = self.networks.get_mut(&network) {
            of.is_friend = true;
        }
    }
}

impl Network {
    fn len(&self) -> usize {
        self.strangers.len()
    }

    /// Who makes way first.
    fn first(&self) -> Option<(Step, u64)> {
        let all = self.strangers.iter();
        all.filter(|it| it.step < Step::Judged)
            .map(|it| (it.step, it.id))
            .min()
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn at(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn places(connections: usize, strangers: usize, strangers_per_address: usize) -> Places {
        Places::new(Bounds {
            connections,
            strangers,
            strangers_per_address,
        })
    }

    fn is_gone(place: &Place) -> bool {
        let polled = pin!(place.gone()).poll(&mut Context::from_waker(Waker::noop()));
        polled == Poll::Ready(())
    }

    fn gone(places: &[Place]) -> Vec<bool> {
        places.iter().map(is_gone).collect()
    }

    #[test]
    fn an_address_with_its_fill_loses_its_own_that_has_said_least() {
        let places = places(100, 100, 3);
        let other = places.enter(at(2)).unwrap();
        let mut greedy: Vec<_> = (0..3).map(|_| places.enter(at(1)).unwrap()).collect();
        greedy[0].begun();
        greedy.push(places.enter(at(1)).unwrap());
        assert_eq!(gone(&greedy), [false, true, false, false]);
        // Asked again it says the same.
        assert!(is_gone(&greedy[1]) && !greedy[1].known());
        greedy.iter().for_each(Place::begun);
        let newest = places.enter(at(1)).unwrap();
        assert_eq!(gone(&greedy), [true, true, false, false]);
        // Those that are looked at stay, until they are not let in.
        newest.judged();
        greedy.iter().for_each(Place::judged);
        assert_eq!(places.enter(at(1)).unwrap_err(), Full::Address);
        greedy[3].refused();
        let last = places.enter(at(1)).unwrap();
        assert_eq!(gone(&greedy), [true, true, false, true]);
        assert!(!is_gone(&other) && !is_gone(&newest) && !is_gone(&last));
        let figures = places.figures();
        assert_eq!((figures.open, figures.strangers), (4, 4));
        assert_eq!((figures.made_way, figures.refused), (3, 1));
    }

    #[test]
    fn with_no_room_for_strangers_the_oldest_of_the_address_with_most_makes_way() {
        let places = places(100, 4, 4);
        let modest = places.enter(at(1)).unwrap();
        let greedy: Vec<_> = (0..3).map(|_| places.enter(at(2)).unwrap()).collect();
        let new = places.enter(at(3)).unwrap();
        assert_eq!(gone(&greedy), [true, false, false]);
        // One and two and one: with one more the modest would be as greedy, so it is its own.
        let again = places.enter(at(1)).unwrap();
        assert!(is_gone(&modest) && !is_gone(&new) && !is_gone(&again));
        assert_eq!(gone(&greedy), [true, false, false]);
    }

    #[test]
    fn places_are_kept_for_those_who_are_known_and_these_never_make_way() {
        let places = places(4, 2, 2);
        let known: Vec<_> = (1..=2).map(|n| places.enter(at(n)).unwrap()).collect();
        assert!(known.iter().all(Place::known));
        let flood: Vec<_> = (0..100).map(|_| places.enter(at(9)).unwrap()).collect();
        let figures = places.figures();
        assert_eq!((figures.open, figures.strangers), (4, 2));
        let third = places.enter(at(3)).unwrap();
        assert!(third.known() && third.known());
        let fourth = places.enter(at(4)).unwrap();
        assert!(fourth.known());
        assert!(gone(&flood).iter().all(|gone| *gone));
        assert_eq!(places.enter(at(5)).unwrap_err(), Full::All);
        assert!(!known.iter().any(is_gone));
        drop(known);
        assert!(places.enter(at(5)).is_ok());
        drop((third, fourth, flood));
        assert_eq!(places.figures().open, 0);
    }

    #[test]
    fn who_floods_from_many_addresses_does_not_push_out_whom_we_know() {
        let places = places(1_000, 8, 4);
        assert!(places.enter(at(1)).unwrap().known());
        let friend = places.enter(at(1)).unwrap();
        let flood: Vec<_> = (10..=255).map(|n| places.enter(at(n)).unwrap()).collect();
        assert!(!is_gone(&friend) && is_gone(&flood[0]));
        // But it does not take what is others': neither all places, nor those of strangers.
        let friends: Vec<_> = (0..20).map(|_| places.enter(at(1)).unwrap()).collect();
        assert!(is_gone(&friend));
        assert_eq!(friends.iter().filter(|it| !is_gone(it)).count(), 4);
        assert_eq!(flood.iter().filter(|it| !is_gone(it)).count(), 4);
        assert!(!friend.known());
    }

    #[test]
    fn where_all_are_friends_only_one_with_more_makes_way_for_who_is_none() {
        let places = places(1_000, 3, 3);
        for n in 1..=3 {
            assert!(places.enter(at(n)).unwrap().known());
        }
        let first: Vec<_> = (1..=3).map(|n| places.enter(at(n)).unwrap()).collect();
        assert_eq!(places.enter(at(9)).unwrap_err(), Full::Strangers);
        drop(first);
        let greedy: Vec<_> = (0..3).map(|_| places.enter(at(1)).unwrap()).collect();
        let new = places.enter(at(9)).unwrap();
        assert_eq!(gone(&greedy), [true, false, false]);
        assert!(!is_gone(&new));
    }

    #[test]
    fn what_is_kept_of_a_flood_is_bounded() {
        let places = places(64, 16, 4);
        let mut taken = Vec::new();
        for n in 0..5_000_u32 {
            let place = places.enter(IpAddr::V4(n.to_be_bytes().into())).unwrap();
            if n % 2 == 0 {
                assert!(place.known());
                drop(place);
            } else {
                taken.push(place);
            }
        }
        let table = places.table();
        assert_eq!((table.strangers, table.networks.len()), (16, 16));
        assert_eq!((table.known, table.friends.len()), (0, FRIENDS));
        drop(table);
        drop(taken);
        assert_eq!(places.table().networks.len(), 0);
    }
}
