//! History is bounded where the operator says so.

use std::time::Duration;

use stencil_protocol::id::TenantId;
use stencil_store::{Error, MAX_PAGE, Store};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::RetentionOptions;
use crate::clock::Clock;
use crate::parts::told_to_end;

const DAY_US: i64 = 86_400 * 1_000_000;
/// Runs that are forgotten in one transaction.
const RUNS_AT_ONCE: u32 = 500;

/// Sweeps until told to end.
pub(crate) async fn run(
    store: Store,
    clock: Clock,
    options: RetentionOptions,
    mut stop: watch::Receiver<bool>,
) {
    let mut sweep = tokio::time::interval(Duration::from_secs(options.sweep_interval_s.max(1)));
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = told_to_end(&mut stop) => return,
            _ = sweep.tick() => {}
        }
        tokio::select! {
            () = told_to_end(&mut stop) => return,
            swept = all_tenants(&store, clock.now_us(), &options) => {
                if let Err(error) = swept {
                    tracing::warn!(%error, "old history cannot be freed now; trying again later");
                }
            }
        }
    }
}

async fn all_tenants(store: &Store, now_us: i64, options: &RetentionOptions) -> Result<(), Error> {
    let mut after = None;
    loop {
        let page = store.tenancy.tenants(after.as_deref(), MAX_PAGE).await?;
        for tenant in &page.items {
            one_tenant(store, tenant, now_us, options).await?;
        }
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
}

async fn one_tenant(
    store: &Store,
    tenant: &TenantId,
    now_us: i64,
    options: &RetentionOptions,
) -> Result<(), Error> {
    let before = |days: u32| now_us.saturating_sub(i64::from(days).saturating_mul(DAY_US));
    if let Some(days) = options.series_days {
        let points = store.series.expire(tenant, before(days)).await?;
        if points > 0 {
            tracing::info!(%tenant, points, days, "old points were freed");
        }
    }
    if let Some(days) = options.runs_days {
        let mut runs = 0;
        loop {
            let forgotten = store
                .runs
                .forget_ended(tenant, before(days), RUNS_AT_ONCE)
                .await?;
            runs += forgotten;
            if forgotten < u64::from(RUNS_AT_ONCE) {
                break;
            }
        }
        if runs > 0 {
            tracing::info!(%tenant, runs, days, "old runs were forgotten");
        }
    }
    Ok(())
}
