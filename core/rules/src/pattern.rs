//! Which devices a rule is about.

use std::fmt;
use std::str::FromStr;

use crate::Error;

/// The longest pattern, in characters.
pub const MAX_PATTERN: usize = 64;

/// The most `*` in a pattern; with [`MAX_PATTERN`] it bounds what a match costs.
pub const MAX_STARS: usize = 8;

/// A pattern over device ids: `*` stands for any characters, also none, `?`
/// for exactly one, all else for itself. The whole id must match.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern(String);

impl Pattern {
    /// Reads a pattern such as `freezer-*`.
    ///
    /// # Errors
    /// [`Error::PatternSize`], [`Error::PatternCharacter`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        for (index, found) in text.chars().enumerate() {
            if !(found.is_ascii_alphanumeric() || ".-_*?".contains(found)) {
                let pattern = text.chars().take(MAX_PATTERN).collect();
                return Err(Error::PatternCharacter {
                    pattern,
                    found,
                    at: index + 1,
                });
            }
        }
        let stars = text.bytes().filter(|&byte| byte == b'*').count();
        if text.is_empty() || text.len() > MAX_PATTERN || stars > MAX_STARS {
            return Err(Error::PatternSize {
                pattern: text.chars().take(MAX_PATTERN).collect(),
            });
        }
        Ok(Self(text.to_owned()))
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What every id that matches begins with: all up to the first wildcard.
    pub fn prefix(&self) -> &str {
        let end = self.0.find(['*', '?']).unwrap_or(self.0.len());
        &self.0[..end]
    }

    /// Whether the whole of `device` matches.
    pub fn matches(&self, device: &str) -> bool {
        let (pattern, text) = (self.0.as_bytes(), device.as_bytes());
        let (mut p, mut t) = (0, 0);
        // Where to go on when a guess for the last star was too short.
        let mut retry: Option<(usize, usize)> = None;
        while t < text.len() {
            if pattern.get(p) == Some(&b'*') {
                retry = Some((p, t));
                p += 1;
            } else if pattern
                .get(p)
                .is_some_and(|&byte| byte == b'?' || byte == text[t])
            {
                p += 1;
                t += 1;
            } else if let Some((star, from)) = retry {
                p = star + 1;
                t = from + 1;
                retry = Some((star, from + 1));
            } else {
                return false;
            }
        }
        pattern[p..].iter().all(|&byte| byte == b'*')
    }
}

impl FromStr for Pattern {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn stars_and_question_marks() {
        for (pattern, device, expected) in [
            ("freezer-*", "freezer-07", true),
            ("freezer-*", "freezer-", true),
            ("freezer-*", "freezer", false),
            ("freezer-??", "freezer-07", true),
            ("freezer-??", "freezer-7", false),
            ("*", "a", true),
            ("*-*-07", "a-b-07", true),
            ("*-*-07", "a-07", false),
            ("*ab", "aab", true),
            ("a*b*c", "abbcbc", true),
            ("a*b*c", "abbcb", false),
            ("lock", "lock", true),
            ("lock", "Lock", false),
        ] {
            assert_eq!(
                Pattern::parse(pattern).unwrap().matches(device),
                expected,
                "{pattern} {device}"
            );
        }
    }

    #[test]
    fn bad_patterns_say_what_is_wrong() {
        let error = Pattern::parse("sites/*").unwrap_err();
        assert!(
            error.to_string().contains("holds '/' at character 6"),
            "{error}"
        );
        assert!(matches!(Pattern::parse(""), Err(Error::PatternSize { .. })));
        assert!(matches!(
            Pattern::parse(&"*".repeat(MAX_STARS + 1)),
            Err(Error::PatternSize { .. })
        ));
        assert!(matches!(
            Pattern::parse(&"a".repeat(MAX_PATTERN + 1)),
            Err(Error::PatternSize { .. })
        ));
    }

    /// The definition, as slow as it is plain.
    fn by_definition(pattern: &[u8], text: &[u8]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some((b'*', rest)) => (0..=text.len()).any(|skip| by_definition(rest, &text[skip..])),
            Some((b'?', rest)) => !text.is_empty() && by_definition(rest, &text[1..]),
            Some((byte, rest)) => text.first() == Some(byte) && by_definition(rest, &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_definition(pattern in "[ab*?]{1,8}", device in "[ab]{0,10}") {
            prop_assert_eq!(
                Pattern::parse(&pattern).unwrap().matches(&device),
                by_definition(pattern.as_bytes(), device.as_bytes())
            );
        }
    }
}
