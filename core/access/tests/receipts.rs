//! Receipts: what follows on what, and who has signed it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod fixture;

use fixture::*;
use proptest::prelude::*;
use stencil_access::challenge::LIFE_US;
use stencil_access::receipt::{self, Batch, Error, Head, NOTHING, Receipt, follow, hash};
use stencil_identity::multikey::Algorithm;
use stencil_identity::secret::SecretKey;

fn receipts(count: u8) -> Vec<String> {
    let (holder, mut desk) = (wallet(1), desk());
    let mut previous = NOTHING;
    (1..=count)
        .map(|n| {
            let challenge = challenge(&mut desk, n);
            let receipt = Receipt {
                chain: "ab".repeat(16),
                number: n.into(),
                previous: alloy_primitives::hex::encode(previous),
                at_us: NOW_US,
                gateway: GATEWAY.to_owned(),
                signature: signature(&holder, &challenge.text(GATEWAY)),
                challenge,
                right: "urn:uuid:1".to_owned(),
                holder: holder.address().to_checksum(None),
                command: "0".repeat(32),
                expires_us: NOW_US + 30_000_000,
                left: None,
            };
            let text = receipt.text().unwrap();
            previous = hash(&text);
            text
        })
        .collect()
}

fn signed(texts: Vec<String>, seed: u8) -> Batch {
    let head = Head {
        chain: "ab".repeat(16),
        number: texts.len() as u64,
        hash: alloy_primitives::hex::encode(hash(texts.last().unwrap())),
    };
    let key = SecretKey::from_seed(Algorithm::MlDsa65, &[seed; 32]).unwrap();
    let outcomes = vec!["done".to_owned(); texts.len()];
    let sign = |message: &[u8]| key.sign(message);
    Batch::sign(texts, outcomes, &head, b"certificate", sign).unwrap()
}

#[test]
fn the_first_of_a_chain_may_name_the_one_that_was_left_and_no_other_may() {
    let (holder, mut desk) = (wallet(1), desk());
    let mut named = |number, left: Option<Head>| {
        let challenge = challenge(&mut desk, 1);
        let receipt = Receipt {
            chain: "ab".repeat(16),
            number,
            previous: "0".repeat(64),
            at_us: NOW_US,
            gateway: GATEWAY.to_owned(),
            signature: signature(&holder, &challenge.text(GATEWAY)),
            challenge,
            right: "urn:uuid:1".to_owned(),
            holder: holder.address().to_checksum(None),
            command: "0".repeat(32),
            expires_us: NOW_US + 30_000_000,
            left,
        };
        follow(&[receipt.text().unwrap()], None)
    };
    let left = |chain: &str, hash: &str| {
        Some(Head {
            chain: chain.repeat(16),
            number: 7,
            hash: hash.repeat(32),
        })
    };
    let good = left("cd", "01");
    assert_eq!(named(1, good.clone()).unwrap()[0].left, good);
    for (number, left) in [
        (2, good),
        (1, left("ab", "01")),
        (1, left("CD", "01")),
        (1, left("cd", "x1")),
    ] {
        let no = named(number, left.clone());
        assert!(
            matches!(no, Err(Error::Chain { .. })),
            "{number} {left:?} {no:?}"
        );
    }
}

#[test]
fn a_chain_holds_and_no_link_of_it_can_be_taken_out_changed_or_moved() {
    let all = receipts(4);
    assert_eq!(follow(&all, Some((0, NOTHING))).unwrap().len(), 4);
    assert_eq!(
        follow(&all[2..], Some((2, hash(&all[1])))).unwrap().len(),
        2
    );
    assert_eq!(follow(&all[2..], None).unwrap().len(), 2);
    let breaks = |texts: Vec<String>, number| match follow(&texts, Some((0, NOTHING))) {
        Err(Error::Chain { number: at, .. }) => assert_eq!(at, number),
        other => panic!("{other:?}"),
    };
    breaks([&all[..1], &all[2..]].concat(), 3);
    breaks(vec![all[1].clone(), all[0].clone()], 2);
    breaks(vec![all[0].clone(), all[0].clone()], 1);
    let other = all[1].replace("\"expires_us\":17", "\"expires_us\":16");
    breaks(vec![all[0].clone(), other, all[2].clone()], 3);
    assert!(matches!(
        follow(&all[1..], Some((1, NOTHING))),
        Err(Error::Chain { number: 2, .. })
    ));
    let elsewhere = all[1].replace(&"ab".repeat(16), &"cd".repeat(16));
    breaks(vec![all[0].clone(), elsewhere], 2);
}

