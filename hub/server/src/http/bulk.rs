//! Rows by the thousand: comma-separated values (RFC 4180) or JSON, read as they come, an answer a
//! row.
//!
//! CSV is read in pieces and never held as a whole. Its first line names the columns, in any order.
//! JSON is an array of objects and is held while it is read. Both have a bound in bytes and in rows.
//! What cannot be read as rows at all ends the reading with a problem; what is wrong in a row is told
//! with the row: its line, its column, what was wrong and what would be right.

use axum::body::BodyDataStream;
use axum::extract::Request;
use bytes::{Buf as _, Bytes};
use csv_core::ReadRecordResult;
use futures_util::StreamExt as _;
use http::header;
use serde_json::Value;
use zeroize::Zeroizing;

use super::problem::{Kind, Problem};

mod answers;

pub(super) use answers::{Answers, RowResult, Wrong};

/// The most bytes of an upload.
pub(super) const MAX_BYTES: usize = 8 * 1024 * 1024;
/// The most rows of an upload.
pub(super) const MAX_ROWS: usize = 10_000;
/// Rows that are taken in at once.
const PORTION: usize = 500;
/// The longest row in bytes.
const MAX_ROW_BYTES: usize = 8 * 1024;
/// A byte order mark in UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";
/// The most columns.
const MAX_COLUMNS: usize = 16;

/// One row: the fields that were asked for, in their order.
pub(super) struct Row {
    /// Its number, from 1, without the line that names the columns.
    pub(super) number: usize,
    /// The line in the file, from 1.
    pub(super) line: Option<usize>,
    cells: Vec<Option<Zeroizing<String>>>,
    /// What is wrong with it as a whole.
    pub(super) broken: Option<String>,
}

impl Row {
    /// A field's text; an empty one is none.
    pub(super) fn get(&self, at: usize) -> Option<&str> {
        let text = self.cells.get(at)?.as_ref()?.trim();
        (!text.is_empty()).then_some(text)
    }
}

/// The rows of an upload.
pub(super) struct Rows {
    fields: &'static [&'static str],
    form: Form,
    number: usize,
}

enum Form {
    Csv(Box<Csv>),
    Json(std::vec::IntoIter<Value>),
}

struct Csv {
    body: BodyDataStream,
    /// What came and is not read.
    rest: Bytes,
    came: usize,
    ended: bool,
    reader: csv_core::Reader,
    /// The row that is being read.
    text: Zeroizing<Vec<u8>>,
    written: usize,
    ends: [usize; MAX_COLUMNS],
    columns: usize,
    began_line: usize,
    line: usize,
    between: bool,
    /// For each column which field it is; none before the first line was read.
    header: Option<Vec<usize>>,
}

impl Rows {
    /// Begins to read. `fields` are the names of columns, or of members; the first has to be there.
    pub(super) async fn open(
        request: Request,
        fields: &'static [&'static str],
    ) -> Result<Self, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE);
        let kind = kind
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let media_type = kind.split(';').next().unwrap_or_default().trim().to_owned();
        let body = request.into_body().into_data_stream();
        let form = if media_type.eq_ignore_ascii_case("text/csv") {
            Form::Csv(Box::new(Csv::new(body)))
        } else if media_type.eq_ignore_ascii_case("application/json") {
            Form::Json(json(body).await?.into_iter())
        } else {
            let detail =
                format!("the content type is `{media_type}`, not `text/csv` or `application/json`");
            return Err(Problem::new(Kind::MediaType, detail));
        };
        Ok(Self {
            fields,
            form,
            number: 0,
        })
    }

    /// The next rows; none at the end.
    pub(super) async fn next(&mut self) -> Result<Vec<Row>, Problem> {
        let mut portion = Vec::new();
        while portion.len() < PORTION {
            let row = match &mut self.form {
                Form::Json(values) => values
                    .next()
                    .map(|value| object(value, self.fields, self.number + 1)),
                Form::Csv(csv) => csv.row(self.fields, self.number + 1).await?,
            };
            let Some(row) = row else { break };
            self.number += 1;
            if self.number > MAX_ROWS {
                let detail =
                    format!("an upload may have at most {MAX_ROWS} rows; send it in parts");
                return Err(Problem::new(Kind::TooLarge, detail));
            }
            portion.push(row);
        }
        Ok(portion)
    }

    /// Where the fields stand; known when the first rows were read.
    pub(super) fn columns(&self) -> Columns {
        Columns {
            fields: self.fields,
            header: match &self.form {
                Form::Csv(csv) => csv.header.clone(),
                Form::Json(_) => None,
            },
        }
    }
}

