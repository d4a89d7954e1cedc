//! Takes a template apart, and finds what is not allowed before the engine
//! sees it.

use super::Error;
use super::environment::{FILTERS, TESTS};

/// A piece of a template.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    Text(&'a str),
    Expression(&'a str),
}

/// Splits a template into text and what stands between `{{` and `}}`.
pub(super) fn split(source: &str) -> Result<Vec<Piece<'_>>, Error> {
    let mut pieces = Vec::new();
    let mut rest = source;
    while let Some(open) = rest.find('{') {
        let (text, from) = rest.split_at(open);
        if from.starts_with("{%") || from.starts_with("{#") {
            return Err(syntax(
                format!("`{}` begins a statement or comment", &from[..2]),
                "templates hold expressions only, for example {{ 'hot' if event.value > 30 else 'warm' }}",
            ));
        }
        let Some(inside) = from.strip_prefix("{{") else {
            // A single brace is text.
            let (brace, after) = rest.split_at(open + 1);
            push_text(&mut pieces, brace);
            rest = after;
            continue;
        };
        push_text(&mut pieces, text);
        let end = closing(inside)?;
        let expression = inside[..end].trim();
        if inside.starts_with('-') || inside.starts_with('+') || inside[..end].ends_with('-') {
            return Err(syntax(
                "`{{-` and `-}}` are not supported",
                "write `{{ … }}`",
            ));
        }
        if expression.is_empty() {
            return Err(syntax(
                "`{{ }}` is empty",
                "write an expression, for example {{ event.device }}",
            ));
        }
        check(expression)?;
        pieces.push(Piece::Expression(expression));
        rest = &inside[end + 2..];
    }
    push_text(&mut pieces, rest);
    Ok(pieces)
}

fn push_text<'a>(pieces: &mut Vec<Piece<'a>>, text: &'a str) {
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
}

fn syntax(what: impl Into<String>, right: impl Into<String>) -> Error {
    Error::Syntax {
        what: what.into(),
        right: right.into(),
    }
}

/// Where the `}}` is that closes an expression: outside of quotes and braces.
fn closing(inside: &str) -> Result<usize, Error> {
    let mut depth = 0_u32;
    let mut tokens = Tokens::new(inside);
    while let Some((at, token)) = tokens.next()? {
        match token {
            Token::Sign('{') => depth += 1,
            Token::Sign('}') if depth > 0 => depth -= 1,
            Token::Sign('}') if inside[at..].starts_with("}}") => return Ok(at),
            _ => {}
        }
    }
    Err(syntax("`{{` is not closed", "close it with `}}`"))
}

/// Refuses what could cost much (multiplied text), and unknown filters and
/// tests, which the engine would report only when they are used.
fn check(expression: &str) -> Result<(), Error> {
    let mut tokens = Tokens::new(expression);
    let mut before = None;
    while let Some((_, token)) = tokens.next()? {
        match (before, token) {
            (_, Token::Sign('*')) => {
                return Err(syntax(
                    format!("`{expression}` multiplies with `*`"),
                    "write `| times(…)`, which multiplies numbers",
                ));
            }
            (Some(Token::Sign('|')), Token::Word(name)) => known("filter", name, FILTERS)?,
            (Some(Token::Word("is" | "is not")), Token::Word("not")) => {
                before = Some(Token::Word("is not"));
                continue;
            }
            (Some(Token::Word("is" | "is not")), Token::Word(name)) => known("test", name, TESTS)?,
            // An attribute that is called `is`.
            (Some(Token::Sign('.')), Token::Word("is")) => {
                before = None;
                continue;
            }
            _ => {}
        }
        before = Some(token);
    }
    Ok(())
}

fn known(what: &str, name: &str, all: &[&str]) -> Result<(), Error> {
    if all.contains(&name) {
        return Ok(());
    }
    Err(syntax(
        format!("there is no {what} `{name}`"),
        format!("known: {}", all.join(", ")),
    ))
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Token<'a> {
    Word(&'a str),
    Sign(char),
    Quoted,
}

struct Tokens<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Tokens<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    fn next(&mut self) -> Result<Option<(usize, Token<'a>)>, Error> {
        let rest = &self.text[self.at..];
        let Some(skip) = rest.find(|c: char| !c.is_whitespace()) else {
            return Ok(None);
        };
        let (start, rest) = (self.at + skip, &rest[skip..]);
        let Some(first) = rest.chars().next() else {
            return Ok(None);
        };
        let (length, token) = match first {
            '"' | '\'' => (quoted(rest, first)?, Token::Quoted),
            c if c.is_alphanumeric() || c == '_' => {
                let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_'));
                let length = end.unwrap_or(rest.len());
                (length, Token::Word(&rest[..length]))
            }
            sign => (sign.len_utf8(), Token::Sign(sign)),
        };
        self.at = start + length;
        Ok(Some((start, token)))
    }
}

/// The length of a quoted text with both of its quotes.
fn quoted(rest: &str, quote: char) -> Result<usize, Error> {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return Ok(at + c.len_utf8()),
            _ => {}
        }
    }
    Err(syntax(
        format!("a text that begins with {quote} is not closed"),
        "close the quotes",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_expressions() {
        use Piece::{Expression, Text};
        for (source, pieces) in [
            ("", vec![]),
            ("plain", vec![Text("plain")]),
            ("{{ a }}", vec![Expression("a")]),
            (
                "x {{ a }} y{{b}}",
                vec![Text("x "), Expression("a"), Text(" y"), Expression("b")],
            ),
            ("{{ '}}' ~ a }}", vec![Expression("'}}' ~ a")]),
            (
                "{{ {'a': {'b': 1}}.a }}",
                vec![Expression("{'a': {'b': 1}}.a")],
            ),
            ("{ a }", vec![Text("{"), Text(" a }")]),
            ("{{ -a }}", vec![Expression("-a")]),
        ] {
            assert_eq!(split(source), Ok(pieces), "{source}");
        }
    }

    #[test]
    fn what_is_refused_and_why() {
        for (source, says) in [
            ("{{ a", "not closed"),
            ("{{ 'a }}", "begins with '"),
            ("{{ }}", "is empty"),
            ("{{- a }}", "not supported"),
            ("{% if a %}", "`{%` begins a statement"),
            ("{# a #}", "`{#` begins"),
            ("{{ 'a' * 99999999 }}", "`| times(…)`"),
            ("{{ a | frobnicate }}", "no filter `frobnicate`; known: abs"),
            ("{{ a is odd }}", "no test `odd`"),
            ("{{ a is not odd }}", "no test `odd`"),
        ] {
            let error = split(source).unwrap_err().to_string();
            assert!(error.contains(says), "{source}: {error}");
        }
        assert!(split("{{ 'a * b | c' }}").is_ok());
        assert!(split("{{ a is not defined or a | upper }}").is_ok());
    }
}
