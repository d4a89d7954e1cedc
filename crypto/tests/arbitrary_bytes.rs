//! What a stranger sends never panics.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod chance;
mod exchange;

use chance::Repeatable;
use exchange::{PLACE, greet};
use proptest::prelude::*;
use stencil_crypto::authority::Subject;
use stencil_crypto::link::{
    ANSWER_BYTES, Cookies, Hello, Initiator, Offer, Open, Opening, Resume, Resuming, Session,
    respond,
};
use stencil_crypto::tls::{Identity, Roots};
use stencil_crypto::{Psk, Suite};

fn psk() -> Psk {
    Psk::from_bytes([7; 32]).unwrap()
}

fn offer() -> Offer<'static> {
    Offer::new(Suite::ALL, b"d-1")
}

fn cookies() -> Cookies {
    Cookies::new(&mut Repeatable(5)).unwrap()
}

fn start() -> (Initiator, Vec<u8>) {
    greet(&offer(), &psk(), &cookies(), &mut Repeatable(1))
}

fn session() -> Session {
    let (_, hello) = start();
    let hello = Hello::parse(&hello).unwrap();
    respond(&hello, &psk(), &mut Repeatable(2), &mut [0; ANSWER_BYTES])
        .unwrap()
        .0
        .session
}

proptest! {
    #[test]
    fn as_a_first_message(message in prop::collection::vec(any::<u8>(), 0..100)) {
        if let Ok(open) = Open::parse(&message) {
            let _ = open.choose(Suite::ALL);
        }
    }

    #[test]
    fn as_a_challenge(message in prop::collection::vec(any::<u8>(), 0..40)) {
        let opening = Opening::start(&offer(), &mut Repeatable(1)).unwrap();
        let (mut rng, mut out) = (Repeatable(1), [0; 1_400]);
        prop_assert!(opening.hello(&message, &psk(), &mut rng, &mut out).is_err());
    }

    #[test]
    fn as_a_hello(
        start_bytes in prop_oneof![Just(vec![]), Just(vec![2, 2, 16, 1, 0, 1, 3])],
        rest in prop::collection::vec(any::<u8>(), 0..1400),
    ) {
        let message = [start_bytes, rest].concat();
        if let Ok(hello) = Hello::parse(&message) {
            prop_assert!(cookies().check(&hello, PLACE, 0).is_err());
            let refused = respond(&hello, &psk(), &mut Repeatable(3), &mut [0; ANSWER_BYTES]);
            prop_assert!(refused.is_err());
        }
    }

    #[test]
    fn as_a_hello_of_the_right_form(
        nonce in prop::collection::vec(any::<u8>(), 16),
        tail in prop::collection::vec(any::<u8>(), 20 + 1232),
    ) {
        let head = &[2, 2, 16, 1, 0, 1, 3, b'd', b'-', b'1'][..];
        let message = [head, &nonce, &[2, 0, 1], &tail].concat();
        let hello = Hello::parse(&message).unwrap();
        prop_assert!(cookies().check(&hello, PLACE, 0).is_err());
        let refused = respond(&hello, &psk(), &mut Repeatable(3), &mut [0; ANSWER_BYTES]);
        prop_assert!(refused.is_err());
    }

    #[test]
    fn as_messages_to_resume(
        head in prop_oneof![Just(vec![]), Just(vec![2, 0, 1, 16, 3])],
        rest in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let message = [head, rest].concat();
        let (device, hello) = start();
        let hello = Hello::parse(&hello).unwrap();
        let mut answer = [0; ANSWER_BYTES];
        let (kept, _) = respond(&hello, &psk(), &mut Repeatable(2), &mut answer).unwrap();
        if let Ok(resume) = Resume::parse(&message) {
            let (mut rng, mut out) = (Repeatable(3), [0; 64]);
            prop_assert!(resume.respond(&psk(), &kept.resumption, &mut rng, &mut out).is_err());
        }
        let resumption = device.finish(&answer).unwrap().resumption;
        let resuming = Resuming::start(&offer(), &psk(), &resumption, &mut Repeatable(4)).unwrap();
        prop_assert!(resuming.finish(&message).is_err());
    }

    #[test]
    fn as_a_second_message(
        message in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..1400),
            prop::collection::vec(any::<u8>(), ANSWER_BYTES),
        ],
    ) {
        prop_assert!(start().0.finish(&message).is_err());
    }

    #[test]
    fn as_records(records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 1..20)) {
        let mut session = session();
        for mut record in records {
            prop_assert!(session.open(&record, &mut [0; 80]).is_err());
            // And with a counter that reaches the cipher.
            if let Some(counter) = record.first_chunk_mut::<8>() {
                *counter = u64::from(counter[7]).to_be_bytes();
            }
            prop_assert!(session.open(&record, &mut [0; 80]).is_err());
        }
        prop_assert!(!session.is_confirmed());
    }

    #[test]
    fn as_certificates_keys_and_names(bytes in prop::collection::vec(any::<u8>(), 0..400), text in ".{0,200}") {
        prop_assert!(Subject::of(&bytes).is_err());
        let _ = Subject::parse(&text);
        let _ = Psk::from_hex(&text);
        prop_assert!(Identity::from_pem(&text, &text).is_err());
        prop_assert!(Roots::from_pem(&text).is_err());
    }
}
