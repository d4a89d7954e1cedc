//! Counters and gauges, as text for Prometheus.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn increment(&self) {
        self.add(1);
    }

    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// When the hub last acknowledged a publish, and how long it took over it.
#[derive(Debug, Default)]
pub(crate) struct LastAcknowledged {
    took_us: AtomicU64,
    /// Since the process of this life began counting; 0: never.
    at_us: AtomicU64,
    base: std::sync::OnceLock<Instant>,
}

impl LastAcknowledged {
    pub(crate) fn note(&self, sent: Instant, now: Instant) {
        let base = *self.base.get_or_init(|| sent);
        let us = |since: Duration| u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
        let took = us(now.saturating_duration_since(sent));
        self.took_us.store(took, Ordering::Relaxed);
        let at_us = us(now.saturating_duration_since(base)).max(1);
        self.at_us.store(at_us, Ordering::Relaxed);
    }

    pub(crate) fn took_us(&self) -> u64 {
        self.took_us.load(Ordering::Relaxed)
    }

    /// How long ago it was; where it never was, how long ago `started` is.
    pub(crate) fn since(&self, started: Instant) -> Duration {
        let at = Duration::from_micros(self.at_us.load(Ordering::Relaxed));
        let base = self.base.get().filter(|_| !at.is_zero());
        base.map_or(started, |base| *base + at).elapsed()
    }
}

/// What the gateway counts. Names in the text are `stencil_gateway_{field}_total`.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) links_accepted: Counter,
    pub(crate) links_over_bound: Counter,
    pub(crate) links_made_way: Counter,
    pub(crate) handshakes_completed: Counter,
    pub(crate) sessions_resumed: Counter,
    pub(crate) handshakes_refused: Counter,
    pub(crate) frames_bad: Counter,
    pub(crate) records_bad: Counter,
    pub(crate) batches_spooled: Counter,
    pub(crate) batches_malformed: Counter,
    pub(crate) samples_spooled: Counter,
    pub(crate) statuses_spooled: Counter,
    pub(crate) samples_lost: Counter,
    pub(crate) field_samples_dropped: Counter,
    pub(crate) records_dropped: Counter,
    pub(crate) spool_damaged_bytes: Counter,
    pub(crate) uplink_connects: Counter,
    pub(crate) uplink_failures: Counter,
    pub(crate) publishes_acknowledged: Counter,
    pub(crate) publishes_back_filled: Counter,
    pub(crate) publishes_superseded: Counter,
    pub(crate) publishes_refused: Counter,
    pub(crate) commands_received: Counter,
    pub(crate) commands_refused: Counter,
    pub(crate) commands_sent: Counter,
    pub(crate) keys_updates: Counter,
    pub(crate) keys_refused: Counter,
    pub(crate) seals: Counter,
    pub(crate) edge_told: Counter,
    pub(crate) edge_given: Counter,
    pub(crate) access_admitted: Counter,
    pub(crate) access_refused: Counter,
    pub(crate) questions_answered: Counter,
    pub(crate) questions_refused: Counter,
    pub(crate) acknowledged: LastAcknowledged,
    pub(crate) certificates_renewed: Counter,
    pub(crate) renewals_refused: Counter,
}

/// A value at the time of asking.
pub(crate) struct Gauge {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    pub(crate) value: u64,
}

impl Metrics {
    /// The text of `/metrics`.
    pub(crate) fn text(&self, gauges: &[Gauge]) -> String {
        let mut out = String::with_capacity(4096);
        for (name, help, counter) in self.counters() {
            // Writing to a String cannot fail.
            let _ = write!(
                out,
                "# HELP stencil_gateway_{name}_total {help}\n\
                 # TYPE stencil_gateway_{name}_total counter\n\
                 stencil_gateway_{name}_total {}\n",
                counter.get()
            );
        }
        for Gauge { name, help, value } in gauges {
            let _ = write!(
                out,
                "# HELP stencil_gateway_{name} {help}\n\
                 # TYPE stencil_gateway_{name} gauge\n\
                 stencil_gateway_{name} {value}\n"
            );
        }
        out
    }

