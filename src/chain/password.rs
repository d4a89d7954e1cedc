//! Passwords of keystore files.

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use zeroize::Zeroizing;

/// The longest password, in bytes.
const MAX: u64 = 1_024;

/// The first line of a file, without its end. More lines don't count.
pub(super) fn read(path: &Path) -> anyhow::Result<Zeroizing<String>> {
    let at = || format!("--password-file {}", path.display());
    let mut text = Zeroizing::new(String::new());
    std::fs::File::open(path)
        // With its end, of two bytes at most.
        .and_then(|file| file.take(MAX + 2).read_to_string(&mut text))
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
