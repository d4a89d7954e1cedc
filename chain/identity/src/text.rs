//! What strangers write, cut short for messages.

/// The most of it that is shown.
const SHOWN_CHARS: usize = 80;

/// At most eighty characters of `text`, without those that steer a terminal.
pub(crate) fn shown(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(SHOWN_CHARS)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if text.chars().nth(SHOWN_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_or_steers_a_terminal_is_not_shown() {
        assert_eq!(shown("did:key:z6Mk"), "did:key:z6Mk");
        assert_eq!(shown("\u{1b}[2J"), "\u{fffd}[2J");
        assert_eq!(shown(&"é".repeat(81)).chars().count(), 81);
    }
}
