//! Gives an emulated board its name and key, as a maker would at the bench.

use std::fs::OpenOptions;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::Args;
use stencil_firmware::provision::{MAX_PROVISION_BYTES, Provision};
use stencil_protocol::id::DeviceId;

/// An erase block of the board's flash.
const BLOCK_BYTES: usize = 8_192;
/// The provision, the retained state, and room for what comes.
const BLOCKS: usize = 64;

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
}

/// Writes the provision's block.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    write(
        &options.flash,
        &options.device,
        &options.psk,
        options.interval_ms,
    )
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
    bytes[..BLOCK_BYTES].copy_from_slice(&block);
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&bytes)?;
    Ok(())
}
