use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::Error;
use crate::keyfile;

/// Whom a connection trusts.
#[derive(Debug, Clone)]
pub struct Roots(Arc<RootCertStore>);

impl Roots {
    /// Trusts the certificates in a PEM text.
    ///
    /// # Errors
    /// [`Error::Chain`] if one is malformed; [`Error::NoRoots`] if there is none.
    pub fn from_pem(pem: &str) -> Result<Self, Error> {
        let mut store = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate = certificate.map_err(|error| Error::Chain(error.to_string()))?;
            store.add(certificate)?;
        }
        Self::of(store, None)
    }

    /// Trusts the certificates in a PEM file.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::In`] with what is wrong in the file.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        Self::from_pem(&keyfile::read_public_text(path)?).map_err(|source| Error::In {
            path: path.to_owned(),
            source: Box::new(source),
        })
    }

    /// Trusts whom the operating system trusts: for systems of others on the public web.
    /// Certificates in the system's store that are malformed are left out.
    ///
    /// # Errors
    /// [`Error::NoRoots`] if the system has none.
    pub fn system() -> Result<Self, Error> {
        let found = rustls_native_certs::load_native_certs();
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(found.certs);
        Self::of(store, found.errors.first().map(ToString::to_string))
    }

    fn of(store: RootCertStore, why: Option<String>) -> Result<Self, Error> {
        if store.is_empty() {
            Err(Error::NoRoots(why))
        } else {
            Ok(Self(Arc::new(store)))
        }
    }

    pub(super) fn store(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.0)
    }
}
