//! A tar archive as far as a backup needs one: regular files, in ustar headers (POSIX.1-1988,
//! section 10.1.1); lengths beyond 8 GiB in GNU's base-256 form. `tar` reads it.

use std::io::{self, Read, Write};

/// The unit of an archive.
const BLOCK: usize = 512;
/// The longest path: 155 bytes of folders and 100 of name.
const MAX_PATH: usize = 255;
/// The largest length that fits eleven octal digits.
const MAX_OCTAL: u64 = 0o777_7777_7777;

/// What stands before a file's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) path: String,
    pub(super) bytes: u64,
    pub(super) mode: u32,
}

/// Writes the head of an entry; `head.bytes` bytes and [`pad`] must follow.
pub(super) fn write_head(out: &mut impl Write, head: &Head, taken_s: u64) -> io::Result<()> {
    let mut block = [0_u8; BLOCK];
    let (prefix, name) = split(&head.path)?;
    block[..name.len()].copy_from_slice(name.as_bytes());
    octal(&mut block[100..108], u64::from(head.mode & 0o7777));
    octal(&mut block[108..116], 0);
    octal(&mut block[116..124], 0);
    if head.bytes > MAX_OCTAL {
        block[124] = 0x80;
        block[128..136].copy_from_slice(&head.bytes.to_be_bytes());
    } else {
        octal(&mut block[124..136], head.bytes);
    }
    octal(&mut block[136..148], taken_s.min(MAX_OCTAL));
    block[156] = b'0';
    block[257..263].copy_from_slice(b"ustar\0");
    block[263..265].copy_from_slice(b"00");
    block[345..345 + prefix.len()].copy_from_slice(prefix.as_bytes());
    let sum = checksum(&block);
    octal(&mut block[148..155], u64::from(sum));
    block[155] = b' ';
    out.write_all(&block)
}

/// Fills an entry's last block.
pub(super) fn pad(out: &mut impl Write, bytes: u64) -> io::Result<()> {
    out.write_all(&[0; BLOCK][..padding(bytes)])
}

/// Ends the archive.
pub(super) fn finish(out: &mut impl Write) -> io::Result<()> {
    out.write_all(&[0; 2 * BLOCK])
}

/// Reads entries one after the other.
pub(super) struct Entries<R> {
    input: R,
    /// Of the entry that is being read.
    left: u64,
    padding: usize,
}

impl<R: Read> Entries<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            input,
            left: 0,
            padding: 0,
        }
    }

    /// The next entry's head, when the one before was read to its end; `None` at the end of the
    /// archive.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] says what is wrong, [`io::ErrorKind::UnexpectedEof`] that
    /// the archive is cut off.
    pub(super) fn next(&mut self) -> io::Result<Option<Head>> {
        if self.left > 0 {
            return Err(invalid("an entry was not read to its end"));
        }
        let mut block = [0; BLOCK];
        self.input.read_exact(&mut block[..self.padding])?;
        if block.iter().any(|byte| *byte != 0) {
            return Err(invalid("there is something between two entries"));
        }
        self.padding = 0;
        self.input.read_exact(&mut block)?;
        if block == [0; BLOCK] {
            self.input.read_exact(&mut block)?;
            let mut more = [0];
            let ended = block == [0; BLOCK] && self.input.read(&mut more)? == 0;
            return match ended {
                true => Ok(None),
                false => Err(invalid("there is something behind its end")),
            };
        }
        let head = parse(&block)?;
        self.left = head.bytes;
        self.padding = padding(head.bytes);
        Ok(Some(head))
    }
}

impl<R: Read> Read for Entries<R> {
    /// The entry's content; an archive that ends within it is an error.
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(into.len());
        if most == 0 {
            return Ok(0);
        }
        let got = self.input.read(&mut into[..most])?;
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= got as u64;
        Ok(got)
    }
}

fn parse(block: &[u8; BLOCK]) -> io::Result<Head> {
    if &block[257..265] != b"ustar\x0000" {
        return Err(invalid("there is no entry's head where one should be"));
    }
    if number(&block[148..156])? != u64::from(checksum(block)) {
        return Err(invalid("an entry's head does not fit its checksum"));
    }
    if block[156] != b'0' {
        return Err(invalid("an entry is no regular file"));
    }
    let (prefix, name) = (text(&block[345..500])?, text(&block[..100])?);
    let path = match prefix {
        "" => name.to_owned(),
        prefix => format!("{prefix}/{name}"),
    };
    let bytes = if block[124] == 0x80 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&block[128..136]);
        u64::from_be_bytes(bytes)
    } else {
        number(&block[124..136])?
    };
    let mode = u32::try_from(number(&block[100..108])?).map_err(|_| invalid("a mode"))?;
    Ok(Head { path, bytes, mode })
}

