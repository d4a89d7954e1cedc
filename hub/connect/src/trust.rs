//! Whom connections to others trust.

use std::path::Path;
use std::sync::Arc;

use rustls::ClientConfig;
use stencil_crypto::tls::{self, Policy, Roots};

/// Why there is no TLS configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The roots to trust, or the TLS configuration.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// rustls refused the configuration.
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
}

/// TLS 1.3 with X25519MLKEM768 preferred, trusting the roots in a PEM file, or
/// whom the system trusts. Where the system trusts nobody every handshake
/// fails, and this says so to the operator: `whose` names the connections.
pub(crate) fn client(roots: Option<&Path>, whose: &str) -> Result<Arc<ClientConfig>, Error> {
    let roots = match roots {
        Some(file) => Roots::load(file)?,
        None => match Roots::system() {
            Ok(roots) => roots,
            Err(error) => {
                tracing::warn!(%error, "{whose} over TLS will fail; set `roots` to a PEM file");
                return nobody();
            }
        },
    };
    Ok(tls::client(Policy::Prefer, &roots, None)?)
}

fn nobody() -> Result<Arc<ClientConfig>, Error> {
    let provider = tls::provider(Policy::Prefer);
    let config = ClientConfig::builder_with_provider(provider.into())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    Ok(Arc::new(config))
}
