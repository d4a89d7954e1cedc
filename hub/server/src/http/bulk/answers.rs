//! What is answered to an upload: what became of each row, and why not.

use serde::Serialize;

use super::{Columns, Row};

/// What became of a row.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct RowAnswer {
    /// The row's number, from 1.
    row: usize,
    /// Its line in the file, from 1; not for JSON.
    line: Option<usize>,
    /// Whom it is about, as far as that can be read.
    device: Option<String>,
    /// What became of it: `made`, `unchanged`, `failed`.
    result: RowResult,
    /// The column in which something is wrong, from 1; not for JSON.
    column: Option<usize>,
    /// The field in which something is wrong.
    field: Option<String>,
    /// What is wrong, and what would be right.
    error: Option<String>,
}

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::http) enum RowResult {
    /// It is taken in.
    Made,
    /// It was taken in before, just so.
    Unchanged,
    /// It is not: see `error`.
    Failed,
}

/// What became of all rows.
#[derive(Debug, Default, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct Answers {
    /// How many were taken in.
    made: usize,
    /// How many had been before.
    unchanged: usize,
    /// How many were not.
    failed: usize,
    /// Each row, in order.
    rows: Vec<RowAnswer>,
}

/// What is wrong in a row.
pub(in crate::http) struct Wrong {
    pub(in crate::http) field: Option<&'static str>,
    pub(in crate::http) what: String,
}

impl Answers {
    pub(in crate::http) fn add(
        &mut self,
        columns: &Columns,
        row: &Row,
        device: Option<&str>,
        result: Result<RowResult, Wrong>,
    ) {
        let (result, wrong) = match result {
            Ok(result) => (result, None),
            Err(wrong) => (RowResult::Failed, Some(wrong)),
        };
        match result {
            RowResult::Made => self.made += 1,
            RowResult::Unchanged => self.unchanged += 1,
            RowResult::Failed => self.failed += 1,
        }
        let field = wrong.as_ref().and_then(|wrong| wrong.field);
        self.rows.push(RowAnswer {
            row: row.number,
            line: row.line,
            device: device.map(str::to_owned),
            result,
            column: field.and_then(|field| columns.of(field)),
            field: field.map(str::to_owned),
            error: wrong.map(|wrong| wrong.what),
        });
    }

    /// How many rows became what, in words.
    pub(in crate::http) fn counts(&self) -> String {
        format!(
            "{} made, {} unchanged, {} failed",
            self.made, self.unchanged, self.failed
        )
    }

    /// How many rows have an answer.
    pub(in crate::http) fn len(&self) -> usize {
        self.rows.len()
    }

    /// How many were taken in.
    pub(in crate::http) fn made(&self) -> usize {
        self.made
    }
}
