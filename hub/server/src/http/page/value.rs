//! Values for people.

use stencil_protocol::sample::OwnedValue;

/// The value as text: numbers with at most three digits behind the point.
pub(super) fn text(value: &OwnedValue) -> String {
    match value {
        OwnedValue::Bool(true) => "yes".to_owned(),
        OwnedValue::Bool(false) => "no".to_owned(),
        OwnedValue::Integer(n) => n.to_string(),
        OwnedValue::Number(n) => number(*n),
        OwnedValue::Text(text) => text.clone(),
    }
}

/// A number with at most three digits behind the point, very large and small ones by exponent.
pub(super) fn number(n: f64) -> String {
    let size = n.abs();
    if size != 0.0 && !(0.001..1e9).contains(&size) {
        return format!("{n:.3e}");
    }
    let text = format!("{n:.3}");
    let short = text.trim_end_matches('0').trim_end_matches('.');
    if short == "-0" {
        "0".to_owned()
    } else {
        short.to_owned()
    }
}

/// A number of things, with a thin space between thousands.
pub(super) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (n, text) in [
            (-18.5, "-18.5"),
            (21.0, "21"),
            (0.1 + 0.2, "0.3"),
            (-0.0, "0"),
            (100.0, "100"),
            (1e-7, "1.000e-7"),
            (-2.5e12, "-2.500e12"),
        ] {
            assert_eq!(number(n), text);
        }
    }

    #[test]
    fn counts_are_readable() {
        for (n, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1\u{202f}000"),
            (12_345_678, "12\u{202f}345\u{202f}678"),
        ] {
            assert_eq!(count(n), text);
        }
    }
}
