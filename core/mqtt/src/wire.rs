//! The socket of one connection: bytes in, packets out, and back.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::Options;
use crate::engine::{Engine, Inbound, Publish};
use crate::frame::Framer;
use crate::metrics::Counters;
use crate::reason::Fault;

/// The most that one read takes.
const READ_BYTES: usize = 64 * 1024;
/// What an empty write buffer may keep.
const KEPT_BYTES: usize = 4 * 1024;
/// How long a closed connection is listened to, so that the last packet isn't
/// overtaken by a reset.
const LINGER: Duration = Duration::from_secs(1);

thread_local! {
    /// One read buffer a thread, not one a connection: thousands of idle
    /// connections need none.
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into_boxed_slice());
}

/// A byte stream with the protocol engine on it.
pub(crate) struct Wire<IO> {
    io: IO,
    framer: Framer,
    pub(crate) engine: Engine,
    /// Bytes to be written by [`flush`](Self::flush).
    pub(crate) out: Vec<u8>,
    /// Bytes received behind a CONNECT that isn't answered yet.
    held: Vec<u8>,
    write_timeout: Duration,
}

/// What a read brought, beside packets.
#[derive(Debug)]
pub(crate) enum Read {
    /// Packets only.
    Packets,
    /// The packets before something wrong.
    Fault(Fault),
    /// The end of the stream.
    End,
}

/// Why nothing could be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteError {
    Timeout,
    Broken,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Wire<IO> {
    pub(crate) fn new(io: IO, options: &Options) -> Self {
        Self {
            io,
            framer: Framer::new(options.max_connect_bytes as usize),
            engine: Engine::new(options.max_packet_bytes),
            out: Vec::new(),
            held: Vec::new(),
            write_timeout: options.write_timeout,
        }
    }

    /// Reads once and decodes it all. Nothing is lost when the future is
    /// dropped before it is ready.
    pub(crate) async fn read(&mut self, inbox: &mut Vec<Inbound>, counters: &Counters) -> Read {
        let Self {
            io,
            framer,
            engine,
            out,
            held,
            ..
        } = self;
        let result = poll_fn(|cx| {
            BUFFER.with_borrow_mut(|buffer| {
                let mut buffer = ReadBuf::new(buffer);
                ready!(Pin::new(&mut *io).poll_read(cx, &mut buffer))?;
                let bytes = buffer.filled();
                counters.bytes_in.add(bytes.len());
                io::Result::Ok(match bytes {
                    [] => Read::End,
                    bytes => decode(framer, engine, out, held, bytes, inbox),
                })
                .into()
            })
        });
        result.await.unwrap_or(Read::End)
    }

    /// Goes on behind the CONNECT, with the bounds of a client that was let in.
    pub(crate) fn resume(&mut self, inbox: &mut Vec<Inbound>, options: &Options) -> Read {
        self.framer.admit(options.max_packet_bytes as usize);
        let held = std::mem::take(&mut self.held);
        decode(
            &mut self.framer,
            &mut self.engine,
            &mut self.out,
            &mut self.held,
            &held,
            inbox,
        )
    }

    /// Writes what has gathered.
    pub(crate) async fn flush(&mut self, counters: &Counters) -> Result<(), WriteError> {
        if self.out.is_empty() {
            return Ok(());
        }
        let Self {
            io,
            out,
            write_timeout,
            ..
        } = self;
        let mut from = 0;
        let mut write = |cx: &mut Context<'_>| {
            while from < out.len() {
                match ready!(Pin::new(&mut *io).poll_write(cx, &out[from..]))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    bytes => from += bytes,
                }
            }
            Pin::new(&mut *io).poll_flush(cx)
        };
        // Mostly the socket takes it at once, and then no timer is needed.
        let written = match poll_fn(|cx| Poll::Ready(write(cx))).await {
            Poll::Ready(written) => Ok(written),
            Poll::Pending => tokio::time::timeout(*write_timeout, poll_fn(write)).await,
        };
        counters.bytes_out.add(self.out.len());
        self.out.clear();
        self.out.shrink_to(KEPT_BYTES);
        match written {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(WriteError::Broken),
            Err(_) => Err(WriteError::Timeout),
        }
    }

    /// Closes in a way that lets the last packet arrive: a socket that is
    /// closed with unread input resets the other end.
    pub(crate) async fn close(mut self) {
        let _ = tokio::time::timeout(LINGER, async {
            self.io.shutdown().await?;
            let mut left = READ_BYTES;
            let mut scrap = [0; 1024];
            while left > 0 {
                match self.io.read(&mut scrap).await? {
                    0 => break,
                    bytes => left = left.saturating_sub(bytes),
                }
            }
            io::Result::Ok(())
        })
        .await;
    }
}

fn decode(
    framer: &mut Framer,
    engine: &mut Engine,
    out: &mut Vec<u8>,
    held: &mut Vec<u8>,
    mut bytes: &[u8],
    inbox: &mut Vec<Inbound>,
) -> Read {
    let whole = bytes;
    // What plain packets share: one copy for all that came in one read.
    let mut kept: Option<Bytes> = None;
    loop {
        let left = bytes.len();
        let packet = match framer.take(&mut bytes) {
            Ok(Some(packet)) => packet,
            Ok(None) => return Read::Packets,
            Err(fault) => return Read::Fault(fault),
        };
        if let Some(place) = engine.plain(packet) {
            // A packet that began in an earlier read is longer than what was taken of this one.
            let packet = if packet.len() == left - bytes.len() {
                let kept = kept.get_or_insert_with(|| Bytes::copy_from_slice(whole));
                kept.slice(whole.len() - left..whole.len() - bytes.len())
            } else {
                Bytes::copy_from_slice(packet)
            };
            inbox.push(Inbound::Publish(Publish::Plain(place.of(packet))));
            continue;
        }
        let inbound = match engine.receive(packet, out) {
            Ok(inbound) => inbound,
            Err(fault) => return Read::Fault(fault),
        };
        let stop = matches!(inbound, Inbound::Connect(_) | Inbound::Disconnect { .. });
        if !matches!(inbound, Inbound::Nothing | Inbound::Acknowledged) {
            inbox.push(inbound);
        }
        if stop {
            held.extend_from_slice(bytes);
            return Read::Packets;
        }
    }
}
