//! TLS for the command's own connections.

use std::path::Path;
use std::sync::Arc;

use stencil_crypto::tls::{Error, Identity, Policy, Roots, client};

/// An HTTP client. It prefers X25519MLKEM768, and trusts whom the system trusts; where the
/// system trusts nobody (no root certificates installed), only plain HTTP can be spoken.
pub(crate) fn http() -> anyhow::Result<reqwest::ClientBuilder> {
    let builder = reqwest::Client::builder();
    Ok(match Roots::system() {
        Ok(roots) => {
            let config = client(Policy::Prefer, &roots, None)?;
            builder.tls_backend_preconfigured(Arc::unwrap_or_clone(config))
        }
        Err(Error::NoRoots(_)) => {
            let config = rustls::ClientConfig::builder_with_provider(Arc::new(
                stencil_crypto::tls::provider(Policy::Prefer),
            ))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
            builder.tls_backend_preconfigured(config)
        }
        Err(error) => return Err(error.into()),
    })
}

/// As [`http`], trusting whom a PEM file of root certificates says.
pub(crate) fn http_under(root: &Path) -> anyhow::Result<reqwest::ClientBuilder> {
    let config = client(Policy::Prefer, &Roots::load(root)?, None)?;
    Ok(reqwest::Client::builder().tls_backend_preconfigured(Arc::unwrap_or_clone(config)))
}

/// A strict MQTT client: X25519MLKEM768 and ML-DSA-65 only.
pub(crate) fn strict(
    roots: &Path,
    identity: Option<(&Path, &Path)>,
) -> anyhow::Result<Arc<rustls::ClientConfig>> {
    let identity = identity
        .map(|(certificate, key)| Identity::load(certificate, key))
        .transpose()?;
    Ok(client(
        Policy::Strict,
        &Roots::load(roots)?,
        identity.as_ref(),
    )?)
}
