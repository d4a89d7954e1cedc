//! Links over TCP.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use stencil_strangers::{Bounds, Full, Places, Who};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tracing::Instrument as _;

use super::{Links, connection::Connection};
use crate::{options, spool::stopped};

/// How long accepting pauses when the system has no more sockets.
const PAUSE: Duration = Duration::from_millis(200);

/// Room for links over all listeners.
pub(crate) fn places(options: &options::Link) -> Places {
    Places::new(Bounds {
        connections: options.max_links,
        strangers: options.max_strangers,
        strangers_per_address: options.max_strangers_per_address,
    })
}

/// Accepts links until `stop` holds true, then ends them.
pub(crate) async fn listen(
    listener: TcpListener,
    links: Arc<Links>,
    places: Places,
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
    places: &Places,
    stop: &watch::Receiver<bool>,
    running: &mut JoinSet<()>,
) {
    let place = match places.enter(peer.ip()) {
        Ok(place) => place,
        Err(full) => {
            links.metrics.links_over_bound.increment();
            if links.strangers.may_write(peer.ip(), "too many links") {
                let bound = match full {
                    Full::All => "link.max_links",
                    Full::Strangers => "link.max_strangers",
                    Full::Address => "link.max_strangers_per_address",
                };
                tracing::warn!(%peer, bound, "closed at once: there are as many links as allowed");
            }
            return;
        }
    };
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "small messages may be held back");
    }
    let (links, from) = (Arc::clone(links), Who::from(peer.ip()));
    let connection = Connection::new(stream, links, from, Some(place), stop.clone());
    let span = tracing::info_span!("link", %peer);
    running.spawn(connection.run().instrument(span));
}
