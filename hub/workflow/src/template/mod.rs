//! Text with expressions: `Freezer {{ event.device }} is warm`.
//!
//! The expressions are Jinja's (minijinja): attributes, arithmetic,
//! comparison, `a if b else c`, and the filters in [`FILTERS`]. There are no
//! statements (`{% %}`), no functions and no multiplication of text, so that
//! the cost of a template is bounded by its length: [`MAX_SOURCE`] bytes,
//! [`MAX_FUEL`] instructions an expression, [`MAX_OUTPUT`] bytes out. A name
//! that is not defined is an error, never an empty text.
//!
//! A template that is one expression and nothing else keeps the type of its
//! value: `"{{ event.value }}"` is a number.

mod environment;
mod scan;

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};

use minijinja::Expression;
use minijinja::value::ValueKind;
use serde_json::Value;

pub use environment::{FILTERS, TESTS};

/// The most bytes of a template's text.
pub const MAX_SOURCE: usize = 2_048;

/// The most bytes that a template may render to.
pub const MAX_OUTPUT: usize = 64 * 1024;

/// The most instructions that an expression may take.
pub const MAX_FUEL: u64 = 5_000;

/// Why a template cannot be read or rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The template's text is wrong.
    #[error("{what}; {right}")]
    Syntax {
        /// What is wrong.
        what: String,
        /// What would be right.
        right: String,
    },
    /// An expression names something that there is not.
    #[error("`{expression}` is not defined")]
    Undefined {
        /// The expression.
        expression: String,
    },
    /// An expression failed.
    #[error("`{expression}` failed: {why}")]
    Failed {
        /// The expression.
        expression: String,
        /// The engine's words.
        why: String,
    },
    /// It renders to more than [`MAX_OUTPUT`] bytes.
    #[error("`{template}` renders to more than {MAX_OUTPUT} bytes")]
    TooLong {
        /// The template's text, or its beginning.
        template: String,
    },
}

/// What templates can see: `event`, and `steps` by their ids.
#[derive(Debug, Clone)]
pub struct Scope(minijinja::Value);

impl Scope {
    /// A scope of an event and the outputs of the steps that are done, each
    /// as `(id, output)`.
    pub fn new<'a>(event: &Value, steps: impl IntoIterator<Item = (&'a str, &'a Value)>) -> Self {
        let steps: serde_json::Map<String, Value> = steps
            .into_iter()
            .map(|(id, output)| (id.to_owned(), output.clone()))
            .collect();
        Self(minijinja::context! {
            event => minijinja::value::Serde(event),
            steps => minijinja::value::Serde(steps),
        })
    }
}

/// A template, checked and compiled.
pub struct Template {
    source: String,
    pieces: Vec<Piece>,
}

enum Piece {
    Text(String),
    Expression {
        source: String,
        compiled: Expression<'static, 'static>,
    },
}

impl Template {
    /// Reads and compiles a template.
    ///
    /// # Errors
    /// [`Error::Syntax`].
    pub fn parse(source: &str) -> Result<Self, Error> {
        if source.len() > MAX_SOURCE {
            return Err(Error::Syntax {
                what: format!("the template has {} bytes", source.len()),
                right: format!("at most {MAX_SOURCE} are allowed"),
            });
        }
        let pieces = scan::split(source)?
            .into_iter()
            .map(|piece| match piece {
                scan::Piece::Text(text) => Ok(Piece::Text(text.to_owned())),
                scan::Piece::Expression(source) => {
                    let compiled = environment::compile(source)?;
                    Ok(Piece::Expression {
                        source: source.to_owned(),
                        compiled,
                    })
                }
            })
            .collect::<Result<_, Error>>()?;
        Ok(Self {
            source: source.to_owned(),
            pieces,
        })
    }

    /// As it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The text, if there is no expression in it.
    pub fn literal(&self) -> Option<&str> {
        let plain = self
            .pieces
            .iter()
            .all(|piece| matches!(piece, Piece::Text(_)));
        plain.then_some(&self.source)
    }

