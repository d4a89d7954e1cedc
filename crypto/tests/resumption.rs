//! A session is resumed from the secret that the one before left: once for each, whatever is
//! lost on the way, and never from an old one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod chance;
mod exchange;

use chance::Repeatable;
use exchange::greet;
use stencil_crypto::kem::AwsLc;
use stencil_crypto::link::{
    ANSWER_BYTES, Cookies, Error, GENERATIONS_AHEAD_MAX, Hello, Offer, RESUMED_BYTES, Rekey,
    Resume, Resumed, Resuming, Resumption, Session, respond,
};
use stencil_crypto::{Psk, Suite};

fn psk() -> Psk {
    Psk::from_bytes([0x5a; 32]).unwrap()
}

fn offer() -> Offer<'static> {
    Offer::new(Suite::ALL, b"freezer-07")
}

/// What both sides keep after a handshake.
fn established() -> (Resumption, Resumption) {
    let mut rng = Repeatable(1);
    let cookies = Cookies::new(&mut rng).unwrap();
    let (device, hello) = greet::<AwsLc, _>(&offer(), &psk(), &cookies, &mut rng);
    let mut answer = [0; ANSWER_BYTES];
    let hello = Hello::parse(&hello).unwrap();
    let (gateway, _) = respond(&hello, &psk(), &mut rng, &mut answer).unwrap();
    (
        device.finish(&answer).unwrap().resumption,
        gateway.resumption,
    )
}

fn resume(kept: &Resumption, seed: u64) -> Resuming {
    Resuming::start(&offer(), &psk(), kept, &mut Repeatable(seed)).unwrap()
}

fn answer(
    message: &[u8],
    kept: &Resumption,
    seed: u64,
) -> Result<(Resumed, [u8; RESUMED_BYTES]), Error> {
    let mut out = [0; RESUMED_BYTES];
    let parsed = Resume::parse(message)?;
    let (resumed, _) = parsed.respond(&psk(), kept, &mut Repeatable(seed), &mut out)?;
    Ok((resumed, out))
}

fn speak(from: &mut Session, to: &mut Session) -> Result<(), Error> {
    let (mut record, mut plain) = ([0; 64], [0; 64]);
    let length = from.seal(b"-18.5", &mut record)?;
    let length = to.open(&record[..length], &mut plain)?;
    assert_eq!(&plain[..length], b"-18.5");
    Ok(())
}

#[test]
fn again_and_again_with_keys_of_its_own_each_time() {
    let (mut device, mut gateway) = established();
    assert!(device == gateway);
    let mut ids = std::collections::BTreeSet::new();
    for n in 0..100 {
        assert_eq!(device.generation(), n);
        let resuming = resume(&device, u64::from(n));
        let (resumed, answer) = answer(resuming.message(), &gateway, 1_000).unwrap();
        let (mut session, next) = resuming.finish(&answer).unwrap();
        let mut theirs = resumed.session;
        assert!(!theirs.is_confirmed());
        speak(&mut session, &mut theirs).unwrap();
        speak(&mut theirs, &mut session).unwrap();
        assert!(theirs.is_confirmed());
        assert!(ids.insert(*session.id()));
        assert!(resumed.shown == gateway && resumed.next == next);
        assert!(next != device);
        (device, gateway) = (next, resumed.next);
    }
}

#[test]
fn a_lost_answer_locks_nobody_out() {
    let (device, mut gateway) = established();
    // The gateway answers again and again, and none of it comes.
    for n in 0..5 {
        let resuming = resume(&device, n);
        let (resumed, _) = answer(resuming.message(), &gateway, 50 + n).unwrap();
        gateway = resumed.shown;
    }
    let resuming = resume(&device, 9);
    let (resumed, answer) = answer(resuming.message(), &gateway, 60).unwrap();
    let (mut session, _) = resuming.finish(&answer).unwrap();
    let mut theirs = resumed.session;
    speak(&mut session, &mut theirs).unwrap();
}

#[test]
fn a_gateway_that_missed_that_its_answers_came_finds_the_generation() {
    let (mut device, gateway) = established();
    for n in 0..GENERATIONS_AHEAD_MAX {
        // It keeps what it had: a crash, or no record ever came.
        let resuming = resume(&device, u64::from(n));
        let (_, answer) = answer(resuming.message(), &gateway, 7).unwrap();
        device = resuming.finish(&answer).unwrap().1;
    }
    let resuming = resume(&device, 1_000);
    let (resumed, _) = answer(resuming.message(), &gateway, 8).unwrap();
    assert!(resumed.shown == device);
    // One more than that has to make a handshake.
    let resuming_again = resume(&resumed.next, 1_001);
    let refused = answer(resuming_again.message(), &gateway, 9).err();
    let one_more = GENERATIONS_AHEAD_MAX + 1;
    assert_eq!(refused, Some(Error::Generation(one_more)));
}

