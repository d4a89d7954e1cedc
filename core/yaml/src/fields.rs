//! Reading a map whose keys are known.

use crate::error::{Error, Place, shown};
use crate::tree::{Content, Node};

/// The fields of one map; made only if every key is known.
pub struct Fields<'a> {
    /// Where it stands.
    pub at: Place,
    whose: &'static str,
    entries: &'a [(crate::tree::Key, Node)],
}

impl<'a> Fields<'a> {
    /// Takes `node` apart. `whose` names it in messages ("a step"), `known`
    /// are the keys that it may have.
    ///
    /// # Errors
    /// It is no map, or the first key of it that is not known.
    pub fn of(node: &'a Node, whose: &'static str, known: &[&str]) -> Result<Self, Error> {
        let mut errors = Vec::new();
        let fields = Self::gathering(node, whose, known, &mut errors);
        match errors.into_iter().next() {
            Some(first) => Err(first),
            None => fields.ok_or_else(|| no_map(node, whose, known)),
        }
    }

    /// As [`Fields::of`], for who tells of all that is wrong and not of the first only: keys that
    /// are not known are added to `errors`, and passed over. None when it is no map.
    pub fn gathering(
        node: &'a Node,
        whose: &'static str,
        known: &[&str],
        errors: &mut Vec<Error>,
    ) -> Option<Self> {
        let Content::Map(entries) = &node.content else {
            errors.push(no_map(node, whose, known));
            return None;
        };
        for (key, _) in entries {
            if !known.contains(&key.name.as_str()) {
                let right = match nearest(&key.name, known) {
                    Some(near) => format!("did you mean `{near}`? known keys: {}", listed(known)),
                    None => format!("known keys: {}", listed(known)),
                };
                errors.push(Error::new(
                    key.at,
                    format!("{} is not a key of {whose}", shown(&key.name)),
                    right,
                ));
            }
        }
        Some(Self {
            at: node.at,
            whose,
            entries,
        })
    }

    /// A field that may be missing.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a Node> {
        self.entries
            .iter()
            .find(|(key, _)| key.name == name)
            .map(|(_, node)| node)
    }

    /// A field that must be there; `example` says how it is written.
    pub fn need(&self, name: &str, example: &str) -> Result<&'a Node, Error> {
        self.get(name).ok_or_else(|| {
            Error::new(
                self.at,
                format!("{} has no `{name}`", self.whose),
                format!("add one, for example `{name}: {example}`"),
            )
        })
    }
}

fn no_map(node: &Node, whose: &str, known: &[&str]) -> Error {
    Error::new(
        node.at,
        format!("{whose} is {}", node.kind()),
        format!("write a map with the keys {}", listed(known)),
    )
}

/// Text as it stands.
pub fn text<'a>(node: &'a Node, name: &str) -> Result<&'a str, Error> {
    match &node.content {
        Content::Text(text) => Ok(text),
        Content::Bool(_) | Content::Integer(_) | Content::Number(_) | Content::Null => {
            Err(Error::new(
                node.at,
                format!("`{name}` is {}", node.kind()),
                "write text; put it in quotes when it looks like a number, true, false or null",
            ))
        }
        Content::List(_) | Content::Map(_) => Err(Error::new(
            node.at,
            format!("`{name}` is {}", node.kind()),
            "write text",
        )),
    }
}

/// True or false.
pub fn boolean(node: &Node, name: &str) -> Result<bool, Error> {
    match node.content {
        Content::Bool(bit) => Ok(bit),
        _ => Err(Error::new(
            node.at,
            format!("`{name}` is {}", node.kind()),
            "write true or false",
        )),
    }
}

/// A whole number within bounds.
pub fn integer(node: &Node, name: &str, least: i64, most: i64) -> Result<i64, Error> {
    let right = || match least == most {
        true => format!("write {least}"),
        false => format!("write a whole number from {least} to {most}"),
    };
    match node.content {
        Content::Integer(integer) if (least..=most).contains(&integer) => Ok(integer),
        Content::Integer(integer) => Err(Error::new(
            node.at,
            format!("`{name}` is {integer}"),
            right(),
        )),
        _ => Err(Error::new(
            node.at,
            format!("`{name}` is {}", node.kind()),
            right(),
        )),
    }
}

/// A number; neither NaN nor infinite.
pub fn number(node: &Node, name: &str) -> Result<f64, Error> {
    match node.content {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a limit beyond 2^53 is rounded, as every reading is"
        )]
        Content::Integer(integer) => Ok(integer as f64),
        Content::Number(number) if number.is_finite() => Ok(number),
        _ => {
            let right = "write a number, for example -12.0";
            Err(Error::new(
                node.at,
                format!("`{name}` is {}", node.kind()),
                right,
            ))
        }
    }
}

