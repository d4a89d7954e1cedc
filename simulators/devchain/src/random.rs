//! Seeded randomness of faults: the same seed plays the same story. Never used for keys.

/// SplitMix64 (Steele, Lea and Flood, 2014).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// The sequence of `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any 64 bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// True in so many of a thousand cases.
    pub(crate) fn chance(&mut self, permille: u16) -> bool {
        // Always drawn, so that one setting does not shift what another draws.
        self.bits() % 1_000 < u64::from(permille)
    }

    /// A number from 1 up to and with `most`; 0 when `most` is 0.
    pub(crate) fn up_to(&mut self, most: u64) -> u64 {
        let bits = self.bits();
        if most == 0 { 0 } else { 1 + bits % most }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_published_sequence() {
        let mut random = Random::new(1_234_567);
        assert_eq!(random.bits(), 6_457_827_717_110_365_317);
        assert_eq!(random.bits(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn chances_are_what_they_say() {
        let mut random = Random::new(1);
        assert!((0..1_000).all(|_| !random.chance(0)));
        assert!((0..1_000).all(|_| random.chance(1_000)));
        let half = (0..10_000).filter(|_| random.chance(500)).count();
        assert!((4_500..5_500).contains(&half), "{half}");
    }
}
