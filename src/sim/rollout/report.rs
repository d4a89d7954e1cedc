//! What came out of the story.

use serde::Serialize;

use crate::output::say;

/// All of it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// All of it held.
    pub(super) held: bool,
    pub(super) devices: u32,
    pub(super) gateways: u32,
    pub(super) seed: u64,
    pub(super) bad: Bad,
    pub(super) good: Good,
    pub(super) late: Late,
    pub(super) refused: Refused,
    pub(super) power_cuts: PowerCuts,
    /// How often the hub was killed.
    pub(super) hub_kills: u32,
    /// How often a gateway was killed.
    pub(super) gateway_kills: u32,
    pub(super) seconds: f64,
}

/// How often a device lost its power.
#[derive(Debug, Serialize)]
pub(super) struct PowerCuts {
    /// While it wrote an image into its slot.
    pub(super) downloads: u64,
    /// While it verified or tried one.
    pub(super) trials: u64,
}

/// A bad image.
#[derive(Debug, Serialize)]
pub(super) struct Bad {
    pub(super) held: bool,
    /// How the roll-out ended up.
    pub(super) status: String,
    /// How many devices were to be first.
    pub(super) canary: u64,
    /// How many devices ever took any of it.
    pub(super) reached: usize,
    /// How many of them started it, were reset by their watchdog, and run what they ran before.
    pub(super) fell_back: usize,
    /// How many the hub says have failed.
    pub(super) failed: u64,
    /// How many run it in the end.
    pub(super) running: usize,
}

/// A good image.
#[derive(Debug, Serialize)]
pub(super) struct Good {
    pub(super) held: bool,
    /// How many devices are on.
    pub(super) on: u64,
    /// How many the hub says run it.
    pub(super) done: u64,
    pub(super) failed: u64,
    /// How many devices really run it, and keep it.
    pub(super) running: usize,
    /// How many devices the hub ever said run it while they did not.
    pub(super) done_too_early: usize,
    /// Those that are off.
    pub(super) waiting: u64,
}

/// Those that were off.
#[derive(Debug, Serialize)]
pub(super) struct Late {
    pub(super) held: bool,
    pub(super) status: String,
    pub(super) done: u64,
    pub(super) running: usize,
}

/// What was not taken.
#[derive(Debug, Serialize)]
pub(super) struct Refused {
    pub(super) held: bool,
    /// What the hub says to images that it does not take.
    pub(super) by_hub: Vec<NotTaken>,
    /// What devices say to an image that hub and gateway take, as the hub shows it.
    pub(super) by_devices: Vec<NotTaken>,
}

/// A refusal.
#[derive(Debug, Serialize)]
pub(super) struct NotTaken {
    pub(super) held: bool,
    /// Who it was offered to, and why it is not right.
    pub(super) what: &'static str,
    /// The answer.
    pub(super) said: String,
}

impl Report {
    /// For people.
    pub(super) fn tell(&self) {
        let Self {
            bad,
            good,
            late,
            refused,
            ..
        } = self;
        say!(
            "bad image: {}; of the first {} devices {} took it and {} fell back, {} run it: {}",
            bad.status,
            bad.canary,
            bad.reached,
            bad.fell_back,
            bad.running,
            held(bad.held)
        );
        say!(
            "good image: {} of {} that are on run it, {} wait: {}",
            good.running,
            good.on,
            good.waiting,
            held(good.held)
        );
        say!(
            "those that were off: {}; {} of {} devices run it: {}",
            late.status,
            late.running,
            self.devices,
            held(late.held)
        );
        for not_taken in refused.by_hub.iter().chain(&refused.by_devices) {
            let NotTaken {
                held: so,
                what,
                said,
            } = not_taken;
            say!("{what}: {said}: {}", held(*so));
        }
        say!(
            "{} power cuts in downloads, {} later; the hub killed {} times, a gateway {} times; {:.0} s \
             in all: {}",
            self.power_cuts.downloads,
            self.power_cuts.trials,
            self.hub_kills,
            self.gateway_kills,
            self.seconds,
            held(self.held)
        );
    }
}

fn held(held: bool) -> &'static str {
    if held { "held" } else { "DID NOT HOLD" }
}
