//! The machine's registers (Arm DAI 0386 and DDI 0479), the only place that reads and writes
//! them.

/// A 32-bit register at a fixed address.
#[derive(Clone, Copy)]
pub(crate) struct Register(usize);

impl Register {
    /// The register at `base + offset`, which is one of the devices below.
    const fn at(base: usize, offset: usize) -> Self {
        Self(base + offset)
    }

    #[inline]
    pub(crate) fn read(self) -> u32 {
        // SAFETY: the address is an aligned device register of this machine; reading one has no
        // effect on memory.
        #[allow(unsafe_code)]
        unsafe {
            core::ptr::read_volatile(self.0 as *const u32)
        }
    }

    #[inline]
    pub(crate) fn write(self, value: u32) {
        // SAFETY: the address is an aligned device register of this machine; none of them makes
        // the device write to memory.
        #[allow(unsafe_code)]
        unsafe {
            core::ptr::write_volatile(self.0 as *mut u32, value);
        }
    }
}

/// CMSDK APB timers.
pub(crate) mod timer {
    use super::Register;
    pub(crate) const COUNTER: usize = 0x4000_0000;
    pub(crate) const ALARM: usize = 0x4000_1000;
    pub(crate) const ENABLE: u32 = 1;
    pub(crate) const INTERRUPT: u32 = 1 << 3;
    pub(crate) const fn control(base: usize) -> Register {
        Register::at(base, 0)
    }
    pub(crate) const fn value(base: usize) -> Register {
        Register::at(base, 4)
    }
    pub(crate) const fn reload(base: usize) -> Register {
        Register::at(base, 8)
    }
    pub(crate) const fn interrupt_clear(base: usize) -> Register {
        Register::at(base, 12)
    }
}

/// CMSDK APB UART 0.
pub(crate) mod uart {
    use super::Register;
    const BASE: usize = 0x4000_4000;
    pub(crate) const DATA: Register = Register::at(BASE, 0);
    pub(crate) const STATE: Register = Register::at(BASE, 4);
    pub(crate) const CONTROL: Register = Register::at(BASE, 8);
    pub(crate) const INTERRUPT_CLEAR: Register = Register::at(BASE, 12);
    pub(crate) const BAUD_DIVIDER: Register = Register::at(BASE, 16);
    pub(crate) const TX_FULL: u32 = 1;
    pub(crate) const RX_FULL: u32 = 1 << 1;
    pub(crate) const RX_OVERRUN: u32 = 1 << 3;
    pub(crate) const TX_ENABLE: u32 = 1;
    pub(crate) const RX_ENABLE: u32 = 1 << 1;
    pub(crate) const TX_INTERRUPT: u32 = 1 << 2;
    pub(crate) const RX_INTERRUPT: u32 = 1 << 3;
}

/// CMSDK APB watchdog.
pub(crate) mod watchdog {
    use super::Register;
    const BASE: usize = 0x4000_8000;
    pub(crate) const LOAD: Register = Register::at(BASE, 0);
    pub(crate) const CONTROL: Register = Register::at(BASE, 8);
    pub(crate) const INTERRUPT_CLEAR: Register = Register::at(BASE, 12);
    pub(crate) const LOCK: Register = Register::at(BASE, 0xc00);
    pub(crate) const KEY: u32 = 0x1acc_e551;
    pub(crate) const INTERRUPT: u32 = 1;
    pub(crate) const RESET: u32 = 2;
}

/// SBCon, the two-wire controller of the second shield.
pub(crate) mod sbcon {
    use super::Register;
    const BASE: usize = 0x4002_a000;
    pub(crate) const SET: Register = Register::at(BASE, 0);
    pub(crate) const CLEAR: Register = Register::at(BASE, 4);
    pub(crate) const SCL: u32 = 1;
    pub(crate) const SDA: u32 = 2;
}

/// The board's LEDs.
pub(crate) mod fpgaio {
    use super::Register;
    const BASE: usize = 0x4002_8000;
    pub(crate) const LEDS: Register = Register::at(BASE, 0);
}
