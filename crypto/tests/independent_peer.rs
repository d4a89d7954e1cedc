//! A gateway written a second time, from docs/decisions/0011-link-on-a-poor-line.md alone and
//! over the primitives of AWS-LC, answers our firmware: the handshake is what the
//! decision says, and none of our own code is on both sides.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod chance;
mod exchange;

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey, X25519};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use aws_lc_rs::kem::{EncapsulationKey, ML_KEM_768};
use chance::Repeatable;
use exchange::greet;
use stencil_crypto::link::{
    Cookies, HELLO_MAX_BYTES, Hello, Offer, Opening, Rekey, Resume, Resuming, respond_with,
};
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

fn open_record(record_key: &[u8], record: &[u8]) -> Option<Vec<u8>> {
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
    let offer = Offer {
        rekey: Rekey::MIN,
        ..Offer::new(&[Suite::DEFAULT], b"freezer-07")
    };
    let opening = Opening::start(&offer, &mut Repeatable(1)).unwrap();

    // The first message.
    let open = opening.message();
    assert_eq!(
        open[..7],
        [2, 2, 6, 1, 0, 1, 10],
        "versions, rekey exponent, suites, identity length"
    );
    assert_eq!(&open[7..17], b"freezer-07");
    assert_eq!(open.len(), 17 + 16);

    // The second: to the device, the cookie is but bytes.
    let challenge = [&[2, 0, 1], &[0xc0; 20][..]].concat();
    let mut out = [0; HELLO_MAX_BYTES];
    let (device, sent) = opening
        .hello_with::<kem::RustCrypto, _>(&challenge, &psk, &mut Repeatable(2), &mut out)
        .unwrap();
    let hello = &out[..sent];

    // The third.
    let (prologue, rest) = hello.split_at(open.len() + 23);
    assert_eq!(prologue, [open, &challenge].concat());
    let (their_x25519, rest) = rest.split_at(32);
    let (their_ml_kem, their_tag) = rest.split_at(1184);
    let name = sha256(&[b"StencilLink2_pqNNpsk0_25519+MLKEM768_ChaChaPoly_SHA256"]);
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

    // The fourth.
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
    let established = device.finish(&answer).unwrap();
    let mut device = established.session;
    assert_eq!(device.id()[..], gateway.hash[..16]);

    // Records, over two changes of keys in both directions.
    let [mut up, mut down, left] = hkdf(&gateway.chain, &[]);
    let next = |key: &[u8]| hmac(key, &[b"stencil link v2 rekey", &[1]]);
    let (mut record, mut plaintext) = ([0; 64], [0; 64]);
    for counter in 0..192u64 {
        if counter > 0 && counter % 64 == 0 {
            (up, down) = (next(&up), next(&down));
        }
        let length = device.seal(b"-18.5", &mut record).unwrap();
        assert_eq!(open_record(&up, &record[..length]).unwrap(), b"-18.5");
        let length = device
            .open(&seal(&down, counter, b"ok"), &mut plaintext)
            .unwrap();
        assert_eq!(&plaintext[..length], b"ok");
    }

    // Two resumptions, one after the other.
    let mut kept = established.resumption;
    let mut left = left;
    for generation in 0..2u32 {
        assert_eq!(kept.to_bytes()[..2], [0, 1]);
        assert_eq!(kept.to_bytes()[2..6], generation.to_be_bytes());
        assert_eq!(kept.to_bytes()[6..], left);
        let resuming = Resuming::start(&offer, &psk, &kept, &mut Repeatable(3)).unwrap();
        let message = resuming.message();
        assert_eq!(message[..5], [2, 0, 1, 6, 10]);
        assert_eq!(&message[5..15], b"freezer-07");
        assert_eq!(message[15..19], generation.to_be_bytes());
        let (prologue, their_tag) = message.split_at(19 + 16);
        let name = sha256(&[b"StencilLink2_resume_25519+MLKEM768_ChaChaPoly_SHA256"]);
        let mut gateway = Gateway {
            chain: name.clone(),
            hash: name,
            key: vec![0; 32],
        };
        gateway.mix_hash(prologue);
        for key in [&secret[..], &hmac(&left, &[b"stencil link v2 proof", &[1]])] {
            let [chain, hash, tag_key] = hkdf(&gateway.chain, key);
            (gateway.chain, gateway.key) = (chain, tag_key);
            gateway.mix_hash(&hash);
        }
        assert_eq!(gateway.tag(), their_tag);
        gateway.mix_public(&[0xa5; 16]);
        let answer = [&[0xa5; 16][..], &gateway.tag()].concat();
        let (mut device, next) = resuming.finish(&answer).unwrap();
        assert_eq!(device.id()[..], gateway.hash[..16]);
        let [up, down, _] = hkdf(&gateway.chain, &[]);
        let length = device.seal(b"-18.5", &mut record).unwrap();
        assert_eq!(open_record(&up, &record[..length]).unwrap(), b"-18.5");
        let length = device.open(&seal(&down, 0, b"ok"), &mut plaintext).unwrap();
        assert_eq!(&plaintext[..length], b"ok");
        left = hmac(&left, &[b"stencil link v2 resumption", &[1]]);
        kept = next;
    }
}

/// Devices in the field and gateways are not updated at one time: what is on the wire
/// may only change together with the version.
#[test]
fn the_bytes_on_the_wire_stay_as_they_are() {
    let psk = Psk::from_bytes([0x5a; 32]).unwrap();
    let offer = Offer::new(&[Suite::DEFAULT], b"freezer-07");
    let cookies = Cookies::new(&mut Repeatable(3)).unwrap();
    let (device, hello) = greet::<kem::RustCrypto, _>(&offer, &psk, &cookies, &mut Repeatable(1));
    let mut answer = [0; 1136];
    let parsed = Hello::parse(&hello).unwrap();
    let (gateway, _) =
        respond_with::<kem::RustCrypto, _>(&parsed, &psk, &mut Repeatable(2), &mut answer).unwrap();
    let device = device.finish(&answer).unwrap();
    let resuming = Resuming::start(&offer, &psk, &device.resumption, &mut Repeatable(4)).unwrap();
    let (mut resumed, mut up, mut down) = ([0; 32], [0; 29], [0; 26]);
    Resume::parse(resuming.message())
        .unwrap()
        .respond(&psk, &gateway.resumption, &mut Repeatable(5), &mut resumed)
        .unwrap();
    let (mut device, mut gateway) = (device.session, gateway.session);
    device.seal(b"-18.5", &mut up).unwrap();
    gateway.seal(b"ok", &mut down).unwrap();
    let resume = resuming.message();
    let seen = hex::encode(sha256(&[
        &hello,
        &answer,
        resume,
        &resumed,
        &up,
        &down,
        device.id(),
    ]));
    assert_eq!(
        seen,
        "dcad39e3679754e022f0b8fa815afe181392ec20391cbb2d31dbec2d7127f13b"
    );
}
