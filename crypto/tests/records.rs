//! Records: each is opened once, in any order within the window, under keys that
//! change; nothing altered is opened.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod exchange;

use exchange::greet;
use proptest::prelude::*;
use stencil_crypto::kem::{AwsLc, RustCrypto};
use stencil_crypto::link::{
    ANSWER_BYTES, Cookies, Error, Hello, Offer, RECORD_OVERHEAD_BYTES, Rekey, Session,
    WINDOW_RECORDS, respond_with,
};
use stencil_crypto::{Psk, Suite, rng};

/// A device's and a gateway's session with keys that change every 64 records.
fn sessions() -> (Session, Session) {
    let psk = Psk::generate(&mut rng::Os);
    let offer = Offer {
        rekey: Rekey::MIN,
        ..Offer::new(Suite::ALL, b"d")
    };
    let cookies = Cookies::new(&mut rng::Os).unwrap();
    let (device, hello) = greet::<RustCrypto, _>(&offer, &psk, &cookies, &mut rng::Os);
    let mut answer = [0; ANSWER_BYTES];
    let hello = Hello::parse(&hello).unwrap();
    let (gateway, _) = respond_with::<AwsLc, _>(&hello, &psk, &mut rng::Os, &mut answer).unwrap();
    (device.finish(&answer).unwrap().session, gateway.session)
}

fn seal(session: &mut Session, plaintext: &[u8]) -> Vec<u8> {
    let mut record = vec![0; plaintext.len() + RECORD_OVERHEAD_BYTES];
    let length = session.seal(plaintext, &mut record).unwrap();
    assert_eq!(length, record.len());
    record
}

fn open(session: &mut Session, record: &[u8]) -> Result<Vec<u8>, Error> {
    let mut plaintext = vec![0; record.len()];
    let length = session.open(record, &mut plaintext)?;
    plaintext.truncate(length);
    Ok(plaintext)
}

#[test]
fn a_record_is_opened_once() {
    let (mut device, mut gateway) = sessions();
    let first = seal(&mut device, b"1");
    let second = seal(&mut device, b"2");
    assert_eq!(open(&mut gateway, &first).unwrap(), b"1");
    assert_eq!(open(&mut gateway, &first), Err(Error::Replayed(0)));
    assert_eq!(open(&mut gateway, &second).unwrap(), b"2");
    assert_eq!(open(&mut gateway, &first), Err(Error::Replayed(0)));
    assert_eq!(open(&mut gateway, &second), Err(Error::Replayed(1)));
}

#[test]
fn order_does_not_matter_within_the_window() {
    let (mut device, mut gateway) = sessions();
    let mut records: Vec<_> = (0..64u8).map(|n| seal(&mut device, &[n])).collect();
    records.reverse();
    for (record, n) in records.iter().zip((0..64u8).rev()) {
        assert_eq!(open(&mut gateway, record).unwrap(), [n]);
    }
}

#[test]
fn what_is_behind_the_window_is_too_old() {
    let (mut device, mut gateway) = sessions();
    let records: Vec<_> = (0..=WINDOW_RECORDS)
        .map(|_| seal(&mut device, b""))
        .collect();
    open(&mut gateway, records.last().unwrap()).unwrap();
    assert_eq!(open(&mut gateway, &records[0]), Err(Error::TooOld(0)));
    assert_eq!(open(&mut gateway, &records[1]).unwrap(), b"");
}

#[test]
fn keys_change_in_both_directions_and_late_records_still_open() {
    let (mut device, mut gateway) = sessions();
    for direction in 0..2 {
        let (from, to) = if direction == 0 {
            (&mut device, &mut gateway)
        } else {
            (&mut gateway, &mut device)
        };
        let mut late = Vec::new();
        for n in 0..1_000u64 {
            let record = seal(from, &n.to_be_bytes());
            // Every tenth record is held back until five later ones were opened, also
            // across the changes of keys at 64, 128, ...
            if n % 10 == 3 {
                late.push((n, record));
            } else {
                assert_eq!(open(to, &record).unwrap(), n.to_be_bytes());
            }
            if n % 10 == 8 {
                let (n, record) = late.pop().unwrap();
                assert_eq!(open(to, &record).unwrap(), n.to_be_bytes());
            }
        }
    }
}

