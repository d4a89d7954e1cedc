//! Seals that are not what the hub has, until somebody has looked at each.

use axum::Json;
use axum::extract::State as Shared;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use stencil_protocol::id::{DeviceId, GatewayId};
use stencil_store::{Page, SealFlaw, SealKey, SealMark, SealMarkFilter};

use super::devices;
use crate::http::audit::{Detail, Target};
use crate::http::input::{self, Path, Query};
use crate::http::problem::Problem;
use crate::http::{Caller, State};
use crate::proofs::Differs;

/// The longest word of who clears a mark, in bytes.
pub(in crate::http) const MAX_WHY: usize = 500;

/// A seal that is not what the hub has, and that nobody has cleared.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct ShownMark {
    /// The gateway.
    #[schema(value_type = String)]
    pub(in crate::http) gateway: GatewayId,
    /// Which chain of seals, as decimal digits.
    pub(in crate::http) epoch: String,
    /// Which one of the chain.
    pub(in crate::http) number: u64,
    /// Whose readings are something else here; null: it is the seal as a whole.
    #[schema(value_type = Option<String>)]
    pub(in crate::http) device: Option<DeviceId>,
    /// In what it differs.
    pub(in crate::http) flaw: SealFlaw,
    /// The same in words.
    pub(in crate::http) why: String,
    /// What the seal says, and what the hub has.
    pub(in crate::http) differs: Differs,
    /// When it was found.
    pub(in crate::http) at_us: i64,
}

impl From<SealMark> for ShownMark {
    fn from(stored: SealMark) -> Self {
        Self {
            gateway: stored.key.gateway,
            epoch: stored.key.epoch.to_string(),
            number: stored.key.number,
            device: stored.mark.device,
            flaw: stored.mark.flaw,
            why: stored.mark.why,
            differs: serde_json::from_str(&stored.mark.differs).unwrap_or_default(),
            at_us: stored.at_us,
        }
    }
}

/// Which marks.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct Which {
    /// Of seals of this gateway only.
    gateway: Option<String>,
    /// Of this device only: of its readings, and of seals as a whole of the gateway that it is behind.
    device: Option<String>,
    /// The cursor: `next` of the page before.
    after: Option<String>,
    /// Marks at most, 100 if it is not given.
    #[param(minimum = 1, maximum = 1_000)]
    limit: Option<u32>,
}

/// Seals that are not what the hub has, and that nobody has cleared yet; the newest first. At most 256 of
/// a gateway are marked, those that came first: the others are among `/api/v1/seals` only.
#[utoipa::path(
    get,
    path = "/api/v1/seal-marks",
    tag = "proofs",
    params(Which), responses((status = 200, body = Page<ShownMark>))
)]
pub(in crate::http) async fn list(
    Shared(state): Shared<State>,
    caller: Caller,
    Query(which): Query<Which>,
) -> Result<Json<Page<ShownMark>>, Problem> {
    let limit = which.limit.unwrap_or(100);
    if !(1..=1_000).contains(&limit) {
        return Err(Problem::invalid("`limit` has to be 1 to 1000"));
    }
    let gateway = which.gateway.as_deref().map(gateway_id).transpose()?;
    let device = match which.device.as_deref() {
        Some(device) => {
            let device = devices::known(&state, &caller, device).await?;
            Some((device.id, device.gateway))
        }
        None => None,
    };
    let filter = SealMarkFilter { gateway, device };
    let (proofs, after) = (&state.store.proofs, which.after.as_deref());
    let page = proofs
        .seal_marks(&caller.tenant, &filter, after, limit)
        .await?;
    Ok(Json(Page {
        items: page.items.into_iter().map(ShownMark::from).collect(),
        next: page.next,
    }))
}

fn gateway_id(text: &str) -> Result<GatewayId, Problem> {
    GatewayId::parse(text).map_err(|error| Problem::invalid(format!("the gateway: {error}")))
}

/// The word of who has looked at a seal.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Word {
    /// What was found, or done: it stands in the audit log.
    #[schema(min_length = 1, max_length = 500)]
    why: String,
}

/// Takes the mark of a seal away, by the word of who has looked at it. The seal itself stays what it was
/// found to be: it is never anchored, and proves nothing.
#[utoipa::path(
    post,
    path = "/api/v1/gateways/{gateway}/seals/{epoch}/{number}/clear",
    tag = "proofs",
    request_body = Word,
    responses((status = 204, description = "It is not marked any more"))
)]
pub(in crate::http) async fn clear(
    Shared(state): Shared<State>,
    caller: Caller,
    Path((gateway, epoch, number)): Path<(String, String, String)>,
    input::Json(word): input::Json<Word>,
) -> Result<(Target, Detail, StatusCode), Problem> {
    let why = word.why.trim();
    if why.is_empty() || why.len() > MAX_WHY || why.chars().any(char::is_control) {
        let detail = format!(
            "`why` has to say on one line what was found or done, in at most {MAX_WHY} bytes"
        );
        return Err(Problem::invalid(detail));
    }
    let digits = |what: &str, text: &str| {
        let wrong =
            || Problem::invalid(format!("the {what} is {text:?}: decimal digits are right"));
        text.parse::<u64>().map_err(|_| wrong())
    };
    let key = SealKey {
        tenant: caller.tenant.clone(),
        gateway: gateway_id(&gateway)?,
        epoch: digits("chain", &epoch)?,
        number: digits("number", &number)?,
    };
    if !state.store.proofs.clear_seal_marks(&key).await? {
        let which = format!("{gateway} {epoch}/{number}");
        return Err(Problem::not_found("marked seal", which));
    }
    let detail = format!("chain {epoch}: {why}");
    Ok((
        Target(format!("{gateway} {number}")),
        Detail(detail),
        StatusCode::NO_CONTENT,
    ))
}
