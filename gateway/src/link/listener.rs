//! Links over TCP.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task::JoinSet,
};
use tracing::Instrument as _;

use super::{Links, connection::Connection};
use crate::spool::stopped;

/// How long accepting pauses when the system has no more sockets.
const PAUSE: Duration = Duration::from_millis(200);

/// Bounds over all listeners.
pub(crate) struct Places {
    links: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
}

impl Places {
    pub(crate) fn new(links: &Links) -> Self {
        Self {
            links: places(links.options.max_links),
            strangers: places(links.options.max_strangers),
        }
    }
}

fn places(most: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)))
}

/// Accepts links until `stop` holds true, then ends them.
pub(crate) async fn listen(
    listener: TcpListener,
    links: Arc<Links>,
    places: Arc<Places>,
    mut stop: watch::Receiver<bool>,
) {
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    links.metrics.links_accepted.increment();
                    accept(stream, peer, &links, &places, &stop, &mut running);
                }
                Err(error) => {
                    // Too many open files, or a peer that went before it was accepted.
                    tracing::warn!(%error, "a link was not accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            },
            Some(_) = running.join_next() => {}
            () = stopped(&mut stop) => break,
        }
    }
    drop(listener);
    while running.join_next().await.is_some() {}
}

fn accept(
    stream: tokio::net::TcpStream,
    peer: SocketAddr,
    links: &Arc<Links>,
    places: &Arc<Places>,
    stop: &watch::Receiver<bool>,
    running: &mut JoinSet<()>,
) {
    let place = Arc::clone(&places.links).try_acquire_owned();
    let stranger = Arc::clone(&places.strangers).try_acquire_owned();
    let (Ok(place), Ok(stranger)) = (place, stranger) else {
        links.metrics.links_over_bound.increment();
        if links.strangers.may_write() {
            tracing::warn!(%peer, "closed at once: there are as many links as allowed");
        }
        return;
    };
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "small messages may be held back");
    }
    let connection = Connection::new(stream, Arc::clone(links), Some(stranger), stop.clone());
    let span = tracing::info_span!("link", %peer);
    running.spawn(
        async move {
            connection.run().await;
            drop(place);
        }
        .instrument(span),
    );
}
