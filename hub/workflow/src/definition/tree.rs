//! YAML as a tree that knows where each of its nodes was written.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, Location, MergeKeyPolicy, Spanned};

use super::error::{Error, Place, shown};

/// The most bytes of a definition.
pub const MAX_BYTES: usize = 64 * 1024;

const MAX_DEPTH: usize = 16;
const MAX_NODES: usize = 4_096;

/// One node, with its place.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) at: Place,
    pub(crate) content: Content,
}

/// What a node is.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    Null,
    Bool(bool),
    Integer(i64),
    Number(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A key of a map, with its place.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) at: Place,
    pub(crate) name: String,
}

/// Reads YAML 1.2. `on` is a key like any other, anchors and merge keys are
/// refused (a definition says what it means), duplicate keys too.
pub(crate) fn read(yaml: &str) -> Result<Node, Error> {
    if yaml.len() > MAX_BYTES {
        return Err(Error::new(
            Place { line: 1, column: 1 },
            format!("the definition has {} bytes", yaml.len()),
            format!("at most {MAX_BYTES} are allowed"),
        ));
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_events: MAX_NODES * 3,
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
        Error::new(at, what(&error), "write plain YAML 1.2: maps, lists, text and numbers, without anchors, merge keys or tags")
    })
}

impl Node {
    /// What it is, for messages.
    pub(crate) const fn kind(&self) -> &'static str {
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
fn what(error: &serde_saphyr::Error) -> String {
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
            Breach::Depth { .. } => format!("it is nested more than {MAX_DEPTH} deep"),
            Breach::Documents { .. } => "there is more than one document in it".to_owned(),
            Breach::Anchors { .. } | Breach::Aliases { .. } | Breach::MergeKeys { .. } => {
                REFERS.to_owned()
            }
            _ => format!("it has more than {MAX_NODES} parts"),
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
