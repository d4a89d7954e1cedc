//! Restoring a backup.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, Read, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};

use sha2::{Digest as _, Sha256};
use stencil_crypto::keyfile;

use super::archive::{Entries, Head};
use super::manifest::Format;
use super::take::LEFT_OUT;
use super::{
    DIGEST, Entry, Error, LOG, MANIFEST, Manifest, Progress, SETTINGS, STORE, Unfinished, beside,
    sync_dir,
};
use crate::layout::RESTORED;

/// The longest manifest.
const MAX_MANIFEST: u64 = 64 << 20;
/// The folder of what a backup says of itself.
const OWN_FOLDER: &str = "backup";
/// What is a folder in a data directory, and so never a file.
const FOLDERS: &[&str] = &[LOG, OWN_FOLDER, "authority", "server"];
/// The most entries that are looked at before the manifest says what there should be.
const MAX_ENTRIES: usize = 1_000_000;

/// A backup that was restored.
#[derive(Debug, Clone)]
pub struct Restored {
    /// What the backup says of itself.
    pub manifest: Manifest,
    /// Where the settings lie, if the backup holds some.
    pub settings: Option<PathBuf>,
}

/// Restores the backup in `file` to `data_dir`, a folder that is empty or does not exist: all of it
/// or nothing. Reads the backup twice: every digest is checked before anything is written.
///
/// Blocks; call it from a context where that does not matter.
///
/// # Errors
/// [`Error::NotEmpty`], [`Error::Damaged`], [`Error::Newer`], [`Error::Io`].
pub fn restore(file: &Path, data_dir: &Path, mut progress: Progress) -> Result<Restored, Error> {
    must_be_empty(data_dir)?;
    progress("checking the backup");
    let manifest = check(file)?;
    progress(&format!("{} files are as they were", manifest.files.len()));
    let parent = match data_dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    fs::create_dir_all(&parent).map_err(Error::io(&parent))?;
    let partial = Unfinished::new(beside(data_dir, "restoring")?);
    make_dir(&partial.path)?;
    write_all(file, &manifest, &partial.path, &mut progress)?;
    fits_store(file, &manifest, &partial.path.join(STORE))?;
    // What gateways hold may be of a later state: the hub's first start looks to that.
    let mark = partial.path.join(RESTORED);
    keyfile::write(&mark, manifest.hub.as_bytes())
        .map_err(|error| Error::io(&mark)(io::Error::other(error)))?;
    // Over an empty folder, or where there is none; fails where there is something by now.
    fs::rename(&partial.path, data_dir).map_err(|error| match error.kind() {
        io::ErrorKind::DirectoryNotEmpty => Error::NotEmpty(data_dir.to_owned()),
        _ => Error::io(data_dir)(error),
    })?;
    partial.keep();
    sync_dir(&parent)?;
    let has_settings = manifest.files.iter().any(|entry| entry.path == SETTINGS);
    Ok(Restored {
        settings: has_settings.then(|| data_dir.join(SETTINGS)),
        manifest,
    })
}

fn must_be_empty(dir: &Path) -> Result<(), Error> {
    match fs::read_dir(dir) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(Error::NotEmpty(dir.to_owned())),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io(dir)(error)),
    }
}

