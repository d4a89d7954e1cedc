//! Accepts connections.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::{Endpoint, Policy, Sink};

pub(crate) async fn serve<P: Policy, S: Sink<P::Principal>>(
    _endpoint: Endpoint<P, S>,
    _listener: TcpListener,
    _tls: Option<Arc<rustls::ServerConfig>>,
    mut shutdown: watch::Receiver<bool>,
) {
    let _ = shutdown.wait_for(|stop| *stop).await;
}
