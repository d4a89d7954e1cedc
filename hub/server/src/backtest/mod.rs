//! A draft of a workflow over what is stored: when its rule would have fired, in event time, and
//! what the version in force really did. Nothing is changed by it.
//!
//! The samples of all series that the rule looks at are merged by their event time ([`merged`]) and
//! shown to a rule engine of its own ([`judged`]), which is the very engine of the pipeline; time
//! passes as the samples' does, and at last up to the end of the range. Memory is bounded by pages
//! of each series, work by a number of samples and by time; what is not looked at is said.
//!
//! What can differ from what the pipeline did: samples that came too late for the pipeline are in
//! their place here, and a silence is measured between samples, not between their arrivals.

mod actual;
mod judged;
mod merged;
mod report;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stencil_protocol::id::{DeviceId, TenantId};
use stencil_rules::{Condition, Rule};
use stencil_store::{DeviceFilter, MAX_PAGE, Store};
use stencil_workflow::Definition;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use judged::Judged;
use merged::{Lane, Merged};

pub use report::{Actual, Backtest, BacktestFiring};

/// How much longer before the range than the rule itself looks back, in µs: an hour. What was so
/// already before the range then does not look as if it began with it.
const LOOK_BACK_US: i64 = 3_600_000_000;

/// Bounds of backtests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BacktestOptions {
    /// Samples that one looks at.
    pub max_samples: u64,
    /// Series that one looks at.
    pub max_series: usize,
    /// Time that one may take, in milliseconds.
    pub max_ms: u64,
    /// Backtests at one time, over all tenants; further ones are refused.
    pub max_running: usize,
}

impl Default for BacktestOptions {
    fn default() -> Self {
        Self {
            max_samples: 5_000_000,
            max_series: 10_000,
            max_ms: 20_000,
            max_running: 2,
        }
    }
}

/// What is asked.
#[derive(Debug)]
pub(crate) struct Question<'a> {
    pub(crate) tenant: &'a TenantId,
    pub(crate) definition: &'a Definition,
    /// From this event time on, µs.
    pub(crate) from_us: i64,
    /// Up to this event time, µs; that moment itself is not in the range.
    pub(crate) to_us: i64,
    /// This device only.
    pub(crate) device: Option<&'a DeviceId>,
    /// The most devices; the first ones by id are looked at.
    pub(crate) max_devices: Option<usize>,
}

/// Who runs backtests. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Backtests {
    options: BacktestOptions,
    room: Arc<Semaphore>,
}

impl Backtests {
    pub(crate) fn new(options: BacktestOptions) -> Self {
        let room = Arc::new(Semaphore::new(options.max_running));
        Self { options, room }
    }

