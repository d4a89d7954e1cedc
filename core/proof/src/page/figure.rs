//! A figure as it stands on a page, beside what was measured.

use super::Found;
use crate::document::{ValueForm, short};

/// A figure that is said to be proven.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Figure {
    /// As it is shown.
    pub text: String,
    /// As programs read it, where that stands beside it (the attribute `value`).
    pub value: Option<String>,
    /// The character right before it, in the same line of text.
    pub before: Option<char>,
    /// What stands right behind it, up to the next space.
    pub behind: String,
}

/// Why a page does not show what its proof proves.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// No figure is marked.
    #[error("the page has a proof {:?}, but no figure that is marked as proven by it", short(.0))]
    NoFigure(String),
    /// The figure is another one.
    #[error(
        "the page shows {:?}, and the proof is of {:?}: the figure was changed",
        short(.shown),
        short(.proven)
    )]
    Changed {
        /// What the page shows.
        shown: String,
        /// What was measured.
        proven: String,
    },
    /// It is this figure, and reads as another one.
    #[error(
        "right at the figure {:?} stands {:?}, so that it reads as another one: put a space between",
        short(.shown),
        short(.beside)
    )]
    Beside {
        /// The figure.
        shown: String,
        /// What stands before or behind it.
        beside: String,
    },
}

impl Figure {
    /// One that stands alone.
    pub(super) fn of(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            ..Self::default()
        }
    }

    fn is(&self, value: &ValueForm, unit: Option<&str>) -> Result<(), Mismatch> {
        for shown in [Some(&self.text), self.value.as_ref()]
            .into_iter()
            .flatten()
        {
            if !shows(shown, value, unit) {
                let unit = unit.map(|unit| format!(" {unit}")).unwrap_or_default();
                return Err(Mismatch::Changed {
                    shown: shown.clone(),
                    proven: format!("{}{unit}", value.shown()),
                });
            }
        }
        let beside = |text: String| Mismatch::Beside {
            shown: self.text.clone(),
            beside: text,
        };
        // With a space at its edge, nothing touches it.
        let text = self.text.as_str();
        if let Some(before) = self.before
            && is_part(before)
            && !text.starts_with(char::is_whitespace)
        {
            return Err(beside(before.into()));
        }
        if !text.ends_with(char::is_whitespace) && goes_on(&self.behind, unit) {
            return Err(beside(self.behind.clone()));
        }
        Ok(())
    }
}

impl Found {
    /// Whether what the page shows is what the proof is of.
    ///
    /// # Errors
    /// [`Mismatch`].
    pub fn figures_match(&self) -> Result<(), Mismatch> {
        if self.in_page && self.figures.is_empty() {
            return Err(Mismatch::NoFigure(self.name.clone()));
        }
        let reading = &self.document.reading;
        let mut figures = self.figures.iter();
        figures.try_for_each(|figure| figure.is(&reading.value, reading.unit.as_deref()))
    }
}

/// Whether a text is this value, alone or with its unit. Numbers are compared as such: `-17.50` is
/// `-17.5`, and `-17` is neither.
fn shows(text: &str, value: &ValueForm, unit: Option<&str>) -> bool {
    let text = text.trim();
    let alone = unit
        .and_then(|unit| text.strip_suffix(unit).map(|alone| (unit, alone)))
        // `1` with the unit `5` is not `15`.
        .filter(|(unit, alone)| alone.ends_with(char::is_whitespace) || stands_at_a_number(unit))
        .map(|(_, alone)| alone.trim_end());
    let is_it = |text: &str| match value {
        ValueForm::Number(number) => {
            // Printed with the sign for minus or with the one on keyboards.
            let text = text.replacen('\u{2212}', "-", 1);
            let (shown, proven) = (text.parse::<f64>(), number.parse::<f64>());
            matches!((shown, proven), (Ok(shown), Ok(proven)) if shown == proven)
        }
        ValueForm::Integer(integer) => text.replacen('\u{2212}', "-", 1).parse() == Ok(*integer),
        ValueForm::Bool(bit) => text.parse() == Ok(*bit),
        ValueForm::Text(held) => text == held.trim(),
    };
    is_it(text) || alone.is_some_and(is_it)
}

/// Whether a unit can stand right behind a number without being read as a part of it.
fn stands_at_a_number(unit: &str) -> bool {
    let is_exponent = |c: char| c.eq_ignore_ascii_case(&'e');
    unit.starts_with(|c: char| (c.is_alphabetic() && !is_exponent(c)) || "%‰°µ".contains(c))
}

/// Whether a figure that such a character touches reads as another one. Scripts that are written
/// without spaces between words touch it in any case.
fn is_part(c: char) -> bool {
    c.is_numeric()
        || (c.is_alphabetic() && c < '\u{2e80}')
        || "+-\u{2010}\u{2011}\u{2012}\u{2013}\u{2014}\u{2212}±~.,'’_/\u{2044}^*×·%‰°&".contains(c)
}

/// Whether what stands right behind a figure goes on with it; the point of a sentence does not, nor
/// the unit.
fn goes_on(behind: &str, unit: Option<&str>) -> bool {
    let rest = unit
        .filter(|unit| stands_at_a_number(unit))
        .and_then(|unit| behind.strip_prefix(unit))
        .unwrap_or(behind);
    let mut chars = rest.chars();
    match chars.next() {
        Some('.' | ',' | '\'' | '’') => chars.next().is_some_and(is_part),
        Some(first) => is_part(first),
        None => false,
    }
}
