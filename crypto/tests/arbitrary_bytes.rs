//! What a stranger sends never panics.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod chance;

use chance::Repeatable;
use proptest::prelude::*;
use stencil_crypto::authority::Subject;
use stencil_crypto::link::{ANSWER_BYTES, HELLO_MAX_BYTES, Hello, Initiator, Session, respond};
use stencil_crypto::tls::{Identity, Roots};
use stencil_crypto::{Psk, Suite};

fn psk() -> Psk {
    Psk::from_bytes([7; 32]).unwrap()
}

fn start() -> (Initiator, Vec<u8>) {
    let mut out = [0; HELLO_MAX_BYTES];
    let (initiator, sent) =
        Initiator::start(Suite::DEFAULT, &psk(), b"d-1", &mut Repeatable(1), &mut out).unwrap();
    (initiator, out[..sent].to_vec())
}

fn session() -> Session {
    let (_, hello) = start();
    let hello = Hello::parse(&hello).unwrap();
    respond(&hello, &psk(), &mut Repeatable(2), &mut [0; ANSWER_BYTES])
        .unwrap()
        .0
}

proptest! {
    #[test]
    fn as_a_first_message(
        start_bytes in prop_oneof![Just(vec![]), Just(vec![1, 0, 1, 16]), Just(vec![1, 0, 1, 16, 3])],
        rest in prop::collection::vec(any::<u8>(), 0..1400),
    ) {
        let message = [start_bytes, rest].concat();
        if let Ok(hello) = Hello::parse(&message) {
            let refused = respond(&hello, &psk(), &mut Repeatable(3), &mut [0; ANSWER_BYTES]);
            prop_assert!(refused.is_err());
        }
    }

    #[test]
    fn as_a_first_message_of_the_right_length(tail in prop::collection::vec(any::<u8>(), 1232)) {
        let message = [&[1, 0, 1, 16, 3], &b"d-1"[..], &tail[..]].concat();
        let hello = Hello::parse(&message).unwrap();
        let refused = respond(&hello, &psk(), &mut Repeatable(3), &mut [0; ANSWER_BYTES]);
        prop_assert!(refused.is_err());
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
