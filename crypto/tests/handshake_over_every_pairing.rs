//! The link handshake runs between any two implementations of ML-KEM-768.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use stencil_crypto::kem::{AwsLc, Kem, RustCrypto};
use stencil_crypto::link::{
    ANSWER_BYTES, Error, HELLO_MAX_BYTES, HELLO_MIN_BYTES, Hello, Initiator, Rekey, Session,
    respond_with,
};
use stencil_crypto::{Psk, Suite, rng};

fn psk() -> Psk {
    Psk::from_bytes([0x5a; 32]).unwrap()
}

fn handshake<Device: Kem, Gateway: Kem>(rekey: Rekey) -> (Session, Session) {
    let mut rng = rng::Os;
    let mut hello = [0; HELLO_MAX_BYTES];
    let (device, sent) = Initiator::<Device>::start_with(
        Suite::DEFAULT,
        rekey,
        &psk(),
        b"freezer-07",
        &mut rng,
        &mut hello,
    )
    .unwrap();
    assert_eq!(sent, HELLO_MIN_BYTES + b"freezer-07".len());

    let hello = Hello::parse(&hello[..sent]).unwrap();
    assert_eq!(hello.identity(), b"freezer-07");
    assert_eq!(hello.suite(), Suite::DEFAULT);
    assert_eq!(hello.rekey(), rekey);

    let mut answer = [0; ANSWER_BYTES];
    let (gateway, sent) =
        respond_with::<Gateway, _>(&hello, &psk(), &mut rng, &mut answer).unwrap();
    assert_eq!(sent, ANSWER_BYTES);
    (device.finish(&answer).unwrap(), gateway)
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
    let mut hello = [0; HELLO_MIN_BYTES];
    let refused = Initiator::start(Suite::DEFAULT, &psk(), b"d", &mut rng, &mut hello)
        .err()
        .unwrap();
    assert_eq!(
        refused,
        Error::Buffer {
            needed_bytes: HELLO_MIN_BYTES + 1,
            available_bytes: HELLO_MIN_BYTES
        }
    );

    let mut hello = [0; HELLO_MIN_BYTES + 1];
    Initiator::start(Suite::DEFAULT, &psk(), b"d", &mut rng, &mut hello).unwrap();
    let hello = Hello::parse(&hello).unwrap();
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
fn identities_have_1_to_48_bytes() {
    let mut out = [0; HELLO_MAX_BYTES + 1];
    for length in [0, 49, 300] {
        let refused = Initiator::start(
            Suite::DEFAULT,
            &psk(),
            &vec![b'x'; length],
            &mut rng::Os,
            &mut out,
        );
        assert_eq!(refused.err(), Some(Error::Identity(length)));
    }
    let longest = [b'x'; 48];
    let (_, sent) =
        Initiator::start(Suite::DEFAULT, &psk(), &longest, &mut rng::Os, &mut out).unwrap();
    assert_eq!(sent, HELLO_MAX_BYTES);
}
