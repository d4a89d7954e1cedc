//! The fleet authority: who may call itself a gateway, device or hub of this fleet.
//!
//! An authority has two roots. Everything between gateways, devices and hub hangs on
//! the ML-DSA-65 (FIPS 204) root. The ECDSA P-256 root signs nothing but the second
//! certificate of a hub's `prefer` listener, for clients whose TLS knows no ML-DSA;
//! no client certificate is ever accepted under it.
//!
//! | file in the authority's folder | what it is |
//! |---|---|
//! | `root.pem`, `root.key` | ML-DSA-65 root and its key (0600) |
//! | `classical-root.pem`, `classical-root.key` | ECDSA P-256 root and its key (0600) |
//! | `issued.log` | one line a certificate: serial, validity, holder |
//!
//! ```
//! use stencil_crypto::authority::{Authority, Subject};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! let authority = Authority::create(dir.path().join("authority"), "Acme fleet")?;
//! let issued = authority.issue_gateway("acme", "gw-1")?;
//! let subject = Subject::of(&issued.certificate_der)?;
//! assert_eq!(subject.to_string(), "stencil:tenant/acme/gateway/gw-1");
//! # Ok(()) }
//! ```

mod description;
mod key;
mod renewal;
mod request;
mod root;
mod subject;
mod validity;

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    PublicKeyData, SanType,
};
use zeroize::{Zeroize, Zeroizing};

pub use description::Description;
pub use renewal::Renewed;
pub use request::{ClientKey, MAX_REQUEST_BYTES, Request, first_of};
pub use root::Algorithm;
pub use subject::Subject;
pub use validity::Validity;

use crate::keyfile;
use root::Root;

/// How long a root is valid, in days: ten years.
pub const ROOT_DAYS: u32 = 3650;
/// How long a certificate is valid where nothing else is asked for, in days.
pub const LEAF_DAYS: u32 = 397;

const ISSUED: &str = "issued.log";

/// Why the authority could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is an authority in the folder already.
    #[error("{} exists: there is an authority here already", .0.display())]
    Exists(PathBuf),
    /// There is a file where the authority's folder should be.
    #[error("{} is no folder, and the authority's files lie in one: move it away", .0.display())]
    NoFolder(PathBuf),
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] keyfile::Error),
    /// A folder or the list of certificates could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A root and its key don't belong together, or the root is none.
    #[error("{}: {why}", path.display())]
    Root {
        /// The root's certificate.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The certificate to read is malformed.
    #[error("malformed certificate: {0}")]
    Certificate(String),
    /// A key is none, or of another algorithm.
    #[error("unusable key: {0}")]
    Key(String),
    /// A request for a certificate is malformed, or not by who has the key.
    #[error("the request for a certificate is not taken: {0}")]
    Request(String),
    /// The certificate names no gateway or device.
    #[error("the certificate names no gateway or device of a fleet: {0}")]
    NoSubject(String),
    /// A tenant, gateway or device id breaks the grammar.
    #[error(
        "{0:?} is no id: 1 to 48 letters, digits, '.', '_' or '-', the first a letter or digit"
    )]
    Id(String),
    /// The name of an authority is empty, too long or not printable.
    #[error("{0:?} is no name for an authority: 1 to 64 printable ASCII characters")]
    Name(String),
    /// The name of a server is neither a host name nor an address.
    #[error("{0:?} is neither a host name nor an IP address")]
    ServerName(String),
    /// A server certificate needs a name.
    #[error("a server certificate needs at least one host name or IP address")]
    NoServerName,
    /// A validity that ends before it begins or beyond the year 9999.
    #[error("a certificate cannot be valid from {not_before_s} to {not_after_s} (Unix seconds)")]
    Validity {
        /// The first second asked for.
        not_before_s: u64,
        /// The last second asked for.
        not_after_s: u64,
    },
    /// The root ends before the certificate would begin.
    #[error(
        "the root is valid until {not_after_s}, the certificate would begin at \
             {not_before_s} (Unix seconds): the authority must be renewed"
    )]
    Outlived {
        /// Where the certificate would begin.
        not_before_s: u64,
        /// Where the root ends.
        not_after_s: u64,
    },
    /// Key or certificate could not be made.
    #[error("cannot make key or certificate: {0}")]
    Make(#[from] rcgen::Error),
}

