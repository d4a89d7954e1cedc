//! What the device application takes on a Cortex-M4: flash, RAM and instructions of the image
//! that ships, in QEMU against a real gateway.
//!
//! **Instructions** are counted with `-icount shift=0`: the machine's clock of 25 MHz then ticks
//! once in 40 instructions, whatever the host does. The image keeps the ticks of its polls in
//! `METER` (see the board's `meter.rs`), which is read from the emulator's memory. So a
//! handshake's figure is all that the device does for it (framing, both messages, the key
//! schedule), a sample's all from the sensor's bus to the acknowledgement.
//!
//! **An update's verification** is what the loader does at each start: the journal, LMS over the
//! image's header, SHA-256 over the image while it is copied. The loader says its ticks itself.
//!
//! **RAM** is the statics and as much of the stack as was ever written to: start-up paints it.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::{Args, ValueEnum};
use serde_json::json;

use crate::board::{self, Programs, elf};
use crate::{provision, shell, tools};

mod emulator;

use emulator::{Emulator, Gateway};

const DEVICE: &str = "bench-m4";
/// One tick of 25 MHz at an instruction a nanosecond.
const INSTRUCTIONS_PER_TICK: u64 = 40;
const RAM_START: u32 = 0x2000_0000;
const RAM_BYTES: u32 = 48 * 1024;
/// What cortex-m-rt paints the stack with.
const PAINT: [u8; 4] = 0xcccc_cccc_u32.to_le_bytes();
/// Between samples; the device is done with one long before.
const INTERVAL_MS: u64 = 50;
/// Samples before the count begins, and while it runs.
const WARM_UP: u32 = 20;
const SAMPLES: u32 = 200;
/// How long that may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(600);

/// What the product allows itself.
const BUDGETS: [(&str, u64); 4] = [
    ("flash_bytes", 160 * 1024),
    ("ram_bytes", 48 * 1024),
    ("handshake_instructions", 12_000_000),
    ("sample_instructions", 60_000),
];

/// How to print.
#[derive(Args)]
pub(crate) struct Options {
    /// A table beside budgets and pqm4, or one JSON document.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
}

/// Measures, prints, and fails when a budget is exceeded.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    tools::debian()?;
    let programs = board::build()?;
    shell::run_quietly(shell::cargo().args([
        "build",
        "--locked",
        "--quiet",
        "--package",
        "stencil",
    ]))?;
    let figures = measure(&programs, &shell::target().join("debug/stencil"))?;
    match options.output {
        Output::Json => {
            let document: serde_json::Map<_, _> = figures
                .iter()
                .map(|(name, figure)| ((*name).to_owned(), json!(figure)))
                .collect();
            println!("{}", serde_json::Value::from(document));
        }
        Output::Table => println!("{}", table(&figures)),
    }
    for (name, budget) in BUDGETS {
        let figure = figures.iter().find(|(figure, _)| *figure == name);
        let (_, figure) = figure.context("a figure for each budget")?;
        ensure!(
            *figure <= budget,
            "{name} is {figure}, over its budget of {budget}"
        );
    }
    Ok(())
}

