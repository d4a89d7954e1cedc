//! Verification of LMS signatures: RFC 8554, with the parameter sets of NIST SP 800-208.
//!
//! A device trusts one public key of 60 bytes in HSS form with a single level (RFC 8554, section
//! 6): [`PublicKey`]. A signature has 1456 bytes, and is read once, from front to back, in pieces
//! of 32 bytes: it may stay in flash. Verifying takes about 4,400 calls of SHA-256 over one block
//! and less than a kilobyte of stack. Nothing here is secret, so nothing is constant-time.
//!
//! Written here rather than taken from `hbs-lms`, which the signer uses: that needs the signature
//! in RAM, room on the stack for the widest parameter set, and panics on input that is cut short.
//! The two check each other in the tests.

use sha2::{Digest as _, Sha256};

/// The length of a public key: levels, LMS type, LM-OTS type, identifier I, root.
pub const PUBLIC_KEY_BYTES: usize = 60;
/// The length of a signature with [`SHA256_H10_W8`].
pub const SIGNATURE_BYTES: usize = SHA256_H10_W8.signature_bytes();
/// How many signatures a key can make.
pub const LEAVES: u32 = SHA256_H10_W8.leaves();

/// n of RFC 8554: the length of each hash.
const N: usize = 32;
const D_PBLC: [u8; 2] = [0x80, 0x80];
const D_MESG: [u8; 2] = [0x81, 0x81];
const D_LEAF: [u8; 2] = [0x82, 0x82];
const D_INTR: [u8; 2] = [0x83, 0x83];

/// A parameter set with SHA-256 and n = 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    lms_type: u32,
    height: u32,
    ots_type: u32,
    /// Bits a digit: w.
    width: u32,
    /// Digits, with those of the checksum: p.
    chains: u16,
    /// Left shift of the checksum: ls.
    shift: u32,
}

/// `LMS_SHA256_M32_H10` with `LMOTS_SHA256_N32_W8`: what Stencil signs with.
pub const SHA256_H10_W8: Parameters = Parameters {
    lms_type: 6,
    height: 10,
    ots_type: 4,
    width: 8,
    chains: 34,
    shift: 0,
};
/// `LMS_SHA256_M32_H5` with `LMOTS_SHA256_N32_W8`, as in RFC 8554's test vectors.
pub const SHA256_H5_W8: Parameters = Parameters {
    lms_type: 5,
    height: 5,
    ..SHA256_H10_W8
};
/// `LMS_SHA256_M32_H10` with `LMOTS_SHA256_N32_W4`, as in RFC 8554's test vectors.
pub const SHA256_H10_W4: Parameters = Parameters {
    ots_type: 3,
    width: 4,
    chains: 67,
    shift: 4,
    ..SHA256_H10_W8
};

impl Parameters {
    /// The length of a signature in HSS form with one level.
    #[must_use]
    pub const fn signature_bytes(&self) -> usize {
        4 + 4 + 4 + N + self.chains as usize * N + 4 + self.height as usize * N
    }

    /// How many signatures a key can make.
    #[must_use]
    pub const fn leaves(&self) -> u32 {
        1 << self.height
    }
}

/// Why a signature or a key is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error<E> {
    /// The public key is not of the expected form.
    #[error("not an LMS public key of one level with SHA-256, height 10 and w = 8 (60 bytes)")]
    Key,
    /// The signature is of another parameter set, has another length, or more than one level.
    #[error("not an LMS signature of one level with SHA-256, height 10 and w = 8 (1456 bytes)")]
    Form,
    /// The signature is not of this key over this message.
    #[error("the LMS signature does not verify")]
    Wrong,
    /// The signature could not be read.
    #[error("the signature cannot be read: {0}")]
    Source(E),
}

/// A public key, checked for its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey {
    parameters: Parameters,
    identifier: [u8; 16],
    root: [u8; N],
}

