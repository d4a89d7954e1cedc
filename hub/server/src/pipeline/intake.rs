//! Records from the log, in portions.

use stencil_log::{Error, Log, Position, Reader, Record};

/// What a portion of the log held.
#[derive(Debug, Default)]
pub(super) struct Portion {
    /// Good records in order.
    pub(super) records: Vec<Record>,
    /// Damage that was left out, as (from, to).
    pub(super) damaged: Vec<(Position, Position)>,
    /// Up to where the portion goes.
    pub(super) end: Position,
    /// It is as large as it may be: there may be more.
    pub(super) full: bool,
}

impl Portion {
    /// Whether nothing more was there.
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.damaged.is_empty()
    }
}

/// The pipeline's place in the log.
#[derive(Debug)]
pub(super) struct Intake {
    reader: Option<Reader>,
}

impl Intake {
    /// Starts at `from`, the position of the last commit. Where the log has been trimmed beyond
    /// it, starts at the oldest record and tells what is missing.
    pub(super) fn open(
        log: &Log,
        from: Position,
    ) -> Result<(Self, Option<(Position, Position)>), Error> {
        match log.reader(from) {
            Ok(reader) => Ok((
                Self {
                    reader: Some(reader),
                },
                None,
            )),
            Err(Error::Trimmed { oldest }) => Ok((
                Self {
                    reader: Some(log.reader(oldest)?),
                },
                Some((from, oldest)),
            )),
            Err(error) => Err(error),
        }
    }

    /// The next records, at most `max_records` of at most `max_bytes` (one may overshoot it); an
    /// empty portion at the log's end. Reads files on a thread that may block.
    pub(super) async fn next(
        &mut self,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Portion, Error> {
        // Gone only if an earlier read panicked.
        let Some(mut reader) = self.reader.take() else {
            return Err(Error::Closed);
        };
        let read = tokio::task::spawn_blocking(move || {
            let portion = read(&mut reader, max_records, max_bytes);
            (reader, portion)
        });
        let (reader, portion) = read.await.map_err(|_| Error::Closed)?;
        self.reader = Some(reader);
        portion
    }

    /// Returns when there is more.
    pub(super) async fn more(&mut self) -> Result<(), Error> {
        match &mut self.reader {
            Some(reader) => reader.wait().await,
            None => Err(Error::Closed),
        }
    }
}

fn read(reader: &mut Reader, max_records: usize, max_bytes: usize) -> Result<Portion, Error> {
    let mut portion = Portion {
        end: reader.position(),
        ..Portion::default()
    };
    let mut bytes = 0;
    while portion.records.len() < max_records && bytes < max_bytes {
        match reader.next() {
            Ok(Some(record)) => {
                bytes += record.payload.len();
                portion.end = record.end;
                portion.records.push(record);
            }
            Ok(None) => break,
            Err(error @ (Error::Corrupt { .. } | Error::Io { .. })) => {
                match reader.skip_corrupt()? {
                    Some(skipped) => {
                        tracing::error!(%error, from = %skipped.from, to = %skipped.to,
                            "a part of the ingest log is damaged and left out");
                        portion.end = skipped.to;
                        portion.damaged.push((skipped.from, skipped.to));
                    }
                    None => continue,
                }
            }
            // What was read is good; the error comes again at the next call.
            Err(_) if !portion.is_empty() => break,
            Err(error) => return Err(error),
        }
    }
    portion.full = portion.records.len() >= max_records || bytes >= max_bytes;
    Ok(portion)
}
