//! Amounts as people write them.

use alloy_primitives::U256;

use super::Error;

/// More digits than any amount of 256 bits has; longer texts are not looked at.
const MAX_TEXT_BYTES: usize = 80;

/// Reads digits with at most one point as a count of the smallest unit, of which `decimals` digits
/// stand after the point. Exact or an error: nothing is rounded.
pub(super) fn parse(text: &str, decimals: u8, unit: &str) -> Result<U256, Error> {
    let too_large = Error::TooLarge {
        most: "2^256 - 1 base units",
    };
    if text.is_empty() {
        return Err(Error::Empty);
    }
    if text.starts_with('-') {
        return Err(Error::Negative);
    }
    let mut point = None;
    for (at, found) in text.chars().enumerate() {
        match found {
            '0'..='9' => {}
            '.' if point.is_none() => point = Some(at),
            'e' | 'E' if at > 0 && text.as_bytes()[0].is_ascii_digit() => {
                return Err(Error::Exponent);
            }
            _ => return Err(Error::NotADigit { found, at: at + 1 }),
        }
    }
    // From here on the text is ASCII.
    let (whole, fraction) = match point {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, "0"),
    };
    if whole.is_empty() || fraction.is_empty() {
        return Err(Error::LonelyPoint);
    }
    let fraction = if point.is_some() { fraction } else { "" };
    if fraction.len() > usize::from(decimals) {
        return Err(Error::TooManyDecimals {
            given: fraction.len(),
            most: decimals,
            unit: unit.to_owned(),
        });
    }
    if whole.len() > MAX_TEXT_BYTES {
        return Err(too_large);
    }
    let mut units = U256::ZERO;
    let padding = usize::from(decimals) - fraction.len();
    for digit in whole
        .bytes()
        .chain(fraction.bytes())
        .chain(std::iter::repeat_n(b'0', padding))
    {
        units = units
            .checked_mul(U256::from(10))
            .and_then(|units| units.checked_add(U256::from(digit - b'0')))
            .ok_or_else(|| too_large.clone())?;
    }
    Ok(units)
}

/// Writes a count of the smallest unit with all its decimals: the inverse of [`parse`].
pub(super) fn format(units: impl std::fmt::Display, decimals: u8) -> String {
    let digits = units.to_string();
    let decimals = usize::from(decimals);
    if decimals == 0 {
        return digits;
    }
    let digits = format!("{digits:0>width$}", width = decimals + 1);
    let (whole, fraction) = digits.split_at(digits.len() - decimals);
    format!("{whole}.{fraction}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_wrong_is_said() {
        let six = |text: &str| parse(text, 6, "USDC");
        assert_eq!(six(""), Err(Error::Empty));
        assert_eq!(six("-1"), Err(Error::Negative));
        assert_eq!(six("1e6"), Err(Error::Exponent));
        assert_eq!(six("1E6"), Err(Error::Exponent));
        assert_eq!(six("e6"), Err(Error::NotADigit { found: 'e', at: 1 }));
        assert_eq!(six("1,50"), Err(Error::NotADigit { found: ',', at: 2 }));
        assert_eq!(six("1.2.3"), Err(Error::NotADigit { found: '.', at: 4 }));
        assert_eq!(six("+1"), Err(Error::NotADigit { found: '+', at: 1 }));
        assert_eq!(six("1 000"), Err(Error::NotADigit { found: ' ', at: 2 }));
        assert_eq!(six("٣"), Err(Error::NotADigit { found: '٣', at: 1 }));
        assert_eq!(six("0x10"), Err(Error::NotADigit { found: 'x', at: 2 }));
        assert_eq!(six(".5"), Err(Error::LonelyPoint));
        assert_eq!(six("5."), Err(Error::LonelyPoint));
        assert_eq!(six("."), Err(Error::LonelyPoint));
        assert_eq!(
            six("1.0000000"),
            Err(Error::TooManyDecimals {
                given: 7,
                most: 6,
                unit: "USDC".into()
            })
        );
        assert!(matches!(six(&"9".repeat(79)), Err(Error::TooLarge { .. })));
        assert!(matches!(
            six(&"9".repeat(100_000)),
            Err(Error::TooLarge { .. })
        ));
        // U256::MAX in base units is taken, one more is not.
        assert_eq!(parse(&U256::MAX.to_string(), 0, "x"), Ok(U256::MAX));
        assert!(parse(&format!("{}0", U256::MAX), 0, "x").is_err());
    }

    #[test]
    fn what_is_right_is_read() {
        assert_eq!(parse("1.5", 6, "USDC"), Ok(U256::from(1_500_000)));
        assert_eq!(parse("0.000001", 6, "USDC"), Ok(U256::from(1)));
        assert_eq!(parse("007", 0, "x"), Ok(U256::from(7)));
        assert_eq!(format(U256::from(1), 6), "0.000001");
        assert_eq!(format(U256::from(1_500_000), 6), "1.500000");
        assert_eq!(format(U256::ZERO, 2), "0.00");
        assert_eq!(format(U256::from(7), 0), "7");
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(bytes in any::<[u8; 32]>(), decimals in 0..=36_u8) {
            let units = U256::from_be_bytes(bytes);
            prop_assert_eq!(parse(&format(units, decimals), decimals, "x"), Ok(units));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,90}", decimals in 0..=36_u8) {
            if let Ok(units) = parse(&text, decimals, "x") {
                prop_assert_eq!(parse(&format(units, decimals), decimals, "x"), Ok(units));
            }
        }
    }
}
