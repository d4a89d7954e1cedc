//! Whose tokens control a tenant's devices: the policy, passports of devices, rights to use them.

use axum::Json;
use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use stencil_ownership::holder::{Gain, Owner, Token};
use stencil_ownership::policy::{As, Refusal};
use stencil_payments::{Address, B256, U256};
use stencil_protocol::id::{DeviceId, TenantId};
use stencil_store::TokenKey;

use super::devices;
use crate::chains::Owners;
use crate::chains::ownership::{Control, HeldRight, HeldRights, OwnershipSettings, Refused};
use crate::chains::x402::price;
use crate::http::audit::Detail;
use crate::http::input::{self, Path};
use crate::http::problem::{Kind, Problem};
use crate::http::{Caller, State};

/// What callers are told when endpoints do not answer, or not the same.
const NO_ANSWER: &str =
    "the chain does not answer now, or its endpoints do not agree: try again later";

/// What is said of a device that was given none.
const NO_PASSPORT: &str = "the device has no passport";

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NoPassport => Self::new(Kind::NotFound, NO_PASSPORT),
            Refused::Policy(why @ (Refusal::Unknown { .. } | Refusal::Ahead { .. })) => {
                Self::new(Kind::Busy, why.to_string())
            }
            Refused::Policy(why) => Self::new(Kind::Forbidden, why.to_string()),
            Refused::Unknown(why) => {
                // Endpoints' names and words are for who runs the hub.
                tracing::warn!(%why, "a chain does not answer");
                Self::new(Kind::Busy, NO_ANSWER)
            }
            Refused::Busy(why) => Self::new(Kind::Busy, why),
            Refused::Contract(why) => Self::new(Kind::Conflict, why),
            Refused::Store(error) => error.into(),
        }
    }
}

/// What is known of who controls devices.
pub(in crate::http) fn owners(state: &State) -> Owners {
    let chains = state.control.cashier().chains().clone();
    Owners::new(state.store.clone(), chains, state.clock.clone())
}

/// Which passport a device has.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewPassport {
    /// The device's DID: the passport's id is the Keccak-256 of it.
    #[schema(min_length = 5, max_length = 2048)]
    did: Option<String>,
    /// In its place the passport's id: a whole number in decimal digits, or 32 bytes as `0x…`.
    #[schema(max_length = 78)]
    token: Option<String>,
}

/// Who wants to do what.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ControlAsked {
    /// The account, `0x…`.
    #[schema(min_length = 42, max_length = 42)]
    account: String,
    /// The command's name.
    #[schema(min_length = 1, max_length = 32)]
    command: String,
}

/// Whether an account may command a device by what it holds.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct ControlAnswer {
    /// It may.
    may: bool,
    /// By what: `owner` or `user`; null: it may not.
    by: Option<&'static str>,
    /// Of a right: its last second, since 1970.
    expires_s: Option<u64>,
    /// Why it may not; null: it may.
    why: Option<String>,
}

/// A right that was issued before rights were followed.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct OldRight {
    /// Its id: a whole number in decimal digits, or 32 bytes as `0x…`.
    #[schema(min_length = 1, max_length = 78)]
    token: String,
}

/// Who controls a device by what a chain says.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct Controlled {
    /// The device.
    #[schema(value_type = String)]
    pub(in crate::http) device: DeviceId,
    /// The chain.
    pub(in crate::http) chain: String,
    /// The passport's id: 32 bytes as `0x…`.
    pub(in crate::http) passport: String,
    /// The DID of which that is the hash, where it was said.
    pub(in crate::http) did: Option<String>,
    /// Who owns it and controls the device; null: nobody that is known.
    pub(in crate::http) owner: Option<String>,
    /// To whom it is going in a block that is not final; nobody controls the device by it meanwhile.
    pub(in crate::http) going_to: Option<String>,
    /// Rights to use the device, at most 200: those that run, the one that ends last first; then those that
    /// are over.
    pub(in crate::http) rights: Vec<RightView>,
    /// The time of the newest block that was read, seconds since 1970; null: none was.
    pub(in crate::http) read_s: Option<u64>,
    /// Whether that is new enough: if not, nobody may do anything by what they hold.
    pub(in crate::http) fresh: bool,
}

/// A right to use a device.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct RightView {
    /// Its id: a whole number in decimal digits.
    pub(in crate::http) token: String,
    /// Who uses it; null: nobody.
    pub(in crate::http) user: Option<String>,
    /// The last second, since 1970.
    pub(in crate::http) expires_s: Option<u64>,
    /// Whether the user may use it now.
    pub(in crate::http) in_effect: bool,
}

