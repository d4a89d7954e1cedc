use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rand_core::Rng;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PublicKeyData, SerialNumber, SignatureAlgorithm, date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::{Zeroize, Zeroizing};

use super::key::RootKey;
use super::{Error, Validity};
use crate::{keyfile, rng};

/// What a certificate is signed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// ML-DSA-65 (FIPS 204).
    MlDsa65,
    /// ECDSA on P-256 with SHA-256: not post-quantum.
    EcdsaP256,
}

impl Algorithm {
    pub(super) const ALL: [Self; 2] = [Self::MlDsa65, Self::EcdsaP256];

    pub(super) fn signature(self) -> &'static SignatureAlgorithm {
        match self {
            Self::MlDsa65 => &rcgen::PKCS_ML_DSA_65,
            Self::EcdsaP256 => &rcgen::PKCS_ECDSA_P256_SHA256,
        }
    }

    pub(super) fn certificate_path(self, dir: &Path) -> PathBuf {
        dir.join(match self {
            Self::MlDsa65 => "root.pem",
            Self::EcdsaP256 => "classical-root.pem",
        })
    }

    pub(super) fn key_path(self, dir: &Path) -> PathBuf {
        dir.join(match self {
            Self::MlDsa65 => "root.key",
            Self::EcdsaP256 => "classical-root.key",
        })
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MlDsa65 => "ML-DSA-65",
            Self::EcdsaP256 => "ECDSA P-256",
        })
    }
}

/// A root certificate and its key.
pub(super) struct Root {
    pub(super) algorithm: Algorithm,
    pub(super) pem: String,
    pub(super) validity: Validity,
    pub(super) issuer: Issuer<'static, RootKey>,
}

impl Root {
    pub(super) fn create(
        dir: &Path,
        algorithm: Algorithm,
        name: &str,
        validity: Validity,
    ) -> Result<Self, Error> {
        let mut fresh = KeyPair::generate_for(algorithm.signature())?;
        let key_pem = Zeroizing::new(fresh.serialize_pem());
        fresh.zeroize();
        let path = algorithm.certificate_path(dir);
        // Used as it will be when it is read back.
        let key = RootKey::from_pem(algorithm, &key_pem).map_err(|why| Error::Root {
            path: path.clone(),
            why,
        })?;
        let mut params = CertificateParams::default();
        set_validity(&mut params, validity);
        params.serial_number = Some(serial());
        // No authority below this one: a root signs holders only.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let common_name = match algorithm {
            Algorithm::MlDsa65 => name.to_owned(),
            Algorithm::EcdsaP256 => format!("{name} (classical)"),
        };
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        let pem = params.self_signed(&key)?.pem();
        // The key first: a root without its key would be an authority that can't be opened.
        keyfile::write(algorithm.key_path(dir), key_pem.as_bytes())?;
        keyfile::write_public(path, pem.as_bytes())?;
        Ok(Self {
            algorithm,
            pem,
            validity,
            issuer: Issuer::new(params, key),
        })
    }

    pub(super) fn open(dir: &Path, algorithm: Algorithm) -> Result<Self, Error> {
        let path = algorithm.certificate_path(dir);
        let wrong = |why: String| Error::Root {
            path: path.clone(),
            why,
        };
        let key_pem = keyfile::read_text(algorithm.key_path(dir))?;
        let pem = keyfile::read_public_text(&path)?;
        let key = RootKey::from_pem(algorithm, &key_pem).map_err(&wrong)?;
        let der = CertificateDer::from_pem_slice(pem.as_bytes())
            .map_err(|error| wrong(format!("not a certificate in PEM: {error}")))?;
        let (_, certificate) = X509Certificate::from_der(&der)
            .map_err(|error| wrong(format!("malformed certificate: {error}")))?;
        if certificate.public_key().raw != key.subject_public_key_info() {
            return Err(wrong("its key belongs to another certificate".to_owned()));
        }
        if !certificate.is_ca() {
            return Err(wrong("it is no certificate of an authority".to_owned()));
        }
        let validity = Validity::read(&certificate)?;
        let issuer = Issuer::from_ca_cert_der(&der, key)?;
        Ok(Self {
            algorithm,
            pem,
            validity,
            issuer,
        })
    }
}

pub(super) fn set_validity(params: &mut CertificateParams, validity: Validity) {
    // Both fit: a `Validity` ends with the year 9999.
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(validity.not_before_s());
    params.not_after = epoch + Duration::from_secs(validity.not_after_s());
}

/// 127 random bits: positive and unguessable (RFC 5280, section 4.1.2.2).
pub(super) fn serial() -> SerialNumber {
    let mut bytes = [0; 16];
    rng::Os.fill_bytes(&mut bytes);
    if let Some(first) = bytes.first_mut() {
        // Neither the sign bit, nor a leading zero byte that an encoder would drop.
        *first = (*first & 0x7f) | 0x40;
    }
    SerialNumber::from_slice(&bytes)
}
