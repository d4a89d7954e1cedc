//! Whatever is altered in either handshake message, or whoever holds another key, is
//! refused.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod chance;

use chance::Repeatable;
use stencil_crypto::link::{
    ANSWER_BYTES, Error, HELLO_MAX_BYTES, Hello, Initiator, Session, respond,
};
use stencil_crypto::{Psk, Suite};

const IDENTITY: &[u8] = b"freezer-07";

fn psk() -> Psk {
    Psk::from_bytes([0x5a; 32]).unwrap()
}

/// The same first message each time, as the draws are the same.
fn start() -> (Initiator, Vec<u8>) {
    let mut out = [0; HELLO_MAX_BYTES];
    let (initiator, sent) = Initiator::start(
        Suite::DEFAULT,
        &psk(),
        IDENTITY,
        &mut Repeatable(1),
        &mut out,
    )
    .unwrap();
    (initiator, out[..sent].to_vec())
}

fn answer(hello: &[u8], psk: &Psk) -> Result<(Session, [u8; ANSWER_BYTES]), Error> {
    let mut out = [0; ANSWER_BYTES];
    let (session, _) = respond(&Hello::parse(hello)?, psk, &mut Repeatable(2), &mut out)?;
    Ok((session, out))
}

#[test]
fn every_bit_of_the_first_message() {
    let (_, hello) = start();
    answer(&hello, &psk()).unwrap();
    for bit in 0..hello.len() * 8 {
        let mut altered = hello.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        let refused = answer(&altered, &psk()).err();
        assert!(refused.is_some(), "bit {bit} was altered unseen");
    }
}

#[test]
fn every_bit_of_the_second_message() {
    let (initiator, hello) = start();
    let (_, genuine) = answer(&hello, &psk()).unwrap();
    initiator.finish(&genuine).unwrap();
    for bit in 0..ANSWER_BYTES * 8 {
        let mut altered = genuine;
        altered[bit / 8] ^= 1 << (bit % 8);
        let (initiator, _) = start();
        let refused = initiator.finish(&altered).err();
        // The top bit of an X25519 key is ignored by the function (RFC 7748, section 5)
        // but not by the transcript.
        assert_eq!(
            refused,
            Some(Error::Refused),
            "bit {bit} was altered unseen"
        );
    }
}

#[test]
fn lengths_that_differ() {
    let (_, hello) = start();
    let (_, genuine) = answer(&hello, &psk()).unwrap();
    for length in (0..hello.len()).step_by(7) {
        assert!(Hello::parse(&hello[..length]).is_err());
    }
    let mut longer = hello.clone();
    longer.push(0);
    assert!(matches!(Hello::parse(&longer), Err(Error::Length { .. })));

    for length in [0, 31, 32, 1120, ANSWER_BYTES - 1] {
        let (initiator, _) = start();
        let refused = initiator.finish(&genuine[..length]).err();
        assert!(matches!(refused, Some(Error::Length { .. })));
    }
    let (initiator, _) = start();
    let longer = [&genuine[..], &[0]].concat();
    assert!(matches!(
        initiator.finish(&longer),
        Err(Error::Length { .. })
    ));
}

#[test]
fn what_this_build_does_not_speak_is_named() {
    let (_, hello) = start();
    let with = |at: usize, value: u8| {
        let mut altered = hello.clone();
        altered[at] = value;
        Hello::parse(&altered).err()
    };
    assert_eq!(with(0, 2), Some(Error::Version(2)));
    assert_eq!(with(1, 0x7f), Some(Error::Suite(0x7f01)));
    assert_eq!(with(3, 60), Some(Error::Rekey(60)));
    assert_eq!(with(4, 0), Some(Error::Identity(0)));
    assert_eq!(with(4, 200), Some(Error::Identity(200)));
}

#[test]
fn another_identity_of_the_same_length() {
    let (_, mut hello) = start();
    let at = hello
        .windows(IDENTITY.len())
        .position(|window| window == IDENTITY)
        .unwrap();
    hello[at..at + IDENTITY.len()].copy_from_slice(b"freezer-08");
    assert_eq!(answer(&hello, &psk()).err(), Some(Error::Refused));
}

#[test]
fn a_gateway_with_another_key_refuses_the_device() {
    let (_, hello) = start();
    let other = Psk::from_bytes([0x5b; 32]).unwrap();
    assert_eq!(answer(&hello, &other).err(), Some(Error::Refused));
}

#[test]
fn a_device_refuses_the_answer_to_another_handshake() {
    let (_, hello) = start();
    let (_, genuine) = answer(&hello, &psk()).unwrap();
    let mut out = [0; HELLO_MAX_BYTES];
    let (other, _) = Initiator::start(
        Suite::DEFAULT,
        &psk(),
        IDENTITY,
        &mut Repeatable(9),
        &mut out,
    )
    .unwrap();
    assert_eq!(other.finish(&genuine).err(), Some(Error::Refused));
}

#[test]
fn a_first_message_that_is_sent_again_confirms_nothing() {
    let (initiator, hello) = start();
    let (_, first) = answer(&hello, &psk()).unwrap();
    let mut device = initiator.finish(&first).unwrap();
    let mut record = [0; 64];
    let length = device.seal(b"-18.5", &mut record).unwrap();

    // The attacker sends again all that it recorded.
    let mut out = [0; ANSWER_BYTES];
    let parsed = Hello::parse(&hello).unwrap();
    let (mut again, _) = respond(&parsed, &psk(), &mut Repeatable(3), &mut out).unwrap();
    assert_eq!(
        again.open(&record[..length], &mut [0; 64]),
        Err(Error::Refused)
    );
    assert!(!again.is_confirmed());
}