/// Which rights an account holds.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct AccountRights {
    /// The account.
    account: String,
    /// Its rights.
    rights: Vec<AccountRight>,
    /// Which commands they let it give; `*` is every one.
    user_may: Vec<String>,
    /// The time of the newest block that was read, seconds since 1970; null: none was.
    read_s: Option<u64>,
    /// Whether that is new enough: if not, any of these may be somebody else's by now.
    fresh: bool,
}

/// A right of an account's.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct AccountRight {
    /// The device.
    #[schema(value_type = String)]
    device: DeviceId,
    /// The right's id: a whole number in decimal digits.
    token: String,
    /// The last second, since 1970.
    expires_s: u64,
    /// Whether the block that says so is final; if not, a reorganisation may take the right back.
    #[serde(rename = "final")]
    is_final: bool,
}

impl AccountRights {
    fn of(asked: Address, held: HeldRights) -> Self {
        let right = |right: HeldRight| AccountRight {
            device: right.device,
            token: U256::from_be_bytes(right.token).to_string(),
            expires_s: right.expires_s,
            is_final: right.is_final,
        };
        Self {
            account: account(asked),
            rights: held.rights.into_iter().map(right).collect(),
            user_may: held.user_may,
            read_s: (held.read_s > 0).then_some(held.read_s),
            fresh: held.is_fresh,
        }
    }
}

fn account(address: Address) -> String {
    address.to_checksum(None)
}

fn token_id(name: &str, text: &str) -> Result<TokenKey, Problem> {
    let number = match text.strip_prefix("0x") {
        Some(digits) if (1..=64).contains(&digits.len()) => U256::from_str_radix(digits, 16).ok(),
        Some(_) => None,
        None => stencil_ownership::listing::number(text),
    };
    let number = number.ok_or_else(|| {
        let text: String = text.chars().take(80).collect();
        Problem::invalid(format!(
            "`{name}` is `{text}`, it has to be a whole number of up to 256 bits in decimal digits, \
             or up to 32 bytes as 0x…"
        ))
    })?;
    Ok(number.to_be_bytes())
}

/// How the tenant lets tokens control its devices.
#[utoipa::path(
    get,
    path = "/api/v1/ownership",
    tag = "ownership",
    responses(
        (status = 200, body = OwnershipSettings),
        (status = 404, description = "The tenant has set nothing of the kind"),
    )
)]
pub(in crate::http) async fn settings(
    Shared(state): Shared<State>,
    caller: Caller,
) -> Result<Json<OwnershipSettings>, Problem> {
    let settings = owners(&state).settings(&caller.tenant).await?;
    settings.map(Json).ok_or_else(no_policy)
}

/// Sets how the tenant lets tokens of a chain control its devices.
///
/// The contracts are asked what they are. From the next block on that is looked at their tokens are
/// followed; of a token that was there before the contract is asked when a device is given its passport.
#[utoipa::path(
    put,
    path = "/api/v1/ownership",
    tag = "ownership",
    request_body(content = OwnershipSettings, example = json!({
        "chain": "polygon",
        "passports": "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "owner_may": ["*"],
        "user_may": ["unlock"],
        "takes_effect": "final",
        "stale_after_s": 900,
    })),
    responses((status = 200, description = "It is so from now on", body = OwnershipSettings))
)]
pub(in crate::http) async fn set(
    Shared(state): Shared<State>,
    caller: Caller,
    input::Json(settings): input::Json<OwnershipSettings>,
) -> Result<Response, Problem> {
    let set = owners(&state).set(&caller.tenant, settings).await?;
    let settings = set.map_err(|wrong| {
        if wrong.unknown {
            tracing::warn!(
                why = wrong.why,
                at = wrong.pointer,
                "a chain does not answer"
            );
            return Problem::new(Kind::Busy, format!("{}: {NO_ANSWER}", wrong.pointer));
        }
        let place = json!({ "pointer": format!("#{}", wrong.pointer), "what": &wrong.why });
        Problem::invalid(format!("{}: {}", wrong.pointer, wrong.why)).with_errors(vec![place])
    })?;
    tracing::info!(tenant = %caller.tenant, by = caller.who, "whose tokens control devices was set");
    Ok((Detail(said(&settings)), Json(settings)).into_response())
}

