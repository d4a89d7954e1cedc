//! Questions to gateways, pieces of answers and answers: what was read is written and read the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stencil_protocol::question::{Answer, Cursor, MAX_LINE_BYTES, MAX_LINES, Piece, Question};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(question) = Question::decode(bytes) {
        assert_eq!(Question::number(bytes), Some(question.number));
        assert_eq!(Question::decode(&question.encode()), Ok(question));
    }
    if let Ok(piece) = Piece::decode(bytes) {
        let again = piece.encode().expect("a piece that was read");
        assert_eq!(Piece::decode(&again), Ok(piece));
    }
    if let Ok(answer) = Answer::decode(bytes) {
        if let Answer::Log(log) = &answer {
            assert!(log.lines.len() <= MAX_LINES as usize);
            assert!(log.lines.iter().all(|line| line.text.len() <= MAX_LINE_BYTES));
        }
        // What is written in the shortest way is never longer than it was.
        let again = answer.encode().expect("an answer that was read");
        assert!(again.len() <= bytes.len());
        assert_eq!(Answer::decode(&again), Ok(answer));
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Some(cursor) = Cursor::parse(text)
    {
        assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor));
    }
});
