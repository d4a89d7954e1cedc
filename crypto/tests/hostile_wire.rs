//! A hundred thousand times something altered, cut off, made longer or sent again: nothing is
//! taken that wasn't said, and what is said afterwards still gets through.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod chance;
mod exchange;

use std::collections::{BTreeMap, VecDeque};

use chance::Repeatable;
use exchange::{PLACE, challenge, greet};
use rand_core::Rng;
use stencil_crypto::kem::RustCrypto;
use stencil_crypto::link::{
    ANSWER_BYTES, Cookies, Hello, Offer, Open, Opening, RESUMED_BYTES, Rekey, Resume, Resuming,
    Session, respond,
};
use stencil_crypto::{Psk, Suite};

const ROUNDS: u32 = 100_000;
/// How many of the last messages an attacker has recorded.
const RECORDED: usize = 200;

fn psk() -> Psk {
    Psk::from_bytes([0x5a; 32]).unwrap()
}

fn offer() -> Offer<'static> {
    Offer {
        rekey: Rekey::MIN,
        ..Offer::new(Suite::ALL, b"freezer-07")
    }
}

/// What the attacker makes of a message; now and then it is left as it is.
fn altered(genuine: &[u8], recorded: &VecDeque<Vec<u8>>, rng: &mut Repeatable) -> Vec<u8> {
    let mut bytes = genuine.to_vec();
    let mut below = |bound: usize| usize::try_from(rng.next_u64()).unwrap() % bound.max(1);
    match below(8) {
        0 => bytes.truncate(below(genuine.len())),
        1 => bytes.extend(std::iter::repeat_n(0x5a, 1 + below(40))),
        2 => {
            if let Some(other) = recorded.get(below(recorded.len())) {
                bytes.clone_from(other);
            }
        }
        3 => {
            // The beginning of one and the end of another.
            if let Some(other) = recorded.get(below(recorded.len())) {
                let at = below(bytes.len().min(other.len()));
                bytes.truncate(at);
                bytes.extend_from_slice(&other[at..]);
            }
        }
        4 => {}
        _ => {
            for _ in 0..=below(3) {
                let at = below(bytes.len() * 8);
                bytes[at / 8] ^= 1 << (at % 8);
            }
        }
    }
    bytes
}

/// One direction: what was said, and what of it was heard.
struct Direction {
    said: BTreeMap<u64, (Vec<u8>, Vec<u8>)>,
    heard: u64,
}

impl Direction {
    fn round(
        &mut self,
        n: u32,
        (from, to): (&mut Session, &mut Session),
        recorded: &mut VecDeque<Vec<u8>>,
        rng: &mut Repeatable,
    ) {
        let plain = n.to_be_bytes();
        let mut record = [0; 64];
        let length = from.seal(&plain, &mut record).unwrap();
        let genuine = record[..length].to_vec();
        let counter = u64::from_be_bytes(*genuine.first_chunk().unwrap());
        self.said.insert(counter, (genuine.clone(), plain.to_vec()));
        self.said.retain(|said, _| said + 200 > counter);
        let hostile = altered(&genuine, recorded, rng);
        recorded.push_back(genuine.clone());
        for bytes in [&hostile, &genuine, &hostile] {
            let mut out = [0; 128];
            let Ok(length) = to.open(bytes, &mut out) else {
                continue;
            };
            // Taken once, and as it was said.
            let counter = u64::from_be_bytes(*bytes.first_chunk().unwrap());
            let (record, plain) = self.said.remove(&counter).expect("taken twice");
            assert_eq!((bytes, &out[..length]), (&record, &plain[..]));
            self.heard += 1;
        }
        assert!(!self.said.contains_key(&counter), "what was said got lost");
    }
}

