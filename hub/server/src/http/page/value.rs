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
}
