//! Contract wallets: only the contract can tell whether it has signed (EIP-1271).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use stencil_payments::abi::calls;
use stencil_payments::port::{Called, Chain};
use stencil_payments::{Address, B256};

/// Contracts that are asked at one time: each costs the chain's endpoints a call.
const AT_ONCE: usize = 8;
/// The most of these that one network has asked for: a contract of its own may take its time.
const OF_A_NETWORK: usize = 2;
/// The longest that a chain may take over one.
const LONGEST: Duration = Duration::from_secs(15);
/// And over a question of the hub's own after one that came to nothing.
const SHORT: Duration = Duration::from_secs(5);
/// What a `bytes4` is returned in.
const ANSWER_BYTES: usize = 32;

/// Room for asking contracts. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Contracts(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// A place of it, until it is dropped.
#[derive(Debug)]
pub(crate) struct Room {
    asked: Contracts,
    network: IpAddr,
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut asked = self.asked.table();
        if let Some(of_network) = asked.get_mut(&self.network) {
            *of_network = of_network.saturating_sub(1);
            if *of_network == 0 {
                asked.remove(&self.network);
            }
        }
    }
}

/// Why a contract has not signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NotSo {
    /// There is none at the address.
    NoContract,
    /// It says otherwise, or nothing that makes sense.
    Refused(String),
    /// It can't be known now. `by_contract`: the chain answers, so that it is the contract, and thus who made
    /// it, that keeps it from being known.
    Unknown { why: String, by_contract: bool },
}

impl Contracts {
    fn table(&self) -> std::sync::MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one that somebody of this network has asked for; `None`: there is none.
    pub(crate) fn room(&self, network: IpAddr) -> Option<Room> {
        let mut asked = self.table();
        let of_network = asked.get(&network).copied().unwrap_or(0);
        if of_network >= OF_A_NETWORK || asked.values().sum::<usize>() >= AT_ONCE {
            return None;
        }
        asked.insert(network, of_network + 1);
        let asked = self.clone();
        Some(Room { asked, network })
    }
}

/// Whether the contract at `wallet` takes a signature as its own.
pub(super) async fn signed(
    chain: &dyn Chain,
    wallet: Address,
    digest: B256,
    signature: &[u8],
) -> Result<(), NotSo> {
    let unknown = |why: String, by_contract| NotSo::Unknown { why, by_contract };
    let late = || format!("no answer within {} s", LONGEST.as_secs());
    let has_code = tokio::time::timeout(LONGEST, chain.has_code(wallet)).await;
    let has_code = has_code.map_err(|_| unknown(late(), false))?;
    if !has_code.map_err(|error| unknown(error.to_string(), false))? {
        return Err(NotSo::NoContract);
    }
    let question = calls::is_valid_signature(digest, signature);
    let answer = tokio::time::timeout(LONGEST, chain.call(wallet, question)).await;
    let why = match answer {
        Ok(Ok(called)) => return said(&called),
        Ok(Err(error)) => error.to_string(),
        Err(_) => late(),
    };
    // Whether it is the chain's fault: it is, if it can't tell either what it could a moment ago.
    let again = tokio::time::timeout(SHORT, chain.has_code(wallet)).await;
    Err(unknown(why, matches!(again, Ok(Ok(_)))))
}

fn said(called: &Called) -> Result<(), NotSo> {
    match called {
        Called::Returned(bytes) if bytes.len() != ANSWER_BYTES => Err(NotSo::Refused(format!(
            "it returned {} bytes, where {ANSWER_BYTES} are right (EIP-1271)",
            bytes.len()
        ))),
        Called::Returned(bytes) if calls::returned_is_valid(bytes) => Ok(()),
        Called::Returned(_) => Err(NotSo::Refused(
            "it does not take the signature as its own".to_owned(),
        )),
        Called::Reverted(_) => Err(NotSo::Refused("it reverted the question".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_a_part_of_the_room() {
        let contracts = Contracts::default();
        let network = |n: u8| IpAddr::from([192, 0, 2, n]);
        let mut rooms = Vec::new();
        for n in 0..4 {
            rooms.extend((0..OF_A_NETWORK).map(|_| contracts.room(network(n)).expect("room")));
            if n < 3 {
                assert!(contracts.room(network(n)).is_none(), "{n} has its part");
            }
        }
        assert_eq!(rooms.len(), AT_ONCE);
        assert!(contracts.room(network(9)).is_none(), "there is no more");
        rooms.remove(0);
        assert!(contracts.room(network(9)).is_some());
        drop(rooms);
        assert!(
            contracts.table().is_empty(),
            "who is gone is not remembered"
        );
    }
}
