//! The account from which the hub sends.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stencil_crypto::keyfile;
use url::Url;
use zeroize::Zeroizing;

use crate::signer::{Local, PlainKeys, Remote, Signer};
use crate::{Error, plain};

/// The longest file with a password or a key, in bytes.
const MAX_SECRET: u64 = 4 * 1024;
/// How long a remote signer may take.
const SIGNING: Duration = Duration::from_secs(10);

/// Who signs what the hub sends on a chain: a keystore file (`keystore` and `password_file`), a remote
/// signer (`remote` and `address`), or, for tests, a plain key (`plain_key_file` and
/// `allow_plain_key`). Files are refused that others than their owner may read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Account {
    /// A keystore file (Web3 Secret Storage, version 3).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keystore: Option<PathBuf>,
    /// A file whose first line is the keystore's password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// Where a remote signer, such as web3signer, is asked by JSON-RPC: `https://…`, or `http://…` on this
    /// machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// The remote signer's account that signs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Has to be true where the remote signer is on another machine and asked without TLS, by `http://`:
    /// whoever sits between can have it sign.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub allow_plain_remote: bool,
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
                let consent = ("allow_plain_remote", self.allow_plain_remote);
                plain::check("account.remote", &url, consent)?;
                Ok(Arc::new(Remote::new(&url, address, SIGNING)?))
            }
            Self {
                keystore: None,
                password_file: None,
                remote: None,
                address: None,
                plain_key_file: Some(key),
                allow_plain_key,
                ..
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
    let fail = |why: String| Error::setting("account", why);
    let bytes = keyfile::read_up_to(path, MAX_SECRET).map_err(|error| fail(error.to_string()))?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| fail(format!("{}: it is not text", path.display())))?;
    match text.lines().next() {
        None | Some("") => Err(fail(format!(
            "{}: its first line is empty; {what} is expected there",
            path.display()
        ))),
        Some(line) => Ok(Zeroizing::new(line.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::signer::{Cost, create};

    /// What is said with the file readable by all, and by its owner alone.
    fn with_modes(account: &Account, file: &Path) -> [Option<String>; 2] {
        [0o644, 0o600].map(|mode| {
            std::fs::set_permissions(file, Permissions::from_mode(mode)).unwrap();
            account.unlock().err().map(|error| error.to_string())
        })
    }

    #[test]
    fn what_others_may_read_is_no_secret() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let (keystore, password, key) = (at("hub.json"), at("hub.password"), at("plain.key"));
        create(&keystore, "a password", Cost::Light).unwrap();
        keyfile::write(&password, b"a password\n").unwrap();
        keyfile::write(&key, format!("{}\n", "11".repeat(32)).as_bytes()).unwrap();
        let kept = Account {
            keystore: Some(keystore.clone()),
            password_file: Some(password.clone()),
            ..Account::default()
        };
        let plain = Account {
            plain_key_file: Some(key.clone()),
            allow_plain_key: true,
            ..Account::default()
        };
        for (account, file) in [(&kept, &keystore), (&kept, &password), (&plain, &key)] {
            let [open, closed] = with_modes(account, file);
            let open = open.expect("a secret that all may read is taken");
            let says = format!("chmod 600 {}", file.display());
            assert!(open.contains(&says) && open.contains("644"), "{open}");
            assert_eq!(closed, None);
        }
    }

    #[test]
    fn a_signer_of_another_machine_is_asked_within_tls_or_where_that_is_said() {
        let of = |remote: &str, allow_plain_remote| {
            let account = Account {
                remote: Some(remote.to_owned()),
                address: Some("0x5FbDB2315678afecb367f032d93F642f64180aa3".to_owned()),
                allow_plain_remote,
                ..Account::default()
            };
            account.unlock().err().map(|error| error.to_string())
        };
        let error = of("http://signer.example:9000/SECRET", false).unwrap();
        for part in ["account.remote", "https://", "allow_plain_remote = true"] {
            assert!(error.contains(part), "{part}: {error}");
        }
        assert!(!error.contains("SECRET"), "{error}");
        assert_eq!(of("http://signer.example:9000", true), None);
        assert_eq!(of("http://127.0.0.1:9000", false), None);
        assert_eq!(of("https://signer.example", false), None);
    }

    #[test]
    fn what_is_no_secret_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("plain.key");
        let account = Account {
            plain_key_file: Some(file.clone()),
            allow_plain_key: true,
            ..Account::default()
        };
        let too_long = vec![b'1'; 4 * 1024 + 1];
        for (bytes, says) in [
            (&b""[..], "its first line is empty; the key is expected"),
            (&b"\n11"[..], "its first line is empty; the key is expected"),
            (&b"\xff\xfe"[..], "not text"),
            (&too_long, "larger than 4096 bytes"),
        ] {
            keyfile::write(&file, bytes).unwrap();
            let error = account.unlock().err().unwrap().to_string();
            assert!(error.contains(says), "{error}");
        }
        std::fs::remove_file(&file).unwrap();
        let error = account.unlock().err().unwrap().to_string();
        assert!(error.contains("plain.key"), "{error}");
    }
}
