//! The settings of a desired state.

use std::collections::BTreeMap;
use std::net::IpAddr;

use stencil_protocol::desired::{Flaw, MAX_FLAWS, Section};

use crate::table::{Kind, LEVELS, SETTINGS, Setting};
use crate::yaml::{self, Scalar, Tree};

/// As much of what somebody wrote as an error repeats, in characters.
const MAX_SHOWN: usize = 64;

/// Settings that are set from afar: some of [`SETTINGS`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings(BTreeMap<&'static str, Value>);

/// What a setting is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A number.
    Number(u64),
    /// A text.
    Text(String),
}

impl Settings {
    /// Reads settings: YAML with groups of names and values, as in the gateway's own file.
    ///
    /// # Errors
    /// All that is wrong, each with its line; at most [`MAX_FLAWS`].
    pub fn parse(text: &str) -> Result<Self, Vec<Flaw>> {
        // A text of comments alone sets nothing.
        if text.lines().all(is_blank) {
            return Ok(Self::default());
        }
        let tree: Tree = yaml::read(Section::Settings, text).map_err(|flaw| vec![flaw])?;
        let (mut settings, mut flaws) = (BTreeMap::new(), Vec::new());
        for (group, names) in &tree {
            let known = SETTINGS
                .iter()
                .any(|setting| setting.key.split('.').next() == Some(group.0.value.as_str()));
            if !known {
                let what = format!(
                    "there is no group {} to be set from afar; there are {}",
                    shown(&group.0.value),
                    groups().join(", ")
                );
                flaws.push(flaw(group.0.referenced, what));
                continue;
            }
            for (name, value) in names.iter().flatten() {
                let key = format!("{}.{}", group.0.value, name.0.value);
                let Some(setting) = SETTINGS.iter().find(|setting| setting.key == key) else {
                    flaws.push(flaw(name.0.referenced, unknown(&group.0.value, &key)));
                    continue;
                };
                match valued(setting, &value.value) {
                    Ok(value) => drop(settings.insert(setting.key, value)),
                    Err(what) => flaws.push(flaw(value.referenced, what)),
                }
            }
        }
        if flaws.is_empty() {
            return Ok(Self(settings));
        }
        flaws.sort_by_key(|flaw| (flaw.line, flaw.column));
        flaws.truncate(MAX_FLAWS);
        Err(flaws)
    }

    /// What a setting is set to, if it is.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    /// All that is set, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.0.iter().map(|(key, value)| (*key, value))
    }
}

fn is_blank(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#')
}

fn flaw(at: serde_saphyr::Location, what: String) -> Flaw {
    Flaw::new(Some(Section::Settings), at.line(), at.column(), what)
}

fn groups() -> Vec<&'static str> {
    let mut groups: Vec<_> = SETTINGS
        .iter()
        .filter_map(|setting| setting.key.split('.').next())
        .collect();
    groups.dedup();
    groups
}

fn unknown(group: &str, key: &str) -> String {
    let of_group: Vec<_> = SETTINGS
        .iter()
        .filter_map(|setting| setting.key.split_once('.'))
        .filter(|(of, _)| *of == group)
        .map(|(_, name)| name)
        .collect();
    format!(
        "{} cannot be set from afar; of `{group}` there are {}",
        shown(key),
        of_group.join(", ")
    )
}

fn valued(setting: &Setting, value: &Scalar) -> Result<Value, String> {
    let key = setting.key;
    match (setting.kind, value) {
        (Kind::Number(min, max), Scalar::Number(number)) => {
            if (min..=max).contains(number) {
                return Ok(Value::Number(*number));
            }
            Err(format!("`{key}` is {number}; {min} to {max} are allowed"))
        }
        (Kind::Number(min, max), _) => {
            Err(format!("`{key}` has to be a whole number, {min} to {max}"))
        }
        (Kind::Address, Scalar::Text(text)) => address(key, text),
        (Kind::Name, Scalar::Text(text)) => {
            let good = text.len() <= 253 && text.bytes().all(is_of_name);
            if good {
                return Ok(Value::Text(text.clone()));
            }
            Err(format!(
                "`{key}` is {}; it has to be a host's name, such as hub.example",
                shown(text)
            ))
        }
        (Kind::Level, Scalar::Text(text)) if LEVELS.contains(&text.as_str()) => {
            Ok(Value::Text(text.clone()))
        }
        (Kind::Level, _) => Err(format!("`{key}` has to be one of {}", LEVELS.join(", "))),
        (Kind::Address, _) => Err(format!(
            "`{key}` has to be host:port, such as hub.example:8883"
        )),
        (Kind::Name, _) => Err(format!("`{key}` has to be a host's name")),
    }
}

