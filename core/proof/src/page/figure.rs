//! A figure as it stands on a page, beside what was measured.

use std::borrow::Cow;

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

/// Whether a text is this value, alone or with its unit. Numbers are compared by their digits: `-17.50` is
/// `-17.5`, `-17` is neither, and what rounds to the same 64 bits is another figure.
fn shows(text: &str, value: &ValueForm, unit: Option<&str>) -> bool {
    let text = text.trim();
    let alone = unit
        .and_then(|unit| text.strip_suffix(unit).map(|alone| (unit, alone)))
        // `1` with the unit `5` is not `15`.
        .filter(|(unit, alone)| alone.ends_with(char::is_whitespace) || stands_at_a_number(unit))
        .map(|(_, alone)| alone.trim_end());
    let is_it = |text: &str| match value {
        ValueForm::Number(number) => {
            let text = with_minus(text);
            let other = other_text(number);
            let of = [Digits::of(number), Digits::of(&other)];
            text == *number || Digits::plain(&text).is_some_and(|it| of.contains(&Some(it)))
        }
        ValueForm::Integer(integer) => with_minus(text) == integer.to_string(),
        ValueForm::Bool(bit) => text.parse() == Ok(*bit),
        ValueForm::Text(held) => text == held.trim(),
    };
    is_it(text) || alone.is_some_and(is_it)
}

/// Printed with the sign for minus or with the one on keyboards.
fn with_minus(text: &str) -> Cow<'_, str> {
    match text.strip_prefix('\u{2212}') {
        Some(rest) => format!("-{rest}").into(),
        None => text.into(),
    }
}

/// What the templates of workflows write for a number. Where two shortest texts are equally close, as to
/// 12.2483062744140625, it is the other one.
fn other_text(number: &str) -> String {
    number
        .parse::<f64>()
        .map_or_else(|_| String::new(), |number| number.to_string())
}

/// A decimal number, exactly.
#[derive(Debug, PartialEq, Eq)]
struct Digits {
    is_negative: bool,
    /// Neither beginning nor ending with a nought; none of zero, which has no sign either.
    digits: String,
    /// How many of them stand before the point.
    before_point: i64,
}

impl Digits {
    /// Of a number as JSON writes them: no sign but `-`, no nought in front, a digit on both sides of a point.
    fn of(text: &str) -> Option<Self> {
        let (number, exponent) = match text.split_once(['e', 'E']) {
            Some((number, exponent)) => (number, exponent.parse::<i16>().ok()?),
            None => (text, 0),
        };
        Some(Self {
            before_point: Self::plain(number)?.before_point + i64::from(exponent),
            ..Self::plain(number)?
        })
    }

    /// Of one without an exponent.
    fn plain(text: &str) -> Option<Self> {
        let (is_negative, text) = match text.strip_prefix('-') {
            Some(text) => (true, text),
            None => (false, text),
        };
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|it| it.is_ascii_digit());
        if !is_number(whole) || !is_number(fraction) || (whole.len() > 1 && whole.starts_with('0'))
        {
            return None;
        }
        let all = format!("{whole}{fraction}");
        let digits = all.trim_start_matches('0');
        let before_point =
            i64::try_from(whole.len()).ok()? - i64::try_from(all.len() - digits.len()).ok()?;
        let digits = digits.trim_end_matches('0');
        if digits.is_empty() {
            return Some(Self {
                is_negative: false,
                digits: String::new(),
                before_point: 0,
            });
        }
        Some(Self {
            is_negative,
            digits: digits.to_owned(),
            before_point,
        })
    }
}

/// Whether a unit can stand right behind a number without being read as a part of it.
fn stands_at_a_number(unit: &str) -> bool {
    let is_exponent = |c: char| c.eq_ignore_ascii_case(&'e');
    unit.starts_with(|c: char| (c.is_alphabetic() && !is_exponent(c)) || "%‰°µ".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_its_digits() {
        for (proven, same, others) in [
            (
                "9.746246337890625",
                &[
                    "9.746246337890625",
                    "9.7462463378906250",
                    " 9.746246337890625 ",
                ][..],
                &[
                    "9.74624633789062549",
                    "9.74624633789062501",
                    "9.746246337890624999",
                    "9746246337890625e-15",
                    "9.746246337890625e0",
                    "09.746246337890625",
                    "+9.746246337890625",
                    "9,746246337890625",
                    "9.746",
                    "9.746246337890625.",
                ][..],
            ),
            (
                "-13.738327026367188",
                &["\u{2212}13.738327026367188", "-13.73832702636718800"],
                &[
                    "-13.73832702636718799999",
                    "13.738327026367188",
                    "--13.738327026367188",
                    "-\u{2212}13.738327026367188",
                    "-1.3738327026367188e1",
                ],
            ),
            // Both are as short, and as close to 12.2483062744140625.
            (
                "12.248306274414062",
                &["12.248306274414062", "12.248306274414063"],
                &[
                    "12.2483062744140625",
                    "12.248306274414061",
                    "12.248306274414064",
                ],
            ),
            (
                "2.0",
                &["2", "2.0", "2.00"],
                &["2.", "02", "20", "0.2", "2e0"],
            ),
            ("0.05", &["0.05", "0.050"], &[".05", "0.5", "0.005", "5e-2"]),
            ("0.0", &["0", "0.00", "-0"], &["00", "", "-", "."]),
            ("-0.0", &["0", "-0.0"], &["1"]),
            (
                "1.5e+21",
                &["1.5e+21", "1500000000000000000000"],
                &["1.5e21", "15e+20", "1.50e+21", "150000000000000000000"],
            ),
            (
                "1.5e-7",
                &["1.5e-7", "0.00000015"],
                &["1.5e-07", "15e-8", "0.0000015"],
            ),
        ] {
            let number = ValueForm::Number(proven.to_owned());
            for text in same {
                assert!(shows(text, &number, None), "{proven}: {text}");
            }
            for text in others {
                assert!(!shows(text, &number, None), "{proven}: {text}");
                let with_unit = format!("{text} V");
                assert!(
                    !shows(&with_unit, &number, Some("V")),
                    "{proven}: {with_unit}"
                );
            }
        }
        let seven = ValueForm::Integer(-7);
        assert!(shows("-7", &seven, None) && shows("\u{2212}7 V", &seven, Some("V")));
        for text in ["-07", "-7.0", "7", "-7e0", "+7"] {
            assert!(!shows(text, &seven, None), "{text}");
        }
        for text in ["+7", "07", "7.0"] {
            assert!(!shows(text, &ValueForm::Integer(7), None), "{text}");
        }
    }
}
