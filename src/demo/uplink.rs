//! A line between a gateway and the hub that can be cut: bytes go through untouched, so TLS
//! stays end to end.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The line to the hub, from where it listens for the gateway.
pub(crate) struct Uplink {
    up: watch::Sender<bool>,
}

impl Uplink {
    /// Listens on `listen`, and carries each connection to `hub` while the line is up.
    pub(crate) async fn open(listen: SocketAddr, hub: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let (up, state) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, hub, state.clone()));
            }
        });
        Ok(Self { up })
    }

    /// Cuts every connection and refuses new ones.
    pub(crate) fn cut(&self) {
        self.up.send_replace(false);
    }

    /// Lets connections through again.
    pub(crate) fn mend(&self) {
        self.up.send_replace(true);
    }
}

async fn carry(mut near: TcpStream, hub: SocketAddr, mut up: watch::Receiver<bool>) {
    if !*up.borrow_and_update() {
        return;
    }
    let Ok(mut far) = TcpStream::connect(hub).await else {
        return;
    };
    tokio::select! {
        _ = copy_bidirectional(&mut near, &mut far) => {}
        _ = up.wait_for(|up| !*up) => {}
    }
}
