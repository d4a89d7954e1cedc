//! HTTP: one POST a request or batch; GET upgrades to a WebSocket.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{FromRequestParts as _, Request};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::{Shared, control, socket};
use crate::faults::Fate;
use crate::rpc::envelope::{self, MAX_REQUEST_BYTES};
use crate::rpc::{self, Caller, Params};

/// Connections that an endpoint has at once, and WebSockets beside them.
pub(super) const MAX_CONNECTIONS: usize = 1_024;
/// How long the listener waits after it could not accept.
const RECOVERY: Duration = Duration::from_millis(50);
/// How long a request's head or body may take to come in.
const PATIENCE: Duration = Duration::from_secs(30);

/// What half an answer gets to leave, before its connection is closed.
const FLUSH: Duration = Duration::from_millis(20);

/// A connection that is closed without an answer.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the connection is closed on purpose")]
struct Cut;

/// Takes connections until the endpoint ends.
pub(super) async fn serve(listener: TcpListener, shared: Shared) {
    let mut ended = shared.ended.clone();
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let room = Arc::clone(&connections).acquire_owned();
        let accepted = async {
            let room = room.await;
            (listener.accept().await, room)
        };
        tokio::select! {
            accepted = accepted => {
                let (Ok((stream, _)), Ok(room)) = accepted else {
                    // Out of file descriptors, most likely: others may be freed meanwhile.
                    tokio::time::sleep(RECOVERY).await;
                    continue;
                };
                let _ = stream.set_nodelay(true);
                let shared = shared.clone();
                tokio::spawn(async move {
                    connection(stream, shared).await;
                    drop(room);
                });
            }
            result = ended.changed() => {
                if result.is_err() || *ended.borrow() {
                    return;
                }
            }
        }
    }
}

async fn connection(stream: tokio::net::TcpStream, shared: Shared) {
    let mut ended = shared.ended.clone();
    ended.mark_unchanged();
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let shared = shared.clone();
        async move {
            let response = answer(request.map(Body::new), shared).await;
            if response.extensions().get::<Fate>().is_some() {
                return Err(Cut);
            }
            Ok(response)
        }
    });
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::select! {
        // A connection that ends with an error is a client's matter, or a fault that was wanted.
        _ = serving => {}
        _ = ended.changed() => {}
    }
}

async fn answer(request: Request, shared: Shared) -> Response {
    let origin = allowed_origin(&request, &shared);
    let mut response = match *request.method() {
        Method::GET if !shared.control => upgrade(request, shared).await,
        Method::OPTIONS if origin.is_some() => StatusCode::NO_CONTENT.into_response(),
        Method::POST => match post(request, shared).await {
            Ok(response) => response,
            Err(status) => (status.0, status.1).into_response(),
        },
        _ => (
            StatusCode::METHOD_NOT_ALLOWED,
            [(header::ALLOW, "POST, GET")],
            "JSON-RPC is asked by POST, or over a WebSocket",
        )
            .into_response(),
    };
    if let Some(origin) = origin {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static("content-type"),
        );
        headers.insert(header::VARY, HeaderValue::from_static("origin"));
    }
    response
}

/// The origin of a page that may call the chain.
fn allowed_origin(request: &Request, shared: &Shared) -> Option<HeaderValue> {
    if shared.control {
        return None;
    }
    let origin = request.headers().get(header::ORIGIN)?;
    let chain = shared.node.read();
    chain
        .options()
        .allow_origins
        .iter()
        .any(|allowed| allowed == "*" || allowed.as_bytes() == origin.as_bytes())
        .then(|| origin.clone())
}

