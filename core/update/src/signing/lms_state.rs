//! The LMS key with its state: which leaf is the next.
//!
//! Each leaf of an LMS key may sign one message. Two signatures by one leaf let anybody forge
//! further ones (NIST SP 800-208, section 8.1). So a leaf is taken *before* it signs: the state
//! that says "used" is on disk, synced, before the signature is even computed. A crash then loses
//! a leaf at worst.
//!
//! ```text
//! stencil-lms 1
//! seed 6b17…                          secret
//! public 00000001…
//! next-leaf 17
//! file 1839204 1764322178123456789    inode and time of birth of this very file
//! check 9f86…                         SHA-256 of the lines above
//! ```
//!
//! The file is replaced at each signature (written aside, synced, renamed, the folder synced), and
//! names itself by inode and time of birth: a copy, or an older state that a backup brings back, is
//! not the file that it says it is, and is refused. What cannot be noticed is a whole disk that is
//! set back (a snapshot of a virtual machine): don't keep the key on such a disk.
//!
//! Who moved the key on purpose says so with [`recover`], and names a leaf that is surely unused.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use hbs_lms::{HssParameter, LmotsAlgorithm, LmsAlgorithm, Sha256_256};
use sha2::{Digest as _, Sha256};
use stencil_crypto::keyfile;
use stencil_crypto::rng::Os;
use zeroize::Zeroizing;

use crate::lms::{self, PublicKey, SIGNATURE_BYTES};

/// The file's name in its folder.
pub const FILE: &str = "lms.key";
const LOCK_FILE: &str = "lms.lock";
/// Room for the tree's nodes, which make a second signature of the same process cheap.
const AUX_BYTES: usize = 64 * 1024;
const LIBRARY_STACK_BYTES: usize = 64 * 1024 * 1024;

/// Why the key cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file cannot be read, or others may read it.
    #[error(transparent)]
    KeyFile(#[from] keyfile::Error),
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Another process uses the key.
    #[error("{} is in use by another process; two may not sign at once", path.display())]
    Locked {
        /// The key.
        path: PathBuf,
    },
    /// The file is not whole.
    #[error("{} is no LMS key, or is damaged: {what}", path.display())]
    Damaged {
        /// The key.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// The file is a copy.
    #[error(
        "{} is a copy or was restored from a backup: it says that leaf {next} is the next, but leaves \
         from there on may have signed already, and one that signs twice breaks the key. If you moved \
         it and the other one is gone: `stencil update recover --next-leaf N`, with N higher than any \
         leaf that `stencil update inspect` shows for the updates you signed", path.display())]
    Copied {
        /// The key.
        path: PathBuf,
        /// What it says.
        next: u32,
    },
    /// All leaves are used.
    #[error("all {} signatures of {} are used: make new keys with `stencil update keygen`, and sign with these \
             no more. Devices trust the key that they were built with", lms::LEAVES, path.display())]
    Exhausted {
        /// The key.
        path: PathBuf,
    },
    /// Recovery would go back.
    #[error("leaf {asked} is not possible: the next is {next} or higher, the last {}", lms::LEAVES - 1)]
    Back {
        /// What was asked for.
        asked: u32,
        /// What the file says.
        next: u32,
    },
    /// The library made no signature, or one that does not verify.
    #[error("the LMS signature could not be made; leaf {leaf} is not used again")]
    Library {
        /// The leaf that is lost.
        leaf: u32,
    },
}

/// The key, locked against other processes until it is dropped.
pub struct LmsSigner {
    path: PathBuf,
    public: PublicKey,
    next: u32,
    /// Nodes of the tree, authenticated by the library; empty until they are needed.
    aux: Vec<u8>,
    _lock: File,
}

struct State {
    seed: Zeroizing<[u8; 32]>,
    public: PublicKey,
    next: u32,
    /// Whether the file is the one that it says it is.
    own: bool,
}

impl LmsSigner {
    pub(crate) fn generate(folder: &Path, seed: Zeroizing<[u8; 32]>) -> Result<Self, Error> {
        let lock = lock(folder)?;
        let path = folder.join(FILE);
        let (public, aux) = tree(&path, &seed)?;
        let state = State {
            seed,
            public,
            next: 0,
            own: true,
        };
        write(folder, &state)?;
        Ok(LmsSigner {
            path,
            public,
            next: 0,
            aux,
            _lock: lock,
        })
    }

