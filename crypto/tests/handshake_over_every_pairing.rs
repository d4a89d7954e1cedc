//! The link handshake runs between any two implementations of ML-KEM-768.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod exchange;

use exchange::{PLACE, challenge, greet};
use stencil_crypto::kem::{AwsLc, Kem, RustCrypto};
use stencil_crypto::link::{
    ANSWER_BYTES, Cookies, Error, HELLO_MAX_BYTES, HELLO_REST_BYTES, Hello, Offer, Opening, Rekey,
    Session, respond_with,
};
use stencil_crypto::{Psk, Suite, rng};

fn psk() -> Psk {
    Psk::from_bytes([0x5a; 32]).unwrap()
}

fn handshake<Device: Kem, Gateway: Kem>(rekey: Rekey) -> (Session, Session) {
    let mut rng = rng::Os;
    let offer = Offer {
        rekey,
        ..Offer::new(Suite::ALL, b"freezer-07")
    };
    let cookies = Cookies::new(&mut rng).unwrap();
    let (device, hello) = greet::<Device, _>(&offer, &psk(), &cookies, &mut rng);

    let hello = Hello::parse(&hello).unwrap();
    cookies.check(&hello, PLACE, 0).unwrap();
    assert_eq!(hello.identity(), b"freezer-07");
    assert_eq!(hello.suite(), Suite::DEFAULT);
    assert_eq!(hello.rekey(), rekey);

    let mut answer = [0; ANSWER_BYTES];
    let (gateway, sent) =
        respond_with::<Gateway, _>(&hello, &psk(), &mut rng, &mut answer).unwrap();
    assert_eq!(sent, ANSWER_BYTES);
    let device = device.finish(&answer).unwrap();
    assert!(device.resumption == gateway.resumption);
    (device.session, gateway.session)
}

/// One body for all: the sides agree, speak both ways, and hold keys of their own.
fn agree_and_speak<Device: Kem, Gateway: Kem>() {
    let (mut device, mut gateway) = handshake::<Device, Gateway>(Rekey::MIN);
    assert_eq!(device.id(), gateway.id());
    assert_eq!(device.suite(), gateway.suite());
    assert!(device.is_confirmed());
    assert!(
        !gateway.is_confirmed(),
        "nothing came under the session's keys yet"
    );

    let (mut record, mut plaintext) = ([0; 128], [0; 128]);
    for round in 0..200u32 {
        let reading = format!("reading {round}");
        let length = device.seal(reading.as_bytes(), &mut record).unwrap();
        // The sides don't share one key: what one sealed it cannot open itself.
        assert_eq!(
            device.open(&record[..length], &mut plaintext),
            Err(Error::Refused)
        );
        let length = gateway.open(&record[..length], &mut plaintext).unwrap();
        assert_eq!(&plaintext[..length], reading.as_bytes());
        assert!(gateway.is_confirmed());

        let length = gateway.seal(b"acknowledged", &mut record).unwrap();
        let length = device.open(&record[..length], &mut plaintext).unwrap();
        assert_eq!(&plaintext[..length], b"acknowledged");
    }

    let (other, _) = handshake::<Device, Gateway>(Rekey::MIN);
    assert_ne!(
        device.id(),
        other.id(),
        "each handshake has a transcript of its own"
    );
}

#[test]
fn firmware_with_firmware() {
    agree_and_speak::<RustCrypto, RustCrypto>();
}

#[test]
fn firmware_with_gateway() {
    agree_and_speak::<RustCrypto, AwsLc>();
}

#[test]
fn gateway_with_firmware() {
    agree_and_speak::<AwsLc, RustCrypto>();
}

#[test]
fn gateway_with_gateway() {
    agree_and_speak::<AwsLc, AwsLc>();
}

#[test]
fn buffers_that_are_too_small_are_refused_with_what_is_needed() {
    let mut rng = rng::Os;
    let cookies = Cookies::new(&mut rng).unwrap();
    let opening = Opening::start(&Offer::new(Suite::ALL, b"d"), &mut rng).unwrap();
    let challenge = challenge(&cookies, opening.message());
    let needed_bytes = opening.message().len() + HELLO_REST_BYTES;
    let mut hello = [0; HELLO_MAX_BYTES];
    for available_bytes in [0, 40, 1_200, needed_bytes - 1] {
        let refused = opening
            .hello(&challenge, &psk(), &mut rng, &mut hello[..available_bytes])
            .err()
            .unwrap();
        let expected = Error::Buffer {
            needed_bytes,
            available_bytes,
        };
        assert_eq!(refused, expected);
    }

    let (_, sent) = opening
        .hello(&challenge, &psk(), &mut rng, &mut hello[..needed_bytes])
        .unwrap();
    let hello = Hello::parse(&hello[..sent]).unwrap();
    let mut answer = [0; ANSWER_BYTES - 1];
    let refused = respond_with::<AwsLc, _>(&hello, &psk(), &mut rng, &mut answer)
        .err()
        .unwrap();
    assert_eq!(
        refused,
        Error::Buffer {
            needed_bytes: ANSWER_BYTES,
            available_bytes: ANSWER_BYTES - 1
        }
    );
}

#[test]
fn the_longest_offer_fits_into_the_longest_hello() {
    let offer = Offer::new(&[Suite::DEFAULT; 8], &[b'x'; 48]);
    let cookies = Cookies::new(&mut rng::Os).unwrap();
    let (_, hello) = greet::<AwsLc, _>(&offer, &psk(), &cookies, &mut rng::Os);
    assert_eq!(hello.len(), HELLO_MAX_BYTES);
}
