//! Frames over a stream of bytes.

use std::{io, sync::Arc, time::Duration};

use stencil_protocol::frame::{self, Decoder, Kind};
use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf,
};

use crate::metrics::Metrics;

const CHUNK_BYTES: usize = 4096;

/// The reading half.
pub(crate) struct Reader<S> {
    half: ReadHalf<S>,
    decoder: Decoder,
    chunk: Box<[u8; CHUNK_BYTES]>,
    from: usize,
    to: usize,
    metrics: Arc<Metrics>,
}

/// The writing half.
pub(crate) struct Writer<S> {
    half: WriteHalf<S>,
    frame: Box<[u8; frame::MAX_FRAME]>,
    timeout: Duration,
}

/// Splits a stream into its frames.
pub(crate) fn frames<S: AsyncRead + AsyncWrite>(
    stream: S,
    write_timeout: Duration,
    metrics: Arc<Metrics>,
) -> (Reader<S>, Writer<S>) {
    let (read, write) = tokio::io::split(stream);
    let reader = Reader {
        half: read,
        decoder: Decoder::new(),
        chunk: Box::new([0; CHUNK_BYTES]),
        from: 0,
        to: 0,
        metrics,
    };
    let writer = Writer {
        half: write,
        frame: Box::new([0; frame::MAX_FRAME]),
        timeout: write_timeout,
    };
    (reader, writer)
}

impl<S: AsyncRead> Reader<S> {
    /// The next good frame; damaged ones are counted and passed over. `None` at the stream's end.
    /// Dropped before it is done, it loses nothing.
    pub(crate) async fn next(&mut self) -> io::Result<Option<(Kind, Vec<u8>)>> {
        loop {
            let mut input = &self.chunk[self.from..self.to];
            let frame = self
                .decoder
                .feed(&mut input)
                .map(|frame| frame.map(|(kind, payload)| (kind, payload.to_vec())));
            let found = match frame {
                Some(Ok(frame)) => Some(frame),
                // The hello of version 1 was longer than any frame is now.
                Some(Err(frame::Error::TooLong))
                    if self.decoder.first_byte() == Some(Kind::OldHello as u8) =>
                {
                    Some((Kind::OldHello, Vec::new()))
                }
                Some(Err(_)) => {
                    self.metrics.frames_bad.increment();
                    None
                }
                None => None,
            };
            self.from = self.to - input.len();
            if found.is_some() {
                return Ok(found);
            }
            if self.from == self.to {
                let read = self.half.read(&mut self.chunk[..]).await?;
                if read == 0 {
                    return Ok(None);
                }
                (self.from, self.to) = (0, read);
            }
        }
    }
}

impl<S: AsyncWrite> Writer<S> {
    /// Writes a frame, within the time that a write may take.
    pub(crate) async fn send(&mut self, kind: Kind, payload: &[u8]) -> io::Result<()> {
        let length = frame::encode(kind, payload, &mut self.frame[..])
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let write = async {
            self.half.write_all(&self.frame[..length]).await?;
            self.half.flush().await
        };
        match tokio::time::timeout(self.timeout, write).await {
            Ok(done) => done,
            Err(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the device doesn't read",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn garbage_between_frames_costs_no_frame_behind_it() {
        let (near, mut far) = tokio::io::duplex(1 << 16);
        let metrics = Arc::new(Metrics::default());
        let (mut reader, mut writer) = frames(near, Duration::from_secs(5), Arc::clone(&metrics));
        let mut bytes = [0; 4096];
        far.write_all(&[1, 2, 3, 250, 9, 0]).await.unwrap();
        let length = frame::encode(Kind::Record, b"payload", &mut bytes).unwrap();
        far.write_all(&bytes[..length]).await.unwrap();
        assert_eq!(
            reader.next().await.unwrap(),
            Some((Kind::Record, b"payload".to_vec()))
        );
        assert_eq!(metrics.frames_bad.get(), 1);

        writer.send(Kind::Refused, &[1]).await.unwrap();
        let read = far.read(&mut bytes).await.unwrap();
        let mut input = &bytes[..read];
        assert_eq!(
            Decoder::new().feed(&mut input),
            Some(Ok((Kind::Refused, &[1][..])))
        );
        drop(far);
        assert_eq!(reader.next().await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_device_that_does_not_read_is_given_up() {
        let (near, _far) = tokio::io::duplex(16);
        let (_reader, mut writer) = frames(
            near,
            Duration::from_millis(20),
            Arc::new(Metrics::default()),
        );
        let error = writer.send(Kind::Record, &[7; 1000]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
