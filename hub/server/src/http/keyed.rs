//! `Idempotency-Key`: the same request again does nothing again, and is answered the same
//! (draft-ietf-httpapi-idempotency-key-header).
//!
//! All requests by POST that make or change something take a key. It stands for one request of one
//! user, token or operator, for a day. The answer is kept *sealed*: it may hold a secret that is
//! shown once, and the key to it is derived from the secret that the caller has shown, of which
//! the hub keeps a hash only. So who has the hub's disk cannot read it, and neither can the hub
//! until the caller is back.
//!
//! Commands have a key of their own kind: it is their id, and stands for as long as they do.

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chacha20poly1305::aead::AeadInOut as _;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit as _};
use hkdf::Hkdf;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use rand_core::Rng as _;
use sha2::{Digest as _, Sha256};
use stencil_store::{Begun, Keyed, Opener, Operator};
use zeroize::Zeroize as _;

use super::access::{Caller, Credential};
use super::input::{self, MAX_BODY_BYTES};
use super::problem::{Kind, Problem};
use super::{Access, State, access};

/// Says that an answer is that of the first time.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// For how long a key stands for its request.
const LIFE_US: i64 = 24 * 3_600 * 1_000_000;
/// The longest answer that is kept, in bytes.
const MAX_ANSWER: usize = 64 * 1024;
const NONCE: usize = 12;
const TAG: usize = 16;

/// Marks an answer that is that of the first time: nothing was done.
#[derive(Debug, Clone, Copy)]
pub(super) struct Replayed;

/// Whether a route takes a key here.
pub(super) fn is_taken(method: &Method, path: &str, access: Access) -> bool {
    method == Method::POST
        && path.starts_with("/api/v1/")
        && matches!(access, Access::Write | Access::Admin | Access::Operator)
        // Commands have keys of their own; of uploads the same row again changes nothing.
        && !matches!(
            path,
            "/api/v1/devices/{device}/commands"
                | "/api/v1/devices/enrol"
                | "/api/v1/operator/births"
        )
}

