//! A rule as it is given to a gateway: what is asked, and the one command that it gives.

use serde::{Deserialize, Serialize};
use stencil_protocol::command;
use stencil_protocol::id::DeviceId;
use stencil_protocol::sample::OwnedValue;
use stencil_rules::{
    Absence, Aggregate, Condition, Expression, Finite, Level, Limit, Pattern, Rate, Rule,
    Threshold, Window,
};

use crate::Scalar;

/// The longest id of a workflow or step, in bytes.
const MAX_ID: usize = 48;
/// The longest time within which a command must be begun: 7 days, in µs.
const MAX_EXPIRES_US: i64 = 7 * 86_400 * 1_000_000;

/// A version of a workflow, as far as a gateway needs it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Placed {
    /// The workflow's id.
    pub workflow: String,
    /// Its version.
    pub version: u32,
    /// Which devices: an id, or a pattern.
    pub devices: String,
    /// The name of the samples; none looks at all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What is asked of them.
    pub when: When,
    /// What the gateway does when it fires.
    pub action: Action,
}

/// A command to a device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Action {
    /// The step of the workflow that it is.
    pub step: String,
    /// To which device; none: to the one that the rule fired on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// What to do.
    pub command: String,
    /// With what.
    #[serde(default, skip_serializing_if = "Argument::is_none")]
    pub argument: Argument,
    /// How long after it is given it may still be begun, in µs.
    pub expires_us: i64,
}

/// What a command is given with.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Argument {
    /// Nothing.
    #[default]
    None,
    /// Always this.
    Value(Scalar),
    /// What the rule looked at when it fired, `event.value`.
    EventValue,
}

impl Argument {
    fn is_none(&self) -> bool {
        *self == Self::None
    }
}

/// A condition, in the form in which it is sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum When {
    /// A limit on the value.
    Threshold {
        /// The limit.
        level: Bound,
        /// How long it must hold.
        hold_us: i64,
    },
    /// No sample for a time.
    Absence {
        /// How long.
        silence_us: i64,
    },
    /// A limit on the change per second.
    Rate {
        /// Over what time.
        over_us: i64,
        /// The limit.
        level: Bound,
        /// How long it must hold.
        hold_us: i64,
    },
    /// A limit on what the samples of a window come to.
    Window {
        /// What is made of them.
        of: String,
        /// The length of the window.
        over_us: i64,
        /// How late a sample may be.
        lateness_us: i64,
        /// The limit.
        level: Bound,
        /// How long it must hold.
        hold_us: i64,
    },
    /// An expression that is true.
    Expression {
        /// In CEL.
        source: String,
        /// How long it must hold.
        hold_us: i64,
    },
}

/// A limit, with hysteresis if there is a `clear`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bound {
    /// Above the limit; else below it.
    above: bool,
    /// The limit.
    limit: Finite,
    /// Where the condition ends, if that is elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    clear: Option<Finite>,
}

/// Why a rule cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// The engine refuses it.
    #[error(transparent)]
    Rule(#[from] stencil_rules::Error),
    /// A part of it is not what it can be.
    #[error("{what} is {found:?}; {right}")]
    Part {
        /// Which.
        what: &'static str,
        /// What it is.
        found: String,
        /// What would be right.
        right: &'static str,
    },
}

impl Placed {
    /// The rule.
    ///
    /// # Errors
    /// [`Unusable`].
    pub fn rule(&self) -> Result<Rule, Unusable> {
        self.check()?;
        let condition = self.when.condition()?;
        let devices = Pattern::parse(&self.devices)?;
        Ok(Rule::new(devices, self.name.as_deref(), condition)?)
    }

    /// The command that a firing gives: to whom, what, and with what. `seen` is what the rule
    /// looked at.
    ///
    /// # Errors
    /// [`Unusable`], of a value that a command cannot have.
    pub fn command(
        &self,
        device: &DeviceId,
        seen: Option<&OwnedValue>,
    ) -> Result<(DeviceId, Option<Scalar>), Unusable> {
        let to = match &self.action.device {
            None => device.clone(),
            Some(other) => parse_device(other)?,
        };
        let argument = match &self.action.argument {
            Argument::None => None,
            Argument::Value(value) => Some(value.clone()),
            Argument::EventValue => seen.map(Scalar::from),
        };
        match argument {
            Some(value) if !value.is_usable() => Err(Unusable::Part {
                what: "the command's argument",
                found: format!("{value:?}"),
                right: "a finite number, true, false or a text of at most 256 bytes is needed",
            }),
            argument => Ok((to, argument)),
        }
    }

    fn check(&self) -> Result<(), Unusable> {
        let id = |what, text: &str| {
            let good = !text.is_empty()
                && text.len() <= MAX_ID
                && text
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c));
            part(
                good,
                what,
                text,
                "1 to 48 letters, digits, '.', '_' or '-' are needed",
            )
        };
        id("the workflow", &self.workflow)?;
        id("the step", &self.action.step)?;
        let name = &self.action.command;
        let good = !name.is_empty()
            && name.len() <= command::MAX_NAME
            && !name.chars().any(char::is_control);
        part(
            good,
            "the command",
            name,
            "1 to 32 bytes in one line are needed",
        )?;
        let expires_us = self.action.expires_us;
        let good = (1_000_000..=MAX_EXPIRES_US).contains(&expires_us);
        let shown = expires_us.to_string();
        part(
            good,
            "the command's time",
            &shown,
            "1 second to 7 days, in µs, are needed",
        )?;
        if let Argument::Value(value) = &self.action.argument {
            let right = "a finite number, true, false or a text of at most 256 bytes is needed";
            part(
                value.is_usable(),
                "the command's argument",
                &format!("{value:?}"),
                right,
            )?;
        }
        match &self.action.device {
            Some(device) => parse_device(device).map(drop),
            None => Ok(()),
        }
    }
}

