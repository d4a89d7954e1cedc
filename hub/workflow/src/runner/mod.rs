//! Runs what is due, crash-exactly.
//!
//! Each step is *effect, then record*. If the process dies between the two,
//! the run's lease ends, the run is claimed again, and the effect is performed
//! again with the same key; whoever takes the effect does it once a key.

mod claimed;
mod definitions;
mod gate;
mod seats;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use stencil_store::{Alarms, CausedRuns, Runs, Workflows};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::clock::{Clock, SystemClock};
use crate::effect::Effects;
use definitions::Definitions;
use seats::Seats;

/// What a runner may be set to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// How many runs are worked on at a time. Default 64.
    pub max_concurrent_runs: u32,
    /// How many of these may be of one tenant, so that slow receivers of its
    /// webhooks leave room for others. Default: a quarter, but at least one.
    pub max_tenant_runs: Option<u32>,
    /// How long a claim of a run lasts, in ms; it is renewed while an effect
    /// takes longer. After a crash a run goes on when its claim has ended, so
    /// this is how long it may stand still then. Default 6,000.
    pub lease_ms: u32,
    /// How often the store is asked for due runs when nothing woke the runner,
    /// in ms. Default 30,000.
    pub idle_ms: u32,
    /// How often a step that waits for a command looks at it when nothing woke
    /// it, in ms. Default 60,000.
    pub waiting_ms: u32,
    /// How long runs may go on with what they are doing when the runner is
    /// told to stop, in ms. Default 2,000.
    pub drain_ms: u32,
    /// How many definitions are kept compiled. Default 256.
    pub max_definitions: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_concurrent_runs: 64,
            max_tenant_runs: None,
            lease_ms: 6_000,
            idle_ms: 30_000,
            waiting_ms: 60_000,
            drain_ms: 2_000,
            max_definitions: 256,
        }
    }
}

impl Options {
    fn lease_us(&self) -> i64 {
        i64::from(self.lease_ms.max(100)) * 1_000
    }

    fn seats(&self) -> Arc<Seats> {
        let runs = self.max_concurrent_runs.max(1);
        let tenant_runs = self.max_tenant_runs.unwrap_or(runs / 4);
        Seats::new(runs, tenant_runs.clamp(1, runs))
    }
}

/// Where jitter comes from: each call gives another number.
pub type Random = Arc<dyn Fn() -> u64 + Send + Sync>;

/// What a runner works with.
#[derive(Clone)]
pub struct Parts {
    /// Where runs are kept.
    pub runs: Arc<dyn Runs>,
    /// Where it is kept what is known of the causes of runs that are on a chain.
    pub caused: Arc<dyn CausedRuns>,
    /// Where definitions are kept.
    pub workflows: Arc<dyn Workflows>,
    /// Where it is kept for which workflow and device nobody is to be told.
    pub alarms: Arc<dyn Alarms>,
    /// Who performs effects.
    pub effects: Arc<dyn Effects>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub random: Random,
}

impl Parts {
    /// With the machine's clock and random numbers.
    pub fn system(
        runs: Arc<dyn Runs>,
        caused: Arc<dyn CausedRuns>,
        workflows: Arc<dyn Workflows>,
        alarms: Arc<dyn Alarms>,
        effects: Arc<dyn Effects>,
    ) -> Self {
        Self {
            runs,
            caused,
            workflows,
            alarms,
            effects,
            clock: Arc::new(SystemClock),
            random: Arc::new(random),
        }
    }
}

/// Runs workflows. One a process is enough; several over one store share the
/// runs among them.
pub struct Runner {
    options: Options,
    shared: Arc<Shared>,
}

/// What the loop and all claims share.
struct Shared {
    parts: Parts,
    options: Options,
    definitions: Definitions,
    counters: Counters,
    seats: Arc<Seats>,
    wake: Notify,
}

/// Wakes and observes a runner.
#[derive(Clone)]
pub struct Handle(Arc<Shared>);

/// What a runner did since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Metrics {
    /// Runs that are being worked on now.
    pub in_flight: u64,
    /// Claims of runs that it took.
    pub claims: u64,
    /// Attempts of steps that went well.
    pub attempts_done: u64,
    /// Attempts of steps that failed.
    pub attempts_failed: u64,
    /// Steps that were put off, because whoever takes their effect was busy.
    pub put_off: u64,
    /// Steps that were passed over, because nobody was to be told.
    pub passed_over: u64,
    /// Runs that ended well.
    pub runs_done: u64,
    /// Runs that failed.
    pub runs_failed: u64,
    /// Claims that another claim had overtaken.
    pub overtaken: u64,
    /// Calls of the store that failed.
    pub store_errors: u64,
}

