//! Listeners: HTTP and WebSocket on one port of loopback.

mod control;
mod http;
mod socket;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::faults::{Drawn, Faults, InvalidFaults};
use crate::node::Node;

/// Why an endpoint can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The port can't be had.
    #[error("can't listen on 127.0.0.1:{port}")]
    Listen {
        /// What was asked for.
        port: u16,
        /// What the system said.
        source: std::io::Error,
    },
}

/// An endpoint of the chain. It ends when this is dropped, with its connections.
#[derive(Debug)]
pub struct Endpoint {
    known: Known,
    node: Arc<Node>,
}

/// What the control port may know of an endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) address: SocketAddr,
    drawn: Arc<Mutex<Drawn>>,
    ends: watch::Sender<bool>,
}

/// What connections of an endpoint share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) node: Arc<Node>,
    pub(crate) drawn: Arc<Mutex<Drawn>>,
    pub(crate) ended: watch::Receiver<bool>,
    /// Room for WebSockets.
    pub(crate) sockets: Arc<tokio::sync::Semaphore>,
    /// Whether this is the control port.
    pub(crate) control: bool,
}

impl Shared {
    pub(crate) fn drawn(&self) -> MutexGuard<'_, Drawn> {
        self.drawn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Endpoint {
    pub(crate) async fn open(node: Arc<Node>, port: u16) -> Result<Self, Error> {
        let known = open(Arc::clone(&node), port, false).await?;
        let mut endpoints = node
            .endpoints
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        endpoints.push(known.clone());
        drop(endpoints);
        Ok(Self { known, node })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.known.address
    }

    /// `http://…`
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.known.address)
    }

    /// `ws://…`
    #[must_use]
    pub fn ws_url(&self) -> String {
        format!("ws://{}", self.known.address)
    }

    /// Sets what it does wrong from now on.
    ///
    /// # Errors
    /// Chances above a thousand in a thousand.
    pub fn set_faults(&self, faults: Faults) -> Result<(), InvalidFaults> {
        self.known.set_faults(faults)
    }

    /// What it does wrong.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.known.faults()
    }

    /// Closes all connections that are open now; it goes on listening.
    pub fn drop_connections(&self) {
        self.known.ends.send_replace(false);
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.known.ends.send_replace(true);
        let mut endpoints = self
            .node
            .endpoints
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        endpoints.retain(|known| known.address != self.known.address);
    }
}

impl Known {
    pub(crate) fn set_faults(&self, faults: Faults) -> Result<(), InvalidFaults> {
        faults.check()?;
        *self.drawn.lock().unwrap_or_else(PoisonError::into_inner) = Drawn::new(faults);
        Ok(())
    }

    pub(crate) fn faults(&self) -> Faults {
        let drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        drawn.faults.clone()
    }
}

/// The control port: sets faults, opens endpoints. It ends when this is dropped.
#[derive(Debug)]
pub struct Control {
    known: Known,
}

impl Control {
    pub(crate) async fn open(node: Arc<Node>, port: u16) -> Result<Self, Error> {
        let known = open(node, port, true).await?;
        Ok(Self { known })
    }

    /// `http://…`
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.known.address)
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.known.ends.send_replace(true);
    }
}

async fn open(node: Arc<Node>, port: u16, control: bool) -> Result<Known, Error> {
    let failed = |source| Error::Listen { port, source };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let drawn = Arc::new(Mutex::new(Drawn::new(Faults::default())));
    let (ends, ended) = watch::channel(false);
    let shared = Shared {
        node,
        drawn: Arc::clone(&drawn),
        ended,
        sockets: Arc::new(tokio::sync::Semaphore::new(http::MAX_CONNECTIONS)),
        control,
    };
    tokio::spawn(http::serve(listener, shared));
    Ok(Known {
        address,
        drawn,
        ends,
    })
}
