//! Accepts connections and sees to their end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use stencil_strangers::{Full, Lines, Place};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, sleep, timeout, timeout_at};

use crate::connection::Connection;
use crate::hub::Hub;
use crate::wire::Wire;
use crate::{Endpoint, Policy, Sink, Transport, connect, tls};

/// How long to wait when a connection can't be accepted, such as when the
/// process has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long who is not let in may take to be told so.
const TURN_AWAY: Duration = Duration::from_secs(2);
/// How much longer than its own time-outs a connection may take to end.
const END_MARGIN: Duration = Duration::from_secs(2);

pub(crate) async fn serve<P: Policy, S: Sink<P::Principal>>(
    endpoint: Endpoint<P, S>,
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    mut shutdown: watch::Receiver<bool>,
) {
    let mut tasks = JoinSet::new();
    let mut counts = tokio::time::interval(Lines::EVERY);
    counts.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let accepted = tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => break,
            Some(ended) = tasks.join_next() => {
                report(&endpoint.hub, ended);
                continue;
            }
            _ = counts.tick() => {
                endpoint.hub.strangers.say_counts();
                endpoint.hub.clients.say_counts();
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
        let place = match hub.places.enter(peer.ip()) {
            Ok(place) => place,
            Err(full) => {
                if hub.strangers.may_write(peer.ip(), "too many connections") {
                    let why = no_room(full);
                    tracing::warn!(%peer, why, "connection closed: too many connections");
                }
                continue;
            }
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
    place: Place,
) {
    let deadline = Instant::now() + endpoint.hub.options.connect_timeout;
    let Some(config) = tls else {
        let transport = Transport::Plain;
        return serve_client(
            &endpoint, stream, peer, transport, deadline, shutdown, place,
        )
        .await;
    };
    let accepted = tokio::select! {
        accepted = timeout_at(deadline, tls::accept(stream, config, || place.begun())) => accepted,
        () = place.gone() => return made_way(&endpoint.hub, peer),
    };
    let accepted = accepted.unwrap_or_else(|_| Err(tls::timed_out()));
    match accepted {
        Ok((stream, transport)) => {
            serve_client(
                &endpoint, stream, peer, transport, deadline, shutdown, place,
            )
            .await;
        }
        Err(refused) => {
            let hub = &endpoint.hub;
            hub.counters.tls_refused(refused.reason);
            if hub.strangers.may_write(peer.ip(), refused.cause()) {
                refused.log(peer);
            }
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
    place: Place,
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
            connect::admit(endpoint, &mut wire, peer, &transport, &place),
        ) => admitted,
        () = place.gone() => return made_way(hub, peer),
        _ = shutdown.wait_for(|stop| *stop) => return,
    };
    let admitted = match admitted {
        Ok(Some(admitted)) => admitted,
        Ok(None) => return turned_away(wire, hub, &place).await,
        Err(_) => {
            hub.counters.connect_timeouts.one();
            if hub.strangers.may_write(peer.ip(), "no CONNECT in time") {
                tracing::info!(%peer, "connection closed: no CONNECT in time");
            }
            return;
        }
    };
    if !place.known() {
        return made_way(hub, peer);
    }
    match connect::welcome(endpoint, &mut wire, admitted, peer, transport) {
        Some(connected) => {
            Connection::new(endpoint, wire, connected)
                .run(shutdown)
                .await;
        }
        None => turned_away(wire, hub, &place).await,
    }
}

/// Tells a client that is not let in, if there is something to tell.
async fn turned_away<IO, Pr>(mut wire: Wire<IO>, hub: &Hub<Pr>, place: &Place)
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    place.refused();
    let telling = timeout(TURN_AWAY, async {
        if !wire.out.is_empty() && wire.flush(&hub.counters).await.is_ok() {
            wire.close().await;
        }
    });
    tokio::select! {
        // Who does not listen goes without.
        _ = telling => {}
        () = place.gone() => {}
    }
}

/// A stranger's place is another's.
fn made_way<Pr>(hub: &Hub<Pr>, peer: SocketAddr) {
    if hub
        .strangers
        .may_write(peer.ip(), "made way for a newer connection")
    {
        tracing::info!(%peer, "connection closed: it made way for a newer one before it said who it is");
    }
}

fn no_room(full: Full) -> &'static str {
    match full {
        Full::All => "there are as many as may be",
        Full::Strangers => "as many as may be have not said yet who they are",
        Full::Address => "as many as may be of this address have not said yet who they are",
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