#[test]
fn what_was_recorded_opens_nothing() {
    let (device, gateway) = established();
    let resuming = resume(&device, 1);
    let recorded = resuming.message().to_vec();
    let (resumed, answered) = answer(&recorded, &gateway, 2).unwrap();
    let (mut session, next) = resuming.finish(&answered).unwrap();
    let mut record = [0; 64];
    let length = session.seal(b"-18.5", &mut record).unwrap();

    // Before the gateway has moved on it answers, with keys that the attacker doesn't get.
    let (mut again, other) = answer(&recorded, &resumed.shown, 3).unwrap();
    assert_ne!(answered, other);
    let refused = again.session.open(&record[..length], &mut [0; 64]);
    assert_eq!(refused, Err(Error::Refused));
    assert!(!again.session.is_confirmed());
    // Afterwards not even that; and the device itself is not cut off by it.
    let refused = answer(&recorded, &resumed.next, 4).err();
    assert_eq!(refused, Some(Error::Generation(0)));
    answer(resume(&next, 5).message(), &resumed.next, 6).unwrap();
    // An answer that was recorded is none to another message.
    let refused = resume(&device, 7).finish(&answered).err();
    assert_eq!(refused, Some(Error::Refused));
    assert_eq!(
        resume(&next, 8).finish(&answered).err(),
        Some(Error::Refused)
    );
}

#[test]
fn every_bit_of_both_messages_counts() {
    let (device, gateway) = established();
    let resuming = resume(&device, 1);
    let genuine = resuming.message();
    let (_, answered) = answer(genuine, &gateway, 2).unwrap();
    resuming.finish(&answered).unwrap();
    for bit in 0..genuine.len() * 8 {
        let mut altered = genuine.to_vec();
        altered[bit / 8] ^= 1 << (bit % 8);
        assert!(answer(&altered, &gateway, 2).is_err(), "bit {bit}");
    }
    for bit in 0..RESUMED_BYTES * 8 {
        let mut altered = answered;
        altered[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(
            resuming.finish(&altered).err(),
            Some(Error::Refused),
            "bit {bit}"
        );
    }
    for length in 0..genuine.len() {
        assert!(Resume::parse(&genuine[..length]).is_err());
    }
    for length in 0..RESUMED_BYTES {
        assert!(resuming.finish(&answered[..length]).is_err());
    }
    // A wrong answer costs nothing: the right one still ends it.
    resuming.finish(&answered).unwrap();
}

#[test]
fn both_secrets_are_needed() {
    let (device, gateway) = established();
    let other = Psk::from_bytes([0x5b; 32]).unwrap();
    let mut out = [0; RESUMED_BYTES];
    let resuming = resume(&device, 1);
    let parsed = Resume::parse(resuming.message()).unwrap();
    let refused = parsed.respond(&other, &gateway, &mut Repeatable(2), &mut out);
    assert_eq!(
        refused.err(),
        Some(Error::Refused),
        "the pre-shared key was replaced"
    );
    let mut bytes = device.to_bytes();
    bytes[20] ^= 1;
    let stranger = Resumption::from_bytes(&bytes).unwrap();
    let refused = answer(resume(&stranger, 1).message(), &gateway, 2).err();
    assert_eq!(refused, Some(Error::Refused), "the secret is another");
}

#[test]
fn it_comes_back_from_memory_and_is_never_printed() {
    let (device, _) = established();
    let bytes = device.to_bytes();
    assert!(Resumption::from_bytes(&bytes).unwrap() == device);
    let mut unknown = bytes.clone();
    unknown[1] = 9;
    assert_eq!(
        Resumption::from_bytes(&unknown).err(),
        Some(Error::Suite(9))
    );
    assert_eq!(format!("{device:?}"), "Resumption { generation: 0, .. }");
    // The last generation there is: then a handshake is needed.
    let mut last = bytes;
    last[2..6].copy_from_slice(&u32::MAX.to_be_bytes());
    let last = Resumption::from_bytes(&last).unwrap();
    let refused = Resuming::start(&offer(), &psk(), &last, &mut Repeatable(1)).err();
    assert_eq!(refused, Some(Error::Exhausted));
}

#[test]
fn the_rekey_schedule_of_the_offer_holds() {
    let (device, gateway) = established();
    let offer = Offer {
        rekey: Rekey::MIN,
        ..offer()
    };
    let resuming = Resuming::start(&offer, &psk(), &device, &mut Repeatable(1)).unwrap();
    let (resumed, answered) = answer(resuming.message(), &gateway, 2).unwrap();
    let (mut session, _) = resuming.finish(&answered).unwrap();
    let mut theirs = resumed.session;
    for _ in 0..200 {
        speak(&mut session, &mut theirs).unwrap();
    }
}
