//! Pages of HTML: proofs are scripts, and figures are marked elements.
//!
//! Which characters are tags depends, in a browser, on where they stand: in `<style>` there are none, but
//! in the `<style>` of an SVG there are. Where the two could differ in a way that hides or shows a mark, the
//! page is refused instead of guessed at.

use super::cells::Cells;
use super::drawn::{CLOSED, Open, REOPENED, hidden, hiding, is_shut};
use super::tag::{Markup, Tag, decoded, is_space, resolved, until_end};
use super::{Error, Figure, Flaw, Found, MAX_FIGURES, MAX_PROOFS, beside, read};
use crate::document::short;

/// The attribute that marks a figure.
const MARK: &str = "data-proof";
/// Elements whose content is no markup, for a browser that runs scripts.
const RAW: [&str; 9] = [
    "script", "style", "textarea", "title", "noscript", "xmp", "iframe", "noembed", "noframes",
];
/// Where, in SVG and MathML, HTML begins again.
const OPENED: [&str; 8] = [
    "foreignobject",
    "desc",
    "annotation-xml",
    "mi",
    "mo",
    "mn",
    "ms",
    "mtext",
];
/// Elements without content.
const VOID: [&str; 19] = [
    "area", "base", "basefont", "bgsound", "br", "col", "embed", "frame", "hr", "image", "img",
    "input", "keygen", "link", "meta", "param", "source", "track", "wbr",
];
/// How deep an element is in what is not drawn.
const MAX_DEPTH: usize = 256;
/// Elements that show their text, and may be marked.
const SHOWN: [&str; 22] = [
    "data", "span", "b", "strong", "em", "i", "mark", "output", "code", "samp", "var", "p", "div",
    "li", "dd", "dt", "td", "th", "h1", "h2", "h3", "h4",
];
/// Elements that begin on another line or in a box of their own, wherever they may stand: what stands
/// before and behind does not touch.
const APART: [&str; 43] = [
    "address",
    "article",
    "aside",
    "blockquote",
    "br",
    "caption",
    "center",
    "dd",
    "details",
    "dir",
    "div",
    "dl",
    "dt",
    "fieldset",
    "figcaption",
    "figure",
    "footer",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "hr",
    "legend",
    "li",
    "main",
    "menu",
    "nav",
    "ol",
    "p",
    "pre",
    "section",
    "summary",
    "table",
    "tbody",
    "td",
    "tfoot",
    "th",
    "thead",
    "tr",
    "ul",
];
/// Parts of a table, which are nothing outside of one.
const OF_TABLE: [&str; 7] = ["caption", "tbody", "td", "tfoot", "th", "thead", "tr"];
/// How many open elements are kept of those that are [`APART`].
const MAX_BLOCKS: usize = 256;
/// The most bytes behind a figure that are looked at.
const MAX_BEHIND: usize = 128;
/// The bytes before one that are kept.
const KEPT: usize = 64;

pub(super) fn find(text: &str) -> Result<Vec<Found>, Error> {
    let mut walk = Walk {
        text,
        found: Vec::new(),
        figures: Vec::new(),
        line: String::new(),
        is_open: false,
        closed: Vec::new(),
        blocks: Vec::new(),
        cells: Cells::default(),
        everywhere: None,
    };
    walk.through()?;
    if let (Some((line, flaw)), Some((mark, _))) = (&walk.everywhere, walk.figures.first()) {
        return Err(Error::Mark {
            line: *line,
            mark: mark.clone(),
            flaw: flaw.clone(),
        });
    }
    let (mut found, figures) = (walk.found, walk.figures);
    for (of, figure) in figures {
        let mut is_proven = false;
        for one in found.iter_mut().filter(|one| one.name == of) {
            one.figures.push(figure.clone());
            is_proven = true;
        }
        if !is_proven {
            return Err(Error::Unproven(of));
        }
    }
    if found.is_empty() {
        return Err(Error::None);
    }
    Ok(found)
}

struct Walk<'a> {
    text: &'a str,
    found: Vec<Found>,
    figures: Vec<(String, Figure)>,
    /// The end of what the line of text has, that the next character goes on with.
    line: String,
    /// Whether that is right behind a figure.
    is_open: bool,
    /// The open elements, from the outermost whose content is not drawn on.
    closed: Vec<Open>,
    /// The open elements that are [`APART`], as far as they are known.
    blocks: Vec<String>,
    /// Where in a table the next character is.
    cells: Cells,
    /// Where the first is that is wrong for all marks of the page, wherever they stand, and what it is.
    everywhere: Option<(usize, Flaw)>,
}

