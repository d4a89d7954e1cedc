//! Rights to command devices that gateways check by themselves, what a tenant lets these admit, and the
//! receipts of whom they have.

use std::collections::HashMap;

use axum::Json;
use axum::extract::{Request, State as Shared};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use stencil_access::receipt::Head;
use stencil_ownership::policy::Refusal;
use stencil_payments::Address;
use stencil_protocol::id::{DeviceId, GatewayId, TenantId};
use stencil_store::{AccessRights, CredentialStanding, Page, RightsOf, StoredReceipt, StoredRight};

use super::invoices::wrong;
use super::ownership::owners;
use crate::access::history::{self, Stood};
use crate::access::{By, NotGiven, Policy, Wanted, brought, read};
use crate::chains::ownership::Refused;
use crate::http::access::WalletUser;
use crate::http::audit::Target;
use crate::http::input::{self, Paging, Path, Query};
use crate::http::problem::{Kind, Problem};
use crate::http::{Caller, State};

/// Of fields that there are not, the most that are told.
const MAX_TOLD: usize = 8;

/// A right to command a device.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct AccessRight {
    /// Its id, which is that of its credentials.
    id: String,
    /// Whose device it is.
    #[schema(value_type = String)]
    tenant: TenantId,
    /// Whose right it is: an account, with its checksum (EIP-55).
    holder: String,
    /// The device.
    #[schema(value_type = String)]
    device: DeviceId,
    /// What it may be told.
    commands: Vec<String>,
    /// What it comes from: `payment`, `workflow`, `token` (a passport, or a right to use), or `api`.
    source: String,
    /// How it stands: `good`, `suspended` or `revoked`.
    standing: CredentialStanding,
    /// Whether it is suspended because what it was given for has left its chain.
    taken_back: bool,
    /// When it was given.
    made_us: i64,
    /// Until when it holds; null: for ever.
    until_us: Option<i64>,
    /// When its standing last changed.
    changed_us: i64,
}

fn show(stored: &StoredRight) -> Result<AccessRight, Problem> {
    let grant = read(stored)?;
    Ok(AccessRight {
        id: stored.right.right.clone(),
        tenant: stored.tenant.clone(),
        holder: Address::from(stored.right.holder).to_checksum(None),
        device: grant.device,
        commands: grant.commands,
        source: stored.right.source.clone(),
        standing: stored.standing,
        taken_back: stored.taken,
        made_us: stored.right.made_us,
        until_us: stored.right.until_us,
        changed_us: stored.changed_us,
    })
}

fn shown(page: Page<StoredRight>) -> Result<Json<Page<AccessRight>>, Problem> {
    let Page { items, next } = page;
    let items = items.iter().map(show).collect::<Result<_, _>>()?;
    Ok(Json(Page { items, next }))
}

/// The rights that the tenant has given, the newest first.
#[utoipa::path(
    get,
    path = "/api/v1/access/rights",
    tag = "access",
    params(Paging), responses((status = 200, body = Page<AccessRight>))
)]
pub(in crate::http) async fn rights(
    Shared(state): Shared<State>,
    caller: Caller,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<AccessRight>>, Problem> {
    let (limit, after) = (paging.limit()?, paging.after.as_deref());
    let of = RightsOf::Tenant(&caller.tenant);
    let page = state.store.access.rights(of, after, limit);
    shown(page.await?)
}

/// Gives an account the right to command a device, which its gateway checks by itself.
#[utoipa::path(
    post,
    path = "/api/v1/access/rights",
    tag = "access",
    request_body = Wanted,
    responses(
        (status = 201, description = "It was given", body = AccessRight),
        (status = 409, description = "The hub has no name that a DID can be made of"),
    )
)]
pub(in crate::http) async fn grant(
    Shared(state): Shared<State>,
    caller: Caller,
    request: Request,
) -> Result<Response, Problem> {
    let input::Json(wanted) = input::json::<Wanted>(request).await?;
    let by = By {
        source: "api",
        key: None,
        cause: None,
    };
    let now_us = state.clock.now_us();
    let rights = state.rights();
    let given = rights.grant(&caller.tenant, &wanted, by, now_us).await?;
    let id = given.right.right.clone();
    Ok((StatusCode::CREATED, Target(id), Json(show(&given)?)).into_response())
}

