//! A listener that holds a bounded number of connections and closes idle ones.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use http::Extensions;
use rustls::ServerConfig;
use stencil_crypto::tls::Negotiated;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};
use tokio_rustls::TlsAcceptor;

use super::Limits;
use super::secured::{Outcome, Secured};

/// Time to wait after accept failed (out of file descriptors, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// The listener.
pub(super) struct Bounded {
    listener: TcpListener,
    room: Arc<Semaphore>,
    idle: Duration,
    tls: Option<TlsAcceptor>,
}

impl Bounded {
    pub(super) fn new(
        listener: TcpListener,
        limits: &Limits,
        tls: Option<Arc<ServerConfig>>,
    ) -> Self {
        Self {
            listener,
            tls: tls.map(TlsAcceptor::from),
            room: Arc::new(Semaphore::new(limits.max_connections.max(1))),
            idle: Duration::from_millis(limits.idle_timeout_ms.max(1)),
        }
    }
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            // The semaphore is never closed.
            let Ok(permit) = Arc::clone(&self.room).acquire_owned().await else {
                std::future::pending::<()>().await;
                continue;
            };
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    let idle = self.idle;
                    let timer = Box::pin(sleep(idle));
                    let outcome = self.tls.as_ref().map(|_| Outcome::default());
                    let stream = match (&self.tls, &outcome) {
                        (Some(tls), Some(outcome)) => {
                            Secured::accept(tls, stream, Arc::clone(outcome))
                        }
                        _ => Secured::Plain(stream),
                    };
                    return (
                        Connection {
                            stream,
                            outcome,
                            timer,
                            idle,
                            _permit: permit,
                        },
                        peer,
                    );
                }
                Err(error) => {
                    tracing::warn!(%error, "an HTTP connection was not accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// The other end of a connection.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    address: SocketAddr,
    /// What its TLS comes out as; nothing without TLS.
    outcome: Option<Outcome>,
}

impl Connected<IncomingStream<'_, Bounded>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Bounded>) -> Self {
        Self {
            address: *stream.remote_addr(),
            outcome: stream.io().outcome.clone(),
        }
    }
}

impl Peer {
    /// From which address a request came. IPv4 within IPv6 is IPv4.
    pub(super) fn address(extensions: &Extensions) -> IpAddr {
        extensions
            .get::<ConnectInfo<Self>>()
            .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ConnectInfo(peer)| {
                peer.address.ip().to_canonical()
            })
    }

    /// What the TLS of a request's connection negotiated; `None` without TLS.
    pub(super) fn negotiated(extensions: &Extensions) -> Option<Negotiated> {
        let ConnectInfo(peer) = extensions.get::<ConnectInfo<Self>>()?;
        peer.outcome.as_ref()?.get().cloned()
    }
}

/// A connection that ends when nothing moves on it for the idle time.
#[derive(Debug)]
pub(super) struct Connection {
    stream: Secured,
    outcome: Option<Outcome>,
    timer: Pin<Box<Sleep>>,
    idle: Duration,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    /// Something moved: the idle time begins anew. Nothing moved: has it passed?
    fn judge<T>(
        &mut self,
        polled: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.timer.as_mut().reset(Instant::now() + self.idle);
            return polled;
        }
        match self.timer.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buffer);
        this.judge(polled, cx)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.judge(polled, cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.judge(polled, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