/// Reads the whole backup and holds it against its manifest.
fn check(file: &Path) -> Result<Manifest, Error> {
    let mut entries = open(file)?;
    let mut found = Vec::new();
    let mut manifest = None;
    let mut digest = None;
    while let Some(head) = next(file, &mut entries)? {
        if digest.is_some() || found.len() > MAX_ENTRIES {
            return Err(Error::damaged(file, "there are entries behind its end"));
        }
        match head.path.as_str() {
            MANIFEST => manifest = Some(small(file, &head, &mut entries)?),
            DIGEST => digest = Some(small(file, &head, &mut entries)?),
            _ if manifest.is_some() => {
                return Err(Error::damaged(
                    file,
                    "there are entries behind its manifest",
                ));
            }
            _ => {
                let sha256 = hashed(file, &head, &mut entries, |_| Ok(()))?;
                found.push(entry(head, sha256));
            }
        }
    }
    let (Some(manifest), Some(digest)) = (manifest, digest) else {
        return Err(Error::damaged(file, "it has no manifest: is it a backup?"));
    };
    if hex::encode(Sha256::digest(&manifest)).as_bytes() != digest {
        return Err(Error::damaged(file, "its manifest does not fit its digest"));
    }
    let unreadable = |error| Error::damaged(file, format!("its manifest: {error}"));
    let Format { format } = serde_json::from_slice(&manifest).map_err(unreadable)?;
    if format > Manifest::FORMAT {
        return Err(Error::Newer {
            file: file.to_owned(),
            found: format,
        });
    }
    let manifest: Manifest = serde_json::from_slice(&manifest).map_err(unreadable)?;
    let differs = found
        .iter()
        .zip(&manifest.files)
        .find(|(is, should)| is != should);
    if let Some((is, _)) = differs {
        let why = format!("{} is not what its manifest says", is.path);
        return Err(Error::damaged(file, why));
    }
    if found.len() != manifest.files.len() {
        return Err(Error::damaged(file, "it lacks entries of its manifest"));
    }
    let mut names = HashSet::new();
    for entry in &manifest.files {
        if !names.insert(&entry.path) {
            let why = format!("{:?} is in it twice", entry.path);
            return Err(Error::damaged(file, why));
        }
        is_a_hubs(&entry.path).map_err(|why| {
            let why = format!("{:?} is no name for a file of a hub: {why}", entry.path);
            Error::damaged(file, why)
        })?;
    }
    if !names.contains(&STORE.to_owned()) {
        return Err(Error::damaged(file, "it holds no store"));
    }
    if manifest.schema > stencil_store::sqlite::newest_schema() {
        return Err(Error::NewerSchema {
            file: file.to_owned(),
            found: manifest.schema,
        });
    }
    fits_log(&manifest).map_err(|why| Error::damaged(file, format!("its manifest: {why}")))?;
    Ok(manifest)
}

/// Whether the positions that a manifest names are those of the log that it lists.
fn fits_log(manifest: &Manifest) -> Result<(), String> {
    let Manifest {
        position, applied, ..
    } = *manifest;
    if applied > position {
        return Err(format!(
            "it says that the log is applied up to {applied}, beyond its end, {position}"
        ));
    }
    let segments = manifest.files.iter().filter_map(|entry| {
        let base = stencil_log::segment_base(entry.path.strip_prefix(LOG)?.strip_prefix('/')?)?;
        Some((base, stencil_log::segment_end(base, entry.bytes)))
    });
    let (mut first, mut end) = (None, None);
    for (base, ends) in segments {
        first = first.min(Some(base)).or(Some(base));
        end = end.max(Some(ends));
    }
    // A log may end before what is applied: its end was damaged when the backup was taken.
    let end = end.unwrap_or(0).max(applied);
    if position != end {
        return Err(format!(
            "it says that the log goes up to {position}, but it goes up to {end}"
        ));
    }
    match first {
        Some(first) if first > applied => Err(format!(
            "the log begins at {first}, and what is applied ends before that, at {applied}"
        )),
        _ => Ok(()),
    }
}

/// Whether the restored store is what the manifest says.
fn fits_store(file: &Path, manifest: &Manifest, store: &Path) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::io(store))?;
    let held = runtime.block_on(stencil_store::sqlite::look(store));
    let held = held.map_err(|error| Error::damaged(file, format!("its store: {error}")))?;
    for (what, says, is) in [
        (
            "schema",
            i128::from(manifest.schema),
            i128::from(held.schema),
        ),
        (
            "position",
            i128::from(manifest.applied),
            i128::from(held.position),
        ),
    ] {
        if says != is {
            let why = format!("its manifest says {what} {says} of its store, which has {is}");
            return Err(Error::damaged(file, why));
        }
    }
    Ok(())
}

/// Writes what was checked. What is read now must be the same again.
fn write_all(
    file: &Path,
    manifest: &Manifest,
    into: &Path,
    progress: &mut Progress,
) -> Result<(), Error> {
    let mut entries = open(file)?;
    let mut folders = vec![into.to_owned()];
    for wanted in &manifest.files {
        let head = next(file, &mut entries)?;
        let Some(head) = head.filter(|head| head.path == wanted.path) else {
            return Err(Error::damaged(file, "it has changed meanwhile"));
        };
        progress(&format!("{}, {} bytes", head.path, head.bytes));
        let path = into.join(&head.path);
        let mut missing: Vec<PathBuf> = Vec::new();
        for folder in path.ancestors().skip(1) {
            if folder.is_dir() {
                break;
            }
            missing.push(folder.to_owned());
        }
        for folder in missing.into_iter().rev() {
            make_dir(&folder)?;
            folders.push(folder);
        }
        let mut out = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(head.mode & 0o777)
            .open(&path)
            .map_err(Error::io(&path))?;
        let sha256 = hashed(file, &head, &mut entries, |bytes| {
            out.write_all(bytes).map_err(Error::io(&path))
        })?;
        if entry(head, sha256) != *wanted {
            return Err(Error::damaged(file, "it has changed meanwhile"));
        }
        out.sync_all().map_err(Error::io(&path))?;
    }
    // Names last, the innermost first.
    folders.iter().rev().try_for_each(|folder| sync_dir(folder))
}

