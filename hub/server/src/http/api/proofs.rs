//! Proofs of what devices said: documents that are checked without the hub, the seals that they stand on,
//! and where these are anchored.

use axum::Json;
use axum::extract::State as Shared;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use stencil_proof::Record;
use stencil_protocol::id::{Boot, GatewayId, Seq};
use stencil_store::{Anchoring, Page, SealState, StoredSeal};

use super::devices;
use crate::http::audit::Detail;
use crate::http::input::{self, Path, Query};
use crate::http::problem::{Kind, Problem};
use crate::http::{Caller, State};
use crate::proofs::{NotProven, Proofs, Until, Which, due_s, held_up};

/// The least and the most seconds between two anchors.
const INTERVAL_S: std::ops::RangeInclusive<u64> = 1..=30 * 86_400;

impl From<NotProven> for Problem {
    fn from(not: NotProven) -> Self {
        match not {
            NotProven::NotFound(why) => Self::new(Kind::NotFound, why),
            NotProven::NotYet(why) => Self::new(Kind::Conflict, why),
            NotProven::Store(error) => error.into(),
        }
    }
}

fn proofs(state: &State) -> Proofs {
    let chains = state.control.cashier().chains().clone();
    Proofs::new(&state.store, &chains, &state.clock)
}

/// Which reading.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct Wanted {
    /// The boot of the device, with `number`.
    boot: Option<u32>,
    /// The reading's number in that boot.
    number: Option<u64>,
    /// In place of both, with `time_us`: what was measured.
    name: Option<String>,
    /// The time of the reading, µs since the Unix epoch.
    time_us: Option<i64>,
    /// How far the proof has to lead: `sealed` (the default), or `anchored`.
    #[param(inline)]
    until: Option<Until>,
}

impl Wanted {
    fn which(self) -> Result<Which, Problem> {
        match (self.boot, self.number, self.name, self.time_us) {
            (Some(boot), Some(number), None, None) => Ok(Which::Numbered {
                boot: Boot(boot),
                seq: Seq(number),
            }),
            (None, None, Some(name), Some(time_us)) => Ok(Which::Timed { name, time_us }),
            _ => Err(Problem::invalid(
                "either `boot` and `number` are needed, or `name` and `time_us`",
            )),
        }
    }
}

/// A proof, format `stencil-proof-2`: the reading, and the way from it to a seal and to a chain.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(transparent)]
#[schema(value_type = Object)]
pub(in crate::http) struct ShownProof(serde_json::Value);

/// The proof of a reading: a document that anybody checks without the hub (`stencil verify`). 404 where
/// nothing is kept of the reading for proofs, 409 where it is not sealed yet, or not anchored.
#[utoipa::path(
    get,
    path = "/api/v1/devices/{device}/proof",
    tag = "proofs",
    params(Wanted),
    responses(
        (status = 200, body = ShownProof),
        (status = 409, description = "It is not sealed yet, or not anchored"),
    )
)]
pub(in crate::http) async fn of_reading(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(device): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<ShownProof>, Problem> {
    let device = devices::known(&state, &caller, &device).await?;
    let until = wanted.until.unwrap_or_default();
    let which = wanted.which()?;
    let proofs = proofs(&state);
    let document = proofs.document(&caller.tenant, &device.id, &which, until);
    Ok(Json(ShownProof(document.await?.to_json())))
}

/// A seal of a gateway.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct ShownSeal {
    /// The gateway.
    #[schema(value_type = String)]
    gateway: GatewayId,
    /// Which chain of seals, as decimal digits.
    epoch: String,
    /// Which one of the chain.
    number: u64,
    /// Its hash, by which the next one names it.
    hash: String,
    /// What the hub has found of it: `pending`, `verified`, `incomplete`, `mismatch` or `refused`.
    state: SealState,
    /// Why, in words.
    why: Option<String>,
    /// How many devices it is over.
    devices: u64,
    /// How many readings.
    readings: u64,
    /// When the gateway made it, by its own clock.
    sealed_us: i64,
    /// When the hub received it.
    received_us: i64,
    /// Which anchor of the tenant it is in; null: none yet.
    anchor: Option<u64>,
}

