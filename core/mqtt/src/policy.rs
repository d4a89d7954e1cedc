//! Who may connect, to which namespace they belong, and what they may do.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// Decides about clients. The endpoint knows no users, tenants or tokens: it
/// asks here.
pub trait Policy: Send + Sync + 'static {
    /// An authenticated client, as the application knows it.
    type Principal: Clone + fmt::Debug + Send + Sync + 'static;

    /// Judges a CONNECT. Bounded by
    /// [`Options::connect_timeout`](crate::Options::connect_timeout). Nothing
    /// that the client sends after its CONNECT is looked at before this is
    /// done.
    ///
    /// Two connections with one client id in one namespace: the newer takes
    /// over. Where clients of a namespace don't trust each other, bind the
    /// client id to the credential here.
    fn authenticate(
        &self,
        connect: &Connect<'_>,
    ) -> impl Future<Output = Result<Self::Principal, Refused>> + Send;

    /// The namespace (tenant) of a principal: no topic, retained message or
    /// client id crosses it.
    fn namespace<'a>(&self, principal: &'a Self::Principal) -> &'a str;

    /// May this principal publish on this topic name? Asked for each PUBLISH,
    /// but once for those of one read that follow each other on one topic; the
    /// name is already well-formed.
    fn may_publish(&self, principal: &Self::Principal, topic: &str) -> bool;

    /// May this principal subscribe with this filter, wildcards included? The
    /// filter is already well-formed.
    fn may_subscribe(&self, principal: &Self::Principal, filter: &str) -> bool;

    /// Is what let this principal in still good? Asked before anything of it goes to the sink,
    /// so it must be quick. From `false` on nothing more is taken of it, its will included, and
    /// its connections end with 0x87 (not authorized): at once if
    /// [`Handle::disconnect_namespace`](crate::Handle::disconnect_namespace) wakes them.
    fn may_stay(&self, _principal: &Self::Principal) -> bool {
        true
    }
}

/// What a client says of itself.
#[derive(Clone, Copy)]
pub struct Connect<'a> {
    /// The client id; one that the endpoint made up when the client left it
    /// empty.
    pub client_id: &'a str,
    /// MQTT user name.
    pub username: Option<&'a str>,
    /// MQTT password.
    pub password: Option<&'a [u8]>,
    /// The other end of the socket.
    pub peer: SocketAddr,
    /// How the bytes came.
    pub transport: &'a Transport,
    /// Protocol version.
    pub version: Version,
}

impl fmt::Debug for Connect<'_> {
    /// Hides user name and password: a token may be in either.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("client_id", &self.client_id)
            .field("username", &self.username.map(|_| "…"))
            .field("password", &self.password.map(|_| "…"))
            .field("peer", &self.peer)
            .field("transport", &self.transport)
            .field("version", &self.version)
            .finish()
    }
}

/// The MQTT version of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// MQTT 3.1.1 (protocol level 4).
    V3,
    /// MQTT 5 (protocol level 5).
    V5,
}

/// What carries a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// TCP without TLS.
    Plain,
    /// TLS 1.3, or what the server's configuration allows.
    Tls {
        /// The negotiated key exchange group, such as `X25519MLKEM768`.
        group: String,
        /// Whether the group resists a quantum computer.
        post_quantum: bool,
        /// The client's own certificate in DER, already verified by the
        /// server's configuration; none when the client showed none.
        certificate: Option<Arc<[u8]>>,
        /// The algorithm by which the client's certificate is signed, such as
        /// `ML-DSA-65`; a dotted object identifier when it isn't known.
        signature: Option<String>,
    },
}

/// A client that is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {why}")]
pub struct Refused {
    /// What the client is told.
    pub code: RefusedCode,
    /// The reason in full; logged, never sent.
    pub why: String,
}

impl Refused {
    /// A refusal of this kind, for this reason.
    pub fn new(code: RefusedCode, why: impl Into<String>) -> Self {
        Self {
            code,
            why: why.into(),
        }
    }
}

/// What a refused client is told (CONNACK; MQTT 5 §3.2.2.2, 3.1.1 §3.2.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusedCode {
    /// The client id is not acceptable.
    ClientId,
    /// User name, password or certificate are wrong or missing.
    Credentials,
    /// Known, but not allowed to connect.
    NotAuthorized,
    /// Try again later: authentication can't be done now.
    Unavailable,
    /// Too many connections or requests of this client.
    Quota,
    /// Shut out.
    Banned,
}

impl fmt::Display for RefusedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ClientId => "client id not valid",
            Self::Credentials => "bad user name, password or certificate",
            Self::NotAuthorized => "not authorized",
            Self::Unavailable => "server unavailable",
            Self::Quota => "quota exceeded",
            Self::Banned => "banned",
        })
    }
}
