//! Health and metrics over HTTP. No device, no value, no key is named.

mod listener;
pub(crate) mod options;

use std::{fmt::Write as _, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use stencil_log::Health;
use tokio::{net::TcpListener, sync::watch};

pub(crate) use self::listener::Bounded;
use crate::{
    clock,
    figures::Figures,
    metrics::{Gauge, Metrics},
    spool::stopped,
};

/// Serves until `stop` holds true.
pub(crate) async fn serve(
    listener: TcpListener,
    options: &options::Http,
    shown: Arc<Figures>,
    mut stop: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(shown);
    axum::serve(bounded(listener, options), router)
        .with_graceful_shutdown(async move { stopped(&mut stop).await })
        .await
}

/// Serves for a gateway that cannot run, and says why, until `stop` holds true.
pub(crate) async fn serve_unfit(
    listener: TcpListener,
    options: &options::Http,
    why: String,
    mut stop: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let unfit = (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n"));
    let metrics = Metrics::default().text(&[Gauge {
        name: "spool_healthy",
        help: "1 while the spool takes what is given to it.",
        value: 0,
    }]);
    let router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(|| async { unfit }))
        .route("/metrics", get(|| async { prometheus(metrics) }));
    axum::serve(bounded(listener, options), router)
        .with_graceful_shutdown(async move { stopped(&mut stop).await })
        .await
}

fn bounded(listener: TcpListener, options: &options::Http) -> Bounded {
    let timeout = Duration::from_millis(options.connection_timeout_ms);
    Bounded::new(listener, options.max_connections, timeout)
}

fn prometheus(text: String) -> impl IntoResponse {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], text)
}

/// Ready: what devices send is kept, and gets on to the hub.
async fn readyz(State(shown): State<Arc<Figures>>) -> (StatusCode, String) {
    let mut wrong = String::new();
    if !*shown.connected.borrow() {
        wrong.push_str("uplink: not connected to the hub");
        if let Some(why) = shown.desired.why_away() {
            wrong.push_str(": ");
            // One line, whatever the hub or the network says.
            wrong.extend(why.chars().map(|it| if it.is_control() { ' ' } else { it }));
        }
        wrong.push('\n');
    }
    if clock::set_now_us().is_none() {
        wrong.push_str("clock: it has not been set, or wrongly: devices are told no time\n");
    }
    // Writing to a String cannot fail.
    let _ = match shown.spool.health() {
        Health::Ok => Ok(()),
        Health::Stalled { why, .. } => writeln!(wrong, "spool: stalled: {why}"),
        Health::Poisoned { why } => writeln!(wrong, "spool: must be opened again: {why}"),
    };
    if wrong.is_empty() {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, wrong)
    }
}

async fn metrics(State(shown): State<Arc<Figures>>) -> impl IntoResponse {
    prometheus(shown.text())
}