    /// Room for one more; the limit where there is none.
    pub(crate) fn room(&self) -> Result<SemaphorePermit<'_>, usize> {
        let room = self.room.try_acquire();
        room.map_err(|_| self.options.max_running)
    }

    /// Runs one.
    ///
    /// # Errors
    /// What the store says.
    pub(crate) async fn run(
        &self,
        store: &Store,
        question: &Question<'_>,
    ) -> Result<Backtest, stencil_store::Error> {
        let until = Instant::now() + Duration::from_millis(self.options.max_ms);
        let Question {
            tenant,
            definition,
            from_us,
            to_us,
            ..
        } = *question;
        let rule = definition
            .rule()
            .ok_or_else(|| stencil_store::Error::Invalid {
                what: "definition",
                why: "it has no rule on telemetry".to_owned(),
            })?;
        let look_back_us = memory_us(&rule.condition).saturating_add(LOOK_BACK_US);
        let begin_us = from_us.saturating_sub(look_back_us);
        let mut scope = self.scope(store, question, rule).await?;
        let lanes = std::mem::take(&mut scope.lanes);
        let (series, devices) = (&*store.series, scope.devices.as_slice());
        let mut merged =
            Merged::open(series, tenant, devices, lanes, begin_us..to_us, until).await?;
        let judged = Judged::new(rule.clone(), devices, from_us..to_us);
        let mut judged = judged.map_err(|error| stencil_store::Error::Invalid {
            what: "rule",
            why: error.to_string(),
        })?;
        let mut seen = 0;
        let stopped_us = loop {
            if seen >= self.options.max_samples || merged.is_out_of_time() {
                // Not the sample that was looked at last: others of its time may be missing.
                break merged.next_us();
            }
            let Some((device, name, unit, point)) = merged.next().await? else {
                break None;
            };
            seen += 1;
            judged.sample(device, name, unit, &point);
            if seen % 1_024 == 0 {
                // Others of this runtime come to their turn, the pipeline first of all.
                tokio::task::yield_now().await;
            }
        };
        let through_us = stopped_us.unwrap_or(to_us);
        judged.advance(through_us);
        let stopped = stopped_us.map(|_| match seen >= self.options.max_samples {
            true => format!("there are more than {seen} samples"),
            false => format!("it took longer than {} ms", self.options.max_ms),
        });
        let mut backtest = judged.report(definition, seen);
        backtest.devices = u32::try_from(scope.devices.len()).unwrap_or(u32::MAX);
        backtest.through_us = through_us;
        let reasons = [scope.truncated, stopped, backtest.truncated.take()];
        let reasons: Vec<String> = reasons.into_iter().flatten().collect();
        backtest.truncated = (!reasons.is_empty()).then(|| reasons.join("; "));
        actual::add(store, question, &mut backtest).await?;
        Ok(backtest)
    }

    /// Which devices and series it is about.
    async fn scope(
        &self,
        store: &Store,
        question: &Question<'_>,
        rule: &Rule,
    ) -> Result<Scope, stencil_store::Error> {
        let tenant = question.tenant;
        let max_devices = question.max_devices.unwrap_or(usize::MAX);
        let mut scope = Scope::default();
        let mut after = None;
        loop {
            let filter = DeviceFilter {
                search: question.device.map(ToString::to_string),
                ..DeviceFilter::default()
            };
            let page = store
                .devices
                .find(tenant, &filter, after.as_deref(), MAX_PAGE)
                .await?;
            for device in page.items {
                let other = question.device.is_some_and(|only| *only != device.id);
                if other || !rule.devices.matches(device.id.as_str()) {
                    continue;
                }
                if scope.devices.len() >= max_devices {
                    scope.truncated = Some(format!("only the first {max_devices} devices"));
                    return Ok(scope);
                }
                let names = match &rule.name {
                    Some(name) => vec![(name.clone(), None)],
                    None => {
                        let names = store.series.names(tenant, &device.id).await?;
                        names.into_iter().map(|it| (it.name, it.unit)).collect()
                    }
                };
                if scope.lanes.len() + names.len() > self.options.max_series {
                    let max = self.options.max_series;
                    scope.truncated = Some(format!("only the first {max} series"));
                    return Ok(scope);
                }
                let number = scope.devices.len();
                scope.devices.push(device.id);
                let lanes = names.into_iter();
                scope
                    .lanes
                    .extend(lanes.map(|(name, unit)| Lane::new(number, name, unit)));
            }
            after = page.next;
            if after.is_none() {
                return Ok(scope);
            }
        }
    }
}

/// The devices and series that a backtest looks at.
#[derive(Debug, Default)]
struct Scope {
    devices: Vec<DeviceId>,
    lanes: Vec<Lane>,
    /// Why it is not all of them.
    truncated: Option<String>,
}

/// How far back a condition looks, in µs.
fn memory_us(condition: &Condition) -> i64 {
    let own = match condition {
        Condition::Threshold(_) | Condition::Expression(_) => 0,
        Condition::Absence(absence) => absence.silence_us(),
        Condition::Rate(rate) => rate.over_us(),
        Condition::Window(window) => window.over_us().saturating_add(window.lateness_us()),
    };
    own.saturating_add(condition.hold_us())
}
