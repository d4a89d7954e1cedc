//! The page at the door, and what it asks: without anything from elsewhere, so that it works where there
//! is no internet.

use std::{fmt::Write as _, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{
        ConnectInfo, DefaultBodyLimit, Query, State as Shared,
        connect_info::Connected,
        rejection::{BytesRejection, QueryRejection},
    },
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
    serve::IncomingStream,
};
use qrcode::{Color, EcLevel, QrCode};
use serde::{Deserialize, Serialize};
use stencil_access::{Challenge, MAX_ANSWER_BYTES, Refused, challenge::LIFE_US};
use stencil_protocol::{command::State, id::DeviceId};
use tokio::{net::TcpListener, sync::watch};

use super::{Access, NotOpened};
use crate::{http::Bounded, spool::stopped};

/// Light modules around a code, as scanners want them.
const QUIET: usize = 4;

/// What no answer is without: nothing is fetched from elsewhere, framed, kept or guessed at.
const HEADERS: [(HeaderName, HeaderValue); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
             img-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
        ),
    ),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
    (
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    ),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
];

/// Who is at the other end.
#[derive(Clone, Copy)]
struct Peer(SocketAddr);

impl Connected<IncomingStream<'_, Bounded>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Bounded>) -> Self {
        Self(*stream.remote_addr())
    }
}

/// Serves until `stop` holds true.
pub(crate) async fn serve(
    listener: TcpListener,
    access: Arc<Access>,
    mut stop: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let bounded = Bounded::new(
        listener,
        access.options.max_connections,
        Duration::from_millis(access.options.connection_timeout_ms),
    );
    let html = (header::CONTENT_TYPE, "text/html; charset=utf-8");
    let script = (header::CONTENT_TYPE, "text/javascript; charset=utf-8");
    let style = (header::CONTENT_TYPE, "text/css; charset=utf-8");
    let router = Router::new()
        .route(
            "/",
            get(move || async move { (HEADERS, [html], include_str!("door.html")) }),
        )
        .route(
            "/door.js",
            get(move || async move { (HEADERS, [script], include_str!("door.js")) }),
        )
        .route(
            "/door.css",
            get(move || async move { (HEADERS, [style], include_str!("door.css")) }),
        )
        .route("/challenge", get(challenge))
        .route("/open", post(open))
        .layer(DefaultBodyLimit::max(MAX_ANSWER_BYTES))
        .with_state(access);
    axum::serve(
        bounded,
        router.into_make_service_with_connect_info::<Peer>(),
    )
    .with_graceful_shutdown(async move { stopped(&mut stop).await })
    .await
}

#[derive(Deserialize)]
struct Asked {
    device: String,
    command: String,
}

/// What is to be signed.
#[derive(Serialize)]
struct Given {
    text: String,
    challenge: Challenge,
    gateway: String,
    expires_us: i64,
    /// Until when anybody is admitted if the hub says nothing more; null: nobody is now, as a status list is
    /// missing.
    admits_until_us: Option<i64>,
    /// The text as a QR code (SVG).
    qr: Option<String>,
}

async fn challenge(
    Shared(access): Shared<Arc<Access>>,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Response {
    if let Err(why) = access.may_ask(peer.ip()) {
        return refused(&why);
    }
    let malformed = |why: String| refused(&Refused::NoQuestion(why).into());
    let Query(Asked { device, command }) = match asked {
        Ok(asked) => asked,
        Err(_) => return malformed("/challenge?device=…&command=… is right".to_owned()),
    };
    let device = match DeviceId::parse(&device) {
        Ok(device) => device,
        Err(error) => return malformed(format!("`device`: {error}")),
    };
    match access.challenge(device, &command) {
        Ok((challenge, text, trust)) => {
            let given = Given {
                qr: drawn(&text),
                expires_us: challenge.given_us.saturating_add(LIFE_US),
                admits_until_us: trust.admits_until_us(),
                gateway: trust.terms().gateway.clone(),
                text,
                challenge,
            };
            (HEADERS, Json(given)).into_response()
        }
        Err(why) => refused(&why),
    }
}

/// What came of an answer.
#[derive(Serialize)]
struct Done {
    /// `done`, `failed`, `expired`, or `sent`: the device has not said in time.
    state: &'static str,
    command: String,
    receipt: u64,
}

async fn open(
    Shared(access): Shared<Arc<Access>>,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    if let Err(why) = access.may_ask(peer.ip()) {
        return refused(&why);
    }
    let body = match body {
        Ok(body) => body,
        Err(error) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            return refused(&Refused::TooLong(MAX_ANSWER_BYTES + 1).into());
        }
        Err(error) => return refused(&Refused::NoAnswer(error.body_text()).into()),
    };
    let wait = Duration::from_millis(access.options.device_timeout_ms);
    let answered = tokio::task::spawn_blocking(move || access.answer(&body)).await;
    let Ok(answered) = answered else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let mut opened = match answered {
        Ok(opened) => opened,
        Err(why) => return refused(&why),
    };
    let (status, state) = match opened.outcome(wait).await {
        Some(State::Done) => (StatusCode::OK, "done"),
        Some(State::Expired) => (StatusCode::GATEWAY_TIMEOUT, "expired"),
        Some(_) => (StatusCode::BAD_GATEWAY, "failed"),
        None => (StatusCode::ACCEPTED, "sent"),
    };
    let done = Done {
        state,
        command: opened.command.to_string(),
        receipt: opened.receipt,
    };
    (status, HEADERS, Json(done)).into_response()
}

#[derive(Serialize)]
struct No {
    code: &'static str,
    detail: String,
}

fn refused(why: &NotOpened) -> Response {
    let code = why.code();
    let status = match code {
        "malformed" => StatusCode::BAD_REQUEST,
        "too_long" => StatusCode::PAYLOAD_TOO_LARGE,
        "nonce_used" => StatusCode::CONFLICT,
        "too_often" => StatusCode::TOO_MANY_REQUESTS,
        "not_set_up" | "no_clock" | "status_too_old" | "status_missing" | "busy"
        | "device_away" | "no_receipt" => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::FORBIDDEN,
    };
    let detail = why.to_string();
    (status, HEADERS, Json(No { code, detail })).into_response()
}

/// A text as a QR code, dark on light; nothing where it is too long for one.
fn drawn(text: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    let (inner, mut path) = (code.width(), String::new());
    for (y, row) in code.to_colors().chunks(inner).enumerate() {
        let mut x = 0;
        for run in row.chunk_by(|a, b| a == b) {
            let long = run.len();
            if run.first() == Some(&Color::Dark) {
                // Writing to a String cannot fail.
                let _ = write!(path, "M{} {}h{long}v1h-{long}z", x + QUIET, y + QUIET);
            }
            x += long;
        }
    }
    let side = inner + 2 * QUIET;
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {side}\" \
         shape-rendering=\"crispEdges\"><path d=\"M0 0h{side}v{side}h-{side}z\" fill=\"#fff\"/>\
         <path d=\"{path}\"/></svg>"
    ))
}
