//! Keystore files: Web3 Secret Storage, version 3, as geth writes and reads it.
//!
//! Read with bounds (a file may ask for terabytes of memory) and written with geth's own cost:
//! libraries commonly write with a 32nd of it.

use std::io::Write as _;
use std::num::NonZeroU32;
use std::path::Path;

use alloy_primitives::keccak256;
use alloy_signer_local::PrivateKeySigner;
use aws_lc_rs::cipher::{
    AES_128, DecryptingKey, DecryptionContext, EncryptingKey, EncryptionContext, UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::pbkdf2;
use serde::{Deserialize, Serialize};
use stencil_crypto::keyfile;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::Error;

/// The longest file.
const MAX_BYTES: u64 = 64 * 1024;
/// The most memory that scrypt may be asked for: 128 · n · r.
const MAX_SCRYPT_BYTES: u64 = 1024 * 1024 * 1024;
/// The most rounds of PBKDF2.
const MAX_ROUNDS: u32 = 10_000_000;
/// Bytes of the derived key: 16 encrypt, 16 authenticate.
const DERIVED: usize = 32;

/// What guessing a password costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cost {
    /// geth's `StandardScryptN`: 2^18, 256 MiB, about a second.
    Standard,
    /// geth's `LightScryptN`: 2^12, 4 MiB. For tests.
    Light,
}

#[derive(Serialize, Deserialize)]
struct File {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(alias = "Crypto")]
    crypto: Crypto,
    #[serde(default)]
    id: String,
    version: u8,
}

#[derive(Serialize, Deserialize)]
struct Crypto {
    cipher: String,
    cipherparams: CipherParams,
    ciphertext: String,
    kdf: String,
    kdfparams: KdfParams,
    mac: String,
}

