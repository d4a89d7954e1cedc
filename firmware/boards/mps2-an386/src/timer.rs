//! Time: a counter that never goes back, and waking up in time.
//!
//! Timer 0 runs through its 32 bits at 25 MHz, again and again, and is never stopped or set:
//! nothing is added up, so nothing drifts. Whoever reads it notices that it went round, which
//! it does every 171.8 s; the main loop reads it twice a second at least.

use core::cell::Cell;

use critical_section::Mutex;
use stencil_firmware::Clock;

use crate::registers::timer::{
    ALARM, COUNTER, ENABLE, INTERRUPT, control, interrupt_clear, reload, value,
};
use crate::{CLOCK_HZ, uart};

const TICKS_PER_US: u64 = CLOCK_HZ as u64 / 1_000_000;

/// What was last read, and the rounds before that in the upper half.
static LAST: Mutex<Cell<u64>> = Mutex::new(Cell::new(0));

/// The board's clock, as the application sees it.
pub(crate) struct Timer(());

impl Timer {
    /// Starts counting from 0.
    pub(crate) fn start() -> Self {
        reload(COUNTER).write(u32::MAX);
        value(COUNTER).write(u32::MAX);
        control(COUNTER).write(ENABLE);
        critical_section::with(|cs| LAST.borrow(cs).set(0));
        uart::unmask(uart::Line::Alarm);
        Self(())
    }
}

impl Clock for Timer {
    fn monotonic_us(&mut self) -> u64 {
        now_us()
    }
}

/// Ticks of the machine's clock since the start.
pub(crate) fn ticks() -> u64 {
    critical_section::with(|cs| {
        let last = LAST.borrow(cs).get();
        // It counts down.
        let now = extended(last, u32::MAX - value(COUNTER).read());
        LAST.borrow(cs).set(now);
        now
    })
}

/// The count whose lower half is `low` and which follows on `last`.
fn extended(last: u64, low: u32) -> u64 {
    let count = (last & !u64::from(u32::MAX)) | u64::from(low);
    if count < last {
        count + (1 << 32)
    } else {
        count
    }
}

/// Microseconds since the start.
pub(crate) fn now_us() -> u64 {
    ticks() / TICKS_PER_US
}

/// How much an interrupt has brought.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Nothing that the main loop could use.
    Sleep,
    /// A little, and more may follow: look at it soon.
    Soon,
    /// Enough.
    Now,
}

/// So long a little waits for more: 23 bytes of the line.
const SOON_TICKS: u64 = 2_000 * TICKS_PER_US;

/// Sleeps until that time, or until interrupts have brought enough.
pub(crate) fn sleep_until(due_us: u64, wanted: impl Fn() -> Wanted) {
    let mut due = due_us.saturating_mul(TICKS_PER_US);
    let mut soon = false;
    loop {
        // With interrupts masked WFI wakes up for them all the same, and none can slip in between
        // the last look and the sleep; they are taken behind the section.
        let awake = critical_section::with(|_| {
            let now = ticks();
            match wanted() {
                Wanted::Now => return true,
                Wanted::Soon if !soon => {
                    soon = true;
                    due = due.min(now + SOON_TICKS);
                }
                Wanted::Soon | Wanted::Sleep => {}
            }
            if due <= now {
                return true;
            }
            let left = u32::try_from(due - now).unwrap_or(u32::MAX);
            value(ALARM).write(left);
            // Never 0, which would be a timer without a period; the handler stops it.
            reload(ALARM).write(left);
            control(ALARM).write(ENABLE | INTERRUPT);
            cortex_m::asm::wfi();
            control(ALARM).write(0);
            false
        });
        if awake {
            return;
        }
    }
}

/// The alarm went.
pub(crate) fn alarm() {
    control(ALARM).write(0);
    interrupt_clear(ALARM).write(1);
}
