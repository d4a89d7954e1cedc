//! Secrets: random, shown once, kept as their SHA-256.

use sha2::{Digest as _, Sha256};

use crate::{Error, Secret};

/// Random bytes of a secret.
const SECRET_BYTES: usize = 32;
/// Random bytes of an id.
const ID_BYTES: usize = 8;

/// A fresh id, 16 hex digits, and a fresh secret of 64 hex digits behind `prefix`.
pub(super) fn fresh(prefix: &str) -> Result<(String, Secret), Error> {
    let mut random = [0_u8; ID_BYTES + SECRET_BYTES];
    getrandom::fill(&mut random)
        .map_err(|error| Error::Unavailable(format!("no random bytes: {error}")))?;
    let (id, secret) = random.split_at(ID_BYTES);
    Ok((
        hex::encode(id),
        Secret::new(format!("{prefix}{}", hex::encode(secret))),
    ))
}

/// Whether a text looks like a secret with this prefix: what does not is not asked for.
pub(super) fn has_form(text: &str, prefix: &str) -> bool {
    text.len() == prefix.len() + 2 * SECRET_BYTES && text.starts_with(prefix)
}

/// What is kept of a secret.
pub(super) fn digest(secret: &str) -> Vec<u8> {
    Sha256::digest(secret.as_bytes()).to_vec()
}
