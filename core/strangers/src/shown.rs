//! What a stranger calls itself, as it may stand in a line of the log.

use std::fmt::{self, Write as _};

/// A text that is cut and escaped when it is written: see [`shown`].
#[derive(Clone, Copy)]
pub struct Shown<'a> {
    text: &'a str,
    max_bytes: usize,
}

/// The text without what could disturb a terminal or a line (control characters, quotes and what is
/// not visible stand escaped), and no longer than `max_bytes` of it; `…` stands for the rest.
#[must_use]
pub fn shown(text: &str, max_bytes: usize) -> Shown<'_> {
    Shown { text, max_bytes }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = self.max_bytes;
        for character in self.text.chars() {
            let escaped = character.escape_debug();
            let Some(rest) = left.checked_sub(escaped.clone().map(char::len_utf8).sum()) else {
                return f.write_char('…');
            };
            left = rest;
            write!(f, "{escaped}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_is_cut_and_what_is_no_text_is_escaped() {
        for (text, is) in [
            ("plug-1", "plug-1"),
            ("Küche", "Küche"),
            ("a\nb\u{1b}[31m\0", "a\\nb\\u{1b}[31m\\0"),
            ("\u{202e}abc", "\\u{202e}abc"),
            ("0123456789abcdefg", "0123456789abcdef…"),
            ("0123456789abcdeä", "0123456789abcde…"),
            ("0123456789abcde\n", "0123456789abcde…"),
        ] {
            assert_eq!(shown(text, 16).to_string(), is);
        }
        let long = "\u{1}".repeat(10_000);
        assert!(shown(&long, 64).to_string().len() <= 64 + '…'.len_utf8());
    }
}