    /// Locks and reads the key of a folder.
    ///
    /// # Errors
    /// All of [`Error`] but [`Error::Exhausted`] and [`Error::Library`].
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let lock = lock(folder)?;
        remove_leftovers(folder);
        let path = folder.join(FILE);
        let state = read(&path)?;
        check_own(&path, &state)?;
        Ok(LmsSigner {
            path,
            public: state.public,
            next: state.next,
            aux: Vec::new(),
            _lock: lock,
        })
    }

    /// The public key.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// How many signatures are left.
    #[must_use]
    pub fn left(&self) -> u32 {
        lms::LEAVES.saturating_sub(self.next)
    }

    /// Signs a message with a leaf that is then used for ever.
    ///
    /// # Errors
    /// [`Error::Exhausted`], [`Error::Copied`], [`Error::Io`]: nothing was signed.
    pub fn sign(&mut self, message: &[u8]) -> Result<[u8; SIGNATURE_BYTES], Error> {
        // From the disk each time: the file may have been exchanged under a long-lived process.
        let mut state = read(&self.path)?;
        check_own(&self.path, &state)?;
        if state.public != self.public {
            return Err(damaged(&self.path, "it became another key"));
        }
        let leaf = state.next;
        if leaf >= lms::LEAVES {
            return Err(Error::Exhausted {
                path: self.path.clone(),
            });
        }
        state.next = leaf + 1;
        stencil_crashpoint::reach("update.before_leaf");
        write(self.folder(), &state)?;
        stencil_crashpoint::reach("update.leaf_taken");
        self.next = state.next;

        let lost = || Error::Library { leaf };
        if self.aux.is_empty() {
            let (public, aux) = tree(&self.path, &state.seed)?;
            if public != self.public {
                return Err(damaged(
                    &self.path,
                    "its seed is not that of its public key",
                ));
            }
            self.aux = aux;
        }
        let private = library_key(leaf, &state.seed);
        let mut aux = self.aux.as_mut_slice();
        let made = with_room(|| {
            hbs_lms::sign::<Sha256_256>(message, &*private, &mut |_| Ok(()), Some(&mut aux)).ok()
        })
        .ok_or_else(lost)?;
        let signature: [u8; SIGNATURE_BYTES] = made.as_ref().try_into().map_err(|_| lost())?;
        // By the code that devices run; and it has to be the leaf that was taken.
        if self.public.verify(message, &signature) != Ok(leaf) {
            return Err(lost());
        }
        stencil_crashpoint::reach("update.signed");
        Ok(signature)
    }

    /// Moves the key into another folder of the same file system, which holds none. It stays one file
    /// all the while: a crash leaves it here or there.
    pub(crate) fn move_to(self, folder: &Path) -> Result<(), Error> {
        let to = folder.join(FILE);
        let _lock = lock(folder)?;
        let moved = (|| {
            if to.try_exists()? {
                return Err(std::io::ErrorKind::AlreadyExists.into());
            }
            stencil_crashpoint::reach("update.before_move");
            std::fs::rename(&self.path, &to)?;
            stencil_crashpoint::reach("update.moved");
            File::open(folder)?.sync_all()?;
            File::open(self.folder())?.sync_all()
        })();
        moved.map_err(|source| Error::Io {
            action: "move the LMS key to",
            path: to,
            source,
        })
    }

    fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }
}

/// Takes a key that was copied or restored into use again, from leaf `next` on.
///
/// # Errors
/// [`Error::Back`] if `next` is lower than what the file says; else as [`LmsSigner::open`].
pub fn recover(folder: &Path, next: u32) -> Result<(), Error> {
    let _lock = lock(folder)?;
    remove_leftovers(folder);
    let mut state = read(&folder.join(FILE))?;
    if next < state.next || next > lms::LEAVES {
        return Err(Error::Back {
            asked: next,
            next: state.next,
        });
    }
    state.next = next;
    write(folder, &state)
}

fn lock(folder: &Path) -> Result<File, Error> {
    let path = folder.join(LOCK_FILE);
    let io = |source| Error::Io {
        action: "lock",
        path: path.clone(),
        source,
    };
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked {
            path: folder.join(FILE),
        }),
        Err(TryLockError::Error(source)) => Err(io(source)),
    }
}

fn check_own(path: &Path, state: &State) -> Result<(), Error> {
    if state.own {
        Ok(())
    } else {
        Err(Error::Copied {
            path: path.to_owned(),
            next: state.next,
        })
    }
}

/// What tells a file from its copies: its inode, and when that was made, in nanoseconds. A file
/// system that does not tell the time of birth leaves the inode alone to tell.
fn identity(file: &File) -> std::io::Result<(u64, u128)> {
    let metadata = file.metadata()?;
    let born = metadata
        .created()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .map_or(0, |time| time.as_nanos());
    Ok((metadata.ino(), born))
}

fn read(path: &Path) -> Result<State, Error> {
    let text = keyfile::read_text(path)?;
    let file = File::open(path)
        .and_then(|file| identity(&file))
        .map_err(|source| Error::Io {
            action: "look at",
            path: path.to_owned(),
            source,
        })?;
    parse(&text, file).map_err(|what| damaged(path, what))
}

