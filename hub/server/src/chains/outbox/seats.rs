//! How many at a time ask a chain because of invoices.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Place;

/// Seats of one chain, and of all that asks none.
const MOST: usize = 16;

/// Who asks which chain: `None` is whoever says what tokens cost.
#[derive(Default)]
pub(super) struct Seats(Mutex<HashMap<Place, Option<u64>>>);

/// Given back when it is dropped, however its task ends.
pub(super) struct Seat(Arc<Seats>, Place);

impl Seats {
    /// A seat for an invoice; `None` where it has one already, or the chain has no more.
    pub(super) fn take(self: &Arc<Self>, place: Place, chain: Option<u64>) -> Option<Seat> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_chain = taken.values().filter(|of| **of == chain).count();
        if of_chain >= MOST || taken.contains_key(&place) {
            return None;
        }
        taken.insert(place.clone(), chain);
        Some(Seat(Arc::clone(self), place))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.remove(&self.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_has_so_many_seats_and_an_invoice_one() {
        let seats = Arc::new(Seats::default());
        let place = |n: u8| ("acme".parse().unwrap(), [n; 16]);
        let mut held: Vec<_> = (0..16)
            .map(|n| seats.take(place(n), Some(1)).unwrap())
            .collect();
        assert!(seats.take(place(99), Some(1)).is_none());
        let other = seats.take(place(99), Some(2));
        assert!(other.is_some() && seats.take(place(99), None).is_none());
        held.pop();
        assert!(seats.take(place(0), Some(1)).is_none(), "it has one");
        assert!(seats.take(place(98), Some(1)).is_some());
    }
}