/// Where the fields stand in a file.
pub(super) struct Columns {
    fields: &'static [&'static str],
    header: Option<Vec<usize>>,
}

impl Columns {
    /// The column of a field, from 1.
    fn of(&self, field: &str) -> Option<usize> {
        let at = self.fields.iter().position(|name| *name == field)?;
        let header = self.header.as_ref()?;
        header.iter().position(|of| *of == at).map(|at| at + 1)
    }
}

impl Csv {
    fn new(body: BodyDataStream) -> Self {
        Self {
            body,
            rest: Bytes::new(),
            came: 0,
            ended: false,
            reader: csv_core::Reader::new(),
            text: Zeroizing::new(vec![0; MAX_ROW_BYTES]),
            written: 0,
            ends: [0; MAX_COLUMNS],
            columns: 0,
            began_line: 1,
            line: 1,
            between: true,
            header: None,
        }
    }

    /// The next row, without the line that names the columns.
    async fn row(
        &mut self,
        fields: &'static [&'static str],
        number: usize,
    ) -> Result<Option<Row>, Problem> {
        if self.header.is_none() {
            self.skip_mark().await?;
            if !self.record().await? {
                let detail = format!(
                    "the file is empty; its first line names the columns: {}",
                    fields.join(",")
                );
                return Err(Problem::invalid(detail));
            }
            self.header = Some(named(&self.cells(), fields)?);
        }
        if !self.record().await? {
            return Ok(None);
        }
        let header = self.header.as_deref().unwrap_or_default();
        let mut row = Row {
            number,
            line: Some(self.began_line),
            cells: vec![None; fields.len()],
            broken: None,
        };
        let cells = self.cells();
        if cells.len() != header.len() {
            row.broken = Some(format!(
                "the row has {} columns, the first line names {}",
                cells.len(),
                header.len()
            ));
        }
        for (cell, field) in cells.into_iter().zip(header) {
            match (std::str::from_utf8(cell), row.cells.get_mut(*field)) {
                (Ok(text), Some(slot)) => *slot = Some(Zeroizing::new(text.to_owned())),
                _ => row.broken = Some("the row is not in UTF-8".to_owned()),
            }
        }
        Ok(Some(row))
    }

    /// Reads one record into the buffers; false at the end.
    async fn record(&mut self) -> Result<bool, Problem> {
        (self.written, self.columns) = (0, 0);
        self.between = true;
        loop {
            if self.rest.is_empty() && !self.ended {
                self.more().await?;
            }
            if self.between {
                self.skip_line_ends();
                if self.rest.is_empty() && !self.ended {
                    continue;
                }
                self.began_line = self.line;
                self.between = false;
            }
            let text = self.text.get_mut(self.written..).unwrap_or_default();
            let ends = self.ends.get_mut(self.columns..).unwrap_or_default();
            let (result, read, written, columns) = self.reader.read_record(&self.rest, text, ends);
            let ended_lines = self.rest.get(..read).unwrap_or_default();
            self.line += ended_lines.iter().filter(|byte| **byte == b'\n').count();
            self.rest.advance(read);
            self.written += written;
            self.columns += columns;
            let line = self.began_line;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::Record => return Ok(true),
                ReadRecordResult::End => return Ok(false),
                ReadRecordResult::OutputFull => {
                    return Err(Problem::invalid(format!(
                        "the row in line {line} is longer than {MAX_ROW_BYTES} bytes: is a quotation \
                         mark not closed?"
                    )));
                }
                ReadRecordResult::OutputEndsFull => {
                    return Err(Problem::invalid(format!(
                        "the row in line {line} has more than {MAX_COLUMNS} columns"
                    )));
                }
            }
        }
    }

    /// Steps over a byte order mark, with which spreadsheets begin a file. The parser would, too, but
    /// takes it for the whole file when it comes alone.
    async fn skip_mark(&mut self) -> Result<(), Problem> {
        while self.rest.len() < MARK.len() && !self.ended {
            let before = std::mem::take(&mut self.rest);
            self.more().await?;
            self.rest = [before, std::mem::take(&mut self.rest)].concat().into();
        }
        if self.rest.starts_with(MARK) {
            self.rest.advance(MARK.len());
        }
        Ok(())
    }

    fn skip_line_ends(&mut self) {
        while let Some(byte @ (b'\r' | b'\n')) = self.rest.first() {
            self.line += usize::from(*byte == b'\n');
            self.rest.advance(1);
        }
    }

    async fn more(&mut self) -> Result<(), Problem> {
        match self.body.next().await {
            None => self.ended = true,
            Some(Ok(bytes)) => {
                self.came += bytes.len();
                if self.came > MAX_BYTES {
                    return Err(too_large());
                }
                self.rest = bytes;
            }
            Some(Err(_)) => return Err(broke_off()),
        }
        Ok(())
    }

    fn cells(&self) -> Vec<&[u8]> {
        let ends = self.ends.get(..self.columns).unwrap_or_default();
        let starts = std::iter::once(0).chain(ends.iter().copied());
        starts
            .zip(ends)
            .map(|(start, end)| self.text.get(start..*end).unwrap_or_default())
            .collect()
    }
}

