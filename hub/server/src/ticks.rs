//! Time as the log tells it.
//!
//! Rules know no clock: a device's silence, or the end of a window, is found when the log says how
//! late it is. So, while some rule in force waits for such a thing, a record that holds the time is
//! logged every so often. It stands in the order of things: whatever was received before it has
//! been seen by the rules when they judge by it, and a replay judges the same.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::PipelineOptions;
use crate::ingest::Ingest;
use crate::metrics::Metrics;

/// Logs ticks until told to end, while `needed` holds true.
pub(crate) async fn run(
    ingest: Ingest,
    options: PipelineOptions,
    metrics: Arc<Metrics>,
    mut needed: watch::Receiver<bool>,
    mut stop: watch::Receiver<bool>,
) {
    let work = async {
        tokio::time::sleep(Duration::from_millis(options.settle_ms)).await;
        let mut interval = tokio::time::interval(Duration::from_millis(options.tick_ms));
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut refused = 0_u64;
        // Ends when the pipeline has ended: nobody will judge by a tick any more.
        while needed.wait_for(|needed| *needed).await.is_ok() {
            interval.tick().await;
            match ingest.tick() {
                Ok(_) => {
                    metrics.ticked();
                    if refused > 0 {
                        tracing::info!(refused, "time goes on for the rules");
                        refused = 0;
                    }
                }
                Err(error) => {
                    metrics.tick_refused();
                    refused += 1;
                    // Ever more seldom: a full disk is not to be filled with this line.
                    if refused.is_power_of_two() {
                        tracing::warn!(refused, %error,
                            "time stands still for the rules: the log takes no tick");
                    }
                }
            }
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = work => {}
        () = crate::parts::told_to_end(&mut stop) => {}
    }
}
