//! YAML as a tree that knows where each of its nodes was written.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, Location, MergeKeyPolicy, Spanned};

use super::error::{Error, Place, shown};

/// How large a document may be.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// What it is called in messages: `the definition`.
    pub what: &'static str,
    /// The most bytes of it.
    pub max_bytes: usize,
    /// How deep it may be nested.
    pub max_depth: usize,
    /// The most parts of it: maps, lists, keys and values.
    pub max_nodes: usize,
}

/// One node, with its place.
#[derive(Debug, Clone)]
pub struct Node {
    /// Where it stands.
    pub at: Place,
    /// What it is.
    pub content: Content,
}

/// What a node is.
#[derive(Debug, Clone)]
pub enum Content {
    /// Nothing, or `null`.
    Null,
    /// `true` or `false`; `yes` and `no` are texts.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Another number.
    Number(f64),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A map, in the order in which it was written.
    Map(Vec<(Key, Node)>),
}

/// A key of a map, with its place.
#[derive(Debug, Clone)]
pub struct Key {
    /// Where it stands.
    pub at: Place,
    /// The key.
    pub name: String,
}

/// Reads YAML 1.2. `on` is a key like any other, anchors and merge keys are
/// refused (a document says what it means), duplicate keys too.
///
/// # Errors
/// The place at which it is no such document, or is beyond `limits`.
pub fn read(yaml: &str, limits: &Limits) -> Result<Node, Error> {
    let Limits {
        what: name,
        max_bytes,
        max_depth,
        max_nodes,
    } = *limits;
    if yaml.len() > max_bytes {
        return Err(Error::new(
            Place { line: 1, column: 1 },
            format!("{name} has {} bytes", yaml.len()),
            format!("at most {max_bytes} are allowed"),
        ));
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: max_depth,
            max_nodes: max_nodes,
            max_events: max_nodes.saturating_mul(3),
            max_documents: 1,
            max_aliases: 0,
            max_anchors: 0,
            max_merge_keys: 0,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        merge_keys: MergeKeyPolicy::Error,
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(yaml, options).map_err(|error| {
        let at = error.location().map(place).unwrap_or_default();
        if let serde_saphyr::Error::NonFiniteFloat { .. } = error.without_snippet() {
            let what = "a number is larger than one can be, or none";
            return Error::new(at, what, "write one of 64 bits: from -1.7e308 to 1.7e308");
        }
        Error::new(at, what(&error, limits), "write plain YAML 1.2: maps, lists, text and numbers, without anchors, merge keys or tags")
    })
}

impl Node {
    /// What it is, for messages.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self.content {
            Content::Null => "nothing",
            Content::Bool(_) => "true or false",
            Content::Integer(_) | Content::Number(_) => "a number",
            Content::Text(_) => "text",
            Content::List(_) => "a list",
            Content::Map(_) => "a map",
        }
    }
}

fn place(location: Location) -> Place {
    Place {
        line: location.line(),
        column: location.column(),
    }
}

/// What is wrong in an author's terms: a parser's speak of its events and states.
fn what(error: &serde_saphyr::Error, limits: &Limits) -> String {
    use serde_saphyr::Error as E;
    use serde_saphyr::budget::BudgetBreach as Breach;
    let why = match error.without_snippet() {
        E::DuplicateMappingKey { key, .. } => match key {
            Some(key) => format!("the key {} is there twice", shown(key)),
            None => "a key is there twice".to_owned(),
        },
        E::Eof { .. } => "it is empty, or it ends too early".to_owned(),
        E::MultipleDocuments { .. } => "there is more than one document in it".to_owned(),
        E::UnknownAnchor { .. } | E::MergeKeyNotAllowed { .. } => REFERS.to_owned(),
        E::Budget { breach, .. } => match breach {
            Breach::Depth { .. } => format!("it is nested more than {} deep", limits.max_depth),
            Breach::Documents { .. } => "there is more than one document in it".to_owned(),
            Breach::Anchors { .. } | Breach::Aliases { .. } | Breach::MergeKeys { .. } => {
                REFERS.to_owned()
            }
            _ => format!("it has more than {} parts", limits.max_nodes),
        },
        // What `Content` says of itself.
        other if other.to_string().contains(TOO_LARGE) => TOO_LARGE.to_owned(),
        other if says(other, &["unclosed", "unterminated", "end of stream"]) => {
            "a bracket or a quote is not closed".to_owned()
        }
        other if says(other, &["tag"]) => "a tag is in it, as in `!name`".to_owned(),
        _ => "look at the indentation, the quotes and the brackets, here and in the line before"
            .to_owned(),
    };
    format!("this is not a YAML document that can be read: {why}")
}

