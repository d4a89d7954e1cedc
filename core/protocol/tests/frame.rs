//! Frames survive any cut of the stream, any payload, and any noise between.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;
use stencil_protocol::frame::{Decoder, Error, Kind, MAX_FRAME, MAX_PAYLOAD, encode};

fn kind() -> impl Strategy<Value = Kind> {
    proptest::sample::select(&[Kind::Open, Kind::Fragment, Kind::Record, Kind::Refused][..])
}

/// Zeros and runs of 253 to 255 others are where byte stuffing goes wrong.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..=MAX_PAYLOAD),
        proptest::collection::vec(0u8..2, 0..600),
        (240usize..270).prop_map(|n| vec![9; n]),
        (500usize..520, 0usize..520).prop_map(|(n, zero)| {
            let mut bytes = vec![9; n];
            if let Some(slot) = bytes.get_mut(zero) {
                *slot = 0;
            }
            bytes
        }),
    ]
}

fn frame(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0; MAX_FRAME];
    let length = encode(kind, payload, &mut out).unwrap();
    out.truncate(length);
    out
}

proptest! {
    #[test]
    fn come_back_in_order(frames in proptest::collection::vec((kind(), payload()), 1..6)) {
        let wire: Vec<u8> = frames.iter().flat_map(|(kind, payload)| frame(*kind, payload)).collect();
        let mut decoder = Decoder::new();
        let mut input = &wire[..];
        for (kind, payload) in &frames {
            prop_assert_eq!(decoder.feed(&mut input), Some(Ok((*kind, &payload[..]))));
        }
        prop_assert!(input.is_empty());

        // Byte by byte it is the same.
        let mut read = Vec::new();
        for &byte in &wire {
            if let Some(frame) = decoder.push(byte) {
                let (kind, payload) = frame.unwrap();
                read.push((kind, payload.to_vec()));
            }
        }
        prop_assert_eq!(read, frames);
        prop_assert_eq!(decoder.bad_frames(), 0);
    }

    #[test]
    fn only_the_ends_are_zero(kind in kind(), payload in payload()) {
        let wire = frame(kind, &payload);
        prop_assert_eq!(wire[0], 0);
        let end = wire[1..].iter().position(|&byte| byte == 0);
        prop_assert_eq!(end, Some(wire.len() - 2));
    }

    /// After any noise, the first frame is read.
    #[test]
    fn synchronises_again(
        noise in proptest::collection::vec(any::<u8>(), 0..3000),
        kind in kind(), payload in payload(),
    ) {
        let mut decoder = Decoder::new();
        let mut input = &noise[..];
        while !input.is_empty() {
            let _ = decoder.feed(&mut input);
        }
        let wire = frame(kind, &payload);
        let mut input = &wire[..];
        // The zero in front may end the noise, as a frame that is none.
        let first = decoder.feed(&mut input).map(|found| {
            found.map(|(kind, payload)| (kind, payload.to_vec()))
        });
        let found = if first.as_ref().is_some_and(Result::is_ok) {
            first
        } else {
            decoder.feed(&mut input).map(|found| found.map(|(kind, payload)| (kind, payload.to_vec())))
        };
        prop_assert_eq!(found, Some(Ok((kind, payload))));
    }

    /// One flipped bit is never taken for a frame: CRC-32C finds it.
    #[test]
    fn a_flipped_bit_is_found(payload in payload(), at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut wire = frame(Kind::Record, &payload);
        let at = at.index(wire.len());
        wire[at] ^= 1 << bit;
        let mut decoder = Decoder::new();
        let mut input = &wire[..];
        while let Some(outcome) = decoder.feed(&mut input) {
            prop_assert!(outcome.is_err(), "{outcome:?}");
        }
    }
}

#[test]
fn what_is_wrong_is_said() {
    let outcome = |bytes: &[u8]| {
        let mut decoder = Decoder::new();
        let mut input = bytes;
        decoder.feed(&mut input).unwrap().map(|_| ()).unwrap_err()
    };
    assert_eq!(outcome(&[0x01, 0x00]), Error::TooShort);
    assert_eq!(outcome(&[0x05, 0x01, 0x00]), Error::Stuffing);
    assert_eq!(outcome(&[0x06, 1, 2, 3, 4, 5, 0x00]), Error::Checksum);
    // A right checksum over an unknown kind and nothing else: CRC-32C of 63.
    assert_eq!(
        outcome(&[0x06, 0x63, 0xc7, 0x33, 0xeb, 0x20, 0x00]),
        Error::Kind(99)
    );
    assert_eq!(encode(Kind::Open, b"abc", &mut [0; 10]), Err(Error::Space));
    assert_eq!(encode(Kind::Open, b"abc", &mut [0; 11]), Ok(11));
}

#[test]
fn empty_frames_are_nothing() {
    let mut decoder = Decoder::new();
    assert!([0, 0, 0].iter().all(|&byte| decoder.push(byte).is_none()));
    assert_eq!(decoder.bad_frames(), 0);
}
