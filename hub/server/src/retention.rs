//! What is older than a tenant wants to keep goes, and what was erased is overwritten.
//!
//! Each sweep goes through all tenants. It frees in portions, so that nobody waits for it long, and
//! no more than [`MAX_PORTIONS`] of a kind and tenant: what is left is for the next sweep, which
//! comes soon then. A tenant whose data cannot be freed now does not keep others from it.

use std::sync::Arc;
use std::time::Duration;

use stencil_protocol::id::TenantId;
use stencil_store::{Error, Keep, MAX_HELD_TOKENS, MAX_PAGE, Retention, Store};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::RetentionOptions;
use crate::chains::READERS;
use crate::chains::ownership::followed_before;
use crate::clock::Clock;
use crate::metrics::{Forgot, Metrics};
use crate::parts::told_to_end;
use crate::wake::Wakes;

const DAY_US: i64 = 86_400 * 1_000_000;
/// What is freed in one transaction.
const PORTION: u32 = 500;
/// Portions of one kind and tenant in one sweep.
const MAX_PORTIONS: u32 = 200;
/// When the next sweep comes if something was left.
const SOON: Duration = Duration::from_secs(10);
/// When what could not be overwritten is tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// The fewest days for which a tenant has its audit log kept: an admin cannot have the traces of
/// what they did freed at once. Who runs the hub may (`retention.audit_days`).
pub(crate) const LEAST_AUDIT_DAYS: u32 = 30;

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
            audit: or(
                set.audit.map(|keep| match keep {
                    Keep::Days(days) => Keep::Days(days.max(LEAST_AUDIT_DAYS)),
                    Keep::Always => Keep::Always,
                }),
                self.audit_days,
            ),
        }
    }
}

/// Who frees and overwrites.
pub(crate) struct Sweeper {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) options: RetentionOptions,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) wakes: Wakes,
}

