//! Which keys came, and what was done about each request.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::Options;
use crate::Error;
use crate::device::now_us;
use crate::journal;
use crate::random::Random;

/// The most of a body that is journalled, in bytes.
const MAX_BODY_BYTES: usize = 4 * 1024;

/// A request with a key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    /// When it came, in microseconds since the Unix epoch.
    pub at_us: i64,
    /// Its key.
    pub key: String,
    /// The path it was posted to.
    pub path: String,
    /// Whether it was acted on; not if the key had come before.
    pub acted: bool,
    /// Whether it was answered; not where the answer was lost on purpose.
    pub answered: bool,
    /// The body, if it was JSON of at most 4 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<serde_json::Value>,
}

/// Why a request was neither acted on nor journalled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Full,
    Journal,
}

#[derive(Debug)]
pub(crate) struct Book {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    file: File,
    bytes: u64,
    keys: HashSet<String>,
    max_keys: usize,
    drop_fraction: f64,
    random: Random,
}

impl Book {
    /// Opens or makes the journal, and learns the keys in it.
    pub(crate) fn open(options: &Options) -> Result<Self, Error> {
        let path = &options.journal;
        let io = |source| Error::File {
            path: path.clone(),
            source,
        };
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(io)?;
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(io)?;
        let mut keys = HashSet::new();
        let bytes = deliveries(path, &file, |delivery| {
            keys.insert(delivery.key);
        })?;
        file.set_len(bytes).map_err(io)?;
        file.seek(SeekFrom::Start(bytes)).map_err(io)?;
        let inner = Inner {
            path: path.clone(),
            file,
            bytes,
            keys,
            max_keys: options.max_keys,
            drop_fraction: options.drop_fraction,
            random: Random::new(options.seed, "answers"),
        };
        Ok(Self {
            inner: Mutex::new(inner),
        })
    }

    /// Acts on a key that is new, and journals the request either way.
    pub(crate) fn enter(&self, key: &str, path: &str, body: &[u8]) -> Result<Delivery, Refused> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let acted = !inner.keys.contains(key);
        if acted && inner.keys.len() >= inner.max_keys {
            return Err(Refused::Full);
        }
        let answered = inner.random.share() >= inner.drop_fraction;
        let short = body.get(..MAX_BODY_BYTES + 1).is_none();
        let delivery = Delivery {
            at_us: now_us(),
            key: key.to_owned(),
            path: path.to_owned(),
            acted,
            answered,
            body: short.then(|| serde_json::from_slice(body).ok()).flatten(),
        };
        // The line is the deed: it is there before the answer, or not at all.
        if let Err(error) = inner.append(&delivery) {
            tracing::error!(path = %inner.path.display(), %error, "a webhook can't be journalled");
            return Err(Refused::Journal);
        }
        inner.keys.insert(delivery.key.clone());
        tracing::info!(key, path, acted, answered, "webhook");
        Ok(delivery)
    }
}

impl Inner {
    fn append(&mut self, delivery: &Delivery) -> io::Result<()> {
        let mut text = serde_json::to_vec(delivery)?;
        text.push(b'\n');
        if let Err(error) = self.file.write_all(&text) {
            let _ = self.file.set_len(self.bytes);
            let _ = self.file.seek(SeekFrom::Start(self.bytes));
            return Err(error);
        }
        self.bytes += text.len() as u64;
        Ok(())
    }
}

/// Reads a receiver's journal.
///
/// # Errors
/// With the file, and the line where one is wrong.
pub fn read(path: impl AsRef<Path>) -> Result<Vec<Delivery>, Error> {
    let path = path.as_ref();
    let file = File::open(path).map_err(|source| Error::File {
        path: path.to_owned(),
        source,
    })?;
    let mut all = Vec::new();
    deliveries(path, &file, |delivery| all.push(delivery))?;
    Ok(all)
}

/// Shows every whole line; says where the last one ends.
fn deliveries(path: &Path, file: &File, mut show: impl FnMut(Delivery)) -> Result<u64, Error> {
    let mut reader = BufReader::new(file);
    let (mut text, mut bytes, mut line) = (Vec::new(), 0, 0);
    loop {
        text.clear();
        let read = reader
            .read_until(b'\n', &mut text)
            .map_err(|source| Error::File {
                path: path.to_owned(),
                source,
            })?;
        if text.pop() != Some(b'\n') {
            return Ok(bytes);
        }
        line += 1;
        bytes += read as u64;
        show(serde_json::from_slice(&text).map_err(|source| {
            Error::Journal(journal::Error::Line {
                path: path.to_owned(),
                line,
                source,
            })
        })?);
    }
}