/// What stands in the audit log of settings.
fn said(settings: &OwnershipSettings) -> String {
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
    let names = |names: &std::collections::BTreeSet<String>| {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        match names.as_slice() {
            [] => "nothing".to_owned(),
            names => names.join(" "),
        }
    };
    format!(
        "by tokens on {}: passports {}, rights {}, market {}; owners may {}, users may {}",
        settings.chain,
        or_none(&settings.passports),
        or_none(&settings.access_rights),
        or_none(&settings.market),
        names(&settings.owner_may),
        names(&settings.user_may),
    )
}

/// No tokens control the tenant's devices any more.
#[utoipa::path(
    delete,
    path = "/api/v1/ownership",
    tag = "ownership",
    responses(
        (status = 204, description = "It is so from now on"),
        (status = 404, description = "The tenant has set nothing of the kind"),
    )
)]
pub(in crate::http) async fn remove(
    Shared(state): Shared<State>,
    caller: Caller,
) -> Result<StatusCode, Problem> {
    if !owners(&state).unset(&caller.tenant).await? {
        return Err(no_policy());
    }
    tracing::info!(tenant = %caller.tenant, by = caller.who, "tokens control devices no more");
    Ok(StatusCode::NO_CONTENT)
}

/// To who asks for what no tenant begins with.
fn no_policy() -> Problem {
    let detail = "no policy is set in this tenant, so that no token controls its devices; an admin sets one \
                  with `stencil passport policy set` (PUT /api/v1/ownership)";
    Problem::new(Kind::NotFound, detail)
}

/// Reads a right that was issued before the tenant's rights were followed.
#[utoipa::path(
    post,
    path = "/api/v1/ownership/rights",
    tag = "ownership",
    request_body = OldRight,
    responses(
        (status = 200, body = RightView),
        (status = 409, description = "The contract knows no such right"),
    )
)]
pub(in crate::http) async fn read_right(
    Shared(state): Shared<State>,
    caller: Caller,
    input::Json(right): input::Json<OldRight>,
) -> Result<Response, Problem> {
    let id = token_id("token", &right.token)?;
    let owners = owners(&state);
    let token = owners.read_right(&caller.tenant, id).await?;
    let gain = owners.settings(&caller.tenant).await?;
    let gain = gain.map_or(Gain::Final, |settings| settings.policy().gain);
    let view = right_view(&id, &token, gain, owners.now_s());
    Ok((Detail(format!("right {}", view.token)), Json(view)).into_response())
}

/// Which rights to use the tenant's devices an account holds: those that are not over, the one that ends last
/// first, at most 200.
#[utoipa::path(
    get,
    path = "/api/v1/ownership/accounts/{account}",
    tag = "ownership",
    responses(
        (status = 200, body = AccountRights),
        (status = 404, description = "The tenant has set nothing of the kind"),
    )
)]
pub(in crate::http) async fn of_account(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(text): Path<String>,
) -> Result<Json<AccountRights>, Problem> {
    let asked = price::address("account", &text).map_err(Problem::invalid)?;
    let held = owners(&state).rights_of(&caller.tenant, asked).await;
    let held = held.map_err(|refused| match refused {
        Refused::NoPassport => no_policy(),
        other => other.into(),
    })?;
    Ok(Json(AccountRights::of(asked, held)))
}

/// Who controls a device by what a chain says.
#[utoipa::path(
    get,
    path = "/api/v1/devices/{device}/passport",
    tag = "ownership",
    responses((status = 200, body = Controlled))
)]
pub(in crate::http) async fn of_device(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(device): Path<String>,
) -> Result<Json<Controlled>, Problem> {
    let device = devices::known(&state, &caller, &device).await?.id;
    controlled(&state, &caller.tenant, &device).await.map(Json)
}

/// Says which passport a device has, in the place of another.
///
/// Who owns it is asked of the contract, and takes effect when the block of that answer is final; what
/// changes later the chain says.
#[utoipa::path(
    put,
    path = "/api/v1/devices/{device}/passport",
    tag = "ownership",
    request_body(content = NewPassport, example = json!({
        "did": "did:web:hub.example:tenants:acme:devices:locker-7",
    })),
    responses(
        (status = 200, body = Controlled),
        (status = 409, description = "Another device has it, or the tenant has no policy"),
    )
)]
pub(in crate::http) async fn give(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(device): Path<String>,
    input::Json(passport): input::Json<NewPassport>,
) -> Result<Response, Problem> {
    let device = devices::known(&state, &caller, &device).await?.id;
    let (id, did) = match (passport.did, passport.token) {
        (Some(did), None) => {
            let id = stencil_ownership::token_of(&did).ok_or_else(|| {
                Problem::invalid("`did` begins with `did:` and has 5 to 2048 bytes")
            })?;
            (id.0, Some(did))
        }
        (None, Some(token)) => (token_id("token", &token)?, None),
        _ => {
            let detail = "one of `did` and `token` says which passport it is";
            return Err(Problem::invalid(detail));
        }
    };
    owners(&state)
        .give_passport(&caller.tenant, &device, id, did)
        .await?;
    tracing::info!(tenant = %caller.tenant, %device, by = caller.who, "a device was given a passport");
    let detail = Detail(format!("passport {}", B256::from(id)));
    let shown = controlled(&state, &caller.tenant, &device).await?;
    Ok((detail, Json(shown)).into_response())
}

