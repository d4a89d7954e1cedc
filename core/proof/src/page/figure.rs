//! A figure as it stands on a page, beside what was measured.

use super::Found;
use super::beside::{self, Touch};
use crate::document::{ValueForm, short};

/// A figure that is said to be proven.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Figure {
    /// As it is shown.
    pub text: String,
    /// As programs read it, where that stands beside it (the attribute `value`).
    pub value: Option<String>,
    /// What stands right before it in the same line of text, from the last space on.
    pub before: String,
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
        "right at the figure {:?} stands {:?}, so that it reads as another one: put an ordinary space between",
        short(.shown),
        short(.beside)
    )]
    Beside {
        /// The figure.
        shown: String,
        /// What stands before or behind it.
        beside: String,
    },
    /// It is this figure, and what nobody sees is in it or beside it.
    #[error(
        "in the figure {:?} or right at it stands U+{code:04X}, which nobody sees and which can make it \
         read as another one: take it out",
        short(.shown)
    )]
    Hidden {
        /// The figure.
        shown: String,
        /// Which character.
        code: u32,
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
        let text = self.text.as_str();
        let hidden = |c: char| Mismatch::Hidden {
            shown: text.to_owned(),
            code: c.into(),
        };
        let values = [Some(text), self.value.as_deref()];
        if let Some(c) = values
            .into_iter()
            .flatten()
            .find_map(|text| text.chars().find(|c| beside::turns(*c)))
        {
            return Err(hidden(c));
        }
        let touches = |touch: Touch, beside: String| match touch {
            Touch::Hidden(c) => hidden(c),
            Touch::Part => Mismatch::Beside {
                shown: text.to_owned(),
                beside,
            },
        };
        // A space at its edge is one between.
        let (led, trailed) = (text.trim_start(), text.trim_end());
        let before = format!("{}{}", self.before, &text[..text.len() - led.len()]);
        beside::before(&before).map_err(|touch| touches(touch, before.clone()))?;
        let behind = format!("{}{}", &text[trailed.len()..], self.behind);
        let unit = unit.filter(|unit| stands_at_a_number(unit));
        beside::behind(&behind, unit).map_err(|touch| touches(touch, behind.clone()))?;
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
