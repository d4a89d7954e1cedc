//! What a connection to somebody else came out as.

use serde::Serialize;
use stencil_crypto::tls::Negotiated;

/// The TLS of a connection, for a step's output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Link {
    /// The key exchange group, such as `X25519MLKEM768`.
    group: String,
    /// Whether the key exchange withstands a quantum computer.
    post_quantum: bool,
}

impl Link {
    /// What `connection` negotiated.
    pub(crate) fn of(connection: &rustls::CommonState) -> Option<Self> {
        let Negotiated {
            group,
            post_quantum,
            ..
        } = Negotiated::of(connection)?;
        Some(Self {
            group,
            post_quantum,
        })
    }
}
