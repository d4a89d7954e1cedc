//! Sums of decimal digits: amounts have up to 256 bits, and SQL's numbers 63.

use std::cmp::Ordering;

use crate::Error;

/// The most digits of a sum: far more than 2²⁵⁶ has.
const MAX_DIGITS: usize = 100;

/// The sum of two numbers as they are kept: digits without leading zeros.
pub(super) fn add(one: &str, other: &str) -> Result<String, Error> {
    let (one, other) = (check(one)?, check(other)?);
    let length = one.len().max(other.len());
    let digit = |of: &[u8], at: usize| of.len().checked_sub(at + 1).map_or(0, |at| of[at] - b'0');
    let mut digits = Vec::with_capacity(length + 1);
    let mut carry = 0;
    for at in 0..length {
        let sum = digit(one, at) + digit(other, at) + carry;
        digits.push(b'0' + sum % 10);
        carry = sum / 10;
    }
    if carry > 0 {
        digits.push(b'0' + carry);
    }
    digits.reverse();
    let sum = String::from_utf8(digits).map_err(|error| Error::corrupt("amount", error))?;
    check(&sum)?;
    Ok(sum)
}

/// Which of two numbers is larger.
pub(super) fn compare(one: &str, other: &str) -> Ordering {
    one.len().cmp(&other.len()).then_with(|| one.cmp(other))
}

fn check(number: &str) -> Result<&[u8], Error> {
    let digits = number.as_bytes();
    let plain = (1..=MAX_DIGITS).contains(&digits.len())
        && digits.iter().all(u8::is_ascii_digit)
        && (digits.len() == 1 || digits[0] != b'0');
    let why = "decimal digits without leading zeros are expected, at most 100";
    plain
        .then_some(digits)
        .ok_or_else(|| Error::invalid("amount", why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_exact() {
        assert_eq!(add("0", "0").unwrap(), "0");
        assert_eq!(add("999", "1").unwrap(), "1000");
        assert_eq!(
            add("5", "12345678901234567890123").unwrap(),
            "12345678901234567890128"
        );
        assert_eq!(compare("9", "10"), Ordering::Less);
        for wrong in ["", "01", "-1", "1.0", "x", &"9".repeat(101)] {
            assert!(add(wrong, "1").is_err(), "{wrong}");
        }
        assert!(add(&"9".repeat(100), "1").is_err());
    }
}
