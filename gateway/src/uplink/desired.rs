//! Tells the hub what this gateway is like, and takes from it what it shall be like.

use std::time::Duration;

use bytes::Bytes;
use stencil_protocol::{
    desired::{Desired as Message, Few, Said},
    topic::Topic,
};
use tokio::{
    sync::watch,
    time::{Interval, MissedTickBehavior},
};

use super::{
    Uplink,
    connection::{Connection, Lost},
    publisher::PACKET_OVERHEAD_BYTES,
};
use crate::desired::Step;

/// How often the hub is told, also when nothing has changed: it sees by that that the gateway lives.
const INTERVAL: Duration = Duration::from_secs(60);

/// When the hub is to be told.
pub(super) struct Speaking {
    news: watch::Receiver<u64>,
    tick: Interval,
}

impl Uplink {
    /// For a hub that listens; the first time is at once.
    pub(super) fn speaking(&self) -> Speaking {
        let mut tick = tokio::time::interval(INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Speaking {
            news: self.desired.news(),
            tick,
        }
    }

    /// Says what this gateway is like.
    pub(super) async fn tell_state(&self, connection: &Connection) -> Result<(), Lost> {
        let mut state = self.desired.said();
        state.spool_bytes = self.spool.log().bytes();
        state.waiting_bytes = self.spool.waiting_bytes();
        state.links = u32::try_from(self.live.len()).unwrap_or(u32::MAX);
        state.certificate_end_us = Some(self.certificate.end_us());
        let field = self.field.ids().len();
        state.field_devices = Some(u32::try_from(field).unwrap_or(u32::MAX));
        state.silent = Some(Few::of(self.field.silent()));
        state.unused_keys = Some(Few::of(self.keys.unused()));
        self.say(connection, &Said::State(state)).await
    }

    /// Takes what the hub says of what the gateway shall be like.
    pub(super) async fn take_desired(
        &self,
        connection: &Connection,
        payload: &Bytes,
    ) -> Result<(), Lost> {
        let message = match Message::decode(payload) {
            Ok(message) => message,
            Err(error) => {
                tracing::error!(%error, "what the hub desires cannot be read");
                return Ok(());
            }
        };
        let desired = self.desired.clone();
        let taken = tokio::task::spawn_blocking(move || desired.take(message)).await;
        match taken {
            Ok(Ok(Step::Nothing)) => Ok(()),
            Ok(Ok(Step::Tell)) => self.tell_state(connection).await,
            Ok(Ok(Step::Say(said))) => self.say(connection, &said).await,
            Ok(Err(error)) => {
                tracing::error!(%error, "what the hub desires cannot be kept; it is tried again");
                Ok(())
            }
            Err(_) => Err(Lost::Ended),
        }
    }

    async fn say(&self, connection: &Connection, said: &Said) -> Result<(), Lost> {
        let topic = Topic::GatewayState(self.gateway.clone()).to_string();
        let bytes = match said.encode() {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::error!(%error, "what the gateway is like cannot be written");
                return Ok(());
            }
        };
        let (length, max) = (
            bytes.len() + topic.len() + PACKET_OVERHEAD_BYTES,
            connection.max_packet_bytes(),
        );
        if length > max {
            tracing::warn!(
                length,
                max,
                "the hub takes no message of what the gateway is like"
            );
            return Ok(());
        }
        connection.publish(topic, bytes.into(), Vec::new()).await?;
        Ok(())
    }
}

impl Speaking {
    /// Returns when the hub is to be told; never for a hub that does not listen.
    pub(super) async fn due(speaking: &mut Option<Self>) {
        let Some(Self { news, tick }) = speaking else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = tick.tick() => {}
            Ok(()) = news.changed() => {}
        }
    }
}
