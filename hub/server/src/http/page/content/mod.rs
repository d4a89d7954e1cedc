//! What workflows publish: collections, their entries, an entry's versions.

mod entry;
mod list;

pub(in crate::http) use entry::show as entry;
pub(in crate::http) use list::show as list;

use maud::{Markup, html};
use serde_json::Value;
use stencil_store::Entry;

use super::badge;

/// How far an entry came: draft, published, or both.
fn state(entry: &Entry) -> Markup {
    match entry.published_version {
        None => badge("warn", "draft"),
        Some(version) if version == entry.newest.version => badge("good", "published"),
        Some(version) => html! {
            (badge("good", &format!("version {version} published")))
            " " (badge("warn", &format!("version {} is a draft", entry.newest.version)))
        },
    }
}

/// A field's value as text: texts as they are, the rest as JSON.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => serde_json::to_string_pretty(other).unwrap_or_default(),
    }
}
