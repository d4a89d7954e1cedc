//! Whatever is altered in either handshake message, or whoever holds another key, is
//! refused.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod chance;
mod exchange;

use chance::Repeatable;
use exchange::{PLACE, challenge, greet};
use stencil_crypto::kem::RustCrypto;
use stencil_crypto::link::{
    ANSWER_BYTES, COOKIE_SECONDS, Cookies, Error, Established, HELLO_MAX_BYTES, Hello, Initiator,
    Offer, Open, Opening, VERSION, handshake_id, respond,
};
use stencil_crypto::{Psk, Suite};

const IDENTITY: &[u8] = b"freezer-07";

fn psk() -> Psk {
    Psk::from_bytes([0x5a; 32]).unwrap()
}

fn cookies() -> Cookies {
    Cookies::new(&mut Repeatable(7)).unwrap()
}

fn offer() -> Offer<'static> {
    Offer::new(Suite::ALL, IDENTITY)
}

/// The same hello each time, as the draws are the same.
fn start() -> (Initiator, Vec<u8>) {
    greet(&offer(), &psk(), &cookies(), &mut Repeatable(1))
}

fn answer(hello: &[u8], psk: &Psk) -> Result<(Established, [u8; ANSWER_BYTES]), Error> {
    let mut out = [0; ANSWER_BYTES];
    let (established, _) = respond(&Hello::parse(hello)?, psk, &mut Repeatable(2), &mut out)?;
    Ok((established, out))
}

