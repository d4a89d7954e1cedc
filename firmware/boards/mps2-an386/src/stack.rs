//! The stack's end: a guard that makes an overflow a fault instead of a silent change of what
//! lies below.

use cortex_m::peripheral::Peripherals;

/// The guard's size: the least that the protection unit knows.
const GUARD_BYTES: u32 = 32;

/// Takes all access away from the lowest bytes that the stack could reach (ARMv7-M, B3.5).
pub(crate) fn guard() {
    let Some(peripherals) = Peripherals::take() else {
        return;
    };
    let mpu = peripherals.MPU;
    let base = lowest().next_multiple_of(GUARD_BYTES);
    // SAFETY: the region lies between the statics and the stack, where nothing lives; everything
    // else keeps the default map (PRIVDEFENA). HFNMIENA stays off, so that the fault's handler
    // may use what stack there is.
    #[allow(unsafe_code)]
    unsafe {
        mpu.rnr.write(0);
        mpu.rbar.write(base);
        // No access, never executed, 2^(4 + 1) bytes, enabled.
        mpu.rasr.write(1 << 28 | 4 << 1 | 1);
        mpu.ctrl.write(1 << 2 | 1);
    }
    cortex_m::asm::dsb();
    cortex_m::asm::isb();
}

/// The first address behind the statics.
fn lowest() -> u32 {
    #[allow(unsafe_code)]
    unsafe extern "C" {
        static _stack_end: u32;
    }
    // The symbol's address is asked for, nothing is read there.
    (&raw const _stack_end) as u32
}
