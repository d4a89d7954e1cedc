//! What each number may be. Outside of that a setting would stop the hub, spin, or ask for memory
//! that no machine has; it is refused at start, with what would be right.

use stencil_crypto::authority::ROOT_DAYS;
use stencil_store::MAX_KEEP_DAYS;

use super::Options;
use crate::Error;

const HOUR_MS: u64 = 3_600_000;
/// A credential that was fetched before its right was taken away may hold for a week; until then the right's bit in
/// the status list is needed.
const LEAST_RIGHTS_DAYS: u64 = 8;
const DAY_MS: u64 = 24 * HOUR_MS;
/// More of anything than one machine serves.
const MANY: u64 = 10_000_000;
/// More than the 15 s between two signs of life of an event stream.
const LEAST_IDLE_MS: u64 = 16_000;
/// The stream of live events takes its memory at start.
const MAX_LIVE_CAPACITY: u64 = 65_536;

/// A setting with the least and the most that it may be.
struct Range {
    key: &'static str,
    value: u64,
    least: u64,
    most: u64,
}

/// Refuses the first setting that is out of its range.
pub(super) fn check(options: &Options) -> Result<(), Error> {
    let out = |range: &Range| !(range.least..=range.most).contains(&range.value);
    let Some(range) = ranges(options).into_iter().find(out) else {
        return Ok(());
    };
    let Range {
        key,
        value,
        least,
        most,
    } = range;
    Err(Error::option(
        key,
        format!("{value} is out of range; use {least} to {most}"),
    ))
}

