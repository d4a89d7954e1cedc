//! The document that a passport names.

use std::path::{Path, PathBuf};

use alloy_primitives::B256;
use stencil_ownership::cid::Cid;
use stencil_store::MAX_DOCUMENT;

/// Which one.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct Document {
    /// The document that says what the device is.
    #[arg(long, value_name = "FILE")]
    document: Option<PathBuf>,
    /// In its place its SHA-256, 32 bytes as 0x….
    #[arg(long, value_name = "0x…")]
    document_sha256: Option<B256>,
}

/// A document by its name, with its bytes where they are known.
pub(super) struct Named {
    pub(super) cid: Cid,
    /// The media type and the bytes.
    pub(super) body: Option<(&'static str, Vec<u8>)>,
}

impl Document {
    pub(super) fn read(&self) -> anyhow::Result<Named> {
        match (&self.document, self.document_sha256) {
            (Some(file), _) => {
                let body = crate::bounded::bytes(file, MAX_DOCUMENT)?;
                anyhow::ensure!(
                    !body.is_empty(),
                    "--document {}: it is empty; it says what the device is",
                    file.display()
                );
                let kind = media_type(file);
                // A passport names it for good: better now than when the hub refuses it.
                if kind == "application/json" {
                    serde_json::from_slice::<serde::de::IgnoredAny>(&body).map_err(|error| {
                        anyhow::anyhow!("--document {}: it is no JSON: {error}", file.display())
                    })?;
                }
                Ok(Named {
                    cid: Cid::of(&body),
                    body: Some((kind, body)),
                })
            }
            (None, hash) => Ok(Named {
                cid: Cid(hash.unwrap_or_default()),
                body: None,
            }),
        }
    }
}

/// What a file is by its name. JSON is text as well: the hub sees what it is.
fn media_type(file: &Path) -> &'static str {
    let ending = file.extension().and_then(|ending| ending.to_str());
    match ending.map(str::to_ascii_lowercase).as_deref() {
        Some("json") => "application/json",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("webp") => "image/webp",
        _ => "text/plain",
    }
}
