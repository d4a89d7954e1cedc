//! The CMSDK watchdog: fed only while the application makes progress.
//!
//! Progress is measurements: the application takes one each interval, whether the sensor answers
//! or not, as long as its main loop and its clock run. A loop that spins without measuring is
//! reset like one that hangs. The link is no part of it: a gateway that is away must not reset a
//! device that keeps samples.
//!
//! The first time-out is an NMI, which notes where the program stood ([`crate::crash`]); the
//! second one, as long again, resets the machine.

use stencil_firmware::Config;

use crate::CLOCK_HZ;
use crate::registers::watchdog::{CONTROL, INTERRUPT, INTERRUPT_CLEAR, KEY, LOAD, LOCK, RESET};

/// Until the NMI, and from there to the reset.
const TIMEOUT_S: u32 = 4;
/// So many intervals without a measurement are no progress.
const INTERVALS: u64 = 4;

static INTERVAL_US: critical_section::Mutex<core::cell::Cell<u64>> =
    critical_section::Mutex::new(core::cell::Cell::new(0));

/// Lets it run.
pub(crate) fn start(config: &Config) {
    critical_section::with(|cs| INTERVAL_US.borrow(cs).set(config.sample_interval_us));
    LOCK.write(KEY);
    LOAD.write(TIMEOUT_S * CLOCK_HZ);
    CONTROL.write(INTERRUPT | RESET);
    LOCK.write(0);
}

fn feed() {
    LOCK.write(KEY);
    INTERRUPT_CLEAR.write(1);
    LOCK.write(0);
}

/// Knows when the application last made progress.
#[derive(Default)]
pub(crate) struct Watchdog {
    measurements: u32,
    progress_us: u64,
}

impl Watchdog {
    /// Feeds it if the count of measurements went on in time.
    pub(crate) fn feed_if_alive(&mut self, now_us: u64, measurements: u32) {
        if measurements != self.measurements {
            self.measurements = measurements;
            self.progress_us = now_us;
        }
        let interval_us = critical_section::with(|cs| INTERVAL_US.borrow(cs).get());
        let patience_us = interval_us.saturating_mul(INTERVALS).max(1_000_000);
        if now_us.saturating_sub(self.progress_us) <= patience_us {
            feed();
        }
    }
}
