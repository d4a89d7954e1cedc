//! `stencil image`: firmware images on the hub, and who may sign them.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand};
use reqwest::Method;
use serde_json::json;
use stencil_update::envelope::{self, Envelope};
use stencil_update::header::MAX_IMAGE_BYTES;
use stencil_update::id::Id;
use stencil_update::succession;
use stencil_update::trust::MAX_FILE_BYTES;

use crate::api::{Client, Hub};
use crate::output::{self, Format, say};

/// Pushes signed firmware images to the hub, and says who may sign them.
///
///   stencil image trust keys/trust.keys               once, by an admin
///   stencil image push app.bin --manifest app.suit    `stencil update sign` makes the manifest
///   stencil rollout create DIGEST --devices 'freezer-*'
///
/// The hub verifies all signatures before it takes the image, and refuses one for other devices,
/// and one that is not newer than what it has.
#[derive(Parser)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    #[command(flatten)]
    hub: Hub,
    /// How to answer.
    #[arg(long, value_enum, default_value = "text", global = true)]
    output: Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Sets who may sign the tenant's images.
    Trust {
        /// The public keys: `trust.keys` of the folder that `stencil update keygen` made.
        keys: PathBuf,
        /// A kind of devices that images may be for, as VENDOR/CLASS: names or UUIDs, as for
        /// `stencil update sign`. May be given more than once; without one, any.
        #[arg(long = "class", value_name = "VENDOR/CLASS")]
        classes: Vec<String>,
        /// The keys that were trusted until now have signed these, as `stencil update succeed` has it in
        /// the file `succession`. Gateways that trust those change over by themselves.
        #[arg(long)]
        succession: Option<PathBuf>,
    },
    /// Pushes an image with its manifest; prints its digest, by which it is rolled out.
    Push {
        /// The image, as it is to be in the device's flash.
        image: PathBuf,
        /// The signed manifest.
        #[arg(long)]
        manifest: PathBuf,
    },
    /// Lists images, the one that was pushed last at first.
    List,
}

/// Runs it.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.hub)?;
    match args.command {
        Command::Trust {
            keys,
            classes,
            succession,
        } => {
            let keys = crate::bounded::text(&keys, MAX_FILE_BYTES).context("the keys")?;
            let classes: Vec<_> = classes
                .iter()
                .map(|text| {
                    let (vendor, class) = class(text)?;
                    Ok(json!({ "vendor": vendor.to_string(), "class": class.to_string() }))
                })
                .collect::<anyhow::Result<_>>()?;
            let mut body = json!({ "keys": keys, "classes": classes });
            if let Some(file) = &succession {
                let text = crate::bounded::text(file, succession::MAX_BYTES);
                body["succession"] = text.context("the succession")?.into();
            }
            let body = body.to_string();
            let body = ("application/json", body.into_bytes());
            client
                .call(Method::PUT, "/api/v1/update-trust", Some(body))
                .await?;
            if args.output == Format::Text {
                say!("images signed by these keys are taken from now on");
                match succession {
                    Some(_) => say!("gateways change over when they next hear of it"),
                    None => say!(
                        "gateways that trust other keys have to be given these by hand: see \
                         docs/guides/updates.md"
                    ),
                }
            }
        }
        Command::Push { image, manifest } => {
            let manifest = read(&manifest, envelope::MAX_BYTES as u64)?;
            let payload = read(&image, u64::from(MAX_IMAGE_BYTES))?;
            // What the manifest says is for the hub to verify; here it is only the address.
            let digest = hex::encode(Envelope::decode(&manifest)?.claims().digest);
            let length = u32::try_from(manifest.len())?.to_be_bytes();
            let body = [&length, &manifest[..], &payload[..]].concat();
            let body = ("application/octet-stream", body);
            let path = format!("/api/v1/images/{digest}");
            let pushed = client.call(Method::PUT, &path, Some(body)).await?;
            match args.output {
                Format::Json => output::json(&pushed)?,
                Format::Text => say!("{digest}"),
            }
        }
        Command::List => {
            let items = client.list("/api/v1/images?limit=1000").await?;
            let columns = [
                "version",
                "sequence",
                "bytes",
                "pushed_us",
                "vendor",
                "class",
                "digest",
            ];
            output::items(args.output, &items, &columns)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Vendor and class of `VENDOR/CLASS`.
fn class(text: &str) -> anyhow::Result<(Id, Id)> {
    let Some((vendor, class)) = text.split_once('/') else {
        bail!("{} is not of the form VENDOR/CLASS", output::escaped(text));
    };
    let vendor = Id::parse(vendor).unwrap_or_else(|_| Id::of_vendor(vendor));
    let class = Id::parse(class).unwrap_or_else(|_| Id::of_class(vendor, class));
    Ok((vendor, class))
}

fn read(path: &std::path::Path, max: u64) -> anyhow::Result<Vec<u8>> {
    use std::io::Read as _;
    let file = std::fs::File::open(path).with_context(|| path.display().to_string())?;
    let mut bytes = Vec::new();
    file.take(max + 1)
        .read_to_end(&mut bytes)
        .with_context(|| path.display().to_string())?;
    if bytes.len() as u64 > max {
        bail!("{} is longer than {max} bytes", path.display());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_names_or_uuids() {
        let (vendor, freezer) = class("acme.example/freezer").unwrap();
        assert_eq!(vendor, Id::of_vendor("acme.example"));
        assert_eq!(freezer, Id::of_class(vendor, "freezer"));
        assert_eq!(
            class(&format!("{vendor}/{freezer}")).unwrap(),
            (vendor, freezer)
        );
        assert!(class("acme.example").is_err());
    }
}
