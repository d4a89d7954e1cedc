//! Who signs updates after whom: the public keys that follow, signed by the keys before.
//!
//! A gateway holds the keys that it trusts in a file of its own, so that a hub that was broken into
//! cannot make it take images of somebody else. When these keys change, the ones before sign the ones
//! after: that a gateway can verify with what it has, whoever brings it.
//!
//! ```text
//! # who signs updates after whom; made by `stencil update succeed`
//! before 9f86d081…                  SHA-256 of the text of the keys before
//! ed25519 3b6a27bc…                 the keys that follow
//! ml-dsa-65 48683d91…
//! lms 000000010000000600000004…
//! signed-ed25519 e5564300…          by the keys before
//! signed-ml-dsa-65 7a1c…
//! ```
//!
//! Both of the keys that sign manifests sign it, each over
//!
//! ```text
//! "stencil update succession 1\n" ‖ name of the key's kind ‖ "\n" ‖ before (32 bytes) ‖ after (32 bytes)
//! ```
//!
//! where `after` is the SHA-256 of the text of the keys that follow. What is signed of a manifest
//! begins with a byte of CBOR (0x85), so that neither can be taken for the other. LMS does not sign it:
//! its leaves are few, and that they are used up is a reason for keys to be followed.
//!
//! A succession says nothing of time. Who holds the keys before can name any successor for ever, so
//! that a verifier has to forget them once it has taken one, and never goes back to keys that it has left
//! ([`Chain`]).

use crate::envelope::{ED25519_BYTES, Fault, ML_DSA_65_BYTES, Signature, Signer};
use crate::trust::{self, Trust};

/// The longest text of a succession, in bytes.
pub const MAX_BYTES: usize = 16 * 1024;
/// The most successions that a [`Chain`] follows.
pub const MAX_LENGTH: usize = 100;

const CONTEXT: &[u8] = b"stencil update succession 1\n";
const BEFORE: &str = "before ";
const SIGNED: [&str; 2] = ["signed-ed25519 ", "signed-ml-dsa-65 "];

/// Why a succession is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Longer than [`MAX_BYTES`].
    #[error("a succession has at most {MAX_BYTES} bytes")]
    TooLong,
    /// A line is missing, is there twice, or cannot be read.
    #[error(
        "the succession has no line `{line}` with {bytes} bytes in hexadecimal digits, or more than one"
    )]
    Line {
        /// Which.
        line: &'static str,
        /// How many bytes it holds.
        bytes: usize,
    },
    /// The keys that follow cannot be read.
    #[error("the keys that follow: {0}")]
    Trust(#[from] trust::Error),
    /// It is of other keys than those that are trusted.
    #[error("it is signed by the keys {given}…, trusted are {trusted}…")]
    Before {
        /// The start of the digest that it names.
        given: String,
        /// The start of the digest of what is trusted.
        trusted: String,
    },
    /// A signature is wrong.
    #[error("the {signer} signature {fault}")]
    Signature {
        /// Which.
        signer: Signer,
        /// What is wrong with it.
        fault: Fault,
    },
    /// The keys follow themselves, or keys come back that were left.
    #[error("the keys that follow were trusted before: keys that were left are not taken again")]
    Back,
    /// More than [`MAX_LENGTH`].
    #[error("at most {MAX_LENGTH} successions are followed; set the trusted keys by hand")]
    TooMany,
}

/// A succession, read but not verified.
#[derive(Clone, PartialEq, Eq)]
pub struct Succession {
    before: [u8; 32],
    after: Trust,
    ed25519: [u8; ED25519_BYTES],
    ml_dsa_65: Box<[u8; ML_DSA_65_BYTES]>,
}

impl core::fmt::Debug for Succession {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Succession")
            .field("before", &hex::encode(self.before))
            .field("after", &self.after)
            .finish_non_exhaustive()
    }
}

impl Succession {
    pub(crate) fn new(
        before: &Trust,
        after: Trust,
        ed25519: [u8; ED25519_BYTES],
        ml_dsa_65: [u8; ML_DSA_65_BYTES],
    ) -> Self {
        Succession {
            before: before.digest(),
            after,
            ed25519,
            ml_dsa_65: Box::new(ml_dsa_65),
        }
    }

    /// The digest of the keys that are said to have signed it.
    #[must_use]
    pub fn before(&self) -> &[u8; 32] {
        &self.before
    }

    /// The keys that are said to follow. Nobody has vouched for them before [`Succession::verify`].
    #[must_use]
    pub fn claims(&self) -> &Trust {
        &self.after
    }

