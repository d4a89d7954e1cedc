//! The connections of webhooks: to checked addresses only, over TLS whose
//! outcome is known.
//!
//! The stock HTTP clients do not tell which key exchange a connection was made
//! with, and a step's output records it; hence a connector of our own below
//! hyper's pool of connections.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper::body::Bytes;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tower_service::Service;

use super::destination::{Destinations, Failed};
use crate::link::Link;

/// How long a connection on which nothing happens is kept for the next call.
const IDLE: Duration = Duration::from_secs(15);
/// How many of these are kept a receiver.
const IDLE_PER_HOST: usize = 4;
/// The most bytes of an answer's head.
const MAX_HEAD_BYTES: usize = 32 * 1024;

/// A client whose answers carry a [`Secured`] among their extensions where the
/// connection is TLS.
pub(super) type Http = Client<Connector, http_body_util::Full<Bytes>>;

/// What the connection of an answer negotiated.
#[derive(Debug, Clone)]
pub(super) struct Secured(pub(super) Link);

pub(super) fn client(connector: Connector) -> Http {
    legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(IDLE_PER_HOST)
        .http1_max_buf_size(MAX_HEAD_BYTES)
        .build(connector)
}

/// Makes connections.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) destinations: Destinations,
    pub(super) tls: Arc<ClientConfig>,
    pub(super) timeout: Duration,
}

impl Connector {
    async fn connect(self, uri: Uri) -> Result<Reached, Failed> {
        let secure = uri.scheme_str() == Some("https");
        let host = uri.host().unwrap_or_default();
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let tcp = self.reach(host, port).await?;
        tcp.set_nodelay(true)?;
        if !secure {
            return Ok(Reached {
                io: TokioIo::new(Box::new(tcp)),
                link: None,
            });
        }
        let name = ServerName::try_from(host.to_owned())?;
        let tls = TlsConnector::from(self.tls).connect(name, tcp).await?;
        let link = Link::of(tls.get_ref().1).map(Secured);
        Ok(Reached {
            io: TokioIo::new(Box::new(tls)),
            link,
        })
    }

    /// A connection to the first address that answers.
    async fn reach(&self, host: &str, port: u16) -> Result<TcpStream, Failed> {
        let addresses = self.destinations.resolve(host, port).await?;
        let count = u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in addresses {
            match timeout(self.timeout / count, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(last.into())
    }
}

impl Service<Uri> for Connector {
    type Response = Reached;
    type Error = Failed;
    type Future = Pin<Box<dyn Future<Output = Result<Reached, Failed>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (connector, within) = (self.clone(), self.timeout);
        Box::pin(async move {
            match timeout(within, connector.connect(uri)).await {
                Ok(connected) => connected,
                Err(_) => Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("no connection within {} ms", within.as_millis()),
                )
                .into()),
            }
        })
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection that was made.
pub(super) struct Reached {
    io: TokioIo<Box<dyn Stream>>,
    link: Option<Secured>,
}

impl Connection for Reached {
    fn connected(&self) -> Connected {
        match &self.link {
            Some(link) => Connected::new().extra(link.clone()),
            None => Connected::new(),
        }
    }
}

impl Read for Reached {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl Write for Reached {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
