//! Certificates, keys and passwords, which are files beside the mapping.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use opcua::{
    client::IdentityToken,
    crypto::{
        PrivateKey, SecurityPolicy, X509, X509Data, create_signature_data, verify_signature_data,
    },
    types::ByteString,
};
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};
use zeroize::Zeroizing;

use crate::mapping::{Secured, Server, User, files::no_link};

/// The largest file of a certificate, a key or a password.
const MAX_BYTES: u64 = 64 << 10;
/// How long a certificate that we make is good for. Servers trust it by itself, and nobody renews
/// it by the way.
const DAYS: u32 = 3_650;
/// The bits of its key.
const KEY_BITS: u32 = 3_072;

/// What a secured connection is made with.
#[derive(Debug)]
pub(super) struct Identity {
    /// The server's certificate, as it is on the line.
    pub(super) pinned: Arc<[u8]>,
    /// Our application's URI, as our certificate says it.
    pub(super) application_uri: String,
}

/// A certificate and a key that were made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// The certificate, PEM.
    pub certificate: PathBuf,
    /// The same as DER, which most servers want to be given.
    pub der: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// The SHA-256 of the certificate.
    pub fingerprint: String,
}

/// The SHA-256 of a certificate, in hexadecimal.
#[must_use]
pub(super) fn fingerprint(der: &[u8]) -> String {
    let digest = Sha256::digest(der);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads what a secured connection needs, and looks that the key may be read by nobody else.
pub(super) fn identity(secured: &Secured) -> Result<Identity, String> {
    let pinned = certificate(&secured.server_certificate)?;
    let ours = certificate(&secured.certificate)?;
    let key = key(&secured.key)?;
    let path = secured.certificate.display();
    if !fits(&ours, &key) {
        return Err(format!(
            "{} is not the key of {path}, or is no RSA key of 2048 bits or more",
            secured.key.display()
        ));
    }
    let (_, parsed) = X509Certificate::from_der(&ours)
        .map_err(|error| format!("{path} holds no certificate: {error}"))?;
    let names = parsed.subject_alternative_name().ok().flatten();
    let uri = names.iter().find_map(|names| {
        names
            .value
            .general_names
            .iter()
            .find_map(|name| match name {
                GeneralName::URI(uri) => Some((*uri).to_owned()),
                _ => None,
            })
    });
    Ok(Identity {
        pinned: pinned.into(),
        application_uri: uri.ok_or_else(|| {
            format!(
                "{path} names no application URI, which OPC UA wants in a certificate: `stencil \
                 gateway opcua-key` makes one that does"
            )
        })?,
    })
}

/// Looks once more that the files of a mapping from elsewhere are in their folder: what is a link now
/// may have been none before.
pub(super) fn stay_in(server: &Server) -> Result<(), String> {
    match &server.files_in {
        None => Ok(()),
        Some(folder) => server.files().try_for_each(|file| no_link(folder, file)),
    }
}

/// Who the user is, as the library wants it.
pub(super) fn token(user: &User) -> Result<IdentityToken, String> {
    match user {
        User::Anonymous => Ok(IdentityToken::Anonymous),
        User::Password { name, file } => {
            let text = secret(file)?;
            let password = text.lines().next().unwrap_or_default();
            if password.is_empty() {
                return Err(format!("{}: its first line is empty", file.display()));
            }
            Ok(IdentityToken::new_user_name(name, password))
        }
        User::Certificate {
            certificate: path,
            key: secret,
        } => {
            let der = certificate(path)?;
            let certificate = X509::from_der(&der)
                .map_err(|_| format!("{} holds no certificate", path.display()))?;
            Ok(IdentityToken::new_x509(certificate, key(secret)?))
        }
    }
}

/// A certificate as DER; the file may be PEM or DER.
pub(super) fn certificate(path: &Path) -> Result<Vec<u8>, String> {
    let bytes = read(path)?;
    let parsed = if bytes.starts_with(b"-----") {
        X509::from_pem(&bytes)
    } else {
        X509::from_der(&bytes)
    };
    parsed
        .and_then(|certificate| certificate.to_der())
        .map_err(|_| {
            format!(
                "{} holds no certificate, neither PEM nor DER",
                path.display()
            )
        })
}

fn key(path: &Path) -> Result<PrivateKey, String> {
    let text = secret(path)?;
    PrivateKey::from_pem(text.as_bytes()).map_err(|_| {
        format!(
            "{} holds no RSA key as PEM without a password (PKCS #8 or PKCS #1)",
            path.display()
        )
    })
}

/// Whether a key is a certificate's: what it signs, the certificate verifies.
fn fits(der: &[u8], key: &PrivateKey) -> bool {
    const POLICY: SecurityPolicy = SecurityPolicy::Basic256Sha256;
    let Ok(certificate) = X509::from_der(der) else {
        return false;
    };
    let (ours, nonce) = (certificate.as_byte_string(), ByteString::from(vec![7; 32]));
    let is_long = certificate.key_length().is_ok_and(|bits| bits >= 2_048);
    is_long
        && create_signature_data(key, POLICY, &ours, &nonce).is_ok_and(|signature| {
            verify_signature_data(
                &signature,
                POLICY,
                &certificate,
                &certificate,
                nonce.as_ref(),
            )
            .is_ok()
        })
}

/// The text of a file that nobody else may read.
fn secret(path: &Path) -> Result<Zeroizing<String>, String> {
    let metadata = fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))?;
    if metadata.mode() & 0o077 != 0 {
        return Err(format!(
            "{} may be read by others: chmod 600 {0}",
            path.display()
        ));
    }
    let bytes = Zeroizing::new(read(path)?);
    match str::from_utf8(&bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(format!("{} is not text", path.display())),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    // A pipe would be waited for, and a device may have no end.
    if fs::metadata(path).is_ok_and(|of| !of.is_file()) {
        return Err(format!("{} is no regular file", path.display()));
    }
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes));
    match read {
        Ok(read) if read as u64 > MAX_BYTES => Err(format!(
            "{} has more than {MAX_BYTES} bytes",
            path.display()
        )),
        Ok(_) => Ok(bytes),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// Makes a certificate and a key by which servers know a gateway, in a folder. What is there
/// already is not written over.
///
/// # Errors
/// What cannot be made or written.
pub fn make_identity(folder: &Path, name: &str) -> Result<Made, String> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if !(1..=48).contains(&name.len()) || !name.bytes().all(good) {
        return Err(format!(
            "the name is {name:?}: write 1 to 48 letters, digits, `-`, `_` and `.`"
        ));
    }
    let made = |kind: &str| folder.join(format!("opcua.{kind}"));
    let (certificate, der, key) = (made("pem"), made("der"), made("key"));
    for path in [&certificate, &der, &key] {
        if path.symlink_metadata().is_ok() {
            return Err(format!("{} is there already", path.display()));
        }
    }
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let uri = format!("urn:{name}:stencil:gateway");
    let names = X509Data::alt_host_names(&uri, Some(vec![name.to_owned()]), false, false, false);
    let (x509, private) = X509::cert_and_pkey(&X509Data {
        key_size: KEY_BITS,
        common_name: name.to_owned(),
        organization: "Stencil gateway".to_owned(),
        organizational_unit: String::new(),
        country: String::new(),
        state: String::new(),
        alt_host_names: names,
        certificate_duration_days: DAYS,
    })?;
    let bytes = x509.to_der().map_err(|error| error.to_string())?;
    let document = private.to_der().map_err(|error| error.to_string())?;
    let secret = pem("PRIVATE KEY", document.as_bytes());
    write(&key, secret.as_bytes(), 0o600)?;
    write(&certificate, pem("CERTIFICATE", &bytes).as_bytes(), 0o644)?;
    write(&der, &bytes, 0o644)?;
    Ok(Made {
        certificate,
        der,
        key,
        fingerprint: fingerprint(&bytes),
    })
}

/// Writes a certificate of a server, to be pinned. What is there already is not written over.
pub(super) fn keep(path: &Path, der: &[u8]) -> Result<(), String> {
    write(path, pem("CERTIFICATE", der).as_bytes(), 0o644)
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), String> {
    let mut options = OpenOptions::new();
    let written: io::Result<()> = options
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
    written.map_err(|error| format!("{}: {error}", path.display()))
}

fn pem(label: &str, der: &[u8]) -> Zeroizing<String> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let text = Zeroizing::new(STANDARD.encode(der));
    let mut out = Zeroizing::new(format!("-----BEGIN {label}-----\n"));
    for line in text.as_bytes().chunks(64) {
        out.push_str(&String::from_utf8_lossy(line));
        out.push('\n');
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}
