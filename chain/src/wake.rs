//! A WebSocket subscription as a hint that there is a new block, and no more: one that drops, hangs
//! or lies costs at most the poll interval.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use rustls::pki_types::ServerName;
use stencil_crypto::tls::{self, Policy, Roots};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use url::Url;

use crate::config::label;

/// The largest message: a header has a few KiB.
const MAX_MESSAGE_BYTES: usize = 256 * 1024;
/// The longest wait before connecting again.
const MAX_BACKOFF: Duration = Duration::from_secs(60);
/// After so long without a block the connection is taken for dead.
const SILENCE: Duration = Duration::from_secs(120);

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Notifies at each new block that the endpoint tells of, for ever.
pub(crate) async fn run(url: Url, within: Duration, wake: Arc<Notify>) {
    let mut backoff = within;
    loop {
        match listen(&url, within, &wake, &mut backoff).await {
            Ok(()) => tracing::info!(endpoint = label(&url), "newHeads ended"),
            Err(error) => tracing::info!(
                endpoint = label(&url),
                error,
                "no newHeads; blocks are polled for"
            ),
        }
        // What was told while nobody listened is found by polling; a connection that can't be made
        // is tried ever more seldom.
        tokio::time::sleep(backoff).await;
        backoff = (backoff * 2).min(MAX_BACKOFF);
    }
}

async fn listen(
    url: &Url,
    within: Duration,
    wake: &Notify,
    backoff: &mut Duration,
) -> Result<(), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let stream = timeout(within, connect(url))
        .await
        .map_err(|_| "no connection in time".to_owned())??;
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES));
    let shaken = tokio_tungstenite::client_async_with_config(url.as_str(), stream, Some(config));
    let (mut socket, _) = timeout(within, shaken)
        .await
        .map_err(|_| "no WebSocket in time".to_owned())?
        .map_err(|error| text(&error))?;
    let subscribe = r#"{"jsonrpc":"2.0","id":1,"method":"eth_subscribe","params":["newHeads"]}"#;
    socket
        .send(Message::text(subscribe))
        .await
        .map_err(|error| text(&error))?;
    loop {
        let message = timeout(SILENCE, socket.next())
            .await
            .map_err(|_| format!("nothing for {} s", SILENCE.as_secs()))?;
        match message {
            Some(Ok(Message::Text(message))) => {
                if message.contains("\"eth_subscription\"") {
                    *backoff = within;
                    wake.notify_one();
                } else if message.contains("\"error\"") {
                    return Err("the endpoint has no newHeads".to_owned());
                }
            }
            Some(Ok(Message::Close(_))) | None => return Ok(()),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(text(&error)),
        }
    }
}

async fn connect(url: &Url) -> Result<Box<dyn Stream>, String> {
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let port = url.port_or_known_default().unwrap_or(443);
    let tcp = TcpStream::connect((bare, port))
        .await
        .map_err(|error| error.to_string())?;
    if url.scheme() == "ws" {
        return Ok(Box::new(tcp));
    }
    let name = ServerName::try_from(bare.to_owned()).map_err(|error| error.to_string())?;
    let connector = TlsConnector::from(Arc::new(tls()?));
    let stream = connector
        .connect(name, tcp)
        .await
        .map_err(|error| error.to_string())?;
    Ok(Box::new(stream))
}

/// TLS 1.3 that prefers X25519MLKEM768 and trusts whom the system trusts. Where the system trusts
/// nobody, only plain HTTP can be spoken.
pub(crate) fn tls() -> Result<rustls::ClientConfig, String> {
    match Roots::system() {
        Ok(roots) => tls::client(Policy::Prefer, &roots, None)
            .map(Arc::unwrap_or_clone)
            .map_err(|error| error.to_string()),
        Err(tls::Error::NoRoots(_)) => {
            let provider = tls::provider(Policy::Prefer);
            rustls::ClientConfig::builder_with_provider(Arc::new(provider))
                .with_protocol_versions(&[&rustls::version::TLS13])
                .map_err(|error| error.to_string())
                .map(|builder| {
                    builder
                        .with_root_certificates(rustls::RootCertStore::empty())
                        .with_no_client_auth()
                })
        }
        Err(error) => Err(error.to_string()),
    }
}
