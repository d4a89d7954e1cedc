//! A noise source with health tests, and the generator that it feeds.
//!
//! A board names where its noise comes from (a TRNG's raw output; on an emulated board
//! what the host hands over) in a [`Noise`]. The noise passes the two tests of NIST
//! SP 800-90B, section 4.4, at each start over 1,024 samples before anything is drawn
//! (section 4.3) and then over each sample that is used. A source that is stuck, or gives
//! one value far too often, is told as an error and nothing is drawn from it.
//!
//! What passed is conditioned by SHA-256 into the key of a ChaCha20 generator
//! (`chacha20`'s `ChaCha20Rng`). It is keyed anew, from the old key and fresh noise, when
//! it has given [`RESEED_BYTES`]: so each handshake's keys rest on noise of their own, and
//! whoever learns the generator's memory learns nothing of what it gave before.

use chacha20::ChaCha20Rng;
use rand_core::{Rng, SeedableRng, TryCryptoRng, TryRng};
use sha2::{Digest, Sha256};

/// The min-entropy that is asked of a sample of 8 bits, in bits. Far below what a source
/// that works gives, so that the tests alarm on a failure and not on chance.
pub const MIN_ENTROPY_BITS: u32 = 4;
/// Repetition count test: so many equal samples in a row are an alarm: 1 + ceil(20 / H),
/// which happens by chance once in 2^20 samples of a source with just `H` bits.
const REPETITION_CUTOFF: u32 = 6;
/// Adaptive proportion test: of so many samples,
const WINDOW: u32 = 512;
/// this many may not be equal to the first: 1 + critbinom(512, 2^-4, 1 - 2^-20).
const PROPORTION_CUTOFF: u32 = 62;
/// The start-up test looks at so many samples.
const START_UP_SAMPLES: u32 = 1_024;
/// Fresh noise for a new key: 256 bits at 4 bits a sample, twice over.
const RESEED_SAMPLES: usize = 128;
/// The generator is keyed anew when it has given so much.
pub const RESEED_BYTES: usize = 64;

/// Raw noise of a board.
pub trait Noise {
    /// Fills `out` with samples of 8 bits each. False when the source gives none.
    fn sample(&mut self, out: &mut [u8]) -> bool;
}

/// Why no randomness can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The source gives nothing.
    #[error("the noise source gives no samples")]
    Silent,
    /// The repetition count test failed.
    #[error("the noise source is stuck: it repeats a sample (SP 800-90B, 4.4.1)")]
    Stuck,
    /// The adaptive proportion test failed.
    #[error("the noise source gives a sample too often (SP 800-90B, 4.4.2)")]
    Biased,
}

/// The two tests, over the samples of one source.
#[derive(Debug, Default)]
pub struct Health {
    last: Option<u8>,
    repeated: u32,
    window: Option<(u8, u32)>,
    seen: u32,
}

impl Health {
    /// Looks at one more sample.
    ///
    /// # Errors
    /// When a test fails; the source must not be used any more then.
    pub fn check(&mut self, sample: u8) -> Result<(), Error> {
        if self.last == Some(sample) {
            self.repeated += 1;
        } else {
            self.last = Some(sample);
            self.repeated = 1;
        }
        if self.repeated >= REPETITION_CUTOFF {
            return Err(Error::Stuck);
        }
        let (first, count) = self.window.get_or_insert((sample, 0));
        if *first == sample {
            *count += 1;
        }
        self.seen += 1;
        if *count >= PROPORTION_CUTOFF {
            return Err(Error::Biased);
        }
        if self.seen == WINDOW {
            self.seen = 0;
            self.window = None;
        }
        Ok(())
    }
}

/// The generator of a board: noise, its tests, and ChaCha20.
pub struct Entropy<N> {
    noise: N,
    health: Health,
    generator: ChaCha20Rng,
    given: usize,
}

impl<N: Noise> Entropy<N> {
    /// Tests the source and keys the generator. `personal` tells boards and starts apart
    /// (a serial number, a counter), in case that two sources give the same.
    ///
    /// # Errors
    /// When the source is not healthy.
    pub fn start(mut noise: N, personal: &[u8]) -> Result<Self, Error> {
        let mut health = Health::default();
        let mut hash = Sha256::new();
        hash.update(b"stencil entropy start");
        let mut samples = [0; RESEED_SAMPLES];
        let mut left = START_UP_SAMPLES as usize;
        while left > 0 {
            draw(&mut noise, &mut health, &mut samples)?;
            hash.update(samples);
            left = left.saturating_sub(samples.len());
        }
        hash.update(personal);
        let generator = ChaCha20Rng::from_seed(hash.finalize().into());
        Ok(Self {
            noise,
            health,
            generator,
            given: 0,
        })
    }

    fn keyed(&mut self) -> Result<&mut ChaCha20Rng, Error> {
        if self.given >= RESEED_BYTES {
            let mut samples = [0; RESEED_SAMPLES];
            draw(&mut self.noise, &mut self.health, &mut samples)?;
            let mut old = [0; 32];
            self.generator.fill_bytes(&mut old);
            let mut hash = Sha256::new();
            hash.update(b"stencil entropy again");
            hash.update(old);
            hash.update(samples);
            self.generator = ChaCha20Rng::from_seed(hash.finalize().into());
            self.given = 0;
        }
        Ok(&mut self.generator)
    }
}