/// One right.
#[utoipa::path(
    get,
    path = "/api/v1/access/rights/{right}",
    tag = "access",
    responses((status = 200, body = AccessRight))
)]
pub(in crate::http) async fn one(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(right): Path<String>,
) -> Result<Json<AccessRight>, Problem> {
    let found = state.store.access.right(&caller.tenant, &right).await?;
    let found = found.ok_or_else(|| Problem::not_found("right", &right))?;
    show(&found).map(Json)
}

/// How a right stood when, the newest first.
///
/// By what it was given for (`cause`) the newest 32 are kept, and by hand (`hand`) the newest 32; of the time before
/// these it is `unknown`. What became known late is at the time from which on it was so, and receipts are
/// judged by it.
#[utoipa::path(
    get,
    path = "/api/v1/access/rights/{right}/history",
    tag = "access",
    params(Paging), responses((status = 200, body = Page<Stood>))
)]
pub(in crate::http) async fn stood(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(right): Path<String>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Stood>>, Problem> {
    let limit = paging.limit()?;
    let found = state.store.access.right(&caller.tenant, &right).await?;
    let found = found.ok_or_else(|| Problem::not_found("right", &right))?;
    let judging = &state.store.judging;
    let stood = judging
        .standings(&caller.tenant, &found.right.right)
        .await?;
    let after = paging.after.as_deref();
    let page = history::page(&stood, after, limit);
    page.map(Json)
        .ok_or_else(|| Problem::invalid("`after` is no cursor: it is `next` of the page before"))
}

/// Takes a right away, for good. Gateways hear of it as soon as they are reached.
#[utoipa::path(
    post,
    path = "/api/v1/access/rights/{right}/revoke",
    tag = "access",
    responses((status = 200, body = AccessRight))
)]
pub(in crate::http) async fn revoke(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(right): Path<String>,
) -> Result<Json<AccessRight>, Problem> {
    let now_us = state.clock.now_us();
    let revoked = state
        .rights()
        .revoke(&caller.tenant, &right, now_us)
        .await?;
    tracing::info!(tenant = %caller.tenant, right, by = caller.who, "a right was taken away");
    show(&revoked).map(Json)
}

/// What the tenant lets its gateways admit.
#[utoipa::path(
    get,
    path = "/api/v1/access/policy",
    tag = "access",
    responses((status = 200, body = Policy))
)]
pub(in crate::http) async fn policy(
    Shared(state): Shared<State>,
    caller: Caller,
) -> Result<Json<Policy>, Problem> {
    Ok(Json(state.rights().policy(&caller.tenant).await?))
}

/// Sets what the tenant lets its gateways admit.
///
/// It replaces all that was set, so each field has to be there, and no other.
#[utoipa::path(
    put,
    path = "/api/v1/access/policy",
    tag = "access",
    request_body = Policy,
    responses(
        (status = 200, body = Policy),
        (status = 422, description = "A field is missing, or there is one that is none; `errors` names each"),
    )
)]
pub(in crate::http) async fn set_policy(
    Shared(state): Shared<State>,
    caller: Caller,
    request: Request,
) -> Result<Json<Policy>, Problem> {
    let input::Json(body) = input::json::<Map<String, Value>>(request).await?;
    let policy = whole(body)?;
    policy.check().map_err(|(field, why)| wrong(field, why))?;
    let now_us = state.clock.now_us();
    state
        .rights()
        .set_policy(&caller.tenant, &policy, now_us)
        .await?;
    Ok(Json(policy))
}