type Figures = [(&'static str, u64); 6];

fn measure(programs: &Programs, stencil: &Path) -> anyhow::Result<Figures> {
    let program = elf::Elf::read(&programs.application)?;
    let home = tempfile::tempdir()?;
    let gateway = Gateway::start(stencil, home.path(), DEVICE)?;
    let flash = home.path().join("flash.bin");
    provision::write(&flash, DEVICE, gateway.key(), INTERVAL_MS)?;
    let keys = home.path().join("keys");
    board::install(&flash, &programs.application, &keys, "1", 1, 300)?;
    // The first start adopts the image, which verifies it more than once.
    let start = || Emulator::start(&programs.boot, home.path(), &flash, gateway.address());
    verification_ticks(&mut start()?)?;
    let mut emulator = start()?;
    let verification_ticks = verification_ticks(&mut emulator)?;
    let meter = program.symbol("METER")?;
    let first = wait(&mut emulator, meter, WARM_UP)?;
    let last = wait(&mut emulator, meter, first.samples + SAMPLES)?;
    ensure!(last.overruns == 0, "the line lost {} bytes", last.overruns);
    ensure!(
        last.handshakes == 1,
        "{} handshakes instead of one",
        last.handshakes
    );
    let ram = emulator.memory(RAM_START, RAM_BYTES)?;
    let statics = program.symbol("_stack_end")? - RAM_START;
    let above = ram.get(statics as usize..).context("the stack's end")?;
    let untouched = above
        .chunks_exact(4)
        .take_while(|word| **word == PAINT)
        .count()
        * 4;
    ensure!(untouched > 0, "the stack has reached its guard");
    let samples = u64::from(last.samples - first.samples);
    let ticks = u64::from(last.sample_ticks.wrapping_sub(first.sample_ticks));
    Ok([
        ("flash_bytes", program.flash_bytes()),
        ("ram_bytes", u64::from(RAM_BYTES) - untouched as u64),
        (
            "handshake_instructions",
            u64::from(last.handshake_ticks) * INSTRUCTIONS_PER_TICK,
        ),
        (
            "sample_instructions",
            ticks * INSTRUCTIONS_PER_TICK / samples,
        ),
        (
            "update_verify_instructions",
            verification_ticks * INSTRUCTIONS_PER_TICK,
        ),
        (
            "loader_flash_bytes",
            elf::Elf::read(&programs.boot)?.flash_bytes(),
        ),
    ])
}

/// What the loader says that it took: choosing, verifying and copying the image.
fn verification_ticks(emulator: &mut Emulator) -> anyhow::Result<u64> {
    let until = Instant::now() + PATIENCE;
    loop {
        let said = emulator.said();
        let mut whole = said
            .split_inclusive('\n')
            .filter_map(|line| line.strip_suffix('\n'));
        if let Some(line) = whole.find(|line| line.starts_with("loader: ")) {
            let ticks = line
                .strip_prefix("loader: ")
                .and_then(|rest| rest.strip_suffix(" ticks"))
                .and_then(|rest| rest.rsplit(' ').next())
                .and_then(|ticks| ticks.parse().ok());
            return ticks.with_context(|| format!("the loader says {line}"));
        }
        if Instant::now() > until {
            bail!("the loader has started nothing after {PATIENCE:?}: {said}");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The image's counters, in the order in which they lie there.
struct Meter {
    handshakes: u32,
    handshake_ticks: u32,
    samples: u32,
    sample_ticks: u32,
    overruns: u32,
}

fn read(emulator: &mut Emulator, at: u32) -> anyhow::Result<Meter> {
    let bytes = emulator.memory(at, 24)?;
    let word = |index: usize| {
        let bytes = bytes.get(4 * index..).and_then(|rest| rest.first_chunk());
        bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes))
    };
    Ok(Meter {
        handshakes: word(0),
        handshake_ticks: word(1),
        samples: word(3),
        sample_ticks: word(4),
        overruns: word(5),
    })
}

/// Waits until the gateway has acknowledged so many samples.
fn wait(emulator: &mut Emulator, at: u32, samples: u32) -> anyhow::Result<Meter> {
    let until = Instant::now() + PATIENCE;
    loop {
        let meter = read(emulator, at)?;
        if meter.handshakes > 0 && meter.samples >= samples {
            return Ok(meter);
        }
        if Instant::now() > until {
            bail!(
                "{} samples of {samples} after {PATIENCE:?}: {}",
                meter.samples,
                emulator.said()
            );
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn table(figures: &Figures) -> String {
    let mut text = format!("{:<28}{:>12}{:>12}\n", "Cortex-M4", "measured", "budget");
    for (name, figure) in figures {
        let budget = BUDGETS.iter().find(|(budgeted, _)| budgeted == name);
        let budget = budget.map_or("-".to_owned(), |(_, budget)| budget.to_string());
        let _ = writeln!(text, "{name:<28}{figure:>12}{budget:>12}");
    }
    text.push_str(
        "\nBeside it, pqm4's hand-written assembly (cycles and stack on real silicon; its own\n\
         figures, not measured here): ML-KEM-768 m4fstack keygen 644 k, encaps 665 k, decaps 714 k,\n\
         stack 2.9 KB. Our handshake is two key expansions, one decapsulation and two X25519\n\
         operations in portable Rust, framing and hashing included.",
    );
    text
}
