//! A listener with so many connections at once, each for so long: an answer takes milliseconds,
//! and a slow or silent client must not keep places, memory or a stop waiting. Where all places are
//! taken, who has said least makes way, so that a probe gets its answer while somebody holds them.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::serve::Listener;
use stencil_strangers::{Bounds, Place, Places};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time::sleep,
};

/// How long accepting pauses when the system has no more sockets.
const PAUSE: Duration = Duration::from_millis(200);

pub(crate) struct Bounded {
    listener: TcpListener,
    places: Places,
    timeout: Duration,
}

impl Bounded {
    pub(crate) fn new(listener: TcpListener, connections: usize, timeout: Duration) -> Self {
        // Who asks here shows no name: all are strangers, mostly of one address.
        let bounds = Bounds {
            connections,
            strangers: connections,
            strangers_per_address: connections,
        };
        Self {
            listener,
            places: Places::new(bounds),
            timeout,
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
                    // Nobody is judged here, so that somebody always makes way.
                    let Ok(place) = self.places.enter(peer.ip()) else {
                        continue;
                    };
                    return (Connection::new(stream, place, self.timeout), peer);
                }
                Err(error) => {
                    tracing::warn!(%error, "an HTTP connection was not accepted");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that fails when its time is over, or its place another's.
pub(crate) struct Connection {
    stream: TcpStream,
    over: Pin<Box<dyn Future<Output = ()> + Send>>,
    is_over: bool,
    place: Arc<Place>,
}

impl Connection {
    fn new(stream: TcpStream, place: Place, timeout: Duration) -> Self {
        let place = Arc::new(place);
        let held = Arc::clone(&place);
        Self {
            stream,
            over: Box::pin(async move {
                tokio::select! {
                    () = sleep(timeout) => (),
                    () = held.gone() => (),
                }
            }),
            is_over: false,
            place,
        }
    }

    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        self.is_over = self.is_over || self.over.as_mut().poll(cx).is_ready();
        if self.is_over {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(())
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check(cx)?;
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            this.place.begun();
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.check(cx)?;
        Pin::new(&mut this.stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
