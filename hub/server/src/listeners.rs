//! The sockets of the MQTT listeners and what TLS they speak.

use std::net::SocketAddr;
use std::sync::Arc;

use stencil_crypto::authority::Algorithm;
use stencil_crypto::tls::{self, Identity, Policy, Roots, ServerIdentity, WebIdentity};
use tokio::net::TcpListener;

use crate::{Error, HttpOptions, Layout, MqttOptions};

/// An open socket with its TLS configuration; `None`: plain.
pub(crate) struct Listener {
    pub(crate) what: &'static str,
    pub(crate) socket: TcpListener,
    pub(crate) tls: Option<Arc<rustls::ServerConfig>>,
    pub(crate) address: SocketAddr,
}

/// The MQTT listeners that the options ask for; all are open when this returns.
pub(crate) struct Listeners {
    pub(crate) strict: Listener,
    pub(crate) prefer: Option<Listener>,
    pub(crate) plain: Option<Listener>,
}

impl Listeners {
    pub(crate) async fn open(options: &MqttOptions, layout: &Layout) -> Result<Self, Error> {
        let clients = Roots::load(layout.fleet_root())?;
        let identity = own(layout)?;
        let grace = options.late_grace();
        let tls = |policy| tls::server_taking_late(policy, &identity, &clients, grace);
        let strict = open("mqtt.strict", options.strict, Some(tls(Policy::Strict)?)).await?;
        let prefer = match options.prefer {
            Some(at) => Some(open("mqtt.prefer", at, Some(tls(Policy::Prefer)?)).await?),
            None => None,
        };
        let plain = match options.plain {
            Some(at) => Some(open("mqtt.plain", at, None).await?),
            None => None,
        };
        Ok(Self {
            strict,
            prefer,
            plain,
        })
    }

    pub(crate) fn into_vec(self) -> Vec<Listener> {
        [Some(self.strict), self.prefer, self.plain]
            .into_iter()
            .flatten()
            .collect()
    }
}

/// The TLS of the HTTP listener; `None`: it is plain.
pub(crate) fn http_tls(
    options: &HttpOptions,
    layout: &Layout,
) -> Result<Option<Arc<rustls::ServerConfig>>, Error> {
    if !options.tls {
        return Ok(None);
    }
    let identity = match (&options.certificate, &options.key) {
        (Some(chain), Some(key)) => WebIdentity::Given(Identity::load(chain, key)?),
        _ => WebIdentity::Own(own(layout)?),
    };
    Ok(Some(tls::web_server(&identity)?))
}

/// What the hub's own authority says that the hub is.
fn own(layout: &Layout) -> Result<ServerIdentity, Error> {
    Ok(ServerIdentity {
        post_quantum: identity(layout, Algorithm::MlDsa65)?,
        classical: Some(identity(layout, Algorithm::EcdsaP256)?),
    })
}

fn identity(layout: &Layout, algorithm: Algorithm) -> Result<Identity, Error> {
    let files = layout.server_files(algorithm);
    Ok(Identity::load(&files.chain, &files.key)?)
}

async fn open(
    what: &'static str,
    address: SocketAddr,
    tls: Option<Arc<rustls::ServerConfig>>,
) -> Result<Listener, Error> {
    let (socket, address) = bind(what, address).await?;
    Ok(Listener {
        what,
        socket,
        tls,
        address,
    })
}

/// Opens a socket; `what` is the option that named the address.
pub(crate) async fn bind(
    what: &'static str,
    address: SocketAddr,
) -> Result<(TcpListener, SocketAddr), Error> {
    let fail = |source| Error::Listen {
        address,
        what,
        source,
    };
    let socket = TcpListener::bind(address).await.map_err(fail)?;
    let address = socket.local_addr().map_err(fail)?;
    Ok((socket, address))
}
