//! Files that the user names: read up to a bound, because a device file or a pipe never ends.

use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;

/// The content of a file with at most `max_bytes`.
pub(crate) fn bytes(file: &Path, max_bytes: usize) -> anyhow::Result<Vec<u8>> {
    let name = file.display();
    anyhow::ensure!(!file.is_dir(), "{name} is a folder, a file is wanted");
    let mut content = Vec::new();
    std::fs::File::open(file)
        .and_then(|opened| {
            opened
                .take((max_bytes as u64).saturating_add(1))
                .read_to_end(&mut content)
        })
        .with_context(|| format!("can't read {name}"))?;
    anyhow::ensure!(
        content.len() <= max_bytes,
        "{name} is too long: at most {max_bytes} bytes are taken"
    );
    Ok(content)
}

/// As [`bytes`], of a file of text.
pub(crate) fn text(file: &Path, max_bytes: usize) -> anyhow::Result<String> {
    String::from_utf8(bytes(file, max_bytes)?)
        .with_context(|| format!("{} is not UTF-8 text", file.display()))
}

/// As [`text`], of a regular file alone: it is named in settings, or a service reads it again later.
pub(crate) fn regular_text(file: &Path, max_bytes: usize) -> anyhow::Result<String> {
    stencil_crypto::keyfile::open(file)
        .with_context(|| format!("can't read {}", file.display()))?;
    text(file, max_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_regular_file_is_refused_and_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        for (file, is) in [
            (pipe.as_path(), "it is a pipe"),
            (dir.path(), "it is a folder"),
            (Path::new("/dev/zero"), "it is a device"),
        ] {
            let error = format!("{:#}", regular_text(file, 9).unwrap_err());
            assert!(
                error.contains(is) && error.contains("a regular file is wanted"),
                "{error}"
            );
            assert!(error.contains(&file.display().to_string()), "{error}");
        }
        let file = dir.path().join("file");
        std::fs::write(&file, "text").unwrap();
        assert_eq!(regular_text(&file, 9).unwrap(), "text");
    }

    #[test]
    fn no_more_is_read_than_the_bound() {
        let endless = text(Path::new("/dev/zero"), 65_536).unwrap_err();
        assert!(endless.to_string().contains("at most 65536 bytes"));
        let dir = tempfile::tempdir().unwrap();
        let folder = bytes(dir.path(), 9).unwrap_err();
        assert!(folder.to_string().contains("is a folder"));
        let file = dir.path().join("file");
        std::fs::write(&file, "123456789").unwrap();
        assert_eq!(text(&file, 9).unwrap(), "123456789");
        assert!(text(&file, 8).is_err());
        std::fs::write(&file, [0xff]).unwrap();
        assert_eq!(bytes(&file, 9).unwrap(), [0xff]);
        let binary = text(&file, 9).unwrap_err();
        assert!(binary.to_string().contains("not UTF-8"));
    }
}