/// A certificate and its key, fresh from the authority.
pub struct Issued {
    /// The chain to present in TLS: the certificate, in PEM.
    pub chain_pem: String,
    /// The private key, in PEM (PKCS #8); wiped when dropped.
    pub key_pem: Zeroizing<String>,
    /// The certificate, in DER.
    pub certificate_der: Vec<u8>,
    /// The serial number, in hexadecimal digits.
    pub serial: String,
    /// When the certificate is valid.
    pub validity: Validity,
}

impl Issued {
    /// Writes the chain (0644) and the key (0600); the key first, so that a chain
    /// never stands without its key.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn write(&self, chain: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<(), Error> {
        keyfile::write(key, self.key_pem.as_bytes())?;
        keyfile::write_public(chain, self.chain_pem.as_bytes())?;
        Ok(())
    }
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued")
            .field("serial", &self.serial)
            .field("validity", &self.validity)
            .finish_non_exhaustive()
    }
}

/// The folder may not be there yet.
fn is_no_file(dir: &Path) -> Result<(), Error> {
    match dir.exists() && !dir.is_dir() {
        true => Err(Error::NoFolder(dir.to_owned())),
        false => Ok(()),
    }
}

/// A certificate that was signed and noted.
struct Certified {
    certificate: rcgen::Certificate,
    serial: String,
    validity: Validity,
}

/// A fleet authority in a folder.
pub struct Authority {
    dir: PathBuf,
    post_quantum: Root,
    classical: Root,
}

impl Authority {
    /// Makes a new authority with fresh roots, valid for [`ROOT_DAYS`], in `dir`
    /// (made with mode 0700 if it isn't there). `name` stands in the roots.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::Name`], [`Error::Io`], [`Error::File`] or
    /// [`Error::Make`].
    pub fn create(dir: impl AsRef<Path>, name: &str) -> Result<Self, Error> {
        Self::create_with(dir, name, Validity::days_from(SystemTime::now(), ROOT_DAYS))
    }

