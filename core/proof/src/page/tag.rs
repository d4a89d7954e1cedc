//! Tags, comments and character references, as browsers read them (HTML, section 13.2.5). No character
//! is looked at twice, however many tags there are and wherever they end.

use super::beside::UNKNOWN;

/// The most attributes of a tag.
const MAX_ATTRIBUTES: usize = 1_024;

/// What stands at a `<`, with what stands behind it.
pub(super) enum Markup<'a> {
    /// A start or an end tag.
    Tag(Tag<'a>),
    /// A comment, or what is taken for one.
    Comment(&'a str, &'a str),
    /// Nothing but a character.
    Text,
}

/// A start or an end tag.
pub(super) struct Tag<'a> {
    /// In lower case.
    pub(super) name: String,
    /// Whether it is an end tag.
    pub(super) is_end: bool,
    /// Whether it has a `/` at its end, which only counts in SVG and MathML.
    pub(super) closes_itself: bool,
    attributes: Vec<(String, &'a str)>,
    pub(super) behind: &'a str,
}

/// Why what stands at a `<` is not certain.
pub(super) type Unsure = &'static str;

pub(super) fn is_space(c: char) -> bool {
    c.is_ascii_whitespace()
}

impl<'a> Markup<'a> {
    /// Reads what stands at the beginning of a text, a `<`.
    pub(super) fn read(text: &'a str) -> Result<Self, Unsure> {
        let inner = text.strip_prefix('<').unwrap_or(text);
        let is_name = |text: &str| text.starts_with(|c: char| c.is_ascii_alphabetic());
        if is_name(inner) {
            return Tag::read(inner, false).map(Self::Tag);
        }
        if let Some(end) = inner.strip_prefix('/')
            && is_name(end)
        {
            return Tag::read(end, true).map(Self::Tag);
        }
        if let Some(comment) = inner.strip_prefix("!--") {
            let (content, behind) = comment_end(comment).ok_or("a comment has no end")?;
            return Ok(Self::Comment(content, behind));
        }
        if inner.starts_with("![CDATA[") {
            return Err("there is CDATA, which is text in some places and a comment in others");
        }
        if inner.starts_with(['!', '?', '/']) {
            let (content, behind) = inner.split_once('>').ok_or("a `<` has no end")?;
            return Ok(Self::Comment(content, behind));
        }
        Ok(Self::Text)
    }
}

/// What is in a comment, and what stands behind it, given what stands behind its `<!--`.
fn comment_end(text: &str) -> Option<(&str, &str)> {
    // An empty one.
    if let Some(behind) = text.strip_prefix('>').or_else(|| text.strip_prefix("->")) {
        return Some(("", behind));
    }
    let mut from = 0;
    loop {
        let at = text[from..].find("--")? + from;
        let rest = &text[at + 2..];
        if let Some(behind) = rest.strip_prefix('>').or_else(|| rest.strip_prefix("!>")) {
            return Some((&text[..at], behind));
        }
        from = at + 1;
    }
}

impl<'a> Tag<'a> {
    fn read(text: &'a str, is_end: bool) -> Result<Self, Unsure> {
        Self::parts(text, is_end).ok_or("a tag has no end, or more than 1024 attributes")
    }

    fn parts(text: &'a str, is_end: bool) -> Option<Self> {
        let (name, mut rest) = text.split_at(text.find(|c| is_space(c) || "/>".contains(c))?);
        let mut attributes = Vec::new();
        loop {
            let trimmed = rest.trim_start_matches(|c| is_space(c) || c == '/');
            let closes_itself = rest[..rest.len() - trimmed.len()].ends_with('/');
            rest = trimmed;
            if let Some(behind) = rest.strip_prefix('>') {
                return Some(Self {
                    name: name.to_ascii_lowercase(),
                    is_end,
                    closes_itself,
                    attributes,
                    behind,
                });
            }
            // A `=` at its beginning is a part of the name.
            let first = rest.chars().next()?.len_utf8();
            let end = rest[first..].find(|c| is_space(c) || "=/>".contains(c))? + first;
            let (key, after) = rest.split_at(end);
            rest = after;
            let mut value = "";
            let given = after.trim_start_matches(is_space);
            if let Some(given) = given.strip_prefix('=') {
                let given = given.trim_start_matches(is_space);
                (value, rest) = match given.chars().next()? {
                    quote @ ('"' | '\'') => given[1..].split_once(quote)?,
                    _ => given.split_at(given.find(|c| is_space(c) || c == '>')?),
                };
            }
            if attributes.len() == MAX_ATTRIBUTES {
                return None;
            }
            attributes.push((key.to_ascii_lowercase(), value));
        }
    }

    /// All of them, as they stand there.
    pub(super) fn attributes(&self) -> impl Iterator<Item = (&str, &'a str)> {
        let all = self.attributes.iter();
        all.map(|(key, value)| (key.as_str(), *value))
    }

    /// The first of this name, which is the one that counts.
    pub(super) fn attribute(&self, name: &str) -> Option<&'a str> {
        self.attributes()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    }
}

/// What stands before the next end tag of this name, and what behind that.
pub(super) fn until_end<'a>(text: &'a str, name: &str) -> Result<(&'a str, &'a str), Unsure> {
    let mut from = 0;
    while let Some(at) = text[from..].find("</").map(|at| at + from) {
        let behind = &text[at + 2..];
        let is_it = behind
            .get(..name.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(name));
        // The name may go on.
        if is_it && behind[name.len()..].starts_with(|c| is_space(c) || "/>".contains(c)) {
            return Tag::read(behind, true).map(|tag| (&text[..at], tag.behind));
        }
        from = at + 2;
    }
    Err("an element whose content is no markup has no end")
}

/// Text with its character references resolved; of one that is not known, it.
pub(super) fn decoded(text: &str) -> Result<String, String> {
    match resolved(text) {
        (text, None) => Ok(text),
        (_, Some(unknown)) => Err(unknown),
    }
}

/// Text with its character references resolved, in place of those that are not known [`UNKNOWN`], and the
/// first of these.
pub(super) fn resolved(text: &str) -> (String, Option<String>) {
    let (mut out, mut unknown) = (String::with_capacity(text.len()), None);
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        // Those without a `;` at their end are known to browsers, and not here.
        let end = rest.find(|c| !is_of_reference(c)).unwrap_or(rest.len());
        let (name, behind) = rest.split_at(end);
        match behind.strip_prefix(';').zip(reference(name)) {
            Some((behind, character)) => {
                out.push(character);
                rest = behind;
            }
            None if name.is_empty() => out.push('&'),
            None => {
                out.push(UNKNOWN);
                unknown.get_or_insert_with(|| format!("&{name}"));
                rest = behind.strip_prefix(';').unwrap_or(behind);
            }
        }
    }
    out.push_str(rest);
    (out, unknown)
}

/// Whether a reference may have this character between its `&` and its `;`.
fn is_of_reference(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '#'
}

/// The references that stand in figures, units and names.
fn reference(name: &str) -> Option<char> {
    if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(digits) => u32::from_str_radix(digits, 16).ok()?,
            None => number.parse().ok()?,
        };
        // Browsers take those of C1 for others.
        return char::from_u32(code).filter(|c| !c.is_control());
    }
    Some(match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => '\u{a0}',
        "thinsp" => '\u{2009}',
        "deg" => '°',
        "minus" => '\u{2212}',
        "plusmn" => '±',
        "micro" => 'µ',
        "middot" => '·',
        "sup2" => '²',
        "sup3" => '³',
        "permil" => '‰',
        _ => return None,
    })
}
