//! Passwords of keystore files.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use zeroize::Zeroizing;

/// The longest password, in bytes.
const MAX: u64 = 1_024;

/// The first line of a file, without its end. More lines don't count. A file that others may read is
/// refused; a pipe is whoever's who has opened it.
pub(super) fn read(path: &Path) -> anyhow::Result<Zeroizing<String>> {
    let at = || format!("--password-file {}", path.display());
    let mut text = Zeroizing::new(String::new());
    let file = std::fs::File::open(path).with_context(at)?;
    let about = file.metadata().with_context(at)?;
    let mode = about.permissions().mode() & 0o777;
    if about.is_file() && mode & 0o077 != 0 {
        bail!(
            "{}: others may read it, as it has mode {mode:03o}: chmod 600 {}",
            at(),
            path.display()
        );
    }
    file
        // With its end, of two bytes at most.
        .take(MAX + 2)
        .read_to_string(&mut text)
        .with_context(at)?;
    let password = Zeroizing::new(text.lines().next().unwrap_or_default().to_owned());
    if password.is_empty() {
        bail!(
            "{}: its first line is empty; the keystore's password is expected there",
            at()
        );
    }
    if password.len() as u64 > MAX {
        bail!("{}: its first line is longer than {MAX} bytes", at());
    }
    Ok(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> anyhow::Result<Zeroizing<String>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        read(file.path())
    }

    #[test]
    fn what_others_may_read_is_no_secret() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "a word").unwrap();
        let mode = |mode| std::fs::Permissions::from_mode(mode);
        for open in [0o644, 0o640, 0o602] {
            std::fs::set_permissions(file.path(), mode(open)).unwrap();
            let error = read(file.path()).unwrap_err().to_string();
            assert!(error.contains("chmod 600"), "{error}");
        }
        std::fs::set_permissions(file.path(), mode(0o400)).unwrap();
        assert_eq!(*read(file.path()).unwrap(), "a word");
    }

    #[test]
    fn the_first_line_is_the_password_within_bounds() {
        for text in ["a word", "a word\n", "a word\r\n", "a word\nanother\n"] {
            assert_eq!(*of(text.as_bytes()).unwrap(), "a word");
        }
        let longest = "x".repeat(1_024);
        for end in ["", "\n", "\r\n"] {
            let password = of(format!("{longest}{end}").as_bytes()).unwrap();
            assert_eq!(*password, longest);
        }
        for (bytes, expected) in [
            (&b""[..], "its first line is empty"),
            (b"\nword", "its first line is empty"),
            ("x".repeat(1_025).as_bytes(), "longer than 1024 bytes"),
            (&b"\xff\xfe"[..], "--password-file"),
        ] {
            let error = of(bytes).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
