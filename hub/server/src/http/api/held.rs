//! What an account controls by the tokens that it holds: who has signed in with a wallet commands devices,
//! and sells.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use http::{Extensions, HeaderMap, StatusCode, header};
use serde::Serialize;
use stencil_ownership::holder::Owner;
use stencil_ownership::listing::Offer;
use stencil_ownership::policy::{As, Refusal};
use stencil_payments::Address;
use stencil_protocol::command::Command;
use stencil_protocol::id::{CommandId, DeviceId, TenantId};
use stencil_store::{
    AuditOutcome, Error, MAX_HELD_COMMANDS, NewAudit, NewCommand, Page, Queued, StoredCommand,
};

use super::commands::{self, Order};
use super::market::{self, SaleTerms};
use super::ownership::owners;
use crate::chains::Owners;
use crate::chains::ownership::market::{ListingVerdict, ToSign};
use crate::chains::ownership::{Control, Refused};
use crate::http::State;
use crate::http::access::WalletUser;
use crate::http::audit::{self, Event};
use crate::http::input::{self, Paging, Path, Query};
use crate::http::listener::Peer;
use crate::http::problem::{Kind, Problem};
use crate::hub::command_id;

/// How a holder's command is called in the audit log.
const ACTION: &str = "holders.command";
/// After how many seconds a holder's command expires at the latest. Who sells the device to-morrow has nothing
/// done to it the day after.
const MAX_EXPIRY_S: u32 = 300;

/// Devices on a page.
const MAX_DEVICES: u32 = 100;

/// A device that an account controls or may use.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct HeldView {
    /// Whose device.
    #[schema(value_type = String)]
    tenant: TenantId,
    /// The device.
    #[schema(value_type = String)]
    device: DeviceId,
    /// By what: `owner`, `user`, the same with `_to_be` where it is not final yet, or `over`, when the
    /// right has ended.
    by: &'static str,
    /// Of a right: its last second, since 1970.
    expires_s: Option<u64>,
    /// Which commands the account may give now; `*` is every one. None where `fresh` is false.
    may: Vec<String>,
    /// Whether the chain was read up to now: if not, whose the token is by now is not known, and nobody may do
    /// anything by it.
    fresh: bool,
}

