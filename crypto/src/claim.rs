//! Claim codes: what is printed on a device, and typed or scanned by who owns it now.
//!
//! ```text
//! 7KQ2-M9XT-0CWE-VH5N-AJ3P
//! ```
//!
//! 18 symbols of Crockford's base 32 are random (90 bits), two are check symbols, in five groups
//! of four. Read with either case, with or without hyphens and spaces; `O` is 0, `I` and `L` are 1.
//! The check symbols make it a Reed-Solomon code over GF(32) of distance 3: one wrong symbol is
//! found *and located*, two wrong or exchanged ones are found. So who mistypes is told where to
//! look, without asking a hub, and a hub is asked only with codes that may exist.
//!
//! 90 bits are far beyond guessing against a hub that limits attempts; a hub keeps of a code no
//! more than a keyed tag of its [`ClaimCode::digest`].

use std::fmt;

use rand_core::CryptoRng;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

const SYMBOLS: usize = 20;
const RANDOM: usize = 18;
const GROUP: usize = 4;
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// The code of one device. Whoever knows it can claim the device; it is wiped when dropped, and
/// `Debug` does not show it.
#[derive(Clone)]
pub struct ClaimCode(Zeroizing<[u8; SYMBOLS]>);

/// Why a text is no claim code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It has too few or too many symbols.
    #[error("a claim code has {SYMBOLS} letters and digits, in five groups of four; this has {0}")]
    Length(usize),
    /// A character that is in no code.
    #[error(
        "character {at} (`{found}`) is in no claim code: they have digits and letters without U"
    )]
    Character {
        /// Its place, from 1.
        at: usize,
        /// What it is.
        found: char,
    },
    /// One symbol is wrong.
    #[error("character {at} of the claim code, in group {group}, is wrong: look again")]
    Mistyped {
        /// Its place among the symbols, from 1.
        at: usize,
        /// Its group, from 1.
        group: usize,
    },
    /// Several symbols are wrong, or exchanged.
    #[error("the claim code is not right: two characters are exchanged or several are wrong")]
    Check,
}

impl ClaimCode {
    /// Draws a new code.
    #[must_use]
    pub fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        let mut symbols = Zeroizing::new([0; SYMBOLS]);
        rng.fill_bytes(symbols.as_mut());
        symbols.iter_mut().for_each(|symbol| *symbol &= 31);
        let (a, b) = sums(symbols.get(..RANDOM).unwrap_or_default());
        // p·α^18 + q·α^19 = b and p + q = a.
        let p = divide(b ^ multiply(a, power(19)), power(18) ^ power(19));
        if let [.., first, second] = symbols.as_mut() {
            (*first, *second) = (p, a ^ p);
        }
        Self(symbols)
    }

    /// Reads a code that somebody typed.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut symbols = Zeroizing::new([0; SYMBOLS]);
        let mut count = 0;
        for (at, found) in text.chars().enumerate() {
            if matches!(
                found,
                '-' | ' ' | '\t' | '\r' | '\n' | '\u{2010}'..='\u{2015}'
            ) {
                continue;
            }
            let value = value(found).ok_or(Error::Character { at: at + 1, found })?;
            if let Some(symbol) = symbols.get_mut(count) {
                *symbol = value;
            }
            count += 1;
        }
        if count != SYMBOLS {
            return Err(Error::Length(count));
        }
        match sums(symbols.as_ref()) {
            (0, 0) => Ok(Self(symbols)),
            (a, b) => Err(located(a, b)),
        }
    }

    /// What a hub is told of a code instead of the code.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(b"stencil claim code v1\0");
        hash.update(self.0.as_ref());
        hash.finalize().into()
    }

    /// The code in its groups, to be printed.
    #[must_use]
    pub fn reveal(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(SYMBOLS + SYMBOLS / GROUP));
        for (at, symbol) in self.0.iter().enumerate() {
            if at > 0 && at % GROUP == 0 {
                text.push('-');
            }
            let letter = ALPHABET.get(usize::from(*symbol)).copied();
            text.push(char::from(letter.unwrap_or(b'0')));
        }
        text
    }
}

impl fmt::Debug for ClaimCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClaimCode(secret)")
    }
}