/// A policy that says all that one says, and nothing else.
fn whole(body: Map<String, Value>) -> Result<Policy, Problem> {
    let fields = Policy::FIELDS;
    let missing = fields.iter().filter(|name| !body.contains_key(**name));
    let missing = missing.map(|name| ((*name).to_owned(), "it is missing"));
    let unknown = body.keys().filter(|name| !fields.contains(&name.as_str()));
    let unknown = unknown.take(MAX_TOLD).map(|name| {
        let name: String = name.chars().take(40).collect();
        (name, "there is no such field")
    });
    let wrong: Vec<(String, &str)> = missing.chain(unknown).collect();
    if !wrong.is_empty() {
        let told: Vec<String> = wrong
            .iter()
            .map(|(name, what)| format!("`{name}`: {what}"))
            .collect();
        let detail = format!(
            "{}; this replaces all that was set, so it has `{}`, and nothing else",
            told.join(", "),
            fields.join("`, `")
        );
        let places = wrong
            .iter()
            .map(|(name, what)| json!({ "pointer": format!("#/{name}"), "what": what }));
        return Err(Problem::new(Kind::Incomplete, detail).with_errors(places.collect()));
    }
    serde_json::from_value(Value::Object(body))
        .map_err(|error| Problem::invalid(format!("the body: {error}")))
}

/// A chain of receipts that a gateway goes on with no more, as its file was damaged, or it was set back to an
/// older state.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct LeftChain {
    /// Which.
    chain: String,
    /// The last number in it that the gateway knew; there may have been later ones.
    number: u64,
    /// That receipt's SHA-256, in hexadecimal digits.
    hash: String,
    /// The last number in it that the hub was brought; 0: none. What is between the two is lost.
    brought: u64,
}

/// A receipt of an admission at a gateway.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct AccessReceipt {
    /// Which gateway has admitted somebody.
    #[schema(value_type = String)]
    gateway: GatewayId,
    /// The chain of receipts that it is in.
    chain: String,
    /// The number in it, from 1.
    number: u64,
    /// Its SHA-256, which the next one names, in hexadecimal digits.
    hash: String,
    /// What became of the command: `done`, `failed`, `expired` or `unknown`.
    outcome: String,
    /// Whether the one before is there, too: false where receipts are missing.
    follows: bool,
    /// Why its holder should not have been admitted, by how the right stood then: `no_such_right`, `other_holder`,
    /// `other_device`, `revoked`, `suspended`, `sold` (the token that the right was of was another's),
    /// `not_allowed` (the token gave it no more, by what the tenant had set), `taken_back` (what the right was
    /// given for had left its chain, or has left it since), `over` or `nonce_used` (the gateway has noted the same
    /// answer of the holder's wallet before, which speaks against the gateway); null: nothing speaks against it.
    /// It may change when more becomes known of that time.
    conflict: Option<String>,
    /// Of the first receipt of a chain: which one the gateway has left for it; null: none that it knew, or it is
    /// not the first.
    left: Option<LeftChain>,
    /// When somebody was admitted, by the gateway's clock.
    at_us: i64,
    /// When the hub got it.
    received_us: i64,
    /// The receipt: who, what, and the wallet's signature.
    #[schema(value_type = stencil_store::schema::Json)]
    receipt: Value,
}

async fn show_receipt(
    store: &dyn AccessRights,
    tenant: &TenantId,
    stored: StoredReceipt,
) -> Result<AccessReceipt, Problem> {
    let receipt: Value = serde_json::from_str(&stored.body).map_err(Problem::internal)?;
    let left = match receipt.get("left") {
        Some(left) => {
            let Head {
                chain,
                number,
                hash,
            } = Head::deserialize(left).map_err(Problem::internal)?;
            Some(LeftChain {
                brought: brought(store, tenant, &stored.gateway, &chain).await?,
                chain,
                number,
                hash,
            })
        }
        None => None,
    };
    Ok(AccessReceipt {
        gateway: stored.gateway,
        chain: stored.chain,
        number: stored.number,
        hash: hex::encode(stored.hash),
        outcome: stored.outcome,
        follows: stored.follows,
        conflict: stored.conflict,
        left,
        at_us: stored.at_us,
        received_us: stored.received_us,
        receipt,
    })
}

