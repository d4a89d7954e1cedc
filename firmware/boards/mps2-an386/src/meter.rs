//! What handshakes and samples cost, in ticks of the machine's clock.
//!
//! Always on: it is a few additions a poll. `cargo xtask bench mcu` reads the counters from the
//! emulator's memory, where a tick is 40 instructions, so that what is measured is the image
//! that ships. Interrupts that come during a poll count in it.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use stencil_firmware::LinkState;

use crate::{Device, timer, uart};

/// The counters; a debugger finds them by this name.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
pub(crate) static METER: Meter = Meter {
    handshakes: AtomicU32::new(0),
    handshake_ticks: AtomicU32::new(0),
    under_way_ticks: AtomicU32::new(0),
    samples: AtomicU32::new(0),
    sample_ticks: AtomicU32::new(0),
    overruns: AtomicU32::new(0),
};

/// Ticks wrap around after three minutes of computing; whoever reads them asks in time.
#[repr(C)]
pub(crate) struct Meter {
    /// Completed handshakes.
    handshakes: AtomicU32,
    /// Polls of the last completed handshake, from the first message to the session.
    handshake_ticks: AtomicU32,
    /// Polls of the handshake that is under way.
    under_way_ticks: AtomicU32,
    /// Samples that the gateway acknowledged in this boot.
    samples: AtomicU32,
    /// Polls on a link that is up: measuring, sealing, sending, acknowledgements, retaining.
    sample_ticks: AtomicU32,
    /// Bytes that the line lost.
    overruns: AtomicU32,
}

impl Meter {
    /// Counts one poll that began at `before` and left the link as `link`.
    pub(crate) fn polled(&self, device: &Device, link: LinkState, before: u64) {
        #[allow(clippy::cast_possible_truncation, reason = "wraps around, as said")]
        let spent = timer::ticks().wrapping_sub(before) as u32;
        let handshakes = device.link_counters().handshakes;
        if link == LinkState::Up && handshakes == self.handshakes.load(Relaxed) {
            self.sample_ticks.fetch_add(spent, Relaxed);
        } else {
            let under_way = self.under_way_ticks.load(Relaxed).wrapping_add(spent);
            if handshakes == self.handshakes.load(Relaxed) {
                self.under_way_ticks.store(under_way, Relaxed);
            } else {
                self.handshake_ticks.store(under_way, Relaxed);
                self.under_way_ticks.store(0, Relaxed);
                self.handshakes.store(handshakes, Relaxed);
            }
        }
        #[allow(clippy::cast_possible_truncation, reason = "wraps around, as said")]
        self.samples
            .store(device.progress().acked.0 as u32, Relaxed);
        self.overruns.store(uart::overruns(), Relaxed);
    }
}
