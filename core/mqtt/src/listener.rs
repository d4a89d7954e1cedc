//! Accepts connections and sees to their end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::connection::Connection;
use crate::hub::Hub;
use crate::wire::Wire;
use crate::{Endpoint, Policy, Sink, Transport, connect, tls};

/// How long to wait when a connection can't be accepted, such as when the
/// process has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often it is logged that there are too many connections.
const WARN_EVERY: Duration = Duration::from_secs(1);
/// How much longer than its own time-outs a connection may take to end.
const END_MARGIN: Duration = Duration::from_secs(2);

pub(crate) async fn serve<P: Policy, S: Sink<P::Principal>>(
    endpoint: Endpoint<P, S>,
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    mut shutdown: watch::Receiver<bool>,
) {
    let mut tasks = JoinSet::new();
    let mut warned: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => break,
            Some(ended) = tasks.join_next() => {
                report(&endpoint.hub, ended);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let hub = &endpoint.hub;
        hub.counters.accepted.one();
        let Some(place) = Place::take(hub) else {
            hub.counters.over_capacity.one();
            if warned.is_none_or(|at| at.elapsed() > WARN_EVERY) {
                warned = Some(Instant::now());
                tracing::warn!(%peer, "connection closed: too many connections");
            }
            continue;
        };
        if let Err(error) = prepare(&stream, hub.options.tcp_keepalive) {
            tracing::debug!(%peer, %error, "socket options not set");
        }
        tasks.spawn(start(
            endpoint.clone(),
            stream,
            peer,
            tls.clone(),
            shutdown.clone(),
            place,
        ));
    }
    drop(listener);
    let ended = timeout(endpoint.hub.options.drain_timeout + END_MARGIN, async {
        while let Some(ended) = tasks.join_next().await {
            report(&endpoint.hub, ended);
        }
    });
    if ended.await.is_err() {
        tracing::warn!(connections = tasks.len(), "connections cut at shutdown");
        tasks.shutdown().await;
    }
}

async fn start<P: Policy, S: Sink<P::Principal>>(
    endpoint: Endpoint<P, S>,
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<Arc<rustls::ServerConfig>>,
    shutdown: watch::Receiver<bool>,
    place: Place<P::Principal>,
) {
    let deadline = Instant::now() + endpoint.hub.options.connect_timeout;
    let Some(config) = tls else {
        let transport = Transport::Plain;
        return serve_client(
            &endpoint, stream, peer, transport, deadline, shutdown, place,
        )
        .await;
    };
    let accepted = timeout_at(deadline, tls::accept(stream, config))
        .await
        .unwrap_or_else(|_| Err(tls::timed_out()));
    match accepted {
        Ok((stream, transport)) => {
            serve_client(
                &endpoint, stream, peer, transport, deadline, shutdown, place,
            )
            .await;
        }
        Err(refused) => {
            endpoint.hub.counters.tls_refused(refused.reason);
            refused.log(peer);
        }
    }
}

async fn serve_client<P, S, IO>(
    endpoint: &Endpoint<P, S>,
    io: IO,
    peer: SocketAddr,
    transport: Transport,
    deadline: Instant,
    mut shutdown: watch::Receiver<bool>,
    place: Place<P::Principal>,
) where
    P: Policy,
    S: Sink<P::Principal>,
    IO: AsyncRead + AsyncWrite + Unpin + Send,
{
    let hub = &*endpoint.hub;
    let mut wire = Wire::new(io, &hub.options);
    let admitted = tokio::select! {
        admitted = timeout_at(
            deadline,
            connect::admit(endpoint, &mut wire, peer, &transport),
        ) => admitted,
        _ = shutdown.wait_for(|stop| *stop) => return,
    };
    let admitted = match admitted {
        Ok(Some(admitted)) => admitted,
        Ok(None) => return turned_away(wire, hub).await,
        Err(_) => {
            hub.counters.connect_timeouts.one();
            tracing::info!(%peer, "connection closed: no CONNECT in time");
            return;
        }
    };
    match connect::welcome(endpoint, &mut wire, admitted, peer, transport) {
        Some(connected) => {
            place.connected();
            Connection::new(endpoint, wire, connected)
                .run(shutdown)
                .await;
        }
        None => turned_away(wire, hub).await,
    }
}

/// Tells a client that is not let in, if there is something to tell.
async fn turned_away<IO, Pr>(mut wire: Wire<IO>, hub: &Hub<Pr>)
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    if !wire.out.is_empty() && wire.flush(&hub.counters).await.is_ok() {
        wire.close().await;
    }
}

fn prepare(stream: &TcpStream, keepalive: Option<Duration>) -> io::Result<()> {
    // Acknowledgements are small, and gathered already.
    stream.set_nodelay(true)?;
    if let Some(idle) = keepalive {
        let probes = TcpKeepalive::new()
            .with_time(idle)
            .with_interval(idle / 4)
            .with_retries(4);
        SockRef::from(stream).set_tcp_keepalive(&probes)?;
    }
    Ok(())
}

fn report<Pr>(hub: &Hub<Pr>, ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        hub.counters.panicked.one();
        tracing::error!(%error, "a connection panicked; the others go on");
    }
}

/// A place among the connections that are allowed at once; given back when
/// dropped.
struct Place<Pr> {
    hub: Arc<Hub<Pr>>,
    connecting: std::sync::atomic::AtomicBool,
}

impl<Pr> Place<Pr> {
    fn take(hub: &Arc<Hub<Pr>>) -> Option<Self> {
        let counters = &hub.counters;
        if !raise(&counters.connections, hub.options.max_connections) {
            return None;
        }
        if !raise(&counters.connecting, hub.options.max_connecting) {
            counters.connections.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Self {
            hub: Arc::clone(hub),
            connecting: true.into(),
        })
    }

    /// The client has been let in.
    fn connected(&self) {
        if self.connecting.swap(false, Ordering::Relaxed) {
            self.hub.counters.connecting.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl<Pr> Drop for Place<Pr> {
    fn drop(&mut self) {
        self.connected();
        self.hub
            .counters
            .connections
            .fetch_sub(1, Ordering::Relaxed);
    }
}

fn raise(count: &AtomicUsize, max: usize) -> bool {
    count
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| {
            (now < max).then_some(now + 1)
        })
        .is_ok()
}
