//! A tenant's own view of its content: drafts too.

use axum::Json;
use axum::extract::State as Shared;
use stencil_store::{Entry, EntryVersion, Page};

use super::Whole;
use crate::http::input::{Paging, Path, Query};
use crate::http::problem::Problem;
use crate::http::{Caller, State};

/// The names of the collections.
#[utoipa::path(
    get,
    path = "/api/v1/content",
    tag = "content",
    responses((status = 200, body = Whole<String>))
)]
pub(in crate::http) async fn collections(
    Shared(state): Shared<State>,
    caller: Caller,
) -> Result<Json<Whole<String>>, Problem> {
    Ok(Json(Whole::of(
        state.store.content.collections(&caller.tenant).await?,
    )))
}

/// The entries of a collection with their newest version, by key.
#[utoipa::path(
    get,
    path = "/api/v1/content/{collection}",
    tag = "content",
    params(Paging), responses((status = 200, body = Page<Entry>))
)]
pub(in crate::http) async fn list(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(collection): Path<String>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Entry>>, Problem> {
    let limit = paging.limit()?;
    let after = paging.after.as_deref();
    Ok(Json(
        state
            .store
            .content
            .list(&caller.tenant, &collection, after, limit)
            .await?,
    ))
}

/// An entry with its newest version.
#[utoipa::path(
    get,
    path = "/api/v1/content/{collection}/{key}",
    tag = "content",
    responses((status = 200, body = Entry))
)]
pub(in crate::http) async fn one(
    Shared(state): Shared<State>,
    caller: Caller,
    Path((collection, key)): Path<(String, String)>,
) -> Result<Json<Entry>, Problem> {
    let entry = state
        .store
        .content
        .get(&caller.tenant, &collection, &key)
        .await?;
    entry
        .map(Json)
        .ok_or_else(|| Problem::not_found("entry", format!("{collection}/{key}")))
}

/// The versions of an entry, the newest first.
#[utoipa::path(
    get,
    path = "/api/v1/content/{collection}/{key}/versions",
    tag = "content",
    params(Paging), responses((status = 200, body = Page<EntryVersion>))
)]
pub(in crate::http) async fn versions(
    Shared(state): Shared<State>,
    caller: Caller,
    Path((collection, key)): Path<(String, String)>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<EntryVersion>>, Problem> {
    let limit = paging.limit()?;
    let after = paging.after.as_deref();
    let content = &state.store.content;
    Ok(Json(
        content
            .versions(&caller.tenant, &collection, &key, after, limit)
            .await?,
    ))
}
