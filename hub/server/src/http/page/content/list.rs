//! `/content`: the collections, and the entries of one.

use axum::extract::State as Shared;
use axum::response::Html;
use maud::{Markup, html};
use serde::Deserialize;
use stencil_store::Entry;

use super::super::super::input::Query;
use super::super::super::problem::Problem;
use super::super::super::{Caller, State};
use super::super::moment;
use super::super::shell::{Frame, Nav, shell};

/// Entries on one page.
const ENTRIES: u32 = 50;
/// Characters of an entry's first text.
const PREVIEW: usize = 90;

/// Which entries.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Which {
    collection: Option<String>,
    after: Option<String>,
}

/// `GET /content?collection&after`
pub(in crate::http) async fn show(
    Shared(state): Shared<State>,
    caller: Caller,
    Query(which): Query<Which>,
) -> Result<Html<String>, Problem> {
    let content = &state.store.content;
    let collections = content.collections(&caller.tenant).await?;
    let frame = Frame::new(Nav::Content, "Content");
    let Some(shown) = which.collection.as_ref().or(collections.first()) else {
        return shell(&state, &caller, frame, nothing()).await;
    };
    if !collections.contains(shown) {
        return Err(Problem::not_found("collection", shown));
    }
    let after = which.after.as_deref();
    let page = content.list(&caller.tenant, shown, after, ENTRIES).await?;
    let public = format!("/p/{}/{shown}", caller.tenant);
    let body = html! {
        nav.segments aria-label="Collections" {
            @for name in &collections {
                a href={ "/content?collection=" (super::super::encoded(name)) }
                    aria-current=[(name == shown).then_some("true")] { (name) }
            }
        }
        section #entries.card data-live="runs" aria-labelledby="entries-title" {
            header {
                h2 #entries-title { (shown) }
                @if page.items.iter().any(|entry| entry.published_version.is_some()) {
                    a.more href=(public) { "Public list" }
                }
            }
            @if page.items.is_empty() {
                p.empty { "There is no entry on this page." }
            } @else {
                div.scroll tabindex="0" role="region" aria-labelledby="entries-title" {
                    table.cards {
                        thead { tr {
                            th scope="col" { "Entry" }
                            th scope="col" { "State" }
                            th scope="col" { "Version" }
                            th scope="col" { "Changed" }
                            th scope="col" { "Public page" }
                        } }
                        tbody { @for entry in &page.items { (row(&public, entry)) } }
                    }
                }
            }
            nav.pager aria-label="Pages of the collection" {
                span.dim { "By key" }
                @if which.after.is_some() {
                    a.button href={ "/content?collection=" (super::super::encoded(shown)) } { "First page" }
                }
                @if let Some(next) = &page.next {
                    a.button rel="next" href={ "/content?collection=" (super::super::encoded(shown))
                        "&after=" (super::super::encoded(next)) } { "Next page" }
                }
            }
        }
    };
    shell(&state, &caller, frame, body).await
}

fn nothing() -> Markup {
    html! {
        section.card.empty {
            h2 { "Nothing has been written yet" }
            p { "A workflow's step " code { "content.upsert" } " writes an entry, "
                code { "content.publish" } " shows it to the public." }
            p { a.button href="/workflows/new" { "New rule" } }
        }
    }
}

fn row(public: &str, entry: &Entry) -> Markup {
    let newest = &entry.newest;
    html! {
        tr {
            th scope="row" {
                a href={ "/content/" (newest.collection) "/" (newest.key) } { (newest.key) }
                @if let Some(text) = preview(entry) { br; span.dim.small { (text) } }
            }
            td { (super::state(entry)) }
            td data-label="Version" { (newest.version) }
            td data-label="Changed" { (moment::element(newest.created_us)) }
            td {
                @if entry.published_version.is_some() {
                    a href={ (public) "/" (newest.key) } { "Open" span.unseen { " " (newest.key) } }
                } @else { span.dim { "none" } }
            }
        }
    }
}

/// The title, else the first text.
fn preview(entry: &Entry) -> Option<String> {
    let fields = &entry.newest.fields;
    let text = fields.get("title").and_then(|value| value.as_str());
    let text = text.or_else(|| fields.values().find_map(|value| value.as_str()))?;
    let mut cut: String = text.chars().take(PREVIEW).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    Some(cut)
}
