//! How often what devices say is sealed.

use serde::{Deserialize, Serialize};

/// Seals over what devices say: a Merkle root of each device's readings, signed by the key of the
/// gateway's certificate, so that anybody can check a reading later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Seal {
    /// What devices have said is sealed so many seconds after the first of it; 0: nothing is sealed.
    pub interval_s: u64,
    /// It is sealed sooner when there are so many readings.
    pub max_readings: u64,
}

impl Default for Seal {
    fn default() -> Self {
        Self {
            interval_s: 0,
            max_readings: 50_000,
        }
    }
}

impl Seal {
    /// What is wrong, and what would be right.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.interval_s > 86_400 {
            return Err(format!(
                "seal.interval_s is {}; write 1 to 86400, or 0 to seal nothing",
                self.interval_s
            ));
        }
        if !(256..=stencil_proof::MAX_READINGS).contains(&self.max_readings) {
            return Err(format!(
                "seal.max_readings is {}; write 256 to {}",
                self.max_readings,
                stencil_proof::MAX_READINGS
            ));
        }
        Ok(())
    }
}
