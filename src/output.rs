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
    let mut rows = vec![columns.iter().map(|column| (*column).to_owned()).collect()];
    for item in items {
        let cell = |column: &&str| match &item[*column] {
            serde_json::Value::Null => "-".to_owned(),
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        rows.push(columns.iter().map(cell).collect());
    }
    table(&rows);
    Ok(())
}
