//! A TCP connection as the firmware's byte link.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use embedded_io::{ErrorKind, ErrorType, Read, ReadReady, Write, WriteReady};
use tokio::net::TcpStream;

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
}

#[derive(Debug)]
struct Buffer {
    bytes: Box<[u8; BUFFER_BYTES]>,
    from: usize,
    to: usize,
}

impl Buffer {
    fn new() -> Self {
        Self {
            bytes: Box::new([0; BUFFER_BYTES]),
            from: 0,
            to: 0,
        }
    }

    fn held(&self) -> &[u8] {
        self.bytes.get(self.from..self.to).unwrap_or_default()
    }

    fn is_empty(&self) -> bool {
        self.from >= self.to
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
    pub(crate) fn new(stream: Arc<TcpStream>) -> (Self, Arc<Pending>) {
        let pending = Arc::new(Pending::default());
        let socket = Self {
            stream,
            pending: Arc::clone(&pending),
            inbox: Buffer::new(),
            outbox: Buffer::new(),
            ended: false,
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
            match self.stream.try_read(self.inbox.bytes.as_mut_slice()) {
                Ok(0) => self.ended = true,
                Ok(read) => (self.inbox.from, self.inbox.to) = (0, read),
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
        self.outbox.bytes[..written].copy_from_slice(&bytes[..written]);
        (self.outbox.from, self.outbox.to) = (0, written);
        self.push_out()?;
        Ok(written)
    }

    fn flush(&mut self) -> Result<(), Failed> {
        self.push_out()
    }
}
