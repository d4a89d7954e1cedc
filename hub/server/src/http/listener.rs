//! A listener that holds a bounded number of connections ([`Connections`] says which) and closes
//! those that are late ([`Deadlines`] says when).

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
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tokio_rustls::TlsAcceptor;

use super::Limits;
use super::connections::{Connections, Place, Ticket};
use super::deadlines::{Awaited, Deadlines};
use super::secured::{Outcome, Secured};

/// Time to wait after accept failed (out of file descriptors, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// The listener.
pub(super) struct Bounded {
    listener: TcpListener,
    connections: Connections,
    idle: Duration,
    head: Duration,
    tls: Option<TlsAcceptor>,
}

impl Bounded {
    pub(super) fn new(
        listener: TcpListener,
        limits: &Limits,
        connections: Connections,
        tls: Option<Arc<ServerConfig>>,
    ) -> Self {
        Self {
            listener,
            connections,
            tls: tls.map(TlsAcceptor::from),
            idle: Duration::from_millis(limits.idle_timeout_ms.max(1)),
            head: Duration::from_millis(limits.head_timeout_ms.max(1)),
        }
    }
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    // Else it is closed: those that wait for room would keep others waiting.
                    let Some(place) = self.connections.admit(peer.ip().to_canonical()) else {
                        continue;
                    };
                    let outcome = self.tls.as_ref().map(|_| Outcome::default());
                    let stream = match (&self.tls, &outcome) {
                        (Some(tls), Some(outcome)) => {
                            Secured::accept(tls, stream, Arc::clone(outcome))
                        }
                        _ => Secured::Plain(stream),
                    };
                    let now = Instant::now();
                    let deadlines = Deadlines::new(self.idle, self.head, now);
                    return (
                        Connection {
                            stream,
                            outcome,
                            timer: Box::pin(sleep_until(now + self.head.min(self.idle))),
                            deadlines,
                            place,
                            connections: self.connections.clone(),
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
    ticket: Ticket,
}

impl Connected<IncomingStream<'_, Bounded>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Bounded>) -> Self {
        Self {
            address: *stream.remote_addr(),
            outcome: stream.io().outcome.clone(),
            ticket: stream.io().place.ticket(),
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

    /// By what the request is counted; `None`: it did not come through a socket.
    pub(super) fn ticket(extensions: &Extensions) -> Option<&Ticket> {
        let ConnectInfo(peer) = extensions.get::<ConnectInfo<Self>>()?;
        Some(&peer.ticket)
    }

    /// What the TLS of a request's connection negotiated; `None` without TLS.
    pub(super) fn negotiated(extensions: &Extensions) -> Option<Negotiated> {
        let ConnectInfo(peer) = extensions.get::<ConnectInfo<Self>>()?;
        peer.outcome.as_ref()?.get().cloned()
    }
}

/// A connection that ends when it is late, or when its place is needed.
#[derive(Debug)]
pub(super) struct Connection {
    stream: Secured,
    outcome: Option<Outcome>,
    timer: Pin<Box<Sleep>>,
    deadlines: Deadlines,
    place: Place,
    connections: Connections,
}

impl Connection {
    /// Something moved, or nothing did: is it over?
    fn judge<T>(
        &mut self,
        polled: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.deadlines.moved(Instant::now());
        }
        // Nothing is ever sent: it is ready once the place is another's.
        if Pin::new(&mut self.place.gone).poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let (busy, begun) = self.place.requests();
        let (deadline, awaited) = self.deadlines.next(busy, begun);
        if self.timer.deadline() != deadline {
            self.timer.as_mut().reset(deadline);
        }
        // Polled though something moved, since it may not be asked again before the deadline.
        match self.timer.as_mut().poll(cx) {
            Poll::Ready(()) if awaited == Awaited::Head => {
                self.connections.overdue();
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            Poll::Ready(()) if polled.is_pending() => {
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            _ => polled,
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
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            let (busy, begun) = this.place.requests();
            this.deadlines.came(busy, begun, Instant::now());
        }
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
