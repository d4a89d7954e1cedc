//! Documents that tokens name by their content: kept by a tenant, served to anybody who knows the name.

use axum::Json;
use axum::extract::{Request, State as Shared};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde::Serialize;
use stencil_ownership::cid::Cid;
use stencil_store::{Document, DocumentHead, MAX_DOCUMENT, Page};

use crate::chains::ownership::documents::{self, Wrong};
use crate::http::audit::Detail;
use crate::http::input::{self, Paging, Path, Query};
use crate::http::problem::{Kind, Problem};
use crate::http::{Caller, State};

/// A document, without what it says.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct DocumentView {
    /// Its name (CIDv1, raw, SHA-256).
    cid: String,
    /// As a contract's `tokenURI` gives it.
    uri: String,
    /// SHA-256, 32 bytes as `0x…`: `metadata` of `DevicePassport`, `terms` of `AccessRight`.
    sha256: String,
    /// What it is.
    media_type: String,
    /// How long it is.
    bytes: u64,
    /// When it came, µs since the epoch.
    created_us: i64,
}

impl From<DocumentHead> for DocumentView {
    fn from(head: DocumentHead) -> Self {
        let mut hash = [0; 32];
        // The store's own hash.
        let _ = hex::decode_to_slice(&head.sha256, &mut hash);
        let cid = Cid(hash.into());
        Self {
            cid: cid.to_string(),
            uri: cid.uri(),
            sha256: format!("0x{}", head.sha256),
            media_type: head.media_type,
            bytes: head.bytes,
            created_us: head.created_us,
        }
    }
}

/// The tenant's documents.
#[utoipa::path(
    get,
    path = "/api/v1/documents",
    tag = "documents",
    params(Paging), responses((status = 200, body = Page<DocumentView>))
)]
pub(in crate::http) async fn list(
    Shared(state): Shared<State>,
    caller: Caller,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<DocumentView>>, Problem> {
    let limit = paging.limit()?;
    let after = paging.after.as_deref();
    let page = state
        .store
        .ownership
        .documents(&caller.tenant, after, limit)
        .await?;
    Ok(Json(page.map(DocumentView::from)))
}

/// Keeps a document: JSON, plain text, PNG, JPEG or WebP, at most 64 KiB.
///
/// It is named by its bytes, and served to anybody at `/ipfs/{cid}`. What it is follows from its bytes, too: a
/// content type that says something else is refused.
#[utoipa::path(
    post,
    path = "/api/v1/documents",
    tag = "documents",
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 201, body = DocumentView),
        (status = 200, description = "It was there, since `created_us`", body = DocumentView),
        (status = 415, description = "It is said to be nothing of that"),
    )
)]
pub(in crate::http) async fn keep(
    Shared(state): Shared<State>,
    caller: Caller,
    request: Request,
) -> Result<Response, Problem> {
    let kind = request.headers().get(header::CONTENT_TYPE);
    let kind = kind
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    let body = input::body(request, &(), MAX_DOCUMENT).await?;
    let (cid, media_type) = documents::checked(&kind, &body).map_err(|wrong| match wrong {
        Wrong::Kind(_) => Problem::new(Kind::MediaType, wrong.to_string()),
        Wrong::Length(_) | Wrong::Not { .. } => Problem::invalid(wrong.to_string()),
    })?;
    let document = Document {
        media_type: media_type.to_owned(),
        body: body.to_vec(),
    };
    let now_us = state.clock.now_us();
    let ownership = &state.store.ownership;
    let (is_new, kept) = ownership
        .put_document(&caller.tenant, &cid.0.0, &document, now_us)
        .await?;
    let view = DocumentView::from(DocumentHead {
        // What was kept before types followed from bytes may say another one, and is served as this.
        media_type: document.media_type,
        ..kept
    });
    let status = if is_new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Detail(cid.to_string()), Json(view)).into_response())
}

/// Forgets a document: it is served no more, unless another tenant keeps it, too.
#[utoipa::path(
    delete,
    path = "/api/v1/documents/{cid}",
    tag = "documents",
    responses((status = 204, description = "It is forgotten"))
)]
pub(in crate::http) async fn forget(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(cid): Path<String>,
) -> Result<StatusCode, Problem> {
    let parsed = parsed(&cid)?;
    let ownership = &state.store.ownership;
    if !ownership
        .remove_document(&caller.tenant, &parsed.0.0)
        .await?
    {
        return Err(Problem::not_found("document", parsed));
    }
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /ipfs/{cid}`: the document of this name. Whoever gets it can check that it is the one.
pub(in crate::http) async fn serve(
    Shared(state): Shared<State>,
    Path(cid): Path<String>,
) -> Result<Response, Problem> {
    let cid = parsed(&cid)?;
    let document = state.store.ownership.document(&cid.0.0).await?;
    let document = document.ok_or_else(|| Problem::not_found("document", cid))?;
    // A file that was damaged on the disk must not be given out under its name.
    if Cid::of(&document.body) != cid {
        return Err(Problem::internal(format!(
            "document {cid} is not what it was"
        )));
    }
    let kind = documents::kind(&document.body).unwrap_or(&document.media_type);
    let headers = [
        (header::CONTENT_TYPE, documents::served(kind)),
        (
            header::CACHE_CONTROL,
            "public, max-age=31536000, immutable".to_owned(),
        ),
        (header::ETAG, format!("\"{cid}\"")),
    ];
    Ok((headers, document.body).into_response())
}

fn parsed(cid: &str) -> Result<Cid, Problem> {
    cid.parse()
        .map_err(|error: stencil_ownership::cid::Error| Problem::invalid(error.to_string()))
}
