//! Pages of lists.

use serde::Serialize;

/// The most items that any list answers at once; a larger `limit` is cut to it.
pub const MAX_PAGE: u32 = 1_000;

/// A part of a list, and where to go on.
///
/// Serializes as `{ "items": [...], "next": null | "cursor" }`. The cursor is
/// opaque: hand it back as `after` to the same list.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Page<T> {
    /// The items, in the order of the list.
    pub items: Vec<T>,
    /// The cursor of the next page; `None` at the end.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// Makes a page of at most `limit` of `items`, which hold one item more than
    /// `limit` if there is a next page. `cursor` names an item.
    pub(crate) fn cut(mut items: Vec<T>, limit: u32, cursor: impl Fn(&T) -> String) -> Self {
        let limit = clamp(limit) as usize;
        let more = items.len() > limit;
        items.truncate(limit);
        let next = if more { items.last().map(cursor) } else { None };
        Self { items, next }
    }

    /// The same page with each item changed.
    pub fn map<U>(self, change: impl FnMut(T) -> U) -> Page<U> {
        Page {
            items: self.items.into_iter().map(change).collect(),
            next: self.next,
        }
    }
}

/// The limit that a list really applies.
pub(crate) fn clamp(limit: u32) -> u32 {
    limit.clamp(1, MAX_PAGE)
}