fn ranges(options: &Options) -> Vec<Range> {
    let mut ranges = Vec::with_capacity(48);
    let mut add = |key, value, least, most| {
        ranges.push(Range {
            key,
            value,
            least,
            most,
        });
    };
    let wide = |value: usize| u64::try_from(value).unwrap_or(u64::MAX);

    let http = &options.http.limits;
    add(
        "http.limits.max_connections",
        wide(http.max_connections),
        1,
        MANY,
    );
    add(
        "http.limits.max_connections_per_address",
        wide(http.max_connections_per_address),
        1,
        MANY,
    );
    let minutes_ms = 10 * 60_000;
    let head = http.head_timeout_ms;
    add("http.limits.head_timeout_ms", head, 100, minutes_ms);
    let body = http.body_timeout_ms;
    add("http.limits.body_timeout_ms", body, 100, minutes_ms);
    add(
        "http.limits.idle_timeout_ms",
        http.idle_timeout_ms,
        LEAST_IDLE_MS,
        DAY_MS,
    );
    add("http.limits.max_streams", wide(http.max_streams), 1, MANY);
    add(
        "http.limits.stream_life_ms",
        http.stream_life_ms,
        1_000,
        DAY_MS,
    );
    add("http.limits.gather_ms", http.gather_ms, 0, 60_000);
    add(
        "http.limits.audit_entries",
        http.audit_entries.into(),
        100,
        MANY,
    );
    let rates = &http.rates;
    let fastest = 1_000_000;
    for (key, value, most) in [
        (
            "http.limits.rates.caller_per_s",
            rates.caller_per_s,
            fastest,
        ),
        ("http.limits.rates.caller_burst", rates.caller_burst, MANY),
        (
            "http.limits.rates.address_per_s",
            rates.address_per_s,
            fastest,
        ),
        ("http.limits.rates.address_burst", rates.address_burst, MANY),
    ] {
        add(key, value.into(), 1, most);
    }
    add(
        "http.limits.rates.max_tracked",
        wide(rates.max_tracked),
        16,
        MANY,
    );
    let sessions = &http.sessions;
    let year_s = 366 * DAY_MS / 1_000;
    add("http.limits.sessions.life_s", sessions.life_s, 60, year_s);
    add("http.limits.sessions.idle_s", sessions.idle_s, 60, year_s);
    add(
        "http.limits.sessions.link_life_s",
        sessions.link_life_s,
        60,
        30 * DAY_MS / 1_000,
    );
    add(
        "http.limits.sessions.max_hashes",
        wide(sessions.max_hashes),
        1,
        1_024,
    );

    let mqtt = &options.mqtt;
    add("mqtt.max_connections", wide(mqtt.max_connections), 1, MANY);
    add(
        "mqtt.receive_maximum",
        mqtt.receive_maximum.into(),
        1,
        u16::MAX.into(),
    );
    add(
        "mqtt.connect_timeout_ms",
        mqtt.connect_timeout_ms,
        1,
        HOUR_MS,
    );
    add(
        "mqtt.late_certificate_days",
        mqtt.late_certificate_days.into(),
        0,
        ROOT_DAYS.into(),
    );
    add(
        "mqtt.gateway_certificate_days",
        mqtt.gateway_certificate_days.into(),
        1,
        ROOT_DAYS.into(),
    );
    add("mqtt.drain_timeout_ms", mqtt.drain_timeout_ms, 0, HOUR_MS);

    add(
        "log.max_pending_bytes",
        wide(options.log.max_pending_bytes),
        1,
        u64::MAX,
    );

    let pipeline = &options.pipeline;
    add(
        "pipeline.commit_interval_ms",
        pipeline.commit_interval_ms,
        0,
        60_000,
    );
    add(
        "pipeline.max_commit_records",
        wide(pipeline.max_commit_records),
        1,
        MANY,
    );
    add(
        "pipeline.max_commit_points",
        wide(pipeline.max_commit_points),
        1,
        MANY,
    );
    add("pipeline.max_devices", wide(pipeline.max_devices), 1, MANY);
    add(
        "pipeline.max_tenant_devices",
        wide(pipeline.max_tenant_devices),
        1,
        MANY,
    );
    add("pipeline.max_boots", wide(pipeline.max_boots), 1, MANY);
    add("pipeline.max_names", wide(pipeline.max_names), 1, MANY);
    add(
        "pipeline.max_ledger_spans",
        wide(pipeline.max_ledger_spans),
        1,
        MANY,
    );
    add("pipeline.retry_ms", pipeline.retry_ms, 1, HOUR_MS);
    add("pipeline.tick_ms", pipeline.tick_ms, 50, 60_000);
    // Up to 2100, so that no setting keeps all out by a wrong unit.
    add("pipeline.min_time_s", pipeline.min_time_s, 0, 4_102_444_800);
    // A hundred years.
    add(
        "pipeline.max_ahead_s",
        pipeline.max_ahead_s,
        0,
        3_155_760_000,
    );
    add("pipeline.settle_ms", pipeline.settle_ms, 0, HOUR_MS);

    let dispatch = &options.dispatch;
    add(
        "dispatch.sweep_interval_ms",
        dispatch.sweep_interval_ms,
        1,
        HOUR_MS,
    );
    add("dispatch.max_batch", wide(dispatch.max_batch), 1, MANY);

    let workflow = &options.workflow;
    add("workflow.max_active", wide(workflow.max_active), 1, MANY);
    add(
        "workflow.max_caused_runs",
        workflow.max_caused_runs.into(),
        1,
        stencil_store::MAX_CAUSING_RUNS.into(),
    );
    let runner = &workflow.runner;
    let runs = runner.max_concurrent_runs;
    add("workflow.runner.max_concurrent_runs", runs.into(), 1, MANY);
    if let Some(tenant_runs) = runner.max_tenant_runs {
        let key = "workflow.runner.max_tenant_runs";
        add(key, tenant_runs.into(), 1, runs.into());
    }
    add(
        "workflow.runner.lease_ms",
        runner.lease_ms.into(),
        100,
        HOUR_MS,
    );
    add("workflow.runner.idle_ms", runner.idle_ms.into(), 1, DAY_MS);
    add(
        "workflow.runner.waiting_ms",
        runner.waiting_ms.into(),
        1,
        DAY_MS,
    );
    add(
        "workflow.runner.drain_ms",
        runner.drain_ms.into(),
        0,
        HOUR_MS,
    );
    add(
        "workflow.runner.max_definitions",
        runner.max_definitions.into(),
        1,
        MANY,
    );

    let webhook = &options.connect.webhook;
    let key = "connect.webhook.connect_timeout_ms";
    add(key, webhook.connect_timeout_ms.into(), 1, HOUR_MS);

    add(
        "live.capacity",
        wide(options.live.capacity),
        1,
        MAX_LIVE_CAPACITY,
    );

    let retention = &options.retention;
    for (key, days) in [
        ("retention.series_days", retention.series_days),
        ("retention.runs_days", retention.runs_days),
        ("retention.alarms_days", retention.alarms_days),
        ("retention.quarantine_days", retention.quarantine_days),
        ("retention.audit_days", retention.audit_days),
        ("retention.chains_days", retention.chains_days),
    ] {
        if let Some(days) = days {
            add(key, days.into(), 1, MAX_KEEP_DAYS.into());
        }
    }
    if let Some(days) = retention.rights_days {
        let key = "retention.rights_days";
        add(key, days.into(), LEAST_RIGHTS_DAYS, MAX_KEEP_DAYS.into());
    }
    add(
        "retention.sweep_interval_s",
        retention.sweep_interval_s,
        1,
        DAY_MS / 1_000,
    );

    let backtest = &options.backtest;
    let most = 1_000 * MANY;
    add("backtest.max_samples", backtest.max_samples, 1, most);
    add("backtest.max_series", wide(backtest.max_series), 1, MANY);
    add("backtest.max_ms", backtest.max_ms, 1, HOUR_MS);
    add("backtest.max_running", wide(backtest.max_running), 1, 1_000);
    let exports = wide(options.export.max_running);
    add("export.max_running", exports, 1, 10_000);
    ranges
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The default options with this one setting.
    fn with(key: &str, value: u64) -> Result<Options, serde_json::Error> {
        let mut options = serde_json::to_value(Options::default()).unwrap();
        let pointer = format!("/{}", key.replace('.', "/"));
        let place: &mut Value = options.pointer_mut(&pointer).expect(key);
        *place = json!(value);
        serde_json::from_value(options)
    }

    #[test]
    fn what_is_out_of_range_is_refused_with_its_key_and_what_would_be_right() {
        for (key, wrong, right) in [
            ("live.capacity", 0, "1 to 65536"),
            ("live.capacity", 65_537, "1 to 65536"),
            ("live.capacity", i64::MAX as u64, "1 to 65536"),
            ("http.limits.max_connections", 0, "1 to"),
            ("http.limits.max_connections", u64::MAX, "1 to"),
            ("http.limits.max_connections_per_address", 0, "1 to"),
            ("http.limits.head_timeout_ms", 0, "100 to 600000"),
            ("http.limits.body_timeout_ms", u64::MAX, "100 to 600000"),
            ("http.limits.max_streams", 0, "1 to"),
            ("http.limits.max_streams", i64::MAX as u64, "1 to"),
            ("http.limits.idle_timeout_ms", 0, "16000 to"),
            ("http.limits.idle_timeout_ms", 15_000, "16000 to"),
            ("http.limits.stream_life_ms", 0, "1000 to"),
            ("http.limits.gather_ms", u64::MAX, "0 to 60000"),
            ("http.limits.audit_entries", 0, "100 to"),
            ("http.limits.rates.caller_per_s", 0, "1 to 1000000"),
            ("http.limits.rates.caller_burst", 0, "1 to"),
            ("http.limits.rates.address_per_s", 1_000_001, "1 to 1000000"),
            ("http.limits.rates.address_burst", 0, "1 to"),
            ("http.limits.rates.max_tracked", 0, "16 to"),
            ("http.limits.sessions.life_s", 0, "60 to 31622400"),
            ("http.limits.sessions.idle_s", u64::MAX, "60 to 31622400"),
            ("http.limits.sessions.link_life_s", 0, "60 to 2592000"),
            ("http.limits.sessions.max_hashes", 0, "1 to 1024"),
            ("mqtt.max_connections", 0, "1 to"),
            ("mqtt.receive_maximum", 0, "1 to 65535"),
            ("mqtt.connect_timeout_ms", 0, "1 to"),
            ("mqtt.connect_timeout_ms", u64::MAX, "1 to"),
            ("mqtt.drain_timeout_ms", u64::MAX, "0 to"),
            ("log.max_pending_bytes", 0, "1 to"),
            ("pipeline.max_commit_records", 0, "1 to"),
            ("pipeline.max_commit_points", 0, "1 to"),
            ("pipeline.max_devices", 0, "1 to"),
            ("pipeline.max_tenant_devices", 0, "1 to"),
            ("pipeline.max_boots", 0, "1 to"),
            ("pipeline.max_names", 0, "1 to"),
            ("pipeline.max_ledger_spans", 0, "1 to"),
            ("pipeline.commit_interval_ms", u64::MAX, "0 to 60000"),
            ("pipeline.retry_ms", 0, "1 to"),
            ("pipeline.tick_ms", 0, "50 to 60000"),
            ("pipeline.settle_ms", u64::MAX, "0 to"),
            ("pipeline.min_time_s", 946_684_800_000, "0 to"),
            ("pipeline.max_ahead_s", u64::MAX, "0 to"),
            ("dispatch.sweep_interval_ms", 0, "1 to"),
            ("dispatch.max_batch", 0, "1 to"),
            ("workflow.max_active", 0, "1 to"),
            ("workflow.max_caused_runs", 65, "1 to 64"),
            ("workflow.runner.max_concurrent_runs", 0, "1 to"),
            ("workflow.runner.max_tenant_runs", 0, "1 to 64"),
            ("workflow.runner.max_tenant_runs", 65, "1 to 64"),
            ("workflow.runner.lease_ms", 0, "100 to"),
            ("workflow.runner.idle_ms", 0, "1 to"),
            ("workflow.runner.waiting_ms", 0, "1 to"),
            ("workflow.runner.max_definitions", 0, "1 to"),
            ("connect.webhook.connect_timeout_ms", 0, "1 to"),
            ("retention.series_days", 0, "1 to 36500"),
            ("retention.runs_days", 0, "1 to 36500"),
            ("retention.alarms_days", 36_501, "1 to 36500"),
            ("retention.quarantine_days", 0, "1 to 36500"),
            ("retention.audit_days", 0, "1 to 36500"),
            ("retention.chains_days", 0, "1 to 36500"),
            ("retention.rights_days", 7, "8 to 36500"),
            ("retention.sweep_interval_s", 0, "1 to"),
            ("backtest.max_samples", 0, "1 to"),
            ("backtest.max_series", 0, "1 to"),
            ("backtest.max_ms", u64::MAX, "1 to"),
            ("backtest.max_running", 0, "1 to 1000"),
            ("export.max_running", 0, "1 to 10000"),
        ] {
            let error = with(key, wrong).unwrap().check().unwrap_err().to_string();
            let says = format!("option `{key}`: {wrong} is out of range; use {right}");
            assert!(error.starts_with(&says), "{error}");
        }
    }

    #[test]
    fn each_range_takes_its_ends_and_nothing_beyond() {
        for range in ranges(&with("workflow.runner.max_tenant_runs", 16).unwrap()) {
            for value in [range.least, range.most] {
                let taken = check(&with(range.key, value).unwrap());
                assert!(taken.is_ok(), "{}: {taken:?}", range.key);
            }
            let beyond = [range.least.checked_sub(1), range.most.checked_add(1)];
            for value in beyond.into_iter().flatten() {
                // What its type cannot hold is refused as it is read.
                let Ok(options) = with(range.key, value) else {
                    continue;
                };
                let error = options.check().unwrap_err().to_string();
                assert!(error.contains(range.key), "{error}");
            }
        }
    }

    #[tokio::test]
    async fn the_largest_capacity_can_be_had() {
        let most = usize::try_from(MAX_LIVE_CAPACITY).unwrap();
        let live = crate::Live::new(most);
        assert!(!live.is_watched());
    }
}
