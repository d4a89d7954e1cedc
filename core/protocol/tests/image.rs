//! What is said of images comes back as it went in; any bytes are read or refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod samples;

use proptest::prelude::*;
use stencil_protocol::cbor::Error;
use stencil_protocol::image::{
    Fetch, MAX_PIECE_BYTES, MAX_REASON_BYTES, MAX_WANTED, Part, Piece, Told, Wanted, What,
};

fn part() -> impl Strategy<Value = Part> {
    prop::sample::select(vec![Part::Manifest, Part::Payload, Part::Succession])
}

fn what() -> impl Strategy<Value = What> {
    let runs = (
        any::<[u8; 32]>(),
        any::<u64>(),
        "[a-z/-]{0,90}",
        any::<bool>(),
        prop::option::of("[!-~]{0,32}"),
    );
    prop_oneof![
        runs.prop_map(|(digest, sequence, class, trial, version)| What::Runs {
            digest,
            sequence,
            class,
            trial,
            version,
        }),
        any::<([u8; 32], u32, u32)>().prop_map(|(digest, have, of)| What::Has { digest, have, of }),
        any::<[u8; 32]>().prop_map(|digest| What::Installs { digest }),
        (any::<[u8; 32]>(), "\\PC{0,60}")
            .prop_map(|(digest, reason)| What::GaveUp { digest, reason }),
    ]
}

proptest! {
    #[test]
    fn messages_come_back(
        device in samples::device(),
        at_us: i64,
        what in what(),
        digest: [u8; 32],
        part in part(),
        offset: u32,
        of: u32,
        bytes in prop::option::of(prop::collection::vec(any::<u8>(), 0..300)),
    ) {
        let wanted = Wanted(vec![(device.clone(), digest), (device.clone(), [7; 32])]);
        prop_assert_eq!(&Wanted::decode(&wanted.encode().unwrap()).unwrap(), &wanted);
        let fetch = Fetch { digest, part, offset };
        prop_assert_eq!(Fetch::decode(&fetch.encode()).unwrap(), fetch);
        let piece = Piece { digest, part, offset, of, bytes };
        prop_assert_eq!(&Piece::decode(&piece.encode().unwrap()).unwrap(), &piece);
        let told = Told { device, at_us, what };
        let bytes = told.encode().unwrap();
        prop_assert_eq!(&Told::decode(&bytes).unwrap(), &told);
        for cut in 0..bytes.len() {
            prop_assert!(Told::decode(&bytes[..cut]).is_err());
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        let _ = Wanted::decode(&bytes);
        let _ = Fetch::decode(&bytes);
        let _ = Piece::decode(&bytes);
        let _ = Told::decode(&bytes);
    }
}

#[test]
fn bounds_hold_on_both_sides() {
    let device = stencil_protocol::id::DeviceId::parse("a").unwrap();
    let wanted = Wanted(vec![(device.clone(), [0; 32]); MAX_WANTED + 1]);
    assert!(matches!(
        wanted.encode(),
        Err(Error::TooLong {
            field: "wanted",
            ..
        })
    ));
    let mut many = vec![0x99, 0x01, 0xf5];
    many.extend(std::iter::repeat_n(0, 600));
    assert!(matches!(
        Wanted::decode(&many),
        Err(Error::TooLong {
            field: "wanted",
            ..
        })
    ));
    let piece = Piece {
        digest: [0; 32],
        part: Part::Payload,
        offset: 0,
        of: 1,
        bytes: Some(vec![0; MAX_PIECE_BYTES + 1]),
    };
    assert!(matches!(
        piece.encode(),
        Err(Error::TooLong { field: "bytes", .. })
    ));
    let told = Told {
        device,
        at_us: 0,
        what: What::GaveUp {
            digest: [0; 32],
            reason: "x".repeat(MAX_REASON_BYTES + 1),
        },
    };
    assert!(matches!(
        told.encode(),
        Err(Error::TooLong {
            field: "reason",
            ..
        })
    ));
}
