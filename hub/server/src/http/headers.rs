//! What every answer says to a browser.

use axum::extract::{Request, State as Shared};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::State;
use super::cookies::{Way, to_loopback};

/// Scripts, styles and connections from the hub itself only; nothing inline, nothing framed.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// For a year from each answer on browsers come by TLS only, and nobody can click a wrong certificate away
/// (RFC 6797). Without `includeSubDomains`: other names are none of the hub's.
const BY_TLS_ONLY: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Adds the headers; what a handler has set stays.
pub(super) async fn add(Shared(state): Shared<State>, request: Request, next: Next) -> Response {
    let by_tls_only = by_tls_only(&state, request.headers());
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let all: [(HeaderName, &'static str); 5] = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in all {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    if by_tls_only {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, BY_TLS_ONLY);
    }
    response
}

/// Whether a browser is told to come by TLS only. Not under a name of loopback: it would hold for all ports of
/// that name, and for whatever else listens on the reader's own machine.
fn by_tls_only(state: &State, headers: &HeaderMap) -> bool {
    Way::of(state, headers) == Way::Tls && !to_loopback(headers)
}
