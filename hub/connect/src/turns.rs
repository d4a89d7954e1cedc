//! Who may go to a place now.
//!
//! A receiver that hangs holds whoever waits for it. So only so many may be at
//! one place at a time, and what is more is *put off*, which gives its run's
//! seat to others: a place that hangs takes no more than its own share of the
//! runner, however many tenants share it.
//!
//! Among tenants a place is shared evenly: who comes for its first turn goes
//! before who has several, and as long as somebody was put off, others leave
//! room for it. At a place that is quick, who finds it full waits a moment
//! where it is, which costs less than to come again.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stencil_protocol::id::TenantId;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

/// A turn that takes longer makes its place a slow one, at which nobody waits;
/// at others one waits no longer than this.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);
/// The least and the most by which somebody is put off.
const LEAST_LATER: Duration = Duration::from_millis(500);
const MOST_LATER: Duration = Duration::from_secs(15);
/// How long past its time room is kept for who was put off.
const KEPT: Duration = Duration::from_secs(2);
/// Places without anybody are swept out when there are more than this.
const SWEPT_PLACES: usize = 256;

/// The turns at all places of a kind.
#[derive(Debug)]
pub(crate) struct Turns {
    patience: Duration,
    places: Mutex<HashMap<String, Place>>,
}

#[derive(Debug, Default)]
struct Place {
    /// Turns by tenant.
    active: BTreeMap<TenantId, usize>,
    /// When each turn began.
    since: BTreeMap<u64, Instant>,
    /// Who waits where it is, first come first.
    waiting: VecDeque<Waiting>,
    /// Until when room is left for who was put off.
    wanting: BTreeMap<TenantId, Instant>,
    /// How many were put off lately.
    put_off: u32,
    last: u64,
}

#[derive(Debug)]
struct Waiting {
    tenant: TenantId,
    limit: usize,
    granted: oneshot::Sender<Turn>,
}

/// Taken as long as it lives.
#[derive(Debug)]
pub(crate) struct Turn {
    turns: Arc<Turns>,
    place: String,
    tenant: TenantId,
    number: u64,
    armed: bool,
}

impl Turns {
    /// With [`PATIENCE`], but for tests.
    pub(crate) fn new(patience: Duration) -> Arc<Self> {
        Arc::new(Self {
            patience,
            places: Mutex::default(),
        })
    }

    /// A turn at `place`, at which `limit` may be at a time; or the time after
    /// which to come again.
    pub(crate) async fn take(
        self: &Arc<Self>,
        place: &str,
        tenant: &TenantId,
        limit: usize,
    ) -> Result<Turn, Duration> {
        let limit = limit.max(1);
        let (mut granted, patience) = {
            let mut places = self.lock();
            if places.len() > SWEPT_PLACES {
                let now = Instant::now();
                places.retain(|_, place| place.is_used(now));
            }
            let found = places.entry(place.to_owned()).or_default();
            let now = Instant::now();
            found.wanting.retain(|_, until| *until > now);
            if found.has_room_for(tenant, limit) {
                return Ok(self.begin(found, place, tenant));
            }
            let oldest = found.since.values().min();
            let age = oldest.map_or(Duration::ZERO, Instant::elapsed);
            let patience = self.patience.saturating_sub(age);
            if patience.is_zero() {
                return Err(found.later(tenant, limit));
            }
            let (sender, granted) = oneshot::channel();
            found.waiting.push_back(Waiting {
                tenant: tenant.clone(),
                limit,
                granted: sender,
            });
            (granted, patience)
        };
        if let Ok(Ok(turn)) = timeout(patience, &mut granted).await {
            return Ok(turn);
        }
        let mut places = self.lock();
        // It may have come at the last moment; after this it comes no more.
        granted.close();
        if let Ok(turn) = granted.try_recv() {
            return Ok(turn);
        }
        let found = places.entry(place.to_owned()).or_default();
        found.waiting.retain(|waiting| !waiting.granted.is_closed());
        Err(found.later(tenant, limit))
    }

