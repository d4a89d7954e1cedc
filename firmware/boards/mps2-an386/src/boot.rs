//! The boot loader: starts what the flash says, if it is signed and whole.
//!
//! It lies at 0, where the machine starts after power on and after each reset. It reads the slots
//! from the flash's file, copies the chosen image to where it runs while it checks its digest,
//! and jumps to it ([`stencil_boot::start`]). To an image on trial it leaves a running watchdog:
//! one that hangs before it has its own is reset, and the trial was counted before. What it
//! started, and what that took, is a line on the host's console.
#![no_std]
#![no_main]

use core::fmt;
use core::fmt::Write as _;
use core::panic::PanicInfo;

use cortex_m::peripheral::SCB;
use cortex_m_rt::entry;
use cortex_m_semihosting::hio;
use embedded_storage::nor_flash::ReadNorFlash as _;
use stencil_boot::identity::{self, IDENTITY_BYTES, Identity};
use stencil_boot::{Started, start};

mod flash;
mod host;
#[allow(dead_code, reason = "the application uses the others")]
mod layout;
#[allow(dead_code, reason = "the application uses the others")]
mod registers;

use layout::{APPLICATION, IDENTITY_FROM, LAYOUT, MAX_TRIALS};
use registers::{timer, watchdog};

/// The machine's clock.
const CLOCK_HZ: u32 = 25_000_000;
/// An application has its own watchdog by then.
const WATCHDOG_S: u32 = 4;
/// The RAM in which an image's first stack pointer lies.
const RAM: core::ops::RangeInclusive<u32> = 0x2000_0000..=0x2000_c000;

/// Why nothing is started.
enum Refusal {
    Argument(host::MissingArgument),
    Flash(flash::Error),
    Identity(identity::Error),
    Boot(stencil_boot::Error<flash::Error>),
    Vectors,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument(why) => write!(f, "{why}"),
            Self::Flash(why) | Self::Boot(stencil_boot::Error::Flash(why)) => {
                write!(f, "flash: {why}")
            }
            Self::Identity(why) => write!(f, "{why}"),
            Self::Boot(why) => write!(f, "{why}"),
            Self::Vectors => f.write_str("the image is not linked for this board"),
        }
    }
}

#[entry]
fn main() -> ! {
    match choose() {
        Ok(()) => jump(),
        Err(why) => host::refuse(&why),
    }
}

/// Copies an image to where it runs, verified.
fn choose() -> Result<(), Refusal> {
    let arguments = host::Arguments::read();
    let path = arguments.value("flash=").map_err(Refusal::Argument)?;
    let mut flash = flash::Flash::open(path).map_err(Refusal::Flash)?;
    let mut record = [0; IDENTITY_BYTES];
    flash
        .read(IDENTITY_FROM, &mut record)
        .map_err(Refusal::Flash)?;
    let identity = Identity::decode(&record).map_err(Refusal::Identity)?;
    let config = identity.config(LAYOUT, MAX_TRIALS);
    let before = ticks();
    let started = start(&mut flash, &config, place).map_err(Refusal::Boot)?;
    let ticks = ticks().wrapping_sub(before);
    if started.trial > 0 {
        arm();
    }
    tell(&started, ticks);
    match (vectors_are_sound(), started.trial) {
        (true, _) => Ok(()),
        (false, 0) => Err(Refusal::Vectors),
        // It was counted: after so many the other image is started.
        (false, _) => SCB::sys_reset(),
    }
}

/// Takes a piece of an image.
fn place(offset: u32, piece: &[u8]) {
    // SAFETY: images are no longer than `LAYOUT.max_image()`; the machine has writable memory
    // from `APPLICATION` on that is longer, and nothing but an application lies there, which does
    // not run yet.
    #[allow(unsafe_code)]
    unsafe {
        let to = (APPLICATION + offset) as *mut u8;
        core::ptr::copy_nonoverlapping(piece.as_ptr(), to, piece.len());
    }
}

/// The image's first stack pointer, and its first instruction.
fn vectors() -> [u32; 2] {
    // SAFETY: the machine has memory there, an image was copied to it before, and it is aligned.
    #[allow(unsafe_code)]
    unsafe {
        core::ptr::read_volatile(APPLICATION as *const [u32; 2])
    }
}

/// Whether the processor can start it at all. Otherwise it would lock up, without a watchdog
/// that could help.
fn vectors_are_sound() -> bool {
    let [stack, entry] = vectors();
    let image = APPLICATION..APPLICATION + LAYOUT.max_image();
    RAM.contains(&stack) && stack.is_multiple_of(8) && image.contains(&entry) && entry & 1 == 1
}

/// Leaves the machine to the application.
fn jump() -> ! {
    // SAFETY: the image is verified, whole, and its vectors are sound. No interrupt is on, and
    // nothing of the loader is used after this.
    #[allow(unsafe_code)]
    unsafe {
        (*SCB::PTR).vtor.write(APPLICATION);
        cortex_m::asm::dsb();
        cortex_m::asm::isb();
        cortex_m::asm::bootload(APPLICATION as *const u32)
    }
}

fn arm() {
    watchdog::LOCK.write(watchdog::KEY);
    watchdog::LOAD.write(WATCHDOG_S * CLOCK_HZ);
    watchdog::CONTROL.write(watchdog::INTERRUPT | watchdog::RESET);
    watchdog::LOCK.write(0);
}

/// Ticks of the machine's clock; the application starts the timer anew.
fn ticks() -> u32 {
    let at = timer::COUNTER;
    if timer::control(at).read() & timer::ENABLE == 0 {
        timer::reload(at).write(u32::MAX);
        timer::value(at).write(u32::MAX);
        timer::control(at).write(timer::ENABLE);
    }
    // It counts down.
    u32::MAX - timer::value(at).read()
}

fn tell(started: &Started, ticks: u32) {
    let slot = if started.slot == 0 { 'A' } else { 'B' };
    let header = &started.header;
    if let Ok(mut console) = hio::hstderr() {
        let _ = write!(
            console,
            "loader: slot {slot}, version {}, sequence {}, ",
            header.version.as_str(),
            header.sequence
        );
        let _ = match started.trial {
            0 => write!(console, "confirmed"),
            trial => write!(console, "trial {trial} of {MAX_TRIALS}"),
        };
        let _ = writeln!(console, ", {ticks} ticks");
    }
}

#[panic_handler]
fn panicked(info: &PanicInfo<'_>) -> ! {
    host::refuse(info)
}
