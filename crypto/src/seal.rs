//! Keys on their way and at rest: sealed so that their holder alone can use them.
//!
//! A hub and each gateway have a [`SecretKey`] of their own, a file of 64 hexadecimal digits. From
//! it follow, apart from each other (HKDF-SHA256):
//!
//! - a key pair to which others seal: HPKE (RFC 9180, base mode) with X-Wing (KEM 0x647a: X25519 and
//!   ML-KEM-768), HKDF-SHA256 and ChaCha20Poly1305. What is recorded today cannot be opened by
//!   breaking one of the two;
//! - a [`Vault`] in which it keeps what it was given: XChaCha20Poly1305 with random nonces;
//! - tags by which it knows a secret again without keeping it.
//!
//! Whatever is sealed is bound to a [`Place`]: whose it is, for whom, which one. Moved to another
//! place it does not open.

use std::fmt;
use std::path::Path;

use chacha20poly1305::aead::AeadInOut as _;
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use hmac::{Hmac, Mac as _};
use hpke::aead::{AeadCtxR, AeadCtxS, ChaCha20Poly1305};
use hpke::kdf::HkdfSha256;
use hpke::kem::XWing;
use hpke::{Deserializable as _, Kem, OpModeR, OpModeS, Serializable as _};
use rand_core::CryptoRng;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::keyfile;
use crate::psk::{PSK_BYTES, Psk};

/// Length of a public key in bytes.
pub const PUBLIC_KEY_BYTES: usize = 1_216;
/// Length of what lets the holder of a key open what was sealed to it, in bytes.
pub const ENCAPSULATED_BYTES: usize = 1_120;
/// Length of a sealed pre-shared key in bytes.
pub const SEALED_PSK_BYTES: usize = PSK_BYTES + TAG_BYTES;

const SEED_BYTES: usize = 32;
const TAG_BYTES: usize = 16;
const VAULT_NONCE_BYTES: usize = 24;

/// What sealed things are for: none opens for another purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The key of a device that is born, for the hub.
    Birth,
    /// The key of a device that its tenant enrols, for the hub.
    Enrolment,
    /// Keys of devices, for their gateway.
    Delivery,
}

impl Purpose {
    fn info(self) -> &'static [u8] {
        match self {
            Self::Birth => b"stencil birth v1",
            Self::Enrolment => b"stencil enrolment v1",
            Self::Delivery => b"stencil delivery v1",
        }
    }
}

/// Where a sealed key belongs. All of it is authenticated with it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place<'a> {
    /// Whose; empty for a device that is nobody's yet.
    pub tenant: &'a str,
    /// The gateway that may use it; empty where that is not said.
    pub gateway: &'a str,
    /// The device.
    pub device: &'a str,
    /// Which of the device's keys; 0 where it has no number yet.
    pub generation: u64,
}

impl Place<'_> {
    /// Unambiguous: each part with its length before it.
    fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(128);
        for part in [self.tenant, self.gateway, self.device] {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        bytes.extend_from_slice(&self.generation.to_be_bytes());
        bytes
    }
}

/// Why something could not be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not a public key of X-Wing.
    #[error("a public key for sealing has {PUBLIC_KEY_BYTES} bytes and is one of X-Wing")]
    PublicKey,
    /// It was not sealed to this key, for this purpose or this place, or was altered.
    #[error("it was not sealed to this key for this place, or was altered")]
    Refused,
    /// It could not be sealed.
    #[error("it could not be sealed")]
    Failed,
}

/// The public key that others seal to.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(<XWing as Kem>::PublicKey);

impl PublicKey {
    /// Takes the bytes of [`PublicKey::to_bytes`].
    ///
    /// # Errors
    /// [`Error::PublicKey`].
    pub fn from_slice(bytes: &[u8]) -> Result<Self, Error> {
        let key = <XWing as Kem>::PublicKey::from_bytes(bytes);
        key.map(Self).map_err(|_| Error::PublicKey)
    }

