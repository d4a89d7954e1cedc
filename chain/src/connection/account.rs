//! The account from which the hub sends.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;
use zeroize::Zeroizing;

use crate::Error;
use crate::signer::{Local, PlainKeys, Remote, Signer};

/// The longest file with a password or a key, in bytes.
const MAX_SECRET: u64 = 4 * 1024;
/// How long a remote signer may take.
const SIGNING: Duration = Duration::from_secs(10);

/// Who signs what the hub sends on a chain: a keystore file (`keystore` and `password_file`), a remote
/// signer (`remote` and `address`), or, for tests, a plain key (`plain_key_file` and
/// `allow_plain_key`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Account {
    /// A keystore file (Web3 Secret Storage, version 3).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keystore: Option<PathBuf>,
    /// A file whose first line is the keystore's password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// Where a remote signer, such as web3signer, is asked by JSON-RPC: `http://…` or `https://…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// The remote signer's account that signs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// A file whose first line is a key, 64 hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plain_key_file: Option<PathBuf>,
    /// Has to be true for a plain key, which is for tests and dev chains, where nothing is worth
    /// anything.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub allow_plain_key: bool,
}

impl Account {
    /// Opens it. Takes a second and 256 MiB for a keystore: call it where that holds nobody up.
    pub fn unlock(&self) -> Result<Arc<dyn Signer>, Error> {
        match self {
            Self {
                keystore: Some(keystore),
                password_file: Some(password),
                remote: None,
                address: None,
                plain_key_file: None,
                ..
            } => {
                let password = first_line(password, "the keystore's password")?;
                let local = Local::keystore(keystore, &password);
                Ok(Arc::new(local.map_err(wrong)?))
            }
            Self {
                keystore: None,
                password_file: None,
                remote: Some(remote),
                address: Some(address),
                plain_key_file: None,
                ..
            } => {
                let address = crate::address(address)
                    .map_err(|why| Error::setting("account.address", why))?;
                let url = Url::parse(remote)
                    .ok()
                    .filter(|url| matches!(url.scheme(), "http" | "https"));
                let url = url.ok_or_else(|| {
                    Error::setting(
                        "account.remote",
                        "is no address such as https://signer.example",
                    )
                })?;
                Ok(Arc::new(Remote::new(&url, address, SIGNING)?))
            }
            Self {
                keystore: None,
                password_file: None,
                remote: None,
                address: None,
                plain_key_file: Some(key),
                allow_plain_key,
            } => {
                let allowed = if *allow_plain_key {
                    PlainKeys::AllowedForTests
                } else {
                    PlainKeys::Refused
                };
                let key = first_line(key, "the key")?;
                Ok(Arc::new(Local::plain(&key, allowed).map_err(wrong)?))
            }
            _ => Err(Error::setting(
                "account",
                "is one of three: `keystore` and `password_file`; `remote` and `address`; or, for \
                 tests, `plain_key_file` and `allow_plain_key = true`",
            )),
        }
    }
}

fn wrong(error: crate::signer::Error) -> Error {
    Error::setting("account", error.to_string())
}

fn first_line(path: &Path, what: &str) -> Result<Zeroizing<String>, Error> {
    use std::io::Read as _;
    let fail = |why: String| Error::setting("account", format!("{}: {why}", path.display()));
    let file = std::fs::File::open(path).map_err(|error| fail(error.to_string()))?;
    let is_file = file.metadata().is_ok_and(|about| about.is_file());
    if !is_file {
        return Err(fail("it is no regular file".to_owned()));
    }
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_SECRET)
        .read_to_string(&mut text)
        .map_err(|error| fail(error.to_string()))?;
    match text.lines().next() {
        None | Some("") => Err(fail(format!(
            "its first line is empty; {what} is expected there"
        ))),
        Some(line) => Ok(Zeroizing::new(line.to_owned())),
    }
}
