//! The time, and whether it is one: many gateways have no clock that runs without power, and
//! start in 1970, or anywhere, until the network has told them.
//!
//! What the time must be is known from the gateway's own certificate: not before it was issued, and
//! not long after its end. While the clock says something else nobody is told the time, and what
//! the gateway says itself has none ([`stamp_us`]): the hub puts its own in the place. The spool's
//! age doesn't depend on this clock at all ([`crate::spool`]).

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::SystemTime,
};

/// 2025-01-01: earlier than this nobody runs this gateway.
const PLAUSIBLE_FROM_US: i64 = 1_735_689_600_000_000;
const DAY_US: i64 = 86_400_000_000;
/// The hub's clock, by which a certificate is issued, may be ahead of ours.
const SKEW_US: i64 = DAY_US;
/// For how long a gateway may have been away when its certificate ended: more than a year.
const AWAY_US: i64 = 400 * DAY_US;

static FROM_US: AtomicI64 = AtomicI64::new(PLAUSIBLE_FROM_US);
static TO_US: AtomicI64 = AtomicI64::new(i64::MAX);
static SHIFT_US: AtomicI64 = AtomicI64::new(0);

/// The gateway's certificate is valid in this time.
pub(crate) fn learn(not_before_us: i64, not_after_us: i64) {
    let from_us = not_before_us.saturating_sub(SKEW_US);
    FROM_US.store(from_us.max(PLAUSIBLE_FROM_US), Ordering::Relaxed);
    TO_US.store(not_after_us.saturating_add(AWAY_US), Ordering::Relaxed);
}

/// Moves the clock of this process, for tests: it is wrong by so much from now on.
pub fn shift_us(by_us: i64) {
    SHIFT_US.store(by_us, Ordering::Relaxed);
}

/// Now, in microseconds since the Unix epoch.
pub(crate) fn now_us() -> i64 {
    let now_us = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
        });
    now_us.saturating_add(SHIFT_US.load(Ordering::Relaxed))
}

/// Now, if the clock has been set.
pub(crate) fn set_now_us() -> Option<i64> {
    let plausible = FROM_US.load(Ordering::Relaxed)..=TO_US.load(Ordering::Relaxed);
    Some(now_us()).filter(|now_us| plausible.contains(now_us))
}

/// When something that the gateway says happens: now, or 0 while that is not known.
pub(crate) fn stamp_us() -> i64 {
    set_now_us().unwrap_or(0)
}
