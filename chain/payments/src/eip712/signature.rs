//! Who signed.

use alloy_primitives::{Address, B256, Signature, U256, uint};

/// The longest signature that is looked at; those of contract wallets hold several keys' signatures.
pub const MAX_SIGNATURE_BYTES: usize = 4_096;

/// Half the order of secp256k1: the largest `s` of EIP-2.
const HALF_ORDER: U256 =
    uint!(0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0_U256);
/// The order of secp256k1: `r` and `s` are smaller.
const ORDER: U256 = uint!(0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141_U256);

/// A signature that nobody can have made, or that no token's contract takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The compact form.
    #[error("a signature of 64 bytes (EIP-2098) can't be settled: sign with 65 bytes r, s, v")]
    Compact,
    /// A length that no signature has.
    #[error("a signature has 65 bytes, or more where a contract wallet signs, not {0}")]
    Length(usize),
    /// More than [`MAX_SIGNATURE_BYTES`].
    #[error("a signature of {0} bytes is too long: at most {MAX_SIGNATURE_BYTES}")]
    TooLong(usize),
    /// `v` is none of 0, 1, 27, 28.
    #[error("the last byte of a signature is 27 or 28, not {0}")]
    Parity(u8),
    /// `s` in the upper half.
    #[error("s is in the upper half of the order (EIP-2): use the other of the two signatures")]
    HighS,
    /// `r` or `s` of zero or beyond the order, or no point of the curve.
    #[error("r and s are no signature of any key")]
    NoKey,
}

/// What a signature shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signed {
    /// The payer's own key signed.
    ByPayer,
    /// Another key signed: no signature of the payer, unless the payer is a contract, which is to be
    /// asked then (EIP-1271).
    ByAnother(Address),
    /// Only the payer's contract can tell (EIP-1271, EIP-6492).
    AskContract,
}

/// Whether `signature` over `digest` is `payer`'s.
///
/// # Errors
/// A signature that can't hold for anybody, contract wallets included: see [`Error`].
pub fn check(digest: B256, payer: Address, signature: &[u8]) -> Result<Signed, Error> {
    match signature.len() {
        65 => {}
        64 => return Err(Error::Compact),
        length @ 0..65 => return Err(Error::Length(length)),
        length if length > MAX_SIGNATURE_BYTES => return Err(Error::TooLong(length)),
        _ => return Ok(Signed::AskContract),
    }
    let r = U256::from_be_slice(&signature[..32]);
    let s = U256::from_be_slice(&signature[32..64]);
    let odd = match signature[64] {
        0 | 27 => false,
        1 | 28 => true,
        other => return Err(Error::Parity(other)),
    };
    if r.is_zero() || s.is_zero() || r >= ORDER || s >= ORDER {
        return Err(Error::NoKey);
    }
    if s > HALF_ORDER {
        return Err(Error::HighS);
    }
    let signer = Signature::new(r, s, odd)
        .recover_address_from_prehash(&digest)
        .map_err(|_| Error::NoKey)?;
    // Addresses are public, and so is the signature: nothing here needs constant time.
    Ok(if signer == payer {
        Signed::ByPayer
    } else {
        Signed::ByAnother(signer)
    })
}
