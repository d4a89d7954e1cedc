//! Alarms: what is active, and what people do about it.

use axum::Json;
use axum::extract::State as Shared;
use serde::Deserialize;
use stencil_store::{
    Alarm, AlarmCounts, AlarmEvent, AlarmEventKind, AlarmFilter, AlarmId, MAX_ALARM_NOTE, Page,
    Severity,
};

use super::Whole;
use crate::LiveEvent;
use crate::http::input::{self, Path, Query};
use crate::http::problem::Problem;
use crate::http::{Caller, State};

/// The longest silence, in seconds: 30 days. What is to tell nobody for longer is a workflow that
/// should not be in force.
const MAX_SILENCE_S: i64 = 30 * 24 * 3600;

/// Which alarms.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct Which {
    /// Those that are active, or those that are not.
    active: Option<bool>,
    /// Those that somebody has taken note of, or those that nobody has.
    acknowledged: Option<bool>,
    /// Alarms of this device only.
    device: Option<String>,
    /// Alarms of this workflow only.
    workflow: Option<String>,
    /// Alarms of this severity only: `warning`, `minor`, `major` or `critical`.
    #[param(value_type = Option<Severity>)]
    severity: Option<String>,
    /// Alarms that were raised at this time (event time) or later.
    from_us: Option<i64>,
    /// Alarms that were raised before this time.
    to_us: Option<i64>,
    /// The cursor: `next` of the page before.
    after: Option<String>,
    /// Items at most, 100 if it is not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// That somebody has taken note.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Acknowledgement {
    /// What there is to say.
    #[schema(max_length = 1024)]
    note: Option<String>,
}

/// For how long nobody is to be told. Neither of the two ends a silence.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Silence {
    /// Until this time, at most 30 days ahead.
    until_us: Option<i64>,
    /// For so many seconds from now.
    #[schema(minimum = 1, maximum = 2_592_000)]
    for_s: Option<i64>,
}

/// Alarms, those that were raised last first.
#[utoipa::path(
    get,
    path = "/api/v1/alarms",
    tag = "alarms",
    params(Which), responses((status = 200, body = Page<Alarm>))
)]
pub(in crate::http) async fn list(
    Shared(state): Shared<State>,
    caller: Caller,
    Query(which): Query<Which>,
) -> Result<Json<Page<Alarm>>, Problem> {
    let limit = input::list_limit(which.limit)?;
    let severity = which.severity.as_deref().map(severity).transpose()?;
    let filter = AlarmFilter {
        active: which.active,
        device: which.device.as_deref().map(input::device).transpose()?,
        workflow: which.workflow,
        severity,
        acknowledged: which.acknowledged,
        from_us: which.from_us,
        to_us: which.to_us,
    };
    let alarms = &state.store.alarms;
    let page = alarms.list(&caller.tenant, &filter, which.after.as_deref(), limit);
    Ok(Json(page.await?))
}

/// How many alarms are active.
#[utoipa::path(
    get,
    path = "/api/v1/alarms/counts",
    tag = "alarms",
    responses((status = 200, body = AlarmCounts))
)]
pub(in crate::http) async fn counts(
    Shared(state): Shared<State>,
    caller: Caller,
) -> Result<Json<AlarmCounts>, Problem> {
    Ok(Json(state.store.alarms.counts(&caller.tenant).await?))
}

/// One alarm.
#[utoipa::path(
    get,
    path = "/api/v1/alarms/{alarm}",
    tag = "alarms",
    responses((status = 200, body = Alarm))
)]
pub(in crate::http) async fn one(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(alarm): Path<String>,
) -> Result<Json<Alarm>, Problem> {
    known(&state, &caller, &alarm).await.map(Json)
}

/// What happened to an alarm, the oldest first.
#[utoipa::path(
    get,
    path = "/api/v1/alarms/{alarm}/history",
    tag = "alarms",
    responses((status = 200, body = Whole<AlarmEvent>))
)]
pub(in crate::http) async fn history(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(alarm): Path<String>,
) -> Result<Json<Whole<AlarmEvent>>, Problem> {
    let alarm = known(&state, &caller, &alarm).await?;
    let events = state.store.alarms.history(&caller.tenant, &alarm.id).await;
    Ok(Json(Whole::of(events?)))
}