fn parse(text: &str, (inode, born): (u64, u128)) -> Result<State, &'static str> {
    let (body, check) = text
        .rsplit_once("check ")
        .ok_or("its last line is not `check`")?;
    if check.trim_end() != hex::encode(Sha256::digest(body)) {
        return Err("its check does not match");
    }
    let mut lines = body.lines();
    if lines.next() != Some("stencil-lms 1") {
        return Err("it is not of format 1");
    }
    let mut line = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
    let mut seed = Zeroizing::new([0; 32]);
    let digits = line("seed").ok_or("the seed is missing")?;
    hex::decode_to_slice(digits, &mut *seed)
        .map_err(|_| "the seed is not 64 hexadecimal digits")?;
    let public = line("public").ok_or("the public key is missing")?;
    let public = hex::decode(public).map_err(|_| "the public key is not hexadecimal")?;
    let public = PublicKey::from_bytes(&public).map_err(|_| "the public key is none")?;
    let next = line("next-leaf").ok_or("the next leaf is missing")?;
    let next: u32 = next.parse().map_err(|_| "the next leaf is not a number")?;
    if next > lms::LEAVES {
        return Err("the next leaf is beyond the last");
    }
    let own = line("file") == Some(format!("{inode} {born}").as_str());
    Ok(State {
        seed,
        public,
        next,
        own,
    })
}

fn write(folder: &Path, state: &State) -> Result<(), Error> {
    let path = folder.join(FILE);
    let io = |source| Error::Io {
        action: "write",
        path: path.clone(),
        source,
    };
    let random = rand_core::Rng::next_u64(&mut Os);
    let temporary = folder.join(format!("{LEFTOVER}{random:016x}{LEFTOVER_END}"));
    let written = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)?;
        let (inode, born) = identity(&file)?;
        let mut text = Zeroizing::new(format!(
            "stencil-lms 1\nseed {}\npublic {}\nnext-leaf {}\nfile {inode} {born}\n",
            Zeroizing::new(hex::encode(*state.seed)).as_str(),
            hex::encode(state.public.to_bytes()),
            state.next,
        ));
        let check = hex::encode(Sha256::digest(text.as_bytes()));
        text.push_str("check ");
        text.push_str(&check);
        text.push('\n');
        let (first, rest) = text.as_bytes().split_at(text.len() / 2);
        file.write_all(first)?;
        stencil_crashpoint::reach("update.state_half_written");
        file.write_all(rest)?;
        stencil_crashpoint::reach("update.state_written");
        file.sync_all()?;
        stencil_crashpoint::reach("update.state_synced");
        std::fs::rename(&temporary, &path)?;
        stencil_crashpoint::reach("update.state_renamed");
        File::open(folder)?.sync_all()
    })();
    written.map_err(|source| {
        // Nothing more can be done if this fails too; the error to report is the first.
        let _ = std::fs::remove_file(&temporary);
        io(source)
    })
}

const LEFTOVER: &str = ".lms.key.";
const LEFTOVER_END: &str = ".new";

/// Removes what a crash left behind: it holds the seed. Only while the key is locked.
fn remove_leftovers(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(LEFTOVER) && name.ends_with(LEFTOVER_END) {
            // It does no harm where it can't be removed: it is never read.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Computes the tree: the public key, and the nodes that speed up signing.
fn tree(path: &Path, seed: &[u8; 32]) -> Result<(PublicKey, Vec<u8>), Error> {
    let parameters = [HssParameter::new(
        LmotsAlgorithm::LmotsW8,
        LmsAlgorithm::LmsH10,
    )];
    let mut aux = vec![0; AUX_BYTES];
    let mut slice = aux.as_mut_slice();
    let (_, public) = with_room(|| {
        let seed = hbs_lms::Seed::from(*seed);
        hbs_lms::keygen::<Sha256_256>(&parameters, &seed, Some(&mut slice)).ok()
    })
    .ok_or_else(|| damaged(path, "the tree cannot be computed from its seed"))?;
    let used = slice.len();
    aux.truncate(used);
    let public = PublicKey::from_bytes(public.as_slice())
        .map_err(|_| damaged(path, "the tree's root is no public key"))?;
    Ok((public, aux))
}

/// Runs the library, which holds megabytes on the stack, on a thread that has them.
fn with_room<T: Send>(run: impl FnOnce() -> Option<T> + Send) -> Option<T> {
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .stack_size(LIBRARY_STACK_BYTES)
            .spawn_scoped(scope, run)
            .ok()?
            .join()
            .ok()?
    })
}

/// The key in the form of the library, which is that of the reference implementation: the next
/// leaf, the parameter set of each level (the rest 0xff), the seed.
fn library_key(leaf: u32, seed: &[u8; 32]) -> Zeroizing<[u8; 48]> {
    let mut key = Zeroizing::new([0xff; 48]);
    key[..8].copy_from_slice(&u64::from(leaf).to_be_bytes());
    key[8] = 6 << 4 | 4;
    key[16..].copy_from_slice(seed);
    key
}

fn damaged(path: &Path, what: &'static str) -> Error {
    Error::Damaged {
        path: path.to_owned(),
        what,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_has_the_librarys_form() {
        let parameters = [HssParameter::<Sha256_256>::new(
            LmotsAlgorithm::LmotsW8,
            LmsAlgorithm::LmsH10,
        )];
        let seed = [7; 32];
        let (private, _) =
            with_room(|| hbs_lms::keygen(&parameters, &hbs_lms::Seed::from(seed), None).ok())
                .unwrap();
        assert_eq!(private.as_slice(), &library_key(0, &seed)[..]);
    }
}