    /// The names that its expressions use, with dots: `event.device`.
    pub fn names(&self) -> BTreeSet<String> {
        let expressions = self.pieces.iter().filter_map(|piece| match piece {
            Piece::Text(_) => None,
            Piece::Expression { compiled, .. } => Some(compiled.undeclared_variables(true)),
        });
        expressions.flatten().collect()
    }

    /// Renders to text.
    ///
    /// # Errors
    /// All but [`Error::Syntax`].
    pub fn text(&self, scope: &Scope) -> Result<String, Error> {
        self.render(scope, |out, value| write!(out, "{value}"))
    }

    /// Renders to HTML: the template's own text stays as it is, and what its
    /// expressions give is shown as text, whatever a device has put into it.
    ///
    /// # Errors
    /// All but [`Error::Syntax`].
    pub fn html(&self, scope: &Scope) -> Result<String, Error> {
        self.render(scope, |out, value| write!(Escaping(out), "{value}"))
    }

    fn render(
        &self,
        scope: &Scope,
        show: impl Fn(&mut Bounded, &minijinja::Value) -> fmt::Result,
    ) -> Result<String, Error> {
        let mut out = Bounded(String::new());
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.write_str(text),
                Piece::Expression { source, compiled } => {
                    let value = environment::evaluate(source, compiled, &scope.0)?;
                    show(&mut out, &value)
                }
            }
            .map_err(|_| self.too_long())?;
        }
        Ok(out.0)
    }

    /// Renders to JSON: the value of a lone expression, else text.
    ///
    /// # Errors
    /// All but [`Error::Syntax`].
    pub fn value(&self, scope: &Scope) -> Result<Value, Error> {
        let [Piece::Expression { source, compiled }] = self.pieces.as_slice() else {
            return self.text(scope).map(Value::String);
        };
        let value = environment::evaluate(source, compiled, &scope.0)?;
        write!(Bounded(String::new()), "{value}").map_err(|_| self.too_long())?;
        let failed = |why: String| Error::Failed {
            expression: source.clone(),
            why,
        };
        let infinite = f64::try_from(value.clone()).is_ok_and(|number| !number.is_finite());
        if value.kind() == ValueKind::Number && infinite {
            return Err(failed("the result is not a finite number".to_owned()));
        }
        serde_json::to_value(&value).map_err(|error| failed(error.to_string()))
    }

    fn too_long(&self) -> Error {
        Error::TooLong {
            template: self.source.chars().take(60).collect(),
        }
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.source, f)
    }
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

/// Text that stops growing at [`MAX_OUTPUT`].
struct Bounded(String);

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > MAX_OUTPUT {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

/// Writes what HTML would take as markup as text.
struct Escaping<'a>(&'a mut Bounded);

