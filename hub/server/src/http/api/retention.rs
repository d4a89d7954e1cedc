//! For how long a tenant's history is kept.

use axum::Json;
use axum::extract::State as Shared;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};
use stencil_store::{Keep, MAX_KEEP_DAYS, Retention};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::http::input;
use crate::http::problem::{Kind, Problem};
use crate::http::{Caller, State};
use crate::retention::LEAST_AUDIT_DAYS;

/// For how long each kind of history is kept: a number of days (1 to 36,500), `"always"`, or null
/// for what the hub does by default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct Days {
    /// Points of time series, by their event time.
    #[schema(value_type = Option<Kept>)]
    series_days: Value,
    /// Runs, from their end on.
    #[schema(value_type = Option<Kept>)]
    runs_days: Value,
    /// Alarms, from when they were cleared on.
    #[schema(value_type = Option<Kept>)]
    alarms_days: Value,
    /// What could not be understood.
    #[schema(value_type = Option<Kept>)]
    quarantine_days: Value,
    /// Who changed what.
    #[schema(value_type = Option<Kept>)]
    audit_days: Value,
}

/// For how long each kind of history is to be kept, all five of them: a number of days (1 to 36,500),
/// `"always"`, or null for what the hub does by default.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewDays {
    /// Points of time series, by their event time.
    #[serde(default, deserialize_with = "there")]
    #[schema(required = true, value_type = Option<Kept>)]
    series_days: Option<Value>,
    /// Runs, from their end on.
    #[serde(default, deserialize_with = "there")]
    #[schema(required = true, value_type = Option<Kept>)]
    runs_days: Option<Value>,
    /// Alarms, from when they were cleared on.
    #[serde(default, deserialize_with = "there")]
    #[schema(required = true, value_type = Option<Kept>)]
    alarms_days: Option<Value>,
    /// What could not be understood.
    #[serde(default, deserialize_with = "there")]
    #[schema(required = true, value_type = Option<Kept>)]
    quarantine_days: Option<Value>,
    /// Who changed what: 30 days or more.
    #[serde(default, deserialize_with = "there")]
    #[schema(required = true, value_type = Option<KeptAudit>)]
    audit_days: Option<Value>,
}

/// A member that is there, if only as null; one that is not is `None`.
fn there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// A number of days, or `"always"`: for as long as the disk has room. Nothing is ever a value of it:
/// it is there for its schema.
#[derive(Debug)]
enum Kept {}

impl PartialSchema for Kept {
    fn schema() -> RefOr<Schema> {
        at_least(1)
    }
}

impl ToSchema for Kept {}

/// The same for the audit log, which has a floor.
#[derive(Debug)]
enum KeptAudit {}

impl PartialSchema for KeptAudit {
    fn schema() -> RefOr<Schema> {
        at_least(LEAST_AUDIT_DAYS)
    }
}

impl ToSchema for KeptAudit {}

fn at_least(days: u32) -> RefOr<Schema> {
    let days = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(days))
        .maximum(Some(MAX_KEEP_DAYS));
    let always = ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(["always"]));
    OneOfBuilder::new().item(days).item(always).into()
}

/// What a tenant has set, and what that comes to.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct Kinds {
    /// What the tenant has set; null follows the hub.
    set: Days,
    /// What is in force, with the hub's defaults; nothing of it is null.
    in_force: Days,
}

/// For how long history is kept.
#[utoipa::path(
    get,
    path = "/api/v1/retention",
    tag = "retention",
    responses((status = 200, body = Kinds))
)]
pub(in crate::http) async fn show(
    Shared(state): Shared<State>,
    caller: Caller,
) -> Result<Json<Kinds>, Problem> {
    let set = state.store.keeping.retention(&caller.tenant).await?;
    Ok(Json(kinds(&state, set)))
}