fn draw<N: Noise>(noise: &mut N, health: &mut Health, samples: &mut [u8]) -> Result<(), Error> {
    if !noise.sample(samples) {
        return Err(Error::Silent);
    }
    samples.iter().try_for_each(|sample| health.check(*sample))
}

/// Fails when the source does; a board that asks where no error can be told makes that a
/// panic ([`rand_core::UnwrapErr`]).
impl<N: Noise> TryRng for Entropy<N> {
    type Error = Error;

    fn try_next_u32(&mut self) -> Result<u32, Error> {
        let drawn = self.keyed()?.next_u32();
        self.given += 4;
        Ok(drawn)
    }

    fn try_next_u64(&mut self) -> Result<u64, Error> {
        let drawn = self.keyed()?.next_u64();
        self.given += 8;
        Ok(drawn)
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Error> {
        self.keyed()?.fill_bytes(out);
        self.given = self.given.saturating_add(out.len());
        Ok(())
    }
}

impl<N: Noise> TryCryptoRng for Entropy<N> {}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;

    /// Gives what a function makes of the count of samples.
    struct Source<F>(F, usize);
    impl<F: FnMut(usize) -> u8> Noise for Source<F> {
        fn sample(&mut self, out: &mut [u8]) -> bool {
            for byte in out {
                *byte = (self.0)(self.1);
                self.1 += 1;
            }
            true
        }
    }

    /// All values, none near its like.
    fn fair(at: usize) -> u8 {
        (at.wrapping_mul(2_654_435_761) >> 7).to_le_bytes()[0]
    }

    fn started(source: impl FnMut(usize) -> u8) -> Result<(), Error> {
        Entropy::start(Source(source, 0), b"").map(drop)
    }

    #[test]
    fn a_stuck_source_never_starts() {
        assert_eq!(started(fair), Ok(()));
        for value in [0, 0x55, 0xff] {
            assert_eq!(started(|_| value), Err(Error::Stuck));
        }
        // From its last samples on, too.
        assert_eq!(
            started(|at| if at >= 1_018 { 9 } else { fair(at) | 16 }),
            Err(Error::Stuck)
        );
    }

    #[test]
    fn five_in_a_row_are_chance_and_six_are_none() {
        let mut health = Health::default();
        for _ in 0..5 {
            assert_eq!(health.check(7), Ok(()));
        }
        health.check(8).unwrap();
        for _ in 0..5 {
            assert_eq!(health.check(7), Ok(()));
        }
        assert_eq!(health.check(7), Err(Error::Stuck));
    }

    #[test]
    fn a_value_that_comes_too_often_is_told_within_its_window() {
        // Every fifth sample is the same: 103 of 512, never two in a row.
        let one_in_five = |at: usize| {
            if at.is_multiple_of(5) {
                1
            } else {
                fair(at) | 2
            }
        };
        assert_eq!(started(one_in_five), Err(Error::Biased));
        let one_in_nine = |at: usize| {
            if at.is_multiple_of(9) {
                1
            } else {
                fair(at) | 2
            }
        };
        assert_eq!(started(one_in_nine), Ok(()), "57 of 512");
        let mut health = Health::default();
        let mut told = None;
        for at in 0..512 {
            if health.check(one_in_five(at)).is_err() {
                told = Some(at);
                break;
            }
        }
        assert_eq!(told, Some(5 * 61), "at the 62nd");
    }

    #[test]
    fn a_source_that_dies_later_is_told_at_the_next_key() {
        let mut entropy =
            Entropy::start(Source(|at| if at < 1_024 { fair(at) } else { 0 }, 0), b"").unwrap();
        let mut drawn = [0; RESEED_BYTES];
        entropy.try_fill_bytes(&mut drawn).unwrap();
        assert_eq!(entropy.try_fill_bytes(&mut drawn), Err(Error::Stuck));
        struct Silent;
        impl Noise for Silent {
            fn sample(&mut self, _: &mut [u8]) -> bool {
                false
            }
        }
        assert!(matches!(Entropy::start(Silent, b""), Err(Error::Silent)));
    }

    #[test]
    fn noise_and_person_both_tell_starts_apart_and_nothing_repeats() {
        let first = |offset: usize, person: &[u8]| {
            let noise = Source(move |at| fair(at + offset), 0);
            let mut entropy = Entropy::start(noise, person).unwrap();
            let mut drawn = [[0; 32]; 4];
            for out in &mut drawn {
                entropy.try_fill_bytes(out).unwrap();
            }
            drawn
        };
        let one = first(0, b"a");
        assert_eq!(one, first(0, b"a"));
        let mut all: std::vec::Vec<[u8; 32]> = std::vec::Vec::new();
        for drawn in [one, first(1, b"a"), first(0, b"b")] {
            for block in drawn {
                assert!(!all.contains(&block));
                all.push(block);
            }
        }
    }
}
