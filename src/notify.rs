//! What systemd is told of a service: that it is ready, that it lives, that it ends (`sd_notify(3)`).

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Where systemd listens, in a service of `Type=notify`.
const SOCKET: &str = "NOTIFY_SOCKET";
/// Within how many microseconds it wants to hear that the service lives.
const WATCHDOG: &str = "WATCHDOG_USEC";

/// A word to systemd; nothing where there is none.
pub(crate) struct Notify(Option<UnixDatagram>);

impl Notify {
    /// To whoever the environment names.
    pub(crate) fn new() -> Self {
        let socket = std::env::var_os(SOCKET).filter(|socket| !socket.is_empty());
        Self(socket.and_then(|socket| {
            let connected = connect(socket.as_bytes());
            if let Err(error) = &connected {
                tracing::warn!(%error, "{SOCKET} cannot be used: systemd is told nothing");
            }
            connected.ok()
        }))
    }

    /// The service does its work.
    pub(crate) fn ready(&self) {
        self.say("READY=1");
    }

    /// It ends, as it was told to.
    pub(crate) fn stopping(&self) {
        self.say("STOPPING=1");
    }

    /// Says for ever that the service lives, twice as often as it has to; a runtime that has got
    /// stuck says it no more.
    pub(crate) async fn lives(&self) -> std::convert::Infallible {
        let wanted = std::env::var(WATCHDOG).ok();
        let wanted = wanted.and_then(|wanted| wanted.parse().ok());
        let Some(within) = wanted.filter(|within| *within > 0 && self.0.is_some()) else {
            return std::future::pending().await;
        };
        let mut tick = tokio::time::interval(Duration::from_micros(within) / 2);
        loop {
            tick.tick().await;
            self.say("WATCHDOG=1");
        }
    }

    fn say(&self, word: &str) {
        if let Some(socket) = &self.0 {
            // Who does not listen any more is told nothing.
            let _ = socket.send(word.as_bytes());
        }
    }
}

/// A name that begins with `@` is one of Linux's abstract ones.
fn connect(name: &[u8]) -> std::io::Result<UnixDatagram> {
    let address = match name.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name))?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_comes_to_who_listens() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let hears = UnixDatagram::bind(&path).unwrap();
        let notify = Notify(connect(path.as_os_str().as_bytes()).ok());
        notify.ready();
        notify.stopping();
        let mut word = [0; 64];
        for said in ["READY=1", "STOPPING=1"] {
            let length = hears.recv(&mut word).unwrap();
            assert_eq!(&word[..length], said.as_bytes());
        }
        let name = format!("stencil-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let hears = UnixDatagram::bind_addr(&address).unwrap();
        let notify = Notify(connect(format!("@{name}").as_bytes()).ok());
        notify.ready();
        let length = hears.recv(&mut word).unwrap();
        assert_eq!(&word[..length], b"READY=1");
        // Nobody listens.
        drop(hears);
        notify.ready();
        Notify(None).ready();
        assert!(connect(b"/nowhere/at/all").is_err());
    }
}
