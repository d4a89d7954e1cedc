//! The clients that may connect, one file each with the hash of its password (Argon2id, RFC 9106,
//! as a PHC string).

use std::{
    collections::HashMap,
    fmt::Write as _,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use argon2::{
    Algorithm, Argon2, Params, PasswordHasher as _, Version,
    password_hash::phc::{Output, PasswordHash},
};
use rand_core::Rng as _;
use stencil_crypto::{keyfile, rng};
use stencil_protocol::id::DeviceId;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::{Error, psk::secret_folder};

/// What a client's file is called behind its name.
const EXTENSION: &str = "mqtt";
/// The longest password that is looked at.
const MAX_PASSWORD: usize = 256;
/// The longest file of a client.
const MAX_FILE: u64 = 1_024;
const SALT_BYTES: usize = 16;
/// 130 bits, in letters and digits that are not mistaken for each other.
const PASSWORD_CHARACTERS: usize = 26;
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// CONNECTs that may wait for their password to be looked at. Each takes memory and a moment of a
/// processor, so it is one at a time.
const MAX_WAITING: usize = 32;

/// Memory in KiB, passes and lanes. Less memory and more passes than the hub takes, as a gateway is
/// small; the passwords are drawn at random, and nobody guesses these.
const COST: (u32, u32, u32) = (7_168, 5, 1);
/// A hash with the same costs that belongs to no password: compared where there is no client, so
/// that the time tells nothing.
const NOBODYS: &str = "$argon2id$v=19$m=7168,t=5,p=1$c3RlbmNpbCBub2JvZHkncw\
                       $AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Makes a client: its file, and the password, which is kept nowhere.
///
/// # Errors
/// [`Error::ClientExists`]: a client's password is never replaced by the way; [`Error::File`] and
/// [`Error::Key`] when it cannot be written.
pub fn add(dir: &Path, client: &DeviceId) -> Result<Zeroizing<String>, Error> {
    secret_folder(dir)?;
    let path = path_of(dir, client);
    if path.symlink_metadata().is_ok() {
        return Err(Error::ClientExists(path));
    }
    let password = password();
    let mut hash = hash(&password).map_err(|why| file("make", &path, io::Error::other(why)))?;
    hash.push('\n');
    keyfile::write(&path, hash.as_bytes())?;
    Ok(password)
}

/// Removes a client; its connections end within a second or two. False when there was none.
///
/// # Errors
/// [`Error::File`].
pub fn remove(dir: &Path, client: &DeviceId) -> Result<bool, Error> {
    let path = path_of(dir, client);
    match std::fs::remove_file(&path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(file("remove", &path, source)),
    }
}

/// The clients that there are, in order. None where there is no folder.
///
/// # Errors
/// [`Error::File`].
pub fn list(dir: &Path) -> Result<Vec<DeviceId>, Error> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(file("read", dir, source)),
    };
    let mut clients: Vec<DeviceId> = entries
        .filter_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            let client = name.strip_suffix(EXTENSION)?.strip_suffix('.')?;
            DeviceId::parse(client).ok()
        })
        .collect();
    clients.sort();
    Ok(clients)
}

fn path_of(dir: &Path, client: &DeviceId) -> PathBuf {
    dir.join(format!("{client}.{EXTENSION}"))
}

fn file(action: &'static str, path: &Path, source: io::Error) -> Error {
    Error::File {
        action,
        path: path.to_owned(),
        source,
    }
}

fn password() -> Zeroizing<String> {
    let mut bytes = Zeroizing::new([0; PASSWORD_CHARACTERS]);
    rng::Os.fill_bytes(bytes.as_mut());
    let mut password = Zeroizing::new(String::with_capacity(PASSWORD_CHARACTERS));
    for byte in bytes.iter() {
        password.push(char::from(ALPHABET[usize::from(byte % 32)]));
    }
    password
}

fn argon2() -> Result<Argon2<'static>, String> {
    let (memory, passes, lanes) = COST;
    let params = Params::new(memory, passes, lanes, None).map_err(|error| error.to_string())?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hash(password: &str) -> Result<String, String> {
    let mut salt = [0; SALT_BYTES];
    rng::Os.fill_bytes(&mut salt);
    let hashed = argon2()?.hash_password_with_salt(password.as_bytes(), &salt);
    hashed
        .map(|hash| hash.to_string())
        .map_err(|error| error.to_string())
}