/// Which field each column of the first line is.
fn named(cells: &[&[u8]], fields: &'static [&'static str]) -> Result<Vec<usize>, Problem> {
    let mut header = Vec::with_capacity(cells.len());
    for (at, cell) in cells.iter().enumerate() {
        let name = String::from_utf8_lossy(cell);
        let name = name.trim();
        let field = fields
            .iter()
            .position(|field| field.eq_ignore_ascii_case(name));
        match field {
            Some(field) if header.contains(&field) => {
                let detail = format!(
                    "line 1, column {}: `{}` is there twice",
                    at + 1,
                    fields[field]
                );
                return Err(Problem::invalid(detail));
            }
            Some(field) => header.push(field),
            None => {
                let shown: String = name.chars().take(64).collect();
                let detail = format!(
                    "line 1, column {}: there is no column `{shown}`; the columns are {}",
                    at + 1,
                    fields.join(", ")
                );
                return Err(Problem::invalid(detail));
            }
        }
    }
    if !header.contains(&0) {
        let first = fields.first().copied().unwrap_or_default();
        let detail = format!("line 1 names no column `{first}`, which has to be there");
        return Err(Problem::invalid(detail));
    }
    Ok(header)
}

/// A whole JSON body: an array.
async fn json(mut body: BodyDataStream) -> Result<Vec<Value>, Problem> {
    let mut bytes = Zeroizing::new(Vec::new());
    while let Some(more) = body.next().await {
        let more = more.map_err(|_| broke_off())?;
        if bytes.len() + more.len() > MAX_BYTES {
            return Err(too_large());
        }
        bytes.extend_from_slice(&more);
    }
    serde_json::from_slice(&bytes).map_err(|error| {
        Problem::invalid(format!("the body is not a JSON array of objects: {error}"))
    })
}

fn object(value: Value, fields: &'static [&'static str], number: usize) -> Row {
    let mut row = Row {
        number,
        line: None,
        cells: vec![None; fields.len()],
        broken: None,
    };
    let Value::Object(members) = value else {
        row.broken = Some(format!(
            "it has to be an object with the members {}",
            fields.join(", ")
        ));
        return row;
    };
    for (name, value) in members {
        let slot = fields.iter().position(|field| *field == name);
        match (slot.and_then(|at| row.cells.get_mut(at)), value) {
            (Some(slot), Value::String(text)) => *slot = Some(Zeroizing::new(text)),
            (Some(_), Value::Null) => {}
            (Some(_), _) => row.broken = Some(format!("`{name}` has to be a text")),
            (None, _) => {
                let shown: String = name.chars().take(64).collect();
                row.broken = Some(format!(
                    "there is no member `{shown}`; the members are {}",
                    fields.join(", ")
                ));
            }
        }
    }
    row
}

fn too_large() -> Problem {
    let detail = format!("an upload may have at most {MAX_BYTES} bytes; send it in parts");
    Problem::new(Kind::TooLarge, detail)
}