fn shown(stored: StoredSeal) -> Result<ShownSeal, Problem> {
    let record = Record::decode(&stored.seal.record).map_err(Problem::internal)?;
    let Record::Sealed(sealed) = record else {
        return Err(Problem::internal("a seal that is none is in the store"));
    };
    Ok(ShownSeal {
        gateway: stored.seal.key.gateway,
        epoch: stored.seal.key.epoch.to_string(),
        number: stored.seal.key.number,
        hash: hex::encode(stored.seal.hash),
        state: stored.state,
        why: stored.why,
        devices: sealed.seal.chunks,
        readings: sealed.chunks.iter().map(|chunk| chunk.readings).sum(),
        sealed_us: sealed.seal.at_us,
        received_us: stored.seal.received_us,
        anchor: stored.anchor.map(|(anchor, _)| anchor),
    })
}

/// Which seals.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct Seals {
    /// Of this state only.
    state: Option<String>,
    /// The cursor: `next` of the page before.
    after: Option<String>,
    /// Seals at most, 100 if it is not given.
    #[param(minimum = 1, maximum = 1_000)]
    limit: Option<u32>,
}

/// The seals of the tenant's gateways, the newest first.
#[utoipa::path(
    get,
    path = "/api/v1/seals",
    tag = "proofs",
    params(Seals), responses((status = 200, body = Page<ShownSeal>))
)]
pub(in crate::http) async fn seals(
    Shared(state): Shared<State>,
    caller: Caller,
    Query(seals): Query<Seals>,
) -> Result<Json<Page<ShownSeal>>, Problem> {
    let limit = seals.limit.unwrap_or(100);
    if !(1..=1_000).contains(&limit) {
        return Err(Problem::invalid("`limit` has to be 1 to 1000"));
    }
    let of = seals.state.as_deref().map(|name| {
        SealState::parse(name).ok_or_else(|| {
            Problem::invalid(
                "`state` is one of `pending`, `verified`, `incomplete`, `mismatch`, `refused`",
            )
        })
    });
    let (of, after) = (of.transpose()?, seals.after.as_deref());
    let page = state.store.proofs.seals(&caller.tenant, of, after, limit);
    let Page { items, next } = page.await?;
    Ok(Json(Page {
        items: items.into_iter().map(shown).collect::<Result<_, _>>()?,
        next,
    }))
}

/// Where seals are anchored.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct AnchoringSettings {
    /// The chain, by its name in the hub's settings.
    chain: String,
    /// The least time between two anchors, in seconds.
    #[schema(minimum = 1, maximum = 2_592_000)]
    interval_s: u64,
}

/// The newest anchor.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct ShownAnchor {
    /// Which one of the tenant.
    anchor: u64,
    /// The chain, by its name in the hub's settings.
    chain: String,
    /// EIP-155 chain id.
    chain_id: u64,
    /// The contract.
    contract: String,
    /// The hub's account.
    publisher: String,
    /// The name of the tenant's series in the contract.
    series: String,
    /// How many seals it is over.
    seals: u64,
    /// Its root.
    root: String,
    /// The block that it is in; null: it is not final.
    block_number: Option<u64>,
    /// That block's hash, by which `stencil verify` checks it.
    block_hash: Option<String>,
    /// The transaction.
    transaction: Option<String>,
    /// Whether it is on its way; again, if a reorganisation took away the block that it was final in.
    open: bool,
    /// Why it waits, is open again, or was given up.
    trouble: Option<String>,
}

/// What is set of anchoring, and how far it is.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct AnchoringState {
    /// What is set; null: seals are not anchored.
    settings: Option<AnchoringSettings>,
    /// The newest anchor; null: there is none.
    newest: Option<ShownAnchor>,
    /// From when on the next anchor is made if there are seals for it, µs since the epoch; null: from now
    /// on, or the newest is to be done with before, or seals are not anchored.
    next_from_us: Option<i64>,
    /// Why the next one is made only after more than the interval: the hub's clock is behind the chain's. Null:
    /// nothing is wrong with that; what holds up the newest stands there.
    trouble: Option<String>,
}