/// Whether a password is that of a PHC string; in constant time, as outputs are compared.
fn verify(password: &[u8], kept: &str) -> Result<bool, String> {
    let kept = PasswordHash::new(kept).map_err(|error| error.to_string())?;
    let params = Params::try_from(&kept).map_err(|error| error.to_string())?;
    let (Some(salt), Some(output)) = (kept.salt, kept.hash) else {
        return Err("a hash without a salt or an output".to_owned());
    };
    // Of a file that somebody else wrote.
    if params.m_cost() > 1 << 16 || params.t_cost() > 64 || params.p_cost() > 4 {
        return Err("a hash that is too dear for a gateway".to_owned());
    }
    let mut found = vec![0; output.as_bytes().len()];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password, salt.as_ref(), &mut found)
        .map_err(|error| error.to_string())?;
    let found = Output::new(&found).map_err(|error| error.to_string())?;
    Ok(found == output)
}

/// Looks at passwords, and knows who was let in by which.
#[derive(Debug)]
pub(crate) struct Clients {
    dir: PathBuf,
    turn: Semaphore,
    places: Semaphore,
    let_in: Mutex<HashMap<Arc<str>, LetIn>>,
}

#[derive(Debug)]
struct LetIn {
    hash: String,
    /// Until its file is another one, or gone.
    is_good: Arc<AtomicBool>,
}

/// Why somebody is not let in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// There is no such client, or its password is another one.
    Wrong,
    /// Too many wait.
    Busy,
    /// The client's file cannot be used.
    Unusable(String),
}

impl Clients {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            turn: Semaphore::new(1),
            places: Semaphore::new(MAX_WAITING),
            let_in: Mutex::default(),
        }
    }

    /// Lets a client in by its password; says whether it may stay.
    pub(crate) async fn enter(
        &self,
        client: &DeviceId,
        password: &[u8],
    ) -> Result<Arc<AtomicBool>, Denied> {
        let _place = self.places.try_acquire().map_err(|_| Denied::Busy)?;
        let _turn = self.turn.acquire().await.map_err(|_| Denied::Busy)?;
        let path = path_of(&self.dir, client);
        let password = Zeroizing::new(password.to_vec());
        let looked = tokio::task::spawn_blocking(move || {
            let kept = read(&path)?;
            let is_right = verify(&password, kept.as_deref().unwrap_or(NOBODYS))?;
            let fits = password.len() <= MAX_PASSWORD;
            Ok::<_, String>(kept.filter(|_| is_right && fits))
        });
        let looked = looked.await.map_err(|_| Denied::Busy)?;
        let hash = looked.map_err(Denied::Unusable)?.ok_or(Denied::Wrong)?;
        let mut let_in = self.let_in.lock().unwrap_or_else(PoisonError::into_inner);
        let known = let_in
            .get(client.as_str())
            .filter(|known| known.hash == hash);
        if let Some(known) = known {
            return Ok(Arc::clone(&known.is_good));
        }
        let is_good = Arc::new(AtomicBool::new(true));
        let entered = LetIn {
            hash,
            is_good: Arc::clone(&is_good),
        };
        if let Some(before) = let_in.insert(client.as_str().into(), entered) {
            before.is_good.store(false, Ordering::Release);
        }
        Ok(is_good)
    }

    /// Looks whether those that were let in have the files that they had; returns those that have
    /// not. Blocks.
    pub(crate) fn look(&self) -> Vec<Arc<str>> {
        let mut let_in = self.let_in.lock().unwrap_or_else(PoisonError::into_inner);
        let mut gone = Vec::new();
        let_in.retain(|client, known| {
            let id = DeviceId::parse(client);
            let kept = id.ok().and_then(|id| read(&path_of(&self.dir, &id)).ok()?);
            let is_same = kept.as_deref() == Some(known.hash.as_str());
            if !is_same {
                known.is_good.store(false, Ordering::Release);
                gone.push(Arc::clone(client));
            }
            is_same
        });
        gone
    }
}

