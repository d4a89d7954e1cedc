//! Taking a backup.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use stencil_log::{Observer, Position};

use super::archive::{self, Head};
use super::{
    DIGEST, Entry, Error, LOG, MANIFEST, Manifest, Progress, SETTINGS, STORE, Unfinished, beside,
    sync_dir,
};
use crate::clock::Clock;
use crate::layout::{KEYS, RESTORED};
use crate::{Layout, init};

/// Files of the store and the log's lock, which are not copied as files.
pub(super) const LEFT_OUT: &[&str] = &[
    STORE,
    "hub.sqlite-wal",
    "hub.sqlite-shm",
    "hub.sqlite-journal",
    RESTORED,
];
/// What begins so is a backup's own.
const OWN: &str = "backup/";
/// Levels of folders in a data directory.
const MAX_DEPTH: usize = 16;

/// What to back up, and where to.
#[derive(Debug, Clone)]
pub struct Request {
    /// The data directory of a hub, which may be running.
    pub data_dir: PathBuf,
    /// The file to write; there must be none. Room for a copy of the store is needed beside it
    /// meanwhile.
    pub out: PathBuf,
    /// The hub's settings file, if it has one. Without it, the one that a restored backup has left
    /// in the data directory is kept.
    pub settings: Option<PathBuf>,
}

/// A backup that was taken.
#[derive(Debug, Clone)]
pub struct Taken {
    /// What it says of itself.
    pub manifest: Manifest,
    /// The length of the file.
    pub bytes: u64,
}

/// Takes a backup. The file appears whole and on disk, or not at all; only its owner may read it.
///
/// # Errors
/// [`Error::Exists`], [`Error::NoHub`], and what store, log and files say.
pub async fn take(request: Request, mut progress: Progress) -> Result<Taken, Error> {
    let Request {
        data_dir,
        out,
        settings,
    } = request;
    if fs::symlink_metadata(&out).is_ok() {
        return Err(Error::Exists(out));
    }
    let layout = Layout::new(&data_dir);
    if let Some(missing) = init::missing(&layout) {
        return Err(Error::NoHub {
            why: format!("no hub's data directory: there is no {}", missing.display()),
            dir: data_dir,
        });
    }
    // Held open before all else: what the hub trims meanwhile can still be read.
    let mut log = Observer::open(&layout.log())?;
    let end = log.end()?;
    let copy = Unfinished::new(beside(&out, "store")?);
    progress("copying the store");
    let copied = stencil_store::sqlite::copy(&layout.store(), &copy.path).await?;
    let applied = Position(copied.position);
    log.refresh()?;
    let position = end.max(applied);

    let manifest = Manifest {
        format: Manifest::FORMAT,
        hub: env!("CARGO_PKG_VERSION").to_owned(),
        taken_us: Clock::system().now_us(),
        position: position.0,
        applied: applied.0,
        schema: copied.schema,
        files: Vec::new(),
    };
    let pieces = log.pieces(applied, position)?;
    let writing = tokio::task::spawn_blocking(move || {
        let partial = Unfinished::new(beside(&out, "partial")?);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&partial.path)
            .map_err(Error::io(&partial.path))?;
        let mut archive = Archive {
            out: BufWriter::with_capacity(1 << 20, file),
            path: partial.path.clone(),
            manifest,
            progress,
        };
        let store = File::open(&copy.path).map_err(Error::io(&copy.path))?;
        let bytes = store.metadata().map_err(Error::io(&copy.path))?.len();
        archive.add(STORE, &copy.path, store, bytes, 0o600)?;
        drop(copy);
        for piece in pieces {
            let path = layout.log().join(&piece.name);
            let name = format!("{LOG}/{}", piece.name);
            archive.add(&name, &path, piece.file, piece.bytes, 0o600)?;
        }
        for (name, path) in others(&data_dir)? {
            archive.add_file(&name, &path)?;
        }
        // Where a backup was restored, its settings lie: they are kept as such once more.
        let restored = data_dir.join(SETTINGS);
        let settings = settings.or_else(|| restored.is_file().then_some(restored));
        if let Some(settings) = &settings {
            archive.add_file(SETTINGS, settings)?;
        }
        let (file, manifest) = archive.finish()?;
        file.sync_all().map_err(Error::io(&partial.path))?;
        let bytes = file.metadata().map_err(Error::io(&partial.path))?.len();
        put(partial, &out)?;
        Ok(Taken { manifest, bytes })
    });
    let written = writing.await;
    written.unwrap_or_else(|error| Err(Error::Ended(error.to_string())))
}

/// A backup that is being written.
struct Archive {
    out: BufWriter<File>,
    path: PathBuf,
    manifest: Manifest,
    progress: Progress,
}