fn open(file: &Path) -> Result<Entries<BufReader<File>>, Error> {
    let opened = File::open(file).map_err(Error::io(file))?;
    Ok(Entries::new(BufReader::with_capacity(1 << 20, opened)))
}

fn next(file: &Path, entries: &mut Entries<BufReader<File>>) -> Result<Option<Head>, Error> {
    entries.next().map_err(|error| unreadable(file, error))
}

/// The digest of an entry's content, which `take` is shown.
fn hashed(
    file: &Path,
    head: &Head,
    entries: &mut Entries<BufReader<File>>,
    mut take: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<String, Error> {
    let mut hash = Sha256::new();
    let mut chunk = vec![0; 256 << 10];
    loop {
        let got = entries.read(&mut chunk);
        let got = got.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                Error::damaged(file, format!("it is cut off within {}", head.path))
            }
            _ => unreadable(file, error),
        })?;
        if got == 0 {
            return Ok(hex::encode(hash.finalize()));
        }
        hash.update(&chunk[..got]);
        take(&chunk[..got])?;
    }
}

/// An entry that is held in memory.
fn small(
    file: &Path,
    head: &Head,
    entries: &mut Entries<BufReader<File>>,
) -> Result<Vec<u8>, Error> {
    if head.bytes > MAX_MANIFEST {
        return Err(Error::damaged(file, format!("{} is too long", head.path)));
    }
    let mut content = Vec::new();
    hashed(file, head, entries, |bytes| {
        content.extend_from_slice(bytes);
        Ok(())
    })?;
    Ok(content)
}

fn entry(head: Head, sha256: String) -> Entry {
    Entry {
        path: head.path,
        bytes: head.bytes,
        mode: head.mode,
        sha256,
    }
}

/// Whether a name is one that a backup gives: it leads to a place within the folder and nowhere
/// else, and to none that the hub's own files have.
fn is_a_hubs(path: &str) -> Result<(), &'static str> {
    let normal = |part| matches!(part, Component::Normal(_));
    if path.is_empty() || path.starts_with('/') || !Path::new(path).components().all(normal) {
        return Err("it has to lead into the folder");
    }
    if path.split('/').any(|part| matches!(part, "" | ".")) {
        return Err("each part between two `/` has to be a name");
    }
    if path.contains(|c: char| c.is_control() || c == '\\') {
        return Err("control characters and backslashes are not allowed");
    }
    match path.split_once('/') {
        None if path != STORE && LEFT_OUT.contains(&path) => {
            Err("no backup holds it, the hub makes it anew")
        }
        None if FOLDERS.contains(&path) => Err("it is one of a hub's folders"),
        Some((LOG, name)) if stencil_log::segment_base(name).is_none() => {
            Err("the log's folder holds segments only, named by 20 digits and `.log`")
        }
        Some((STORE, _)) => Err("it is the store's, which is no folder"),
        Some((OWN_FOLDER, _)) if path != SETTINGS => {
            Err("a backup keeps its own files in this folder")
        }
        _ => Ok(()),
    }
}

fn unreadable(file: &Path, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Error::damaged(file, "it is cut off"),
        io::ErrorKind::InvalidData => Error::damaged(file, error.to_string()),
        _ => Error::io(file)(error),
    }
}

/// A folder for its owner only.
fn make_dir(path: &Path) -> Result<(), Error> {
    DirBuilder::new()
        .mode(0o700)
        .create(path)
        .map_err(Error::io(path))
}

#[cfg(test)]
mod tests {
    use super::super::archive;
    use super::*;

    /// The bytes of an empty store, and what it says of itself.
    fn store() -> (Vec<u8>, stencil_store::sqlite::Copied) {
        let dir = tempfile::tempdir().unwrap();
        let (path, copy) = (dir.path().join("store"), dir.path().join("copy"));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let copied = runtime.block_on(async {
            let store = stencil_store::sqlite::open(&path).await.unwrap();
            let copied = stencil_store::sqlite::copy(&path, &copy).await.unwrap();
            store.close().await;
            copied
        });
        (fs::read(copy).unwrap(), copied)
    }