impl PublicKey {
    /// Reads a key of [`SHA256_H10_W8`] in HSS form.
    ///
    /// # Errors
    /// [`Error::Key`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error<core::convert::Infallible>> {
        Self::with_parameters(SHA256_H10_W8, bytes)
    }

    /// Reads a key of another parameter set.
    ///
    /// # Errors
    /// [`Error::Key`].
    pub fn with_parameters(
        parameters: Parameters,
        bytes: &[u8],
    ) -> Result<Self, Error<core::convert::Infallible>> {
        let bytes: &[u8; PUBLIC_KEY_BYTES] = bytes.try_into().map_err(|_| Error::Key)?;
        let head = [1, parameters.lms_type, parameters.ots_type];
        if (0..3).any(|at| word(bytes, 4 * at) != head[at]) {
            return Err(Error::Key);
        }
        let (mut identifier, mut root) = ([0; 16], [0; N]);
        identifier.copy_from_slice(&bytes[12..28]);
        root.copy_from_slice(&bytes[28..]);
        Ok(Self {
            parameters,
            identifier,
            root,
        })
    }

    /// The key's bytes, in HSS form.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; PUBLIC_KEY_BYTES] {
        let mut bytes = [0; PUBLIC_KEY_BYTES];
        bytes[..4].copy_from_slice(&1_u32.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.parameters.lms_type.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.parameters.ots_type.to_be_bytes());
        bytes[12..28].copy_from_slice(&self.identifier);
        bytes[28..].copy_from_slice(&self.root);
        bytes
    }

    /// The identifier I: names the key, and goes into every hash.
    #[must_use]
    pub fn identifier(&self) -> [u8; 16] {
        self.identifier
    }

    /// Verifies a signature that is in memory; says which leaf it used.
    ///
    /// # Errors
    /// [`Error::Form`], [`Error::Wrong`].
    pub fn verify(
        &self,
        message: &[u8],
        signature: &[u8],
    ) -> Result<u32, Error<core::convert::Infallible>> {
        if signature.len() != self.parameters.signature_bytes() {
            return Err(Error::Form);
        }
        let mut rest = signature;
        self.verify_from(message, |piece| {
            // As long as it has to be, and `verify_from` reads no more than that.
            let (now, later) = rest.split_at(piece.len());
            piece.copy_from_slice(now);
            rest = later;
            Ok(())
        })
    }

    /// Verifies a signature that `read` yields from front to back, in pieces of at most 32 bytes;
    /// says which leaf it used.
    ///
    /// # Errors
    /// [`Error::Form`], [`Error::Wrong`], and [`Error::Source`] with the error of `read`.
    pub fn verify_from<E>(
        &self,
        message: &[u8],
        mut read: impl FnMut(&mut [u8]) -> Result<(), E>,
    ) -> Result<u32, Error<E>> {
        let Parameters {
            lms_type,
            ots_type,
            height,
            ..
        } = self.parameters;
        let number = |read: &mut dyn FnMut(&mut [u8]) -> Result<(), E>| {
            let mut bytes = [0; 4];
            read(&mut bytes).map_err(Error::Source)?;
            Ok(u32::from_be_bytes(bytes))
        };
        // No further levels: the message is signed by the key itself.
        let levels = number(&mut read)?;
        let leaf = number(&mut read)?;
        let ots = number(&mut read)?;
        if levels != 0 || ots != ots_type || leaf >= self.parameters.leaves() {
            return Err(Error::Form);
        }

        let candidate = self.one_time_key(leaf, message, &mut read)?;
        if number(&mut read)? != lms_type {
            return Err(Error::Form);
        }
        // RFC 8554, algorithm 6a: from the leaf to the root.
        let mut node = leaf + (1 << height);
        let mut hash: [u8; N] = self
            .tree(node, D_LEAF)
            .chain_update(candidate)
            .finalize()
            .into();
        while node > 1 {
            let mut sibling = [0; N];
            read(&mut sibling).map_err(Error::Source)?;
            let (left, right) = if node % 2 == 1 {
                (sibling, hash)
            } else {
                (hash, sibling)
            };
            node /= 2;
            let above = self
                .tree(node, D_INTR)
                .chain_update(left)
                .chain_update(right);
            hash = above.finalize().into();
        }
        if hash == self.root {
            Ok(leaf)
        } else {
            Err(Error::Wrong)
        }
    }

    /// RFC 8554, algorithm 4b: the one-time key that the signature implies.
    fn one_time_key<E>(
        &self,
        leaf: u32,
        message: &[u8],
        read: &mut impl FnMut(&mut [u8]) -> Result<(), E>,
    ) -> Result<[u8; N], Error<E>> {
        let mut randomizer = [0; N];
        read(&mut randomizer).map_err(Error::Source)?;
        let digest: [u8; N] = self
            .tree(leaf, D_MESG)
            .chain_update(randomizer)
            .chain_update(message)
            .finalize()
            .into();
        // Q with its checksum behind it.
        let mut digits = [0; N + 2];
        digits[..N].copy_from_slice(&digest);
        digits[N..].copy_from_slice(&self.checksum(&digest).to_be_bytes());

        let mut key = self.tree(leaf, D_PBLC);
        for chain in 0..self.parameters.chains {
            let mut hash = [0; N];
            read(&mut hash).map_err(Error::Source)?;
            self.walk(leaf, chain, self.digit(&digits, chain), &mut hash);
            key.update(hash);
        }
        Ok(key.finalize().into())
    }

    /// From digit `from` of a hash chain to its end. Not generic: this is where the time goes.
    fn walk(&self, leaf: u32, chain: u16, from: u16, hash: &mut [u8; N]) {
        let last = (1_u16 << self.parameters.width) - 1;
        for step in from..last {
            // Below 2^w - 1, which is at most 255.
            let step = step.to_be_bytes()[1];
            *hash = Sha256::new()
                .chain_update(self.identifier)
                .chain_update(leaf.to_be_bytes())
                .chain_update(chain.to_be_bytes())
                .chain_update([step])
                .chain_update(*hash)
                .finalize()
                .into();
        }
    }

    /// coef(S, i, w) of RFC 8554, section 3.1.3.
    fn digit(&self, digits: &[u8; N + 2], at: u16) -> u16 {
        let width = self.parameters.width;
        let bit = u32::from(at) * width;
        let byte = digits.get((bit / 8) as usize).copied().unwrap_or(0);
        let shift = 8 - width - bit % 8;
        u16::from(byte >> shift) & ((1 << width) - 1)
    }

    /// Cksm(S) of RFC 8554, section 4.4.
    fn checksum(&self, digest: &[u8; N]) -> u16 {
        let mut digits = [0; N + 2];
        digits[..N].copy_from_slice(digest);
        // All digits but those of the checksum itself: two with w = 8, three with w = 4.
        let count =
            u16::try_from(8 * N).unwrap_or(0) / u16::try_from(self.parameters.width).unwrap_or(1);
        let last = (1_u16 << self.parameters.width) - 1;
        let sum: u16 = (0..count).map(|at| last - self.digit(&digits, at)).sum();
        sum << self.parameters.shift
    }

    fn tree(&self, number: u32, domain: [u8; 2]) -> Sha256 {
        Sha256::new()
            .chain_update(self.identifier)
            .chain_update(number.to_be_bytes())
            .chain_update(domain)
    }
}

/// The leaf that a signature says it used, without verifying anything.
#[must_use]
pub fn leaf(signature: &[u8; SIGNATURE_BYTES]) -> u32 {
    word(signature, 4)
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_be_bytes(word)
}
