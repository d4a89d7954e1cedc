//! What happens in a round: follows from the seed.

use std::time::Duration;

/// SplitMix64 (Steele, Lea and Flood, 2014): the same seed plays the same rounds.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// From `low` up to, not including, `high`.
    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        low + (z ^ (z >> 31)) % (high - low).max(1)
    }
}

/// What goes wrong in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// SIGKILL.
    Kill,
    /// SIGKILL, and what was not synced is gone from the log: a power cut.
    PowerCut,
    /// A sync of the log fails, and what was written since the last one is gone.
    SyncFails,
    /// A write of the log is cut short and fails.
    WriteTorn,
    /// No file of the process can grow: neither the log nor the store takes anything. It ends
    /// either by room or by a kill.
    NoFileGrows,
    /// Three writes of the log find no room.
    NoRoom,
    /// A write of the log fails.
    WriteFails,
    /// The process dies in the middle of a write of the log.
    DiesInWrite,
    /// Each sync of the log takes long; SIGKILL.
    SyncSlow,
    /// SIGKILL while the hub starts, then once more under load.
    KillAtStart,
}

impl Kind {
    /// In the order of the rounds.
    pub(super) const ALL: [Self; 10] = [
        Self::Kill,
        Self::SyncFails,
        Self::PowerCut,
        Self::NoFileGrows,
        Self::WriteTorn,
        Self::DiesInWrite,
        Self::KillAtStart,
        Self::NoRoom,
        Self::WriteFails,
        Self::SyncSlow,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::PowerCut => "power_cut",
            Self::SyncFails => "sync_fails",
            Self::WriteTorn => "write_torn",
            Self::NoFileGrows => "no_file_grows",
            Self::NoRoom => "no_room",
            Self::WriteFails => "write_fails",
            Self::DiesInWrite => "dies_in_write",
            Self::SyncSlow => "sync_slow",
            Self::KillAtStart => "kill_at_start",
        }
    }

    /// Whether the log can't be relied on from then on: the hub must say so, and take nothing more.
    pub(super) fn poisons(self) -> bool {
        matches!(self, Self::SyncFails | Self::WriteTorn | Self::WriteFails)
    }

    /// Whether the fault comes by itself while there is load.
    pub(super) fn is_awaited(self) -> bool {
        self.poisons() || matches!(self, Self::NoRoom | Self::DiesInWrite)
    }
}

/// A round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) kind: Kind,
    /// What the log's disk shall do (`STENCIL_LOG_FAULTS`).
    pub(super) disk: Option<String>,
    /// Milliseconds between two commits of the pipeline: the longer, the more is acknowledged that
    /// only the log has.
    pub(super) commit_interval_ms: u64,
    /// From the first acknowledgement under load, or from the fault, to the kill.
    pub(super) kill_after: Duration,
    /// From the start of the hub to the first kill.
    pub(super) kill_start_after: Duration,
    /// Bytes by which a file may still grow, for [`Kind::NoFileGrows`].
    pub(super) room: u64,
    /// Whether there is room again before the kill, for [`Kind::NoFileGrows`].
    pub(super) room_again: bool,
}

impl Plan {
    pub(super) fn new(round: u32, random: &mut Random) -> Self {
        let kind = Kind::ALL[round as usize % Kind::ALL.len()];
        let nth = random.between(20, 150);
        let disk = match kind {
            Kind::SyncFails => Some(format!("sync-fails:{nth}")),
            Kind::WriteTorn => Some(format!("write-torn:{nth}")),
            Kind::WriteFails => Some(format!("write-fails:{nth}")),
            Kind::DiesInWrite => Some(format!("write-dies:{nth}")),
            Kind::NoRoom => Some(format!("no-room:{nth}")),
            Kind::PowerCut => Some("delayed".to_owned()),
            Kind::SyncSlow => Some(format!("sync-slow:{}", random.between(5, 120))),
            Kind::Kill | Kind::NoFileGrows | Kind::KillAtStart => None,
        };
        Self {
            kind,
            disk,
            commit_interval_ms: random.between(5, 1_500),
            kill_after: Duration::from_millis(random.between(100, 1_500)),
            kill_start_after: Duration::from_millis(random.between(0, 400)),
            room: random.between(0, 48 * 1024),
            room_again: random.between(0, 2) == 0,
        }
    }
}

impl Plan {
    /// A disk that says it has what it has not: what is checked must not hold then.
    pub(super) fn control(random: &mut Random) -> Self {
        Self {
            kind: Kind::PowerCut,
            disk: Some("sync-lies:30".to_owned()),
            commit_interval_ms: 2_000,
            kill_after: Duration::from_millis(1_500),
            ..Self::new(0, random)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_decides_and_every_kind_comes() {
        let plans = |seed| {
            let mut random = Random::new(seed);
            (0..20)
                .map(|round| Plan::new(round, &mut random))
                .collect::<Vec<_>>()
        };
        assert_eq!(plans(1), plans(1));
        assert_ne!(plans(1), plans(2));
        for kind in Kind::ALL {
            assert!(plans(1).iter().any(|plan| plan.kind == kind), "{kind:?}");
        }
    }
}
