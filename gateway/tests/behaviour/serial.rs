//! A device on a serial line: here one side of a pty pair.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read as _, Write as _},
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::PathBuf,
    pin::Pin,
    task::{Context, Poll, ready},
};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use stencil_gateway::options::Serial;
use stencil_protocol::{frame::Kind, link::Up};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf, unix::AsyncFd};

use crate::{
    device::{Device, Frames},
    hub::{Hub, batches},
    place::{Gateway, Place},
};

/// A pty's controlling side and the path of the other.
fn pty() -> (OwnedFd, PathBuf) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let side = openpt(flags).unwrap();
    grantpt(&side).unwrap();
    unlockpt(&side).unwrap();
    let name = ptsname(&side, Vec::new()).unwrap();
    rustix::io::ioctl_fionbio(&side, true).unwrap();
    (side, PathBuf::from(OsStr::from_bytes(name.as_bytes())))
}

/// The controlling side as a stream. A pty may give less than it has, so it is empty only when it
/// says that it would block: tokio's pipes, by contrast, take a short read for the end.
struct Side(AsyncFd<File>);

fn stream(side: &OwnedFd) -> Side {
    #[expect(
        deprecated,
        reason = "its successor is unsafe, for types that a File isn't"
    )]
    Side(AsyncFd::new(File::from(side.try_clone().unwrap())).unwrap())
}

impl AsyncRead for Side {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.0.poll_read_ready(cx))?;
            let unfilled = buffer.initialize_unfilled();
            if let Ok(read) = ready.try_io(|side| side.get_ref().read(unfilled)) {
                buffer.advance(read?);
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Side {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.0.poll_write_ready(cx))?;
            if let Ok(written) = ready.try_io(|side| side.get_ref().write(bytes)) {
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

#[tokio::test(flavor = "multi_thread")]
async fn a_serial_line_carries_devices_one_after_the_other() {
    let place = Place::new();
    let hub = Hub::started(&place.authority).await;
    let (side, path) = pty();
    let mut options = place.options(&hub);
    options.link.tcp.clear();
    options.link.serial = vec![Serial {
        path,
        baud: 115_200,
    }];
    let (first, first_psk) = place.device("freezer-01");
    let (second, second_psk) = place.device("freezer-02");
    let gateway = Gateway::start(options).await;
    gateway.until("links_accepted_total", |n| n == 1).await;

    let mut device = Device::handshake(Frames::new(stream(&side)), &first, &first_psk).await;
    device.greet().await;
    for n in 0..40 {
        device.deliver(1, 1 + n * 50, 50).await;
    }
    hub.until(|kept| batches(kept, &first).len() == 40).await;

    // Noise, then another device on the same line.
    let mut frames = device.frames;
    frames.stream.write_all(&[0x55; 3000]).await.unwrap();
    frames.stream.write_all(&[0]).await.unwrap();
    gateway.until("frames_bad_total", |n| n == 1).await;
    let mut device = Device::handshake(frames, &second, &second_psk).await;
    device.greet().await;
    device.deliver(1, 1, 1).await;
    assert_eq!(gateway.metric("links").await, 1);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_after_a_restart_of_the_gateway_asks_for_a_handshake() {
    let place = Place::new();
    let hub = Hub::started(&place.authority).await;
    let (side, path) = pty();
    let mut options = place.options(&hub);
    options.link.serial = vec![Serial {
        path,
        baud: 115_200,
    }];
    let (id, psk) = place.device("freezer-01");
    let gateway = Gateway::start(options.clone()).await;
    gateway.until("links_accepted_total", |n| n == 1).await;
    let mut device = Device::handshake(Frames::new(stream(&side)), &id, &psk).await;
    device.greet().await;
    device.deliver(1, 1, 1).await;
    gateway.stop().await;

    let gateway = Gateway::start(options).await;
    gateway.until("links_accepted_total", |n| n == 1).await;
    device.say(&Up::Ping).await;
    assert_eq!(device.frames.next().await, Some((Kind::Refused, vec![4])));
    let mut device = Device::handshake(device.frames, &id, &psk).await;
    device.greet().await;
    device.deliver(1, 2, 1).await;
    gateway.stop().await;
}
