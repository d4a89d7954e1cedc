use sha2::{Digest as _, Sha256};

use super::validity::parse;
use super::{Error, Validity};

/// What a certificate is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The SHA-256 of its DER.
    pub fingerprint: [u8; 32],
    /// Its serial number, in hexadecimal digits, as [`issued.log`](super) has it.
    pub serial: String,
    /// The SHA-256 of its public key (SubjectPublicKeyInfo).
    pub key: [u8; 32],
    /// When it is valid.
    pub validity: Validity,
}

impl Description {
    /// Of a certificate in DER. Nothing is verified.
    ///
    /// # Errors
    /// [`Error::Certificate`] if it is none.
    pub fn of(der: &[u8]) -> Result<Self, Error> {
        let certificate = parse(der)?;
        let serial = certificate.raw_serial();
        // DER puts a zero before a number that would look negative.
        let serial = match serial {
            [0, rest @ ..] if !rest.is_empty() => rest,
            serial => serial,
        };
        Ok(Self {
            fingerprint: Sha256::digest(der).into(),
            serial: hex::encode(serial),
            key: Sha256::digest(certificate.public_key().raw).into(),
            validity: Validity::read(&certificate)?,
        })
    }

    /// The bytes of a certificate's public key, without what says of which algorithm it is. Nothing is
    /// verified.
    ///
    /// # Errors
    /// [`Error::Certificate`] if it is none.
    pub fn public_key(der: &[u8]) -> Result<Vec<u8>, Error> {
        let certificate = parse(der)?;
        Ok(certificate.public_key().subject_public_key.data.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Authority, Issued};
    use super::*;

    #[test]
    fn it_has_the_serial_that_was_noted() {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::create(dir.path().join("a"), "Acme").unwrap();
        for _ in 0..8 {
            let issued = authority.issue_gateway("acme", "gw-1").unwrap();
            let Issued {
                certificate_der,
                serial,
                validity,
                ..
            } = &issued;
            let description = Description::of(certificate_der).unwrap();
            assert_eq!(&description.serial, serial);
            assert_eq!(&description.validity, validity);
        }
        assert!(Description::of(b"none").is_err());
    }
}
