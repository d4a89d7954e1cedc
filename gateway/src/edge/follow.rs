//! Follows the spool: what is on disk is judged, and what comes of that is written and done.

use std::{sync::Arc, time::Duration};

use stencil_crypto::rng;
use stencil_edge::{Record, What};
use stencil_log::Position;
use stencil_protocol::{
    command::{Command, Status},
    id::DeviceId,
    sample::OwnedValue,
};
use tokio::{sync::watch, time::Instant};

use super::{
    Edge,
    desk::{Desk, Do, Now},
    writer::Writer,
};
use crate::{
    Error,
    commands::{Commands, Offer},
    link::Live,
    metrics::Metrics,
    psk::KeyRing,
    spool::{Entry, Kind, Spool, open, read, stopped},
};

/// All that is needed besides what is spooled.
pub(crate) struct Following {
    pub(crate) edge: Arc<Edge>,
    pub(crate) commands: Arc<Commands>,
    pub(crate) live: Live,
    pub(crate) keys: Arc<KeyRing>,
    pub(crate) metrics: Arc<Metrics>,
}

/// A number for a new stream.
pub(super) fn epoch() -> u64 {
    let mut bytes = [0; 8];
    rand_core::Rng::fill_bytes(&mut rng::Os, &mut bytes);
    u64::from_le_bytes(bytes)
}

/// Reads what is spooled behind what was judged, so that nothing is told twice, and the stream
/// goes on where it ends. Says where that is.
pub(super) fn look_ahead(
    spool: &Spool,
    from: Position,
    desk: &mut Desk,
    writer: &mut Writer,
) -> Result<Position, Error> {
    let mut reader = spool.log().reader(from)?;
    loop {
        let chunk = read(&mut reader)?;
        if chunk.is_empty() {
            return Ok(reader.position());
        }
        for record in &chunk {
            let Some(entry) = Entry::parse(&record.payload) else {
                continue;
            };
            match entry.kind {
                Kind::Stream => {
                    if let Ok(record) = Record::decode(entry.payload)
                        && !matches!(record.what, What::Verdicts(_))
                    {
                        writer.read(record.place, record.at_us, Some(&record.what));
                        desk.look_ahead(&record);
                    }
                }
                Kind::Judged => {
                    if let Ok(judged) = stencil_edge::Judged::decode(entry.payload) {
                        writer.read(judged.place, judged.received_us, None);
                    }
                }
                Kind::Status => {
                    if let Ok(status) = Status::decode(entry.payload) {
                        desk.look_ahead_at(&status);
                    }
                }
                _ => {}
            }
        }
    }
}

/// Follows until `stop` holds true, or the spool fails.
pub(crate) async fn follow(
    following: Following,
    mut stop: watch::Receiver<bool>,
) -> Result<(), Error> {
    let edge = Arc::clone(&following.edge);
    let mut begun = match edge.take_found() {
        Some(found) => {
            let mut desk = found.desk;
            // Their devices may have got them before.
            for open in desk.open(edge.now_us()) {
                following.act(open, false).await?;
            }
            Some((desk, found.position, found.end))
        }
        None => None,
    };
    loop {
        let (desk, from, known) = match begun.take() {
            Some(begun) => begun,
            None => {
                // Taken in the lock, or what is written meanwhile would be nobody's.
                let begins = edge.stream().begins.take();
                match begins {
                    Some(from) => (Desk::new(edge.tenant.clone()), from, from),
                    None => {
                        tokio::select! {
                            () = edge.wake.notified() => continue,
                            () = stopped(&mut stop) => return Ok(()),
                        }
                    }
                }
            }
        };
        let mut at = At {
            following: &following,
            desk,
            position: from,
            known,
            saved_at: Instant::now(),
            marked_at: Instant::now(),
        };
        // Before the first of it is judged: what is done about it must be known after a kill.
        at.save().await?;
        if at.until_idle(&mut stop).await? {
            return Ok(());
        }
    }
}

/// Where it is.
struct At<'a> {
    following: &'a Following,
    desk: Desk,
    /// All up to here was judged.
    position: Position,
    /// Up to here was spooled before this start.
    known: Position,
    saved_at: Instant,
    marked_at: Instant,
}

