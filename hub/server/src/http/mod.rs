//! The hub over HTTP: the API of a tenant's programs, the public's content, the operator's
//! probes, and the live page.
//!
//! | path | for whom | module |
//! |---|---|---|
//! | `/api/v1/…` | bearers of an API token or a session, each within its tenant | `api` |
//! | `/content/v1/…`, `/p/…` | the public: what a tenant has published | `public` |
//! | `/x402/…` | the public: what a tenant sells for single payments | `x402` |
//! | `/livez`, `/readyz`, `/metrics` | the operator | `ops` |
//! | `/`, `/login`, `/link/…`, `/wallet`, `/live…`, `/assets/…` | people with a browser | `page` |
//! | `/problems` | whoever got an error | `problem` |
//!
//! # What holds
//! - **One table** (`routes`) names each route with who may use it; the router is built from it,
//!   so that no route can be without an answer to that. A handler learns the tenant from
//!   `Caller`, which only the check of a token or of a session makes.
//! - **Another tenant's things do not exist**: 404 or an empty list, as for any unknown name.
//! - What changes something needs a token in the `Authorization` header, or the cookie of a session
//!   together with the browser's word that the request comes from a page of this hub (`origin`), so that
//!   no other page can make a browser do it.
//! - Errors are problem documents (RFC 9457). Lists answer `{"items": […], "next": null | cursor}`
//!   and go on by `?after=<cursor>`; a query with an unknown or malformed parameter is refused.
//! - Everything is bounded by [`Limits`]: connections, idle time, streams, bodies, lists.
//!
//! ```no_run
//! # async fn run(hub: stencil_server::Hub, stop: tokio::sync::watch::Receiver<bool>) -> std::io::Result<()> {
//! use stencil_server::http;
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! http::serve(listener, http::State::new(hub), stop).await
//! # }
//! ```

mod access;
mod api;
mod audit;
mod bulk;
mod checkout;
mod connections;
mod cookies;
mod deadlines;
mod device_cookie;
mod headers;
mod host;
mod identity;
mod in_request;
mod input;
mod keyed;
mod limits;
mod listener;
mod openapi;
mod ops;
mod origin;
mod own_origin;
mod page;
mod password;
mod problem;
mod proof_note;
mod public;
mod questions;
mod rate;
mod recent;
mod return_to;
mod routes;
mod secured;
mod session;
mod state;
#[cfg(test)]
mod tests;
mod throttle;
mod x402;

use tokio::net::TcpListener;
use tokio::sync::watch;

use access::{Access, Caller};
pub(crate) use device_cookie::KEY_BYTES as DEVICE_KEY_BYTES;
pub use limits::{Limits, RateLimits, SessionLimits};
use listener::Peer;
pub use openapi::openapi;
pub use routes::router;
pub use session::link_url;
pub use state::{Control, RolloutOrder, State};

/// Serves until `stop` becomes true (or its sender is gone); then open requests are answered,
/// streams are ended, and it returns.
///
/// # Errors
/// What the listener's socket says.
pub async fn serve(
    listener: TcpListener,
    state: State,
    stop: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let mut state = state;
    let address = listener.local_addr()?;
    state.listening_at(address);
    if !address.ip().is_loopback() {
        state.under_any_name();
    }
    let connections = state.connections().clone();
    let listener = listener::Bounded::new(listener, &state.limits, connections, state.tls());
    let router = router(state.stopped_by(stop.clone()));
    let router = router.into_make_service_with_connect_info::<Peer>();
    axum::serve(listener, router)
        .with_graceful_shutdown(stopped(stop))
        .await
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // A sender that is gone is a stop too.
    let _ = stop.wait_for(|stop| *stop).await;
}
