//! Clients' certificates that have ended not long ago.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved,
    SignatureScheme,
};

use crate::authority::Validity;

/// Takes what another verifier takes, and what it would have taken when the certificate ended, for
/// so long after that. What such a client may do is the caller's decision: [`Validity::of`] its
/// certificate says that it has ended.
#[derive(Debug)]
pub(super) struct Late {
    pub(super) inner: Arc<dyn ClientCertVerifier>,
    pub(super) grace: Duration,
}

impl ClientCertVerifier for Late {
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self
            .inner
            .verify_client_cert(end_entity, intermediates, now);
        let Err(Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        )) = verified
        else {
            return verified;
        };
        let Ok(validity) = Validity::of(end_entity) else {
            return verified;
        };
        let end_s = validity.not_after_s();
        // Else it is another one of the chain that has ended.
        let has_ended = end_s < now.as_secs();
        if !has_ended || now.as_secs() - end_s > self.grace.as_secs() {
            return verified;
        }
        let then = UnixTime::since_unix_epoch(Duration::from_secs(end_s));
        self.inner
            .verify_client_cert(end_entity, intermediates, then)
    }

    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // TLS 1.3 is all that a listener speaks.
        Err(Error::PeerMisbehaved(
            PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme,
        ))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
