//! What a tenant has published: as JSON, and as a plain page.

use axum::Json;
use axum::extract::State as Shared;
use axum::response::Html;
use maud::{DOCTYPE, Markup, html};
use serde_json::Value;
use stencil_proof::page;
use stencil_protocol::id::TenantId;
use stencil_store::{Page, Published};

use super::input::{self, Paging, Path, Query};
use super::page::{moment, style};
use super::problem::Problem;
use super::{State, proof_note};

/// `GET /content/v1/{tenant}/{collection}?after&limit`, by key.
pub(super) async fn list(
    Shared(state): Shared<State>,
    Path((tenant, collection)): Path<(String, String)>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Published>>, Problem> {
    let (tenant, limit) = (input::tenant(&tenant)?, paging.limit()?);
    let after = paging.after.as_deref();
    Ok(Json(
        state
            .store
            .content
            .published_list(&tenant, &collection, after, limit)
            .await?,
    ))
}

/// `GET /content/v1/{tenant}/{collection}/{key}`
pub(super) async fn entry(
    Shared(state): Shared<State>,
    Path((tenant, collection, key)): Path<(String, String, String)>,
) -> Result<Json<Published>, Problem> {
    published(&state, &input::tenant(&tenant)?, &collection, &key)
        .await
        .map(Json)
}

/// `GET /p/{tenant}/{collection}`: links to the pages.
pub(super) async fn index(
    Shared(state): Shared<State>,
    Path((tenant, collection)): Path<(String, String)>,
    Query(paging): Query<Paging>,
) -> Result<Html<String>, Problem> {
    let (tenant, limit) = (input::tenant(&tenant)?, paging.limit()?);
    let after = paging.after.as_deref();
    let page = state
        .store
        .content
        .published_list(&tenant, &collection, after, limit)
        .await?;
    if page.items.is_empty() {
        return Err(Problem::not_found("published collection", collection));
    }
    let body = html! {
        h1 { (collection) }
        ul {
            @for item in &page.items {
                li {
                    a href=(format!("/p/{tenant}/{collection}/{}", item.version.key)) { (title(item)) }
                    " " span.dim { (moment::utc(item.published_us)) }
                }
            }
        }
        @if let Some(next) = &page.next {
            p { a href=(format!("/p/{tenant}/{collection}?after={next}")) { "More" } }
        }
    };
    Ok(document(&collection, &body))
}

/// `GET /p/{tenant}/{collection}/{key}`: a published entry for people.
pub(super) async fn page(
    Shared(state): Shared<State>,
    Path((tenant, collection, key)): Path<(String, String, String)>,
) -> Result<Html<String>, Problem> {
    let tenant = input::tenant(&tenant)?;
    let item = published(&state, &tenant, &collection, &key).await?;
    let fields = || {
        item.version
            .fields
            .iter()
            .filter(|(name, _)| *name != "title")
    };
    let all = &item.version.fields;
    let url = format!("{}/p/{tenant}/{collection}/{key}", state.public_url);
    let with_proof = |name: &str, value: &Value| match proof_note::of(all, name) {
        Some(proof) => html! { data data-proof=(proof) { (shown(value)) } },
        None if page::is_proof(value) => proof_note::note(name, value, &url),
        None => shown(value),
    };
    let body = html! {
        article {
            h1 { (title(&item)) }
            @if fields().next().is_some() {
                dl {
                    @for (name, value) in fields() { div { dt { (name) } dd { (with_proof(name, value)) } } }
                }
            }
            p.dim {
                "Published " (moment::element(item.published_us)) ", version " (item.version.version) ". "
                a href=(format!("/content/v1/{tenant}/{collection}/{key}")) { "As JSON" }
            }
        }
    };
    Ok(document(&title(&item), &body))
}

async fn published(
    state: &State,
    tenant: &TenantId,
    collection: &str,
    key: &str,
) -> Result<Published, Problem> {
    let found = state
        .store
        .content
        .published(tenant, collection, key)
        .await?;
    found.ok_or_else(|| Problem::not_found("published entry", format!("{collection}/{key}")))
}

fn title(item: &Published) -> String {
    match item.version.fields.get("title") {
        Some(Value::String(title)) if !title.trim().is_empty() => title.clone(),
        _ => item.version.key.clone(),
    }
}

fn shown(value: &Value) -> Markup {
    match value {
        Value::String(text) => html! { (text) },
        Value::Null => html! { "–" },
        Value::Bool(_) | Value::Number(_) => html! { (value) },
        nested => html! { pre { (format!("{nested:#}")) } },
    }
}

fn document(title: &str, body: &Markup) -> Html<String> {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                (style())
            }
            body { main { (body) } }
        }
    };
    Html(page.into_string())
}
