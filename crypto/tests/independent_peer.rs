//! A gateway written a second time, from docs/decisions/0002-link-handshake.md alone and
//! over the primitives of AWS-LC, answers our firmware: the handshake is what the
//! decision says, and none of our own code is on both sides.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod chance;

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey, X25519};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use aws_lc_rs::kem::{EncapsulationKey, ML_KEM_768};
use chance::Repeatable;
use stencil_crypto::link::{HELLO_MAX_BYTES, Hello, Initiator, Rekey, respond_with};
use stencil_crypto::{Psk, Suite, kem};

fn sha256(parts: &[&[u8]]) -> Vec<u8> {
    digest(&SHA256, &parts.concat()).as_ref().to_vec()
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(HMAC_SHA256, key), &parts.concat())
        .as_ref()
        .to_vec()
}

/// HKDF of Noise, section 4.3.
fn hkdf(chain: &[u8], material: &[u8]) -> [Vec<u8>; 3] {
    let extracted = hmac(chain, &[material]);
    let one = hmac(&extracted, &[&[1]]);
    let two = hmac(&extracted, &[&one, &[2]]);
    let three = hmac(&extracted, &[&two, &[3]]);
    [one, two, three]
}

fn key(bytes: &[u8]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, bytes).unwrap())
}

fn nonce(counter: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_le_bytes());
    Nonce::assume_unique_for_key(nonce)
}

struct Gateway {
    chain: Vec<u8>,
    hash: Vec<u8>,
    key: Vec<u8>,
}

impl Gateway {
    fn mix_hash(&mut self, data: &[u8]) {
        self.hash = sha256(&[&self.hash, data]);
    }

    fn mix_key(&mut self, material: &[u8]) {
        let [chain, key, _] = hkdf(&self.chain, material);
        (self.chain, self.key) = (chain, key);
    }

    fn mix_public(&mut self, public: &[u8]) {
        self.mix_hash(public);
        self.mix_key(public);
    }

    fn tag(&mut self) -> Vec<u8> {
        let tag = key(&self.key)
            .seal_in_place_separate_tag(nonce(0), Aad::from(&self.hash), &mut [])
            .unwrap();
        self.mix_hash(tag.as_ref());
        tag.as_ref().to_vec()
    }
}

fn open(record_key: &[u8], record: &[u8]) -> Option<Vec<u8>> {
    let (head, body) = record.split_first_chunk::<8>()?;
    let mut body = body.to_vec();
    let counter = u64::from_be_bytes(*head);
    let plaintext = key(record_key)
        .open_in_place(nonce(counter), Aad::from(head), &mut body)
        .ok()?;
    Some(plaintext.to_vec())
}

fn seal(record_key: &[u8], counter: u64, plaintext: &[u8]) -> Vec<u8> {
    let head = counter.to_be_bytes();
    let mut body = plaintext.to_vec();
    key(record_key)
        .seal_in_place_append_tag(nonce(counter), Aad::from(head), &mut body)
        .unwrap();
    [&head[..], &body].concat()
}

#[test]
fn the_handshake_is_what_the_decision_says() {
    let secret = [0x5a; 32];
    let psk = Psk::from_bytes(secret).unwrap();
    let mut out = [0; HELLO_MAX_BYTES];
    let (device, sent) = Initiator::<kem::RustCrypto>::start_with(
        Suite::DEFAULT,
        Rekey::MIN,
        &psk,
        b"freezer-07",
        &mut Repeatable(1),
        &mut out,
    )
    .unwrap();
    let hello = &out[..sent];

    // The first message.
    assert_eq!(
        hello[..5],
        [1, 0, 1, 6, 10],
        "version, suite, rekey exponent, identity length"
    );
    let (prologue, rest) = hello.split_at(15);
    assert_eq!(&prologue[5..], b"freezer-07");
    let (their_x25519, rest) = rest.split_at(32);
    let (their_ml_kem, their_tag) = rest.split_at(1184);
    let name = sha256(&[b"StencilLink_pqNNpsk0_25519+MLKEM768_ChaChaPoly_SHA256"]);
    let mut gateway = Gateway {
        chain: name.clone(),
        hash: name,
        key: vec![0; 32],
    };
    gateway.mix_hash(prologue);
    let [chain, hash, tag_key] = hkdf(&gateway.chain, &secret);
    (gateway.chain, gateway.key) = (chain, tag_key);
    gateway.mix_hash(&hash);
    gateway.mix_public(their_x25519);
    gateway.mix_public(their_ml_kem);
    assert_eq!(gateway.tag(), their_tag);

    // The second message.
    let x25519 = PrivateKey::generate(&X25519).unwrap();
    let our_x25519 = x25519.compute_public_key().unwrap();
    gateway.mix_public(our_x25519.as_ref());
    let peer = UnparsedPublicKey::new(&X25519, their_x25519);
    let shared = agreement::agree(&x25519, peer, (), |shared| Ok(shared.to_vec())).unwrap();
    gateway.mix_key(&shared);
    let ml_kem = EncapsulationKey::new(&ML_KEM_768, their_ml_kem).unwrap();
    let (ciphertext, shared) = ml_kem.encapsulate().unwrap();
    gateway.mix_hash(ciphertext.as_ref());
    gateway.mix_key(shared.as_ref());
    let answer = [our_x25519.as_ref(), ciphertext.as_ref(), &gateway.tag()].concat();
    let mut device = device.finish(&answer).unwrap();
    assert_eq!(device.id()[..], gateway.hash[..16]);

    // Records, over two changes of keys in both directions.
    let [mut up, mut down, _] = hkdf(&gateway.chain, &[]);
    let next = |key: &[u8]| hmac(key, &[b"stencil link v1 rekey", &[1]]);
    let (mut record, mut plaintext) = ([0; 64], [0; 64]);
    for counter in 0..192u64 {
        if counter > 0 && counter % 64 == 0 {
            (up, down) = (next(&up), next(&down));
        }
        let length = device.seal(b"-18.5", &mut record).unwrap();
        assert_eq!(open(&up, &record[..length]).unwrap(), b"-18.5");
        let length = device
            .open(&seal(&down, counter, b"ok"), &mut plaintext)
            .unwrap();
        assert_eq!(&plaintext[..length], b"ok");
    }
}

/// Devices in the field and gateways are not updated at one time: what is on the wire
/// may only change together with the version.
#[test]
fn the_bytes_on_the_wire_stay_as_they_are() {
    let psk = Psk::from_bytes([0x5a; 32]).unwrap();
    let mut hello = [0; HELLO_MAX_BYTES];
    let (device, sent) = Initiator::start(
        Suite::DEFAULT,
        &psk,
        b"freezer-07",
        &mut Repeatable(1),
        &mut hello,
    )
    .unwrap();
    let hello = &hello[..sent];
    let mut answer = [0; 1136];
    let parsed = Hello::parse(hello).unwrap();
    let (mut gateway, _) =
        respond_with::<kem::RustCrypto, _>(&parsed, &psk, &mut Repeatable(2), &mut answer).unwrap();
    let mut device = device.finish(&answer).unwrap();
    let (mut up, mut down) = ([0; 29], [0; 26]);
    device.seal(b"-18.5", &mut up).unwrap();
    gateway.seal(b"ok", &mut down).unwrap();
    let seen = hex::encode(sha256(&[hello, &answer, &up, &down, device.id()]));
    assert_eq!(
        seen,
        "e5d81e3e118404a1bfad3812c4286fde7d662c42a2fb6af9892f2923a07d72ff"
    );
}