/// A time span such as `250ms`, `3s`, `1m`, `2h` or `7d`, in µs.
pub fn duration_us(node: &Node, name: &str, least_us: i64, most_us: i64) -> Result<i64, Error> {
    const RIGHT: &str = "write a whole number with its unit: 250ms, 3s, 1m, 2h or 7d";
    let Content::Text(text) = &node.content else {
        return Err(Error::new(
            node.at,
            format!("`{name}` is {}", node.kind()),
            RIGHT,
        ));
    };
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (count, unit) = text.split_at(digits);
    let unit_us = match unit {
        "us" => 1,
        "ms" => 1_000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        "h" => 3_600_000_000,
        "d" => 86_400_000_000,
        _ => {
            return Err(Error::new(
                node.at,
                format!("`{name}` is {}", shown(text)),
                RIGHT,
            ));
        }
    };
    let span_us = count
        .parse::<i64>()
        .ok()
        .and_then(|count| count.checked_mul(unit_us));
    match span_us {
        Some(span_us) if (least_us..=most_us).contains(&span_us) => Ok(span_us),
        Some(_) => Err(Error::new(
            node.at,
            format!("`{name}` is {}", shown(text)),
            format!(
                "between {} and {} are allowed",
                span(least_us),
                span(most_us)
            ),
        )),
        None => Err(Error::new(
            node.at,
            format!("`{name}` is {}", shown(text)),
            RIGHT,
        )),
    }
}

/// A time span in the largest unit that writes it whole.
#[must_use]
pub fn span(us: i64) -> String {
    let units = [
        (86_400_000_000, "d"),
        (3_600_000_000, "h"),
        (60_000_000, "m"),
        (1_000_000, "s"),
        (1_000, "ms"),
    ];
    for (unit_us, unit) in units {
        if us % unit_us == 0 && us >= unit_us {
            return format!("{}{unit}", us / unit_us);
        }
    }
    if us == 0 {
        "0s".to_owned()
    } else {
        format!("{us}us")
    }
}

/// `a`, `b` and `c`.
#[must_use]
pub fn listed(names: &[&str]) -> String {
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// The name that was probably meant: at most two letters off.
#[must_use]
pub fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    if name.len() > 40 {
        return None;
    }
    let distances = known.iter().map(|other| (distance(name, other), *other));
    let (least, other) = distances.min_by_key(|(distance, _)| *distance)?;
    (least <= 2 && least < other.len()).then_some(other)
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut corner = i;
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let change = corner + usize::from(from != *to);
            corner = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Limits, read};

    fn value(yaml: &str) -> Node {
        let limits = Limits {
            what: "it",
            max_bytes: 1_024,
            max_depth: 4,
            max_nodes: 64,
        };
        read(yaml, &limits).unwrap()
    }

    #[test]
    fn durations_need_a_unit_and_stay_within_bounds() {
        let most = 86_400_000_000;
        for (yaml, us) in [
            ("250ms", 250_000),
            ("3s", 3_000_000),
            ("1m", 60_000_000),
            ("0s", 0),
            ("24h", most),
        ] {
            assert_eq!(duration_us(&value(yaml), "for", 0, most), Ok(us), "{yaml}");
        }
        for yaml in [
            "3",
            "s",
            "3 s",
            "1.5s",
            "-1s",
            "3sec",
            "99999999999999999999s",
            "9999999999999d",
        ] {
            let error = duration_us(&value(yaml), "for", 0, most).unwrap_err();
            assert!(error.right.contains("3s, 1m"), "{yaml}: {error}");
        }
        let error = duration_us(&value("2d"), "for", 0, most).unwrap_err();
        assert_eq!(
            error.to_string(),
            "line 1, column 1: `for` is `2d`; between 0s and 1d are allowed"
        );
    }

    #[test]
    fn the_nearest_name() {
        assert_eq!(
            nearest("retrys", &["id", "retry", "timeout"]),
            Some("retry")
        );
        assert_eq!(nearest("banana", &["id", "retry", "timeout"]), None);
        assert_eq!(nearest("xy", &["id"]), None);
    }

    #[test]
    fn text_that_looks_like_something_else() {
        let error = text(&value("12"), "key").unwrap_err();
        assert!(error.to_string().contains("put it in quotes"), "{error}");
        assert_eq!(text(&value("\"12\""), "key"), Ok("12"));
    }
}
