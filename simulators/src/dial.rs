//! A device's end of its link: opened, lost, and opened again.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::backoff::{Backoff, Reconnect};
use crate::line::Weather;
use crate::random::Random;
use crate::socket::{Pending, Socket};

type Connecting = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>;

/// The way to a device's gateway.
pub(crate) struct Dial {
    /// Where it is; looked at for each attempt.
    gateway: watch::Receiver<String>,
    timeout: Duration,
    backoff: Backoff,
    weather: Arc<Weather>,
    stream: Option<(Arc<TcpStream>, Arc<Pending>)>,
    connecting: Option<Connecting>,
    retry_at: Instant,
}

/// What happened on the way.
pub(crate) enum Event {
    /// The socket has bytes, or takes some.
    Ready,
    /// There is a link.
    Opened(Box<Socket>),
    /// There is none now.
    Failed(io::Error),
}

impl Dial {
    pub(crate) fn new(
        gateway: watch::Receiver<String>,
        reconnect: &Reconnect,
        random: Random,
    ) -> Self {
        Self {
            gateway,
            timeout: Duration::from_millis(reconnect.timeout_ms),
            backoff: Backoff::new(reconnect.clone(), random),
            weather: Arc::default(),
            stream: None,
            connecting: None,
            retry_at: Instant::now(),
        }
    }

    /// The device starts: it knows of no link, and opens one as soon as it likes.
    pub(crate) fn start(&mut self) {
        self.cut(Instant::now());
    }

    /// No link until then.
    pub(crate) fn cut(&mut self, until: Instant) {
        self.stream = None;
        self.connecting = None;
        self.retry_at = until;
    }

    /// How the line is, this link's and the next ones'.
    pub(crate) fn weather(&self) -> &Weather {
        &self.weather
    }

    /// The gateway has answered.
    pub(crate) fn is_up(&mut self) {
        self.backoff.reset();
    }

    /// The application has no link: waits, then opens one.
    pub(crate) fn reopen(&mut self) {
        if self.connecting.is_some() {
            return;
        }
        if self.stream.take().is_some() {
            self.retry_at = self.retry_at.max(Instant::now() + self.backoff.next());
        }
        if Instant::now() < self.retry_at {
            return;
        }
        let gateway = self.gateway.borrow().clone();
        let limit = self.timeout;
        self.connecting = Some(Box::pin(async move {
            let stream = timeout(limit, TcpStream::connect(gateway.as_str()))
                .await
                .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            stream.set_nodelay(true)?;
            Ok(stream)
        }));
    }

    /// How long until the next attempt, when there is neither a link nor an attempt.
    pub(crate) fn retry_in(&self) -> Option<Duration> {
        let waits = self.stream.is_none() && self.connecting.is_none();
        waits.then(|| self.retry_at.saturating_duration_since(Instant::now()))
    }

    /// Whether bytes are there that the socket will not announce again.
    pub(crate) fn has_unread(&self) -> bool {
        let pending = self.stream.as_ref().map(|(_, pending)| pending);
        pending.is_some_and(|pending| pending.unread.load(Ordering::Relaxed))
    }

    /// Whether bytes of the device wait for the socket.
    pub(crate) fn has_unwritten(&self) -> bool {
        let pending = self.stream.as_ref().map(|(_, pending)| pending);
        pending.is_some_and(|pending| pending.unwritten.load(Ordering::Relaxed))
    }

    /// The next thing that happens. Nothing is lost when it is dropped before.
    pub(crate) async fn event(&mut self, wants_write: bool) -> Event {
        let (stream, connecting) = (self.stream.as_ref(), self.connecting.as_mut());
        let opened = tokio::select! {
            () = ready(stream, wants_write) => return Event::Ready,
            opened = opened(connecting) => opened,
        };
        self.connecting = None;
        match opened {
            Ok(stream) => {
                let stream = Arc::new(stream);
                let weather = Arc::clone(&self.weather);
                let (socket, pending) = Socket::new(Arc::clone(&stream), weather);
                self.stream = Some((stream, pending));
                Event::Opened(Box::new(socket))
            }
            Err(error) => {
                self.retry_at = Instant::now() + self.backoff.next();
                Event::Failed(error)
            }
        }
    }
}

/// The socket has bytes, or takes some that wait.
async fn ready(stream: Option<&(Arc<TcpStream>, Arc<Pending>)>, wants_write: bool) {
    let Some((stream, pending)) = stream else {
        return std::future::pending().await;
    };
    let writing = wants_write || pending.unwritten.load(Ordering::Relaxed);
    // An error shows in the next poll.
    tokio::select! {
        _ = stream.readable() => {}
        _ = stream.writable(), if writing => {}
    }
}

/// The attempt to connect ended.
async fn opened(connecting: Option<&mut Connecting>) -> io::Result<TcpStream> {
    match connecting {
        Some(connecting) => connecting.await,
        None => std::future::pending().await,
    }
}