    /// Reads hexadecimal digits; white space around them is ignored.
    ///
    /// # Errors
    /// [`Error::PublicKey`].
    pub fn from_hex(text: &str) -> Result<Self, Error> {
        let bytes = hex::decode(text.trim()).map_err(|_| Error::PublicKey)?;
        Self::from_slice(&bytes)
    }

    /// Its [`PUBLIC_KEY_BYTES`] bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.to_bytes().to_vec()
    }

    /// Its bytes as hexadecimal digits.
    #[must_use]
    pub fn to_hex(&self) -> String {
        hex::encode(self.0.to_bytes())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicKey(X-Wing)")
    }
}

/// What a hub or a gateway keeps: all its other sealing keys follow from it. Wiped when dropped,
/// never printed.
#[derive(Clone)]
pub struct SecretKey(Zeroizing<[u8; SEED_BYTES]>);

impl SecretKey {
    /// Draws a new key.
    #[must_use]
    pub fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        let mut seed = Zeroizing::new([0; SEED_BYTES]);
        rng.fill_bytes(seed.as_mut());
        Self(seed)
    }

    /// Reads the key from a file of 64 hexadecimal digits.
    ///
    /// # Errors
    /// As [`keyfile::read_text`], and [`keyfile::Error::Psk`] for what is no such key.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, keyfile::Error> {
        // 32 random bytes in the same form as a pre-shared key.
        Ok(Self(Zeroizing::new(*Psk::load(path)?.as_bytes())))
    }

    /// Writes the key to a file of 64 hexadecimal digits, mode 0600.
    ///
    /// # Errors
    /// [`keyfile::Error::Io`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), keyfile::Error> {
        let mut text = Zeroizing::new(hex::encode(self.0.as_ref()));
        text.push('\n');
        keyfile::write(path, text.as_bytes())
    }

    /// The key that others seal to.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        let (_, public) = self.pair();
        PublicKey(public)
    }

    /// Opens what was sealed with this beginning.
    ///
    /// # Errors
    /// [`Error::Refused`]. That it was sealed to another key shows with the first [`Opener::open`]
    /// only (implicit rejection).
    pub fn opener(&self, purpose: Purpose, encapsulated: &[u8]) -> Result<Opener, Error> {
        let encapsulated = <XWing as Kem>::EncappedKey::from_bytes(encapsulated);
        let encapsulated = encapsulated.map_err(|_| Error::Refused)?;
        let (secret, _) = self.pair();
        let context = hpke::setup_receiver(&OpModeR::Base, &secret, &encapsulated, purpose.info());
        context.map(Opener).map_err(|_| Error::Refused)
    }

    /// Opens what [`seal_one`] has sealed.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn open_one(
        &self,
        purpose: Purpose,
        place: Place<'_>,
        sealed: &[u8],
    ) -> Result<Psk, Error> {
        let parts = sealed.split_at_checked(ENCAPSULATED_BYTES);
        let (encapsulated, sealed) = parts.ok_or(Error::Refused)?;
        self.opener(purpose, encapsulated)?.open(place, sealed)
    }

    /// Where it keeps what it was given.
    #[must_use]
    pub fn vault(&self) -> Vault {
        let key = self.derive::<32>(b"stencil seal: vault");
        Vault(XChaCha20Poly1305::new((&*key).into()))
    }

    /// The tag of a secret: the same for the same secret and `kind`, and worth nothing to who does
    /// not hold this key (HMAC-SHA256).
    #[must_use]
    pub fn tag(&self, kind: &str, secret: &[u8]) -> [u8; 32] {
        // A whole block of the hash.
        let key = self.derive::<64>(b"stencil seal: tags");
        let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new((&*key).into());
        mac.update(&(kind.len() as u64).to_be_bytes());
        mac.update(kind.as_bytes());
        mac.update(secret);
        mac.finalize().into_bytes().into()
    }

    /// The tag of a pre-shared key, to know it again.
    #[must_use]
    pub fn psk_tag(&self, psk: &Psk) -> [u8; 32] {
        self.tag("psk", psk.as_bytes())
    }

    fn pair(&self) -> (<XWing as Kem>::PrivateKey, <XWing as Kem>::PublicKey) {
        XWing::derive_keypair(self.derive::<32>(b"stencil seal: X-Wing").as_ref())
    }

    fn derive<const N: usize>(&self, label: &[u8]) -> Zeroizing<[u8; N]> {
        let mut key = Zeroizing::new([0; N]);
        // HKDF-SHA256 gives up to 8,160 bytes.
        let expanded = Hkdf::<Sha256>::new(None, self.0.as_ref()).expand(label, key.as_mut());
        debug_assert!(expanded.is_ok(), "a key is not too long");
        key
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(secret)")
    }
}

