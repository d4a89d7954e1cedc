//! Randomness of the operating system, for everything that has one.

use core::convert::Infallible;

use rand_core::{TryCryptoRng, TryRng};

/// The operating system's generator, as rand_core's `CryptoRng`.
///
/// It holds no state: copies are the same generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct Os;

impl TryRng for Os {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// # Panics
    /// If the operating system gives no randomness: no key may be made without it,
    /// and there is nothing a caller could do instead.
    #[expect(clippy::panic, reason = "no caller can go on without randomness")]
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        match getrandom::fill(bytes) {
            Ok(()) => Ok(()),
            Err(error) => panic!("the operating system gives no randomness: {error}"),
        }
    }
}

impl TryCryptoRng for Os {}

#[cfg(test)]
mod tests {
    use rand_core::Rng;

    use super::*;

    #[test]
    fn two_draws_differ() {
        assert_ne!(Os.next_u64(), Os.next_u64());
    }
}
