//! YAML with places, in an operator's terms.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_saphyr::{DuplicateKeyPolicy, MergeKeyPolicy, Spanned};
use stencil_protocol::desired::{Flaw, Section};

const MAX_DEPTH: usize = 32;
const MAX_NODES: usize = 100_000;

/// The settings as they are written: groups of names and values.
pub(crate) type Tree = BTreeMap<Key, Option<BTreeMap<Key, Spanned<Scalar>>>>;

/// A key with its place; equal to another by its name.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub(crate) struct Key(pub(crate) Spanned<String>);

/// A value.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum Scalar {
    Number(u64),
    Text(String),
    Other(serde::de::IgnoredAny),
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.0.value == other.0.value
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.value.cmp(&other.0.value)
    }
}

/// Reads YAML 1.2 without anchors and merge keys: what is written once is meant once.
pub(crate) fn read<T: DeserializeOwned>(section: Section, text: &str) -> Result<T, Flaw> {
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
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let (line, column) = error
            .location()
            .map_or((1, 1), |at| (at.line(), at.column()));
        Flaw::new(Some(section), line, column, what(&error))
    })
}

fn what(error: &serde_saphyr::Error) -> String {
    use serde_saphyr::Error as E;
    use serde_saphyr::budget::BudgetBreach as Breach;
    const REFERS: &str =
        "an anchor, an alias or a merge key is in it; write each value where it counts";
    match error.without_snippet() {
        E::DuplicateMappingKey { key, .. } => match key {
            Some(key) => {
                let key: String = key.chars().take(64).collect();
                format!("the key `{key}` is there twice; leave one of them out")
            }
            None => "a key is there twice; leave one of them out".to_owned(),
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
        _ => "it is not the YAML that is expected here: groups of names and values in plain YAML \
              1.2; look at the indentation, the quotes and the brackets, here and in the line before"
            .to_owned(),
    }
}