    /// Names without what stands before and behind them, and help.
    pub(crate) fn counters(&self) -> [(&'static str, &'static str, &Counter); 36] {
        [
            (
                "certificates_renewed",
                "Renewed certificates that were put to use.",
                &self.certificates_renewed,
            ),
            (
                "renewals_refused",
                "Times that the hub did not renew the certificate, or with none of use.",
                &self.renewals_refused,
            ),
            (
                "links_accepted",
                "Byte links that were opened.",
                &self.links_accepted,
            ),
            (
                "links_over_bound",
                "Byte links closed at once for a bound.",
                &self.links_over_bound,
            ),
            (
                "links_made_way",
                "Byte links closed before a device showed its key, to make room for a newer one.",
                &self.links_made_way,
            ),
            (
                "handshakes_completed",
                "Handshakes whose device showed its key.",
                &self.handshakes_completed,
            ),
            (
                "sessions_resumed",
                "Of these, sessions that were resumed without fresh keys.",
                &self.sessions_resumed,
            ),
            (
                "handshakes_refused",
                "Handshakes that were refused.",
                &self.handshakes_refused,
            ),
            ("frames_bad", "Frames that were damaged.", &self.frames_bad),
            (
                "records_bad",
                "Records that were altered, repeated or no message.",
                &self.records_bad,
            ),
            (
                "batches_spooled",
                "Batches taken from devices.",
                &self.batches_spooled,
            ),
            (
                "batches_malformed",
                "Batches that could not be read.",
                &self.batches_malformed,
            ),
            (
                "samples_spooled",
                "Samples in the batches that were taken.",
                &self.samples_spooled,
            ),
            (
                "statuses_spooled",
                "Command statuses taken from devices.",
                &self.statuses_spooled,
            ),
            (
                "samples_lost",
                "Samples dropped here and reported as lost.",
                &self.samples_lost,
            ),
            (
                "field_samples_dropped",
                "Readings of field devices dropped before the spool had room, and reported.",
                &self.field_samples_dropped,
            ),
            (
                "records_dropped",
                "Spooled records other than batches that were dropped.",
                &self.records_dropped,
            ),
            (
                "spool_damaged_bytes",
                "Bytes of the spool found damaged.",
                &self.spool_damaged_bytes,
            ),
            (
                "uplink_connects",
                "Connections to the hub.",
                &self.uplink_connects,
            ),
            (
                "uplink_failures",
                "Connections that failed or were lost.",
                &self.uplink_failures,
            ),
            (
                "publishes_acknowledged",
                "Publishes the hub has kept.",
                &self.publishes_acknowledged,
            ),
            (
                "publishes_back_filled",
                "Of these, what waited through an outage and was brought beside what is new.",
                &self.publishes_back_filled,
            ),
            (
                "publishes_superseded",
                "Reports left out, as a newer one of the same device went before.",
                &self.publishes_superseded,
            ),
            (
                "publishes_refused",
                "Publishes the hub will never take.",
                &self.publishes_refused,
            ),
            (
                "commands_received",
                "Commands from the hub.",
                &self.commands_received,
            ),
            (
                "commands_refused",
                "Commands that could not be held.",
                &self.commands_refused,
            ),
            (
                "commands_sent",
                "Commands sent to devices, repeats included.",
                &self.commands_sent,
            ),
            (
                "keys_updates",
                "Updates of devices' keys that were taken from the hub.",
                &self.keys_updates,
            ),
            (
                "keys_refused",
                "Updates of devices' keys that could not be taken.",
                &self.keys_refused,
            ),
            ("seals", "Seals over what devices said.", &self.seals),
            (
                "edge_told",
                "Firings and clearings of rules that are judged here.",
                &self.edge_told,
            ),
            (
                "edge_given",
                "Commands that rules judged here have given to devices.",
                &self.edge_given,
            ),
            (
                "access_admitted",
                "Holders of rights who were let command a device.",
                &self.access_admitted,
            ),
            (
                "access_refused",
                "Answers of holders that were refused.",
                &self.access_refused,
            ),
            (
                "questions_answered",
                "Questions of the hub (log, figures) that were answered.",
                &self.questions_answered,
            ),
            (
                "questions_refused",
                "Questions of the hub that came too often, or could not be read.",
                &self.questions_refused,
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_help_type_and_value() {
        let metrics = Metrics::default();
        metrics.batches_spooled.add(3);
        let gauge = Gauge {
            name: "links",
            help: "Links now.",
            value: 2,
        };
        let text = metrics.text(&[gauge]);
        assert!(text.contains("\nstencil_gateway_batches_spooled_total 3\n"));
        assert!(text.ends_with("# TYPE stencil_gateway_links gauge\nstencil_gateway_links 2\n"));
    }
}
