//! Tenants, for who runs the hub. An operator makes, lists and erases them, and sees
//! nothing of theirs.

use axum::Extension;
use axum::Json;
use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use stencil_protocol::id::TenantId;
use stencil_store::{Operator, Page, Role, Tenant};

use super::users::{self, LoginLink};
use crate::http::State;
use crate::http::audit::Target;
use crate::http::input::{self, Paging, Path, Query};
use crate::http::problem::{Kind, Problem};

/// Which tenant to make.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewTenant {
    /// Its id, for good.
    #[schema(value_type = String, min_length = 1, max_length = 64)]
    id: TenantId,
    /// The name of its first user, an admin; `admin` if it is not given.
    #[schema(min_length = 1, max_length = 64)]
    admin: Option<String>,
}

/// A fresh tenant, with the link by which its first admin sets a password.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct TenantMade {
    #[serde(flatten)]
    tenant: Tenant,
    /// The name of its first user.
    admin: String,
    #[serde(flatten)]
    link: LoginLink,
}

/// All tenants, by id.
#[utoipa::path(
    get,
    path = "/api/v1/operator/tenants",
    tag = "operator",
    params(Paging), responses((status = 200, body = Page<Tenant>))
)]
pub(in crate::http) async fn list(
    Shared(state): Shared<State>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Tenant>>, Problem> {
    let limit = paging.limit()?;
    let operators = &state.store.operators;
    let page = operators.overview(paging.after.as_deref(), limit);
    Ok(Json(page.await?))
}

/// Makes a tenant with its first admin, who sets a password by the link in the answer.
#[utoipa::path(
    post,
    path = "/api/v1/operator/tenants",
    tag = "operator",
    request_body = NewTenant,
    responses(
        (status = 201, body = TenantMade),
        (status = 409, description = "There is such a tenant"),
    )
)]
pub(in crate::http) async fn create(
    Shared(state): Shared<State>,
    Extension(operator): Extension<Operator>,
    input::Json(wanted): input::Json<NewTenant>,
) -> Result<Response, Problem> {
    let (store, now_us) = (&state.store, state.clock.now_us());
    let admin = wanted.admin.unwrap_or_else(|| "admin".to_owned());
    stencil_store::check_user_name(&admin)?;
    let fresh = store.tenancy.create_tenant(&wanted.id, now_us).await?;
    // A tenant that nobody can use is what an interrupted call left.
    if !fresh && !is_deserted(&state, &wanted.id).await? {
        let detail = format!("there is a tenant {} already", wanted.id);
        return Err(Problem::new(Kind::Conflict, detail));
    }
    let users = &store.users;
    users
        .create_user(&wanted.id, &admin, Role::Admin, now_us)
        .await?;
    let link = users::link(&state, &wanted.id, &admin).await?;
    tracing::info!(tenant = %wanted.id, by = operator.name, "a tenant was made");
    let made = TenantMade {
        tenant: Tenant {
            id: wanted.id,
            created_us: now_us,
        },
        admin,
        link,
    };
    let target = Target(made.tenant.id.to_string());
    Ok((StatusCode::CREATED, target, Json(made)).into_response())
}

/// Erases a tenant and all that is its own: devices, series, workflows, runs, content, users,
/// tokens. Nobody finds any of it when this answers, and nobody of it is let in any more.
#[utoipa::path(
    delete,
    path = "/api/v1/operator/tenants/{tenant}",
    tag = "operator",
    responses((status = 204, description = "Erased"))
)]
pub(in crate::http) async fn delete(
    Shared(state): Shared<State>,
    Extension(operator): Extension<Operator>,
    Path(tenant): Path<String>,
) -> Result<StatusCode, Problem> {
    let id = known(&state, &tenant).await?;
    tracing::info!(tenant = %id, by = operator.name, "a tenant is erased");
    state.control.erase_tenant(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The tenant of this id, which is there.
pub(super) async fn known(state: &State, tenant: &str) -> Result<TenantId, Problem> {
    let id = input::tenant(tenant)?;
    let mut after = None;
    loop {
        let page = state
            .store
            .operators
            .overview(after.as_deref(), 1_000)
            .await?;
        if page.items.iter().any(|tenant| tenant.id == id) {
            return Ok(id);
        }
        after = page.next;
        if after.is_none() {
            return Err(Problem::not_found("tenant", tenant));
        }
    }
}

async fn is_deserted(state: &State, tenant: &TenantId) -> Result<bool, Problem> {
    let users = state.store.users.users(tenant, None, 1).await?;
    let tokens = state.store.tenancy.tokens(tenant, None, 1).await?;
    Ok(users.items.is_empty() && tokens.items.is_empty())
}
