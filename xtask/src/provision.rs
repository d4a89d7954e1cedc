//! Gives an emulated board its name and key, as a maker would at the bench.

use std::fs::OpenOptions;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::Args;
use stencil_firmware::provision::{MAX_PROVISION_BYTES, Provision};
use stencil_protocol::id::DeviceId;

use crate::board;

/// An erase block of the board's flash.
const BLOCK_BYTES: usize = 8_192;
/// All that the board's layout has, and some to spare.
const BLOCKS: usize = 64;
const PROVISION_BYTES: usize = board::layout::IDENTITY_FROM as usize;

/// What the board is to be.
#[derive(Args)]
pub(crate) struct Options {
    /// The flash's file; made, all erased, if it is not there. Of one that is there only the
    /// provision's block changes.
    #[arg(long)]
    flash: PathBuf,
    /// The name under which the device is enrolled.
    #[arg(long)]
    device: String,
    /// The device's key: 64 hexadecimal digits, as `stencil gateway add-device` writes it.
    #[arg(long)]
    psk: PathBuf,
    /// How often it measures.
    #[arg(long, default_value_t = 1_000)]
    interval_ms: u64,
    /// The folder of the keys that sign images (`stencil update keygen`), drawn if it is not
    /// there. With it the application is built, signed and put into slot A, and the board starts
    /// images of these keys alone.
    #[arg(long)]
    keys: Option<PathBuf>,
    /// What the image is called.
    #[arg(long, default_value = "1")]
    image_version: String,
    /// Its place in the order of updates.
    #[arg(long, default_value_t = 1)]
    sequence: u64,
    /// How long a new image may take to talk to its gateway, in seconds.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..))]
    trial_seconds: u32,
}

/// Writes the provision's block, and the image.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    write(
        &options.flash,
        &options.device,
        &options.psk,
        options.interval_ms,
    )?;
    let Some(keys) = &options.keys else {
        return Ok(());
    };
    let programs = board::build()?;
    board::install(
        &options.flash,
        &programs.application,
        keys,
        &options.image_version,
        options.sequence,
        options.trial_seconds,
    )?;
    println!("qemu-system-arm -kernel {}", programs.boot.display());
    Ok(())
}

/// Writes the block to the flash in `flash`.
pub(crate) fn write(
    flash: &Path,
    device: &str,
    psk: &Path,
    interval_ms: u64,
) -> anyhow::Result<()> {
    let device = DeviceId::parse(device).context("the device's name")?;
    let digits = std::fs::read_to_string(psk).with_context(|| psk.display().to_string())?;
    let key = hex::decode(digits.trim())
        .ok()
        .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
        .with_context(|| format!("{} has to hold 64 hexadecimal digits", psk.display()))?;
    ensure!(interval_ms > 0, "--interval-ms has to be at least 1");
    let mut block = vec![0xff; BLOCK_BYTES];
    Provision {
        device: &device,
        psk: &key,
        sample_interval_us: interval_ms.saturating_mul(1_000),
        batch_delay_us: 0,
        resend_us: 0,
        handshake_us: 0,
        keep_alive_us: 0,
    }
    .encode(&mut block[..MAX_PROVISION_BYTES])?;
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(flash)
        .with_context(|| flash.display().to_string())?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    if bytes.is_empty() {
        bytes.resize(BLOCK_BYTES * BLOCKS, 0xff);
    }
    ensure!(
        bytes.len() >= BLOCK_BYTES && bytes.len().is_multiple_of(BLOCK_BYTES),
        "{} has {} bytes, which is no number of blocks of {BLOCK_BYTES} bytes",
        flash.display(),
        bytes.len()
    );
    // The other half of the block says whose images are started.
    bytes[..PROVISION_BYTES].copy_from_slice(&block[..PROVISION_BYTES]);
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&bytes)?;
    Ok(())
}