#[test]
fn a_gateway_notes_nothing_that_no_holder_has_asked_for() {
    let one = receipts(1).remove(0);
    for (from, to) in [("\"locker-1\"", "\"locker-2\""), ("gw-1", "gw-2")] {
        let forged = vec![one.replace(from, to)];
        assert!(
            matches!(follow(&forged, None), Err(Error::Holder { number: 1, .. })),
            "{to}"
        );
    }
    for bad in [
        "",
        "{}",
        &format!("{one} "),
        &one.replace("\"number\":1", "\"number\":1.0"),
    ] {
        let read = follow(&[bad.to_owned()], None);
        assert!(
            matches!(read, Err(Error::Receipt { index: 0, .. })),
            "{bad}"
        );
    }
}

#[test]
fn the_gateways_key_has_signed_the_last_one() {
    let batch = signed(receipts(3), 5);
    let bytes = serde_json::to_vec(&batch).unwrap();
    assert!(bytes.len() < receipt::MAX_BATCH_BYTES);
    let read = Batch::parse(&bytes).unwrap();
    assert_eq!(read, batch);
    assert_eq!(read.certificate().unwrap(), b"certificate");
    let last = follow(&read.receipts, None).unwrap().pop().unwrap();
    let key = |seed| SecretKey::from_seed(Algorithm::MlDsa65, &[seed; 32]).unwrap();
    let bytes = |key: &SecretKey| key.public_key().as_bytes().to_vec();
    assert_eq!(read.check_signature(&last, &bytes(&key(5))), Ok(()));
    assert_eq!(
        read.check_signature(&last, &bytes(&key(6))),
        Err(Error::Signature)
    );
    assert_eq!(
        read.check_signature(&last, b"no key"),
        Err(Error::Signature)
    );
    let other = Batch {
        outcomes: vec!["failed".to_owned(); 3],
        ..read.clone()
    };
    assert_eq!(
        other.check_signature(&last, &bytes(&key(5))),
        Err(Error::Signature)
    );
    let shorter = Batch {
        receipts: read.receipts[..2].to_vec(),
        ..read
    };
    let last = follow(&shorter.receipts, None).unwrap().pop().unwrap();
    assert_eq!(
        shorter.check_signature(&last, &bytes(&key(5))),
        Err(Error::Signature)
    );
    let odd = Batch {
        outcomes: vec!["well".to_owned(); 2],
        ..shorter.clone()
    };
    assert!(matches!(
        Batch::parse(&serde_json::to_vec(&odd).unwrap()),
        Err(Error::Batch(_))
    ));
    for (bad, count) in [(0, 0), (receipt::MAX_AT_ONCE + 1, receipt::MAX_AT_ONCE + 1)] {
        let many = Batch {
            receipts: vec![String::new(); bad],
            ..shorter.clone()
        };
        let read = Batch::parse(&serde_json::to_vec(&many).unwrap());
        assert_eq!(read, Err(Error::Count(count)));
    }
}

#[test]
fn a_gateway_notes_an_opening_at_the_time_at_which_its_holder_asked_for_it_and_no_other() {
    let one = Receipt::parse(&receipts(1).remove(0)).unwrap();
    let given_us = one.challenge.given_us;
    let at = |at_us| {
        let receipt = Receipt {
            at_us,
            ..one.clone()
        };
        follow(&[receipt.text().unwrap()], None)
    };
    for at_us in [given_us, given_us + 1, given_us + LIFE_US] {
        assert!(at(at_us).is_ok(), "{at_us}");
    }
    for at_us in [
        given_us - 1,
        given_us + LIFE_US + 1,
        given_us + 24 * HOUR_US,
        0,
    ] {
        let wrong = match at(at_us) {
            Err(Error::Holder { number: 1, wrong }) => wrong,
            other => panic!("{at_us}: {other:?}"),
        };
        assert!(
            wrong.contains("2026-11-29T00:00:00Z, where 0 to 300 s"),
            "{wrong}"
        );
    }
    // The time of the challenge is in what was signed.
    let mut later = one.clone();
    later.challenge.given_us += 1;
    later.at_us += 1;
    let no = follow(&[later.text().unwrap()], None);
    assert!(matches!(no, Err(Error::Holder { .. })), "{no:?}");
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes: Vec<u8>, text in "\\PC{0,60}") {
        let _ = Batch::parse(&bytes);
        let _ = follow(std::slice::from_ref(&text), None);
        let _ = stencil_access::Answer::parse(text.as_bytes());
    }
}