#[derive(Serialize, Deserialize)]
struct CipherParams {
    iv: String,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum KdfParams {
    Scrypt {
        dklen: usize,
        n: u64,
        p: u32,
        r: u32,
        salt: String,
    },
    Pbkdf2 {
        c: u32,
        dklen: usize,
        prf: String,
        salt: String,
    },
}

/// Reads the key in a file. [`Error::Password`]: the password is another.
pub fn open(path: &Path, password: &str) -> Result<Zeroizing<[u8; 32]>, Error> {
    let fail = |why: String| Error::File {
        path: path.display().to_string(),
        why,
    };
    // Also of a file that is sealed by a password: whoever has it can guess.
    let text = keyfile::read_up_to(path, MAX_BYTES)?;
    let file: File = serde_json::from_slice(&text)
        .map_err(|error| fail(format!("no keystore file of version 3: {error}")))?;
    if file.version != 3 {
        return Err(fail(format!("version {}; version 3 is read", file.version)));
    }
    if file.crypto.cipher != "aes-128-ctr" {
        return Err(fail(format!(
            "cipher {:?}; aes-128-ctr is read",
            file.crypto.cipher
        )));
    }
    let bytes = |name: &str, text: &str| {
        hex::decode(text.strip_prefix("0x").unwrap_or(text))
            .map_err(|_| fail(format!("{name} is not hexadecimal")))
    };
    let iv: [u8; 16] = bytes("iv", &file.crypto.cipherparams.iv)?
        .try_into()
        .map_err(|_| fail("iv has not 16 bytes".to_owned()))?;
    let ciphertext: [u8; 32] = bytes("ciphertext", &file.crypto.ciphertext)?
        .try_into()
        .map_err(|_| fail("ciphertext has not the 32 bytes of a key".to_owned()))?;
    let mac = bytes("mac", &file.crypto.mac)?;
    let derived = match &file.crypto.kdfparams {
        KdfParams::Scrypt {
            dklen,
            n,
            p,
            r,
            salt,
        } => {
            check_length(*dklen).map_err(fail)?;
            scrypt(password, &bytes("salt", salt)?, *n, *r, *p).map_err(fail)?
        }
        KdfParams::Pbkdf2 {
            c,
            dklen,
            prf,
            salt,
        } => {
            check_length(*dklen).map_err(fail)?;
            let rounds = NonZeroU32::new(*c)
                .filter(|rounds| rounds.get() <= MAX_ROUNDS && prf == "hmac-sha256")
                .ok_or_else(|| {
                    fail(format!(
                        "pbkdf2 with hmac-sha256 and 1 to {MAX_ROUNDS} rounds is read"
                    ))
                })?;
            let mut derived = Zeroizing::new([0; DERIVED]);
            pbkdf2::derive(
                pbkdf2::PBKDF2_HMAC_SHA256,
                rounds,
                &bytes("salt", salt)?,
                password.as_bytes(),
                derived.as_mut_slice(),
            );
            derived
        }
    };
    if !bool::from(tag(&derived, &ciphertext).as_slice().ct_eq(&mac)) {
        return Err(Error::Password {
            path: path.display().to_string(),
        });
    }
    let mut key = Zeroizing::new(ciphertext);
    let decrypted = UnboundCipherKey::new(&AES_128, &derived[..16])
        .and_then(DecryptingKey::ctr)
        .and_then(|cipher| {
            let context = DecryptionContext::Iv128(FixedLength::from(iv));
            cipher.decrypt(key.as_mut_slice(), context).map(|_| ())
        });
    decrypted.map_err(|_| fail("can't be decrypted".to_owned()))?;
    Ok(key)
}

/// Makes a key and writes it to a new file, which only its owner may read. Gives the account.
pub fn create(path: &Path, password: &str, cost: Cost) -> Result<alloy_primitives::Address, Error> {
    let fail = |why: String| Error::File {
        path: path.display().to_string(),
        why,
    };
    if password.is_empty() {
        return Err(fail("a password is needed".to_owned()));
    }
    let random = |bytes: &mut [u8]| {
        getrandom::fill(bytes).map_err(|error| fail(format!("no randomness: {error}")))
    };
    let mut key = Zeroizing::new([0; 32]);
    // All but one in 2^128 are keys.
    let signer = loop {
        random(key.as_mut_slice())?;
        if let Ok(signer) = PrivateKeySigner::from_slice(key.as_slice()) {
            break signer;
        }
    };
    let (mut salt, mut iv, mut id) = ([0; 32], [0; 16], [0; 16]);
    random(&mut salt)?;
    random(&mut iv)?;
    random(&mut id)?;
    let n = match cost {
        Cost::Standard => 1 << 18,
        Cost::Light => 1 << 12,
    };
    let derived = scrypt(password, &salt, n, 8, 1).map_err(fail)?;
    let mut ciphertext = key.clone();
    let encrypted = UnboundCipherKey::new(&AES_128, &derived[..16])
        .and_then(EncryptingKey::ctr)
        .and_then(|cipher| {
            let context = EncryptionContext::Iv128(FixedLength::from(iv));
            cipher.less_safe_encrypt(ciphertext.as_mut_slice(), context)
        });
    encrypted.map_err(|_| fail("can't be encrypted".to_owned()))?;
    let file = File {
        address: Some(hex::encode(signer.address())),
        crypto: Crypto {
            cipher: "aes-128-ctr".to_owned(),
            cipherparams: CipherParams {
                iv: hex::encode(iv),
            },
            ciphertext: hex::encode(ciphertext.as_slice()),
            kdf: "scrypt".to_owned(),
            kdfparams: KdfParams::Scrypt {
                dklen: DERIVED,
                n,
                p: 1,
                r: 8,
                salt: hex::encode(salt),
            },
            mac: hex::encode(tag(&derived, &ciphertext)),
        },
        id: uuid(id),
        version: 3,
    };
    let text = serde_json::to_vec(&file).map_err(|error| fail(error.to_string()))?;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options
        .open(path)
        .map_err(|error| fail(format!("can't be made: {error}")))?;
    file.write_all(&text)
        .and_then(|()| file.sync_all())
        .map_err(|error| fail(error.to_string()))?;
    Ok(signer.address())
}

/// The file authenticates by Keccak-256 of the second half of the derived key and the ciphertext.
fn tag(derived: &[u8; DERIVED], ciphertext: &[u8; 32]) -> [u8; 32] {
    let mut input = Zeroizing::new([0_u8; 48]);
    input[..16].copy_from_slice(&derived[16..]);
    input[16..].copy_from_slice(ciphertext);
    keccak256(input.as_slice()).0
}

fn check_length(dklen: usize) -> Result<(), String> {
    if dklen == DERIVED {
        return Ok(());
    }
    Err(format!("dklen is {dklen}; {DERIVED} is read"))
}

fn scrypt(
    password: &str,
    salt: &[u8],
    n: u64,
    r: u32,
    p: u32,
) -> Result<Zeroizing<[u8; DERIVED]>, String> {
    let bytes = n
        .checked_mul(128)
        .and_then(|bytes| bytes.checked_mul(u64::from(r)));
    let fits = n.is_power_of_two()
        && n > 1
        && r > 0
        && n.trailing_zeros() < r.saturating_mul(16)
        && (1..=16).contains(&p);
    if !fits || bytes.is_none_or(|bytes| bytes > MAX_SCRYPT_BYTES) {
        return Err(format!(
            "scrypt with n {n}, r {r}, p {p}: n a power of two below 2^(16·r) (RFC 7914), at most 1 GiB \
             of memory (128·n·r) and p up to 16 are read"
        ));
    }
    let log_n = u8::try_from(n.trailing_zeros()).unwrap_or(u8::MAX);
    let params = scrypt::Params::new(log_n, r, p).map_err(|error| error.to_string())?;
    let mut derived = Zeroizing::new([0; DERIVED]);
    scrypt::scrypt(password.as_bytes(), salt, &params, derived.as_mut_slice())
        .map_err(|error| error.to_string())?;
    Ok(derived)
}

/// A random UUID (RFC 9562, version 4).
fn uuid(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let text = hex::encode(bytes);
    [
        &text[..8],
        &text[8..12],
        &text[12..16],
        &text[16..20],
        &text[20..],
    ]
    .join("-")
}

#[cfg(test)]
mod tests {
    use super::super::{Local, PlainKeys, Signer as _};
    use super::*;

