//! What was asked for; it never changes while a roll-out runs.

use serde::{Deserialize, Serialize};
use stencil_protocol::id::{DeviceId, GatewayId};
use stencil_rules::Pattern;

use crate::{Digest, Error, Window};

/// The most waves after the canary.
pub const MAX_WAVES: usize = 16;
/// The most devices of one roll-out.
pub const MAX_MEMBERS: usize = 100_000;
/// The longest class, in bytes.
const MAX_CLASS: usize = 96;
const MAX_GATEWAYS: usize = 1_000;
/// As many as one message to a gateway names.
const MAX_PER_GATEWAY: u32 = 500;
const MAX_TIMEOUT_S: u32 = 30 * 24 * 3_600;

/// The image that devices are to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Image {
    /// The SHA-256 of its payload, in hexadecimal digits.
    #[schema(value_type = String)]
    pub digest: Digest,
    /// Its sequence number: a device that runs this one or a later one does not get it.
    pub sequence: u64,
    /// The kind of device that it is for.
    pub class: String,
}

/// How many devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Portion {
    /// So many.
    Devices(u32),
    /// So many of a hundred, at least one.
    Percent(u8),
}

/// What a roll-out is to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The image.
    pub image: Image,
    /// Which devices: a pattern of ids, `*` for any characters, `?` for one. Devices that become
    /// known while the roll-out is not over belong to it, too.
    pub devices: String,
    /// Only devices behind these gateways; none: behind any.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub gateways: Vec<GatewayId>,
    /// The devices that get it first. The others get it when all of these have come to their end
    /// and not too many of them have failed.
    #[serde(default = "canary")]
    pub canary: Portion,
    /// The waves after the canary: up to how many of a hundred devices have their turn, rising;
    /// the last is 100.
    #[serde(default = "waves")]
    pub waves: Vec<u8>,
    /// It pauses when more than so many of a hundred that are finished have failed.
    #[serde(default = "max_failed_percent")]
    pub max_failed_percent: u8,
    /// It does not pause for that before so many are finished; the canary is judged as a whole.
    #[serde(default = "min_finished")]
    pub min_finished: u32,
    /// A device that is on and shows no progress for so long has timed out, in seconds.
    #[serde(default = "progress_timeout_s")]
    pub progress_timeout_s: u32,
    /// When devices may be offered the image, such as `22:00-05:30+02:00`; none: always. One that
    /// was offered it goes on after the window's end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub window: Option<Window>,
    /// So many devices behind one gateway at a time.
    #[serde(default = "per_gateway")]
    pub per_gateway: u32,
}

fn canary() -> Portion {
    Portion::Percent(5)
}

fn waves() -> Vec<u8> {
    vec![25, 100]
}

fn max_failed_percent() -> u8 {
    10
}

fn min_finished() -> u32 {
    10
}

fn progress_timeout_s() -> u32 {
    1_800
}

fn per_gateway() -> u32 {
    10
}

impl Plan {
    /// A plan with the defaults.
    pub fn new(image: Image, devices: &str) -> Self {
        Self {
            image,
            devices: devices.to_owned(),
            gateways: Vec::new(),
            canary: canary(),
            waves: waves(),
            max_failed_percent: max_failed_percent(),
            min_finished: min_finished(),
            progress_timeout_s: progress_timeout_s(),
            window: None,
            per_gateway: per_gateway(),
        }
    }

    /// Whether it makes sense.
    ///
    /// # Errors
    /// [`Error::Field`] names what does not.
    pub fn check(&self) -> Result<(), Error> {
        self.pattern()?;
        if self.image.class.is_empty() || self.image.class.len() > MAX_CLASS {
            let why = format!("must have 1 to {MAX_CLASS} bytes");
            return Err(Error::field("image.class", why));
        }
        if self.gateways.len() > MAX_GATEWAYS {
            let why = format!("may be at most {MAX_GATEWAYS}");
            return Err(Error::field("gateways", why));
        }
        match self.canary {
            Portion::Devices(0) | Portion::Percent(0) => {
                return Err(Error::field("canary", "must be at least one device"));
            }
            Portion::Percent(101..) => {
                return Err(Error::field("canary", "is at most 100 percent"));
            }
            Portion::Devices(_) | Portion::Percent(_) => {}
        }
        if self.waves.len() > MAX_WAVES {
            return Err(Error::waves());
        }
        let rising = self.waves.windows(2).all(|two| two[0] < two[1]);
        if !rising || self.waves.first() == Some(&0) || self.waves.last() != Some(&100) {
            return Err(Error::field(
                "waves",
                "must rise from above 0 to 100, as in [25, 100]",
            ));
        }
        if self.max_failed_percent > 100 {
            return Err(Error::field("max_failed_percent", "is at most 100"));
        }
        if self.min_finished == 0 {
            return Err(Error::field("min_finished", "must be at least 1"));
        }
        if self.progress_timeout_s == 0 || self.progress_timeout_s > MAX_TIMEOUT_S {
            let why = format!("must be from 1 to {MAX_TIMEOUT_S} seconds");
            return Err(Error::field("progress_timeout_s", why));
        }
        if self.per_gateway == 0 || self.per_gateway > MAX_PER_GATEWAY {
            let why = format!("must be from 1 to {MAX_PER_GATEWAY}");
            return Err(Error::field("per_gateway", why));
        }
        Ok(())
    }

