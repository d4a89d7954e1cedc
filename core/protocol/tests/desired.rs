//! What hub and gateway say of the gateway's state comes back as it went in; any bytes are read or
//! refused.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation
)]

use proptest::prelude::*;
use stencil_protocol::cbor::Error;
use stencil_protocol::desired::{
    Desired, Few, Flaw, Judged, MAX_FEW, MAX_FLAW_BYTES, MAX_FLAWS, MAX_PIECE_BYTES,
    MAX_SECTION_BYTES, Named, Revision, Said, Section, State, Verdict,
};
use stencil_protocol::id::DeviceId;

fn revision() -> impl Strategy<Value = Revision> {
    any::<(u64, u64)>().prop_map(|(epoch, number)| Revision { epoch, number })
}

fn section() -> impl Strategy<Value = Section> {
    prop::sample::select(Section::ALL.to_vec())
}

fn flaw() -> impl Strategy<Value = Flaw> {
    (
        prop::option::of(section()),
        any::<(u64, u64)>(),
        "\\PC{0,60}",
    )
        .prop_map(|(section, (line, column), what)| Flaw::new(section, line, column, what))
}

fn judged() -> impl Strategy<Value = Judged> {
    (
        revision(),
        prop::sample::select(Verdict::ALL.to_vec()),
        any::<i64>(),
        prop::collection::vec(flaw(), 0..4),
    )
        .prop_map(|(revision, verdict, at_us, flaws)| Judged {
            revision,
            verdict,
            at_us,
            flaws,
        })
}

fn few() -> impl Strategy<Value = Few> {
    (
        any::<u32>(),
        prop::collection::vec("[a-z0-9]{1,48}", 0..=MAX_FEW),
    )
        .prop_map(|(count, first)| Few {
            count,
            first: first
                .iter()
                .map(|id| DeviceId::parse(id).unwrap())
                .collect(),
        })
}

fn state() -> impl Strategy<Value = State> {
    (
        "[!-~]{0,32}",
        any::<(i64, i64)>(),
        prop::option::of(revision()),
        prop::option::of(judged()),
        any::<(u64, u64, u32)>(),
        any::<Option<i64>>(),
        (
            any::<Option<u32>>(),
            prop::option::of(few()),
            prop::option::of(few()),
        ),
    )
        .prop_map(
            |(version, (started_us, at_us), runs, last, numbers, end, devices)| State {
                version,
                started_us,
                at_us,
                runs,
                last,
                spool_bytes: numbers.0,
                waiting_bytes: numbers.1,
                links: numbers.2,
                certificate_end_us: end,
                field_devices: devices.0,
                silent: devices.1,
                unused_keys: devices.2,
            },
        )
}

proptest! {
    #[test]
    fn messages_come_back(
        revision in revision(),
        digest: [u8; 32],
        lengths in prop::collection::vec(0..=MAX_SECTION_BYTES as u32, 0..=2),
        offset: u32,
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        state in state(),
    ) {
        let sections = Section::ALL.into_iter().zip(lengths).map(|(section, length)| Named {
            section,
            digest,
            length,
        });
        let be = Desired::Be { revision, sections: sections.collect() };
        prop_assert_eq!(&Desired::decode(&be.encode().unwrap()).unwrap(), &be);
        let piece = Desired::Piece { digest, offset, bytes };
        prop_assert_eq!(&Desired::decode(&piece.encode().unwrap()).unwrap(), &piece);
        let fetch = Said::Fetch { digest, offset };
        prop_assert_eq!(&Said::decode(&fetch.encode().unwrap()).unwrap(), &fetch);
        let said = Said::State(state);
        let bytes = said.encode().unwrap();
        prop_assert_eq!(&Said::decode(&bytes).unwrap(), &said);
        for cut in 0..bytes.len() {
            prop_assert!(Said::decode(&bytes[..cut]).is_err());
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        let _ = Desired::decode(&bytes);
        let _ = Said::decode(&bytes);
    }
}

#[test]
fn bounds_hold_on_both_sides() {
    let piece = Desired::Piece {
        digest: [0; 32],
        offset: 0,
        bytes: vec![0; MAX_PIECE_BYTES + 1],
    };
    assert!(matches!(piece.encode(), Err(Error::TooLong { .. })));
    let flaw = Flaw::of_all("ä".repeat(MAX_FLAW_BYTES));
    assert_eq!(flaw.what.len(), MAX_FLAW_BYTES);
    let judged = |flaws| {
        Said::State(State {
            last: Some(Judged {
                revision: Revision::default(),
                verdict: Verdict::Refused,
                at_us: 0,
                flaws,
            }),
            ..State::default()
        })
    };
    assert!(judged(vec![flaw.clone(); MAX_FLAWS]).encode().is_ok());
    assert!(judged(vec![flaw; MAX_FLAWS + 1]).encode().is_err());
    // A section twice, or a longer one than there may be, is not read.
    let named = |length| Named {
        section: Section::Mapping,
        digest: [1; 32],
        length,
    };
    for sections in [
        vec![named(1), named(1)],
        vec![named(MAX_SECTION_BYTES as u32 + 1)],
    ] {
        let be = Desired::Be {
            revision: Revision::default(),
            sections,
        };
        assert!(Desired::decode(&be.encode().unwrap()).is_err());
    }
}
