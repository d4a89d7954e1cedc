//! What verifiers anywhere fetch: DID documents of the hub and its tenants, and status lists.

use axum::Json;
use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use http::header;
use serde_json::Value;

use super::State;
use super::input::{self, Path};
use super::problem::Problem;
use crate::identity::Purpose;

/// For how long a verifier may keep what it was given, in seconds.
const MAX_AGE: &str = "public, max-age=60";

/// `GET /.well-known/did.json`: the hub's.
pub(super) async fn hub(Shared(state): Shared<State>) -> Result<Response, Problem> {
    let document = state.identity().hub_document()?;
    Ok(answer("application/did+json", document))
}

/// `GET /tenants/{tenant}/did.json`: of a tenant that has issued something. Whether there is another
/// one of that name is nobody's business.
pub(super) async fn tenant(
    Shared(state): Shared<State>,
    Path(tenant): Path<String>,
) -> Result<Response, Problem> {
    let id = input::tenant(&tenant)?;
    let document = state.identity().tenant_document(&id).await?;
    let document = document.ok_or_else(|| Problem::not_found("issuer", &tenant))?;
    Ok(answer("application/did+json", document))
}

/// `GET /tenants/{tenant}/status/{purpose}/{list}`: a status list, signed now.
pub(super) async fn list(
    Shared(state): Shared<State>,
    Path((tenant, purpose, list)): Path<(String, String, String)>,
) -> Result<Response, Problem> {
    let not_found = || Problem::not_found("status list", &list);
    let id = input::tenant(&tenant)?;
    let purpose = Purpose::parse(&purpose).ok_or_else(not_found)?;
    let number = list.parse().map_err(|_| not_found())?;
    let now_us = state.clock.now_us();
    let identity = state.identity();
    let found = identity.published_list(&id, purpose, number, now_us);
    let found = found.await?.ok_or_else(not_found)?;
    Ok(answer("application/vc", Value::Object(found)))
}

fn answer(kind: &'static str, value: Value) -> Response {
    let mut response = Json(value).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    headers.insert(
        header::CACHE_CONTROL,
        header::HeaderValue::from_static(MAX_AGE),
    );
    response
}
