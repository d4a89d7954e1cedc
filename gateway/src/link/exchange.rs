//! What a device and the gateway say to each other within a session.

use std::time::Instant;

use stencil_log::Position;
use stencil_protocol::{
    batch::Batch,
    command::{self, Command, State, Status},
    frame::Kind,
    id::{Boot, CommandId, DeviceId, Seq},
    keys,
    link::{Down, Secret, Up},
    report::{self, LinkEvent},
};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    connection::{Connection, End, superseded},
    session::SealError,
};
use crate::{
    clock,
    psk::Used,
    spool::{self, Entry, stopped},
};

/// What is to be said when it is on disk.
pub(super) enum Due {
    Batch { boot: Boot, through: Seq },
    Status { id: CommandId, state: State },
}

impl<S: AsyncRead + AsyncWrite + Send> Connection<S> {
    /// Takes a message of the device; it is its `first` of a session, or a later one.
    pub(super) async fn take(&mut self, plain: &[u8], first: bool) -> Result<(), End> {
        let Some(linked) = &self.current else {
            return Ok(());
        };
        let device = linked.secured.device.clone();
        let suite = Some(linked.secured.session.suite().id());
        let metrics = &self.links.metrics;
        match Up::decode(plain) {
            Ok(Up::Batch(payload)) => match Batch::decode(payload) {
                Ok(batch) => {
                    let header = batch.header();
                    let through = header.first.0.saturating_add(batch.len() as u64).max(1) - 1;
                    let ack = Due::Batch {
                        boot: header.boot,
                        through: Seq(through),
                    };
                    metrics.samples_spooled.add(batch.len() as u64);
                    metrics.batches_spooled.increment();
                    let position = self.spool_batch(&device, suite, payload).await?;
                    self.due.push_back((position, ack));
                }
                Err(error) => {
                    metrics.batches_malformed.increment();
                    let now = Instant::now();
                    if self.links.unreadable.is_news(&device, payload, now) {
                        tracing::error!(%device, %error, "a batch cannot be read: it is not \
                            acknowledged, but passed on for the hub to set aside");
                        let entry = Entry {
                            kind: spool::Kind::Batch,
                            device,
                            suite,
                            payload,
                        };
                        self.spool(&entry.to_bytes()).await?;
                    }
                }
            },
            Ok(Up::Status(status)) => {
                let (id, state) = (status.id, status.state);
                if let Some(access) = &self.links.access
                    && access.takes(&device, id, state).await
                {
                    return self.answered(id, state).await;
                }
                metrics.statuses_spooled.increment();
                let mut payload = [0; command::MAX_STATUS_BYTES];
                let length = status.encode(&mut payload).map_err(SealError::from)?;
                let entry = Entry {
                    kind: spool::Kind::Status,
                    device,
                    suite,
                    payload: &payload[..length],
                };
                self.put(&entry, Due::Status { id, state }).await?;
            }
            // A device that doesn't hear the time asks again.
            Ok(Up::Ping) if !first => self.tell_time().await?,
            Ok(Up::Ping) => {}
            Ok(Up::Running(running)) => self.running(&running).await?,
            Ok(Up::Want(want)) => self.send_chunk(want).await?,
            Ok(Up::Verdict(verdict)) => self.verdict(verdict).await?,
            Err(error) => {
                metrics.records_bad.increment();
                tracing::warn!(%device, %error, "a record holds no message");
            }
        }
        Ok(())
    }

    /// Spools a message that is to be acknowledged.
    async fn put(&mut self, entry: &Entry<'_>, due: Due) -> Result<(), End> {
        let position = self.spool(&entry.to_bytes()).await?;
        self.due.push_back((position, due));
        Ok(())
    }

    /// Spools a batch, as [`Self::spool`] does, where rules see it.
    async fn spool_batch(
        &mut self,
        device: &DeviceId,
        suite: Option<u16>,
        payload: &[u8],
    ) -> Result<Position, End> {
        let superseded = superseded(self.current.as_ref().filter(|_| !self.is_line));
        tokio::select! {
            position = self.links.edge.put_batch(device, suite, payload) => Ok(position?),
            () = superseded => Err(End::Superseded),
            () = stopped(&mut self.stop) => Err(End::Stopped),
        }
    }

    /// Spools an entry. While there is no room the link isn't read: the device is held back, for
    /// as long as this is its link.
    pub(super) async fn spool(&mut self, entry: &[u8]) -> Result<Position, End> {
        let superseded = superseded(self.current.as_ref().filter(|_| !self.is_line));
        tokio::select! {
            position = self.links.spool.put_bytes(entry) => Ok(position?),
            () = superseded => Err(End::Superseded),
            () = stopped(&mut self.stop) => Err(End::Stopped),
        }
    }

    /// Tells the device what is on disk now.
    pub(super) async fn acknowledge(&mut self, committed: Position) -> Result<(), End> {
        stencil_crashpoint::reach("gateway.before_ack");
        while let Some((_, due)) = self
            .due
            .pop_front_if(|(position, _)| *position <= committed)
        {
            match due {
                Due::Batch { boot, through } => self.tell(&Down::Ack { boot, through }).await?,
                Due::Status { id, state } => self.answered(id, state).await?,
            }
        }
        Ok(())
    }