    fn begin(self: &Arc<Self>, found: &mut Place, place: &str, tenant: &TenantId) -> Turn {
        found.last += 1;
        found.since.insert(found.last, Instant::now());
        *found.active.entry(tenant.clone()).or_default() += 1;
        found.wanting.remove(tenant);
        found.put_off /= 2;
        Turn {
            turns: Arc::clone(self),
            place: place.to_owned(),
            tenant: tenant.clone(),
            number: found.last,
            armed: true,
        }
    }

    /// Ends a turn, and lets in who may come then.
    fn end(self: &Arc<Self>, turn: &Turn) {
        let mut places = self.lock();
        let Some(found) = places.get_mut(&turn.place) else {
            return;
        };
        found.leave(turn);
        let now = Instant::now();
        found.wanting.retain(|_, until| *until > now);
        while let Some(at) = found.next() {
            let Some(waiting) = found.waiting.remove(at) else {
                break;
            };
            let granted = self.begin(found, &turn.place, &waiting.tenant);
            if let Err(mut unwanted) = waiting.granted.send(granted) {
                unwanted.armed = false;
                found.leave(&unwanted);
            }
        }
        if !found.is_used(now) {
            places.remove(&turn.place);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    fn is_used(&self, now: Instant) -> bool {
        let kept = self.wanting.values().any(|until| *until > now);
        !self.since.is_empty() || !self.waiting.is_empty() || kept
    }

    /// Whether one more of `tenant` may come: there is room, and it would not
    /// have more than its share of what all want who are here or were put off.
    fn has_room_for(&self, tenant: &TenantId, limit: usize) -> bool {
        if self.since.len() >= limit {
            return false;
        }
        let waiting = self.waiting.iter().map(|waiting| &waiting.tenant);
        let all: BTreeSet<&TenantId> = self
            .active
            .keys()
            .chain(self.wanting.keys())
            .chain(waiting)
            .chain([tenant])
            .collect();
        let share = (limit / all.len()).max(1);
        let others_wait = self.waiting.iter().any(|other| other.tenant != *tenant)
            || self.wanting.keys().any(|other| other != tenant);
        !others_wait || self.active.get(tenant).copied().unwrap_or(0) < share
    }

    /// The place in the queue of who comes next: of the tenant with the fewest
    /// turns, who waits longest.
    fn next(&self) -> Option<usize> {
        let turns = |waiting: &Waiting| self.active.get(&waiting.tenant).copied().unwrap_or(0);
        let may =
            |(_, waiting): &(usize, &Waiting)| self.has_room_for(&waiting.tenant, waiting.limit);
        let waiting = self.waiting.iter().enumerate().filter(may);
        waiting
            .min_by_key(|(at, waiting)| (turns(waiting), *at))
            .map(|(at, _)| at)
    }

    fn leave(&mut self, turn: &Turn) {
        self.since.remove(&turn.number);
        if let Some(count) = self.active.get_mut(&turn.tenant) {
            *count -= 1;
            if *count == 0 {
                self.active.remove(&turn.tenant);
            }
        }
    }

    /// By how much somebody is put off: the longer, the more were.
    fn later(&mut self, tenant: &TenantId, limit: usize) -> Duration {
        self.put_off = self.put_off.saturating_add(1);
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        let rounds = 1 + self.put_off / limit;
        // Who was put off together does not come again together.
        let spread = Duration::from_millis(u64::from(self.put_off.wrapping_mul(37) % 250));
        let later = LEAST_LATER.saturating_mul(rounds).min(MOST_LATER) + spread;
        let until = Instant::now() + later + KEPT;
        self.wanting.insert(tenant.clone(), until);
        later
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.armed {
            let turns = Arc::clone(&self.turns);
            turns.end(self);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> TenantId {
        TenantId::parse(name).unwrap()
    }

    /// A place at which every turn counts as a slow one.
    fn slow() -> Arc<Turns> {
        Turns::new(Duration::ZERO)
    }

    /// A place that is never slow.
    fn quick() -> Arc<Turns> {
        Turns::new(Duration::from_secs(600))
    }

    #[tokio::test]
    async fn at_a_quick_place_one_waits_and_gets_the_turn_that_ends() {
        let turns = quick();
        let a = tenant("a");
        let first = turns.take("h", &a, 1).await.unwrap();
        let next = tokio::spawn({
            let (turns, a) = (Arc::clone(&turns), a.clone());
            async move { turns.take("h", &a, 1).await }
        });
        tokio::task::yield_now().await;
        assert!(
            turns.take("other", &a, 1).await.is_ok(),
            "each place its own"
        );
        drop(first);
        let second = next.await.unwrap().unwrap();
        drop(second);
        assert!(turns.lock().get("h").is_none(), "nothing stays behind");
    }

    #[tokio::test]
    async fn at_a_place_that_hangs_nobody_waits() {
        let turns = slow();
        let a = tenant("a");
        let held = turns.take("h", &a, 1).await.unwrap();
        let mut longest = Duration::ZERO;
        for _ in 0..200 {
            let later = turns.take("h", &a, 1).await.unwrap_err();
            assert!(later >= LEAST_LATER);
            longest = longest.max(later);
        }
        assert!(longest >= MOST_LATER && longest < MOST_LATER + KEPT);
        drop(held);
        assert!(turns.take("h", &a, 1).await.is_ok());
    }

    #[tokio::test]
    async fn who_waited_in_vain_is_put_off_and_stands_in_nobodys_way() {
        let turns = Turns::new(Duration::from_millis(20));
        let a = tenant("a");
        let held = turns.take("h", &a, 1).await.unwrap();
        assert!(turns.take("h", &a, 1).await.is_err());
        assert!(turns.lock()["h"].waiting.is_empty());
        drop(held);
        assert!(turns.take("h", &a, 1).await.is_ok());
    }

    #[tokio::test]
    async fn who_was_put_off_finds_room_when_a_turn_ends_however_many_others_come() {
        let turns = slow();
        let (loud, quiet) = (tenant("loud"), tenant("quiet"));
        let mut held = Vec::new();
        for _ in 0..4 {
            held.push(turns.take("h", &loud, 4).await.unwrap());
        }
        assert!(turns.take("h", &quiet, 4).await.is_err());
        held.pop();
        assert!(turns.take("h", &loud, 4).await.is_err(), "room is left");
        held.push(turns.take("h", &quiet, 4).await.unwrap());
        drop(held);
    }

    #[tokio::test]
    async fn a_tenants_first_turn_goes_before_anothers_second() {
        let turns = quick();
        let (loud, quiet) = (tenant("loud"), tenant("quiet"));
        let first = turns.take("h", &loud, 2).await.unwrap();
        let second = turns.take("h", &loud, 2).await.unwrap();
        let wait = |tenant: &TenantId| {
            let (turns, tenant) = (Arc::clone(&turns), tenant.clone());
            tokio::spawn(async move { turns.take("h", &tenant, 2).await })
        };
        let loud_waits = wait(&loud);
        tokio::task::yield_now().await;
        let quiet_waits = wait(&quiet);
        tokio::task::yield_now().await;
        drop(first);
        let quiet_turn = quiet_waits.await.unwrap().unwrap();
        assert!(!loud_waits.is_finished());
        drop(quiet_turn);
        assert!(loud_waits.await.unwrap().is_ok());
        drop(second);
        assert!(turns.lock().is_empty());
    }

    #[tokio::test]
    async fn who_goes_away_while_it_waits_takes_no_turn() {
        let turns = quick();
        let a = tenant("a");
        let held = turns.take("h", &a, 1).await.unwrap();
        let gone = tokio::spawn({
            let (turns, a) = (Arc::clone(&turns), a.clone());
            async move { turns.take("h", &a, 1).await }
        });
        tokio::task::yield_now().await;
        gone.abort();
        let _ = gone.await;
        drop(held);
        assert!(turns.take("h", &a, 1).await.is_ok());
    }
}
