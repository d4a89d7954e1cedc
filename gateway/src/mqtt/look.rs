//! Listens for a while, to try a mapping or to write a first one. Nothing is kept and nothing is
//! acknowledged, so that devices send all of it again to the gateway itself.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use stencil_field::mqtt::{Heard, Table};
use stencil_mqtt::{Endpoint, Event, Publish, Sink, SinkError, Source};
use tokio::sync::{broadcast::error::RecvError, watch};

use super::{
    clients::Clients,
    intake::offer,
    open,
    policy::{Local, Principal, Topics},
    serve,
    throttle::Throttle,
};
use crate::{Error, Options, clock};

/// Any topic of any client that is known.
struct Any;

impl Topics for Any {
    fn table(&self) -> Option<Arc<Table>> {
        None
    }
}

/// Keeps what is heard, and never says that it is on disk.
struct Ear {
    heard: Mutex<Heard>,
    position: AtomicU64,
    never: watch::Sender<u64>,
}

impl Sink<Principal> for Ear {
    fn append(&self, from: &Source<Principal>, batch: &[Publish<'_>]) -> Result<u64, SinkError> {
        let at_us = clock::now_us();
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        for one in batch {
            heard.keep(&from.principal.client, offer(one, at_us));
        }
        // What is not acknowledged with QoS 0 either does not hold the client up for long.
        Ok(self.position.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn committed(&self) -> watch::Receiver<u64> {
        self.never.subscribe()
    }
}

/// Listens as the options say for so long, or until `enough` says so, which is asked once a second.
/// `told` is given what an operator wants to know meanwhile.
///
/// # Errors
/// As those of a gateway that starts: it may run already, and have the addresses.
pub async fn listen(
    options: &Options,
    time: Duration,
    mut enough: impl FnMut(&Heard) -> bool,
    mut told: impl FnMut(&str),
) -> Result<Heard, Error> {
    let ear = Arc::new(Ear {
        heard: Mutex::default(),
        position: AtomicU64::new(0),
        never: watch::Sender::new(0),
    });
    let policy = Local {
        clients: Arc::new(Clients::new(options.mqtt.clients.clone())),
        topics: Any,
        throttle: Throttle::default(),
    };
    let mut bounds = super::bounds(&options.mqtt);
    bounds.drain_timeout = Duration::ZERO;
    // Nothing is committed, so that the reads of a client that may wait are all that is heard of it.
    bounds.max_pending_reads = 4_096;
    bounds.max_pending_bytes = 4 << 20;
    let endpoint = Endpoint::new(bounds, Arc::new(policy), Arc::clone(&ear));
    let sockets = open(&options.mqtt, &options.data_dir).await?;
    for one in &sockets {
        let (address, security) = (one.address, one.security);
        told(&format!("listening on {address}, {}", security.name()));
        if let Some(warning) = security.warning() {
            told(&format!("warning: {warning}"));
        }
    }
    let mut events = endpoint.handle().events();
    let (stop, stopping) = watch::channel(false);
    let serving = serve(endpoint, sockets, stopping);
    let begun = tokio::time::Instant::now();
    let watching = async {
        let mut look = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(begun + time) => break,
                _ = look.tick() => {
                    if enough(&ear.heard.lock().unwrap_or_else(PoisonError::into_inner)) {
                        break;
                    }
                }
                event = events.recv() => match event {
                    Ok(Event::Connected { namespace, .. }) => told(&format!("{namespace} is there")),
                    Ok(Event::Refused { peer, why, .. }) => {
                        told(&format!("somebody at {peer} was refused: {why}"));
                    }
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => break,
                }
            }
        }
        stop.send_replace(true);
    };
    tokio::join!(serving, watching);
    let mut heard = ear.heard.lock().unwrap_or_else(PoisonError::into_inner);
    let mut heard = std::mem::take(&mut *heard);
    heard.for_s = begun.elapsed().as_secs();
    Ok(heard)
}
