//! The file of receipts, as it lies on the disk.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
};

use stencil_access::receipt::{self, Head, Receipt};

use super::{Waiting, hex};

/// What is in a file.
pub(super) struct Read {
    pub(super) held: Head,
    pub(super) head: Head,
    pub(super) waiting: VecDeque<Waiting>,
    pub(super) end: u64,
    pub(super) open: Vec<Receipt>,
}

impl Read {
    pub(super) fn begun(head: Head) -> Self {
        Self {
            held: head.clone(),
            head,
            waiting: VecDeque::new(),
            end: 0,
            open: Vec::new(),
        }
    }

    pub(super) fn of(bytes: &[u8], now_us: Option<i64>) -> Result<Self, String> {
        let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
        let first = lines.next().and_then(|line| line.strip_suffix(b"\n"));
        let first = first.ok_or("it does not say what was before")?;
        let held: Head = serde_json::from_slice(first).map_err(|error| error.to_string())?;
        let mut read = Self::begun(held);
        read.end = first.len() as u64 + 1;
        for line in lines {
            // Half a line at the end was cut off by a kill.
            let Some(text) = line.strip_suffix(b"\n") else {
                break;
            };
            let text = std::str::from_utf8(text).map_err(|error| error.to_string())?;
            let receipt = Receipt::parse(text)?;
            let follows = receipt.chain == read.head.chain
                && receipt.number == read.head.number + 1
                && receipt.previous == read.head.hash;
            if !follows {
                let number = receipt.number;
                return Err(format!(
                    "receipt {number} does not follow on the one before"
                ));
            }
            let hash = receipt::hash(text);
            let waiting = Waiting::of(&receipt, read.end, text.len(), hash);
            read.waiting.push_back(waiting);
            read.end += line.len() as u64;
            read.head.number = receipt.number;
            read.head.hash = hex(&hash);
            if now_us.is_some_and(|now_us| receipt.expires_us > now_us) {
                read.open.push(receipt);
            }
        }
        Ok(read)
    }
}

/// Up to where a file that is damaged can be read: the last receipt in it that is whole.
pub(super) fn last_known(bytes: &[u8]) -> Option<Head> {
    let mut last: Option<Head> = None;
    for (place, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let found = match (place, std::str::from_utf8(line)) {
            (0, Ok(_)) => serde_json::from_slice::<Head>(line).ok(),
            (_, Ok(text)) => Receipt::parse(text).ok().map(|receipt| Head {
                chain: receipt.chain,
                number: receipt.number,
                hash: hex(&receipt::hash(text)),
            }),
            (_, Err(_)) => None,
        };
        let Some(found) = found else { continue };
        // A number that is another than it was is not taken for one that was reached.
        let could_be = last.as_ref().is_none_or(|last| {
            let room = u64::try_from(place).unwrap_or(u64::MAX);
            let most = last.number.saturating_add(room);
            found.chain == last.chain && found.number > last.number && found.number <= most
        });
        if could_be {
            last = Some(found);
        }
    }
    // Of a chain without receipts nothing was left.
    last.filter(|last| last.number > 0)
}

/// Replaces the file as a whole; gives its size.
pub(super) fn write_anew(path: &Path, held: &Head, rest: &[u8]) -> io::Result<u64> {
    let next = path.with_extension("next");
    let mut file = super::super::open_next(&next)?;
    let mut first = serde_json::to_vec(held).map_err(io::Error::other)?;
    first.push(b'\n');
    file.write_all(&first)?;
    file.write_all(rest)?;
    file.sync_all()?;
    stencil_crashpoint::reach("access.before_rewritten");
    fs::rename(&next, path)?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok((first.len() + rest.len()) as u64)
}
