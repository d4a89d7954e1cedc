//! Time on a device that has no clock of its own but a counter.
//!
//! A microcontroller knows how long it has been running, not what day it is.
//! The gateway tells the time after each handshake and once a minute; the
//! difference to the counter is kept here. Samples taken before the first
//! such message wait in the buffer with the counter's reading and are
//! corrected in place when the time arrives, so that a sample that is sent
//! twice carries the same time twice.

/// The board's running time.
pub trait Clock {
    /// Microseconds since some fixed moment of this boot; never goes back.
    fn monotonic_us(&mut self) -> u64;
}

/// The time on a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamp {
    /// Microseconds since the Unix epoch.
    Wall(i64),
    /// Microseconds of the board's counter, until the time is known.
    Counter(i64),
}

/// A step back of less than this is smoothed, a larger one is taken as it is.
const SMOOTHED_STEP_US: i64 = 1_000_000;

/// The wall clock as the gateway last told it.
///
/// The gateway's messages are delayed by unequal amounts, so each correction
/// may lie a few milliseconds before what was already written on a sample.
/// Within a second of that, time is held (it advances by one microsecond a
/// reading) rather than turned back: rules run on event time, in order.
#[derive(Debug, Default)]
pub(crate) struct WallClock {
    offset_us: Option<i64>,
    last_us: Option<i64>,
}

impl WallClock {
    /// Takes the gateway's time, heard at `monotonic_us`. Returns the
    /// difference between the two clocks, or nothing when the gateway's time
    /// is not one (zero or before the epoch).
    pub(crate) fn set(&mut self, now_us: i64, monotonic_us: u64) -> Option<i64> {
        if now_us <= 0 {
            return None;
        }
        let offset = now_us.saturating_sub(signed(monotonic_us));
        self.offset_us = Some(offset);
        Some(offset)
    }

    /// Whether the gateway has told the time in this boot.
    pub(crate) fn known(&self) -> bool {
        self.offset_us.is_some()
    }

    /// Microseconds since the Unix epoch, or nothing before the gateway told.
    pub(crate) fn now_us(&mut self, monotonic_us: u64) -> Option<i64> {
        let mut now = signed(monotonic_us).saturating_add(self.offset_us?);
        if let Some(last) = self.last_us
            && now <= last
            && last.saturating_sub(now) < SMOOTHED_STEP_US
        {
            now = last.saturating_add(1);
        }
        self.last_us = Some(now);
        Some(now)
    }
}

/// The counter's reading as a signed number; 292,000 years fit.
pub(crate) fn signed(monotonic_us: u64) -> i64 {
    i64::try_from(monotonic_us).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_unknown_until_told() {
        let mut clock = WallClock::default();
        assert!(!clock.known());
        assert_eq!(clock.now_us(5), None);
        assert_eq!(clock.set(1_000_000, 400), Some(999_600));
        assert_eq!(clock.now_us(500), Some(1_000_100));
    }

    #[test]
    fn refuses_a_time_before_the_epoch() {
        let mut clock = WallClock::default();
        assert_eq!(clock.set(0, 1), None);
        assert_eq!(clock.set(-5, 1), None);
        assert!(!clock.known());
    }

    #[test]
    fn holds_still_over_a_small_step_back_and_takes_a_large_one() {
        let mut clock = WallClock::default();
        clock.set(10_000_000, 0);
        assert_eq!(clock.now_us(100), Some(10_000_100));
        clock.set(10_000_050, 110); // 60 µs behind what was given
        assert_eq!(clock.now_us(111), Some(10_000_101));
        assert_eq!(clock.now_us(112), Some(10_000_102));
        assert_eq!(clock.now_us(200), Some(10_000_140));
        clock.set(5_000_000, 300); // the old gateway was five seconds ahead
        assert_eq!(clock.now_us(300), Some(5_000_000));
    }
}
