//! TLS policies: which connections are let in, and what they were.
//!
//! | | [`Policy::Strict`] (the default) | [`Policy::Prefer`] |
//! |---|---|---|
//! | version | TLS 1.3 | TLS 1.3 |
//! | key exchange | X25519MLKEM768 only | X25519MLKEM768, else X25519, else P-256 |
//! | our server's certificate | ML-DSA-65 | ML-DSA-65, or ECDSA P-256 for clients that know no ML-DSA |
//! | a client's certificate | ML-DSA-65 | ML-DSA-65 |
//! | a server's certificate, as we check it | ML-DSA-65 | any algorithm of the public web |
//! | cipher suites | AES-256-GCM, ChaCha20-Poly1305 | and AES-128-GCM |
//! | resumption | none: each connection checks certificates and offers the hybrid anew | none |
//!
//! `Strict` is for everything between our own parts. `Prefer` is an explicit setting
//! of one listener, or of calls to systems of others; what came out is recorded
//! ([`Negotiated`]) and shown, never called post-quantum when it isn't. Between groups
//! that both sides know the client's order decides: a client that puts X25519 before
//! the hybrid gets X25519 from a `Prefer` listener.
//!
//! ```
//! use stencil_crypto::authority::Authority;
//! use stencil_crypto::tls::{self, Identity, Policy, Roots, ServerIdentity};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! let authority = Authority::create(dir.path().join("authority"), "Acme fleet")?;
//! let roots = Roots::from_pem(authority.root_pem())?;
//!
//! let hub = authority.issue_server(&["hub.acme.example", "127.0.0.1"])?;
//! let hub = ServerIdentity {
//!     post_quantum: Identity::from_pem(&hub.chain_pem, &hub.key_pem)?,
//!     classical: None,
//! };
//! let listener = tls::server(Policy::Strict, &hub, &roots)?;
//!
//! let gateway = authority.issue_gateway("acme", "gw-1")?;
//! let gateway = Identity::from_pem(&gateway.chain_pem, &gateway.key_pem)?;
//! let uplink = tls::client(Policy::Strict, &roots, Some(&gateway))?;
//! # let _ = (listener, uplink); Ok(()) }
//! ```

mod clocks;
mod identity;
mod late;
mod negotiated;
mod policy;
mod resolver;
mod roots;
mod web;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use rustls::{ClientConfig, ServerConfig};

pub use clocks::Judged;
pub use identity::{Identity, ServerIdentity};
pub use negotiated::Negotiated;
pub use policy::{Policy, provider};
pub use roots::Roots;
pub use web::{WebIdentity, web_server};

use crate::keyfile;

