//! Roll-outs of firmware images.

use axum::Json;
use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use stencil_protocol::id::GatewayId;
use stencil_rollout::{Counts, Digest, Head, Id, Image, Phase, Plan, Portion};
use stencil_store::{MAX_PAGE, Page, RolloutDevice, StoredRollout};

use super::Whole;
use crate::http::input::{self, Paging, Path, Query};
use crate::http::problem::{Kind, Problem};
use crate::http::{Caller, RolloutOrder, State};

/// As many notices of a roll-out as are shown.
const MAX_NOTICES: u32 = 100;

/// A roll-out that is asked for. What is not given has a default.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewRollout {
    /// The image: the SHA-256 of its payload.
    image: String,
    /// Which devices: a pattern of ids, `*` for any characters, `?` for one. Devices that become
    /// known while the roll-out is not over belong to it, too.
    #[schema(max_length = 64)]
    devices: String,
    /// Only devices behind these gateways; none: behind any.
    #[schema(value_type = Option<Vec<String>>)]
    gateways: Option<Vec<GatewayId>>,
    /// The devices that get it first, 5 percent if it is not given. The others get it when all of
    /// these have come to their end and not too many of them have failed.
    canary: Option<Portion>,
    /// The waves after the canary: up to how many of a hundred devices have their turn, rising;
    /// the last is 100. `[25, 100]` if it is not given.
    waves: Option<Vec<u8>>,
    /// It pauses when more than so many of a hundred that are finished have failed; 10 if it is
    /// not given.
    max_failed_percent: Option<u8>,
    /// It does not pause for that before so many are finished, 10 if it is not given; the canary
    /// is judged as a whole.
    min_finished: Option<u32>,
    /// A device that is on and shows no progress for so many seconds has timed out; 1800 if it is
    /// not given.
    progress_timeout_s: Option<u32>,
    /// When devices may be offered the image, such as `22:00-05:30+02:00` (from, to, and how far
    /// local time is from UTC); always if it is not given.
    window: Option<String>,
    /// So many devices behind one gateway at a time, 10 if it is not given.
    per_gateway: Option<u32>,
    /// Begin also if no device that is known is meant, and wait for such; without it that is
    /// refused, as it mostly is a slip in the pattern.
    #[serde(default)]
    wait_for_devices: bool,
}

/// A roll-out and how far it has come.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct Shown {
    /// Its id.
    #[schema(value_type = String)]
    pub(in crate::http) id: Id,
    /// `starting`, `running`, `paused`, `finished`, `aborted`, or `failed`: it could not begin.
    pub(in crate::http) status: String,
    /// Why it is paused: `{ "by": "operator" }` or `{ "by": "failures", "failed", "finished" }`;
    /// why it could not begin: `{ "why" }`.
    #[schema(value_type = Option<stencil_store::schema::Json>)]
    pub(in crate::http) why: Option<Value>,
    /// Whose turn it is: 0 the canary's, 1 the first wave's after it.
    pub(in crate::http) stage: u32,
    /// How many devices may have begun by now.
    pub(in crate::http) turn: u32,
    /// How many devices have come how far.
    pub(in crate::http) counts: Counts,
    /// How many devices it is for. 0: none that is known matches, and it waits for such.
    pub(in crate::http) matches: u32,
    /// What was asked for.
    pub(in crate::http) plan: Plan,
    /// When it was asked for.
    pub(in crate::http) created_us: i64,
    /// When its status or stage last changed.
    pub(in crate::http) changed_us: i64,
}

/// One device of a roll-out.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct ShownDevice {
    /// The device.
    pub(in crate::http) device: String,
    /// The gateway that it was last heard through.
    pub(in crate::http) gateway: Option<String>,
    /// `waiting`, `offered`, `downloading`, `installed` (on trial), `done` (it has said that it
    /// runs the image and keeps it), `failed`, `timed_out` or `skipped`.
    pub(in crate::http) phase: String,
    /// How much of the image it has.
    pub(in crate::http) percent: Option<u8>,
    /// Why it failed or was skipped.
    pub(in crate::http) detail: Option<String>,
    /// Since when.
    pub(in crate::http) since_us: i64,
}

