//! What happens at an endpoint, for those who want to react.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::{Qos, RefusedCode, Source, Version};

/// Something that happened, in the order in which it did for one client.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event<P> {
    /// A client was let in.
    Connected {
        /// The namespace of the client.
        namespace: Arc<str>,
        /// Who, and over what.
        source: Arc<Source<P>>,
        /// Protocol version.
        version: Version,
    },
    /// A connection that was let in has ended. With
    /// [`Disconnect::TakenOver`] the client id lives on in another connection,
    /// whose `Connected` came before this.
    Disconnected {
        /// The namespace of the client.
        namespace: Arc<str>,
        /// Who, and over what.
        source: Arc<Source<P>>,
        /// Why it ended.
        reason: Disconnect,
    },
    /// A subscription is in force: what is published from now on gets there.
    Subscribed {
        /// The namespace of the client.
        namespace: Arc<str>,
        /// Who, and over what.
        source: Arc<Source<P>>,
        /// The topic filter.
        filter: Arc<str>,
        /// The granted quality of service.
        qos: Qos,
    },
    /// A client was not let in by the policy.
    Refused {
        /// The other end of the socket.
        peer: SocketAddr,
        /// The client id that it gave.
        client_id: String,
        /// What it was told.
        code: RefusedCode,
        /// The reason in full.
        why: String,
    },
}

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Disconnect {
    /// The client said goodbye.
    Client,
    /// The client said goodbye and asked for its will to be published.
    ClientWithWill,
    /// The socket ended without a DISCONNECT.
    Lost,
    /// Nothing came for one and a half times the keep-alive.
    KeepAlive,
    /// The client broke the protocol or a bound.
    Protocol,
    /// The client did something that it may not do.
    NotAuthorized,
    /// Another connection took over the client id.
    TakenOver,
    /// The client didn't read what was sent to it.
    WriteTimeout,
    /// The sink failed, so nothing can be acknowledged.
    SinkFailed,
    /// The application asked for it.
    Administrative,
    /// The endpoint shuts down.
    ShuttingDown,
}

impl Disconnect {
    /// A short stable name, for logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::ClientWithWill => "client_with_will",
            Self::Lost => "lost",
            Self::KeepAlive => "keep_alive",
            Self::Protocol => "protocol",
            Self::NotAuthorized => "not_authorized",
            Self::TakenOver => "taken_over",
            Self::WriteTimeout => "write_timeout",
            Self::SinkFailed => "sink_failed",
            Self::Administrative => "administrative",
            Self::ShuttingDown => "shutting_down",
        }
    }
}