impl Archive {
    fn add_file(&mut self, name: &str, path: &Path) -> Result<(), Error> {
        let file = File::open(path).map_err(Error::io(path))?;
        let of = file.metadata().map_err(Error::io(path))?;
        self.add(name, path, file, of.len(), of.mode() & 0o777)
    }

    /// Adds the first `bytes` of a file.
    fn add(
        &mut self,
        name: &str,
        path: &Path,
        file: File,
        bytes: u64,
        mode: u32,
    ) -> Result<(), Error> {
        (self.progress)(&format!("{name}, {bytes} bytes"));
        let head = Head {
            path: name.to_owned(),
            bytes,
            mode,
        };
        self.head(&head)?;
        let mut hash = Sha256::new();
        let mut left = file.take(bytes);
        let mut chunk = vec![0; 256 << 10];
        let mut copied = 0;
        loop {
            let got = left.read(&mut chunk).map_err(Error::io(path))?;
            if got == 0 {
                break;
            }
            hash.update(&chunk[..got]);
            let written = self.out.write_all(&chunk[..got]);
            written.map_err(Error::io(&self.path))?;
            copied += got as u64;
        }
        if copied < bytes {
            let shrunk = io::Error::other("it has become shorter while it was copied; try again");
            return Err(Error::io(path)(shrunk));
        }
        archive::pad(&mut self.out, bytes).map_err(Error::io(&self.path))?;
        self.manifest.files.push(Entry {
            path: name.to_owned(),
            bytes,
            mode,
            sha256: hex::encode(hash.finalize()),
        });
        Ok(())
    }

    fn finish(mut self) -> Result<(File, Manifest), Error> {
        let text = serde_json::to_vec_pretty(&self.manifest);
        let mut text = text.map_err(|error| Error::io(&self.path)(error.into()))?;
        text.push(b'\n');
        let digest = hex::encode(Sha256::digest(&text));
        for (name, content) in [(MANIFEST, &text[..]), (DIGEST, digest.as_bytes())] {
            self.head(&Head {
                path: name.to_owned(),
                bytes: content.len() as u64,
                mode: 0o600,
            })?;
            let written = self.out.write_all(content);
            written.map_err(Error::io(&self.path))?;
            let padded = archive::pad(&mut self.out, content.len() as u64);
            padded.map_err(Error::io(&self.path))?;
        }
        archive::finish(&mut self.out).map_err(Error::io(&self.path))?;
        let file = self.out.into_inner();
        let file = file.map_err(|error| Error::io(&self.path)(error.into_error()))?;
        Ok((file, self.manifest))
    }

    fn head(&mut self, head: &Head) -> Result<(), Error> {
        let taken_s = u64::try_from(self.manifest.taken_us / 1_000_000).unwrap_or(0);
        archive::write_head(&mut self.out, head, taken_s).map_err(Error::io(&self.path))
    }
}

/// All files of the data directory besides store and log, as (name in the backup, path).
fn others(root: &Path) -> Result<Vec<(String, PathBuf)>, Error> {
    let mut found = Vec::new();
    let mut folders = vec![(root.to_owned(), String::new(), 0)];
    while let Some((folder, prefix, depth)) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(Error::io(&folder))? {
            let path = entry.map_err(Error::io(&folder))?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
                let why = io::Error::other("its name is not in UTF-8");
                return Err(Error::io(&path)(why));
            };
            let kind = fs::metadata(&path).map_err(Error::io(&path))?.file_type();
            let at_top = prefix.is_empty();
            // The key that opens what is sealed in the store does not lie beside it.
            if at_top && (LEFT_OUT.contains(&name) || name == LOG || name == KEYS) {
                continue;
            }
            let name = format!("{prefix}{name}");
            if name == SETTINGS {
                continue;
            }
            if name.starts_with(OWN) && !kind.is_dir() {
                let why = io::Error::other("a backup keeps its own files under this name; move it");
                return Err(Error::io(&path)(why));
            }
            if kind.is_dir() && depth < MAX_DEPTH {
                folders.push((path, format!("{name}/"), depth + 1));
            } else if kind.is_file() {
                found.push((name, path));
            } else {
                let why = io::Error::other("it is neither a file nor a folder; move it away");
                return Err(Error::io(&path)(why));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Gives the file its name, if nothing has it.
fn put(partial: Unfinished, out: &Path) -> Result<(), Error> {
    // A second name first: unlike a renaming, it fails where there is something.
    match fs::hard_link(&partial.path, out) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(Error::Exists(out.to_owned()));
        }
        // A file system without such names.
        Err(_) if fs::symlink_metadata(out).is_err() => {
            fs::rename(&partial.path, out).map_err(Error::io(out))?;
        }
        Err(error) => return Err(Error::io(out)(error)),
    }
    drop(partial);
    match out.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        _ => sync_dir(Path::new(".")),
    }
}
