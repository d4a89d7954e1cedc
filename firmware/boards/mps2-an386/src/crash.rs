//! What is known after a reset about the one before.
//!
//! A panic, a fault and the watchdog's first time-out write what happened to RAM that start-up
//! leaves alone, and reset the machine (the watchdog's second time-out does so by itself). The
//! next boot tells the text to the hub, and forgets it when the gateway has it. RAM that holds no
//! record has lost its power meanwhile, which is told as `power on`.
#![allow(unsafe_code, reason = "handlers, and memory that outlives the program")]

use core::fmt::Write as _;
use core::mem::MaybeUninit;
use core::panic::PanicInfo;

use cortex_m_rt::{ExceptionFrame, exception};
use heapless::String;

use crate::{timer, uart};

/// The longest text that is kept.
const MAX_TEXT: usize = 200;
const MAGIC: u32 = 0x5354_4352;

/// What happened, in RAM that is not initialised.
#[repr(C)]
struct Record {
    magic: u32,
    length: u32,
    text: [u8; MAX_TEXT],
    check: u32,
}

impl Record {
    fn check(&self) -> u32 {
        let text = self.text.iter().map(|byte| u32::from(*byte));
        text.fold(self.magic ^ self.length.rotate_left(16), |sum, byte| {
            sum.rotate_left(5) ^ byte.wrapping_mul(0x9e37_79b1)
        })
    }

    fn text(&self) -> Option<&str> {
        let length = usize::try_from(self.length).ok()?;
        let whole = self.magic == MAGIC && self.check == self.check();
        core::str::from_utf8(self.text.get(..length).filter(|_| whole)?).ok()
    }
}

#[unsafe(link_section = ".uninit.crash")]
static mut RECORD: MaybeUninit<Record> = MaybeUninit::uninit();

/// The record; every pattern of bits is one.
fn record() -> &'static mut Record {
    // SAFETY: one core, and each caller is the only code that runs: start-up before interrupts
    // are on, the main loop with them masked, and handlers that never return but the NMI's,
    // which the main loop's accesses don't rely on. The fields are plain integers.
    unsafe { &mut *(&raw mut RECORD).cast::<Record>() }
}

/// Why the board started.
pub(crate) struct Cause(String<MAX_TEXT>);

impl Cause {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Reads why the board started. What is written stays until [`forget`].
pub(crate) fn take_up() -> Cause {
    let mut text = String::new();
    let told = record().text().unwrap_or("power on");
    let _ = text.push_str(told);
    Cause(text)
}

/// The gateway has been told. A reset that leaves no record of its own from here on is told so.
pub(crate) fn forget() {
    critical_section::with(|_| note(format_args!("reset without a record")));
}

/// Resets the board, and says why at the next start.
pub(crate) fn restart(why: &str) -> ! {
    cortex_m::interrupt::disable();
    note(format_args!("{why}"));
    cortex_m::peripheral::SCB::sys_reset()
}

fn note(what: core::fmt::Arguments<'_>) {
    let mut text = Cut(String::new());
    let _ = text.write_fmt(what);
    let record = record();
    record.magic = MAGIC;
    record.text = [0; MAX_TEXT];
    record.text[..text.0.len()].copy_from_slice(text.0.as_bytes());
    record.length = u32::try_from(text.0.len()).unwrap_or(0);
    record.check = record.check();
}

/// A text that takes what fits.
struct Cut(String<MAX_TEXT>);

impl core::fmt::Write for Cut {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        for letter in text.chars() {
            self.0.push(letter).map_err(|_| core::fmt::Error)?;
        }
        Ok(())
    }
}

#[panic_handler]
fn panicked(info: &PanicInfo<'_>) -> ! {
    cortex_m::interrupt::disable();
    match info.location() {
        // The file's last parts say enough; paths of the machine that built it are nobody's
        // business.
        Some(at) => {
            let file = at.file();
            let short = file.rsplit('/').next().unwrap_or(file);
            note(format_args!(
                "panic at {short}:{}: {}",
                at.line(),
                info.message()
            ));
        }
        None => note(format_args!("panic: {}", info.message())),
    }
    cortex_m::peripheral::SCB::sys_reset()
}

// The watchdog's first time-out is an NMI: hands over the frame that the machine pushed.
core::arch::global_asm!(
    ".section .text.NonMaskableInt, \"ax\", %progbits",
    ".global NonMaskableInt",
    ".type NonMaskableInt, %function",
    ".thumb_func",
    "NonMaskableInt:",
    "mov r0, sp",
    "b {expired}",
    expired = sym expired,
);

/// Notes where the program stood, and lets the watchdog's second time-out come.
extern "C" fn expired(frame: &ExceptionFrame) -> ! {
    note(format_args!(
        "watchdog: no progress at {:#010x}, called from {:#010x}",
        frame.pc(),
        frame.lr()
    ));
    loop {
        cortex_m::asm::nop();
    }
}

#[exception]
unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
    // SAFETY: reading the fault's status has no effect.
    let status = unsafe { (*cortex_m::peripheral::SCB::PTR).cfsr.read() };
    note(format_args!(
        "fault at {:#010x}, called from {:#010x}, status {status:#x}",
        frame.pc(),
        frame.lr()
    ));
    cortex_m::peripheral::SCB::sys_reset()
}

#[exception]
unsafe fn DefaultHandler(line: i16) {
    match line {
        0 => uart::receive(),
        1 => uart::transmit(),
        9 => timer::alarm(),
        _ => panic!("interrupt {line} has no handler"),
    }
}