#[test]
fn a_late_record_opens_across_exactly_one_change_of_keys() {
    let (mut device, mut gateway) = sessions();
    let records: Vec<_> = (0..=128u8).map(|n| seal(&mut device, &[n])).collect();
    open(&mut gateway, &records[64]).unwrap();
    // Counter 63 is under the key before; so is 1, the last in the window.
    assert_eq!(open(&mut gateway, &records[63]).unwrap(), [63]);
    assert_eq!(open(&mut gateway, &records[1]).unwrap(), [1]);
    open(&mut gateway, &records[128]).unwrap();
    assert_eq!(open(&mut gateway, &records[63]), Err(Error::TooOld(63)));
    assert_eq!(open(&mut gateway, &records[65]).unwrap(), [65]);
}

#[test]
fn a_whole_epoch_may_be_lost_but_not_five() {
    let (mut device, mut gateway) = sessions();
    let records: Vec<_> = (0..5 * 64 + 1).map(|_| seal(&mut device, b"x")).collect();
    assert_eq!(
        open(&mut gateway, &records[5 * 64]),
        Err(Error::TooFarAhead(320))
    );
    open(&mut gateway, &records[4 * 64]).unwrap();
    open(&mut gateway, &records[5 * 64]).unwrap();
    // The epoch before the newest, within the window.
    open(&mut gateway, &records[4 * 64 + 63]).unwrap();
}

#[test]
fn keys_change_on_demand() {
    let (mut device, mut gateway) = sessions();
    device.rekey();
    let first = seal(&mut device, b"1");
    assert_eq!(
        first[..8],
        [0; 8],
        "nothing was sent under the first key, so it stays"
    );
    device.rekey();
    device.rekey();
    let second = seal(&mut device, b"2");
    assert_eq!(
        second[..8],
        64u64.to_be_bytes(),
        "the next key begins with its own counters"
    );
    assert_eq!(open(&mut gateway, &second).unwrap(), b"2");
    assert_eq!(open(&mut gateway, &first).unwrap_err(), Error::TooOld(0));
}

#[test]
fn a_record_of_another_session_is_refused() {
    let (mut device, _) = sessions();
    let (_, mut gateway) = sessions();
    let record = seal(&mut device, b"x");
    assert_eq!(open(&mut gateway, &record), Err(Error::Refused));
}

#[test]
fn a_refused_record_changes_nothing() {
    let (mut device, mut gateway) = sessions();
    let genuine = seal(&mut device, b"genuine");
    let mut forged = genuine.clone();
    forged[8] ^= 1;
    let mut plaintext = [0xaa; 7];
    assert_eq!(gateway.open(&forged, &mut plaintext), Err(Error::Refused));
    assert_eq!(
        plaintext, [0xaa; 7],
        "no plaintext leaves before its tag is checked"
    );
    assert!(!gateway.is_confirmed());
    // A forged counter must not move the window either.
    forged[..8].copy_from_slice(&63u64.to_be_bytes());
    assert_eq!(gateway.open(&forged, &mut plaintext), Err(Error::Refused));
    assert_eq!(open(&mut gateway, &genuine).unwrap(), b"genuine");
}