/// Takes note of an alarm.
///
/// The alarm stays active until its rule is no longer true. Once more replaces who took note, when
/// and what they had to say; the history has all of it.
#[utoipa::path(
    post,
    path = "/api/v1/alarms/{alarm}/acknowledge",
    tag = "alarms",
    request_body = Acknowledgement,
    responses((status = 200, description = "Noted", body = Alarm))
)]
pub(in crate::http) async fn acknowledge(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(alarm): Path<String>,
    input::Json(said): input::Json<Acknowledgement>,
) -> Result<Json<Alarm>, Problem> {
    let note = said.note.as_deref().map(str::trim);
    let note = note.filter(|note| !note.is_empty());
    if note.is_some_and(|note| note.len() > MAX_ALARM_NOTE) {
        let detail = format!("`note` may have at most {MAX_ALARM_NOTE} bytes");
        return Err(Problem::invalid(detail));
    }
    let id = known(&state, &caller, &alarm).await?.id;
    let (tenant, now_us) = (&caller.tenant, state.clock.now_us());
    let alarms = &state.store.alarms;
    let alarm = alarms.acknowledge(tenant, &id, &caller.who, note, now_us);
    let alarm = alarm.await?;
    tell(&state, &alarm, AlarmEventKind::Acknowledged, now_us);
    Ok(Json(alarm))
}

/// Lets an alarm's workflow tell nobody about its device for a time.
///
/// While it lasts, steps that tell people (`mail.send`, and `webhook.post` with `tells: true`) of
/// that workflow's runs for that device are passed over, also of later alarms. The alarm is shown
/// and goes on as before, and all other steps are performed. A body of `{}` ends it.
#[utoipa::path(
    post,
    path = "/api/v1/alarms/{alarm}/silence",
    tag = "alarms",
    request_body = Silence,
    responses((status = 200, description = "It is so from now on", body = Alarm))
)]
pub(in crate::http) async fn silence(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(alarm): Path<String>,
    input::Json(silence): input::Json<Silence>,
) -> Result<Json<Alarm>, Problem> {
    let now_us = state.clock.now_us();
    let until_us = until_us(&silence, now_us)?;
    let id = known(&state, &caller, &alarm).await?.id;
    let alarms = &state.store.alarms;
    let alarm = alarms.silence(&caller.tenant, &id, until_us, &caller.who, now_us);
    let alarm = alarm.await?;
    let kind = match until_us {
        Some(_) => AlarmEventKind::Silenced,
        None => AlarmEventKind::Unsilenced,
    };
    tell(&state, &alarm, kind, now_us);
    Ok(Json(alarm))
}

/// When a silence ends; `None`: at once.
fn until_us(silence: &Silence, now_us: i64) -> Result<Option<i64>, Problem> {
    let seconds = match (silence.until_us, silence.for_s) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => {
            let detail = "`until_us` and `for_s` say the same thing: give one of them";
            return Err(Problem::invalid(detail));
        }
        (None, Some(seconds)) => seconds,
        (Some(until_us), None) => {
            let ahead_us = until_us.saturating_sub(now_us);
            if !(1..=MAX_SILENCE_S * 1_000_000).contains(&ahead_us) {
                return Err(Problem::invalid(format!(
                    "`until_us` is {until_us}, it has to be after now ({now_us}) and at most \
                     30 days ahead"
                )));
            }
            return Ok(Some(until_us));
        }
    };
    if !(1..=MAX_SILENCE_S).contains(&seconds) {
        let detail = format!("`for_s` is {seconds}, it has to be 1 to {MAX_SILENCE_S} (30 days)");
        return Err(Problem::invalid(detail));
    }
    Ok(Some(now_us.saturating_add(seconds * 1_000_000)))
}

fn severity(name: &str) -> Result<Severity, Problem> {
    Severity::parse(name).ok_or_else(|| {
        Problem::invalid(format!(
            "`severity` is `{name}`, it has to be warning, minor, major or critical"
        ))
    })
}

async fn known(state: &State, caller: &Caller, alarm: &str) -> Result<Alarm, Problem> {
    let id: AlarmId = alarm.parse()?;
    let found = state.store.alarms.get(&caller.tenant, &id).await?;
    found.ok_or_else(|| Problem::not_found("alarm", id))
}

fn tell(state: &State, alarm: &Alarm, kind: AlarmEventKind, at_us: i64) {
    let event = LiveEvent::Alarm {
        alarm: alarm.id,
        workflow: alarm.workflow.clone(),
        device: alarm.device.clone(),
        severity: alarm.severity,
        state: kind,
        at_us,
    };
    state.live.send(&alarm.tenant, event);
}