/// Something that a roll-out told people.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct ShownNotice {
    /// When.
    at_us: i64,
    /// What: its `kind` is `paused` (with `failed`, `finished` and whether it was the `canary`),
    /// `canary_good`, `wave` (with its number) or `finished`.
    #[schema(value_type = stencil_store::schema::Json)]
    what: Value,
}

/// Which devices.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct Which {
    /// Devices in this phase only.
    phase: Option<String>,
    /// The cursor: `next` of the page before.
    after: Option<String>,
    /// Items at most, 100 if it is not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// Begins a roll-out.
///
/// Devices get the image few at first, those that are off when they are on again. It pauses by
/// itself when too many fail.
#[utoipa::path(
    post,
    path = "/api/v1/rollouts",
    tag = "rollouts",
    request_body = NewRollout,
    responses(
        (status = 201, description = "It has begun; `Location` has its address", body = Shown),
        (status = 409, description = "Too many roll-outs are under way, or no device is meant"),
    )
)]
pub(in crate::http) async fn create(
    Shared(state): Shared<State>,
    caller: Caller,
    input::Json(new): input::Json<NewRollout>,
) -> Result<Response, Problem> {
    let digest: Digest = parsed(&new.image)?;
    let image = state
        .store
        .rollouts
        .image(&caller.tenant, &digest.0)
        .await?;
    let image = image.ok_or_else(|| Problem::not_found("image", digest))?;
    let class = crate::rollout::class(&image.vendor, &image.class);
    let image = Image {
        digest,
        sequence: image.sequence,
        class,
    };
    let may_wait = new.wait_for_devices;
    let plan = planned(new, image)?;
    plan.check().map_err(crate::Error::from)?;
    if !may_wait && !means_anybody(&state, &caller, &plan).await? {
        return Err(nobody_meant(&plan));
    }
    let id = state.control.start_rollout(&caller.tenant, &plan).await?;
    let shown = known(&state, &caller, id).await?;
    let location = format!("/api/v1/rollouts/{id}");
    let headers = [(header::LOCATION, location)];
    Ok((StatusCode::CREATED, headers, Json(shown)).into_response())
}

/// Whether a device that is known is meant.
async fn means_anybody(state: &State, caller: &Caller, plan: &Plan) -> Result<bool, Problem> {
    let is_meant = plan.meant().map_err(crate::Error::from)?;
    let mut after = None;
    loop {
        let rollouts = &state.store.rollouts;
        let page = rollouts.candidates(&caller.tenant, after.as_ref(), MAX_PAGE);
        let page = page.await?;
        if page
            .iter()
            .any(|it| is_meant(&it.device, it.gateway.as_ref()))
        {
            return Ok(true);
        }
        match page.last() {
            Some(last) => after = Some(last.device.clone()),
            None => return Ok(false),
        }
    }
}

fn nobody_meant(plan: &Plan) -> Problem {
    let behind = match plan.gateways.as_slice() {
        [] => String::new(),
        [one] => format!(" behind gateway {one}"),
        several => format!(" behind one of the {} gateways", several.len()),
    };
    let detail = format!(
        "no device that the hub has heard of matches `{}`{behind}, so that nobody would get the \
         image: mend the pattern, or say `wait_for_devices` if they are yet to come",
        plan.devices
    );
    Problem::new(Kind::Conflict, detail)
}

/// Roll-outs, the newest first.
#[utoipa::path(
    get,
    path = "/api/v1/rollouts",
    tag = "rollouts",
    params(Paging), responses((status = 200, body = Page<Shown>))
)]
pub(in crate::http) async fn list(
    Shared(state): Shared<State>,
    caller: Caller,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Shown>>, Problem> {
    let limit = paging.limit()?;
    listed(&state, &caller, paging.after.as_deref(), limit)
        .await
        .map(Json)
}

/// One roll-out.
#[utoipa::path(
    get,
    path = "/api/v1/rollouts/{rollout}",
    tag = "rollouts",
    responses((status = 200, body = Shown))
)]
pub(in crate::http) async fn one(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(rollout): Path<String>,
) -> Result<Json<Shown>, Problem> {
    known(&state, &caller, parsed(&rollout)?).await.map(Json)
}