#[test]
fn a_buffer_that_is_too_small_costs_no_record() {
    let (mut device, mut gateway) = sessions();
    let refused = device.seal(b"12345", &mut [0; 28]);
    assert_eq!(
        refused,
        Err(Error::Buffer {
            needed_bytes: 29,
            available_bytes: 28
        })
    );
    let record = seal(&mut device, b"12345");
    assert_eq!(record[..8], [0; 8]);
    let refused = gateway.open(&record, &mut [0; 4]);
    assert_eq!(
        refused,
        Err(Error::Buffer {
            needed_bytes: 5,
            available_bytes: 4
        })
    );
    assert_eq!(open(&mut gateway, &record).unwrap(), b"12345");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_flipped_bit_passes(
        plaintext in prop::collection::vec(any::<u8>(), 0..200),
        before in 0usize..150,
        choice in any::<prop::sample::Index>(),
    ) {
        let (mut device, mut gateway) = sessions();
        for _ in 0..before {
            open(&mut gateway, &seal(&mut device, b"before")).unwrap();
        }
        let record = seal(&mut device, &plaintext);
        let bit = choice.index(record.len() * 8);
        let mut altered = record.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(open(&mut gateway, &altered).is_err());
        prop_assert_eq!(open(&mut gateway, &record).unwrap(), plaintext);
    }

    /// Over more than 30 changes of keys, by count and on demand: what the line delivers
    /// opens, once, whatever it lost, repeated and moved before.
    #[test]
    fn no_record_that_comes_is_refused_across_keys_whatever_is_lost_or_moved(
        line in prop::collection::vec((0u8..100, 0u64..30, any::<bool>()), 2_000),
    ) {
        let (mut device, mut gateway) = sessions();
        let (mut delivered, mut changes) = (Vec::new(), 0);
        let mut sealed = Vec::new();
        for (n, (chance, delay, _)) in (0u64..).zip(&line) {
            if chance % 50 == 7 {
                device.rekey();
                changes += 1;
            }
            let record = seal(&mut device, &n.to_be_bytes());
            if *chance >= 10 {
                sealed.push((n + delay, n, record));
            }
        }
        sealed.sort();
        // A direction that rekeys on demand leaves out counters, so the window moves by
        // more than records: what fell out of it was sent before that.
        let mut newest = 0;
        for (_, n, record) in &sealed {
            let counter = u64::from_be_bytes(*record.first_chunk().unwrap());
            match open(&mut gateway, record) {
                Ok(plain) => {
                    prop_assert_eq!(plain, n.to_be_bytes());
                    delivered.push(*n);
                    newest = newest.max(counter);
                }
                Err(error) => {
                    prop_assert_eq!(error, Error::TooOld(counter));
                    prop_assert!(counter + WINDOW_RECORDS <= newest, "{} {}", counter, newest);
                }
            }
            prop_assert!(open(&mut gateway, record).is_err());
        }
        prop_assert!(changes > 0);
        if changes < 5 {
            prop_assert!(delivered.len() > 1_000);
        }
    }

    /// By count alone nothing that comes within the window is refused.
    #[test]
    fn no_record_is_refused_when_keys_change_by_count(
        line in prop::collection::vec((0u8..100, 0u64..30), 1_000),
    ) {
        let (mut device, mut gateway) = sessions();
        let mut sealed: Vec<_> = (0u64..)
            .zip(&line)
            .map(|(n, (_, delay))| (n + delay, n, seal(&mut device, &n.to_be_bytes())))
            .collect();
        sealed.sort();
        for ((_, n, record), (chance, _)) in sealed.iter().zip(&line) {
            if *chance >= 10 {
                prop_assert_eq!(open(&mut gateway, record).unwrap(), n.to_be_bytes());
                prop_assert!(open(&mut gateway, record).is_err());
            }
        }
    }

    #[test]
    fn each_record_opens_exactly_once_in_any_order_within_the_window(
        jitter in prop::collection::vec(0u64..60, 300),
    ) {
        let (mut device, mut gateway) = sessions();
        let mut records: Vec<_> = (0u64..)
            .zip(&jitter)
            .map(|(n, jitter)| (n + jitter, n, seal(&mut device, &n.to_be_bytes())))
            .collect();
        records.sort();
        for (_, n, record) in &records {
            prop_assert_eq!(open(&mut gateway, record).unwrap(), n.to_be_bytes());
            prop_assert!(open(&mut gateway, record).is_err());
        }
    }
}