#[derive(Default)]
struct Counters {
    claims: AtomicU64,
    attempts_done: AtomicU64,
    attempts_failed: AtomicU64,
    put_off: AtomicU64,
    passed_over: AtomicU64,
    runs_done: AtomicU64,
    runs_failed: AtomicU64,
    overtaken: AtomicU64,
    store_errors: AtomicU64,
}

impl Handle {
    /// Says that there may be something due: call it after a commit that
    /// triggered runs or ended commands.
    pub fn wake(&self) {
        self.0.wake.notify_one();
    }

    /// What the runner did.
    pub fn metrics(&self) -> Metrics {
        let counters = &self.0.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Metrics {
            in_flight: u64::from(self.0.seats.taken()),
            claims: read(&counters.claims),
            attempts_done: read(&counters.attempts_done),
            attempts_failed: read(&counters.attempts_failed),
            put_off: read(&counters.put_off),
            passed_over: read(&counters.passed_over),
            runs_done: read(&counters.runs_done),
            runs_failed: read(&counters.runs_failed),
            overtaken: read(&counters.overtaken),
            store_errors: read(&counters.store_errors),
        }
    }
}

impl Runner {
    /// A runner that does nothing before [`run`](Self::run).
    pub fn new(options: Options, parts: Parts) -> Self {
        let definitions = Definitions::new(options.max_definitions);
        let (counters, wake) = (Counters::default(), Notify::new());
        Self {
            options,
            shared: Arc::new(Shared {
                parts,
                options,
                definitions,
                counters,
                seats: options.seats(),
                wake,
            }),
        }
    }

    /// Wakes and observes it.
    pub fn handle(&self) -> Handle {
        Handle(self.shared.clone())
    }

    /// Runs what is due, until `shutdown` says true (or its sender is gone).
    /// Runs that are under way then get [`Options::drain_ms`] to store what
    /// they did; what is cut off goes on at the next start.
    pub async fn run(self, mut shutdown: watch::Receiver<bool>) {
        let clock = self.shared.parts.clock.clone();
        let mut working = JoinSet::new();
        while !*shutdown.borrow() {
            let until_us = self.claim(&mut working).await;
            tokio::select! {
                Some(ended) = working.join_next(), if !working.is_empty() => note(ended),
                () = self.shared.wake.notified() => {}
                () = clock.sleep_until(until_us) => {}
                changed = shutdown.changed() => {
                    if changed.is_err() {
                        break;
                    }
                }
            }
        }
        let until_us = clock
            .now_us()
            .saturating_add(i64::from(self.options.drain_ms) * 1_000);
        while !working.is_empty() {
            tokio::select! {
                Some(ended) = working.join_next() => note(ended),
                () = clock.sleep_until(until_us) => break,
            }
        }
        working.shutdown().await;
    }

    /// Claims what is due and can be worked on now; says when to look again.
    async fn claim(&self, working: &mut JoinSet<()>) -> i64 {
        let shared = &self.shared;
        let now_us = shared.parts.clock.now_us();
        let idle_us = now_us.saturating_add(i64::from(self.options.idle_ms.max(1)) * 1_000);
        let room = shared.seats.room();
        if room.runs == 0 {
            // The end of a run wakes the loop.
            return idle_us;
        }
        let claims = match shared
            .parts
            .runs
            .claim_due(now_us, shared.options.lease_us(), &room)
            .await
        {
            Ok(claims) => claims,
            Err(error) => return shared.store_failed("claim due runs", &error, now_us),
        };
        for claim in claims {
            shared.counters.claims.fetch_add(1, Ordering::Relaxed);
            let seat = shared.seats.take(&claim.run.tenant);
            working.spawn(claimed::work(shared.clone(), claim, seat));
        }
        // What is due of a tenant that has no room waits for the end of a run,
        // which wakes the loop.
        let full = shared.seats.room().full();
        match shared.parts.runs.next_due_us(&full).await {
            // Due already, but beyond the room for all: as above.
            Ok(Some(due_us)) if due_us <= now_us => {
                now_us.saturating_add(shared.options.lease_us())
            }
            Ok(Some(due_us)) => due_us.min(idle_us),
            Ok(None) => idle_us,
            Err(error) => shared.store_failed("ask for due runs", &error, now_us),
        }
    }
}

impl Shared {
    /// Notes that the store failed; says when to try again.
    fn store_failed(&self, what: &str, error: &stencil_store::Error, now_us: i64) -> i64 {
        const AGAIN_US: i64 = 1_000_000;
        self.counters.store_errors.fetch_add(1, Ordering::Relaxed);
        tracing::error!(%error, "the store could not {what}; trying again");
        now_us.saturating_add(AGAIN_US)
    }
}

fn note(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "working on a run panicked; it is claimed again when its lease ends");
    }
}

/// A number that nobody can tell in advance; not for keys.
fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}
