//! A fleet with its authority, and TLS connections in memory.

#![allow(dead_code, reason = "not every test needs all of the fleet")]

use std::io::{Read, Write};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};
use stencil_crypto::authority::{Authority, Issued};
use stencil_crypto::tls::{Identity, Roots, ServerIdentity};
use tempfile::TempDir;

pub(crate) const HUB: &str = "hub.fleet.example";

pub(crate) struct Fleet {
    pub(crate) authority: Authority,
    _dir: TempDir,
}

impl Fleet {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::create(dir.path().join("authority"), "Test fleet").unwrap();
        Self {
            authority,
            _dir: dir,
        }
    }

    pub(crate) fn roots(&self) -> Roots {
        Roots::from_pem(self.authority.root_pem()).unwrap()
    }

    pub(crate) fn hub(&self) -> ServerIdentity {
        ServerIdentity {
            post_quantum: identity(&self.authority.issue_server(&[HUB]).unwrap()),
            classical: Some(identity(
                &self.authority.issue_classical_server(&[HUB]).unwrap(),
            )),
        }
    }

    pub(crate) fn gateway(&self) -> Identity {
        identity(&self.authority.issue_gateway("acme", "gw-1").unwrap())
    }
}

pub(crate) fn identity(issued: &Issued) -> Identity {
    Identity::from_pem(&issued.chain_pem, &issued.key_pem).unwrap()
}

/// Who refused, and why.
#[derive(Debug, PartialEq)]
pub(crate) enum Refused {
    Client(rustls::Error),
    Server(rustls::Error),
}

/// Runs a handshake to its end, and a byte each way after it: a TLS 1.3 client learns
/// only from the server's next flight that its certificate was refused.
pub(crate) fn connect(
    client: &Arc<ClientConfig>,
    server: &Arc<ServerConfig>,
) -> Result<(ClientConnection, ServerConnection), Refused> {
    let name = ServerName::try_from(HUB).unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name).map_err(Refused::Client)?;
    let mut server = ServerConnection::new(Arc::clone(server)).map_err(Refused::Server)?;
    for _ in 0..10 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut wire = wire.as_slice();
        while !wire.is_empty() {
            server.read_tls(&mut wire).unwrap();
            server.process_new_packets().map_err(Refused::Server)?;
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut wire = wire.as_slice();
        while !wire.is_empty() {
            client.read_tls(&mut wire).unwrap();
            client.process_new_packets().map_err(Refused::Client)?;
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());

    client.writer().write_all(b"u").unwrap();
    server.writer().write_all(b"d").unwrap();
    let mut wire = Vec::new();
    client.write_tls(&mut wire).unwrap();
    server.read_tls(&mut wire.as_slice()).unwrap();
    server.process_new_packets().map_err(Refused::Server)?;
    let mut wire = Vec::new();
    server.write_tls(&mut wire).unwrap();
    client.read_tls(&mut wire.as_slice()).unwrap();
    client.process_new_packets().map_err(Refused::Client)?;
    let (mut up, mut down) = ([0; 1], [0; 1]);
    server.reader().read_exact(&mut up).unwrap();
    client.reader().read_exact(&mut down).unwrap();
    assert_eq!((&up, &down), (b"u", b"d"));
    Ok((client, server))
}