/// A path as (folders, name) of at most 155 and 100 bytes.
fn split(path: &str) -> io::Result<(&str, &str)> {
    if path.len() <= 100 {
        return Ok(("", path));
    }
    let cut = path
        .char_indices()
        .filter(|(at, character)| *character == '/' && *at <= 155)
        .map(|(at, _)| at)
        .rfind(|at| path.len() - at - 1 <= 100);
    match cut {
        Some(at) if path.len() <= MAX_PATH => Ok((&path[..at], &path[at + 1..])),
        _ => Err(invalid(&format!(
            "{path}: the path is too long to be archived"
        ))),
    }
}

/// The sum of the head's bytes with the checksum's own taken as spaces.
fn checksum(block: &[u8; BLOCK]) -> u32 {
    let own = 148..156;
    let bytes = block.iter().enumerate();
    bytes
        .map(|(at, byte)| u32::from(if own.contains(&at) { b' ' } else { *byte }))
        .sum()
}

/// Octal digits and a NUL.
fn octal(field: &mut [u8], mut number: u64) {
    let Some((end, digits)) = field.split_last_mut() else {
        return;
    };
    *end = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 8).unwrap_or(0);
        number /= 8;
    }
}

fn number(field: &[u8]) -> io::Result<u64> {
    let digits = text(field)?.trim_end_matches(' ');
    u64::from_str_radix(digits, 8).map_err(|_| invalid("a number in an entry's head"))
}

fn text(field: &[u8]) -> io::Result<&str> {
    let end = field.iter().position(|byte| *byte == 0);
    std::str::from_utf8(&field[..end.unwrap_or(field.len())])
        .map_err(|_| invalid("an entry's head is not in UTF-8"))
}

fn padding(bytes: u64) -> usize {
    let rest = usize::try_from(bytes % BLOCK as u64).unwrap_or(0);
    (BLOCK - rest) % BLOCK
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(files: &[(Head, Vec<u8>)]) -> Vec<u8> {
        let mut out = Vec::new();
        for (head, content) in files {
            write_head(&mut out, head, 1_700_000_000).unwrap();
            out.extend(content);
            pad(&mut out, head.bytes).unwrap();
        }
        finish(&mut out).unwrap();
        out
    }

    fn read(bytes: &[u8]) -> io::Result<Vec<(Head, Vec<u8>)>> {
        let mut entries = Entries::new(bytes);
        let mut files = Vec::new();
        while let Some(head) = entries.next()? {
            let mut content = Vec::new();
            entries.read_to_end(&mut content)?;
            files.push((head, content));
        }
        Ok(files)
    }

    proptest! {
        #[test]
        fn files_come_back_as_they_were_and_no_part_of_an_archive_is_one(
            files in prop::collection::vec(
                ("[a-z]{1,60}(/[a-z]{1,60}){0,2}", any::<u16>(),
                    prop::collection::vec(any::<u8>(), 0..1_500)),
                0..4,
            ),
            cut in any::<prop::sample::Index>(),
        ) {
            let files: Vec<_> = files
                .into_iter()
                .map(|(path, mode, content)| {
                    let (bytes, mode) = (content.len() as u64, u32::from(mode) & 0o7777);
                    (Head { path, bytes, mode }, content)
                })
                .collect();
            let bytes = written(&files);
            prop_assert_eq!(read(&bytes).unwrap(), files);
            prop_assert!(read(&bytes[..cut.index(bytes.len())]).is_err());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
            let _ = read(&bytes);
        }
    }

    #[test]
    fn a_length_beyond_octal_digits_is_kept() {
        let head = Head {
            path: "hub.sqlite".to_owned(),
            bytes: MAX_OCTAL + 1,
            mode: 0o600,
        };
        let mut out = Vec::new();
        write_head(&mut out, &head, 0).unwrap();
        assert_eq!(Entries::new(&out[..]).next().unwrap(), Some(head));
    }

    #[test]
    fn a_path_that_does_not_fit_is_refused() {
        let head = Head {
            path: "x".repeat(101),
            bytes: 0,
            mode: 0,
        };
        assert!(write_head(&mut Vec::new(), &head, 0).is_err());
    }
}
