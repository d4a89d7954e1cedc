//! Published pages that carry proofs, and the figures that these are of.
//!
//! In a page of HTML a proof is the content of `<script type="application/json" id="NAME"
//! data-stencil-proof>`, and its figure that of an element with `data-proof="NAME"`: the value alone, or
//! the value, a space and the unit. In an entry of JSON (`fields`) it is a field named `proof`, whose
//! figure is the field `value`; or one named `NAME_proof`, whose figure is the field `NAME`.

use serde_json::Value;

use crate::document::{Document, FORMAT, Unreadable, ValueForm, short};

/// The most bytes of a page.
pub const MAX_PAGE_BYTES: usize = 8 << 20;
/// The most proofs in a page.
pub const MAX_PROOFS: usize = 64;
/// The most figures in a page of HTML that are marked as proven.
pub const MAX_FIGURES: usize = 256;

/// A proof that was found, and the figures that are said to be proven by it.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Its name in the page; empty for a document that is no part of one.
    pub name: String,
    /// The proof.
    pub document: Document,
    /// As they stand there.
    pub figures: Vec<String>,
    /// Whether it is a part of a page, so that it has to have a figure.
    pub in_page: bool,
}

/// Why a text has no proof that can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is too long.
    #[error("it has {0} bytes; a page has at most {MAX_PAGE_BYTES}")]
    TooLong(usize),
    /// It is no text.
    #[error("it is no text in UTF-8")]
    NotText,
    /// There is no proof in it.
    #[error(
        "there is no proof in it: neither is it one (JSON with `\"format\": \"{FORMAT}\"`), nor a page \
         with `<script type=\"application/json\" data-stencil-proof>`, nor an entry with a field `proof`"
    )]
    None,
    /// There are more than are read.
    #[error("there are more than {MAX_PROOFS} proofs in it")]
    TooMany,
    /// There are more figures than are compared.
    #[error("there are more than {MAX_FIGURES} figures in it that are marked as proven")]
    TooManyFigures,
    /// A figure is marked as proven, and is not.
    #[error("a figure of the page is marked as proven by {:?}, and there is no such proof in it", short(.0))]
    Unproven(String),
    /// A proof cannot be read.
    #[error("{}{error}", .name.as_ref().map(|name| format!("proof {:?} of the page: ", short(name))).unwrap_or_default())]
    Unreadable {
        /// Which of the page.
        name: Option<String>,
        /// Why.
        error: Unreadable,
    },
}

/// Why a page does not show what its proof proves.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// No figure is marked.
    #[error("the page has a proof {:?}, but no figure that is marked as proven by it", short(.0))]
    NoFigure(String),
    /// The figure is another one.
    #[error(
        "the page shows {:?}, and the proof is of {:?}: the figure was changed",
        short(.shown),
        short(.proven)
    )]
    Changed {
        /// What the page shows.
        shown: String,
        /// What was measured.
        proven: String,
    },
}

/// Finds the proofs in a document, a page or an entry.
///
/// # Errors
/// [`Error`] says what it is not.
pub fn find(bytes: &[u8]) -> Result<Vec<Found>, Error> {
    if bytes.len() > MAX_PAGE_BYTES {
        return Err(Error::TooLong(bytes.len()));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| Error::NotText)?;
    if text.trim_start().starts_with('{') {
        return in_json(text);
    }
    let found = in_html(text)?;
    if found.is_empty() {
        return Err(Error::None);
    }
    Ok(found)
}

impl Found {
    /// Whether what the page shows is what the proof is of.
    ///
    /// # Errors
    /// [`Mismatch`].
    pub fn figures_match(&self) -> Result<(), Mismatch> {
        if self.in_page && self.figures.is_empty() {
            return Err(Mismatch::NoFigure(self.name.clone()));
        }
        let reading = &self.document.reading;
        for shown in &self.figures {
            if !shows(shown, &reading.value, reading.unit.as_deref()) {
                let unit = reading.unit.as_ref();
                let unit = unit.map(|unit| format!(" {unit}")).unwrap_or_default();
                return Err(Mismatch::Changed {
                    shown: shown.clone(),
                    proven: format!("{}{unit}", reading.value.shown()),
                });
            }
        }
        Ok(())
    }
}

