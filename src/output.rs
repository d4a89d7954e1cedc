//! Answers for people and for programs.

use clap::ValueEnum;
use serde::Serialize;

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
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
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
        println!("{}", line.join("  ").trim_end());
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

/// A field of an item; `link.group` is a field of a field. Times are shown as times.
fn cell(item: &serde_json::Value, column: &str) -> String {
    let value = column.split('.').fold(item, |value, name| &value[name]);
    match value {
        serde_json::Value::Null => "-".to_owned(),
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        serde_json::Value::Number(time) if column.ends_with("_us") => time
            .as_i64()
            .map_or_else(|| time.to_string(), stencil_protocol::moment::utc),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
}
