//! A connection as it was accepted, or within TLS.
//!
//! The TLS handshake goes on as the connection is read, in the connection's own task: whoever is
//! slow with it keeps nobody else waiting.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use stencil_crypto::tls::Negotiated;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{Accept, TlsAcceptor};

/// The most time that a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// What a connection's TLS came out as, once it has; nothing for one without TLS.
pub(super) type Outcome = Arc<OnceLock<Negotiated>>;

/// The bytes of HTTP on a connection.
pub(super) enum Secured {
    /// Without TLS.
    Plain(TcpStream),
    /// The handshake goes on.
    Shaking(Box<Shaking>),
    /// Within TLS.
    Tls(Box<TlsStream<TcpStream>>),
    /// The handshake has failed.
    Failed,
}

/// A handshake that goes on.
pub(super) struct Shaking {
    accept: Accept<TcpStream>,
    deadline: Pin<Box<Sleep>>,
    outcome: Outcome,
}

impl Secured {
    /// A connection within TLS; `outcome` is told what it came out as.
    pub(super) fn accept(tls: &TlsAcceptor, stream: TcpStream, outcome: Outcome) -> Self {
        Self::Shaking(Box::new(Shaking {
            accept: tls.accept(stream),
            deadline: Box::pin(sleep(HANDSHAKE)),
            outcome,
        }))
    }

    /// Goes on with the handshake; ready once there is none, or no longer one.
    fn shaken(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self::Shaking(shaking) = self else {
            return Poll::Ready(match self {
                Self::Failed => Err(io::ErrorKind::ConnectionAborted.into()),
                _ => Ok(()),
            });
        };
        let ended = match Pin::new(&mut shaking.accept).poll(cx) {
            Poll::Ready(ended) => ended,
            Poll::Pending => {
                ready!(shaking.deadline.as_mut().poll(cx));
                Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the TLS handshake took too long",
                ))
            }
        };
        match ended {
            Ok(stream) => {
                if let Some(negotiated) = Negotiated::of(stream.get_ref().1) {
                    // It is told once only.
                    let _ = shaking.outcome.set(negotiated);
                }
                *self = Self::Tls(Box::new(stream));
                Poll::Ready(Ok(()))
            }
            Err(error) => {
                tracing::debug!(%error, "a TLS handshake of HTTP failed");
                *self = Self::Failed;
                Poll::Ready(Err(error))
            }
        }
    }
}

impl AsyncRead for Secured {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.shaken(cx))?;
        match this {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Shaking(_) | Self::Failed => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl AsyncWrite for Secured {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.shaken(cx))?;
        match this {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Shaking(_) | Self::Failed => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.shaken(cx))?;
        match this {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Shaking(_) | Self::Failed => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
            Self::Shaking(_) | Self::Failed => false,
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
            // Nothing was written yet.
            Self::Shaking(_) | Self::Failed => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Shaking(_) | Self::Failed => Poll::Ready(Ok(())),
        }
    }
}

impl std::fmt::Debug for Secured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain",
            Self::Shaking(_) => "Shaking",
            Self::Tls(_) => "Tls",
            Self::Failed => "Failed",
        })
    }
}
