use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::{Error, Policy, ServerIdentity};

/// Picks the certificate by what signatures the client can check: ML-DSA-65 if it
/// can, else the ECDSA one if there is one.
#[derive(Debug)]
pub(super) struct ByScheme {
    post_quantum: Arc<CertifiedKey>,
    classical: Option<Arc<CertifiedKey>>,
}

impl ByScheme {
    pub(super) fn new(
        policy: Policy,
        identity: &ServerIdentity,
        provider: &CryptoProvider,
    ) -> Result<Self, Error> {
        let post_quantum = identity.post_quantum.certified(provider)?;
        require_ml_dsa_65(&post_quantum, "server's post-quantum identity")?;
        let classical = match (policy, &identity.classical) {
            (Policy::Prefer, Some(classical)) => {
                let classical = classical.certified(provider)?;
                require(
                    &classical,
                    SignatureScheme::ECDSA_NISTP256_SHA256,
                    "server's classical identity",
                    "ECDSA P-256",
                )?;
                Some(Arc::new(classical))
            }
            (Policy::Prefer, None) | (Policy::Strict, _) => None,
        };
        Ok(Self {
            post_quantum: Arc::new(post_quantum),
            classical,
        })
    }
}

impl ResolvesServerCert for ByScheme {
    fn resolve(&self, client: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let schemes = client.signature_schemes();
        if schemes.contains(&SignatureScheme::ML_DSA_65) {
            return Some(Arc::clone(&self.post_quantum));
        }
        let classical = self.classical.as_ref()?;
        schemes
            .contains(&SignatureScheme::ECDSA_NISTP256_SHA256)
            .then(|| Arc::clone(classical))
    }
}

/// Checks that `key` signs with ML-DSA-65.
pub(super) fn require_ml_dsa_65(key: &CertifiedKey, place: &'static str) -> Result<(), Error> {
    require(key, SignatureScheme::ML_DSA_65, place, "ML-DSA-65")
}

fn require(
    key: &CertifiedKey,
    scheme: SignatureScheme,
    place: &'static str,
    expected: &'static str,
) -> Result<(), Error> {
    match key.key.choose_scheme(&[scheme]) {
        Some(_) => Ok(()),
        None => Err(Error::Algorithm { place, expected }),
    }
}