/// Sets for how long history is kept.
///
/// It replaces all that was set, so all five kinds have to be there; one that is null follows the
/// hub. What is older is freed from the hub's next look on (every hour by default), and cannot be
/// had back. The audit log is kept for 30 days at least.
#[utoipa::path(
    put,
    path = "/api/v1/retention",
    tag = "retention",
    request_body(content = NewDays, example = json!({
        "series_days": 730, "runs_days": "always", "alarms_days": null, "quarantine_days": null,
        "audit_days": 730,
    })),
    responses(
        (status = 200, description = "It is so from now on", body = Kinds),
        (status = 422, description = "A kind is missing; `errors` names each"),
    )
)]
pub(in crate::http) async fn set(
    Shared(state): Shared<State>,
    caller: Caller,
    input::Json(days): input::Json<NewDays>,
) -> Result<Json<Kinds>, Problem> {
    let retention = retention(&days)?;
    let now_us = state.clock.now_us();
    let keeping = &state.store.keeping;
    keeping
        .set_retention(&caller.tenant, &retention, now_us)
        .await?;
    tracing::info!(tenant = %caller.tenant, by = caller.who, ?retention, "retention was set");
    Ok(Json(kinds(&state, retention)))
}

fn retention(days: &NewDays) -> Result<Retention, Problem> {
    let all = [
        ("series_days", &days.series_days, 1),
        ("runs_days", &days.runs_days, 1),
        ("alarms_days", &days.alarms_days, 1),
        ("quarantine_days", &days.quarantine_days, 1),
        ("audit_days", &days.audit_days, LEAST_AUDIT_DAYS),
    ];
    let mut kept = [None; 5];
    let mut missing = Vec::new();
    for (place, (kind, value, least)) in kept.iter_mut().zip(all) {
        match value {
            Some(value) => *place = keep(kind, value, least)?,
            None => missing.push(kind),
        }
    }
    if !missing.is_empty() {
        let names: Vec<_> = missing.iter().map(|kind| format!("`{kind}`")).collect();
        let detail = format!(
            "{} missing: this replaces all that was set, so each kind has to be there, null for \
             the hub's default",
            match &names[..] {
                [one] => format!("{one} is"),
                many => format!("{} are", many.join(", ")),
            }
        );
        let places = missing
            .iter()
            .map(|kind| json!({ "pointer": format!("#/{kind}"), "what": "it is missing" }));
        return Err(Problem::new(Kind::Incomplete, detail).with_errors(places.collect()));
    }
    let [series, runs, alarms, quarantine, audit] = kept;
    Ok(Retention {
        series,
        runs,
        alarms,
        quarantine,
        audit,
    })
}

fn kinds(state: &State, set: Retention) -> Kinds {
    Kinds {
        in_force: days(&state.retention().of(set)),
        set: days(&set),
    }
}

fn days(retention: &Retention) -> Days {
    let value = |keep: Option<Keep>| match keep {
        None => Value::Null,
        Some(Keep::Always) => "always".into(),
        Some(Keep::Days(days)) => days.into(),
    };
    Days {
        series_days: value(retention.series),
        runs_days: value(retention.runs),
        alarms_days: value(retention.alarms),
        quarantine_days: value(retention.quarantine),
        audit_days: value(retention.audit),
    }
}

fn keep(kind: &str, value: &Value, least: u32) -> Result<Option<Keep>, Problem> {
    let days = value.as_u64().and_then(|days| u32::try_from(days).ok());
    match (value, days) {
        (Value::Null, _) => Ok(None),
        (Value::String(always), _) if always == "always" => Ok(Some(Keep::Always)),
        (_, Some(days)) if (least..=MAX_KEEP_DAYS).contains(&days) => Ok(Some(Keep::Days(days))),
        (wrong, _) => {
            let wrong: String = wrong.to_string().chars().take(60).collect();
            Err(Problem::invalid(format!(
                "`{kind}` is {wrong}, it has to be a number of days from {least} to {MAX_KEEP_DAYS}, \
                 \"always\", or null for the hub's default"
            )))
        }
    }
}
