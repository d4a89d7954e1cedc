//! Serial lines, raw: every byte passes as it is.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    os::fd::{AsFd as _, OwnedFd},
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use rustix::{
    fs::{Mode, OFlags},
    termios::{ControlModes, InputModes, OptionalActions, QueueSelector},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, unix::AsyncFd};

/// How a line is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The device file, such as `/dev/ttyUSB0`.
    pub path: PathBuf,
    /// Bits a second.
    pub baud: u32,
    /// The parity bit.
    pub parity: Parity,
    /// Two stop bits instead of one.
    pub two_stop_bits: bool,
}

/// The parity bit of each byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Parity {
    /// None is sent.
    #[default]
    None,
    /// The ones with it are even in number.
    Even,
    /// They are odd in number.
    Odd,
}

impl Parity {
    /// Its name in a mapping.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Parity::None => "none",
            Parity::Even => "even",
            Parity::Odd => "odd",
        }
    }

    /// By its name in a mapping.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "none" => Some(Parity::None),
            "even" => Some(Parity::Even),
            "odd" => Some(Parity::Odd),
            _ => None,
        }
    }
}

impl Settings {
    /// A line with 8 data bits, no parity and one stop bit.
    #[must_use]
    pub fn plain(path: PathBuf, baud: u32) -> Self {
        Self {
            path,
            baud,
            parity: Parity::None,
            two_stop_bits: false,
        }
    }

    /// The default of the specification (Modbus over serial line 1.02, section 2.5.1): 19,200 baud,
    /// even parity, one stop bit.
    #[must_use]
    pub fn modbus(path: PathBuf) -> Self {
        Self {
            parity: Parity::Even,
            ..Self::plain(path, 19_200)
        }
    }

    /// How long so many bytes take on it.
    #[must_use]
    pub fn time_of(&self, bytes: usize) -> Duration {
        let parity = u64::from(self.parity != Parity::None);
        let bits = 10 + parity + u64::from(self.two_stop_bits);
        let ns = 1_000_000_000 / u64::from(self.baud.max(1)) * bits;
        Duration::from_nanos(ns.saturating_mul(bytes as u64))
    }
}

/// An open line. Clones are of the same line: one of them reads at a time.
#[derive(Clone, Debug)]
pub struct Line(Arc<AsyncFd<File>>);

impl Line {
    /// Opens it, for nobody else beside.
    ///
    /// # Errors
    /// As the system says; [`io::ErrorKind::InvalidInput`] names what it is not, or what it cannot
    /// be set to.
    pub fn open(settings: &Settings) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened: OwnedFd = rustix::fs::open(&settings.path, flags, Mode::empty())?;
        let wrong = |what: String| io::Error::new(io::ErrorKind::InvalidInput, what);
        let mut set = rustix::termios::tcgetattr(&opened)
            .map_err(|error| wrong(format!("not a serial line: {error}")))?;
        set.make_raw();
        set.set_speed(settings.baud)
            .map_err(|error| wrong(format!("{} baud: {error}", settings.baud)))?;
        let modes = ControlModes::PARENB | ControlModes::PARODD | ControlModes::CSTOPB;
        set.control_modes -= modes;
        // No modem: a line without its signals is open all the same.
        set.control_modes |= ControlModes::CLOCAL | ControlModes::CREAD;
        match settings.parity {
            Parity::None => {}
            Parity::Even => set.control_modes |= ControlModes::PARENB,
            Parity::Odd => set.control_modes |= ControlModes::PARENB | ControlModes::PARODD,
        }
        if settings.parity != Parity::None {
            // A byte with a wrong parity becomes a zero, and the frame's checksum fails.
            set.input_modes |= InputModes::INPCK;
        }
        if settings.two_stop_bits {
            set.control_modes |= ControlModes::CSTOPB;
        }
        rustix::termios::tcsetattr(&opened, OptionalActions::Now, &set)?;
        // Two readers would share the bytes between them.
        rustix::termios::ioctl_tiocexcl(&opened)?;
        rustix::termios::tcflush(&opened, QueueSelector::IOFlush)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe, for types that a File isn't"
        )]
        let registered = AsyncFd::new(File::from(opened))?;
        Ok(Self(Arc::new(registered)))
    }

    /// Throws away what has come and was not read.
    ///
    /// # Errors
    /// As the system says: the line has gone.
    pub fn flush_input(&self) -> io::Result<()> {
        Ok(rustix::termios::tcflush(
            self.0.get_ref().as_fd(),
            QueueSelector::IFlush,
        )?)
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
