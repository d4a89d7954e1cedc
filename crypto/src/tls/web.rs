//! The side of TLS that browsers and other clients of HTTP see.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::SingleCertAndKey;

use super::{Error, Identity, Policy, ServerIdentity, provider, resolver};

/// The protocol that is spoken within.
const HTTP_1_1: &[u8] = b"http/1.1";

/// What a listener for browsers presents.
#[derive(Debug)]
pub enum WebIdentity {
    /// Our own authority's: ML-DSA-65 for who can check it, else ECDSA P-256 where there is one.
    /// Browsers know no ML-DSA.
    Own(ServerIdentity),
    /// One that another authority issued, of any algorithm.
    Given(Identity),
}

/// The configuration of a listener for browsers and other clients of HTTP.
///
/// TLS 1.3 as by [`Policy::Prefer`]: X25519MLKEM768 where the client has it, which browsers of
/// today do, else X25519 or P-256. Nobody is asked for a certificate.
///
/// # Errors
/// [`Error::Algorithm`] if an identity's key is of the wrong algorithm; [`Error::Tls`] if it does
/// not belong to its certificate.
pub fn web_server(identity: &WebIdentity) -> Result<Arc<ServerConfig>, Error> {
    let provider = Arc::new(provider(Policy::Prefer));
    let resolver: Arc<dyn ResolvesServerCert> = match identity {
        WebIdentity::Own(identity) => Arc::new(resolver::ByScheme::new(
            Policy::Prefer,
            identity,
            &provider,
        )?),
        WebIdentity::Given(identity) => {
            Arc::new(SingleCertAndKey::from(identity.certified(&provider)?))
        }
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    // A resumed connection would outlive the certificate it began with.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}
