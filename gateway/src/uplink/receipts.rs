//! Brings the hub the receipts of holders who were admitted: those that are next, signed, and no further
//! ones before the hub has said that it has these.

use std::{sync::Arc, time::Duration};

use stencil_protocol::{id::GatewayId, topic::Topic};
use tokio::{task::JoinHandle, time::Instant};

use super::{
    connection::{Connection, Lost},
    publisher::PACKET_OVERHEAD_BYTES,
};
use crate::access::Access;

/// After so long without the hub's word they are brought again.
const AGAIN: Duration = Duration::from_secs(10);
/// Between two attempts at what could not be read.
const PAUSE: Duration = Duration::from_secs(1);

pub(super) struct Receipts {
    access: Option<Arc<Access>>,
    topic: String,
    /// They were brought: until when the hub's word is waited for.
    until: Option<Instant>,
    work: Option<JoinHandle<Option<Vec<u8>>>>,
    next: Option<Vec<u8>>,
}

impl Receipts {
    pub(super) fn new(gateway: &GatewayId, access: Option<&Arc<Access>>) -> Self {
        Self {
            access: access.cloned(),
            topic: Topic::GatewayReceipts(gateway.clone()).to_string(),
            until: None,
            work: None,
            next: None,
        }
    }

    /// Returns when some may be brought; never without any. Dropped before it is done, it loses nothing.
    pub(super) async fn ready(&mut self) {
        let Some(access) = self.access.clone() else {
            return std::future::pending().await;
        };
        while self.next.is_none() {
            if let Some(work) = &mut self.work {
                let read = work.await;
                self.work = None;
                self.next = read.ok().flatten();
                if self.next.is_none() {
                    self.until = Some(Instant::now() + PAUSE);
                }
                continue;
            }
            if let Some(until) = self.until {
                tokio::select! {
                    () = access.has_held() => {}
                    () = tokio::time::sleep_until(until) => {}
                }
                self.until = None;
            }
            access.news().await;
            let reading = Arc::clone(&access);
            self.work = Some(tokio::task::spawn_blocking(move || reading.batch()));
        }
    }

    /// Brings them.
    pub(super) async fn send(&mut self, connection: &Connection) -> Result<(), Lost> {
        let Some(bytes) = self.next.take() else {
            return Ok(());
        };
        self.until = Some(Instant::now() + AGAIN);
        let (needed, max) = (
            bytes.len() + self.topic.len() + PACKET_OVERHEAD_BYTES,
            connection.max_packet_bytes(),
        );
        if needed > max {
            tracing::error!(needed, max, "the hub takes no message with receipts");
            return Ok(());
        }
        stencil_crashpoint::reach("access.before_sent");
        // Nothing waits for the acknowledgement: the hub says itself what it has.
        connection
            .publish(self.topic.clone(), bytes.into(), Vec::new())
            .await?;
        Ok(())
    }
}
