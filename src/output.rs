//! Answers for people and for programs.

use clap::ValueEnum;
use serde::Serialize;

mod stdout;

pub(crate) use stdout::{Stdout, error_line, failure, is_closed, line, note, say, text};

/// Characters of a cell that a table shows; `--output json` has the whole.
const MAX_CELL: usize = 80;

/// How a command answers on standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A table for people.
    Text,
    /// One JSON document for programs.
    Json,
}

/// Prints a value as JSON.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    say!("{}", json_text(value)?);
    Ok(())
}

/// JSON whose strings hold no character that a terminal obeys: beyond what the format itself
/// wants escaped, DEL and C1 are.
fn json_text(value: &impl Serialize) -> anyhow::Result<String> {
    Ok(unobeyed(&serde_json::to_string_pretty(value)?))
}

/// As [`json`] prints it, in one line.
pub(crate) fn json_line(value: &serde_json::Value) -> String {
    unobeyed(&value.to_string())
}

fn unobeyed(json: &str) -> String {
    let mut text = String::new();
    for character in json.chars() {
        if character != '\n' && is_invisible(character) {
            text.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            text.push(character);
        }
    }
    text
}

/// Prints rows with their columns aligned; the first row is the head.
pub(crate) fn table(rows: &[Vec<String>]) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            rows.iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    for row in rows {
        let line: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        say!("{}", line.join("  ").trim_end());
    }
}

/// Prints API items: all fields as JSON, or `columns` as a table.
pub(crate) fn items(
    format: Format,
    items: &[serde_json::Value],
    columns: &[&str],
) -> anyhow::Result<()> {
    if format == Format::Json {
        return json(&items);
    }
    let head = columns
        .iter()
        .map(|column| match column.strip_suffix("_us") {
            Some(moment) => format!("{moment} (UTC)"),
            None => (*column).to_owned(),
        });
    let mut rows = vec![head.collect()];
    for item in items {
        rows.push(columns.iter().map(|column| cell(item, column)).collect());
    }
    table(&rows);
    Ok(())
}

/// Prints what is known of one thing, a line `name  value` each, with the values aligned.
pub(crate) fn fields(fields: &[(&str, String)]) {
    text(&fields_text(fields));
}

/// See [`fields`]. What stands in a value begins no line of its own.
pub(crate) fn fields_text(fields: &[(&str, String)]) -> String {
    let width = fields.iter().map(|(name, _)| name.chars().count()).max();
    let width = width.unwrap_or(0);
    let lines = fields
        .iter()
        .map(|(name, value)| format!("{name:width$}  {}\n", escaped(value)));
    lines.collect()
}

/// A field of an item; `link.group` is a field of a field. Times are shown as times.
fn cell(item: &serde_json::Value, column: &str) -> String {
    let value = column.split('.').fold(item, |value, name| &value[name]);
    match value {
        serde_json::Value::Null => "-".to_owned(),
        serde_json::Value::String(text) => shown(text),
        serde_json::Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        serde_json::Value::Number(time) if column.ends_with("_us") => time
            .as_i64()
            .map_or_else(|| time.to_string(), stencil_protocol::moment::utc),
        other => shown(&other.to_string()),
    }
}

/// Text in a form that is safe on a terminal: devices choose it, and what they choose must
/// neither move the cursor, nor turn the direction of writing, nor begin a row of its own.
pub(crate) fn shown(text: &str) -> String {
    let mut shown = String::new();
    let mut length = 0;
    for piece in text.chars().map(visible) {
        length += piece.chars().count();
        if length > MAX_CELL {
            shown.push('…');
            break;
        }
        shown.push_str(&piece);
    }
    shown
}

/// As [`shown`], uncut: for the texts of errors.
pub(crate) fn escaped(text: &str) -> String {
    text.chars().map(visible).collect()
}

/// As [`escaped`], with its lines as they are: for what we have put together ourselves of several.
pub(crate) fn escaped_lines(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(escaped).collect();
    lines.join("\n")
}

/// Text in lines of at most [`MAX_CELL`] characters, broken between words, each behind `indent`.
pub(crate) fn wrapped(text: &str, indent: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= MAX_CELL => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(format!("{indent}{word}")),
        }
    }
    lines.join("\n")
}

fn visible(character: char) -> String {
    if is_invisible(character) {
        character.escape_unicode().to_string()
    } else {
        character.to_string()
    }
}

/// Control characters (C0, DEL, C1), and those that a terminal does not draw but obeys: line
/// separators, marks of direction, zero widths.
fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn long_texts_are_wrapped_and_not_cut() {
        let text = "the rule asks for a window of many samples ".repeat(5);
        let wrapped = wrapped(&text, "  ");
        assert!(wrapped.lines().count() > 2);
        assert!(wrapped.lines().all(|line| line.chars().count() <= MAX_CELL));
        let words = |text: &str| {
            text.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(words(&wrapped), words(&text));
    }

    #[test]
    fn what_is_known_of_one_thing_is_a_line_each() {
        let fields = [("id", "7".to_owned()), ("standing", "a\nb".to_owned())];
        assert_eq!(fields_text(&fields), "id        7\nstanding  a\\u{a}b\n");
        assert_eq!(fields_text(&[]), "");
    }

    #[test]
    fn fields_are_shown_for_people() {
        let item =
            json!({ "seen_us": 1_386_018_900_000_000_i64, "link": { "up": true }, "x": null });
        assert_eq!(cell(&item, "seen_us"), "2013-12-02 21:15:00");
        assert_eq!(cell(&item, "link.up"), "yes");
        assert_eq!(
            (cell(&item, "x"), cell(&item, "y.z")),
            ("-".to_owned(), "-".to_owned())
        );
    }

    #[test]
    fn what_a_device_says_moves_no_cursor() {
        let item = json!({
            "value": "\u{1b}[2J\u{1b}]0;owned\u{7}\r\nfake  row\t\u{9b}1m\u{202e}ok é",
            "list": ["\u{7f}"],
        });
        assert_eq!(
            cell(&item, "value"),
            "\\u{1b}[2J\\u{1b}]0;owned\\u{7}\\u{d}\\u{a}fake  row\\u{9}\\u{9b}1m\\u{202e}ok é"
        );
        assert_eq!(cell(&item, "list"), "[\"\\u{7f}\"]");
    }

    #[test]
    fn a_long_cell_is_cut_and_says_so() {
        let fits = "x".repeat(MAX_CELL);
        assert_eq!(shown(&fits), fits);
        assert_eq!(shown(&format!("{fits}y")), format!("{fits}…"));
        let hostile = shown(&"\u{1b}".repeat(1_000_000));
        assert!(
            hostile.ends_with("}…"),
            "cut between, not within: {hostile}"
        );
        assert!(hostile.chars().count() <= MAX_CELL + 1);
    }

    #[test]
    fn json_stays_the_same_value_and_moves_no_cursor_either() {
        let value = json!({ "text": "\u{1b}\u{7f}\u{9b}2J\u{202e} é\n" });
        let text = json_text(&value).unwrap();
        assert!(
            text.chars().all(|c| c == '\n' || !is_invisible(c)),
            "{text:?}"
        );
        let back: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(back, value);
        let line = json_line(&value);
        assert!(!line.chars().any(is_invisible), "{line:?}");
        let back: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(back, value);
        assert_eq!(escaped_lines("a\n\u{1b}b\r"), "a\n\\u{1b}b\\u{d}");
    }
}
