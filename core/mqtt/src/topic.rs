//! Topic names and filters: grammar and matching (MQTT 5 §4.7, 3.1.1 §4.7).

use crate::Options;

/// Why a topic name or filter is not acceptable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It has no characters.
    #[error("it is empty")]
    Empty,
    /// It has more bytes than the bound.
    #[error("it has {bytes} bytes, the bound is {max_bytes}")]
    TooLong {
        /// What it has.
        bytes: usize,
        /// The bound.
        max_bytes: usize,
    },
    /// It has more levels than the bound.
    #[error("it has {levels} levels, the bound is {max_levels}")]
    TooDeep {
        /// What it has.
        levels: usize,
        /// The bound.
        max_levels: usize,
    },
    /// A control character, which the protocol allows a server to refuse.
    #[error("it has a control character at byte {at}")]
    Control {
        /// Where.
        at: usize,
    },
    /// A wildcard in a topic name.
    #[error("a topic name can't have the wildcard {wildcard:?} (byte {at})")]
    WildcardInName {
        /// `+` or `#`.
        wildcard: char,
        /// Where.
        at: usize,
    },
    /// A wildcard in a filter that doesn't fill its level, or a `#` that isn't
    /// the last one.
    #[error("{wildcard:?} must fill its level, and '#' must be the last level (byte {at})")]
    MisplacedWildcard {
        /// `+` or `#`.
        wildcard: char,
        /// Where.
        at: usize,
    },
    /// A name below `$`, which is the server's.
    #[error("names that start with '$' are reserved for the server")]
    Reserved,
    /// A shared subscription.
    #[error("shared subscriptions ($share/…) are not supported")]
    Shared,
}

/// The bounds of names and filters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    max_bytes: usize,
    max_levels: usize,
}

impl From<&Options> for Bounds {
    fn from(options: &Options) -> Self {
        Self {
            max_bytes: options.max_topic_bytes,
            max_levels: options.max_topic_levels,
        }
    }
}

/// Checks a name to publish on.
pub(crate) fn check_name(name: &str, bounds: Bounds) -> Result<(), Error> {
    check_text(name, bounds)?;
    if let Some((at, wildcard)) = name.char_indices().find(|(_, c)| matches!(c, '+' | '#')) {
        return Err(Error::WildcardInName { wildcard, at });
    }
    if name.starts_with('$') {
        return Err(Error::Reserved);
    }
    Ok(())
}

/// Checks a filter to subscribe with.
pub(crate) fn check_filter(filter: &str, bounds: Bounds) -> Result<(), Error> {
    check_text(filter, bounds)?;
    if filter == "$share" || filter.starts_with("$share/") {
        return Err(Error::Shared);
    }
    let mut at = 0;
    for level in filter.split('/') {
        let end = at + level.len();
        if let Some(wildcard) = level.chars().find(|c| matches!(c, '+' | '#')) {
            let last = end == filter.len();
            if level.len() != 1 || (wildcard == '#' && !last) {
                return Err(Error::MisplacedWildcard { wildcard, at });
            }
        }
        at = end + 1;
    }
    Ok(())
}

/// Whether a well-formed filter covers a well-formed name.
#[must_use]
pub fn matches(filter: &str, name: &str) -> bool {
    if name.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut names = name.split('/');
    for level in filter.split('/') {
        if level == "#" {
            return true;
        }
        match names.next() {
            Some(name) if level == "+" || level == name => {}
            _ => return false,
        }
    }
    names.next().is_none()
}

fn check_text(text: &str, bounds: Bounds) -> Result<(), Error> {
    if text.is_empty() {
        return Err(Error::Empty);
    }
    if text.len() > bounds.max_bytes {
        return Err(Error::TooLong {
            bytes: text.len(),
            max_bytes: bounds.max_bytes,
        });
    }
    let levels = 1 + text.bytes().filter(|b| *b == b'/').count();
    if levels > bounds.max_levels {
        return Err(Error::TooDeep {
            levels,
            max_levels: bounds.max_levels,
        });
    }
    match text.char_indices().find(|(_, c)| c.is_control()) {
        Some((at, _)) => Err(Error::Control { at }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        max_bytes: 40,
        max_levels: 5,
    };

    #[test]
    fn names() {
        for good in ["a", "/", "a//b", "v1/devices/me/telemetry", "ä/ö", "a b"] {
            assert_eq!(check_name(good, BOUNDS), Ok(()), "{good}");
        }
        assert_eq!(check_name("", BOUNDS), Err(Error::Empty));
        assert_eq!(
            check_name("a/+/b", BOUNDS),
            Err(Error::WildcardInName {
                wildcard: '+',
                at: 2
            })
        );
        assert_eq!(check_name("a\u{0}", BOUNDS), Err(Error::Control { at: 1 }));
        assert_eq!(check_name("$SYS/x", BOUNDS), Err(Error::Reserved));
        assert_eq!(
            check_name("a/b/c/d/e/f", BOUNDS),
            Err(Error::TooDeep {
                levels: 6,
                max_levels: 5
            })
        );
        assert_eq!(
            check_name(&"a".repeat(41), BOUNDS),
            Err(Error::TooLong {
                bytes: 41,
                max_bytes: 40
            })
        );
    }

    #[test]
    fn filters() {
        for good in ["#", "+", "+/+", "a/#", "/+", "$SYS/#", "a/+/b"] {
            assert_eq!(check_filter(good, BOUNDS), Ok(()), "{good}");
        }
        for bad in ["a#", "a/#/b", "a+", "+a/b", "##", "a/b#"] {
            assert!(
                matches!(
                    check_filter(bad, BOUNDS),
                    Err(Error::MisplacedWildcard { .. })
                ),
                "{bad}"
            );
        }
        assert_eq!(check_filter("$share/g/a", BOUNDS), Err(Error::Shared));
    }

    #[test]
    fn matching() {
        for (filter, name) in [
            ("#", "a/b"),
            ("a/#", "a"),
            ("a/#", "a/b/c"),
            ("+", "a"),
            ("+/b", "/b"),
            ("a/+", "a/"),
            ("$SYS/#", "$SYS/x"),
        ] {
            assert!(matches(filter, name), "{filter} {name}");
        }
        for (filter, name) in [
            ("+", "a/b"),
            ("a", "a/b"),
            ("a/+", "a"),
            ("a/b", "a"),
            ("#", "$SYS/x"),
            ("+/x", "$SYS/x"),
        ] {
            assert!(!matches(filter, name), "{filter} {name}");
        }
    }
}
