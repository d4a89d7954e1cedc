//! Probes and counters for the operator.

use axum::Json;
use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};

use super::State;

/// `GET /livez`: the process answers.
pub(super) async fn livez() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: 200 if the hub does its work, else 503; each check with its problem.
pub(super) async fn readyz(Shared(state): Shared<State>) -> Response {
    let readiness = state.control.readiness();
    let status = if readiness.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(readiness)).into_response()
}

/// `GET /metrics`: counters in Prometheus' text form; no names of tenants or devices in it.
pub(super) async fn metrics(Shared(state): Shared<State>) -> Response {
    let kind = [(
        header::CONTENT_TYPE,
        "text/plain; version=0.0.4; charset=utf-8",
    )];
    let mut text = state.control.metrics_text();
    state.connections().render(&mut text);
    (kind, text).into_response()
}
