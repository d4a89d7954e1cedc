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
//! | [`host`], [`flash`], [`noise`] | files of the host by semihosting |
//! | [`layout`] | what is where in the flash |
//! | [`watchdog`] | resets a board that makes no progress |
//! | [`crash`] | what is known after a reset about the one before |
//! | [`meter`] | what handshakes and samples cost, for `cargo xtask bench mcu` |
//!
//! **Flash** (`flash=FILE` on the semihosting command line) has blocks of 8 KiB: block 0 is the
//! provision ([`stencil_firmware::provision`]) and says whose images are started
//! ([`stencil_boot::identity`]), blocks 1 to 8 are the retained state, then come the loader's journal
//! and the two slots for images ([`layout`]). `cargo xtask provision` writes such a file. `noise=FILE`
//! names the noise source, `/dev/urandom` by default.
//!
//! **Start.** The boot loader (`boot.rs`) has copied the image to where it runs. Flash,
//! provision and noise have to be sound, or the board says what is wrong on the host's console and
//! stops with exit code 1: a device without a name, a key or randomness must not talk to anybody. After that no error ends it: panics, faults and hangs are written
//! to RAM that start-up leaves alone, the board resets, and the next boot tells the hub as the
//! series `reset`.
#![no_std]
#![no_main]

use core::cell::UnsafeCell;
use core::fmt;
use core::mem::MaybeUninit;

use cortex_m_rt::entry;
use rand_core::UnwrapErr;
use stencil_boot::Updater;
use stencil_boot::identity::{self, IDENTITY_BYTES, Identity};
use stencil_firmware::{
    App, Board, Config, DigitalOutput, Entropy, LinkState, Pages, Parts, Reading, Taken, Tmp105,
};
use stencil_protocol::id::Seq;
use stencil_protocol::sample::Value;

mod crash;
mod flash;
mod host;
mod i2c;
#[allow(dead_code, reason = "the loader uses the others")]
mod layout;
mod led;
mod meter;
mod noise;
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
    type Rng = UnwrapErr<Entropy<noise::Noise>>;
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

type Device = App<Mps2, BUFFER, Slots>;
type Slots = Updater<flash::Flash>;

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
    let (device, trial_us) = set_up(place, timer);
    let told = tell(device, &cause);
    run(device, told, trial_us)
}

/// Why the board does not start.
enum Refusal {
    Argument(host::MissingArgument),
    Flash(flash::Error),
    Region(stencil_firmware::pages::UnfitRegion),
    Provision(stencil_firmware::provision::Error),
    Noise(host::Error),
    Entropy(stencil_firmware::entropy::Error),
    Identity(identity::Error),
    Slots(stencil_boot::Error<flash::Error>),
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
            Self::Identity(why) => write!(f, "{why}"),
            Self::Slots(why) => write!(f, "slots: {why}"),
        }
    }
}

/// What the application is made of.
struct Gathered {
    config: Config,
    parts: Parts<Mps2>,
    slots: Slots,
    /// How long an image may take to talk to its gateway.
    trial_us: u64,
}

#[inline(never)]
fn set_up(place: &mut MaybeUninit<Device>, timer: timer::Timer) -> (&mut Device, u64) {
    match gather(timer) {
        Ok(gathered) => begin(place, gathered),
        Err(why) => host::refuse(&why),
    }
}

// Not inlined, like its neighbours: what start-up needs on the stack is free again when the handshake
// comes.
#[inline(never)]
fn gather(timer: timer::Timer) -> Result<Gathered, Refusal> {
    let arguments = host::Arguments::read();
    let path = arguments.value("flash=").map_err(Refusal::Argument)?;
    let mut flash = flash::Flash::open(path).map_err(Refusal::Flash)?;
    let config = provision(&mut flash)?;
    let noise = noise::Noise::open(arguments.value("noise=").unwrap_or("/dev/urandom"))
        .map_err(Refusal::Noise)?;
    let entropy =
        Entropy::start(noise, config.device.as_str().as_bytes()).map_err(Refusal::Entropy)?;
    let (slots, trial_us) = slots(path)?;
    let pages = Pages::new(flash, layout::STATE_FROM, layout::STATE_TO).map_err(Refusal::Region)?;
    let parts = Parts {
        sensor: Tmp105::new(i2c::Bus::new(), 0x48),
        actuator: DigitalOutput::new(led::Led::new()),
        retained: Storage(pages),
        clock: timer,
        rng: UnwrapErr(entropy),
        witness: (),
    };
    Ok(Gathered {
        config,
        parts,
        slots,
        trial_us,
    })
}

#[inline(never)]
fn begin(place: &mut MaybeUninit<Device>, gathered: Gathered) -> (&mut Device, u64) {
    let Gathered {
        config,
        parts,
        slots,
        trial_us,
    } = gathered;
    watchdog::start(&config);
    let device = place.write(Device::with_slots(config, parts, slots));
    device.link_up(uart::Uart::start());
    (device, trial_us)
}

/// The slots for images, and how long a new image may take to talk to its gateway.
fn slots(path: &str) -> Result<(Slots, u64), Refusal> {
    use embedded_storage::nor_flash::ReadNorFlash as _;
    // The same chip once more: retained state and slots never touch each other's blocks.
    let mut flash = flash::Flash::open(path).map_err(Refusal::Flash)?;
    let mut record = [0; IDENTITY_BYTES];
    flash
        .read(layout::IDENTITY_FROM, &mut record)
        .map_err(Refusal::Flash)?;
    let identity = Identity::decode(&record).map_err(Refusal::Identity)?;
    let config = identity.config(layout::LAYOUT, layout::MAX_TRIALS);
    let slots = Updater::open(flash, config).map_err(Refusal::Slots)?;
    Ok((slots, u64::from(identity.trial_seconds) * 1_000_000))
}

fn provision(flash: &mut flash::Flash) -> Result<Config, Refusal> {
    use embedded_storage::nor_flash::ReadNorFlash as _;
    let mut block = [0; stencil_firmware::provision::MAX_PROVISION_BYTES];
    flash
        .read(layout::PROVISION_FROM, &mut block)
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

/// Resets if the image is on trial and has not talked to its gateway: the loader counts that.
#[inline(never)]
fn judge_trial(device: &mut Device) {
    if device.slots().running().is_ok_and(|it| !it.confirmed) {
        crash::restart("the new image has not reached the gateway in time");
    }
}

/// Starts the new image, when the line has taken what was said.
fn start_new_image() -> ! {
    while !uart::has_sent_all() {
        cortex_m::asm::nop();
    }
    crash::restart("to start a new image")
}

fn run(device: &mut Device, mut told: Option<Seq>, mut trial_us: u64) -> ! {
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
        if poll.reset && !poll.wants_write {
            start_new_image();
        }
        let now_us = timer::now_us();
        if now_us >= trial_us {
            trial_us = u64::MAX;
            judge_trial(device);
        }
        watchdog.feed_if_alive(now_us, device.counters().measurements);
        timer::sleep_until(poll.next_us.min(now_us + NAP_US), || {
            uart::wanted(poll.wants_write)
        });
    }
}