/// An address at which a hub may be: one at which nobody can be reached is none.
fn address(key: &str, text: &str) -> Result<Value, String> {
    let wrong = |why: &str| {
        format!(
            "`{key}` is {}: {why}; write host:port, such as hub.example:8883 or [2001:db8::1]:8883",
            shown(text)
        )
    };
    let (host, port) = text
        .rsplit_once(':')
        .ok_or_else(|| wrong("it has no port"))?;
    match port.parse::<u16>() {
        Ok(0) | Err(_) => return Err(wrong("the port has to be 1 to 65535")),
        Ok(_) => {}
    }
    let inner = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let ip = inner.unwrap_or(host).parse::<IpAddr>();
    match (inner, &ip) {
        (Some(_), Ok(IpAddr::V6(_))) | (None, Ok(IpAddr::V4(_))) => {}
        (None, Err(_)) if (1..=253).contains(&host.len()) && host.bytes().all(is_of_name) => {}
        _ => return Err(wrong("the host is neither a name nor an address")),
    }
    if ip.is_ok_and(|ip| ip.is_unspecified() || ip.is_multicast()) {
        return Err(wrong("no hub can be reached there"));
    }
    Ok(Value::Text(text.to_owned()))
}

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b".-_".contains(&byte)
}

fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(MAX_SHOWN).collect();
    if text.chars().nth(MAX_SHOWN).is_some() {
        shown.push('…');
    }
    format!("`{}`", shown.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_within_the_bounds_is_taken() {
        let settings = Settings::parse(
            "# of all stores\nspool:\n  max_bytes: 67108864\n  max_age_s: 3600\nhub:\n  \
             address: hub.example:8883\nlog: { level: debug }\n",
        )
        .unwrap();
        let all: Vec<_> = settings.iter().map(|(key, _)| key).collect();
        assert_eq!(
            all,
            [
                "hub.address",
                "log.level",
                "spool.max_age_s",
                "spool.max_bytes"
            ]
        );
        for empty in ["", "# nothing yet\n\n"] {
            assert_eq!(Settings::parse(empty), Ok(Settings::default()));
        }
        for address in ["127.0.0.1:1", "[::1]:65535", "hub_1:8883"] {
            Settings::parse(&format!("hub: {{ address: '{address}' }}")).unwrap();
        }
    }

    #[test]
    fn all_that_is_wrong_is_told_by_its_line() {
        let flaws = Settings::parse(
            "spool:\n  max_bytes: 1024\nhub:\n  root: /tmp/root.pem\n  address: '0.0.0.0:8883'\n\
             link:\n  tcp: ['0.0.0.0:7443']\nlog:\n  level: loud\nhttp:\n  listen: '0.0.0.0:1'\n",
        )
        .unwrap_err();
        let lines: Vec<_> = flaws.iter().map(|flaw| flaw.line).collect();
        assert_eq!(lines, [2, 4, 5, 7, 9, 10], "{flaws:#?}");
        for (flaw, says) in flaws.iter().zip([
            "67108864 to",
            "`hub.root` cannot be set from afar",
            "no hub can be reached there",
            "`link.tcp` cannot be set from afar",
            "error, warn, info",
            "there is no group `http`",
        ]) {
            assert!(flaw.what.contains(says), "{flaw}");
        }
        for bad in [
            "hub",
            "hub:8883:1x",
            ":8883",
            "hub:0",
            "hub:65536",
            "::1:8883",
            "[hub]:8883",
            "mqtts://hub:8883",
            "224.0.0.1:8883",
            "[::]:8883",
        ] {
            let flaws = Settings::parse(&format!("hub: {{ address: '{bad}' }}")).unwrap_err();
            assert!(flaws[0].what.contains("host:port"), "{bad}: {flaws:?}");
        }
        for (bad, line) in [
            ("- a\n", 1),
            ("spool: 3\n", 1),
            ("spool: { max_age_s: -1 }\n", 1),
            ("spool: { max_age_s: 60, max_age_s: 61 }\n", 1),
            ("spool:\n  max_age_s: [60]\n", 2),
        ] {
            let flaws = Settings::parse(bad).unwrap_err();
            assert_eq!(flaws[0].line, line, "{bad}: {flaws:?}");
        }
    }

    #[test]
    fn what_is_told_is_bounded() {
        let many: String = (0..100).map(|at| format!("  name{at}: 1\n")).collect();
        let flaws = Settings::parse(&format!("hub:\n{many}")).unwrap_err();
        assert_eq!(flaws.len(), MAX_FLAWS);
        let long = "x".repeat(10_000);
        let flaws = Settings::parse(&format!("{long}: {{ a: 1 }}")).unwrap_err();
        assert!(flaws[0].what.len() < 400, "{flaws:?}");
    }
}
