//! A rule: which samples, and what is asked of them.

use std::fmt;

use crate::{Condition, Error, Pattern};

/// The longest name of a sample, in bytes.
pub const MAX_NAME: usize = 64;

/// One rule: which devices, which of their samples, and what is asked of those.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The devices that it is about; each has a state of its own.
    pub devices: Pattern,
    /// The name of the samples that it looks at. `None`, which only
    /// [`Condition::Absence`] may have, looks at all of them.
    pub name: Option<String>,
    /// What is asked.
    pub condition: Condition,
}

impl Rule {
    /// A rule, checked.
    ///
    /// # Errors
    /// [`Error::Name`] and [`Error::NameMissing`].
    pub fn new(devices: Pattern, name: Option<&str>, condition: Condition) -> Result<Self, Error> {
        let rule = Self {
            devices,
            name: name.map(str::to_owned),
            condition,
        };
        rule.check()?;
        Ok(rule)
    }

    /// Whether it looks at samples of this device and name.
    pub fn concerns(&self, device: &str, name: &str) -> bool {
        self.name.as_deref().is_none_or(|own| own == name) && self.devices.matches(device)
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        match &self.name {
            Some(name)
                if name.is_empty()
                    || name.len() > MAX_NAME
                    || name.chars().any(char::is_control) =>
            {
                Err(Error::Name {
                    name: name.chars().take(MAX_NAME).collect(),
                })
            }
            None if !matches!(self.condition, Condition::Absence(_)) => Err(Error::NameMissing {
                kind: self.condition.kind(),
            }),
            _ => Ok(()),
        }
    }
}

/// In plain words: "temperature of freezer-*: the value is above -12 for 3s".
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            write!(f, "{name} of ")?;
        }
        write!(f, "{}: {}", self.devices, self.condition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Absence, Finite, Level, Limit, Threshold};

    fn warm() -> Condition {
        let level = Level::new(
            Limit::Above(Finite::new(-12.0).unwrap()),
            Finite::new(-14.0),
        );
        Condition::Threshold(Threshold::new(level.unwrap(), 3_000_000).unwrap())
    }

    #[test]
    fn only_absence_may_look_at_samples_of_any_name() {
        let devices = Pattern::parse("freezer-*").unwrap();
        let absent = Condition::Absence(Absence::new(60_000_000).unwrap());
        let any = Rule::new(devices.clone(), None, absent).unwrap();
        assert!(any.concerns("freezer-1", "x") && !any.concerns("lock", "x"));
        let missing = Rule::new(devices.clone(), None, warm());
        assert_eq!(missing, Err(Error::NameMissing { kind: "threshold" }));
        for name in ["", "a\nb", &"x".repeat(MAX_NAME + 1)] {
            let rule = Rule::new(devices.clone(), Some(name), warm());
            assert!(matches!(rule, Err(Error::Name { .. })), "{name:?}");
        }
    }

    #[test]
    fn it_says_what_it_is_in_plain_words() {
        let devices = Pattern::parse("freezer-*").unwrap();
        let rule = Rule::new(devices, Some("temperature"), warm()).unwrap();
        assert_eq!(
            rule.to_string(),
            "temperature of freezer-*: the value is above -12 until at most -14 for 3s"
        );
    }
}
