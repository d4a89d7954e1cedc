//! How much gas a transaction has to come with, and may. Pure.

use super::Error;

/// What every transaction costs (Yellow Paper, G_transaction).
const TRANSACTION: u64 = 21_000;
/// The most gas of a transaction (EIP-7825).
pub const CAP: u64 = 1 << 24;

/// The gas of an empty transaction that takes the place of one that no node takes. On Ethereum it uses
/// [`TRANSACTION`] of it, and what is not used is not paid; chains over chains ask gas for the bytes as
/// well, and an account may have code (EIP-7702).
pub(super) const OF_EMPTY: u64 = 60_000;

/// The least gas of a call with this calldata, before it has done anything: what its bytes cost (EIP-2028),
/// or the floor beneath that (EIP-7623).
pub fn least(data: &[u8]) -> u64 {
    let zeros = data.iter().filter(|byte| **byte == 0).count() as u64;
    let others = data.len() as u64 - zeros;
    let tokens = zeros + 4 * others;
    TRANSACTION + (4 * tokens).max(10 * tokens)
}

/// Whether nodes take a transaction with so much gas: one that they don't has a nonce that is never used,
/// and holds up all that come after it.
pub(super) fn check(gas: u64, data: &[u8]) -> Result<(), Error> {
    let least = least(data);
    if gas < least {
        return Err(Error::TooLittleGas {
            gas,
            least,
            bytes: data.len(),
        });
    }
    if gas > CAP {
        return Err(Error::TooMuchGas { gas });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calldata_has_its_price_before_it_does_anything() {
        assert_eq!(least(&[]), 21_000);
        assert_eq!(least(&[0]), 21_010);
        assert_eq!(least(&[1]), 21_040);
        // transfer(address,uint256): 4 + 20 + 1 bytes that are not zero, and 43 that are.
        let mut transfer = vec![0xa9, 0x05, 0x9c, 0xbb];
        transfer.extend([0; 12]);
        transfer.extend([0xcc; 20]);
        transfer.extend([0; 31]);
        transfer.push(1);
        assert_eq!(least(&transfer), 21_000 + 10 * (43 + 4 * 25));
    }

    #[test]
    fn both_bounds_are_hit_to_the_unit() {
        for (gas, data, good) in [
            (21_000, &[][..], true),
            (20_999, &[], false),
            (21_079, &[1, 1], false),
            (21_080, &[1, 1], true),
            (CAP, &[], true),
            (CAP + 1, &[], false),
        ] {
            assert_eq!(check(gas, data).is_ok(), good, "{gas}");
        }
        let little = check(21_000, &[1]).unwrap_err().to_string();
        assert!(little.contains("at least 21040"), "{little}");
        let much = check(30_000_000, &[]).unwrap_err().to_string();
        assert!(much.contains("at most 16777216"), "{much}");
    }
}
