//! A server's certificate, as one judges it whose clock may be wrong.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, PeerMisbehaved, SignatureScheme};

use crate::authority::Validity;

/// What counts of the times in a server's certificate.
///
/// That it is not valid *yet* never counts: an authority of a fleet dates nothing ahead, so that only
/// one's own clock can be behind. That it has ended counts `grace` after its end, and not at all while
/// the clock is not set.
#[derive(Clone)]
pub struct Judged {
    /// How long after its end a server's certificate is still taken.
    pub grace: Duration,
    /// The time in seconds since the Unix epoch; `None`: the clock is not set.
    pub now_s: Arc<dyn Fn() -> Option<u64> + Send + Sync>,
}

impl Judged {
    /// Whether these times are no reason against a certificate.
    fn takes(&self, validity: Validity) -> bool {
        let Some(now_s) = (self.now_s)() else {
            return true;
        };
        now_s <= validity.not_after_s().saturating_add(self.grace.as_secs())
    }
}

impl fmt::Debug for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Judged")
            .field("grace", &self.grace)
            .finish_non_exhaustive()
    }
}

/// Takes what another verifier takes, and what it would have taken at another time.
#[derive(Debug)]
pub(super) struct Clocks {
    pub(super) inner: Arc<WebPkiServerVerifier>,
    pub(super) judged: Judged,
}

impl ServerCertVerifier for Clocks {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let at = |time| {
            let inner = &self.inner;
            inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, time)
        };
        let verified = at(now);
        let Err(Error::InvalidCertificate(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. },
        )) = verified
        else {
            return verified;
        };
        match Validity::of(end_entity) {
            Ok(validity) if self.judged.takes(validity) => {
                let then = Duration::from_secs(validity.not_before_s());
                at(UnixTime::since_unix_epoch(then))
            }
            _ => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // TLS 1.3 is all that is spoken.
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