    /// The devices' pattern.
    pub(crate) fn pattern(&self) -> Result<Pattern, Error> {
        Pattern::parse(&self.devices).map_err(|error| Error::field("devices", error.to_string()))
    }

    /// Whether a device behind this gateway is one of those that are meant.
    /// Tells of each device whether it is meant, by its id and its gateway.
    ///
    /// # Errors
    /// [`Error::Field`]: the pattern is none.
    pub fn meant(&self) -> Result<impl Fn(&DeviceId, Option<&GatewayId>) -> bool + '_, Error> {
        let pattern = self.pattern()?;
        Ok(move |device: &DeviceId, gateway: Option<&GatewayId>| {
            self.is_meant(&pattern, device, gateway)
        })
    }

    pub(crate) fn is_meant(
        &self,
        pattern: &Pattern,
        device: &DeviceId,
        gateway: Option<&GatewayId>,
    ) -> bool {
        pattern.matches(device.as_str())
            && (self.gateways.is_empty()
                || gateway.is_some_and(|gateway| self.gateways.contains(gateway)))
    }

    /// How many of `all` devices may have begun in this stage: 0 is the canary.
    pub fn turn(&self, stage: usize, all: u32) -> u32 {
        let canary = match self.canary {
            Portion::Devices(devices) => devices.min(all),
            Portion::Percent(percent) => share(all, percent),
        };
        match stage.checked_sub(1) {
            None => canary,
            Some(wave) => {
                let percent = self.waves.get(wave).copied().unwrap_or(100);
                share(all, percent).max(canary)
            }
        }
    }

    /// Whether so many failures are too many.
    pub(crate) fn is_too_bad(&self, failed: u32, finished: u32) -> bool {
        u64::from(failed) * 100 > u64::from(self.max_failed_percent) * u64::from(finished)
    }

    /// The time-out, in µs.
    pub(crate) fn timeout_us(&self) -> u64 {
        u64::from(self.progress_timeout_s) * 1_000_000
    }
}

/// So many percent of `all`, rounded up: at least one of one or more.
fn share(all: u32, percent: u8) -> u32 {
    let share = (u64::from(all) * u64::from(percent)).div_ceil(100);
    u32::try_from(share).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        let image = Image {
            digest: Digest([1; 32]),
            sequence: 1,
            class: "freezer".into(),
        };
        Plan::new(image, "freezer-*")
    }

    #[test]
    fn one_message_names_all_that_a_gateway_may_have_at_a_time() {
        let names = stencil_protocol::image::MAX_WANTED;
        assert_eq!(usize::try_from(MAX_PER_GATEWAY).unwrap(), names);
    }

    #[test]
    fn each_bad_field_is_named() {
        assert_eq!(plan().check(), Ok(()));
        type Spoil = fn(&mut Plan);
        let bad: [(&str, Spoil); 14] = [
            ("devices", |plan| plan.devices = "a b".into()),
            ("image.class", |plan| plan.image.class.clear()),
            ("canary", |plan| plan.canary = Portion::Devices(0)),
            ("canary", |plan| plan.canary = Portion::Percent(101)),
            ("waves", |plan| plan.waves = vec![]),
            ("waves", |plan| plan.waves = vec![50]),
            ("waves", |plan| plan.waves = vec![50, 50, 100]),
            ("waves", |plan| plan.waves = vec![0, 100]),
            ("waves", |plan| plan.waves = (84..=100).collect()),
            ("max_failed_percent", |plan| plan.max_failed_percent = 101),
            ("min_finished", |plan| plan.min_finished = 0),
            ("progress_timeout_s", |plan| plan.progress_timeout_s = 0),
            ("per_gateway", |plan| plan.per_gateway = 0),
            ("gateways", |plan| {
                plan.gateways = vec![GatewayId::parse("g").unwrap(); 1_001];
            }),
        ];
        for (named, spoil) in bad {
            let mut plan = plan();
            spoil(&mut plan);
            match plan.check() {
                Err(Error::Field { field, .. }) => assert_eq!(field, named),
                other => panic!("{named}: {other:?}"),
            }
        }
    }

    #[test]
    fn turns_never_shrink_and_end_with_all() {
        let mut plan = plan();
        plan.canary = Portion::Devices(40);
        for all in [0, 1, 3, 39, 41, 500] {
            let turns: Vec<u32> = (0..4).map(|stage| plan.turn(stage, all)).collect();
            assert!(turns.windows(2).all(|two| two[0] <= two[1]), "{turns:?}");
            assert_eq!(turns[2], all);
        }
        plan.canary = Portion::Percent(5);
        assert_eq!([1, 20, 21, 500].map(|all| plan.turn(0, all)), [1, 1, 2, 25]);
    }

    #[test]
    fn it_is_read_with_defaults_and_nothing_unknown() {
        let text = r#"{ "image": { "digest": "0101010101010101010101010101010101010101010101010101010101010101",
            "sequence": 1, "class": "freezer" }, "devices": "freezer-*" }"#;
        assert_eq!(serde_json::from_str::<Plan>(text).unwrap(), plan());
        let text = text.replace("\"devices\"", "\"canry\": 3, \"devices\"");
        assert!(serde_json::from_str::<Plan>(&text).is_err());
    }
}