/// Seals keys to one holder, one after the other. They open in the same order.
pub struct Sealer {
    encapsulated: Vec<u8>,
    context: AeadCtxS<ChaCha20Poly1305, HkdfSha256, XWing>,
}

impl Sealer {
    /// Begins something for the holder of `to`.
    ///
    /// # Errors
    /// [`Error::Failed`].
    pub fn new<R: CryptoRng>(to: &PublicKey, purpose: Purpose, rng: &mut R) -> Result<Self, Error> {
        let begun = hpke::setup_sender_with_rng(&OpModeS::Base, &to.0, purpose.info(), rng);
        let (encapsulated, context): (<XWing as Kem>::EncappedKey, _) =
            begun.map_err(|_| Error::Failed)?;
        Ok(Self {
            encapsulated: encapsulated.to_bytes().to_vec(),
            context,
        })
    }

    /// What has to come before the sealed keys: [`ENCAPSULATED_BYTES`] bytes.
    #[must_use]
    pub fn encapsulated(&self) -> &[u8] {
        &self.encapsulated
    }

    /// Seals a key: [`SEALED_PSK_BYTES`] bytes.
    ///
    /// # Errors
    /// [`Error::Failed`].
    pub fn seal(&mut self, place: Place<'_>, psk: &Psk) -> Result<Vec<u8>, Error> {
        let sealed = self.context.seal(psk.as_bytes(), &place.to_bytes());
        sealed.map_err(|_| Error::Failed)
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(secret)")
    }
}

/// Opens keys that a [`Sealer`] has sealed.
pub struct Opener(AeadCtxR<ChaCha20Poly1305, HkdfSha256, XWing>);

impl Opener {
    /// Opens the next one. After an error the same one may be tried again, for another place.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn open(&mut self, place: Place<'_>, sealed: &[u8]) -> Result<Psk, Error> {
        let opened = self.0.open(sealed, &place.to_bytes());
        let opened = Zeroizing::new(opened.map_err(|_| Error::Refused)?);
        Psk::from_slice(&opened).map_err(|_| Error::Refused)
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opener(secret)")
    }
}

/// Seals one key: what has to come before it, then the sealed key.
///
/// # Errors
/// [`Error::Failed`].
pub fn seal_one<R: CryptoRng>(
    to: &PublicKey,
    purpose: Purpose,
    place: Place<'_>,
    psk: &Psk,
    rng: &mut R,
) -> Result<Vec<u8>, Error> {
    let mut sealer = Sealer::new(to, purpose, rng)?;
    let sealed = sealer.seal(place, psk)?;
    let mut whole = sealer.encapsulated;
    whole.extend_from_slice(&sealed);
    Ok(whole)
}

/// Where a hub or a gateway keeps secrets, sealed by a key of its own.
pub struct Vault(XChaCha20Poly1305);

impl Vault {
    /// Seals a pre-shared key.
    ///
    /// # Errors
    /// [`Error::Failed`].
    pub fn lock<R: CryptoRng + ?Sized>(
        &self,
        place: Place<'_>,
        psk: &Psk,
        rng: &mut R,
    ) -> Result<Vec<u8>, Error> {
        self.lock_bytes(&place.to_bytes(), psk.as_bytes(), rng)
    }