    /// An archive with right digests, whoever made it.
    fn forged(paths: &[&str]) -> Vec<u8> {
        forged_with(paths, |_| {})
    }

    fn forged_with(paths: &[&str], change: impl FnOnce(&mut Manifest)) -> Vec<u8> {
        let (store, copied) = store();
        let mut out = Vec::new();
        let mut add = |path: &str, content: &[u8]| {
            let bytes = content.len() as u64;
            let (path, mode) = (path.to_owned(), 0o600);
            archive::write_head(&mut out, &Head { path, bytes, mode }, 0).unwrap();
            out.extend(content);
            archive::pad(&mut out, bytes).unwrap();
        };
        let files = paths.iter().map(|path| {
            let content: &[u8] = if *path == STORE { &store } else { b"x" };
            add(path, content);
            Entry {
                path: (*path).to_owned(),
                bytes: content.len() as u64,
                mode: 0o600,
                sha256: hex::encode(Sha256::digest(content)),
            }
        });
        let mut manifest = Manifest {
            format: Manifest::FORMAT,
            hub: String::new(),
            taken_us: 0,
            position: 0,
            applied: 0,
            schema: copied.schema,
            files: files.collect(),
        };
        change(&mut manifest);
        let manifest = serde_json::to_vec(&manifest).unwrap();
        add(MANIFEST, &manifest);
        add(DIGEST, hex::encode(Sha256::digest(&manifest)).as_bytes());
        archive::finish(&mut out).unwrap();
        out
    }

    #[test]
    fn a_forged_backup_writes_nowhere_but_into_its_folder() {
        let dir = tempfile::tempdir().unwrap();
        let (file, data) = (dir.path().join("forged"), dir.path().join("hub"));
        let restored = |paths: &[&str]| {
            fs::write(&file, forged(paths)).unwrap();
            restore(&file, &data, Box::new(|_| {}))
        };
        for bad in [
            "../escaped",
            "a/../../escaped",
            "/tmp/escaped-from-a-backup",
        ] {
            let error = restored(&[STORE, bad]).unwrap_err();
            assert!(error.to_string().contains(bad), "{error}");
        }
        let error = restored(&[STORE, "twice", "twice"]).unwrap_err();
        assert!(error.to_string().contains("twice"), "{error}");
        let error = restored(&["no store"]).unwrap_err();
        assert!(error.to_string().contains("holds no store"), "{error}");
        // A file where a folder is needed.
        assert!(restored(&[STORE, "a", "a/b"]).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        restored(&[STORE, "a/b"]).unwrap();
        assert_eq!(fs::read(data.join("a/b")).unwrap(), b"x");
    }

    #[test]
    fn a_manifest_that_says_what_is_not_so_is_refused() {
        type Change = fn(&mut Manifest);
        let dir = tempfile::tempdir().unwrap();
        let (file, data) = (dir.path().join("forged"), dir.path().join("hub"));
        let changes: [(Change, &str); 6] = [
            (|it| it.schema = 99, "schema 99, this version knows up to"),
            (|it| it.schema = 1, "says schema 1 of its store"),
            (|it| it.schema = -1, "says schema -1 of its store"),
            (|it| it.position = 7, "goes up to 7, but it goes up to 0"),
            (|it| it.applied = 7, "applied up to 7, beyond its end, 0"),
            (
                |it| (it.position, it.applied) = (7, 7),
                "says position 7 of its store, which has 0",
            ),
        ];
        for (change, why) in changes {
            fs::write(&file, forged_with(&[STORE, "a"], change)).unwrap();
            let error = restore(&file, &data, Box::new(|_| {}))
                .unwrap_err()
                .to_string();
            assert!(error.contains(why), "{error}");
            assert!(error.contains("nothing was restored"), "{error}");
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn names_that_no_backup_gives_are_refused() {
        for good in [
            "hub.sqlite",
            "log/00000000000000000007.log",
            "a/b/c",
            "backup/hub.toml",
            "server/ä b.pem",
        ] {
            assert_eq!(is_a_hubs(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "/etc/passwd",
            "../x",
            "a/../../x",
            "./x",
            "a/",
            "a//b",
            "a/./b",
            "a\nb",
            "a\u{1b}[2J",
            "a\\b",
            "log",
            "authority",
            "log/7.log",
            "log/00000000000000000007.log/x",
            "hub.sqlite/x",
            "hub.sqlite-wal",
            "backup/other",
        ] {
            assert!(is_a_hubs(bad).is_err(), "{bad}");
        }
    }
}