    /// The test vectors of the Web3 Secret Storage definition.
    const SCRYPT: &str = r#"{"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"83dbcc02d8ccb40e466191a123791e0e"},"ciphertext":"d172bf743a674da9cdad04534d56926ef8358534d458fffccd4e6ad2fbde479c","kdf":"scrypt","kdfparams":{"dklen":32,"n":262144,"p":8,"r":1,"salt":"ab0c7876052600dd703518d6fc3fe8984592145b591fc8fb5c6d43190334ba19"},"mac":"2103ac29920d71da29f15d75b4a16dbe95cfd7ff8faea1056c33131d846e3097"},"id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}"#;
    const PBKDF2: &str = r#"{"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"6087dab2f9fdbbfaddc31a909735c1e6"},"ciphertext":"5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46","kdf":"pbkdf2","kdfparams":{"c":262144,"dklen":32,"prf":"hmac-sha256","salt":"ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd"},"mac":"517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2"},"id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}"#;
    const SECRET: &str = "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d";

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn the_definitions_vectors_are_read_where_they_are_scrypts() {
        let pbkdf2 = file(PBKDF2);
        let key = open(pbkdf2.path(), "testpassword").unwrap();
        assert_eq!(hex::encode(key.as_slice()), SECRET);
        let error = open(pbkdf2.path(), "testpasswort").unwrap_err();
        assert!(matches!(error, Error::Password { .. }), "{error}");
        // Its parameters are none of RFC 7914's; nobody writes such files.
        let scrypt = file(SCRYPT);
        let error = open(scrypt.path(), "testpassword").unwrap_err();
        assert!(error.to_string().contains("RFC 7914"), "{error}");
    }

    #[test]
    fn another_library_reads_what_we_write_and_we_what_it_writes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ours");
        let address = create(&path, "a password", Cost::Light).unwrap();
        let theirs = PrivateKeySigner::decrypt_keystore(&path, "a password").unwrap();
        assert_eq!(theirs.address(), address);
        assert_eq!(
            Local::keystore(&path, "a password").unwrap().address(),
            address
        );
        let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path).unwrap());
        assert_eq!(mode & 0o777, 0o600);
        let again = create(&path, "a password", Cost::Light).unwrap_err();
        assert!(again.to_string().contains("can't be made"), "{again}");
        let text = std::fs::read_to_string(&path).unwrap();
        let theirs: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(theirs["crypto"]["kdfparams"]["n"], 4096);
    }

    #[test]
    fn what_is_no_keystore_or_asks_for_too_much_is_refused_with_a_reason() {
        for (from, to, expected) in [
            ("\"version\":3", "\"version\":1", "version 3 is read"),
            ("aes-128-ctr", "aes-128-cbc", "aes-128-ctr is read"),
            ("\"n\":262144", "\"n\":1099511627776", "at most 1 GiB"),
            ("\"n\":262144", "\"n\":3", "n a power of two"),
            ("\"dklen\":32", "\"dklen\":8", "32 is read"),
            ("83dbcc02", "83db", "iv has not 16 bytes"),
            ("d172bf", "zzzzzz", "ciphertext is not hexadecimal"),
            ("{\"crypto\"", "{\"crypt\"", "no keystore file"),
        ] {
            let file = file(
                &SCRYPT
                    .replace("\"p\":8,\"r\":1", "\"p\":1,\"r\":8")
                    .replace(from, to),
            );
            let error = open(file.path(), "testpassword").unwrap_err().to_string();
            assert!(error.contains(expected), "{to}: {error}");
        }
    }

    #[test]
    fn plain_keys_are_refused_unless_they_are_allowed() {
        let refused = Local::plain(SECRET, PlainKeys::Refused).unwrap_err();
        assert!(matches!(refused, Error::PlainKey));
        let allowed = Local::plain(SECRET, PlainKeys::AllowedForTests).unwrap();
        assert_eq!(
            allowed.address().to_checksum(None).to_lowercase(),
            "0x008aeeda4d805471df9b2a5b0f38a0c3bcba786b"
        );
        assert!(!format!("{allowed:?}").contains(&SECRET[..8]));
        for bad in ["", "0x12", &"0".repeat(64), &"f".repeat(64)] {
            let error = Local::plain(bad, PlainKeys::AllowedForTests).unwrap_err();
            assert!(matches!(error, Error::Key), "{bad}");
        }
    }
}