/// Devices that the account controls or may use, by the tokens that it holds. A page has 100 at most.
#[utoipa::path(
    get,
    path = "/api/v1/wallet/devices",
    tag = "holders",
    params(Paging), responses((status = 200, body = Page<HeldView>))
)]
pub(in crate::http) async fn list(
    Shared(state): Shared<State>,
    user: WalletUser,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<HeldView>>, Problem> {
    // Of each all its rights are looked at.
    let limit = paging.limit()?.min(MAX_DEVICES);
    let port = &state.store.ownership;
    let page = port
        .devices_held(&user.wallet, paging.after.as_deref(), limit)
        .await?;
    let (owners, account) = (owners(&state), Address::from(user.wallet));
    let mut items = Vec::with_capacity(page.items.len());
    for held in page.items {
        if !owners.are_on(&held.tenant, user.chain).await? {
            continue;
        }
        items.extend(view(&owners, held.tenant, held.device, account).await?);
    }
    Ok(Json(Page {
        items,
        next: page.next,
    }))
}

/// What is known of a device's tokens, of rights the account's alone; `None`: nothing, by now.
pub(in crate::http) async fn control_of(
    owners: &Owners,
    tenant: &TenantId,
    device: &DeviceId,
    account: Address,
) -> Result<Option<Control>, Problem> {
    match owners.control(tenant, device, Some(&account)).await {
        Ok(control) => Ok(Some(control)),
        Err(Refused::NoPassport) => Ok(None),
        // One that can't be read keeps the account from no other.
        Err(Refused::Store(error @ Error::Corrupt { .. })) => {
            tracing::error!(%tenant, %device, %error, "a device is not shown to who holds it");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// What an account may do with a device; `None`: nothing, by now.
async fn view(
    owners: &Owners,
    tenant: TenantId,
    device: DeviceId,
    account: Address,
) -> Result<Option<HeldView>, Problem> {
    let Some(control) = control_of(owners, &tenant, &device, account).await? else {
        return Ok(None);
    };
    let policy = control.settings.policy();
    let fresh = policy.fresh(control.read_s, owners.now_s()).is_ok();
    let owner = control.token.as_ref().map(|token| token.owner(policy.gain));
    let is_owner = owner == Some(Owner::Is(account));
    let users = control.rights.iter();
    let longest = users
        .filter_map(|(_, token)| token.user(policy.gain))
        .filter(|user| user.account == account)
        .max_by_key(|user| (user.in_effect, user.expires));
    let is_over = longest.is_some_and(|user| owners.now_s() > user.expires);
    let uses = longest.is_some_and(|user| user.in_effect) && !is_over;
    let by = match (owner, longest) {
        _ if is_owner => "owner",
        (Some(Owner::GoingTo(next)), _) if next == account => "owner_to_be",
        (_, None) => return Ok(None),
        _ if is_over => "over",
        _ if uses => "user",
        _ => "user_to_be",
    };
    // As a command is looked at: by the passport, or by a right.
    let mut may = BTreeSet::new();
    if fresh && is_owner {
        may.extend(policy.owner_may.0);
    }
    if fresh && uses {
        may.extend(policy.user_may.0);
    }
    let by_right = !by.starts_with("owner");
    Ok(Some(HeldView {
        tenant,
        device,
        by,
        expires_s: longest.filter(|_| by_right).map(|user| user.expires),
        may: may.into_iter().collect(),
        fresh,
    }))
}

/// Queues a command for a device that the account controls, or may use.
///
/// Its name has 1 to 32 letters, digits, `.`, `_` or `-`. What the account holds is looked at now. The command
/// expires after five minutes at the latest, whatever was asked for,
/// by a right with the right, and when somebody else has the token before a gateway has the command. Eight
/// of an account may be unfinished. With an `Idempotency-Key` the same call again is the same command.
#[utoipa::path(
    post,
    path = "/api/v1/wallet/devices/{tenant}/{device}/commands",
    tag = "holders",
    request_body = Order,
    params((
        "Idempotency-Key" = Option<String>, Header, max_length = 128,
        description = "The caller's own name of this call"
    )),
    responses(
        (status = 202, description = "Queued: what becomes of it is at `Location`", body = StoredCommand),
        (status = 409, description = "The key was used for another command, the device was revoked, or what the account \
            holds or may do was changed meanwhile: nothing is queued then"),
        (status = 429, description = "Eight commands of the account by this token are unfinished"),
    )
)]
pub(in crate::http) async fn command(
    Shared(state): Shared<State>,
    user: WalletUser,
    Path((tenant, device)): Path<(String, String)>,
    headers: HeaderMap,
    extensions: Extensions,
    input::Json(order): input::Json<Order>,
) -> Result<Response, Problem> {
    let (tenant, device) = (input::tenant(&tenant)?, input::device(&device)?);
    let account = Address::from(user.wallet);
    let key = input::idempotency_key(&headers)?;
    let now_us = state.clock.now_us();
    let (argument, mut expires_us) = order.read(now_us)?;
    // Before it is looked at who asks: what a stranger sends is written nowhere. The owner of a device is none
    // of its tenant, so the name is one that a right could give, too.
    stencil_access::grant::check_command(order.name())
        .map_err(|error| Problem::invalid(format!("`name`: {error}")))?;
    Command {
        id: CommandId([0; 16]),
        device: device.clone(),
        name: order.name(),
        argument: argument
            .as_ref()
            .map(stencil_protocol::sample::OwnedValue::as_ref),
        expires_us,
    }
    .check()
    .map_err(|error| Problem::invalid(error.to_string()))?;
    let who = format!("wallet {}", account.to_checksum(None));
    let address = Peer::address(&extensions);
    let owners = owners(&state);
    let by = if owners.are_on(&tenant, user.chain).await? {
        owners
            .by_token(&tenant, &device, account, order.name())
            .await
    } else {
        Err(Refused::NoPassport)
    };
    let (by, token) = match by {
        Ok(by) => by,
        // Whether there is such a device is no stranger's to know.
        Err(Refused::NoPassport | Refused::Policy(Refusal::NotHeld)) => return Err(not_held()),
        Err(refused) => {
            let is_unknown = matches!(
                refused,
                Refused::Policy(Refusal::Unknown { .. } | Refusal::Ahead { .. })
            );
            if matches!(refused, Refused::Policy(_)) && !is_unknown {
                let event = Event {
                    who,
                    action: ACTION.into(),
                    target: Some(device.to_string()),
                    outcome: AuditOutcome::Refused,
                    detail: Some(order.name().to_owned()),
                    address,
                    repeats: false,
                };
                audit::note(&state, &tenant, event).await;
            }
            return Err(refused.into());
        }
    };
    expires_us = expires_us.min(now_us.saturating_add(i64::from(MAX_EXPIRY_S) * 1_000_000));
    if let As::User { expires } = by {
        let ends_us = i64::try_from(expires.saturating_add(1)).unwrap_or(i64::MAX);
        expires_us = expires_us.min(ends_us.saturating_mul(1_000_000));
    }
    // The keys of one account are its own.
    let key = key.map(|key| format!("{}/{key}", hex::encode(user.wallet)));
    let by = match by {
        As::Owner => "owner",
        As::User { .. } => "user",
    };
    // The tenant's own log says who: it is nobody of the tenant.
    let entry = NewAudit {
        at_us: now_us,
        who,
        action: ACTION.to_owned(),
        target: Some(device.to_string()),
        outcome: AuditOutcome::Done,
        detail: Some(format!("{} ({by})", order.name())),
        address: Some(address.to_string()),
    };
    let id = command_id(&tenant, key.as_deref());
    let command = NewCommand {
        id,
        tenant: tenant.clone(),
        device: device.clone(),
        name: order.name().to_owned(),
        argument,
        expires_us,
        effect_key: None,
    };
    let (commands, keep) = (&state.store.commands, state.limits.audit_entries);
    let queued = commands.queue_held(&command, &token, &entry, keep, now_us);
    let queued = queued.await?;
    match queued {
        Queued::New => {
            tracing::info!(%tenant, %device, %account, command = %id, "a wallet commands a device");
        }
        Queued::Known => {}
        Queued::Changed => {
            return Err(Problem::new(
                Kind::Conflict,
                "nothing was queued: the token is another's since a moment ago, or what holders may do with the \
                 device was changed; look at what the account may do, and ask again if it still may",
            ));
        }
        Queued::TooMany => {
            return Err(Problem::new(
                Kind::TooMany,
                format!(
                    "{MAX_HELD_COMMANDS} commands of this account are neither done nor over: wait for them"
                ),
            ));
        }
    }
    let stored = commands::of_tenant(&state, &tenant, &id).await?;
    let place = format!("/api/v1/wallet/devices/{tenant}/{device}/commands/{id}");
    let location = [(header::LOCATION, place)];
    Ok((StatusCode::ACCEPTED, location, Json(stored)).into_response())
}

/// What has become of a command that the account has queued by what it held, also when it holds that no more.
#[utoipa::path(
    get,
    path = "/api/v1/wallet/devices/{tenant}/{device}/commands/{command}",
    tag = "holders",
    responses(
        (status = 200, body = StoredCommand),
        (status = 404, description = "The account has queued no such command for a device of this name"),
    )
)]
pub(in crate::http) async fn queued(
    Shared(state): Shared<State>,
    user: WalletUser,
    Path((tenant, device, command)): Path<(String, String, String)>,
) -> Result<Json<StoredCommand>, Problem> {
    let (tenant, device) = (input::tenant(&tenant)?, input::device(&device)?);
    let id = CommandId::parse(&command).map_err(|error| Problem::invalid(error.to_string()))?;
    let commands = &state.store.commands;
    let found = if owners(&state).are_on(&tenant, user.chain).await? {
        commands.held_command(&tenant, &user.wallet, &id).await?
    } else {
        None
    };
    let found = found.filter(|found| found.device == device);
    found
        .map(Json)
        .ok_or_else(|| Problem::not_found("command", id))
}