    /// Opens what [`Vault::lock`] has sealed.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn unlock(&self, place: Place<'_>, locked: &[u8]) -> Result<Psk, Error> {
        let bytes = self.unlock_bytes(&place.to_bytes(), locked)?;
        Psk::from_slice(&bytes).map_err(|_| Error::Refused)
    }

    /// Seals any secret: nonce, ciphertext, tag. `what` says what it is, and is authenticated.
    ///
    /// # Errors
    /// [`Error::Failed`].
    pub fn lock_bytes<R: CryptoRng + ?Sized>(
        &self,
        what: &[u8],
        secret: &[u8],
        rng: &mut R,
    ) -> Result<Vec<u8>, Error> {
        let mut nonce = [0; VAULT_NONCE_BYTES];
        rng.fill_bytes(&mut nonce);
        let mut locked = Vec::with_capacity(VAULT_NONCE_BYTES + secret.len() + TAG_BYTES);
        locked.extend_from_slice(&nonce);
        locked.extend_from_slice(secret);
        let text = locked.get_mut(VAULT_NONCE_BYTES..).unwrap_or_default();
        let tag = self
            .0
            .encrypt_inout_detached(&XNonce::from(nonce), what, text.into())
            .map_err(|_| Error::Failed)?;
        locked.extend_from_slice(&tag);
        Ok(locked)
    }

    /// Opens what [`Vault::lock_bytes`] has sealed.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn unlock_bytes(&self, what: &[u8], locked: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        let (nonce, rest) = locked
            .split_first_chunk::<VAULT_NONCE_BYTES>()
            .ok_or(Error::Refused)?;
        let (text, tag) = rest.split_last_chunk::<TAG_BYTES>().ok_or(Error::Refused)?;
        let mut text = Zeroizing::new(text.to_vec());
        self.0
            .decrypt_inout_detached(
                &XNonce::from(*nonce),
                what,
                text.as_mut_slice().into(),
                &(*tag).into(),
            )
            .map_err(|_| Error::Refused)?;
        Ok(text)
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Os;

    fn psk(fill: u8) -> Psk {
        Psk::from_bytes([fill; PSK_BYTES]).unwrap()
    }

    const PLACE: Place<'_> = Place {
        tenant: "acme",
        gateway: "gw-1",
        device: "freezer-07",
        generation: 3,
    };

    /// The vector of hpkewg/hpke-pq for exactly this suite: 0x647a, 0x0001, 0x0003.
    #[test]
    fn the_working_groups_vector_opens() {
        let vector: serde_json::Value =
            serde_json::from_str(include_str!("../tests/vectors/hpke_xwing.json")).unwrap();
        let bytes = |value: &serde_json::Value| hex::decode(value.as_str().unwrap()).unwrap();
        let (secret, public) = XWing::derive_keypair(&bytes(&vector["ikmR"]));
        assert_eq!(secret.to_bytes().to_vec(), bytes(&vector["skRm"]));
        assert_eq!(public.to_bytes().to_vec(), bytes(&vector["pkRm"]));
        let encapsulated = <XWing as Kem>::EncappedKey::from_bytes(&bytes(&vector["enc"])).unwrap();
        let mut context: AeadCtxR<ChaCha20Poly1305, HkdfSha256, XWing> = hpke::setup_receiver(
            &OpModeR::Base,
            &secret,
            &encapsulated,
            &bytes(&vector["info"]),
        )
        .unwrap();
        let messages = vector["encryptions"].as_array().unwrap();
        assert!(messages.len() >= 5);
        for message in messages {
            let opened = context.open(&bytes(&message["ct"]), &bytes(&message["aad"]));
            assert_eq!(opened.unwrap(), bytes(&message["pt"]));
        }
    }

    #[test]
    fn keys_open_for_their_holder_in_their_place_and_order_only() {
        let (holder, other) = (SecretKey::generate(&mut Os), SecretKey::generate(&mut Os));
        let public = PublicKey::from_hex(&holder.public_key().to_hex()).unwrap();
        let mut sealer = Sealer::new(&public, Purpose::Delivery, &mut Os).unwrap();
        assert_eq!(sealer.encapsulated().len(), ENCAPSULATED_BYTES);
        let second = Place {
            generation: 4,
            ..PLACE
        };
        let one = sealer.seal(PLACE, &psk(1)).unwrap();
        let two = sealer.seal(second, &psk(2)).unwrap();
        assert_eq!(one.len(), SEALED_PSK_BYTES);

        let opener = |key: &SecretKey, purpose| key.opener(purpose, sealer.encapsulated()).unwrap();
        let mut right = opener(&holder, Purpose::Delivery);
        for place in [
            second,
            Place {
                tenant: "acm",
                gateway: "egw-1",
                ..PLACE
            },
            Place {
                gateway: "gw-2",
                ..PLACE
            },
            Place {
                device: "freezer-08",
                ..PLACE
            },
        ] {
            assert_eq!(
                right.open(place, &one).err(),
                Some(Error::Refused),
                "{place:?}"
            );
        }
        assert_eq!(
            right.open(second, &two).err(),
            Some(Error::Refused),
            "not its turn"
        );
        assert_eq!(right.open(PLACE, &one).unwrap(), psk(1));
        assert_eq!(right.open(second, &two).unwrap(), psk(2));

        assert!(opener(&other, Purpose::Delivery).open(PLACE, &one).is_err());
        assert!(opener(&holder, Purpose::Birth).open(PLACE, &one).is_err());
        for at in 0..one.len() {
            let mut altered = one.clone();
            altered[at] ^= 1;
            let opened = opener(&holder, Purpose::Delivery).open(PLACE, &altered);
            assert_eq!(opened.err(), Some(Error::Refused), "byte {at}");
        }
        for length in 0..one.len() {
            let opened = opener(&holder, Purpose::Delivery).open(PLACE, &one[..length]);
            assert_eq!(opened.err(), Some(Error::Refused), "{length} bytes");
        }
    }

    #[test]
    fn one_key_is_sealed_as_a_whole() {
        let holder = SecretKey::generate(&mut Os);
        let born = Place {
            device: "sn-1",
            ..Place::default()
        };
        let sealed =
            seal_one(&holder.public_key(), Purpose::Birth, born, &psk(7), &mut Os).unwrap();
        let opened = holder.open_one(Purpose::Birth, born, &sealed).unwrap();
        assert_eq!(opened, psk(7));
        assert!(holder.open_one(Purpose::Enrolment, born, &sealed).is_err());
        for length in [0, 1, ENCAPSULATED_BYTES, sealed.len() - 1] {
            assert!(
                holder
                    .open_one(Purpose::Birth, born, &sealed[..length])
                    .is_err()
            );
        }
    }

    #[test]
    fn a_vault_gives_back_what_it_was_given_in_its_place() {
        let vault = SecretKey::generate(&mut Os).vault();
        let locked = vault.lock(PLACE, &psk(9), &mut Os).unwrap();
        assert_eq!(vault.unlock(PLACE, &locked).unwrap(), psk(9));
        assert_ne!(locked, vault.lock(PLACE, &psk(9), &mut Os).unwrap());
        let elsewhere = Place {
            generation: 4,
            ..PLACE
        };
        assert!(vault.unlock(elsewhere, &locked).is_err());
        assert!(
            SecretKey::generate(&mut Os)
                .vault()
                .unlock(PLACE, &locked)
                .is_err()
        );
        for length in 0..locked.len() {
            assert!(vault.unlock(PLACE, &locked[..length]).is_err());
        }
    }

    #[test]
    fn a_key_is_the_same_after_it_was_saved_and_is_never_printed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seal.key");
        let key = SecretKey::generate(&mut Os);
        key.save(&path).unwrap();
        let again = SecretKey::load(&path).unwrap();
        assert_eq!(again.public_key(), key.public_key());
        assert_eq!(again.tag("code", b"x"), key.tag("code", b"x"));
        assert_ne!(key.tag("code", b"x"), key.tag("psk", b"x"));
        assert_ne!(
            key.tag("code", b"x"),
            SecretKey::generate(&mut Os).tag("code", b"x")
        );
        assert_eq!(format!("{key:?}"), "SecretKey(secret)");
        assert_eq!(PublicKey::from_hex("00").err(), Some(Error::PublicKey));
    }
}