    /// What the device said of a command is on disk.
    async fn answered(&mut self, id: CommandId, state: State) -> Result<(), End> {
        if let Some(linked) = &self.current {
            self.links.commands.answered(&linked.secured.device, id);
        }
        self.links.commands.said(id, state);
        self.tell(&Down::StatusAck { id, state }).await
    }

    /// Sends the device the commands that are due.
    pub(super) async fn send_commands(&mut self) -> Result<(), End> {
        let Some(linked) = &self.current else {
            return Ok(());
        };
        let (device, link) = (&linked.secured.device, linked.place.number());
        let identity = linked.secured.used.identity.clone();
        for bytes in self.links.commands.due(device, link, Instant::now()) {
            match Command::decode(&bytes) {
                Ok(command) => {
                    // A device knows itself by the name that it was born with.
                    let command = Command {
                        device: identity.clone(),
                        ..command
                    };
                    self.links.metrics.commands_sent.increment();
                    stencil_crashpoint::reach("gateway.before_command");
                    self.tell(&Down::Command(command)).await?;
                    stencil_crashpoint::reach("gateway.after_command");
                }
                Err(error) => tracing::error!(%error, "a command that is held cannot be read"),
            }
        }
        Ok(())
    }

    /// Seals and sends a message, if there is a session.
    pub(super) async fn tell(&mut self, message: &Down<'_>) -> Result<(), End> {
        let Some(linked) = &mut self.current else {
            return Ok(());
        };
        let record = linked.secured.seal(message)?;
        Ok(self.writer.send(Kind::Record, &record).await?)
    }

    /// A device whose key was taken away is cut off; one that has a newer one is told it.
    pub(super) async fn check_key(&mut self) -> Result<(), End> {
        let Some(linked) = &mut self.current else {
            return Ok(());
        };
        let (device, used) = (&linked.secured.device, &linked.secured.used);
        if !self.links.keys.stands(device, used).await {
            return Err(End::Revoked);
        }
        let Some(in_use) = used.generation else {
            return Ok(());
        };
        match self.links.keys.managed.newer(device, in_use) {
            Some((generation, psk)) if linked.told_key != Some(generation) => {
                linked.told_key = Some(generation);
                tracing::info!(%device, generation, "the device is told its new key");
                let key = Secret(*psk.reveal());
                self.tell(&Down::Key { generation, key }).await
            }
            _ => Ok(()),
        }
    }

    /// The device has shown that it has this key: older ones open nothing from now on, and the hub
    /// is told.
    pub(super) async fn key_used(&mut self, used: &Used) -> Result<(), End> {
        let (Some(linked), Some(generation)) = (&self.current, used.generation) else {
            return Ok(());
        };
        let (device, managed) = (
            linked.secured.device.clone(),
            self.links.keys.managed.clone(),
        );
        let of = device.clone();
        let news = tokio::task::spawn_blocking(move || managed.used(&of, generation)).await;
        match news {
            Ok(Ok(true)) => tracing::info!(%device, generation, "the device uses its new key"),
            Ok(Ok(false)) => {}
            Ok(Err(error)) => {
                tracing::error!(%device, %error, "the older key of a device is not let go yet");
            }
            Err(_) => {}
        }
        let at_us = clock::stamp_us();
        let payload = keys::Used {
            device: device.clone(),
            generation,
            at_us,
        }
        .encode();
        let entry = Entry {
            kind: spool::Kind::Key,
            device,
            suite: None,
            payload: &payload,
        };
        self.spool(&entry.to_bytes()).await.map(drop)
    }

    /// Tells the time, if it is known.
    pub(super) async fn tell_time(&mut self) -> Result<(), End> {
        match clock::set_now_us() {
            Some(now_us) => self.tell(&Down::Time { now_us }).await,
            None => Ok(()),
        }
    }

    /// What the hub is told about a link.
    pub(super) fn link_event(&self, device: DeviceId, event: report::Link) -> Vec<u8> {
        let gateway = self.links.gateway.clone();
        let at_us = clock::stamp_us();
        let event = LinkEvent {
            device: device.clone(),
            gateway,
            at_us,
            event,
        };
        let payload = event.encode();
        let kind = spool::Kind::Link;
        let entry = Entry {
            kind,
            device,
            suite: None,
            payload: &payload,
        };
        entry.to_bytes()
    }
}

/// A status by which the gateway itself answers for a device.
pub(crate) fn gateway_status(device: &DeviceId, status: &Status<'_>) -> Option<Vec<u8>> {
    let mut payload = [0; command::MAX_STATUS_BYTES];
    let length = status.encode(&mut payload).ok()?;
    let entry = Entry {
        kind: spool::Kind::Status,
        device: device.clone(),
        suite: None,
        payload: &payload[..length],
    };
    Some(entry.to_bytes())
}
