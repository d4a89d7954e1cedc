//! Credentials that a tenant issues: calibration certificates, delivery receipts, whatever it says of
//! somebody or something.

use axum::Json;
use axum::extract::{Request, State as Shared};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde::Serialize;
use serde_json::Value;
use stencil_identity::json;
use stencil_store::{CredentialStanding, Page, StoredCredential};

use crate::http::audit::Target;
use crate::http::input::{self, Paging, Path, Query};
use crate::http::problem::{Kind, Problem};
use crate::http::{Caller, State};
use crate::identity::{Asked, By, Error, Verdict, Wanted};

/// A credential that was issued.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct ShownCredential {
    /// Its id.
    id: String,
    /// Of which kind it is.
    kind: String,
    /// Whom it is about.
    subject: String,
    /// How it stands: `good`, `suspended` or `revoked`.
    standing: CredentialStanding,
    /// When it was issued.
    issued_us: i64,
    /// Until when it is valid; null: for ever.
    valid_until_us: Option<i64>,
    /// When its standing last changed.
    changed_us: i64,
    /// The step of a workflow's run that has issued it; null: somebody has by the API, and the audit log
    /// (`credentials.issue`) says who.
    cause: Option<String>,
    /// Who has had it issued: a person or a token of the tenant's by name, or `workflow`. Null: it was not noted, or
    /// it is of a right to command a device, whose `source` says it.
    by: Option<String>,
    /// The credential with its proofs, or a token (`vc+jwt`) as text.
    #[schema(value_type = stencil_store::schema::Json)]
    credential: Value,
}

/// A credential that was issued, in a list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct ListedCredential {
    /// Its id, by which what was given out can be had.
    id: String,
    /// Of which kind it is.
    kind: String,
    /// Whom it is about.
    subject: String,
    /// How it stands: `good`, `suspended` or `revoked`.
    standing: CredentialStanding,
    /// When it was issued.
    issued_us: i64,
    /// Until when it is valid; null: for ever.
    valid_until_us: Option<i64>,
    /// When its standing last changed.
    changed_us: i64,
    /// The step of a workflow's run that has issued it; null: somebody has by the API.
    cause: Option<String>,
    /// Who has had it issued: a person or a token of the tenant's by name, or `workflow`. Null: it was not noted, or
    /// it is of a right to command a device, whose `source` says it.
    by: Option<String>,
}

impl From<StoredCredential> for ListedCredential {
    fn from(stored: StoredCredential) -> Self {
        Self {
            id: stored.credential,
            kind: stored.kind,
            subject: stored.subject,
            standing: stored.standing,
            issued_us: stored.issued_us,
            valid_until_us: stored.valid_until_us,
            changed_us: stored.changed_us,
            cause: stored.cause,
            by: stored.issued_by,
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::NoName(why) => Self::new(Kind::Conflict, why),
            Error::NoKey | Error::Crowded => Self::new(Kind::Busy, error.to_string()),
            Error::Invalid(why) => Self::invalid(why),
            Error::NotFound { what, name } => Self::not_found(what, name),
            Error::NoDocument(why) => Self::new(Kind::NotFound, why.to_string()),
            Error::Store(error) => error.into(),
            Error::Failed(why) => Self::internal(why),
        }
    }
}

fn show(stored: StoredCredential) -> Result<ShownCredential, Problem> {
    Ok(ShownCredential {
        id: stored.credential,
        kind: stored.kind,
        subject: stored.subject,
        standing: stored.standing,
        issued_us: stored.issued_us,
        valid_until_us: stored.valid_until_us,
        changed_us: stored.changed_us,
        cause: stored.cause,
        by: stored.issued_by,
        credential: serde_json::from_str(&stored.body).map_err(Problem::internal)?,
    })
}

/// The credentials that the tenant has issued, the newest first, without what was given out.
#[utoipa::path(
    get,
    path = "/api/v1/credentials",
    tag = "credentials",
    params(Paging), responses((status = 200, body = Page<ListedCredential>))
)]
pub(in crate::http) async fn list(
    Shared(state): Shared<State>,
    caller: Caller,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<ListedCredential>>, Problem> {
    let (limit, after) = (paging.limit()?, paging.after.as_deref());
    let page = state
        .store
        .credentials
        .credentials(&caller.tenant, after, limit);
    let Page { items, next } = page.await?;
    Ok(Json(Page {
        items: items.into_iter().map(ListedCredential::from).collect(),
        next,
    }))
}

/// One credential.
#[utoipa::path(
    get,
    path = "/api/v1/credentials/{credential}",
    tag = "credentials",
    responses((status = 200, body = ShownCredential))
)]
pub(in crate::http) async fn one(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(credential): Path<String>,
) -> Result<Json<ShownCredential>, Problem> {
    let found = state
        .store
        .credentials
        .credential(&caller.tenant, &credential);
    let found = found.await?;
    let found = found.ok_or_else(|| Problem::not_found("credential", &credential))?;
    show(found).map(Json)
}

