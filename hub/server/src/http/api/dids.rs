//! Which document a DID leads to.

use axum::Json;
use axum::extract::State as Shared;
use serde_json::Value;
use stencil_identity::did::Did;

use crate::http::input::Path;
use crate::http::problem::Problem;
use crate::http::{Caller, State};

/// The document of a DID.
///
/// Of each `did:key` and `did:pkh`; of the hub's own `did:web` and of its tenants'; and of the caller's
/// own gateways (`…:tenants:T:gateways:G`, whose certificates it names by their hash) and devices
/// (`…:tenants:T:devices:D`). A DID is percent-encoded in the path.
#[utoipa::path(
    get,
    path = "/api/v1/dids/{did}",
    tag = "dids",
    responses((status = 200, body = stencil_store::schema::Json))
)]
pub(in crate::http) async fn one(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(did): Path<String>,
) -> Result<Json<Value>, Problem> {
    let did = Did::parse(&did).map_err(|error| Problem::invalid(error.to_string()))?;
    let document = state.identity().resolve(&caller.tenant, &did).await?;
    Ok(Json(document))
}