/// The devices of a roll-out, by id.
#[utoipa::path(
    get,
    path = "/api/v1/rollouts/{rollout}/devices",
    tag = "rollouts",
    params(Which), responses((status = 200, body = Page<ShownDevice>))
)]
pub(in crate::http) async fn devices(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(rollout): Path<String>,
    Query(which): Query<Which>,
) -> Result<Json<Page<ShownDevice>>, Problem> {
    let limit = input::list_limit(which.limit)?;
    let id: Id = parsed(&rollout)?;
    if let Some(phase) = &which.phase
        && !Phase::NAMES.contains(&phase.as_str())
    {
        let known = Phase::NAMES.join(", ");
        let detail = format!("`phase` is `{phase}`, it has to be one of {known}");
        return Err(Problem::invalid(detail));
    }
    stored(&state, &caller, id).await?;
    let (phase, after) = (which.phase.as_deref(), which.after.as_deref());
    let rollouts = &state.store.rollouts;
    let page = rollouts.devices(&caller.tenant, &id.0, phase, after, limit);
    Ok(Json(page.await?.map(ShownDevice::from)))
}

/// What a roll-out has told people, the newest first.
#[utoipa::path(
    get,
    path = "/api/v1/rollouts/{rollout}/notices",
    tag = "rollouts",
    responses((status = 200, body = Whole<ShownNotice>))
)]
pub(in crate::http) async fn notices(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(rollout): Path<String>,
) -> Result<Json<Whole<ShownNotice>>, Problem> {
    let id: Id = parsed(&rollout)?;
    stored(&state, &caller, id).await?;
    told(&state, &caller, id).await.map(Whole::of).map(Json)
}

/// Lets no further device get the image for now. Those that are at it go on.
#[utoipa::path(
    post,
    path = "/api/v1/rollouts/{rollout}/pause",
    tag = "rollouts",
    responses((status = 200, body = Shown), (status = 409, description = "It is over"))
)]
pub(in crate::http) async fn pause(
    state: Shared<State>,
    caller: Caller,
    path: Path<String>,
) -> Result<Json<Shown>, Problem> {
    ask(state, caller, path, RolloutOrder::Pause).await
}

/// Has a paused roll-out go on. The failures up to now no longer count, but nobody gets past a
/// canary that has failed.
#[utoipa::path(
    post,
    path = "/api/v1/rollouts/{rollout}/resume",
    tag = "rollouts",
    responses(
        (status = 200, body = Shown),
        (status = 409, description = "It is not paused, or its canary has failed"),
    )
)]
pub(in crate::http) async fn resume(
    state: Shared<State>,
    caller: Caller,
    path: Path<String>,
) -> Result<Json<Shown>, Problem> {
    ask(state, caller, path, RolloutOrder::Resume).await
}

/// Has the devices that failed or timed out try again, and goes on if it was paused.
#[utoipa::path(
    post,
    path = "/api/v1/rollouts/{rollout}/retry",
    tag = "rollouts",
    responses((status = 200, body = Shown), (status = 409, description = "It is over, or none failed"))
)]
pub(in crate::http) async fn retry(
    state: Shared<State>,
    caller: Caller,
    path: Path<String>,
) -> Result<Json<Shown>, Problem> {
    ask(state, caller, path, RolloutOrder::Retry).await
}

/// Ends a roll-out: no device is to get the image any more. One that has it installed says itself
/// whether it keeps it.
#[utoipa::path(
    post,
    path = "/api/v1/rollouts/{rollout}/abort",
    tag = "rollouts",
    responses((status = 200, body = Shown), (status = 409, description = "It is over"))
)]
pub(in crate::http) async fn abort(
    state: Shared<State>,
    caller: Caller,
    path: Path<String>,
) -> Result<Json<Shown>, Problem> {
    ask(state, caller, path, RolloutOrder::Abort).await
}

async fn ask(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(rollout): Path<String>,
    order: RolloutOrder,
) -> Result<Json<Shown>, Problem> {
    let id: Id = parsed(&rollout)?;
    stored(&state, &caller, id).await?;
    let control = &state.control;
    control.order_rollout(&caller.tenant, id, order).await?;
    known(&state, &caller, id).await.map(Json)
}

/// A page of roll-outs.
pub(in crate::http) async fn listed(
    state: &State,
    caller: &Caller,
    after: Option<&str>,
    limit: u32,
) -> Result<Page<Shown>, Problem> {
    let rollouts = &state.store.rollouts;
    let page = rollouts.list(&caller.tenant, after, limit).await?;
    let mut items = Vec::with_capacity(page.items.len());
    for stored in page.items {
        items.push(shown(state, caller, stored).await?);
    }
    Ok(Page {
        items,
        next: page.next,
    })
}

