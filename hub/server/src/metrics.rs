//! Counters of the hub, and their form for a Prometheus scrape. No device or tenant ids as labels:
//! their number is not bounded.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use stencil_protocol::batch::DropReason;
use stencil_store::{CausedCommit, CausedCommitted, SealFlaw, SealState, TurnKind};

/// What the hub counts. All but the gauges only grow while the process lives.
#[derive(Debug, Default)]
pub struct Metrics {
    ingested_records: AtomicU64,
    ingested_bytes: AtomicU64,
    ingest_refusals: AtomicU64,
    records: AtomicU64,
    samples_stored: AtomicU64,
    samples_duplicate: AtomicU64,
    samples_dropped: Mutex<BTreeMap<DropReason, u64>>,
    quarantined: AtomicU64,
    runs_started: AtomicU64,
    runs_refused: AtomicU64,
    payments_missed: AtomicU64,
    alarms_raised: AtomicU64,
    alarms_cleared: AtomicU64,
    alarms_active: AtomicU64,
    ticks: AtomicU64,
    tick_refusals: AtomicU64,
    commits: AtomicU64,
    commit_failures: AtomicU64,
    damaged_bytes: AtomicU64,
    orphaned: AtomicU64,
    erasures: AtomicU64,
    forgotten: [AtomicU64; Forgot::ALL.len()],
    seals: [AtomicU64; SealState::ALL.len()],
    seal_flaws: [AtomicU64; SealFlaw::ALL.len()],
    caused_turns: [AtomicU64; TurnKind::ALL.len()],
    commands_sent: AtomicU64,
    commands_expired: AtomicU64,
    answers_ignored: [AtomicU64; Ignored::ALL.len()],
    certificates_renewed: AtomicU64,
    certificates_refused: AtomicU64,
    certificates_ending: AtomicU64,
    devices: AtomicU64,
    position: AtomicU64,
    committed_at_us: AtomicI64,
}

/// What retention and erasure free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forgot {
    /// Points of time series.
    Points,
    /// Runs that have ended.
    Runs,
    /// Alarms that have ended.
    Alarms,
    /// Quarantined payloads.
    Quarantined,
    /// Entries of audit logs.
    AuditEntries,
    /// Chunks of series that were erased, overwritten.
    ErasedChunks,
    /// What was done because of invoices.
    InvoiceEffects,
    /// Entries of chains' streams.
    ChainEntries,
    /// Seals, and what they are over.
    Sealed,
    /// Rights that gateways check, and their credentials.
    Rights,
    /// What was known of passports and rights on chains.
    HeldTokens,
}

impl Forgot {
    const ALL: [Self; 11] = [
        Self::Points,
        Self::Runs,
        Self::Alarms,
        Self::Quarantined,
        Self::AuditEntries,
        Self::ErasedChunks,
        Self::InvoiceEffects,
        Self::ChainEntries,
        Self::Sealed,
        Self::Rights,
        Self::HeldTokens,
    ];

    /// Its name as a label.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Points => "points",
            Self::Runs => "runs",
            Self::Alarms => "alarms",
            Self::Quarantined => "quarantined",
            Self::AuditEntries => "audit",
            Self::ErasedChunks => "erased_chunks",
            Self::Sealed => "sealed",
            Self::InvoiceEffects => "invoice_effects",
            Self::ChainEntries => "chain_entries",
            Self::Rights => "rights",
            Self::HeldTokens => "held_tokens",
        }
    }
}

/// Why an answer of a gateway is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ignored {
    /// Nobody waits for it.
    Unsolicited,
    /// It is longer than an answer may be.
    TooLarge,
    /// It cannot be read, or has gaps.
    Malformed,
}

impl Ignored {
    const ALL: [Self; 3] = [Self::Unsolicited, Self::TooLarge, Self::Malformed];

    /// Its name as a label.
    fn name(self) -> &'static str {
        match self {
            Self::Unsolicited => "unsolicited",
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
        }
    }
}

/// What one commit of the pipeline adds.
#[derive(Debug, Clone, Default)]
pub(crate) struct CommitTally {
    pub(crate) records: u64,
    pub(crate) stored: u64,
    pub(crate) duplicate: u64,
    pub(crate) dropped: BTreeMap<DropReason, u64>,
    pub(crate) quarantined: u64,
    pub(crate) started: u64,
    pub(crate) alarms_raised: u64,
    pub(crate) alarms_cleared: u64,
    pub(crate) alarms_active: u64,
    pub(crate) devices: u64,
    pub(crate) position: u64,
    pub(crate) at_us: i64,
}

