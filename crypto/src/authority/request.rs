use aws_lc_rs::signature::{ML_DSA_65, UnparsedPublicKey};
use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, PublicKeyData as _, SanType,
};
use sha2::{Digest as _, Sha256};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::{FromDer as _, GeneralName, ParsedExtension};
use zeroize::{Zeroize as _, Zeroizing};

use super::key::RootKey;
use super::renewal::HolderKey;
use super::validity::malformed;
use super::{Algorithm, Authority, Error, Issued, Renewed, Subject, Validity};

/// The longest request for a certificate, in bytes.
pub const MAX_REQUEST_BYTES: usize = 16 * 1024;

/// A key of one's own, and requests for certificates for it: the key never leaves its holder.
pub struct ClientKey {
    key: RootKey,
    pem: Zeroizing<String>,
}

impl ClientKey {
    /// A fresh ML-DSA-65 key.
    ///
    /// # Errors
    /// [`Error::Make`].
    pub fn generate() -> Result<Self, Error> {
        let mut fresh = KeyPair::generate_for(Algorithm::MlDsa65.signature())?;
        let pem = Zeroizing::new(fresh.serialize_pem());
        fresh.zeroize();
        Self::from_pem(&pem)
    }

    /// Reads a key that was kept.
    ///
    /// # Errors
    /// [`Error::Key`] if it is no ML-DSA-65 key in PKCS #8.
    pub fn from_pem(pem: &str) -> Result<Self, Error> {
        let key = RootKey::from_pem(Algorithm::MlDsa65, pem).map_err(Error::Key)?;
        let pem = Zeroizing::new(pem.to_owned());
        Ok(Self { key, pem })
    }

    /// The key in PEM (PKCS #8), to be kept as a secret.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The SHA-256 of its public half (SubjectPublicKeyInfo): [`Description::key`] of certificates for
    /// it.
    ///
    /// [`Description::key`]: super::Description::key
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        Sha256::digest(self.key.subject_public_key_info()).into()
    }

    /// A request for a certificate of `subject` for this key: PKCS #10 (RFC 2986) in DER, signed by
    /// the key, which proves that whoever asks has it.
    ///
    /// # Errors
    /// [`Error::Id`], [`Error::Make`].
    pub fn request(&self, subject: &Subject) -> Result<Vec<u8>, Error> {
        let (params, _) = client_params(subject)?;
        Ok(params.serialize_request(&self.key)?.der().to_vec())
    }
}

impl std::fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientKey").finish_non_exhaustive()
    }
}

/// A request for a certificate, whose signature was verified.
pub struct Request {
    subject: Subject,
    key: Vec<u8>,
    fingerprint: [u8; 32],
}

impl Request {
    /// Reads a request in DER, and verifies that whoever made it has the key.
    ///
    /// # Errors
    /// [`Error::Request`] with what is wrong; [`Error::NoSubject`], [`Error::Id`].
    pub fn read(der: &[u8]) -> Result<Self, Error> {
        let wrong = |why: &str| Error::Request(why.to_owned());
        if der.len() > MAX_REQUEST_BYTES {
            return Err(wrong("it is too long"));
        }
        let (rest, request) = X509CertificationRequest::from_der(der)
            .map_err(|error| Error::Request(error.to_string()))?;
        if !rest.is_empty() {
            return Err(wrong("bytes follow it"));
        }
        let info = &request.certification_request_info;
        let key = HolderKey {
            algorithm: Algorithm::MlDsa65,
            bytes: &info.subject_pki.subject_public_key.data,
        };
        if key.subject_public_key_info() != info.subject_pki.raw {
            return Err(wrong("its key is no ML-DSA-65 key"));
        }
        UnparsedPublicKey::new(&ML_DSA_65, key.bytes)
            .verify(info.raw, &request.signature_value.data)
            .map_err(|_| wrong("it is not signed by the key that it is for"))?;
        let mut names = request
            .requested_extensions()
            .into_iter()
            .flatten()
            .filter_map(|extension| match extension {
                ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
                _ => None,
            })
            .flatten()
            .map(|name| match name {
                GeneralName::URI(uri) => Some(*uri),
                _ => None,
            });
        let subject = match (names.next(), names.next()) {
            (Some(Some(uri)), None) => Subject::parse(uri)?,
            _ => {
                return Err(wrong(
                    "it has to name one gateway or device, and nothing else",
                ));
            }
        };
        Ok(Self {
            subject,
            key: key.bytes.to_vec(),
            fingerprint: Sha256::digest(info.subject_pki.raw).into(),
        })
    }

    /// Who asks, by its own word.
    #[must_use]
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The SHA-256 of its public key (SubjectPublicKeyInfo).
    #[must_use]
    pub fn key(&self) -> [u8; 32] {
        self.fingerprint
    }
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request")
            .field("subject", &self.subject)
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// Issues what was asked for, to whom it names: whether that is who asks is the caller's to know.
    /// What of `validity` lies beyond the root's is cut off.
    ///
    /// # Errors
    /// As [`issue`](Authority::issue).
    pub fn issue_requested(&self, request: &Request, validity: Validity) -> Result<Renewed, Error> {
        let root = &self.post_quantum;
        let (params, uri) = client_params(&request.subject)?;
        let key = HolderKey {
            algorithm: Algorithm::MlDsa65,
            bytes: &request.key,
        };
        let validity = validity.within(root.validity)?;
        let certified = self.certify(root, params, validity, &uri, &key)?;
        Ok(Renewed {
            chain_pem: certified.certificate.pem(),
            certificate_der: certified.certificate.der().to_vec(),
            serial: certified.serial,
            validity: certified.validity,
        })
    }

