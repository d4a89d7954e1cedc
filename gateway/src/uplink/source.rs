//! Reads a stretch of the spool ahead of the publisher.

use std::{ops::Range, sync::Arc};

use stencil_log::{Error, Position, Reader, Record};
use tokio::{sync::mpsc, task::JoinHandle};

use super::connection::Lost;
use crate::{
    metrics::Metrics,
    spool::{Acknowledged, Continuity, Entry, Kind, Spool},
};

/// Records a read, and records ahead.
const CHUNK: usize = 128;

/// What to read.
pub(super) struct Stretch {
    pub(super) from: Position,
    /// Up to the record that begins here; without it, all that is ever spooled.
    pub(super) to: Option<Position>,
    /// What of it the hub has already.
    pub(super) acknowledged: Acknowledged,
}

/// A record, and with it what before it need not be published.
pub(super) struct Item {
    /// From the end of the item before.
    pub(super) covers: Range<Position>,
    /// Nothing, when there is nothing to publish in it.
    pub(super) record: Option<Record>,
}

/// A stretch of the spool, read by a task of its own.
pub(super) struct Source {
    items: mpsc::Receiver<Item>,
    reading: JoinHandle<Result<(), Error>>,
}

impl Source {
    pub(super) fn start(spool: Spool, stretch: Stretch, metrics: Arc<Metrics>) -> Self {
        let (to, items) = mpsc::channel(CHUNK);
        Self {
            items,
            reading: tokio::spawn(read_on(spool, stretch, to, metrics)),
        }
    }

    /// The next item; `None` at the end of the stretch. Dropped before it is done, it loses
    /// nothing.
    pub(super) async fn next(&mut self) -> Result<Option<Item>, Lost> {
        if let Some(item) = self.items.recv().await {
            return Ok(Some(item));
        }
        match (&mut self.reading).await {
            Ok(Ok(())) => Ok(None),
            Ok(Err(error)) => Err(Lost::Spool(error)),
            Err(_) => Err(Lost::Spool(Error::Closed)),
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

async fn read_on(
    spool: Spool,
    stretch: Stretch,
    to: mpsc::Sender<Item>,
    metrics: Arc<Metrics>,
) -> Result<(), Error> {
    let mut reading = Reading::begin(&spool, stretch)?;
    loop {
        // Files are read where that may block.
        let read = tokio::task::spawn_blocking(move || {
            let read = reading.read();
            (reading, read)
        });
        let Ok((back, read)) = read.await else {
            return Err(Error::Closed);
        };
        reading = back;
        let read = read?;
        if read.damaged_bytes > 0 {
            metrics.spool_damaged_bytes.add(read.damaged_bytes);
            let before = reading.reader.position();
            tracing::error!(damaged_bytes = read.damaged_bytes, %before, "what stood in a damaged \
                part of the spool cannot be sent");
        }
        // On disk before what shows the loss is let go.
        let mut reported = None;
        for report in &read.reports {
            reported = Some(spool.put_bytes(report).await?);
        }
        if let Some(position) = reported {
            spool.log().wait(position).await?;
            tracing::error!(
                samples = read.lost,
                "samples were in a damaged part of the spool; \
                reported"
            );
            metrics.samples_lost.add(read.lost);
        }
        for item in read.items {
            if to.send(item).await.is_err() {
                return Ok(());
            }
        }
        match read.then {
            Then::Again => {}
            Then::Wait => reading.reader.wait().await?,
            Then::End => return Ok(()),
        }
    }
}

struct Reading {
    spool: Spool,
    reader: Reader,
    stretch: Stretch,
    /// All up to here is in items.
    covered: Position,
    /// Behind damage: what shows what was in it.
    continuity: Option<Continuity>,
}

#[derive(Default)]
struct Read {
    items: Vec<Item>,
    /// What was found to be lost: loss reports, and how many samples.
    reports: Vec<Vec<u8>>,
    lost: u64,
    damaged_bytes: u64,
    then: Then,
}

/// What comes after a read.
#[derive(Default)]
enum Then {
    #[default]
    Again,
    Wait,
    End,
}

impl Reading {
    fn begin(spool: &Spool, stretch: Stretch) -> Result<Self, Error> {
        let mut from = stretch.from;
        let reader = loop {
            match spool.log().reader(from) {
                // Dropped for size or age, and reported.
                Err(Error::Trimmed { oldest }) => from = oldest,
                other => break other?,
            }
        };
        Ok(Self {
            spool: spool.clone(),
            reader,
            covered: stretch.from,
            stretch,
            continuity: None,
        })
    }

    fn read(&mut self) -> Result<Read, Error> {
        let mut read = Read::default();
        for _ in 0..CHUNK {
            if self.is_at_end(&mut read) {
                read.then = Then::End;
                return Ok(read);
            }
            match self.reader.next() {
                Ok(Some(record)) => self.take(record, &mut read),
                Ok(None) => {
                    read.then = Then::Wait;
                    return Ok(read);
                }
                // Dropped for size or age in the meantime, and reported.
                Err(Error::Trimmed { oldest }) => {
                    self.continuity = None;
                    match self.reader.seek(oldest) {
                        // The next one is gone already, too.
                        Ok(()) | Err(Error::Trimmed { .. }) => {}
                        Err(error) => return Err(error),
                    }
                }
                Err(error) => {
                    let at = self.reader.position();
                    match self.reader.skip_corrupt() {
                        Ok(Some(skipped)) => {
                            read.damaged_bytes += skipped.to.0 - skipped.from.0;
                            self.damaged(at);
                        }
                        Ok(None) | Err(Error::Trimmed { .. }) => {}
                        Err(_) => return Err(error),
                    }
                }
            }
        }
        Ok(read)
    }

    /// Whether the stretch is read, and nothing more can be found out about damage in it.
    fn is_at_end(&mut self, read: &mut Read) -> bool {
        let Some(to) = self.stretch.to else {
            return false;
        };
        if self.reader.position() < to {
            return false;
        }
        if self.covered < to {
            read.items.push(Item {
                covers: self.covered..to,
                record: None,
            });
            self.covered = to;
        }
        self.continuity.as_ref().is_none_or(Continuity::is_settled)
    }

    fn take(&mut self, record: Record, read: &mut Read) {
        let (start, end) = (record.start, record.end);
        if let Some(continuity) = &mut self.continuity
            && let Some(entry) = Entry::parse(&record.payload)
        {
            let losses = continuity.read(&entry);
            read.lost += losses.samples;
            read.reports.extend(losses.into_entries());
            if continuity.is_settled() {
                self.continuity = None;
            }
        }
        if self.stretch.to.is_some_and(|to| start >= to) {
            return;
        }
        let is_damage = is_damage(&record);
        if is_damage {
            self.damaged(start);
        }
        let known = is_damage || self.stretch.acknowledged.holds(start);
        read.items.push(Item {
            covers: self.covered..end,
            record: (!known).then_some(record),
        });
        self.covered = end;
    }

    fn damaged(&mut self, at: Position) {
        let continuity = self
            .continuity
            .get_or_insert_with(|| Continuity::before(self.spool.log(), at));
        continuity.damaged();
        if continuity.is_settled() {
            self.continuity = None;
        }
    }
}

fn is_damage(record: &Record) -> bool {
    // The marks are small: no need to read others.
    record.payload.len() <= 32
        && Entry::parse(&record.payload).is_some_and(|entry| entry.kind == Kind::Damage)
}

#[cfg(test)]
mod tests;