/// Why a TLS configuration could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read.
    #[error(transparent)]
    File(#[from] keyfile::Error),
    /// A certificate chain is no PEM, or empty.
    #[error("unusable certificate: {0}")]
    Chain(String),
    /// A private key is no PEM.
    #[error("unusable private key: {0}")]
    Key(String),
    /// The key is of another algorithm than its place asks for.
    #[error("the {place} must have a key for {expected}")]
    Algorithm {
        /// Where the identity was to be used.
        place: &'static str,
        /// What is needed there.
        expected: &'static str,
    },
    /// There is no root to trust.
    #[error("no root certificate to trust{}", .0.as_ref().map(|why| format!(": {why}")).unwrap_or_default())]
    NoRoots(Option<String>),
    /// The verifier of client certificates could not be built.
    #[error("cannot check client certificates: {0}")]
    Verifier(#[from] rustls::client::VerifierBuilderError),
    /// A file's contents are wrong.
    #[error("{}: {source}", path.display())]
    In {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        source: Box<Error>,
    },
    /// rustls refused the configuration.
    #[error("TLS configuration: {0}")]
    Tls(#[from] rustls::Error),
}

/// The configuration of a listener.
///
/// Clients are asked for a certificate. One that is given must be an ML-DSA-65
/// certificate under `clients`, in date, else the connection is refused; whether a
/// client without one may stay is the caller's decision ([`Negotiated::certificate`]).
///
/// # Errors
/// [`Error::Algorithm`] if an identity's key is of the wrong algorithm;
/// [`Error::NoRoots`]; [`Error::Tls`].
pub fn server(
    policy: Policy,
    identity: &ServerIdentity,
    clients: &Roots,
) -> Result<Arc<ServerConfig>, Error> {
    server_at(policy, identity, clients, Arc::new(DefaultTimeProvider))
}

/// [`server`] that also takes clients whose certificate has ended within `grace`. What such a client
/// may do is the caller's decision: [`Validity::of`](crate::authority::Validity::of) its certificate
/// says that it has ended.
///
/// # Errors
/// As [`server`].
pub fn server_taking_late(
    policy: Policy,
    identity: &ServerIdentity,
    clients: &Roots,
    grace: Duration,
) -> Result<Arc<ServerConfig>, Error> {
    let clock = Arc::new(DefaultTimeProvider);
    server_with(policy, identity, clients, clock, grace)
}

/// Whether a client's certificate is one under `roots` at this time, in seconds since the Unix
/// epoch. Whether the client has its key, only a session says.
///
/// # Errors
/// [`Error::Tls`] with what is wrong with it.
pub fn is_client_under(roots: &Roots, der: &[u8], at_s: u64) -> Result<(), Error> {
    let at = UnixTime::since_unix_epoch(Duration::from_secs(at_s));
    let verifier = client_verifier(roots)?;
    verifier.verify_client_cert(&CertificateDer::from(der), &[], at)?;
    Ok(())
}

/// Clients' certificates are ours to issue: ML-DSA-65 under either policy.
fn client_verifier(roots: &Roots) -> Result<Arc<dyn ClientCertVerifier>, Error> {
    let provider = Arc::new(policy::provider(Policy::Strict));
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.store(), provider);
    Ok(verifier.allow_unauthenticated().build()?)
}

/// [`server`] with a clock for the validity of certificates.
///
/// # Errors
/// As [`server`].
pub fn server_at(
    policy: Policy,
    identity: &ServerIdentity,
    clients: &Roots,
    clock: Arc<dyn TimeProvider>,
) -> Result<Arc<ServerConfig>, Error> {
    server_with(policy, identity, clients, clock, Duration::ZERO)
}

fn server_with(
    policy: Policy,
    identity: &ServerIdentity,
    clients: &Roots,
    clock: Arc<dyn TimeProvider>,
    grace: Duration,
) -> Result<Arc<ServerConfig>, Error> {
    let provider = Arc::new(provider(policy));
    let inner = client_verifier(clients)?;
    let verifier = match grace.is_zero() {
        true => inner,
        false => Arc::new(late::Late { inner, grace }),
    };
    let resolver = resolver::ByScheme::new(policy, identity, &provider)?;
    let mut config = ServerConfig::builder_with_details(provider, clock)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(resolver));
    // A resumed connection would outlive the certificate it began with.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// The configuration of a connection to a server that must be under `roots`; with an
/// `identity`, to be shown if the server asks.
///
/// # Errors
/// [`Error::Algorithm`] if `identity` is no ML-DSA-65 one; [`Error::NoRoots`];
/// [`Error::Tls`].
pub fn client(
    policy: Policy,
    roots: &Roots,
    identity: Option<&Identity>,
) -> Result<Arc<ClientConfig>, Error> {
    client_at(policy, roots, identity, Arc::new(DefaultTimeProvider))
}

/// [`client`] with a clock for the validity of certificates.
///
/// # Errors
/// As [`client`].
pub fn client_at(
    policy: Policy,
    roots: &Roots,
    identity: Option<&Identity>,
    clock: Arc<dyn TimeProvider>,
) -> Result<Arc<ClientConfig>, Error> {
    client_with(policy, roots, identity, clock, None)
}

/// [`client`] of somebody whose clock may be wrong, to a server of the same fleet: `judged` says what
/// of the times in the server's certificate counts. All else is checked as ever.
///
/// # Errors
/// As [`client`].
pub fn client_judging(
    policy: Policy,
    roots: &Roots,
    identity: Option<&Identity>,
    judged: Judged,
) -> Result<Arc<ClientConfig>, Error> {
    let clock = Arc::new(DefaultTimeProvider);
    client_with(policy, roots, identity, clock, Some(judged))
}

fn client_with(
    policy: Policy,
    roots: &Roots,
    identity: Option<&Identity>,
    clock: Arc<dyn TimeProvider>,
    judged: Option<Judged>,
) -> Result<Arc<ClientConfig>, Error> {
    let provider = Arc::new(provider(policy));
    let builder = ClientConfig::builder_with_details(Arc::clone(&provider), clock)
        .with_protocol_versions(&[&rustls::version::TLS13])?;
    let builder = match judged {
        None => builder.with_root_certificates(roots.store()),
        Some(judged) => {
            let verifier =
                WebPkiServerVerifier::builder_with_provider(roots.store(), Arc::clone(&provider));
            let inner = verifier.build()?;
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(clocks::Clocks { inner, judged }))
        }
    };
    let mut config = match identity {
        Some(identity) => {
            let key = identity.certified(&provider)?;
            resolver::require_ml_dsa_65(&key, "client's identity")?;
            builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(key)))
        }
        None => builder.with_no_client_auth(),
    };
    // No memory of earlier connections: a session would outlive the certificates that
    // it began with, and a remembered classical group would be offered first again.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}
