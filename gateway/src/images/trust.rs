//! Who may sign images: the keys that the operator has set, and those that have followed them since.
//!
//! What follows is taken only if the keys before have signed it, so that the hub, which brings it, cannot
//! choose it. It is on disk before it counts; what was left is not trusted again, also after a restart.

use std::{io::Read as _, path::PathBuf};

use stencil_crypto::keyfile;
use stencil_log::regular;
use stencil_update::{
    succession::{self, Chain, Succession},
    trust::Trust,
};

use super::hex;

/// The keys, and where their successions lie.
pub(super) struct Trusted {
    chain: Chain,
    file: PathBuf,
}

impl Trusted {
    /// What the keys in `root` have led to. Blocks.
    pub(super) fn open(root: Trust, file: PathBuf) -> Result<Self, String> {
        let max = succession::MAX_LENGTH * succession::MAX_BYTES;
        let mut text = String::new();
        let read = regular::open_to_read(&file).and_then(|it| {
            it.take(u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1))
                .read_to_string(&mut text)
        });
        match read {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(format!("{}: {error}", file.display())),
        }
        let set = root.digest();
        let chain = Chain::follow(root, &text).map_err(|error| {
            format!(
                "{}: {error}. It holds who follows the keys of images.trust; without it these hold",
                file.display()
            )
        })?;
        if chain.now().digest() != set {
            tracing::info!(
                successions = chain.len(),
                keys = hex(&chain.now().digest()[..8]),
                "other keys have followed those of images.trust"
            );
        }
        Ok(Self { chain, file })
    }

    /// The keys that are trusted now.
    pub(super) fn now(&self) -> &Trust {
        self.chain.now()
    }

    /// Takes the keys that follow, if those that are trusted now have signed them. Durable when it
    /// returns; else nothing has changed. Blocks.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(), String> {
        let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
        let succession = Succession::from_text(text).map_err(|error| error.to_string())?;
        let mut chain = self.chain.clone();
        chain.take(succession).map_err(|error| error.to_string())?;
        stencil_crashpoint::reach("gateway.succession_verified");
        keyfile::write_public(&self.file, chain.to_text().as_bytes())
            .map_err(|error| error.to_string())?;
        stencil_crashpoint::reach("gateway.succession_kept");
        self.chain = chain;
        Ok(())
    }
}
