//! The device application on Arm's MPS2+ AN386 board: a Cortex-M4 at 25 MHz, in QEMU.
//!
//! ```text
//! TMP105 ─I²C, bit-banged→ ┐
//! LED 0  ←FPGAIO───────────┤ stencil_firmware::App ─UART0→ the gateway
//! noise, flash ─semihosting┘
//! ```
//!
//! | module | part |
//! |---|---|
//! | [`uart`] | the byte link: UART0, interrupts and two rings |
//! | [`timer`] | a 64-bit counter of microseconds, and waking up in time |
//! | [`i2c`] | the bus of the sensor |
//! | [`led`] | the output that commands switch |
//! | [`host`], [`flash`] | files of the host by semihosting: flash, noise |
//! | [`watchdog`] | resets a board that makes no progress |
//! | [`crash`] | what is known after a reset about the one before |
//! | [`meter`] | what handshakes and samples cost, for `cargo xtask bench mcu` |
//!
//! **Flash** (`flash=FILE` on the semihosting command line) has blocks of 8 KiB: block 0 is the
//! provision ([`stencil_firmware::provision`]; `cargo xtask provision` writes it), blocks 1 to 8
//! are the retained state. `noise=FILE` names the noise source, `/dev/urandom` by default.
//!
//! **Start.** Flash, provision and noise have to be sound, or the board says what is wrong on
//! the host's console and stops with exit code 1: a device without a name, a key or randomness
//! must not talk to anybody. After that no error ends it: panics, faults and hangs are written
//! to RAM that start-up leaves alone, the board resets, and the next boot tells the hub as the
//! series `reset`.
#![no_std]
#![no_main]

use core::cell::UnsafeCell;
use core::fmt;
use core::mem::MaybeUninit;

use cortex_m_rt::entry;
use rand_core::UnwrapErr;
use stencil_firmware::{
    App, Board, Config, DigitalOutput, Entropy, LinkState, Pages, Parts, Reading, Taken, Tmp105,
};
use stencil_protocol::id::Seq;
use stencil_protocol::sample::Value;

mod crash;
mod flash;
mod host;
mod i2c;
mod led;
mod meter;
mod registers;
mod stack;
mod timer;
mod uart;
mod watchdog;

/// The machine's clock.
const CLOCK_HZ: u32 = 25_000_000;
/// Samples that wait for the gateway, in bytes: about 60 of them.
const BUFFER: usize = 1_536;
/// The longest sleep, so that the watchdog is fed in time.
const NAP_US: u64 = 500_000;

struct Mps2;

impl Board for Mps2 {
    type Sensor = Tmp105<i2c::Bus>;
    type Actuator = DigitalOutput<led::Led>;
    type Link = uart::Uart;
    type Retained = Storage;
    type Clock = timer::Timer;
    type Rng = UnwrapErr<Entropy<host::Noise>>;
    type Witness = ();
}

/// Retained memory on the flash. When no block of it takes the state any more, numbers that
/// were given could be given again: the board stops with a report rather.
struct Storage(Pages<flash::Flash>);

impl stencil_firmware::Retained for Storage {
    fn load(&mut self) -> Option<stencil_firmware::State> {
        self.0.load()
    }

    fn store(&mut self, state: &stencil_firmware::State) {
        self.0.store(state);
        assert!(
            !self.0.has_failed(),
            "no block of the flash takes the state"
        );
    }
}

type Device = App<Mps2, BUFFER>;

/// The application, in memory of its own rather than on the stack.
static DEVICE: Place = Place(UnsafeCell::new(MaybeUninit::uninit()));

struct Place(UnsafeCell<MaybeUninit<Device>>);

// SAFETY: only `main` touches it, once.
#[allow(unsafe_code)]
unsafe impl Sync for Place {}

