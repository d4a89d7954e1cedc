//! `stencil update`: keys that sign firmware, signed manifests, and what is in them.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand};
use serde_json::json;
use stencil_update::envelope::{self, Envelope};
use stencil_update::header::{Header, MAX_IMAGE_BYTES, Version};
use stencil_update::id::Id;
use stencil_update::signing::{self, Keys, lms_state};

use crate::output::{self, Format, say};

/// Signs firmware images, and checks what was signed.
///
/// An update is an image and a manifest that says what it is and which devices it is for. Three
/// keys sign it: Ed25519 and ML-DSA-65, which hub and gateway verify, and LMS, which the device
/// verifies itself. All three have to be right.
///
///   stencil update keygen --out keys                 once; keep `keys` on one machine, offline
///   stencil update sign --keys keys --image app.bin --vendor acme.example --class freezer-node \
///       --sequence 7 --version 1.4.0 --out app.suit
///   stencil update verify --trust keys/trust.keys --image app.bin app.suit
///
/// Devices are built with the `lms` key of `trust.keys`; hub and gateways get the whole file. An
/// LMS key signs 1,024 updates, each with a leaf of its own. A leaf that signs twice breaks the key:
/// never copy the folder and sign with both, never restore it from a backup.
#[derive(Parser)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// How to answer.
    #[arg(long, value_enum, default_value = "text", global = true)]
    output: Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Makes the three keys in a new folder; secret files are readable by their owner only.
    Keygen {
        /// The folder; it must not hold keys yet.
        #[arg(long)]
        out: PathBuf,
    },
    /// Makes keys that follow others, and has those sign them: hub and gateways change over by themselves.
    ///
    /// The new folder gets new Ed25519 and ML-DSA-65 keys and the LMS key of the old one, which devices are
    /// built with: it is moved, so the old folder signs no more. `succession` in the new folder is for
    /// `stencil image trust`. Called again after a crash it goes on.
    Succeed {
        /// The folder with the keys before.
        #[arg(long)]
        keys: PathBuf,
        /// The new folder, on the same file system; it must not hold keys yet.
        #[arg(long)]
        out: PathBuf,
        /// Make a new LMS key, too. Only devices that are built with it take what it signs.
        #[arg(long)]
        new_lms: bool,
    },
    /// Signs an image's manifest. Uses up one of the 1,024 signatures of the LMS key.
    #[command(disable_version_flag = true)]
    Sign {
        /// The folder that `keygen` made.
        #[arg(long)]
        keys: PathBuf,
        /// The image, as it is to be in the device's flash.
        #[arg(long)]
        image: PathBuf,
        /// Who makes the devices: a domain, e.g. `acme.example`, or a UUID.
        #[arg(long)]
        vendor: String,
        /// Which devices: a name of the vendor's, e.g. `freezer-node`, or a UUID.
        #[arg(long)]
        class: String,
        /// The place in the order of updates, from 1; a device takes only higher ones than its own.
        #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
        sequence: u64,
        /// What people call it: up to 32 printable characters, e.g. `1.4.0`.
        #[arg(long)]
        version: String,
        /// Where to write the manifest; an existing file is not overwritten.
        #[arg(long)]
        out: PathBuf,
    },
    /// Shows what a manifest says, without verifying anything.
    Inspect {
        /// The manifest.
        manifest: PathBuf,
    },
    /// Verifies all signatures of a manifest, and the image if it is given.
    Verify {
        /// Who is trusted: `trust.keys` of the folder that `keygen` made.
        #[arg(long)]
        trust: PathBuf,
        /// The image that has to be the one that was signed.
        #[arg(long)]
        image: Option<PathBuf>,
        /// The manifest.
        manifest: PathBuf,
    },
    /// Takes an LMS key into use again that was moved to another disk.
    ///
    /// A key file that was copied or restored is refused, because leaves that were used since the
    /// copy would be used twice. If the other one is gone for good, say from which leaf on nothing
    /// was signed yet: `inspect` shows the leaf of each manifest.
    Recover {
        /// The folder that `keygen` made.
        #[arg(long)]
        keys: PathBuf,
        /// The first leaf that is surely unused, 0 to 1024.
        #[arg(long)]
        next_leaf: u32,
    },
}

