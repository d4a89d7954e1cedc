//! The settings of a fleet.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stencil_protocol::id::DeviceId;

use super::kind::Kind;
use crate::Error;
use crate::backoff::Reconnect;

/// The most devices of one kind.
const MAX_OF_A_KIND: u32 = 1_000;

/// The settings of a fleet. Times are of the wall clock unless they say other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Where the devices' retained memories are kept.
    pub state_dir: PathBuf,
    /// Where the devices' journals are kept.
    pub journal_dir: PathBuf,
    /// Where the devices' keys are: `{device}.psk` each.
    pub psk_dir: PathBuf,
    /// The gateways, `host:port`. Devices are dealt out to them in turn; a lock
    /// gets the gateway of its freezer.
    pub gateways: Vec<String>,
    /// How many freezers: `freezer-01` and so on.
    pub freezers: u32,
    /// How many door locks: `lock-01` sits at `freezer-01`.
    pub locks: u32,
    /// How many rooms: `room-01` and so on.
    pub rooms: u32,
    /// How many times as fast as in the real world the physics run, 0.1 to 10,000.
    pub speed: f64,
    /// The mean of how often a device measures, per second, 0.01 to 50. Each
    /// device has its own rate within a third of it.
    pub samples_per_s: f64,
    /// What the schedules and all noise follow from.
    pub seed: u64,
    /// Doors that are left open.
    pub doors: Doors,
    /// What breaks.
    pub faults: Faults,
    /// When gateways cannot be reached.
    pub reconnect: Reconnect,
    /// At the end: stop measuring, and go on sending until all is acknowledged
    /// or this many seconds have passed.
    pub drain_s: f64,
    /// Beyond this many bytes a journal is shortened.
    pub journal_max_bytes: u64,
}

/// When doors of freezers are left open.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Doors {
    /// The first door opens so many seconds after the start; negative: never.
    pub first_s: f64,
    /// The freezer whose door that is, from 1.
    pub first_freezer: u32,
    /// From then on a door of any freezer about this often; 0: never again.
    pub every_s: f64,
    /// A door that no lock has closed is closed by someone after this long.
    pub open_s: f64,
}

/// Faults of devices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Faults {
    /// The first fault comes so many seconds after the start; negative: never.
    pub first_s: f64,
    /// From then on one about this often; 0: never again.
    pub every_s: f64,
    /// How long stuck, silent and noisy sensors, cut links and poor lines last.
    pub last_s: f64,
    /// How far a wrong clock jumps ahead. The gateway sets it right again.
    pub wrong_clock_s: f64,
    /// Which kinds there are.
    pub kinds: Vec<FaultKind>,
    /// Devices that nothing happens to.
    pub spare: Vec<DeviceId>,
}

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The sensor gives its last value for ever.
    Stuck,
    /// The sensor does not answer.
    Silent,
    /// The sensor's checksums are wrong.
    Noisy,
    /// The board's counter jumps ahead.
    WrongClock,
    /// The device resets: RAM is lost, retained memory stays.
    Reboot,
    /// The link is cut.
    LinkCut,
    /// The line loses, repeats, reorders and damages frames.
    PoorLine,
}

impl FaultKind {
    /// All kinds.
    pub const ALL: [FaultKind; 7] = [
        FaultKind::Stuck,
        FaultKind::Silent,
        FaultKind::Noisy,
        FaultKind::WrongClock,
        FaultKind::Reboot,
        FaultKind::LinkCut,
        FaultKind::PoorLine,
    ];

    /// The name in settings and journals.
    pub fn as_str(self) -> &'static str {
        match self {
            FaultKind::Stuck => "stuck",
            FaultKind::Silent => "silent",
            FaultKind::Noisy => "noisy",
            FaultKind::WrongClock => "wrong_clock",
            FaultKind::Reboot => "reboot",
            FaultKind::LinkCut => "link_cut",
            FaultKind::PoorLine => "poor_line",
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            state_dir: "simulators/state".into(),
            journal_dir: "simulators/journal".into(),
            psk_dir: "psk".into(),
            gateways: vec!["127.0.0.1:7443".into()],
            freezers: 20,
            locks: 20,
            rooms: 10,
            speed: 60.0,
            samples_per_s: 3.0,
            seed: 1,
            doors: Doors::default(),
            faults: Faults::default(),
            reconnect: Reconnect::default(),
            drain_s: 10.0,
            journal_max_bytes: 32 << 20,
        }
    }
}

impl Default for Doors {
    fn default() -> Self {
        Self {
            first_s: 8.0,
            first_freezer: 7,
            every_s: 60.0,
            open_s: 45.0,
        }
    }
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            first_s: 15.0,
            every_s: 10.0,
            last_s: 4.0,
            wrong_clock_s: 20.0,
            kinds: FaultKind::ALL.to_vec(),
            spare: Vec::new(),
        }
    }
}