/// The PHC string in a client's file; nothing where there is no file.
fn read(path: &Path) -> Result<Option<String>, String> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Ok(file) if file.len() > MAX_FILE => {
            return Err(format!("{} is no client's file", path.display()));
        }
        _ => {}
    }
    let text = keyfile::read_text(path).map_err(|error| error.to_string())?;
    Ok(Some(text.trim().to_owned()))
}

/// The clients of a folder, for a file for support: names alone.
pub(crate) fn told(dir: &Path) -> String {
    let mut out = format!("clients in {}:\n", dir.display());
    match list(dir) {
        Ok(clients) => {
            for client in clients.iter().take(10_000) {
                // Writing to a String cannot fail.
                let _ = writeln!(out, "{client}");
            }
        }
        Err(error) => {
            let _ = writeln!(out, "{error}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn id(name: &str) -> DeviceId {
        DeviceId::parse(name).unwrap()
    }

    #[tokio::test]
    async fn a_client_is_let_in_by_its_password_until_its_file_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("clients");
        assert_eq!(list(&dir).unwrap(), []);
        let password = add(&dir, &id("plug-1")).unwrap();
        let other = add(&dir, &id("plug-2")).unwrap();
        let mode = std::fs::metadata(&dir).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert_eq!(password.len(), PASSWORD_CHARACTERS);
        assert_ne!(password, other);
        assert_eq!(list(&dir).unwrap(), [id("plug-1"), id("plug-2")]);
        assert!(matches!(
            add(&dir, &id("plug-1")),
            Err(Error::ClientExists(_))
        ));
        let text = std::fs::read_to_string(dir.join("plug-1.mqtt")).unwrap();
        assert!(
            text.starts_with("$argon2id$") && !text.contains(password.as_str()),
            "{text}"
        );

        let clients = Clients::new(dir.clone());
        let stays = clients
            .enter(&id("plug-1"), password.as_bytes())
            .await
            .unwrap();
        for (client, password) in [
            ("plug-1", other.as_str()),
            ("plug-2", password.as_str()),
            ("plug-3", password.as_str()),
            ("plug-1", ""),
            ("plug-1", &"x".repeat(10_000)),
        ] {
            let denied = clients
                .enter(&id(client), password.as_bytes())
                .await
                .unwrap_err();
            assert_eq!(denied, Denied::Wrong, "{client}");
        }
        assert!(clients.look().is_empty() && stays.load(Ordering::Acquire));
        assert!(remove(&dir, &id("plug-1")).unwrap());
        assert!(!remove(&dir, &id("plug-1")).unwrap());
        assert_eq!(clients.look(), ["plug-1".into()]);
        assert!(!stays.load(Ordering::Acquire));
        let denied = clients
            .enter(&id("plug-1"), password.as_bytes())
            .await
            .unwrap_err();
        assert_eq!(denied, Denied::Wrong);
        // Another password of the same name ends what the first let in.
        let first = clients
            .enter(&id("plug-2"), other.as_bytes())
            .await
            .unwrap();
        remove(&dir, &id("plug-2")).unwrap();
        let newer = add(&dir, &id("plug-2")).unwrap();
        let second = clients
            .enter(&id("plug-2"), newer.as_bytes())
            .await
            .unwrap();
        assert!(!first.load(Ordering::Acquire) && second.load(Ordering::Acquire));

        std::fs::remove_file(dir.join("plug-2.mqtt")).unwrap();
        keyfile::write(dir.join("plug-2.mqtt"), b"nonsense").unwrap();
        let denied = clients
            .enter(&id("plug-2"), newer.as_bytes())
            .await
            .unwrap_err();
        assert!(matches!(denied, Denied::Unusable(_)), "{denied:?}");
    }

    #[test]
    fn nobodys_hash_costs_what_others_cost() {
        let nobodys = PasswordHash::new(NOBODYS).unwrap();
        let params = Params::try_from(&nobodys).unwrap();
        assert_eq!((params.m_cost(), params.t_cost(), params.p_cost()), COST);
        assert_eq!(verify(b"", NOBODYS), Ok(false));
    }
}
