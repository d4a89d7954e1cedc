//! Reads the spool ahead of the publisher.

use std::sync::Arc;

use stencil_log::{Error, Log, Position, Reader, Record};
use tokio::{sync::mpsc, task::JoinHandle};

use super::connection::Lost;
use crate::metrics::Metrics;

/// Records a read, and records ahead.
const CHUNK: usize = 128;

/// What is spooled from a position on, read by a task of its own.
pub(crate) struct Source {
    records: mpsc::Receiver<Record>,
    reading: JoinHandle<Result<(), Error>>,
}

impl Source {
    pub(crate) fn start(log: Log, from: Position, metrics: Arc<Metrics>) -> Self {
        let (to, records) = mpsc::channel(CHUNK);
        Self {
            records,
            reading: tokio::spawn(read_on(log, from, to, metrics)),
        }
    }

    /// The next record. Dropped before it is done, it loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Record, Lost> {
        if let Some(record) = self.records.recv().await {
            return Ok(record);
        }
        match (&mut self.reading).await {
            Ok(Err(error)) => Err(Lost::Spool(error)),
            Ok(Ok(())) | Err(_) => Err(Lost::Spool(Error::Closed)),
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

async fn read_on(
    log: Log,
    from: Position,
    to: mpsc::Sender<Record>,
    metrics: Arc<Metrics>,
) -> Result<(), Error> {
    let mut reader = open(&log, from)?;
    loop {
        // Files are read where that may block.
        let Ok((back, read)) = tokio::task::spawn_blocking(move || read(reader)).await else {
            return Err(Error::Closed);
        };
        reader = back;
        let Read {
            records,
            damaged_bytes,
        } = read?;
        if damaged_bytes > 0 {
            metrics.spool_damaged_bytes.add(damaged_bytes);
            let before = reader.position();
            tracing::error!(damaged_bytes, %before, "what stood in a damaged part is not sent");
        }
        let waits = records.len() < CHUNK;
        for record in records {
            if to.send(record).await.is_err() {
                return Ok(());
            }
        }
        if waits {
            reader.wait().await?;
        }
    }
}

/// A reader from `from`, or from what is oldest when that was dropped.
fn open(log: &Log, from: Position) -> Result<Reader, Error> {
    let mut from = from;
    loop {
        match log.reader(from) {
            Err(Error::Trimmed { oldest }) => from = oldest,
            other => return other,
        }
    }
}

#[derive(Default)]
struct Read {
    records: Vec<Record>,
    damaged_bytes: u64,
}

fn read(mut reader: Reader) -> (Reader, Result<Read, Error>) {
    let mut read = Read::default();
    while read.records.len() < CHUNK {
        match reader.next() {
            Ok(Some(record)) => read.records.push(record),
            Ok(None) => break,
            // Dropped for size or age in the meantime, and reported.
            Err(Error::Trimmed { oldest }) => match reader.seek(oldest) {
                // The next one is gone already, too.
                Ok(()) | Err(Error::Trimmed { .. }) => {}
                Err(error) => return (reader, Err(error)),
            },
            Err(error) => match reader.skip_corrupt() {
                Ok(Some(skipped)) => read.damaged_bytes += skipped.to.0 - skipped.from.0,
                Ok(None) | Err(Error::Trimmed { .. }) => {}
                Err(_) => return (reader, Err(error)),
            },
        }
    }
    (reader, Ok(read))
}
