//! For how long a tenant's history is kept.

use axum::Json;
use axum::extract::State as Shared;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use stencil_store::{Keep, MAX_KEEP_DAYS, Retention};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::http::input;
use crate::http::problem::Problem;
use crate::http::{Caller, State};

/// For how long each kind of history is kept: a number of days (1 to 36,500), `"always"`, or null
/// for what the hub does by default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
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

/// A number of days, or `"always"`: for as long as the disk has room. Nothing is ever a value of it:
/// it is there for its schema.
#[derive(Debug)]
enum Kept {}

impl PartialSchema for Kept {
    fn schema() -> RefOr<Schema> {
        let days = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(1))
            .maximum(Some(MAX_KEEP_DAYS));
        let always = ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some(["always"]));
        OneOfBuilder::new().item(days).item(always).into()
    }
}

impl ToSchema for Kept {}

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
/// It replaces all that was set: a kind that is left out, or null, follows the hub. What is older
/// is freed from the hub's next look on (every hour by default), and cannot be had back.
#[utoipa::path(
    put,
    path = "/api/v1/retention",
    tag = "retention",
    request_body(content = Days, example = json!({ "series_days": 730, "runs_days": "always" })),
    responses((status = 200, description = "It is so from now on", body = Kinds))
)]
pub(in crate::http) async fn set(
    Shared(state): Shared<State>,
    caller: Caller,
    input::Json(days): input::Json<Days>,
) -> Result<Json<Kinds>, Problem> {
    let retention = Retention {
        series: keep("series_days", &days.series_days)?,
        runs: keep("runs_days", &days.runs_days)?,
        alarms: keep("alarms_days", &days.alarms_days)?,
        quarantine: keep("quarantine_days", &days.quarantine_days)?,
        audit: keep("audit_days", &days.audit_days)?,
    };
    let now_us = state.clock.now_us();
    let keeping = &state.store.keeping;
    keeping
        .set_retention(&caller.tenant, &retention, now_us)
        .await?;
    tracing::info!(tenant = %caller.tenant, by = caller.who, ?retention, "retention was set");
    Ok(Json(kinds(&state, retention)))
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

fn keep(kind: &str, value: &Value) -> Result<Option<Keep>, Problem> {
    let days = value.as_u64().and_then(|days| u32::try_from(days).ok());
    match (value, days) {
        (Value::Null, _) => Ok(None),
        (Value::String(always), _) if always == "always" => Ok(Some(Keep::Always)),
        (_, Some(days)) if (1..=MAX_KEEP_DAYS).contains(&days) => Ok(Some(Keep::Days(days))),
        (wrong, _) => {
            let wrong: String = wrong.to_string().chars().take(60).collect();
            Err(Problem::invalid(format!(
                "`{kind}` is {wrong}, it has to be a number of days from 1 to {MAX_KEEP_DAYS}, \
                 \"always\", or null for the hub's default"
            )))
        }
    }
}