impl At<'_> {
    /// Judges until there is nothing to judge by; true when `stop` holds true.
    async fn until_idle(&mut self, stop: &mut watch::Receiver<bool>) -> Result<bool, Error> {
        let edge = &self.following.edge;
        let mut reader = open(&edge.spool, self.position)?;
        loop {
            let (back, chunk) = tokio::task::spawn_blocking(move || {
                let chunk = read(&mut reader);
                (reader, chunk)
            })
            .await
            .map_err(|_| Error::Ended("edge"))?;
            reader = back;
            let chunk = chunk?;
            if chunk.is_empty() {
                if self.is_over() {
                    return Ok(false);
                }
                edge.tell_state(&mut self.desk)?;
                let next = self.next();
                tokio::select! {
                    more = reader.wait() => more?,
                    () = tokio::time::sleep_until(next) => {}
                    () = stopped(stop) => {
                        self.save().await?;
                        return Ok(true);
                    }
                }
            }
            for record in chunk {
                self.take(&record.payload).await?;
                self.position = record.end;
            }
            self.mark().await?;
            let every = Duration::from_millis(edge.options.save_interval_ms);
            if self.saved_at.elapsed() >= every {
                self.save().await?;
            }
        }
    }

    /// Whether there are no rules any more, and all is judged: then nothing is held.
    fn is_over(&mut self) -> bool {
        let edge = &self.following.edge;
        let mut stream = edge.stream();
        let all = Some(stream.writer.place().number)
            == self.desk.judge().place().map(|place| place.number + 1);
        if !(all && self.desk.is_idle()) {
            return false;
        }
        stream.begins = None;
        if let Err(error) = edge.saved.remove() {
            tracing::warn!(%error, "what was judged is not removed");
        }
        edge.spool.hold(Position(u64::MAX));
        true
    }

    /// When there is something to do although nothing is spooled.
    fn next(&self) -> Instant {
        let edge = &self.following.edge;
        let save = self.saved_at + Duration::from_millis(edge.options.save_interval_ms);
        match self.mark_every() {
            Some(every) => save.min(self.marked_at + every),
            None => save,
        }
    }

    fn mark_every(&self) -> Option<Duration> {
        let every_us = self.desk.judge().mark_every_us()?;
        Some(Duration::from_micros(u64::try_from(every_us).unwrap_or(0)))
    }

    /// Writes how late it is, if a rule waits for it.
    async fn mark(&mut self) -> Result<(), Error> {
        if let Some(every) = self.mark_every()
            && self.marked_at.elapsed() >= every
        {
            self.marked_at = Instant::now();
            self.following.edge.write(&What::Mark).await?;
        }
        Ok(())
    }

    async fn take(&mut self, payload: &[u8]) -> Result<(), Error> {
        let Some(entry) = Entry::parse(payload) else {
            return Ok(());
        };
        // What was spooled before this start may have been done before it.
        let first = self.position >= self.known;
        for one in self.judge(&entry) {
            self.following.act(one, first).await?;
        }
        Ok(())
    }

    fn judge(&mut self, entry: &Entry<'_>) -> Vec<Do> {
        let Following {
            edge, keys, live, ..
        } = self.following;
        let reaches = |device: &DeviceId| live.is_linked(device) || keys.has(device);
        let now = Now {
            at_us: edge.now_us(),
            reaches: &reaches,
        };
        match entry.kind {
            Kind::Judged => self.desk.batch(&entry.device, entry.payload, &now),
            Kind::Stream => self.desk.record(entry.payload, &now),
            Kind::Status => {
                if let Ok(status) = Status::decode(entry.payload) {
                    self.desk.status(&status);
                }
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    async fn save(&mut self) -> Result<(), Error> {
        let (body, position) = (self.desk.save(), self.position);
        let edge = &self.following.edge;
        let saved = edge.saved.clone();
        let written = tokio::task::spawn_blocking(move || saved.write(position, &body)).await;
        match written {
            Ok(Ok(())) => edge.spool.hold(position),
            // The spool is kept from where it was saved last: nothing is lost by this.
            Ok(Err(error)) => tracing::error!(%error, "what was judged is not saved"),
            Err(_) => return Err(Error::Ended("edge")),
        }
        self.saved_at = Instant::now();
        Ok(())
    }
}

impl Following {
    async fn act(&self, one: Do, first: bool) -> Result<(), Error> {
        match one {
            Do::Tell(told) => {
                self.metrics.edge_told.increment();
                stencil_crashpoint::reach("edge.before_told");
                self.edge.write(&What::Told(told)).await?;
                stencil_crashpoint::reach("edge.after_told");
            }
            Do::Give { id, command } => {
                stencil_crashpoint::reach("edge.before_give");
                let argument = command.argument.map(OwnedValue::from);
                let given = Command {
                    id,
                    device: command.device.clone(),
                    name: &command.name,
                    argument: argument.as_ref().map(OwnedValue::as_ref),
                    expires_us: command.expires_us,
                };
                let device = &given.device;
                match self.commands.offer(&given, first) {
                    Ok(Offer::Held) => {
                        self.metrics.edge_given.increment();
                        tracing::info!(%device, %id, "a rule gives a device a command");
                        self.live.wake(device);
                    }
                    Ok(Offer::Known) => {}
                    Ok(Offer::Full) => tracing::error!(%device, %id,
                        "a rule's command is not held: too many wait"),
                    Err(error) => tracing::error!(%device, %id, %error,
                        "a rule's command cannot be held"),
                }
                stencil_crashpoint::reach("edge.after_give");
            }
        }
        Ok(())
    }
}