/// A device has no passport any more: no token controls it.
#[utoipa::path(
    delete,
    path = "/api/v1/devices/{device}/passport",
    tag = "ownership",
    responses((status = 204, description = "It is so from now on"))
)]
pub(in crate::http) async fn take(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(device): Path<String>,
) -> Result<Response, Problem> {
    let device = devices::known(&state, &caller, &device).await?.id;
    let ownership = &state.store.ownership;
    let had = ownership.device_passport(&caller.tenant, &device).await?;
    if !ownership
        .remove_device_passport(&caller.tenant, &device, state.clock.now_us())
        .await?
    {
        return Err(Problem::new(Kind::NotFound, NO_PASSPORT));
    }
    tracing::info!(tenant = %caller.tenant, %device, by = caller.who, "a device has no passport");
    let had = had.map_or_else(String::new, |had| B256::from(had.token).to_string());
    let detail = Detail(format!("passport {had}"));
    Ok((StatusCode::NO_CONTENT, detail, ()).into_response())
}

/// Whether an account may command a device by the tokens that it holds, now.
#[utoipa::path(
    post,
    path = "/api/v1/devices/{device}/passport/check",
    tag = "ownership",
    request_body(content = ControlAsked, example = json!({
        "account": "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "command": "unlock",
    })),
    responses((status = 200, body = ControlAnswer))
)]
pub(in crate::http) async fn check(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(device): Path<String>,
    input::Json(asked): input::Json<ControlAsked>,
) -> Result<Json<ControlAnswer>, Problem> {
    let account = price::address("account", &asked.account).map_err(Problem::invalid)?;
    let device = devices::known(&state, &caller, &device).await?.id;
    let may = owners(&state)
        .may_command(&caller.tenant, &device, account, &asked.command)
        .await;
    Ok(Json(match may {
        Ok(by) => ControlAnswer {
            may: true,
            by: Some(match by {
                As::Owner => "owner",
                As::User { .. } => "user",
            }),
            expires_s: match by {
                As::Owner => None,
                As::User { expires } => Some(expires),
            },
            why: None,
        },
        Err(Refused::Policy(why)) => ControlAnswer {
            may: false,
            by: None,
            expires_s: None,
            why: Some(why.to_string()),
        },
        Err(error) => return Err(error.into()),
    }))
}

/// What is known of a device.
async fn controlled(
    state: &State,
    tenant: &TenantId,
    device: &DeviceId,
) -> Result<Controlled, Problem> {
    let owners = owners(state);
    let control = owners.control(tenant, device, None).await?;
    Ok(shown(device, &control, owners.now_s()))
}

pub(in crate::http) fn shown(device: &DeviceId, control: &Control, now_s: u64) -> Controlled {
    let policy = control.settings.policy();
    let owner = control.token.as_ref().map(|token| token.owner(policy.gain));
    let rights = control
        .rights
        .iter()
        .map(|(held, token)| right_view(&held.token, token, policy.gain, now_s))
        .collect();
    Controlled {
        device: device.clone(),
        chain: control.settings.chain.clone(),
        passport: B256::from(control.passport.token).to_string(),
        did: control.passport.did.clone(),
        owner: match owner {
            Some(Owner::Is(owner)) => Some(account(owner)),
            _ => None,
        },
        going_to: match owner {
            Some(Owner::GoingTo(owner)) => Some(account(owner)),
            _ => None,
        },
        rights,
        read_s: (control.read_s > 0).then_some(control.read_s),
        fresh: policy.fresh(control.read_s, now_s).is_ok(),
    }
}

fn right_view(id: &TokenKey, token: &Token, gain: Gain, now_s: u64) -> RightView {
    let user = token.user(gain);
    RightView {
        token: U256::from_be_bytes(*id).to_string(),
        user: user.map(|user| account(user.account)),
        expires_s: user.map(|user| user.expires),
        in_effect: user.is_some_and(|user| user.in_effect && now_s <= user.expires),
    }
}