#[test]
fn every_bit_of_the_hello() {
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
fn every_bit_of_the_answer() {
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
    assert_eq!(with(2, 60), Some(Error::Rekey(60)));
    assert_eq!(with(3, 0), Some(Error::NoSuite));
    assert_eq!(with(6, 0), Some(Error::Identity(0)));
    assert_eq!(with(6, 200), Some(Error::Identity(200)));
    let chosen = 7 + IDENTITY.len() + 16;
    assert_eq!(with(chosen, 3), Some(Error::Version(3)));
    assert_eq!(with(chosen + 1, 0x7f), Some(Error::Suite(0x7f01)));
    // A suite that this build knows, but that the device has not offered.
    assert_eq!(with(5, 9), Some(Error::Suite(1)));
}

/// A man in the middle edits the offer, so that the gateway chooses by the edited one.
#[test]
fn an_edited_offer_ends_the_handshake() {
    let (mut rng, cookies) = (Repeatable(1), cookies());
    let offer = Offer::new(&[Suite::DEFAULT; 2], IDENTITY);
    let opening = Opening::start(&offer, &mut rng).unwrap();
    let edits: [fn(&mut Vec<u8>); 6] = [
        |open| open[0] = 1,                         // also speaks an older version
        |open| open[1] = 9,                         // or a newer one
        |open| open[2] = 24,                        // changes keys more rarely
        |open| open[4..6].copy_from_slice(&[0, 9]), // likes another suite best
        |open| open[6..8].copy_from_slice(&[0, 9]), // offers one less
        |open| *open.last_mut().unwrap() ^= 1,      // has another nonce
    ];
    for (n, edit) in edits.into_iter().enumerate() {
        let mut edited = opening.message().to_vec();
        edit(&mut edited);
        let challenge = challenge(&cookies, &edited);
        let mut hello = [0; HELLO_MAX_BYTES];
        let (device, sent) = opening
            .hello(&challenge, &psk(), &mut rng, &mut hello)
            .unwrap();
        let hello = &hello[..sent];
        // The device repeats what it really offered: the cookie is for something else.
        let genuine = Hello::parse(hello).unwrap();
        assert_eq!(cookies.check(&genuine, PLACE, 0), Err(Error::Cookie), "{n}");
        // Edited there too, the cookie is right, but not the device's tag.
        let consistent = [&edited[..], &hello[edited.len()..]].concat();
        let parsed = Hello::parse(&consistent).unwrap();
        cookies.check(&parsed, PLACE, 0).unwrap();
        assert_eq!(
            answer(&consistent, &psk()).err(),
            Some(Error::Refused),
            "{n}"
        );
        // And a gateway that looked at no cookie would be found out by the device.
        let (_, answer) = answer(hello, &psk()).unwrap();
        device.finish(&answer).unwrap();
    }
}

/// And one that edits the gateway's choice.
#[test]
fn an_edited_choice_ends_the_handshake() {
    let (mut rng, cookies) = (Repeatable(1), cookies());
    let opening = Opening::start(&offer(), &mut rng).unwrap();
    let genuine = challenge(&cookies, opening.message());
    let mut out = [0; HELLO_MAX_BYTES];
    let mut with = |at: usize, value: u8| {
        let mut edited = genuine;
        edited[at] = value;
        let greeted = opening.hello(&edited, &psk(), &mut rng, &mut out);
        let (_, sent) = greeted.map_err(Some)?;
        let hello = Hello::parse(&out[..sent]).map_err(Some)?;
        cookies.check(&hello, PLACE, 0).map_err(Some)?;
        Err::<(), _>(None)
    };
    assert_eq!(with(0, 1), Err(Some(Error::Version(1))), "an older version");
    assert_eq!(
        with(2, 2),
        Err(Some(Error::Suite(2))),
        "a suite that was not offered"
    );
    for (at, byte) in genuine.iter().enumerate().skip(3) {
        assert_eq!(with(at, byte ^ 1), Err(Some(Error::Cookie)), "byte {at}");
    }
    assert_eq!(with(0, VERSION), Err(None), "unaltered, it passes");
}

#[test]
fn a_cookie_is_for_one_message_from_one_place_at_one_time() {
    let (_, hello) = start();
    let hello = Hello::parse(&hello).unwrap();
    let cookies = cookies();
    assert_eq!(cookies.check(&hello, PLACE, 0), Ok(()));
    assert_eq!(cookies.check(&hello, PLACE, COOKIE_SECONDS), Ok(()));
    for (place, now_s) in [
        (PLACE, COOKIE_SECONDS + 1),
        (PLACE, u32::MAX),
        (b"elsewhere", 0),
        (b"", 0),
    ] {
        assert_eq!(cookies.check(&hello, place, now_s), Err(Error::Cookie));
    }
    let other = Cookies::new(&mut Repeatable(8)).unwrap();
    assert_eq!(other.check(&hello, PLACE, 0), Err(Error::Cookie));
    assert_eq!(cookies.check(&hello, &[0; 256], 0), Err(Error::Place));
    // The count of seconds may wrap around.
    let opening = Opening::start(&offer(), &mut Repeatable(3)).unwrap();
    let open = Open::parse(opening.message()).unwrap();
    let late = cookies
        .challenge(&open, Suite::DEFAULT, PLACE, u32::MAX)
        .unwrap();
    assert_ne!(handshake_id(&late), 0);
    let mut out = [0; HELLO_MAX_BYTES];
    let (_, sent) = opening
        .hello(&late, &psk(), &mut Repeatable(4), &mut out)
        .unwrap();
    let hello = Hello::parse(&out[..sent]).unwrap();
    assert_eq!(hello.handshake_id(), handshake_id(&late));
    assert_eq!(cookies.check(&hello, PLACE, 5), Ok(()));
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
    let (other, _) = greet::<RustCrypto, _>(&offer(), &psk(), &cookies(), &mut Repeatable(9));
    assert_eq!(other.finish(&genuine).err(), Some(Error::Refused));
}

#[test]
fn a_hello_that_is_sent_again_confirms_nothing() {
    let (initiator, hello) = start();
    let (_, first) = answer(&hello, &psk()).unwrap();
    let mut device = initiator.finish(&first).unwrap().session;
    let mut record = [0; 64];
    let length = device.seal(b"-18.5", &mut record).unwrap();

    // The attacker sends again all that it recorded.
    let mut out = [0; ANSWER_BYTES];
    let parsed = Hello::parse(&hello).unwrap();
    let (mut again, _) = respond(&parsed, &psk(), &mut Repeatable(3), &mut out).unwrap();
    let again = &mut again.session;
    assert_eq!(
        again.open(&record[..length], &mut [0; 64]),
        Err(Error::Refused)
    );
    assert!(!again.is_confirmed());
}
