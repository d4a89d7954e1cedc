//! What the demo showed: steps, counts, latencies; as a table or as JSON.

use serde::Serialize;

use crate::output::{self, say};

/// One thing that had to hold.
#[derive(Debug, Serialize)]
pub(crate) struct Step {
    /// What it is, in a few words.
    pub name: String,
    /// Whether it held.
    pub held: bool,
    /// What was seen.
    pub detail: String,
}

/// Samples, over all devices and boots.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Counts {
    /// Numbers given by the devices, from their journals.
    pub sent: u64,
    /// Numbers stored by the hub.
    pub stored: u64,
    /// Numbers that came once more and were dropped as duplicates.
    pub duplicate: u64,
    /// Numbers accounted for as dropped, with a reason.
    pub dropped: u64,
}

/// From the sample that fired a rule to the page's publication, in milliseconds.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Latency {
    /// The median.
    pub p50: f64,
    /// The 99th percentile (with few runs, the slowest).
    pub p99: f64,
}

/// The whole outcome.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// Whether every step held.
    pub held: bool,
    /// Each step, in order.
    pub steps: Vec<Step>,
    /// Samples.
    pub counts: Counts,
    /// From sensor to page.
    pub latency_ms: Latency,
}

impl Report {
    /// Adds a step.
    pub(crate) fn step(&mut self, name: &str, held: bool, detail: impl Into<String>) {
        self.steps.push(Step {
            name: name.to_owned(),
            held,
            detail: detail.into(),
        });
    }

    /// Adds a step from an outcome whose text is its detail.
    pub(crate) fn outcome(&mut self, name: &str, outcome: anyhow::Result<String>) -> bool {
        match outcome {
            Ok(detail) => {
                self.step(name, true, detail);
                true
            }
            Err(error) => {
                self.step(name, false, format!("{error:#}"));
                false
            }
        }
    }

    /// Decides whether all held.
    pub(crate) fn close(&mut self) {
        self.held = !self.steps.is_empty() && self.steps.iter().all(|step| step.held);
    }

    /// Prints it.
    pub(crate) fn print(&self, format: output::Format) -> anyhow::Result<()> {
        if format == output::Format::Json {
            return output::json(self);
        }
        let mut rows = vec![vec!["".to_owned(), "step".to_owned(), "seen".to_owned()]];
        for step in &self.steps {
            let mark = if step.held { "ok" } else { "FAILED" };
            rows.push(vec![
                mark.to_owned(),
                step.name.clone(),
                step.detail.clone(),
            ]);
        }
        output::table(&rows);
        let Counts {
            sent,
            stored,
            duplicate,
            dropped,
        } = self.counts;
        say!("\nsamples  sent {sent}, stored {stored}, duplicate {duplicate}, dropped {dropped}");
        say!(
            "sensor to page  p50 {:.0} ms, p99 {:.0} ms",
            self.latency_ms.p50,
            self.latency_ms.p99
        );
        say!(
            "{}",
            if self.held {
                "all held"
            } else {
                "NOT all held"
            }
        );
        Ok(())
    }
}

impl Latency {
    /// Nearest-rank percentiles of `samples_ms`.
    pub(crate) fn of(mut samples_ms: Vec<f64>) -> Self {
        samples_ms.sort_by(f64::total_cmp);
        let rank = |share: f64| {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            #[allow(clippy::cast_precision_loss, reason = "a rank within a short list")]
            let index = (share * samples_ms.len() as f64).ceil() as usize;
            samples_ms
                .get(index.saturating_sub(1))
                .copied()
                .unwrap_or(0.0)
        };
        Self {
            p50: rank(0.5),
            p99: rank(0.99),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let latency = Latency::of((1..=200).rev().map(f64::from).collect());
        assert_eq!((latency.p50, latency.p99), (100.0, 198.0));
    }

    #[test]
    fn a_report_without_steps_did_not_hold() {
        let mut report = Report::default();
        report.close();
        assert!(!report.held);
    }

    #[test]
    fn one_failed_step_fails_the_report() {
        let mut report = Report::default();
        report.step("a", true, "");
        report.step("b", false, "");
        report.close();
        assert!(!report.held);
    }
}