impl<'a> Walk<'a> {
    fn through(&mut self) -> Result<(), Error> {
        if let Some(at) = self.text.find('\0') {
            return Err(self.unsure(&self.text[at..], "there is a NUL"));
        }
        let mut rest = self.text;
        while let Some(start) = rest.find('<') {
            self.says(rest, start);
            rest = &rest[start..];
            let markup = Markup::read(rest).map_err(|what| self.unsure(rest, what))?;
            rest = match markup {
                Markup::Tag(tag) if tag.is_end => self.ends(rest, &tag)?,
                Markup::Tag(tag) => self.starts(rest, &tag)?,
                Markup::Comment(content, behind) => {
                    self.has_no_mark(rest, "a comment", content)?;
                    behind
                }
                Markup::Text => {
                    self.says(rest, 1);
                    &rest[1..]
                }
            };
        }
        self.says(rest, rest.len());
        self.apart();
        match self.closed.first() {
            Some(Open { name, .. }) => {
                let what = format!("<{name}> has no end");
                Err(self.unsure("", &what))
            }
            None => Ok(()),
        }
    }

    /// What stands behind the tag, or behind its element where that is read in one go.
    fn starts(&mut self, at: &'a str, tag: &Tag<'a>) -> Result<&'a str, Error> {
        let name = tag.name.as_str();
        self.is_placed(at, tag);
        if tag.attribute(MARK).is_some() {
            return self.marks(at, tag);
        }
        self.turns(at, tag);
        match name {
            "frameset" | "plaintext" => {
                let what = format!("there is a <{name}>, behind which nothing is as it was");
                return Err(self.unsure(at, &what));
            }
            "template" if tag.attribute("shadowrootmode").is_some() => {
                return Err(self.unsure(at, "a <template> takes the place of what is around it"));
            }
            "meta" => self.has_our_letters(at, tag)?,
            _ => {}
        }
        let is_foreign = self.is_foreign();
        if is_foreign
            && self
                .closed
                .last()
                .is_some_and(|it| is_in(&OPENED, &it.name))
        {
            let what = format!("there is a <{name}> in what holds text, in SVG or MathML");
            return Err(self.unsure(at, &what));
        }
        if is_in(&RAW, name) {
            return self.raw(at, tag, is_foreign);
        }
        let is_empty = match is_foreign {
            true => tag.closes_itself,
            false => is_in(&VOID, name),
        };
        let hidden = hidden(tag);
        if is_empty {
            // What is not drawn keeps nothing apart.
            if hidden.is_none() {
                self.begins(name);
            }
            return Ok(tag.behind);
        }
        if let Some(what) = &hidden {
            if ["html", "body"].contains(&name) {
                // One further on counts for the whole page, too.
                self.is_wrong(at, Flaw::Inside(what.clone()));
                return Ok(tag.behind);
            }
            if !is_foreign && is_in(&REOPENED, name) && ends_with_text(tag).is_none() {
                let what = format!("{what} holds more than text, and may go on behind its end");
                return Err(self.unsure(at, &what));
            }
        }
        let summarises = self.summarises(name);
        let outer = self.undrawn().filter(|_| !summarises).map(str::to_owned);
        let is_folded = outer.is_none() && is_shut(tag) && hiding(tag).is_none();
        if is_folded {
            self.begins(name);
        }
        let undrawn = outer
            .or(hidden)
            .or_else(|| is_in(&CLOSED, name).then(|| format!("<{name}>")));
        if undrawn.is_some() || !self.closed.is_empty() {
            if self.closed.len() == MAX_DEPTH {
                return Err(self.unsure(at, "elements are nested too deeply"));
            }
            self.closed.push(Open {
                name: tag.name.clone(),
                undrawn,
                is_folded,
                waits: is_folded,
            });
        }
        self.begins(name);
        Ok(tag.behind)
    }

    /// Whether an element that begins is the one whose content `<details>` show that are not open: their
    /// first `<summary>`. It may begin as a part of what is around it, which a browser ends for it.
    fn summarises(&mut self, name: &str) -> bool {
        if name != "summary" {
            return false;
        }
        let is_it = self.closed.last().is_some_and(|it| it.waits);
        self.closed.iter_mut().for_each(|it| it.waits = false);
        is_it
    }

    /// Whether the element turns text around is kept, for the whole page: an element may be open for longer
    /// than it seems to, and one of `<body>` counts wherever it stands.
    fn turns(&mut self, at: &str, tag: &Tag<'_>) {
        let is_turned = match tag.attribute("dir") {
            Some(dir) => !dir.trim_matches(is_space).eq_ignore_ascii_case("ltr"),
            None => false,
        };
        let holds_more = || ends_with_text(tag).is_none();
        let what = match tag.name.as_str() {
            _ if is_turned => "an attribute `dir`".to_owned(),
            name if name == "bdo" || (name == "bdi" && holds_more()) => format!("a <{name}>"),
            _ => return,
        };
        self.is_wrong(at, Flaw::Turned(what));
    }

    /// Takes note of an element that is drawn elsewhere than where it stands, or of where it has its place.
    fn is_placed(&mut self, at: &str, tag: &Tag<'_>) {
        let type_of = tag.attribute("type").unwrap_or_default();
        let is_drawn = !(tag.name == "input" && type_of.eq_ignore_ascii_case("hidden"))
            && hiding(tag).is_none()
            && self.undrawn().is_none();
        if is_drawn && self.cells.begin(&tag.name) {
            self.is_wrong(at, Flaw::Displaced(format!("a <{}>", short(&tag.name))));
        }
    }

    fn is_in_table(&self) -> bool {
        self.blocks.iter().any(|it| it == "table")
    }

    /// Something is wrong for all marks of the page.
    fn is_wrong(&mut self, at: &str, flaw: Flaw) {
        if self.everywhere.is_none() {
            self.everywhere = Some((self.line_of(at), flaw));
        }
    }

    /// In what the next character is not drawn.
    fn undrawn(&self) -> Option<&str> {
        self.closed.last()?.undrawn.as_deref()
    }

    /// An element begins. What a browser takes no notice of keeps nothing apart.
    fn begins(&mut self, name: &str) {
        // Nor is a table that can't be kept as open.
        let is_of_table = match name {
            "table" => self.blocks.len() == MAX_BLOCKS,
            _ => is_in(&OF_TABLE, name) && !self.is_in_table(),
        };
        if !is_in(&APART, name) || is_of_table || self.undrawn().is_some() {
            return;
        }
        self.apart();
        if !is_in(&VOID, name) && self.blocks.len() < MAX_BLOCKS {
            self.blocks.push(name.to_owned());
        }
    }

    /// An element ends, if it is open. It is still the last of those that are [`Self::closed`].
    fn has_ended(&mut self, name: &str) {
        if !is_in(&APART, name) || self.undrawn().is_some() {
            return;
        }
        // Nothing in a cell ends what is around its table.
        let is_cell = |it: &String| ["table", "caption", "td", "th"].contains(&it.as_str());
        let from = match is_in(&OF_TABLE, name) || name == "table" {
            true => 0,
            false => self.blocks.iter().rposition(is_cell).map_or(0, |at| at + 1),
        };
        let open = self.blocks[from..].iter().rposition(|it| it == name);
        if let Some(at) = open {
            self.blocks.truncate(from + at);
        }
        // These are elements of their own where none is open.
        if open.is_some() || ["p", "br"].contains(&name) {
            self.apart();
        }
    }

    fn ends(&mut self, at: &str, tag: &Tag<'a>) -> Result<&'a str, Error> {
        if let Some(Open { name, .. }) = self.closed.last().filter(|it| it.name != tag.name) {
            let what = format!("there is a </{}> where <{name}> has to end", tag.name);
            return Err(self.unsure(at, &what));
        }
        if self.undrawn().is_none() {
            self.cells.end(&tag.name);
        }
        self.has_ended(&tag.name);
        if self.closed.pop().is_some_and(|it| it.is_folded) {
            self.has_ended(&tag.name);
        }
        Ok(tag.behind)
    }

    /// An element whose content is text.
    fn raw(&mut self, at: &str, tag: &Tag<'a>, is_foreign: bool) -> Result<&'a str, Error> {
        let name = tag.name.as_str();
        if is_foreign && tag.closes_itself {
            let what = format!("there is a <{name}/> in SVG or MathML");
            return Err(self.unsure(at, &what));
        }
        let ended = until_end(tag.behind, name).map_err(|what| self.unsure(at, what))?;
        let (content, behind) = ended;
        self.has_no_mark(at, &format!("<{name}>"), content)?;
        if is_foreign && content.contains('<') {
            let what = format!("there is a `<` in the <{name}> of an SVG or MathML");
            return Err(self.unsure(at, &what));
        }
        if name == "script" {
            if let Some(begin) = content.find("<!--")
                && place(&content[begin..], "<script").is_some()
            {
                return Err(self.unsure(at, "there are `<!--` and `<script` in a <script>"));
            }
            if tag.attribute("data-stencil-proof").is_some() {
                self.proves(at, tag, content)?;
            }
            return Ok(behind);
        }
        // A browser that takes the content for markup has to come out at the same place.
        let mut inner = content;
        while let Some(start) = inner.find('<') {
            inner = &inner[start..];
            inner = match Markup::read(inner).map_err(|what| self.unsure(at, what))? {
                Markup::Tag(tag) => tag.behind,
                Markup::Comment(_, behind) => behind,
                Markup::Text => &inner[1..],
            };
        }
        Ok(behind)
    }

    fn proves(&mut self, at: &str, tag: &Tag<'_>, content: &str) -> Result<(), Error> {
        if self.found.len() == MAX_PROOFS {
            return Err(Error::TooMany);
        }
        let id = tag.attribute("id").unwrap_or_default();
        let name = decoded(id).map_err(|reference| {
            let what = format!("a proof's name has the character reference {reference:?}");
            self.unsure(at, &what)
        })?;
        let document = read(Some(&name), content.as_bytes())?;
        self.found.push(Found {
            name,
            document,
            figures: Vec::new(),
            in_page: true,
        });
        Ok(())
    }

    /// A figure that is marked as proven.
    fn marks(&mut self, at: &str, tag: &Tag<'a>) -> Result<&'a str, Error> {
        let name = tag.attribute(MARK).unwrap_or_default();
        let flawed = |flaw| Error::Mark {
            line: self.line_of(at),
            mark: name.to_owned(),
            flaw,
        };
        let text_of = |text: &str| decoded(text).map_err(|it| flawed(Flaw::Reference(it)));
        if self.figures.len() == MAX_FIGURES {
            return Err(Error::TooManyFigures);
        }
        if let Some(outer) = self.undrawn() {
            return Err(flawed(Flaw::Inside(outer.to_owned())));
        }
        if !is_in(&SHOWN, &tag.name) {
            return Err(flawed(Flaw::Element(tag.name.clone())));
        }
        let mut marks = 0;
        for (key, _) in tag.attributes() {
            marks += usize::from(key == MARK);
            let is_known =
                ["class", "id", "lang", "value"].contains(&key) || key.starts_with("data-");
            if !is_known || marks > 1 {
                return Err(flawed(Flaw::Attribute(key.to_owned())));
            }
        }
        let of = text_of(name)?;
        let Some((content, behind)) = ends_with_text(tag) else {
            let rest = tag.behind.find('<').map_or("", |at| &tag.behind[at..]);
            let held = rest.split_inclusive('>').next().unwrap_or_default();
            return Err(flawed(Flaw::Content(short(held))));
        };
        let text = text_of(content)?;
        let value = tag.attribute("value").map(text_of).transpose()?;
        self.begins(&tag.name);
        // One of before goes on with this one.
        let before = self.before();
        self.says(tag.behind, content.len());
        self.closes();
        self.figures.push((
            of,
            Figure {
                text,
                value,
                before,
                behind: String::new(),
            },
        ));
        self.is_open = true;
        self.cells.end(&tag.name);
        self.has_ended(&tag.name);
        Ok(behind)
    }

    /// Nothing that may be taken for a mark is in what is no markup.
    fn has_no_mark(&self, at: &str, inside: &str, content: &str) -> Result<(), Error> {
        let begin = content.find('<').unwrap_or(content.len());
        let Some(at_mark) = place(&content[begin..], MARK) else {
            return Ok(());
        };
        let named = &content[begin + at_mark + MARK.len()..];
        let named = named.trim_start_matches(|c| is_space(c) || "='\"".contains(c));
        let named = named.split(|c| is_space(c) || "'\"<>".contains(c)).next();
        Err(Error::Mark {
            line: self.line_of(at),
            mark: short(named.unwrap_or_default()),
            flaw: Flaw::Inside(inside.to_owned()),
        })
    }

    /// In other encodings the same bytes are other characters, and other tags.
    fn has_our_letters(&self, at: &str, tag: &Tag<'_>) -> Result<(), Error> {
        let content = tag.attribute("content").unwrap_or_default();
        let within = content.to_ascii_lowercase();
        let within = within.split_once("charset").map(|(_, rest)| {
            let rest = rest.trim_start_matches(|c| is_space(c) || c == '=');
            let rest = rest.trim_matches(|c| is_space(c) || "\"';".contains(c));
            rest.to_owned()
        });
        let within = within.filter(|_| tag.attribute("http-equiv").is_some());
        let named = tag.attribute("charset").map(str::to_ascii_lowercase);
        for charset in [named, within].into_iter().flatten() {
            if !["utf-8", "utf8"].contains(&charset.trim_matches(is_space)) {
                let what = format!("it says that its encoding is {:?}", short(&charset));
                return Err(self.unsure(at, &what));
            }
        }
        Ok(())
    }

    fn is_foreign(&self) -> bool {
        self.closed
            .iter()
            .any(|it| it.name == "svg" || it.name == "math")
    }

    /// The line of text goes on, with so many bytes of what stands here.
    fn says(&mut self, at: &str, bytes: usize) {
        let text = &at[..bytes];
        if self.everywhere.is_none()
            && let Some(c) = beside::turned(&resolved(text).0)
        {
            let what = format!("the character U+{:04X}", u32::from(c));
            self.is_wrong(at, Flaw::Turned(what));
        }
        if self.undrawn().is_none() && self.cells.displace(text) {
            self.is_wrong(at, Flaw::Displaced("text".to_owned()));
        }
        // A space that may not be drawn is none.
        let drawn: String;
        let text = match self.undrawn() {
            None => text,
            Some(_) => {
                drawn = text.split(char::is_whitespace).collect();
                &drawn
            }
        };
        if self.is_open {
            let room = MAX_BEHIND.saturating_sub(self.behind().len());
            let said: String = text.chars().take(room).collect();
            if let Some((_, figure)) = self.figures.last_mut() {
                figure.behind.push_str(&said);
            }
        }
        // The longest reference has fewer bytes than are kept.
        let tail = |text: &str| text.ceil_char_boundary(text.len().saturating_sub(KEPT));
        if text.len() >= KEPT {
            self.line.clear();
        }
        self.line.push_str(&text[tail(text)..]);
        if self.line.len() > 8 * KEPT {
            self.line.drain(..tail(&self.line));
        }
    }

    /// What comes now does not touch what was before.
    fn apart(&mut self) {
        self.closes();
        self.line.clear();
    }

    /// What stands behind the last figure is complete.
    fn closes(&mut self) {
        if !std::mem::take(&mut self.is_open) {
            return;
        }
        if let Some((_, figure)) = self.figures.last_mut() {
            let word = figure.behind.split(is_space).next().unwrap_or_default();
            // What is not known may be a digit.
            let (word, _) = resolved(word);
            let word = word.split(beside::ends).next().unwrap_or_default();
            figure.behind = word.to_owned();
        }
    }

    fn behind(&self) -> &str {
        match self.figures.last() {
            Some((_, figure)) => &figure.behind,
            None => "",
        }
    }

    /// What the line ends with, from its last space on.
    fn before(&self) -> String {
        let kept = self
            .line
            .ceil_char_boundary(self.line.len().saturating_sub(KEPT));
        let word = self.line[kept..].rsplit(is_space).next();
        // A reference of which only the end is kept leaves its `;`, which nothing may stand behind.
        let (word, _) = resolved(word.unwrap_or_default());
        let word = word.rsplit(beside::ends).next().unwrap_or_default();
        word.to_owned()
    }

    fn line_of(&self, at: &str) -> usize {
        let before = &self.text.as_bytes()[..self.text.len() - at.len()];
        before.iter().filter(|byte| **byte == b'\n').count() + 1
    }

    fn unsure(&self, at: &str, what: &str) -> Error {
        Error::Unsure {
            line: self.line_of(at),
            what: short(what),
        }
    }
}

/// The text that an element holds alone, up to its own end tag, and what stands behind that.
fn ends_with_text<'a>(tag: &Tag<'a>) -> Option<(&'a str, &'a str)> {
    let (content, rest) = tag.behind.split_at(tag.behind.find('<')?);
    let (name, behind) = rest.strip_prefix("</")?.split_at_checked(tag.name.len())?;
    let behind = behind.trim_start_matches(is_space).strip_prefix('>')?;
    name.eq_ignore_ascii_case(&tag.name)
        .then_some((content, behind))
}

fn is_in(names: &[&str], name: &str) -> bool {
    names.contains(&name)
}

/// Where a text has these letters, large or small.
fn place(text: &str, letters: &str) -> Option<usize> {
    let mut windows = text.as_bytes().windows(letters.len());
    windows.position(|window| window.eq_ignore_ascii_case(letters.as_bytes()))
}
