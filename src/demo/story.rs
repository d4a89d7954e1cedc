//! The demo's story as it happens: new runs, their steps, lost and found gateways.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::api::Client;
use crate::output::note;

/// How long the hub may take for an answer: one that hangs has nothing to tell.
const LOOK_LIMIT: Duration = Duration::from_secs(2);

/// Tells a line to whoever watches: on standard error, so that standard output stays the
/// report's.
pub(crate) struct Narrator {
    begun: Instant,
}

impl Narrator {
    /// Starts the clock.
    pub(crate) fn new() -> Self {
        Self {
            begun: Instant::now(),
        }
    }

    /// Tells a line, with the seconds since the start.
    pub(crate) fn tell(&self, line: impl AsRef<str>) {
        let seconds = self.begun.elapsed().as_secs_f64();
        note!("{seconds:6.1} s  {}", line.as_ref());
    }
}

/// What was told of the hub's state already.
#[derive(Default)]
pub(crate) struct Watched {
    told: BTreeSet<(String, String)>,
    devices: usize,
    /// Runs that were there before this start.
    known: BTreeMap<String, bool>,
    begun: bool,
}

impl Watched {
    /// Looks at the hub again and again.
    pub(crate) async fn keep_looking(
        &mut self,
        client: &Client,
        narrator: &Narrator,
        every: Duration,
    ) -> std::convert::Infallible {
        let mut tick = tokio::time::interval(every);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.look(client, narrator).await;
        }
    }

    /// Looks at the hub and tells what is new. While the hub is down there is nothing to tell.
    pub(crate) async fn look(&mut self, client: &Client, narrator: &Narrator) {
        let asked = tokio::time::timeout(LOOK_LIMIT, async {
            let runs = client.get("/api/v1/runs?limit=100").await?;
            anyhow::Ok((runs, client.list("/api/v1/devices?limit=1000").await?))
        });
        let Ok(Ok((page, devices))) = asked.await else {
            return;
        };
        let runs = page["items"].as_array().cloned().unwrap_or_default();
        if !self.begun {
            self.known = runs.iter().map(|run| (id(run), is_final(run))).collect();
            self.begun = true;
        }
        for run in runs.iter().rev() {
            if self.known.get(&id(run)) != Some(&true) {
                self.tell_run(run, narrator);
            }
        }
        let connected = devices
            .iter()
            .filter(|device| device["connected"] == true)
            .count();
        if connected != self.devices {
            self.devices = connected;
            narrator.tell(format!(
                "{connected} of {} devices are linked",
                devices.len()
            ));
        }
    }

    fn tell_run(&mut self, run: &Value, narrator: &Narrator) {
        let event = &run["event"];
        let device = event["device"].as_str();
        let device = device
            .or_else(|| event["reference"].as_str())
            .unwrap_or("?");
        if self.first_time(run, "fired") {
            let workflow = run["workflow"].as_str().unwrap_or("?");
            narrator.tell(match event["value"].as_f64() {
                Some(value) => format!("{device}: {value:.1} fires {workflow}"),
                None => format!("{device}: a payment starts {workflow}"),
            });
        }
        for step in run["steps"].as_array().into_iter().flatten() {
            let name = step["id"].as_str().unwrap_or("?");
            let state = step["state"].as_str().unwrap_or("?");
            let line = match (step["use"].as_str().unwrap_or("?"), state) {
                ("content.publish", "done") => "the page is published".to_owned(),
                ("webhook.post", "done") => "the webhook is delivered".to_owned(),
                ("device.command", "waiting") => "the command is on its way".to_owned(),
                ("device.command", "done") => "the command is done by the device".to_owned(),
                (uses, "failed") => {
                    format!(
                        "{uses} failed: {}",
                        step["error"].as_str().unwrap_or("no reason")
                    )
                }
                _ => continue,
            };
            if self.first_time(run, &format!("{name} {state}")) {
                narrator.tell(format!("{device}: {line}"));
            }
        }
    }

    fn first_time(&mut self, run: &Value, what: &str) -> bool {
        self.told.insert((id(run), what.to_owned()))
    }
}

/// A run's id.
pub(crate) fn id(run: &Value) -> String {
    run["id"].as_str().unwrap_or_default().to_owned()
}

/// Whether nothing more will happen in a run.
pub(crate) fn is_final(run: &Value) -> bool {
    matches!(run["state"].as_str(), Some("done" | "failed"))
}
