//! Why a rule, or its saved state, was refused.

use crate::{Finite, Limit, MAX_HOLD_US, MAX_NAME, MAX_PATTERN, MAX_STARS};

/// Why a rule, or its saved state, was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The name of the sample is empty, too long, or holds control characters.
    #[error("the sample name {name:?} must be 1 to {MAX_NAME} bytes without control characters")]
    Name {
        /// What was given.
        name: String,
    },
    /// A rule without the name of a sample asks about values.
    #[error("a rule with a condition of the kind {kind} needs the name of the samples to look at")]
    NameMissing {
        /// The kind of its condition.
        kind: &'static str,
    },
    /// The condition would end where it begins, or beyond.
    #[error("a condition that begins {limit} cannot end at {clear}")]
    Clear {
        /// Where it begins.
        limit: Limit,
        /// Where it would end.
        clear: Finite,
    },
    /// The silence is shorter than [`MIN_SILENCE_US`](crate::MIN_SILENCE_US) or longer than
    /// [`MAX_SILENCE_US`](crate::MAX_SILENCE_US).
    #[error("a silence of {silence_us} µs is not between 1 second and 30 days")]
    Silence {
        /// What was given, in µs.
        silence_us: i64,
    },
    /// The time that a rate or window goes over is too short or too long.
    #[error("{over_us} µs is not between 1 second and {most_us} µs")]
    Over {
        /// What was given, in µs.
        over_us: i64,
        /// The most, in µs.
        most_us: i64,
    },
    /// The lateness of a window is negative or longer than the window.
    #[error("a lateness of {lateness_us} µs is not between 0 and the window's {over_us} µs")]
    Lateness {
        /// What was given, in µs.
        lateness_us: i64,
        /// The length of the window, in µs.
        over_us: i64,
    },
    /// An expression that cannot be used.
    #[error("character {at} of the expression: {what}; {right}")]
    Expression {
        /// Where, in characters from 1.
        at: usize,
        /// What is wrong.
        what: String,
        /// What would be right.
        right: String,
    },
    /// The hold time is negative or longer than [`MAX_HOLD_US`].
    #[error("a hold of {hold_us} µs is not between 0 and {MAX_HOLD_US} µs (30 days)")]
    Hold {
        /// What was given, in µs.
        hold_us: i64,
    },
    /// The device pattern is empty, too long, or has too many stars.
    #[error(
        "the device pattern {pattern:?} must be 1 to {MAX_PATTERN} characters with at most {MAX_STARS} '*'"
    )]
    PatternSize {
        /// What was given.
        pattern: String,
    },
    /// The device pattern holds a character that no device id can hold.
    #[error(
        "the device pattern {pattern:?} holds {found:?} at character {at}: letters, digits, '.', '_', '-', '*' and '?' are allowed"
    )]
    PatternCharacter {
        /// What was given.
        pattern: String,
        /// The character that is not allowed.
        found: char,
        /// Its place, counted from 1.
        at: usize,
    },
    /// The engine holds as many rules as [`Bounds::max_rules`](crate::Bounds::max_rules) allows.
    #[error("there are {max_rules} rules already, which is the limit")]
    TooManyRules {
        /// The bound.
        max_rules: usize,
    },
    /// Saved state that this version cannot read.
    #[error("the saved state of a rule cannot be read: {why}")]
    SavedState {
        /// What the decoder said.
        why: String,
    },
}

impl Error {
    pub(crate) fn saved(error: minicbor::decode::Error) -> Self {
        Self::SavedState {
            why: error.to_string(),
        }
    }
}
