use super::Error;

/// After how many records a direction changes its key: a power of two.
///
/// The initiator chooses; the choice travels in the authenticated header of the
/// first message, so that both sides hold the same schedule without a setting on
/// either. An old key cannot be computed from a newer one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rekey(u8);

impl Rekey {
    /// Every 64 records: not below the replay window, so that a window never spans
    /// more than two keys.
    pub const MIN: Rekey = Rekey(6);
    /// Every 16,777,216 records.
    pub const MAX: Rekey = Rekey(24);
    /// Every 65,536 records.
    pub const DEFAULT: Rekey = Rekey(16);

    /// Changes keys every 2^`log2` records.
    ///
    /// # Errors
    /// [`Error::Rekey`] outside of [`Rekey::MIN`] to [`Rekey::MAX`].
    pub const fn from_log2(log2: u8) -> Result<Self, Error> {
        if log2 >= Self::MIN.0 && log2 <= Self::MAX.0 {
            Ok(Self(log2))
        } else {
            Err(Error::Rekey(log2))
        }
    }

    /// The exponent.
    #[must_use]
    pub const fn log2(self) -> u8 {
        self.0
    }

    /// How many records share a key.
    #[must_use]
    pub const fn records(self) -> u64 {
        1 << self.0
    }

    /// The number of the key that seals record `counter`.
    pub(super) const fn epoch_of(self, counter: u64) -> u64 {
        counter >> self.0
    }

    /// The first record of key number `epoch`.
    pub(super) const fn first_of(self, epoch: u64) -> u64 {
        epoch << self.0
    }
}

impl Default for Rekey {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::WINDOW_RECORDS;

    #[test]
    fn a_window_never_spans_three_keys() {
        assert!(Rekey::MIN.records() >= WINDOW_RECORDS);
    }

    #[test]
    fn intervals_out_of_range_are_refused() {
        assert_eq!(Rekey::from_log2(5), Err(Error::Rekey(5)));
        assert_eq!(Rekey::from_log2(25), Err(Error::Rekey(25)));
        assert_eq!(Rekey::from_log2(16), Ok(Rekey::DEFAULT));
        assert_eq!(Rekey::DEFAULT.records(), 65_536);
    }
}
