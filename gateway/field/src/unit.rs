//! Units of measure, as UCUM writes them (Unified Code for Units of Measure, case sensitive).

/// What people write, and what UCUM writes for it.
const OFTEN_WRITTEN: &[(&str, &str)] = &[
    ("°C", "Cel"),
    ("℃", "Cel"),
    ("degC", "Cel"),
    ("°F", "[degF]"),
    ("degF", "[degF]"),
    ("%RH", "%"),
    ("°", "deg"),
    ("m²", "m2"),
    ("m³", "m3"),
    ("m³/h", "m3/h"),
    ("m^3", "m3"),
    ("m^2", "m2"),
    ("µm", "um"),
    ("μm", "um"),
    ("µS/cm", "uS/cm"),
    ("Ω", "Ohm"),
    ("psi", "[psi]"),
    ("ppm", "[ppm]"),
    ("rpm", "{rpm}"),
    ("RPM", "{rpm}"),
    ("VA", "V.A"),
    ("kVA", "kV.A"),
    ("var", "{var}"),
    ("kvar", "{kvar}"),
    ("kvarh", "{kvarh}"),
    ("Wh", "W.h"),
    ("kWh", "kW.h"),
    ("MWh", "MW.h"),
    ("Ah", "A.h"),
    ("sec", "s"),
    ("hour", "h"),
    ("Celsius", "Cel"),
    ("celsius", "Cel"),
    ("count", "{count}"),
    ("counts", "{count}"),
    ("pcs", "{pcs}"),
];

/// The UCUM form of what is often written instead.
fn meant(unit: &str) -> Option<&'static str> {
    OFTEN_WRITTEN
        .iter()
        .find_map(|(written, right)| (*written == unit).then_some(*right))
}

/// Checks that a unit has the form of a UCUM code: what is wrong, and what would be right. Which
/// units there are is not checked.
pub(crate) fn check(unit: &str) -> Result<(), (String, String)> {
    if let Some(right) = meant(unit) {
        return Err((
            "is not UCUM".to_owned(),
            format!("write `{right}`, or leave `unit` out"),
        ));
    }
    let right = "write a UCUM code, such as Cel, kPa, m3/h, kW.h, % or {count}".to_owned();
    if unit.is_empty() {
        return Err(("is empty".to_owned(), right));
    }
    if unit.len() > stencil_protocol::sample::MAX_UNIT {
        let most = stencil_protocol::sample::MAX_UNIT;
        return Err((
            format!("has {} bytes", unit.len()),
            format!("at most {most} are sent; {right}"),
        ));
    }
    if let Some(bad) = unit.chars().find(|c| !c.is_ascii_graphic() || *c == '"') {
        let what = format!("has {:?}, which no UCUM code has", bad);
        return Err((what, right));
    }
    if !is_expression(unit) {
        return Err(("is not put together like a UCUM code".to_owned(), right));
    }
    Ok(())
}

/// Factors between `.` and `/`, each with something in it; brackets in pairs. The lists of units
/// and prefixes are long, and not looked at.
fn is_expression(unit: &str) -> bool {
    let mut closing = None;
    let mut is_factor = false;
    for (at, character) in unit.char_indices() {
        match (closing, character) {
            (Some(close), character) => {
                if character == close {
                    closing = None;
                    is_factor = true;
                }
            }
            (None, '[') => closing = Some(']'),
            (None, '{') => closing = Some('}'),
            (None, ']' | '}' | '^') => return false,
            // `/m` is UCUM: one a metre.
            (None, '.' | '/') if !is_factor && (at, character) != (0, '/') => return false,
            (None, '.' | '/') => is_factor = false,
            (None, _) => is_factor = true,
        }
    }
    closing.is_none() && is_factor
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_ucum_pass() {
        for unit in [
            "Cel", "%", "m3/h", "kW.h", "{count}", "[psi]", "mm[Hg]", "/min", "10*6", "m/s2", "1",
            "uS/cm", "kg.m-3", "V", "[degF]", "L/min",
        ] {
            assert_eq!(check(unit), Ok(()), "{unit}");
        }
    }

    #[test]
    fn what_people_write_is_told_in_ucum() {
        let (_, right) = check("°C").unwrap_err();
        assert!(right.contains("`Cel`"), "{right}");
        for (_, right) in OFTEN_WRITTEN {
            assert_eq!(check(right), Ok(()), "{right}");
        }
        for unit in [
            "",
            "m^3.s",
            "kW h",
            "[psi",
            "m//s",
            "m.",
            "é",
            "abcdefghijklmnopq",
            ".m",
            "a\"b",
        ] {
            assert!(check(unit).is_err(), "{unit:?}");
        }
    }
}
