//! Exact integers of 256 bits, big-endian.

use crate::Error;
use crate::sends::Amount;

/// As people write it: decimal digits, so many of them behind the point and none that says nothing.
pub(super) fn decimal(amount: Amount, decimals: usize) -> String {
    let mut digits = Vec::new();
    let mut rest = amount;
    while rest != [0; 32] {
        let mut carry = 0_u16;
        for byte in &mut rest {
            let part = (carry << 8) | u16::from(*byte);
            // Below 256, as what is carried is below ten.
            *byte = (part / 10).to_be_bytes()[1];
            carry = part % 10;
        }
        digits.push(char::from(b'0' + carry.to_be_bytes()[1]));
    }
    while digits.len() <= decimals {
        digits.push('0');
    }
    let behind: String = digits[..decimals].iter().rev().collect();
    let whole: String = digits[decimals..].iter().rev().collect();
    match behind.trim_end_matches('0') {
        "" => whole,
        behind => format!("{whole}.{behind}"),
    }
}

pub(super) fn add(a: Amount, b: Amount) -> Result<Amount, Error> {
    let mut sum = [0; 32];
    let mut carry = 0_u16;
    for at in (0..32).rev() {
        let digit = u16::from(a[at]) + u16::from(b[at]) + carry;
        sum[at] = digit.to_be_bytes()[1];
        carry = digit >> 8;
    }
    if carry > 0 {
        return Err(Error::invalid("amount", "sums are beyond 256 bits"));
    }
    Ok(sum)
}

/// A half of it, without what is left over.
pub(super) fn half(of: Amount) -> Amount {
    let mut half = [0; 32];
    let mut carry = 0;
    for (to, from) in half.iter_mut().zip(of) {
        *to = (from >> 1) | carry;
        carry = (from & 1) << 7;
    }
    half
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(n: u128) -> Amount {
        let mut amount = [0; 32];
        amount[16..].copy_from_slice(&n.to_be_bytes());
        amount
    }

    #[test]
    fn amounts_are_added_to_the_last_unit_and_never_wrap() {
        assert_eq!(add(of(255), of(1)).unwrap(), of(256));
        assert_eq!(add(of(u128::MAX - 7), of(7)).unwrap(), of(u128::MAX));
        assert!(add([0xff; 32], of(1)).is_err());
        assert!(of(256) > of(255));
    }

    #[test]
    fn a_half_is_never_more_than_the_other() {
        for (whole, expected) in [(0, 0), (1, 0), (2, 1), (257, 128), (512, 256)] {
            assert_eq!(half(of(whole)), of(expected), "{whole}");
        }
        assert_eq!(half(of(u128::MAX)), of(u128::MAX / 2));
        let mut most = [0xff; 32];
        most[0] = 0x7f;
        assert_eq!(half([0xff; 32]), most);
    }

    #[test]
    fn amounts_are_told_in_the_coin() {
        assert_eq!(decimal(of(0), 18), "0");
        assert_eq!(decimal(of(1), 18), "0.000000000000000001");
        assert_eq!(decimal(of(125_000_000_000_000_000), 18), "0.125");
        assert_eq!(decimal(of(20_000_000_000_000_000_000), 18), "20");
        assert_eq!(decimal(of(1_250), 0), "1250");
        let most =
            "115792089237316195423570985008687907853269984665640564039457.584007913129639935";
        assert_eq!(decimal([0xff; 32], 18), most);
    }
}
