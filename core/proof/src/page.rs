//! Published pages that carry proofs, and the figures that these are of.
//!
//! In a page of HTML a proof is the content of `<script type="application/json" id="NAME"
//! data-stencil-proof>`, and its figure that of an element with `data-proof="NAME"`: the value alone, or
//! the value, a space and the unit. Such an element holds text alone, up to its own end tag. In an entry
//! of JSON (`fields`) a proof is a field named `proof`, whose figure is the field `value`; or one named
//! `NAME_proof`, whose figure is the field `NAME`.
//!
//! What is read is what a browser reads, or else the page is refused: a figure that is marked and not
//! compared would pass for a proven one. What a browser *draws* is beyond this: a style can hide a true
//! figure, and a script can write another one.

mod beside;
mod cells;
mod drawn;
mod figure;
mod html;
mod json;
mod tag;

pub use figure::{Figure, Mismatch};
pub use json::{figure_of, is_proof};

use serde_json::Value;

use crate::document::{Document, FORMAT, Unreadable, short};

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
    pub figures: Vec<Figure>,
    /// Whether it is a part of a page, so that it has to have a figure.
    pub in_page: bool,
}

/// Why a text has no proof that can be read, or is not what its proofs prove.
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
    /// A proof cannot be read.
    #[error("{}{error}", .name.as_ref().map(|name| format!("proof {:?} of the page: ", short(name))).unwrap_or_default())]
    Unreadable {
        /// Which of the page.
        name: Option<String>,
        /// Why.
        error: Unreadable,
    },
    /// It is HTML of which it is not certain that every browser reads it in one way, and this one.
    #[error("line {line} of the page: {what}, so it is not certain which figures it shows")]
    Unsure {
        /// Where, from 1.
        line: usize,
        /// What stands there.
        what: String,
    },
    /// There are more figures than are compared.
    #[error("there are more than {MAX_FIGURES} marked figures in it")]
    TooManyFigures,
    /// A figure is marked as proven, and its proof is not there.
    #[error("a figure of the page is marked as proven by {:?}, and there is no such proof in it", short(.0))]
    Unproven(String),
    /// A field is said to have a proof, which is none.
    #[error("the entry has {:?} and no proof of it: its {:?} is {is}", short(.field), short(.proof))]
    NoProof {
        /// The figure's field.
        field: String,
        /// The one that is to be its proof.
        proof: String,
        /// What that is.
        is: String,
    },
    /// A figure is marked in a way in which it can read otherwise than it is compared.
    #[error("line {line} of the page: the figure that is marked as proven by {:?} {flaw}", short(.mark))]
    Mark {
        /// Where, from 1.
        line: usize,
        /// The proof's name.
        mark: String,
        /// Why.
        flaw: Flaw,
    },
}

/// Why a mark is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// Browsers draw nothing there, or something else.
    #[error("is inside of {0}, where it may not be shown")]
    Inside(String),
    /// The element is none that shows a text.
    #[error("is a <{}>: mark a <data> or a <span>", short(.0))]
    Element(String),
    /// An attribute may hide it, or have it read otherwise.
    #[error(
        "has an attribute {:?}: beside `data-proof` there may be `class`, `id`, `lang`, `value` and `data-…`",
        short(.0)
    )]
    Attribute(String),
    /// There is something else in it than text.
    #[error("holds {:?}: it has to be text alone, up to its own end tag", short(.0))]
    Content(String),
    /// There is a character reference in it that is not known.
    #[error("has the character reference {:?}, which is not known here: write the character", short(.0))]
    Reference(String),
    /// Something stands where browsers draw it elsewhere.
    #[error(
        "is on a page with {0} in a <table> and in none of its cells, which is drawn before the table: put it \
         into a cell"
    )]
    Displaced(String),
    /// Something on the page turns text around.
    #[error(
        "is on a page with {0}, by which text can run in the other direction: what turns it around may not \
         be there"
    )]
    Turned(String),
}

impl Error {
    /// Whether the text could be read, and is not what it says: something is wrong with it.
    #[must_use]
    pub fn is_false(&self) -> bool {
        matches!(
            self,
            Self::TooManyFigures | Self::Unproven(_) | Self::NoProof { .. } | Self::Mark { .. }
        )
    }
}

/// Finds the proofs in a document, a page or an entry.
///
/// # Errors
/// [`Error`] says what it is not, or what is wrong with it.
pub fn find(bytes: &[u8]) -> Result<Vec<Found>, Error> {
    if bytes.len() > MAX_PAGE_BYTES {
        return Err(Error::TooLong(bytes.len()));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| Error::NotText)?;
    if text.trim_start().starts_with('{') {
        return json::find(text);
    }
    html::find(text)
}

/// A document as the content of a `<script>`: no text in it can end that.
#[must_use]
pub fn script(document: &Value) -> String {
    document.to_string().replace('<', "\\u003c")
}

fn read(name: Option<&str>, json: &[u8]) -> Result<Document, Error> {
    Document::parse(json).map_err(|error| Error::Unreadable {
        name: name.map(str::to_owned),
        error,
    })
}
