//! A TCP connection as the firmware's byte link.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use embedded_io::{ErrorKind, ErrorType, Read, ReadReady, Write, WriteReady};
use tokio::net::TcpStream;

use crate::line::{Poor, Weather};
use crate::random::Random;

const BUFFER_BYTES: usize = 4_096;

/// What the task that drives the device needs to know beside the socket's own
/// readiness.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// Bytes were read from the socket, but not by the device yet.
    pub(crate) unread: AtomicBool,
    /// Bytes were written by the device, but not taken by the socket yet.
    pub(crate) unwritten: AtomicBool,
}

/// A connected socket that never blocks.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: Arc<TcpStream>,
    pending: Arc<Pending>,
    inbox: Buffer,
    outbox: Buffer,
    ended: bool,
    weather: Arc<Weather>,
    /// The two directions while the line is poor.
    up: Poor,
    down: Poor,
}

/// Bytes that wait. Filled only when it is empty, with what one read or write gives: a buffer
/// full, and what a poor line makes of it.
#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    from: usize,
}

impl Buffer {
    fn held(&self) -> &[u8] {
        self.bytes.get(self.from..).unwrap_or_default()
    }

    fn is_empty(&self) -> bool {
        self.held().is_empty()
    }

    /// Takes what comes through the line, in the place of what was taken before.
    fn fill(&mut self, bytes: &[u8], line: &mut Poor, is_poor: bool) {
        self.bytes.clear();
        self.from = 0;
        if is_poor {
            line.pass(bytes, &mut self.bytes);
        } else {
            line.drain(&mut self.bytes);
            self.bytes.extend_from_slice(bytes);
        }
    }
}

/// The socket failed.
#[derive(Debug, thiserror::Error)]
#[error("the link to the gateway failed: {0}")]
pub(crate) struct Failed(#[from] io::Error);

impl embedded_io::Error for Failed {
    fn kind(&self) -> ErrorKind {
        match self.0.kind() {
            io::ErrorKind::ConnectionReset => ErrorKind::ConnectionReset,
            io::ErrorKind::ConnectionAborted => ErrorKind::ConnectionAborted,
            io::ErrorKind::BrokenPipe => ErrorKind::BrokenPipe,
            _ => ErrorKind::Other,
        }
    }
}

impl Socket {
    pub(crate) fn new(stream: Arc<TcpStream>, weather: Arc<Weather>) -> (Self, Arc<Pending>) {
        // Each link has luck of its own.
        let port = stream.local_addr().map_or(0, |address| address.port());
        let poor = |direction| Poor::new(Random::new(u64::from(port), direction));
        let pending = Arc::new(Pending::default());
        let socket = Self {
            stream,
            pending: Arc::clone(&pending),
            inbox: Buffer::default(),
            outbox: Buffer::default(),
            ended: false,
            weather,
            up: poor("up"),
            down: poor("down"),
        };
        (socket, pending)
    }

    fn push_out(&mut self) -> Result<(), Failed> {
        while !self.outbox.is_empty() {
            match self.stream.try_write(self.outbox.held()) {
                Ok(written) => self.outbox.from += written,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => return Err(e.into()),
            }
        }
        self.pending
            .unwritten
            .store(!self.outbox.is_empty(), Ordering::Relaxed);
        Ok(())
    }
}

impl ErrorType for Socket {
    type Error = Failed;
}

impl ReadReady for Socket {
    fn read_ready(&mut self) -> Result<bool, Failed> {
        // The firmware asks this in every poll: the moment to send on.
        self.push_out()?;
        if self.inbox.is_empty() && !self.ended {
            let mut bytes = [0; BUFFER_BYTES];
            match self.stream.try_read(&mut bytes) {
                Ok(0) => self.ended = true,
                Ok(read) => {
                    let bytes = bytes.get(..read).unwrap_or_default();
                    let is_poor = self.weather.is_poor();
                    self.inbox.fill(bytes, &mut self.down, is_poor);
                    // All of it may be lost: then there is nothing to read.
                    if self.inbox.is_empty() {
                        return Ok(false);
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(e) => return Err(e.into()),
            }
        }
        Ok(true)
    }
}

impl Read for Socket {
    fn read(&mut self, out: &mut [u8]) -> Result<usize, Failed> {
        let read = out.len().min(self.inbox.held().len());
        out[..read].copy_from_slice(&self.inbox.held()[..read]);
        self.inbox.from += read;
        self.pending
            .unread
            .store(!self.inbox.is_empty(), Ordering::Relaxed);
        Ok(read)
    }
}

impl WriteReady for Socket {
    fn write_ready(&mut self) -> Result<bool, Failed> {
        self.push_out()?;
        Ok(self.outbox.is_empty())
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Failed> {
        if !self.outbox.is_empty() {
            return Err(io::Error::from(io::ErrorKind::WouldBlock).into());
        }
        let written = bytes.len().min(BUFFER_BYTES);
        let is_poor = self.weather.is_poor();
        self.outbox.fill(&bytes[..written], &mut self.up, is_poor);
        self.push_out()?;
        Ok(written)
    }

    fn flush(&mut self) -> Result<(), Failed> {
        self.push_out()
    }
}