/// To who holds nothing, whether or not there is such a device.
fn not_held() -> Problem {
    Problem::new(
        Kind::NotFound,
        "this account holds neither the passport of a device of this name nor a right to use it",
    )
}

/// What the account has to sign to sell the device's passport, or a right.
#[utoipa::path(
    post,
    path = "/api/v1/wallet/devices/{tenant}/{device}/listing",
    tag = "holders",
    request_body = SaleTerms,
    responses(
        (status = 200, body = ToSign),
        (status = 409, description = "It can't be sold like that: not the account's, no market, a price below the royalty"),
    )
)]
pub(in crate::http) async fn list_for_sale(
    Shared(state): Shared<State>,
    user: WalletUser,
    Path((tenant, device)): Path<(String, String)>,
    input::Json(terms): input::Json<SaleTerms>,
) -> Result<Json<ToSign>, Problem> {
    let (tenant, device) = (input::tenant(&tenant)?, input::device(&device)?);
    let seller = Address::from(user.wallet);
    // Before a chain is asked: whether there is such a device is no stranger's to know.
    let owners = owners(&state);
    if !owners.are_on(&tenant, user.chain).await? || !owners.holds(&tenant, &device, seller).await?
    {
        return Err(not_held());
    }
    market::to_sign(&state, &tenant, &device, seller, &terms)
        .await
        .map(Json)
}

/// Whether a signed listing can be bought now at the tenant's market by the account, and by which
/// transaction.
#[utoipa::path(
    post,
    path = "/api/v1/wallet/listings/{tenant}/check",
    tag = "holders",
    request_body(content = serde_json::Value, description = "The signed listing", content_type = "application/json"),
    responses((status = 200, body = ListingVerdict))
)]
pub(in crate::http) async fn check(
    Shared(state): Shared<State>,
    user: WalletUser,
    Path(tenant): Path<String>,
    extensions: Extensions,
    input::Json(offer): input::Json<Offer>,
) -> Result<Json<ListingVerdict>, Problem> {
    let tenant = input::tenant(&tenant)?;
    let pool = &state.questions().listings;
    let _room = pool.enter(Peer::address(&extensions))?;
    let buyer = Address::from(user.wallet);
    Ok(Json(owners(&state).verdict(&tenant, &offer, buyer).await?))
}
