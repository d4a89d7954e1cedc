//! History is bounded where the operator or a tenant says so.

use std::time::Duration;

use stencil_protocol::id::TenantId;
use stencil_store::{Error, Keep, MAX_PAGE, Retention, Store};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::RetentionOptions;
use crate::clock::Clock;
use crate::parts::told_to_end;

const DAY_US: i64 = 86_400 * 1_000_000;
/// What is forgotten in one transaction, so that nobody waits long for the database.
const AT_ONCE: u32 = 500;

impl RetentionOptions {
    /// What is in force for a tenant that has set this: each kind has an answer.
    pub(crate) fn of(&self, set: Retention) -> Retention {
        let or = |set: Option<Keep>, days: Option<u32>| {
            Some(set.unwrap_or(days.map_or(Keep::Always, Keep::Days)))
        };
        Retention {
            series: or(set.series, self.series_days),
            runs: or(set.runs, self.runs_days),
            alarms: or(set.alarms, self.alarms_days),
            quarantine: or(set.quarantine, self.quarantine_days),
            audit: or(set.audit, self.audit_days),
        }
    }
}

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
            let set = store.keeping.retention(tenant).await?;
            one_tenant(store, tenant, now_us, &options.of(set)).await?;
        }
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
}

/// A kind of history.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Chunks,
    Runs,
    Alarms,
    Quarantine,
    Audit,
}

async fn one_tenant(
    store: &Store,
    tenant: &TenantId,
    now_us: i64,
    retention: &Retention,
) -> Result<(), Error> {
    for (kind, keep) in [
        (Kind::Chunks, retention.series),
        (Kind::Runs, retention.runs),
        (Kind::Alarms, retention.alarms),
        (Kind::Quarantine, retention.quarantine),
        (Kind::Audit, retention.audit),
    ] {
        let Some(Keep::Days(days)) = keep else {
            continue;
        };
        let before_us = now_us.saturating_sub(i64::from(days).saturating_mul(DAY_US));
        let mut all = 0;
        loop {
            let forgotten = forget(store, tenant, kind, before_us).await?;
            all += forgotten;
            if forgotten < u64::from(AT_ONCE) {
                break;
            }
        }
        if all > 0 {
            tracing::info!(%tenant, ?kind, count = all, days, "old history was freed");
        }
    }
    Ok(())
}

/// Forgets some of what is older; fewer than [`AT_ONCE`] were the last.
async fn forget(
    store: &Store,
    tenant: &TenantId,
    kind: Kind,
    before_us: i64,
) -> Result<u64, Error> {
    match kind {
        Kind::Chunks => {
            let forgotten = store.keeping.forget_points(tenant, before_us, AT_ONCE);
            forgotten.await.map(|forgotten| forgotten.chunks)
        }
        Kind::Runs => store.runs.forget_ended(tenant, before_us, AT_ONCE).await,
        Kind::Alarms => {
            store
                .alarms
                .forget_cleared(tenant, before_us, AT_ONCE)
                .await
        }
        Kind::Quarantine => {
            let keeping = &store.keeping;
            keeping.forget_quarantined(tenant, before_us, AT_ONCE).await
        }
        Kind::Audit => store.audit.forget_before(tenant, before_us, AT_ONCE).await,
    }
}

#[cfg(test)]
mod tests {
    use stencil_protocol::id::DeviceId;
    use stencil_protocol::sample::OwnedValue;
    use stencil_store::{AuditFilter, AuditOutcome, Commit, NewAudit, Point, Quarantined, sqlite};

    use super::*;

    const NOW_US: i64 = 1_700_000_000_000_000;
    /// How old what there is is, in days.
    const AGES: [i64; 3] = [9, 4, 1];

    fn tenant(name: &str) -> TenantId {
        TenantId::parse(name).unwrap()
    }

    fn commit(tenant: &TenantId, days_ago: i64, position: u64) -> Commit {
        let device = DeviceId::parse("a").unwrap();
        let at_us = NOW_US - days_ago * DAY_US;
        Commit {
            position,
            points: vec![Point {
                tenant: tenant.clone(),
                device: device.clone(),
                name: format!("t{days_ago}"),
                time_us: at_us,
                value: OwnedValue::Number(1.0),
                unit: None,
            }]
            .into(),
            quarantined: vec![Quarantined {
                tenant: tenant.clone(),
                device: Some(device),
                topic: "t".to_owned(),
                reason: "r".to_owned(),
                path: None,
                payload: vec![1],
                at_us,
                position,
            }],
            ..Commit::default()
        }
    }

    /// Points, quarantined payloads and audit entries that are left.
    async fn left(store: &Store, tenant: &TenantId) -> (usize, usize, usize) {
        let device = DeviceId::parse("a").unwrap();
        let mut points = 0;
        for days_ago in AGES {
            // A chunk goes as a whole: each age has a series of its own.
            let (series, name) = (&store.series, format!("t{days_ago}"));
            let range = series.range(tenant, &device, &name, i64::MIN, i64::MAX, 100);
            points += range.await.unwrap().len();
        }
        let quarantined = store.ledger.quarantine(tenant, None, 100).await.unwrap();
        let audit = store
            .audit
            .entries(tenant, &AuditFilter::default(), None, 100)
            .await
            .unwrap();
        (points, quarantined.items.len(), audit.items.len())
    }

    #[tokio::test]
    async fn each_tenant_keeps_what_it_has_set_and_else_what_the_hub_does() {
        let folder = tempfile::tempdir().unwrap();
        let store = sqlite::open(folder.path().join("hub.db"))
            .await
            .unwrap()
            .store();
        let (ours, theirs) = (tenant("ours"), tenant("theirs"));
        let mut position = 0;
        for tenant in [&ours, &theirs] {
            store.tenancy.create_tenant(tenant, NOW_US).await.unwrap();
            for days_ago in AGES {
                position += 1;
                store
                    .pipeline
                    .commit(commit(tenant, days_ago, position))
                    .await
                    .unwrap();
                let entry = NewAudit {
                    at_us: NOW_US - days_ago * DAY_US,
                    who: "token a".to_owned(),
                    action: "tokens.create".to_owned(),
                    target: None,
                    outcome: AuditOutcome::Done,
                    detail: None,
                    address: None,
                };
                store.audit.note(tenant, &entry, 1_000).await.unwrap();
            }
        }
        let set = Retention {
            series: Some(Keep::Days(2)),
            quarantine: Some(Keep::Always),
            ..Retention::default()
        };
        store
            .keeping
            .set_retention(&ours, &set, NOW_US)
            .await
            .unwrap();
        let options = RetentionOptions {
            series_days: Some(5),
            quarantine_days: Some(5),
            audit_days: Some(5),
            ..RetentionOptions::default()
        };
        for _ in 0..2 {
            all_tenants(&store, NOW_US, &options).await.unwrap();
            assert_eq!(left(&store, &ours).await, (1, 3, 2));
            assert_eq!(left(&store, &theirs).await, (2, 2, 2));
        }
    }
}