/// Runs it.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::Keygen { out } => {
            let keys = Keys::generate(out)?;
            made(args.output, out, &keys)
        }
        Command::Succeed { keys, out, new_lms } => {
            let (keys, _) = signing::succeed(keys, out, !new_lms)?;
            made(args.output, out, &keys)
        }
        Command::Sign {
            keys,
            image,
            vendor,
            class,
            sequence,
            version,
            out,
        } => {
            let content = read(image, u64::from(MAX_IMAGE_BYTES))?;
            let vendor = Id::parse(vendor).unwrap_or_else(|_| Id::of_vendor(vendor));
            let header = Header {
                vendor,
                class: Id::parse(class).unwrap_or_else(|_| Id::of_class(vendor, class)),
                sequence: *sequence,
                size: u32::try_from(content.len()).unwrap_or(u32::MAX),
                digest: stencil_update::device::digest(&content),
                version: Version::new(version)?,
            };
            header
                .encode()
                .with_context(|| image.display().to_string())?;
            sign(args.output, keys, &header, out)
        }
        Command::Inspect { manifest } => {
            let envelope = read_envelope(manifest)?;
            show(args.output, &envelope, None)
        }
        Command::Verify {
            trust,
            image,
            manifest,
        } => {
            let trust = signing::read_trust(trust)?;
            let verified = read_envelope(manifest)?
                .verify(&trust)
                .with_context(|| manifest.display().to_string())?;
            if let Some(image) = image {
                // One byte more than it may have tells that it is too long.
                let content = read(image, u64::from(verified.header().size) + 1)?;
                verified
                    .check_image(&content)
                    .with_context(|| image.display().to_string())?;
            }
            let what = match image {
                Some(_) => "all signatures verify, and the image is the one that was signed",
                None => "all signatures verify",
            };
            show(args.output, verified.envelope(), Some(what))
        }
        Command::Recover { keys, next_leaf } => {
            lms_state::recover(keys, *next_leaf)?;
            say!(
                "the next signature of {} uses leaf {next_leaf}",
                keys.display()
            );
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn made(format: Format, out: &Path, keys: &Keys) -> anyhow::Result<ExitCode> {
    let [ed25519, ml_dsa_65] = keys.trust().key_ids().map(hex::encode);
    let lms = hex::encode(keys.trust().lms().to_bytes());
    match format {
        Format::Json => output::json(&json!({
            "folder": out,
            "ed25519_key": ed25519,
            "ml_dsa_65_key": ml_dsa_65,
            "lms_public_key": lms,
            "signatures_left": keys.signatures_left(),
        }))?,
        Format::Text => {
            say!("made keys in {}", out.display());
            say!("Ed25519 {ed25519}, ML-DSA-65 {ml_dsa_65}");
            say!("devices are built with the LMS key {lms}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn sign(format: Format, keys: &Path, header: &Header, out: &Path) -> anyhow::Result<ExitCode> {
    let mut keys = Keys::open(keys)?;
    // Before a leaf is used up for a file that can't be written.
    let mut file = std::fs::File::create_new(out)
        .with_context(|| format!("cannot write {}", out.display()))?;
    let envelope = match keys.sign(header) {
        Ok(envelope) => envelope,
        Err(error) => {
            drop(file);
            // The error to report is the first.
            let _ = std::fs::remove_file(out);
            return Err(error.into());
        }
    };
    std::io::Write::write_all(&mut file, &envelope.encode())
        .and_then(|()| file.sync_all())
        .with_context(|| format!("cannot write {}", out.display()))?;
    let left = keys.signatures_left();
    match format {
        Format::Json => output::json(&json!({
            "manifest": out,
            "sequence": header.sequence,
            "digest": hex::encode(header.digest),
            "lms_leaf": envelope.lms_leaf(),
            "signatures_left": left,
        }))?,
        Format::Text => {
            say!(
                "signed {} (sequence {}, {} bytes) into {}",
                header.version,
                header.sequence,
                header.size,
                out.display()
            );
            say!("the LMS key has {left} signatures left");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows a manifest; `verified` says what was checked.
fn show(format: Format, envelope: &Envelope, verified: Option<&str>) -> anyhow::Result<ExitCode> {
    let header = envelope.claims();
    let [ed25519, ml_dsa_65] = envelope.keys().map(hex::encode);
    let digest = hex::encode(header.digest);
    if format == Format::Json {
        output::json(&json!({
            "verified": verified.is_some(),
            "version": header.version.as_str(),
            "sequence": header.sequence,
            "vendor": header.vendor.to_string(),
            "class": header.class.to_string(),
            "size": header.size,
            "digest": digest,
            "ed25519_key": ed25519,
            "ml_dsa_65_key": ml_dsa_65,
            "lms_leaf": envelope.lms_leaf(),
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows = [
        ("version", header.version.to_string()),
        ("sequence", header.sequence.to_string()),
        ("vendor", header.vendor.to_string()),
        ("class", header.class.to_string()),
        ("size", format!("{} bytes", header.size)),
        ("SHA-256", digest),
        ("Ed25519 key", ed25519),
        ("ML-DSA-65 key", ml_dsa_65),
        ("LMS leaf", envelope.lms_leaf().to_string()),
        (
            "verified",
            verified
                .unwrap_or("no: `stencil update verify` does")
                .to_owned(),
        ),
    ];
    output::table(&rows.map(|(name, value)| vec![name.to_owned(), value]));
    Ok(ExitCode::SUCCESS)
}

fn read_envelope(path: &Path) -> anyhow::Result<Envelope> {
    let bytes = read(path, envelope::MAX_BYTES as u64)?;
    Envelope::decode(&bytes).with_context(|| path.display().to_string())
}

/// Reads a file of at most this many bytes.
fn read(path: &Path, max: u64) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(max + 1).read_to_end(&mut bytes))
        .with_context(|| format!("cannot read {}", path.display()))?;
    if bytes.len() as u64 > max {
        bail!(
            "{} has more than the {max} bytes that are possible here",
            path.display()
        );
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(words: &[&str]) -> anyhow::Result<ExitCode> {
        run(&Args::try_parse_from([&["update"], words].concat())?)
    }

    #[test]
    fn keys_are_made_an_image_signed_and_what_changed_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let (keys, image, manifest) = (path("keys"), path("app.bin"), path("app.suit"));
        let trust = path("keys/trust.keys");
        std::fs::write(&image, b"an image").unwrap();
        let sign = |version: &str, out: &str| {
            call(&[
                "sign",
                "--keys",
                &keys,
                "--image",
                &image,
                "--vendor",
                "acme.example",
                "--class",
                "freezer-node",
                "--sequence",
                "7",
                "--version",
                version,
                "--out",
                out,
            ])
        };
        call(&["keygen", "--out", &keys]).unwrap();
        let again = call(&["keygen", "--out", &keys]).unwrap_err().to_string();
        assert!(again.contains("never overwritten"), "{again}");
        sign("1.4.0", &manifest).unwrap();
        // An existing file costs no leaf.
        sign("1.4.0", &manifest).unwrap_err();
        sign("a version with spaces", &path("other.suit")).unwrap_err();
        assert_eq!(
            Keys::open(Path::new(&keys)).unwrap().signatures_left(),
            1023
        );

        call(&["inspect", &manifest]).unwrap();
        let verify = || call(&["verify", "--trust", &trust, "--image", &image, &manifest]);
        verify().unwrap();
        for (content, expected) in [
            ("an imagf", "not the one that was signed"),
            ("an imag", "truncated: 7 of 8"),
            ("an image!", "has 9 bytes"),
        ] {
            std::fs::write(&image, content).unwrap();
            let error = format!("{:#}", verify().unwrap_err());
            assert!(error.contains(expected), "{error}");
        }
        let mut bytes = std::fs::read(&manifest).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        std::fs::write(&manifest, bytes).unwrap();
        let error = format!("{:#}", verify().unwrap_err());
        assert!(
            error.contains("the LMS signature does not verify"),
            "{error}"
        );
    }
}
