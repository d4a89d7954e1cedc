//! What `--chaos` breaks, and when: a schedule that follows from a seed.

use std::time::Duration;

/// One blow.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Blow {
    /// After the start of the story.
    pub at: Duration,
    /// What happens.
    pub what: What,
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// SIGKILL to the hub.
    KillHub,
    /// SIGKILL to the gateway of this index.
    KillGateway(usize),
    /// The line between this gateway and the hub is cut.
    CutUplink(usize),
    /// The line is mended.
    MendUplink(usize),
}

/// The share of webhook answers that the receiver drops after it acted.
pub(crate) const DROPPED_ANSWERS: f64 = 0.2;

/// Crash plans for the hub's first lives: it kills itself between commit and PUBACK, between
/// an effect and its record, and around the pipeline's commit.
pub(crate) fn hub_crashes(seed: u64) -> Vec<String> {
    let mut chance = Chance(seed ^ 0x68_7562);
    vec![
        format!("mqtt.before_puback:{}", chance.between(200, 400)),
        format!("workflow.after_effect:{}", chance.between(2, 8)),
        format!("pipeline.after_commit:{}", chance.between(100, 250)),
        format!("workflow.after_effect:{}", chance.between(4, 12)),
        format!("pipeline.before_commit:{}", chance.between(100, 250)),
        format!("mqtt.before_puback:{}", chance.between(200, 600)),
    ]
}

/// Crash plans for a gateway's first lives: between spool and device acknowledgement, and
/// between PUBACK and the freeing of the spool.
pub(crate) fn gateway_crashes(seed: u64) -> Vec<String> {
    let mut chance = Chance(seed ^ 0x67_6174);
    vec![
        format!("gateway.before_ack:{}", chance.between(150, 400)),
        format!("gateway.before_trim:{}", chance.between(50, 150)),
    ]
}

/// The blows from outside, in order of time, all before `until`.
pub(crate) fn schedule(seed: u64, until: Duration) -> Vec<Blow> {
    let mut chance = Chance(seed ^ 0x63_6861_6f73);
    let span_ms = u64::try_from(until.as_millis())
        .unwrap_or(u64::MAX)
        .max(1_000);
    let mut within = |from: u64, to: u64| {
        Duration::from_millis(chance.between(span_ms * from / 100, span_ms * to / 100))
    };
    let cut = within(15, 25);
    let mut blows = vec![
        Blow {
            at: within(30, 40),
            what: What::KillHub,
        },
        Blow {
            at: within(60, 70),
            what: What::KillHub,
        },
        Blow {
            at: within(45, 55),
            what: What::KillGateway(0),
        },
        Blow {
            at: within(75, 85),
            what: What::KillGateway(0),
        },
        Blow {
            at: cut,
            what: What::CutUplink(1),
        },
        Blow {
            at: cut + Duration::from_millis(span_ms / 6),
            what: What::MendUplink(1),
        },
    ];
    blows.sort_by_key(|blow| blow.at);
    blows
}

/// SplitMix64: small, and the same everywhere.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.next() % (to - from).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_blows_and_another_seed_others() {
        let until = Duration::from_secs(40);
        assert_eq!(schedule(7, until), schedule(7, until));
        assert_ne!(schedule(7, until), schedule(8, until));
        assert_eq!(hub_crashes(7), hub_crashes(7));
    }

    #[test]
    fn every_cut_line_is_mended_before_the_end() {
        for seed in 0..200 {
            let until = Duration::from_secs(40);
            let blows = schedule(seed, until);
            let cut = blows
                .iter()
                .position(|blow| blow.what == What::CutUplink(1));
            let mended = blows
                .iter()
                .position(|blow| blow.what == What::MendUplink(1));
            assert!(cut < mended, "seed {seed}");
            assert!(blows.iter().all(|blow| blow.at < until), "seed {seed}");
        }
    }
}
