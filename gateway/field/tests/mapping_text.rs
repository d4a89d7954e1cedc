//! Whatever an operator's hand or a hub makes of a mapping: it is understood within its bounds, or told
//! in the order of its lines what is wrong. The fuzz target `mapping` looks further away.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;
use stencil_field::mapping::{self, MAX_CONNECTIONS, MAX_DEVICES, MAX_POINTS};

/// One with something of everything.
const WHOLE: &str = include_str!("../../../fuzz/seeds/mapping/whole.yaml");
/// What stands at places where it makes no sense.
const PARTS: [&str; 24] = [
    "",
    "\n",
    "  ",
    "- ",
    ": ",
    "{ ",
    "}",
    "[",
    "]",
    "'",
    "\"",
    "# ",
    "null",
    "true",
    "-1",
    "1e400",
    ".nan",
    "99999999999999999999",
    "&a ",
    "*a",
    "!!str ",
    "every: 1s, ",
    "\u{2028}",
    "devices:\n",
];

/// An edit: what of the text is replaced, and by what.
type Edit = (prop::sample::Index, usize, usize);

fn edit(text: &str, (at, length, part): Edit) -> String {
    let start = text.floor_char_boundary(at.index(text.len() + 1));
    let end = text.floor_char_boundary((start + length).min(text.len()));
    format!(
        "{}{}{}",
        &text[..start],
        PARTS[part],
        &text[end.max(start)..]
    )
}

fn judged(text: &str) {
    match mapping::parse(text) {
        Ok(mapping) => {
            assert!(mapping.connections.len() <= MAX_CONNECTIONS);
            assert!(mapping.devices().count() <= MAX_DEVICES);
            assert!(mapping.points() <= MAX_POINTS);
        }
        Err(errors) => {
            assert!(!errors.0.is_empty(), "{text}");
            let in_order = errors.0.is_sorted_by_key(|it| (it.at.line, it.at.column));
            assert!(in_order, "{text}\n{errors}");
            assert!(!errors.to_string().is_empty());
        }
    }
}

proptest! {
    #[test]
    fn a_mapping_with_slips_is_understood_or_told_of(
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..40_usize, 0..PARTS.len()), 0..8),
    ) {
        let text = edits.into_iter().fold(WHOLE.to_owned(), |text, it| edit(&text, it));
        judged(&text);
    }

    #[test]
    fn any_text_is_understood_or_told_of(text in "\\PC{0,200}") {
        judged(&text);
    }
}

#[test]
fn the_whole_one_is_understood() {
    let mapping = mapping::parse(WHOLE).unwrap();
    assert_eq!(mapping.devices().count(), 2);
}
