use std::time::SystemTime;

use rcgen::{PublicKeyData, SignatureAlgorithm};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::{GeneralName, ParsedExtension, X509Certificate};

use super::root::Root;
use super::validity::{malformed, parse};
use super::{Algorithm, Authority, Error, LEAF_DAYS, Validity};

/// The successor of a certificate. That of a hub is for the same names and the same key: one file to
/// replace, so that a crash leaves a certificate and a key that belong together.
#[derive(Debug)]
pub struct Renewed {
    /// The chain to present in TLS: the certificate, in PEM.
    pub chain_pem: String,
    /// The certificate, in DER.
    pub certificate_der: Vec<u8>,
    /// The serial number, in hexadecimal digits.
    pub serial: String,
    /// When it is valid.
    pub validity: Validity,
}

impl Authority {
    /// Issues the successor of a hub's certificate, valid for [`LEAF_DAYS`] from
    /// `now` or as long as the root. Nothing when there is nothing to do for this
    /// authority: the certificate comes from elsewhere, or the successor would end
    /// no later.
    ///
    /// # Errors
    /// [`Error::Certificate`] if it is none; else as
    /// [`issue_server_with`](Authority::issue_server_with).
    pub fn renew_server(&self, der: &[u8], now: SystemTime) -> Result<Option<Renewed>, Error> {
        let certificate = parse(der)?;
        let mut roots = [&self.post_quantum, &self.classical].into_iter();
        let Some(root) = roots.find(|root| is_issuer(root, &certificate)) else {
            return Ok(None);
        };
        let longer = Validity::days_from(now, LEAF_DAYS).within(root.validity)?;
        if longer.not_after_s() <= Validity::read(&certificate)?.not_after_s() {
            return Ok(None);
        }
        let key = HolderKey {
            algorithm: root.algorithm,
            bytes: &certificate.public_key().subject_public_key.data,
        };
        if key.subject_public_key_info() != certificate.public_key().raw {
            let why = format!("its key is no {} key", root.algorithm);
            return Err(Error::Certificate(why));
        }
        let names = names(&certificate)?;
        let (params, holder) = Self::server_params(&names)?;
        let certified = self.certify(root, params, longer, &holder, &key)?;
        Ok(Some(Renewed {
            chain_pem: certified.certificate.pem(),
            certificate_der: certified.certificate.der().to_vec(),
            serial: certified.serial,
            validity: certified.validity,
        }))
    }
}

/// The key of a certificate, of which only the public half is at hand.
pub(super) struct HolderKey<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) bytes: &'a [u8],
}

impl PublicKeyData for HolderKey<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.bytes
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm.signature()
    }
}

/// Whether the certificate names this root's key as its issuer's. Nothing is
/// verified: it is the hub's own.
fn is_issuer(root: &Root, certificate: &X509Certificate<'_>) -> bool {
    let Ok(der) = CertificateDer::from_pem_slice(root.pem.as_bytes()) else {
        return false;
    };
    let Ok(issuer) = parse(&der) else {
        return false;
    };
    let ours =
        issuer
            .extensions()
            .iter()
            .find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0),
                _ => None,
            });
    let theirs =
        certificate
            .extensions()
            .iter()
            .find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::AuthorityKeyIdentifier(id) => Some(id.key_identifier.as_ref()?.0),
                _ => None,
            });
    ours.is_some() && ours == theirs
}

/// The host names and addresses that a server's certificate is for.
fn names(certificate: &X509Certificate<'_>) -> Result<Vec<String>, Error> {
    let names = certificate.subject_alternative_name().map_err(malformed)?;
    let names = names
        .iter()
        .flat_map(|names| &names.value.general_names)
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            GeneralName::IPAddress(bytes) => address(bytes),
            _ => None,
        });
    Ok(names.collect())
}

fn address(bytes: &[u8]) -> Option<String> {
    let address = match bytes.len() {
        4 => std::net::IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
        16 => std::net::IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
        _ => return None,
    };
    Some(address.to_string())
}