fn part(good: bool, what: &'static str, found: &str, right: &'static str) -> Result<(), Unusable> {
    if good {
        return Ok(());
    }
    Err(Unusable::Part {
        what,
        found: found.chars().take(60).collect(),
        right,
    })
}

fn parse_device(text: &str) -> Result<DeviceId, Unusable> {
    DeviceId::parse(text).map_err(|_| Unusable::Part {
        what: "the command's device",
        found: text.chars().take(60).collect(),
        right: "a device's id is needed",
    })
}

impl When {
    /// The form of a condition.
    pub fn of(condition: &Condition) -> Self {
        match condition {
            Condition::Threshold(it) => Self::Threshold {
                level: Bound::of(it.level()),
                hold_us: it.hold_us(),
            },
            Condition::Absence(it) => Self::Absence {
                silence_us: it.silence_us(),
            },
            Condition::Rate(it) => Self::Rate {
                over_us: it.over_us(),
                level: Bound::of(it.level()),
                hold_us: it.hold_us(),
            },
            Condition::Window(it) => Self::Window {
                of: it.of().name().to_owned(),
                over_us: it.over_us(),
                lateness_us: it.lateness_us(),
                level: Bound::of(it.level()),
                hold_us: it.hold_us(),
            },
            Condition::Expression(it) => Self::Expression {
                source: it.source().to_owned(),
                hold_us: it.hold_us(),
            },
        }
    }

    fn condition(&self) -> Result<Condition, Unusable> {
        Ok(match self {
            Self::Threshold { level, hold_us } => {
                Condition::Threshold(Threshold::new(level.level()?, *hold_us)?)
            }
            Self::Absence { silence_us } => Condition::Absence(Absence::new(*silence_us)?),
            Self::Rate {
                over_us,
                level,
                hold_us,
            } => Condition::Rate(Rate::new(*over_us, level.level()?, *hold_us)?),
            Self::Window {
                of,
                over_us,
                lateness_us,
                level,
                hold_us,
            } => {
                let aggregate = Aggregate::ALL.into_iter().find(|one| one.name() == of);
                let aggregate = aggregate.ok_or_else(|| Unusable::Part {
                    what: "the window's aggregate",
                    found: of.chars().take(60).collect(),
                    right: "count, mean, min, max or p95 is needed",
                })?;
                let level = level.level()?;
                let window = Window::new(aggregate, *over_us, *lateness_us, level, *hold_us)?;
                Condition::Window(window)
            }
            Self::Expression { source, hold_us } => {
                Condition::Expression(Expression::new(source, *hold_us)?)
            }
        })
    }
}

impl Bound {
    fn of(level: Level) -> Self {
        Self {
            above: matches!(level.limit(), Limit::Above(_)),
            limit: level.limit().get(),
            clear: level.clear(),
        }
    }

    fn level(self) -> Result<Level, Unusable> {
        let limit = if self.above {
            Limit::Above(self.limit)
        } else {
            Limit::Below(self.limit)
        };
        Ok(Level::new(limit, self.clear)?)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn placed(workflow: &str, when: &str) -> Placed {
        let json = format!(
            r#"{{"workflow":"{workflow}","version":1,"devices":"freezer-*","name":"t",
            "when":{when},"action":{{"step":"lock","command":"lock","expires_us":30000000}}}}"#
        );
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn every_condition_comes_back_as_it_was() {
        let level = |above, clear: Option<f64>| {
            let limit = Finite::new(0.1).unwrap();
            let limit = if above {
                Limit::Above(limit)
            } else {
                Limit::Below(limit)
            };
            Level::new(limit, clear.and_then(Finite::new)).unwrap()
        };
        let conditions = [
            Condition::Threshold(Threshold::new(level(true, Some(-0.3)), 7).unwrap()),
            Condition::Absence(Absence::new(60_000_000).unwrap()),
            Condition::Rate(Rate::new(2_000_000, level(false, None), 0).unwrap()),
            Condition::Window(
                Window::new(Aggregate::P95, 60_000_000, 5, level(false, Some(1.7)), 9).unwrap(),
            ),
            Condition::Expression(Expression::new("event.value > 3.0", 4).unwrap()),
        ];
        for condition in conditions {
            let json = serde_json::to_string(&When::of(&condition)).unwrap();
            let read: When = serde_json::from_str(&json).unwrap();
            assert_eq!(read.condition().unwrap(), condition, "{json}");
        }
    }

    #[test]
    fn what_no_gateway_can_use_is_refused_with_what_is_wrong() {
        let good = placed("a", r#"{"absence":{"silence_us":60000000}}"#);
        assert!(good.rule().is_ok());
        let mut bad = good.clone();
        bad.devices = "a/b".to_owned();
        assert!(bad.rule().unwrap_err().to_string().contains('/'));
        let mut bad = good.clone();
        bad.action.command = String::new();
        assert!(bad.rule().unwrap_err().to_string().contains("the command"));
        let mut bad = good.clone();
        bad.action.device = Some("a b".to_owned());
        assert!(bad.rule().is_err());
        let mut bad = good;
        bad.action.argument = Argument::Value(Scalar::Text("x".repeat(MAX_TEXT_FOR_TEST)));
        assert!(bad.rule().is_err());
    }

    const MAX_TEXT_FOR_TEST: usize = stencil_protocol::sample::MAX_TEXT + 1;
}
