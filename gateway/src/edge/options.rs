//! What rules may cost this gateway.

use serde::{Deserialize, Serialize};

/// Rules that the hub places here. What does not fit is refused, and the hub shows why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Edge {
    /// The most rules.
    pub max_rules: usize,
    /// The most memory for what they remember of devices.
    pub max_bytes: u64,
    /// The most work on one sample of a device, as a multiple of what one comparison is.
    pub max_work: u64,
    /// Samples whose time is further ahead of this gateway's are not judged.
    pub max_ahead_s: u64,
    /// How often what is judged is saved; after a kill as much is judged again, to the same end.
    pub save_interval_ms: u64,
}

impl Default for Edge {
    fn default() -> Self {
        let budget = stencil_edge::Budget::default();
        Self {
            max_rules: budget.max_rules,
            max_bytes: budget.max_bytes,
            max_work: budget.max_work,
            max_ahead_s: 600,
            save_interval_ms: 30_000,
        }
    }
}

impl Edge {
    /// What rules may cost.
    pub(crate) fn budget(&self) -> stencil_edge::Budget {
        stencil_edge::Budget {
            max_rules: self.max_rules,
            max_bytes: self.max_bytes,
            max_work: self.max_work,
        }
    }

    /// The most states (rule × device): as many of the smallest as there is memory for.
    pub(crate) fn max_states(&self) -> u32 {
        u32::try_from(self.max_bytes / 320)
            .unwrap_or(u32::MAX)
            .clamp(1, 100_000)
    }

    /// As the stream has it, µs.
    pub(crate) fn max_ahead_us(&self) -> i64 {
        i64::try_from(self.max_ahead_s.saturating_mul(1_000_000)).unwrap_or(i64::MAX)
    }

    /// What is wrong, and what would be right.
    pub(crate) fn check(&self) -> Result<(), String> {
        if !(1..=1_000).contains(&self.max_rules) {
            return Err(format!(
                "edge.max_rules is {}; write 1 to 1000",
                self.max_rules
            ));
        }
        if !(1 << 16..=1 << 30).contains(&self.max_bytes) {
            return Err(format!(
                "edge.max_bytes is {}; write 65536 (64 KiB) to 1073741824 (1 GiB)",
                self.max_bytes
            ));
        }
        if !(100..=600_000).contains(&self.save_interval_ms) {
            return Err(format!(
                "edge.save_interval_ms is {}; write 100 to 600000",
                self.save_interval_ms
            ));
        }
        Ok(())
    }
}