/// Does a request with a key once.
pub(super) async fn once(state: State, request: Request, next: Next) -> Response {
    let key = match input::idempotency_key(request.headers()) {
        Ok(Some(key)) => key.to_owned(),
        Ok(None) => return next.run(request).await,
        Err(problem) => return problem.into_response(),
    };
    match keyed(&state, &key, request, next).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn keyed(
    state: &State,
    key: &str,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let (Credential::Token(secret) | Credential::Session(secret)) =
        access::presented(state, &request)?;
    let seal = Seal::new(&secret, key)?;
    let (parts, body) = request.into_parts();
    let body = input::body(Request::new(body), &(), MAX_BODY_BYTES).await?;
    let (tenant, caller) = match parts.extensions.get::<Caller>() {
        Some(caller) => (Some(caller.tenant.clone()), whose(&caller.opener)),
        None => match parts.extensions.get::<Operator>() {
            Some(operator) => (None, format!("operator {}", operator.id)),
            None => return Err(Problem::internal("a public route takes a key")),
        },
    };
    let keyed = Keyed {
        tenant,
        caller,
        key: Sha256::digest(key).into(),
        request: asked(&parts.method, parts.uri.path(), &body),
    };
    let (answers, now_us) = (&state.store.answers, state.clock.now_us());
    let begun = answers.begin(&keyed, now_us.saturating_sub(LIFE_US), now_us);
    match begun.await? {
        Begun::Fresh => {}
        Begun::Answered(sealed) => return seal.open(&keyed, sealed),
        Begun::Unanswered => {
            let detail = "a request with this `Idempotency-Key` is being answered right now, or \
                          the hub ended before it was; if this stays so, look whether it was done, \
                          and use another key if it was not";
            return Err(Problem::new(Kind::Conflict, detail));
        }
        Begun::Another => {
            let detail = "this `Idempotency-Key` was used for another request within a day; each \
                          request has a key of its own";
            return Err(Problem::new(Kind::KeyReused, detail));
        }
    }
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    if !response.status().is_success() {
        // Nothing was done: the same may be tried again.
        answers.forget(&keyed).await?;
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, MAX_ANSWER).await;
    let body = body.map_err(Problem::internal)?;
    let answer = seal.close(&keyed, parts.status, &parts.headers, &body)?;
    // It is done, and who asked is told so whether or not the answer can be kept.
    if let Err(error) = answers.answer(&keyed, &answer).await {
        tracing::warn!(%error, "the answer to a request with a key is not kept");
    }
    Ok(Response::from_parts(parts, Body::from(body)))
}

fn whose(opener: &Opener) -> String {
    match opener {
        Opener::User(name) => format!("user {name}"),
        Opener::Token(id) => format!("token {id}"),
        Opener::Wallet(wallet) => format!("wallet {}", hex::encode(wallet)),
    }
}

/// What is asked.
fn asked(method: &Method, path: &str, body: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in [method.as_str().as_bytes(), path.as_bytes()] {
        hash.update(part);
        hash.update([0]);
    }
    hash.update(body);
    hash.finalize().into()
}

/// Seals answers, by the secret of who asks.
struct Seal(ChaCha20Poly1305);

impl Seal {
    fn new(secret: &str, key: &str) -> Result<Self, Problem> {
        let mut derived = [0; 32];
        Hkdf::<Sha256>::new(None, secret.as_bytes())
            .expand_multi_info(
                &[b"stencil idempotency answer\0", key.as_bytes()],
                &mut derived,
            )
            .map_err(Problem::internal)?;
        let cipher = ChaCha20Poly1305::new_from_slice(&derived);
        derived.zeroize();
        Ok(Self(cipher.map_err(Problem::internal)?))
    }

    /// Nonce, then status, address and body, sealed for this request.
    fn close(
        &self,
        keyed: &Keyed,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Vec<u8>, Problem> {
        let location = headers.get(header::LOCATION);
        let location = location.and_then(|value| value.to_str().ok());
        let body = std::str::from_utf8(body).map_err(Problem::internal)?;
        let answer = (status.as_u16(), location, body);
        let plain = serde_json::to_vec(&answer).map_err(Problem::internal)?;
        let mut sealed = vec![0; NONCE];
        stencil_crypto::rng::Os.fill_bytes(&mut sealed);
        let nonce = nonce(&sealed)?;
        sealed.extend_from_slice(&plain);
        let Some(text) = sealed.get_mut(NONCE..) else {
            return Err(Problem::internal("no room for an answer"));
        };
        let tag = self
            .0
            .encrypt_inout_detached(&nonce, &keyed.request, text.into())
            .map_err(Problem::internal)?;
        sealed.extend_from_slice(&tag);
        Ok(sealed)
    }

    fn open(&self, keyed: &Keyed, mut sealed: Vec<u8>) -> Result<Response, Problem> {
        let another = || {
            let detail = "this was done, by another session of yours or before your token was \
                          another; its answer can be had with that one only";
            Problem::new(Kind::Conflict, detail)
        };
        let nonce = nonce(&sealed)?;
        let end = sealed.len().checked_sub(TAG).ok_or_else(another)?;
        let tag = sealed.split_off(end);
        let tag = <[u8; TAG]>::try_from(tag).map_err(|_| another())?;
        let text = sealed.get_mut(NONCE..).ok_or_else(another)?;
        self.0
            .decrypt_inout_detached(&nonce, &keyed.request, text.into(), &tag.into())
            .map_err(|_| another())?;
        let text = sealed.get(NONCE..).unwrap_or_default();
        let (status, location, body): (u16, Option<String>, String) =
            serde_json::from_slice(text).map_err(Problem::internal)?;
        let status = StatusCode::from_u16(status).map_err(Problem::internal)?;
        let mut response = (status, Bytes::from(body)).into_response();
        let headers = response.headers_mut();
        let json = HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, json);
        headers.insert(REPLAYED, HeaderValue::from_static("true"));
        if let Some(location) = location.and_then(|text| HeaderValue::from_str(&text).ok()) {
            headers.insert(header::LOCATION, location);
        }
        response.extensions_mut().insert(Replayed);
        Ok(response)
    }
}

fn nonce(sealed: &[u8]) -> Result<chacha20poly1305::Nonce, Problem> {
    let nonce = sealed.first_chunk::<NONCE>();
    let nonce = nonce.ok_or_else(|| Problem::internal("a kept answer is too short"))?;
    Ok((*nonce).into())
}
