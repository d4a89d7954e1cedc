//! Numbers of EIP-681: digits, a fraction, an exponent.

use alloy_primitives::U256;

use super::Error;

/// The most digits of a number with its exponent written out: those of 2²⁵⁶.
const MAX_DIGITS: usize = 78;

/// A whole number, such as `2014000000000000000` or `2.014e18`.
pub(super) fn parse(text: &str) -> Result<U256, Error> {
    let wrong = || Error::Number(text.chars().take(40).collect());
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    if unsigned.starts_with('-') {
        return Err(Error::Negative);
    }
    let (digits, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((digits, exponent)) => {
            let plain = !exponent.is_empty() && exponent.bytes().all(|byte| byte.is_ascii_digit());
            let exponent = plain
                .then(|| exponent.parse().ok())
                .flatten()
                .ok_or_else(wrong)?;
            (digits, exponent)
        }
        None => (unsigned, 0_usize),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = whole
        .bytes()
        .chain(fraction.bytes())
        .all(|byte| byte.is_ascii_digit());
    let lonely = digits.contains('.') && fraction.is_empty();
    if whole.is_empty() || !all_digits || lonely {
        return Err(wrong());
    }
    // What stands behind the point after the exponent has moved it must be nothing.
    let fraction = fraction.trim_end_matches('0');
    let whole = whole.trim_start_matches('0');
    let padding = exponent
        .checked_sub(fraction.len())
        .ok_or(Error::Fraction)?;
    if whole.is_empty() && fraction.is_empty() {
        return Ok(U256::ZERO);
    }
    let length = whole
        .len()
        .saturating_add(fraction.len())
        .saturating_add(padding);
    // Zeros in front of a fraction are counted too; a number that has so many is not written so.
    if length > MAX_DIGITS + MAX_DIGITS {
        return Err(Error::TooLarge);
    }
    let digits = whole.bytes().chain(fraction.bytes());
    digits
        .chain(std::iter::repeat_n(b'0', padding))
        .try_fold(U256::ZERO, |number, digit| {
            let number = number.checked_mul(U256::from(10))?;
            number.checked_add(U256::from(digit - b'0'))
        })
        .ok_or(Error::TooLarge)
}
