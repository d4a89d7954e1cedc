//! When a gateway begins to listen for commands.

use stencil_mqtt::Event;
use tokio::sync::{broadcast, watch};

use crate::parts::told_to_end;
use crate::policy::Peer;
use crate::wake::Wakes;

/// Follows the endpoint's events and tells the dispatcher, until told to end. Does nothing else, so
/// that it does not fall behind.
pub(crate) async fn watch(
    mut events: broadcast::Receiver<Event<Peer>>,
    wakes: Wakes,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let event = tokio::select! {
            event = events.recv() => event,
            () = told_to_end(&mut stop) => return,
        };
        match event {
            // The policy lets a gateway subscribe to its commands and to nothing else.
            Ok(Event::Subscribed { source, .. }) => {
                let principal = &source.principal.principal;
                if let Some(gateway) = principal.gateway() {
                    wakes.gateway(&principal.tenant, gateway);
                }
            }
            Ok(_) => {}
            Err(broadcast::error::RecvError::Lagged(missed)) => {
                tracing::warn!(missed, "endpoint events were missed");
            }
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}
