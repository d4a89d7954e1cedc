//! Keys that sign updates, as files of one folder.
//!
//! | file | holds | mode |
//! |---|---|---|
//! | `ed25519.key` | a seed of 32 bytes, in hexadecimal digits | 0600 |
//! | `ml-dsa-65.key` | a seed of 32 bytes, in hexadecimal digits | 0600 |
//! | `lms.key` | a seed, and which leaf is the next: see [`lms_state`] | 0600 |
//! | `lms.lock` | nothing; locked while `lms.key` is open | 0600 |
//! | `trust.keys` | the three public keys: see [`crate::trust`] | 0644 |
//! | `succession` | where these keys follow others: see [`crate::succession`] | 0644 |
//!
//! There are no built-in keys. The folder belongs on one machine only; see [`lms_state`] for why.

use std::path::{Path, PathBuf};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _, ML_DSA_65_SIGNING, PqdsaKeyPair};
use sha2::{Digest as _, Sha256};
use stencil_crypto::keyfile;
use stencil_crypto::rng::Os;
use zeroize::Zeroizing;

use crate::envelope::{self, Envelope, ML_DSA_65_BYTES, Signature, Signer, to_be_signed};
use crate::header::Header;
use crate::manifest;
use crate::succession::{self, Succession};
use crate::trust::{self, Trust, key_id};

pub mod lms_state;

use lms_state::LmsSigner;

const ED25519_FILE: &str = "ed25519.key";
const ML_DSA_65_FILE: &str = "ml-dsa-65.key";
const TRUST_FILE: &str = "trust.keys";
const SUCCESSION_FILE: &str = "succession";

