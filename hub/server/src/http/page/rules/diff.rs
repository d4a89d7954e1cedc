//! What differs between two texts, line by line.

/// Lines that are compared each with each; beyond that the rest counts as all other.
const MAX_LINES: usize = 1_500;

/// A line of the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// In both.
    Same(&'a str),
    /// In the first one only.
    Gone(&'a str),
    /// In the second one only.
    New(&'a str),
}

/// The lines of both texts in order, with as many in common as there can be.
pub(super) fn lines<'a>(before: &'a str, after: &'a str) -> Vec<Line<'a>> {
    let before: Vec<&str> = before.lines().collect();
    let after: Vec<&str> = after.lines().collect();
    let head = before
        .iter()
        .zip(&after)
        .take_while(|(a, b)| a == b)
        .count();
    let (rest_before, rest_after) = (slice(&before, head), slice(&after, head));
    let tail = rest_before
        .iter()
        .rev()
        .zip(rest_after.iter().rev())
        .take_while(|(a, b)| a == b)
        .count();
    let middle_before = rest_before
        .get(..rest_before.len() - tail)
        .unwrap_or_default();
    let middle_after = rest_after
        .get(..rest_after.len() - tail)
        .unwrap_or_default();
    let mut found: Vec<Line<'a>> = before
        .iter()
        .take(head)
        .map(|line| Line::Same(line))
        .collect();
    middle(middle_before, middle_after, &mut found);
    found.extend(
        slice(&before, before.len() - tail)
            .iter()
            .map(|line| Line::Same(line)),
    );
    found
}

fn slice<'s, 'a>(lines: &'s [&'a str], from: usize) -> &'s [&'a str] {
    lines.get(from..).unwrap_or_default()
}

/// The longest common subsequence, by the usual table of its lengths.
fn middle<'a>(before: &[&'a str], after: &[&'a str], found: &mut Vec<Line<'a>>) {
    if before.len() > MAX_LINES || after.len() > MAX_LINES {
        found.extend(before.iter().map(|line| Line::Gone(line)));
        found.extend(after.iter().map(|line| Line::New(line)));
        return;
    }
    let width = after.len() + 1;
    // `common[i * width + j]`: how many lines before[i..] and after[j..] have in common.
    let mut common = vec![0u16; (before.len() + 1) * width];
    let at = |common: &[u16], i: usize, j: usize| common.get(i * width + j).copied().unwrap_or(0);
    for (i, old) in before.iter().enumerate().rev() {
        for (j, new) in after.iter().enumerate().rev() {
            let length = if old == new {
                at(&common, i + 1, j + 1) + 1
            } else {
                at(&common, i + 1, j).max(at(&common, i, j + 1))
            };
            if let Some(cell) = common.get_mut(i * width + j) {
                *cell = length;
            }
        }
    }
    let (mut i, mut j) = (0, 0);
    loop {
        match (before.get(i), after.get(j)) {
            (Some(old), Some(new)) if old == new => {
                found.push(Line::Same(old));
                (i, j) = (i + 1, j + 1);
            }
            // What goes stands before what comes.
            (Some(old), new) if new.is_none() || at(&common, i + 1, j) >= at(&common, i, j + 1) => {
                found.push(Line::Gone(old));
                i += 1;
            }
            (_, Some(new)) => {
                found.push(Line::New(new));
                j += 1;
            }
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Line::{Gone, New, Same};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_change_in_the_middle_is_one_line_for_another() {
        assert_eq!(
            lines(
                "id: a\nversion: 1\nsteps: []\n",
                "id: a\nversion: 2\nsteps: []\n"
            ),
            [
                Same("id: a"),
                Gone("version: 1"),
                New("version: 2"),
                Same("steps: []"),
            ]
        );
        assert_eq!(lines("", "a"), [New("a")]);
        assert_eq!(lines("a", ""), [Gone("a")]);
        assert_eq!(lines("a\nb", "a\nb"), [Same("a"), Same("b")]);
    }

    #[test]
    fn the_longest_texts_are_compared_in_bounds() {
        let one = "a\n".repeat(32_000);
        let other = "b\n".repeat(32_000);
        assert_eq!(lines(&one, &other).len(), 64_000);
    }

    proptest! {
        #[test]
        fn both_texts_can_be_read_off(before in "([ab]\n){0,12}", after in "([ab]\n){0,12}") {
            let found = lines(&before, &after);
            let first: Vec<&str> = found.iter().filter_map(|line| match line {
                Same(text) | Gone(text) => Some(*text),
                New(_) => None,
            }).collect();
            let second: Vec<&str> = found.iter().filter_map(|line| match line {
                Same(text) | New(text) => Some(*text),
                Gone(_) => None,
            }).collect();
            prop_assert_eq!(first, before.lines().collect::<Vec<_>>());
            prop_assert_eq!(second, after.lines().collect::<Vec<_>>());
        }
    }
}
