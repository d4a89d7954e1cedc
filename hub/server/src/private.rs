//! The data folder is its owner's alone: readings, hashes of secrets, keys.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::{Error, Layout};

const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// What group and others may.
const OF_OTHERS: u32 = 0o077;
/// Whoever may write to a folder with it may write there for all: it is nobody's own.
const STICKY: u32 = 0o1000;

/// Makes a folder for its owner alone, and those above it as usual. One that is there is left as
/// it is.
pub(crate) fn folder(path: &Path) -> Result<(), Error> {
    if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
        fs::create_dir_all(above).map_err(|error| Error::io(above, error))?;
    }
    match DirBuilder::new().mode(FOLDER_MODE).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made.map_err(|error| Error::io(path, error)),
    }
}

/// Takes from others what they may do with the hub's own folders and files; which these were. Keys
/// are left alone: one that others could read is refused where it is read.
pub(crate) fn tighten(layout: &Layout) -> Vec<PathBuf> {
    let store = layout.store();
    let beside = |end: &str| {
        let mut name = store.clone().into_os_string();
        name.push(end);
        PathBuf::from(name)
    };
    let mut all = vec![
        layout.root().to_owned(),
        store.clone(),
        beside("-wal"),
        beside("-shm"),
    ];
    for folder in [
        layout.authority(),
        layout.server(),
        layout.log(),
        layout.images(),
    ] {
        if let Ok(entries) = fs::read_dir(&folder) {
            all.extend(entries.flatten().map(|entry| entry.path()));
        }
        all.push(folder);
    }
    all.retain(|path| match tightened(path) {
        Ok(changed) => changed,
        Err(error) => {
            tracing::warn!(path = %path.display(), %error,
                "others may use what is the hub's alone, and that can't be taken from them");
            false
        }
    });
    all
}

/// Says what [`tighten`] had to do.
pub(crate) fn warn(tightened: &[PathBuf]) {
    if let Some(first) = tightened.first() {
        tracing::warn!(count = tightened.len(), first = %first.display(),
            "others could use folders or files of the hub's data; that is taken from them now");
    }
}

fn tightened(path: &Path) -> io::Result<bool> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let mode = found.permissions().mode();
    let is_key = path.extension().is_some_and(|end| end == "key");
    if found.is_symlink() || is_key || mode & OF_OTHERS == 0 {
        return Ok(false);
    }
    if mode & STICKY != 0 {
        return Err(io::Error::other("it is a folder that all share"));
    }
    let right = if found.is_dir() {
        FOLDER_MODE
    } else {
        FILE_MODE
    };
    fs::set_permissions(path, Permissions::from_mode(right))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn set(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_others_may_use_is_taken_from_them_and_told() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(&folder.path().join("a/hub"));
        super::folder(layout.root()).unwrap();
        super::folder(layout.root()).unwrap();
        assert_eq!(mode(layout.root()), 0o700);
        let made = [layout.authority(), layout.server(), layout.log()];
        made.iter()
            .for_each(|folder| fs::create_dir(folder).unwrap());
        let files = [
            layout.store(),
            layout.root().join("hub.sqlite-wal"),
            layout.fleet_root(),
            layout.log().join("00000000"),
        ];
        for file in &files {
            fs::write(file, "x").unwrap();
            set(file, 0o644);
        }
        made.iter().for_each(|folder| set(folder, 0o755));
        set(layout.root(), 0o750);
        // A key that others can read is refused, not hidden.
        let key = layout.server().join("server.key");
        fs::write(&key, "x").unwrap();
        set(&key, 0o640);
        // Nor is followed what leads elsewhere.
        let elsewhere = folder.path().join("elsewhere");
        fs::write(&elsewhere, "x").unwrap();
        set(&elsewhere, 0o644);
        std::os::unix::fs::symlink(&elsewhere, layout.server().join("link")).unwrap();

        let mut told = tighten(&layout);
        told.sort();
        let mut all: Vec<_> = files.iter().chain(&made).cloned().collect();
        all.push(layout.root().to_owned());
        all.sort();
        assert_eq!(told, all);
        for path in &all {
            let right = if path.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(mode(path), right, "{}", path.display());
        }
        assert_eq!((mode(&key), mode(&elsewhere)), (0o640, 0o644));
        assert_eq!(tighten(&layout), Vec::<PathBuf>::new());
    }

    #[test]
    fn a_folder_that_all_share_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        set(folder.path(), 0o1777);
        assert!(tighten(&Layout::new(folder.path())).is_empty());
        assert_eq!(mode(folder.path()), 0o777);
    }
}