impl Metrics {
    pub(crate) fn ingested(&self, records: usize, bytes: usize) {
        self.ingested_records
            .fetch_add(records as u64, Ordering::Relaxed);
        self.ingested_bytes
            .fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn ingest_refused(&self) {
        self.ingest_refusals.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn committed(&self, tally: &CommitTally) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.records.fetch_add(tally.records, Ordering::Relaxed);
        self.samples_stored
            .fetch_add(tally.stored, Ordering::Relaxed);
        self.samples_duplicate
            .fetch_add(tally.duplicate, Ordering::Relaxed);
        self.quarantined
            .fetch_add(tally.quarantined, Ordering::Relaxed);
        self.runs_started
            .fetch_add(tally.started, Ordering::Relaxed);
        self.alarms_raised
            .fetch_add(tally.alarms_raised, Ordering::Relaxed);
        self.alarms_cleared
            .fetch_add(tally.alarms_cleared, Ordering::Relaxed);
        self.alarms_active
            .store(tally.alarms_active, Ordering::Relaxed);
        self.devices.store(tally.devices, Ordering::Relaxed);
        self.position.store(tally.position, Ordering::Relaxed);
        self.committed_at_us.store(tally.at_us, Ordering::Relaxed);
        let mut dropped = self
            .samples_dropped
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for (reason, count) in &tally.dropped {
            *dropped.entry(*reason).or_default() += count;
        }
    }

    pub(crate) fn ticked(&self) {
        self.ticks.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn tick_refused(&self) {
        self.tick_refusals.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn commit_failed(&self) {
        self.commit_failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn damaged(&self, bytes: u64) {
        self.damaged_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn orphaned(&self) {
        self.orphaned.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn erased(&self) {
        self.erasures.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn forgot(&self, kind: Forgot, count: u64) {
        let place = Forgot::ALL.iter().position(|one| *one == kind);
        if let Some(counter) = place.and_then(|place| self.forgotten.get(place)) {
            counter.fetch_add(count, Ordering::Relaxed);
        }
    }

    pub(crate) fn answer_ignored(&self, why: Ignored) {
        let place = Ignored::ALL.iter().position(|one| *one == why);
        if let Some(counter) = place.and_then(|place| self.answers_ignored.get(place)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts what was found of a seal, and in what it is not what the hub has.
    pub(crate) fn seal(&self, state: SealState, flaw: Option<SealFlaw>) {
        let place = SealState::ALL.iter().position(|one| *one == state);
        let state = place.and_then(|place| self.seals.get(place));
        let place = SealFlaw::ALL.iter().position(|one| Some(*one) == flaw);
        let flaw = place.and_then(|place| self.seal_flaws.get(place));
        for counter in [state, flaw].into_iter().flatten() {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts runs that something else than a commit of the pipeline has started.
    pub(crate) fn runs_started(&self, started: u64) {
        self.runs_started.fetch_add(started, Ordering::Relaxed);
    }

    /// Counts what has become of causes on chains.
    pub(crate) fn caused(&self, commit: &CausedCommit, committed: &CausedCommitted) {
        self.runs_started
            .fetch_add(committed.started, Ordering::Relaxed);
        self.runs_refused
            .fetch_add(committed.refused, Ordering::Relaxed);
        if commit.start.as_ref().is_some_and(|start| start.missed) {
            self.payments_missed.fetch_add(1, Ordering::Relaxed);
        }
        for turn in commit.changes.iter().flat_map(|change| &change.turns) {
            let place = TurnKind::ALL.iter().position(|kind| *kind == turn.kind);
            if let Some(counter) = place.and_then(|place| self.caused_turns.get(place)) {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    pub(crate) fn command_sent(&self) {
        self.commands_sent.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn command_expired(&self) {
        self.commands_expired.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn certificate_renewed(&self) {
        self.certificates_renewed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn certificate_refused(&self) {
        self.certificates_refused.fetch_add(1, Ordering::Relaxed);
    }

    /// So many certificates of gateways end soon, or have ended.
    pub(crate) fn certificates_ending(&self, ending: u64) {
        self.certificates_ending.store(ending, Ordering::Relaxed);
    }

    /// Samples stored since the process began.
    #[must_use]
    pub fn samples_stored(&self) -> u64 {
        self.samples_stored.load(Ordering::Relaxed)
    }

    /// Samples that came again since the process began.
    #[must_use]
    pub fn samples_duplicate(&self) -> u64 {
        self.samples_duplicate.load(Ordering::Relaxed)
    }

    /// Parts of payloads set aside since the process began.
    #[must_use]
    pub fn quarantined(&self) -> u64 {
        self.quarantined.load(Ordering::Relaxed)
    }

    /// Appends that found the ingest log full since the process began.
    #[must_use]
    pub fn ingest_refusals(&self) -> u64 {
        self.ingest_refusals.load(Ordering::Relaxed)
    }

    /// Where an earlier process has come to.
    pub(crate) fn begins_at(&self, position: u64) {
        self.position.store(position, Ordering::Relaxed);
    }

    /// The log position of the last commit.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position.load(Ordering::Relaxed)
    }

    /// Appends the text form (Prometheus exposition format 0.0.4).
    pub(crate) fn render(&self, out: &mut String) {
        let counters = [
            (
                "ingest_records_total",
                "records taken into the log",
                &self.ingested_records,
            ),
            (
                "ingest_bytes_total",
                "bytes taken into the log",
                &self.ingested_bytes,
            ),
            (
                "ingest_refusals_total",
                "appends that found the log full",
                &self.ingest_refusals,
            ),
            (
                "pipeline_records_total",
                "log records applied",
                &self.records,
            ),
            (
                "pipeline_commits_total",
                "transactions of the pipeline",
                &self.commits,
            ),
            (
                "pipeline_commit_failures_total",
                "transactions that failed",
                &self.commit_failures,
            ),
            (
                "log_damaged_bytes_total",
                "bytes of the log left out as damaged",
                &self.damaged_bytes,
            ),
            (
                "records_orphaned_total",
                "log records of tenants that were erased meanwhile, left out",
                &self.orphaned,
            ),
            (
                "erasures_total",
                "devices and tenants whose data was erased",
                &self.erasures,
            ),
            (
                "samples_stored_total",
                "samples stored",
                &self.samples_stored,
            ),
            (
                "samples_duplicate_total",
                "samples that came again",
                &self.samples_duplicate,
            ),
            (
                "quarantined_parts_total",
                "parts of payloads set aside",
                &self.quarantined,
            ),
            (
                "runs_started_total",
                "workflow runs started by rules",
                &self.runs_started,
            ),
            (
                "runs_refused_total",
                "workflow runs that were not started, as too many had led to them by what they sent",
                &self.runs_refused,
            ),
            (
                "payments_missed_total",
                "payments of invoices that no workflow in force took, though there had been one for them",
                &self.payments_missed,
            ),
            (
                "alarms_raised_total",
                "alarms raised by rules",
                &self.alarms_raised,
            ),
            (
                "alarms_cleared_total",
                "alarms that ended",
                &self.alarms_cleared,
            ),
            (
                "ticks_total",
                "times that the passing of time was logged for rules that wait",
                &self.ticks,
            ),
            (
                "tick_refusals_total",
                "times that the log took no tick",
                &self.tick_refusals,
            ),
            (
                "commands_sent_total",
                "commands handed to gateways",
                &self.commands_sent,
            ),
            (
                "commands_expired_total",
                "commands that ran out of time",
                &self.commands_expired,
            ),
            (
                "certificates_renewed_total",
                "certificates of gateways that were renewed",
                &self.certificates_renewed,
            ),
            (
                "certificates_refused_total",
                "certificates of gateways that were asked for and not renewed",
                &self.certificates_refused,
            ),
        ];
        for (name, help, counter) in counters {
            line(out, name, help, "counter", counter.load(Ordering::Relaxed));
        }
        line(
            out,
            "alarms_active_count",
            "alarms that are active",
            "gauge",
            self.alarms_active.load(Ordering::Relaxed),
        );
        line(
            out,
            "certificates_ending_count",
            "certificates of gateways that end within 30 days, or have ended",
            "gauge",
            self.certificates_ending.load(Ordering::Relaxed),
        );
        line(
            out,
            "devices_count",
            "devices known",
            "gauge",
            self.devices.load(Ordering::Relaxed),
        );
        line(
            out,
            "pipeline_position_bytes",
            "log position of the last commit",
            "gauge",
            self.position(),
        );
        let name = "stencil_hub_forgotten_total";
        // Writing to a String cannot fail.
        let _ = writeln!(out, "# HELP {name} what was older than it is kept, by kind");
        let _ = writeln!(out, "# TYPE {name} counter");
        for (kind, counter) in Forgot::ALL.iter().zip(&self.forgotten) {
            let (kind, count) = (kind.name(), counter.load(Ordering::Relaxed));
            let _ = writeln!(out, "{name}{{kind=\"{kind}\"}} {count}");
        }
        let name = "stencil_hub_seals_total";
        let _ = writeln!(
            out,
            "# HELP {name} seals of gateways, by what was found of them"
        );
        let _ = writeln!(out, "# TYPE {name} counter");
        for (state, counter) in SealState::ALL.iter().zip(&self.seals) {
            let (state, count) = (state.as_str(), counter.load(Ordering::Relaxed));
            let _ = writeln!(out, "{name}{{state=\"{state}\"}} {count}");
        }
        let name = "stencil_hub_seal_flaws_total";
        let _ = writeln!(
            out,
            "# HELP {name} seals of gateways that are not what the hub has, by in what"
        );
        let _ = writeln!(out, "# TYPE {name} counter");
        for (flaw, counter) in SealFlaw::ALL.iter().zip(&self.seal_flaws) {
            let (flaw, count) = (flaw.as_str(), counter.load(Ordering::Relaxed));
            let _ = writeln!(out, "{name}{{flaw=\"{flaw}\"}} {count}");
        }
        let name = "stencil_hub_gateway_answers_ignored_total";
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "# HELP {name} answers of gateways that are none, by reason"
        );
        let _ = writeln!(out, "# TYPE {name} counter");
        for (why, counter) in Ignored::ALL.iter().zip(&self.answers_ignored) {
            let (why, count) = (why.name(), counter.load(Ordering::Relaxed));
            let _ = writeln!(out, "{name}{{reason=\"{why}\"}} {count}");
        }
        let name = "stencil_hub_chain_turns_total";
        let _ = writeln!(
            out,
            "# HELP {name} what became of causes on chains, and what devices were told because of that"
        );
        let _ = writeln!(out, "# TYPE {name} counter");
        for (kind, counter) in TurnKind::ALL.iter().zip(&self.caused_turns) {
            let (kind, count) = (kind.as_str(), counter.load(Ordering::Relaxed));
            let _ = writeln!(out, "{name}{{kind=\"{kind}\"}} {count}");
        }
        let dropped = self
            .samples_dropped
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let name = "stencil_hub_samples_dropped_total";
        // Writing to a String cannot fail.
        let _ = writeln!(out, "# HELP {name} samples that will never come, by reason");
        let _ = writeln!(out, "# TYPE {name} counter");
        for reason in DropReason::ALL
            .into_iter()
            .filter(|it| *it != DropReason::Erased)
        {
            let count = dropped.get(&reason).copied().unwrap_or_default();
            let _ = writeln!(out, "{name}{{reason=\"{reason}\"}} {count}");
        }
    }
}

/// One unlabelled value.
pub(crate) fn line(out: &mut String, name: &str, help: &str, kind: &str, value: u64) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "# HELP stencil_hub_{name} {help}");
    let _ = writeln!(out, "# TYPE stencil_hub_{name} {kind}");
    let _ = writeln!(out, "stencil_hub_{name} {value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_comment_or_a_named_number() {
        let metrics = Metrics::default();
        metrics.ingested(3, 100);
        metrics.committed(&CommitTally {
            records: 2,
            stored: 5,
            dropped: BTreeMap::from([(DropReason::Reboot, 4)]),
            ..CommitTally::default()
        });
        let mut text = String::new();
        metrics.render(&mut text);
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.split_once(' ').unwrap();
            assert!(name.starts_with("stencil_hub_"), "{line}");
            value.parse::<u64>().unwrap();
        }
        assert!(
            text.contains("stencil_hub_samples_stored_total 5\n"),
            "{text}"
        );
        assert!(
            text.contains("samples_dropped_total{reason=\"reboot\"} 4\n"),
            "{text}"
        );
    }
}