impl Options {
    /// All devices of the fleet, freezers first.
    ///
    /// # Errors
    /// When there are too many of a kind.
    pub fn devices(&self) -> Result<Vec<DeviceId>, Error> {
        Ok(self
            .roster()?
            .into_iter()
            .map(|(device, ..)| device)
            .collect())
    }

    pub(crate) fn roster(&self) -> Result<Vec<(DeviceId, Kind, usize)>, Error> {
        let mut roster = Vec::new();
        for (setting, kind, count) in [
            ("freezers", Kind::Freezer, self.freezers),
            ("locks", Kind::Lock, self.locks),
            ("rooms", Kind::Room, self.rooms),
        ] {
            let too_many = Error::Setting {
                setting,
                why: "is at most 1,000",
            };
            if count > MAX_OF_A_KIND {
                return Err(too_many);
            }
            for index in 0..usize::try_from(count).unwrap_or_default() {
                let Ok(device) = kind.device(index) else {
                    return Err(too_many);
                };
                roster.push((device, kind, index));
            }
        }
        Ok(roster)
    }

    /// Checks what the types do not.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let rules: [(&'static str, &'static str, bool); 10] = [
            (
                "gateways",
                "needs at least one `host:port`",
                !self.gateways.is_empty(),
            ),
            (
                "freezers",
                "and `locks` and `rooms` may not all be 0",
                self.freezers + self.locks + self.rooms > 0,
            ),
            (
                "speed",
                "is a number from 0.1 to 10000",
                (0.1..=10_000.0).contains(&self.speed),
            ),
            (
                "samples_per_s",
                "is a number from 0.01 to 50",
                (0.01..=50.0).contains(&self.samples_per_s),
            ),
            ("drain_s", SECONDS, is_seconds(self.drain_s)),
            ("doors.every_s", SECONDS, is_seconds(self.doors.every_s)),
            ("doors.open_s", SECONDS, is_seconds(self.doors.open_s)),
            ("faults.every_s", SECONDS, is_seconds(self.faults.every_s)),
            ("faults.last_s", SECONDS, is_seconds(self.faults.last_s)),
            (
                "faults.wrong_clock_s",
                SECONDS,
                is_seconds(self.faults.wrong_clock_s),
            ),
        ];
        for (setting, why, holds) in rules {
            if !holds {
                return Err(Error::Setting { setting, why });
            }
        }
        for (setting, value) in [
            ("doors.first_s", self.doors.first_s),
            ("faults.first_s", self.faults.first_s),
        ] {
            if !(value < 0.0 || is_seconds(value)) {
                let why = "is a number of seconds up to 1000000, or negative for never";
                return Err(Error::Setting { setting, why });
            }
        }
        let opens = self.doors.first_s >= 0.0 && self.freezers > 0;
        if opens && !(1..=self.freezers).contains(&self.doors.first_freezer) {
            let why = "is the number of a freezer, from 1 to `freezers`";
            return Err(Error::Setting {
                setting: "doors.first_freezer",
                why,
            });
        }
        self.roster().map(drop)
    }
}

const SECONDS: &str = "is a number of seconds from 0 to 1000000";

fn is_seconds(value: f64) -> bool {
    (0.0..=1e6).contains(&value)
}

/// The duration of a checked number of seconds.
pub(crate) fn seconds(value: f64) -> Duration {
    Duration::try_from_secs_f64(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_fifty_devices_that_hold() {
        let options = Options::default();
        options.check().unwrap();
        let devices = options.devices().unwrap();
        assert_eq!(devices.len(), 50);
        assert_eq!(
            (devices[6].as_str(), devices[26].as_str()),
            ("freezer-07", "lock-07")
        );
    }

    #[test]
    fn names_the_setting_that_is_wrong() {
        let wrong = [
            Options {
                gateways: vec![],
                ..Options::default()
            },
            Options {
                speed: f64::NAN,
                ..Options::default()
            },
            Options {
                freezers: 3,
                ..Options::default()
            },
            Options {
                locks: 1_001,
                ..Options::default()
            },
            Options {
                drain_s: -1.0,
                ..Options::default()
            },
        ];
        let names = [
            "gateways",
            "speed",
            "doors.first_freezer",
            "locks",
            "drain_s",
        ];
        for (options, name) in wrong.into_iter().zip(names) {
            let error = options.check().unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{name}`")), "{error}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let error = serde_json::from_str::<Options>(r#"{"freezer": 3}"#).unwrap_err();
        assert!(
            error.to_string().contains("unknown field `freezer`"),
            "{error}"
        );
    }
}
