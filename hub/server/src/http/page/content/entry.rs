//! `/content/{collection}/{key}`: one entry with its versions.

use axum::extract::State as Shared;
use axum::response::Html;
use maud::{Markup, html};
use serde::Deserialize;
use stencil_store::{Entry, EntryVersion};

use super::super::super::input::{Path, Query};
use super::super::super::problem::Problem;
use super::super::super::{Caller, State};
use super::super::shell::{Frame, Nav, shell};
use super::super::{badge, encoded, moment};

/// Versions on one page; one more is read, to tell what the last one changed.
const VERSIONS: u32 = 20;

/// Which versions.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Which {
    after: Option<String>,
}

/// `GET /content/{collection}/{key}?after`
pub(in crate::http) async fn show(
    Shared(state): Shared<State>,
    caller: Caller,
    Path((collection, key)): Path<(String, String)>,
    Query(which): Query<Which>,
) -> Result<Html<String>, Problem> {
    let content = &state.store.content;
    let entry = content.get(&caller.tenant, &collection, &key).await?;
    let entry = entry.ok_or_else(|| Problem::not_found("entry", format!("{collection}/{key}")))?;
    let after = which.after.as_deref();
    let versions = content.versions(&caller.tenant, &collection, &key, after, VERSIONS + 1);
    let mut versions = versions.await?;
    let older = versions.items.get(VERSIONS as usize).cloned();
    versions.items.truncate(VERSIONS as usize);
    let next = older.as_ref().and(versions.items.last());
    let here = format!("/content/{}/{}", encoded(&collection), encoded(&key));
    let body = html! {
        div #entry.stack data-live="runs" {
            (facts(&entry, &caller))
            section.card aria-labelledby="fields-title" {
                header { h2 #fields-title { "Newest version" } }
                (fields(&entry.newest))
            }
            section.card aria-labelledby="versions-title" {
                header { h2 #versions-title { "Versions" } }
                ol.versions {
                    @for (place, version) in versions.items.iter().enumerate() {
                        @let before = versions.items.get(place + 1).or(older.as_ref());
                        li { (of_list(&entry, version, before)) }
                    }
                }
                nav.pager aria-label="Pages of the versions" {
                    @if which.after.is_some() { a.button href=(here) { "Newest" } }
                    @if let Some(last) = next {
                        a.button rel="next" href={ (here) "?after=" (last.version) } { "Older" }
                    }
                }
            }
        }
    };
    let frame = Frame::new(Nav::Content, &key)
        .crumb("/content", "Content")
        .crumb(
            &format!("/content?collection={}", encoded(&collection)),
            &collection,
        );
    shell(&state, &caller, frame, body).await
}

fn facts(entry: &Entry, caller: &Caller) -> Markup {
    let newest = &entry.newest;
    html! {
        section.card aria-label="State" {
            dl.facts {
                div { dt { "State" } dd { (super::state(entry)) } }
                div { dt { "Changed" } dd { (moment::element(newest.created_us)) ", version " (newest.version) } }
                @if let (Some(version), Some(at_us)) = (entry.published_version, entry.published_us) {
                    div { dt { "Published" } dd { (moment::element(at_us)) ", version " (version) } }
                    div { dt { "Public page" } dd {
                        a href={ "/p/" (caller.tenant) "/" (newest.collection) "/" (newest.key) } {
                            "/p/" (caller.tenant) "/" (newest.collection) "/" (newest.key)
                        }
                    } }
                    div { dt { "Public data" } dd {
                        a href={ "/content/v1/" (caller.tenant) "/" (newest.collection) "/" (newest.key) } {
                            "/content/v1/" (caller.tenant) "/" (newest.collection) "/" (newest.key)
                        }
                    } }
                }
            }
        }
    }
}

fn fields(version: &EntryVersion) -> Markup {
    html! {
        @if version.fields.is_empty() {
            p.dim { "It has no fields." }
        } @else {
            dl.facts {
                @for (name, value) in &version.fields {
                    div { dt { (name) } dd { pre { (super::text(value)) } } }
                }
            }
        }
    }
}

/// A version, and what it changed.
fn of_list(entry: &Entry, version: &EntryVersion, before: Option<&EntryVersion>) -> Markup {
    let changes = changes(version, before);
    html! {
        p.row {
            b { "Version " (version.version) }
            @if entry.published_version == Some(version.version) { (badge("good", "published")) }
            (moment::element(version.created_us))
            @if let Some(key) = &version.effect_key {
                span.dim.small { "by the effect " code { (key.get(..12).unwrap_or(key)) } }
            }
        }
        @if changes.is_empty() {
            p.dim { "It changed nothing." }
        } @else {
            dl.facts {
                @for (name, was, is) in &changes {
                    div {
                        dt { (name) }
                        dd {
                            @if let Some(was) = was { del { (was) } " " }
                            @match is {
                                Some(is) => { ins { (is) } }
                                None => { span.dim { "removed" } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Fields that differ from the version before: name, what was, what is.
fn changes(
    version: &EntryVersion,
    before: Option<&EntryVersion>,
) -> Vec<(String, Option<String>, Option<String>)> {
    let was = |name: &str| before.and_then(|before| before.fields.get(name));
    let mut changes: Vec<_> = version
        .fields
        .iter()
        .filter(|(name, value)| was(name) != Some(value))
        .map(|(name, value)| {
            (
                name.clone(),
                was(name).map(super::text),
                Some(super::text(value)),
            )
        })
        .collect();
    let gone = before
        .iter()
        .flat_map(|before| &before.fields)
        .filter(|(name, _)| !version.fields.contains_key(*name));
    changes.extend(gone.map(|(name, value)| (name.clone(), Some(super::text(value)), None)));
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn version(fields: Value) -> EntryVersion {
        EntryVersion {
            collection: "c".to_owned(),
            key: "k".to_owned(),
            version: 1,
            fields: fields.as_object().unwrap().clone(),
            effect_key: None,
            created_us: 0,
        }
    }

    #[test]
    fn changes_are_fields_that_are_new_other_or_gone() {
        let first = version(json!({ "title": "warm", "value": 1, "gone": true }));
        let second = version(json!({ "title": "cold", "value": 1, "fresh": [1] }));
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            changes(&second, Some(&first)),
            [
                ("fresh".to_owned(), None, text("[\n  1\n]")),
                ("title".to_owned(), text("warm"), text("cold")),
                ("gone".to_owned(), text("true"), None),
            ]
        );
        assert_eq!(changes(&first, None).len(), 3);
        assert!(changes(&first, Some(&first)).is_empty());
    }
}