/// Why keys cannot be made, read or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A key file cannot be read or written.
    #[error(transparent)]
    KeyFile(#[from] keyfile::Error),
    /// The LMS key cannot be used.
    #[error(transparent)]
    Lms(#[from] lms_state::Error),
    /// The folder holds keys already.
    #[error("{} holds keys already; a new folder is needed, keys are never overwritten", path.display())]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// A file holds no seed.
    #[error("{} does not hold 64 hexadecimal digits", path.display())]
    Seed {
        /// The file.
        path: PathBuf,
    },
    /// The public keys cannot be read.
    #[error("{}: {source}", path.display())]
    Trust {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: trust::Error,
    },
    /// A secret key does not belong to the public keys beside it.
    #[error("{} is not the key of {TRUST_FILE} beside it", path.display())]
    Mismatch {
        /// The secret key.
        path: PathBuf,
    },
    /// The update cannot be described.
    #[error(transparent)]
    Manifest(#[from] manifest::Error),
    /// What was signed does not verify.
    #[error("what was signed does not verify: {0}")]
    Check(#[from] envelope::Error),
    /// Who follows cannot be said.
    #[error(transparent)]
    Succession(#[from] succession::Error),
    /// The cryptographic library refused.
    #[error("{0} signing failed")]
    Library(Signer),
}

/// The three keys that sign an update.
pub struct Keys {
    ed25519: Ed25519KeyPair,
    ml_dsa_65: PqdsaKeyPair,
    lms: LmsSigner,
    trust: Trust,
}

impl Keys {
    /// Draws new keys and writes them into `folder`, which is made if it is not there.
    ///
    /// # Errors
    /// [`Error::Exists`] if there are keys already.
    pub fn generate(folder: &Path) -> Result<Self, Error> {
        let (ed25519, ml_dsa_65) = make_pairs(folder)?;
        let lms = LmsSigner::generate(folder, draw())?;
        // Last: a folder without it is not whole, and is not opened.
        let trust = write_trust(folder, &ed25519, &ml_dsa_65, lms.public_key())?;
        Ok(Keys {
            ed25519,
            ml_dsa_65,
            lms,
            trust,
        })
    }

    /// Reads the keys of a folder, and locks its LMS key until they are dropped.
    ///
    /// # Errors
    /// All of [`Error`] but [`Error::Exists`] and [`Error::Library`].
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let trust = read_trust(&folder.join(TRUST_FILE))?;
        let (ed25519, ml_dsa_65) = own_pairs(folder, &trust)?;
        let lms = LmsSigner::open(folder)?;
        if lms.public_key() != trust.lms() {
            return Err(Error::Mismatch {
                path: folder.join(lms_state::FILE),
            });
        }
        Ok(Keys {
            ed25519,
            ml_dsa_65,
            lms,
            trust,
        })
    }

    /// The public keys.
    #[must_use]
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// How many more updates the LMS key can sign.
    #[must_use]
    pub fn signatures_left(&self) -> u32 {
        self.lms.left()
    }

    /// Signs the manifest of an image. Uses one leaf of the LMS key for ever, also if it fails
    /// after that.
    ///
    /// # Errors
    /// [`Error::Lms`], [`Error::Manifest`].
    pub fn sign(&mut self, header: &Header) -> Result<Envelope, Error> {
        let manifest = manifest::encode(header)?;
        let digest = Sha256::digest(&manifest).into();
        let [ed25519_id, ml_dsa_65_id] = self.trust.key_ids();

        let message = to_be_signed(Signer::Ed25519, &ed25519_id, &digest);
        let signature = self.ed25519.sign(&message);
        let ed25519 = Signature {
            key: ed25519_id,
            bytes: signature
                .as_ref()
                .try_into()
                .map_err(|_| Error::Library(Signer::Ed25519))?,
        };

        let message = to_be_signed(Signer::MlDsa65, &ml_dsa_65_id, &digest);
        let mut bytes = [0; ML_DSA_65_BYTES];
        let length = self
            .ml_dsa_65
            .sign(&message, &mut bytes)
            .map_err(|_| Error::Library(Signer::MlDsa65))?;
        if length != ML_DSA_65_BYTES {
            return Err(Error::Library(Signer::MlDsa65));
        }
        let ml_dsa_65 = Signature {
            key: ml_dsa_65_id,
            bytes,
        };

        // Last, so that no leaf is spent on what could not be signed by the others.
        let lms = self
            .lms
            .sign(&header.encode().map_err(manifest::Error::from)?)?;
        let envelope = Envelope::new(*header, ed25519, ml_dsa_65, lms)?;
        Ok(envelope.verify(&self.trust)?.envelope().clone())
    }
}

/// Makes keys in the folder `new` that follow those of `old`, which sign them: the succession is in
/// `new`, too. With `keeps_lms` the LMS key, which devices are built with, goes over to `new`: moved, so
/// that there is one of it at each moment. Called again after a crash it goes on; without `keeps_lms`
/// `new` may hold whole keys already.
///
/// # Errors
/// [`Error::Exists`] if `new` holds other keys, or a crash has left only a part of its keys there, which
/// have signed nothing; else as [`Keys::open`], and [`Error::Succession`].
pub fn succeed(old: &Path, new: &Path, keeps_lms: bool) -> Result<(Keys, Succession), Error> {
    let before = read_trust(&old.join(TRUST_FILE))?;
    let exists = |file: &str| new.join(file).try_exists().unwrap_or(true);
    if !keeps_lms {
        own_pairs(old, &before)?;
        let keys = match exists(TRUST_FILE) {
            true => Keys::open(new)?,
            false => Keys::generate(new)?,
        };
        let succession = sign_succession(old, &before, keys.trust().clone())?;
        keyfile::write_public(new.join(SUCCESSION_FILE), succession.to_text().as_bytes())?;
        return Ok((keys, succession));
    }
    // All but the last step was done before.
    let is_begun = exists(TRUST_FILE) && !exists(lms_state::FILE);
    let lms = LmsSigner::open(old)?;
    if lms.public_key() != before.lms() {
        return Err(Error::Mismatch {
            path: old.join(lms_state::FILE),
        });
    }
    let after = if is_begun {
        read_trust(&new.join(TRUST_FILE))?
    } else {
        let (ed25519, ml_dsa_65) = make_pairs(new)?;
        write_trust(new, &ed25519, &ml_dsa_65, lms.public_key())?
    };
    if after.lms() != before.lms() {
        return Err(Error::Exists {
            path: new.to_owned(),
        });
    }
    own_pairs(new, &after)?;
    let succession = sign_succession(old, &before, after)?;
    keyfile::write_public(new.join(SUCCESSION_FILE), succession.to_text().as_bytes())?;
    lms.move_to(new)?;
    Ok((Keys::open(new)?, succession))
}

fn sign_succession(folder: &Path, before: &Trust, after: Trust) -> Result<Succession, Error> {
    let (ed25519, ml_dsa_65) = own_pairs(folder, before)?;
    let message = succession::to_be_signed(Signer::Ed25519, &before.digest(), &after);
    let signature = ed25519.sign(&message);
    let ed25519 = signature
        .as_ref()
        .try_into()
        .map_err(|_| Error::Library(Signer::Ed25519))?;
    let message = succession::to_be_signed(Signer::MlDsa65, &before.digest(), &after);
    let mut bytes = [0; ML_DSA_65_BYTES];
    let length = ml_dsa_65.sign(&message, &mut bytes);
    if length != Ok(ML_DSA_65_BYTES) {
        return Err(Error::Library(Signer::MlDsa65));
    }
    let succession = Succession::new(before, after, ed25519, bytes);
    succession.verify(before)?;
    Ok(succession)
}

/// Reads a file of trusted public keys.
///
/// # Errors
/// [`Error::KeyFile`], [`Error::Trust`].
pub fn read_trust(path: &Path) -> Result<Trust, Error> {
    let text = keyfile::read_public_text(path)?;
    Trust::from_text(&text).map_err(|source| Error::Trust {
        path: path.to_owned(),
        source,
    })
}

/// Makes a folder, if it is not there, and the two keys in it that sign manifests.
fn make_pairs(folder: &Path) -> Result<(Ed25519KeyPair, PqdsaKeyPair), Error> {
    use std::os::unix::fs::DirBuilderExt as _;
    let exists = |path: &Path| path.try_exists().unwrap_or(true);
    let files = [ED25519_FILE, ML_DSA_65_FILE, TRUST_FILE, lms_state::FILE];
    if files.iter().any(|file| exists(&folder.join(file))) {
        return Err(Error::Exists {
            path: folder.to_owned(),
        });
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|source| keyfile::Error::Io {
            action: "make",
            path: folder.to_owned(),
            source,
        })?;
    for file in [ED25519_FILE, ML_DSA_65_FILE] {
        let mut text = Zeroizing::new(hex::encode(*draw()));
        text.push('\n');
        keyfile::write(folder.join(file), text.as_bytes())?;
    }
    read_pairs(folder)
}

/// Writes the public keys beside the secret ones.
fn write_trust(
    folder: &Path,
    ed25519: &Ed25519KeyPair,
    ml_dsa_65: &PqdsaKeyPair,
    lms: &crate::lms::PublicKey,
) -> Result<Trust, Error> {
    let path = folder.join(TRUST_FILE);
    let trust = Trust::new(
        ed25519.public_key().as_ref(),
        ml_dsa_65.public_key().as_ref(),
        &lms.to_bytes(),
    )
    .map_err(|source| Error::Trust {
        path: path.clone(),
        source,
    })?;
    keyfile::write_public(path, trust.to_text().as_bytes())?;
    Ok(trust)
}

/// The two keys of a folder that sign manifests, which have to be those of the public keys beside them.
fn own_pairs(folder: &Path, trust: &Trust) -> Result<(Ed25519KeyPair, PqdsaKeyPair), Error> {
    let (ed25519, ml_dsa_65) = read_pairs(folder)?;
    let own = [
        key_id(ed25519.public_key().as_ref()),
        key_id(ml_dsa_65.public_key().as_ref()),
    ];
    for (at, file) in [ED25519_FILE, ML_DSA_65_FILE].into_iter().enumerate() {
        if own[at] != trust.key_ids()[at] {
            return Err(Error::Mismatch {
                path: folder.join(file),
            });
        }
    }
    Ok((ed25519, ml_dsa_65))
}

fn read_pairs(folder: &Path) -> Result<(Ed25519KeyPair, PqdsaKeyPair), Error> {
    let seed = read_seed(&folder.join(ED25519_FILE))?;
    let ed25519 =
        Ed25519KeyPair::from_seed_unchecked(&*seed).map_err(|_| Error::Library(Signer::Ed25519))?;
    let seed = read_seed(&folder.join(ML_DSA_65_FILE))?;
    let ml_dsa_65 = PqdsaKeyPair::from_seed(&ML_DSA_65_SIGNING, &*seed)
        .map_err(|_| Error::Library(Signer::MlDsa65))?;
    Ok((ed25519, ml_dsa_65))
}

fn read_seed(path: &Path) -> Result<Zeroizing<[u8; 32]>, Error> {
    let text = keyfile::read_text(path)?;
    let mut seed = Zeroizing::new([0; 32]);
    hex::decode_to_slice(text.trim(), &mut *seed).map_err(|_| Error::Seed {
        path: path.to_owned(),
    })?;
    Ok(seed)
}

fn draw() -> Zeroizing<[u8; 32]> {
    let mut seed = Zeroizing::new([0; 32]);
    rand_core::Rng::fill_bytes(&mut Os, &mut *seed);
    seed
}