fn broke_off() -> Problem {
    Problem::invalid("the body ended before its stated length, or did not come in time")
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use futures_util::stream;

    use super::*;

    const FIELDS: &[&str] = &["device", "gateway", "psk"];

    /// A file that comes in pieces of this size.
    fn request(text: &str, kind: &str, piece: usize) -> Request {
        let pieces: Vec<Result<Bytes, std::io::Error>> = text
            .as_bytes()
            .chunks(piece)
            .map(|piece| Ok(Bytes::copy_from_slice(piece)))
            .collect();
        Request::builder()
            .header(header::CONTENT_TYPE, kind)
            .body(Body::from_stream(stream::iter(pieces)))
            .unwrap()
    }

    async fn read(text: &str, piece: usize) -> Result<Vec<Row>, Problem> {
        let mut rows = Rows::open(request(text, "text/csv", piece), FIELDS).await?;
        let mut all = Vec::new();
        loop {
            let portion = rows.next().await?;
            if portion.is_empty() {
                return Ok(all);
            }
            all.extend(portion);
        }
    }

    fn told(problem: Problem) -> String {
        format!("{problem:?}")
    }

    #[tokio::test]
    async fn rows_are_the_same_however_they_come() {
        let text =
            "\u{feff}psk,Device , gateway\r\n1,a,g\r\n\r\n2,\"b,\n\"\"c\"\"\",g\r\n3,d\r\n4,e,g";
        for piece in [1, 2, 3, 7, 1_000] {
            let rows = read(text, piece).await.map_err(told).unwrap();
            let seen: Vec<_> = rows
                .iter()
                .map(|row| (row.number, row.line.unwrap(), row.get(0), row.get(2)))
                .collect();
            assert_eq!(
                seen,
                [
                    (1, 2, Some("a"), Some("1")),
                    (2, 4, Some("b,\n\"c\""), Some("2")),
                    (3, 6, Some("d"), Some("3")),
                    (4, 7, Some("e"), Some("4")),
                ],
                "in pieces of {piece}"
            );
            let broken: Vec<_> = rows
                .iter()
                .filter_map(|row| row.broken.as_deref())
                .collect();
            assert_eq!(broken, ["the row has 2 columns, the first line names 3"]);
        }
    }

    #[tokio::test]
    async fn what_is_no_table_says_where_and_what_would_be_right() {
        for (text, said) in [
            ("", "the file is empty"),
            (
                "device,gatway\n",
                "line 1, column 2: there is no column `gatway`",
            ),
            ("gateway\nx\n", "names no column `device`"),
            ("device,device\n", "`device` is there twice"),
            (
                &format!("device\n\"{}", "x".repeat(9_000)),
                "line 2 is longer than",
            ),
            (
                &format!("device\n{}", ",".repeat(20)),
                "more than 16 columns",
            ),
        ] {
            let problem = told(read(text, 100).await.err().unwrap());
            assert!(problem.contains(said), "{text:.40}: {problem}");
        }
        let many = format!("device\n{}", "a\n".repeat(MAX_ROWS + 1));
        assert!(told(read(&many, 4_096).await.err().unwrap()).contains("at most 10000 rows"));
        let long = format!("device\n{}", "aaaaaaa\n".repeat(MAX_BYTES / 8));
        assert!(told(read(&long, 65_536).await.err().unwrap()).contains("in parts"));
    }

    #[tokio::test]
    async fn json_rows_say_what_is_wrong_with_them() {
        let text = r#"[{"device":"a","gateway":null},{"device":1},{"name":"x"},7]"#;
        let mut rows = Rows::open(request(text, "application/json", 5), FIELDS)
            .await
            .map_err(told)
            .unwrap();
        let rows = rows.next().await.map_err(told).unwrap();
        assert_eq!(rows[0].get(0), Some("a"));
        let broken: Vec<_> = rows
            .iter()
            .map(|row| row.broken.as_deref().unwrap_or(""))
            .collect();
        assert_eq!(broken[0], "");
        assert_eq!(broken[1], "`device` has to be a text");
        assert!(
            broken[2].starts_with("there is no member `name`"),
            "{}",
            broken[2]
        );
        assert!(
            broken[3].starts_with("it has to be an object"),
            "{}",
            broken[3]
        );
        let not = Rows::open(request("{}", "application/json", 5), FIELDS).await;
        assert!(told(not.err().unwrap()).contains("not a JSON array"));
        let kind = Rows::open(request("x", "text/plain", 5), FIELDS).await;
        assert!(told(kind.err().unwrap()).contains("text/csv"));
    }
}
