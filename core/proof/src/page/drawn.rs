//! Which elements a browser draws, by their names and attributes alone.

use super::tag::Tag;
use crate::document::short;

/// Elements whose content is not drawn or not always, or is something else than HTML. Inside of them every
/// element has to have its end, so that it is certain where they end.
pub(super) const CLOSED: [&str; 18] = [
    "svg",
    "math",
    "template",
    "select",
    "datalist",
    // Outside of these a browser may draw what their attribute `label` says.
    "option",
    "optgroup",
    "canvas",
    "audio",
    "video",
    "object",
    "model",
    "fencedframe",
    "progress",
    "meter",
    "rp",
    "dialog",
    "marquee",
];
/// Attributes by which an element, and what is in it, is not drawn.
const HIDING: [&str; 2] = ["hidden", "popover"];
/// Elements that a browser may open once more behind their end, with their attributes.
pub(super) const REOPENED: [&str; 14] = [
    "a", "b", "big", "code", "em", "font", "i", "nobr", "s", "small", "strike", "strong", "tt", "u",
];

/// An open element, in what is not drawn or is that.
pub(super) struct Open {
    pub(super) name: String,
    /// In what its content is not drawn: itself, or one around it.
    pub(super) undrawn: Option<String>,
    /// Whether it is a `<details>` that is drawn, and not open.
    pub(super) is_folded: bool,
    /// Whether it is that, and has had no `<summary>` yet.
    pub(super) waits: bool,
}

/// How an element is told that is not drawn by its attributes.
pub(super) fn hidden(tag: &Tag<'_>) -> Option<String> {
    match hiding(tag) {
        Some(by) => Some(format!("<{} {by}>", short(&tag.name))),
        None if is_shut(tag) && tag.attribute("open").is_some() => {
            Some("<details name>, of which one alone stays open".to_owned())
        }
        None => is_shut(tag).then(|| "<details> that is not open".to_owned()),
    }
}

pub(super) fn hiding(tag: &Tag<'_>) -> Option<&'static str> {
    HIDING.into_iter().find(|it| tag.attribute(it).is_some())
}

/// Whether it is a `<details>` that shows its `<summary>` alone. Of those with one name a browser leaves one
/// open.
pub(super) fn is_shut(tag: &Tag<'_>) -> bool {
    let is_open = tag.attribute("open").is_some() && tag.attribute("name").is_none();
    tag.name == "details" && !is_open
}