fn value(found: char) -> Option<u8> {
    let letter = match found.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        other => other,
    };
    let at = ALPHABET
        .iter()
        .position(|symbol| char::from(*symbol) == letter)?;
    u8::try_from(at).ok()
}

/// The two sums that are 0 for a code: of all symbols, and of all times α^place.
fn sums(symbols: &[u8]) -> (u8, u8) {
    let (mut a, mut b, mut factor) = (0, 0, 1);
    for symbol in symbols {
        a ^= symbol;
        b ^= multiply(*symbol, factor);
        factor = multiply(factor, 2);
    }
    (a, b)
}

/// Which symbol is wrong, if one alone explains it.
fn located(a: u8, b: u8) -> Error {
    if a != 0 && b != 0 {
        let ratio = divide(b, a);
        if let Some(at) = (0..SYMBOLS).find(|at| power(*at) == ratio) {
            return Error::Mistyped {
                at: at + 1,
                group: at / GROUP + 1,
            };
        }
    }
    Error::Check
}

/// In GF(32) by x^5 + x^2 + 1.
fn multiply(a: u8, b: u8) -> u8 {
    let mut product = 0;
    for bit in (0..5).rev() {
        product <<= 1;
        if product & 0x20 != 0 {
            product ^= 0x25;
        }
        // Without a branch on what may be secret.
        product ^= a * ((b >> bit) & 1);
    }
    product
}

fn power(exponent: usize) -> u8 {
    (0..exponent % 31).fold(1, |power, _| multiply(power, 2))
}

/// `b` is not 0: a^30 is the inverse of a.
fn divide(a: u8, b: u8) -> u8 {
    (0..30).fold(a, |product, _| multiply(product, b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Os;

    #[test]
    fn what_is_printed_is_read_however_it_is_typed() {
        for _ in 0..200 {
            let code = ClaimCode::generate(&mut Os);
            let text = code.reveal();
            assert_eq!(text.len(), 24);
            let sloppy = text
                .to_lowercase()
                .replace('-', " ")
                .replace('0', "o")
                .replace('1', "l");
            for typed in [text.to_string(), sloppy, text.replace('-', "")] {
                assert_eq!(
                    ClaimCode::parse(&typed).unwrap().digest(),
                    code.digest(),
                    "{typed}"
                );
            }
        }
    }

    #[test]
    fn one_wrong_symbol_is_located_and_two_are_found() {
        let code = ClaimCode::generate(&mut Os);
        let symbols: Vec<char> = code.reveal().replace('-', "").chars().collect();
        let write = |symbols: &[char]| symbols.iter().collect::<String>();
        for at in 0..SYMBOLS {
            for other in ALPHABET.iter().map(|letter| char::from(*letter)) {
                let mut wrong = symbols.clone();
                wrong[at] = other;
                let read = ClaimCode::parse(&write(&wrong));
                if other == symbols[at] {
                    assert!(read.is_ok());
                    continue;
                }
                let group = at / 4 + 1;
                assert_eq!(read.err(), Some(Error::Mistyped { at: at + 1, group }));
            }
            for second in at + 1..SYMBOLS {
                let mut swapped = symbols.clone();
                swapped.swap(at, second);
                let read = ClaimCode::parse(&write(&swapped));
                assert_eq!(read.is_ok(), symbols[at] == symbols[second]);
                let mut wrong = symbols.clone();
                for at in [at, second] {
                    let place = value(wrong[at]).unwrap();
                    wrong[at] = char::from(ALPHABET[usize::from((place + 7) % 32)]);
                }
                assert!(ClaimCode::parse(&write(&wrong)).is_err());
            }
        }
    }

    #[test]
    fn what_is_no_code_says_why() {
        assert_eq!(ClaimCode::parse("").err(), Some(Error::Length(0)));
        assert_eq!(
            ClaimCode::parse(&"0".repeat(21)).err(),
            Some(Error::Length(21))
        );
        let error = ClaimCode::parse("7KQU").unwrap_err();
        assert_eq!(error, Error::Character { at: 4, found: 'U' });
        assert!(error.to_string().contains("character 4"), "{error}");
        assert!(ClaimCode::parse("é").is_err());
        let code = ClaimCode::generate(&mut Os);
        assert_eq!(format!("{code:?}"), "ClaimCode(secret)");
    }
}
