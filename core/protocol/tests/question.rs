//! Questions, answers and their pieces come back as they went; any bytes are read or refused, and no
//! bound is passed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation
)]

use proptest::prelude::*;
use stencil_protocol::cbor::Error;
use stencil_protocol::question::{
    Answer, Asked, Cursor, Figure, Kind, Level, Line, Lines, Log, MAX_ANSWER_BYTES, MAX_FIGURES,
    MAX_LEVEL_S, MAX_LINE_BYTES, MAX_LINES, MAX_PIECE_BYTES, Piece, Question, Refusal,
};

fn level() -> impl Strategy<Value = Level> {
    prop::sample::select(Level::ALL.to_vec())
}

fn cursor() -> impl Strategy<Value = Cursor> {
    any::<(u64, u64)>().prop_map(|(epoch, count)| Cursor { epoch, count })
}

fn asked() -> impl Strategy<Value = Asked> {
    prop_oneof![
        (
            level(),
            0..=MAX_LINES,
            any::<Option<u64>>(),
            prop::option::of(cursor())
        )
            .prop_map(|(level, lines, age_us, after)| Asked::Log(Lines {
                level,
                lines,
                age_us,
                after,
            })),
        Just(Asked::Figures),
        (prop::option::of(level()), 0..=MAX_LEVEL_S)
            .prop_map(|(level, seconds)| Asked::Level { level, seconds }),
    ]
}

fn line() -> impl Strategy<Value = Line> {
    (any::<i64>(), level(), "\\PC{0,60}").prop_map(|(at_us, level, text)| Line {
        at_us,
        level,
        text,
    })
}

fn figure() -> impl Strategy<Value = Figure> {
    let kind = prop::sample::select(Kind::ALL.to_vec());
    ("[a-z_][a-z0-9_]{0,30}", kind, any::<u64>(), "\\PC{0,30}").prop_map(
        |(name, kind, value, help)| Figure {
            name,
            kind,
            value,
            help,
        },
    )
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        (
            any::<(i64, u64, bool)>(),
            cursor(),
            prop::collection::vec(line(), 0..20)
        )
            .prop_map(|((at_us, missed, more), next, lines)| Answer::Log(Log {
                at_us,
                next,
                missed,
                more,
                lines,
            })),
        (any::<i64>(), prop::collection::vec(figure(), 0..20))
            .prop_map(|(at_us, figures)| Answer::Figures { at_us, figures }),
        (prop::option::of(level()), any::<u32>())
            .prop_map(|(level, seconds)| Answer::Level { level, seconds }),
        prop::sample::select(Refusal::ALL.to_vec()).prop_map(Answer::Refused),
    ]
}

proptest! {
    #[test]
    fn messages_come_back(
        number: u64,
        what in asked(),
        answer in answer(),
        offset: u32,
        last: bool,
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let question = Question { number, what };
        let written = question.encode();
        prop_assert_eq!(Question::decode(&written), Ok(question));
        prop_assert_eq!(Question::number(&written), Some(number));
        for cut in 0..written.len() {
            prop_assert!(Question::decode(&written[..cut]).is_err());
        }
        let written = answer.encode().unwrap();
        prop_assert_eq!(Answer::decode(&written), Ok(answer));
        for cut in 0..written.len() {
            prop_assert!(Answer::decode(&written[..cut]).is_err());
        }
        let piece = Piece { number, offset, last, bytes };
        prop_assert_eq!(Piece::decode(&piece.encode().unwrap()), Ok(piece));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        let _ = Question::decode(&bytes);
        let _ = Question::number(&bytes);
        let _ = Piece::decode(&bytes);
        let _ = Answer::decode(&bytes);
    }

    #[test]
    fn a_cursor_is_written_in_one_way(cursor in cursor(), text in "[0-9a-f]{15,17}-[0-9]{0,21}") {
        prop_assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor));
        if let Some(read) = Cursor::parse(&text) {
            prop_assert_eq!(Cursor::parse(&read.to_string()), Some(read));
        }
    }
}

#[test]
fn bounds_hold_on_both_sides() {
    let piece = |length| Piece {
        number: 1,
        offset: 0,
        last: true,
        bytes: vec![0; length],
    };
    let written = piece(MAX_PIECE_BYTES).encode().unwrap();
    assert!(Piece::decode(&written).is_ok());
    assert!(piece(MAX_PIECE_BYTES + 1).encode().is_err());
    let long = minicbor::to_vec((1, 0, true, minicbor::bytes::ByteVec::from(vec![0; 5_000])));
    assert!(matches!(
        Piece::decode(&long.unwrap()),
        Err(Error::TooLong { .. })
    ));

    let log = |lines: usize, length: usize| {
        Answer::Log(Log {
            lines: vec![
                Line {
                    at_us: 0,
                    level: Level::Info,
                    text: "x".repeat(length),
                };
                lines
            ],
            ..Log::default()
        })
    };
    assert!(log(1, MAX_LINE_BYTES).encode().is_ok());
    for (lines, length) in [
        (1, MAX_LINE_BYTES + 1),
        (MAX_LINES as usize + 1, 1),
        // Each by itself is allowed, all of them are not.
        (MAX_ANSWER_BYTES / MAX_LINE_BYTES + 1, MAX_LINE_BYTES),
    ] {
        let written = log(lines, length).encode();
        assert!(matches!(written, Err(Error::TooLong { .. })), "{lines}");
    }
    let answer = vec![0x80; MAX_ANSWER_BYTES + 1];
    assert!(matches!(
        Answer::decode(&answer),
        Err(Error::TooLong { .. })
    ));
    let figures = |count| Answer::Figures {
        at_us: 0,
        figures: vec![
            Figure {
                name: "links".to_owned(),
                kind: Kind::Gauge,
                value: 1,
                help: String::new(),
            };
            count
        ],
    };
    assert!(figures(MAX_FIGURES).encode().is_ok());
    assert!(figures(MAX_FIGURES + 1).encode().is_err());
    // A name goes into an address and a page: it has no other letters.
    let named = |name: &str| minicbor::to_vec((1, 0_i64, [(name, 1, 7, "help")])).unwrap();
    assert!(Answer::decode(&named("links")).is_ok());
    for bad in ["", "a b", "<b>", "ä"] {
        assert!(Answer::decode(&named(bad)).is_err(), "{bad}");
    }
}

#[test]
fn a_question_of_a_later_version_has_a_number() {
    let later = minicbor::to_vec((7, 9, "more")).unwrap();
    assert!(Question::decode(&later).is_err());
    assert_eq!(Question::number(&later), Some(7));
}