/// Whether the parser says one of these; its kinds of errors do not tell them apart.
fn says(error: &serde_saphyr::Error, words: &[&str]) -> bool {
    let text = error.to_string().to_lowercase();
    words.iter().any(|word| text.contains(word))
}

const REFERS: &str = "an anchor, an alias or a merge key is in it";
const TOO_LARGE: &str = "the number is larger than 9223372036854775807";

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Content>::deserialize(deserializer)?;
        Ok(Self {
            at: place(spanned.referenced),
            content: spanned.value,
        })
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<String>::deserialize(deserializer)?;
        Ok(Self {
            at: place(spanned.referenced),
            name: spanned.value,
        })
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map, a list, text, a number, true, false or nothing")
    }

    fn visit_unit<E>(self) -> Result<Content, E> {
        Ok(Content::Null)
    }

    fn visit_none<E>(self) -> Result<Content, E> {
        Ok(Content::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Content, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, bit: bool) -> Result<Content, E> {
        Ok(Content::Bool(bit))
    }

    fn visit_i64<E>(self, integer: i64) -> Result<Content, E> {
        Ok(Content::Integer(integer))
    }

    fn visit_u64<E: de::Error>(self, integer: u64) -> Result<Content, E> {
        match i64::try_from(integer) {
            Ok(integer) => Ok(Content::Integer(integer)),
            Err(_) => Err(E::custom(TOO_LARGE)),
        }
    }

    fn visit_f64<E>(self, number: f64) -> Result<Content, E> {
        Ok(Content::Number(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Content, E> {
        Ok(Content::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Content, E> {
        Ok(Content::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Content, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Content::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Content, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Content::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_BYTES: usize = 64 * 1024;
    const MAX_NODES: usize = 4_096;
    const LIMITS: Limits = Limits {
        what: "the definition",
        max_bytes: MAX_BYTES,
        max_depth: 16,
        max_nodes: MAX_NODES,
    };

    fn read(yaml: &str) -> Result<Node, Error> {
        super::read(yaml, &LIMITS)
    }

    fn entries(node: &Node) -> &[(Key, Node)] {
        match &node.content {
            Content::Map(entries) => entries,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn nodes_and_keys_know_where_they_are() {
        let node =
            read("id: a\non: { telemetry: {x: [1, -2.5, yes]} }\nsteps:\n  - id: b\n").unwrap();
        let top = entries(&node);
        let places: Vec<_> = top
            .iter()
            .map(|(key, value)| {
                (
                    key.name.as_str(),
                    key.at.line,
                    key.at.column,
                    value.at.column,
                )
            })
            .collect();
        assert_eq!(
            places,
            [("id", 1, 1, 5), ("on", 2, 1, 5), ("steps", 3, 1, 3)]
        );
        let (key, telemetry) = &entries(&top[1].1)[0];
        assert_eq!(
            (key.name.as_str(), key.at.line, key.at.column),
            ("telemetry", 2, 7)
        );
        let Content::List(items) = &entries(telemetry)[0].1.content else {
            panic!()
        };
        assert!(matches!(items[0].content, Content::Integer(1)));
        assert!(matches!(items[1].content, Content::Number(_)));
        assert!(matches!(&items[2].content, Content::Text(yes) if yes == "yes"));
    }

    #[test]
    fn what_cannot_be_read_says_where() {
        for (yaml, line, says) in [
            ("a: 1\na: 2\n", 2, "twice"),
            ("a: &x 1\nb: *x\n", 1, "anchor"),
            ("a: [1,\n", 1, "not closed"),
            ("a: !thing 1\n", 1, "tag"),
            ("<<: {a: 1}\n", 1, "merge"),
            ("a: 1\n---\nb: 2\n", 2, ""),
            ("a: .nan\n", 1, ""),
        ] {
            let error = read(yaml).unwrap_err();
            assert_eq!(error.at.line, line, "{yaml:?}: {error}");
            assert!(
                error.what.to_lowercase().contains(says),
                "{yaml:?}: {error}"
            );
        }
        let deep = "[".repeat(40) + &"]".repeat(40);
        assert!(read(&deep).is_err());
        assert!(
            read(&"a".repeat(MAX_BYTES + 1))
                .unwrap_err()
                .what
                .contains("65537 bytes")
        );
        assert!(read(&"- 1\n".repeat(MAX_NODES)).is_err());
    }
}