    /// The text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let keys = self.after.to_text();
        // Without its first line, which is a comment.
        let keys = keys.split_once('\n').map_or("", |(_, keys)| keys);
        format!(
            "# who signs updates after whom; made by `stencil update succeed`\n{BEFORE}{}\n{keys}{}{}\n{}{}\n",
            hex::encode(self.before),
            SIGNED[0],
            hex::encode(self.ed25519),
            SIGNED[1],
            hex::encode(&self.ml_dsa_65[..]),
        )
    }

    /// Reads a text.
    ///
    /// # Errors
    /// [`Error::TooLong`], [`Error::Line`], [`Error::Trust`].
    pub fn from_text(text: &str) -> Result<Self, Error> {
        if text.len() > MAX_BYTES {
            return Err(Error::TooLong);
        }
        let own = |line: &&str| line.starts_with(BEFORE) || line.starts_with("signed-");
        let keys: Vec<&str> = text.lines().filter(|line| !own(&line.trim())).collect();
        Ok(Succession {
            before: field(text, BEFORE)?,
            ed25519: field(text, SIGNED[0])?,
            ml_dsa_65: Box::new(field(text, SIGNED[1])?),
            after: Trust::from_text(&keys.join("\n"))?,
        })
    }

    /// Verifies both signatures with the keys before.
    ///
    /// # Errors
    /// [`Error::Before`], [`Error::Signature`]; [`Error::Back`] if the keys follow themselves.
    pub fn verify(&self, before: &Trust) -> Result<&Trust, Error> {
        let trusted = before.digest();
        if trusted != self.before {
            let start = |digest: &[u8; 32]| hex::encode(&digest[..8]);
            return Err(Error::Before {
                given: start(&self.before),
                trusted: start(&trusted),
            });
        }
        if self.after.digest() == trusted {
            return Err(Error::Back);
        }
        let [ed25519, ml_dsa_65] = before.key_ids();
        let message = |signer| to_be_signed(signer, &self.before, &self.after);
        let checks = [
            (
                Signer::Ed25519,
                before.check_ed25519(
                    &Signature {
                        key: ed25519,
                        bytes: self.ed25519,
                    },
                    &message(Signer::Ed25519),
                ),
            ),
            (
                Signer::MlDsa65,
                before.check_ml_dsa_65(
                    &Signature {
                        key: ml_dsa_65,
                        bytes: *self.ml_dsa_65,
                    },
                    &message(Signer::MlDsa65),
                ),
            ),
        ];
        for (signer, check) in checks {
            check.map_err(|fault| Error::Signature { signer, fault })?;
        }
        Ok(&self.after)
    }
}

/// What the signer `signer` of the keys before signs.
pub(crate) fn to_be_signed(signer: Signer, before: &[u8; 32], after: &Trust) -> Vec<u8> {
    let name = signer.to_string();
    [CONTEXT, name.as_bytes(), b"\n", before, &after.digest()].concat()
}

/// The keys that are trusted now, and all that were trusted before them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    now: Trust,
    left: Vec<[u8; 32]>,
    links: Vec<Succession>,
}

impl Chain {
    /// Begins with keys that somebody has set.
    #[must_use]
    pub fn new(root: Trust) -> Self {
        Chain {
            now: root,
            left: Vec::new(),
            links: Vec::new(),
        }
    }

    /// The keys that are trusted now.
    #[must_use]
    pub fn now(&self) -> &Trust {
        &self.now
    }

    /// How many successions lead to them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.links.len()
    }

    /// The keys are those that were set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// Takes the keys that follow, for good: what was trusted before is not any more.
    ///
    /// # Errors
    /// As for [`Succession::verify`]; [`Error::Back`] also for keys that were left earlier;
    /// [`Error::TooMany`]. Nothing has changed then.
    pub fn take(&mut self, succession: Succession) -> Result<(), Error> {
        let after = succession.verify(&self.now)?.clone();
        if self.left.contains(&after.digest()) {
            return Err(Error::Back);
        }
        if self.links.len() >= MAX_LENGTH {
            return Err(Error::TooMany);
        }
        self.left.push(self.now.digest());
        self.now = after;
        self.links.push(succession);
        Ok(())
    }

    /// The text of all successions, in order; empty without one.
    #[must_use]
    pub fn to_text(&self) -> String {
        let texts: Vec<String> = self.links.iter().map(Succession::to_text).collect();
        texts.join("\n")
    }

    /// What `root` leads to by the successions of a text that [`Chain::to_text`] wrote. Those before the
    /// root are passed over, so that somebody may set newer keys by hand.
    ///
    /// # Errors
    /// All of [`Error`]: a text that is not whole leads nowhere.
    pub fn follow(root: Trust, text: &str) -> Result<Self, Error> {
        if text.len() > MAX_LENGTH * MAX_BYTES {
            return Err(Error::TooMany);
        }
        let mut chain = Chain::new(root);
        for part in parts(text) {
            let succession = Succession::from_text(&part)?;
            if *succession.before() == chain.now.digest() {
                chain.take(succession)?;
            }
        }
        Ok(chain)
    }
}

/// The text of each succession: a part begins at its `before`.
fn parts(text: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for line in text.lines() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line.starts_with(BEFORE) || parts.is_empty() {
            parts.push(String::new());
        }
        if let Some(part) = parts.last_mut() {
            part.push_str(line);
            part.push('\n');
        }
    }
    parts
}

/// The bytes of the one line that begins with `name`.
fn field<const N: usize>(text: &str, name: &'static str) -> Result<[u8; N], Error> {
    let wrong = Error::Line {
        line: name.trim_end(),
        bytes: N,
    };
    let mut lines = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix(name));
    let (Some(digits), None) = (lines.next(), lines.next()) else {
        return Err(wrong);
    };
    let mut bytes = [0; N];
    match hex::decode_to_slice(digits.trim(), &mut bytes) {
        Ok(()) => Ok(bytes),
        Err(_) => Err(wrong),
    }
}