#[test]
fn nothing_is_taken_that_was_not_said() {
    let mut rng = Repeatable(1);
    let cookies = Cookies::new(&mut Repeatable(2)).unwrap();
    // An earlier handshake of the same device, from the same place, which was recorded.
    let (_, hello) = greet::<RustCrypto, _>(&offer(), &psk(), &cookies, &mut Repeatable(3));
    let mut answer = [0; ANSWER_BYTES];
    let mut recorded: VecDeque<Vec<u8>> = VecDeque::new();
    recorded.push_back(hello);

    let begin = || greet::<RustCrypto, _>(&offer(), &psk(), &cookies, &mut Repeatable(5));
    let (device, sent) = begin();
    let parsed = Hello::parse(&sent).unwrap();
    let (gateway, _) = respond(&parsed, &psk(), &mut Repeatable(6), &mut answer).unwrap();
    let device = device.finish(&answer).unwrap();
    let (mut kept, mut theirs) = (device.resumption, gateway.resumption);
    let (mut device, mut gateway) = (device.session, gateway.session);
    let opening = Opening::start(&offer(), &mut Repeatable(7)).unwrap();
    let challenged = challenge(&cookies, opening.message());
    let direction = || Direction {
        said: BTreeMap::new(),
        heard: 0,
    };
    let (mut up, mut down) = (direction(), direction());
    let (mut hellos, mut answers, mut resumptions) = (0, 0, 0);
    for n in 0..ROUNDS {
        match rng.next_u64() % 100 {
            0..35 => up.round(n, (&mut device, &mut gateway), &mut recorded, &mut rng),
            35..60 => down.round(n, (&mut gateway, &mut device), &mut recorded, &mut rng),
            60..75 => {
                let hostile = altered(&sent, &recorded, &mut rng);
                let genuine = [&sent[..], &recorded[0]].contains(&&hostile[..]);
                if let Ok(hello) = Hello::parse(&hostile) {
                    // The cookie covers what is before the keys, the tag all of it.
                    let kept = hostile.len() - 1232;
                    let known = [&sent, &recorded[0]]
                        .iter()
                        .any(|known| known.get(..kept) == hostile.get(..kept));
                    assert_eq!(cookies.check(&hello, PLACE, 1).is_ok(), known, "round {n}");
                    let mut out = [0; ANSWER_BYTES];
                    let proved =
                        !genuine && respond(&hello, &psk(), &mut Repeatable(8), &mut out).is_ok();
                    assert!(!proved, "round {n}");
                }
                hellos += 1;
            }
            75..78 => {
                let hostile = altered(&answer, &recorded, &mut rng);
                let taken = begin().0.finish(&hostile).is_ok();
                assert_eq!(taken, hostile == answer, "round {n}");
                answers += 1;
            }
            78..88 => {
                let hostile = altered(opening.message(), &recorded, &mut rng);
                if let Ok(open) = Open::parse(&hostile) {
                    let _ = open.choose(Suite::ALL);
                }
                let hostile = altered(&challenged, &recorded, &mut rng);
                // Made out of range, so that no key has to be drawn: parsing is what counts.
                let _ = opening.hello(&hostile, &psk(), &mut Repeatable(9), &mut [0; 64]);
            }
            _ => {
                let mut seed = Repeatable(rng.next_u64());
                let resuming = Resuming::start(&offer(), &psk(), &kept, &mut seed).unwrap();
                let genuine = resuming.message().to_vec();
                let hostile = altered(&genuine, &recorded, &mut rng);
                recorded.push_back(genuine.clone());
                let mut out = [0; RESUMED_BYTES];
                let taken = Resume::parse(&hostile)
                    .and_then(|resume| resume.respond(&psk(), &theirs, &mut seed, &mut out));
                // One of this generation that was recorded is answered, to nobody's use.
                assert!(
                    taken.is_err() || hostile == genuine || recorded.contains(&hostile),
                    "round {n}"
                );
                let (resumed, _) = Resume::parse(&genuine)
                    .unwrap()
                    .respond(&psk(), &theirs, &mut seed, &mut out)
                    .unwrap();
                let hostile = altered(&out, &recorded, &mut rng);
                assert_eq!(
                    resuming.finish(&hostile).is_ok(),
                    hostile == out,
                    "round {n}"
                );
                recorded.push_back(out.to_vec());
                if rng.next_u64().is_multiple_of(10) {
                    // The genuine answer comes, and both go on with it.
                    let (session, next) = resuming.finish(&out).unwrap();
                    assert!(next == resumed.next);
                    (kept, theirs) = (next, resumed.next);
                    (device, gateway) = (session, resumed.session);
                    (up, down) = (direction(), direction());
                    resumptions += 1;
                }
            }
        }
        while recorded.len() > RECORDED {
            // The hello stays: it is what a replay is made of.
            recorded.remove(1);
        }
    }
    assert!(hellos > 10_000 && answers > 2_000 && resumptions > 800);
}
