//! Room for questions to chains that strangers cause: each costs the chain's endpoints some calls, which
//! have a quota, and may take as long as these do.
//!
//! Of each kind there is so much room at one time, and of that so much for one network: who takes all
//! of its own share leaves the others'. Nobody waits for room.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::problem::{Kind, Problem};
use super::throttle;

/// Questions of one kind at one time.
const AT_ONCE: usize = 32;
/// Of these, those that one network causes.
const AT_ONCE_OF_NETWORK: usize = 8;
/// Payments that are asked about at one time, by programs that buy many things at once: a stranger needs a key and
/// nothing else to have one asked about.
const PAYMENTS: usize = 64;
/// Of these, those of one network.
const PAYMENTS_OF_NETWORK: usize = 24;
/// Requests that wait for a settlement at one time.
const WAITING: usize = 256;
/// Of these, those of one network.
const WAITING_OF_NETWORK: usize = 64;

/// All kinds, each with room of its own. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Questions {
    /// Whether an authorisation is good and covered.
    pub(super) authorizations: Pool,
    /// Whether a contract wallet says where its refund goes.
    pub(super) refunds: Pool,
    /// Whether a listing can be bought.
    pub(super) listings: Pool,
    /// Whether a payment of something that is sold (x402) is good and covered.
    pub(super) payments: Pool,
    /// What becomes of its settlement, which a request waits for.
    pub(super) settlements: Pool,
}

impl Default for Questions {
    fn default() -> Self {
        Self {
            authorizations: Pool::new(AT_ONCE, AT_ONCE_OF_NETWORK),
            refunds: Pool::new(AT_ONCE, AT_ONCE_OF_NETWORK),
            listings: Pool::new(AT_ONCE, AT_ONCE_OF_NETWORK),
            payments: Pool::new(PAYMENTS, PAYMENTS_OF_NETWORK),
            settlements: Pool::new(WAITING, WAITING_OF_NETWORK),
        }
    }
}

/// Room for questions of one kind. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Pool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    at_once: usize,
    of_network: usize,
    asked: Mutex<Asked>,
}

/// What is being asked.
#[derive(Debug, Default)]
struct Asked {
    all: usize,
    /// Never with 0, so that there are no more than `all`.
    networks: HashMap<IpAddr, usize>,
}

/// Room for one question; given back when it is dropped.
#[derive(Debug)]
#[must_use]
pub(super) struct Room {
    pool: Pool,
    network: IpAddr,
}

impl Pool {
    fn new(at_once: usize, of_network: usize) -> Self {
        Self(Arc::new(Shared {
            at_once,
            of_network,
            asked: Mutex::default(),
        }))
    }

    /// Room for one more question that somebody at this address causes.
    ///
    /// # Errors
    /// There is none: with when to come again.
    pub(super) fn enter(&self, address: IpAddr) -> Result<Room, Problem> {
        let network = throttle::network(address);
        let mut asked = self.asked();
        let mine = asked.networks.get(&network).copied().unwrap_or_default();
        if mine >= self.0.of_network {
            return Err(full(" from your address"));
        }
        if asked.all >= self.0.at_once {
            return Err(full(""));
        }
        asked.all += 1;
        asked.networks.insert(network, mine + 1);
        drop(asked);
        Ok(Room {
            pool: self.clone(),
            network,
        })
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.0.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut asked = self.pool.asked();
        asked.all = asked.all.saturating_sub(1);
        if let Some(mine) = asked.networks.get_mut(&self.network) {
            *mine -= 1;
            if *mine == 0 {
                asked.networks.remove(&self.network);
            }
        }
    }
}

fn full(whose: &str) -> Problem {
    let detail = format!(
        "as many questions{whose} as may be are put to the chain at the moment: send the same again"
    );
    Problem::new(Kind::Busy, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn each_network_has_its_share_and_all_together_theirs() {
        let pool = Pool::new(5, 2);
        let first = [pool.enter(at(1)).unwrap(), pool.enter(at(1)).unwrap()];
        assert!(pool.enter(at(1)).is_err());
        let others: Vec<_> = (2..=4).map(|n| pool.enter(at(n)).unwrap()).collect();
        assert!(pool.enter(at(9)).is_err(), "there is no room for anybody");
        drop(first);
        let again = [pool.enter(at(9)).unwrap(), pool.enter(at(1)).unwrap()];
        assert!(pool.enter(at(8)).is_err());
        drop((others, again));
        let asked = pool.asked();
        assert_eq!((asked.all, asked.networks.len()), (0, 0));
    }

    #[test]
    fn a_customers_network_is_one() {
        let pool = Pool::new(5, 1);
        let of = |text: &str| text.parse::<IpAddr>().unwrap();
        let _one = pool.enter(of("2001:db8:1:2::1")).unwrap();
        assert!(pool.enter(of("2001:db8:1:2:3::4")).is_err());
        let _other = pool.enter(of("2001:db8:1:3::1")).unwrap();
    }
}
