//! How a connection ends: what it has published is committed, acknowledged and
//! routed first.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{sleep, sleep_until};

use crate::connection::{Connection, Ending};
use crate::message::Message;
use crate::pending::Batch;
use crate::{Disconnect, Policy, Publish, Sink, SinkError};

impl<P, S, IO> Connection<'_, P, S, IO>
where
    P: Policy,
    S: Sink<P::Principal>,
    IO: AsyncRead + AsyncWrite + Unpin,
{
    /// Ends the connection; bounded by the drain time-out.
    pub(crate) async fn finish(mut self, ending: Ending) {
        let hub = &*self.endpoint.hub;
        self.membership.reason = ending.reason;
        let mut broken = matches!(ending.reason, Disconnect::Lost | Disconnect::WriteTimeout);
        let deadline = tokio::time::Instant::now() + hub.options.drain_timeout;
        let mut will = self.take_will(ending.reason);
        if self.stays().is_err() {
            // What is in the sink is acknowledged; nothing more goes there.
            self.stalled = None;
            will = None;
        }
        loop {
            let due = self.acknowledge();
            if broken {
                self.wire.out.clear();
            } else {
                broken = self.wire.flush(&hub.counters).await.is_err();
            }
            self.route(due);
            if ending.reason == Disconnect::SinkFailed {
                break;
            }
            if let Some(taken) = self.stalled.take()
                && self.append(taken).is_err()
            {
                break;
            }
            // Behind all that the client itself has published.
            let mut will_waits = false;
            if self.stalled.is_none()
                && let Some(message) = will.take()
            {
                match self.append_will(&message) {
                    Err(SinkError::Full) => {
                        will_waits = true;
                        will = Some(message);
                    }
                    Ok(()) => {}
                    Err(SinkError::Failed(why)) => {
                        tracing::error!(why, "a will was lost: the sink failed");
                    }
                }
            }
            let retry = self.stalled.is_some() || will_waits;
            if self.pending.is_empty() && !retry {
                break;
            }
            tokio::select! {
                changed = self.committed() => {
                    if changed.is_err() {
                        break;
                    }
                }
                () = sleep(hub.options.sink_retry), if retry => {}
                () = sleep_until(deadline) => {
                    tracing::warn!(
                        client_id = self.membership.source.client_id,
                        reads = self.pending.len() + usize::from(self.stalled.is_some()),
                        "connection closed before all that it published was committed"
                    );
                    break;
                }
            }
        }
        if broken {
            return;
        }
        if let Some(fault) = &ending.told {
            self.wire
                .engine
                .disconnect(fault.code, &fault.what, &mut self.wire.out);
        }
        if self.wire.flush(&hub.counters).await.is_ok() {
            let Self {
                wire, membership, ..
            } = self;
            // Known as gone before the last courtesy.
            drop(membership);
            wire.close().await;
        }
    }

    fn append_will(&mut self, will: &Message) -> Result<(), SinkError> {
        let hub = &*self.endpoint.hub;
        let publish = Publish {
            topic: &will.topic,
            payload: &will.payload,
            qos: will.qos,
            retain: will.retain,
            content_type: will.forwarded.content_type(),
            user_properties: will.forwarded.user_properties(),
        };
        let position = self
            .endpoint
            .sink
            .append(&self.membership.source, &[publish])?;
        hub.counters.publishes_in.one();
        hub.counters.publish_bytes_in.add(will.payload.len());
        self.pending.push(Batch {
            position,
            acks: Vec::new(),
            messages: vec![will.clone()],
        });
        Ok(())
    }
}