    /// Issues an ML-DSA-65 client certificate to `subject`. What of `validity` lies
    /// beyond the root's is cut off.
    ///
    /// # Errors
    /// [`Error::Id`], [`Error::Outlived`], [`Error::Make`], [`Error::Io`].
    pub fn issue(&self, subject: &Subject, validity: Validity) -> Result<Issued, Error> {
        let (params, uri) = client_params(subject)?;
        self.sign(&self.post_quantum, params, validity, &uri)
    }
}

/// What a certificate of `subject` says, and how its holder is noted.
fn client_params(subject: &Subject) -> Result<(CertificateParams, String), Error> {
    subject.check()?;
    let mut params = CertificateParams::default();
    let uri = subject.to_string();
    params.subject_alt_names = vec![SanType::URI(uri.as_str().try_into()?)];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
        .distinguished_name
        .push(DnType::CommonName, subject.id());
    Ok((params, uri))
}

/// The first certificate of a chain in PEM, in DER.
///
/// # Errors
/// [`Error::Certificate`] if there is none.
pub fn first_of(chain_pem: &str) -> Result<Vec<u8>, Error> {
    use rustls::pki_types::{CertificateDer, pem::PemObject as _};
    let der = CertificateDer::from_pem_slice(chain_pem.as_bytes()).map_err(malformed)?;
    Ok(der.to_vec())
}

#[cfg(test)]
mod tests {
    use super::super::Description;
    use super::*;
    use crate::tls::{self, Identity, Policy, Roots};

    fn gateway(name: &str) -> Subject {
        Subject::Gateway {
            tenant: "acme".to_owned(),
            gateway: name.to_owned(),
        }
    }

    #[test]
    fn who_has_the_key_is_certified_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::create(dir.path().join("a"), "Acme").unwrap();
        let key = ClientKey::generate().unwrap();
        // As after a restart.
        let key = ClientKey::from_pem(key.pem()).unwrap();
        let request = Request::read(&key.request(&gateway("gw-1")).unwrap()).unwrap();
        assert_eq!(request.subject(), &gateway("gw-1"));
        assert_eq!(request.key(), key.fingerprint());
        let validity = Validity::between(2_000_000_000, 2_000_000_100).unwrap();
        let renewed = authority.issue_requested(&request, validity).unwrap();
        let der = first_of(&renewed.chain_pem).unwrap();
        assert_eq!(der, renewed.certificate_der);
        assert_eq!(Subject::of(&der).unwrap(), gateway("gw-1"));
        let description = Description::of(&der).unwrap();
        assert_eq!(description.key, key.fingerprint());
        assert_eq!(description.validity, validity);
        let roots = Roots::from_pem(authority.root_pem()).unwrap();
        tls::is_client_under(&roots, &der, 2_000_000_050).unwrap();
        assert!(tls::is_client_under(&roots, &der, 2_000_000_101).is_err());
        let identity = Identity::from_pem(&renewed.chain_pem, key.pem()).unwrap();
        tls::client(Policy::Strict, &roots, Some(&identity)).unwrap();
        // Another's key does not open it.
        let other = ClientKey::generate().unwrap();
        let wrong = Identity::from_pem(&renewed.chain_pem, other.pem()).unwrap();
        assert!(tls::client(Policy::Strict, &roots, Some(&wrong)).is_err());
        let noted = std::fs::read_to_string(dir.path().join("a/issued.log")).unwrap();
        assert!(noted.contains(&renewed.serial), "{noted}");
        let rival = Authority::create(dir.path().join("b"), "Acme").unwrap();
        let foreign = rival.issue_requested(&request, validity).unwrap();
        let foreign = first_of(&foreign.chain_pem).unwrap();
        assert!(tls::is_client_under(&roots, &foreign, 2_000_000_050).is_err());
    }

    #[test]
    fn a_request_that_was_touched_is_none() {
        let key = ClientKey::generate().unwrap();
        let good = key.request(&gateway("gw-1")).unwrap();
        Request::read(&good).unwrap();
        // The name, the key, the signature: wherever a bit is turned, it is refused.
        for at in (0..good.len()).step_by(97) {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(Request::read(&bad).is_err(), "byte {at}");
        }
        for length in (0..good.len()).step_by(211) {
            assert!(Request::read(&good[..length]).is_err(), "{length} bytes");
        }
        let mut more = good.clone();
        more.push(0);
        assert!(Request::read(&more).is_err());
        assert!(Request::read(&vec![0x30; MAX_REQUEST_BYTES + 1]).is_err());
    }

    #[test]
    fn other_keys_and_names_are_refused() {
        let weak = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let (params, _) = client_params(&gateway("gw-1")).unwrap();
        let der = params.serialize_request(&weak).unwrap().der().to_vec();
        let refused = Request::read(&der).unwrap_err();
        assert!(refused.to_string().contains("ML-DSA-65"), "{refused}");

        let key = ClientKey::generate().unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::DnsName("hub.example".try_into().unwrap())];
        let der = params.serialize_request(&key.key).unwrap().der().to_vec();
        assert!(Request::read(&der).is_err(), "a server's name");
        let uri = |name: &str| SanType::URI(name.try_into().unwrap());
        let (one, two) = ("stencil:tenant/a/gateway/b", "stencil:tenant/c/gateway/d");
        params.subject_alt_names = vec![uri(one), uri(two)];
        let der = params.serialize_request(&key.key).unwrap().der().to_vec();
        assert!(Request::read(&der).is_err(), "two names");
        let der = CertificateParams::default();
        let der = der.serialize_request(&key.key).unwrap().der().to_vec();
        assert!(Request::read(&der).is_err(), "no name");
    }
}