/// The receipts of admissions at the tenant's gateways, those that came last first.
///
/// Each was checked before it was kept: that it follows on the one before, that the gateway's key has
/// signed it, and that the holder's wallet has signed what it says.
#[utoipa::path(
    get,
    path = "/api/v1/access/receipts",
    tag = "access",
    params(Paging), responses((status = 200, body = Page<AccessReceipt>))
)]
pub(in crate::http) async fn receipts(
    Shared(state): Shared<State>,
    caller: Caller,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<AccessReceipt>>, Problem> {
    let (limit, after) = (paging.limit()?, paging.after.as_deref());
    let page = state.store.access.receipts(&caller.tenant, after, limit);
    let Page { items, next } = page.await?;
    let store = state.store.access.as_ref();
    let mut shown = Vec::with_capacity(items.len());
    for item in items {
        shown.push(show_receipt(store, &caller.tenant, item).await?);
    }
    Ok(Json(Page { items: shown, next }))
}

/// Those of an account's rights that its session is the account of. A contract wallet is one on its chain alone: at
/// the same address of another chain may be somebody else's, so it has the rights of tenants whose tokens are on its
/// own.
pub(in crate::http) async fn on_its_chain(
    state: &State,
    user: &WalletUser,
    rights: Vec<StoredRight>,
) -> Result<Vec<StoredRight>, Problem> {
    if user.chain.is_none() {
        return Ok(rights);
    }
    let (owners, mut known) = (owners(state), HashMap::new());
    let mut own = Vec::new();
    for right in rights {
        let is_on = match known.get(&right.tenant) {
            Some(is_on) => *is_on,
            None => {
                let is_on = owners.are_on(&right.tenant, user.chain).await?;
                known.insert(right.tenant.clone(), is_on);
                is_on
            }
        };
        if is_on {
            own.push(right);
        }
    }
    Ok(own)
}

/// The rights of the wallet's account, in all tenants, the newest first.
///
/// Who has signed in as a contract wallet has those alone of tenants whose tokens are on its chain; a page may have
/// fewer than `limit` then, where another follows.
#[utoipa::path(
    get,
    path = "/api/v1/wallet/access",
    tag = "wallet",
    params(Paging), responses((status = 200, body = Page<AccessRight>))
)]
pub(in crate::http) async fn of_wallet(
    Shared(state): Shared<State>,
    user: WalletUser,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<AccessRight>>, Problem> {
    let (limit, after) = (paging.limit()?, paging.after.as_deref());
    let of = RightsOf::Holder(&user.wallet);
    let Page { items, next } = state.store.access.rights(of, after, limit).await?;
    let items = on_its_chain(&state, &user, items).await?;
    shown(Page { items, next })
}

/// What a holder wants to tell a device.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct TokenRight {
    /// The commands.
    #[schema(min_items = 1, max_items = 8)]
    commands: Vec<String>,
}

/// Gives the account a right to command a device whose passport it holds, or which a token lets it use: for
/// as long as the token does, and the device's gateway checks it without this hub.
///
/// The same commands again, in whichever order, are the same right. It is suspended when the token is another's. An
/// account has at most 16 to one device that are neither over nor taken away, and all accounts together have 1,000;
/// for one more the one ends that has been suspended the longest because its token is another's.
#[utoipa::path(
    post,
    path = "/api/v1/wallet/devices/{tenant}/{device}/right",
    tag = "holders",
    request_body = TokenRight,
    responses(
        (status = 200, body = AccessRight),
        (status = 409, description = "There are as many rights as there may be, or the hub has no name that a DID can \
            be made of: `detail` says what to do"),
    )
)]
pub(in crate::http) async fn of_token(
    Shared(state): Shared<State>,
    user: WalletUser,
    Path((tenant, device)): Path<(String, String)>,
    input::Json(wanted): input::Json<TokenRight>,
) -> Result<Json<AccessRight>, Problem> {
    let (tenant, device) = (input::tenant(&tenant)?, input::device(&device)?);
    let (rights, owners) = (state.rights(), owners(&state));
    let account = Address::from(user.wallet);
    let of = (&tenant, &device);
    let given = if owners.are_on(&tenant, user.chain).await? {
        let now_us = state.clock.now_us();
        rights
            .of_tokens(&owners, of, account, wanted.commands, now_us)
            .await
    } else {
        Err(NotGiven::Tokens(Refused::NoPassport))
    };
    match given {
        Ok(given) => show(&given).map(Json),
        // Whether there is such a device is no stranger's to know.
        Err(NotGiven::Tokens(Refused::NoPassport | Refused::Policy(Refusal::NotHeld))) => {
            Err(Problem::new(
                Kind::NotFound,
                "this account holds neither the passport of a device of this name nor a right to use it",
            ))
        }
        Err(NotGiven::Tokens(refused)) => Err(refused.into()),
        Err(NotGiven::Right(error)) => Err(error.into()),
    }
}