impl fmt::Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for piece in text.split_inclusive(['&', '<', '>', '"', '\'']) {
            let plain = piece.trim_end_matches(['&', '<', '>', '"', '\'']);
            self.0.write_str(plain)?;
            self.0.write_str(match &piece[plain.len()..] {
                "&" => "&amp;",
                "<" => "&lt;",
                ">" => "&gt;",
                "\"" => "&quot;",
                "'" => "&#39;",
                _ => "",
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn scope() -> Scope {
        let event = json!({ "device": "freezer-07", "value": -11.5, "seq": 7, "open": true, "unit": null,
            "time_us": 1_385_999_700_000_000_i64 });
        Scope::new(&event, [("notice", &json!({ "version": 3 }))])
    }

    fn value(source: &str) -> Result<Value, Error> {
        Template::parse(source)?.value(&scope())
    }

    #[test]
    fn a_lone_expression_keeps_its_type() {
        assert_eq!(value("{{ event.value }}"), Ok(json!(-11.5)));
        assert_eq!(value("{{ event.seq + 1 }}"), Ok(json!(8)));
        assert_eq!(value("{{ event.open }}"), Ok(json!(true)));
        assert_eq!(value("{{ event.unit }}"), Ok(Value::Null));
        assert_eq!(value("{{ steps.notice }}"), Ok(json!({ "version": 3 })));
        assert_eq!(value(" {{ event.value }}"), Ok(json!(" -11.5")));
        assert_eq!(value("plain"), Ok(json!("plain")));
    }

    #[test]
    fn expressions_inside_of_text() {
        assert_eq!(
            value("lock-{{ event.device | replace('freezer-', '') }}"),
            Ok(json!("lock-07"))
        );
        assert_eq!(
            value("{{ 'hot' if event.value > 0 else 'cold' }}!"),
            Ok(json!("cold!"))
        );
        assert_eq!(value("v{{ steps.notice.version }}"), Ok(json!("v3")));
        assert_eq!(
            value("{{ event.value | times(1.8) + 32 }}"),
            Ok(json!(11.3))
        );
        assert_eq!(
            value("at {{ event.time_us | datetime }}"),
            Ok(json!("at 2013-12-02T15:55:00Z"))
        );
        assert_eq!(value("{{ event.place | default('?') }}"), Ok(json!("?")));
    }

    #[test]
    fn html_shows_what_expressions_give_as_text() {
        let event = json!({ "device": "<b>\"a\" & 'b'</b>" });
        let template = Template::parse("<p>{{ event.device }} &amp; more</p>").unwrap();
        assert_eq!(
            template.html(&Scope::new(&event, [])).unwrap(),
            "<p>&lt;b&gt;&quot;a&quot; &amp; &#39;b&#39;&lt;/b&gt; &amp; more</p>"
        );
    }

    #[test]
    fn what_is_not_defined_is_an_error() {
        for source in [
            "{{ event.nothing }}",
            "x{{ event.nothing }}",
            "{{ event.a.b }}",
            "{{ nothing }}",
        ] {
            assert!(
                matches!(value(source), Err(Error::Undefined { .. })),
                "{source}"
            );
        }
    }

    #[test]
    fn costs_are_bounded() {
        let long = format!("{{{{ '{}' }}}}", "a".repeat(MAX_SOURCE));
        assert!(matches!(Template::parse(&long), Err(Error::Syntax { .. })));

        let fuel = format!("{{{{ {} }}}}", vec!["1"; 900].join("+event.seq+"));
        assert!(
            Template::parse(&fuel).is_err(),
            "longer than a template may be"
        );

        let big = json!({ "text": "a".repeat(MAX_OUTPUT) });
        let scope = Scope::new(&big, []);
        for source in [
            "{{ event.text }}b",
            "{{ event.text ~ 'b' }}",
            "{{ [event.text, 1] }}",
        ] {
            let template = Template::parse(source).unwrap();
            assert!(
                matches!(template.value(&scope), Err(Error::TooLong { .. })),
                "{source}"
            );
        }
        assert!(
            Template::parse("{{ event.text | replace('a', 'bb') }}")
                .unwrap()
                .text(&scope)
                .is_err()
        );
        let nested = format!("{{{{ {}1{} }}}}", "(".repeat(500), ")".repeat(500));
        assert!(matches!(
            Template::parse(&nested),
            Err(Error::Syntax { .. })
        ));
    }

    #[test]
    fn numbers_that_json_cannot_hold_are_errors() {
        assert!(matches!(value("{{ 1 / 0 }}"), Err(Error::Failed { .. })));
        assert!(matches!(
            value("{{ 1e308 | times(10) }}"),
            Err(Error::Failed { .. })
        ));
    }

    #[test]
    fn names_are_found_with_their_dots() {
        let template =
            Template::parse("{{ event.device }} {{ steps.a.b or event['value'] }}").unwrap();
        let names: Vec<String> = template.names().into_iter().collect();
        assert_eq!(names, ["event", "event.device", "steps.a.b"]);
    }
}
