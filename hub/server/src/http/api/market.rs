//! Listings: what a seller's wallet has to sign, and whether one can be bought.

use axum::Json;
use axum::extract::State as Shared;
use serde::Deserialize;
use stencil_ownership::listing::{self, Offer};
use stencil_payments::{Address, U256};
use stencil_protocol::id::{DeviceId, TenantId};

use super::devices;
use super::ownership::owners;
use crate::chains::ownership::Refused;
use crate::chains::ownership::market::{Draft, ListingVerdict, ToSign};
use crate::chains::x402::price;
use crate::http::input::{self, Path};
use crate::http::problem::Problem;
use crate::http::{Caller, State};

/// The longest listing that is looked at, in bytes.
const MAX_OFFER: usize = 16 * 1024;
/// For how many seconds a listing is good where nothing is said.
const LISTED_S: u64 = 7 * 24 * 3600;
/// The least.
const MIN_LISTED_S: u64 = 60;

/// What is to be sold for how much.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct SaleTerms {
    /// A right's id, in decimal digits; the device's passport if it is not given.
    #[schema(max_length = 78)]
    right: Option<String>,
    /// What is paid with: a token's contract (`0x…`); the chain's own coin if it is not given.
    #[schema(max_length = 42)]
    token: Option<String>,
    /// What the buyer pays, base units (wei of the coin): decimal digits.
    #[schema(min_length = 1, max_length = 78)]
    price: String,
    /// For how many seconds it can be bought; a week if it is not given.
    #[schema(minimum = 60, maximum = 31_622_400)]
    expires_in_s: Option<u64>,
    /// A number that no other listing of the seller's has: decimal digits. The present time in
    /// microseconds if it is not given.
    #[schema(max_length = 78)]
    nonce: Option<String>,
}

/// Who sells what for how much.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ToList {
    /// The owner's account, `0x…`.
    #[schema(min_length = 42, max_length = 42)]
    seller: String,
    /// On what terms.
    terms: SaleTerms,
}

/// A signed listing, and who would buy.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ListingToCheck {
    /// The signed listing.
    #[schema(value_type = serde_json::Value)]
    offer: Offer,
    /// The buyer's account, `0x…`.
    #[schema(min_length = 42, max_length = 42)]
    buyer: String,
}

/// What an owner has to sign to sell a device's passport, or a right to use it.
#[utoipa::path(
    post,
    path = "/api/v1/devices/{device}/passport/listing",
    tag = "market",
    request_body(content = ToList, example = json!({
        "seller": "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "terms": { "price": "2500000000000000000" },
    })),
    responses(
        (status = 200, body = ToSign),
        (status = 409, description = "It can't be sold like that: not the seller's, no market, a price below the royalty"),
    )
)]
pub(in crate::http) async fn list(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(device): Path<String>,
    input::Json(wanted): input::Json<ToList>,
) -> Result<Json<ToSign>, Problem> {
    let seller = price::address("seller", &wanted.seller).map_err(Problem::invalid)?;
    let device = devices::known(&state, &caller, &device).await?.id;
    to_sign(&state, &caller.tenant, &device, seller, &wanted.terms)
        .await
        .map(Json)
}

/// Whether a signed listing can be bought now at the tenant's market, and by which transaction.
#[utoipa::path(
    post,
    path = "/api/v1/market/check",
    tag = "market",
    request_body = ListingToCheck,
    responses((status = 200, body = ListingVerdict))
)]
pub(in crate::http) async fn check(
    Shared(state): Shared<State>,
    caller: Caller,
    input::Json(asked): input::Json<ListingToCheck, MAX_OFFER>,
) -> Result<Json<ListingVerdict>, Problem> {
    let buyer = price::address("buyer", &asked.buyer).map_err(Problem::invalid)?;
    if buyer.is_zero() {
        return Err(Problem::invalid(
            "`buyer` is the zero address, which nobody has: name the account that buys",
        ));
    }
    let owners = owners(&state);
    Ok(Json(
        owners.verdict(&caller.tenant, &asked.offer, buyer).await?,
    ))
}

/// What `seller` has to sign.
pub(super) async fn to_sign(
    state: &State,
    tenant: &TenantId,
    device: &DeviceId,
    seller: Address,
    terms: &SaleTerms,
) -> Result<ToSign, Problem> {
    let owners = owners(state);
    let control = owners.control(tenant, device, Some(&seller)).await?;
    let missing = || {
        Problem::from(Refused::Contract(
            "the tenant has set no such contract".into(),
        ))
    };
    let (collection, token_id) = match &terms.right {
        Some(right) => (
            control.settings.access_rights().ok_or_else(missing)?,
            number("right", right)?,
        ),
        None => (
            control.settings.passports().ok_or_else(missing)?,
            U256::from_be_bytes(control.passport.token),
        ),
    };
    let listed_s = terms.expires_in_s.unwrap_or(LISTED_S);
    if !(MIN_LISTED_S..=listing::MAX_TIME_S).contains(&listed_s) {
        return Err(Problem::invalid(format!(
            "`expires_in_s` is {listed_s}, it has to be {MIN_LISTED_S} to {}",
            listing::MAX_TIME_S
        )));
    }
    let token = match &terms.token {
        Some(token) => price::address("token", token).map_err(Problem::invalid)?,
        None => Address::ZERO,
    };
    let nonce = match &terms.nonce {
        Some(nonce) => number("nonce", nonce)?,
        None => U256::from(u64::try_from(state.clock.now_us()).unwrap_or(0)),
    };
    let draft = Draft {
        collection,
        token_id,
        token,
        price: number("price", &terms.price)?,
        expires: owners.now_s().saturating_add(listed_s),
        nonce,
        passport: U256::from_be_bytes(control.passport.token),
    };
    Ok(owners.listing(tenant, seller, draft).await?)
}

fn number(name: &str, text: &str) -> Result<U256, Problem> {
    listing::number(text).ok_or_else(|| {
        Problem::invalid(format!(
            "`{name}` is a whole number of up to 256 bits in decimal digits"
        ))
    })
}
