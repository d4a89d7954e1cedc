use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce, Tag};
use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

use super::{Error, TAG_BYTES};
use crate::suite::Suite;

pub(super) const HASH_BYTES: usize = 32;
pub(super) const KEY_BYTES: usize = 32;

/// A symmetric key that wipes itself.
pub(super) type SecretKey = Zeroizing<[u8; KEY_BYTES]>;

/// The symmetric state of a Noise handshake (Noise, section 5.2): chaining key,
/// transcript hash and the key of the next tag.
#[derive(Clone)]
pub(super) struct Transcript {
    chain: SecretKey,
    key: SecretKey,
    hash: [u8; HASH_BYTES],
}

impl Transcript {
    /// `InitializeSymmetric` with the suite's protocol name, then the prologue.
    pub(super) fn new(suite: Suite, prologue: &[u8]) -> Self {
        Self::named(suite.protocol_name(), prologue)
    }

    /// As [`Transcript::new`] with another protocol's name.
    pub(super) fn named(name: &[u8], prologue: &[u8]) -> Self {
        let hash: [u8; HASH_BYTES] = Sha256::digest(name).into();
        let mut transcript = Self {
            chain: Zeroizing::new(hash),
            key: Zeroizing::new([0; KEY_BYTES]),
            hash,
        };
        transcript.mix_hash(prologue);
        transcript
    }

    /// `MixHash`.
    pub(super) fn mix_hash(&mut self, data: &[u8]) {
        self.hash = Sha256::new()
            .chain_update(self.hash)
            .chain_update(data)
            .finalize()
            .into();
    }

    /// `MixKey`: the next tag is made with the new key.
    pub(super) fn mix_key(&mut self, material: &[u8]) -> Result<(), Error> {
        let [chain, key] = derive(&self.chain, material)?;
        self.chain = chain;
        self.key = key;
        Ok(())
    }

    /// `MixKeyAndHash`, for the pre-shared key.
    pub(super) fn mix_key_and_hash(&mut self, material: &[u8]) -> Result<(), Error> {
        let [chain, hash, key] = derive(&self.chain, material)?;
        self.chain = chain;
        self.key = key;
        self.mix_hash(hash.as_ref());
        Ok(())
    }

    /// A public key of ours or of the peer: into the hash and, as there is a
    /// pre-shared key, into the chain too (Noise, section 9.2), so that no two
    /// handshakes use one key for a tag.
    pub(super) fn mix_public(&mut self, public: &[u8]) -> Result<(), Error> {
        self.mix_hash(public);
        self.mix_key(public)
    }

    /// `EncryptAndHash` of nothing: a tag over the transcript so far. Each is made
    /// with a key of its own (`mix_key` came before), so its nonce is 0.
    pub(super) fn tag(&mut self) -> Result<[u8; TAG_BYTES], Error> {
        let tag = cipher(&self.key)
            .encrypt_inout_detached(&Nonce::default(), &self.hash, [].as_mut_slice().into())
            .map_err(|_| Error::Refused)?;
        self.mix_hash(&tag);
        Ok(tag.into())
    }

    /// `DecryptAndHash` of nothing: checks the peer's tag, in constant time.
    pub(super) fn check_tag(&mut self, tag: &[u8; TAG_BYTES]) -> Result<(), Error> {
        cipher(&self.key)
            .decrypt_inout_detached(
                &Nonce::default(),
                &self.hash,
                [].as_mut_slice().into(),
                &Tag::from(*tag),
            )
            .map_err(|_| Error::Refused)?;
        self.mix_hash(tag);
        Ok(())
    }

    /// `Split`: the initiator's key, the responder's key, the secret for resumptions, and
    /// the transcript hash.
    pub(super) fn split(self) -> Result<([SecretKey; 3], [u8; HASH_BYTES]), Error> {
        Ok((derive(&self.chain, &[])?, self.hash))
    }
}

/// The AEAD of the suite under `key`.
pub(super) fn cipher(key: &SecretKey) -> ChaCha20Poly1305 {
    let mut copy = Key::from(**key);
    let cipher = ChaCha20Poly1305::new(&copy);
    copy.as_mut_slice().zeroize();
    cipher
}

/// The key after `key` on the rekey schedule.
pub(super) fn next_key(key: &SecretKey) -> Result<SecretKey, Error> {
    expand(key, b"stencil link v2 rekey")
}

/// `HKDF-Expand` of a key to another one, under a label.
pub(super) fn expand(key: &SecretKey, label: &[u8]) -> Result<SecretKey, Error> {
    let mut next = Zeroizing::new([0; KEY_BYTES]);
    Hkdf::<Sha256>::from_prk(key.as_ref())
        .map_err(|_| Error::Refused)?
        .expand(label, next.as_mut())
        .map_err(|_| Error::Refused)?;
    Ok(next)
}

/// `HKDF` of Noise, section 4.3: N keys from a chaining key and new material.
fn derive<const N: usize>(chain: &SecretKey, material: &[u8]) -> Result<[SecretKey; N], Error> {
    let (mut extracted, hkdf) = Hkdf::<Sha256>::extract(Some(chain.as_ref()), material);
    extracted.as_mut_slice().zeroize();
    let mut output = Zeroizing::new([0; 3 * KEY_BYTES]);
    let used = output.get_mut(..N * KEY_BYTES).ok_or(Error::Refused)?;
    hkdf.expand(&[], used).map_err(|_| Error::Refused)?;
    let mut keys: [SecretKey; N] = core::array::from_fn(|_| Zeroizing::new([0; KEY_BYTES]));
    for (key, bytes) in keys.iter_mut().zip(used.chunks_exact(KEY_BYTES)) {
        key.copy_from_slice(bytes);
    }
    Ok(keys)
}
