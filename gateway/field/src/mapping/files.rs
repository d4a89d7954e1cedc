//! Which files a mapping may name.

use std::{
    io::ErrorKind,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use stencil_yaml::shown;

/// The longest path, in bytes.
const MAX_PATH: usize = 1_024;

/// Which files a mapping may name: what the first line of one is, a server is told as a password.
#[derive(Clone, Copy, Debug)]
pub(super) enum Files<'a> {
    /// Any, by their whole path: who writes the mapping has the gateway's disk.
    Any,
    /// Those in this folder: the mapping comes from elsewhere.
    In(&'a Path),
}

impl Files<'_> {
    /// The file that is written so in a mapping, as `name`; else what is wrong and what would be right.
    pub(super) fn named(self, name: &str, written: &str) -> Result<PathBuf, (String, String)> {
        let what = || format!("`{name}` is {}", shown(written));
        let is_text = written.len() <= MAX_PATH && !written.chars().any(char::is_control);
        match self {
            Files::Any if is_text && written.starts_with('/') => Ok(PathBuf::from(written)),
            Files::Any => Err((what(), "write the whole path of a file".to_owned())),
            Files::In(folder) => {
                let folder = whole(folder);
                let right = || {
                    format!(
                        "a mapping that the hub sets names files in {} alone (`field.files` of the \
                         gateway's settings), without `..` and links: put it there, and write its \
                         name, such as press-1.pem",
                        folder.display()
                    )
                };
                let within = beneath(&folder, written).filter(|_| is_text);
                let path = folder.join(within.ok_or_else(|| (what(), right()))?);
                match no_link(&folder, &path) {
                    Ok(()) => Ok(path),
                    Err(link) => Err((format!("{}, and {link}", what()), right())),
                }
            }
        }
    }

    /// The folder in which all of them have to be.
    pub(super) fn folder(self) -> Option<Arc<Path>> {
        match self {
            Files::Any => None,
            Files::In(folder) => Some(whole(folder).into()),
        }
    }
}

/// Whether nothing on the way from a folder to a file in it is a link, which would lead out of it.
/// What is not there, or can't be looked at, is told by who opens it.
///
/// # Errors
/// What is a link.
pub(crate) fn no_link(folder: &Path, path: &Path) -> Result<(), String> {
    let Ok(within) = path.strip_prefix(folder) else {
        return Err(format!("{} is not in {}", path.display(), folder.display()));
    };
    let mut at = folder.to_owned();
    for part in within.components() {
        at.push(part);
        match at.symlink_metadata() {
            Ok(found) if found.is_symlink() => return Err(format!("{} is a link", at.display())),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(format!("{}: {error}", at.display())),
        }
    }
    Ok(())
}

/// The path below the folder, where it is one and does not climb.
fn beneath<'w>(folder: &Path, written: &'w str) -> Option<&'w Path> {
    let written = Path::new(written);
    let within = match written.is_absolute() {
        true => written.strip_prefix(folder).ok()?,
        false => written,
    };
    let mut parts = within.components().peekable();
    parts.peek()?;
    parts
        .all(|part| matches!(part, Component::Normal(_)))
        .then_some(within)
}

/// From the root on; a path that can't be is as it was.
fn whole(folder: &Path) -> PathBuf {
    std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_the_disk_names_any_file_by_its_whole_path() {
        let named = |written: &str| Files::Any.named("key", written);
        assert_eq!(named("/a/../b"), Ok(PathBuf::from("/a/../b")));
        for wrong in ["", "b", "../b", "/a\nb", &format!("/{}", "a".repeat(1_024))] {
            let (what, right) = named(wrong).unwrap_err();
            assert!(what.starts_with("`key` is "), "{what}");
            assert!(right.contains("whole path"), "{right}");
        }
        assert_eq!(Files::Any.folder(), None);
    }

    #[test]
    fn who_is_elsewhere_names_files_of_one_folder() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("files");
        std::fs::create_dir_all(folder.join("line 1")).unwrap();
        let outside = place.path().join("keys.key");
        std::fs::write(&outside, "secret").unwrap();
        std::fs::write(folder.join("a.pem"), "x").unwrap();
        let link = |from: &Path, to: &str| {
            std::os::unix::fs::symlink(from, folder.join(to)).unwrap();
        };
        link(&outside, "link");
        link(place.path(), "up");
        // Also one that leads nowhere yet, and one within.
        link(&place.path().join("later"), "later");
        link(&folder.join("a.pem"), "b.pem");
        let files = Files::In(&folder);
        let named = |written: &str| files.named("password-file", written);
        for (written, is) in [
            ("a.pem", "a.pem"),
            ("not-there", "not-there"),
            ("line 1/p", "line 1/p"),
            (&*folder.join("a.pem").display().to_string(), "a.pem"),
        ] {
            assert_eq!(named(written), Ok(folder.join(is)), "{written}");
        }
        let climbing = folder.join("../keys.key").display().to_string();
        for wrong in [
            "",
            ".",
            "..",
            "../keys.key",
            "line 1/../../keys.key",
            "./a.pem",
            "/etc/passwd",
            "/",
            &*outside.display().to_string(),
            &*climbing,
            &*folder.display().to_string(),
            "a\0b",
            &"a".repeat(MAX_PATH + 1),
        ] {
            let (what, right) = named(wrong).unwrap_err();
            assert!(what.starts_with("`password-file` is "), "{what}");
            assert!(right.contains(&*folder.display().to_string()), "{right}");
        }
        for wrong in ["link", "up/keys.key", "later", "b.pem"] {
            let (what, _) = named(wrong).unwrap_err();
            assert!(what.contains("is a link"), "{wrong}: {what}");
        }
        // What became a link since is seen by who opens it.
        std::fs::remove_file(folder.join("a.pem")).unwrap();
        link(&outside, "a.pem");
        let folder = files.folder().unwrap();
        assert!(no_link(&folder, &folder.join("a.pem")).is_err());
        assert!(no_link(&folder, &outside).is_err());
    }
}