impl Sweeper {
    /// Works until told to end.
    pub(crate) async fn run(self, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            () = told_to_end(&mut stop) => {}
            () = self.sweeping() => {}
            () = self.purging() => {}
        }
    }

    async fn sweeping(&self) {
        let every = Duration::from_secs(self.options.sweep_interval_s.max(1));
        let mut sweep = tokio::time::interval(every);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            sweep.tick().await;
            if self.sweep(self.clock.now_us()).await {
                sweep.reset_after(SOON.min(every));
            }
        }
    }

    /// Frees what is too old at `now_us`; says whether something was left.
    async fn sweep(&self, now_us: i64) -> bool {
        let (mut more, mut after) = (self.chains(now_us).await, None);
        loop {
            let page = match self.store.tenancy.tenants(after.as_deref(), MAX_PAGE).await {
                Ok(page) => page,
                Err(error) => {
                    tracing::warn!(%error, "old history cannot be freed now; trying again later");
                    return more;
                }
            };
            for tenant in &page.items {
                match self.one_tenant(tenant, now_us).await {
                    Ok(left) => more |= left,
                    Err(error) => tracing::warn!(%tenant, %error,
                        "old history of a tenant cannot be freed now; trying again later"),
                }
            }
            after = page.next;
            if after.is_none() {
                return more;
            }
        }
    }

    /// Frees what chains have said and everybody has taken; says whether something was left.
    async fn chains(&self, now_us: i64) -> bool {
        let Some(before_us) = self.before_us(now_us) else {
            return false;
        };
        let store = &self.store.chains;
        let mut more = false;
        match store.chains().await {
            Ok(chains) => {
                for state in chains {
                    match self.one_chain(&state.chain, before_us).await {
                        Ok(left) => more |= left,
                        Err(error) => tracing::warn!(chain = state.chain, %error,
                            "what a chain has said cannot be freed now; trying again later"),
                    }
                }
            }
            Err(error) => {
                tracing::warn!(%error, "what chains have said cannot be freed now; trying again later");
            }
        }
        more
    }

    async fn one_chain(&self, chain: &str, before_us: i64) -> Result<bool, Error> {
        let (mut all, mut more) = (0, true);
        for _ in 0..MAX_PORTIONS {
            let store = &self.store.chains;
            let gone = store.forget_chain_entries(chain, &READERS, before_us, PORTION);
            let gone = gone.await?;
            self.metrics.forgot(Forgot::ChainEntries, gone);
            all += gone;
            if gone < u64::from(PORTION) {
                more = false;
                break;
            }
            // Whoever waits for the store's writer comes first: a follower, among others.
            tokio::task::yield_now().await;
        }
        if all > 0 {
            tracing::info!(
                chain,
                count = all,
                more,
                "what a chain has said was forgotten"
            );
        }
        Ok(more)
    }

    /// Before when what chains have said is to be forgotten.
    fn before_us(&self, now_us: i64) -> Option<i64> {
        let days = i64::from(self.options.chains_days?);
        Some(now_us.saturating_sub(days.saturating_mul(DAY_US)))
    }

    async fn one_tenant(&self, tenant: &TenantId, now_us: i64) -> Result<bool, Error> {
        let set = self.store.keeping.retention(tenant).await?;
        let keep = self.options.of(set);
        let rights = self.options.rights_days.map(Keep::Days);
        let mut more = false;
        for (kind, keep) in [
            (Forgot::Points, keep.series),
            (Forgot::Sealed, keep.series),
            (Forgot::Runs, keep.runs),
            (Forgot::Alarms, keep.alarms),
            (Forgot::Quarantined, keep.quarantine),
            (Forgot::AuditEntries, keep.audit),
            (Forgot::Rights, rights),
            (Forgot::HeldTokens, rights),
        ] {
            let Some(Keep::Days(days)) = keep else {
                continue;
            };
            let before_us = now_us.saturating_sub(i64::from(days).saturating_mul(DAY_US));
            more |= self.forget(kind, tenant, before_us).await?;
        }
        if let Some(before_us) = self.before_us(now_us) {
            let effects = self.forget(Forgot::InvoiceEffects, tenant, before_us);
            more |= effects.await?;
        }
        let tokens = self.store.ownership.held_count(tenant).await?;
        if tokens >= u64::from(MAX_HELD_TOKENS) / 5 * 4 {
            tracing::warn!(%tenant, tokens, most = MAX_HELD_TOKENS,
                "a tenant has nearly as many passports and rights as are kept of one; of more nothing is known");
        }
        Ok(more)
    }

    /// Frees one kind, portion by portion; says whether something was left.
    async fn forget(&self, kind: Forgot, tenant: &TenantId, before_us: i64) -> Result<bool, Error> {
        let (mut all, mut more) = (0, true);
        for _ in 0..MAX_PORTIONS {
            let (rows, count) = self.portion(kind, tenant, before_us).await?;
            self.metrics.forgot(kind, count);
            all += count;
            // Of tokens a portion is of one kind, and the next one may be of another.
            let is_last = match kind {
                Forgot::HeldTokens => rows == 0,
                _ => rows < u64::from(PORTION),
            };
            if is_last {
                more = false;
                break;
            }
            // Whoever waits for the store's writer comes first.
            tokio::task::yield_now().await;
        }
        if all > 0 {
            tracing::info!(%tenant, kind = kind.name(), count = all, more, "old history was forgotten");
        }
        Ok(more)
    }

    /// Frees one portion: how many rows, and how many things they were.
    async fn portion(
        &self,
        kind: Forgot,
        tenant: &TenantId,
        before_us: i64,
    ) -> Result<(u64, u64), Error> {
        let store = &self.store;
        let rows = match kind {
            Forgot::Points => {
                let freed = store.keeping.forget_points(tenant, before_us, PORTION);
                let freed = freed.await?;
                return Ok((freed.chunks, freed.points));
            }
            Forgot::Runs => store.runs.forget_ended(tenant, before_us, PORTION).await,
            Forgot::Alarms => {
                let alarms = &store.alarms;
                alarms.forget_cleared(tenant, before_us, PORTION).await
            }
            Forgot::Quarantined => {
                let keeping = &store.keeping;
                keeping.forget_quarantined(tenant, before_us, PORTION).await
            }
            Forgot::Sealed => store.proofs.forget_sealed(tenant, before_us, PORTION).await,
            Forgot::AuditEntries => store.audit.forget_before(tenant, before_us, PORTION).await,
            Forgot::InvoiceEffects => {
                let payments = &store.payments;
                let forgotten = payments.forget_invoice_effects(tenant, before_us, PORTION);
                forgotten.await
            }
            Forgot::Rights => {
                let access = &store.access;
                access.forget_ended_rights(tenant, before_us, PORTION).await
            }
            Forgot::HeldTokens => {
                let followed = followed_before(store, tenant, before_us).await?;
                let ownership = &store.ownership;
                let forgotten =
                    ownership.forget_held(tenant, followed.as_ref(), before_us, PORTION);
                forgotten.await
            }
            // Not of a tenant.
            Forgot::ErasedChunks | Forgot::ChainEntries => Ok(0),
        }?;
        Ok((rows, rows))
    }

    /// Overwrites what was erased: what an earlier process left, then whenever it is woken.
    async fn purging(&self) {
        loop {
            match self.purge().await {
                Ok(()) => self.wakes.purge_woken().await,
                Err(error) => {
                    tracing::warn!(%error, "what was erased cannot be overwritten now; trying again");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    async fn purge(&self) -> Result<(), Error> {
        loop {
            let purged = self.store.keeping.purge(PORTION).await?;
            self.metrics.forgot(Forgot::ErasedChunks, purged);
            if purged < u64::from(PORTION) {
                return Ok(());
            }
            // Whoever waits for the store's writer comes first.
            tokio::task::yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use stencil_protocol::id::DeviceId;
    use stencil_protocol::sample::OwnedValue;
    use stencil_store::{
        AlarmChange, AlarmId, Anew, AuditOutcome, BlockMark, ChainCommit, ChainSource, Cleared,
        Commit, HeldCommit, HeldToken, InvoiceCommit, InvoiceEffect, NewAudit, Observation,
        Outcome, Point, Progress, Quarantined, Raised, Room, RunId, Severity, StoredInvoice,
        StoredOwnership, Trigger,
    };

    use super::*;

    const NOW_US: i64 = 1_000 * DAY_US;

    fn tenant(name: &str) -> TenantId {
        TenantId::parse(name).unwrap()
    }

    fn freezer() -> DeviceId {
        DeviceId::parse("freezer-1").unwrap()
    }

    /// A store that soon puts points into chunks.
    async fn open(folder: &tempfile::TempDir) -> Store {
        let options = stencil_store::sqlite::Options {
            max_unsealed_points: 2,
            chunk_points: 2,
            ..Default::default()
        };
        let path = folder.path().join("hub.db");
        let sqlite = stencil_store::sqlite::open_with(path, options).await;
        sqlite.unwrap().store()
    }

    /// A store with three tenants, of each of which one thing of each kind is ten days old, and
    /// another one day.
    async fn seeded(folder: &tempfile::TempDir, tenants: &[TenantId]) -> Store {
        let store = open(folder).await;
        let mut commit = Commit {
            position: 1,
            ..Commit::default()
        };
        for tenant in tenants {
            store.tenancy.create_tenant(tenant, 1).await.unwrap();
            for (n, days) in [(1, 10), (2, 1)] {
                add(tenant, n, NOW_US - days * DAY_US, &mut commit);
                let entry = NewAudit {
                    at_us: NOW_US - days * DAY_US,
                    who: "operator".to_owned(),
                    action: "tokens.create".to_owned(),
                    target: None,
                    outcome: AuditOutcome::Done,
                    detail: None,
                    address: None,
                };
                store.audit.note(tenant, &entry, 100).await.unwrap();
            }
        }
        store.pipeline.commit(commit).await.unwrap();
        for days in [10, 1] {
            let at_us = NOW_US - days * DAY_US;
            let room = Room {
                runs: u32::try_from(tenants.len()).unwrap(),
                tenant_runs: 1,
                ..Room::default()
            };
            let claims = store.runs.claim_due(at_us, 1_000, &room).await.unwrap();
            assert_eq!(claims.len(), tenants.len());
            for claim in claims {
                let done = Outcome {
                    state: Progress::Done,
                    due_us: at_us,
                    error: None,
                    steps: Vec::new(),
                    attempt: None,
                };
                store.runs.record(&claim, &done, at_us).await.unwrap();
            }
        }
        store
    }

    fn add(tenant: &TenantId, n: u8, at_us: i64, commit: &mut Commit) {
        let device = freezer();
        commit.points.push(Point {
            tenant: tenant.clone(),
            device: device.clone(),
            name: format!("t{n}"),
            time_us: at_us,
            value: OwnedValue::Number(1.0),
            unit: None,
        });
        commit.triggers.push(Trigger {
            run: RunId([n; 32]),
            tenant: tenant.clone(),
            workflow: "warm".to_owned(),
            version: 1,
            event: serde_json::json!({}),
            at_us,
            not_before_us: None,
        });
        commit.quarantined.push(Quarantined {
            tenant: tenant.clone(),
            device: Some(device.clone()),
            topic: "t".to_owned(),
            reason: "r".to_owned(),
            path: None,
            payload: Vec::new(),
            at_us,
            position: n.into(),
        });
        let (id, workflow) = (AlarmId([n; 16]), "warm".to_owned());
        commit.alarms.push(AlarmChange::Raised(Raised {
            id,
            tenant: tenant.clone(),
            workflow: workflow.clone(),
            version: 1,
            device: device.clone(),
            severity: Severity::Major,
            title: "warm".to_owned(),
            at_us,
            value: None,
        }));
        commit.alarms.push(AlarmChange::Cleared(Cleared {
            id,
            tenant: tenant.clone(),
            workflow,
            device,
            severity: Severity::Major,
            at_us,
            why: "cold".to_owned(),
        }));
    }

    /// How much there is of each kind.
    async fn kept(store: &Store, tenant: &TenantId) -> [usize; 5] {
        let freezer = freezer();
        let mut points = 0;
        for name in ["t1", "t2"] {
            let range = store.series.range(tenant, &freezer, name, 0, i64::MAX, 10);
            points += range.await.unwrap().len();
        }
        let (of_runs, of_alarms, of_audit) = Default::default();
        let runs = store.runs.list(tenant, &of_runs, None, 10).await.unwrap();
        let alarms = store.alarms.list(tenant, &of_alarms, None, 10);
        let quarantined = store.ledger.quarantine_count(tenant).await.unwrap();
        let audit = store.audit.entries(tenant, &of_audit, None, 10);
        [
            points,
            runs.items.len(),
            alarms.await.unwrap().items.len(),
            usize::try_from(quarantined).unwrap(),
            audit.await.unwrap().items.len(),
        ]
    }

    fn sweeper(store: &Store, options: RetentionOptions) -> Sweeper {
        Sweeper {
            store: store.clone(),
            clock: Clock::from_fn(|| NOW_US),
            options,
            metrics: Arc::default(),
            wakes: Wakes::default(),
        }
    }

    #[tokio::test]
    async fn each_tenant_keeps_as_long_as_it_says_or_else_as_the_hub_does() {
        let folder = tempfile::tempdir().unwrap();
        let tenants = ["short", "always", "hub"].map(tenant);
        let store = seeded(&folder, &tenants).await;
        let [short, always, hub] = &tenants;
        for (tenant, keep) in [(short, Keep::Days(5)), (always, Keep::Always)] {
            let keep = Some(keep);
            let own = Retention {
                series: keep,
                runs: keep,
                alarms: keep,
                quarantine: keep,
                audit: keep,
            };
            store.keeping.set_retention(tenant, &own, 1).await.unwrap();
        }
        let days = |days| RetentionOptions {
            series_days: days,
            runs_days: days,
            alarms_days: days,
            quarantine_days: days,
            audit_days: days,
            ..RetentionOptions::default()
        };

        let first = sweeper(&store, days(Some(50)));
        assert!(!first.sweep(NOW_US).await, "nothing is left for the next");
        // The audit log has a floor.
        assert_eq!(kept(&store, short).await, [1, 1, 1, 1, 2]);
        assert_eq!(kept(&store, always).await, [2; 5]);
        assert_eq!(kept(&store, hub).await, [2; 5]);
        let mut told = String::new();
        first.metrics.render(&mut told);
        for (kind, count) in [
            ("points", 1),
            ("runs", 1),
            ("alarms", 1),
            ("quarantined", 1),
            ("audit", 0),
        ] {
            let line = format!("stencil_hub_forgotten_total{{kind=\"{kind}\"}} {count}\n");
            assert!(told.contains(&line), "{line} is not in {told}");
        }

        // As time goes by, and for good.
        first.sweep(NOW_US + 6 * DAY_US).await;
        assert_eq!(kept(&store, short).await, [0, 0, 0, 0, 2]);
        first.sweep(NOW_US + 36 * DAY_US).await;
        assert_eq!(kept(&store, short).await, [0; 5]);
        let mut told = String::new();
        first.metrics.render(&mut told);
        assert!(told.contains("kind=\"audit\"} 2\n"), "{told}");
        sweeper(&store, days(None)).sweep(NOW_US * 100).await;
        assert_eq!(kept(&store, hub).await, [2; 5]);
        sweeper(&store, days(Some(5))).sweep(NOW_US).await;
        assert_eq!(kept(&store, hub).await, [1; 5]);
        assert_eq!(kept(&store, always).await, [2; 5]);
    }

    /// Two blocks of a chain, which are final, with three observations each; ten days old, and one.
    async fn follow(store: &Store) {
        let chains = &store.chains;
        chains.open_chain("local", 1, 1).await.unwrap();
        for (number, days) in [(1, 10), (2, 1)] {
            let mark = |number| BlockMark {
                number,
                hash: [u8::try_from(number).unwrap(); 32],
            };
            let seen = |place| Observation {
                block: mark(number),
                time_s: number,
                source: ChainSource::Log,
                place,
                tx: [1; 32],
                ordinal: 0,
                address: [2; 20],
                topics: vec![],
                data: vec![],
            };
            let state = chains.chain("local").await.unwrap().unwrap();
            let commit = ChainCommit {
                chain: "local".to_owned(),
                from: state.cursor,
                observed: (0..3).map(seen).collect(),
                cursor: Some(mark(number)),
                finalized: Some(mark(number)),
                at_us: NOW_US - days * DAY_US,
                ..ChainCommit::default()
            };
            chains.commit_chain(&commit).await.unwrap();
        }
    }

    #[tokio::test]
    async fn what_a_chain_has_said_goes_when_it_is_old_and_taken_by_all() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder).await;
        follow(&store).await;
        let chains = &store.chains;
        let left = async || {
            let entries = chains.chain_entries("local", 0, 1_000).await.unwrap();
            entries.iter().map(|entry| entry.seq).collect::<Vec<_>>()
        };
        let days = |chains_days| RetentionOptions {
            chains_days,
            ..RetentionOptions::default()
        };
        let first = sweeper(&store, days(Some(5)));
        // All but one reader have come to the end, that one has not begun, and lags then.
        let [others @ .., slowest] = READERS;
        for reader in others {
            let advanced = chains.advance_chain_reader("local", reader, 12).await;
            advanced.unwrap();
        }
        assert!(!first.sweep(NOW_US).await);
        assert_eq!(left().await.len(), 12);
        chains
            .advance_chain_reader("local", slowest, 4)
            .await
            .unwrap();
        first.sweep(NOW_US).await;
        assert_eq!(left().await, (5..=12).collect::<Vec<_>>());
        let lags = chains.chain_entries("local", 4, 1_000).await.unwrap();
        assert_eq!(lags.len(), 8, "all that it has not taken");
        chains
            .advance_chain_reader("local", slowest, 12)
            .await
            .unwrap();
        sweeper(&store, days(None)).sweep(NOW_US * 100).await;
        assert_eq!(left().await.len(), 8, "always");
        first.sweep(NOW_US).await;
        assert_eq!(left().await, (7..=12).collect::<Vec<_>>(), "what is old");
        first.sweep(NOW_US + 10 * DAY_US).await;
        assert!(left().await.is_empty());
        let mut told = String::new();
        first.metrics.render(&mut told);
        assert!(told.contains("kind=\"chain_entries\"} 12\n"), "{told}");
    }

    #[tokio::test]
    async fn what_was_done_because_of_invoices_goes_when_it_is_old() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder).await;
        let acme = tenant("acme");
        store.tenancy.create_tenant(&acme, 1).await.unwrap();
        let effect = |key| InvoiceEffect {
            key: [key; 32],
            body: "{}".to_owned(),
        };
        let commit = InvoiceCommit {
            invoice: StoredInvoice {
                tenant: acme.clone(),
                invoice: [1; 16],
                version: 1,
                state: "settled".to_owned(),
                body: "{}".to_owned(),
                wakes_us: None,
                watched_until_us: NOW_US,
                created_us: NOW_US,
                changed_us: NOW_US,
            },
            is_undone: false,
            credits: vec![],
            payers: vec![],
            entries: vec![],
            effects: (1..=3).map(effect).collect(),
            refunds: Vec::new(),
        };
        let payments = &store.payments;
        payments.commit_invoice(&commit).await.unwrap();
        for key in [1, 2] {
            let key = [key; 32];
            let done = payments.invoice_effect_done(&acme, &key, NOW_US).await;
            assert!(done.unwrap());
        }
        let sweeper = sweeper(&store, RetentionOptions::default());
        for (days, forgotten) in [(90, 0), (91, 2), (200, 2)] {
            sweeper.sweep(NOW_US + days * DAY_US).await;
            let mut told = String::new();
            sweeper.metrics.render(&mut told);
            let line = format!("kind=\"invoice_effects\"}} {forgotten}\n");
            assert!(told.contains(&line), "{days}: {told}");
        }
        let due = payments.due_invoice_effects(i64::MAX, 9).await.unwrap();
        assert_eq!(due.len(), 1, "what is not done waits for ever");
    }

    #[tokio::test]
    async fn rights_that_ended_long_ago_and_tokens_of_what_is_followed_no_more_go() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder).await;
        let acme = tenant("acme");
        store.tenancy.create_tenant(&acme, 1).await.unwrap();
        store.chains.open_chain("local", 1, 1).await.unwrap();
        let number = |days: i64| u64::try_from(NOW_US / 1_000_000 - days * 86_400).unwrap();
        let token = |token: u8, collection: u8, ends_s| HeldToken {
            tenant: acme.clone(),
            chain: "local".to_owned(),
            collection: [collection; 20],
            token: [token; 32],
            version: 1,
            body: "{}".to_owned(),
            holder: Some([7; 20]),
            passport: None,
            ends_s,
            looked: None,
            changed_us: 1,
        };
        let tokens = vec![
            token(1, 0x72, Some(number(100))),
            token(2, 0x72, Some(number(10))),
            token(3, 0x71, None),
            token(4, 0x66, None),
        ];
        let commit = HeldCommit {
            tokens,
            ..HeldCommit::default()
        };
        let ownership = &store.ownership;
        ownership.commit_held(&commit).await.unwrap();
        let sweeper = sweeper(&store, RetentionOptions::default());
        let told = || {
            let mut told = String::new();
            sweeper.metrics.render(&mut told);
            let mut lines = told.lines();
            let kind = "stencil_hub_forgotten_total{kind=\"held_tokens\"} ";
            let count = lines.find_map(|line| line.strip_prefix(kind).map(str::to_owned));
            count.unwrap()
        };
        sweeper.sweep(NOW_US).await;
        assert_eq!(
            told(),
            "1",
            "without a policy the others may be needed again"
        );
        let address = |byte: u8| format!("0x{}", hex::encode([byte; 20]));
        let policy = |changed_us| StoredOwnership {
            tenant: acme.clone(),
            chain: "local".to_owned(),
            body: serde_json::json!({
                "chain": "local", "passports": address(0x71), "access_rights": address(0x72),
            })
            .to_string(),
            changed_us,
        };
        let anew = Anew::default();
        ownership
            .put_ownership(&policy(NOW_US), &anew)
            .await
            .unwrap();
        sweeper.sweep(NOW_US + 89 * DAY_US).await;
        assert_eq!(
            told(),
            "2",
            "the right of ten days before; the policy is new"
        );
        sweeper.sweep(NOW_US + 91 * DAY_US).await;
        assert_eq!(told(), "3");
        assert_eq!(ownership.held_count(&acme).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_sweep_is_bounded_and_says_that_something_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let acme = tenant("acme");
        let store = seeded(&folder, std::slice::from_ref(&acme)).await;
        let most = u64::from(MAX_PORTIONS) * u64::from(PORTION);
        let mut commit = Commit {
            position: 2,
            ..Commit::default()
        };
        add(&acme, 3, 0, &mut commit);
        let one = commit.quarantined[0].clone();
        commit = Commit {
            position: 2,
            ..Commit::default()
        };
        commit.quarantined = (0..most).map(|_| one.clone()).collect();
        store.pipeline.commit(commit).await.unwrap();
        let options = RetentionOptions {
            quarantine_days: Some(500),
            ..RetentionOptions::default()
        };
        let sweeper = sweeper(&store, options);
        let held = sweeper.forget(Forgot::Quarantined, &acme, 1).await;
        assert!(
            held.unwrap(),
            "a full sweep cannot know that it was the last"
        );
        assert!(!sweeper.sweep(NOW_US).await);
    }

    #[tokio::test]
    async fn what_was_erased_is_overwritten_also_what_an_earlier_process_left() {
        let folder = tempfile::tempdir().unwrap();
        let acme = tenant("acme");
        let store = open(&folder).await;
        store.tenancy.create_tenant(&acme, 1).await.unwrap();
        for position in 1..=20 {
            let mut commit = Commit {
                position,
                ..Commit::default()
            };
            for n in 0..4 {
                let at_us = i64::try_from(position).unwrap() * 10 + n;
                add(&acme, 1, at_us, &mut commit);
            }
            commit.alarms.clear();
            store.pipeline.commit(commit).await.unwrap();
        }
        let keeping = &store.keeping;
        let erased = stencil_store::Erased::Device(acme.clone(), freezer());
        keeping.erase(21, &erased).await.unwrap();
        let sweeper = sweeper(&store, RetentionOptions::default());
        sweeper.purge().await.unwrap();
        let mut told = String::new();
        sweeper.metrics.render(&mut told);
        let line = "stencil_hub_forgotten_total{kind=\"erased_chunks\"} ";
        let chunks = told.lines().find_map(|told| told.strip_prefix(line));
        assert!(chunks.unwrap().parse::<u64>().unwrap() > 0, "{told}");
        assert_eq!(keeping.purge(10).await.unwrap(), 0);
        assert_eq!(kept(&store, &acme).await[0], 0);
    }
}
