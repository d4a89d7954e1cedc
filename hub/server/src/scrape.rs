//! Counters of the parts that the hub is made of, for a scrape.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use stencil_log::{Health, Log};
use stencil_payments::port::Chain;

use crate::chains::Cashier;
use crate::metrics::line;

/// Appends the cashier's figures, and how chains are followed.
pub(crate) fn cashier(cashier: &Cashier, out: &mut String) {
    let metrics = cashier.metrics();
    let counters = [
        (
            "chain_entries_total",
            "entries of chains' streams that the cashier has taken",
            &metrics.entries,
        ),
        (
            "payments_total",
            "payments of invoices seen in a block",
            &metrics.credits,
        ),
        (
            "payments_retracted_total",
            "payments that a reorganisation took away",
            &metrics.retracted,
        ),
        (
            "payments_unmatched_total",
            "movements of money that are of no invoice",
            &metrics.unmatched,
        ),
        (
            "payments_folded_total",
            "movements of money that are of no invoice and are told in a sum",
            &metrics.folded,
        ),
        (
            "payments_unknown_token_total",
            "payments by contract in tokens that nobody takes, which are nobody's here",
            &metrics.unknown_tokens,
        ),
        (
            "invoice_effects_total",
            "webhooks, refunds and rates of invoices that were done",
            &metrics.effects,
        ),
        (
            "invoice_effects_failed_total",
            "attempts at these that failed",
            &metrics.effects_failed,
        ),
    ];
    for (name, help, value) in counters {
        line(out, name, help, "counter", value.load(Ordering::Relaxed));
    }
    let open = cashier.open_invoices() as u64;
    let help = "invoices that payments are looked for";
    line(out, "invoices_open_count", help, "gauge", open);
    let name = "stencil_hub_chain_trouble";
    // Writing to a String cannot fail.
    let help = "1 if a chain is not heard or followed as it should be, or is missing in the settings with something open";
    let _ = writeln!(out, "# HELP {name} {help}");
    let _ = writeln!(out, "# TYPE {name} gauge");
    for chain in cashier.chains().iter() {
        let trouble = u8::from(chain.trouble().is_some());
        let _ = writeln!(out, "{name}{{chain=\"{}\"}} {trouble}", chain.name());
    }
    for absent in cashier.absent() {
        let _ = writeln!(out, "{name}{{chain=\"{}\"}} 1", absent.name);
    }
    let mut gauge = |name: &str, help: &str, value: &dyn Fn(&dyn Chain) -> Option<u64>| {
        let _ = writeln!(out, "# HELP {name} {help}");
        let _ = writeln!(out, "# TYPE {name} gauge");
        for chain in cashier.chains().iter() {
            if let Some(value) = value(chain.as_ref()) {
                let _ = writeln!(out, "{name}{{chain=\"{}\"}} {value}", chain.name());
            }
        }
    };
    gauge(
        "stencil_hub_chain_ahead_seconds",
        "how far a chain's clock is ahead of the hub's",
        &|chain| Some(cashier.ahead_s(chain)),
    );
    gauge(
        "stencil_hub_chain_behind_seconds",
        "how old the newest block of a chain is by the hub's clock",
        &|chain| cashier.behind_s(chain),
    );
    gauge(
        "stencil_hub_chain_head_block",
        "the newest block of a chain that its endpoints have",
        &|chain| chain.head().map(|head| head.number),
    );
}

/// Appends the endpoint's figures.
pub(crate) fn mqtt(mqtt: &stencil_mqtt::Metrics, out: &mut String) {
    let counters = [
        (
            "mqtt_accepted_connections_total",
            "sockets accepted",
            mqtt.accepted,
        ),
        (
            "mqtt_over_capacity_total",
            "sockets closed at a connection bound",
            mqtt.over_capacity,
        ),
        (
            "mqtt_made_way_total",
            "sockets closed before CONNECT to make room for a newer one",
            mqtt.made_way,
        ),
        (
            "mqtt_refused_clients_total",
            "clients not let in",
            mqtt.refused,
        ),
        (
            "mqtt_protocol_errors_total",
            "connections closed as malformed",
            mqtt.protocol_errors,
        ),
        (
            "mqtt_publishes_in_total",
            "publishes taken",
            mqtt.publishes_in,
        ),
        (
            "mqtt_publish_in_bytes_total",
            "payload bytes of these",
            mqtt.publish_bytes_in,
        ),
        (
            "mqtt_publishes_refused_total",
            "publishes on topics not allowed",
            mqtt.publishes_refused,
        ),
        (
            "mqtt_acknowledged_publishes_total",
            "PUBACKs sent after commit",
            mqtt.acknowledged,
        ),
        (
            "mqtt_publishes_out_total",
            "publishes sent",
            mqtt.publishes_out,
        ),
        (
            "mqtt_queue_full_total",
            "publishes dropped at a full queue",
            mqtt.queue_full,
        ),
    ];
    for (name, help, value) in counters {
        line(out, name, help, "counter", value);
    }
    line(
        out,
        "mqtt_connections_count",
        "sockets open",
        "gauge",
        mqtt.connections as u64,
    );
    let name = "stencil_hub_mqtt_tls_refused_total";
    // Writing to a String cannot fail.
    let _ = writeln!(out, "# HELP {name} TLS handshakes that failed, by reason");
    let _ = writeln!(out, "# TYPE {name} counter");
    for (reason, count) in &mqtt.tls_refused {
        let _ = writeln!(out, "{name}{{reason=\"{reason}\"}} {count}");
    }
}

/// Appends the ingest log's figures.
pub(crate) fn log(log: &Log, out: &mut String) {
    line(
        out,
        "log_bytes",
        "bytes of the ingest log",
        "gauge",
        log.bytes(),
    );
    line(
        out,
        "log_end_bytes",
        "end of the ingest log",
        "gauge",
        log.end().0,
    );
    let healthy = u64::from(log.health() == Health::Ok);
    line(
        out,
        "log_healthy_count",
        "1 if the ingest log takes and keeps records",
        "gauge",
        healthy,
    );
}

/// Appends the runner's figures.
pub(crate) fn runner(runner: &stencil_workflow::Metrics, out: &mut String) {
    let counters = [
        ("runs_done_total", "runs that ended well", runner.runs_done),
        ("runs_failed_total", "runs that failed", runner.runs_failed),
        (
            "step_attempts_done_total",
            "attempts of steps that went well",
            runner.attempts_done,
        ),
        (
            "step_attempts_failed_total",
            "attempts of steps that failed",
            runner.attempts_failed,
        ),
        (
            "steps_put_off_total",
            "times that a step was put off, because whoever takes it was busy",
            runner.put_off,
        ),
        (
            "steps_passed_over_total",
            "steps that told nobody, because somebody had asked for silence",
            runner.passed_over,
        ),
    ];
    for (name, help, value) in counters {
        line(out, name, help, "counter", value);
    }
    let (name, help) = ("runs_in_flight_count", "runs that are being worked on");
    line(out, name, help, "gauge", runner.in_flight);
}