/// Issues a credential, by the tenant's keys.
///
/// The first one makes these keys; the tenant's DID document has their public parts from then on. A
/// credential has proofs by Ed25519 and ML-DSA-44, and a bit in a status list of the tenant's for
/// revocation and for suspension each.
#[utoipa::path(
    post,
    path = "/api/v1/credentials",
    tag = "credentials",
    request_body = Wanted,
    responses(
        (status = 201, description = "It was issued", body = ShownCredential),
        (status = 409, description = "The hub has no name that a DID can be made of"),
    )
)]
pub(in crate::http) async fn issue(
    Shared(state): Shared<State>,
    caller: Caller,
    request: Request,
) -> Result<Response, Problem> {
    let wanted: Wanted = input::signed_json(request).await?;
    let now_us = state.clock.now_us();
    let identity = state.identity();
    let by = By::Caller(&caller.who);
    let issued = identity.issue(&caller.tenant, &wanted, by, now_us).await?;
    let id = issued.credential.clone();
    tracing::info!(tenant = %caller.tenant, credential = id, by = caller.who, "a credential was issued");
    let location = [(header::LOCATION, format!("/api/v1/credentials/{id}"))];
    let shown = Json(show(issued)?);
    Ok((StatusCode::CREATED, Target(id), location, shown).into_response())
}

/// Revokes a credential, for good.
#[utoipa::path(
    post,
    path = "/api/v1/credentials/{credential}/revoke",
    tag = "credentials",
    responses((status = 200, body = ShownCredential))
)]
pub(in crate::http) async fn revoke(
    shared: Shared<State>,
    caller: Caller,
    path: Path<String>,
) -> Result<Json<ShownCredential>, Problem> {
    set(shared, caller, path, CredentialStanding::Revoked).await
}

/// Suspends a credential, until it is resumed.
#[utoipa::path(
    post,
    path = "/api/v1/credentials/{credential}/suspend",
    tag = "credentials",
    responses(
        (status = 200, body = ShownCredential),
        (status = 409, description = "It is revoked"),
    )
)]
pub(in crate::http) async fn suspend(
    shared: Shared<State>,
    caller: Caller,
    path: Path<String>,
) -> Result<Json<ShownCredential>, Problem> {
    set(shared, caller, path, CredentialStanding::Suspended).await
}

/// Lets a credential that was suspended hold again.
///
/// One that is suspended because its cause on a chain is gone (a token that was sold, a payment that was taken
/// back) holds again when that is back, and not by this.
#[utoipa::path(
    post,
    path = "/api/v1/credentials/{credential}/resume",
    tag = "credentials",
    responses(
        (status = 200, body = ShownCredential),
        (status = 409, description = "It is revoked, or suspended because of its chain"),
    )
)]
pub(in crate::http) async fn resume(
    shared: Shared<State>,
    caller: Caller,
    path: Path<String>,
) -> Result<Json<ShownCredential>, Problem> {
    set(shared, caller, path, CredentialStanding::Good).await
}

async fn set(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(credential): Path<String>,
    standing: CredentialStanding,
) -> Result<Json<ShownCredential>, Problem> {
    let now_us = state.clock.now_us();
    let identity = state.identity();
    let set = identity.set_standing(&caller.tenant, &credential, standing, now_us);
    let set = set.await?;
    let standing = standing.as_str();
    tracing::info!(tenant = %caller.tenant, credential, standing, by = caller.who, "a credential stands otherwise");
    show(set).map(Json)
}

/// Checks a credential or a presentation, for anybody.
///
/// A credential that is wrong is an answer, not an error: `verified` is false, and `error` says what
/// is wrong with it. The hub knows its own tenants' documents and status lists, and each `did:key`;
/// it fetches nothing from elsewhere.
#[utoipa::path(
    post,
    path = "/api/v1/credentials/verify",
    tag = "credentials",
    request_body = Asked,
    responses(
        (status = 200, body = Verdict),
        (status = 503, description = "Too many are checked at the moment"),
    )
)]
pub(in crate::http) async fn verify(
    Shared(state): Shared<State>,
    request: Request,
) -> Result<Json<Verdict>, Problem> {
    // Which no page of somebody else sends without asking first.
    input::is_json(&request)?;
    let bytes = input::body(request, &(), input::MAX_BODY_BYTES).await?;
    // What two readers may understand differently must not get as far as being taken for one of both.
    json::parse(&bytes, input::MAX_BODY_BYTES)
        .map_err(|error| Problem::invalid(format!("the body: {error}")))?;
    let asked: Asked = input::parsed(&bytes)?;
    let now_us = state.clock.now_us();
    Ok(Json(state.identity().verify(asked, now_us).await?))
}