async fn upgrade(request: Request, shared: Shared) -> Response {
    // Browsers open WebSockets from any page: only to pages that may.
    if request.headers().contains_key(header::ORIGIN) && allowed_origin(&request, &shared).is_none()
    {
        return (StatusCode::FORBIDDEN, "this origin may not call the chain").into_response();
    }
    let Ok(room) = Arc::clone(&shared.sockets).try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many WebSockets").into_response();
    };
    let (mut parts, _) = request.into_parts();
    match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => upgrade
            .max_message_size(MAX_REQUEST_BYTES)
            .max_frame_size(MAX_REQUEST_BYTES)
            .on_upgrade(move |stream| async move {
                socket::serve(stream, shared).await;
                drop(room);
            }),
        Err(refused) => refused.into_response(),
    }
}

async fn post(request: Request, shared: Shared) -> Result<Response, (StatusCode, String)> {
    let is_json = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .and_then(|kind| kind.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"));
    if !is_json {
        return Err((
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "invalid content type, only application/json is supported".to_owned(),
        ));
    }
    let body = tokio::time::timeout(PATIENCE, read(request))
        .await
        .map_err(|_| {
            (
                StatusCode::REQUEST_TIMEOUT,
                "the request took too long to come in".to_owned(),
            )
        })??;
    let fate = shared.drawn().fate();
    match fate {
        Fate::Closed => return Ok(cut(fate)),
        Fate::Hung { ms } => {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            return Ok(cut(fate));
        }
        Fate::TooMany => {
            return Err((
                StatusCode::TOO_MANY_REQUESTS,
                "too many requests".to_owned(),
            ));
        }
        Fate::Unavailable => {
            return Err((
                StatusCode::SERVICE_UNAVAILABLE,
                "no backend is available".to_owned(),
            ));
        }
        Fate::Sent | Fate::Half => {}
    }
    let answered = tokio::task::spawn_blocking(move || respond(&body, &shared))
        .await
        .map_err(|_| {
            (
                StatusCode::INTERNAL_SERVER_ERROR,
                "the call broke off".to_owned(),
            )
        })?;
    let Some(text) = answered else {
        return Ok(StatusCode::OK.into_response());
    };
    let json = [(header::CONTENT_TYPE, "application/json")];
    if fate == Fate::Half {
        let length = [(header::CONTENT_LENGTH, text.len().to_string())];
        let half = Bytes::copy_from_slice(&text.as_bytes()[..text.len() / 2]);
        // The half is to be on its way before the connection breaks off.
        let rest = futures_util::stream::once(async {
            tokio::time::sleep(FLUSH).await;
            Err(Cut)
        });
        let parts = futures_util::stream::iter([Ok(half)]).chain(rest);
        let body = Body::from_stream(parts);
        return Ok((json, length, body).into_response());
    }
    Ok((json, text).into_response())
}

async fn read(request: Request) -> Result<Vec<u8>, (StatusCode, String)> {
    let mut bytes = Vec::new();
    let mut stream = request.into_body().into_data_stream();
    while let Some(part) = stream.next().await {
        let part = part.map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?;
        if bytes.len() + part.len() > MAX_REQUEST_BYTES {
            return Err((
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("content too large: at most {MAX_REQUEST_BYTES} bytes are taken"),
            ));
        }
        bytes.extend_from_slice(&part);
    }
    Ok(bytes)
}

/// The answer to what came in; nothing when none is due.
pub(super) fn respond(bytes: &[u8], shared: &Shared) -> Option<String> {
    let answer = envelope::respond(envelope::read(bytes), |method, params| {
        call(shared, method, params)
    });
    answer.map(|answer| answer.to_string())
}

/// One call of an endpoint.
pub(super) fn call(
    shared: &Shared,
    method: &str,
    params: Params,
) -> Result<serde_json::Value, rpc::Error> {
    let (lag, lies) = {
        let mut drawn = shared.drawn();
        (drawn.faults.lag_blocks, drawn.lies())
    };
    let caller = Caller {
        node: &shared.node,
        lag,
        lies,
    };
    if shared.control && method.starts_with("stencil_") {
        return control::call(&caller, method, params);
    }
    rpc::call(&caller, method, params)
}

/// An answer that closes the connection instead.
fn cut(fate: Fate) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.extensions_mut().insert(fate);
    response
}