/// A credential to show at a gateway.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct AccessCredential {
    /// Until when it holds, µs since the epoch. Another one can be had at any time.
    valid_until_us: i64,
    /// The credential, with proofs by Ed25519 and ML-DSA-44.
    #[schema(value_type = stencil_store::schema::Json)]
    credential: Value,
}

/// A fresh credential of a right of the wallet's account, to show at the device's gateway: it holds for
/// some hours, also while this hub cannot be reached.
#[utoipa::path(
    get,
    path = "/api/v1/wallet/access/{tenant}/{right}",
    tag = "wallet",
    responses(
        (status = 200, body = AccessCredential),
        (status = 409, description = "The right does not hold: `detail` says why"),
    )
)]
pub(in crate::http) async fn credential(
    Shared(state): Shared<State>,
    user: WalletUser,
    Path((tenant, right)): Path<(String, String)>,
) -> Result<Json<AccessCredential>, Problem> {
    let not_found = || Problem::not_found("right", &right);
    let tenant = TenantId::parse(&tenant).map_err(|_| not_found())?;
    let found = state.store.access.right(&tenant, &right).await?;
    // That of another account is told as one that there is not.
    let found = found.filter(|found| found.right.holder == user.wallet);
    let own = on_its_chain(&state, &user, found.into_iter().collect()).await?;
    let found = own.into_iter().next().ok_or_else(not_found)?;
    let rights = state.rights();
    let now_us = state.clock.now_us();
    let fresh = rights
        .fresh_credential(&owners(&state), &found, now_us)
        .await;
    let (credential, valid_until_us) = fresh.map_err(not_given)?;
    Ok(Json(AccessCredential {
        valid_until_us,
        credential: Value::Object(credential),
    }))
}

/// Why there is no credential of a right that the account has.
fn not_given(why: NotGiven) -> Problem {
    match why {
        NotGiven::Tokens(Refused::Policy(
            why @ (Refusal::Unknown { .. } | Refusal::Ahead { .. }),
        )) => {
            let detail = format!("no credential is given now, and the right stays as it is: {why}");
            Problem::new(Kind::Busy, detail)
        }
        NotGiven::Tokens(why @ (Refused::NoPassport | Refused::Policy(_))) => {
            let detail = format!("the token that this right is of does not give it now: {why}");
            Problem::new(Kind::Conflict, detail)
        }
        NotGiven::Tokens(refused) => refused.into(),
        NotGiven::Right(error) => error.into(),
    }
}

/// The credential alone, as a file.
#[utoipa::path(
    get,
    path = "/api/v1/wallet/access/{tenant}/{right}/file",
    tag = "wallet",
    responses((status = 200, description = "The credential", content_type = "application/json"))
)]
pub(in crate::http) async fn file(
    shared: Shared<State>,
    user: WalletUser,
    path: Path<(String, String)>,
) -> Result<Response, Problem> {
    let Json(issued) = credential(shared, user, path).await?;
    let headers = [(
        header::CONTENT_DISPOSITION,
        "attachment; filename=\"right.json\"",
    )];
    Ok((headers, Json(issued.credential)).into_response())
}