    /// [`create`](Authority::create) with roots of a chosen validity.
    ///
    /// # Errors
    /// As [`create`](Authority::create).
    pub fn create_with(
        dir: impl AsRef<Path>,
        name: &str,
        validity: Validity,
    ) -> Result<Self, Error> {
        let dir = dir.as_ref();
        if !(1..=64).contains(&name.len()) || !name.chars().all(|c| matches!(c, ' '..='~')) {
            return Err(Error::Name(name.chars().take(128).collect()));
        }
        is_no_file(dir)?;
        for algorithm in Algorithm::ALL {
            for path in [algorithm.certificate_path(dir), algorithm.key_path(dir)] {
                if path.exists() {
                    return Err(Error::Exists(path));
                }
            }
        }
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|source| Error::Io {
                path: dir.to_owned(),
                source,
            })?;
        Ok(Self {
            dir: dir.to_owned(),
            post_quantum: Root::create(dir, Algorithm::MlDsa65, name, validity)?,
            classical: Root::create(dir, Algorithm::EcdsaP256, name, validity)?,
        })
    }

    /// Opens the authority in `dir`.
    ///
    /// # Errors
    /// [`Error::File`] if a file is missing or exposed; [`Error::Root`] if a root and
    /// its key don't belong together.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, Error> {
        let dir = dir.as_ref();
        is_no_file(dir)?;
        Ok(Self {
            dir: dir.to_owned(),
            post_quantum: Root::open(dir, Algorithm::MlDsa65)?,
            classical: Root::open(dir, Algorithm::EcdsaP256)?,
        })
    }

    /// The ML-DSA-65 root, in PEM: what gateways, devices and hub trust.
    #[must_use]
    pub fn root_pem(&self) -> &str {
        &self.post_quantum.pem
    }

    /// The ECDSA P-256 root, in PEM: what foreign clients of a `prefer` listener trust.
    #[must_use]
    pub fn classical_root_pem(&self) -> &str {
        &self.classical.pem
    }

    /// Issues a gateway's certificate, valid for [`LEAF_DAYS`].
    ///
    /// # Errors
    /// As [`issue`](Authority::issue).
    pub fn issue_gateway(&self, tenant: &str, gateway: &str) -> Result<Issued, Error> {
        let subject = Subject::Gateway {
            tenant: tenant.to_owned(),
            gateway: gateway.to_owned(),
        };
        self.issue(&subject, Validity::days_from(SystemTime::now(), LEAF_DAYS))
    }

    /// Issues the certificate of a device that speaks to the hub itself, valid for
    /// [`LEAF_DAYS`].
    ///
    /// # Errors
    /// As [`issue`](Authority::issue).
    pub fn issue_device(&self, tenant: &str, device: &str) -> Result<Issued, Error> {
        let subject = Subject::Device {
            tenant: tenant.to_owned(),
            device: device.to_owned(),
        };
        self.issue(&subject, Validity::days_from(SystemTime::now(), LEAF_DAYS))
    }

    /// Issues a hub's certificate for its host names and IP addresses, valid for
    /// [`LEAF_DAYS`].
    ///
    /// # Errors
    /// As [`issue_server_with`](Authority::issue_server_with).
    pub fn issue_server<S: AsRef<str>>(&self, names: &[S]) -> Result<Issued, Error> {
        let validity = Validity::days_from(SystemTime::now(), LEAF_DAYS);
        self.issue_server_with(names, Algorithm::MlDsa65, validity)
    }

    /// Issues the second, ECDSA P-256 certificate of a hub with a `prefer` listener,
    /// valid for [`LEAF_DAYS`].
    ///
    /// # Errors
    /// As [`issue_server_with`](Authority::issue_server_with).
    pub fn issue_classical_server<S: AsRef<str>>(&self, names: &[S]) -> Result<Issued, Error> {
        let validity = Validity::days_from(SystemTime::now(), LEAF_DAYS);
        self.issue_server_with(names, Algorithm::EcdsaP256, validity)
    }

    /// Issues a server certificate under the root of `algorithm`. What of `validity`
    /// lies beyond the root's is cut off.
    ///
    /// # Errors
    /// [`Error::NoServerName`], [`Error::ServerName`], [`Error::Outlived`],
    /// [`Error::Make`], [`Error::Io`].
    pub fn issue_server_with<S: AsRef<str>>(
        &self,
        names: &[S],
        algorithm: Algorithm,
        validity: Validity,
    ) -> Result<Issued, Error> {
        let (params, holder) = Self::server_params(names)?;
        let root = match algorithm {
            Algorithm::MlDsa65 => &self.post_quantum,
            Algorithm::EcdsaP256 => &self.classical,
        };
        self.sign(root, params, validity, &holder)
    }

    /// What stands in a server's certificate, and how it is noted.
    fn server_params<S: AsRef<str>>(names: &[S]) -> Result<(CertificateParams, String), Error> {
        let first = names.first().ok_or(Error::NoServerName)?.as_ref();
        let mut params = CertificateParams::default();
        for name in names {
            params.subject_alt_names.push(server_name(name.as_ref())?);
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.distinguished_name.push(DnType::CommonName, first);
        Ok((params, format!("server:{first}")))
    }

    fn sign(
        &self,
        root: &Root,
        params: CertificateParams,
        validity: Validity,
        holder: &str,
    ) -> Result<Issued, Error> {
        let validity = validity.within(root.validity)?;
        let mut key = KeyPair::generate_for(root.algorithm.signature())?;
        let certified = self.certify(root, params, validity, holder, &key);
        let key_pem = Zeroizing::new(key.serialize_pem());
        key.zeroize();
        let Certified {
            certificate,
            serial,
            validity,
        } = certified?;
        Ok(Issued {
            chain_pem: certificate.pem(),
            key_pem,
            certificate_der: certificate.der().to_vec(),
            serial,
            validity,
        })
    }

    /// Signs a certificate for the holder of `key`. `validity` lies within the root's.
    fn certify(
        &self,
        root: &Root,
        mut params: CertificateParams,
        validity: Validity,
        holder: &str,
        key: &impl PublicKeyData,
    ) -> Result<Certified, Error> {
        root::set_validity(&mut params, validity);
        let serial = root::serial();
        params.serial_number = Some(serial.clone());
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let certified = Certified {
            certificate: params.signed_by(key, &root.issuer)?,
            serial: hex::encode(serial.to_bytes()),
            validity,
        };
        self.record(&certified, holder)?;
        Ok(certified)
    }

    /// Notes what was issued, before it leaves: revocation needs the serial.
    fn record(&self, issued: &Certified, holder: &str) -> Result<(), Error> {
        let path = self.dir.join(ISSUED);
        let line = format!(
            "{} {} {} {holder}\n",
            issued.serial,
            issued.validity.not_before_s(),
            issued.validity.not_after_s(),
        );
        OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| {
                file.write_all(line.as_bytes())?;
                file.sync_all()
            })
            .map_err(|source| Error::Io { path, source })
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

fn server_name(name: &str) -> Result<SanType, Error> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let unusable = || Error::ServerName(name.chars().take(256).collect());
    rustls::pki_types::DnsName::try_from(name).map_err(|_| unusable())?;
    Ok(SanType::DnsName(name.try_into().map_err(|_| unusable())?))
}