/// Whether a text is this value, alone or with its unit. Numbers are compared as such: `-17.50` is
/// `-17.5`, and `-17` is neither.
fn shows(text: &str, value: &ValueForm, unit: Option<&str>) -> bool {
    let text = text.trim();
    let alone = unit
        .and_then(|unit| text.strip_suffix(unit))
        .map(str::trim_end);
    let is_it = |text: &str| match value {
        ValueForm::Number(number) => {
            let (shown, proven) = (text.parse::<f64>(), number.parse::<f64>());
            matches!((shown, proven), (Ok(shown), Ok(proven)) if shown == proven)
        }
        ValueForm::Integer(integer) => text.parse() == Ok(*integer),
        ValueForm::Bool(bit) => text.parse() == Ok(*bit),
        ValueForm::Text(held) => text == held.trim(),
    };
    is_it(text) || alone.is_some_and(is_it)
}

fn in_json(text: &str) -> Result<Vec<Found>, Error> {
    let read = |name: Option<&str>, json: &[u8]| {
        Document::parse(json).map_err(|error| Error::Unreadable {
            name: name.map(str::to_owned),
            error,
        })
    };
    let value: Value = serde_json::from_str(text).map_err(|error| Error::Unreadable {
        name: None,
        error: Unreadable::Json(error.to_string()),
    })?;
    if value.get("format").is_some() {
        return Ok(vec![Found {
            name: String::new(),
            document: read(None, text.as_bytes())?,
            figures: Vec::new(),
            in_page: false,
        }]);
    }
    let Some(fields) = value.get("fields").and_then(Value::as_object) else {
        return Err(Error::None);
    };
    let mut found = Vec::new();
    for (name, value) in fields {
        let Some(figure) = figure_of(name).filter(|_| is_proof(value)) else {
            continue;
        };
        if found.len() == MAX_PROOFS {
            return Err(Error::TooMany);
        }
        let document = read(Some(name), value.to_string().as_bytes())?;
        let figures = fields.get(figure).into_iter().map(|value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        });
        found.push(Found {
            name: name.clone(),
            document,
            figures: figures.collect(),
            in_page: true,
        });
    }
    if found.is_empty() {
        return Err(Error::None);
    }
    Ok(found)
}

/// The field whose figure a field proves, by its name.
#[must_use]
pub fn figure_of(name: &str) -> Option<&str> {
    match name {
        "proof" => Some("value"),
        name => name.strip_suffix("_proof").filter(|name| !name.is_empty()),
    }
}

/// Whether a field's value is a proof.
#[must_use]
pub fn is_proof(value: &Value) -> bool {
    value.get("format").and_then(Value::as_str) == Some(FORMAT)
}

/// A document as the content of a `<script>`: no text in it can end that.
#[must_use]
pub fn script(document: &Value) -> String {
    document.to_string().replace('<', "\\u003c")
}

fn in_html(text: &str) -> Result<Vec<Found>, Error> {
    let mut found: Vec<Found> = Vec::new();
    let mut figures: Vec<(String, String)> = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        rest = &rest[start..];
        if let Some(comment) = rest.strip_prefix("<!--") {
            rest = behind_comment(comment);
            continue;
        }
        let tag = match Tag::read(rest) {
            Read::Tag(tag) => tag,
            Read::Text => {
                rest = &rest[1..];
                continue;
            }
            Read::Unended => break,
        };
        rest = tag.behind;
        if ["script", "style", "textarea", "title", "template"].contains(&tag.name.as_str()) {
            let (content, behind) = until_end(rest, &tag.name);
            rest = behind;
            if tag.name == "script" && tag.attribute("data-stencil-proof").is_some() {
                if found.len() == MAX_PROOFS {
                    return Err(Error::TooMany);
                }
                let name = tag.attribute("id").unwrap_or_default();
                let document =
                    Document::parse(content.as_bytes()).map_err(|error| Error::Unreadable {
                        name: Some(name.clone()),
                        error,
                    })?;
                found.push(Found {
                    name,
                    document,
                    figures: Vec::new(),
                    in_page: true,
                });
            }
        } else if let Some(of) = tag.attribute("data-proof") {
            if figures.len() == MAX_FIGURES {
                return Err(Error::TooManyFigures);
            }
            let (content, behind) = until_end(rest, &tag.name);
            rest = behind;
            figures.push((of, plain(content)));
        }
    }
    for (of, figure) in figures {
        let mut is_proven = false;
        for one in found.iter_mut().filter(|one| one.name == of) {
            one.figures.push(figure.clone());
            is_proven = true;
        }
        // A page without any proof is told as that.
        if !is_proven && !found.is_empty() {
            return Err(Error::Unproven(of));
        }
    }
    Ok(found)
}

