//! Links over serial lines: one device each, opened again when the line goes away.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    os::fd::OwnedFd,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use rustix::{
    fs::{Mode, OFlags},
    termios::{OptionalActions, QueueSelector},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf, unix::AsyncFd},
    sync::watch,
};
use tracing::Instrument as _;

use super::{Links, connection::Connection};
use crate::{options, spool::stopped};

/// How long to wait before a line is opened again.
const REOPEN: Duration = Duration::from_secs(1);

/// Keeps a line open until `stop` holds true.
pub(crate) async fn keep_open(
    line: options::Serial,
    links: Arc<Links>,
    mut stop: watch::Receiver<bool>,
) {
    let path = line.path.display().to_string();
    let mut told = false;
    loop {
        match Line::open(&line) {
            Ok(opened) => {
                told = false;
                links.metrics.links_accepted.increment();
                tracing::info!(path, baud = line.baud, "serial line opened");
                let connection = Connection::new(opened, Arc::clone(&links), None, stop.clone());
                connection
                    .run()
                    .instrument(tracing::info_span!("link", line = path))
                    .await;
            }
            // Once, not each second as long as the cable is out.
            Err(error) if !told => {
                told = true;
                tracing::error!(path, %error, "the serial line cannot be opened; trying again");
            }
            Err(_) => {}
        }
        // Also when nobody is left who could say so.
        let stop = tokio::time::timeout(REOPEN, stopped(&mut stop)).await;
        if stop.is_ok() {
            return;
        }
    }
}

/// An open serial line, raw: every byte passes as it is.
struct Line(AsyncFd<File>);

impl Line {
    fn open(line: &options::Serial) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened: OwnedFd = rustix::fs::open(&line.path, flags, Mode::empty())?;
        let wrong = |what: String| io::Error::new(io::ErrorKind::InvalidInput, what);
        let mut settings = rustix::termios::tcgetattr(&opened)
            .map_err(|error| wrong(format!("not a serial line: {error}")))?;
        settings.make_raw();
        settings
            .set_speed(line.baud)
            .map_err(|error| wrong(format!("{} baud: {error}", line.baud)))?;
        rustix::termios::tcsetattr(&opened, OptionalActions::Now, &settings)?;
        // Two readers would share the bytes between them.
        rustix::termios::ioctl_tiocexcl(&opened)?;
        rustix::termios::tcflush(&opened, QueueSelector::IOFlush)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe, for types that a File isn't"
        )]
        let registered = AsyncFd::new(File::from(opened))?;
        Ok(Self(registered))
    }
}

impl AsyncRead for Line {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // A line may give less than it has: it is empty only when it says that it would block.
        loop {
            let mut ready = ready!(self.0.poll_read_ready(cx))?;
            let unfilled = buffer.initialize_unfilled();
            if let Ok(read) = ready.try_io(|line| line.get_ref().read(unfilled)) {
                buffer.advance(read?);
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.0.poll_write_ready(cx))?;
            if let Ok(written) = ready.try_io(|line| line.get_ref().write(bytes)) {
                return Poll::Ready(written);
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