#[entry]
fn main() -> ! {
    stack::guard();
    let cause = crash::take_up();
    let timer = timer::Timer::start();
    // SAFETY: this is the only reference, made once.
    #[allow(unsafe_code)]
    let place = unsafe { &mut *DEVICE.0.get() };
    let device = match gather(timer) {
        Ok((config, parts)) => begin(place, config, parts),
        Err(why) => host::refuse(&why),
    };
    let told = tell(device, &cause);
    run(device, told)
}

/// Why the board does not start.
enum Refusal {
    Argument(host::MissingArgument),
    Flash(flash::Error),
    Region(stencil_firmware::pages::UnfitRegion),
    Provision(stencil_firmware::provision::Error),
    Noise(host::Error),
    Entropy(stencil_firmware::entropy::Error),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument(why) => write!(f, "{why}"),
            Self::Flash(why) => write!(f, "flash: {why}"),
            Self::Region(why) => write!(f, "flash: {why}"),
            Self::Provision(why) => write!(f, "provision: {why}"),
            Self::Noise(why) => write!(f, "noise: {why}"),
            Self::Entropy(why) => write!(f, "noise: {why}"),
        }
    }
}

// Not inlined, like the next: what start-up needs on the stack is free again when the handshake
// comes.
#[inline(never)]
fn gather(timer: timer::Timer) -> Result<(Config, Parts<Mps2>), Refusal> {
    let arguments = host::Arguments::read();
    let path = arguments.value("flash=").map_err(Refusal::Argument)?;
    let mut flash = flash::Flash::open(path).map_err(Refusal::Flash)?;
    let config = provision(&mut flash)?;
    let noise = host::Noise::open(arguments.value("noise=").unwrap_or("/dev/urandom"))
        .map_err(Refusal::Noise)?;
    let entropy =
        Entropy::start(noise, config.device.as_str().as_bytes()).map_err(Refusal::Entropy)?;
    let pages = Pages::new(flash, flash::STATE_FROM, flash::STATE_TO).map_err(Refusal::Region)?;
    let parts = Parts {
        sensor: Tmp105::new(i2c::Bus::new(), 0x48),
        actuator: DigitalOutput::new(led::Led::new()),
        retained: Storage(pages),
        clock: timer,
        rng: UnwrapErr(entropy),
        witness: (),
    };
    Ok((config, parts))
}

#[inline(never)]
fn begin(place: &mut MaybeUninit<Device>, config: Config, parts: Parts<Mps2>) -> &mut Device {
    watchdog::start(&config);
    let device = place.write(Device::new(config, parts));
    device.link_up(uart::Uart::start());
    device
}

fn provision(flash: &mut flash::Flash) -> Result<Config, Refusal> {
    use embedded_storage::nor_flash::ReadNorFlash as _;
    let mut block = [0; stencil_firmware::provision::MAX_PROVISION_BYTES];
    flash
        .read(flash::PROVISION_FROM, &mut block)
        .map_err(Refusal::Flash)?;
    stencil_firmware::provision::config(&block).map_err(Refusal::Provision)
}

/// Tells why the board started, as this boot's first number.
#[inline(never)]
fn tell(device: &mut Device, cause: &crash::Cause) -> Option<Seq> {
    device.note(&Reading {
        name: "reset",
        value: Value::Text(cause.as_str()),
        unit: None,
        taken: Taken::Now,
    })
}

fn run(device: &mut Device, mut told: Option<Seq>) -> ! {
    let mut watchdog = watchdog::Watchdog::default();
    loop {
        let before = timer::ticks();
        let poll = device.poll();
        meter::METER.polled(device, poll.link, before);
        if told.is_some_and(|seq| device.progress().acked >= seq) {
            told = None;
            crash::forget();
        }
        if poll.link == LinkState::Down
            && let Some(link) = device.take_link()
        {
            device.link_up(link);
        }
        let now_us = timer::now_us();
        watchdog.feed_if_alive(now_us, device.counters().measurements);
        timer::sleep_until(poll.next_us.min(now_us + NAP_US), || {
            uart::wanted(poll.wants_write)
        });
    }
}