/// Where the tenant's seals are anchored, and the newest anchor.
#[utoipa::path(
    get,
    path = "/api/v1/anchoring",
    tag = "proofs",
    responses((status = 200, body = AnchoringState))
)]
pub(in crate::http) async fn anchoring(
    Shared(state): Shared<State>,
    caller: Caller,
) -> Result<Json<AnchoringState>, Problem> {
    let settings = state.store.proofs.anchoring(&caller.tenant).await?;
    let newest = proofs(&state).newest_anchor(&caller.tenant).await?;
    let now_us = state.clock.now_us();
    let is_done = newest.as_ref().is_none_or(|newest| !newest.open);
    let now_s = u64::try_from(now_us / 1_000_000).unwrap_or(0);
    let next_from_us = settings.as_ref().filter(|_| is_done).and_then(|set| {
        let due_s = due_s(newest.as_ref(), set.interval_s, now_s);
        let due_us = i64::try_from(due_s).ok()?.checked_mul(1_000_000)?;
        (due_us > now_us).then_some(due_us)
    });
    let trouble = next_from_us.and_then(|_| held_up(newest.as_ref(), now_s));
    Ok(Json(AnchoringState {
        next_from_us,
        trouble,
        settings: settings.map(|set| AnchoringSettings {
            chain: set.chain,
            interval_s: set.interval_s,
        }),
        newest: newest.map(|at| {
            let (body, shown) = (at.body, |text: &dyn std::fmt::LowerHex| {
                format!("{text:#x}")
            });
            let block = body.shown.as_ref();
            ShownAnchor {
                anchor: at.anchor,
                chain: body.chain,
                chain_id: body.chain_id,
                contract: body.contract.to_checksum(None),
                publisher: body.publisher.to_checksum(None),
                series: shown(&body.series),
                seals: body.seals,
                root: shown(&body.root),
                block_number: block.map(|block| block.block_number),
                block_hash: block.map(|block| shown(&block.block_hash)),
                transaction: block.map(|block| shown(&block.transaction)),
                open: at.open,
                trouble: body.trouble,
            }
        }),
    }))
}

/// Has verified seals anchored on a chain, by the hub's account: gas counts against the tenant's limit.
#[utoipa::path(
    put,
    path = "/api/v1/anchoring",
    tag = "proofs",
    request_body = AnchoringSettings,
    responses(
        (status = 204, description = "It is so from now on"),
        (status = 409, description = "The hub cannot anchor there"),
    )
)]
pub(in crate::http) async fn set_anchoring(
    Shared(state): Shared<State>,
    caller: Caller,
    input::Json(settings): input::Json<AnchoringSettings>,
) -> Result<(Detail, StatusCode), Problem> {
    if !INTERVAL_S.contains(&settings.interval_s) {
        let detail = format!(
            "`interval_s` is {}, it has to be {} to {}",
            settings.interval_s,
            INTERVAL_S.start(),
            INTERVAL_S.end()
        );
        return Err(Problem::invalid(detail));
    }
    let able = proofs(&state).anchors_on(&settings.chain);
    able.map_err(|why| Problem::new(Kind::Conflict, why))?;
    let detail = format!("{} every {} s", settings.chain, settings.interval_s);
    let anchoring = Anchoring {
        chain: settings.chain,
        interval_s: settings.interval_s,
    };
    let now_us = state.clock.now_us();
    let set = state
        .store
        .proofs
        .set_anchoring(&caller.tenant, Some(&anchoring), now_us);
    set.await?;
    Ok((Detail(detail), StatusCode::NO_CONTENT))
}

/// Seals are not anchored any more. What is on its way comes to its end.
#[utoipa::path(
    delete,
    path = "/api/v1/anchoring",
    tag = "proofs",
    responses((status = 204, description = "It is so from now on"))
)]
pub(in crate::http) async fn stop_anchoring(
    Shared(state): Shared<State>,
    caller: Caller,
) -> Result<StatusCode, Problem> {
    let now_us = state.clock.now_us();
    state
        .store
        .proofs
        .set_anchoring(&caller.tenant, None, now_us)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
