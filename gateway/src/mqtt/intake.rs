//! Where messages go: to the readings, as many as there is room for. A message is acknowledged
//! when all that was read from it is on this disk.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use stencil_field::mqtt::{Offer, Offered, Offers, Table};
use stencil_mqtt::{Publish, Sink, SinkError, Source};
use tokio::sync::watch;

use super::{options, policy::Principal};
use crate::{clock, field::Devices};

/// Messages that a client may send at once, in seconds of its rate.
const BURST_S: f64 = 5.0;
/// A clock that is this far behind the last message's time was set back, rather than overtaken by
/// many messages at once.
const SET_BACK_US: i64 = 1_000_000;

/// Takes what clients publish.
pub(crate) struct Intake {
    field: Arc<Devices>,
    offers: Offers,
    /// The ticket up to which all is on disk.
    durable: watch::Receiver<u64>,
    state: Mutex<State>,
    max_waiting: usize,
    rate: f64,
}

#[derive(Default)]
struct State {
    ticket: u64,
    /// The time of the last message.
    last_us: i64,
    /// What each ticket that is not on disk may hold in values, and all together.
    waiting: VecDeque<(u64, usize)>,
    weight: usize,
    rates: HashMap<Arc<str>, Rate>,
}

/// A bucket that fills by the rate. It may be overdrawn once, by what one read brought.
struct Rate {
    left: f64,
    at: Instant,
}

impl Rate {
    fn fill(&mut self, rate: f64, now: Instant) {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + since * rate).min(rate * BURST_S);
        self.at = now;
    }
}

impl Intake {
    pub(crate) fn new(
        options: &options::Mqtt,
        field: Arc<Devices>,
        durable: watch::Receiver<u64>,
    ) -> Self {
        Self {
            offers: field.offers(),
            field,
            durable,
            state: Mutex::default(),
            max_waiting: options.max_waiting,
            rate: options.max_messages_per_s.into(),
        }
    }

    /// How many values may wait for the disk now.
    pub(crate) fn waiting(&self) -> usize {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.forget(*self.durable.borrow());
        state.weight
    }
}

impl State {
    fn forget(&mut self, durable: u64) {
        while let Some((ticket, weight)) = self.waiting.front().copied()
            && ticket <= durable
        {
            self.waiting.pop_front();
            self.weight -= weight;
        }
    }
}

impl Sink<Principal> for Intake {
    fn append(&self, from: &Source<Principal>, batch: &[Publish<'_>]) -> Result<u64, SinkError> {
        let client = &from.principal.client;
        let table = self.field.table();
        let weight = batch.iter().map(|one| weight(&table, client, one)).sum();
        let now = Instant::now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.forget(*self.durable.borrow());
        if state.weight > 0 && state.weight.saturating_add(weight) > self.max_waiting {
            return Err(SinkError::Full);
        }
        let fresh = || Rate {
            left: self.rate * BURST_S,
            at: now,
        };
        let rate = state.rates.entry(Arc::clone(client)).or_insert_with(fresh);
        rate.fill(self.rate, now);
        if rate.left <= 0.0 {
            return Err(SinkError::Full);
        }
        let ticket = state.ticket + 1;
        let first_us = after(state.last_us, clock::now_us());
        let offered = || Offered {
            client: Arc::clone(client),
            line: from.principal.line,
            messages: batch
                .iter()
                .zip(first_us..)
                .map(|(one, at_us)| offer(one, at_us))
                .collect(),
            ticket,
        };
        self.offers.offer(offered).map_err(|_| SinkError::Full)?;
        let sent = i64::try_from(batch.len()).unwrap_or(i64::MAX);
        state.last_us = first_us.saturating_add(sent).saturating_sub(1);
        state.ticket = ticket;
        state.waiting.push_back((ticket, weight));
        state.weight += weight;
        if let Some(rate) = state.rates.get_mut(client) {
            let sent = u32::try_from(batch.len()).unwrap_or(u32::MAX);
            rate.left -= f64::from(sent);
        }
        Ok(ticket)
    }

    fn committed(&self) -> watch::Receiver<u64> {
        self.durable.clone()
    }
}

/// The time of a message after one at `before_us`: no two have the same one, since of two values at
/// one time a series keeps the later. A clock that was set back is followed.
fn after(before_us: i64, now_us: i64) -> i64 {
    if before_us.saturating_sub(now_us) > SET_BACK_US {
        return now_us;
    }
    now_us.max(before_us.saturating_add(1))
}

/// A message holds no more values than bytes, however many points are in it.
fn weight(table: &Table, client: &str, publish: &Publish<'_>) -> usize {
    let points = table.weight(client, publish.topic);
    1 + points.min(publish.payload.len())
}

pub(super) fn offer(publish: &Publish<'_>, at_us: i64) -> Offer {
    Offer {
        topic: publish.topic.to_owned(),
        payload: publish.payload.to_vec(),
        is_retained: publish.retain,
        at_us,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_messages_have_the_same_time_and_a_clock_set_back_is_followed() {
        assert_eq!(after(0, 5_000_000), 5_000_000);
        assert_eq!(after(5_000_000, 5_000_000), 5_000_001);
        assert_eq!(after(5_000_099, 5_000_007), 5_000_100);
        assert_eq!(after(9_000_000, 5_000_000), 5_000_000);
        assert_eq!(after(i64::MAX, 5_000_000), 5_000_000);
        assert_eq!(after(5_000_000, i64::MAX), i64::MAX);
    }
}