/// What stands behind a comment, given what stands behind its `<!--`.
fn behind_comment(text: &str) -> &str {
    // An empty one.
    if let Some(behind) = text.strip_prefix('>').or_else(|| text.strip_prefix("->")) {
        return behind;
    }
    let mut rest = text;
    while let Some(at) = rest.find("--") {
        let behind = &rest[at + 2..];
        if let Some(behind) = behind
            .strip_prefix('>')
            .or_else(|| behind.strip_prefix("!>"))
        {
            return behind;
        }
        rest = &rest[at + 1..];
    }
    ""
}

/// What stands before the next end tag of this name, and what behind it.
fn until_end<'a>(text: &'a str, name: &str) -> (&'a str, &'a str) {
    let mut from = 0;
    while let Some(at) = text[from..].find("</").map(|at| at + from) {
        let behind = &text[at + 2..];
        let is_it = behind
            .get(..name.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(name));
        if is_it {
            let rest = &behind[name.len()..];
            // The name may go on.
            if rest.starts_with(|c: char| is_space(c) || c == '/' || c == '>') {
                return (&text[..at], rest.split_once('>').map_or("", |(_, it)| it));
            }
        }
        from = at + 2;
    }
    (text, "")
}

/// Text without tags, with the entities that stand in figures.
fn plain(html: &str) -> String {
    let (mut text, mut in_tag) = (String::new(), false);
    for one in html.chars() {
        match one {
            '<' => in_tag = true,
            '>' if in_tag => in_tag = false,
            one if !in_tag => text.push(one),
            _ => {}
        }
    }
    decoded(&text).trim().to_owned()
}

/// A text with the entities that stand in figures.
fn decoded(html: &str) -> String {
    let mut text = html.to_owned();
    for (entity, is) in [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&nbsp;", " "),
        ("&deg;", "°"),
        ("&minus;", "-"),
        ("&amp;", "&"),
    ] {
        if text.contains(entity) {
            text = text.replace(entity, is);
        }
    }
    text
}

fn is_space(c: char) -> bool {
    c.is_ascii_whitespace()
}

/// A start tag, as browsers read one (HTML, section 13.2.5).
struct Tag<'a> {
    name: String,
    attributes: Vec<(String, String)>,
    behind: &'a str,
}

/// What stands at a `<`.
enum Read<'a> {
    /// A start tag.
    Tag(Tag<'a>),
    /// Something else.
    Text,
    /// A start tag that has no end: nothing comes behind it.
    Unended,
}

impl<'a> Tag<'a> {
    /// The most attributes that are looked at.
    const MAX_ATTRIBUTES: usize = 64;

    /// Reads what stands at the beginning of a text. No character is looked at twice, however many tags
    /// there are and wherever they end: a page may be large, and a stranger's.
    fn read(text: &'a str) -> Read<'a> {
        let begins = |text: &&str| text.starts_with(|c: char| c.is_ascii_alphabetic());
        let Some(text) = text.strip_prefix('<').filter(begins) else {
            return Read::Text;
        };
        Self::ended(text).map_or(Read::Unended, Read::Tag)
    }

    fn ended(text: &'a str) -> Option<Self> {
        let (name, mut rest) = text.split_at(text.find(|c| is_space(c) || "/>".contains(c))?);
        let mut attributes = Vec::new();
        loop {
            rest = rest.trim_start_matches(|c| is_space(c) || c == '/');
            if let Some(behind) = rest.strip_prefix('>') {
                return Some(Self {
                    name: name.to_ascii_lowercase(),
                    attributes,
                    behind,
                });
            }
            // A `=` at its beginning is a part of the name.
            let first = rest.chars().next()?.len_utf8();
            let end = rest[first..].find(|c| is_space(c) || "=/>".contains(c))? + first;
            let (key, behind) = rest.split_at(end);
            rest = behind.trim_start_matches(is_space);
            let mut value = "";
            if let Some(given) = rest.strip_prefix('=') {
                let given = given.trim_start_matches(is_space);
                (value, rest) = match given.chars().next()? {
                    quote @ ('"' | '\'') => given[1..].split_once(quote)?,
                    _ => given.split_at(given.find(|c| is_space(c) || c == '>')?),
                };
            }
            if attributes.len() < Self::MAX_ATTRIBUTES {
                attributes.push((key.to_ascii_lowercase(), decoded(value)));
            }
        }
    }

    fn attribute(&self, name: &str) -> Option<String> {
        let mut all = self.attributes.iter();
        all.find(|(key, _)| key == name)
            .map(|(_, value)| value.clone())
    }
}