/// A roll-out, if there is such a one.
pub(in crate::http) async fn known(
    state: &State,
    caller: &Caller,
    id: Id,
) -> Result<Shown, Problem> {
    let stored = stored(state, caller, id).await?;
    shown(state, caller, stored).await
}

/// What a roll-out has told people, the newest first.
pub(in crate::http) async fn told(
    state: &State,
    caller: &Caller,
    id: Id,
) -> Result<Vec<ShownNotice>, Problem> {
    let rollouts = &state.store.rollouts;
    let notices = rollouts.notices(&caller.tenant, &id.0, MAX_NOTICES).await?;
    let shown = notices.into_iter().map(|notice| ShownNotice {
        at_us: notice.at_us,
        what: serde_json::from_str(&notice.body).unwrap_or_default(),
    });
    Ok(shown.collect())
}

impl ShownNotice {
    /// When, and what.
    pub(in crate::http) fn parts(&self) -> (i64, &Value) {
        (self.at_us, &self.what)
    }
}

/// An id or digest.
pub(in crate::http) fn parsed<T>(text: &str) -> Result<T, Problem>
where
    T: std::str::FromStr<Err = stencil_rollout::Error>,
{
    text.parse()
        .map_err(|error: stencil_rollout::Error| Problem::invalid(error.to_string()))
}

async fn stored(state: &State, caller: &Caller, id: Id) -> Result<StoredRollout, Problem> {
    let rollouts = &state.store.rollouts;
    let found = rollouts.get(&caller.tenant, &id.0).await?;
    found.ok_or_else(|| Problem::not_found("roll-out", id))
}

async fn shown(state: &State, caller: &Caller, stored: StoredRollout) -> Result<Shown, Problem> {
    let mut counts = Counts::default();
    let rows = state.store.rollouts.counts(&caller.tenant, &stored.id);
    for (phase, count) in rows.await? {
        counts.set(&phase, count);
    }
    let plan: Plan = serde_json::from_str(&stored.plan).map_err(Problem::internal)?;
    let head = stored.head.as_deref().map(serde_json::from_str::<Value>);
    let head = head.transpose().map_err(Problem::internal)?;
    let begun: Option<Head> = head
        .clone()
        .and_then(|head| serde_json::from_value(head).ok());
    let (stage, why, changed_us) = match &begun {
        Some(begun) => {
            let pause = begun.pause.map(|pause| serde_json::json!(pause));
            (begun.stage, pause, begun.changed_us())
        }
        None => (0, head, 0),
    };
    let stage_index = usize::try_from(stage).unwrap_or(usize::MAX);
    Ok(Shown {
        id: Id(stored.id),
        status: stored.status,
        why,
        stage,
        turn: plan.turn(stage_index, counts.eligible()),
        matches: counts.all(),
        counts,
        plan,
        created_us: stored.created_us,
        changed_us: changed_us.max(stored.created_us),
    })
}

fn planned(new: NewRollout, image: Image) -> Result<Plan, Problem> {
    let mut plan = Plan::new(image, &new.devices);
    if let Some(text) = new.window {
        plan.window = Some(parsed(&text)?);
    }
    plan.gateways = new.gateways.unwrap_or_default();
    plan.canary = new.canary.unwrap_or(plan.canary);
    plan.waves = new.waves.unwrap_or(plan.waves);
    plan.max_failed_percent = new.max_failed_percent.unwrap_or(plan.max_failed_percent);
    plan.min_finished = new.min_finished.unwrap_or(plan.min_finished);
    plan.progress_timeout_s = new.progress_timeout_s.unwrap_or(plan.progress_timeout_s);
    plan.per_gateway = new.per_gateway.unwrap_or(plan.per_gateway);
    Ok(plan)
}

impl From<RolloutDevice> for ShownDevice {
    fn from(row: RolloutDevice) -> Self {
        Self {
            device: row.device.to_string(),
            gateway: row.gateway.map(|gateway| gateway.to_string()),
            phase: row.phase,
            percent: row.percent,
            detail: row.detail,
            since_us: row.since_us,
        }
    }
}
